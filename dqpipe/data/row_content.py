"""The content of samples without media: a hash of their values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.tables import Samples
from dqpipe.storage.fact_store import digest

AT_A_TIME = 1 << 15
"""Rows."""


def row_contents(
    samples: Samples, leave: Sequence[str] = ("id", "content", "label", "split", "media")
) -> list[str]:
    """The content of samples without media.

    A hash of their own values, but for id, label and split.
    """
    names = [name for name in sorted(samples.names) if name not in leave]
    if not names:
        return [digest(sample) for sample in samples.ids]
    return [
        content for piece in pieces(samples.table.select(names)) for content in _row_contents(piece)
    ]


def _row_contents(table: pa.Table) -> Iterator[str]:
    for row in zip(*map(_texts, table.columns), strict=True):
        yield digest(*("\x00null" if v is None else v for v in row))


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """The rows, so many at a time that their values may stand in memory as Python objects."""
    for start in range(0, table.num_rows, AT_A_TIME):
        yield table.slice(start, AT_A_TIME)


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """A column's values as texts that are equal where the values are."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or pa.types.is_binary(kind):
        return [None if value is None else repr(value) for value in column.to_pylist()]
    return pc.cast(column, pa.string()).to_pylist()
