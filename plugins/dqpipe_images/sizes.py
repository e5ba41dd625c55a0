"""The size of an image file as it is shown, from its header alone."""

from __future__ import annotations

import os
import warnings

from dqpipe import is_url, opened

SWAPS_SIDES = 5
"""EXIF orientations from this one on turn a picture by a quarter."""


def shown_size(path: str) -> tuple[int, int] | None:
    """Width and height in pixels; None where they are unknown, and of what is not a local file."""
    if is_url(path):
        return None
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with os.fdopen(opened(path), "rb") as file, Image.open(file) as image:
                turned = image.getexif().get(0x0112, 1) >= SWAPS_SIDES
                return image.size[::-1] if turned else image.size
    except Exception:  # noqa: BLE001 (Pillow's readers raise anything)
        return None
