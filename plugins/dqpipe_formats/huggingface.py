"""Hugging Face datasets on a disk.

Parquet and Arrow files with pictures in their cells, and folders of pictures with metadata files.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH100, PTH103, PTH111, PTH112, PTH113, PTH118, PTH120
from __future__ import annotations

import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe import (
    ChangedError,
    Dataset,
    DatasetError,
    Inside,
    OutputError,
    Reader,
    Recognition,
    Samples,
    Writer,
    containers,
    extension,
    is_url,
    listed,
    many,
    media_path,
    path_text,
    read_bytes,
)
from dqpipe_formats.annotated import (
    LabelError,
    label_bytes,
    plain_text,
    split_of,
    split_of_folder,
)
from dqpipe_formats.copying import File, below, copy, keep_mode, writing
from dqpipe_formats.curated import MANIFEST, media_of, write_manifest
from dqpipe_formats.listing import Listing
from dqpipe_formats.placing import safe
from dqpipe_formats.records import Records, values_of
from dqpipe_formats.rewriting import write_table
from dqpipe_formats.roles import Columns, is_images, pictures_in

METADATA = re.compile(r"(.*/)?metadata\.(csv|jsonl|parquet)", re.IGNORECASE)
SHARD = re.compile(r"(.*?)[-_.]?\d{3,}(-of-\d+)?", re.IGNORECASE)
CARRIED = frozenset(
    {"readme.md", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
)
OPTIONS = {"root": "", "encoding": "utf-8", "delimiter": ""}
"""How tables of metadata are read: their pictures lie beside them."""


@dataclass(frozen=True)
class Part:
    """One file of a dataset, below its root."""

    root: str
    name: str
    split: str | None = None
    own: str = ""
    """What its samples' ids begin with, where another file has its stem."""

    @property
    def path(self) -> str:
        """The file, as `open` takes it."""
        return media_path(self.root, self.name)

    @property
    def stem(self) -> str:
        """Its name without the extension: what its samples' ids begin with."""
        return self.own or posixpath.splitext(self.name)[0]

    def schema(self) -> pa.Schema:
        """The schema. Raises DatasetError."""
        with self._reading():
            return (
                containers.batches(self.path)[0].schema
                if self.is_arrow
                else pq.read_schema(self.path)
            )
        raise AssertionError

    @property
    def is_arrow(self) -> bool:
        """Whether it is an Arrow file, else a Parquet file."""
        return self.name.lower().endswith(".arrow")

    def groups(self) -> Iterator[pa.Table]:
        """Its row groups or batches, one after the other. Raises DatasetError."""
        with self._reading():
            if self.is_arrow:
                yield from (
                    pa.Table.from_batches([batch]) for batch in containers.batches(self.path)
                )
                return
            with pq.ParquetFile(self.path) as file:
                for number in range(file.metadata.num_row_groups):
                    yield file.read_row_group(number)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows. Raises DatasetError."""
        with self._reading():
            if self.is_arrow:
                return pa.Table.from_batches(containers.batches(self.path)).select(list(columns))
            return pq.read_table(self.path, columns=list(columns), partitioning=None)
        raise AssertionError

    def _reading(self) -> _Reading:
        return _Reading(self.name)

    def features(self) -> dict[str, Any]:
        """What the schema says of columns in Hugging Face's words."""
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found = json.loads((self.schema().metadata or {})[b"huggingface"])["info"]["features"]
            return {name: kind for name, kind in found.items() if isinstance(kind, dict)}
        return {}

    def pictures(self) -> str | None:
        """The column with pictures: the first one that the features call an image, else the first
        of bytes that begin like one.
        """
        schema = self.schema()
        named = [
            name
            for name, kind in self.features().items()
            if kind.get("_type") == "Image" and name in schema.names
        ]
        binary = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
        if named or not binary:
            return named[0] if named else None
        head = next((table.slice(0, 20) for table in self.groups()), None)
        return None if head is None else pictures_in(head.select(binary))

    def class_names(self, column: str | None) -> list[str] | None:
        """The names of the classes that a column's numbers stand for."""
        kind = self.features().get(column or "", {})
        names = kind.get("names")
        return (
            [str(name) for name in names]
            if kind.get("_type") == "ClassLabel" and isinstance(names, list)
            else None
        )


