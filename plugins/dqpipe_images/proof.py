"""Whether two pictures differ anywhere, beyond what their encodings explain.

The proof that one is a copy of the other.

    two pictures, roughly aligned ──▶ finely aligned, in one light and focus ──▶ what differs, in
        cells ──▶ the worst cell

What JPEG, noise and resizing change is spread over a picture, or grows with its slopes; another
digit, lesion or signature is in one place. So what differs in a cell is held against the noise of
this very pair, and against what the cell shows. What is brighter than white is white: where one of
the two is clipped, nothing differs that lies beyond.
"""

from __future__ import annotations

import numpy as np

from dqpipe_images.alignment import blurred, converged, normalised, pooled, toned, trusted, warped

SIDE = 128
"""Largest side in pixels at which pictures are compared."""
SIDES = ((96, SIDE), (28, 64), (0, 32))
"""From which mean side of the smaller picture on it is compared at which side.

Finer, it tells of its encoding above all.
"""
CLOSE_SIDES = ((40, SIDE), (28, 64), (0, 32))
"""The same for pictures that are known to share a layout, where the smallest thing counts."""
CELLS = {128: (12, 6), 64: (12, 6), 32: (8, 4)}
"""Side of a cell, and from one to the next, in pixels, by the side at which pictures
are compared.
"""
COARSE, FINE = (*[1.0] * 3, *[0.5] * 3), (0.4, 0.4)
"""Widths of the robust weights, one for each Gauss-Newton step.

At half the size where that is enough to begin with, then at the full one.
"""
AT_ONCE = 64
"""Side in pixels up to which pictures are aligned at once."""
MARGIN, EDGE = 3.5 / 32, 2 / 32
"""Shares of a side that are left out at the edges while aligning, and afterwards."""
WHITE, BLACK = 250.0, 5.0
"""Grey values from which a pixel counts as clipped."""
FREE = 0.1
"""Share of what both show that is clipped in neither from which on the light is told by
that alone.
"""
WIDTHS = (1.0, 0.6, 0.4)
GREY = np.float32(64)
"""Grey steps that count as one when grey values are matched."""
SHARPER = 1.5
"""How many times what one smoothing takes away is given back, or taken, at most, to bring both
pictures to one focus.
"""
LEAST, MOST = 1.2, 5.0
"""Grey steps that differ everywhere, at least and at most, by encoding and noise."""
STILL, SLIP = 0.15, 0.35
"""Pixels by which what both show is displaced everywhere, at least and at most."""
HELD, JITTER = 2.0, 0.5
"""Grey steps and pixels that a cell's own small displacement is weighed with."""
FLAT = 0.25
"""Share of the cells, the flattest ones, that show the noise of a pair."""
SEEN = 0.6
"""Share of a cell that both pictures have to show."""
FEWEST = 4
"""Cells without which nothing can be said."""
SLIGHT = 0.125
"""What differs by less, in standard deviations of the picture, is none of its content."""
OWN = 0.25
"""Share of a cell's variance that has to differ for it to show something else."""
CAPTION = 0.3
"""Share of the height, at either end, that a caption may stand in."""
MOSTLY = 0.35
"""Share of a cell's variance that differs where it shows something else, and not only in part."""
UNCOMMON = 0.25
"""Share of the cells, those that show most of what others do not, in which it is seen how much of
that differs.
"""
BLOCK = 64
"""Pairs that are compared at once."""
GROUND, SMALL = 0.25, 0.1
"""Share of the range of grey values within which a pixel belongs to the ground, and the share of a
picture that one small thing takes.
"""


def side_for(sides: np.ndarray, *, close: bool) -> np.ndarray:
    """At which side [n] pictures are compared of which the smaller one has this mean side [n]."""
    table = CLOSE_SIDES if close else SIDES
    return np.select([sides >= least for least, _ in table], [side for _, side in table])


