"""Components shared out among splits, so that sizes and strata come out as wanted.

    components ──several samples each: the largest first, each to the split that lacks most of what
        it holds──▶
               ──one sample each: by what they hold, in proportion to what each split still lacks──▶
                   improved by moves and swaps, and moved on where a size is off all the same

That is iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011) for groups: what is rare goes
first, to where it is wanted most. What a split lacks is weighed as in Pearson's chi square: the
squared distance from the target by the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SIZE = 2.0
"""How much the size of a split weighs beside one stratum of a sample."""
DENSE = 60_000
"""Components times strata up to which the result is improved by moves and swaps."""
ROUNDS = 4
LEEWAY = 0.005
"""The share of all samples that a split may be off for the sake of strata, which are otherwise too
rare to be shared out: single samples move on where it is more.
"""
LEAST_GAIN = 1e-9


@dataclass(eq=False)
class Fill:
    """What each split holds of each stratum, and what it should: lists by stratum, then split.

    The last stratum is all samples.
    """

    held: list[list[float]]
    wanted: list[list[float]]
    weight: list[list[float]]
    splits: range = field(init=False)

    def __post_init__(self) -> None:
        self.splits = range(len(self.held[-1]))

    def best(self, strata: Sequence[int], counts: Sequence[float], size: float) -> int:
        """The split that lacks most of what a component holds."""
        costs = [0.0 for _ in self.splits]
        for stratum, count in zip((*strata, -1), (*counts, size), strict=True):
            held, wanted, weight = self.held[stratum], self.wanted[stratum], self.weight[stratum]
            for split in self.splits:
                costs[split] += count * (2 * (held[split] - wanted[split]) + count) * weight[split]
        return costs.index(min(costs))

    def add(self, split: int, strata: Iterable[int], counts: Iterable[float], size: float) -> None:
        """Put a component into a split."""
        for stratum, count in zip(strata, counts, strict=True):
            self.held[stratum][split] += count
        self.held[-1][split] += size

    def lacking(self, stratum: int) -> np.ndarray:
        """What each split lacks of a stratum, at least 0."""
        return np.maximum(np.array(self.wanted[stratum]) - self.held[stratum], 0)


def allot(
    counts: csr_array, sizes: np.ndarray, shares: np.ndarray, fixed: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """The split, int64 [c], of each component.

    `counts` [c, strata] are the samples of each stratum, `sizes` [c] of all; `shares` [k] sum to 1;
    `fixed` [c] is the split of those that have one, -1 of the others; `order` [c] int is drawn from
    the seed, and all that decides between equal components.
    """
    counts = counts.tocsr()
    counts.sort_indices()
    totals = np.append(np.asarray(counts.sum(axis=0), dtype=float).ravel(), sizes.sum())
    wanted = np.maximum(totals, 1e-9)[:, None] * np.maximum(shares, 1e-9)
    weight = 1 / wanted
    weight[-1] *= SIZE * max(1.0, counts.nnz / max(len(sizes), 1))
    held = np.array(
        [
            [
                *np.asarray(counts[fixed == split].sum(axis=0), dtype=float).ravel(),
                sizes[fixed == split].sum(),
            ]
            for split in range(len(shares))
        ]
    )
    fill = Fill(held.T.tolist(), wanted.tolist(), weight.tolist())
    split, free = fixed.copy(), np.flatnonzero(fixed < 0)
    rarity = _rarest(counts, totals)
    several = free[sizes[free] > 1]
    _one_by_one(
        several[np.lexsort((order[several], rarity[several], -sizes[several]))],
        counts,
        sizes,
        fill,
        split,
    )
    _in_bulk(free[sizes[free] == 1], counts, order, totals, fill, split)
    if 0 < len(free) * len(totals) <= DENSE:
        _improve(free, counts, sizes, wanted, weight, split)
    _settle(free[sizes[free] == 1], counts, sizes, wanted, weight, split, order)
    return split


def _rarest(counts: csr_array, totals: np.ndarray) -> np.ndarray:
    """Of each component how many samples its rarest stratum has in all."""
    rarity = np.full(counts.shape[0], totals[-1])
    filled = np.diff(counts.indptr) > 0
    if filled.any():
        rarity[filled] = np.minimum.reduceat(totals[counts.indices], counts.indptr[:-1][filled])
    return rarity


def _one_by_one(
    rows: np.ndarray, counts: csr_array, sizes: np.ndarray, fill: Fill, split: np.ndarray
) -> None:
    starts, strata, values = counts.indptr, counts.indices, counts.data
    for row in rows.tolist():
        start, end = starts[row], starts[row + 1]
        held, count, size = (
            strata[start:end].tolist(),
            values[start:end].tolist(),
            float(sizes[row]),
        )
        where = fill.best(held, count, size)
        fill.add(where, held, count, size)
        split[row] = where


def _in_bulk(
    rows: np.ndarray,
    counts: csr_array,
    order: np.ndarray,
    totals: np.ndarray,
    fill: Fill,
    split: np.ndarray,
) -> None:
    """Components of one sample each.

    Those that hold the same are shared out together, what cannot be divided one by one.
    """
    starts, strata = counts.indptr, counts.indices
    alike: dict[bytes, list[int]] = {}
    for row in rows[np.argsort(order[rows], kind="stable")].tolist():
        alike.setdefault(strata[starts[row] : starts[row + 1]].tobytes(), []).append(row)
    queue = []
    for held, members in alike.items():
        of = np.frombuffer(held, dtype=strata.dtype).tolist()
        rarest = min(of, key=lambda stratum: totals[stratum]) if of else -1
        queue.append((totals[rarest], rarest, of, members))
    for _, rarest, of, members in sorted(queue, key=lambda one: (one[0], one[1], one[2])):
        rest, ones = members, [1.0] * len(of)
        if len(members) > 1:
            lacking = fill.lacking(rarest)
            lacking = lacking if lacking.sum() > 0 else fill.lacking(-1)
            several = (
                np.floor(len(members) * lacking / lacking.sum() + 1e-9).astype(int)
                if lacking.sum() > 0
                else np.zeros(len(lacking), int)
            )
            start = 0
            for where, number in enumerate(several.tolist()):
                split[members[start : start + number]] = where
                fill.add(where, of, [float(number)] * len(of), float(number))
                start += number
            rest = members[start:]
        for row in rest:
            where = fill.best(of, ones, 1.0)
            fill.add(where, of, ones, 1.0)
            split[row] = where


def _settle(
    ones: np.ndarray,
    counts: csr_array,
    sizes: np.ndarray,
    wanted: np.ndarray,
    weight: np.ndarray,
    split: np.ndarray,
    order: np.ndarray,
) -> None:
    """Move components of one sample from splits that are too large to those that are too small.

    One of each stratum before a second one of any, those first that strata lose least by.
    """
    import pandas as pd

    starts, strata, filled = counts.indptr, counts.indices, np.diff(counts.indptr) > 0
    off = np.bincount(split, weights=sizes, minlength=wanted.shape[1]) - wanted[-1]
    givers = np.ones(len(off), dtype=bool)
    while givers.any():
        here, there = int(np.where(givers, off, -np.inf).argmax()), int(off.argmin())
        number = int(min(off[here], -off[there]) + LEAST_GAIN)
        if number < 1 or max(off[here], -off[there]) <= LEEWAY * sizes.sum():
            return
        away = (
            np.column_stack([counts[split == one].sum(axis=0) for one in (here, there)])
            - wanted[:-1, [here, there]]
        )
        lost = ((1 + 2 * away * [-1, 1]) * weight[:-1, [here, there]]).sum(axis=1)
        rows = ones[split[ones] == here]
        costs = np.asarray(counts[rows] @ lost).ravel()
        first = pd.Series(np.append(strata, -1)[np.where(filled, starts[:-1], -1)[rows]])
        by = np.lexsort((order[rows], costs))
        turn = first.iloc[by].groupby(first.iloc[by]).cumcount().sort_index().to_numpy()
        moved = rows[np.lexsort((order[rows], costs, turn))[:number]]
        split[moved] = there
        off[here] -= len(moved)
        off[there] += len(moved)
        givers[here] = len(moved) == number


def _improve(
    free: np.ndarray,
    counts: csr_array,
    sizes: np.ndarray,
    wanted: np.ndarray,
    weight: np.ndarray,
    split: np.ndarray,
) -> None:
    """Move a component, or swap two, as long as that brings the splits nearer to what is wanted."""
    every = np.column_stack([counts.toarray(), sizes]).astype(float)
    away = np.zeros(wanted.shape)
    for where in range(wanted.shape[1]):
        away[:, where] = every[split == where].sum(axis=0) - wanted[:, where]
    hold = every[free]
    for _ in range(ROUNDS):
        if not _round(free, hold, away, weight, split):
            break


def _round(
    free: np.ndarray, hold: np.ndarray, away: np.ndarray, weight: np.ndarray, split: np.ndarray
) -> bool:
    better = False
    for one in range(len(free)):
        here, own = int(split[free[one]]), hold[one]
        leave = ((own - 2 * away[:, here]) * own * weight[:, here]).sum()
        come = ((own[:, None] + 2 * away) * own[:, None] * weight).sum(axis=0) + leave
        come[here] = 0.0
        there = int(come.argmin())
        others = split[free]
        less = hold - own  # what `here` gains by a swap, and the other split loses
        gain = ((less + 2 * away[:, here]) * less * weight[:, here]).sum(axis=1)
        gain += ((less - 2 * away.T[others]) * less * weight.T[others]).sum(axis=1)
        gain[others == here] = 0.0
        other = int(gain.argmin())
        if min(come[there], gain[other]) >= -LEAST_GAIN:
            continue
        better = True
        if come[there] <= gain[other]:
            away[:, here] -= own
            away[:, there] += own
            split[free[one]] = there
        else:
            there = int(others[other])
            away[:, here] += less[other]
            away[:, there] -= less[other]
            split[free[one]], split[free[other]] = there, here
    return better
