"""Whether one column alone gives the label away.

The labels of half of the rows are predicted by what the column says in the other half: the most
frequent label of the same value or, of numbers, by a decision tree of that column alone. What is
right by that is compared with the most frequent label of all (the null) by an exact binomial test.
"""

from __future__ import annotations

import hashlib

import numpy as np

from dqpipe_tables.columns_of import Column

DRAWN = 20_000
"""Rows at most."""
RIGHT = 0.99
"""The share of held-out labels that a leaking column predicts right."""
BETTER = 0.9
"""The share of the null's errors that it leaves out."""
UNLIKELY = 1e-6
FEWEST = 50
"""Rows below which nothing is said."""
LEAVES = 64


def drawn(ids: np.ndarray) -> np.ndarray:
    """Rows drawn by a hash of their ids, so that their order does not matter."""
    marks = [hashlib.blake2b(sample.encode(), digest_size=8).digest() for sample in ids]
    return np.argsort(np.array(marks, dtype="S8"), kind="stable")[:DRAWN]


def leak(column: Column, labels: np.ndarray, rows: np.ndarray) -> tuple[float, float] | None:
    """The share of held-out labels that the column gives, and the null's; None where it does not.

    `labels` [n] int codes, -1 for none; `rows` the rows that are looked at, in an order that has
    nothing to do with the labels.
    """
    from scipy.stats import binom

    rows = rows[(column.codes[rows] >= 0) & (labels[rows] >= 0)]
    if len(rows) < FEWEST:
        return None
    codes, truth = column.codes[rows], labels[rows]
    right = base = 0
    for known, asked in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        usual = int(np.bincount(truth[known]).argmax())
        guess = (
            _by_tree(column.numbers[codes[known]], truth[known], column.numbers[codes[asked]])
            if column.is_number
            else _by_value(codes[known], truth[known], codes[asked])
        )
        right += int((guess == truth[asked]).sum())
        base += int((truth[asked] == usual).sum())
    share, null = right / len(rows), base / len(rows)
    sure = share >= RIGHT and 1 - share <= (1 - BETTER) * (1 - null)
    return (share, null) if sure and binom.sf(right - 1, len(rows), null) < UNLIKELY else None


def _by_value(codes: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The most frequent label of each value; -1 where the value is a new one."""
    width = int(labels.max()) + 1
    pairs, counts = np.unique(codes.astype(np.int64) * width + labels, return_counts=True)
    order = np.argsort(counts, kind="stable")
    best = np.full(int(max(codes.max(), asked.max())) + 1, -1)
    best[pairs[order] // width] = pairs[order] % width
    return best[asked]


def _by_tree(numbers: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=2, random_state=0)
    clean = [np.nan_to_num(some, nan=np.inf)[:, None] for some in (numbers, asked)]
    finite = [np.clip(some, -1e30, 1e30) for some in clean]
    return np.asarray(tree.fit(finite[0], labels).predict(finite[1]))
