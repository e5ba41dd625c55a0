"""Which pairs of thumbnails are worth comparing: nearest neighbours between descriptors, in far less than quadratic time.

A descriptor is the low two-dimensional cosine frequencies of a thumbnail, weighted so that none dominates, at unit length:
brightness and contrast drop out. Every picture asks for its neighbours in several guises: in eight orientations (a sign or a
transposition of the frequencies), at several scales (as if cropped), and, upright, by its sides and corners (as if cropped
there) and by its upper and its lower part alone (as if captioned). Up to EXACT pictures every descriptor is compared with
every guise; beyond that, descriptors are divided by spherical k-means into leaves of a fixed mean size, and a guise looks
into the nearest few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FREQUENCIES = 8
FALL_OFF = 3.0
"""Frequency, in half periods a side, beyond which noise and misalignment outweigh what a frequency tells."""
SCALES = (1.0, 0.9, 0.8)
"""Share of each side that is left of a picture when its middle is read, in every orientation."""
CORNER = 0.85
"""Share of a side that is left when a picture, upright, is read at one end of it: at four sides, and in four corners."""
PART, PARTS = 0.75, 2
"""Share of the height that a caption leaves; above it, and below it."""
EXACT = 6_000
LEAF, PROBES, ITERATIONS, TRAINED = 256, 8, 8, 64
"""Mean size of a leaf; leaves a guise looks into; rounds of k-means; descriptors a leaf that it learns from."""
CROWDED = 32
"""Neighbours found at once, on the average, from which on they are sifted before they are sorted."""
BLOCK = 1024
"""Guises that are compared at once."""


@dataclass(frozen=True)
class Candidates:
    """Pairs of rows (template, picture) [n, 2], and to start from: the orientation [n] and the warp [n, 4] of the picture."""

    pairs: np.ndarray
    turns: np.ndarray
    warps: np.ndarray


@dataclass
class Best:
    """The `count` most similar rows found so far for each row."""

    similarity: np.ndarray
    row: np.ndarray
    guise: np.ndarray

    @classmethod
    def empty(cls, rows: int, count: int, floor: float) -> Best:
        """Nothing found yet; nothing below the floor will be."""
        shape = (rows, count)
        return cls(np.full(shape, floor, np.float32), np.full(shape, -1, np.int32), np.zeros(shape, np.uint8))

    def add(self, rows: np.ndarray, similarity: np.ndarray, found: np.ndarray, guise: int) -> None:
        """Take in what was found for distinct pairs of `rows` and `found`, [m] each."""
        touched, place = np.unique(rows, return_inverse=True)
        count = self.row.shape[1]
        owner = np.concatenate([place, np.repeat(np.arange(len(touched)), count)])
        every = [
            np.concatenate([similarity, self.similarity[touched].ravel()]),
            np.concatenate([found, self.row[touched].ravel()]).astype(np.int32),
            np.concatenate([np.full(len(rows), guise, np.uint8), self.guise[touched].ravel()]),
        ]
        order = np.lexsort((every[2], -every[0], every[1], owner))
        same = np.zeros(len(order), dtype=bool)
        same[1:] = (owner[order][1:] == owner[order][:-1]) & (every[1][order][1:] == every[1][order][:-1])
        order = order[~(same & (every[1][order] >= 0))]
        order = order[np.lexsort((every[1][order], -every[0][order], owner[order]))]
        start = np.searchsorted(owner[order], np.arange(len(touched)))
        chosen = order[start[:, None] + np.arange(count)]
        self.similarity[touched], self.row[touched], self.guise[touched] = (values[chosen] for values in every)


def cosines(side: int) -> np.ndarray:
    """Orthonormal cosine basis, float32 [FREQUENCIES, side]."""
    k, x = np.arange(FREQUENCIES)[:, None], np.arange(side)
    basis = np.cos(np.pi * k * (2 * x + 1) / (2 * side)) * np.sqrt(2 / side)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def windows() -> list[tuple[float, float, float, float]]:
    """Warps (shift y, shift x, scale y, scale x; see alignment.interpolation) that read a side or a corner of a picture."""
    shift = 1 - CORNER
    axis = ((0.0, 1.0), (-shift, CORNER), (shift, CORNER))
    return [(y[0], x[0], y[1], x[1]) for y in axis for x in axis if (y, x) != (axis[0], axis[0])]


def enlarged(side: int, shift: float, scale: float) -> np.ndarray:
    """Linear interpolation [side, side] that reads the share `scale` of an axis around `shift`, of -1 to 1."""
    centre = (side - 1) / 2
    at = np.clip((np.arange(side) - centre) * scale + centre + shift * side / 2, 0, side - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)


def spectrum(thumbnails: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Descriptors as unit vectors of weighted frequencies, float32 [n, FREQUENCIES, FREQUENCIES], of uint8 [n, s, s]."""
    frequency = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES]).astype(np.float32)
    weight = frequency * np.exp(-(frequency**2) / (2 * FALL_OFF**2))
    out = np.empty((len(thumbnails), FREQUENCIES, FREQUENCIES), np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        part = rows @ thumbnails[start : start + BLOCK].astype(np.float32) @ columns.T * weight
        length = np.sqrt((part * part).sum((1, 2), keepdims=True))
        out[start : start + BLOCK] = part / np.maximum(length, 1e-6)
    return out


def turned(spectra: np.ndarray, turn: int) -> np.ndarray:
    """Spectra of the pictures in another orientation (see alignment.oriented), flattened to [n, FREQUENCIES²]."""
    sign = (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)
    out = spectra.swapaxes(1, 2) if turn & 4 else spectra
    out = out * sign if turn & 1 else out
    out = out * sign[:, None] if turn & 2 else out
    return np.ascontiguousarray(out.reshape(len(out), FREQUENCIES**2))


def centres(descriptors: np.ndarray) -> np.ndarray:
    """Unit vectors [leaves, d] by spherical k-means on evenly spaced descriptors; starts from the same ones every time."""
    leaves = max(1, len(descriptors) // LEAF)
    sample = descriptors[np.linspace(0, len(descriptors) - 1, min(len(descriptors), leaves * TRAINED)).astype(np.int64)]
    out = sample[np.linspace(0, len(sample) - 1, leaves).astype(np.int64)].copy()
    for _ in range(ITERATIONS):
        nearest = np.concatenate([(sample[s : s + BLOCK] @ out.T).argmax(1) for s in range(0, len(sample), BLOCK)])
        order = np.argsort(nearest, kind="stable")
        filled, first = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        out[filled] = sums / np.maximum(np.sqrt((sums * sums).sum(1, keepdims=True)), 1e-6)
    return out


class Leaves:
    """Descriptors divided into leaves; the whole set is one leaf if it is small."""

    def __init__(self, descriptors: np.ndarray) -> None:
        self.descriptors = descriptors
        self.centres = centres(descriptors) if len(descriptors) > EXACT else descriptors[:1]
        leaf = self.nearest(descriptors, 1)[:, 0]
        self.order = np.argsort(leaf, kind="stable")
        self.bounds = np.searchsorted(leaf[self.order], np.arange(len(self.centres) + 1))

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The nearest leaves [n, count] of queries, in no order."""
        out = np.empty((len(queries), count), np.int32)
        for start in range(0, len(queries), BLOCK):
            near = queries[start : start + BLOCK] @ self.centres.T
            out[start : start + BLOCK] = np.argpartition(-near, count - 1, axis=1)[:, :count]
        return out

    def visits(self, queries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of queries, at most BLOCK at once, and rows of descriptors to compare them with."""
        count = min(PROBES, len(self.centres))
        probed = self.nearest(queries, count).ravel()
        order = np.argsort(probed, kind="stable")
        bounds = np.searchsorted(probed[order], np.arange(len(self.centres) + 1))
        for leaf, (start, stop) in enumerate(pairwise(bounds)):
            members = self.order[self.bounds[leaf] : self.bounds[leaf + 1]]
            for first in range(start, stop, BLOCK):
                yield np.sort(order[first : min(first + BLOCK, stop)] // count), members


def search(leaves: Leaves, queries: np.ndarray, best: Best, guise: int) -> None:
    """Put what is nearer to the queries [n, d] than what is known so far into `best`; no row is its own neighbour."""
    for asking, members in leaves.visits(queries):
        if not len(members):
            continue
        near = queries[asking] @ leaves.descriptors[members].T
        near[asking[:, None] == members] = -1
        nearer = near > best.similarity[asking, -1:]
        if np.count_nonzero(nearer) > CROWDED * len(asking):  # a crowd of copies: the rest of it cannot be among the best
            count = best.row.shape[1]
            nearer &= near >= np.partition(near, -count, axis=1)[:, [-count]] if near.shape[1] > count else True
        at = np.nonzero(nearer)
        if len(at[0]):
            best.add(asking[at[0]], near[at], members[at[1]], guise)


def candidates(thumbnails: np.ndarray, turns: list[int], count: int, floor: float) -> Candidates:
    """Pairs of thumbnails uint8 [n, s, s] worth comparing: of each, the `count` nearest whose similarity is above the floor."""
    side = thumbnails.shape[-1]
    basis = cosines(side)
    best = Best.empty(len(thumbnails), count, floor)
    guises: list[tuple[float, ...]] = []
    leaves = Leaves(spectrum(thumbnails, basis, basis).reshape(len(thumbnails), FREQUENCIES**2))
    middles = [(0.0, 0.0, scale, scale) for scale in SCALES]
    for window in [*middles, *windows()]:
        y, x, height, width = window
        asked = spectrum(thumbnails, basis @ enlarged(side, y, height), basis @ enlarged(side, x, width))
        for turn in turns if window in middles else turns[:1]:
            search(leaves, turned(asked, turn), best, len(guises))
            guises.append((turn, y, x, np.log(height), np.log(width)))
    kept = int(side * PART)
    for first in (0, side - kept):
        part = spectrum(thumbnails[:, first : first + kept], cosines(kept), basis).reshape(len(thumbnails), FREQUENCIES**2)
        search(Leaves(part), part, best, len(guises))
        guises.append((0, 0.0, 0.0, 0.0, 0.0))
    return distinct(best, np.array(guises))


def distinct(best: Best, guises: np.ndarray) -> Candidates:
    """Every pair once, in the guise in which it was most similar; the asking row is the picture, the found one the template.

    Of a pair that was found by a part of it, each is tried as the template: what is covered misleads one way more than the other.
    """
    picture, slot = np.nonzero(best.row >= 0)
    template, guise = best.row[picture, slot].astype(np.int64), best.guise[picture, slot]
    low, high = np.minimum(template, picture), np.maximum(template, picture)
    order = np.lexsort((picture, guise, -best.similarity[picture, slot], high, low))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    chosen = order[first]
    pairs = np.stack([template[chosen], picture[chosen]], axis=1)
    both = guise[chosen] >= len(guises) - PARTS
    pairs, guise = np.concatenate([pairs, pairs[both, ::-1]]), np.concatenate([guise[chosen], guise[chosen][both]])
    return Candidates(pairs, guises[guise, 0].astype(np.int64), guises[guise, 1:].astype(np.float32))
