"""Numbers of some pictures: light, contrast, sharpness, noise, colour, each independent of a picture's resolution.

    picture ──grey, halved──▶ working copy, shorter side 240 at most ──▶ histogram, differences ──▶ numbers
                     └──halved again──▶ small, below 120 ──▶ means of cells

A large photograph is not sharper, nor less noisy, than the same photograph made small. OpenCV reduces each picture to a few
integers, exactly; numpy turns those of all pictures into numbers at once, row by row, so that none depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dqpipe.media import SHORTER_SIDE as WORKING_SIDE  # the decoder keeps at least as much
from dqpipe_images.borders import inside

if TYPE_CHECKING:
    from dqpipe.media import Picture

GRID = 8  # cells a side
LONGEST = 8192  # pixels of a side whose cells are taken as they are: only of the longest strips more
PERCENTILES = (0.1, 1, 5, 50, 95, 99, 99.9)
ZONES = 6  # parts a side whose sharpness is taken apart
RANGE_TO_SIGMA = 1 / 4.65  # of a normal distribution, between its percentiles 1 and 99
ZONED = 120  # pixels of the shorter side from which there are zones
TEXTURE = 0.06  # of the range: what spreads more than this, and more than noise does, is a texture and not empty
LEVELS = 256
COLOUR_ROWS, LIGHT_ROWS = 20, 40  # that are enough to tell colour, and light
DIRECTED = 0.1  # a direction with less than this share of the other's contrast tells nothing of sharpness
SMOOTH, SLOPE = 0.1, 0.02  # what is smoother, and differs less from an even slope, is an empty sky or wall and not blurred
STRONG, SHARP_ZONES, ZONE_SHARE, CRISP, EDGES = 0.5, 3, 0.7, 0.3, 0.5  # zones of this share of the usual energy count; so many are enough, for so much
SHARP_ROWS, ROW_PAIRS = 60, 20  # that are enough to measure sharpness on, and noise
SURE = 4.0  # grey levels of noise from which it is asked whether it is everywhere
FLAT_SHARE = 0.1  # of the cells, those with the least noise, that tell how much is everywhere
CLIPPED = 12  # grey levels from black and white within which noise does not show
MEDIAN_TO_SIGMA = 1 / (2 * 0.6745)  # of |a - b - c + d|, whose standard deviation is twice that of the noise
FLAT_TO_SIGMA = 0.66  # mean of |a - b - c + d| in the flattest cells to the noise; 0.63 of a normal distribution, and a little as they are the flattest


def statistics(pictures: Sequence[Picture]) -> dict[str, np.ndarray]:
    """All numbers [n] of some pictures; light, contrast, structure and noise in units of the range from black (0) to white (1)."""
    counted, corners, energies, crossed, colours, borders = [], [], [], [], [], []
    for picture in pictures:  # one after the other: each stays in the processor's cache meanwhile
        grey = working_copy(picture)
        within = inside(grey)
        grey, pixels = within.of(grey), within.of(picture.pixels)
        borders.append(within.border)
        counted.append(_histogram(_some(grey, LIGHT_ROWS)))
        corners.append(_corners(within.of(picture.small)))
        energies.append(_energies(grey))
        crossed.append(_crossed(grey))
        colours.append((saturation(pixels), _colour_range(pixels)))
    means = _cell_means(np.array(corners).reshape(-1, 3, GRID + 1, GRID + 1))
    sharp = _sharpness(np.array(energies).reshape(-1, 2, 2, ZONES, ZONES))
    light, noise, (saturated, ranges) = _light(np.array(counted).reshape(-1, LEVELS)), _noise(crossed), np.array(colours).reshape(-1, 2).T
    return {
        **{name: values for name, values in light.items() if name != "spread"},
        "contrast": np.maximum(light["contrast"], ranges),
        "structure": np.max([means.std(axis=(1, 2)), _texture(light["spread"], 2 * noise), _texture(ranges * RANGE_TO_SIGMA, 4 * noise)], axis=0),
        "sharpness": np.where((sharp < SMOOTH) & (_bend(means) < SLOPE), np.nan, sharp),
        "noise": noise,
        "saturation": saturated,
        "border": np.array(borders, dtype=np.float64),
    }


def working_copy(picture: Picture) -> np.ndarray:
    """Grey uint8 [h, w] whose shorter side is `WORKING_SIDE`; a smaller picture as it is.

    First halved, then interpolated by less than two, which needs no averaging: ten times as fast as an average by
    fractions, and it blurs less.
    """
    import cv2

    grey = next((level for level in picture.halves if min(level.shape) < 2 * WORKING_SIDE), picture.halves[-1])
    height, width = grey.shape
    shorter = min(height, width)
    if shorter <= WORKING_SIDE:
        return grey
    scale = WORKING_SIDE / shorter
    return cv2.resize(grey, (max(WORKING_SIDE, round(width * scale)), max(WORKING_SIDE, round(height * scale))), interpolation=cv2.INTER_LINEAR)


def _some(pixels: np.ndarray, rows: int) -> np.ndarray:
    """Rows at regular steps, at least so many if the picture has them, and less than twice as many."""
    return pixels[:: max(1, len(pixels) // rows)]


# ── light ────────────────────────────────────────────────────────────────────────────────────────


def _histogram(values: np.ndarray) -> np.ndarray:
    """float32 [LEVELS], whole numbers: how often each level stands in uint8 [h, w]."""
    import cv2

    return cv2.calcHist([values], [0], None, [LEVELS], [0, LEVELS]).ravel()


def _light(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, percentiles, their range, standard deviation, entropy in bits, and the share of the most frequent level, from histograms [n, LEVELS]."""
    whole = counts.astype(np.int64)
    total = whole.sum(axis=1)
    cumulated = whole.cumsum(axis=1)
    found = {f"brightness_p{p:g}".replace(".", "_"): (cumulated * 100 < p * total[:, None]).sum(axis=1) / (LEVELS - 1) for p in PERCENTILES}
    found["brightness"] = (whole * np.arange(LEVELS)).sum(axis=1) / total / (LEVELS - 1)
    found["contrast"] = found["brightness_p99"] - found["brightness_p1"]
    bits = (whole * np.log2(np.maximum(whole, 1))).sum(axis=1)
    second = (whole * np.arange(LEVELS) ** 2).sum(axis=1) / total / (LEVELS - 1) ** 2
    found["spread"] = np.sqrt(np.maximum(0.0, second - found["brightness"] ** 2))
    found["entropy"] = np.maximum(0.0, np.log2(total) - bits / total)
    found["modal_share"] = whole.max(axis=1, initial=0) / total
    return found


