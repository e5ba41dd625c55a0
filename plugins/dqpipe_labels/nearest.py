"""How near each class is to each sample: the second opinion beside the kernel probe's."""

from __future__ import annotations

import numpy as np

from dqpipe.neighbours import unit

NEAREST = 3
FURTHEST = 1.5
"""Cosine distance taken where a class has no sample that counts; and no distance counts for more."""
CLOSEST = 1e-3
BLOCK_VALUES = 1 << 23
SHOWN, FEWEST = 8192, 200
"""Rows that stand for all classes together, and for each of them, before some are left out."""


def nearness(vectors: np.ndarray, given: np.ndarray, groups: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    """float32 [n, classes + 1]: minus the log of the mean cosine distance to the nearest of each class, and a constant.

    `vectors` [n, d], `given` int [n], `groups` str [n]: copies of one thing are no neighbours of each other. Around each row's mean, so that
    what counts is which class is nearer, not how dense the place is. Large classes are represented by some of theirs, drawn by the seed, so
    that the cost grows with n alone.
    """
    group = np.unique(groups.astype(str), return_inverse=True)[1]
    shown, ends = references(given, classes, seed)
    sources, sorted_group = unit(vectors[shown]), group[shown]
    logs = np.empty((len(vectors), classes + 1), dtype=np.float32)
    step = max(1, BLOCK_VALUES // max(len(sources), 1))
    for start in range(0, len(vectors), step):
        rows = slice(start, start + step)
        distances = unit(vectors[rows]) @ sources.T
        np.subtract(1.0, distances, out=distances)
        distances[group[rows, None] == sorted_group[None]] = FURTHEST
        for number in range(classes):
            logs[rows, number] = -np.log(_mean_of_nearest(distances[:, ends[number] : ends[number + 1]]))
    logs[:, :classes] -= logs[:, :classes].mean(axis=1, keepdims=True)
    logs[:, classes] = 1
    return logs


def references(given: np.ndarray, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stand for the classes, class by class, and where each class begins among them [classes + 1]."""
    rng = np.random.default_rng(seed)
    most = max(SHOWN // classes, FEWEST)
    members = [np.flatnonzero(given == number) for number in range(classes)]
    chosen = [rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False)) for rows in members]
    return np.concatenate(chosen), np.cumsum([0, *map(len, chosen)])


def _mean_of_nearest(distances: np.ndarray) -> np.ndarray:
    """[n] mean of the nearest distances of each row [n, m]."""
    if distances.shape[1] == 0:
        return np.full(len(distances), FURTHEST)
    k = min(NEAREST, distances.shape[1])
    nearest = np.partition(distances, k - 1, axis=1)[:, :k]
    return np.clip(nearest, CLOSEST, FURTHEST).mean(axis=1)
