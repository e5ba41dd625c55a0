"""What every writer does: bring the media of a curated set to their places, and write
manifest.parquet.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe import Dataset, Inside, is_url, media_path, url_below
from dqpipe_formats.copying import File, can_be_copied, copy, keep_mode, writing
from dqpipe_formats.records import is_new

MANIFEST = "manifest.parquet"


def media_of(dataset: Dataset) -> list[str | None]:
    """The media reference of each sample, None for those that have none."""
    return list(dataset.samples["media"]) if "media" in dataset.samples else [None] * len(dataset)


def bring(
    dataset: Dataset, places: Sequence[str | None], folder: Path, files: str
) -> list[str | None]:
    """Copy or link the media to their places below the folder; the reference of each from there on.

    With `files="manifest"` only new media are written, and the others stay where they are: their
    references are absolute. So do those that nobody could read (a device, a folder, a file that is
    absent, forbidden or endless), and those that lie where the dataset's media may not.
    """
    inside, within = Inside(dataset.within), dataset.within
    references: list[str | None] = []
    files_: dict[str, File] = {}
    contents = dataset.samples["content"] if "content" in dataset.samples else [""] * len(dataset)
    for media, place, content, new in zip(
        media_of(dataset), places, contents, is_new(dataset.samples), strict=True
    ):
        if media is None or place is None:
            references.append(None)
        elif not new and (
            files == "manifest"
            or not _is_for_copying(media_path(dataset.root, media), content, inside)
        ):
            references.append(
                url_below(dataset.root, media)
                if is_url(dataset.root)
                else posixpath.join(dataset.root, media)
            )
        else:
            files_[place] = File(media, place, content or None, None if new else within)
            references.append(place)
    tables = 2 * dataset.samples.table.nbytes
    copy(list(files_.values()), dataset.root, folder, link=files == "hardlink", tables=tables)
    return references


def _is_for_copying(path: str, content: str | None, inside: Inside) -> bool:
    return inside.holds(path) and (content is not None or can_be_copied(path))


def write_manifest(dataset: Dataset, references: Sequence[str | None], folder: Path) -> None:
    """Write manifest.parquet: all columns of the samples under their original id, with `media` as
    it is now.
    """
    table = dataset.samples.table
    if "media" in dataset.samples:
        column = pa.array(references, pa.string())
        table = table.set_column(table.column_names.index("media"), "media", column)
    with writing(folder):
        pq.write_table(table, folder / MANIFEST)
        keep_mode(
            media_path("", dataset.layout.get("source", "")), str(folder / MANIFEST)
        )  # it holds what that table holds


def source_name(layout: Any) -> str:  # noqa: ANN401 (plain JSON values)
    """The name of the table that the dataset was read from.

    `data.parquet` if there is none, or if it is that of ours.
    """
    name = posixpath.basename(layout.get("source", ""))
    return name if name and name != MANIFEST else "data.parquet"
