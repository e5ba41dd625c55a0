"""Pictures that share a layout, told apart by what differs in it.

Meters, charts, forms, plates, X-rays.

    clusters ──▶ each picture against its keeper: does anything differ, locally? ──▶ proven copies;
        the others are in doubt
    crowds in which much differs ──▶ all laid on one, less what they have in common ──▶ the most
        alike in the rest ──▶ proven, or no copies

What many pictures have in common (a background, axes, a form, a skeleton) says nothing about two of
them, and hides who is whose copy at the size of a thumbnail. So in a crowd of pictures that look
alike and differ, copies are searched anew by what they do not share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dqpipe_images import colour, proof
from dqpipe_images.alignment import (
    SCORE_WIDTHS,
    blurred,
    converged,
    normalised,
    oriented,
    pooled,
    toned,
    trusted,
    warped,
)
from dqpipe_images.clusters import TURNED_BACK, TURNED_TWICE, Links, led, nearest, neighbours

if TYPE_CHECKING:
    from dqpipe_images.candidates import Candidates

SIDE = proof.SIDE
"""Side in pixels of the grey pictures that are read again."""
PROVEN, SAME = 2.5, 0.3
"""What differs in the worst cell of a copy.

Times the pair's noise, and standard deviations of the picture where a cell shows something else.
"""
REFUTED, OTHER = 4.0, 0.5
"""The same from which two pictures show something else."""
BROAD = 0.25
"""Share of the cells with content from which what differs is no caption.

The two are no copies, whatever else they have in common.
"""
CROWD = 4
"""Pictures that look alike from which on they may share a layout."""
FEW, MUCH = 3, 0.34
"""How many pictures of a crowd, and which share of those that have a keeper, show something else
than it where they share a layout.
"""
MOVED = 0.1
"""Shift, in half sides, from which a small thing lies in another place."""
LAID = 64
"""Side in pixels of pictures that are laid on one of them."""
STEPS = (*[1.0] * 4, *[0.4] * 4)
"""Widths of the robust weights, one for each Gauss-Newton step."""
MARGIN = 3 / 32
"""Share of a side that is left out at the edges while aligning."""
GREY = np.float32(64)
"""Grey steps that count as one when grey values are matched."""
AT_ONCE = 192
"""Pictures that are laid on one at once, and from so many at most it is seen what they have in
common.
"""
UPRIGHT, CLEARLY = 0.5, 0.5
"""Displacement up to which a picture of a crowd stands upright, whatever its links say, and how
much nearer it has to be turned beyond that: many layouts are symmetric.
"""
NUMBERS = 256
"""Numbers that are kept of what a picture does not share with the others.

Random projections (Johnson & Lindenstrauss 1984).
"""
NEAREST, ALIKE = 3, 0.25
"""Of each picture of a crowd the most alike in what it does not share, and the correlation from
which they are compared.
"""
NEAR = 2
"""Of each picture of a crowd the most alike as thumbnails that are compared as well."""
SURE, LITTLE = 0.75, 0.25
"""That correlation from which two that are neither proven nor refuted may be copies, and which
share of what they show of their own may differ.
"""

Detail = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Rows [n] to their grey pictures, uint8 [n, SIDE, SIDE], the mean sides [n] that these had, and
their colours (see thumbnails.details).
"""
Align = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Pairs [n, 2] (template, picture) and the orientation [n] of the picture to displacements [n] and
warps [n, 4].
"""


@dataclass(frozen=True)
class Evidence:
    """Of pairs [n]: how far apart they are as thumbnails, and what differs at the worst place, [3,
    n] (see proof.differing).

    `doubtful` [n] are pairs that prove nothing by being alike (see looked_at).
    """

    distance: np.ndarray
    differs: np.ndarray
    doubtful: np.ndarray

    @property
    def proven(self) -> np.ndarray:
        """Pairs [n] of which nothing differs beyond what their encodings explain."""
        times, other, _ = self.differs
        return (times <= PROVEN) & (other <= SAME) & ~self.doubtful

    @property
    def refuted(self) -> np.ndarray:
        """Pairs [n] that show something else somewhere."""
        times, other, _ = self.differs
        return (times > REFUTED) | (other > OTHER)

    @property
    def strangers(self) -> np.ndarray:
        """Pairs [n], compared outside a crowd, that show something else in many places."""
        return self.refuted & (self.differs[2] > BROAD)


Own = tuple[np.ndarray, np.ndarray]
"""What pictures of a crowd show that most do not.

