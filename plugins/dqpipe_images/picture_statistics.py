"""Numbers of some pictures: light, contrast, sharpness, noise, colour, each independent of a
picture's resolution.

    picture ──grey, halved──▶ working copy, shorter side 240 at most ──▶ histogram, differences ──▶
        numbers
                     └──halved again──▶ small, below 120 ──▶ means of cells

A large photograph is not sharper, nor less noisy, than the same photograph made small. OpenCV
reduces each picture to a few integers, exactly; numpy turns those of all pictures into numbers at
once, row by row, so that none depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dqpipe_images.borders import inside
from dqpipe_images.picture import SHORTER_SIDE as WORKING_SIDE

if TYPE_CHECKING:
    from dqpipe_images.picture import Picture

GRID = 8  # cells a side
LONGEST = (
    8192  # pixels of a side whose cells are taken as they are: only of the longest strips more
)
PERCENTILES = (0.1, 1, 5, 50, 95, 99, 99.9)
ZONES = 6  # parts a side whose sharpness is taken apart
RANGE_TO_SIGMA = 1 / 4.65  # of a normal distribution, between its percentiles 1 and 99
ZONED = 120  # pixels of the shorter side from which there are zones
# of the range: what spreads more than this, and more than noise does, is a texture and not empty
TEXTURE = 0.06
LEVELS = 256
LIGHT_ROWS, POINTS = 40, 32  # rows that are enough to tell light, and pixels a side to tell colour
DIRECTED = (
    0.1  # a direction with less than this share of the other's contrast tells nothing of sharpness
)
SMOOTH, SLOPE = (
    0.1,
    0.02,
)  # what is smoother, and differs less from an even slope, is an empty sky or wall and not blurred
STRONG, SHARP_ZONES, ZONE_SHARE, CRISP, EDGES = (
    0.5,
    3,
    0.7,
    0.3,
    0.5,
)  # zones of this share of the usual energy count; so many are enough, for so much
WEAKER, FOCUSED, IN_FOCUS = (
    0.25,
    4.0,
    0.13,
)  # the same where they are so many times as sharp as most zones, and no softer than this
SOFT, ENOUGH_ZONES = (
    0.2,
    9,
)  # what is softer is looked at in parts, if so many zones have something in them
EVEN, LINES, REPEATED, SHORTEST, PERIODS = (
    0.2,
    8,
    0.95,
    4,
    3,
)  # patterns: zones that differ by less, lines that repeat after so many pixels, so many times
SHARP_ROWS, ROW_PAIRS = 60, 20  # that are enough to measure sharpness on, and noise
SURE = 4.0  # grey levels of noise from which it is asked whether it is everywhere
FLAT_SHARE = 0.1  # of the cells, those with the least noise, that tell how much is everywhere
CLIPPED = 12  # grey levels from black and white within which noise does not show
MEDIAN_TO_SIGMA = 1 / (
    2 * 0.6745
)  # of |a - b - c + d|, whose standard deviation is twice that of the noise
# mean of |a - b - c + d| in the flattest cells to the noise; 0.63 of a normal distribution, and a
# little as they are the flattest
FLAT_TO_SIGMA = 0.66


def statistics(pictures: Sequence[Picture]) -> dict[str, np.ndarray]:
    """All numbers [n] of some pictures.

    Light, contrast, structure and noise in units of the range from black (0) to white (1).
    """
    counted, corners, energies, crossed, colours, borders, insides = [], [], [], [], [], [], []
    for picture in pictures:  # one after the other: each stays in the processor's cache meanwhile
        grey = working_copy(picture)
        within = inside(grey)
        grey, pixels = within.of(grey), within.of(picture.pixels)
        borders.append(within.border)
        insides.append(grey)
        counted.append(_histogram(_some(grey, LIGHT_ROWS)))
        corners.append(_corners(within.of(picture.small)))
        energies.append(_energies(grey))
        crossed.append(_crossed(grey))
        colours.append(_points(pixels))
    means = _cell_means(np.array(corners).reshape(-1, 3, GRID + 1, GRID + 1))
    sharp = _sharpness(np.array(energies).reshape(-1, 2, 2), insides)
    light, noise, colour = (
        _light(np.array(counted).reshape(-1, LEVELS)),
        _noise(crossed),
        _colour(np.array(colours).reshape(-1, POINTS * POINTS, 3)),
    )
    ranges = colour["hues"]
    return {
        **{name: values for name, values in light.items() if name != "spread"},
        "contrast": np.max([light["contrast"], ranges, colour["channels"]], axis=0),
        "structure": np.max(
            [
                means.std(axis=(1, 2)),
                _texture(light["spread"], 2 * noise),
                _texture(ranges * RANGE_TO_SIGMA, 4 * noise),
            ],
            axis=0,
        ),
        "sharpness": np.where((sharp < SMOOTH) & (_bend(means) < SLOPE), np.nan, sharp),
        "noise": noise,
        **{name: colour[name] for name in ("saturation", "lightest_p95", "darkest_p5")},
        "border": np.array(borders, dtype=np.float64),
    }


def working_copy(picture: Picture) -> np.ndarray:
    """Grey uint8 [h, w] whose shorter side is `WORKING_SIDE`; a smaller picture as it is.

    First halved, then interpolated by less than two, which needs no averaging: ten times as fast as
    an average by fractions, and it blurs less.
    """
    import cv2

    grey = next(
        (level for level in picture.halves if min(level.shape) < 2 * WORKING_SIDE),
        picture.halves[-1],
    )
    height, width = grey.shape
    shorter = min(height, width)
    if shorter <= WORKING_SIDE:
        return grey
    scale = WORKING_SIDE / shorter
    return cv2.resize(
        grey,
        (max(WORKING_SIDE, round(width * scale)), max(WORKING_SIDE, round(height * scale))),
        interpolation=cv2.INTER_LINEAR,
    )


def _some(pixels: np.ndarray, rows: int) -> np.ndarray:
    """Rows at regular steps, at least so many if the picture has them, and less than
    twice as many.
    """
    return pixels[:: max(1, len(pixels) // rows)]


# ── light ────────────────────────────────────────────────────────────────────────────────────────


def _histogram(values: np.ndarray) -> np.ndarray:
    """float32 [LEVELS], whole numbers: how often each level stands in uint8 [h, w]."""
    import cv2

    return cv2.calcHist([values], [0], None, [LEVELS], [0, LEVELS]).ravel()


def _light(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, percentiles, their range, standard deviation, entropy in bits, and the share of the
    most frequent level, from histograms [n, LEVELS].
    """
    whole = counts.astype(np.int64)
    total = whole.sum(axis=1)
    cumulated = whole.cumsum(axis=1)
    found = {
        f"brightness_p{p:g}".replace(".", "_"): (cumulated * 100 < p * total[:, None]).sum(axis=1)
        / (LEVELS - 1)
        for p in PERCENTILES
    }
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
    """int32 [3, GRID + 1, GRID + 1].

    The sums above and left of the corners of a grid of cells, and the corners' rows and columns.
    """
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

    Their standard deviation is the structure: noise averages out in the cells and what a picture
    shows does not, so that an empty picture has none, a faint one some.
    """
    sums, rows, columns = (corners[:, part].astype(np.float64) for part in range(3))
    areas = np.diff(rows, axis=1)[:, :, 1:] * np.diff(columns, axis=2)[:, 1:]
    return np.diff(np.diff(sums, axis=1), axis=2) / areas / (LEVELS - 1)


def _texture(spread: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What is left [n] of a standard deviation without that of noise, 0 where it is little.

    Cells of chequers, stripes, dots have one mean.
    """
    left = np.sqrt(np.maximum(0.0, spread**2 - noise**2))
    return np.where(left > TEXTURE, left, 0.0)


