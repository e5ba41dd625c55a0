"""The borders between classes, and whether labels differ from the predictions more often than
overlap at these borders explains.

    vectors ──▶ nearest neighbours ──▶ how often neighbours have different predictions ──▶ relative
        to random splits of the space
                                        how often a label differs from its prediction  ──▶ relative
                                            to random labels

Predictions for classes that merely overlap are wrong near the borders, where they change from one
neighbour to the next: the second ratio is then at most about the first. Wrong labels differ from
predictions inside their class, too. This is the only trace of labels confused by look, since such
labels alone are as probable as those of overlapping classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dqpipe import unit

NEIGHBOURS, SPLITS = 10, 5
FLAT = 8
"""Dimensions up to which vectors are compared by distance, and beyond by direction around their
mean.
"""
SHOWN, BLOCK = 10_000, 1000
"""Different samples among which neighbours are looked for, at most."""
USUAL, LEARNED = 0.8, 7.0
"""Labels that are right differ at most so often in proportion, and oftener by so much over the
samples of a class: models of few err elsewhere, too.
"""
SPREAD = 0.03
"""Standard error of what is usual, relative."""


@dataclass(frozen=True)
class Excess:
    """The share of labels that differ from predictions, its ratio to what overlap explains, and the
    standard error of the ratio's log.
    """

    differs: float
    ratio: float
    error: float
    meets: float

    @property
    def errors(self) -> float:
        """The number of standard errors above what overlap explains."""
        return float(np.log(self.ratio)) / self.error

    @property
    def beyond(self) -> float:
        """The share of the labels that overlap does not explain."""
        return self.differs * max(0.0, 1 - 1 / self.ratio)


@dataclass(frozen=True, eq=False)
class Seams:
    """The neighbours [m, k] of some different samples, `rows` [m], as positions among these.

    How often random splits of the space part neighbours.
    """

    rows: np.ndarray
    neighbours: np.ndarray
    usual: float

    @classmethod
    def of(cls, vectors: np.ndarray, groups: np.ndarray, classes: int, seed: int) -> Seams:
        """Of vectors [n, d] of samples, of which those with one of the `groups` [n] str are copies.

        Splits are into as many parts as there are classes.
        """
        rows = np.sort(np.unique(groups.astype(str), return_index=True)[1])
        rows = rows[:: -(-len(rows) // SHOWN)]
        some = vectors[rows].astype(np.float32)
        some -= some.mean(axis=0)
        some = unit(some) if some.shape[1] > FLAT else some
        nearest = nearest_of(some, min(NEIGHBOURS, len(some) - 1))
        rng = np.random.default_rng(seed)
        parted = []
        for _ in range(SPLITS):
            scores = some @ rng.normal(size=(some.shape[1], max(classes, 2))).astype(np.float32)
            spread = scores.std(axis=0)
            parted.append(apart((scores / np.where(spread > 0, spread, 1)).argmax(axis=1), nearest))
        return cls(rows, nearest, float(np.mean(parted)))

    def excess(self, told: np.ndarray, given: np.ndarray) -> Excess:
        """Of the classes int [n] that are foretold and given."""
        count, kinds = len(self.rows), len(np.unique(given))
        least = 1 / (count * self.neighbours.shape[1])
        differs = max(float((told != given).mean()), 1 / len(given))
        seam = max(apart(told[self.rows], self.neighbours), least)
        bound = (USUAL + LEARNED * kinds / len(given)) * seam / max(self.usual, least)
        error = np.sqrt(
            (1 - differs) / (differs * len(given)) + max(1 - seam, 0) / (seam * count) + SPREAD**2
        )
        return Excess(
            differs,
            differs / random_share(given) / bound,
            float(error),
            seam / max(self.usual, least),
        )


def nearest_of(vectors: np.ndarray, count: int) -> np.ndarray:
    """So many nearest neighbours of each vector [m, d] among the others, by Euclidean distance, in
    no order.
    """
    norms = (vectors**2).sum(axis=1)
    found = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        distances = norms - 2 * block @ vectors.T
        distances[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        found.append(np.argpartition(distances, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def apart(classes: np.ndarray, neighbours: np.ndarray) -> float:
    """How often neighbours [m, k] have different classes int [m], in proportion to any
    two samples.
    """
    return float((classes[neighbours] != classes[:, None]).mean()) / max(
        random_share(classes), 1e-9
    )


def random_share(classes: np.ndarray) -> float:
    """How often two samples drawn at random have different classes int [n]."""
    return 1 - float(((np.bincount(classes) / len(classes)) ** 2).sum())
