"""Splits in the order of time: training before validation before test, with a gap between them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from dqpipe import PlanError

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds."""
DURATION = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(UNITS)})\s*")


def seconds(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """Times as float64 [n], NaN for none: dates and texts of dates as seconds, numbers as they are.

    Raises PlanError for other texts.
    """
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found = np.array(column.cast(pa.float64(), safe=False).to_numpy())
        found[np.isinf(found)] = np.nan
        return found
    import pandas as pd

    values = pd.Series(column.to_pylist(), dtype=object)
    found = pd.to_datetime(
        values, utc=True, errors="coerce", format="ISO8601" if pa.types.is_string(kind) else None
    )
    wrong = values[found.isna() & values.notna()]
    if len(wrong):
        raise PlanError(
            f"column {name!r} holds {str(wrong.iloc[0])[:60]!r}, which is no time: numbers, dates "
            f"or texts such as 2026-11-27T13:00 are wanted"
        )
    since = found.dt.as_unit("us").dt.tz_localize(None).astype("int64").where(found.notna())
    return since.to_numpy(dtype=np.float64) / 1e6


def duration(gap: float | str) -> float:
    """A gap as a number: seconds of "7d" or "90min", a number as it is. Raises PlanError."""
    if not isinstance(gap, str):
        if not 0 <= gap < np.inf:
            raise PlanError(f"gap is a time of at least 0, not {gap!r}")
        return float(gap)
    found = DURATION.fullmatch(gap)
    if found is None:
        raise PlanError(f"gap is a number, or a duration such as 7d, 12h or 90min, not {gap!r}")
    return float(found[1]) * UNITS[found[2]]


def in_order(
    time: np.ndarray, component: np.ndarray, shares: np.ndarray, fixed: np.ndarray, gap: float
) -> np.ndarray:
    """The split of each component, int64 [c]: the first splits are earlier.

    -1 for what spans a cut, lies in a gap, or has no time.

    `time` [n] and `component` [n] are of samples, `fixed` [c] is the split of components that have
    one, -1 of others. A cut lies where so many samples are earlier as are wanted, and where splits
    are given already, at the end of the earlier one.
    """
    count = len(fixed)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    known = ~np.isnan(time)
    np.minimum.at(low, component[known], time[known])
    np.maximum.at(high, component[known], time[known])
    cuts = _cuts(time[known], high, shares, fixed, gap)
    found = fixed.copy()
    starts, ends = [-np.inf, *(cut + gap for cut in cuts)], [*cuts, np.inf]
    for split, (start, end) in enumerate(zip(starts, ends, strict=True)):
        after = low > start if split else low >= start
        found[(fixed < 0) & np.isfinite(low) & after & (high <= end)] = split
    return found


def _cuts(
    times: np.ndarray, high: np.ndarray, shares: np.ndarray, fixed: np.ndarray, gap: float
) -> list[float]:
    """The end of every split but the last."""
    ordered, cuts = np.sort(times), list[float]()
    for split, share in enumerate(np.cumsum(shares)[:-1]):
        least = max([cuts[-1] + gap if cuts else -np.inf, *high[(fixed >= 0) & (fixed <= split)]])
        given = (fixed > split).any()
        wanted = (
            ordered[max(int(np.ceil(share * len(ordered) - 1e-9)) - 1, 0)] if len(ordered) else 0.0
        )
        cuts.append(float(least if given and np.isfinite(least) else max(least, wanted)))
    return cuts


def out_of_order(time: np.ndarray, split: np.ndarray, count: int, gap: float) -> np.ndarray:
    """[n] bool: samples that are not later by more than the gap than all of an earlier split.

    `split` [n] is -1 where it has no order.
    """
    found = np.zeros(len(time), dtype=bool)
    end = -np.inf
    for one in range(count):
        rows = (split == one) & ~np.isnan(time)
        if np.isfinite(end):
            found |= rows & (time <= end + gap)
        end = max(end, time[rows].max(initial=-np.inf))
    return found
