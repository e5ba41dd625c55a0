"""How near each class is to each sample: the second opinion beside the kernel probe's."""

from __future__ import annotations

import numpy as np

NEAREST = 3
FURTHEST = 1.5
"""Cosine distance taken where a class has no sample that counts; and no distance counts for more."""
CLOSEST = 1e-3
BLOCK_VALUES = 1 << 24


def nearness(vectors: np.ndarray, given: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """float32 [n, classes + 1]: minus the log of the mean cosine distance to the nearest of each class, and a constant.

    `vectors` [n, d], `given` int [n], `groups` str [n]: copies of one thing are no neighbours of each other. Around each
    row's mean, so that what counts is which class is nearer, not how dense the place is.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    order = np.argsort(given, kind="stable")
    ends = np.searchsorted(given[order], np.arange(classes + 1))
    sorted_units = np.ascontiguousarray(units[order], dtype=np.float32)
    group = np.unique(groups.astype(str), return_inverse=True)[1]
    sorted_group = group[order]
    logs = np.empty((len(units), classes + 1), dtype=np.float32)
    step = max(1, BLOCK_VALUES // max(len(units), 1))
    for start in range(0, len(units), step):
        rows = slice(start, start + step)
        distances = 1.0 - units[rows].astype(np.float32) @ sorted_units.T
        distances[group[rows, None] == sorted_group[None]] = FURTHEST
        for number in range(classes):
            logs[rows, number] = -np.log(_mean_of_nearest(distances[:, ends[number] : ends[number + 1]]))
    logs[:, :classes] -= logs[:, :classes].mean(axis=1, keepdims=True)
    logs[:, classes] = 1
    return logs


def _mean_of_nearest(distances: np.ndarray) -> np.ndarray:
    """[n] mean of the nearest distances of each row [n, m]."""
    if distances.shape[1] == 0:
        return np.full(len(distances), FURTHEST)
    k = min(NEAREST, distances.shape[1])
    nearest = np.partition(distances, k - 1, axis=1)[:, :k]
    return np.clip(nearest, CLOSEST, FURTHEST).mean(axis=1)
