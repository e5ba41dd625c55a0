"""Folds for out-of-fold predictions.

Stratified by class, with all copies of a sample in the same fold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold of each sample, int [n] in 0 … count - 1, and its inner fold, int [n].

    The parts that a fold's model is learned in from the other folds.
    """

    outer: np.ndarray
    inner: np.ndarray
    count: int

    @classmethod
    def of(cls, groups: np.ndarray, classes: np.ndarray, count: int, seed: int) -> Folds:
        """Outer and inner folds from one assignment, so that each outer fold has about as much of
        each inner one.
        """
        inner = 2 if count % 2 else 3
        dealt = grouped_folds(groups, classes, count * inner, seed)
        return cls(dealt % count, dealt % inner, count)


def grouped_folds(groups: np.ndarray, classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each sample, int64 [n] in 0 … count - 1, the same whatever the order of the rows.

    `groups` [n] str names what must stay together, `classes` int [n] is spread evenly over the
    folds: the groups of a class are dealt out in the order of a seeded hash. A group with several
    classes counts as one of its smallest.
    """
    names, index = np.unique(groups.astype(str), return_inverse=True)
    kind = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(kind, index, classes)
    chance = np.array(
        [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names],
        dtype="S8",
    )
    order = np.lexsort((chance, kind))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % count
    return fold[index]


def groups_per_class(groups: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """How many different groups each of `count` classes has, int64 [count]."""
    pairs = np.unique(
        np.stack([classes, np.unique(groups.astype(str), return_inverse=True)[1]]), axis=1
    )
    return np.bincount(pairs[0], minlength=count)
