"""What formats with annotations in files of their own share.

Files that go with a picture, files of the whole set, and what is wrong in them.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH100, PTH103, PTH110, PTH111, PTH112, PTH120, PTH123
from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dqpipe import (
    ChangedError,
    Dataset,
    DatasetError,
    Inside,
    MediaError,
    OutputError,
    OutsideError,
    Within,
    listed,
    many,
    media_path,
    opened,
    path_text,
    splits,
)
from dqpipe_formats.copying import File, below, can_be_copied, copy, keep_mode, writing
from dqpipe_formats.curated import MANIFEST, bring, media_of, write_manifest
from dqpipe_formats.placing import safe

T = TypeVar("T", str, bytes)

SHOWN = 5
"""Problems of one picture, or of a dataset, that are said at most."""
LARGEST_LIST = 64 << 20
"""Bytes of a list of pictures at most."""
PROBLEMS = "label_problems"
"""The column of what is wrong in a picture's annotations, there where anything is."""


class LabelError(Exception):
    """A file of annotations that cannot be used, with why, and the line where there is one."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why, line)
        self.why, self.line = why, line

    def __str__(self) -> str:
        return self.why if self.line is None else f"line {self.line}: {self.why}"

    def of(self, file: str) -> str:
        """The same with the name of the file."""
        return f"{file}{': ' if self.line is None else ', '}{self}"


def label_bytes(path: str, within: Within, limit: int) -> bytes:
    """The bytes of a file of annotations.

    Raises LabelError: absent, forbidden, elsewhere, no regular file, or more than `limit` bytes.
    """
    try:
        with os.fdopen(opened(path, within), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise LabelError(
                    f"it has {size / 1e6:,.0f} MB, and {limit / 1e6:,.0f} MB is the most that is "
                    f"read"
                )
            return file.read(limit + 1)
    except (OSError, MediaError, OutsideError) as error:
        raise LabelError(getattr(error, "strerror", None) or str(error)) from None


def digest_of(data: bytes) -> str:
    """The hash by which a change of a file is seen."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def unchanged_text(path: str, within: Within, limit: int, content: str) -> str:
    """The text of a file of annotations again.

    Raises ChangedError if it has other bytes than when the dataset was read.
    """
    try:
        data = label_bytes(path, within, limit)
    except LabelError:
        raise ChangedError([path_text(path)]) from None
    if digest_of(data) != content:
        raise ChangedError([path_text(path)])
    return data.decode("utf-8")


def told(problems: Sequence[str]) -> str | None:
    """What is wrong, as one text: the first few and a count; None for nothing."""
    return plain_text(listed(problems, SHOWN)) if problems else None


