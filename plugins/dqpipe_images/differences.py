"""Where two pictures of the same differ, as a picture.

    sample, match ──turned 8 ways, fitted by an affine warp──▶ both grey, of one brightness ──▶ the
        sample, faint, with what differs in red

The warp is the enhanced correlation coefficient's (Evangelidis & Psarakis 2008), OpenCV's
`findTransformECC`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE, FITTED = 128, 64
"""Pixels of a side that are compared, and those that the warp is fitted on."""
ALIKE = 0.6
"""Correlation of the fitted pictures below which they do not show the same, so that a difference
would say nothing.
"""
NOISE, STRONG = 10.0, 60.0
"""Grey steps that coding and resampling account for, and those at which the red is full."""

UNSEEN = 245
"""The grey of what the match does not reach."""


def difference(sample: np.ndarray, match: np.ndarray, side: int) -> np.ndarray | None:
    """The sample with what differs from the match in red, and blank where the match does not reach.

    None where they do not show the same.

    uint8 [s, s', 3], its longer side `side`.
    """
    import cv2

    here, there = _grey(sample), _grey(match)
    turned = max(
        (_turned(there, turn) for turn in range(8)),
        key=lambda picture: round(_alike(here, picture), 6),
    )
    fitted, seen = _fitted(here, turned)
    if _alike(here[seen], fitted[seen]) < ALIKE:
        return None
    slope, offset = (
        np.polyfit(fitted[seen].astype(float), here[seen].astype(float), 1)
        if fitted[seen].std() > 1
        else (1.0, 0.0)
    )
    apart = np.abs(here - (slope * fitted + offset))
    apart[~seen] = 0
    red = np.clip(
        (cv2.GaussianBlur(apart.astype(np.float32), (0, 0), 0.8) - NOISE) / (STRONG - NOISE), 0, 1
    )[..., None]
    faint = 150 + 0.4 * here[..., None] * np.ones(3)
    drawn = ((1 - red) * faint + red * np.array([200.0, 40.0, 25.0])).clip(0, 255).astype(np.uint8)
    drawn[~seen] = UNSEEN
    height, width = sample.shape[:2]
    scale = side / max(height, width)
    return cv2.resize(
        drawn,
        (max(round(width * scale), 1), max(round(height * scale), 1)),
        interpolation=cv2.INTER_LINEAR,
    )


def _grey(picture: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA
    ).astype(np.float32)


def _turned(picture: np.ndarray, turn: int) -> np.ndarray:
    picture = picture.T if turn & 4 else picture
    return np.ascontiguousarray(picture[:: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1])


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; two flat pictures are alike."""
    if not one.size:
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / spread if spread > 1 else float(np.abs(a - b).max() <= NOISE)


def _fitted(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`there` laid over `here`, and where it reaches; as it is where no better fit is found."""
    import cv2

    whole = np.ones(here.shape, bool)
    wanted, given = (
        cv2.resize(picture, (FITTED, FITTED), interpolation=cv2.INTER_AREA)
        for picture in (here, there)
    )
    nowhere: Any = None
    try:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-4)
        _, warp = cv2.findTransformECC(
            wanted, given, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria, nowhere, 5
        )
    except cv2.error:
        return there, whole
    times = SIDE / FITTED
    warp[:, 2] = times * warp[:, 2] + (times - 1) / 2 * (
        1 - warp[:, :2].sum(axis=1)
    )  # pixel centres of the finer grid
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fitted = cv2.warpAffine(there, warp, (SIDE, SIDE), flags=flags)
    seen = cv2.warpAffine(np.ones_like(there), warp, (SIDE, SIDE), flags=flags) > 0.99  # noqa: PLR2004
    better = seen.mean() > 0.3 and _alike(here[seen], fitted[seen]) > _alike(here, there)  # noqa: PLR2004
    return (fitted, seen) if better else (there, whole)
