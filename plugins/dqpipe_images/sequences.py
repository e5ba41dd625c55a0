"""Frames of one video: pictures numbered in a row, each like the next, that drift until the last is
another picture than the first.

    names with a number ──▶ rows in its order ──▶ runs in which neighbours are near ──▶ those that
        drift

Near copies that do not drift (a burst, one picture saved many times, one layout) are no sequence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

LEAST = 5
"""Frames that a sequence has at least."""
ALIKE = 0.3
"""Correlation of thumbnails below which neighbours are not compared."""
DRIFTED = 0.5
"""How far apart neighbours are, at most, as a share of how far apart frames are that lie half a
sequence from each other.
"""
SAMPLED = 16
"""Pairs of a run, half of it apart, by which it is seen whether it drifts."""
NUMBER = re.compile(r"(\d+)(?=\D*$)")

Apart = Callable[[np.ndarray], np.ndarray]
"""Pairs [n, 2] of rows to how far apart they are, [n]."""


def numbered(ids: Sequence[str], splits: Sequence[str | None]) -> Iterator[np.ndarray]:
    """Rows whose names differ in their last number alone, in its order.

    A folder named like the sample's split is no part of the name.
    """
    rows: dict[tuple[str, ...], list[tuple[int, str, int]]] = {}
    for row, (name, split) in enumerate(zip(ids, splits, strict=True)):
        *folders, stem = name.split("/")
        if found := NUMBER.search(stem.rpartition(".")[0] or stem):
            own = [
                folder
                for folder in folders
                if split is None or folder.casefold() != split.casefold()
            ]
            key = (*own, stem[: found.start()], stem[found.end() :])
            rows.setdefault(key, []).append((int(found[1]), name, row))
    for several in rows.values():
        if len(several) >= LEAST:
            yield np.array([row for _, _, row in sorted(several)], dtype=np.int64)


def sequences(
    ids: Sequence[str],
    splits: Sequence[str | None],
    thumbnails: np.ndarray,
    apart: Apart,
    limit: float,
) -> np.ndarray:
    """The first frame [n] of the sequence that each picture belongs to, -1 for none.

    `thumbnails` [n, s, s] are grey pictures; pairs up to `limit` apart are near.
    """
    first = np.full(len(ids), -1, dtype=np.int64)
    ordered = list(numbered(ids, splits))
    if not ordered:
        return first
    pairs = np.concatenate([np.stack([rows[:-1], rows[1:]], axis=1) for rows in ordered])
    distance = np.full(len(pairs), np.inf)
    like = np.flatnonzero(correlation(thumbnails, pairs) >= ALIKE)
    distance[like] = apart(pairs[like])
    start = 0
    for rows in ordered:
        steps = distance[start : start + len(rows) - 1]
        start += len(rows) - 1
        for low, high in runs(steps <= limit):
            if high - low >= LEAST and drifts(rows[low:high], steps[low : high - 1], apart, limit):
                first[rows[low:high]] = rows[low]
    return first


def runs(near: np.ndarray) -> Iterator[tuple[int, int]]:
    """Bounds of the rows [n + 1] that hang together where neighbours are near, [n]."""
    cuts = np.flatnonzero(~near) + 1
    yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(near) + 1], strict=True)


def drifts(rows: np.ndarray, steps: np.ndarray, apart: Apart, limit: float) -> bool:
    """Whether frames half a run apart, or its ends, are other pictures, and neighbours much nearer
    to each other than these.
    """
    half = len(rows) // 2
    some = np.unique(
        np.linspace(0, len(rows) - half - 1, min(SAMPLED, len(rows) - half)).astype(np.int64)
    )
    pairs = np.concatenate([np.stack([rows[some], rows[some + half]], axis=1), rows[[[0, -1]]]])
    far = np.minimum(apart(pairs), 1)
    return bool(far[-1] > limit and np.median(steps) <= DRIFTED * np.median(far))


def correlation(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Of the grey values of pairs [n, 2]: [n]."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return np.asarray((flat[pairs[:, 0]] * flat[pairs[:, 1]]).sum(1))