def differing(
    templates: np.ndarray, pictures: np.ndarray, warps: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """How much grey pictures [n, s, s] differ from templates at the worst place, laid on them from
    a first guess of the warps [n, 4]: [3, n].

    By how many times the noise of the pair; by how many standard deviations of the picture, where a
    cell shows something else; and by which share of what the two show that others do not, `own`, in
    squared grey steps [n, s, s]: without it, in which share of the cells with content.
    """
    warp = lain(templates, pictures, warps)
    wanted, read, rest, mask = levelled(templates, pictures, warp)
    spread = np.sqrt(np.maximum(mean(wanted * wanted, mask) - mean(wanted, mask) ** 2, 1.0))
    return worst(wanted, read, rest, mask, spread, own)


def alone(pictures: np.ndarray) -> np.ndarray:
    """Which pictures [n, s, s] show one small thing on an even ground.

    A crop explains any place of it.
    """
    flat = pictures.reshape(len(pictures), -1)
    ground, span = np.median(flat, axis=1, keepdims=True), np.ptp(flat, axis=1, keepdims=True)
    return np.asarray((np.abs(flat - ground) > GROUND * span).mean(1) <= SMALL)


def lain(templates: np.ndarray, pictures: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Warps [n, 4] refined from first guesses."""
    warp = warps.astype(np.float32)
    small = templates.shape[1] <= AT_ONCE
    for shown, other, widths in (
        [(templates, pictures, COARSE)]
        if small
        else [(pooled(templates), pooled(pictures), COARSE), (templates, pictures, FINE)]
    ):
        whole = np.ones((1, *shown.shape[1:]), np.float32)
        wanted, read, trust = (
            normalised(blurred(shown), whole),
            normalised(blurred(other), whole),
            np.ones_like(shown),
        )
        warp, _ = converged(wanted, read, warp, trust, widths, MARGIN)
    return warp


def levelled(
    templates: np.ndarray, pictures: np.ndarray, warp: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Templates, pictures laid on them in their light and focus, what is left of their difference,
    and where both are seen: [n, s, s] each.
    """
    wanted, soft = blurred(templates), blurred(pictures)
    read, mask = warped(soft, warp, EDGE)
    edge = max(2, round(EDGE * mask.shape[1]))
    inner = np.zeros_like(mask[:1])
    inner[:, edge:-edge, edge:-edge] = 1
    mask = mask * inner
    white, black, read_white, read_black = (
        wanted >= WHITE,
        wanted <= BLACK,
        read >= WHITE,
        read <= BLACK,
    )
    free = mask * ~(white | black | read_white | read_black)
    enough = free.sum((1, 2), keepdims=True) >= FREE * mask.sum((1, 2), keepdims=True)
    fit = np.where(enough, free, mask * ~((white ^ read_white) | (black ^ read_black)))
    trust = fit
    for width in WIDTHS:
        trust = trusted(wanted / GREY, read / GREY, fit, trust, width)[2] * fit
    read = toned(wanted / GREY, read / GREY, trust) * GREY
    haze = blurred(read) - read
    focus = (haze * (wanted - read) * trust).sum((1, 2)) / ((haze * haze * trust).sum((1, 2)) + 1)
    beyond, below = read_white | black, white | read_black
    read = np.where(
        beyond | below, read, read + np.clip(focus, -SHARPER, SHARPER)[:, None, None] * haze
    )
    rest = (wanted - read) * mask
    rest = np.where(beyond, np.minimum(rest, 0), rest)
    return wanted, read, np.where(below, np.maximum(rest, 0), rest), mask


def mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean [n] of [n, s, s] values under the mask."""
    return (values * mask).sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1)


def celled(values: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Means [n, cells] of the cells of [n, s, s], of the side and at the distance of CELLS or of
    `size`.
    """
    cell, stride = size or CELLS[values.shape[1]]
    sums = np.pad(values, ((0, 0), (1, 0), (1, 0))).cumsum(1, dtype=np.float64).cumsum(2)
    at = np.arange(0, values.shape[1] - cell + 1, stride)
    rows = sums[:, at + cell] - sums[:, at]
    return ((rows[:, :, at + cell] - rows[:, :, at]) / cell**2).reshape(len(values), -1)


def worst(
    wanted: np.ndarray,
    read: np.ndarray,
    rest: np.ndarray,
    mask: np.ndarray,
    spread: np.ndarray,
    own: np.ndarray | None,
) -> np.ndarray:
    """Of what is `rest` in cells, less what a small displacement of a cell explains.

    The largest, over the pair's noise or over `spread`; see `differing`.
    """
    seen = celled(mask)
    share = np.maximum(seen, 1e-3)

    def inside(values: np.ndarray) -> np.ndarray:
        return celled(values * mask) / share

    (down, right), (down_read, right_read) = (
        np.gradient(wanted, axis=(1, 2)),
        np.gradient(read, axis=(1, 2)),
    )
    shared = np.maximum(inside(down * down_read + right * right_read), 0)
    steep = np.maximum(
        inside(down * down + right * right), inside(down_read * down_read + right_read * right_read)
    )
    down, right = (down + down_read) / 2, (right + right_read) / 2
    cell = CELLS[wanted.shape[1]][0]
    ridge = (HELD / JITTER) ** 2 * 8 / cell**2
    yy, xx, xy = inside(down * down), inside(right * right), inside(down * right)
    ry, rx = inside(down * rest), inside(right * rest)
    solved = (yy + ridge) * (xx + ridge) - xy * xy
    dy, dx = ((xx + ridge) * ry - xy * rx) / solved, ((yy + ridge) * rx - xy * ry) / solved
    differs = np.maximum(
        inside(rest * rest)
        - 2 * (dy * ry + dx * rx)
        + dy * dy * yy
        + dx * dx * xx
        + 2 * dy * dx * xy,
        0,
    )
    shown = inside(wanted * wanted) - inside(wanted) ** 2 + inside(read * read) - inside(read) ** 2
    noise = np.array(
        [noisy(*pair) for pair in zip(differs, shared, steep, seen >= SEEN, strict=True)]
    )
    strength = np.where(seen >= SEEN, np.sqrt(differs) / spread[:, None], 0)
    times = np.where(strength > SLIGHT, np.sqrt(differs / noise), 0).max(1)
    other = np.where(differs > OWN * shown, strength, 0).max(1)
    if own is None:
        content = (seen >= SEEN) & (shown > (2 * SLIGHT * spread[:, None]) ** 2)
        foreign = uncaptioned(content, content & (inside(rest * rest) > MOSTLY * shown))
    else:
        foreign = shares(differs, celled(own), seen >= SEEN)
    few = (seen >= SEEN).sum(1) < FEWEST
    return np.where(few, np.inf, np.stack([times, other, foreign]))


def uncaptioned(content: np.ndarray, differs: np.ndarray) -> np.ndarray:
    """In which share [n] of the cells with content [n, cells] two pictures differ, above a caption
    or below it, whichever is less.
    """
    side = round(np.sqrt(content.shape[1]))
    kept = side - round(CAPTION * side)
    grids = [cells.reshape(-1, side, side) for cells in (content, differs)]
    counts = [
        [cells[:, rows].sum((1, 2)) for cells in grids]
        for rows in (slice(kept), slice(side - kept, None))
    ]
    return np.asarray(
        np.minimum(*(differing / np.maximum(every, 1) for every, differing in counts))
    )


def shares(differs: np.ndarray, own: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which share [n] of what two pictures show of their own differs, where that is most."""
    own = np.where(seen, own, 0)
    most = seen & (own >= np.quantile(own, 1 - UNCOMMON, axis=1, keepdims=True))
    return np.asarray((differs * most).sum(1) / np.maximum((own * most).sum(1), 1.0))


def noisy(
    differs: np.ndarray, shared: np.ndarray, steep: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """The noise of a pair in each of its cells, a variance [cells].

    Of the flattest of them, and what grows with the slopes of the others.
    """
    if not seen.any():
        return np.ones_like(differs)
    flat = seen & (steep <= np.quantile(steep[seen], FLAT))
    rough = seen & ~flat & (shared > 1)
    everywhere = np.clip(np.median(differs[flat]), LEAST**2, MOST**2)
    slip = np.median(differs[rough] / shared[rough]) if rough.sum() >= FEWEST else 0.0
    return np.asarray(everywhere + np.clip(slip, STILL**2, SLIP**2) * shared)
