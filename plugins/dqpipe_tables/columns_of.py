"""The columns of a table as codes of their different values, and the spellings of missing values.

A column is held as one int32 for each row and the different values once, so that a million rows
cost four megabytes a column, whatever is in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import Samples

ROLES = frozenset({"id", "content", "media", "label", "split", "group"})
SAMPLED = 5000
"""Different values of a column that its kind is told by, spread evenly over their sorted order."""
SPELLINGS = frozenset(
    {
        *("", "-", "--", "---", "?", "??", ".", "n/a", "n.a.", "na", "#n/a", "#na", "nan", "nil"),
        *("null", "(null)", "<null>", "none", "unknown", "unk", "undefined", "missing", "empty"),
        *("not available", "not applicable", "not specified", "no data", "tbd", "#value!", "<na>"),
        *("#ref!", "#name?", "#div/0!", "#null!", "#num!"),
    }
)
"""What stands for no value, in lower case."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column: `codes` [n] int32 into `values`, sorted; -1 where the cell is empty."""

    name: str
    type: pa.DataType
    codes: np.ndarray
    values: pa.Array

    @cached_property
    def counts(self) -> np.ndarray:
        """How many rows hold each value, [values] int64."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def present(self) -> int:
        """The number of cells that are not empty."""
        return int(self.counts.sum())

    @property
    def is_number(self) -> bool:
        """Whether the column's type is one of numbers."""
        return pa.types.is_integer(self.type) or pa.types.is_floating(self.type)

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return pa.types.is_string(self.type) or pa.types.is_large_string(self.type)

    @property
    def is_time(self) -> bool:
        """Whether its type is a date or a time stamp."""
        return pa.types.is_timestamp(self.type) or pa.types.is_date(self.type)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The different values as float64; NaN where one is no finite number."""
        if self.is_number:
            found = pc.cast(self.values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return np.where(np.isfinite(found), found, np.nan)
        return np.full(len(self.values), np.nan)

    def cells(self, of_values: np.ndarray) -> np.ndarray:
        """What holds of each value, for each row; [n], NaN or False where the cell is empty."""
        blank = np.asarray([np.nan if of_values.dtype.kind == "f" else False])
        return np.concatenate([of_values, blank.astype(of_values.dtype)])[self.codes]

    @cached_property
    def some(self) -> tuple[np.ndarray, list[str]]:
        """Positions of at most `SAMPLED` values, and these as text."""
        step = max(1, -(-len(self.values) // SAMPLED))
        places = np.arange(0, len(self.values), step)
        return places, self.texts(places)

    def texts(self, places: np.ndarray) -> list[str]:
        """The values at these positions, as text."""
        picked = self.values.take(pa.array(places, pa.int64()))
        if self.is_text:
            return list(picked.to_pylist())
        return [value_text(value) for value in picked.to_pylist()]

    @cached_property
    def blanks(self) -> np.ndarray:
        """Which values only stand for a missing one, [values] bool.

        A code of the column's own pattern is none: `NA` beside `DE` and `FR` is Namibia.
        """
        if not self.is_text:
            return np.zeros(len(self.values), bool)
        low = pc.utf8_lower(pc.utf8_trim_whitespace(self.values))
        found = pc.is_in(low, pa.array(sorted(SPELLINGS))).to_numpy(zero_copy_only=False)
        rest = self.values.filter(pa.array(~found))
        if len(rest) and found.any():
            letters = pc.mean(pc.cast(pc.match_substring_regex(rest, "^[A-Za-z]{2}$"), pa.int8()))
            if letters.as_py() > 0.9:  # noqa: PLR2004 (nearly all)
                found &= ~pc.match_substring_regex(self.values, "^[A-Za-z]{2}$").to_numpy(
                    zero_copy_only=False
                )
        return np.asarray(found)


def value_text(value: object) -> str:
    """A value as a person writes it: whole floats without a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004
        return str(int(value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def own_columns(samples: Samples) -> list[str]:
    """The names of the table's own columns that hold simple values."""
    return [
        name
        for name in samples.names
        if name not in ROLES and _simple(samples.table.schema.field(name).type)
    ]


def column(samples: Samples, name: str) -> Column:
    """A column of the table as codes of its sorted values."""
    data = samples.table.column(name)
    kind = data.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        data = data.cast(kind)
    if pa.types.is_floating(kind):
        data = pc.if_else(pc.is_nan(data), pa.scalar(None, kind), data)
    coded = data.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.chunk(0) if coded.num_chunks else pa.array([], kind).dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    rank = np.empty(len(order) + 1, np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    rank[-1] = -1
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Column(name, kind, rank[codes], coded.dictionary.take(order))


def words(name: str) -> list[str]:
    """The words of a column's name, in lower case."""
    parts = re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
    return [part.lower() for part in parts]


def _simple(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
    )
