"""Out-of-fold class probabilities from vectors, by a classifier that learns at the same time how
labels were confused.

    vectors ──▶ kernel features (Nyström) ──▶ for each fold, on the others alone: softmax
        regressions ──▶ p(true class | sample)
                                                    ▲                                              │
                                                    └──── p(true | given, sample) ◀── confusion ◀──┘

Everything is float32 products of [n, m] matrices in blocks of rows: some tens of passes over the
features, no copies of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe_labels.confusion import (
    estimated_confusion,
    expected_counts,
    posterior,
    starting_confusion,
)
from dqpipe_labels.folds import Folds
from dqpipe_labels.kernel import exponent, softmax, squared_distances, standardised

LANDMARKS, PER_LANDMARK = 1000, 8
"""At most so many kernel features, and at least so many samples for each.

More of them fit small sets too closely.
"""
BUDGET = 600_000_000
"""Bytes that the kernel features may take; beyond it there are fewer of them."""
BLOCK = 4096
WARM, FIRST, REST = 15, 40, 40
"""Iterations on the labels as given, with the first estimate of the confusion, and with the later
one.
"""
LARGE, COARSE, REST_OF_LARGE = 20_000, 4, 25
"""Beyond so many samples the first iterations see one in COARSE, and the last ones, on all, are
fewer: much the same is found.
"""
SHARPENED = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
"""Temperatures tried on the classifier's log probabilities; the first is none."""
CERTAIN = 2.0
"""Standard errors by which one model must foretell the labels better than a simpler one to be
believed.
"""
CHANCE = 1e-3
"""Probability with which vectors that tell nothing may pass for ones that tell the
classes apart.
"""
RATES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
"""Shares of wrong labels that are tried to see whether vectors tell classes apart, in proportion to
that of random labels.
"""
PENALTY = 0.1
"""Precision of the weights' Gaussian prior, in samples."""


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What was learned: p(true class | sample) [n, c], out of fold.

    P(given | true) [c, c]; log p(given label | sample) [n].
    """

    probabilities: np.ndarray
    confusion: np.ndarray
    likelihood: np.ndarray


def informed(opinions: Sequence[np.ndarray], given: np.ndarray, groups: np.ndarray) -> bool:
    """Whether one of these probabilities [n, c] foretells the labels int [n] better than the sizes
    of the classes do, beyond chance.

    Either the labels are likelier, with an even confusion at the best of some rates of wrong
    labels, since that of each pair of classes has learned from the very labels that it would
    foretell; or the likeliest class is oftener the given one than it would be by chance. Copies
    (`groups` [n] str) count once.
    """
    kinds = opinions[0].shape[1]
    sizes = np.bincount(given, minlength=kinds) / len(given)
    confusions = [
        starting_confusion(kinds, rate * (1 - 1 / kinds)) for rate in RATES
    ]  # beyond it a label would speak against its own class
    thing = np.unique(groups.astype(str), return_inverse=True)[1]
    gains = []
    for opinion in opinions:
        told = opinion.argmax(axis=1)
        gains.append(
            max((likelihoods(opinion, even, given) for even in confusions), key=np.sum)
            - np.log(sizes[given])
        )
        gains.append((told == given) - sizes[told])
    return any(
        above_zero(np.bincount(thing, gain) / np.bincount(thing), CHANCE / len(gains))
        for gain in gains
    )


def above_zero(values: np.ndarray, chance: float) -> bool:
    """Whether the mean of values [n] is above 0 beyond this chance."""
    from scipy.stats import t

    if len(values) < 2:  # noqa: PLR2004 (no spread to be seen)
        return False
    return float(values.mean()) > float(t.isf(chance, len(values) - 1)) * float(
        values.std(ddof=1)
    ) / math.sqrt(len(values))


def kernel_features(vectors: np.ndarray, seed: int) -> np.ndarray:
    """float32 [n, m]: Gaussian kernel between the standardised vectors [n, d] and m of them
    (Williams & Seeger 2001).

    The width is the root of half the median squared distance between vectors.
    """
    rng = np.random.default_rng(seed)
    count = len(vectors)
    scaled = standardised(vectors)
    most = max(64, min(LANDMARKS, count // PER_LANDMARK, BUDGET // (4 * count)))
    landmarks = scaled[np.sort(rng.choice(count, min(most, count), replace=False))]
    some = scaled[np.sort(rng.choice(count, min(256, count), replace=False))]
    norms = (landmarks**2).sum(axis=1)
    rate = exponent(squared_distances(some, landmarks))
    features = np.empty((count, len(landmarks)), dtype=np.float32)
    for start in range(0, count, BLOCK):
        rows = scaled[start : start + BLOCK]
        block = features[start : start + BLOCK]
        np.matmul(rows, landmarks.T, out=block)
        block *= -2
        block += (rows**2).sum(axis=1)[:, None]
        block += norms
        np.maximum(block, 0, out=block)
        block *= rate
        np.exp(block, out=block)
    return features


def log_features(probabilities: np.ndarray) -> np.ndarray:
    """float32 [n, c + 1]: a model's log probabilities around their mean, and a constant."""
    logs = np.log(np.maximum(probabilities, 1e-4))
    logs -= logs.mean(axis=1, keepdims=True)
    return np.hstack([logs, np.ones((len(logs), 1))]).astype(np.float32)


def conditioned(features: np.ndarray) -> np.ndarray:
    """Turn features [n, m], in place, into coordinates in which softmax regression is well
    conditioned; its penalty there [m].

    With eigenvalues e of the Gram matrix per sample and a penalty p, coordinates are scaled by (e /
    2 + p)^-1/2: e / 2 bounds the curvature of the softmax loss (Böhning 1992), so that plain
    accelerated gradient steps converge in some tens.
    """
    count = len(features)
    gram = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, count, BLOCK):
        rows = features[start : start + BLOCK]
        gram += rows.T @ rows
    values, directions = np.linalg.eigh(gram / count)
    penalty = PENALTY / count
    curvature = np.maximum(values, 1e-7 * values[-1]) / 2 + penalty
    turn = (directions / np.sqrt(curvature)).astype(np.float32)
    for start in range(0, count, BLOCK):
        features[start : start + BLOCK] = features[start : start + BLOCK] @ turn
    return (penalty / curvature).astype(np.float32)


def learn(features: np.ndarray, given: np.ndarray, folds: Folds, classes: int) -> np.ndarray:
    """p(true class | sample), out of fold [n, c], of samples with these features [n, m], or [folds,
    n, m] for those of each fold (used up), and labels int [n].

    Each fold is judged by a model that saw none of its labels at any step (`learn_fold`). How the
    features are turned is learned without labels.
    """
    found = np.empty((len(given), classes))
    alike = features.ndim == 2  # noqa: PLR2004 (the same for each fold)
    penalty = conditioned(features)[:, None] if alike else None
    for number in range(folds.count):
        own = features if alike else features[number]
        flat = penalty if penalty is not None else conditioned(own)[:, None]
        weights = learn_fold(
            own, np.flatnonzero(folds.outer != number), given, folds.inner, flat, classes
        )
        held = np.flatnonzero(folds.outer == number)
        for start in range(0, len(held), BLOCK):
            rows = held[start : start + BLOCK]
            found[rows] = softmax((own[rows] @ weights).astype(np.float64))
    return sharpened(found, given).probabilities


def learn_fold(
    features: np.ndarray,
    rows: np.ndarray,
    given: np.ndarray,
    inner: np.ndarray,
    penalty: np.ndarray,
    classes: int,
) -> np.ndarray:
    """Weights [m, c] of a softmax regression that learns p(true class | sample) from these rows and
    from no others.

    Expectation-maximisation on p(given | sample) = Σ p(given | true) p(true | sample), with noise
    that depends on the class (Bekker & Goldberger 2016; Natarajan et al. 2013). What a row is held
    to be comes from a model that left its inner fold out, so that the confusion is not fitted to
    memorised labels; that of all rows, which is returned, learns along.
    """
    large = len(rows) > LARGE
    every, rows = rows, rows[:: COARSE if large else 1]
    kept = training_shares(inner[rows])
    models = len(kept)
    weights: np.ndarray = np.zeros((features.shape[1], models * classes), dtype=np.float32)
    lead = weights
    step, pace = 0.9 * (models - 2) / (models - 1), 1.0
    confusion = np.eye(classes)
    for turn in range(WARM + FIRST + (REST_OF_LARGE if large else REST)):
        if turn == WARM:
            confusion = starting_confusion(classes)
        if turn == WARM + FIRST and large:
            rows, kept = every, training_shares(inner[every])
        gradient, chances = climb(features, rows, lead, given, inner, kept, confusion)
        if turn >= WARM:
            counts = expected_counts(posterior(chances, confusion, given[rows]), given[rows])
            confusion = estimated_confusion(counts, first=turn < WARM + FIRST)
        gradient -= penalty * lead
        ahead = lead + step * gradient
        if float(np.vdot(gradient, ahead - weights)) < 0:
            pace = 1.0  # the momentum points down: start it anew (O'Donoghue & Candès 2015)
        later = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
        lead = ahead + min((pace - 1) / later, 0.9) * (ahead - weights)
        weights, pace = ahead, later
    return weights[:, -classes:]


def training_shares(inner: np.ndarray) -> np.ndarray:
    """The weight of a row of each inner fold for each model, float32 [models, inner folds].

    A model for each inner fold, without it, and one of all.
    """
    sizes = np.bincount(inner)
    taken = np.vstack([1 - np.eye(len(sizes)), np.ones(len(sizes))])
    return (taken / np.maximum(taken @ sizes, 1)[:, None]).astype(np.float32)


def climb(
    features: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    given: np.ndarray,
    inner: np.ndarray,
    kept: np.ndarray,
    confusion: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of each model's mean log-likelihood [m, models * c], and p(true class | row) [r, c]
    by the models that left the rows' inner folds out.
    """
    classes = weights.shape[1] // len(kept)
    gradient = np.zeros_like(weights)
    chances = np.empty((len(rows), classes))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        some, own = features[block], inner[block]
        chance = softmax((some @ weights).reshape(-1, len(kept), classes))
        chances[start : start + BLOCK] = told = chance[np.arange(len(own)), own]
        target = posterior(told, confusion, given[block])
        np.subtract(target[:, None, :].astype(np.float32), chance, out=chance)
        chance *= kept.T[own][:, :, None]
        gradient += some.T @ chance.reshape(-1, weights.shape[1])
    return gradient, chances


def sharpened(probabilities: np.ndarray, given: np.ndarray) -> NoiseModel:
    """The model at the temperature, never above 1, under which the given labels are most likely.

    A penalised classifier of few samples is less sure than it could be (Guo et al. 2017 calibrate
    the same way). Where the gain is within the standard error the classifier is left as it is:
    overlapping classes would else pass for wrong labels.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    models = [tempered(logs / temperature, given) for temperature in SHARPENED]
    best = max(models, key=lambda model: float(model.likelihood.sum()))
    return best if surely(best.likelihood - models[0].likelihood) else models[0]


def tempered(logits: np.ndarray, given: np.ndarray) -> NoiseModel:
    """The noise model with these logits [n, c] and the confusion that fits to them."""
    chances, confusion = softmax(logits), starting_confusion(logits.shape[1])
    for _ in range(10):
        confusion = estimated_confusion(
            expected_counts(posterior(chances, confusion, given), given), first=False
        )
    return NoiseModel(chances, confusion, likelihoods(chances, confusion, given))


def likelihoods(probabilities: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Log p(given label | sample), float64 [n]."""
    return np.log(np.einsum("nt,tn->n", probabilities, confusion[:, given]) + 1e-12)


def surely(gain: np.ndarray) -> bool:
    """Whether a gain [n] in log-likelihood is more than chance."""
    return float(gain.mean()) > CERTAIN * float(gain.std()) / math.sqrt(len(gain))
