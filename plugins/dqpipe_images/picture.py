"""The rendition of an image: what its file says of itself, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SHORTER_SIDE = 240
"""The rendition "picture" is decoded at the largest JPEG DCT reduction (1, 2, 4, 8) that keeps the
shorter side at least this long: 640 by 480 by half.
"""

SMALL_SIDE = 120
"""A picture is halved until its shorter side is below this."""


@dataclass(frozen=True)
class Header:
    """What a media file says of itself before it is decoded.

    Width and height in pixels, EXIF orientation applied.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int = 1
    frames: int = 1
    size: int = 0
    quality: int | None = None
    """Of a JPEG, 1 to 100 on the scale of the usual encoders, by the steps to which it rounds
    light.
    """
    missing: float = 0.0
    """Share of the picture, 0 to 1, that a file which ends early lacks."""

    @property
    def grey(self) -> bool:
        """Whether the file has one channel of light only."""
        return self.mode in {"1", "L", "LA", "I", "I;16", "I;16B", "F"}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, EXIF orientation applied, alpha blended on white.

    `pixels` is uint8 [height, width, 3], RGB. `reduction` is the JPEG DCT scale (1 is the full
    size). `native` holds the values as stored where `pixels` has lost some of them (16 bit, alpha),
    else None.
    """

    header: Header
    pixels: np.ndarray
    reduction: int = 1
    native: np.ndarray | None = None

    @cached_property
    def grey(self) -> np.ndarray:
        """Luma (ITU-R BT.601), uint8 [height, width]; made once for all the stages of a shard."""
        import cv2

        return cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY)

    @cached_property
    def halves(self) -> tuple[np.ndarray, ...]:
        """`grey`, then each the one before halved (means of 2 by 2 pixels, an odd last row or
        column left out), until `small`.
        """
        import cv2

        levels = [self.grey]
        while min(levels[-1].shape) >= SMALL_SIDE:
            height, width = (side // 2 for side in levels[-1].shape)
            levels.append(
                cv2.resize(
                    levels[-1][: 2 * height, : 2 * width],
                    (width, height),
                    interpolation=cv2.INTER_AREA,
                )
            )
        return tuple(levels)

    @property
    def small(self) -> np.ndarray:
        """Grey uint8 [h, w], the shorter side below 120, and at least 60 unless the picture itself
        has less.
        """
        return self.halves[-1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pixels take."""
        return self.pixels.nbytes + (0 if self.native is None else self.native.nbytes)

    @property
    def exact(self) -> np.ndarray:
        """The values that make two pictures the same picture."""
        return self.pixels if self.native is None else self.native
