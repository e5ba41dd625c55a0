"""Distances from samples to classes: a second classifier beside the kernel probe."""

from __future__ import annotations

import numpy as np

from dqpipe import unit

NEAREST = 3
FURTHEST = 1.5
"""Cosine distance taken where a class has no sample that counts.

And no distance counts for more.
"""
CLOSEST = 1e-3
BLOCK_VALUES = 1 << 23
SHOWN, FEWEST = 8192, 200
"""Rows that stand for all classes together, and for each of them, before some are left out."""


def nearness(
    vectors: np.ndarray,
    given: np.ndarray,
    groups: np.ndarray,
    fold: np.ndarray,
    classes: int,
    seed: int = 0,
) -> np.ndarray:
    """float32 [folds, n, classes + 1].

    For each fold, how near each class of the other folds is, and a constant.

    That is minus the log of the mean cosine distance to the nearest of the class.

    `vectors` [n, d], `given` int [n], `fold` int [n], `groups` str [n]: copies of one thing are no
    neighbours of each other. What a fold is judged by is thus made of no label of its own. Around
    each row's mean, so that what counts is which class is nearer, not how dense the place is. Large
    classes are represented by some of theirs, drawn by the seed, so that the cost grows with n
    alone.
    """
    group = np.unique(groups.astype(str), return_inverse=True)[1]
    folds = int(fold.max()) + 1
    shown, ends = references(given, fold, classes, seed)
    sources, sorted_group = unit(vectors[shown]), group[shown]
    logs = np.empty((folds, len(vectors), classes + 1), dtype=np.float32)
    step = max(1, BLOCK_VALUES // max(len(sources), 1))
    for start in range(0, len(vectors), step):
        rows = slice(start, start + step)
        distances = unit(vectors[rows]) @ sources.T
        np.subtract(1.0, distances, out=distances)
        distances[group[rows, None] == sorted_group[None]] = FURTHEST
        for number in range(classes):
            parts = [
                _nearest(distances[:, ends[number, own] : ends[number, own + 1]])
                for own in range(folds)
            ]
            for own in range(folds):
                others = np.concatenate(
                    [part for at, part in enumerate(parts) if at != own], axis=1
                )
                logs[own, rows, number] = -np.log(_mean_of_nearest(others))
    logs[:, :, :classes] -= logs[:, :, :classes].mean(axis=2, keepdims=True)
    logs[:, :, classes] = 1
    return logs


def references(
    given: np.ndarray, fold: np.ndarray, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stand for the classes, by class and fold, and where each fold begins among them
    [classes, folds + 1].
    """
    rng = np.random.default_rng(seed)
    most = max(SHOWN // classes, FEWEST)
    members = [np.flatnonzero(given == number) for number in range(classes)]
    chosen = [
        rows if len(rows) <= most else rng.choice(rows, most, replace=False) for rows in members
    ]
    chosen = [rows[np.lexsort((rows, fold[rows]))] for rows in chosen]
    begins = np.cumsum([0, *map(len, chosen)])[:-1]
    ends = np.stack(
        [
            begin + np.searchsorted(fold[rows], np.arange(int(fold.max()) + 2))
            for begin, rows in zip(begins, chosen, strict=True)
        ]
    )
    return np.concatenate(chosen), ends


def _nearest(distances: np.ndarray) -> np.ndarray:
    """The NEAREST smallest distances of each row [n, m], or all where there are fewer,
    in no order.
    """
    return (
        distances
        if distances.shape[1] <= NEAREST
        else np.partition(distances, NEAREST - 1, axis=1)[:, :NEAREST]
    )


def _mean_of_nearest(distances: np.ndarray) -> np.ndarray:
    """[n] mean of the nearest distances of each row [n, m]."""
    if distances.shape[1] == 0:
        return np.full(len(distances), FURTHEST)
    return np.clip(_nearest(distances), CLOSEST, FURTHEST).mean(axis=1)
