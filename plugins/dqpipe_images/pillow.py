"""Pillow as it comes, whatever somebody has set in it for the whole process.

And the classes of it that are used.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from dqpipe import MediaError, library_state

if TYPE_CHECKING:
    from contextlib import ExitStack

    from PIL.ImageFile import ImageFile

# The classes behind `Image.open`, named so that no other plugin of Pillow (one of them runs
# Ghostscript) can be reached,
# and so that the limit on pixels is ours.
CLASSES = {
    "JPEG": "JpegImagePlugin.JpegImageFile",
    "PNG": "PngImagePlugin.PngImageFile",
    "GIF": "GifImagePlugin.GifImageFile",
    "BMP": "BmpImagePlugin.BmpImageFile",
    "TIFF": "TiffImagePlugin.TiffImageFile",
    "WEBP": "WebPImagePlugin.WebPImageFile",
    "AVIF": "AvifImagePlugin.AvifImageFile",
    "JPEG2000": "Jpeg2KImagePlugin.Jpeg2KImageFile",
    "PPM": "PpmImagePlugin.PpmImageFile",
}
DEFAULTS = {  # what a program may set for all of Pillow, and what it is without
    ("Image", "MAX_IMAGE_PIXELS"): None,  # ours is max_pixels
    ("ImageFile", "LOAD_TRUNCATED_IMAGES"): False,
    ("ImageFile", "MAXBLOCK"): 65536,
    ("ImageFile", "SAFEBLOCK"): 1 << 20,
    ("PngImagePlugin", "MAX_TEXT_CHUNK"): 1 << 20,
    ("PngImagePlugin", "MAX_TEXT_MEMORY"): 64 << 20,
    ("TiffImagePlugin", "READ_LIBTIFF"): False,
    ("TiffImagePlugin", "IFD_LEGACY_API"): True,
    ("AvifImagePlugin", "DECODE_CODEC_CHOICE"): "auto",
    ("AvifImagePlugin", "DEFAULT_MAX_THREADS"): 0,
}


def _enter(stack: ExitStack) -> None:
    for (module, name), value in DEFAULTS.items():
        library_state.put(stack, importlib.import_module(f"PIL.{module}"), name, value)
    gif = importlib.import_module("PIL.GifImagePlugin")
    library_state.put(stack, gif, "LOADING_STRATEGY", gif.LoadingStrategy.RGB_AFTER_FIRST)
    library_state.put(stack, logging.getLogger("PIL.TiffImagePlugin"), "disabled", True)
    stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=r"PIL\.")


as_it_comes = library_state.Shared(_enter)
"""Pillow's settings as without anybody's, and what it warns of and logs held back.

What matters of it is an error here.
"""


def opened(kind: str, data: bytes) -> ImageFile:
    """The file, its header read. Raises MediaError, and whatever Pillow raises."""
    if data.startswith(b"MM\0+"):
        raise MediaError(
            "a BigTIFF with its highest bytes first, which Pillow cannot read: write it anew, or "
            "as a plain TIFF"
        )
    module, name = CLASSES[kind].split(".")
    try:
        cls = getattr(importlib.import_module(f"PIL.{module}"), name)
    except ImportError:
        raise MediaError(
            f"{kind} images cannot be read by this version of Pillow: pip install -U pillow"
        ) from None
    image: ImageFile = cls(BytesIO(data), "")
    return image
