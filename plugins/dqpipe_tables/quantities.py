"""Numbers and times that do not fit: rare zeros, negative values, values far beyond all others,
totals unlike their parts, times that end before they start.

Whether a zero continues the small values is asked of the rows that are like it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dqpipe_tables.found import Suspect
from dqpipe_tables.profile import Column

RARE = 0.03
"""Share of the rows up to which zeros (or negative values) are the exception."""
FEW = 20
"""Rows that a rule needs."""
GAP = 0.2
"""A zero is far from the others where the lowest ones are above this share of the middle one."""
UNLIKE = 0.2
"""Rows like those with a zero have values above this share of all, on the average."""
FAR = 8.0
"""Robust standard deviations, on a scale on which the values are as even as can be."""
BEYOND, TOP = 4.0, 0.002
"""How many times as far from the middle as nearly all others such a value is, and the share of the
values (three at least) at each end that are not asked.
"""
LEARNED, ASKED, NEAR, MOST = 5_000, 200, 10, 24
"""Rows that are compared with, zeros that are asked, nearest rows, and columns of numbers."""


def zeros(columns: Sequence[Column], seed: int) -> Iterator[Suspect]:
    """Zeros in a column where nearly all values are above, and that do not continue them."""
    for column in columns:
        x = column.numbers
        if x is None:
            continue
        there = np.isfinite(x)
        zero, above = there & (x == 0), there & (x > 0)
        if not 0 < zero.sum() <= RARE * there.sum() or (there & (x < 0)).any():
            continue
        if above.sum() < FEW:
            continue
        least, middle = np.quantile(x[above], [0.001, 0.5])
        whole = np.all(x[above] == np.floor(x[above]))
        if whole and len(np.unique(x[above])) < FEW:
            # a count: zero is odd where one is the usual value, and zero many times as rare
            odd = zero.sum() * 10 < (x == 1).sum()
        elif whole and {1.0, 2.0} <= set(x[above]):
            odd = False  # numbers that are counted from 0
        else:
            odd = least >= GAP * middle or _foretold_above(columns, column, zero, above, seed)
        if not odd:
            continue
        why = f"0, where {above.sum():,} of {there.sum():,} values are above"
        for row in np.flatnonzero(zero):
            yield Suspect(int(row), column.name, "zero", there.sum() / zero.sum(), None, why)


def _foretold_above(
    columns: Sequence[Column], column: Column, zero: np.ndarray, above: np.ndarray, seed: int
) -> bool:
    """Whether rows that are like those with a zero have values that are not small.

    Like are the nearest ones by the ranks of the other columns of numbers.
    """
    from sklearn.neighbors import NearestNeighbors

    x = column.numbers
    others = [c.numbers for c in columns if c is not column and c.numbers is not None][:MOST]
    if not others or x is None:
        return False
    table = np.stack([_ranks(other) for other in others], 1)
    chance = np.random.default_rng([seed, len(column)])
    known, asked = np.flatnonzero(above), np.flatnonzero(zero)
    if len(known) > LEARNED:
        known = np.sort(chance.choice(known, LEARNED, replace=False))
    if len(asked) > ASKED:
        asked = np.sort(chance.choice(asked, ASKED, replace=False))
    near = NearestNeighbors(n_neighbors=min(NEAR, len(known)), algorithm="brute").fit(table[known])
    like = x[known][near.kneighbors(table[asked], return_distance=False)]
    rank = np.searchsorted(np.sort(x[known]), np.median(like, axis=1)) / len(known)
    return bool(np.mean(rank) > UNLIKE)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Values as shares of the values below them, 0 to 1; the middle where there is none."""
    there = np.isfinite(x)
    ordered = np.sort(x[there])
    low, high = np.searchsorted(ordered, x, "left"), np.searchsorted(ordered, x, "right")
    return np.where(there, (low + high) / max(2 * len(ordered), 1), 0.5)


def negatives(columns: Sequence[Column]) -> Iterator[Suspect]:
    """Negative values in a column where nearly all are above zero, none near it in size."""
    for column in columns:
        x = column.numbers
        if x is None:
            continue
        there = np.isfinite(x)
        low = there & (x < 0)
        if not 0 < low.sum() <= RARE / 3 * there.sum() or (x[there] > 0).mean() < 1 - RARE:
            continue
        why = f"negative, where {(x[there] > 0).sum():,} of {there.sum():,} values are above 0"
        for row in np.flatnonzero(low):
            yield Suspect(int(row), column.name, "negative", there.sum() / low.sum(), None, why)


