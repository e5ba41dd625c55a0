"""Two-sample tests: whether two samples come from the same distribution, and how far apart they
are.

Every test gives a p value and an effect from 0 (alike) to 1 (no overlap). Distances between finite
samples are never quite 0: of those of numbers and categories what chance alone is expected to give
is taken off, (distance - chance) / (1 - chance), so that the effect of two samples of one source is
about 0 however few they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dqpipe import unit

PERMUTATIONS = 9_999
"""The smallest p value that permutations can give is 0.0001."""
AT_ONCE = 500
VECTORS = 1_000
"""Vectors of either sample that are compared at most."""
FOLDS = 5
HALF_NORMAL = float(np.sqrt(2 / np.pi))
SUPREMUM = 0.8687
"""Mean of Kolmogorov's distribution.

What the distance is by chance, times the root of the effective number.
"""


@dataclass(frozen=True)
class Compared:
    """The p value of equal distributions, the effect, and the plain distance without the correction
    for chance.
    """

    p: float
    effect: float
    distance: float


def beyond_chance(distance: float, chance: float) -> float:
    """The share of the possible excess over chance, 0 to 1."""
    return float(np.clip((distance - chance) / max(1 - chance, 1e-9), 0, 1))


def numbers(old: np.ndarray, new: np.ndarray) -> Compared:
    """Kolmogorov and Smirnov's test of float [m] and [n].

    The distance is the largest difference between shares of values up to some limit.

    NaN stands below every number, so that values that come to be missing count as well. The p value
    is Stephens' (1970) approximation, which is cautious where many values are equal.
    """
    from scipy.special import kolmogorov

    one, two = (np.sort(np.where(np.isnan(values), -np.inf, values)) for values in (old, new))
    at = np.unique(np.concatenate([one, two]))
    distance = float(
        np.abs(
            np.searchsorted(one, at, "right") / len(one)
            - np.searchsorted(two, at, "right") / len(two)
        ).max()
    )
    root = float(np.sqrt(len(one) * len(two) / (len(one) + len(two))))
    return Compared(
        float(kolmogorov((root + 0.12 + 0.11 / root) * distance)),
        beyond_chance(distance, SUPREMUM / root),
        distance,
    )


def categories(old: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> Compared:
    """Counts [k] of each category in two samples: Pearson's statistic under permutations.

    The distance is the total variation.
    """
    both = old + new
    old, new, both = old[both > 0], new[both > 0], both[both > 0]
    m, n = int(old.sum()), int(new.sum())
    shares = both / (m + n)
    distance = float(np.abs(old / m - new / n).sum() / 2)
    chance = float(HALF_NORMAL * np.sqrt(shares * (1 - shares) * (1 / m + 1 / n)).sum() / 2)
    drawn = rng.multivariate_hypergeometric(both, n, size=PERMUTATIONS, method="marginals")
    statistic = ((drawn - n * shares) ** 2 / shares).sum(axis=1)
    found = ((new - n * shares) ** 2 / shares).sum()
    p = (1 + int((statistic >= found * (1 - 1e-9)).sum())) / (1 + PERMUTATIONS)
    return Compared(p, beyond_chance(distance, chance), distance)


def vectors(old: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> Compared:
    """Energy distance (Székely & Rizzo 2013) of the directions of [m, d] and [n, d] under
    permutations; VECTORS of each at most.

    The effect is 2 AUC - 1 of telling a new vector from an old one by which of the two it is nearer
    to on average, out of fold: 0 is guessing, 1 never errs.
    """
    old, new = (
        values
        if len(values) <= VECTORS
        else values[np.sort(rng.permutation(len(values))[:VECTORS])]
        for values in (old, new)
    )
    units = unit(np.concatenate([old, new]).astype(np.float32))
    apart = np.sqrt(np.maximum(2 - 2 * (units @ units.T), 0))
    np.fill_diagonal(apart, 0)
    is_new = np.arange(len(units)) >= len(old)
    found, beaten = float(_energy(apart, is_new[None])[0]), 0
    for start in range(0, PERMUTATIONS, AT_ONCE):
        shuffled = rng.permuted(np.tile(is_new, (min(AT_ONCE, PERMUTATIONS - start), 1)), axis=1)
        beaten += int((_energy(apart, shuffled) >= found * (1 - 1e-6)).sum())
    effect = max(0.0, 2 * _told_apart(apart, is_new, rng) - 1)
    return Compared((1 + beaten) / (1 + PERMUTATIONS), effect, effect)


def _energy(apart: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Energy distances [b] of divisions bool [b, n] of points with distances [n, n].

    2 E|X-Y| - E|X-X'| - E|Y-Y'| = -c'Dc.
    """
    n = is_new[0].sum()
    contrast = np.where(is_new, 1 / n, -1 / (is_new.shape[1] - n)).astype(np.float32)
    return -((contrast @ apart) * contrast).sum(axis=1)


def _told_apart(apart: np.ndarray, is_new: np.ndarray, rng: np.random.Generator) -> float:
    """The area under the curve of the energy distance's witness, mean over the folds."""
    fold = np.empty(len(is_new), dtype=np.int64)
    for rows in (np.flatnonzero(is_new), np.flatnonzero(~is_new)):
        fold[rows] = rng.permutation(len(rows)) % FOLDS
    areas = []
    for one in range(FOLDS):
        held, known = fold == one, fold != one
        nearer = apart[np.ix_(held, known & ~is_new)].mean(axis=1) - apart[
            np.ix_(held, known & is_new)
        ].mean(axis=1)
        areas.append(_area(nearer[is_new[held]], nearer[~is_new[held]]))
    return float(np.mean(areas))


def _area(high: np.ndarray, low: np.ndarray) -> float:
    """The probability that one of `high` is above one of `low`, half for equal ones."""
    order = np.sort(low)
    return float(
        (np.searchsorted(order, high, "left") + np.searchsorted(order, high, "right")).mean()
        / (2 * len(low))
    )


def adjusted(p: np.ndarray) -> np.ndarray:
    """The p values [k] adjusted by Benjamini & Hochberg (1995).

    Of those below q, a share of at most q is expected to be false.
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out
