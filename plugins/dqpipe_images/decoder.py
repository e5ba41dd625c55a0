"""Bytes of an image file to pixels: strict about damage, bounded in memory, silent, with a reason for everything it refuses.

    bytes ──first bytes──▶ format ──header──▶ size below the limit? ──▶ Header
                                                     └──pixels, turned, on white──▶ Picture

Pillow decodes every format, and says what is wrong with a file. The usual sound JPEG goes by way of jpeg.py, in half of the
time and to the same pixels. OpenCV is not asked: it returns grey rows for a damaged file, and lets libjpeg write to the
process's stderr.
"""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe.errors import MediaError
from dqpipe.media import SHORTER_SIDE, Header, Picture
from dqpipe.stages import Decoder, extension, option
from dqpipe_images import jpeg
from dqpipe_images.damage import check_chunks, check_scans, check_strips, essential, libtiff_complaints, pages, reason, strict
from dqpipe_images.signatures import HEAD, explain, image_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

    from dqpipe.media import Rendition

# The classes behind `Image.open`, named so that no other plugin of Pillow (one of them runs Ghostscript) can be reached,
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
TURNS = {  # EXIF orientation → the method of PIL.Image.Transpose that undoes it
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
QUARTER_TURNS = frozenset({5, 6, 7, 8})
ORIENTATION = 0x0112  # the EXIF tag
EXTENDED_HEADER = 30  # bytes of a WebP file up to the end of its size
ORIENTED = (b"eXIf", b"Raw profile type exif", b"tiff:Orientation")  # without one of these a PNG is not turned
OPAQUE = (255, 255)  # the smallest and the largest alpha
RANGES = (255, 4095, 65535)  # the largest values of 8, 12 and 16 bits
BAND = 4_000_000  # pixels that are converted at once

_SILENCE = threading.Lock()
_TIFF_LOG = logging.getLogger("PIL.TiffImagePlugin")


@extension
class ImageDecoder(Decoder):
    """Decode JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000 and PNM images, turned as EXIF says, alpha blended on white."""

    name = "image"
    version = 2
    libraries = ("pillow", "simplejpeg")

    max_pixels: int = option(178_000_000, "refuse a file that claims more pixels than this, before decoding it", at="measure", ge=1)

    def suits(self, head: bytes) -> bool:
        """Whether the first bytes are those of an image; names of files do not matter."""
        return image_format(head) is not None

    def decode(self, data: bytes, rendition: Rendition) -> Header | Picture:
        """The Header, or the Picture: of an animation the first frame. Raises MediaError for whatever else the bytes are."""
        kind = image_format(data[:HEAD])
        if kind is None:
            raise MediaError(explain(data))
        try:
            return self._decode(kind, data, rendition)
        except MediaError:
            raise
        except Exception as error:  # noqa: BLE001 (on damaged files Pillow raises whatever its parsers stumble over)
            refused = error
        if kind == "PNG":
            with suppress(Exception):
                return self._without_extras(data, rendition)
        raise MediaError(reason(refused, kind, data))

    def _without_extras(self, data: bytes, rendition: Rendition) -> Header | Picture:
        """A PNG by what makes its pixels: Pillow refuses it for a fault in what stands beside them, as no viewer does."""
        found = self._decode("PNG", essential(data), rendition)
        if isinstance(found, Header):
            return replace(found, size=len(data))
        return replace(found, header=replace(found.header, size=len(data)))

    def _jpeg(self, data: bytes, rendition: Rendition) -> Header | Picture | None:
        """The usual sound JPEG; None for one that Pillow has to look at."""
        seen = jpeg.glance(data)
        if seen is None:
            return None
        self._refuse_bomb((seen.width, seen.height))
        check_scans(data, seen.width * seen.height)
        turn = 1
        if seen.tagged:
            with _quiet():
                turn = _orientation("JPEG", _open("JPEG", data), data)
        width, height = (seen.height, seen.width) if turn in QUARTER_TURNS else (seen.width, seen.height)
        header = Header("JPEG", width, height, seen.mode, turn, size=len(data), quality=seen.quality)
        if rendition == "header":
            return header
        reduction = _reduction(header) if rendition == "picture" else 1
        pixels = jpeg.pixels(data, seen, reduction)
        return None if pixels is None else Picture(header, _turned(pixels, turn), reduction)

    def _decode(self, kind: str, data: bytes, rendition: Rendition) -> Header | Picture:
        usual = self._jpeg(data, rendition) if kind == "JPEG" else None
        if usual is not None:
            return usual
        self._refuse_bomb(_canvas(kind, data))
        if kind == "PNG":
            check_chunks(data)
        with _quiet():
            image = _open(kind, strict(data) if kind == "JPEG" else data)
            self._refuse_bomb(image.size)
            if kind == "JPEG":
                check_scans(data, image.width * image.height)
            header = _header(kind, image, data)
        if rendition == "header":
            return header
        reduction = _reduction(header) if rendition == "picture" and kind == "JPEG" else 1
        if reduction > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        if kind == "TIFF":
            check_strips(image, data)
            with _quiet(), libtiff_complaints() if image.tile and image.tile[0][0] == "libtiff" else nullcontext():
                image.load()
        else:
            image.load()
        pixels, native = _pixels(image, 1 if kind == "TIFF" else header.orientation)
        return Picture(header, pixels, reduction, native)

    def _refuse_bomb(self, size: tuple[int, int]) -> None:
        width, height = size
        if width * height > self.max_pixels:
            limit = f"{self.max_pixels / 1e6:g} million"
            raise MediaError(f"claims {width:,} × {height:,} pixels, above the limit of {limit} (option max_pixels)")  # noqa: RUF001 (a times sign)


# ── headers ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what Pillow warns of and logs: what matters of it is an error here. Python's filters belong to all threads."""
    with _SILENCE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        spoken = _TIFF_LOG.disabled
        _TIFF_LOG.disabled = True
        try:
            yield
        finally:
            _TIFF_LOG.disabled = spoken


def _open(kind: str, data: bytes) -> ImageFile:
    if data.startswith(b"MM\0+"):
        raise MediaError("a BigTIFF with its highest bytes first, which Pillow cannot read: write it anew, or as a plain TIFF")
    module, name = CLASSES[kind].split(".")
    try:
        cls = getattr(importlib.import_module(f"PIL.{module}"), name)
    except ImportError:
        raise MediaError(f"{kind} images cannot be read by this version of Pillow: pip install -U pillow") from None
    image: ImageFile = cls(BytesIO(data), "")
    return image


def _header(kind: str, image: ImageFile, data: bytes) -> Header:
    orientation = _orientation(kind, image, data)
    width, height = image.size
    if orientation in QUARTER_TURNS and kind != "TIFF":  # Pillow gives the size of a TIFF turned already
        width, height = height, width
    frames = pages(data) if kind == "TIFF" else int(getattr(image, "n_frames", 1))
    light = getattr(image, "quantization", {}).get(0) if kind == "JPEG" else None
    return Header(kind, width, height, image.mode, orientation, frames, len(data), jpeg.quality(sum(light)) if light else None)


def _orientation(kind: str, image: ImageFile, data: bytes) -> int:
    """The EXIF orientation, 1 to 8; for a PNG, whose tags may stand after the pixels, only looked up if it can have one."""
    if kind == "PNG" and not any(mark in data for mark in ORIENTED):
        return 1
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (EXIF data that cannot be parsed turn nothing, as in every viewer)
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _canvas(kind: str, data: bytes) -> tuple[int, int]:
    """The size that a WebP claims, whose canvas Pillow allocates on opening; (0, 0) for the others, which it does not."""
    if kind != "WEBP" or len(data) < EXTENDED_HEADER:
        return 0, 0
    if data[12:16] == b"VP8L":  # two numbers of 14 bits behind a byte
        sides = int.from_bytes(data[21:25], "little")
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")


def _reduction(header: Header) -> int:
    """The largest DCT scale that keeps the shorter side long enough."""
    shorter = min(header.width, header.height)
    return next((scale for scale in (8, 4, 2) if shorter // scale >= SHORTER_SIDE), 1)


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """uint8 [h, w, 3], read-only: stages share it."""
    from PIL import Image

    if orientation in TURNS:
        return _pixels(Image.fromarray(pixels), orientation)[0]
    pixels.flags.writeable = False
    return pixels


def _pixels(image: Any, orientation: int) -> tuple[np.ndarray, np.ndarray | None]:  # noqa: ANN401 (PIL's Image)
    """uint8 [h, w, 3], and the values as stored where these have lost some of them; both read-only, stages share them."""
    from PIL import Image

    if orientation in TURNS:
        image = image.transpose(Image.Transpose[TURNS[orientation]])
    native = None
    if image.mode == "F" or image.mode.startswith("I"):
        native = np.asarray(image)
        image = Image.fromarray(_eight_bits(native))
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getextrema()[3] != OPAQUE:
            native = _in_bands(image, lambda part: part, 4)
    pixels = _in_bands(image, _on_white if native is not None and image.mode == "RGBA" else _as_rgb, 3)
    for array in (pixels, native):
        if array is not None:
            array.flags.writeable = False
    return pixels, native


def _as_rgb(image: Any) -> Any:  # noqa: ANN401 (PIL's Image, here and below)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Any) -> Any:  # noqa: ANN401
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _in_bands(image: Any, make: Callable[[Any], Any], channels: int) -> np.ndarray:  # noqa: ANN401
    """uint8 [h, w, channels] of what is made of an image, a band of rows at a time: nothing but the result is ever as large."""
    rows = max(1, BAND // image.width)
    if rows >= image.height:
        return np.asarray(make(image))
    made = np.empty((image.height, image.width, channels), np.uint8)
    for top in range(0, image.height, rows):
        below = min(top + rows, image.height)
        made[top:below] = np.asarray(make(image.crop((0, top, image.width, below))))
    return made


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """uint8 of wider values [h, w]: the scale is that of the smallest range that holds them, 0–1 (floats), 8, 12 or 16 bits.

    Values outside all of these are stretched from their smallest to their largest; values that are no numbers are black.
    """
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    ranges = (1, *RANGES) if values.dtype.kind == "f" else RANGES
    if low >= 0 and high <= ranges[-1]:
        low, high = 0.0, float(next(top for top in ranges if high <= top))
    return np.round((finite - np.float32(low)) * np.float32(255 / (high - low) if high > low else 0)).astype(np.uint8)
