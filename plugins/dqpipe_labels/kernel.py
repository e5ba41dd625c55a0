"""Gaussian kernels between vectors, and the softmax: what the models of labels are made of."""

from __future__ import annotations

import numpy as np


def standardised(vectors: np.ndarray) -> np.ndarray:
    """float32 [n, d] of mean 0 and standard deviation 1 in each direction that varies, 0 in the
    others.
    """
    mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6 * max(float(spread.max(initial=0)), 1e-30)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    scaled = np.subtract(vectors, mean.astype(np.float32), dtype=np.float32)
    scaled *= scale.astype(np.float32)
    return scaled


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, m] between the rows [n, d] and the others [m, d]."""
    return np.maximum(
        (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T, 0
    )


def exponent(distances: np.ndarray) -> float:
    """The factor of squared distances in the Gaussian kernel, -1 / their median without those of
    equal rows.
    """
    different = distances[distances > distances.max(initial=0) * 1e-6]
    return -1 / float(np.median(different)) if len(different) else -1.0


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in place."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits
