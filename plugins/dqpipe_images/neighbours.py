"""Distances to nearest neighbours in an embedding: exact, block by block, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_VALUES = 1 << 24
"""How many distances stand in memory at once."""


@dataclass(frozen=True)
class Neighbours:
    """Mean cosine distances to the k nearest, and who the nearest is; NaN and -1 where there is none.

    `all` counts everybody, `own` those of the sample's own class, `other` those of the other classes; copies of one
    picture never count as each other's neighbours. Each is float64 [n], the positions are int64 [n].
    """

    all: np.ndarray
    own: np.ndarray
    other: np.ndarray
    nearest: np.ndarray
    nearest_other: np.ndarray


def neighbours(vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, k: int) -> Neighbours:
    """`vectors` float32 [n, d]; `classes` int [n], -1 for none; `groups` int [n], equal for copies of one picture."""
    units = unit(vectors)
    count = len(units)
    found = {name: np.full(count, np.nan) for name in ("all", "own", "other")}
    nearest = {name: np.full(count, -1, dtype=np.int64) for name in ("all", "other")}
    step = max(1, BLOCK_VALUES // max(count, 1))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        distances = 1.0 - units[rows] @ units.T
        np.maximum(distances, 0.0, out=distances)
        distances[groups[rows, None] == groups[None, :]] = np.inf
        found["all"][rows] = mean_of_smallest(distances, k)
        nearest["all"][rows] = _first(distances)
        same = (classes[rows, None] == classes[None, :]) & (classes[rows, None] >= 0)
        found["own"][rows] = mean_of_smallest(np.where(same, distances, np.inf), k)
        distances[same] = np.inf
        distances[:, classes < 0] = np.inf
        found["other"][rows] = mean_of_smallest(distances, k)
        nearest["other"][rows] = _first(distances)
    return Neighbours(found["all"], found["own"], found["other"], nearest["all"], nearest["other"])


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


def _first(distances: np.ndarray) -> np.ndarray:
    at = np.argmin(distances, axis=1)
    return np.where(np.isfinite(distances[np.arange(len(at)), at]), at, -1)
