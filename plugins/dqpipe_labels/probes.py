"""Out-of-fold class probabilities from vectors, by a classifier that learns at the same time how labels were confused.

    vectors ──▶ kernel features (Nyström) ──▶ softmax regression, one per fold, all at once ──▶ p(true class | sample)
                                                    ▲                                              │
                                                    └──── p(true | given, sample) ◀── confusion ◀──┘

Everything is float32 products of [n, m] matrices in blocks of rows: some tens of passes over the features, no copies of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dqpipe_labels.confusion import estimated_confusion, expected_counts, posterior, starting_confusion

LANDMARKS, PER_LANDMARK = 1000, 8
"""At most so many kernel features, and at least so many samples for each: more of them fit small sets too closely."""
BUDGET = 600_000_000
"""Bytes that the kernel features may take; beyond it there are fewer of them."""
BLOCK = 4096
WARM, FIRST, REST = 15, 40, 40
"""Iterations on the labels as given, with the first estimate of the confusion, and with the later one."""
LARGE, COARSE, REST_OF_LARGE = 20_000, 4, 25
"""Beyond so many samples the first iterations see one in COARSE, and the last ones, on all, are fewer: much the same is found."""
UPDATES = 3
"""How often the confusion is estimated anew for each step of the classifier."""
SHARPENED = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
"""Temperatures tried on the classifier's log probabilities; the first is none."""
CERTAIN = 2.0
"""Standard errors by which one model must foretell the labels better than a simpler one to be believed."""
PENALTY = 0.1
"""Precision of the weights' Gaussian prior, in samples."""


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What was learned: p(true class | sample) [n, c], out of fold; p(given | true) [c, c]; log p(given label | sample) [n]."""

    probabilities: np.ndarray
    confusion: np.ndarray
    likelihood: np.ndarray


def informed(probabilities: np.ndarray, wrong: np.ndarray, given: np.ndarray) -> bool:
    """Whether probabilities [n, c] foretell the labels int [n] better than the sizes of the classes do, for certain.

    With an even confusion at the expected rate of wrong labels (their probabilities [n]), since that of each pair of classes has learned from the
    very labels that it would foretell.
    """
    sizes = np.bincount(given) / len(given)
    even = starting_confusion(len(sizes), float(wrong.mean()))
    return surely(likelihoods(probabilities, even, given) - np.log(sizes)[given])


def kernel_features(vectors: np.ndarray, seed: int) -> np.ndarray:
    """float32 [n, m]: Gaussian kernel between the standardised vectors [n, d] and m of them (Williams & Seeger 2001).

    The width is the root of half the median squared distance between vectors.
    """
    rng = np.random.default_rng(seed)
    count = len(vectors)
    scaled = standardised(vectors)
    most = max(64, min(LANDMARKS, count // PER_LANDMARK, BUDGET // (4 * count)))
    landmarks = scaled[np.sort(rng.choice(count, min(most, count), replace=False))]
    some = scaled[np.sort(rng.choice(count, min(256, count), replace=False))]
    norms = (landmarks**2).sum(axis=1)
    distances = (some**2).sum(axis=1)[:, None] + norms[None] - 2 * some @ landmarks.T
    apart = distances[distances > distances.max(initial=0) * 1e-6]
    rate = -1 / float(np.median(apart)) if len(apart) else -1.0
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


def standardised(vectors: np.ndarray) -> np.ndarray:
    """float32 [n, d] of mean 0 and standard deviation 1 in each direction that varies, 0 in the others."""
    mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6 * max(float(spread.max(initial=0)), 1e-30)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    scaled = np.subtract(vectors, mean.astype(np.float32), dtype=np.float32)
    scaled *= scale.astype(np.float32)
    return scaled


def conditioned(features: np.ndarray) -> np.ndarray:
    """Turn features [n, m], in place, into coordinates in which softmax regression is well conditioned; its penalty there [m].

    With eigenvalues e of the Gram matrix per sample and a penalty p, coordinates are scaled by (e / 2 + p)^-1/2: e / 2 bounds
    the curvature of the softmax loss (Böhning 1992), so that plain accelerated gradient steps converge in some tens.
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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in place."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def learn(features: np.ndarray, given: np.ndarray, fold: np.ndarray, classes: int) -> np.ndarray:
    """p(true class | sample), out of fold [n, c], of samples with these features [n, m] (used up), given labels int [n] and folds int [n].

    Expectation-maximisation on p(given | sample) = Σ p(given | true) p(true | sample), with noise that depends on the
    class (Bekker & Goldberger 2016; Natarajan et al. 2013), one softmax regression for each fold, trained on the others. What a model says of a
    sample is never learned from its own label or from its copies', so that the confusion is not fitted to memorised labels.
    """
    folds = int(fold.max()) + 1
    penalty = conditioned(features)[:, None]
    weights: np.ndarray = np.zeros((features.shape[1], folds * classes), dtype=np.float32)
    lead = weights
    step, pace = 0.9 * (folds - 1) / folds, 1.0
    confusion = np.eye(classes)
    rows = slice(None, None, COARSE if len(fold) > LARGE else 1)
    some = np.ascontiguousarray(features[rows]), given[rows], fold[rows]
    for turn in range(WARM + FIRST + (REST if len(fold) <= LARGE else REST_OF_LARGE)):
        if turn == WARM:
            confusion = starting_confusion(classes)
        if turn == WARM + FIRST:
            some = features, given, fold
        gradient, chances = climb(some[0], lead, some[1], some[2], confusion)
        for _ in range(UPDATES if turn >= WARM else 0):
            counts = expected_counts(posterior(chances, confusion, some[1]), some[1])
            confusion = estimated_confusion(counts, first=turn < WARM + FIRST)
        gradient -= penalty * lead
        ahead = lead + step * gradient
        if float(np.vdot(gradient, ahead - weights)) < 0:
            pace = 1.0  # the momentum points down: start it anew (O'Donoghue & Candès 2015)
        later = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
        lead = ahead + min((pace - 1) / later, 0.9) * (ahead - weights)
        weights, pace = ahead, later
    return sharpened(judged(features, weights, fold, classes), confusion, given).probabilities


def sharpened(probabilities: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> NoiseModel:
    """The model at the temperature, never above 1, under which the given labels are most likely.

    A penalised classifier of few samples is less sure than it could be (Guo et al. 2017 calibrate the same way). Where the gain is
    within the standard error the classifier is left as it is: overlapping classes would else pass for wrong labels.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    models = [tempered(logs / temperature, confusion, given) for temperature in SHARPENED]
    best = max(models, key=lambda model: float(model.likelihood.sum()))
    return best if surely(best.likelihood - models[0].likelihood) else models[0]


def tempered(logits: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> NoiseModel:
    """The noise model with these logits [n, c] and the confusion that fits to them."""
    chances = softmax(logits)
    for _ in range(10):
        confusion = estimated_confusion(expected_counts(posterior(chances, confusion, given), given), first=False)
    return NoiseModel(chances, confusion, likelihoods(chances, confusion, given))


def likelihoods(probabilities: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Log p(given label | sample), float64 [n]."""
    return np.log(np.einsum("nt,tn->n", probabilities, confusion[:, given]) + 1e-12)


def surely(gain: np.ndarray) -> bool:
    """Whether a gain [n] in log-likelihood is more than chance."""
    return float(gain.mean()) > CERTAIN * float(gain.std()) / math.sqrt(len(gain))


def climb(features: np.ndarray, weights: np.ndarray, given: np.ndarray, fold: np.ndarray, confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the mean log-likelihood of each fold's model [m, folds * c], and p(true class | sample) [n, c] out of fold."""
    folds = int(fold.max()) + 1
    classes = weights.shape[1] // folds
    share = 1 / (len(fold) - np.bincount(fold, minlength=folds))
    gradient = np.zeros_like(weights)
    chances = np.empty((len(fold), classes))
    kept = np.where(np.eye(folds, dtype=bool), 0, share[None]).astype(np.float32)
    for start in range(0, len(fold), BLOCK):
        rows = slice(start, start + BLOCK)
        labels, own = given[rows], fold[rows]
        chance = softmax((features[rows] @ weights).reshape(-1, folds, classes))
        chances[rows] = chance[np.arange(len(own)), own]
        target = posterior(chances[rows], confusion, labels)
        np.subtract(target[:, None, :].astype(np.float32), chance, out=chance)
        chance *= kept[own][:, :, None]
        gradient += features[rows].T @ chance.reshape(-1, folds * classes)
    return gradient, chances


def judged(features: np.ndarray, weights: np.ndarray, fold: np.ndarray, classes: int) -> np.ndarray:
    """Each sample's class probabilities by the model of its own fold, float64 [n, c]."""
    found = np.empty((len(fold), classes))
    for start in range(0, len(fold), BLOCK):
        rows = slice(start, start + BLOCK)
        chance = (features[rows] @ weights).reshape(-1, weights.shape[1] // classes, classes)
        found[rows] = softmax(chance[np.arange(len(chance)), fold[rows]].astype(np.float64))
    return found
