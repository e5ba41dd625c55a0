"""Which of the user's columns is the key, the image, the label, the split or the group, and the
samples that follow.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import DatasetError, filesystem, filled, is_url, listed, media_path, nearest

ROLES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "media": (
        "media",
        "image",
        "path",
        "file",
        "filename",
        "image_path",
        "filepath",
        "image_file",
        "image_name",
        "img",
    ),
    "label": ("label", "class", "target", "category"),
    "split": ("split",),
    "group": ("group",),
}
"""The names by which a column takes a role where the user gives none.

But for `id` whatever their case, spaces, dashes and underscores.
"""
RESERVED = frozenset({*ROLES, "content", "parent", "made_by"})
IMAGES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".avif", ".ico"}
)
NINE_OF_TEN = 0.9
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
"""What files of pictures begin with."""
NO_VALUES = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Words that stand for no value in a column of numbers; in a column of text they are words."""


@dataclass(frozen=True)
class Columns:
    """Role → the user's column, and for the other columns.

    Name among the samples → the user's column.
    """

    roles: Mapping[str, str]
    own: Mapping[str, str]

    @classmethod
    def of(cls, table: pa.Table, roles: Mapping[str, str | None], *, media: bool) -> Columns:
        """The roles as given, then by the names of ROLES.

        An empty one says that no column has this role.

        A column whose name the samples need for something else gets a `_` behind it. Raises
        DatasetError for a role or a column that does not exist.
        """
        _check(table, roles)
        given = {role: column for role, column in roles.items() if column}
        asked = {
            role: names
            for role, names in ROLES.items()
            if role not in roles and (media or role != "media")
        }
        for role in asked:
            free = (name for name in named(role, table.column_names) if name not in given.values())
            if name := next((name for name in free if _fits(role, table.column(name))), None):
                given[role] = name
        if "media" not in given and "media" not in roles and (name := pictures_in(table)):
            raise DatasetError(
                f"column {name!r} holds pictures as bytes, which are read in a Parquet file by the "
                "reader `huggingface`: write one, `frame.to_parquet('pictures.parquet')`, and give "
                "its path, or save each as a file and give a column of the paths, or give "
                "`roles: {media: ''}` to read this as a table without pictures"
            )
        own: dict[str, str] = {}
        for column in table.column_names:
            if column not in given.values():
                name = column
                while (
                    name in RESERVED
                    or name in own
                    or (name != column and name in table.column_names)
                ):
                    name += "_"
                own[name] = column
        return cls(given, own)

    def doubts(self, table: pa.Table, roles: Mapping[str, str | None]) -> list[str]:
        """What a person would ask about these columns: paths of pictures that nobody reads."""
        if "media" in self.roles or "media" in roles:
            return []
        likely = named("media", table.column_names)
        return [
            (
                f"column {name!r} looks like paths of pictures, and the table is read without "
                f"them: give `roles: {{media: {name!r}}}` if it names them"
            )
            for name in table.column_names
            if is_images(table.column(name), 0.1 if name in likely else NINE_OF_TEN)
        ]

    def samples(
        self, table: pa.Table, *, text: bool, root: str = "", ids: Sequence[str] | None = None
    ) -> pa.Table:
        """The samples in the table's order.

        `text` says that its cells are text from which types are to be read.

        Spaces around the path of an image are left out, unless there is a file below `root` whose
        name has them.
        """
        columns: dict[str, Any] = {}
        for role in ("media", "split", "group"):
            if role in self.roles:
                columns[role] = filled(_text(table, self.roles[role], role))
        if "media" in columns:
            columns["media"] = _trimmed(columns["media"], root)
        if "label" in self.roles:
            columns["label"] = filled(_value(table.column(self.roles["label"]), text=text))
        found = ids if ids is not None else self._ids(table, columns.get("media"))
        columns = {"id": pa.array(found, pa.string()), **columns}
        for name, column in self.own.items():
            columns[name] = _value(table.column(column), text=text)
        return pa.table(columns)

    def _ids(self, table: pa.Table, media: pa.ChunkedArray | None) -> list[str]:
        """The key column; else the path, with the row where one stands more than once.

        Else the row, counted from 0.
        """
        if "id" in self.roles:
            return key(_text(table, self.roles["id"], "id").to_pylist(), self.roles["id"])
        return (
            [row_id(row) for row in range(table.num_rows)]
            if media is None
            else path_ids(media.to_pylist())
        )


def row_id(row: int) -> str:
    """The id of a row that has no key: sorted as the rows are, up to ten million."""
    return f"row-{row:07d}"


def path_ids(paths: Sequence[str | None]) -> list[str]:
    """The id of each row from its path.

    The path itself where it stands once, with `#<row>` where more often or empty.
    """
    counts: dict[str | None, int] = {}
    for path in paths:
        counts[path] = counts.get(path, 0) + 1
    ids = [
        row_id(row) if path is None else path if counts[path] == 1 else f"{path}#{row}"
        for row, path in enumerate(paths)
    ]
    if len(set(ids)) < len(ids):  # somebody named a file like one of ours
        return [f"{path or ''}#{row}" for row, path in enumerate(paths)]
    return ids


