"""How much memory decoding a file and measuring its picture takes, from its header alone.

What is beyond the budget is refused.

    bytes of the file + decoded pixels × (Pillow's copy + ours + the stages' intermediate arrays) +
        the decoder's own buffers

Every shape is covered: what stages make of a picture grows with its pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dqpipe import MediaError

if TYPE_CHECKING:
    from dqpipe_images.scans import Frame

MIB = 1 << 20
PIXELS, STAGES = (
    3,
    4,
)  # bytes a pixel: RGB, and what stages make of it (grey, its halves, differences)
ROW = 8  # bytes a row: where it begins
STORED = {
    "1": 1,
    "L": 1,
    "P": 1,
    "I;16": 2,
    "I;16B": 2,
}  # bytes a pixel in Pillow; all others have 4
WIDE, BLENDED = (
    5,
    8,
    # more for values of more than 8 bits (kept, and made grey), and for alpha (kept, and another
    # copy)
)
BUFFERS = {
    "WEBP": 16,
    "AVIF": 14,
    "JPEG2000": 32,
}  # bytes a pixel that these libraries hold besides
COEFFICIENT = 2  # bytes: libjpeg keeps all of them where a picture comes in several scans
TILE_SIDES, STRIP_ROWS, BITS, SAMPLES = (322, 323), 278, 258, 277  # tags of a TIFF


class TooMuchError(MediaError):
    """What a file claims needs more than it may: nothing of it is decoded."""


def of_jpeg(width: int, height: int, size: int, reduction: int, frame: Frame | None) -> float:
    """Bytes for a JPEG at a DCT scale.

    One of several scans has a `frame`: libjpeg holds all its coefficients, however small it gets.
    """
    pixels = math.ceil(width / reduction) * math.ceil(height / reduction)
    held = 0 if frame is None else COEFFICIENT * frame.samples * width * height
    return size + held + pixels * (4 + PIXELS + STAGES)


def of_image(kind: str, image: Any, size: int) -> float:  # noqa: ANN401 (PIL's ImageFile)
    """Bytes for any other file that Pillow has opened, whose pixels it has not decoded yet."""
    mode = image.mode
    pixel = STORED.get(mode, 4) + PIXELS + STAGES + BUFFERS.get(kind, 0)
    if mode == "F" or mode.startswith("I"):
        pixel += WIDE
    elif image.has_transparency_data:
        pixel += BLENDED
    return (
        size
        + image.height * ROW
        + pixel * image.width * image.height
        + (_largest_part(image) if kind == "TIFF" else 0)
    )


def _largest_part(image: Any) -> float:  # noqa: ANN401
    """Bytes of one strip or tile of a TIFF, unpacked.

    A tile may claim to be larger than the picture.
    """
    tags = image.tag_v2
    wide, high = (tags.get(tag, 0) for tag in TILE_SIDES)
    if not wide:
        wide, high = image.width, min(tags.get(STRIP_ROWS, image.height), image.height)
    bits = tags.get(BITS, (1,))
    try:
        return (
            float(wide)
            * float(high)
            * tags.get(SAMPLES, 1)
            * max(bits if isinstance(bits, tuple) else (bits,))
            / 8
        )
    except (TypeError, ValueError):
        return 0.0


def refuse(needed: float, budget: int) -> None:
    """Raise TooMuchError if it needs more bytes than this many MiB."""
    if needed > budget * MIB:
        raise TooMuchError(
            f"decoding and measuring it needs {needed / MIB:,.0f} MiB, above the limit of "
            f"{budget:,} MiB (option memory of the decoder)"
        )
