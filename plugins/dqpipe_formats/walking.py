"""Every regular file below a folder, met once, whatever links there are."""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH110, PTH116, PTH118
from __future__ import annotations

import os
from dataclasses import dataclass, field

from dqpipe import DatasetError, Inside, OutputError, is_url, path_text, place

LITTER = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "lost+found",
    }
)
"""What operating systems leave in folders, in lower case.

Names that begin with a dot are left out as well.
"""


@dataclass
class Walk:
    """The files below `root`, relative with "/" between, as the system names them.

    And what was left out, with the reason.

    Folders are walked in their own places first and through links after that, so that a link never
    takes a real folder's place. A folder is entered once, by device and inode: links that loop end
    there. Links to files are files. A folder that may not be read stands among the files, as one
    that cannot be read; so does a link to a folder outside the root, which is followed only with
    `outside`.
    """

    root: str
    outside: bool = False
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _inside: Inside = field(default_factory=lambda: Inside(None))

    def run(self) -> Walk:
        """Walk; files, folders and reasons sorted by name.

        Raises DatasetError if the root cannot be read.
        """
        if is_url(self.root):
            return self._list()
        self._inside = Inside((self.root,))
        real, links = [""], list[str]()
        while real or links:
            here = real.pop() if real else links.pop(0)
            if not self._enter(here):
                continue
            inner, linked = self._scan(here)
            real += inner
            links = sorted(links + linked)
        self.files.sort()
        self.folders.sort()
        self.skipped = dict(sorted(self.skipped.items()))
        return self

    def _list(self) -> Walk:
        """The same at a URL, by one listing: there are no folders but in names, and no links."""
        try:
            names = place(self.root).names()
        except OutputError as error:
            raise DatasetError(str(error)) from None
        for name in names:
            parts = name.split("/")
            if any(part in {"", ".", ".."} for part in parts):
                self.skip(name, "its name is no path")
            elif not any(part.startswith(".") or part.lower() in LITTER for part in parts):
                self.files.append(name)
                self.folders += ["/".join(parts[:end]) for end in range(1, len(parts))]
        self.folders = sorted(set(self.folders))
        return self

    def _enter(self, folder: str) -> bool:
        """Whether this folder is to be read: not if it was, and not if it holds the root."""
        path = os.path.join(self.root, folder)
        if folder and self._holds_root(os.path.realpath(path)):
            self.skip(folder, "a link to a folder that holds this one")
            return False
        if folder and not self.outside and not self._inside.holds(path):
            self.files.append(folder)
            return False
        found = os.stat(path)
        if (found.st_dev, found.st_ino) in self._seen:
            self.skip(folder, "a link to a folder that was read already")
            return False
        self._seen.add((found.st_dev, found.st_ino))
        if folder:
            self.folders.append(folder)
        return True

    def _holds_root(self, real: str) -> bool:
        return os.path.commonpath([os.path.realpath(self.root), real]) == real

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        """The folders in a folder, and the links to folders; its files are noted."""
        real, links = [], []
        for entry in self._entries(folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name.lower() in LITTER:
                continue
            if entry.is_dir(follow_symlinks=False):
                real.append(name)
            elif is_folder(entry):
                links.append(name)
            elif entry.is_symlink() and not os.path.exists(entry.path):
                self.files.append(
                    name
                )  # a link to nowhere is a file that cannot be read, and claimed as such
            elif entry.is_file():
                self.files.append(name)
            else:
                self.skip(name, "not a regular file")
        return real, links

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = os.path.join(self.root, folder)
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise DatasetError(
                    f"the folder {path_text(path)} cannot be read: {error.strerror or error}"
                ) from None
            self.folders.remove(folder)
            self.files.append(folder)
            return []

    def skip(self, name: str, reason: str) -> None:
        """Note what is left out, and why."""
        self.skipped[path_text(name)] = reason


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a chain of links that never ends
        return False
