"""Safe opening of media files.

Regular files only, and only below the allowed folders, with links resolved.

    path ──no link on the way──▶ walked from the folder, part by part ──▶ descriptor
      └────links───▶ resolved ──below a folder?──▶ the same walk of the resolved path, or
          OutsideError

The walk follows no link, so that a link created between the check and the opening is not followed
either.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH114, PTH116, PTH118
from __future__ import annotations

import errno
import os
import stat
from functools import cache

from dqpipe.errors import MediaError, OutsideError
from dqpipe.storage import containers
from dqpipe.storage.location import is_url

Within = tuple[str, ...] | None
"""The folders, or URLs, below which media may lie; None: anywhere."""
READ = os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
SYSTEM = ("/proc", "/sys")
"""File systems whose files the kernel generates when they are read."""
LINK_MET = (errno.ELOOP, errno.ENOTDIR)
LONGEST = 200
"""Letters of a path in a reason."""


def opened(path: str, within: Within = None) -> int:
    """The descriptor of a file, or of a member of a container (see `dqpipe.storage.containers`), to
    be closed by the caller.

    Raises OSError; MediaError if it is not a regular file, OutsideError.
    """
    if "\0" in path:
        raise MediaError("no file can have this name: it holds a NUL character")
    if (meant := containers.address(path)) is not None:
        return containers.opened(meant, opened(meant.container, within))
    if within is None:
        _refuse_special(
            os.stat(path), path
        )  # before it is opened: opening a device may already do something
        handle = os.open(path, READ)
    else:
        handle = _opened_inside(path, within)
    try:
        _refuse_special(os.fstat(handle), path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def refuse_url(url: str, within: Within) -> None:
    """Raise OutsideError for a URL that is not below one of those given."""
    if within is not None and not Inside(within).holds(url):
        raise OutsideError(url[:LONGEST])


def made_up(found: os.stat_result, size: int) -> bool:
    """Whether a file of size 0 had bytes, as those of /proc do.

    `found` is its state after reading.
    """
    return size > 0 and not found.st_size and not found.st_blocks


class Inside:
    """Check whether paths lie below the folders, with links resolved.

    Each parent folder is resolved once.
    """

    def __init__(self, within: Within) -> None:
        self.within = within
        self._roots = [os.path.realpath(folder) for folder in within or () if not is_url(folder)]
        self._folders: dict[str, str] = {}

    def holds(self, path: str) -> bool:
        """Whether the path, or the URL, lies below one of the folders."""
        if self.within is None:
            return True
        if is_url(path):
            return any(
                path.startswith(f"{url.rstrip('/')}/") and not _climbs(path[len(url) :])
                for url in self.within
                if is_url(url)
            )
        if "\0" in path:
            return True  # no file at all, which whoever reads it says
        meant = containers.address(path)
        real = self.real(path if meant is None else meant.container)
        return any(_rest(real, root) is not None for root in self._roots)

    def real(self, path: str) -> str:
        """The resolved path, as far as its parts exist."""
        folder, name = os.path.split(path)
        if name in {"", ".", ".."}:
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return (
            os.path.realpath(path)
            if os.path.islink(path)
            else os.path.join(self._folders[folder], name)
        )


def _opened_inside(path: str, within: tuple[str, ...]) -> int:
    for folder in within:
        rest = _rest(path, folder)
        if rest and not _climbs(rest):
            try:
                return _walked(folder, rest)
            except OSError as error:
                if error.errno not in LINK_MET:
                    raise
    inside = Inside(within)
    real = inside.real(path)
    for folder in within:
        root = os.path.realpath(folder)
        rest = _rest(real, root)
        if rest is not None and not is_url(folder) and not _climbs(rest):
            return _walked(root, rest)
    raise OutsideError(
        real[:LONGEST].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )


def _walked(root: str, rest: str) -> int:
    """The file below a folder that is reached without following a link.

    Raises OSError, ELOOP or ENOTDIR where there is one.
    """
    parts = [part for part in rest.split("/") if part not in {"", "."}]
    at = os.open(root, FOLDER)
    try:
        for part in parts[:-1]:
            above, at = at, os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(above)
        name = parts[-1] if parts else "."
        _refuse_special(os.stat(name, dir_fd=at, follow_symlinks=False), os.path.join(root, *parts))
        return os.open(name, READ | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _rest(path: str, root: str) -> str | None:
    """A path relative to a folder; None if it does not lie below it."""
    if path == root:
        return ""
    start = root if root.endswith("/") else f"{root}/"
    return path[len(start) :] if path.startswith(start) else None


def _climbs(rest: str) -> bool:
    return ".." in rest.split("/")


def _refuse_special(found: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if stat.S_ISDIR(found.st_mode):
        readable = os.access(path, os.R_OK | os.X_OK)
        raise MediaError(
            "not a file but a folder"
            if readable
            else "a folder that may not be read: nobody knows what is in it"
        )
    if not stat.S_ISREG(found.st_mode):
        raise MediaError("not a regular file but a device, a pipe or a socket")
    if found.st_dev in _system():
        raise MediaError("not a regular file but one of the system's, as in /proc")


@cache
def _system() -> frozenset[int]:
    """The devices of /proc and /sys, where there are any of their own."""
    root, found = os.stat("/").st_dev, set()
    for folder in SYSTEM:
        try:
            found.add(os.stat(folder).st_dev)
        except OSError:
            continue
    return frozenset(found - {root})
