"""Out-of-fold predictions of many targets at once, by ridge regression on kernel features.

    vectors [n, d] ──▶ kernel features [n, m] ──▶ one Gram matrix per fold ──▶ weights of all the
        other folds ──▶ predictions [n, k]

The Gram matrix of the other folds is a difference, so that all folds and penalties together cost
two passes over the features, and as many targets as there are cost little more than one.
"""

from __future__ import annotations

import numpy as np

from dqpipe_labels.kernel import exponent, squared_distances, standardised

LANDMARKS = 800
"""At most so many kernel features; at most as many as half of the samples."""
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Tried penalties, in proportion to the mean eigenvalue of the Gram matrix.

The one that predicts best out of fold is taken.
"""
BLOCK = 4096


def out_of_fold(
    features: np.ndarray, targets: np.ndarray, fold: np.ndarray, kept: np.ndarray | None = None
) -> np.ndarray:
    """Predictions float64 [n, k] of targets [n, k] from features [n, m], each by a model of the
    other folds (int [n]).

    Nothing is learned from rows that are not `kept` ([n] bool). The penalty of each target is the
    one with the least squared error out of fold.
    """
    learned = np.ones(len(fold), dtype=bool) if kept is None else kept
    count, folds = features.shape[1], int(fold.max()) + 1
    grams, products = np.zeros((folds, count, count)), np.zeros((folds, count, targets.shape[1]))
    for number in range(folds):
        rows = np.flatnonzero((fold == number) & learned)
        for start in range(0, len(rows), BLOCK):
            some = features[rows[start : start + BLOCK]].astype(np.float64)
            grams[number] += some.T @ some
            products[number] += some.T @ targets[rows[start : start + BLOCK]]
    gram, product = grams.sum(axis=0), products.sum(axis=0)
    found = np.empty((len(PENALTIES), *targets.shape))
    for number in range(folds):
        held = np.flatnonzero(fold == number)
        values, directions = np.linalg.eigh(gram - grams[number])
        turned = directions.T @ (product - products[number])
        values = np.maximum(values, 0)
        weights = [
            directions @ (turned / (values + share * max(values.mean(), 1e-12))[:, None])
            for share in PENALTIES
        ]
        for start in range(0, len(held), BLOCK):
            block = held[start : start + BLOCK]
            found[:, block] = features[block].astype(np.float64) @ np.stack(weights)
    best = ((found[:, learned] - targets[learned]) ** 2).mean(axis=1).argmin(axis=0)
    return found[best, :, np.arange(targets.shape[1])].T


def kernel_features(vectors: np.ndarray, seed: int) -> np.ndarray:
    """float32 [n, m + 1]: Nyström features of the Gaussian kernel between standardised vectors
    (Williams & Seeger 2001), and a constant.

    The width is the root of half the median squared distance between vectors.
    """
    rng = np.random.default_rng(seed)
    scaled = standardised(vectors)
    count = len(scaled)
    landmarks = scaled[
        np.sort(rng.choice(count, min(LANDMARKS, max(count // 2, 1)), replace=False))
    ]
    among = squared_distances(landmarks, landmarks)
    rate = exponent(among)
    values, directions = np.linalg.eigh(np.exp(rate * among.astype(np.float64)))
    kept = values > values[-1] * 1e-6
    whiten = (directions[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    features = np.ones((count, int(kept.sum()) + 1), dtype=np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        features[rows, :-1] = np.exp(rate * squared_distances(scaled[rows], landmarks)) @ whiten
    return features
