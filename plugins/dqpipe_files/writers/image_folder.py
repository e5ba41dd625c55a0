"""An image folder again, with relabelled and new samples in the folders of their classes."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Literal

from dqpipe.data.tables import Dataset, label_text
from dqpipe.plugin.stage import Writer, extension
from dqpipe_files.curated import MANIFEST, bring, media_of, write_manifest
from dqpipe_files.placing import Places, folder_name, folders_of, new_name, safe
from dqpipe_files.readers.image_folder import class_of
from dqpipe_files.records import is_new


@extension
class ImageFolder(Writer):
    """A folder of images in the same split and class folders, with manifest.parquet beside them.

    What keeps its label keeps its path. A relabelled sample goes to the folder of its new label, a new one to that of its
    class; where the name is taken, a number is added. A label that cannot be a folder's name is written as in a URL.
    """

    name = "image_folder"
    version = 1

    def write(self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]) -> None:
        """Write the folder. Raises OutputError."""
        references = bring(dataset, places(dataset), folder, files)
        write_manifest(dataset, references, folder)


def places(dataset: Dataset) -> list[str | None]:
    """The path of each sample below the folder, None without media; those that keep their path choose first."""
    samples, splits = dataset.samples, bool(dataset.layout.get("splits"))
    wrapped = int(dataset.layout.get("wrapped", 0))
    media, new = media_of(dataset), is_new(samples)
    labels, tops = _texts(dataset, "label"), _texts(dataset, "split")
    placed = [not made and path is not None and safe(path) == path for path, made in zip(media, new, strict=True)]
    was = [class_of(path, wrapped + splits) if path and has else None for path, has in zip(media, placed, strict=True)]
    stays = [has and old == label for has, old, label in zip(placed, was, labels, strict=True)]
    folders = folders_of((label for label in labels if label is not None), {name for name in was if name is not None})
    around = next(("/".join(path.split("/")[:wrapped]) for path, has in zip(media, placed, strict=True) if path and has), "")
    taken = Places([MANIFEST])
    found = [taken.take(path) if stay and path else None for path, stay in zip(media, stays, strict=True)]
    for number, path in enumerate(media):
        if path is not None and not stays[number]:
            label, top = labels[number], tops[number]
            rest = _rest(path, wrapped + splits) if placed[number] else new_name(samples.ids[number], path)
            parts = (around, folder_name(top) if splits and top else "", "" if label is None else folders[label], rest)
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
