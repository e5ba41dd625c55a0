"""Proposed expectations from the kind of each column.

Nearly all rows meet them, and rows that do not are suspicious.

    nearly always there     not null, where at least 99 % of the values are there
    a key                   unique, where all but a few whole numbers or texts differ
    a category              one of its values, where few values stand for many rows
    a time written as text  its format
    a share                 between 0 and 1
    a count, an amount      not below 0; above 0, where zeros are few and stand apart from the other
                            values
    any number              within limits that are far beyond nearly all values, but not beyond
                            single impossible ones

A limit is never the data's own extreme with slack, which could not fail.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import Samples

MOST_CLASSES = 50
MOST_COLUMNS = 100
NEARLY_ALL = 0.99
"""The share of rows that makes a rule."""
FEW_ROWS = 20
"""Rows that a column needs for a proposal, and rows for each value of a category."""
RARE_ZEROS = 0.02
ENOUGH_FOR_LIMITS = 1000
"""Rows from which on the 99.9th percentile means something."""
DECADES = 6
"""How much rarer than one in a thousand a value beyond a limit would be, in powers of ten."""
LONGEST_TIME = 100
"""Letters of a text that may be a time."""
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%H:%M:%S",
)
_ROLES = ("id", "content", "media", "label", "split", "group")


def propose(samples: Samples) -> list[dict[str, Any]]:
    """Expectations of labels, splits, and a table's own columns (the first 100)."""
    if not len(samples):
        return []
    found: list[dict[str, Any]] = []
    for role in ("label", "split"):
        if role in samples:
            found += _of_role(role, samples.table.column(role))
    own = [
        name for name in samples.names if name.strip() and name not in _ROLES and "." not in name
    ][:MOST_COLUMNS]
    for name in own:
        found += [
            {**expected, "column": name, "severity": "warning"}
            for expected in _of_column(samples.table.column(name))
        ]
    return [
        {"expectation": one.pop("expectation"), "column": one.pop("column"), **one} for one in found
    ]


def _of_role(name: str, column: pa.ChunkedArray) -> list[dict[str, Any]]:
    if column.null_count == len(column):
        return []
    found: list[dict[str, Any]] = (
        [{"expectation": "values_to_not_be_null", "column": name, "severity": "error"}]
        if not column.null_count
        else []
    )
    if pa.types.is_string(column.type):
        values = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        if len(values) <= MOST_CLASSES:
            found.append(
                {
                    "expectation": "values_to_be_in_set",
                    "column": name,
                    "value_set": values,
                    "severity": "error",
                }
            )
    return found


def _of_column(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    there = len(column) - column.null_count
    if there < NEARLY_ALL * len(column) or not there:
        present: list[dict[str, Any]] = []
    else:
        present = [{"expectation": "values_to_not_be_null"}]
    if there < FEW_ROWS:
        return present
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return [*present, *_of_numbers(column)]
    return [*present, *_of_texts(column)] if pa.types.is_string(column.type) else present


def _of_texts(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    values = pc.unique(column.drop_null())
    rows = len(column) - column.null_count
    written = _format(column)
    if written:
        return [{"expectation": "values_to_match_strftime_format", "strftime_format": written}]
    if len(values) <= MOST_CLASSES and rows >= FEW_ROWS * len(values):
        return [{"expectation": "values_to_be_in_set", "value_set": sorted(values.to_pylist())}]
    return [{"expectation": "values_to_be_unique"}] if len(values) >= NEARLY_ALL * rows else []


def _format(column: pa.ChunkedArray) -> str | None:
    """The format of times that nearly all texts are written in, or None."""
    values = column.drop_null()
    step = max(1, len(values) // 1000)
    some = values.take(pa.array(range(0, len(values), step))).to_pylist()
    return next(
        (
            form
            for form in FORMATS
            if sum(_written(text, form) for text in some) >= NEARLY_ALL * len(some)
        ),
        None,
    )


def _written(text: str, form: str) -> bool:
    if len(text) > LONGEST_TIME:  # what is said of it in an error would take seconds
        return False
    try:
        dt.datetime.strptime(text, form)  # noqa: DTZ007 (whether it can be read)
    except ValueError:
        return False
    return True


def _of_numbers(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    values = column.drop_null().to_numpy()
    whole = pa.types.is_integer(column.type)
    different = len(np.unique(values))
    if whole and different >= max(NEARLY_ALL * len(values), FEW_ROWS):
        return [{"expectation": "values_to_be_unique"}]
    finite = values[np.isfinite(values)].astype(np.float64)
    if different <= 2 or not len(finite):  # noqa: PLR2004 (yes and no)
        return []
    limits: dict[str, Any] = {}
    if finite.min() >= 0 and finite.max() <= 1 and not whole:
        limits = {"min_value": 0, "max_value": 1}
    elif finite.min() >= 0:
        limits = {"min_value": 0, **({"strict_min": True} if zeros_stand_apart(finite) else {})}
    limits = _far_limits(finite) | limits
    return [{"expectation": "values_to_be_between", **limits}] if limits else []


def zeros_stand_apart(values: np.ndarray) -> bool:
    """Whether the zeros among values that are not below 0 are few, and no end of the others.

    Counts: far fewer zeros than the ones and twos would have. Amounts: nothing near zero, or many
    more zeros than values in equal steps next to it.
    """
    positive = np.sort(values[values > 0])
    zeros = len(values) - len(positive)
    if not zeros:
        return True
    if zeros > RARE_ZEROS * len(values):
        return False
    if np.all(positive == np.floor(positive)):
        ones, twos = int((positive == 1).sum()), int((positive == 2).sum())  # noqa: PLR2004
        falling = ones / max(
            twos, 1
        )  # of binomial and Poisson counts zeros are about half of ones · ones / twos
        return (
            zeros < min(0.1, 0.05 * falling) * ones
            if ones
            else positive[0] > 0.2 * np.median(positive)
        )
    low = np.quantile(positive, 0.01)
    steps = max(1.0, low / np.diff(np.unique(positive)).min())
    return positive[0] > 0.2 * np.median(positive) or zeros > 3 * (positive <= low).sum() / steps


def _far_limits(values: np.ndarray) -> dict[str, Any]:
    """Limits far beyond nearly all values, if there are enough of them."""
    if len(values) < ENOUGH_FOR_LIMITS:
        return {}
    high = _beyond(values)
    found = {"max_value": _rounded(high)} if high is not None else {}
    low = _beyond(-values) if values.min() < 0 else None
    return found | ({"min_value": -_rounded(low)} if low is not None else {})


def _beyond(values: np.ndarray) -> float | None:
    """A limit far above the 99.9th percentile; None where that is the median.

    From the 99th to the 99.9th percentile values grow by some step, which is r times the step
    before. Each further power of ten adds a step, r times the one before: equal steps for an
    exponential tail, ten times the last for Pareto's with exponent 1.
    """
    middle, low, high, end = np.quantile(values, [0.5, 0.9, 0.99, 0.999])
    if not end > middle:
        return None
    step = max(end - high, (end - middle) / 6)
    growth = float(np.clip(step / max(high - low, 1e-300), 1.0, 10.0))
    return float(end + step * sum(growth**power for power in range(1, DECADES + 1)))


def _rounded(value: float) -> float:
    """Two digits of a number, away from 0."""
    if not value or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    value = float(f"{math.copysign(math.ceil(abs(value) / step) * step, value):.12g}")
    return int(value) if value.is_integer() else value
