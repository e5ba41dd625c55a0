"""How strange each vector is among its class.

Distances to references, Mahalanobis distances, and how rare they are.

    vectors ──▶ own class: distance to a neighbour `share` of it away ─────────────┐ robust z-scores
            ├─▶ whitened by how the less strange ones vary: length ────────────────┤
            └─▶ the same of vectors of length 1 ───────────────────────────────────┴──▶ the largest
                ──▶ share of the tail that is as far

The first sees what lies outside a class of any shape (k-NN outlier score, Ramaswamy, Rastogi & Shim
2000), the others what varies in directions in which classes do not (Mahalanobis distance to the own
class with one covariance for all, Lee et al. 2018, from the inner nine tenths, so that strangers do
not widen it): faint pictures are told by their vector's length, bold ones by its direction.
Neighbours are sought among references, a seeded part of each class: n samples cost n · `REFERENCES`
products of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dqpipe import unit

REFERENCES = 2048
"""Rows that samples are compared with, over all classes.

More where there are so many classes that each would have a few only.
"""
OF_CLASS = (32, 1024)
"""References of a class, at least (if it has as many), and for its own members."""
SPREAD = 0.05
"""The least MAD (of log distances) that counts.

Classes of near-equal pictures are not infinitely strict.
"""
WIDTH = 0.02
"""The same for the log of Mahalanobis distances, which sum many directions and spread less."""
INNER = 0.9
"""Share of the samples, the least strange by distance, that says how the classes vary."""
SHRINK = 0.3
"""What is added to each direction's variance, in mean variances."""
SCREEN, TAIL = (0.5, 0.8), (0.8, 0.95)
"""Quantiles of the scores between which the tail's slope is taken.

To leave out the clearly rare, then among the rest.
"""
CLEAR = 1e-3
"""Share of sound samples below which a score is left out when the tail is taken."""
LEAST_SLOPE = 0.1
"""In spreads: where nearly all scores are equal, the others are not infinitely rare."""
WEIGHT = 20
"""Samples that a normal tail counts for: in small sets quantiles are few samples."""
BLOCK_VALUES = 1 << 22
"""How many distances stand in memory at once."""


@dataclass(frozen=True)
class Distances:
    """Cosine distances of n samples, float64 [n], NaN where there is nobody.

    Copies of one picture never count for each other.

    `all` and `own`: to a neighbour that `share` of the set, or of the own class, is nearer than
    (the k-th at least): strangers that look alike do not vouch for each other. `near`, `other`:
    mean of the k nearest references of the own and of the other classes; `nearest_other` the
    position of the nearest of the latter, -1 where there is none.
    """

    all: np.ndarray
    own: np.ndarray
    near: np.ndarray
    other: np.ndarray
    nearest_other: np.ndarray


def distances(
    vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, k: int, share: float
) -> Distances:
    """`vectors` [n, d]; `classes` int [n], -1 for none.

    `groups` int [n], equal for copies of one picture.
    """
    units, count, rng = unit(vectors), len(vectors), np.random.default_rng(0)
    found = {name: np.full(count, np.nan) for name in ("all", "own", "near", "other")}
    nearest = np.full(count, -1, dtype=np.int64)
    members = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    least, most = OF_CLASS
    parts = [_part(own, max(least, round(REFERENCES * len(own) / count)), rng) for own in members]
    some, ends = (
        np.concatenate([*parts, np.empty(0, dtype=np.int64)]),
        np.cumsum([len(part) for part in parts]),
    )
    for own, part, end in zip(members, parts, ends, strict=True):
        columns = slice(end - len(part), end)
        for rows, between in _between(units, groups, own, some):
            found["all"][rows] = nth_smallest(between, max(k, round(share * len(some))))
            found["near"][rows] = mean_of_smallest(between[:, columns], k)
            between[:, columns] = np.inf
            between[:, classes[some] < 0] = np.inf
            found["other"][rows] = mean_of_smallest(between, k)
            nearest[rows] = _first(between, some)
        nearby = _part(own, most, rng)
        for rows, between in _between(units, groups, own, nearby):
            found["own"][rows] = nth_smallest(between, max(k, round(share * len(nearby))))
    classless = classes < 0
    nearest[classless] = -1
    for name in ("own", "near", "other"):
        found[name][classless] = np.nan
    return Distances(found["all"], found["own"], found["near"], found["other"], nearest)


