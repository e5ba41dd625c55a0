"""CSV files that are safe to open in a spreadsheet, and that can be read back exactly.

    cell ──safe──▶ with an apostrophe before what a spreadsheet takes for a formula (OWASP, "CSV
        injection") ──plain──▶ cell

A formula begins with = + - @ (their full-width and small forms too), after white space and
invisible characters as well, or with a tab or a line break; at the start of a cell, and within one
after a semicolon, a tab or a line break, where a spreadsheet that separates by these begins a cell.
A cell that already has apostrophes there gets one more, so that the way back is exact. A negative
number is left alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_INVISIBLE = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x20\\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"  # noqa: E501
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
_WHERE = "(?:^|(?<=[;\\t\\r\\n]))"
_AHEAD = f"(?='*[{_INVISIBLE}]*[{_SIGNS}])"
_GUARD = re.compile(f"{_WHERE}{_AHEAD}|^(?='*[\\t\\r\\n])")
_GUARDED = re.compile(f"{_WHERE}'{_AHEAD}|^'(?='*[\\t\\r\\n])")
_NUMBER = r"^-(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


def safe(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return text if re.fullmatch(_NUMBER, text) else _GUARD.sub("'", text)


def plain(cell: str) -> str:
    """The inverse of `safe`."""
    return _GUARDED.sub("", cell)


def write(table: pa.Table, file: str | Path | IO[bytes]) -> None:
    """A table as CSV (UTF-8, a header, quoted where needed), every text made safe.

    Lists are joined by commas. Raises OSError.
    """
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(
        pa.table({safe(name): _safe(table.column(name)) for name in table.column_names}), file
    )


def _safe(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`safe` for a whole column, by the same expressions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type):
        column = pa.chunked_array(
            [pc.binary_join(chunk, ", ") for chunk in column.chunks], pa.string()
        )
    kind = column.type
    if (
        pa.types.is_dictionary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    ):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        return column
    suspect = pc.fill_null(pc.match_substring_regex(column, f"[{_SIGNS}\\t\\r\\n]"), False)
    if not pc.any(suspect).as_py():
        return column
    hits = [safe(text) for text in column.filter(suspect).to_pylist()]
    return pa.chunked_array(
        [
            pc.replace_with_mask(
                column.combine_chunks(), suspect.combine_chunks(), pa.array(hits, pa.string())
            )
        ]
    )
