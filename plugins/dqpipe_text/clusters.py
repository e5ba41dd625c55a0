"""From pairs of texts that are alike to clusters with one keeper each, and texts held by others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dqpipe_text.shingles import PERMUTATIONS, ROWS, Shingles, bands, jaccard

PASSES = 3
"""Times that texts are looked at again whose keeper turned out to be a copy of another."""
HOLDERS = 3
"""Texts in which one is looked for: the longest that share its rarest words in a row."""


def led(
    found: Shingles, rows: np.ndarray, count: int, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """The keeper [count] of each text, itself if it is one, and the Jaccard [count] with it.

    `rows` has those that are compared, in order of quality. Every text was compared with its
    keeper, so that nothing is led away step by step. In each band a text is compared with the best
    one of those that agree, and with the one before it, and is done where it is near one: what a
    band costs grows with its texts, also where 200,000 of them share a template.
    """
    keeper, score = np.arange(count), np.ones(count)
    if len(rows) < 2:  # noqa: PLR2004 (a pair)
        return keeper, score
    signature = np.zeros((PERMUTATIONS // ROWS, count), np.uint64)
    signature[:, rows] = bands(found, rows)
    again = rows
    for _ in range(PASSES):
        fresh = np.zeros(count, dtype=bool)
        fresh[again] = True
        for band in signature:
            alive = rows[keeper[rows] == rows]
            if len(again) < len(rows):
                alive = alive[np.isin(band[alive], band[again])]
            _join(keeper, score, found, _agreeing(band[alive], alive, fresh), limit)
        again = _settle(keeper, score, found, rows, limit)
        if not len(again):
            break
    return keeper, score


def _agreeing(band: np.ndarray, rows: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Triples [m, 3] of a text, the best one that agrees with it, and the one before it.

    One of each pair is `fresh`.
    """
    order = np.argsort(band, kind="stable")
    keys = band[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, bool)
    start = np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0))
    later = np.flatnonzero(~new)
    triples = np.stack([rows[order[later]], rows[order[start[later]]], rows[order[later - 1]]], 1)
    return np.asarray(triples[fresh[triples].any(axis=1)])


def _join(
    keeper: np.ndarray, score: np.ndarray, found: Shingles, triples: np.ndarray, limit: float
) -> None:
    """Let texts join the best one of their band, or else the one before, where they are near."""
    for other in (1, 2):
        own = triples[:, 0]
        left = triples[(keeper[own] == own) & (keeper[triples[:, other]] == triples[:, other])]
        pairs = left[:, [other, 0]]
        near = jaccard(found, pairs)
        hit = near >= limit
        head, own = pairs[hit].T
        stays = ~np.isin(head, own)  # one that joins another in this very step leads nothing
        keeper[own[stays]], score[own[stays]] = head[stays], near[hit][stays]


def _settle(
    keeper: np.ndarray, score: np.ndarray, found: Shingles, rows: np.ndarray, limit: float
) -> np.ndarray:
    """Compare texts with the keeper of their keeper; those that are not near it are free again."""
    free: list[np.ndarray] = []
    while True:
        led_on = rows[keeper[keeper[rows]] != keeper[rows]]
        if not len(led_on):
            return np.concatenate([*free, np.zeros(0, np.int64)])
        root = keeper[keeper[led_on]]
        near = jaccard(found, np.stack([root, led_on], axis=1))
        good = near >= limit
        keeper[led_on[good]], score[led_on[good]] = root[good], near[good]
        lost = led_on[~good]
        keeper[lost], score[lost] = lost, 1.0
        free.append(lost)


def held(
    texts: pa.ChunkedArray, found: Shingles, rows: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `rows` stand whole within a longer one of them, and in which.

    Only those of `least` words and more. Each is looked for where its rarest words in a row stand:
    in the HOLDERS longest texts that have them, so that no template is looked for everywhere.
    """
    rows = rows[found.words[rows] >= least]  # one that holds another is longer still
    if not len(rows):
        return rows, rows
    lengths = np.diff(found.starts)[rows]
    flat = np.repeat(np.arange(len(rows)), lengths)
    begin = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    at = np.repeat(found.starts[:-1][rows] - begin, lengths) + np.arange(len(flat))
    hashes = found.hashes[at]
    words = found.words[rows]
    order = np.lexsort((-words[flat], hashes))  # the longest text first, of each shingle
    keys = hashes[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, bool)
    starts = np.flatnonzero(new)
    times = np.diff(np.append(starts, len(keys)))
    group = np.empty(len(keys), np.int64)
    group[order] = np.cumsum(new) - 1
    rarest = _rarest(times[group], begin, lengths)
    some = times[group[rarest]] > 1
    inner, outer = [], []
    cells = texts.take(pa.array(rows)).combine_chunks()
    for own, cell in zip(np.flatnonzero(some).tolist(), rarest[some].tolist(), strict=True):
        first = starts[group[cell]]
        others = flat[order[first : first + min(times[group[cell]], HOLDERS)]]
        text = f" {cells[own].as_py()} "
        for other in dict.fromkeys(others.tolist()):
            if words[other] > words[own] and text in f" {cells[other].as_py()} ":
                inner.append(own)
                outer.append(other)
                break
    return rows[np.array(inner, np.int64)], rows[np.array(outer, np.int64)]


def _rarest(times: np.ndarray, begin: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The place of the rarest shingle of each text, the first of several."""
    least = np.minimum.reduceat(times, begin)
    hits = np.flatnonzero(times == np.repeat(least, lengths))
    return hits[np.searchsorted(hits, begin)]
