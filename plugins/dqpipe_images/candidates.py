"""Which pairs of thumbnails are worth comparing.

Nearest neighbours between descriptors, in far less than quadratic time.

    thumbnails ──▶ descriptors ──▶ neighbours in several guises ──▶ tangent similarity ──▶ pairs,
        each with a first warp

A descriptor is the low two-dimensional cosine frequencies of a thumbnail, weighted so that none
dominates, at unit length: brightness and contrast drop out. Every picture asks for its neighbours
in several guises: in eight orientations (a sign or a transposition of the frequencies), at several
scales (as if cropped, or framed), and, upright, by its sides and corners (as if cropped there) and
by its upper and its lower part alone (as if captioned). Each family of guises has places of its
own, so that what looks alike in one (all that is framed, say) does not crowd out the others. Up to
EXACT pictures every descriptor is compared with every guise; beyond that, descriptors are divided
by spherical k-means on two levels into leaves of a fixed mean size, and a guise looks into the
nearest few. What was found is sifted by its tangent similarity (Simard et al. 1992): how alike the
descriptors are after the small shift and scale that bring them nearest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dqpipe import spherical_k_means

FREQUENCIES = 8
FALL_OFF = 3.0
"""Frequency, in half periods a side, beyond which noise and misalignment outweigh what a frequency
tells.
"""
WHOLE, INNER, INNERMOST = 1.0, 0.87, 0.8
"""Share of each side that is left of a picture when its middle is read.

The first two in every orientation, the last upright.
"""
CORNER = 0.85
"""Share of a side that is left when a picture, upright, is read at one end of it.

At four sides, and in four corners.
"""
PART = 0.75
"""Share of the height that a caption leaves; above it, and below it."""
EXACT = 4_000
LEAF, ITERATIONS, TRAINED = 192, 8, 64
"""Mean size of a leaf; rounds of k-means; descriptors a leaf that it learns from."""
Reach = tuple[int, int]
"""Into how many of the branches a guise looks, and into how many leaves of each."""
SHORT, FAR = (2, 2), (4, 3)
"""For guises that lay a copy right on its original, and for sides and corners, which come near it
only.
"""
CROWDED = 16
"""Neighbours found at once, on the average, from which on they are sifted before they
are sorted.
"""
BLOCK, WIDEST = 1024, 2048
"""Guises that are compared at once, and with how many descriptors at most."""
STEP, STIFFNESS = 0.05, 1.0
"""Shift and logarithm of scale by which tangents are taken, and what moving along them costs.

That of a residual ten times as large is expected.
"""
ALIKE = 0.94
"""Tangent similarity from which two pictures are worth aligning."""


@dataclass(frozen=True)
class Candidates:
    """Pairs of rows (template, picture) [n, 2], and to start from.

    The orientation [n] and the warp [n, 4] of the picture.
    """

    pairs: np.ndarray
    turns: np.ndarray
    warps: np.ndarray
    alike: np.ndarray
    """Tangent similarity, [n]."""
    trusted: np.ndarray
    """First and last row, [n, 2] as shares of the height, of what was alike.

    The rest may be covered.
    """

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class Guise:
    """One way to read a picture: turned, through a window (shift y, shift x, scale y, scale x.

    See alignment.interpolation).
    """

    turn: int
    window: tuple[float, float, float, float]

    @property
    def warp(self) -> tuple[float, float, float, float]:
        """The window as a warp."""
        y, x, height, width = self.window
        return y, x, float(np.log(height)), float(np.log(width))


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
        return cls(
            np.full(shape, floor, np.float32),
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.uint8),
        )

    def add(
        self,
        asking: np.ndarray,
        place: np.ndarray,
        similarity: np.ndarray,
        found: np.ndarray,
        guise: int,
    ) -> None:
        """Take in pairs [m], each once.

        `place` in the distinct rows `asking`, the row `found`, and how similar.
        """
        known, count = self.row[asking], self.row.shape[1]
        again, slot = np.nonzero(known[place] == found[:, None])
        better = similarity[again] > self.similarity[asking[place[again]], slot]
        where = asking[place[again[better]]], slot[better]
        self.similarity[where], self.guise[where] = similarity[again[better]], guise
        fresh = np.ones(len(place), dtype=bool)
        fresh[again] = False
        owner = np.concatenate([np.repeat(np.arange(len(asking)), count), place[fresh]])
        alike = np.concatenate([self.similarity[asking].ravel(), similarity[fresh]])
        row = np.concatenate([known.ravel(), found[fresh].astype(np.int32)])
        made = np.concatenate([self.guise[asking].ravel(), np.full(fresh.sum(), guise, np.uint8)])
        order = ranked(owner, alike)
        chosen = order[
            np.searchsorted(owner[order], np.arange(len(asking)))[:, None] + np.arange(count)
        ]
        self.similarity[asking], self.row[asking], self.guise[asking] = (
            alike[chosen],
            row[chosen],
            made[chosen],
        )


def ranked(owner: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Positions [m] by owner, below BLOCK, then the most similar first (similarities are above 0),
    then as they came.

    All three stand in one number, so that one sort of distinct numbers does it: a float above 0 is
    ordered as its bits are.
    """
    down = np.uint64(2**32 - 1) - similarity.astype(np.float32).view(np.uint32)
    places = np.arange(len(owner), dtype=np.uint64)
    key = (owner.astype(np.uint64) << np.uint64(54)) | (down << np.uint64(22)) | places
    key.sort()
    return (key & np.uint64(2**22 - 1)).astype(np.int64)


