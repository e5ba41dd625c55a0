"""A table again: in the file format it was read from, or as Parquet, with its images beside it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe import Dataset, Inside, is_url, label_text, media_path
from dqpipe_formats.copying import File, below, can_be_copied, copy, keep_mode, writing
from dqpipe_formats.curated import MANIFEST, bring, media_of, source_name, write_manifest
from dqpipe_formats.placing import Places, file_name, folders_of, new_name, safe
from dqpipe_formats.records import Records, is_new, values_of
from dqpipe_formats.roles import is_images


def write_table(dataset: Dataset, folder: Path, files: str) -> None:
    """Write the table, the images its rows name, and manifest.parquet. Raises OutputError.

    An image lies where its path says, one from elsewhere in `media/`, a new one in
    `augmented/<label>/`; only the cells of images that lie elsewhere now are changed. Further
    images that a row names (a mask) go with it.
    """
    records = Records.of(dataset.layout) if "source" in dataset.layout else None
    name, inner = source_name(dataset.layout), _inner(dataset, records)
    beside = _beside(dataset)
    references = bring(
        dataset,
        _places(dataset, name, inner, [path for paths in beside.values() for path in paths]),
        folder,
        files,
    )
    own = {
        column: _bring_beside(dataset, paths, inner, folder, files)
        for column, paths in beside.items()
    }
    cells = [
        media
        if files != "manifest" and _is_gone(dataset, media)
        else _cell(media, reference, inner)
        for media, reference in zip(media_of(dataset), references, strict=True)
    ]
    target = below(folder, name)
    with writing(folder):
        if records is None:
            pq.write_table(_frame(dataset, cells, own), target)
        else:
            records.rewrite(target, dataset.samples, cells, own)
            keep_mode(records.file.path, target)
    write_manifest(dataset, references, folder)


def _is_gone(dataset: Dataset, media: str | None) -> bool:
    """Whether a path below the dataset's folder leads to nothing, so that it stays as it is."""
    return (
        media is not None
        and not is_url(dataset.root)
        and safe(media) is not None
        and not os.path.lexists(media_path(dataset.root, media))
    )


def _inner(dataset: Dataset, records: Records | None) -> str:
    """The folder of images below that of the table, "" if they start from the table's own, or from
    quite another.
    """
    if records is None or not dataset.has_media:
        return ""
    return safe(posixpath.relpath(records.root, posixpath.dirname(records.file.path))) or ""


def _beside(dataset: Dataset) -> dict[str, list[str | None]]:
    """The paths in further columns of images, as those of masks, by the column's name among the
    samples; null for new samples.
    """
    if not dataset.has_media:
        return {}
    table, new = dataset.samples.table, is_new(dataset.samples)
    names = [
        name
        for name in dataset.layout.get("own", {})
        if name in table.column_names and is_images(table.column(name))
    ]
    return {
        name: [
            None if made else path
            for path, made in zip(table.column(name).to_pylist(), new, strict=True)
        ]
        for name in names
    }


def _bring_beside(
    dataset: Dataset, paths: Sequence[str | None], inner: str, folder: Path, files: str
) -> list[str | None]:
    """Copy what a column names to where its paths say, and give back the cells.

    Absolute where a file stays where it is.
    """
    inside, cells, wanted = Inside(dataset.within), list[str | None](), dict[str, File]()
    for path in paths:
        short = safe(path) if path else None
        source = media_path(dataset.root, path) if path else ""
        if (
            path is None
            or is_url(dataset.root)
            or not inside.holds(source)
            or not can_be_copied(source)
            or not Path(source).exists()
        ):
            cells.append(path)
        elif short is None or files == "manifest":
            cells.append(path if path.startswith("/") else posixpath.join(dataset.root, path))
        else:
            cells.append(path)
            place = posixpath.join(inner, short)
            if not Path(below(folder, place)).exists():  # it may be a sample's own image, too
                wanted[place] = File(path, place, None, dataset.within)
    copy(list(wanted.values()), dataset.root, folder, link=files == "hardlink")
    return cells


def _places(
    dataset: Dataset, name: str, inner: str, beside: Sequence[str | None]
) -> list[str | None]:
    """The place of each image below the folder, one for each file.

    Paths that stay choose first, those of images beside next.
    """
    media, new = media_of(dataset), is_new(dataset.samples)
    pictures = set(media)
    theirs = {
        posixpath.join(inner, short)
        for path in beside
        if path and path not in pictures and (short := safe(path))
    }
    taken, found = Places([MANIFEST, name, *theirs]), dict[str, str]()
    for path, made in zip(media, new, strict=True):
        if path is not None and not made and path not in found and (short := safe(path)):
            found[path] = taken.take(posixpath.join(inner, short))
    labels = values_of(dataset.samples, "label")
    texts = ["" if label is None else str(label_text(label)) for label in labels]
    folders = folders_of(filter(None, texts), ())
    for path, made, text, id_ in zip(media, new, texts, dataset.samples.ids, strict=True):
        if path is not None and path not in found:
            place = (
                ("augmented", folders.get(text, ""), new_name(id_, path))
                if made
                else ("media", file_name(path))
            )
            found[path] = taken.take(posixpath.join(inner, *place))
    return [None if path is None else found[path] for path in media]


def _cell(media: str | None, reference: str | None, inner: str) -> str | None:
    """The path as the table shall have it: as it was, unless the file lies elsewhere now."""
    if media is None or reference is None or reference.startswith("/") or is_url(reference):
        return reference
    return (
        media
        if safe(media) and posixpath.join(inner, str(safe(media))) == reference
        else posixpath.relpath(reference, inner or ".")
    )


def _frame(
    dataset: Dataset, cells: Sequence[str | None], own: Mapping[str, Sequence[str | None]]
) -> pa.Table:
    """The user's columns, from the samples alone, in the types they had."""
    layout, samples = dataset.layout, dataset.samples
    names = {
        column: name
        for name, column in {**layout.get("own", {}), **layout.get("roles", {})}.items()
    }
    columns = list(layout.get("types") or ())
    known = (
        {names.get(column, column) for column in columns}
        | {"content", "parent", "made_by"}
        | ({"id", "media"} if columns else set())
    )
    columns += [name for name in samples.names if name not in known]
    arrays = {}
    for column in columns:
        name = names.get(column, column)
        given = cells if name == "media" else own.get(name)
        array = samples.table.column(name) if given is None else pa.array(given, pa.string())
        arrays[column] = _typed(array, layout.get("types", {}).get(column))
    return pa.table(arrays)


def _typed(array: pa.ChunkedArray | pa.Array, kind: str | None) -> pa.ChunkedArray | pa.Array:
    """A column in the type that it had, if its values allow that (a key of numbers has none for new
    samples).
    """
    try:
        return array if kind is None else array.cast(pa.type_for_alias(kind))
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return array
