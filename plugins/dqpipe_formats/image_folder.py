"""Folders of images: class folders, split folders with class folders in them, or one
flat folder.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa

from dqpipe import (
    Dataset,
    DatasetError,
    Reader,
    Recognition,
    Samples,
    Writer,
    extension,
    is_url,
    label_text,
    listed,
    many,
    option,
    path_text,
)
from dqpipe import splits as split_names
from dqpipe_formats.annotated import refuse_roles
from dqpipe_formats.curated import MANIFEST, bring, media_of, write_manifest
from dqpipe_formats.layouts import refusal
from dqpipe_formats.listing import Listing
from dqpipe_formats.manifest import Manifest
from dqpipe_formats.placing import Places, folder_name, folders_of, new_name, safe
from dqpipe_formats.records import is_new
from dqpipe_formats.tabular import kind_of
from dqpipe_formats.walking import Walk

SIDECARS = (
    *(
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
        ".txt",
        ".md",
        ".rst",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".log",
    ),
    *(
        ".parquet",
        ".arrow",
        ".feather",
        ".html",
        ".htm",
        ".css",
        ".js",
        ".py",
        ".ipynb",
        ".sh",
        ".bib",
        ".cff",
        ".sha256",
        ".md5",
    ),
    *(".zip", ".tar", ".gz", ".tgz", ".7z"),
)
TABLES = 5
"""Tables beside the folders that are looked into."""
PAPERS = frozenset(
    {
        "readme",
        "license",
        "licence",
        "notice",
        "copying",
        "changelog",
        "authors",
        "citation",
        "makefile",
    }
)


@extension
class ImageFolder(Reader):
    """A folder of images: its class folders, split folders (train, val, test) with class folders in
    them, or a flat folder.

    Every regular file becomes a sample whatever its extension, so that one which cannot be read is
    seen and claimed. Left out are hidden files, what operating systems leave behind, and files
    beside the class folders (or in a flat folder) that describe the data, as `README` or
    `labels.csv`; the latter are listed with the dataset, in `layout["skipped"]`. A level of folders
    is the split if all its folders have names of splits (train, val2017, Testing), or most of them
    where class folders are in them; folders without a picture do not count. One folder around all
    the others is no class. The label is the class folder's name, the id the path below the root
    (see `dqpipe.data.tables.path_text`). What a person would ask is in `layout["doubts"]`.
    """

    name = "image_folder"
    version = 1
    knows = "a folder of images, also at a URL"

    sidecars: tuple[str, ...] = option(
        SIDECARS, "extensions of files outside class folders that are no samples"
    )

    def suits(self, source: object) -> int:
        """Any folder, also at a URL."""
        if isinstance(source, str) and is_url(source):
            return 0 if kind_of(source) or posixpath.splitext(source.lower())[1] in SIDECARS else 50
        return (
            50
            if isinstance(source, (str, os.PathLike)) and Path(source).expanduser().is_dir()
            else 0
        )

    def recognise(self, source: object) -> Recognition:
        """A folder of pictures whose folders are classes or splits.

        Refused where their names say that they are none.
        """
        score = self.suits(source)
        listing = Listing.of(source) if score else None
        if listing is None:
            return Recognition(score)
        if refused := refusal(listing):
            return Recognition(0, refused=refused)
        shape = Shape.of([file for file in listing.files if not self._describes(file)], [])
        return Recognition(score, _seen(shape, listing))

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset of a folder; it has no columns, so no roles.

        Raises DatasetError if it cannot be read or has no file.
        """
        return self._read(source, roles, outside=False)

    def read_outside(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The same with what links to folders elsewhere lead to."""
        return self._read(source, roles, outside=True)

    def _read(self, source: Any, roles: Mapping[str, str], *, outside: bool) -> Dataset:  # noqa: ANN401
        remote = isinstance(source, str) and is_url(source)
        root = source.rstrip("/") if remote else str(Path(source).expanduser().absolute())
        if not remote and not Path(root).is_dir():
            raise DatasetError(
                f"{path_text(root)} is not a folder"
                if Path(root).exists()
                else f"there is no folder {path_text(root)}"
            )
        refuse_roles("an image folder", roles)
        walk = Walk(root, outside).run()
        shape = Shape.of([file for file in walk.files if not self._describes(file)], walk.folders)
        files = self._samples(walk, shape)
        if not files:
            raise DatasetError(
                f"the folder {path_text(root)} has no images: no file in it or below it could be a "
                f"sample"
            )
        table = _table(files, shape.wrapped, splits=shape.splits)
        doubts = [*shape.doubts, *([] if remote else _other_labels(root, walk.files, table))]
        if "label" not in table.column_names and (unread := _may_label(walk.skipped)):
            doubts.append(
                f"the pictures have no labels, and {listed(map(repr, unread), 3)} beside them "
                f"{'is' if len(unread) == 1 else 'are'} not read"
            )
        layout = {
            "splits": shape.splits,
            "wrapped": shape.wrapped,
            "doubts": [path_text(doubt) for doubt in doubts],
            "skipped": walk.skipped,
        }
        return Dataset(Samples(table), path_text(root), self.name, layout)

    def _describes(self, file: str) -> bool:
        """Whether a file describes the data, by its name."""
        stem, extension_ = posixpath.splitext(posixpath.basename(file).lower())
        return extension_ in self.sidecars or (not extension_ and stem in PAPERS)

    def _samples(self, walk: Walk, shape: Shape) -> list[str]:
        """The path of each sample; files outside class folders, or in folders that hold nothing
        else, may be sidecars instead.
        """
        samples = []
        for file in walk.files:
            parts = file.split("/")
            outside = (
                len(parts) <= shape.wrapped + shape.splits + 1
                or parts[shape.wrapped] not in shape.tops
            )
            if outside and self._describes(file):
                walk.skip(file, "describes the data and is no sample")
            else:
                samples.append(path_text(file))
        return sorted(samples)


def _may_label(files: Iterable[str]) -> list[str]:
    """The files that may hold labels, among those beside the pictures."""
    return [file for file in files if file.lower().endswith((".json", ".xml")) or kind_of(file)]


def _other_labels(root: str, files: list[str], table: pa.Table) -> list[str]:
    """What a person would ask of the tables beside the folders that give these images other labels
    than their folders do.
    """
    given = (
        table.column("label").to_pylist() if "label" in table.column_names else [None] * len(table)
    )
    folders, made = (
        dict(zip(table.column("id").to_pylist(), given, strict=True)),
        cast("type[Reader]", Manifest)(),
    )
    told = []
    for name in [file for file in files if "/" not in file and kind_of(file)][:TABLES]:
        with suppress(DatasetError):  # it is no table of images
            path = os.path.join(root, name)  # noqa: PTH118 (names as they are)
            rows = made.read(path, {}).samples.table if made.suits(path) else None
            if rows is not None and "label" in rows.column_names:
                labels = dict(
                    zip(
                        rows.column("media").to_pylist(),
                        map(label_text, rows.column("label").to_pylist()),
                        strict=True,
                    )
                )
                other = sum(
                    media in folders and label is not None and label != folders[media]
                    for media, label in labels.items()
                )
                if other:
                    lead = (
                        f"{name} gives {many(other, 'image')} another label than the folder does, "
                        f"which counts here"
                    )
                    told.append(f"{lead}: read {name} if its labels are meant.")
    return told[:1]


def _seen(shape: Shape, listing: Listing) -> str:
    """What was seen of a folder, in a few words."""
    if not shape.tops:
        return "pictures in one folder, without labels"
    what = "splits" if shape.splits else "classes"
    more = "" if listing.whole else ", of those that were looked at"
    return f"folders of pictures as {what} ({listed(map(repr, shape.tops), 5)}{more})"


@dataclass(frozen=True)
class Shape:
    """How the folders of a dataset are to be read.

    So many around all, perhaps a level of splits, the folders at the top level.
    """

    wrapped: int = 0
    splits: bool = False
    tops: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: list[str], folders: list[str]) -> Shape:
        """The shape of these files, none of which only describes the data.

        `folders` may be empty ones.
        """
        paths = [file.split("/") for file in files]
        wrapped, doubts = 0, []
        while (top := _around_all(paths, wrapped)) is not None:
            wrapped += 1
            doubts.append(
                f"all files are in the folder {top!r}: it is taken for a folder around the "
                f"dataset, not for a class"
            )
        depth = wrapped + 1
        tops = sorted({path[wrapped] for path in paths if len(path) > depth})
        named = [top for top in tops if split_names.kind_of(top)]
        training = any(split_names.kind_of(top) == "training" for top in named)
        inner = any(len(path) > depth + 1 and path[wrapped] in named for path in paths)
        splits = bool(named) and (
            len(named) == len(tops) or (training and inner and len(named) > 1)
        )
        odd = [top for top in tops if top not in named]
        if splits and odd:
            doubts.append(
                f"folders beside the splits: {listed(map(repr, odd), 5)}: taken for splits of no "
                f"known use, nothing in them is changed"
            )
        if not splits and named:
            doubts.append(
                f"{listed(map(repr, named), 5)} could be splits, but stand beside "
                f"{listed(map(repr, odd), 5)}: all are taken for classes"
            )
        if not splits and (below := _splits_below(paths, wrapped)):
            doubts.append(
                f"the class folders hold folders named like splits "
                f"({listed(map(repr, below), 5)}): no split is read; put them above the classes"
            )
        levels = {wrapped, wrapped + splits}
        filled = {
            tuple(path[: level + 1]) for path in paths for level in levels if len(path) > level + 1
        }
        empty = [
            folder
            for folder in folders
            if folder.count("/") in levels and tuple(folder.split("/")) not in filled
        ]
        if empty:
            doubts.append(
                f"folders without a picture are no classes and no splits: "
                f"{listed(map(repr, empty), 5)}"
            )
        return cls(wrapped, splits, tuple(tops), tuple(doubts))


def _around_all(paths: list[list[str]], depth: int) -> str | None:
    """The one folder at this depth that holds all files, if it is neither a split nor a class.

    It holds several folders, splits, or another such one.
    """
    tops = {path[depth] if len(path) > depth + 1 else "" for path in paths}
    if len(tops) != 1 or "" in tops or split_names.kind_of(top := next(iter(tops))):
        return None
    inner = {path[depth + 1] for path in paths if len(path) > depth + 2}
    loose = any(len(path) == depth + 2 for path in paths)
    around = (
        len(inner) > 1
        or any(map(split_names.kind_of, inner))
        or (inner and _around_all(paths, depth + 1) is not None)
    )
    return top if around and not loose else None


def _splits_below(paths: list[list[str]], depth: int) -> list[str]:
    """The folders in class folders, if all have names of splits."""
    inner = {path[depth + 1] for path in paths if len(path) > depth + 2}
    return sorted(inner) if inner and all(map(split_names.kind_of, inner)) else []


def class_of(path: str, above: int) -> str | None:
    """The class folder of a path, so many folders below the root.

    None for a file outside class folders.
    """
    parts = path.split("/")[above:]
    return parts[0] if len(parts) > 1 else None


def _table(files: list[str], wrapped: int, *, splits: bool) -> pa.Table:
    """The columns of an image folder's samples.

    Those for labels and splits only if there are any.
    """
    columns: dict[str, list[str] | list[str | None]] = {"id": files, "media": files}
    labels = [class_of(file, wrapped + splits) for file in files]
    if any(label is not None for label in labels):
        columns["label"] = labels
    if splits:
        columns["split"] = [class_of(file, wrapped) for file in files]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


@extension
class ImageFolderWriter(Writer):
    """A folder of images in the same split and class folders, with manifest.parquet beside them.

    What keeps its label and its split keeps its path. A relabelled sample goes to the folder of its
    new label, a new one to that of its class, what has another split to the folder of that one;
    where the name is taken, a number is added. A label that cannot be a folder's name is written as
    in a URL.
    """

    name = "image_folder"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the folder. Raises OutputError."""
        references = bring(dataset, places(dataset), folder, files)
        write_manifest(dataset, references, folder)


def places(dataset: Dataset) -> list[str | None]:
    """The path of each sample below the folder, None without media.

    Those that keep their path choose first.
    """
    samples, splits = dataset.samples, bool(dataset.layout.get("splits"))
    wrapped = int(dataset.layout.get("wrapped", 0))
    media, new = media_of(dataset), is_new(samples)
    labels, tops = _texts(dataset, "label"), _texts(dataset, "split")
    placed = [
        not made and path is not None and safe(path) == path
        for path, made in zip(media, new, strict=True)
    ]
    was = [
        class_of(path, wrapped + splits) if path and has else None
        for path, has in zip(media, placed, strict=True)
    ]
    under = [
        class_of(path, wrapped) if splits and path and has else None
        for path, has in zip(media, placed, strict=True)
    ]
    stays = [
        has and old == label and at == top
        for has, old, label, at, top in zip(placed, was, labels, under, tops, strict=True)
    ]
    folders = folders_of(
        (label for label in labels if label is not None), {name for name in was if name is not None}
    )
    around = next(
        (
            "/".join(path.split("/")[:wrapped])
            for path, has in zip(media, placed, strict=True)
            if path and has
        ),
        "",
    )
    taken = Places([MANIFEST])
    found = [
        taken.take(path) if stay and path else None for path, stay in zip(media, stays, strict=True)
    ]
    for number, path in enumerate(media):
        if path is not None and not stays[number]:
            label, top = labels[number], tops[number]
            rest = (
                _rest(path, wrapped + splits)
                if placed[number]
                else new_name(samples.ids[number], path)
            )
            parts = (
                around,
                folder_name(top) if top else "",
                "" if label is None else folders[label],
                rest,
            )
            found[number] = taken.take(posixpath.join(*parts))
    return found


def _rest(path: str, above: int) -> str:
    """A path without its class folder and so many above it."""
    parts = path.split("/")
    return "/".join(parts[1 + above :] or parts[-1:])


def _texts(dataset: Dataset, column: str) -> list[str | None]:
    """A column as text, None where there is none."""
    if column not in dataset.samples:
        return [None] * len(dataset)
    return [label_text(value) for value in dataset.samples.table.column(column).to_pylist()]
