"""A short look at what lies in a folder, so that a reader can tell whether the layout
is its own.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH118
from __future__ import annotations

import itertools
import os
import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dqpipe import DatasetError, OutputError, is_url, place
from dqpipe_formats.roles import IMAGES
from dqpipe_formats.walking import LITTER, is_folder

ENTRIES, FOLDERS, DEPTH = 200_000, 60, 5
"""So many entries of a folder, folders and levels are looked at: enough to know a layout.

Names that belong together have to be among them.
"""
HEAD = 65536
"""Bytes of a file that are looked at."""


@dataclass(frozen=True)
class Listing:
    """Some of the files below a folder, relative with "/" between, sorted.

    Hidden ones and what systems leave are left out.
    """

    root: str
    files: tuple[str, ...]
    whole: bool = True
    """Whether these are all of them."""

    @classmethod
    def of(cls, source: object) -> Listing | None:
        """What lies in a folder or at the URL of one.

        None for anything else, or where it cannot be listed.
        """
        if isinstance(source, str) and is_url(source):
            return _remote(source.rstrip("/"))
        if not isinstance(source, (str, os.PathLike)) or not Path(source).expanduser().is_dir():
            return None
        root = str(Path(source).expanduser().absolute())
        files, waiting, seen, whole = list[str](), [""], 0, True
        while waiting and seen < FOLDERS:
            here = waiting.pop(0)
            seen += 1
            found, inner, all_of_it = _entries(root, here)
            files += found
            whole &= all_of_it
            if here.count("/") < DEPTH:
                waiting += inner
        return cls(root, tuple(sorted(files)), whole and not waiting)

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The files that are pictures by their names."""
        return self.ending(*IMAGES)

    @cached_property
    def folders(self) -> Counter[str]:
        """How many of the files lie in each folder itself; "" is the root."""
        return Counter(posixpath.dirname(file) for file in self.files)

    def ending(self, *endings: str) -> tuple[str, ...]:
        """The files whose names end so, in lower case."""
        return tuple(file for file in self.files if file.lower().endswith(endings))

    def head(self, file: str) -> bytes:
        """The first bytes of a file, none where it cannot be read or lies at a URL."""
        if is_url(self.root):
            return b""
        try:
            with open(os.path.join(self.root, file), "rb") as opened:  # noqa: PTH123
                return opened.read(HEAD) if Path(self.root, file).is_file() else b""
        except (OSError, ValueError):
            return b""


def stems(files: Iterable[str]) -> set[str]:
    """The names of files without their folders and their last extension."""
    return {posixpath.splitext(posixpath.basename(file))[0] for file in files}


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file, or a link to one or to nowhere."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)  # noqa: PTH110
    except OSError:  # a chain of links that never ends
        return True


def _entries(root: str, folder: str) -> tuple[list[str], list[str], bool]:
    files, folders = list[str](), list[str]()
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            first = list(itertools.islice(entries, ENTRIES + 1))
            for entry in sorted(first[:ENTRIES], key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name.lower() in LITTER:
                    continue
                name = posixpath.join(folder, entry.name)
                if is_folder(entry):
                    folders.append(name)
                elif _is_file(entry):
                    files.append(name)  # a pipe or a device is none, and would be read without end
    except OSError:
        return [], [], False
    return files, folders, len(first) <= ENTRIES


def _remote(url: str) -> Listing | None:
    try:
        names = place(url).names()
    except (OutputError, DatasetError):
        return None
    kept = [
        name
        for name in names
        if not any(part.startswith(".") or part.lower() in LITTER for part in name.split("/"))
    ]
    return Listing(url, tuple(sorted(kept))) if kept else None
