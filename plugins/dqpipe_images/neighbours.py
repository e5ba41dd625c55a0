"""Distances to nearest neighbours in an embedding: exact, block by block, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_VALUES = 1 << 24
"""How many distances stand in memory at once."""


@dataclass(frozen=True)
class Neighbours:
    """Cosine distances to neighbours, and who the nearest is; NaN and -1 where there is none.

    `all` is the distance to a neighbour `deep` ranks away, whoever it is, `own` to one within the sample's own class: samples
    that are strangers together are near each other, and the nearest ones would vouch for them. `near` and `other` are the mean
    distances to the k nearest of the own and of the other classes. Copies of one picture never count as each other's
    neighbours. Each is float64 [n], the positions are int64 [n].
    """

    all: np.ndarray
    own: np.ndarray
    near: np.ndarray
    other: np.ndarray
    nearest: np.ndarray
    nearest_other: np.ndarray


def neighbours(vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, k: int, share: float = 0.0) -> Neighbours:
    """`vectors` float32 [n, d]; `classes` int [n], -1 for none; `groups` int [n], equal for copies of one picture.

    `deep` is k, or that share of the class (for `all`: of the set) where it is more.
    """
    units = unit(vectors)
    count = len(units)
    found = {name: np.full(count, np.nan) for name in ("all", "own", "near", "other")}
    nearest = {name: np.full(count, -1, dtype=np.int64) for name in ("all", "other")}
    for rows in _blocks(count, count):
        distances = _between(units, groups, rows, slice(None))
        found["all"][rows] = nth_smallest(distances, max(k, round(share * count)))
        nearest["all"][rows] = _first(distances)
        if not (classes >= 0).any():
            continue
        distances[(classes[rows, None] == classes[None, :]) | (classes < 0)[None, :]] = np.inf
        found["other"][rows] = mean_of_smallest(distances, k)
        nearest["other"][rows] = _first(distances)
    for number in np.unique(classes[classes >= 0]):
        members = np.flatnonzero(classes == number)
        for part in _blocks(len(members), len(members)):
            distances = _between(units, groups, members[part], members)
            found["own"][members[part]] = nth_smallest(distances, max(k, round(share * len(members))))
            found["near"][members[part]] = mean_of_smallest(distances, k)
    return Neighbours(found["all"], found["own"], found["near"], found["other"], nearest["all"], nearest["other"])


def _blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, BLOCK_VALUES // max(columns, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _between(units: np.ndarray, groups: np.ndarray, rows: slice | np.ndarray, columns: slice | np.ndarray) -> np.ndarray:
    """Distances of some rows to some others; infinite between copies of one picture, and to itself."""
    distances = 1.0 - units[rows] @ units[columns].T
    np.maximum(distances, 0.0, out=distances)
    distances[groups[rows][:, None] == groups[columns][None, :]] = np.inf
    return distances


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 [n, d]; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)


def mean_of_smallest(distances: np.ndarray, k: int) -> np.ndarray:
    """[n] mean of the k smallest finite values of each row (of fewer where there are fewer), NaN where there are none."""
    width = min(k, distances.shape[1])
    if width == 0:
        return np.full(len(distances), np.nan)
    smallest = np.partition(distances, width - 1, axis=1)[:, :width] if width < distances.shape[1] else distances
    finite = np.isfinite(smallest)
    counts = finite.sum(axis=1)
    sums = np.where(finite, smallest, 0.0).sum(axis=1, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def nth_smallest(distances: np.ndarray, n: int) -> np.ndarray:
    """[rows] the n-th smallest finite value of each row (the largest where there are fewer), NaN where there are none."""
    width = min(n, distances.shape[1])
    if width == 0:
        return np.full(len(distances), np.nan)
    smallest = np.partition(distances, width - 1, axis=1)[:, :width]
    largest = np.where(np.isfinite(smallest), smallest, -np.inf).max(axis=1).astype(np.float64)
    return np.where(np.isfinite(largest), largest, np.nan)


def _first(distances: np.ndarray) -> np.ndarray:
    at = np.argmin(distances, axis=1)
    return np.where(np.isfinite(distances[np.arange(len(at)), at]), at, -1)
