"""Texts as vectors by their words and letters: TF-IDF, then the directions that matter most.

    text ──words, pairs of words, 3 to 5 letters──▶ hashed counts ──TF-IDF──▶ sparse, unit length
         ──truncated SVD (Halko et al. 2011), learned once──▶ vector, unit length

Latent semantic analysis (Deerwester et al. 1990). What is learned is kept by feature that at least
two texts had; a vector depends on its own text and on that alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

FEATURES = 1 << 17
"""Places that words, and again letters, are hashed to."""
LONGEST = 20_000
"""Characters of a text that are looked at."""
ITERATIONS, OVERSAMPLED = 3, 16
"""Of the randomised SVD."""


@cache
def _vectorizers() -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = {"n_features": FEATURES, "alternate_sign": False, "norm": None, "dtype": np.float32}
    word = r"(?u)\w+"
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=word, **plain)
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **plain)
    return words, letters


def counted(texts: Sequence[str]) -> sparse.csr_matrix:
    """float32 [n, 2 FEATURES]: 1 + log of how often each feature stands in a text."""
    from scipy import sparse

    some = [text[:LONGEST] for text in texts]
    found = sparse.hstack([one.transform(some) for one in _vectorizers()], format="csr")
    found.sort_indices()
    found.data = (1 + np.log(found.data)).astype(np.float32)
    return found


def learned(texts: Sequence[str], size: int, seed: int) -> dict[str, np.ndarray]:
    """What `vectors` needs: features [k] in order, their weights [k], directions [k, size]."""
    counts = counted(texts)
    times = np.bincount(counts.indices, minlength=counts.shape[1])
    features = np.flatnonzero(times > 1)
    weights = (np.log((1 + len(texts)) / (1 + times[features])) + 1).astype(np.float32)
    matrix = _weighted(counts, features, weights)
    known = (
        _directions(matrix, size, seed) if matrix.nnz else np.zeros((len(features), 1), np.float32)
    )
    return {"features": features, "weights": weights, "directions": known}


def _directions(matrix: sparse.csr_matrix, size: int, seed: int) -> np.ndarray:
    """The right singular vectors [k, size] of the largest values: found in random directions that
    are multiplied by the matrix again and again, orthogonal in between.
    """
    rng = np.random.default_rng(seed)
    count, width = matrix.shape
    start = rng.standard_normal((width, min(size + OVERSAMPLED, width, max(count, 1))))
    basis = matrix @ start
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(matrix @ (matrix.T @ np.linalg.qr(basis)[0]))[0]
    basis = np.linalg.qr(basis)[0]
    rows = np.linalg.svd(np.asarray((matrix.T @ basis).T), full_matrices=False)[2][:size]
    turned = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return np.ascontiguousarray((rows * turned[:, None]).T, dtype=np.float32)


def _weighted(
    counts: sparse.csr_matrix, features: np.ndarray, weights: np.ndarray
) -> sparse.csr_matrix:
    """The counts of known features, weighted; words and letters each of unit length."""
    from scipy import sparse

    kept = counts[:, features]
    kept.sort_indices()
    kept.data = kept.data * weights[kept.indices]
    row = np.repeat(np.arange(kept.shape[0]), np.diff(kept.indptr))
    part = 2 * row + (features[kept.indices] >= FEATURES)
    length = np.sqrt(np.bincount(part, kept.data.astype(float) ** 2, minlength=2 * len(row) + 2))
    kept.data = (kept.data / np.maximum(length[part], 1e-12)).astype(np.float32)
    return sparse.csr_matrix(kept)


def vectors(texts: Sequence[str], learned_: Mapping[str, np.ndarray]) -> np.ndarray:
    """float32 [n, size], of unit length; zeros for a text of which nothing is known."""
    directions = learned_["directions"]
    out = np.zeros((len(texts), directions.shape[1]), np.float32)
    matrix = _weighted(counted(texts), learned_["features"], learned_["weights"])
    for row in range(len(texts)):  # one by one: sums in one order, whatever texts are beside it
        start, end = matrix.indptr[row], matrix.indptr[row + 1]
        if end > start:
            some = directions[matrix.indices[start:end]].astype(np.float64)
            vector = np.einsum("i,ij->j", matrix.data[start:end].astype(np.float64), some)
            out[row] = vector / max(float(np.sqrt((vector * vector).sum())), 1e-12)
    return out
