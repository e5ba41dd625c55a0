"""A table again: in the file format it was read from, or as Parquet, with its images beside it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe.data.dataset import Dataset
from dqpipe.data.labels import label_text
from dqpipe.storage.location import is_url
from dqpipe_formats.copying import below, keep_mode, writing
from dqpipe_formats.curated import MANIFEST, bring, media_of, source_name, write_manifest
from dqpipe_formats.placing import Places, file_name, folders_of, new_name, safe
from dqpipe_formats.records import Records, is_new


def write_table(dataset: Dataset, folder: Path, files: str) -> None:
    """Write the table, the images its rows name, and manifest.parquet. Raises OutputError.

    An image lies where its path says, one from elsewhere in `media/`, a new one in `augmented/<label>/`; only the cells
    of images that lie elsewhere now are changed.
    """
    records = Records.of(dataset.layout) if "source" in dataset.layout else None
    name, inner = source_name(dataset.layout), _inner(dataset, records)
    references = bring(dataset, _places(dataset, name, inner), folder, files)
    cells = [_cell(media, reference, inner) for media, reference in zip(media_of(dataset), references, strict=True)]
    target = below(folder, name)
    with writing(folder):
        if records is None:
            pq.write_table(_frame(dataset, cells), target)
        else:
            records.rewrite(target, dataset.samples, cells)
            keep_mode(records.file.path, target)
    write_manifest(dataset, references, folder)


def _inner(dataset: Dataset, records: Records | None) -> str:
    """The folder of images below that of the table, "" if they start from the table's own, or from quite another."""
    if records is None or not dataset.has_media:
        return ""
    return safe(posixpath.relpath(records.root, posixpath.dirname(records.file.path))) or ""


def _places(dataset: Dataset, name: str, inner: str) -> list[str | None]:
    """The place of each image below the folder, one for each file; paths that stay choose first."""
    media, new = media_of(dataset), is_new(dataset.samples)
    taken, found = Places([MANIFEST, name]), dict[str, str]()
    for path, made in zip(media, new, strict=True):
        if path is not None and not made and path not in found and (short := safe(path)):
            found[path] = taken.take(posixpath.join(inner, short))
    labels = dataset.samples.table.column("label").to_pylist() if "label" in dataset.samples else [None] * len(media)
    texts = ["" if label is None else str(label_text(label)) for label in labels]
    folders = folders_of(filter(None, texts), ())
    for path, made, text, id_ in zip(media, new, texts, dataset.samples.ids, strict=True):
        if path is not None and path not in found:
            place = ("augmented", folders.get(text, ""), new_name(id_, path)) if made else ("media", file_name(path))
            found[path] = taken.take(posixpath.join(inner, *place))
    return [None if path is None else found[path] for path in media]


def _cell(media: str | None, reference: str | None, inner: str) -> str | None:
    """The path as the table shall have it: as it was, unless the file lies elsewhere now."""
    if media is None or reference is None or reference.startswith("/") or is_url(reference):
        return reference
    return media if safe(media) and posixpath.join(inner, str(safe(media))) == reference else posixpath.relpath(reference, inner or ".")


def _frame(dataset: Dataset, cells: Sequence[str | None]) -> pa.Table:
    """The user's columns, from the samples alone, in the types they had."""
    layout, samples = dataset.layout, dataset.samples
    names = {column: name for name, column in {**layout.get("own", {}), **layout.get("roles", {})}.items()}
    columns = layout.get("types") or [name for name in samples.names if name not in {"content", "parent", "made_by"}]
    arrays = {}
    for column in columns:
        name = names.get(column, column)
        array = pa.array(cells, pa.string()) if name == "media" else samples.table.column(name)
        arrays[column] = _typed(array, layout.get("types", {}).get(column))
    return pa.table(arrays)


def _typed(array: pa.ChunkedArray | pa.Array, kind: str | None) -> pa.ChunkedArray | pa.Array:
    """A column in the type that it had, if its values allow that (a key of numbers has none for new samples)."""
    try:
        return array if kind is None else array.cast(pa.type_for_alias(kind))
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return array