def key(values: Sequence[str | None], column: str) -> list[str]:
    """The values of a key column.

    Raises DatasetError if some are empty or stand twice, with five examples.
    """
    empty = [row for row, value in enumerate(values) if not value]
    if empty:
        raise DatasetError(
            f"column {column!r} cannot be the key: it is empty in row {listed(empty, 5)} (counted "
            f"from 0)"
        )
    seen: set[str] = set()
    twice = list(dict.fromkeys(value for value in values if value in seen or seen.add(value)))  # type: ignore[arg-type, func-returns-value]
    if twice:
        raise DatasetError(
            f"column {column!r} cannot be the key: not unique: {listed(map(repr, twice), 5)}"
        )
    return [value for value in values if value]


def _check(table: pa.Table, roles: Mapping[str, str | None]) -> None:
    for role, column in roles.items():
        if role not in ROLES:
            raise DatasetError(f"there is no role {role!r}: {nearest(role, ROLES)}")
        if column and column not in table.column_names:
            raise DatasetError(
                f"there is no column {column!r} for the role {role}: "
                f"{nearest(column, table.column_names)}"
            )


def _fits(role: str, column: pa.ChunkedArray) -> bool:
    """Whether a column's values suit the role that its name suggests."""
    if role == "id":
        return (
            column.null_count == 0
            and not pa.types.is_nested(column.type)
            and pc.count_distinct(column).as_py() == len(column)
        )
    if role == "media":
        return is_images(column)
    return role == "label" or not pa.types.is_nested(column.type)


def named(role: str, columns: Sequence[str]) -> list[str]:
    """The columns that have a name of this role.

    Those as in ROLES first, then those that differ in case, spaces, dashes or underscores.
    """
    exact = [name for name in ROLES[role] if name in columns]
    if role == "id":
        return exact
    plain = [_letters(name) for name in ROLES[role]]
    alike = [
        (plain.index(_letters(column)), column)
        for column in columns
        if _letters(column) in plain and column not in exact
    ]
    return exact + [column for _, column in sorted(alike)]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def pictures_in(table: pa.Table) -> str | None:
    """The first column that holds the bytes of pictures, alone or as `{bytes, path}`.

    None if there is none.
    """
    for name in table.column_names:
        kind, column = table.schema.field(name).type, table.column(name).slice(0, 100)
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            column = pc.struct_field(column, "bytes")
        known = (
            [cell for cell in column.to_pylist() if cell is not None]
            if _is_bytes(column.type)
            else []
        )
        if known and all(cell.startswith(SIGNATURES) for cell in known):
            return name
    return None


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_images(column: pa.ChunkedArray, share: float = NINE_OF_TEN) -> bool:
    """Whether the first values look like paths of images.

    This share of them, nine of ten, ends like one.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    values = [value for value in column.slice(0, 1000).to_pylist() if value]
    fitting = sum(posixpath.splitext(value.strip())[1].lower() in IMAGES for value in values)
    return bool(values) and fitting >= share * len(values)


def _text(table: pa.Table, column: str, role: str) -> pa.ChunkedArray:
    values = _plain(table.column(column))
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        more = "; pictures are read from files, by their paths" if role == "media" else ""
        raise DatasetError(
            f"column {column!r} cannot have the role {role}: it holds {values.type}, which is no "
            f"text{more}"
        ) from None


def _trimmed(paths: pa.ChunkedArray, root: str) -> pa.ChunkedArray:
    """Paths without the spaces around them, but for those that a file has in its name."""
    bare = pc.utf8_trim_whitespace(paths)
    spaced = pc.fill_null(pc.not_equal(paths, bare), False)
    if not pc.any(spaced).as_py():
        return paths
    theirs = pa.array(
        [
            is_there and exists(media_path(root, path))
            for path, is_there in zip(paths.to_pylist(), spaced.to_pylist(), strict=True)
        ]
    )
    return pc.if_else(theirs, paths, bare)


def exists(path: str) -> bool:
    """Whether there is such a file, also at a URL."""
    if "\0" in path:
        return False
    return bool(filesystem(path).exists(path)) if is_url(path) else Path(path).exists()


def _value(column: pa.ChunkedArray, *, text: bool) -> pa.ChunkedArray:
    return infer(column) if text else _plain(column)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories and large strings as plain values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return (
        column.cast(pa.string())
        if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
        else column
    )


def infer(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells of a CSV column as int64, float64 or bool if all of them can be nothing else, else
    as they are.

    A number with leading zeros or a plus (postcodes, telephone numbers) is text, and so are codes
    such as 1E5 (which are numbers beside a decimal point or a signed exponent), and what stands for
    no value among text.
    """
    trimmed = pc.utf8_trim_whitespace(text)
    values = pc.if_else(
        pc.is_in(trimmed, pa.array(NO_VALUES)), pa.scalar(None, pa.string()), trimmed
    )
    if values.null_count == len(values):
        return text
    kind = _type_of(values)
    try:
        return text if kind is None else values.cast(kind)
    except pa.ArrowInvalid:  # whole numbers of 19 digits, some of them beyond 64 bits
        return text


def _type_of(values: pa.ChunkedArray) -> pa.DataType | None:
    """What cells that are not empty can be and nothing else, None if that is text."""
    if _all(values, r"^-?(0|[1-9]\d{0,18})$"):
        return pa.int64()
    codes = _any(values, r"^-?\d{19,}$") or (
        _any(values, r"^\d+[eE]\d+$") and not _any(values, r"\.|[eE][+-]")
    )
    if not codes and _all(values, r"^-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^-?inf$"):
        return pa.float64()
    return pa.bool_() if _all(values, r"^(true|false|True|False|TRUE|FALSE)$") else None


def _any(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def _all(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())
