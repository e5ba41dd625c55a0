"""Wrong labels planted on purpose.

Which label is wrong is known, so that what finds them can be scored.

    uniform      any label may turn into any other one
    class        each class turns into two others, at rates of its own: how people confuse
                 categories
    pairs        each class turns into one other
    clustered    all wrong labels lie in a few places: what one tired annotator did in one sitting
    look_alike   as probable as a model takes the wrong class for the true one: how people confuse
                 pictures. The model is another one than
                 the detectors' (`outsider`), on other features than theirs; else the noise would
                     follow the detectors' own doubt.

`python -m tests.benchmarks.plant_noise LABELS.npy RATE KIND SEED OUT.npy [FEATURES.npy]` writes
noisy labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

KINDS = ("uniform", "class", "pairs", "clustered", "look_alike")


def plant(
    labels: np.ndarray,
    kind: str,
    rate: float,
    seed: int,
    features: np.ndarray | None = None,
    chances: np.ndarray | None = None,
) -> np.ndarray:
    """Labels int [n] of which `rate` are wrong.

    `features` [n, d]: where the places of `clustered` are; `chances` [n, c]: the outsider's of
    `look_alike`.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind), round(rate * 1000)])
    if kind == "look_alike":
        assert chances is not None
        return look_alike(labels, rate, chances, rng)
    if kind == "clustered":
        assert features is not None
        return clustered(labels, rate, features, rng)
    return by_confusion(labels, confusion(int(labels.max()) + 1, kind, rate, rng), rng)


def confusion(classes: int, kind: str, rate: float, rng: np.random.Generator) -> np.ndarray:
    """p(given | true) [c, c], rows sum to one; `rate` wrong on average over the classes."""
    if kind == "uniform":
        wrong = np.full((classes, classes), rate / (classes - 1))
    elif kind == "pairs":
        wrong = rate * cycle(rng.permutation(classes))
    else:
        shares = rng.uniform(0.5, 1.5, classes)
        weight = rng.uniform(0.5, 0.8, (classes, 1))
        wrong = (rate * shares / shares.mean())[:, None] * (
            weight * cycle(rng.permutation(classes))
            + (1 - weight) * cycle(rng.permutation(classes))
        )
    np.fill_diagonal(wrong, 0)
    np.fill_diagonal(wrong, 1 - wrong.sum(axis=1))
    return wrong


def cycle(order: np.ndarray) -> np.ndarray:
    """The permutation matrix that takes each class of `order` to the next one."""
    matrix = np.zeros((len(order), len(order)))
    matrix[order, np.roll(order, -1)] = 1
    return matrix


def by_confusion(labels: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each label drawn anew from its class's row of p(given | true) [c, c]."""
    return (
        (rng.random((len(labels), 1)) > matrix.cumsum(axis=1)[labels])
        .sum(axis=1)
        .clip(max=len(matrix) - 1)
    )


def look_alike(
    labels: np.ndarray, rate: float, chances: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """`rate` of the labels flipped, drawn in proportion to the probability [n, c] of a wrong class.

    Into one, in proportion to its probability.
    """
    wrong = chances.astype(np.float64).copy()
    wrong[np.arange(len(labels)), labels] = 0
    wrong += 1e-6 * (1 - np.eye(chances.shape[1]))[labels]
    chosen = rng.choice(
        len(labels), round(rate * len(labels)), replace=False, p=wrong.sum(axis=1) / wrong.sum()
    )
    edges = wrong[chosen].cumsum(axis=1)
    noisy = labels.copy()
    noisy[chosen] = (
        (rng.random((len(chosen), 1)) * edges[:, -1:] > edges)
        .sum(axis=1)
        .clip(max=chances.shape[1] - 1)
    )
    return noisy


def clustered(
    labels: np.ndarray,
    rate: float,
    features: np.ndarray,
    rng: np.random.Generator,
    places: int = 12,
) -> np.ndarray:
    """`rate` of the labels wrong, two in five of those nearest to a few random places of the
    features [n, d], each place with a wrong class of its own.
    """
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    centres = scaled[rng.choice(len(scaled), places, replace=False)]
    apart = (scaled**2).sum(axis=1)[:, None] - 2 * scaled @ centres.T + (centres**2).sum(axis=1)
    near = np.argsort(apart.min(axis=1))[
        : max(1, min(len(labels), round(2.5 * rate * len(labels))))
    ]
    classes = int(labels.max()) + 1
    chosen = rng.choice(near, round(rate * len(labels)), replace=False)
    into = rng.integers(classes, size=places)[apart[chosen].argmin(axis=1)]
    noisy = labels.copy()
    noisy[chosen] = np.where(into == labels[chosen], (into + 1) % classes, into)
    return noisy


def outsider(
    features: np.ndarray, labels: np.ndarray, model: str = "mlp", folds: int = 5
) -> np.ndarray:
    """Out-of-fold class probabilities [n, c] of a model (mlp, forest) that detectors do not use, on
    features [n, d] that they do not see.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = (
        make_pipeline(
            StandardScaler(),
            MLPClassifier(
                (128,),
                alpha=1.0,
                learning_rate_init=2e-3,
                max_iter=25,
                n_iter_no_change=100,
                random_state=0,
            ),
        )
        if model == "mlp"
        else ExtraTreesClassifier(100, min_samples_leaf=3, random_state=0)
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the MLP was stopped: early on purpose
        return cross_val_predict(
            learner,
            features,
            labels,
            cv=StratifiedKFold(folds, shuffle=True, random_state=0),
            method="predict_proba",
        )


def outlines(pictures: np.ndarray, cells: int = 8, bins: int = 9) -> np.ndarray:
    """Histograms of gradients by direction in 8 × 8 cells (after Dalal & Triggs 2005), float32 [n,
    576], of uint8 [n, 32, 32, 3].
    """
    grey = pictures.astype(np.float32).mean(axis=3)
    down, right = np.gradient(grey, axis=(1, 2))
    place = np.minimum((np.arctan2(down, right) % np.pi) / np.pi * bins, bins - 1e-3).astype(
        np.int64
    )
    strength, side = np.hypot(down, right), grey.shape[1] // cells
    split = (len(grey), cells, side, cells, side)
    found = np.stack(
        [
            np.where(place == number, strength, 0).reshape(split).sum(axis=(2, 4))
            for number in range(bins)
        ],
        axis=3,
    )
    energy = np.sqrt((found**2).sum(axis=3, keepdims=True)) + 10
    return (found / energy).reshape(len(grey), -1).astype(np.float32)


def main() -> None:
    """Plant noise into a file of labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help=".npy, int [n]")
    parser.add_argument("rate", type=float)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path, help=".npy")
    parser.add_argument(
        "features", type=Path, nargs="?", help=".npy, [n, d], for `clustered` and `look_alike`"
    )
    given = parser.parse_args()
    labels = np.load(given.labels)
    features = np.load(given.features) if given.features else None
    chances = (
        outsider(features, labels) if given.kind == "look_alike" and features is not None else None
    )
    np.save(given.out, plant(labels, given.kind, given.rate, given.seed, features, chances))


if __name__ == "__main__":
    main()
