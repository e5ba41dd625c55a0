"""What belongs together: links between samples, and the components that they join.

A link is int64 [n]: samples with an equal number belong together, -1 belongs to nobody. Links are
joined into components: what is linked to what is linked, by whichever links, stands in one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import filled, label_text

FRAME = re.compile(r"(.*?)(\d+)\D*")
"""The name of a video's frame: what comes before its last number, and that number."""


@dataclass(frozen=True, eq=False)
class Link:
    """Samples that belong together, as numbers [n], -1 for none; `name` says what they share."""

    name: str
    codes: np.ndarray


def by_values(name: str, column: pa.ChunkedArray | pa.Array) -> Link:
    """Samples with an equal value; what is empty (null, NaN, blank text) belongs to nobody.

    Lists and structs are equal where their texts are.
    """
    column = filled(column)
    if pa.types.is_nested(column.type):
        column = pa.array([label_text(value) for value in column.to_pylist()], pa.string())
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.unify_dictionaries().combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    return Link(
        name, pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    )


def by_pattern(name: str, ids: Iterable[str], pattern: str) -> Link:
    """Samples in whose id a regular expression finds the same.

    Its groups, or all of it where it has none.
    """
    search = re.compile(pattern).search
    texts = [
        None
        if (found := search(one)) is None
        else "\0".join(part or "" for part in found.groups() or (found[0],))
        for one in ids
    ]
    return by_values(name, pa.array(texts, pa.string()))


def by_frames(name: str, ids: Sequence[str], splits: Sequence[str | None], apart: int) -> Link:
    """Frames of one video in a chain.

    Alike but for the last number of their names, and each so many numbers from the next.

    A folder in the path that is named as the sample's split is left out of the comparison.
    """
    videos: dict[str, int] = {}
    rows, of, numbers = [], [], []
    for row, (one, split) in enumerate(zip(ids, splits, strict=True)):
        path = "/".join(part for part in one.split("/")[:-1] if part != split)
        found = FRAME.fullmatch(one.split("/")[-1].rpartition(".")[0] or one.split("/")[-1])
        if found and (path or found[1]):
            rows.append(row)
            of.append(videos.setdefault(f"{path}\0{found[1]}", len(videos)))
            numbers.append(float(found[2]))
    codes = np.full(len(ids), -1, dtype=np.int64)
    if rows:
        order = np.lexsort((np.array(numbers), np.array(of)))
        video, number = np.array(of)[order], np.array(numbers)[order]
        starts = np.ones(len(order), dtype=bool)
        starts[1:] = (video[1:] != video[:-1]) | (np.diff(number) > apart)
        codes[np.array(rows)[order]] = np.cumsum(starts)
    return Link(name, codes)


def by_vectors(
    name: str, vectors: np.ndarray, similarity: float, seed: int, neighbours: int = 8
) -> Link:
    """Samples in a chain of nearest neighbours [n, d] with at least this cosine similarity."""
    from dqpipe import Index

    rows = np.arange(len(vectors))
    found = Index(vectors, rows, seed).nearest(
        vectors, min(neighbours, max(len(vectors) - 1, 1)), rows
    )
    close = (found.positions >= 0) & (found.distances <= 1 - similarity)
    one, column = np.nonzero(close)
    return Link(name, _connected(len(vectors), one, found.positions[one, column], len(vectors)))


def components(count: int, links: Sequence[Link]) -> np.ndarray:
    """The component [count] of each sample, numbered by their first rows."""
    ends, others, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], count
    for link in links:
        rows = np.flatnonzero(link.codes >= 0)
        ends.append(rows)
        others.append(start + link.codes[rows])
        start += int(link.codes.max(initial=-1)) + 1
    return _connected(start, np.concatenate(ends), np.concatenate(others), count)


def _connected(nodes: int, ends: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends, others)), shape=(nodes, nodes))
    found = connected_components(graph, directed=False)[1][:count]
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    return place[inverse]


@dataclass(frozen=True, eq=False)
class Crossings:
    """By row [n] the link that leads to a sample of a later split, -1 for none, and the row of that
    sample, -1 likewise.
    """

    link: np.ndarray
    match: np.ndarray


def crossings(links: Sequence[Link], ranks: np.ndarray) -> Crossings:
    """Which samples are linked to one of a later split.

    `ranks` [n] orders the splits, -1 is in none.

    The first link that crosses tells, and the first sample of the latest split that it leads to; of
    samples that are linked only by way of others, nothing is told (see `chained`).
    """
    link, match = np.full(len(ranks), -1, dtype=np.int64), np.full(len(ranks), -1, dtype=np.int64)
    for number, one in enumerate(links):
        latest, first = _latest(one.codes, ranks)
        rows = np.flatnonzero((one.codes >= 0) & (ranks >= 0) & (link < 0))
        rows = rows[ranks[rows] < latest[one.codes[rows]]]
        link[rows], match[rows] = number, first[one.codes[rows]]
    return Crossings(link, match)


def chained(component: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which samples [n] stand in a component with one of a later split, and the row of the first
    such one, -1 for none.
    """
    latest, first = _latest(component, ranks)
    crossing = (ranks >= 0) & (ranks < latest[component])
    return crossing, np.where(crossing, first[component], -1)


def _latest(codes: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By code the highest rank in it (-1 for none), and the first row of it that has that rank."""
    latest = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int64)
    held = np.flatnonzero(codes >= 0)
    np.maximum.at(latest, codes[held], ranks[held])
    first = np.full(len(latest), len(codes), dtype=np.int64)
    top = held[ranks[held] == latest[codes[held]]]
    np.minimum.at(first, codes[top], top)
    return latest, first