def cosines(side: int) -> np.ndarray:
    """Orthonormal cosine basis, float32 [FREQUENCIES, side]."""
    k, x = np.arange(FREQUENCIES)[:, None], np.arange(side)
    basis = np.cos(np.pi * k * (2 * x + 1) / (2 * side)) * np.sqrt(2 / side)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def ends() -> list[Guise]:
    """The innermost, and the sides and corners of a picture."""
    shift = 1 - CORNER
    axis = ((0.0, 1.0), (-shift, CORNER), (shift, CORNER))
    windows = [(y[0], x[0], y[1], x[1]) for y in axis for x in axis if (y, x) != (axis[0], axis[0])]
    return [Guise(0, window) for window in [(0.0, 0.0, INNERMOST, INNERMOST), *windows]]


def middles(turns: list[int], scale: float) -> list[Guise]:
    """The middle of a picture, in every orientation."""
    return [Guise(turn, (0.0, 0.0, scale, scale)) for turn in turns]


def enlarged(side: int, shift: float, scale: float) -> np.ndarray:
    """Linear interpolation [side, side] that reads the share `scale` of an axis around `shift`, of
    -1 to 1.
    """
    centre = (side - 1) / 2
    at = np.clip((np.arange(side) - centre) * scale + centre + shift * side / 2, 0, side - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)


def weights() -> np.ndarray:
    """What each frequency counts, [FREQUENCIES, FREQUENCIES].

    The spectrum of pictures falls, and high ones are not to be trusted.
    """
    frequency = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES]).astype(np.float32)
    return frequency * np.exp(-(frequency**2) / (2 * FALL_OFF**2))


