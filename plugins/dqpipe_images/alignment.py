"""How far two thumbnails are apart once one is laid over the other.

    oriented ──▶ coarse alignment ──▶ fine alignment ──▶ displacement

The warp has a shift and a scale for each axis, so that it is separable: a batch of warped pictures
is two batched matrix products with interpolation weights. It is refined by Gauss-Newton steps
(Lucas & Kanade 1981; Baker & Matthews 2004) under robust weights (Geman-McClure), which a border or
a caption in one of the two pictures loses. Brightness and contrast are taken out under the same
weights, as in the enhanced correlation coefficient (Evangelidis & Psarakis 2008).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BATCH = 256
"""Pairs aligned at once: bounds memory, and keeps the working set in the cache."""
THREADS = 2
"""Batches at once; each is by itself, so that their number changes no bit."""
COARSE_WIDTHS = (1.0, 0.8, 0.6, 0.5, 0.4, 0.4)
FINE_WIDTHS = (0.5, 0.4, 0.3, 0.25, 0.25, 0.25, 0.25, 0.25)
"""One step each: the residual, in standard deviations of the picture, at which a pixel has lost
most of its weight.
"""
SCORE_WIDTHS = (1.0, 0.6, 0.4)
LOST = 1e3
"""Standard deviations beyond which a value says no more."""
LARGEST_STEP, LARGEST_SHIFT, LARGEST_LOG_SCALE = 0.1, 0.4, 0.45
"""Bounds of a warp, in half sides of the picture, and logarithms of the scale."""
HOPELESS = 1.4
"""Coarse displacement, in coarse pixels, beyond which the fine alignment is not tried."""
CELL = 4
"""Side in pixels of the cells of which the worst fifth may be covered, by a caption say."""
COVERED = 0.2
COVERED_PENALTY = 2.5
"""A pair that agrees only outside the covered cells has to agree this much better there."""
MARGIN, FINE_MARGIN, COARSE_MARGIN = 3 / 32, 3.5 / 32, 5.5 / 32
"""Shares of a side that are left out at each edge of the picture.

A border of it would blur into what it is compared with, and draws the alignment towards itself from
still further away.
"""
EVIDENCE, DOUBT = 150.0, 0.5
"""Nats of evidence at which a displacement counts as it is, and the power by which it counts more
where there are fewer.
"""
FINEST, COARSEST, FAINT = 0.75, 4, 0.05
"""Independent values a pixel of an octave has.

Side in pixels at which no further octave is taken off; and what an octave has to stand out from, in
standard deviations of the picture: noise, or what an enlarged picture has of an octave only because
the next one leaks into it.
"""
NOISE = 1.25
"""Grey steps of what differs that JPEG, noise and rounding account for, in pictures of little
contrast above all.
"""
EDGE = 3
"""Pixels at each edge of the template that nothing is concluded from."""
EPSILON = 1e-6


def oriented(pictures: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """[n, s, s] pictures, each in one of eight orientations.

    Bit 2 swaps the axes, then bit 0 left and right, bit 1 top and bottom.
    """
    out = np.empty_like(pictures)
    for turn in np.unique(turns):
        chosen = turns == turn
        part = pictures[chosen].swapaxes(1, 2) if turn & 4 else pictures[chosen]
        out[chosen] = part[:, :: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]
    return out


def blurred(pictures: np.ndarray) -> np.ndarray:
    """[n, s, s] smoothed by the binomial filter (1, 2, 1) / 4 along both axes, edges repeated."""
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16


def halved(pictures: np.ndarray) -> np.ndarray:
    """[n, s, s] to [n, s/2, s/2], blurred, then the mean of 2 × 2 pixels, then blurred again."""
    return blurred(pooled(blurred(pictures)))


def interpolation(
    shift: np.ndarray, log_scale: np.ndarray, side: int, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: linear weights [n, s, s] (edges repeated), and whether each position is
    inside, [n, s].

    Position u of the template, from -1 to 1, is read at exp(log_scale) · u + shift of the picture.
    Inside leaves out the margin, a share of the side.
    """
    centre, edge = (side - 1) / 2, margin * side
    u = ((np.arange(side) - centre) / (side / 2)).astype(np.float32)
    at = (np.exp(log_scale)[:, None] * u + shift[:, None]) * (side / 2) + centre
    inside = (at >= edge) & (at <= side - 1 - edge)
    at = np.clip(at, 0, side - 1)
    hat = np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(side, dtype=np.float32)))
    return hat.astype(np.float32), inside.astype(np.float32)


