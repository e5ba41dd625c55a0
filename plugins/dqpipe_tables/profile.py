"""A column of a table as its checks see it: texts, codes of equal values, numbers, what is missing.

column (Arrow) ──▶ Column: texts [n], code [n] of equal values, counts, numbers [n], missing [n]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = frozenset(
    (
        "",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "nan",
        "null",
        "nil",
        "none",
        "-",
        "--",
        "---",
        "?",
        "unknown",
        "missing",
        "not available",
    )
)
"""How people write that there is no value, in lower case and without spaces around."""
NUMBER = re.compile(r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
WITH_UNIT = re.compile(r"([-+]?\d+(?:[.,]\d+)?)\s*([^\d\s.,/:-][^\d]*)")
"""A number, and what stands behind it."""
LONGEST = 200
"""Letters from which a text is prose, and no value of a column of values."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column with its different values.

    `texts` [k] are the different texts, `code` [n] the position of each row's value in them (-1
    where there is none), `counts` [k] how often each occurs. `typed` are numbers of a column that
    holds numbers, [n] with NaN where there is none; None for a column of texts.
    """

    name: str
    texts: np.ndarray
    code: np.ndarray
    counts: np.ndarray
    typed: np.ndarray | None

    @classmethod
    def of(cls, name: str, column: pa.ChunkedArray) -> Column | None:
        """The column; None for one that holds neither texts nor numbers nor times."""
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        number = (
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        )
        known = (
            number
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_temporal(kind)
        )
        if not known:
            return None
        typed = None
        if number:
            typed = np.asarray(
                pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64
            )
        coded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        coded = coded.dictionary_encode()
        code = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        values = np.array(
            [str(value) for value in coded.dictionary.to_pylist()] or [""], dtype=object
        )
        counts = np.bincount(code[code >= 0], minlength=len(values))
        order = np.argsort(values, kind="stable")  # by value: nothing depends on the order of rows
        place = np.empty(len(values), np.int64)
        place[order] = np.arange(len(values))
        code = np.where(code >= 0, place[np.maximum(code, 0)], -1)
        return cls(name, values[order], code, counts[order], typed)

    def __len__(self) -> int:
        return len(self.code)

    @cached_property
    def blank(self) -> np.ndarray:
        """[k] bool: different values that say that there is none."""
        return np.array([value.strip().lower() in MISSING for value in self.texts], dtype=bool)

    @cached_property
    def missing(self) -> np.ndarray:
        """[n] bool: no value, or one that says so."""
        return (self.code < 0) | self.blank[np.maximum(self.code, 0)]

    @cached_property
    def parsed(self) -> np.ndarray:
        """[k] float: different values as numbers, NaN for those that are none."""
        return np.array(
            [
                float(text.replace(",", "")) if NUMBER.fullmatch(text.strip()) else np.nan
                for text in self.texts
            ]
        )

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """[n] float: the numbers of a column of which nearly all values are numbers; else None."""
        if self.typed is not None:
            return self.typed
        there = ~self.missing
        found = self.parsed[np.maximum(self.code, 0)]
        share = np.isfinite(found[there]).mean() if there.any() else 0.0
        return np.where(there, found, np.nan) if share >= 0.9 else None  # noqa: PLR2004

    @cached_property
    def _by_value(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.code, kind="stable")
        return order, np.searchsorted(self.code[order], np.arange(len(self.texts) + 1))

    def rows_of(self, value: int) -> np.ndarray:
        """The rows that have a value, by its position."""
        order, starts = self._by_value
        return order[starts[value] : starts[value + 1]]

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """The rows of different values, given as bool [k]."""
        return np.flatnonzero((self.code >= 0) & chosen[np.maximum(self.code, 0)])
