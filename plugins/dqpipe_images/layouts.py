"""Pictures that share a layout, doubted as copies by what differs in it: meters, charts, forms, plates, X-rays.

    a cluster and what else resembles it ──▶ all aligned on its keeper, in its light ──▶ less what they have in common, in cells
    cells in which most of these pictures differ ──▶ two of them that differ there are doubted as copies

What many pictures have in common (a background, axes, a form, a skeleton) says nothing about two of them. Where most of these pictures
agree with another they are copies of a few, and nothing is doubted: of copies, some are blurred, noisy or have a caption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dqpipe_images.alignment import SCORE_WIDTHS, blurred, normalised, oriented, pooled, refined, toned, trusted, warped
from dqpipe_images.clusters import TURNED_BACK, TURNED_TWICE, Links, laid

if TYPE_CHECKING:
    from dqpipe_images.candidates import Candidates

SIDE = 128
"""Side in pixels of the grey pictures that are compared."""
SMALL = 96
"""Side in pixels of pictures for which half of SIDE is enough: enlarged, they would show their noise as detail."""
CELL, STRIDE = 12, 6
"""Side of a cell, and from one to the next, in pixels."""
ENOUGH = 4
"""Pictures that show what a layout has in common."""
DIFFERENT = 0.45
"""Correlation below which two cells show something else."""
TEXTURE, SLIP = 6.0, 0.5
"""A cell shows something of its own if what is not common has a standard deviation above TEXTURE in grey steps, and above what
misalignment by SLIP pixels would leave there."""
ALONE = 1.5
"""How many times as much one cell has to show where another one shows nothing, for the two to differ."""
SOME = 0.1
"""Share of the pictures that have to show something of their own in a cell for it to count."""
CELLS = 2
"""Cells in which two pictures differ that are no copies; a thing of any size is in several, as they overlap."""
OWN = 0.4
"""Share of the pictures that agree with none before them, above which they share a layout only."""
STEPS = ((1.0, 4), (0.4, 4))
"""Widths of the robust weights, and Gauss-Newton steps at each."""
MARGIN = 3 / 32
"""Share of a side that is left out at the edges while aligning."""
GREY = np.float32(64)
"""Grey steps that count as one when grey values are matched."""
FEW, MUCH = 3, 0.2
"""How many pictures, and which share of those that looked like copies, have to share a layout only for the others to be in doubt."""
AT_ONCE = 192
"""Pictures that are compared with each other at once; of a larger cluster each part with the keeper in it."""
RESEMBLES = 1.0
"""Displacement up to which a picture that is no copy resembles the keeper."""
Detail = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Rows [n] to their grey pictures, uint8 [n, SIDE, SIDE], and the shorter sides [n] that these had."""
Align = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Pairs [n, 2] (template, picture) and the orientation [n] of the picture to displacements [n] and warps [n, 4]."""


def in_doubt(keeper: np.ndarray, links: Links, found: Candidates, detail: Detail, align: Align) -> np.ndarray:
    """Which rows [count] are in a cluster whose pictures may share a layout only, as far as what differs among them tells.

    Where much of what looks like copies shares a layout only, so may the rest, of which too few resemble each other to tell.
    """
    root = keeper[keeper]
    near = root != np.arange(len(root))
    doubted, refuted = np.zeros(len(keeper), dtype=bool), 0
    order = np.argsort(found.pairs.T.ravel(), kind="stable")
    bounds = np.searchsorted(found.pairs.T.ravel()[order], np.arange(len(root) + 1))
    for head in np.unique(root[near]).tolist():
        members = np.flatnonzero((root == head) & near)
        for start in range(0, len(members), AT_ONCE):
            part = members[start : start + AT_ONCE]
            near_head = order[bounds[head] : bounds[head + 1]] % max(len(found), 1)
            rows, copy = _alike(head, part, keeper, links, found, near_head, detail, align)
            doubted[[head, *part]] |= not copy.all()
            refuted += int((~copy[0, np.isin(rows, part)]).sum())
    if refuted >= max(FEW, MUCH * near.sum()):
        doubted |= near
        doubted[root[near]] = True
    return doubted


def _alike(
    head: int, members: np.ndarray, keeper: np.ndarray, links: Links, found: Candidates, near: np.ndarray, detail: Detail, align: Align
) -> tuple[np.ndarray, np.ndarray]:
    """The head, its members and what else resembles it, rows [n], and which two of them are copies, [n, n]; `near` are the candidates with the head."""
    turn = laid(keeper, members, links)
    through = keeper[members]
    turn = np.where(through == head, turn, TURNED_TWICE[laid(keeper, through, links), turn])
    first, second = found.pairs.T
    others = np.where(first[near] == head, second[near], first[near])
    turned = np.where(first[near] == head, found.turns[near], TURNED_BACK[found.turns[near]])
    fresh = ~np.isin(others, members)
    rows, turns = np.concatenate([members, others[fresh]]), np.concatenate([turn, turned[fresh]])
    if len(rows) + 1 < ENOUGH:
        return np.r_[head, rows], np.ones((len(rows) + 1,) * 2, dtype=bool)
    distance, warps = align(np.stack([np.full(len(rows), head), rows], axis=1), turns)
    order = np.lexsort((distance, rows))
    order = order[np.r_[True, np.diff(rows[order]) != 0]]  # each once, as it is nearest
    order = order[np.isin(rows[order], members) | (distance[order] <= RESEMBLES)]
    rows, turns, warps = np.r_[head, rows[order]], np.r_[0, turns[order]], np.concatenate([np.zeros((1, 4), np.float32), warps[order]])
    if len(rows) < ENOUGH:
        return rows, np.ones((len(rows), len(rows)), dtype=bool)
    shown, sides = detail(rows)
    plain = pooled(shown.astype(np.float32)) if np.median(sides) < SMALL else shown.astype(np.float32)
    return rows, copies(stacked(oriented(plain, turns), warps))


def stacked(pictures: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Grey values [n, s, s] float32 laid on the first picture by warps [n, 4] refined from first guesses; NaN outside."""
    soft = blurred(pictures)
    whole = np.ones((1, *pictures.shape[1:]), np.float32)
    plain = normalised(soft, whole)
    template = np.repeat(plain[:1], len(pictures), axis=0)
    warp, trust = warps.astype(np.float32), np.repeat(whole, len(pictures), axis=0)
    for width, steps in STEPS:
        for _ in range(steps):
            warp, trust = refined(template, plain, warp, trust, width, MARGIN)
    warp[0] = 0
    read, inside = warped(soft, warp, 0.0)
    return np.where(inside > 0, read, np.nan)