Their positions by pairs, [n, 2], and grey steps, uint8 [m, LAID, LAID].
"""


def examined(
    pairs: np.ndarray, turns: np.ndarray, detail: Detail, align: Align, own: Own | None = None
) -> Evidence:
    """What differs between the pairs [n, 2] (template, picture), the picture turned.

    In a crowd, against what they show of their own.
    """
    distance, warps = align(pairs, turns)
    differs, doubtful = np.full((3, len(pairs)), np.inf), np.zeros(len(pairs), dtype=bool)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    for start in range(0, len(order), proof.BLOCK):
        part = order[start : start + proof.BLOCK]
        amount = None if own is None else np.square(own[1][own[0][part]].astype(np.float32)).sum(1)
        differs[:, part], doubtful[part] = looked_at(
            pairs[part], turns[part], warps[part], amount, detail
        )
    return Evidence(distance, differs, doubtful)


def looked_at(
    pairs: np.ndarray,
    turns: np.ndarray,
    warps: np.ndarray,
    amount: np.ndarray | None,
    detail: Detail,
) -> tuple[np.ndarray, np.ndarray]:
    """What differs between some pairs, [3, n], and which [n] prove nothing by being alike.

    These have other colours, or show one small thing on an even ground, in another place.
    `amount` [n, LAID, LAID] is what the two show of their own, in squared grey steps.
    """
    rows, at = np.unique(pairs, return_inverse=True)
    shown, sides, colours = detail(rows)
    template, picture = at.reshape(-1, 2).T
    turned = [oriented(colours[picture, channel].astype(np.float32), turns) for channel in (0, 1)]
    light = reduced(shown[template].astype(np.float32), colours.shape[-1])
    doubtful = colour.recoloured(
        colours[template].astype(np.float32), np.stack(turned, axis=1), light, warps
    )
    doubtful |= proof.alone(light) & ((turns != 0) | (np.abs(warps[:, :2]) > MOVED).any(1))
    side = proof.side_for(np.minimum(sides[template], sides[picture]), close=amount is not None)
    differs = np.full((3, len(pairs)), np.inf)

    def compare(these: np.ndarray, size: int) -> None:
        wanted, read = (
            reduced(shown[ends[these]].astype(np.float32), size) for ends in (template, picture)
        )
        uncommon = None if amount is None else resized(amount[these], size)
        differs[:, these] = proof.differing(
            wanted, oriented(read, turns[these]), warps[these], uncommon
        )

    if (
        side > LAID
    ).any() and amount is not None:  # most pairs of a crowd are told apart at half the size
        compare(np.flatnonzero(side > LAID), LAID)
        side = np.where((side > LAID) & Evidence(sides, differs, doubtful).refuted, 0, side)
    for size in np.unique(side[side > 0]).tolist():
        compare(np.flatnonzero(side == size), size)
    return differs, doubtful


def resized(pictures: np.ndarray, side: int) -> np.ndarray:
    """[n, LAID, LAID] at another side, twice or half as large."""
    if side > LAID:
        return np.repeat(np.repeat(pictures, side // LAID, axis=1), side // LAID, axis=2)
    return reduced(pictures, side)


def reduced(pictures: np.ndarray, side: int) -> np.ndarray:
    """[n, s, s] to [n, side, side], s a power of two times the side."""
    while pictures.shape[1] > side:
        pictures = pooled(pictures)
    return pictures


def told_apart(
    rank: np.ndarray,
    keeper: np.ndarray,
    links: Links,
    found: Candidates,
    detail: Detail,
    align: Align,
) -> tuple[np.ndarray, Links, np.ndarray]:
    """Keepers [count] and links, in crowds that share a layout by what they do not share.

    And which rows [count] are proven copies of their keepers.
    """
    keeper, near = keeper.copy(), np.flatnonzero(keeper != np.arange(len(keeper)))
    certain = np.zeros(len(keeper), dtype=bool)
    if not len(near):
        return keeper, links, certain
    said = examined(
        np.stack([keeper[near], near], axis=1), links.between(keeper[near], near)[1], detail, align
    )
    certain[near] = said.proven
    crowd = crowds(len(keeper), links)
    size = np.bincount(crowd, minlength=len(keeper))
    looked, failed = (
        np.bincount(crowd[rows], minlength=len(keeper)) for rows in (near, near[said.refuted])
    )
    shares = (size >= CROWD) & (failed >= FEW) & (failed >= MUCH * looked)
    for head in np.flatnonzero(shares).tolist():
        rows = np.flatnonzero(crowd == head)
        copies, sure = searched(rows, keeper, links, found, detail, align)
        outside = crowd[links.low] != head
        links = Links(
            links.low[outside], links.high[outside], links.distance[outside], links.turn[outside]
        ).joined(copies)
        local = Links(
            np.searchsorted(rows, copies.low),
            np.searchsorted(rows, copies.high),
            1 - sure,
            copies.turn,
        )
        order = np.argsort(np.argsort(rank, kind="stable")[rows], kind="stable")
        keeper[rows] = rows[nearest(led(len(rows), order, local), local)]
        led_there = rows[keeper[rows] != rows]
        certain[rows] = False
        ends = np.sort(np.stack([led_there, keeper[led_there]]), axis=0)
        count = np.int64(len(keeper))
        certain[led_there] = (
            sure[np.searchsorted(copies.low * count + copies.high, ends[0] * count + ends[1])] > 0
        )
    apart = near[said.strangers & ~shares[crowd[near]]]
    keeper[apart] = apart
    return keeper, links, certain


def crowds(count: int, links: Links) -> np.ndarray:
    """The smallest row [count] of those that hang together by links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    together = coo_array(
        (np.ones(len(links.low), dtype=np.int8), (links.low, links.high)), shape=(count, count)
    )
    _, first, crowd = np.unique(
        connected_components(together, directed=False)[1], return_index=True, return_inverse=True
    )
    return first[crowd]