# ── structure ────────────────────────────────────────────────────────────────────────────────────


def _corners(grey: np.ndarray) -> np.ndarray:
    """int32 [3, GRID + 1, GRID + 1]: the sums above and left of the corners of a grid of cells, and the corners' rows and columns."""
    import cv2

    height, width = grey.shape
    if max(height, width) > LONGEST:  # of a line of pixels the next step would make a plane
        height, width = min(height, LONGEST), min(width, LONGEST)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    if min(height, width) < GRID:
        height, width = max(height, GRID), max(width, GRID)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST)
    rows, columns = np.arange(GRID + 1) * height // GRID, np.arange(GRID + 1) * width // GRID
    found = np.empty((3, GRID + 1, GRID + 1), dtype=np.int32)
    found[0] = cv2.integral(grey, sdepth=cv2.CV_32S)[rows[:, None], columns]
    found[1], found[2] = rows[:, None], columns
    return found


def _cell_means(corners: np.ndarray) -> np.ndarray:
    """Means [n, GRID, GRID], 0 to 1, of a grid of cells, from corners [n, 3, GRID + 1, GRID + 1].

    Their standard deviation is the structure: noise averages out in the cells and what a picture shows does not, so that an
    empty picture has none, a faint one some.
    """
    sums, rows, columns = (corners[:, part].astype(np.float64) for part in range(3))
    areas = np.diff(rows, axis=1)[:, :, 1:] * np.diff(columns, axis=2)[:, 1:]
    return np.diff(np.diff(sums, axis=1), axis=2) / areas / (LEVELS - 1)


