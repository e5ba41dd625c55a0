"""Where classes meet, and whether labels differ from what is foretold more often than that explains.

    vectors ──▶ nearest neighbours ──▶ how often neighbours are foretold another class ──▶ in proportion to any split of the space
                                        how often a label differs from what is foretold ──▶ in proportion to labels drawn at random

Samples of classes that merely overlap are foretold wrongly where what is foretold changes from one neighbour to the next: the second proportion is at
most about the first. Labels that are wrong differ amid their class, too. It is the one trace that labels confused by look leave: the labels alone
are then as probable as those of classes that overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dqpipe import unit

NEIGHBOURS, SPLITS = 10, 5
FLAT = 8
"""Dimensions up to which vectors are compared by distance, and beyond by direction around their mean."""
SHOWN, BLOCK = 10_000, 1000
"""Different samples among which neighbours are looked for, at most."""
USUAL, LEARNED = 0.8, 7.0
"""Labels that are right differ at most so often in proportion, and oftener by so much over the samples of a class: models of few err elsewhere, too."""
SPREAD = 0.03
"""Standard error of what is usual, relative."""


@dataclass(frozen=True)
class Excess:
    """What share of the labels differs from what is foretold, how many times what overlap explains that is, and its log's standard error."""

    differs: float
    ratio: float
    error: float
    meets: float

    @property
    def errors(self) -> float:
        """By how many standard errors it is more than overlap explains."""
        return float(np.log(self.ratio)) / self.error

    @property
    def beyond(self) -> float:
        """The share of the labels that overlap does not explain."""
        return self.differs * max(0.0, 1 - 1 / self.ratio)


@dataclass(frozen=True, eq=False)
class Seams:
    """The neighbours [m, k] of some different samples, `rows` [m], as positions among these; how often random splits of the space part neighbours."""

    rows: np.ndarray
    neighbours: np.ndarray
    usual: float

    @classmethod
    def of(cls, vectors: np.ndarray, groups: np.ndarray, classes: int, seed: int) -> Seams:
        """Of vectors [n, d] of samples, of which those with one of the `groups` [n] str are copies; splits are into as many parts as there are classes."""
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
        error = np.sqrt((1 - differs) / (differs * len(given)) + max(1 - seam, 0) / (seam * count) + SPREAD**2)
        return Excess(differs, differs / random_share(given) / bound, float(error), seam / max(self.usual, least))


def nearest_of(vectors: np.ndarray, count: int) -> np.ndarray:
    """So many nearest neighbours of each vector [m, d] among the others, by Euclidean distance, in no order."""
    norms = (vectors**2).sum(axis=1)
    found = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        distances = norms - 2 * block @ vectors.T
        distances[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        found.append(np.argpartition(distances, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def apart(classes: np.ndarray, neighbours: np.ndarray) -> float:
    """How often neighbours [m, k] have different classes int [m], in proportion to any two samples."""
    return float((classes[neighbours] != classes[:, None]).mean()) / max(random_share(classes), 1e-9)


def random_share(classes: np.ndarray) -> float:
    """How often two samples drawn at random have different classes int [n]."""
    return 1 - float(((np.bincount(classes) / len(classes)) ** 2).sum())
