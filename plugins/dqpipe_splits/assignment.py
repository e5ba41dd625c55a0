"""Which split and which folds each sample is in.

What is given stays, what belongs together follows it, the rest is shared out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe import shuffle_key
from dqpipe_splits import timeline
from dqpipe_splits.allotment import allot
from dqpipe_splits.links import Link, components
from dqpipe_splits.strata import Strata

TURN = {"training": 0, "validation": 1, "other": 1, "test": 2}


@dataclass(frozen=True, eq=False)
class Wanted:
    """The splits there shall be, in the order training, validation and others, test.

    Their shares [k], and what each is for.
    """

    names: tuple[str, ...]
    shares: np.ndarray
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, shares: Mapping[str, float], kinds: Mapping[str, str]) -> Wanted:
        """From shares, and what each split is for, by name."""
        names = sorted(shares, key=lambda name: TURN[kinds.get(name, "other")])
        return cls(
            tuple(names),
            np.array([shares[name] for name in names]),
            tuple(kinds.get(name, "other") for name in names),
        )

    @property
    def number(self) -> dict[str, int]:
        """The position of each split."""
        return {name: number for number, name in enumerate(self.names)}

    @property
    def ranks(self) -> np.ndarray:
        """What tells splits apart that nothing may cross.

        0 for every one for training, then one number for each.
        """
        return np.array(
            [0 if kind == "training" else number + 1 for number, kind in enumerate(self.kinds)],
            dtype=np.int64,
        )

    def kinds_of(self, split: np.ndarray) -> list[str]:
        """What the split of each sample is for."""
        return [self.kinds[one] if one >= 0 else "other" for one in split.tolist()]


@dataclass(frozen=True, eq=False)
class Made:
    """By row: the component, and the position of the split; -1 in none."""

    component: np.ndarray
    split: np.ndarray


def made(
    ids: np.ndarray,
    links: Sequence[Link],
    strata: Strata,
    base: np.ndarray,
    wanted: Wanted,
    *,
    seed: int,
    repair: bool = False,
    time: np.ndarray | None = None,
    gap: float = 0.0,
) -> Made:
    """The split of each sample; `base` [n] is the one that it has already, -1 for none.

    What has a split keeps it, and what belongs together with it follows, to the split that has most
    of them (of equal ones the latest). Where a component stands in several splits, it stays so,
    unless `repair` says that its other samples move there as well.
    """
    component = components(len(ids), links)
    count = int(component.max(initial=-1)) + 1
    fixed = _most(component, base, count, wanted.ranks)
    if time is not None:
        split = timeline.in_order(time, component, wanted.shares, fixed, gap)
    else:
        split = _shared(ids, component, strata, base, fixed, wanted.shares, seed)
    ranks = np.where(base >= 0, wanted.ranks[base], -1)
    moves = repair & _crossing(component, ranks, count)[component]
    moves &= ranks != wanted.ranks[fixed[component]]
    return Made(component, np.where((base >= 0) & ~moves, base, split[component]))


def _most(component: np.ndarray, base: np.ndarray, count: int, ranks: np.ndarray) -> np.ndarray:
    """The split [count] that most samples of each component have, of equal ones the latest.

    Splits of one rank, which may share a component, count together first. -1 where none has one.
    """
    held, splits = base >= 0, len(ranks)
    if not splits:
        return np.full(count, -1, dtype=np.int64)
    votes = np.bincount(component[held] * splits + base[held], minlength=count * splits).reshape(
        count, splits
    )
    together = np.stack([votes[:, ranks == rank].sum(axis=1) for rank in ranks], axis=1)
    votes = np.where(together == together.max(axis=1, keepdims=True), votes, -1)
    latest_rank = np.where(votes >= 0, ranks, -1).max(axis=1, keepdims=True)
    votes = np.where(ranks == latest_rank, votes, -1)
    latest = splits - 1 - votes[:, ::-1].argmax(axis=1)
    return np.where(votes.max(axis=1) > 0, latest, -1).astype(np.int64)


def _crossing(component: np.ndarray, ranks: np.ndarray, count: int) -> np.ndarray:
    """[count] bool: components that stand on both sides of what nothing may cross."""
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, dtype=np.int64)
    held = ranks >= 0
    np.minimum.at(low, component[held], ranks[held])
    np.maximum.at(high, component[held], ranks[held])
    return low < high


def _shared(
    ids: np.ndarray,
    component: np.ndarray,
    strata: Strata,
    base: np.ndarray,
    fixed: np.ndarray,
    shares: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Components shared out by strata; what is given counts where it is."""
    from scipy.sparse import coo_array, vstack

    count = len(fixed)
    sizes = np.bincount(component, minlength=count)
    ones = np.ones(len(strata.rows))
    counts = coo_array(
        (ones, (component[strata.rows], strata.codes)), shape=(count, len(strata.names))
    ).tocsr()
    counts.sum_duplicates()
    first = ids[np.unique(component, return_index=True)[1]]
    order = np.argsort(
        np.argsort(
            np.array([shuffle_key(seed, one) for one in first.tolist()], dtype="S8"), kind="stable"
        ),
        kind="stable",
    )
    apart = np.flatnonzero((base >= 0) & (base != fixed[component]))
    if not len(apart):
        return allot(counts, sizes, shares, fixed, order)
    # a sample that stays apart from its component counts where it stands: as one more component,
    # taken from its own
    where = np.full(len(ids), -1, dtype=np.int64)
    where[apart] = np.arange(len(apart))
    inside = where[strata.rows] >= 0
    own = coo_array(
        (ones[inside], (where[strata.rows[inside]], strata.codes[inside])),
        shape=(len(apart), len(strata.names)),
    ).tocsr()
    less = coo_array(
        (ones[~inside], (component[strata.rows[~inside]], strata.codes[~inside])),
        shape=counts.shape,
    ).tocsr()
    rest = sizes - np.bincount(component[apart], minlength=count)
    every = vstack([less, own]).tocsr()
    every.sum_duplicates()
    return allot(
        every,
        np.append(rest, np.ones(len(apart), int)),
        shares,
        np.append(fixed, base[apart]),
        np.append(order, apart),
    )[:count]


