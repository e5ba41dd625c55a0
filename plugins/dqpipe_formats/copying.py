"""Files of a dataset to another folder: checked first, then copied or linked.

Sources are never changed.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH101, PTH103, PTH108, PTH110, PTH113, PTH114, PTH115, PTH116, PTH120, PTH202, PTH211
from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dqpipe import (
    LARGEST_FILE,
    ChangedError,
    Inside,
    MediaError,
    OutputError,
    OutsideError,
    Within,
    containers,
    content_of,
    is_url,
    listed,
    many,
    media_bytes,
    media_path,
    opened,
    path_text,
    refuse_url,
)

SET_ID = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
CHUNK = 1 << 20
"""Bytes read at once."""
MARGIN = 16 * 2**20
"""Bytes left free beside the media: for tables and what the file system needs itself."""


class File(NamedTuple):
    """A media file to be copied.

    The source and the place below the folder, as media references (see
    `dqpipe.data.tables.path_text`).
    """

    media: str
    place: str
    content: str | None
    """The hash of its bytes when it was judged, None if nobody could read it."""
    within: Within = None
    """Where it may lie."""

    def differs(self, written: str | None) -> bool:
        """Whether the hash of what was written, where it is known, is another one."""
        return self.content is not None and written is not None and written != self.content


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the system says against writing below a folder, as an OutputError that names it."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise OutputError(
            f"{folder}: {error.object[error.start]!r} cannot be written as {error.encoding}: set "
            f"the reader's `encoding`"
        ) from None
    except (OSError, shutil.Error) as error:
        name = path_text(os.fsdecode(getattr(error, "filename", None) or folder))
        raise OutputError(
            f"{name} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None


def copy(files: Sequence[File], root: str, folder: Path, *, link: bool, tables: int = 0) -> None:
    """Copy (or link where the file system can) each media file to its place below the folder, with
    its mode.

    What is written is what was judged: the hash of the bytes is compared on the way. `tables` is
    the size in bytes of what will be written besides. Raises OutputError before anything is written
    if a source is gone or the space does not suffice; ChangedError if files have other bytes than
    those that were judged.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sources = [media_path(root, file.media) for file in files]
        _check_space(folder, _bytes_needed(sources, folder, root, link=link) + tables)
        made: set[str] = set()
        remote: list[tuple[str, str]] = []
        changed: list[str] = []
        for source, file in zip(sources, files, strict=True):
            target = below(folder, file.place)
            parent = os.path.dirname(target)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            if is_url(source):
                refuse_url(source, file.within)
                remote.append((source, target))
            elif file.differs(_put(source, target, file.within, link=link)):
                changed.append(file.media)
        media_bytes.download(remote)
        by_target = {below(folder, file.place): file for file in files}
        changed += [
            by_target[target].media
            for _, target in remote
            if by_target[target].differs(content_of(target))
        ]
    if changed:
        raise ChangedError(changed)


def can_be_copied(source: str) -> bool:
    """Whether this is a file that can be read to its end, or a link to nowhere, which is copied as
    it is.
    """
    if os.path.islink(source) and not os.path.exists(source):
        return True
    return (
        os.path.isfile(source)
        and os.access(source, os.R_OK)
        and os.path.getsize(source) <= LARGEST_FILE
    )


def below(folder: Path, place: str) -> str:
    """A place below a folder, as `open` takes it."""
    return media_path(path_text(str(folder)), place)


def _bytes_needed(sources: Sequence[str], folder: Path, root: str, *, link: bool) -> int:
    """The bytes to be written for these files; for those in a container, about its size.

    Raises OutputError if one is gone.
    """
    device, needed, gone = os.stat(folder).st_dev, 0, []
    held: set[str] = set()
    there = media_bytes.listed(root) if is_url(root) else {}
    for source in sources:
        if is_url(source):
            try:
                needed += there[source].size
            except KeyError:
                gone.append(source)
            continue
        if (meant := containers.address(source)) is not None:
            held.add(meant.container)
            continue
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            if not os.path.islink(
                source
            ):  # a link to nowhere was one when it was read: it is written as it is
                gone.append(path_text(source))
            continue
        needed += 0 if link and found.st_dev == device else found.st_size
    if gone:
        raise OutputError(
            f"{many(len(gone), 'file')} of the dataset cannot be found any more: {listed(gone, 5)}"
        )
    return needed + sum(os.path.getsize(container) for container in held)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + MARGIN > free:
        advice = (
            "choose another output, or `outputs: {files: hardlink}` (same file system) or `{files: "
            "manifest}`, which copy nothing"
        )
        raise OutputError(
            f"{folder} has {free / 1e9:.2f} GB free and needs {(needed + MARGIN) / 1e9:.2f} GB: "
            f"{advice}"
        )


def _put(source: str, target: str, within: Within, *, link: bool) -> str | None:
    """One file to its place: the contents of what a link leads to, or the link itself where it
    leads nowhere.

    The hash of the bytes that were written; None for a link, whose bytes nobody read.
    """
    if os.path.islink(source) and not os.path.exists(source):
        if not Inside(within).holds(source):
            raise OutsideError(path_text(source))
        os.symlink(os.readlink(source), target)
        return None
    try:
        with os.fdopen(opened(source, within), "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if (
                link
                and not found.st_mode & SET_ID
                and _linked(os.path.realpath(source), target, found)
            ):
                return None
            return _copied(file, target, found)
    except FileNotFoundError:
        raise OutputError(f"{path_text(source)} is gone since it was read") from None
    except PermissionError as error:
        raise OutputError(
            f"{path_text(os.fsdecode(error.filename or source))} may not be read or written: "
            f"{error.strerror}"
        ) from None
    except MediaError as error:
        raise OutputError(f"{path_text(source)} cannot be copied: {error}") from None


def _copied(file: io.RawIOBase, target: str, found: os.stat_result) -> str:
    """Write what is left of a file to a new one with the same mode, and give back the
    hash of it.
    """
    state = hashlib.blake2b(digest_size=16)
    handle = os.open(
        target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    with os.fdopen(handle, "wb", buffering=0) as out:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[out.write(view) :]
        os.fchmod(out.fileno(), mode_of(found))
    return state.hexdigest()


def mode_of(found: os.stat_result) -> int:
    """The mode of a copy: that of its source, readable for its owner, without the bits that lend
    somebody's rights.
    """
    return stat.S_IMODE(found.st_mode) & 0o777 | stat.S_IRUSR


def keep_mode(source: str, target: str) -> None:
    """Give what was written of a file on this machine that file's mode."""
    if source and not is_url(source):
        os.chmod(target, mode_of(os.stat(source)))


def _linked(source: str, target: str, found: os.stat_result) -> bool:
    """Whether a hard link to the very file that was opened could be made.

    Other file systems, and some kinds of them, cannot.
    """
    try:
        os.link(source, target)
    except OSError:
        return False
    if not os.path.samestat(os.lstat(target), found):  # somebody put another one there
        os.unlink(target)
        return False
    return True