def halved(thumbnails: np.ndarray) -> np.ndarray:
    """uint8 [n, s, s] to [n, s/2, s/2].

    The mean of 2 × 2 pixels, which keeps the low frequencies and a quarter of the work.
    """
    out = np.empty((len(thumbnails), thumbnails.shape[1] // 2, thumbnails.shape[2] // 2), np.uint8)
    for start in range(0, len(out), BLOCK):
        part = thumbnails[start : start + BLOCK].astype(np.uint16)
        rows = part[:, ::2] + part[:, 1::2]
        out[start : start + BLOCK] = (rows[:, :, ::2] + rows[:, :, 1::2] + 2) // 4
    return out


def spectrum(thumbnails: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Descriptors as unit vectors of weighted frequencies, float32 [n, FREQUENCIES, FREQUENCIES],
    of uint8 [n, s, s].
    """
    weight = weights()
    out = np.empty((len(thumbnails), FREQUENCIES, FREQUENCIES), np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        part = rows @ thumbnails[start : start + BLOCK].astype(np.float32) @ columns.T * weight
        length = np.sqrt((part * part).sum((1, 2), keepdims=True))
        out[start : start + BLOCK] = part / np.maximum(length, 1e-6)
    return out


def turned(spectra: np.ndarray, turn: int) -> np.ndarray:
    """Spectra of the pictures in another orientation (see alignment.oriented), flattened to [n,
    FREQUENCIES²].
    """
    sign = (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)
    out = spectra.swapaxes(1, 2) if turn & 4 else spectra
    out = out * sign if turn & 1 else out
    out = out * sign[:, None] if turn & 2 else out
    return np.ascontiguousarray(out.reshape(len(out), FREQUENCIES**2))


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced."""
    return (
        rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    )


def largest(queries: np.ndarray, centres: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and similarities [n, count] of the centres nearest to queries, the nearest first.

    What there is not has -1, -inf.
    """
    at, near = (
        np.full((len(queries), count), -1, np.int32),
        np.full((len(queries), count), -np.inf, np.float32),
    )
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK] @ centres.T
        every = np.arange(len(block))
        for place in range(min(count, len(centres))):
            best = block.argmax(1)
            at[start : start + BLOCK, place], near[start : start + BLOCK, place] = (
                best,
                block[every, best],
            )
            block[every, best] = -np.inf
    return at, near


def means(sample: np.ndarray, count: int) -> np.ndarray:
    """Unit vectors [count, d] by spherical k-means.

    Starts from evenly spaced ones of the sample every time.
    """
    centres = evenly(sample, count)
    return spherical_k_means(
        sample,
        centres,
        ITERATIONS if len(centres) > 1 else 0,
        lambda rows, centres: largest(rows, centres, 1)[0][:, 0],
    )


class Leaves:
    """Descriptors divided into branches, and these into leaves.

    The whole set is one leaf if it is small.
    """

    def __init__(self, descriptors: np.ndarray) -> None:
        self.descriptors = descriptors
        count = max(1, len(descriptors) // LEAF) if len(descriptors) > EXACT else 1
        sample = evenly(descriptors, count * TRAINED)
        self.branches = means(sample, round(np.sqrt(count)))
        branch = largest(sample, self.branches, 1)[0][:, 0]
        twigs = [descriptors[:0]] + [
            self.twig(sample[branch == one], count / max(len(sample), 1))
            for one in range(len(self.branches))
        ]
        self.starts = np.cumsum([len(twig) for twig in twigs])
        self.centres = np.concatenate(twigs)
        leaf = self.nearest(descriptors, SHORT)[:, 0]
        self.order = np.argsort(leaf, kind="stable")
        self.bounds = np.searchsorted(leaf[self.order], np.arange(len(self.centres) + 1))

    @staticmethod
    def twig(sample: np.ndarray, share: float) -> np.ndarray:
        """Centres of the leaves of one branch, `share` of the descriptors that it has of the
        sample.
        """
        return means(sample, max(1, round(len(sample) * share))) if len(sample) else sample

    def nearest(self, queries: np.ndarray, reach: Reach) -> np.ndarray:
        """The nearest leaves [n, branches · twigs] of queries, the nearest first.

        -1 where there are fewer.
        """
        if len(self.centres) == 1:
            return np.zeros((len(queries), 1), np.int32)
        branches, twigs = reach
        branch, _ = largest(queries, self.branches, branches)
        every = np.arange(len(queries))
        at, near = (
            np.full((len(queries), branches * twigs), -1, np.int32),
            np.full((len(queries), branches * twigs), -np.inf, np.float32),
        )
        for place in range(branches):
            own = slice(place * twigs, (place + 1) * twigs)
            for one, rows in grouped(branch[:, place], len(self.branches)):
                first, last = self.starts[one : one + 2]
                if first < last:
                    twig, near[rows, own] = largest(queries[rows], self.centres[first:last], twigs)
                    at[rows, own] = np.where(twig >= 0, twig + first, -1)
        best = near.argmax(1)
        at[every, best], at[:, 0] = at[:, 0].copy(), at[every, best]
        return at

    def visits(self, queries: np.ndarray, reach: Reach) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of queries, at most BLOCK at once, and rows of descriptors to compare them with."""
        probed = self.nearest(queries, reach)
        count = probed.shape[1]
        for leaf, places in grouped(probed.ravel(), len(self.centres)):
            members = self.order[self.bounds[leaf] : self.bounds[leaf + 1]]
            for first in range(0, len(places), BLOCK):
                for start in range(0, len(members), WIDEST):
                    yield places[first : first + BLOCK] // count, members[start : start + WIDEST]


def grouped(labels: np.ndarray, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """For each label 0 … count - 1 that occurs, the positions that have it, ascending."""
    small = (
        labels.astype(np.int16) if count < np.iinfo(np.int16).max else labels
    )  # sorted by radix, in a tenth of the time
    order = np.argsort(small, kind="stable")
    bounds = np.searchsorted(small[order], np.arange(count + 1))
    for label, (start, stop) in enumerate(pairwise(bounds.tolist())):
        if stop > start:
            yield label, order[start:stop]


def search(
    leaves: Leaves, queries: np.ndarray, best: Best, guise: int, reach: Reach = SHORT
) -> None:
    """Put what is nearer to the queries [n, d] than what is known so far into `best`.

    No row is its own neighbour.
    """
    count = best.row.shape[1]
    for asking, members in leaves.visits(queries, reach):
        near = queries[asking] @ leaves.descriptors[members].T
        nearer = near > best.similarity[asking, -1:]
        at = np.flatnonzero(nearer)
        if len(at) > CROWDED * len(asking) and near.shape[1] > count + 1:
            # a crowd of copies: the rest of it cannot be among the best (one more, as a row may
            # find itself)
            at = np.flatnonzero(
                nearer & (near >= np.partition(near, -count - 1, axis=1)[:, [-count - 1]])
            )
        place, column = np.divmod(at, near.shape[1])
        other = asking[place] != members[column]
        if other.any():
            touched, place = np.unique(place[other], return_inverse=True)
            best.add(asking[touched], place, near.ravel()[at[other]], members[column[other]], guise)


@dataclass(frozen=True)
class Found:
    """Pairs [n] (template, picture) of rows in a guise [n] of the picture, and how alike they are,
    [n].
    """

    template: np.ndarray
    picture: np.ndarray
    guise: np.ndarray
    alike: np.ndarray


def tangent_similarity(
    thumbnails: np.ndarray, template: np.ndarray, picture: np.ndarray, guise: Guise, rows: slice
) -> np.ndarray:
    """Cosine similarity [n] of templates and pictures in a guise, after the small shift and scale
    of the picture that help most.

    `rows` of the turned picture are compared alone. Solves t ≈ a q + J p with J the derivatives of
    q along the two shifts and the two scales.
    """
    y, x, height, width = guise.window
    side = thumbnails.shape[-1]
    basis, down = cosines(side), cosines(rows.stop - rows.start)

    def vertical(dy: float, dh: float) -> np.ndarray:
        return down @ enlarged(side, y + dy, height * np.exp(dh))[rows]

    def horizontal(dx: float, dw: float) -> np.ndarray:
        return basis @ enlarged(side, x + dx, width * np.exp(dw))

    here = vertical(0, 0), horizontal(0, 0)
    slopes = [
        ((vertical(*move) - vertical(*(-m for m in move))) / (2 * STEP), here[1])
        for move in ((STEP, 0), (0, STEP))
    ]
    slopes += [
        (here[0], (horizontal(*move) - horizontal(*(-m for m in move))) / (2 * STEP))
        for move in ((STEP, 0), (0, STEP))
    ]
    weight, out = weights(), np.empty(len(template), np.float32)
    for start in range(0, len(template), BLOCK):
        part = slice(start, start + BLOCK)
        read = turned_pictures(thumbnails[picture[part]], guise.turn).astype(np.float32)
        axes = np.stack(
            [(a @ read @ b.T * weight).reshape(len(read), -1) for a, b in (here, *slopes)], axis=1
        )
        wanted = (
            down @ thumbnails[template[part], rows].astype(np.float32) @ basis.T * weight
        ).reshape(len(read), -1)
        out[part] = projected(wanted, axes)
    return out


def projected(wanted: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Cosine similarity [n] of `wanted` [n, d] and what comes nearest to it of the first axis and,
    at a cost, the others, [n, k, d].
    """
    gram = axes @ axes.swapaxes(1, 2)
    size = np.maximum(gram[:, 0, 0], 1e-6)
    cost = np.diag(np.array([1e-6] + [STIFFNESS] * (axes.shape[1] - 1), np.float32))
    solved = np.linalg.solve(gram + size[:, None, None] * cost, axes @ wanted[:, :, None])
    fit = (solved.swapaxes(1, 2) @ axes)[:, 0]
    length = np.sqrt((fit * fit).sum(1) * (wanted * wanted).sum(1))
    return (fit * wanted).sum(1) / np.maximum(length, 1e-6)


def turned_pictures(pictures: np.ndarray, turn: int) -> np.ndarray:
    """[n, s, s] in another orientation (see alignment.oriented)."""
    out = pictures.swapaxes(1, 2) if turn & 4 else pictures
    return out[:, :: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]


def found_in(
    leaves: Leaves,
    thumbnails: np.ndarray,
    guises: list[Guise],
    count: int,
    floor: float,
    first: int,
) -> Best:
    """Of each thumbnail the `count` nearest in any of the guises, which are numbered
    from `first`.
    """
    side = thumbnails.shape[-1]
    basis, best = cosines(side), Best.empty(len(thumbnails), count, floor)
    window, asked = None, np.empty(0)
    for number, guise in enumerate(guises, first):
        if guise.window != window:
            window = y, x, height, width = guise.window
            asked = spectrum(
                thumbnails, basis @ enlarged(side, y, height), basis @ enlarged(side, x, width)
            )
        search(
            leaves,
            turned(asked, guise.turn),
            best,
            number,
            FAR if guise.window[:2] != (0.0, 0.0) else SHORT,
        )
    return best


def candidates(
    thumbnails: np.ndarray, turns: list[int], count: int, floor: float, alike: float = ALIKE
) -> Candidates:
    """Pairs of thumbnails uint8 [n, s, s] worth comparing.

    Of each, the nearest whose similarity is above the floor.
    """
    thumbnails = halved(thumbnails)
    side, few = thumbnails.shape[-1], (count + 1) // 2
    basis = cosines(side)
    leaves = Leaves(spectrum(thumbnails, basis, basis).reshape(len(thumbnails), FREQUENCIES**2))
    guises: list[Guise] = []
    parts: list[slice] = []
    found: list[Best] = []
    for family, places in (
        (middles(turns, WHOLE), count),
        (middles(turns, INNER), few),
        (ends(), count),
    ):
        found.append(found_in(leaves, thumbnails, family, places, floor, len(guises)))
        guises += family
        parts += [slice(0, side)] * len(family)
    del leaves
    kept = int(side * PART)
    for rows in (slice(0, kept), slice(side - kept, side)):
        part = spectrum(thumbnails[:, rows], cosines(kept), basis).reshape(
            len(thumbnails), FREQUENCIES**2
        )
        best = Best.empty(len(thumbnails), few, floor)
        search(Leaves(part), part, best, len(guises))
        found.append(best)
        guises.append(Guise(0, (0.0, 0.0, 1.0, 1.0)))
        parts.append(rows)
    return distinct(
        sifted(thumbnails, found, guises, parts, alike),
        guises,
        np.array([(rows.start, rows.stop) for rows in parts]) / side,
    )


def sifted(
    thumbnails: np.ndarray, found: list[Best], guises: list[Guise], parts: list[slice], alike: float
) -> Found:
    """Of all that was found, what has a tangent similarity above `alike`."""
    picture, template, guise = (
        np.concatenate(values) for values in zip(*(listed(best) for best in found), strict=True)
    )
    near = np.empty(len(picture), np.float32)
    for number, rows in grouped(guise, len(guises)):
        near[rows] = tangent_similarity(
            thumbnails, template[rows], picture[rows], guises[number], parts[number]
        )
    kept = near > alike
    return Found(template[kept], picture[kept], guise[kept], near[kept])


def listed(best: Best) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was found as (asking row, found row, guise), [m] each."""
    picture, slot = np.nonzero(best.row >= 0)
    return picture, best.row[picture, slot].astype(np.int64), best.guise[picture, slot]


def distinct(found: Found, guises: list[Guise], trusted: np.ndarray) -> Candidates:
    """Every pair in the guise in which it was most alike, of those that read all of a picture and
    of those that leave some of it out.

    A framed picture needs the one, a cropped one the other. Of a pair that was found by a part of
    it, each is tried as the template: what is covered misleads one way more than the other.
    """
    inside, partly = (
        np.array([one.window != (0.0, 0.0, 1.0, 1.0) for one in guises]),
        trusted[:, 1] - trusted[:, 0] < 1,
    )
    low, high = np.minimum(found.template, found.picture), np.maximum(found.template, found.picture)
    kind = np.where(
        inside[found.guise], 1 + (found.picture > found.template), 3 * partly[found.guise]
    )
    order = np.lexsort((found.picture, found.guise, -found.alike, kind, high, low))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (
        (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0) | (np.diff(kind[order]) != 0)
    )
    chosen = order[first]
    pairs, both = (
        np.stack([found.template[chosen], found.picture[chosen]], axis=1),
        partly[found.guise[chosen]],
    )
    pairs, chosen = (
        np.concatenate([pairs, pairs[both, ::-1]]),
        np.concatenate([chosen, chosen[both]]),
    )
    guise, warps = found.guise[chosen], np.array([one.warp for one in guises], np.float32)
    return Candidates(
        pairs,
        np.array([one.turn for one in guises])[guise],
        warps[guise],
        found.alike[chosen],
        trusted[guise],
    )
