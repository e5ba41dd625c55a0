"""Nearest neighbours in an embedding, for any stage.

Exact in small sets, by an inverted file in large ones.

    vectors ──▶ unit rows ──▶ √(PROBES · m) cells (k-means on some of them) ──▶ each query looks
        into its PROBES nearest cells

An inverted file (Jégou, Douze & Schmid 2011) without compression: n queries cost about 2 n √(PROBES
· m) products of rows in place of n · m, and memory is that of the vectors. No step depends on the
number of threads or on the order in which threads end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EXACT = 4096
"""Up to so many indexed rows everything is compared with everything."""
PROBES = 32
"""Cells that a query looks into; more where many neighbours are asked for."""
PER_NEIGHBOUR = 8
"""Rows that are looked at for each neighbour asked for, at least."""
TRAINED, ROUNDS = 16, 3
"""Rows per cell and rounds of the k-means that places the cells."""
BLOCK_VALUES = 1 << 23
"""How many similarities stand in memory at once."""


@dataclass(frozen=True)
class Nearest:
    """Cosine distances float32 [n, k], ascending (equal ones by position), and positions int64 [n,
    k]; inf and -1 beyond the last.
    """

    distances: np.ndarray
    positions: np.ndarray


class Index:
    """Unit vectors to search, each in a group (a thing and its copies) whose members are no
    neighbours of each other.

    `vectors` [m, d], `groups` int [m] or None for no groups. The same input and seed give the same
    cells.
    """

    def __init__(
        self, vectors: np.ndarray, groups: np.ndarray | None = None, seed: int = 0
    ) -> None:
        self.units = unit(vectors)
        self.groups = None if groups is None else np.asarray(groups, dtype=np.int64)
        self.centres = None if len(self.units) <= EXACT else _cells(self.units, seed)
        if self.centres is not None:
            cell = _best(self.units, self.centres, 1)[:, 0]
            self.order = np.argsort(cell, kind="stable")
            self.starts = np.searchsorted(cell[self.order], np.arange(len(self.centres) + 1))

    def __len__(self) -> int:
        return len(self.units)

    def nearest(self, queries: np.ndarray, k: int, groups: np.ndarray | None = None) -> Nearest:
        """The k nearest of each query [n, d], without those of its own group (`groups` int [n]).

        To ask for the neighbours of the indexed rows themselves, index them in groups: a row is
        else its own neighbour.
        """
        units = unit(queries)
        own = None if groups is None or self.groups is None else np.asarray(groups, dtype=np.int64)
        found = _Found(len(units), k)
        everyone = np.arange(len(units))
        if self.centres is None:
            self._scan(units, own, everyone, np.arange(len(self.units)), found)
            return found.sorted()
        self._probe(units, own, k, found)
        short = np.flatnonzero(~np.isfinite(found.distances).all(axis=1))
        if len(short):
            found.clear(short)
            self._scan(units, own, short, np.arange(len(self.units)), found)
        return found.sorted()

    def _probe(self, units: np.ndarray, own: np.ndarray | None, k: int, found: _Found) -> None:
        """Look into the cells, cell by cell.

        The queries that want it against its rows, as one product.
        """
        assert self.centres is not None
        cells = len(self.centres)
        probes = min(cells, max(PROBES, -(-PER_NEIGHBOUR * k * cells // len(self.units))))
        for start in range(0, len(units), rows := max(1, BLOCK_VALUES // cells) * 8):
            some = slice(start, start + rows)
            wanted = _best(units[some], self.centres, probes)
            asking = np.argsort(wanted.ravel(), kind="stable")
            ends = np.searchsorted(wanted.ravel()[asking], np.arange(cells + 1))
            for cell in range(cells):
                who = start + asking[ends[cell] : ends[cell + 1]] // probes
                self._scan(
                    units, own, who, self.order[self.starts[cell] : self.starts[cell + 1]], found
                )

    def _scan(
        self,
        units: np.ndarray,
        own: np.ndarray | None,
        who: np.ndarray,
        members: np.ndarray,
        found: _Found,
    ) -> None:
        """Compare the queries `who` with the indexed rows `members`."""
        if not len(who) or not len(members):
            return
        step = max(1, BLOCK_VALUES // len(members))
        rows = self.units if len(members) == len(self.units) else self.units[members]
        for start in range(0, len(who), step):
            some = who[start : start + step]
            distances = 1.0 - units[some] @ rows.T
            np.maximum(distances, 0.0, out=distances)
            if own is not None and self.groups is not None:
                distances[own[some][:, None] == self.groups[members][None, :]] = np.inf
            found.merge(some, distances, members)


class _Found:
    """The k nearest seen so far of each of n queries, in no order."""

    def __init__(self, count: int, k: int) -> None:
        self.distances = np.full((count, k), np.inf, dtype=np.float32)
        self.positions = np.full((count, k), -1, dtype=np.int64)

    def clear(self, who: np.ndarray) -> None:
        self.distances[who], self.positions[who] = np.inf, -1

    def merge(self, who: np.ndarray, distances: np.ndarray, members: np.ndarray) -> None:
        """Distances [len(who), len(members)] of more rows."""
        k = self.distances.shape[1]
        if distances.shape[1] > k:
            at = np.argpartition(distances, k - 1, axis=1)[:, :k]
            distances, seen = np.take_along_axis(distances, at, axis=1), members[at]
        else:
            seen = np.broadcast_to(members, distances.shape)
        both = np.concatenate([self.distances[who], distances], axis=1)
        places = np.concatenate(
            [self.positions[who], np.where(np.isfinite(distances), seen, -1)], axis=1
        )
        at = np.argpartition(both, k - 1, axis=1)[:, :k]
        self.distances[who], self.positions[who] = (
            np.take_along_axis(both, at, axis=1),
            np.take_along_axis(places, at, axis=1),
        )

    def sorted(self) -> Nearest:
        at = np.lexsort((self.positions, self.distances), axis=1)
        return Nearest(
            np.take_along_axis(self.distances, at, axis=1),
            np.take_along_axis(self.positions, at, axis=1),
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 [n, d]; a row of zeros stays one."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)


def _best(units: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """int64 [n, count]: the most similar centres of each row, in no order."""
    best = np.empty((len(units), count), dtype=np.int64)
    step = max(1, BLOCK_VALUES // len(centres))
    for start in range(0, len(units), step):
        alike = units[start : start + step] @ centres.T
        if count == 1:
            best[start : start + step, 0] = alike.argmax(axis=1)
        elif count < len(centres):
            best[start : start + step] = np.argpartition(alike, -count, axis=1)[:, -count:]
        else:
            best[start : start + step] = np.arange(count)
    return best


def _cells(units: np.ndarray, seed: int) -> np.ndarray:
    """Centres float32 [c, d] of cells, placed by a seeded part of the rows."""
    rng = np.random.default_rng(seed)
    number = round(np.sqrt(PROBES * len(units)))
    some = units[np.sort(rng.choice(len(units), min(len(units), TRAINED * number), replace=False))]
    centres = some[np.sort(rng.choice(len(some), number, replace=False))]
    return spherical_k_means(
        some, centres, ROUNDS, lambda rows, centres: _best(rows, centres, 1)[:, 0]
    )


def spherical_k_means(
    rows: np.ndarray,
    centres: np.ndarray,
    rounds: int,
    nearest: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Unit centres [c, d] after at most so many rounds (Dhillon & Modha 2001).

    A centre that no row is nearest to stays where it is.

    `rows` are unit vectors [n, d]; `nearest` gives the centre int [n] that each row is most like.
    """
    for _ in range(rounds):
        cell = nearest(rows, centres)
        filled = np.bincount(cell, minlength=len(centres))[:, None] > 0
        moved = np.where(filled, unit(sums(rows, cell, len(centres))), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def sums(rows: np.ndarray, cell: np.ndarray, number: int) -> np.ndarray:
    """float32 [number, d]: the sum of the rows [n, d] of each cell int [n].

    Zeros for a cell without rows.
    """
    order = np.argsort(cell, kind="stable")
    sizes = np.bincount(cell, minlength=number)
    totals: np.ndarray = np.zeros((number, rows.shape[1]), dtype=np.float32)
    filled = np.flatnonzero(sizes)
    if len(filled):
        totals[filled] = np.add.reduceat(rows[order], (np.cumsum(sizes) - sizes)[filled], axis=0)
    return totals