def searched(
    rows: np.ndarray,
    keeper: np.ndarray,
    links: Links,
    found: Candidates,
    detail: Detail,
    align: Align,
) -> tuple[Links, np.ndarray]:
    """Links among the rows of a crowd by what they do not share with the others.

    And for each how alike that is, above 0 if it is proven.
    """
    hub, turns = reached(rows, links)
    pairs = np.stack([np.full(len(rows), rows[hub]), rows], axis=1)
    distance, warps = align(pairs, np.zeros_like(turns))
    turned = np.flatnonzero(turns)
    again, other = align(pairs[turned], turns[turned])
    clearly = (distance[turned] > UPRIGHT) & (again < CLEARLY * distance[turned])
    turns[turned[~clearly]], warps[turned[clearly]] = 0, other[clearly]
    numbers, amount = unshared(rows, hub, turns, warps, detail)
    near = np.concatenate(
        [
            most_alike(numbers),
            thumbnails_alike(rows, found),
            np.stack([np.searchsorted(rows, keeper[rows]), np.arange(len(rows))], axis=1),
        ]
    )
    near = np.unique(np.sort(near[near[:, 0] != near[:, 1]], axis=1), axis=0)
    alike = (numbers[near[:, 0]] * numbers[near[:, 1]]).sum(1)
    pairs, between = rows[near], TURNED_TWICE[TURNED_BACK[turns[near[:, 0]]], turns[near[:, 1]]]
    said = examined(pairs, between, detail, align, (near, amount))
    kept = (
        said.proven | (~said.refuted & (alike >= SURE) & (said.differs[2] <= LITTLE))
    ) & np.isfinite(said.distance)
    copies = Links.of(
        pairs[kept], said.distance[kept], between[kept]
    )  # sorted as the pairs are, each of which stands once
    return copies, np.where(said.proven, 1 + alike, alike - 1)[kept] / 2


def thumbnails_alike(rows: np.ndarray, found: Candidates) -> np.ndarray:
    """Pairs of positions [m, 2]: of each of the rows the NEAR that are most alike as thumbnails."""
    inside = np.flatnonzero(np.isin(found.pairs, rows).all(1))
    ends = np.concatenate([found.pairs[inside], found.pairs[inside, ::-1]])
    alike = np.tile(found.alike[inside], 2)
    order = np.lexsort((ends[:, 1], -alike, ends[:, 0]))
    ends = ends[order]
    ends = ends[np.r_[True, (np.diff(ends, axis=0) != 0).any(1)]] if len(ends) else ends
    first = np.searchsorted(ends[:, 0], ends[:, 0])
    return np.searchsorted(rows, ends[np.arange(len(ends)) - first < NEAR])