def fold_columns(folds: int, repeats: int, inner: int) -> tuple[str, ...]:
    """The names of the columns of folds.

    The outer ones, then for each fold of theirs the inner ones.
    """
    if not folds:
        return ()
    outer = ["fold"] if repeats == 1 else [f"fold_{number}" for number in range(1, repeats + 1)]
    return (
        *outer,
        *(f"{name}_inner_{fold}" for name in outer for fold in range(1, folds + 1) if inner),
    )


def folds(
    ids: np.ndarray,
    component: np.ndarray,
    strata: Strata,
    pool: np.ndarray,
    numbers: tuple[int, int, int],
    before: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, list[int | None]]:
    """The fold of each sample in each column of `fold_columns(*numbers)`, from 1, None outside
    `pool` [n] bool.

    `before` has by column the folds [n] that samples had, None or NaN for none.
    """
    count, repeats, inner = numbers
    found: dict[str, list[int | None]] = {}
    for repeat, name in enumerate(fold_columns(count, repeats, 0)):
        outer = _folds(ids, component, strata, pool, count, before.get(name), seed + repeat)
        found[name] = [one or None for one in outer.tolist()]
        for fold in range(1, count + 1) if inner else ():
            column = f"{name}_inner_{fold}"
            some = _folds(
                ids,
                component,
                strata,
                pool & (outer != fold),
                inner,
                before.get(column),
                seed + repeat,
            )
            found[column] = [one or None for one in some.tolist()]
    return found


def _folds(
    ids: np.ndarray,
    component: np.ndarray,
    strata: Strata,
    pool: np.ndarray,
    count: int,
    before: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """int64 [n]: folds from 1, 0 outside the pool.

    What had one keeps it, unless its component has most samples in another.
    """
    found, rows = np.zeros(len(ids), dtype=np.int64), np.flatnonzero(pool)
    if not len(rows):
        return found
    where = np.full(len(ids), -1, dtype=np.int64)
    where[rows] = np.arange(len(rows))
    inside = np.flatnonzero(where[strata.rows] >= 0)
    some = Strata(where[strata.rows[inside]], strata.codes[inside], strata.names)
    small = np.unique(component[rows], return_inverse=True)[1]
    old = np.full(len(rows), -1, dtype=np.int64)
    if before is not None:
        numbers = np.array([0 if one is None else one for one in before[rows]], dtype=float)
        old = np.where((numbers >= 1) & (numbers <= count), numbers, 0).astype(np.int64) - 1
    fixed = _most(small, old, int(small.max()) + 1, np.arange(count))
    base = np.where(old >= 0, fixed[small], -1)
    found[rows] = (
        _shared(ids[rows], small, some, base, fixed, np.full(count, 1 / count), seed)[small] + 1
    )
    return found
