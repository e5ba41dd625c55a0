"""The confusion matrix of labels, p(given label | true class).

Estimated from posteriors, and applied to samples.
"""

from __future__ import annotations

import numpy as np

PRIOR = 25.0
"""Samples' worth of belief, per class, that wrong labels spread evenly over the other classes."""
PRIOR_SHARE = 0.05
"""The same in proportion to the size of an average class, while the first estimate is formed."""
NOTICEABLE = 0.02
"""Excess of one confusion over the usual one, as a share of its class, that is half believed.

A classifier's own hesitation between two alike classes stays below it, people's systematic mistakes
are above.
"""

FEW = 4.0
"""Excess of one confusion in samples that is half believed, however small its class."""


def posterior(probabilities: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> np.ndarray:
    """p(true class | sample, given label), float64 [n, c], by Bayes' rule.

    `probabilities` [n, c] is p(true class | sample) by a model that did not see the given label
    (int [n]), `confusion` [c, c] is p(given | true), rows sum to one.
    """
    joint = probabilities * confusion.T[given]
    total = joint.sum(axis=1, keepdims=True)
    return joint / np.maximum(total, np.finfo(np.float64).tiny)


def starting_confusion(count: int, share: float = 0.1) -> np.ndarray:
    """Confusion [c, c] with this share of wrong labels, spread evenly."""
    matrix = np.full((count, count), share / max(count - 1, 1))
    np.fill_diagonal(matrix, 1 - share)
    return matrix


def expected_counts(posteriors: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Expected number of samples [true, given] by their posteriors [n, c] and given
    labels int [n].
    """
    size = posteriors.shape[1]
    return np.stack(
        [np.bincount(given, weights=posteriors[:, true], minlength=size) for true in range(size)]
    )


def estimated_confusion(counts: np.ndarray, *, first: bool) -> np.ndarray:
    """p(given | true) [c, c] from expected counts [true, given], shrunk towards an even spread.

    Shrinkage is what tells wrong labels from a weak model's own doubt: without it the estimate
    takes up every pair of classes that look alike. The `first` estimate shrinks in proportion, so
    that confusions can grow; later ones keep an excess d over the usual confusion in the proportion
    d² / (d² + t²), where t is NOTICEABLE and FEW samples.
    """
    size = len(counts)
    off = ~np.eye(size, dtype=bool)
    total = counts.sum()
    even = starting_confusion(size, counts[off].sum() / total)
    prior = PRIOR + (PRIOR_SHARE * total / size if first else 0.0)
    sizes = counts.sum(axis=1, keepdims=True) + prior
    matrix = (counts + prior * even) / sizes
    if first:
        return matrix
    usual = np.median(matrix[off])
    excess = matrix - usual
    limit = NOTICEABLE**2 + (FEW / sizes) ** 2
    matrix = np.where(off, np.maximum(usual + excess**3 / (excess**2 + limit), 1e-6), 0.0)
    np.fill_diagonal(matrix, np.maximum(1 - matrix.sum(axis=1), 0.02))
    return matrix / matrix.sum(axis=1, keepdims=True)
