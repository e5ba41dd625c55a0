"""Where each file of a curated set goes.

Inside its folder, whatever names and labels say, and never twice to one place.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterable
from urllib.parse import quote

from dqpipe import is_url
from dqpipe_formats.walking import LITTER

LONGEST = 240
"""Bytes of a name that is made here; most file systems allow 255."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/%]")


class Places:
    """Paths below one folder, each given out once; the first to ask for a path gets it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._files = set(taken)
        self._folders: set[str] = set()
        self._number: dict[str, int] = {}

    def take(self, path: str) -> str:
        """The path, or one like it with `-2`, `-3` … before the extension, where it is taken."""
        folder = ""
        *folders, name = path.split("/")
        for part in folders:
            folder = self._free(posixpath.join(folder, part), self._files)
            self._folders.add(folder)
        place = self._free(posixpath.join(folder, name), self._files, self._folders)
        self._files.add(place)
        return place

    def _free(self, path: str, *taken: Collection[str]) -> str:
        """The first name like this one that is in none of the sets."""
        place = path
        while any(place in some for some in taken):
            self._number[path] = self._number.get(path, 1) + 1
            place = with_ending(path, f"-{self._number[path]}")
        return place


def safe(path: str) -> str | None:
    """A relative path in its shortest form, None if it leaves its folder or names none."""
    if not path or is_url(path) or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        return None
    short = posixpath.normpath(path)
    return None if short == "." else short


def with_ending(path: str, ending: str) -> str:
    """A path with something put before its extension, cut where the name would be too long."""
    folder, name = posixpath.split(path)
    stem, extension = posixpath.splitext(name)
    room = max(1, LONGEST - len((ending + extension).encode()))
    return posixpath.join(
        folder, stem.encode()[:room].decode("utf-8", "ignore") + ending + extension
    )


def file_name(path: str) -> str:
    """The last part of a path, as a name that a file can have: not hidden, not too long."""
    name = posixpath.basename(path).replace("\0", "").lstrip(".") or "file"
    return name if len(name.encode()) <= LONGEST else with_ending(name, "")


def new_name(id_: str, media: str) -> str:
    """The name of a new sample's file: from its id, where that ends like its file."""
    return file_name(id_ if posixpath.splitext(id_)[1] == posixpath.splitext(media)[1] else media)


def folders_of(labels: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The folder of each label, all different.

    `known` ones are their own, the others' as `folder_name` says.
    """
    folders, taken = {label: label for label in known}, set(known)
    for label in sorted(set(labels) - set(known)):
        name = folder_name(label)
        while name in taken:  # the folder of another label that looks like this one's
            name += "%"
        folders[label] = name
        taken.add(name)
    return folders


def folder_name(label: str) -> str:
    """A label as the name of a folder.

    What cannot stand there is written `%2F` as in a URL, which `unquote` turns back.

    A label longer than LONGEST bytes is cut and ends with a hash; an empty one is `%`.
    """
    name = _UNSAFE.sub(lambda match: quote(match[0], safe=""), label) or "%"
    if name.startswith(".") or name.lower() in LITTER:
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name.encode()) > LONGEST:
        name = (
            name.encode()[: LONGEST - 17].decode("utf-8", "ignore")
            + "%"
            + hashlib.sha256(label.encode()).hexdigest()[:16]
        )
    return name