def in_one_light(stack: np.ndarray) -> np.ndarray:
    """Aligned pictures [n, s, s] in the light and contrast of the first one; NaN where one of the two is."""
    mask = (np.isfinite(stack) & np.isfinite(stack[:1])).astype(np.float32)
    plain = np.nan_to_num(stack)
    wanted, trust = np.repeat(plain[:1], len(stack), axis=0), mask
    for width in SCORE_WIDTHS:
        trust = trusted(wanted, plain, mask, trust, width)[2] * mask
    return np.where(mask > 0, toned(wanted / GREY, plain / GREY, trust) * GREY, np.nan)


def cells(pictures: np.ndarray) -> np.ndarray:
    """The values of each cell, halved in size, [cells, n, d]; NaN where a part of it lies outside."""
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (CELL, CELL), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    small = windows.reshape(len(pictures), -1, CELL // 2, 2, CELL // 2, 2).mean((3, 5))
    return small.reshape(*small.shape[:2], -1).swapaxes(0, 1)


def agreement(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike each two aligned pictures are in each cell, [cells, n, n]: below 0 where they show something else, above 0 where the same.

    It is the correlation of what they do not have in common with most, less what it has to be. A cell where one shows something and the
    other nothing differs; NaN where neither shows much, or one lies outside. With it, in which cells each picture shows something, [cells, n].
    """
    stack = in_one_light(stack)
    common = np.median(np.where(np.isfinite(stack), stack, stack[:1]), axis=0)
    slope = np.square(np.gradient(np.nan_to_num(common))).sum(0)
    least = np.maximum(TEXTURE, SLIP * np.sqrt(cells(slope[None]).mean(2)))[:, :, None]
    own = cells(stack - common)
    own = own - own.mean(2, keepdims=True)
    shown = np.nan_to_num(own.std(2), nan=-1.0)
    vectors = own / np.maximum(np.sqrt((own * own).sum(2, keepdims=True)), 1e-6)
    alike = np.clip(vectors @ vectors.swapaxes(1, 2), -1, 1)
    less, more = (f(shown[:, :, None], shown[:, None, :]) for f in (np.minimum, np.maximum))
    alone = (less < least / 2) & (more >= ALONE * least)
    excess = np.where(less >= least, alike - DIFFERENT, np.where(alone, -DIFFERENT, np.nan))
    return np.where(less < 0, np.nan, excess), shown >= least[:, :, 0]


def copies(stack: np.ndarray) -> np.ndarray:
    """Which two of the aligned pictures [n, s, s] are copies, bool [n, n], as far as what differs among them tells."""
    n = len(stack)
    same = np.ones((n, n), dtype=bool)
    alike, shown = agreement(stack)
    if len(_unlike((alike < 0).sum(0) < CELLS)) <= max(2, OWN * n):
        return same
    above = np.triu_indices(n, 1)
    pairs = alike[:, above[0], above[1]]
    known = np.isfinite(pairs)
    enough = (shown.sum(1) >= max(2, SOME * n)) & (known.sum(1) >= ENOUGH - 1)
    usual = np.array([np.median(row[ok]) if many else 1.0 for row, ok, many in zip(pairs, known, enough, strict=True)])
    return ((alike[usual < 0] < 0).sum(0) < CELLS) | np.eye(n, dtype=bool)


def _unlike(same: np.ndarray) -> list[int]:
    """The first of each kind: rows that are the same [n, n] as none of these before them."""
    leaders: list[int] = []
    for at in range(len(same)):
        if not same[at, leaders].any():
            leaders.append(at)
    return leaders