class _Reading:
    """Whatever Arrow or the system says against a file, as a DatasetError that names it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise DatasetError for what went wrong."""
        if isinstance(error, (pa.ArrowException, OSError, IndexError)):
            raise DatasetError(
                f"{self.name} cannot be read, or is cut short: {str(error)[:300]}"
            ) from None


@extension
class HuggingFace(Reader):
    """Datasets of Hugging Face: `save_to_disk`, Parquet files with pictures in cells, a folder of
    pictures with `metadata.csv`, `.jsonl` or `.parquet`.

    All splits are read, each by its folder or the name of its files. Pictures in cells are read
    where they lie. Numbers of a ClassLabel are shown by their names, and written as numbers again;
    features and other columns stay as they are.
    """

    name = "huggingface"
    version = 1
    knows = (
        "Hugging Face: `save_to_disk`, Parquet with pictures in cells and features, image folders "
        "with `metadata.csv`, `.jsonl`, `.parquet`"
    )

    def suits(self, source: object) -> int:
        """A folder or file of these kinds."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By metadata files with `file_name`, by Arrow files with their JSON, by pictures in cells
        or features in a Parquet file's schema.
        """
        if is_url(source) or not isinstance(source, (str, os.PathLike)):
            return Recognition(0)
        with suppress(DatasetError):
            root, parts, tables = _parts(source)
            if tables:
                return Recognition(
                    90,
                    f"{tables[0]!r} has a column `file_name`, as image folders of Hugging Face do",
                )
            arrow = [part.name for part in parts if part.is_arrow]
            if arrow and any(
                os.path.isfile(os.path.join(root, os.path.dirname(name), "dataset_info.json"))
                for name in arrow
            ):
                return Recognition(
                    90, f"{arrow[0]!r} and dataset_info.json, as `save_to_disk` writes them"
                )
            for part in parts[:1]:
                if column := part.pictures():
                    return Recognition(90, f"column {column!r} of {part.name!r} holds pictures")
                kinds = {kind.get("_type") for kind in part.features().values()}
                if "ClassLabel" in kinds or (part.features() and os.path.isdir(source)):
                    return Recognition(
                        85, f"the schema of {part.name!r} holds features of Hugging Face"
                    )
        return Recognition(0)

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset.

        Raises DatasetError: nothing of this kind, a file that is broken, a role or column that does
        not exist.
        """
        if not isinstance(source, (str, os.PathLike)):
            raise DatasetError(
                f"a dataset of Hugging Face is read from a path, not from {type(source).__name__}"
            )
        root, parts, tables = _parts(source)
        inside = Inside((root,))
        if beyond := [
            name
            for name in (*tables, *(part.name for part in parts))
            if not inside.holds(media_path(root, name))
        ]:
            raise DatasetError(f"files lead to outside the dataset's folder: {listed(beyond, 3)}")
        if tables:
            return _with_metadata(root, tables, roles)
        if not parts:
            raise DatasetError(
                f"{path_text(root)} has no Parquet or Arrow file, and no metadata file with "
                f"`file_name`"
            )
        found, told = [], []
        for part in parts:
            table, layout = _samples(part, roles)
            found.append(table)
            told.append(layout)
        whole = _joined([part.name for part in parts], found)
        splits = [part.split for part in parts]
        if len(set(splits)) > 1 and "split" not in whole.column_names:
            values = [
                part.split
                for part, table in zip(parts, found, strict=True)
                for _ in range(len(table))
            ]
            whole = whole.append_column("split", pa.array(values, pa.string()))
        layout = {"parts": told, "carried": _carried(source), "doubts": _absent_splits(root, parts)}
        return Dataset(Samples(whole.sort_by("id")), path_text(root), self.name, layout)


@extension
class HuggingFaceWriter(Writer):
    """The same files with the rows of what is kept, their features and schemas as they were; new
    samples follow those of their parent's file.
    """

    name = "huggingface"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the files and manifest.parquet. Raises OutputError, ChangedError."""
        folder.mkdir(parents=True, exist_ok=True)
        if "tables" in dataset.layout:
            _write_tables(dataset, folder, files)
            return
        media = media_of(dataset)
        if files == "manifest":
            write_manifest(
                dataset,
                [
                    path
                    if path is None or path.startswith("/")
                    else posixpath.join(dataset.root, path)
                    for path in media
                ],
                folder,
            )
            return
        changed = [
            part["name"]
            for part in dataset.layout["parts"]
            if _stamp(dataset.root, part["name"]) != part["stamp"]
        ]
        if changed:
            raise ChangedError(changed)
        references = list(media)
        for told in dataset.layout["parts"]:
            _write_part(dataset, folder, told, references)
        carried = [
            name
            for name in dataset.layout["carried"]
            if safe(name) and not (folder / str(safe(name))).exists()
        ]
        copy(
            [File(name, str(safe(name)), None, dataset.within) for name in carried],
            dataset.root,
            folder,
            link=False,
        )
        write_manifest(dataset, references, folder)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _parts(source: str | os.PathLike[str]) -> tuple[str, list[Part], list[str]]:
    """The folder of a dataset, its Parquet and Arrow files, and its tables of metadata instead of
    these. Raises DatasetError.
    """
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        root, name = os.path.split(path)
        return (
            root,
            [Part(root, path_text(name))] if name.lower().endswith((".parquet", ".arrow")) else [],
            [],
        )
    listing = Listing.of(path)
    if listing is None:
        raise DatasetError(f"there is no folder or file {path_text(path)}")
    tables = [
        path_text(file)
        for file in listing.files
        if METADATA.fullmatch(file) and b"file_name" in listing.head(file)
    ]
    names = [
        name
        for name in listing.ending(".parquet", ".arrow")
        if not posixpath.basename(name).startswith("cache-") and name != MANIFEST
    ]
    return (
        path,
        _apart([] if tables else [Part(path, path_text(name), _split_of(name)) for name in names]),
        tables,
    )