def _texture(spread: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What is left [n] of a standard deviation without that of noise, 0 where it is little: cells of chequers, stripes, dots have one mean."""
    left = np.sqrt(np.maximum(0.0, spread**2 - noise**2))
    return np.where(left > TEXTURE, left, 0.0)


def _bend(means: np.ndarray) -> np.ndarray:
    """Standard deviation [n] of what an even slope does not explain of cell means [n, GRID, GRID]."""
    across = np.arange(GRID) - (GRID - 1) / 2
    weight = GRID * (across**2).sum()
    centred = means - means.mean(axis=(1, 2), keepdims=True)
    down, right = (centred * across[:, None]).sum(axis=(1, 2)) / weight, (centred * across).sum(axis=(1, 2)) / weight
    return (centred - down[:, None, None] * across[:, None] - right[:, None, None] * across).std(axis=(1, 2))


# ── sharpness ────────────────────────────────────────────────────────────────────────────────────


def _energies(grey: np.ndarray) -> np.ndarray:
    """float64 [2, 2, ZONES, ZONES], along some rows and some columns: squared differences of pixels one and two apart, summed in each zone.

    Of a small picture all stand in the first one: its zones would have too few pixels to tell.
    """
    import cv2

    found, zoned = np.zeros((2, 2, ZONES, ZONES)), min(grey.shape) >= ZONED
    for direction, lines in enumerate((grey, cv2.transpose(grey))):
        rows = _some(lines, SHARP_ROWS)
        for number, apart in enumerate((1, 2)):
            if rows.shape[1] <= apart:
                continue
            if not zoned:
                found[direction, number, 0, 0] = cv2.norm(rows[:, apart:], rows[:, :-apart], cv2.NORM_L2SQR) / rows.size
                continue
            squares = cv2.integral2(cv2.absdiff(rows[:, apart:], rows[:, :-apart]), sdepth=cv2.CV_32S)[1]  # whole numbers: exact
            high, wide = (np.arange(ZONES + 1) * (side - 1) // ZONES for side in squares.shape)
            corners = squares[high[:, None], wide]
            below = corners[1:] - corners[:-1]
            found[direction, number] = (below[:, 1:] - below[:, :-1]) / rows.size
    found[1] = found[1].transpose(0, 2, 1)
    return found


def _sharpness(energies: np.ndarray) -> np.ndarray:
    """Share [n] of the gradient's energy that the mean of two neighbours takes away, 0 to 1; NaN if uniform; from [n, 2, 2, ZONES, ZONES].

    With D(k) the sum of squared differences of pixels k apart, it is 1 - D(2) / 4 D(1) of the direction in which it is less, as
    in a motion blur: 0 for what is smooth, 1/2 for ideal edges, 3/4 for noise. A ratio, so that contrast and the amount of
    texture cancel; of squares, so that edges count and not the flat ground of a drawing or the faint noise of a sky. (With
    absolute differences, as Crete et al. have them in "The Blur Effect" (2007), drawings are as smooth as blurred pictures.)

    Where some zones are sharp the picture is: what is out of focus around its subject, or lies in fog, takes nothing from it.
    """
    both = energies.sum(axis=(3, 4))
    near, far = both[:, :, 0], both[:, :, 1]
    telling = (near > DIRECTED * near.max(axis=1, keepdims=True)) & (far > 0)
    whole = _shares(near, far, telling)
    zones = energies.reshape(len(energies), 2, 2, ZONES * ZONES)
    near, far = zones[:, :, 0], zones[:, :, 1]
    strong = near.sum(axis=1) > STRONG * near.sum(axis=1).mean(axis=1, keepdims=True)
    local = _shares(near, far, telling[:, :, None] & (near > 0))
    best = np.sort(np.where(strong & ~np.isnan(local), local, 0), axis=1)[:, -SHARP_ZONES]
    return np.where(np.isnan(whole), whole, np.maximum(whole, np.where(best > CRISP, np.minimum(best, EDGES) * ZONE_SHARE, 0)))


def _shares(near: np.ndarray, far: np.ndarray, telling: np.ndarray) -> np.ndarray:
    """1 - D(2) / 4 D(1), the lesser of the directions (axis 1) that tell; NaN where none does."""
    share = np.where(telling, 1 - far / np.maximum(4 * near, 1e-12), np.inf).min(axis=1)
    return np.where(np.isfinite(share), np.maximum(share, 0), np.nan)


# ── noise ────────────────────────────────────────────────────────────────────────────────────────


def _crossed(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [h, w], |a - b - c + d| of squares of four pixels in some pairs of rows, and one of the four."""
    import cv2

    step = max(2, grey.shape[0] // ROW_PAIRS)
    below = grey[1::step]
    above = grey[::step][: len(below)]
    if above.size == 0 or above.shape[1] == 1:
        return np.zeros((1, 1), dtype=np.uint8), grey[:1, :1]
    across = cv2.subtract(above, below, dtype=cv2.CV_16S)
    return cv2.convertScaleAbs(cv2.subtract(across[:, 1:], across[:, :-1])), above[:, 1:]


def _noise(crossed: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Standard deviation [n] of the noise, 0 to 1: of what neighbours in a row and the row below do not share.

    The median of |a - b - c + d| over squares of four pixels, which edges hardly touch (Donoho & Johnstone 1994); where that
    is much, not more than there is in the flattest cells, since noise is everywhere and texture is not.
    """
    found = _medians(np.array([_histogram(values) for values, _ in crossed]).reshape(-1, LEVELS)) * MEDIAN_TO_SIGMA
    for number in np.flatnonzero(found > SURE).tolist():
        found[number] = min(found[number], max(SURE, _in_flat_cells(*crossed[number])))
    return found / (LEVELS - 1)


def _medians(counts: np.ndarray) -> np.ndarray:
    """Medians [n] of histograms [n, LEVELS] of whole numbers, interpolated within their bin."""
    cumulated = counts.astype(np.int64).cumsum(axis=1)
    half = cumulated[:, -1:] / 2
    level = (cumulated < half).sum(axis=1)
    rows = np.arange(len(counts))
    within = (half[:, 0] - cumulated[rows, level]) / np.maximum(counts[rows, level], 1) + 0.5
    return np.where(level > 0, level + within, 0.0)


def _in_flat_cells(crossed: np.ndarray, grey: np.ndarray) -> float:
    """Grey levels of noise in the cells that have the least of it, clipped ones left out; infinite if too few are left."""
    noisy, level = _means(crossed), _means(grey)
    inside = np.sort(noisy[(level > CLIPPED) & (level < LEVELS - 1 - CLIPPED)])
    return float(inside[int(FLAT_SHARE * len(inside))]) * FLAT_TO_SIGMA if len(inside) >= GRID else np.inf


def _means(values: np.ndarray) -> np.ndarray:
    """Means of the cells of a grid of `GRID` cells a side or a few more, all of one size; a rest at the right and below is left out."""
    import cv2

    height, width = (max(1, side // GRID) for side in values.shape)
    corners = cv2.integral(values, sdepth=cv2.CV_32S)[::height, ::width]
    below = corners[1:] - corners[:-1]
    return (below[:, 1:] - below[:, :-1]) / (height * width)


# ── colour ───────────────────────────────────────────────────────────────────────────────────────


def saturation(pixels: np.ndarray) -> float:
    """Sum of (largest − smallest channel) by the sum of the largest, 0 to 1, over a regular choice of rows."""
    import cv2

    red, green, blue = cv2.split(_some(pixels, COLOUR_ROWS))
    largest = cv2.sumElems(cv2.max(cv2.max(red, green), blue))[0]
    smallest = cv2.sumElems(cv2.min(cv2.min(red, green), blue))[0]
    return (largest - smallest) / largest if largest else 0.0


def _colour_range(pixels: np.ndarray) -> float:
    """Range, 0 to 1, of nearly all differences between two channels: the contrast of colours that are equally light."""
    step = max(1, pixels.shape[1] // LIGHT_ROWS)
    red, green, blue = _some(pixels, LIGHT_ROWS)[:, ::step].astype(np.int16).reshape(-1, 3).T
    ranges = []
    for values in (np.sort(red - green), np.sort(blue - green)):
        left_out = len(values) // 100
        ranges.append(int(values[-1 - left_out]) - int(values[left_out]))
    return min(1.0, max(ranges) / (LEVELS - 1))
