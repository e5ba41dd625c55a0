"""Regions of an embedding: spherical k-means on a part of the rows, and each row in the region of
its nearest centre.
"""

from __future__ import annotations

import numpy as np

from dqpipe import spherical_k_means

TRAINED, SPREAD, ROUNDS = 128, 32, 12
"""Rows per region that place the centres, those of them that may be where one starts, and rounds.

A map to look at, not a model.
"""
BLOCK_VALUES = 1 << 22
"""How many similarities stand in memory at once."""


def regions(units: np.ndarray, number: int, seed: int) -> np.ndarray:
    """[n] int: spherical k-means (Dhillon & Modha 2001) of unit rows [n, d], started by k-means++.

    Regions numbered from the largest.
    """
    if number <= 1:
        return np.zeros(len(units), dtype=np.int64)
    rng = np.random.default_rng(seed)
    some = units[np.sort(rng.choice(len(units), min(len(units), TRAINED * number), replace=False))]
    centres = _spread(
        np.ascontiguousarray(some[:: max(1, len(some) // (SPREAD * number))]), number, rng
    )
    centres = spherical_k_means(some, centres, ROUNDS, nearest_centre)
    cell = nearest_centre(units, centres)
    rank = np.empty(len(centres), dtype=np.int64)
    rank[np.argsort(-np.bincount(cell, minlength=len(centres)), kind="stable")] = np.arange(
        len(centres)
    )
    return rank[cell]


def nearest_centre(units: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[n] int: which of the centres [c, d] each row [n, d] is most like.

    The first of equal ones.
    """
    step = max(1, BLOCK_VALUES // len(centres))
    parts = [
        np.argmax(units[start : start + step] @ centres.T, axis=1)
        for start in range(0, len(units), step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _spread(units: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Starting centres far from each other (k-means++, Arthur & Vassilvitskii 2007).

    Fewer where vectors repeat.
    """
    chosen = [int(rng.integers(len(units)))]
    left = np.maximum(1.0 - units @ units[chosen[0]], 0.0).astype(np.float64)
    while len(chosen) < number and left.sum() > 1e-6:  # noqa: PLR2004 (all that is left are copies)
        chosen.append(
            min(int(np.searchsorted(np.cumsum(left), rng.random() * left.sum())), len(units) - 1)
        )
        left = np.minimum(left, np.maximum(1.0 - units @ units[chosen[-1]], 0.0))
    return units[chosen]