def reached(rows: np.ndarray, links: Links) -> tuple[int, np.ndarray]:
    """The position of the row of a crowd that most others are linked with, and the turns [n] that
    lay each on it, by the shortest way there.
    """
    bounds, others = neighbours(int(rows.max()) + 1, links)
    degree = np.diff(bounds)[rows]
    hub = int(degree.argmax())
    turns, known = {int(rows[hub]): 0}, [int(rows[hub])]
    for row in known:
        fresh = np.array(
            [one for one in others[bounds[row] : bounds[row + 1]].tolist() if one not in turns],
            dtype=np.int64,
        )
        if len(fresh):
            laid_on = links.between(np.full(len(fresh), row), fresh)[1]
            turns.update(
                zip(fresh.tolist(), TURNED_TWICE[turns[row], laid_on].tolist(), strict=True)
            )
            known += fresh.tolist()
    return hub, np.array([turns[row] for row in rows.tolist()])


def unshared(
    rows: np.ndarray, hub: int, turns: np.ndarray, warps: np.ndarray, detail: Detail
) -> tuple[np.ndarray, np.ndarray]:
    """What each picture of a crowd shows that most do not, as unit vectors [n, NUMBERS], and how
    much, uint8 [n, LAID, LAID] in grey steps.

    All are laid on the one at `hub` from first guesses of the warps [n, 4], in its light; then on
    what they have in common, their median.
    """

    def read(at: np.ndarray) -> np.ndarray:
        return oriented(reduced(detail(rows[at])[0].astype(np.float32), LAID), turns[at])

    some = np.unique(np.linspace(0, len(rows) - 1, min(AT_ONCE, len(rows))).astype(np.int64))
    shown, common = read(some), read(np.array([hub]))
    for _ in range(2):
        stack = stacked(common, shown, warps[some])
        common = np.median(np.where(np.isfinite(stack), stack, common), axis=0)[None]
    mixed = np.random.Generator(np.random.Philox(20)).choice(
        np.array([-1, 1], np.float32), (LAID * LAID, NUMBERS)
    )
    out, amount = (
        np.empty((len(rows), NUMBERS), np.float32),
        np.empty((len(rows), LAID, LAID), np.uint8),
    )
    for start in range(0, len(rows), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(rows)))
        own = np.nan_to_num(stacked(common, read(part), warps[part]) - common)
        own -= own.mean((1, 2), keepdims=True)
        out[part], amount[part] = own.reshape(len(part), -1) @ mixed, np.minimum(np.abs(own), 255)
    return out / np.maximum(np.sqrt((out * out).sum(1, keepdims=True)), 1e-6), amount


def stacked(first: np.ndarray, pictures: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Grey values [n, s, s] float32 laid on the first picture [1, s, s] and in its light.

    NaN outside.

    Alignment begins as they are and, once more, from `warps` [n, 4]: what brings more of the two
    pictures together counts.
    """
    soft, whole = blurred(pictures), np.ones((1, *pictures.shape[1:]), np.float32)
    plain, template = (
        normalised(soft, whole),
        np.repeat(normalised(blurred(first), whole), len(pictures), axis=0),
    )
    best, agrees = np.zeros((len(pictures), 4), np.float32), np.full(len(pictures), -1, np.float32)
    for start in (np.zeros_like(warps), warps):
        warp, trust = converged(
            template,
            plain,
            start.astype(np.float32),
            np.repeat(whole, len(pictures), axis=0),
            STEPS,
            MARGIN,
        )
        agreed = (trust * warped(soft, warp, MARGIN)[1]).mean((1, 2))
        best, agrees = np.where((agreed > agrees)[:, None], warp, best), np.maximum(agrees, agreed)
    read, inside = warped(soft, best, 0.0)
    wanted, trust = np.repeat(blurred(first), len(pictures), axis=0), inside
    for width in SCORE_WIDTHS:
        trust = trusted(wanted, read, inside, trust, width)[2] * inside
    return np.where(inside > 0, toned(wanted / GREY, read / GREY, trust) * GREY, np.nan)


def most_alike(numbers: np.ndarray) -> np.ndarray:
    """Pairs of positions [m, 2] of unit vectors [n, d]: of each its NEAREST that are ALIKE."""
    found: list[np.ndarray] = []
    for start in range(0, len(numbers), AT_ONCE):
        near = numbers[start : start + AT_ONCE] @ numbers.T
        every = np.arange(len(near))
        near[every, start + every] = -1
        for _ in range(min(NEAREST, len(numbers) - 1)):
            best = near.argmax(1)
            able = near[every, best] >= ALIKE
            found.append(np.stack([start + every[able], best[able]], axis=1))
            near[every, best] = -1
    return np.concatenate(found)