def warped(pictures: np.ndarray, warp: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [n, s, s] read through warps [n, 4] (shift y, shift x, log scale y, log scale x),
    and the overlap as weights.
    """
    rows, inside_y = interpolation(warp[:, 0], warp[:, 2], pictures.shape[-1], margin)
    columns, inside_x = interpolation(warp[:, 1], warp[:, 3], pictures.shape[-1], margin)
    return rows @ pictures @ columns.swapaxes(1, 2), inside_y[:, :, None] * inside_x[:, None, :]


def normalised(pictures: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pictures with zero mean and unit variance under the weights, at most LOST.

    What is uniform there may vary without bounds elsewhere.
    """
    count = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    centred = pictures - (pictures * weight).sum((1, 2), keepdims=True) / count
    spread = np.sqrt((centred * centred * weight).sum((1, 2), keepdims=True) / count)
    return np.clip(centred / np.maximum(spread, EPSILON), -LOST, LOST)


def trusted(
    wanted: np.ndarray, read: np.ndarray, mask: np.ndarray, trust: np.ndarray, width: float
) -> tuple[np.ndarray, ...]:
    """Both pictures normalised under the trust [n, s, s] so far, and the trust after.

    Pixels that disagree lose theirs.
    """
    weight = mask * trust
    wanted, read = normalised(wanted, weight), normalised(read, weight)
    slope = (wanted * read * weight).sum((1, 2), keepdims=True) / np.maximum(
        weight.sum((1, 2), keepdims=True), 1
    )
    return wanted, read, 1 / (1 + ((wanted - slope * read) / width) ** 2) ** 2


def refined(
    templates: np.ndarray,
    pictures: np.ndarray,
    warp: np.ndarray,
    trust: np.ndarray,
    width: float,
    margin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Warps [n, 4] after one Gauss-Newton step, bounded to the range where a step is valid, and the
    trust after it.
    """
    n, side, _ = pictures.shape
    read, mask = warped(pictures, warp, margin)
    wanted, read, trust = trusted(templates, read, mask, trust, width)
    weight = mask * trust
    u = ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype(np.float32)
    down, right = (slope * (side / 2) for slope in np.gradient(read, axis=(1, 2)))
    jacobian = np.stack([down, right, down * u[:, None], right * u[None, :]], axis=1).reshape(
        n, 4, side * side
    )
    weighted = jacobian * weight.reshape(n, 1, side * side)
    normal = weighted @ jacobian.swapaxes(1, 2)
    ridge = 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + EPSILON
    normal = normal + ridge * np.eye(4, dtype=np.float32)
    move = np.linalg.solve(normal, weighted @ (wanted - read).reshape(n, side * side, 1))[:, :, 0]
    move[:, :2] *= np.exp(warp[:, 2:])
    warp = warp + np.clip(move, -LARGEST_STEP, LARGEST_STEP)
    bound = np.array([LARGEST_SHIFT] * 2 + [LARGEST_LOG_SCALE] * 2, dtype=np.float32)
    return np.clip(warp, -bound, bound).astype(np.float32), trust


def converged(
    templates: np.ndarray,
    pictures: np.ndarray,
    warp: np.ndarray,
    trust: np.ndarray,
    widths: Iterable[float],
    margin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Warps [n, 4] and trust after a step at each of the widths of the robust weights."""
    for width in widths:
        warp, trust = refined(templates, pictures, warp, trust, width, margin)
    return warp, trust


def toned(wanted: np.ndarray, read: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`read` through the parabola that brings its grey values nearest to `wanted`.

    Takes out light, gamma and clipping.
    """
    n, size = len(wanted), wanted[0].size if len(wanted) else 0
    powers = np.stack([np.ones_like(read), read, read * read], axis=1).reshape(n, 3, size)
    weighted = powers * weight.reshape(n, 1, size)
    normal = weighted @ powers.swapaxes(1, 2)
    ridge = (
        np.float32(1e-3)
        * np.maximum(normal[:, :1, :1], EPSILON)
        * np.diag(np.array([1e-2, 1, 1], dtype=np.float32))
    )
    curve = np.linalg.solve(
        normal + ridge + EPSILON * np.eye(3, dtype=np.float32),
        weighted @ wanted.reshape(n, size, 1),
    )
    return (curve.swapaxes(1, 2) @ powers).reshape(read.shape)


def rms(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Root of the mean square [n] of [n, s, s] values over `count` of them."""
    return np.sqrt((values * values).sum((1, 2)) / np.maximum(count, 1))


def apart(wanted: np.ndarray, read: np.ndarray, mask: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Displacement [n] in pixels.

    The smoothed residual over the slope that both pictures share, under the mask.

    A residual e where the picture has slope g could be explained by content displaced by e / g
    pixels. That makes one threshold right for pictures with much and with little to see. The slope
    is the geometric mean over the axes of the structure tensor, taken between the pictures: what
    varies along one axis only, or by noise, has no evidence to offer. Of the residual, as much as
    the `noise` [n], a standard deviation, needs no explanation; and the less the pictures tell of
    each other, the more the rest counts.
    """
    toned_read = toned(wanted, read, mask)
    count = mask.sum((1, 2))
    pairs = mask[:, :-1, :-1] * mask[:, 1:, :-1] * mask[:, :-1, 1:]
    (down, right), (down_read, right_read) = (
        (np.diff(picture, axis=1)[:, :, :-1] * pairs, np.diff(picture, axis=2)[:, :-1] * pairs)
        for picture in (wanted, toned_read)
    )
    products = (down * down_read, right * right_read, (down * right_read + right * down_read) / 2)
    a, b, c = (product.sum((1, 2)) for product in products)
    slope = np.sqrt(
        np.sqrt(np.maximum(np.maximum(a, 0) * np.maximum(b, 0) - c * c, 0)) / np.maximum(count, 1)
    )
    residual = blurred(blurred((wanted - toned_read) * mask))
    unexplained = np.sqrt(
        np.maximum(rms(residual, count) ** 2 - noise**2, (rms(residual, count) / 4) ** 2)
    )
    return (
        unexplained
        / np.maximum(slope, EPSILON)
        * (EVIDENCE / evidence(wanted, toned_read, mask)) ** DOUBT
    )


def evidence(wanted: np.ndarray, read: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What two pictures tell of each other, [n] in nats, at least 1.

    The mutual information of Gaussian octaves, -k/2 log(1 - r²).

    Any two skies are alike, and any two dark things on a white ground; what they agree upon are a
    few low frequencies. The k independent values of an octave that correlate by r count for what
    they are worth, however small the contrast of that octave.
    """
    found = np.ones(len(wanted), dtype=np.float32)
    while wanted.shape[-1] > COARSEST:
        soft, soft_read = blurred(wanted), blurred(read)
        found += FINEST * informed(wanted - soft, read - soft_read, mask)
        wanted, read, mask = (pooled(values) for values in (soft, soft_read, mask))
    return found + informed(wanted, read, mask)


def informed(wanted: np.ndarray, read: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """-k/2 log(1 - r²) [n] of pictures that correlate by r, each with as much noise as is FAINT, k
    pixels under the mask taking part.

    A pixel takes part as far as there is something to see: of a bird in the sky, the outline alone.
    The participation ratio of the energies, Σ(e)² / Σ(e²), is a third of the pixels where values
    are normal.
    """
    count = np.maximum(mask.sum((1, 2)), 1)
    wanted, read = (
        values - (values * mask).sum((1, 2), keepdims=True) / count[:, None, None]
        for values in (wanted, read)
    )
    shared, own, other = (
        (a * b * mask).sum((1, 2)) / count
        for a, b in ((wanted, read), (wanted, wanted), (read, read))
    )
    alike = np.maximum(shared, 0) ** 2 / ((own + FAINT**2) * (other + FAINT**2))
    energy = (
        (wanted * wanted * mask) / (own + FAINT**2)[:, None, None]
        + (read * read * mask) / (other + FAINT**2)[:, None, None]
        + FAINT * mask
    )
    part = np.minimum(
        3 * energy.sum((1, 2)) ** 2 / np.maximum((energy * energy).sum((1, 2)), EPSILON), count
    )
    return -part / 2 * np.log1p(-alike)


def pooled(pictures: np.ndarray) -> np.ndarray:
    """[n, s, s] to [n, s/2, s/2]: the mean of 2 × 2 pixels."""
    return (
        pictures[:, ::2, ::2]
        + pictures[:, 1::2, ::2]
        + pictures[:, ::2, 1::2]
        + pictures[:, 1::2, 1::2]
    ) / 4


def displacement(
    wanted: np.ndarray, read: np.ndarray, mask: np.ndarray, trust: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """`apart` over the whole overlap or, if that is smaller and with a penalty, without its worst
    fifth of cells.

    What is worst is seen under the trust [n, s, s] to begin with.
    """
    n, side, _ = wanted.shape
    for width in SCORE_WIDTHS:
        wanted, read, trust = trusted(wanted, read, mask, trust, width)
    weight = mask * trust
    whole = apart(wanted, read, mask, noise)
    error = (wanted - toned(wanted, read, weight)) * mask
    shape = (n, side // CELL, CELL, side // CELL, CELL)
    size = mask.reshape(shape).sum((2, 4))
    error = (error * error).reshape(shape).sum((2, 4)) / np.maximum(size, 1)
    cells = (side // CELL) ** 2
    limit = np.sort(error.reshape(n, cells), axis=1)[:, int((1 - COVERED) * cells)]
    kept = np.repeat(np.repeat(error <= limit[:, None, None], CELL, axis=1), CELL, axis=2)
    return np.minimum(whole, COVERED_PENALTY * apart(wanted, read, mask * kept, noise))


def aligned(
    templates: np.ndarray,
    pictures: np.ndarray,
    warp: np.ndarray,
    trusted: np.ndarray,
    noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement [n] of pictures [n, 32, 32] laid over templates, and the warps [n, 4] that do
    it, from a first guess of them.

    To begin with, the rows of the templates between two shares of the height, `trusted` [n, 2], are
    trusted.
    """
    coarse = halved(templates), halved(pictures)
    began = trust = between(trusted, templates.shape[-1] // 2)
    warp, trust = converged(*coarse, warp, trust, COARSE_WIDTHS, COARSE_MARGIN)
    distance = displacement(coarse[0], *warped(coarse[1], warp, COARSE_MARGIN), began, noise)
    near = np.flatnonzero(distance < HOPELESS)
    wanted, other, fine = blurred(templates[near]), blurred(pictures[near]), warp[near]
    trust = np.repeat(np.repeat(trust[near], 2, axis=1), 2, axis=2)
    fine, trust = converged(wanted, other, fine, trust, FINE_WIDTHS, FINE_MARGIN)
    distance = np.where(distance < HOPELESS, np.inf, distance).astype(np.float32)
    distance[near], warp[near] = (
        seen(
            templates[near],
            pictures[near],
            fine,
            between(trusted[near], templates.shape[-1]),
            noise[near],
        ),
        fine,
    )
    return distance, warp


def between(trusted: np.ndarray, side: int) -> np.ndarray:
    """Weights [n, side, side]: 1 in the rows between two shares of the height [n, 2]."""
    row = (np.arange(side) + 0.5) / side
    inside = (row >= trusted[:, :1]) & (row <= trusted[:, 1:])
    return np.repeat(inside[:, :, None], side, axis=2).astype(np.float32)


def seen(
    templates: np.ndarray,
    pictures: np.ndarray,
    warp: np.ndarray,
    trust: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """Displacement [n] in pixels, sharp or blurred, whichever is smaller.

    Of a small copy the fine detail is gone.
    """
    inner = np.zeros(templates.shape[1:], dtype=np.float32)
    inner[EDGE:-EDGE, EDGE:-EDGE] = 1
    sharp = blurred(templates), blurred(pictures)
    levels = sharp, tuple(blurred(blurred(picture)) for picture in sharp)
    distances = []
    for wanted, other in levels:
        read, mask = warped(other, warp, MARGIN)
        distances.append(displacement(wanted, read, mask * inner, trust, noise))
    return np.minimum(*distances)


def batches(count: int) -> Iterator[slice]:
    """Slices of BATCH that cover `count` rows."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def compare(
    thumbnails: np.ndarray,
    contrast: np.ndarray,
    pairs: np.ndarray,
    turns: np.ndarray,
    warps: np.ndarray,
    trusted: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements [n] and warps [n, 4] of pairs [n, 2] of rows (template, picture) of uint8
    thumbnails [m, 32, 32]; see `aligned`.
    """
    distance, warp = np.empty(len(pairs), np.float32), np.empty((len(pairs), 4), np.float32)
    whole = np.ones((1, *thumbnails.shape[1:]), dtype=np.float32)
    noise = (NOISE / np.maximum(contrast[pairs].min(axis=1), NOISE)).astype(np.float32)

    def one(part: slice) -> None:
        templates, pictures = (
            normalised(thumbnails[pairs[part, side]].astype(np.float32), whole) for side in (0, 1)
        )
        distance[part], warp[part] = aligned(
            templates, oriented(pictures, turns[part]), warps[part], trusted[part], noise[part]
        )

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, batches(len(pairs))):  # raises what one of them raised
            pass
    return distance, warp
