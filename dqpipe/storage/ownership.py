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
import json
import os
import re
import stat
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from dqpipe.errors import OutputError
from dqpipe.storage import no_links
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


# whose a folder is --------------------------------------------------------------------------------


def owner(folder: Place, kind: str) -> str | None:
    """The id in a folder's marker; None if dqpipe did not make the folder for this purpose.

    Raises OutputError if it is unreadable.
    """
    return told["id"] if (told := marker(folder, kind)) else None


def marker(folder: Place, kind: str) -> dict[str, Any] | None:
    """The content of a folder's marker, or None."""
    try:
        told = json.loads(
            no_links.beginning(folder.local / MARKER) if folder.local else folder.read(MARKER)
        )
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
        held = no_links.beginning(folder.local / MARKER) if folder.local else folder.read(MARKER)
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
            no_links.remove_file(out, path.name)


def _half_pointer(path: Path) -> bool:
    with contextlib.suppress(OSError, OutputError):
        text = no_links.beginning(path).decode("ascii", "replace").strip()
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