def far(columns: Sequence[Column]) -> Iterator[Suspect]:
    """Values far beyond all others, by robust deviations and by the range of nearly all."""
    for column in columns:
        x = column.numbers
        if x is None or np.isfinite(x).sum() < 5 * FEW or len(np.unique(x)) < FEW:
            continue
        there = np.flatnonzero(np.isfinite(x))
        y = _even(x[there])
        middle = np.median(y)
        spread = 1.4826 * np.median(np.abs(y - middle))
        if not spread > 0:
            continue
        score = np.abs(y - middle) / spread
        k = max(3, int(TOP * len(there)))
        ordered = np.sort(x[there])
        low, high = ordered[k], ordered[-1 - k]
        centre = np.median(x[there])
        beyond = (x[there] > centre + BEYOND * (high - centre)) | (
            x[there] < centre - BEYOND * (centre - low)
        )
        for at in np.flatnonzero((score > FAR) & beyond):
            why = f"{x[there[at]]:.6g}, where nearly all values are from {low:.6g} to {high:.6g}"
            yield Suspect(int(there[at]), column.name, "far", float(score[at]), None, why)


def _even(x: np.ndarray) -> np.ndarray:
    """Values on the scale on which they are the more symmetric: as they are, or their logarithm."""
    if (x <= 0).any():
        return x

    def skew(y: np.ndarray) -> float:
        low, middle, high = np.quantile(y, [0.1, 0.5, 0.9])
        return abs(high + low - 2 * middle) / max(high - low, 1e-300)

    return np.log(x) if skew(np.log(x)) < skew(x) else x


def sums(columns: Sequence[Column]) -> Iterator[Suspect]:
    """Totals that are not the sum of their parts, where nearly all rows of the column are."""
    numbers = [column for column in columns if column.numbers is not None][:MOST]
    if len(numbers) < 3:  # noqa: PLR2004 (a total and two parts)
        return
    rows = np.stack([np.asarray(column.numbers, float) for column in numbers], 1)
    sound = np.isfinite(rows).all(1)
    if sound.sum() < FEW * len(numbers):
        return
    some = rows[sound][:: max(1, int(sound.sum()) // LEARNED)]
    for n, column in enumerate(numbers):
        parts = _parts(some, n)
        if len(parts) < 2:  # noqa: PLR2004
            continue
        total = rows[:, parts].sum(1)
        there = np.isfinite(total) & np.isfinite(rows[:, n])
        wrong = there & (np.abs(rows[:, n] - total) > 1e-6 + 1e-9 * np.abs(total))
        if not 0 < wrong.sum() <= RARE * there.sum():
            continue
        names = " + ".join(numbers[part].name for part in parts)
        for row in np.flatnonzero(wrong):
            meant = f"{total[row]:.12g}"
            why = f"{rows[row, n]:.12g}, where {names} is {meant}, as in nearly all rows"
            strength = there.sum() / wrong.sum()
            yield Suspect(int(row), column.name, "sum", strength, meant, why)


def _parts(rows: np.ndarray, n: int) -> list[int]:
    """The columns whose sum column n is, by least squares on the half of the rows that fit best."""
    others = [k for k in range(rows.shape[1]) if k != n and np.ptp(rows[:, k]) > 0]
    kept, weights = np.arange(len(rows)), np.zeros(len(others))
    for _ in range(4):
        weights = np.linalg.lstsq(rows[kept][:, others], rows[kept, n], rcond=None)[0]
        off = np.abs(rows[:, others] @ weights - rows[:, n])
        kept = np.flatnonzero(off <= np.median(off) + 1e-12)
    return [k for k, weight in zip(others, weights, strict=True) if abs(weight - 1) < 0.01]  # noqa: PLR2004


def ends(columns: Sequence[Column], times: dict[str, np.ndarray]) -> Iterator[Suspect]:
    """Times that lie before the time of another column which nearly always comes first."""
    known = {column.name for column in columns}
    names = [name for name in times if name in known][:MOST]
    for first in names:
        for last in names:
            a, b = times[first], times[last]
            there = ~(np.isnat(a) | np.isnat(b))
            if first == last or there.sum() < FEW or not (a[there] < b[there]).any():
                continue
            before = there & (b < a)
            if not 0 < before.sum() <= RARE / 3 * there.sum():
                continue
            strength = there.sum() / before.sum()
            for row in np.flatnonzero(before):
                why = f"before {first}, {str(a[row])[:19]}"
                yield Suspect(int(row), last, "order", strength, None, why)
