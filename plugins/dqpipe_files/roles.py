"""Which of the user's columns is the key, the image, the label, the split or the group, and the samples that follow."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.errors import DatasetError, listed, nearest

ROLES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "media": ("media", "image", "path", "file", "filename", "image_path", "filepath"),
    "label": ("label", "class", "target", "category"),
    "split": ("split",),
    "group": ("group",),
}
"""The names by which a column takes a role where the user gives none; they are taken as written here."""
RESERVED = frozenset({*ROLES, "content", "parent", "made_by"})
IMAGES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".avif", ".ico"}
)
NO_VALUES = pa.array(["NA", "N/A", "NaN", "nan", "null", "NULL", "None"])
"""Words that stand for no value in a column of numbers; in a column of text they are words."""


@dataclass(frozen=True)
class Columns:
    """Role → the user's column, and for the other columns: name among the samples → the user's column."""

    roles: Mapping[str, str]
    own: Mapping[str, str]

    @classmethod
    def of(cls, table: pa.Table, roles: Mapping[str, str | None], *, media: bool) -> Columns:
        """The roles as given, then by the names of ROLES; an empty one says that no column has this role.

        A column whose name the samples need for something else gets a `_` behind it. Raises DatasetError for a role or
        a column that does not exist.
        """
        _check(table, roles)
        given = {role: column for role, column in roles.items() if column}
        asked = {role: names for role, names in ROLES.items() if role not in roles and (media or role != "media")}
        for role, names in asked.items():
            for name in names:
                if name in table.column_names and name not in given.values() and _fits(role, table.column(name)):
                    given[role] = name
                    break
        own: dict[str, str] = {}
        for column in table.column_names:
            if column not in given.values():
                name = column
                while name in RESERVED or name in own or (name != column and name in table.column_names):
                    name += "_"
                own[name] = column
        return cls(given, own)

    def samples(self, table: pa.Table, *, text: bool, ids: Sequence[str] | None = None) -> pa.Table:
        """The samples in the table's order; `text` says that its cells are text from which types are to be read."""
        columns: dict[str, Any] = {"id": pa.array(ids if ids is not None else self._ids(table), pa.string())}
        for role in ("media", "split", "group"):
            if role in self.roles:
                columns[role] = _text(table, self.roles[role], role)
        if "media" in columns:
            columns["media"] = _filled(columns["media"])
        if "label" in self.roles:
            columns["label"] = _value(table.column(self.roles["label"]), text=text)
        for name, column in self.own.items():
            columns[name] = _value(table.column(column), text=text)
        return pa.table(columns)

    def _ids(self, table: pa.Table) -> list[str]:
        """The key column; else the path, with the row where one stands more than once; else the row, counted from 0."""
        if "id" in self.roles:
            return key(_text(table, self.roles["id"], "id").to_pylist(), self.roles["id"])
        rows = range(table.num_rows)
        if "media" not in self.roles:
            return [row_id(row) for row in rows]
        return path_ids(_filled(_text(table, self.roles["media"], "media")).to_pylist())


def row_id(row: int) -> str:
    """The id of a row that has no key: sorted as the rows are, up to ten million."""
    return f"row-{row:07d}"


def path_ids(paths: Sequence[str | None]) -> list[str]:
    """The id of each row from its path: the path itself where it stands once, with `#<row>` where more often or empty."""
    counts: dict[str | None, int] = {}
    for path in paths:
        counts[path] = counts.get(path, 0) + 1
    ids = [row_id(row) if path is None else path if counts[path] == 1 else f"{path}#{row}" for row, path in enumerate(paths)]
    if len(set(ids)) < len(ids):  # somebody named a file like one of ours
        return [f"{path or ''}#{row}" for row, path in enumerate(paths)]
    return ids


def key(values: Sequence[str | None], column: str) -> list[str]:
    """The values of a key column. Raises DatasetError if some are empty or stand twice, with five examples."""
    empty = [row for row, value in enumerate(values) if not value]
    if empty:
        raise DatasetError(f"column {column!r} cannot be the key: it is empty in row {listed(empty, 5)} (counted from 0)")
    seen: set[str] = set()
    twice = list(dict.fromkeys(value for value in values if value in seen or seen.add(value)))  # type: ignore[arg-type, func-returns-value]
    if twice:
        raise DatasetError(f"column {column!r} cannot be the key: not unique: {listed(map(repr, twice), 5)}")
    return [value for value in values if value]


def _check(table: pa.Table, roles: Mapping[str, str | None]) -> None:
    for role, column in roles.items():
        if role not in ROLES:
            raise DatasetError(f"there is no role {role!r}: {nearest(role, ROLES)}")
        if column and column not in table.column_names:
            raise DatasetError(f"there is no column {column!r} for the role {role}: {nearest(column, table.column_names)}")


def _fits(role: str, column: pa.ChunkedArray) -> bool:
    """Whether a column's values suit the role that its name suggests."""
    if role == "id":
        return column.null_count == 0 and not pa.types.is_nested(column.type) and pc.count_distinct(column).as_py() == len(column)
    if role == "media":
        return is_images(column)
    return role == "label" or not pa.types.is_nested(column.type)


def is_images(column: pa.ChunkedArray) -> bool:
    """Whether the first values look like paths of images: nine of ten end like one."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    values = [value for value in column.slice(0, 1000).to_pylist() if value]
    fitting = sum(posixpath.splitext(value)[1].lower() in IMAGES for value in values)
    return bool(values) and fitting >= 0.9 * len(values)


def _text(table: pa.Table, column: str, role: str) -> pa.ChunkedArray:
    values = _plain(table.column(column))
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DatasetError(f"column {column!r} cannot have the role {role}: it holds {values.type}, which is no text") from None


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text with null for what is empty."""
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _value(column: pa.ChunkedArray, *, text: bool) -> pa.ChunkedArray:
    return infer(column) if text else _plain(column)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories and large strings as plain values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type) else column


def infer(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells of a CSV column as int64, float64 or bool if all of them can be nothing else, else as they are.

    A number with leading zeros or a plus (postcodes, telephone numbers) is text, and so is what stands for no value among text.
    """
    trimmed = pc.utf8_trim_whitespace(text)
    values = pc.if_else(pc.is_in(trimmed, NO_VALUES), pa.scalar(None, pa.string()), trimmed)
    if values.null_count == len(values) or _any(values, r"^-?\d{19,}$"):
        return text
    if _all(values, r"^-?(0|[1-9]\d{0,17})$"):
        return values.cast(pa.int64())
    if _all(values, r"^-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^-?inf$"):
        return values.cast(pa.float64())
    if _all(values, r"^(true|false|True|False|TRUE|FALSE)$"):
        return values.cast(pa.bool_())
    return text


def _any(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def _all(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())