def _apart(parts: list[Part]) -> list[Part]:
    """The same with ids of their own for files that differ only in what they end with."""
    count = Counter(part.stem for part in parts)
    return [part if count[part.stem] == 1 else replace(part, own=part.name) for part in parts]


def _joined(names: Sequence[str], tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all files. Raises DatasetError that names the column whose types differ."""
    first: dict[str, tuple[str, pa.Field]] = {}
    for name, table in zip(names, tables, strict=True):
        for field in table.schema:
            before, known = first.setdefault(field.name, (name, field))
            try:
                pa.unify_schemas(
                    [pa.schema([known]), pa.schema([field])], promote_options="permissive"
                )
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise DatasetError(
                    f"column {field.name!r} is {known.type} in {before} and {field.type} in {name}"
                ) from None
    return pa.concat_tables(tables, promote_options="permissive")


def _absent_splits(root: str, parts: Sequence[Part]) -> list[str]:
    """Splits that `dataset_dict.json` names and that are not there, as doubts."""
    name = "dataset_dict.json"
    if not os.path.isfile(os.path.join(root, name)):
        return []
    try:
        said = json.loads(label_bytes(os.path.join(root, name), (root,), 1 << 20))["splits"]
        wanted = [str(split) for split in said]
    except (LabelError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [plain_text(f"{name} cannot be read: {str(error)[:200]}")]
    there = {part.name.split("/")[0] for part in parts}
    gone = [plain_text(split) for split in wanted if split not in there]
    return [f"{name} names splits that are not there: {listed(map(repr, gone), 5)}"] if gone else []


def _split_of(name: str) -> str | None:
    """The split of a file by its name or its folder.

    A folder of `save_to_disk` is one whatever its name.
    """
    stem, found = posixpath.splitext(name)[0], split_of(name)
    if found is None and name.lower().endswith(".arrow"):
        return name.split("/", maxsplit=1)[0] if "/" in name else None
    match = SHARD.fullmatch(posixpath.basename(stem))
    return found or (match[1] or None if match and match[2] else None)


def _carried(source: str | os.PathLike[str]) -> list[str]:
    listing = Listing.of(source)
    if listing is None:
        return []
    inside = Inside((listing.root,))
    return [
        path_text(file)
        for file in listing.files
        if posixpath.basename(file).lower() in CARRIED
        and inside.holds(os.path.join(listing.root, file))
    ]


def _stamp(root: str, name: str) -> list[int]:
    """By what a change of a file is seen."""
    try:
        found = os.stat(media_path(root, name))  # noqa: PTH116
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _samples(part: Part, roles: Mapping[str, str]) -> tuple[pa.Table, dict[str, Any]]:
    """The samples of a file, and what its writer must know."""
    schema, picture = part.schema(), roles.get("media") or part.pictures()
    if picture is not None and picture not in schema.names:
        raise DatasetError(
            f"{part.name} has no column {picture!r} for the role media; has {listed(schema.names)}"
        )
    plain = [
        name
        for name in schema.names
        if name != picture and not _holds_bytes(schema.field(name).type)
    ]
    table = part.table(plain) if plain else pa.table({"_": pa.nulls(sum(map(len, part.groups())))})
    columns = Columns.of(
        table,
        {**{role: name for role, name in roles.items() if role != "media"}, "media": ""},
        media=False,
    )
    ids = [f"{part.stem}/{row:07d}" for row in range(len(table))]
    samples = columns.samples(table, text=False, ids=ids)
    if not plain:
        samples = samples.select(["id"])
    label, names = columns.roles.get("label"), part.class_names(columns.roles.get("label"))
    if names is not None and pa.types.is_integer(samples.schema.field("label").type):
        shown = [
            names[number] if number is not None and 0 <= number < len(names) else None
            for number in samples.column("label").to_pylist()
        ]
        samples = samples.set_column(
            samples.column_names.index("label"), "label", pa.array(shown, pa.string())
        )
    if picture is not None:
        addresses = [containers.member(part.name, f"{row}/{picture}") for row in range(len(table))]
        samples = samples.append_column("media", pa.array(addresses, pa.string()))
    told = {
        "name": part.name,
        "stem": part.stem,
        "picture": picture,
        "label": label,
        "names": names,
        "stamp": _stamp(part.root, part.name),
    }
    return samples, told


def _write_part(
    dataset: Dataset, folder: Path, told: Mapping[str, Any], references: list[str | None]
) -> None:
    """Write one file: as it is where nothing in it changed, else group by group.

    `references` of its samples become those of the new rows.
    """
    part = Part(dataset.root, told["name"], own=told["stem"])
    place = safe(part.name)
    if place is None:
        raise OutputError(f"{told['name']!r} lies outside the dataset's folder")
    labels, parents = (values_of(dataset.samples, name) for name in ("label", "parent"))
    ours = {
        _row(sample, part): row
        for row, sample in enumerate(dataset.samples.ids)
        if parents[row] is None and _row(sample, part) is not None
    }
    made = [
        (row, _row(parent, part))
        for row, parent in enumerate(parents)
        if parent is not None and _row(parent, part) is not None
    ]
    target = below(folder, place)
    with writing(folder):
        os.makedirs(os.path.dirname(target), exist_ok=True)
    kept, start, changed = list[pa.Table](), 0, bool(made)
    for group in part.groups():
        rows = [row for row in range(len(group)) if start + row in ours]
        new = _relabelled(group, told, {row: labels[ours[start + row]] for row in rows})
        changed |= len(rows) < len(group) or new is not group
        kept.append(new.take(pa.array(rows, pa.int64())) if len(rows) < len(group) else new)
        start += len(group)
    for number, old in enumerate(sorted(row for row in ours if row is not None)):
        references[ours[old]] = (
            containers.member(place, f"{number}/{told['picture']}") if told["picture"] else None
        )
    if not changed:
        copy([File(told["name"], place, None, dataset.within)], dataset.root, folder, link=False)
        return
    for number, (row, parent) in enumerate(made, len(ours)):
        kept.append(_new_row(dataset, part, told, row, int(parent or 0), labels[row]))
        references[row] = containers.member(place, f"{number}/{told['picture']}")
    with writing(folder):
        _save(part, kept, target)
        keep_mode(part.path, target)


def _row(sample: str, part: Part) -> int | None:
    """The row of a sample in a file; None where it is of another one."""
    stem, _, row = sample.rpartition("/")
    return int(row) if stem == part.stem and row.isdigit() else None


def _relabelled(group: pa.Table, told: Mapping[str, Any], labels: Mapping[int, Any]) -> pa.Table:
    """A group with the labels that are others now; the group itself where none is."""
    column, names = told["label"], told["names"]
    if column is None:
        return group
    values = group.column(column).to_pylist()
    changes = {
        row: _stored(label, names, column) for row, label in labels.items() if label is not None
    }
    changes = {
        row: value
        for row, value in changes.items()
        if not _same(_comparable(value), _comparable(values[row]))
    }
    if not changes:
        return group
    for row, value in changes.items():
        values[row] = value
    field = group.schema.field(column)
    return group.set_column(group.column_names.index(column), field, pa.array(values, field.type))


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 (NaN)


def _comparable(value: Any) -> Any:  # noqa: ANN401
    return value.tolist() if hasattr(value, "tolist") else value


def _stored(label: Any, names: Sequence[str] | None, column: str) -> Any:  # noqa: ANN401
    """A label as the file holds it: the number of a class."""
    if names is None:
        return _comparable(label)
    if label not in names:
        raise OutputError(f"the features of column {column!r} have no class {label!r}")
    return list(names).index(label)


def _new_row(
    dataset: Dataset,
    part: Part,
    told: Mapping[str, Any],
    row: int,
    parent: int,
    label: Any,  # noqa: ANN401
) -> pa.Table:
    """The row of a new sample: its parent's with another picture."""
    start = 0
    for group in part.groups():
        if parent < start + len(group):
            one = _relabelled(group.slice(parent - start, 1), told, {0: label})
            media = str(dataset.samples["media"][row])
            data, field = (
                read_bytes(media_path(dataset.root, media)),
                one.schema.field(told["picture"]),
            )
            inner = (
                [field.type.field(number).name for number in range(field.type.num_fields)]
                if pa.types.is_struct(field.type)
                else []
            )
            cell: Any = (
                {
                    name: {"bytes": data, "path": posixpath.basename(media)}.get(name)
                    for name in inner
                }
                if inner
                else data
            )
            return one.set_column(
                one.column_names.index(told["picture"]), field, pa.array([cell], field.type)
            )
        start += len(group)
    raise OutputError(f"{part.name} has no row {parent} any more")


def _save(part: Part, tables: Sequence[pa.Table], target: str) -> None:
    """Write tables as row groups or batches of a file like that of the part."""
    schema = part.schema()
    if part.is_arrow:
        with pa.OSFile(target, "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            for table in tables:
                stream.write_table(table.cast(schema) if table.schema != schema else table)
        return
    with pq.ParquetFile(part.path) as file:
        group = file.metadata.row_group(0) if file.metadata.num_row_groups else None
        packed = (
            group.column(0).compression if group is not None and group.num_columns else "SNAPPY"
        )
    with pq.ParquetWriter(
        target, schema, compression="NONE" if packed == "UNCOMPRESSED" else packed
    ) as writer:
        for table in tables:
            if len(table):
                writer.write_table(table.cast(schema) if table.schema != schema else table)


def _with_metadata(root: str, tables: Sequence[str], roles: Mapping[str, str]) -> Dataset:
    """Folders of pictures with tables of metadata.

    Each table's rows are samples, their pictures below the table's folder.
    """
    found, told, doubts = [], [], list[str]()
    for name in tables:
        dataset = Records.find(media_path(root, name), roles, media=True, options=OPTIONS).dataset()
        folder = posixpath.dirname(name)
        table = dataset.samples.table
        for column in ("id", "media"):
            prefixed = [
                None if value is None else posixpath.join(folder, value)
                for value in table.column(column).to_pylist()
            ]
            table = table.set_column(
                table.column_names.index(column), column, pa.array(prefixed, pa.string())
            )
        found.append((table, split_of_folder(folder)))
        told.append({"folder": folder, "layout": dict(dataset.layout)})
        doubts += dataset.layout.get("doubts", [])
    whole = _joined(tables, [table for table, _ in found])
    count = Counter(whole.column("id").to_pylist())
    if twice := [one for one, number in count.items() if number > 1]:
        raise DatasetError(f"{listed(tables, 3)} list pictures twice: {listed(twice, 3)}")
    doubts += _unlisted(root, tables, whole)
    if len({split for _, split in found}) > 1 and "split" not in whole.column_names:
        whole = whole.append_column(
            "split",
            pa.array([split for table, split in found for _ in range(len(table))], pa.string()),
        )
    return Dataset(
        Samples(whole.sort_by("id")),
        path_text(root),
        HuggingFace.name,
        {"tables": told, "strays": _strays(told, found), "doubts": doubts},
    )


def _strays(
    told: Sequence[Mapping[str, Any]], found: Sequence[tuple[pa.Table, Any]]
) -> dict[str, str]:
    """The folder of the table of each sample that lies in the folder of another table."""
    owner = _owner([one["folder"] for one in told])
    return {
        sample: one["folder"]
        for one, (table, _) in zip(told, found, strict=True)
        for sample in table.column("id").to_pylist()
        if owner(sample) != one["folder"]
    }


def _owner(folders: Sequence[str]) -> Callable[[str], str]:
    """By the id of a sample the deepest of these folders that it lies in."""
    deepest = sorted(folders, key=len, reverse=True)
    return lambda sample: next(
        folder for folder in deepest if not folder or sample.startswith(folder + "/")
    )


def _unlisted(root: str, tables: Sequence[str], samples: pa.Table) -> list[str]:
    """Pictures below the folders of metadata files that no column of these names, as a doubt."""
    listing = Listing.of(root)
    if listing is None or not listing.whole:
        return []
    folders = [posixpath.dirname(name) for name in tables]
    texts = [
        name
        for name in samples.column_names
        if name == "media" or (name != "id" and is_images(samples.column(name)))
    ]
    known = {cell for name in texts for cell in samples.column(name).to_pylist() if cell}
    known |= {posixpath.join(folder, cell) for folder in folders for cell in known}
    left = [
        image
        for image in map(path_text, listing.images)
        if image not in known
        and any(not folder or image.startswith(folder + "/") for folder in folders)
    ]
    return (
        [f"{many(len(left), 'picture')} that no metadata file lists ({listed(left, 3)}): left out"]
        if left
        else []
    )


def _write_tables(
    dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
) -> None:
    """Write each table of metadata with its pictures, and one manifest.parquet."""
    samples, references = dataset.samples.table, list[str | None]([None] * len(dataset))
    parents = (
        samples.column("parent").to_pylist()
        if "parent" in samples.column_names
        else [None] * len(samples)
    )
    owners = [
        parent or sample
        for sample, parent in zip(samples.column("id").to_pylist(), parents, strict=True)
    ]
    of, strays = (
        _owner([told["folder"] for told in dataset.layout["tables"]]),
        dataset.layout["strays"],
    )
    owner = [strays[one] if one in strays else of(one) for one in owners]
    for told in dataset.layout["tables"]:
        inner, start = told["folder"], len(told["folder"]) + 1 if told["folder"] else 0
        rows = [row for row, one in enumerate(owner) if one == inner]
        table = samples.take(pa.array(rows, pa.int64()))
        for column in ("id", "media"):
            values = [
                value if value is None or value.startswith("/") else value[start:]
                for value in table.column(column).to_pylist()
            ]
            table = table.set_column(
                table.column_names.index(column), column, pa.array(values, pa.string())
            )
        own = split_of_folder(inner)
        told_by_folder = "split" in table.column_names and "split" not in told["layout"]["roles"]
        if told_by_folder and all(split == own for split in table.column("split").to_pylist()):
            table = table.drop_columns(["split"])
        root = posixpath.join(dataset.root, inner).rstrip("/")
        target = folder / inner
        target.mkdir(parents=True, exist_ok=True)
        write_table(
            replace(dataset, samples=Samples(table), root=root, layout=told["layout"]),
            target,
            files,
        )
        written = pq.read_table(target / MANIFEST, columns=["media"]).column("media").to_pylist()
        (target / MANIFEST).unlink()
        for row, path in zip(rows, written, strict=True):
            references[row] = (
                path if path is None or path.startswith("/") else posixpath.join(inner, path)
            )
    write_manifest(replace(dataset, layout={}), references, folder)
