"""Folders of images: class folders, split folders with class folders in them, or one flat folder."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqpipe.errors import DatasetError, listed
from dqpipe.model import Dataset, Samples, path_text
from dqpipe.places import is_url
from dqpipe.stages import Reader, extension, option
from dqpipe_files.tabular import kind_of
from dqpipe_files.walking import Walk

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "dev"})
SIDECARS = (
    *(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".md", ".rst", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log"),
    *(".parquet", ".arrow", ".feather", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".sh", ".bib", ".cff", ".sha256", ".md5"),
    *(".zip", ".tar", ".gz", ".tgz", ".7z"),
)
PAPERS = frozenset({"readme", "license", "licence", "notice", "copying", "changelog", "authors", "citation", "makefile"})


@extension
class ImageFolder(Reader):
    """A folder of images: its class folders, split folders (train, val, test) with class folders in them, or a flat folder.

    Every regular file becomes a sample whatever its extension, so that one which cannot be read is seen and claimed. Left
    out are hidden files, what operating systems leave behind, and files beside the class folders (or in a flat folder)
    that describe the data, as `README` or `labels.csv`; the latter are listed with the dataset, in `layout["skipped"]`.
    A level of folders is the split only if all its folders have names of splits. The label is the class folder's name,
    the id the path below the root (see `dqpipe.model.path_text`).
    """

    name = "image_folder"
    version = 1

    sidecars: tuple[str, ...] = option(SIDECARS, "extensions of files outside class folders that are no samples")

    def suits(self, source: object) -> int:
        """Any folder, also at a URL."""
        if isinstance(source, str) and is_url(source):
            return 0 if kind_of(source) else 50
        return 50 if isinstance(source, (str, os.PathLike)) and Path(source).expanduser().is_dir() else 0

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset of a folder; it has no columns, so no roles. Raises DatasetError if it cannot be read or has no file."""
        return self._read(source, roles, outside=False)

    def read_outside(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The same with what links to folders elsewhere lead to."""
        return self._read(source, roles, outside=True)

    def _read(self, source: Any, roles: Mapping[str, str], *, outside: bool) -> Dataset:  # noqa: ANN401
        remote = isinstance(source, str) and is_url(source)
        root = source.rstrip("/") if remote else str(Path(source).expanduser().absolute())
        if not remote and not Path(root).is_dir():
            raise DatasetError(f"{path_text(root)} is not a folder" if Path(root).exists() else f"there is no folder {path_text(root)}")
        if any(roles.values()):
            raise DatasetError(f"an image folder has no columns to give the roles {listed(roles)} to: leave `roles` out")
        walk = Walk(root, outside).run()
        tops = [folder for folder in walk.folders if "/" not in folder]
        splits = bool(tops) and all(top.lower() in SPLITS for top in tops)
        files = self._samples(walk, 2 if splits else 1)
        if not files:
            raise DatasetError(f"the folder {path_text(root)} has no images: no file in it or below it could be a sample")
        layout = {"splits": splits, "skipped": walk.skipped}
        return Dataset(Samples(_table(files, splits=splits)), path_text(root), self.name, layout, outside)

    def _samples(self, walk: Walk, depth: int) -> list[str]:
        """The path of each sample; files above `depth`, outside class folders, may be sidecars instead."""
        samples = []
        for file in walk.files:
            parts = file.split("/")
            stem, extension_ = posixpath.splitext(parts[-1].lower())
            if len(parts) <= depth and (extension_ in self.sidecars or (not extension_ and stem in PAPERS)):
                walk.skip(file, "describes the data and is no sample")
            else:
                samples.append(path_text(file))
        return sorted(samples)


def class_of(path: str, *, splits: bool) -> str | None:
    """The class folder of a path, None for a file outside class folders."""
    parts = path.split("/")[splits:]
    return parts[0] if len(parts) > 1 else None


def _split_of(path: str) -> str | None:
    return path.partition("/")[0] if "/" in path else None


def _table(files: list[str], *, splits: bool) -> pa.Table:
    """The columns of an image folder's samples; those for labels and splits only if there are any."""
    columns: dict[str, list[str] | list[str | None]] = {"id": files, "media": files}
    labels = [class_of(file, splits=splits) for file in files]
    if any(label is not None for label in labels):
        columns["label"] = labels
    if splits:
        columns["split"] = [_split_of(file) for file in files]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
