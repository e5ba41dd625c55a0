"""Ownership of files: dqpipe removes only what it can prove it made, and never through a link.

    out/.dqpipe.json   store/.dqpipe.json     {"made_by": "dqpipe", "kind", "id"}, written when the
                                              folder is taken
    out/versions/.<run>.<id>                  a version that is being built: its name carries the id
                                              of the output
    $TMPDIR/dqpipe-<run>.<id>-…               the same for an output at a URL
    out/versions/<version>/tables/files.arrow the files of the version, with the id of the output
    out/.publishing                           the version that is being given its place
    out/.version.<8 hex> and the like         spare files: their name and what they hold
    store/…                                   names made of digests, in a folder that has the marker

A folder that is not empty and has no marker is taken only where all that is in it is what an
earlier dqpipe wrote.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqpipe.errors import OutputError

if TYPE_CHECKING:
    from dqpipe.storage.location import Place

MARKER = ".dqpipe.json"
SYSTEM = frozenset(
    {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found", ".gitkeep", ".gitignore"}
)
"""Files that do not count in an otherwise empty folder (of operating systems, or .gitkeep).

Never touched.
"""
LOCK, PUBLISHING = ".lock", ".publishing"
_HEX, _SPARE = r"[0-9a-f]{32}", r"\.[0-9a-f]{8}"
_RUN = r"\d{8}-\d{6}-\d{6}[0-9a-f]{4}"
RUN = re.compile(_RUN)
VERSION = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{8}")
STAGING = re.compile(rf"\.{_RUN}\.({_HEX})")
STAGED_ELSEWHERE = re.compile(rf"dqpipe-{_RUN}\.({_HEX})-[a-z0-9_]+(?:\.json)?")
"""The same of an output at a URL, in the folder for temporary files, and its run.json while the
rest is uploaded.
"""
IN_STORE = re.compile(
    rf"index\.arrow|facts/{_HEX}/(about\.json|{_HEX}\.arrow|{_HEX}\.[^/]+\.vectors)|relations/{_HEX}\.arrow|artifacts/{_HEX}\.npz"
    rf"|used/{_RUN}\.json|runs/{_RUN}/(run\.json|\.lock|samples-[a-z]+\.arrow|contents-[a-z]+-\d+\.arrow|begun-[a-z]+-\d+)",
)
"""Every name that a facts store gives to a file."""
_SPARE_IN_STORE = re.compile(rf"(.+/)?\.([^/]+){_SPARE}")
PROBE = re.compile(
    rf"\.probe-[0-9a-f]{{8}}|\.{re.escape(MARKER)}{_SPARE}|\.{re.escape(LOCK)}{_SPARE}"
)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


# whose a folder is --------------------------------------------------------------------------------


def owner(folder: Place, kind: str) -> str | None:
    """The id in a folder's marker; None if dqpipe did not make the folder for this purpose.

    Raises OutputError if it is unreadable.
    """
    return told["id"] if (told := marker(folder, kind)) else None


def marker(folder: Place, kind: str) -> dict[str, Any] | None:
    """The content of a folder's marker, or None."""
    try:
        told = json.loads(_read(folder.local / MARKER) if folder.local else folder.read(MARKER))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    ours = (
        isinstance(told, dict)
        and told.get("made_by") == "dqpipe"
        and told.get("kind") == kind
        and re.fullmatch(_HEX, str(told.get("id")))
    )
    return told if ours else None


def take(
    folder: Place,
    kind: str,
    names: Collection[str],
    earlier: Callable[[], Mapping[str, Any] | None],
) -> str:
    """The id of a folder that is dqpipe's, or is taken now.

    It holds nothing, or what an earlier version wrote (then what that says is kept).

    `names` are those that it holds. Raises OutputError: it is somebody else's.
    """
    if known := owner(folder, kind):
        return known
    found: Mapping[str, Any] | None = {} if not strangers(names) else earlier()
    if found is None:
        raise foreign(folder, kind, names)
    told = {"made_by": "dqpipe", "kind": kind, "id": uuid.uuid4().hex, **found}
    data = json.dumps(told).encode() + b"\n"
    if not folder.create(MARKER, data) and owner(folder, kind) is None:
        if not _cut_short(folder, kind, alone=not strangers(names)):
            raise OutputError(
                f"{folder.at(MARKER)} is not of dqpipe's making, or of another kind of folder: "
                f"choose another folder for the {kind};"
                " only if the file is dqpipe's own and was damaged, delete it"
            )
        folder.write(MARKER, data)
    return owner(folder, kind) or told["id"]


