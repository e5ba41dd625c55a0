"""Overlaps of boxes within pictures, and polygons that cross themselves, over flat arrays."""

from __future__ import annotations

import numpy as np

from dqpipe_objects.flat import Ragged

CORNERS = 200
"""Corners up to which a polygon is looked at; one with more is a traced outline."""
PAIRS = 4_000_000
"""Corners of polygons that are looked at once."""
REACH = 2_000
"""Boxes that one is compared with at most, in the order of their left edges."""


def partners(
    row: np.ndarray, kind: np.ndarray, box: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each box [m] the first earlier one of its picture and class that it overlaps by at least
    this (intersection over union), and the first of another class; -1 for none.

    `row` and `kind` [m] are numbers of pictures and classes, `box` [m, 4] is x, y, width, height.
    Boxes without area take no part. Of objects that overlap in one spot each is compared with the
    `REACH` next ones.
    """
    m = len(row)
    copy_of, other_class = np.full(m, m), np.full(m, m)
    sound = np.flatnonzero(np.isfinite(box).all(1) & (box[:, 2] > 0) & (box[:, 3] > 0))
    order = sound[np.lexsort((box[sound, 0], row[sound]))]
    left, own = box[order, 0], row[order]
    # Two boxes that share at least this part of the wider one begin at most so far apart.
    reach = left + (1 - least) * box[order, 2] + 1e-9 * (np.abs(left) + box[order, 2])
    live = np.arange(len(order))
    for step in range(1, REACH + 1):
        live = live[live + step < len(order)]
        other = live + step
        live = live[(own[live] == own[other]) & (left[other] <= reach[live])]
        if not len(live):
            break
        a, b = order[live], order[live + step]
        hit = iou(box[a], box[b]) >= least
        low, high = np.minimum(a[hit], b[hit]), np.maximum(a[hit], b[hit])
        same = kind[low] == kind[high]
        np.minimum.at(copy_of, high[same], low[same])
        np.minimum.at(other_class, high[~same], low[~same])
        np.minimum.at(other_class, low[~same], high[~same])
    return np.where(copy_of < m, copy_of, -1), np.where(other_class < m, other_class, -1)


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
    full = np.flatnonzero(lists.lengths > 0)
    starts, owner = lists.starts[full], lists.of[full]
    odd = (np.arange(len(lists.numbers)) - lists.starts[lists.list_of]) % 2
    for axis in (0, 1) if len(full) else ():
        here = (odd == axis) & np.isfinite(lists.numbers)
        least = np.minimum.reduceat(np.where(here, lists.numbers, np.inf), starts)
        most = np.maximum.reduceat(np.where(here, lists.numbers, -np.inf), starts)
        np.minimum.at(low[:, axis], owner, least)
        np.maximum.at(high[:, axis], owner, most)
    with np.errstate(invalid="ignore"):  # infinite less infinite: no points
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
    low, high = np.minimum(a, b), np.maximum(a, b)
    found = np.zeros(len(points), dtype=bool)
    for i in range(n - 2):
        rest = slice(i + 2, n - 1 if i == 0 else n)
        near = (low[:, rest] <= high[:, i : i + 1]) & (low[:, i : i + 1] <= high[:, rest])
        at, side = np.nonzero(near.all(2) & ~found[:, None])
        if len(at):
            p, q = a[at, i], b[at, i]
            c, d = a[at, side + i + 2], b[at, side + i + 2]
            apart = _side(p, q, c) * _side(p, q, d) < 0
            found[at[apart & (_side(c, d, p) * _side(c, d, q) < 0)]] = True
    return found


def _side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """On which side of the line through p and q a point lies: 1, 0 or -1."""
    turn = (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
    turn = turn - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
    return np.sign(turn)
