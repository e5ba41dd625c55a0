"""Overlaps of boxes within pictures, and polygons that cross themselves, over flat arrays."""

from __future__ import annotations

import numpy as np

from dqpipe_objects.flat import Ragged

CORNERS = 200
"""Corners up to which a polygon is looked at; one with more is a traced outline."""
PAIRS = 4_000_000
"""Pairs of objects that are compared at once."""


def overlapping(
    row: np.ndarray, box: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of boxes of one picture with an intersection over union of at least this.

    `row` [m] in ascending order, `box` [m, 4] as x, y, width, height; the pairs [k] as first,
    second and their overlap. Boxes without area take no part.
    """
    sound = np.flatnonzero(np.isfinite(box).all(1) & (box[:, 2] > 0) & (box[:, 3] > 0))
    order = sound[np.lexsort((box[sound, 0], row[sound]))]
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    left, own = box[order, 0], row[order]
    # In the order of the left edges only boxes that begin before this one ends can overlap it.
    reach = left + box[order, 2]
    step = 1
    live = np.arange(len(order) - 1) if len(order) > 1 else np.zeros(0, np.int64)
    while len(live):
        other = live + step
        live, other = live[other < len(order)], other[other < len(order)]
        near = (own[live] == own[other]) & (left[other] < reach[live])
        live, other = live[near], other[near]
        if len(live):
            share = iou(box[order[live]], box[order[other]])
            hit = share >= least
            found.append((order[live[hit]], order[other[hit]], share[hit]))
        step += 1
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, share = (np.concatenate(part) for part in zip(*found, strict=True))
    low, high = np.minimum(first, second), np.maximum(first, second)
    sort = np.lexsort((high, low))
    return low[sort], high[sort], share[sort]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of boxes [k, 4], x, y, width, height."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    every = a[:, 2:].prod(1) + b[:, 2:].prod(1) - both
    return np.where(every > 0, both / np.where(every > 0, every, 1), 0.0)


def bounds(lists: Ragged, m: int) -> np.ndarray:
    """The box [m, 4] around all points of each object's lists; NaN where it has none."""
    low, high = np.full((m, 2), np.inf), np.full((m, 2), -np.inf)
    even = np.arange(len(lists.numbers)) - lists.starts[lists.list_of]
    owner = lists.of[lists.list_of]
    for axis in (0, 1):
        here = (even % 2 == axis) & np.isfinite(lists.numbers)
        np.minimum.at(low[:, axis], owner[here], lists.numbers[here])
        np.maximum.at(high[:, axis], owner[here], lists.numbers[here])
    box = np.concatenate([low, high - low], 1)
    box[~np.isfinite(box).all(1)] = np.nan
    return box


def crossing(polygons: Ragged) -> np.ndarray:
    """[lists] bool: polygons of which two sides cross each other (not only touch)."""
    found = np.zeros(len(polygons.lengths), dtype=bool)
    corners = polygons.lengths // 2
    for n in np.unique(corners[(corners > 3) & (corners <= CORNERS)]):  # noqa: PLR2004 (triangles do not)
        places = np.flatnonzero((corners == n) & (polygons.lengths % 2 == 0))
        for part in np.array_split(places, max(1, len(places) * int(n) // PAIRS)):
            at = polygons.starts[part][:, None] + np.arange(2 * n)
            with np.errstate(all="ignore"):  # coordinates that are no numbers cross nothing
                found[part] = _crosses(polygons.numbers[at].reshape(len(part), int(n), 2))
    return found


def _crosses(points: np.ndarray) -> np.ndarray:
    """[k] bool of polygons [k, n, 2]."""
    n = points.shape[1]
    a, b = points, np.roll(points, -1, axis=1)
    found = np.zeros(len(points), dtype=bool)
    for i in range(n - 2):
        last = n - 1 if i == 0 else n
        if i + 2 >= last:
            continue
        c, d = a[:, i + 2 : last], b[:, i + 2 : last]
        p, q = a[:, i : i + 1], b[:, i : i + 1]
        apart = _side(p, q, c) * _side(p, q, d) < 0
        found |= (apart & (_side(c, d, p) * _side(c, d, q) < 0)).any(1)
    return found


def _side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """On which side of the line through p and q a point lies: 1, 0 or -1."""
    turn = (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
    turn = turn - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
    return np.sign(turn)
