"""The Vendi score (Friedman & Dieng 2023): the effective number of different samples in a set.

It is the exponential of the entropy of the eigenvalues of K/n, K the n×n similarities. With cosine
similarity K = X Xᵀ for unit rows X, and X Xᵀ/n has the same nonzero eigenvalues as the d×d matrix
Xᵀ X/n: the smaller of both gives it exactly, for any number of samples where vectors are no longer
than EXACT. Beyond, the entropy is a trace, tr f(K/n) with f(λ) = -λ ln λ, and estimated by
stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017) from products with X alone; the interval is
that of the random starts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT = 20_000
"""Samples, or numbers in a vector, whichever are fewer, up to which the score is exact."""
LEADING, ROUNDS, SETTLED = 128, 6, 0.01
"""Eigenvalues that the approximation takes by themselves, rounds to find them, and the error, as a
share, of those that have settled.
"""
STARTS, STEPS = 16, 48
"""Random starts for the rest, and Lanczos steps from each."""
T_VALUE = 2.131
"""Half the width of a 95 % interval in standard errors, for STARTS - 1 degrees of freedom."""
ALONE = 2048
"""Rows of a matrix up to which two threads wait for each other longer than one takes for all of its
eigenvalues.
"""
BLOCK = 8192
"""Rows summed in single precision before they go to the double precision total."""


@dataclass(frozen=True)
class Vendi:
    """A score, with the interval that holds the exact one in 95 of 100 cases.

    The same number thrice where it is exact.
    """

    value: float
    low: float
    high: float

    def interval(self) -> dict[str, Any]:
        """As the columns of a figure: an interval only where the value is no exact one."""
        exact = self.low == self.high
        return (
            {"value": self.value}
            if exact
            else {
                "value": self.value,
                "low": self.low,
                "high": self.high,
                "detail": "approximated; 95 % interval",
            }
        )


def vendi_score(units: np.ndarray, *, exact: int = EXACT) -> Vendi:
    """Of order 1, of unit vectors [n, d] with cosine similarity; from 1 to min(n, d)."""
    if not len(units):
        return Vendi(0.0, 0.0, 0.0)
    if min(units.shape) > exact:
        return _estimated(units)
    return of_products(products(units), len(units))


def products(units: np.ndarray) -> np.ndarray:
    """float64: the smaller of Xᵀ X [d, d] and X Xᵀ [n, n].

    Blocks in single precision, their sum in double.
    """
    count, width = units.shape
    if count < width:
        rows = np.asarray(units, dtype=np.float64)
        return np.asarray(rows @ rows.T)
    total = np.zeros((width, width))
    for start in range(0, count, BLOCK):
        part = units[start : start + BLOCK]
        total += part.T @ part
    return total


def of_products(gram: np.ndarray, count: int) -> Vendi:
    """The exact score of `count` samples from their products."""
    from scipy.linalg import eigvalsh

    with _threads().limit(limits=1 if len(gram) <= ALONE else None):
        values = eigvalsh(gram / count, overwrite_a=True, check_finite=False)
    score = float(np.exp(_entropy(values).sum()))
    return Vendi(score, score, score)


@functools.cache
def _threads() -> Any:  # noqa: ANN401 (threadpoolctl has no types)
    """What sets the number of threads; found once, since it looks at every loaded library.

    After scipy is imported.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _entropy(values: np.ndarray) -> np.ndarray:
    """-λ ln λ, and 0 for what is 0 but for rounding."""
    kept = np.where(values > 1e-12, values, 1.0)  # noqa: PLR2004 (rounding)
    return np.asarray(-kept * np.log(kept))


def _estimated(units: np.ndarray) -> Vendi:
    """The LEADING eigenvalues by themselves (as in Hutch++, Meyer et al. 2021), the rest from
    STARTS random signs beside them.

    The trace of the rest is known, and what the starts say of it corrects what they say of the
    entropy (a ratio estimate).
    """
    rows = np.ascontiguousarray(
        units if units.shape[1] <= units.shape[0] else units.T, dtype=np.float32
    )
    width, rng = rows.shape[1], np.random.default_rng(0)
    leading, space = _leading(rows, len(units), rng)
    starts = rng.choice(np.array([-1.0, 1.0]), size=(width, STARTS))
    starts -= space @ (space.T @ starts)
    lengths = np.linalg.norm(starts, axis=0)
    diagonal, beside = _lanczos(rows, len(units), starts / lengths, space)
    seen = (
        np.array([_quadrature(a, b) for a, b in zip(diagonal.T, beside.T, strict=True)])
        * lengths**2
    )
    trace = diagonal[0] * lengths**2
    ratio = seen.mean() / trace.mean()
    rest = max(
        float(np.square(units, dtype=np.float64).sum()) / len(units) - float(leading.sum()), 0.0
    )
    middle = float(_entropy(leading).sum()) + ratio * rest
    half = (
        T_VALUE * rest / trace.mean() * float((seen - ratio * trace).std(ddof=1)) / np.sqrt(STARTS)
    )
    return Vendi(*(float(np.exp(value)) for value in (middle, middle - half, middle + half)))


def _leading(
    rows: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues [k] of Xᵀ X/count and their vectors [d, k], by subspace iteration.

    Those that have settled.
    """
    space = rng.normal(size=(rows.shape[1], min(LEADING, rows.shape[1] // 4)))
    for _ in range(ROUNDS):
        space = np.linalg.qr(_applied(rows, count, space))[0]
    moved = _applied(rows, count, space)
    values, turn = np.linalg.eigh(space.T @ moved)
    vectors, moved = space @ turn, moved @ turn
    settled = np.linalg.norm(moved - vectors * values, axis=0) < SETTLED * values
    return values[settled], vectors[:, settled]


def _applied(rows: np.ndarray, count: int, to: np.ndarray) -> np.ndarray:
    """Xᵀ X/count times `to` [d, k], products in single precision."""
    return np.asarray(rows.T @ (rows @ to.astype(np.float32)), dtype=np.float64) / count


def _lanczos(
    rows: np.ndarray, count: int, starts: np.ndarray, beyond: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tridiagonal matrices [steps, starts] and [steps - 1, starts] of Xᵀ X/count from each start,
    orthogonal to `beyond` and among themselves.
    """
    steps = min(STEPS, rows.shape[1])
    basis = np.zeros((steps, *starts.shape))
    diagonal, beside = np.zeros((steps, starts.shape[1])), np.zeros((steps, starts.shape[1]))
    basis[0] = starts
    for step in range(steps):
        moved = _applied(rows, count, basis[step])
        diagonal[step] = (basis[step] * moved).sum(axis=0)
        for _ in range(2):
            moved -= beyond @ (beyond.T @ moved)
            moved -= np.einsum(
                "ids,is->ds", basis[: step + 1], np.einsum("ids,ds->is", basis[: step + 1], moved)
            )
        beside[step] = np.linalg.norm(moved, axis=0)
        if step + 1 < steps:
            basis[step + 1] = np.where(
                beside[step] > 1e-10,  # noqa: PLR2004
                moved / np.maximum(beside[step], 1e-10),
                0.0,  # noqa: PLR2004, RUF100
            )
    return diagonal, beside[:-1]


def _quadrature(diagonal: np.ndarray, beside: np.ndarray) -> float:
    """Gauss quadrature of -λ ln λ over the spectrum as one start sees it."""
    from scipy.linalg import eigh_tridiagonal

    values, vectors = eigh_tridiagonal(diagonal, beside)
    return float((vectors[0] ** 2 * _entropy(np.maximum(values, 0.0))).sum())