def plain_text(text: str) -> str:
    """A text that can be written: halves of letters, as JSON may have them, as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_folder(
    dataset: Dataset,
    folder: Path,
    files: str,
    beside: Sequence[Sequence[str]],
    carried: Sequence[str] = (),
    also: Sequence[str] = (),
) -> None:
    """Write the pictures where they lay, what goes with each of them beside it, files of the whole
    set, and manifest.parquet.

    `beside` [n] are files that go with each sample and hold pixels (masks), `carried` files that
    are written whatever stays (their names), `also` small files of annotations that are copied. All
    are relative to the dataset's root. Raises OutputError.
    """
    new = [
        path if path is not None and safe(path) not in (None, MANIFEST) else None
        for path in media_of(dataset)
    ]
    references = bring(dataset, new, folder, files)
    inside = Inside(dataset.within)
    wanted = list(
        dict.fromkeys(
            [*(name for names in beside if files != "manifest" for name in names), *also, *carried]
        )
    )
    kept = [
        name
        for name in wanted
        if (short := safe(name)) and short != MANIFEST and _can(dataset.root, name, inside)
    ]
    there = {str(folder / str(safe(path))) for path in new if path is not None}
    copy(
        [
            File(name, str(safe(name)), None, dataset.within)
            for name in kept
            if str(folder / str(safe(name))) not in there
        ],
        dataset.root,
        folder,
        link=False,
    )
    write_manifest(dataset, references, folder)


def _can(root: str, name: str, inside: Inside) -> bool:
    path = media_path(root, name)
    return inside.holds(path) and can_be_copied(path) and os.path.exists(path)


def write_text(dataset: Dataset, folder: Path, name: str, text: str) -> None:
    """Write a file of annotations at its place below the folder, with the mode it had.

    Raises OutputError.
    """
    write_bytes(dataset, folder, name, text.encode("utf-8"))


def write_bytes(dataset: Dataset, folder: Path, name: str, data: bytes) -> None:
    """The same from bytes."""
    place = safe(name)
    if place is None or place == MANIFEST:
        raise OutputError(
            f"{name!r} lies outside the dataset's folder, so that it has no place in the curated "
            f"set"
        )
    target = below(folder, place)
    with writing(folder):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb") as file:
            file.write(data)
        keep_mode(media_path(dataset.root, name), target)


def changes_of(made: Mapping[str, set[T | None]]) -> tuple[dict[str, T], list[str]]:
    """Files with what they become, and those that stay as they are.

    `made` has by file what its pictures make of it, None for no change. Raises OutputError where
    they differ.
    """
    if several := [name for name, new in made.items() if len(new) > 1]:
        raise OutputError(
            f"a file of annotations of several pictures cannot have other objects for one of them: "
            f"{listed(several, SHOWN)}"
        )
    changed = {name: one for name, new in made.items() for one in new if one is not None}
    return changed, [name for name in made if name not in changed]


def write_lists(
    dataset: Dataset, folder: Path, names: Sequence[str], gone: Callable[[bytes, str], bool]
) -> None:
    """Write lists of pictures, one a line, without lines that are `gone` (line, name of the list).

    Raises OutputError.
    """
    for name in names:
        try:
            data = label_bytes(media_path(dataset.root, name), dataset.within, LARGEST_LIST)
        except LabelError as error:
            raise OutputError(f"{name} cannot be read again: {error}") from None
        lines = data.split(b"\n")
        kept = [
            line if number == len(lines) else line + b"\n"
            for number, line in enumerate(lines, 1)
            if not line.strip() or not gone(line, name)
        ]
        write_bytes(dataset, folder, name, b"".join(kept))


def cannot_add(numbers: Sequence[str], name: str) -> OutputError:
    """The error of objects that the source does not have."""
    return OutputError(f"{name}: objects cannot be added: {listed(numbers, SHOWN)}")


def refuse_roles(what: str, roles: Mapping[str, str]) -> None:
    """Raise DatasetError where roles are given to columns of a format that has none."""
    if any(roles.values()):
        raise DatasetError(
            f"{what} has no columns to give the roles {listed(roles)} to: leave `roles` out"
        )


def folder_of(source: Any, what: str) -> str:  # noqa: ANN401 (whatever a reader is given)
    """The absolute path of a folder. Raises DatasetError, saying of `what` it is read from one."""
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(
        root := os.path.abspath(os.path.expanduser(source))
    ):
        return root
    raise DatasetError(f"{what} read from a folder, and {str(source)[:200]!r} is none")


def split_of(path: str) -> str | None:
    """The word of a file's path that names a split: in its name first, then in folders from the
    nearest; None where none does.
    """
    words = re.split(r"[-_. /]+", posixpath.splitext(path)[0])
    return next((word for word in reversed(words) if splits.kind_of(word)), None)


def split_of_folder(folder: str) -> str | None:
    """The part of a folder's path that names a split, the first one; None where none does."""
    return next((part for part in folder.split("/") if splits.kind_of(part)), None)


def left_out(skipped: Mapping[str, str]) -> list[str]:
    """What a walk passed over, with why, as a doubt."""
    shown = listed((f"{name}: {why}" for name, why in skipped.items()), 3)
    return [f"{many(len(skipped), 'file')} left out ({shown})"] if skipped else []


def refuse_empty(rows: Sequence[Any], root: str, what: str) -> None:
    """Raise DatasetError where nothing was found."""
    if not rows:
        raise DatasetError(f"{path_text(root)} has no {what}")
