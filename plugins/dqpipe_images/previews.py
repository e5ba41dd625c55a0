"""How pictures are shown, and written.

Small WebP files for pages and notebooks, PNG for new samples.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dqpipe import Encoder, Preview, View, extension
from dqpipe_images.differences import difference
from dqpipe_images.marks import marked
from dqpipe_images.picture import Picture

TINY = 64
"""A picture whose longer side is at most this many pixels is enlarged by whole pixels, so that it
can be judged.
"""


@extension
class PictureView(View):
    """Pictures as small WebP files without metadata."""

    name = "picture"
    version = 1
    shows = (Picture,)

    def preview(self, item: Picture, side: int, quality: int, *, enlarge: bool = True) -> Preview:
        """The picture, its longer side at most `side` pixels."""
        return webp(shrunk(item.pixels, side) if enlarge else reduced(item.pixels, side), quality)

    def marked(
        self, item: Picture, objects: Sequence[Mapping[str, Any]], parts: Collection[str]
    ) -> Picture:
        """The picture with boxes, polygons and keypoints drawn, zoomed to those in question."""
        return marked(item, objects, parts)

    def difference(self, item: Picture, match: Picture, side: int, quality: int) -> Preview | None:
        """The picture with what differs from its match in red.

        None where the two do not show the same.
        """
        if not isinstance(match, Picture):
            return None
        drawn = difference(item.pixels, match.pixels, side)
        return None if drawn is None else webp(drawn, quality)

    def strip(self, items: Sequence[Picture], side: int) -> Preview:
        """Pictures side by side as one small JPEG."""
        from PIL import Image

        drawn = Image.new("RGB", (side * len(items), side), "white")
        for number, item in enumerate(items):
            thumb = Image.fromarray(np.ascontiguousarray(item.pixels))
            thumb.thumbnail((side, side))
            drawn.paste(
                thumb, (number * side + (side - thumb.width) // 2, (side - thumb.height) // 2)
            )
        buffer = io.BytesIO()
        drawn.save(buffer, "JPEG", quality=70)
        return Preview(buffer.getvalue(), "image/jpeg")


@extension
class Png(Encoder):
    """Pictures as PNG files, which lose nothing."""

    name = "png"
    version = 1
    encodes = (Picture,)
    suffix = ".png"

    def encode(self, made: np.ndarray) -> bytes:
        """A picture, uint8 [height, width, 3] RGB or [height, width] grey, as the bytes
        of a file.
        """
        import cv2

        bgr = made if made.ndim == 2 else cv2.cvtColor(made, cv2.COLOR_RGB2BGR)  # noqa: PLR2004
        return bytes(cv2.imencode(".png", bgr)[1].tobytes())


def reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 [h, w, 3], whose longer side is at most `side`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = min(side / max(height, width), 1)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """The same, where a tiny picture is enlarged by whole pixels."""
    import cv2

    height, width = pixels.shape[:2]
    if max(height, width) > TINY:
        return reduced(pixels, side)
    times = max(side // max(height, width), 1)
    return cv2.resize(pixels, (width * times, height * times), interpolation=cv2.INTER_NEAREST)


def webp(pixels: np.ndarray, quality: int) -> Preview:
    """A picture, uint8 RGB [h, w, 3], as a WebP file without metadata."""
    import cv2

    options: Any = [cv2.IMWRITE_WEBP_QUALITY, quality]
    data = cv2.imencode(".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    return Preview(bytes(data.tobytes()), "image/webp")