def _bend(means: np.ndarray) -> np.ndarray:
    """Standard deviation [n] of what an even slope does not explain of cell means [n,
    GRID, GRID].
    """
    across = np.arange(GRID) - (GRID - 1) / 2
    weight = GRID * (across**2).sum()
    centred = means - means.mean(axis=(1, 2), keepdims=True)
    down, right = (
        (centred * across[:, None]).sum(axis=(1, 2)) / weight,
        (centred * across).sum(axis=(1, 2)) / weight,
    )
    return (centred - down[:, None, None] * across[:, None] - right[:, None, None] * across).std(
        axis=(1, 2)
    )


# ── sharpness ────────────────────────────────────────────────────────────────────────────────────


def _energies(grey: np.ndarray) -> list[float]:
    """Squared differences of pixels one and two apart, along some rows and along some columns,
    summed and divided by the number of pixels.
    """
    import cv2

    rows = _some(grey, SHARP_ROWS)
    columns = np.ascontiguousarray(grey[:, :: max(1, grey.shape[1] // SHARP_ROWS)])
    pairs = [(rows[:, apart:], rows[:, :-apart]) for apart in (1, 2)] + [
        (columns[apart:], columns[:-apart]) for apart in (1, 2)
    ]
    return [
        cv2.norm(after, before, cv2.NORM_L2SQR) / (columns if at > 1 else rows).size
        if after.size
        else 0.0
        for at, (after, before) in enumerate(pairs)
    ]


def _sharpness(energies: np.ndarray, greys: Sequence[np.ndarray]) -> np.ndarray:
    """Share [n] of the gradient's energy that the mean of two neighbours takes away, 0 to 1.

    NaN if uniform, or a soft pattern; from [n, 2, 2].

    With D(k) the sum of squared differences of pixels k apart, it is 1 - D(2) / 4 D(1) of the
    direction in which it is less, as in a motion blur: 0 for what is smooth, 1/2 for ideal edges,
    3/4 for noise. A ratio, so that contrast and the amount of texture cancel; of squares, so that
    edges count and not the flat ground of a drawing or the faint noise of a sky. (With absolute
    differences, as Crete et al. have them in "The Blur Effect" (2007), drawings are as smooth as
    blurred pictures.)

    What is soft as a whole is looked at in parts: where some are sharp the picture is.
    """
    near, far = energies[:, :, 0], energies[:, :, 1]
    telling = (near > DIRECTED * near.max(axis=1, keepdims=True)) & (far > 0)
    found = _shares(near, far, telling)
    for row in np.flatnonzero(found < SOFT).tolist():
        grey = greys[row]
        zones = (
            _zones(grey) if min(grey.shape) >= ZONED else None
        )  # those of a small picture would have too few pixels to tell
        if (zones is None or _even(zones)) and _repeats(grey):
            found[row] = np.nan
        elif zones is not None:
            found[row] = max(found[row], _in_parts(zones, telling[row]))
    return found


def _zones(grey: np.ndarray) -> np.ndarray:
    """float64 [2, 2, ZONES * ZONES], along some rows and some columns.

    Squared differences of pixels one and two apart, summed in each zone.
    """
    import cv2

    found = np.zeros((2, 2, ZONES, ZONES))
    for direction, lines in enumerate((grey, cv2.transpose(grey))):
        rows = _some(lines, SHARP_ROWS)
        for number, apart in enumerate((1, 2)):
            high, wide = len(rows) // ZONES, (rows.shape[1] - apart) // ZONES  # a rest is left out
            part = rows[: ZONES * high]
            differences = cv2.absdiff(
                part[:, apart : apart + ZONES * wide], part[:, : ZONES * wide]
            )
            squares = cv2.multiply(differences, differences, dtype=cv2.CV_32F).reshape(
                ZONES, high, ZONES * wide
            )
            found[direction, number] = (
                squares.sum(axis=1).reshape(ZONES, ZONES, wide).sum(axis=2) / part.size
            )  # whole numbers below 2^24: exact
    found[1] = found[1].transpose(0, 2, 1)
    return found.reshape(2, 2, ZONES * ZONES)


def _even(zones: np.ndarray) -> bool:
    """Whether there is about as much in each zone, as in a pattern."""
    energy = zones[:, 0].sum(axis=0)
    return bool(energy.std() < EVEN * energy.mean())


def _in_parts(zones: np.ndarray, telling: np.ndarray) -> float:
    """Sharpness by the sharpest zones.

    What is out of focus around a subject, or lies in fog, takes nothing from it.

    Zones that are much sharper than most others are in focus, though they may be soft from pixel to
    pixel.
    """
    near, far = zones[:, 0], zones[:, 1]
    energy = near.sum(axis=0)
    local = np.nan_to_num(_shares(near[None], far[None], (telling[:, None] & (near > 0))[None])[0])
    best = np.sort(np.where(energy > STRONG * energy.mean(), local, 0))[-SHARP_ZONES]
    crisp = min(best, EDGES) * ZONE_SHARE if best > CRISP else 0.0
    whole = ((near > DIRECTED * near.max(axis=0)) | ~telling[:, None]).all(
        axis=0
    )  # of what is sharp along one direction alone, rounding is left
    counted = np.sort(np.minimum(local, EDGES)[(energy > WEAKER * energy.mean()) & whole])
    if len(counted) < ENOUGH_ZONES:
        return float(crisp)
    sharpest, usual = counted[-SHARP_ZONES:], counted[(len(counted) - 1) // 2]
    focused = sharpest.mean() if sharpest[0] > max(IN_FOCUS, FOCUSED * usual) else 0.0
    return float(max(crisp, focused))


def _shares(near: np.ndarray, far: np.ndarray, telling: np.ndarray) -> np.ndarray:
    """1 - D(2) / 4 D(1), the lesser of the directions (axis 1) that tell; NaN where none does."""
    share = np.where(telling, 1 - far / np.maximum(4 * near, 1e-12), np.inf).min(axis=1)
    return np.where(np.isfinite(share), np.maximum(share, 0), np.nan)


def _repeats(grey: np.ndarray) -> bool:
    """Whether rows or columns of uint8 [h, w] repeat themselves, as waves and stripes do.

    Soft ones are no blurred picture.
    """
    for lines in (grey, grey.T):
        some = lines[:: max(1, len(lines) // LINES)].astype(np.float32)
        count = some.shape[1]
        if count < SHORTEST * PERIODS * 2:
            continue
        some -= some.mean(axis=1, keepdims=True)
        spectrum = np.abs(np.fft.rfft(some, 2 * count, axis=1)) ** 2
        shared = np.fft.irfft(spectrum.sum(axis=0))[: count // PERIODS]
        squares = np.square(some, dtype=np.float64).sum(axis=0).cumsum()
        lags = np.arange(len(shared))
        both = np.sqrt(
            squares[count - 1 - lags] * (squares[-1] - np.where(lags > 0, squares[lags - 1], 0))
        )
        alike = shared / np.maximum(both, 1e-9)
        first = int(np.argmax(alike < 1 / 2))  # from here on it is another part of the line
        if (
            first
            and squares[-1] > count
            and alike[max(first, SHORTEST) :].max(initial=0) > REPEATED
        ):
            return True
    return False


# ── noise ────────────────────────────────────────────────────────────────────────────────────────


def _crossed(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [h, w], |a - b - c + d| of squares of four pixels in some pairs of rows, and one of the
    four.
    """
    import cv2

    step = max(2, grey.shape[0] // ROW_PAIRS)
    below = grey[1::step]
    above = grey[::step][: len(below)]
    if above.size == 0 or above.shape[1] == 1:
        return np.zeros((1, 1), dtype=np.uint8), grey[:1, :1]
    across = cv2.subtract(above, below, dtype=cv2.CV_16S)
    return cv2.convertScaleAbs(cv2.subtract(across[:, 1:], across[:, :-1])), above[:, 1:]


def _noise(crossed: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Standard deviation [n] of the noise, 0 to 1.

    Of what neighbours in a row and the row below do not share.

    The median of |a - b - c + d| over squares of four pixels, which edges hardly touch (Donoho &
    Johnstone 1994); where that is much, not more than there is in the flattest cells, since noise
    is everywhere and texture is not.
    """
    found = (
        _medians(np.array([_histogram(values) for values, _ in crossed]).reshape(-1, LEVELS))
        * MEDIAN_TO_SIGMA
    )
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
    """Grey levels of noise in the cells that have the least of it, clipped ones left out.

    Infinite if too few are left.
    """
    noisy, level = _means(crossed), _means(grey)
    inside = np.sort(noisy[(level > CLIPPED) & (level < LEVELS - 1 - CLIPPED)])
    return (
        float(inside[int(FLAT_SHARE * len(inside))]) * FLAT_TO_SIGMA
        if len(inside) >= GRID
        else np.inf
    )


def _means(values: np.ndarray) -> np.ndarray:
    """Means of the cells of a grid of `GRID` cells a side or a few more, all of one size.

    A rest at the right and below is left out.
    """
    import cv2

    height, width = (max(1, side // GRID) for side in values.shape)
    corners = cv2.integral(values, sdepth=cv2.CV_32S)[::height, ::width]
    below = corners[1:] - corners[:-1]
    return (below[:, 1:] - below[:, :-1]) / (height * width)


# ── colour ───────────────────────────────────────────────────────────────────────────────────────


def _points(pixels: np.ndarray) -> np.ndarray:
    """uint8 [POINTS * POINTS, 3]: pixels at the points of a regular grid.

    Of a smaller picture some of them several times.
    """
    import cv2

    from_edge = pixels[pixels.shape[0] // (2 * POINTS) :, pixels.shape[1] // (2 * POINTS) :]
    return cv2.resize(from_edge, (POINTS, POINTS), interpolation=cv2.INTER_NEAREST).reshape(-1, 3)


def _colour(points: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers [n] of colour, 0 to 1, from pixels uint8 [n, m, 3].

    `hues` and `channels`: the range of nearly all differences between two channels (the contrast of
    colours that are equally light), and of nearly all values of one. `saturation`: the sum of
    (largest - smallest channel) by that of the largest. `lightest_p95`, `darkest_p5`: percentiles
    of the largest and of the smallest channel.
    """
    channels = np.ascontiguousarray(points.transpose(2, 0, 1))
    red, green, blue = channels.astype(np.int16)
    count, top = points.shape[1], LEVELS - 1
    left_out = count // 100
    ordered = np.sort(
        np.stack([red - green, blue - green, red, green, blue]), axis=2, kind="stable"
    )
    ranges = (ordered[:, :, count - 1 - left_out] - ordered[:, :, left_out]).astype(np.float64)
    largest, smallest = (
        np.sort(both(both(channels[0], channels[1]), channels[2]), axis=1, kind="stable")
        for both in (np.maximum, np.minimum)
    )
    light = largest.sum(axis=1, dtype=np.int64)
    twentieth = count // 20
    return {
        "hues": np.minimum(1.0, ranges[:2].max(axis=0, initial=0) / top),
        "channels": ranges[2:].max(axis=0, initial=0) / top,
        "saturation": (light - smallest.sum(axis=1, dtype=np.int64)) / np.maximum(light, 1),
        "lightest_p95": largest[:, count - 1 - twentieth] / top,
        "darkest_p5": smallest[:, twentieth] / top,
    }
