"""Small pictures as data: URLs, for pages and notebooks."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

TINY = 64
"""A picture whose longer side is at most this many pixels is enlarged by whole pixels, so that it can be judged."""


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 [h, w, 3], whose longer side is at most `side`."""
    import cv2

    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= TINY:
        times = max(side // longer, 1)
        return cv2.resize(pixels, (width * times, height * times), interpolation=cv2.INTER_NEAREST)
    scale = min(side / longer, 1)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels


def webp(pixels: np.ndarray, quality: int) -> bytes:
    """A picture, uint8 RGB [h, w, 3], as a WebP file without metadata."""
    import cv2

    options: Any = [cv2.IMWRITE_WEBP_QUALITY, quality]
    return bytes(cv2.imencode(".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes())


def data_url(pixels: np.ndarray, quality: int) -> str:
    """A picture, uint8 RGB [h, w, 3], as a WebP data: URL."""
    return "data:image/webp;base64," + base64.b64encode(webp(pixels, quality)).decode("ascii")
