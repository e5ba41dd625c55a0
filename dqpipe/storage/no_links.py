"""Files and folders opened and removed below a folder of dqpipe's, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from dqpipe.errors import OutputError

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def opened(path: Path, flags: int) -> int:
    """A regular file, opened: not a link, a device or a pipe in its place.

    Raises FileNotFoundError, OutputError.
    """
    try:
        handle = os.open(path, flags | _NO_LINK | getattr(os, "O_NONBLOCK", 0), 0o644)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = str(error.strerror or error)
        if path.is_symlink():
            why = (
                "it is a link, and dqpipe goes through none: put the file itself in its place, or "
                "take the link away"
            )
        raise OutputError(f"cannot open {path}: {why}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputError(f"cannot open {path}: it is not a regular file")
    return handle


def beginning(path: Path) -> bytes:
    """The beginning of a small file. Raises FileNotFoundError, OutputError."""
    handle = opened(path, os.O_RDONLY)
    try:
        return os.read(handle, 1 << 20)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _folder_of(root: Path, name: str) -> Iterator[tuple[int, str]]:
    """The open folder that holds a name below `root`, and the last part of the name.

    Raises OSError if there is a link on the way.
    """
    *folders, last = name.split("/")
    if not {"", ".", ".."}.isdisjoint((*folders, last)):
        raise OSError(errno.EINVAL, "no name below a folder", name)
    handle = os.open(root, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER | _NO_LINK, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle, last
    finally:
        os.close(handle)


def read_below(root: Path, name: str) -> bytes:
    """The bytes of a regular file below a folder, through no link. Raises OSError."""
    with _folder_of(root, name) as (folder, last):
        handle = os.open(last, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0), dir_fd=folder)
    with open(handle, "rb") as file:  # noqa: PTH123 (open already)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        return file.read()


def remove_file(root: Path, name: str) -> None:
    """Remove a file (or a link, not what it leads to); none there is no error. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), _folder_of(root, name) as (folder, last):
        os.unlink(last, dir_fd=folder)


def remove_folder(root: Path, name: str) -> bool:
    """Remove a folder if it is empty; returns whether it was."""
    try:
        with _folder_of(root, name) as (folder, last):
            os.rmdir(last, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_tree(root: Path, name: str) -> None:
    """Remove a folder that dqpipe made with its contents, links without their targets.

    A missing one is no error. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError), _folder_of(root, name) as (folder, last):
        _remove(folder, last)


def _remove(folder: int, name: str) -> None:
    inner = os.open(name, _FOLDER | _NO_LINK, dir_fd=folder)
    try:
        with os.scandir(inner) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for entry, deeper in entries:
            if deeper:
                _remove(inner, entry)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def remove_listed(root: Path, name: str, files: Iterable[str]) -> bool:
    """Remove these files of a folder in this order, then the folders that they leave empty.

    Whether the folder is gone. Raises OSError.
    """
    every = list(files)
    for file in every:
        with contextlib.suppress(
            NotADirectoryError, IsADirectoryError
        ):  # somebody put something else in its place: it stays
            remove_file(root, f"{name}/{file}")
    folders = {file[: end.start()] for file in every for end in re.finditer("/", file)}
    for folder in sorted(folders, key=lambda one: -one.count("/")):
        remove_folder(root, f"{name}/{folder}")
    return remove_folder(root, name)
