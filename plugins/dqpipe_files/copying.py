"""Files of a dataset to another folder: checked first, then copied or linked; sources are never changed."""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH103, PTH110, PTH113, PTH114, PTH115, PTH116, PTH120, PTH202, PTH211
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dqpipe.errors import OutputError, listed
from dqpipe.model import media_path, path_text
from dqpipe.places import is_url
from dqpipe.reading import LARGEST_FILE
from dqpipe.remote import download
from dqpipe.remote import listed as listed_at

Pair = tuple[str, str]
"""The source, and the place below the folder: both as media references (see `dqpipe.model.path_text`)."""
MARGIN = 16 * 2**20
"""Bytes left free beside the media: for tables and what the file system needs itself."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the system says against writing below a folder, as an OutputError that names it."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise OutputError(f"{folder}: {error.object[error.start]!r} cannot be written as {error.encoding}: set the reader's `encoding`") from None
    except (OSError, shutil.Error) as error:
        name = path_text(os.fsdecode(getattr(error, "filename", None) or folder))
        raise OutputError(f"{name} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def copy(pairs: Sequence[Pair], root: str, folder: Path, *, link: bool, tables: int = 0) -> None:
    """Copy (or link where the file system can) each source to its place below the folder.

    `tables` is the size in bytes of what will be written besides. Raises OutputError before anything is written if a
    source is gone or the space does not suffice.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sources = [media_path(root, source) for source, _ in pairs]
        _check_space(folder, _bytes_needed(sources, folder, root, link=link) + tables)
        made: set[str] = set()
        remote: list[Pair] = []
        for source, (_, place) in zip(sources, pairs, strict=True):
            target = below(folder, place)
            parent = os.path.dirname(target)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            if is_url(source):
                remote.append((source, target))
            else:
                _put(source, target, link=link)
        download(remote)


def can_be_copied(source: str) -> bool:
    """Whether this is a file that can be read to its end, or a link to nowhere, which is copied as it is."""
    if os.path.islink(source) and not os.path.exists(source):
        return True
    return os.path.isfile(source) and os.access(source, os.R_OK) and os.path.getsize(source) <= LARGEST_FILE


def below(folder: Path, place: str) -> str:
    """A place below a folder, as `open` takes it."""
    return media_path(path_text(str(folder)), place)


def _bytes_needed(sources: Sequence[str], folder: Path, root: str, *, link: bool) -> int:
    """The bytes to be written for these files. Raises OutputError if one is gone."""
    device, needed, gone = os.stat(folder).st_dev, 0, []
    there = listed_at(root) if is_url(root) else {}
    for source in sources:
        if is_url(source):
            try:
                needed += there[source].size
            except KeyError:
                gone.append(source)
            continue
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            if not os.path.islink(source):  # a link to nowhere was one when it was read: it is written as it is
                gone.append(path_text(source))
            continue
        needed += 0 if link and found.st_dev == device else found.st_size
    if gone:
        raise OutputError(f"{len(gone)} file(s) of the dataset cannot be found any more: {listed(gone, 5)}")
    return needed


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + MARGIN > free:
        advice = "choose another output, or `outputs: {files: hardlink}` (same file system) or `{files: manifest}`, which copy nothing"
        raise OutputError(f"{folder} has {free / 1e9:.2f} GB free and needs {(needed + MARGIN) / 1e9:.2f} GB: {advice}")


def _put(source: str, target: str, *, link: bool) -> None:
    """One file to its place: the contents of what a link leads to, or the link itself where it leads nowhere."""
    if os.path.islink(source) and not os.path.exists(source):
        os.symlink(os.readlink(source), target)
        return
    if link and _linked(os.path.realpath(source), target):
        return
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise OutputError(f"{path_text(source)} is gone since it was read") from None
    except PermissionError as error:
        raise OutputError(f"{path_text(os.fsdecode(error.filename or source))} may not be read or written: {error.strerror}") from None


def _linked(source: str, target: str) -> bool:
    """Whether a hard link could be made; other file systems, and some kinds of them, cannot."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