def _part(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many of some rows, in order; all of them where there are no more."""
    return rows if len(rows) <= count else np.sort(rng.choice(rows, count, replace=False))


def _between(
    units: np.ndarray, groups: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some of the rows, and their distances to all columns.

    Infinite between copies of one picture, and to itself.
    """
    step = max(1, BLOCK_VALUES // max(len(columns), 1))
    references = units[columns]
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        between = 1.0 - units[part] @ references.T
        np.maximum(between, 0.0, out=between)
        between[groups[part][:, None] == groups[columns][None, :]] = np.inf
        yield part, between


def mean_of_smallest(values: np.ndarray, k: int) -> np.ndarray:
    """[n] mean of the k smallest finite values of each row (of fewer where there are fewer), NaN
    where there are none.
    """
    smallest = np.partition(values, k - 1, axis=1)[:, :k] if k < values.shape[1] else values
    finite = np.isfinite(smallest)
    counts = finite.sum(axis=1)
    sums = np.where(finite, smallest, 0.0).sum(axis=1, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def nth_smallest(values: np.ndarray, n: int) -> np.ndarray:
    """[rows] the n-th smallest finite value of each row (the largest where there are fewer), NaN
    where there are none.
    """
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    smallest = np.partition(values, n - 1, axis=1)[:, :n] if n < values.shape[1] else values
    largest = np.where(np.isfinite(smallest), smallest, -np.inf).max(axis=1).astype(np.float64)
    return np.where(np.isfinite(largest), largest, np.nan)


def _first(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    if not values.shape[1]:
        return np.full(len(values), -1)
    at = np.argmin(values, axis=1)
    return np.where(np.isfinite(values[np.arange(len(at)), at]), names[at], -1)


def lengths(vectors: np.ndarray, classes: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """[n] Mahalanobis distance of vectors [n, d] to the median of their class (-1 is one as well),
    one covariance for all.

    `inner` bool [n] are those that say what is usual: of one half for the other, since a sample is
    never far from what was fitted to it. A direction's variance is raised by `SHRINK` mean
    variances: there may be fewer samples than directions.
    """
    middles, which = np.unique(classes, return_inverse=True)
    usual = [np.flatnonzero((classes == number) & inner) for number in middles]
    centres = np.stack(
        [
            np.median(vectors[rows], axis=0) if len(rows) else np.zeros(vectors.shape[1])
            for rows in usual
        ]
    )
    rest = vectors - centres[which].astype(vectors.dtype)
    half = np.random.default_rng(0).permutation(len(vectors)) % 2 == 0
    found = np.empty(len(vectors))
    for part in (half, ~half):
        found[part] = _whitened(rest[part], rest[inner & ~part])
    return found


def _whitened(rows: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """[n] length of rows [n, d] where the usual rows vary alike in all directions."""
    spread = usual.T.astype(np.float64) @ usual / max(len(usual), 1)
    spread.flat[:: len(spread) + 1] += SHRINK * max(float(np.trace(spread)) / len(spread), 1e-12)
    whitening = np.linalg.inv(np.linalg.cholesky(spread)).T.astype(rows.dtype)
    return np.sqrt(np.square(rows @ whitening).sum(axis=1, dtype=np.float64))


def robust_scores(values: np.ndarray, classes: np.ndarray, least: float) -> np.ndarray:
    """[n] how many spreads (1.4826 MAD, at least `least`) the log of a value lies above its class's
    median; NaN for class -1.
    """
    score = np.full(len(values), np.nan)
    for number in np.unique(classes[classes >= 0]):
        rows = np.flatnonzero(classes == number)
        logs = np.log(np.maximum(values[rows], 1e-6))
        middle = np.median(logs)
        score[rows] = (logs - middle) / max(1.4826 * float(np.median(np.abs(logs - middle))), least)
    return score


def rare(scores: np.ndarray) -> np.ndarray:
    """[n] share of sound samples that are expected to have such a score or a higher one; NaN stays.

    Beyond the second of two quantiles the tail is taken to fall off exponentially, with the slope
    that it has between them (after Pickands 1975): some sets have long tails, and one threshold
    would not do for all. What is clearly rare by inner quantiles is left out before the outer ones
    are taken, so that strangers do not lengthen the tail.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.full(len(scores), np.nan)
    sound = known[_tail(known, known, *SCREEN) >= CLEAR]
    for _ in range(2):
        sound = known[_tail(known, sound, *TAIL) >= CLEAR]
    return _tail(scores, sound, *TAIL)


def _tail(scores: np.ndarray, sound: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """[n] share of the tail beyond each score, by two quantiles of sound scores.

    Those of a normal tail count as `WEIGHT` samples.
    """
    from scipy.special import ndtri

    normal = ndtri([lower, upper])
    weight = len(sound) / (len(sound) + WEIGHT)
    below, start = weight * np.quantile(sound, [lower, upper]) + (1 - weight) * normal
    slope = max((start - below) / np.log((1 - lower) / (1 - upper)), LEAST_SLOPE)
    return np.clip((1 - upper) * np.exp(-(scores - start) / slope), 1e-300, 0.999)


def sure(scores: np.ndarray) -> np.ndarray:
    """[n] probability that a sample of such a score is a stranger.

    How many more there are of them than `rare` expects.

    `scores` are normal deviates of `rare`. The local false discovery rate (Efron et al. 2001), its
    densities by isotonic regression (Strimmer 2008): it never falls as the score rises.
    """
    from scipy.optimize import isotonic_regression
    from scipy.special import ndtr

    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    found = np.full(len(scores), np.nan)
    if len(order):
        expected = np.diff(len(order) * ndtr(-scores[order]), prepend=0.0)
        found[order] = 1 - np.clip(isotonic_regression(expected).x, 0, 1)
    return found
