"""Small pictures for the page, as data: URLs, within a budget."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dqpipe.errors import MediaError

if TYPE_CHECKING:
    import numpy as np

    from dqpipe.media import Picture

log = logging.getLogger(__name__)
TINY = 64
"""A picture whose longer side is below this many pixels is enlarged by whole pixels, so that it can be judged."""


class Thumbnails:
    """`thumbnail(id)` for the sections: a data: URL, made once for each sample; "" where there is no picture."""

    def __init__(self, pixels: Callable[..., list[Picture]], side: int, budget: int, quality: int) -> None:
        self.pixels, self.side, self.budget, self.quality = pixels, side, budget, quality
        self.made: dict[str, str] = {}
        self.left_out: set[str] = set()

    def __call__(self, sample: str) -> str:
        """The picture of a sample; "" if it cannot be decoded, or if the page would become too large."""
        if sample not in self.made:
            url = self._make(sample)
            if len(url) > self.budget:
                self.left_out.add(sample)
                url = ""
            self.budget -= len(url)
            self.made[sample] = url
        return self.made[sample]

    def _make(self, sample: str) -> str:
        try:
            picture = self.pixels([sample], "picture")[0]
        except MediaError as error:
            log.debug("no thumbnail of %s: %s", sample, error)  # the finding about this sample says so on the page
            return ""
        except Exception as error:  # noqa: BLE001 (a page without one picture is better than no page)
            log.warning("no thumbnail of %s: %s: %s", sample, type(error).__name__, error)
            return ""
        return data_url(shrunk(picture.pixels, self.side), self.quality)


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


def data_url(pixels: np.ndarray, quality: int) -> str:
    """A picture, uint8 RGB [h, w, 3], as a WebP data: URL."""
    import cv2

    options: Any = [cv2.IMWRITE_WEBP_QUALITY, quality]
    data = cv2.imencode(".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")
