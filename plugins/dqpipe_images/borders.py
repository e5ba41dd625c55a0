"""The plain frame around a picture: letterbox, pillarbox, mat, the margins of a page.

Measured, and left out of the other numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PLAIN, SAME = (
    10,
    12,
)  # grey levels that a line of a frame spans at most, and that it differs from the outermost one
LEAST, MOST = (
    0.015,
    0.9,
)  # of a side: what is thinner is none, and what leaves less than the rest is the picture itself


class Inside(NamedTuple):
    """The rows and columns within a frame, as shares of the picture, 0 to 1."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    @property
    def border(self) -> float:
        """The share of the picture that is frame."""
        return 1 - (self.bottom - self.top) * (self.right - self.left)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The part of an image [h, w, …] within."""
        if self is WHOLE:
            return pixels
        height, width = pixels.shape[:2]
        rows = slice(int(np.ceil(self.top * height)), max(1, int(self.bottom * height)))
        columns = slice(int(np.ceil(self.left * width)), max(1, int(self.right * width)))
        return pixels[rows, columns]


WHOLE = Inside()


def inside(grey: np.ndarray) -> Inside:
    """What is within the frame of uint8 [h, w].

    Plain lines of one colour on two opposite sides, or on all four.
    """
    if min(grey.shape) < 3 or not (_plain(grey[0], grey[-1]) or _plain(grey[:, 0], grey[:, -1])):  # noqa: PLR2004 (lines)
        return WHOLE
    top, bottom = _lines(grey)
    within = grey[top:bottom]
    left, right = _lines(np.ascontiguousarray(within.T))
    if (top, bottom) == (0, len(grey)) and (left, right) != (
        0,
        grey.shape[1],
    ):  # only beside the picture: what is above it may be seen now
        top, bottom = _lines(np.ascontiguousarray(grey[:, left:right]))
    found = Inside(top / len(grey), bottom / len(grey), left / grey.shape[1], right / grey.shape[1])
    return (
        found if 0 < found.border <= MOST and int(np.ptp(found.of(grey))) > PLAIN else WHOLE
    )  # one shape on its ground is no frame around nothing


def _plain(first: np.ndarray, last: np.ndarray) -> bool:
    middle, end = len(first) // 2, len(first) - 1
    some = (
        first.item(0),
        first.item(middle),
        first.item(end),
        last.item(0),
        last.item(middle),
        last.item(end),
    )
    if max(some) - min(some) > PLAIN + SAME:  # most pictures are told by these
        return False
    return bool(np.ptp(first) <= PLAIN and np.ptp(last) <= PLAIN and abs(some[0] - some[3]) <= SAME)


def _lines(grey: np.ndarray) -> tuple[int, int]:
    """The first row within the frame above and below, and the one after the last."""
    count = len(grey)
    if not _plain(grey[0], grey[-1]):
        return 0, count
    low, high = grey.min(axis=1).astype(np.int16), grey.max(axis=1).astype(np.int16)
    frame = (high - low <= PLAIN) & (np.abs(low - int(low[0])) <= SAME)
    other = np.flatnonzero(~frame)
    if not len(other):
        return 0, count
    top, bottom = int(other[0]), int(other[-1]) + 1
    thin = LEAST * count
    return (top, bottom) if top >= thin and count - bottom >= thin else (0, count)
