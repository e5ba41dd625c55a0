"""What every writer does: bring the media of a curated set to their places, and write manifest.parquet."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe.model import Dataset, media_path
from dqpipe.places import is_url, url_below
from dqpipe_files.copying import can_be_copied, copy, writing
from dqpipe_files.records import is_new

MANIFEST = "manifest.parquet"


def media_of(dataset: Dataset) -> list[str | None]:
    """The media reference of each sample, None for those that have none."""
    return list(dataset.samples["media"]) if "media" in dataset.samples else [None] * len(dataset)


def bring(dataset: Dataset, places: Sequence[str | None], folder: Path, files: str) -> list[str | None]:
    """Copy or link the media to their places below the folder; the reference of each from there on.

    With `files="manifest"` only new media are written, and the others stay where they are: their references are absolute. So
    do those that nobody could read: a device, a folder, a file that is absent, forbidden or endless.
    """
    references: list[str | None] = []
    pairs: dict[str, str] = {}
    contents = dataset.samples["content"] if "content" in dataset.samples else [""] * len(dataset)
    for media, place, content, new in zip(media_of(dataset), places, contents, is_new(dataset.samples), strict=True):
        if media is None or place is None:
            references.append(None)
        elif not new and (files == "manifest" or (content is None and not can_be_copied(media_path(dataset.root, media)))):
            references.append(url_below(dataset.root, media) if is_url(dataset.root) else posixpath.join(dataset.root, media))
        else:
            pairs[place] = media
            references.append(place)
    tables = 2 * dataset.samples.table.nbytes
    copy([(media, place) for place, media in pairs.items()], dataset.root, folder, link=files == "hardlink", tables=tables)
    return references


def write_manifest(dataset: Dataset, references: Sequence[str | None], folder: Path) -> None:
    """Write manifest.parquet: all columns of the samples under their original id, with `media` as it is now."""
    table = dataset.samples.table
    if "media" in dataset.samples:
        column = pa.array(references, pa.string())
        table = table.set_column(table.column_names.index("media"), "media", column)
    with writing(folder):
        pq.write_table(table, folder / MANIFEST)


def source_name(layout: Any) -> str:  # noqa: ANN401 (plain JSON values)
    """The name of the table that the dataset was read from; `data.parquet` if there is none, or if it is that of ours."""
    name = posixpath.basename(layout.get("source", ""))
    return name if name and name != MANIFEST else "data.parquet"