def _cut_short(folder: Place, kind: str, *, alone: bool) -> bool:
    """Whether a marker was cut by a killed process.

    It is empty, or a beginning in an otherwise empty folder.
    """
    try:
        held = _read(folder.local / MARKER) if folder.local else folder.read(MARKER)
    except FileNotFoundError:
        return True
    beginning = json.dumps({"made_by": "dqpipe", "kind": kind, "id": ""}).encode()[:-2]
    return not held or (
        alone
        and (
            beginning.startswith(held)
            or bool(re.fullmatch(re.escape(beginning) + rb'[0-9a-f]{0,32}"?}?', held))
        )
    )


def try_writing(folder: Place) -> None:
    """Write an empty file into a folder and take it away again.

    Raises OSError, or OutputError of a place elsewhere.
    """
    if folder.local is not None:
        with tempfile.TemporaryFile(dir=folder.local):
            return
    probe = f".probe-{os.urandom(4).hex()}"
    folder.write(probe, b"")
    folder.remove(probe)


def strangers(names: Iterable[str]) -> list[str]:
    """The names in a folder that count, so that it is not empty."""
    return sorted(
        name
        for name in names
        if name not in SYSTEM and name not in {MARKER, LOCK} and not PROBE.fullmatch(name)
    )


def foreign(folder: Place, kind: str, names: Collection[str]) -> OutputError:
    """The refusal of a folder that is not empty and not dqpipe's."""
    held = (strangers(names) or ["nothing"])[0]
    return OutputError(
        f"{folder.url} is not empty (it holds {held[:100]!r}) and dqpipe did not make it: choose a "
        f"new or an empty folder for the {kind};"
        " no flag changes that, so that nobody's files are lost"
    )


# opening and removing, never through a link -------------------------------------------------------


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


def _read(path: Path) -> bytes:
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


def refuse_to_replace(path: Path, like: Callable[[bytes], bool]) -> None:
    """Raise OutputError if a file that the user wants written exists and is not dqpipe's, which
    `like` recognises by its beginning.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{path} is not a file: name another one")
        with path.open("rb") as file:
            beginning = file.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}") from None
    if beginning and not like(beginning):
        raise OutputError(
            f"{path} is there, and dqpipe did not write it: name another file, or take it away"
        )


# spare files --------------------------------------------------------------------------------------


def in_store(name: str) -> bool:
    """Whether this is a name of a file in a facts store, or of its half-written form."""
    return bool(IN_STORE.fullmatch(name)) or spare_in_store(name)


def spare_in_store(name: str) -> bool:
    """Whether this is a half-written file of a facts store."""
    found = _SPARE_IN_STORE.fullmatch(name)
    return bool(
        PROBE.fullmatch(name) or (found and IN_STORE.fullmatch(f"{found[1] or ''}{found[2]}"))
    )


def sweep_spares(out: Path, pointer: str, links: Collection[str]) -> None:
    """Remove the half-written files that killed runs left directly in an output.

    The caller holds its lock. Raises OSError.
    """
    for path in out.iterdir():
        name, hexed = path.name[1:-9], re.fullmatch(rf"\..+{_SPARE}", path.name)
        if PROBE.fullmatch(path.name) or (
            hexed
            and (
                _half_pointer(path)
                if name == pointer
                else name in links and link_to_version(path, name)
            )
        ):
            remove_file(out, path.name)


def _half_pointer(path: Path) -> bool:
    with contextlib.suppress(OSError, OutputError):
        text = _read(path).decode("ascii", "replace").strip()
        return bool(VERSION.fullmatch(text))
    return False


def link_to_version(path: Path, name: str) -> bool:
    """Whether this is dqpipe's link from an output to a file of one of its versions."""
    try:
        parts = os.readlink(path).split("/")  # noqa: PTH115 (as it stands)
    except OSError:
        return False
    return (
        len(parts) == 3  # noqa: PLR2004
        and parts[0] == "versions"
        and bool(VERSION.fullmatch(parts[1]))
        and parts[2] == name
    )
