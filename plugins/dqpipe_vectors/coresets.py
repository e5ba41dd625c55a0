"""Orders in which to take samples, so that every beginning of the order is a good subset of that
size.

Each function takes unit rows float32 [n, d], at least one, and a seed, and returns an Order of all
n rows: whoever keeps the first k of them has the method's subset of k. All of them cost less than
n² beyond small sets; where the published algorithm does not, the text says what stands in its
place.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dqpipe import Index
from dqpipe_vectors.regions import nearest_centre, regions

CANDIDATES = 512
"""Rows that herding chooses the next one among."""
CENTRES, EXACT = 512, 2048
"""k-centre: up to EXACT rows are ordered exactly.

Of more, so many centres are, and then the rows around each.
"""
NEAREST = 32
"""Rows that one row can stand for (facility location), or makes redundant (density)."""
SUBSPACES, DRAWS = 64, 8
"""Density: planes looked at, and points drawn in all of them together for each row."""


@dataclass(frozen=True)
class Order:
    """Rows in the order of their choice, int64 [n].

    What each added when it was chosen, in the method's own terms; its twin, -1 for none.
    """

    rows: np.ndarray
    gain: np.ndarray
    twin: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, gain: np.ndarray, twin: np.ndarray | None = None) -> Order:
        """An order; `gain` and `twin` are in that order too."""
        rows = np.asarray(rows, dtype=np.int64)
        return cls(
            rows,
            np.asarray(gain, dtype=np.float64),
            np.full(len(rows), -1) if twin is None else twin,
        )


def herding(units: np.ndarray, seed: int) -> Order:
    """The mean of the chosen rows stays as near as can be to the mean of all (herding, Welling
    2009; Chen, Welling & Smola 2010).

    A row far from everything is chosen late, a row that repeats what is chosen as well. Sums are
    kept of all that is chosen; the next row is the best of CANDIDATES, another part of the rows
    each time, as stochastic greedy does (Mirzasoleiman et al. 2015): n · CANDIDATES products in
    place of n². The gain is the product with the mean that is still missing.
    """
    count = len(units)
    parts = max(1, -(-count // CANDIDATES))
    shuffled = np.random.default_rng(seed).permutation(count) if parts > 1 else np.arange(count)
    members = np.array_split(shuffled, parts)
    rows = [units[part] for part in members]
    mean = units.mean(axis=0, dtype=np.float64).astype(np.float32)
    toward = [part @ mean for part in rows]
    chosen, gain = np.empty(count, dtype=np.int64), np.empty(count)
    total = np.zeros(units.shape[1], dtype=np.float64)
    for step in range(count):
        part = step % parts
        score = toward[part] - rows[part] @ (total / (step + 1)).astype(np.float32)
        at = int(np.argmax(score))
        chosen[step], gain[step] = members[part][at], score[at]
        total += rows[part][at]
        toward[part][at] = -np.inf
    return Order.of(chosen, gain)


def k_centre(units: np.ndarray, seed: int) -> Order:  # noqa: ARG001 (nothing is random in it)
    """Always the row furthest from the chosen ones.

    The greedy 2-approximation of k-centre (Gonzalez 1985; Sener & Savarese 2018).

    Exact up to EXACT rows. Of more the first CENTRES are exact; the others are then ordered among
    the rows that share their nearest centre, and all by their distance from what is chosen before.
    The gain is that distance; the first row is the most typical one.
    """
    first = int(np.argmax(units @ units.mean(axis=0)))
    rows, gain = _furthest(units, np.arange(len(units)), first)
    order = np.lexsort((rows, -gain))
    return Order.of(rows[order], gain[order])


def _furthest(units: np.ndarray, members: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """The members, `first` among them, and their gains; that of `first` is infinite."""
    here = units[members]
    left = np.maximum(1.0 - here @ units[first], 0.0)
    left[members == first] = -1.0
    rows, gain = [first], [np.inf]
    exact = len(members) <= EXACT
    for _ in range(min(len(members), len(members) if exact else CENTRES) - 1):
        at = int(np.argmax(left))
        if left[at] <= 0:
            break
        rows.append(int(members[at]))
        gain.append(float(left[at]))
        left = np.minimum(left, 1.0 - here @ here[at])
        left[at] = -1.0
    rest = members[left >= 0]
    if exact or len(rows) < CENTRES:
        return np.concatenate([np.array(rows), rest]), np.concatenate(
            [np.array(gain), np.zeros(len(rest))]
        )
    cell = nearest_centre(units[rest], units[rows])
    parts = [(np.array(rows), np.array(gain))]
    for number in np.unique(cell):
        inner, inner_gain = _furthest(
            units, np.append(rest[cell == number], rows[number]), rows[number]
        )
        parts.append((inner[1:], np.minimum(inner_gain[1:], gain[-1])))
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([gain for _, gain in parts])


def facility_location(units: np.ndarray, seed: int) -> Order:
    """Every row has a chosen one that is like it.

    Greedy facility location (Nemhauser et al. 1978), lazily (Minoux 1978).

    A row is served by its NEAREST neighbours only, which keeps it sparse (Wei, Iyer & Bilmes 2015).
    The gain is the similarity gained, summed over the rows.
    """
    count = len(units)
    found = Index(units, np.arange(count), seed).nearest(
        units, min(NEAREST, max(count - 1, 1)), np.arange(count)
    )
    served, by = np.nonzero(found.positions >= 0)
    server, alike = (
        found.positions[served, by],
        np.maximum(1.0 - found.distances[served, by].astype(np.float64), 0.0),
    )
    order = np.argsort(server, kind="stable")
    served, alike, ends = (
        served[order],
        alike[order],
        np.searchsorted(server[order], np.arange(count + 1)),
    )
    best = np.zeros(count)

    def gain_of(row: int) -> float:
        part = slice(ends[row], ends[row + 1])
        return float(np.maximum(alike[part] - best[served[part]], 0.0).sum() + 1.0 - best[row])

    heap = [(-gain_of(row), row) for row in range(count)]
    heapq.heapify(heap)
    chosen, gain = [], []
    while heap:
        _, row = heapq.heappop(heap)
        now = gain_of(row)
        if heap and (-now, row) > heap[0]:
            heapq.heappush(heap, (-now, row))
            continue
        chosen.append(row)
        gain.append(now)
        part = slice(ends[row], ends[row + 1])
        best[served[part]] = np.maximum(best[served[part]], alike[part])
        best[row] = 1.0
    return Order.of(np.array(chosen), np.array(gain))


def density(units: np.ndarray, seed: int) -> Order:
    """Rows that cover a space and are not redundant there, scored in random planes (ZCore, Griffin
    et al. 2024).

    In each of SUBSPACES pairs of coordinates, points are drawn from triangular distributions over
    the data's range; the row nearest to a point gains one, and its NEAREST neighbours in that plane
    lose one together, the nearer the more. The gain is the score.
    """
    from scipy.spatial import cKDTree

    count, width = units.shape
    rng = np.random.default_rng(seed)
    score: np.ndarray = rng.random(size=(count,))
    low, middle, high = (f(units, axis=0).astype(np.float64) for f in (np.min, np.median, np.max))
    draws = -(-DRAWS * count // SUBSPACES)
    for _ in range(SUBSPACES if count > 1 else 0):
        plane = rng.choice(width, size=min(2, width), replace=False)
        points = np.stack(
            [_triangular(rng, low[at], middle[at], high[at], draws) for at in plane], axis=1
        )
        here = units[:, plane].astype(np.float64)
        tree = cKDTree(here)
        hits = np.bincount(np.asarray(tree.query(points, p=1)[1]), minlength=count)
        covering = np.flatnonzero(hits)
        distances, positions = (
            np.asarray(found)
            for found in tree.query(
                here[covering], k=np.arange(2, 2 + min(NEAREST, count - 1)), p=1
            )
        )
        nearness = 1.0 / np.maximum(distances, 1e-9) ** 4
        score += hits
        np.subtract.at(
            score, positions, hits[covering, None] * nearness / nearness.sum(axis=1, keepdims=True)
        )
    order = np.argsort(-score, kind="stable")
    return Order.of(order, score[order])


def _triangular(
    rng: np.random.Generator, low: float, middle: float, high: float, number: int
) -> np.ndarray:
    return rng.triangular(low, middle, high, number) if high > low else np.full(number, low)


def semantic(units: np.ndarray, seed: int) -> Order:
    """What repeats a row of its own cluster goes last (SemDeDup, Abbas et al. 2023).

    √n clusters by k-means; in each the rows stand from the one least like the centre to the most,
    and each is compared with those before it. The gain is the cosine distance to the nearest of
    these, its `twin`: infinite for the first.
    """
    count = len(units)
    cell = regions(units, min(count, max(1, round(count**0.5))), seed)
    gain, twin = np.full(count, np.inf), np.full(count, -1)
    for number in range(cell.max(initial=-1) + 1):
        members = np.flatnonzero(cell == number)
        centre = units[members].mean(axis=0, dtype=np.float64).astype(np.float32)
        members = members[np.argsort(units[members] @ centre, kind="stable")]
        nearest, before = _before(units[members])
        gain[members], twin[members] = nearest, np.where(before >= 0, members[before], -1)
    order = np.lexsort((np.arange(count), -gain))
    return Order.of(order, gain[order], twin[order])


def _before(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distance of each row to the nearest row before it, and which it is.

    Infinite and -1 for the first.
    """
    count = len(units)
    near, at = np.full(count, np.inf), np.full(count, -1)
    step = max(1, (1 << 22) // max(count, 1))
    for start in range(0, count, step):
        stop = min(start + step, count)
        alike = units[start:stop] @ units[:stop].T
        alike[np.arange(start, stop)[:, None] <= np.arange(stop)[None, :]] = -np.inf
        at[start:stop] = np.argmax(alike, axis=1)
        near[start:stop] = np.maximum(
            1.0 - np.take_along_axis(alike, at[start:stop, None], axis=1)[:, 0], 0.0
        )
    at[:1] = -1
    return near, at


METHODS: Mapping[str, Callable[[np.ndarray, int], Order]] = {
    "herding": herding,
    "k_centre": k_centre,
    "facility_location": facility_location,
    "density": density,
    "semantic": semantic,
}
