"""Expectations that hold on a dataset as it is, to begin with."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.model import Samples

MOST_CLASSES = 50
MOST_COLUMNS = 20
_ROLES = ("id", "content", "media", "label", "split", "group")


def propose(samples: Samples) -> list[dict[str, Any]]:
    """Labels and splits present and of the known ones; of a table's own columns those without gaps, and ranges of numbers.

    A range is as wide as the values, and half as wide again on either side, but not below 0 where nothing is.
    """
    if not len(samples):
        return []
    found: list[dict[str, Any]] = []
    for role in ("label", "split"):
        if role in samples:
            found += _of_role(role, samples.table.column(role))
    own = [name for name in samples.names if name.strip() and name not in _ROLES and "." not in name][:MOST_COLUMNS]
    for name in own:
        found += _of_column(name, samples.table.column(name))
    return found


def _of_role(name: str, column: pa.ChunkedArray) -> list[dict[str, Any]]:
    if column.null_count == len(column):
        return []
    found: list[dict[str, Any]] = (
        [{"expectation": "values_to_not_be_null", "column": name, "severity": "error"}] if not column.null_count else []
    )
    if pa.types.is_string(column.type):
        values = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        if len(values) <= MOST_CLASSES:
            found.append({"expectation": "values_to_be_in_set", "column": name, "value_set": values, "severity": "error"})
    return found


def _of_column(name: str, column: pa.ChunkedArray) -> list[dict[str, Any]]:
    if column.null_count == len(column):
        return []
    found: list[dict[str, Any]] = (
        [{"expectation": "values_to_not_be_null", "column": name, "severity": "warning"}] if not column.null_count else []
    )
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        ends = pc.min_max(column).as_py()
        low, high = float(ends["min"]), float(ends["max"])
        margin = (high - low) / 2
        low, high = _rounded(max(low - margin, 0.0) if low >= 0 else low - margin, down=True), _rounded(high + margin, down=False)
        found.append({"expectation": "values_to_be_between", "column": name, "min_value": low, "max_value": high, "severity": "warning"})
    return found


def _rounded(value: float, *, down: bool) -> float:
    """Two digits of a number, outwards."""
    import math

    if value and math.isfinite(value):
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
        value = float(f"{(math.floor if down else math.ceil)(value / step) * step:.12g}")
    return int(value) if value.is_integer() else value
