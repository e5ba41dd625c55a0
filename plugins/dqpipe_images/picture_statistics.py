"""Numbers of one picture: light, contrast, sharpness, colour, each independent of its resolution.

All are taken from the grey picture scaled down until its shorter side is `WORKING_SIDE` (smaller ones stay as they are), so
that a large photograph is not sharper, nor less noisy, than the same photograph made small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dqpipe.media import Picture

WORKING_SIDE = 256  # pixels; the decoder keeps at least as much
GRID = 8  # cells a side
PERCENTILES = (1, 5, 50, 95, 99)
LEVELS = 256
CHROMA_SIDE = 64  # pixels of the shorter side that are enough to tell a colour


def statistics(picture: Picture) -> dict[str, float]:
    """All numbers of one picture; brightness, contrast and structure in units of the range from black (0) to white (1)."""
    grey = working_copy(picture.grey)
    found = _light(grey)
    found["structure"] = structure(grey)
    found["sharpness"] = sharpness(grey)
    found["saturation"] = saturation(picture.pixels)
    return found


def working_copy(grey: np.ndarray) -> np.ndarray:
    """uint8 [h, w] scaled down until the shorter side is `WORKING_SIDE`; never scaled up.

    First averaged by whole pixels, then interpolated by less than two, which needs no averaging: ten times as fast as an
    average by fractions, and it blurs less.
    """
    import cv2

    height, width = grey.shape
    shorter = min(height, width)
    if shorter <= WORKING_SIDE:
        return grey
    whole = shorter // WORKING_SIDE
    if whole > 1:
        grey = cv2.resize(grey, (width // whole, height // whole), interpolation=cv2.INTER_AREA)
    scale = WORKING_SIDE / shorter
    size = max(WORKING_SIDE, round(width * scale)), max(WORKING_SIDE, round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)


def _light(grey: np.ndarray) -> dict[str, float]:
    """Mean, percentiles, their range, entropy in bits, and the share of the most frequent level, all from the histogram."""
    import cv2

    share = cv2.calcHist([grey], [0], None, [LEVELS], [0, LEVELS]).ravel().astype(np.float64)
    share /= share.sum()
    cumulated = share.cumsum()
    found = {f"brightness_p{p}": int(np.searchsorted(cumulated, p / 100 - 1e-9)) / (LEVELS - 1) for p in PERCENTILES}
    present = share[share > 0]
    found["brightness"] = float(share @ np.arange(LEVELS)) / (LEVELS - 1)
    found["contrast"] = found["brightness_p99"] - found["brightness_p1"]
    found["entropy"] = max(0.0, -float(present @ np.log2(present)))
    found["modal_share"] = float(share.max())
    return found


def structure(grey: np.ndarray) -> float:
    """Standard deviation of the means of a grid of cells, 0 to 0.5.

    Noise averages out in the cells and what a picture shows does not: an empty picture has none, a faint one some.
    """
    import cv2

    rows, columns = (np.arange(cells + 1) * side // cells for side in grey.shape for cells in [min(GRID, side)])
    summed = cv2.integral(grey, sdepth=cv2.CV_64F)[rows][:, columns]
    means = np.diff(np.diff(summed, axis=0), axis=1) / np.outer(np.diff(rows), np.diff(columns))
    return float(means.std()) / (LEVELS - 1)


def sharpness(grey: np.ndarray) -> float:
    """Share of the gradient that a small blur takes away, 0 to 1: little if the picture was blurred before; NaN if uniform.

    After Crete et al., "The Blur Effect" (2007), with the binomial filter (1, 2, 1) / 4 instead of a long box: it tells best
    what is just visible. A ratio of sums of absolute differences, so that contrast and the amount of texture cancel.
    """
    import cv2

    fine = grey.astype(np.float32)
    before = _total_variation(fine)
    if before == 0:
        return float("nan")
    return 1 - _total_variation(cv2.GaussianBlur(fine, (3, 3), 0, borderType=cv2.BORDER_REFLECT)) / before


def _total_variation(grey: np.ndarray) -> float:
    import cv2

    steps = (grey[1:], grey[:-1]), (grey[:, 1:], grey[:, :-1])
    return sum(float(cv2.norm(after, before, cv2.NORM_L1)) for after, before in steps if after.size)


def saturation(pixels: np.ndarray) -> float:
    """Sum of (largest − smallest channel) by the sum of the largest, 0 to 1, over a regular choice of pixels."""
    step = max(1, min(pixels.shape[:2]) // CHROMA_SIDE)
    red, green, blue = np.moveaxis(pixels[::step, ::step], 2, 0)
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    total = int(largest.sum(dtype=np.int64))
    return (total - int(smallest.sum(dtype=np.int64))) / total if total else 0.0
