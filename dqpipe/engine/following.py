"""Verdicts follow a sample that was only encoded again.

The same id, the same label, other bytes, and it shows what it showed.

    verdicts ──content gone, id and label there──▶ vectors then, vectors now ──nearest of all, and
        near──▶ Moved: about → content now

Every vector fact that is known of both is asked, and all must agree. Where nothing can compare
(tables without vectors, facts that are gone) or another picture took the name, a verdict stays
where it was, and is counted. A version keeps what moved, for the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from dqpipe.data.tables import Facts
from dqpipe.engine import comparison
from dqpipe.engine.fact_table import Evidence
from dqpipe.errors import DatasetError
from dqpipe.execution.decoding import one_thread
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version
from dqpipe.review.rulings import Moved, astray
from dqpipe.storage.fact_store import Store

NEAR = 0.98
"""Correlation of the vectors then and now from which the two may show the same."""
APART = 2.0
"""So many times as far as the sample itself must be what lies nearest and is no copy of it."""
ROWS = 1024
"""Vectors that are compared at a time."""


def moved(
    evidence: Evidence, store: Store, verdicts: Sequence[Verdict], last: Version | None
) -> Moved:
    """What verdicts are about → the content that this sample has now.

    As the last version knew, and as it shows from now on.
    """
    known = {} if last is None or not verdicts else last.moved
    lost = astray(evidence.samples, verdicts, known)
    if not lost:
        return known
    pairs = {(content, row) for content, row in lost.values()}
    same = _same(evidence, store, sorted(pairs), last)
    contents = evidence.samples.table.column("content")
    return {
        **known,
        **{
            about: contents[row].as_py()
            for about, (content, row) in lost.items()
            if (content, row) in same
        },
    }


Pair = tuple[str, int]
"""A content then, and a row now."""


def _same(
    evidence: Evidence, store: Store, pairs: Sequence[Pair], last: Version | None
) -> set[Pair]:
    """Those that show the same then and now, by every vector that tells."""
    said: dict[Pair, list[bool]] = {pair: [] for pair in pairs}
    with one_thread():
        for name in evidence.vectors():
            if name in evidence.keys:
                has = evidence.has(name)
                then = dict(
                    _then(evidence, store, name, [pair for pair in pairs if has[pair[1]]], last)
                )
                some = [pair for pair in pairs if pair in then]
                for pair, alike in (
                    zip(some, _alike(evidence, name, some, then), strict=True) if some else ()
                ):
                    said[pair].append(bool(alike))
    return {pair for pair, told in said.items() if told and all(told)}


def _then(
    evidence: Evidence, store: Store, name: str, pairs: Sequence[Pair], last: Version | None
) -> Iterator[tuple[Pair, np.ndarray]]:
    """The vector [d] of each then, measured as it is now.

    As the last version's snapshot kept it, or the facts store has it.
    """
    key, held = evidence.keys[name], {pair: evidence.key_for(name, *pair) for pair in pairs}
    if last is not None:
        with suppress(DatasetError):
            snapshot = comparison.read(last)
            if snapshot.keys.get(name) == key and name in snapshot.of:
                content = dict(zip(snapshot.samples.ids, snapshot.samples["content"], strict=True))
                vectors = {
                    content[sample]: vector
                    for sample, vector in zip(
                        snapshot.of[name].to_pylist(), snapshot.vectors[name], strict=True
                    )
                }
                marks = evidence.marks
                yield from (
                    (pair, vectors[pair[0]])
                    for pair in pairs
                    if pair[0] in vectors
                    and _by(evidence, pair[0], marks, snapshot.marks.get(pair[0]))
                )
    known = store.keys(key)
    stored = [pair for pair in pairs if held[pair] in known]
    matrix = (
        store.read_vectors(key, [held[pair] for pair in stored], name.rpartition(".")[2])
        if stored
        else None
    )
    if matrix is not None:
        yield from zip(stored, matrix, strict=True)


def _by(evidence: Evidence, content: str, marks: frozenset[str], then: str | None) -> bool:
    """Whether the decoder that read a content then would read it now, as far as anybody knows."""
    now = evidence.mark(content)
    return then is None or (then == now if now is not None else then in marks)


def _alike(
    evidence: Evidence, name: str, pairs: Sequence[Pair], then: dict[Pair, np.ndarray]
) -> np.ndarray:
    """[k] bool: the vector now is near the one then, and whatever else is as near is a
    copy of it.
    """
    old = _unit(np.stack([then[pair] for pair in pairs]))
    new = _unit(_vectors(evidence, name, np.array([row for _, row in pairs])))
    if old.shape != new.shape:
        return np.zeros(len(pairs), dtype=bool)
    correlation = (old * new).sum(axis=1)
    reach = np.sqrt(np.maximum(2 - 2 * correlation, 0))
    fine = correlation >= NEAR
    rows = np.flatnonzero(evidence.has(name))
    for start in range(0, len(rows), ROWS):
        others = _unit(_vectors(evidence, name, rows[start : start + ROWS]))
        then_, now_ = (np.sqrt(np.maximum(2 - 2 * one @ others.T, 0)) for one in (old, new))
        fine &= ~((then_ < APART * reach[:, None]) & (now_ > reach[:, None] + 1e-6)).any(axis=1)
    return np.asarray(fine)


def _vectors(evidence: Evidence, name: str, rows: np.ndarray) -> np.ndarray:
    return np.asarray(Facts(pa.table({"": evidence.column(name, rows)}))[""])


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, d] less their mean, of length 1: products are correlations.

    0 where all numbers are equal.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=1, dtype=np.float64, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9))  # noqa: PLR2004 (rounding)
