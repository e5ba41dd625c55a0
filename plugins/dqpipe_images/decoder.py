"""Bytes of an image file to pixels.

Strict about damage, bounded in memory, silent, with a reason for everything it refuses.

    bytes ──first bytes──▶ format ──header──▶ size below the limit? ──▶ Header
                                                     └──pixels, turned, on white──▶ Picture

Pillow decodes every format, and says what is wrong with a file. The usual sound JPEG goes by way of
jpeg.py, in half of the time and to the same pixels. OpenCV is not asked: it returns grey rows for a
damaged file, and lets libjpeg write to the process's stderr.
"""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import Decoder, MediaError, extension, option
from dqpipe_images import jpeg, memory, partial, pillow, scans
from dqpipe_images.damage import (
    check_chunks,
    check_scans,
    check_strips,
    ends_early,
    essential,
    libtiff_complaints,
    pages,
    reason,
    strict,
)
from dqpipe_images.levels import eight_bits
from dqpipe_images.memory import TooMuchError
from dqpipe_images.picture import SHORTER_SIDE, Header, Picture
from dqpipe_images.signatures import AVIF, HEAD, META, coding, explain, image_format

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.ImageFile import ImageFile

    from dqpipe import Rendition

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
ORIENTED = (
    b"eXIf",
    b"Raw profile type exif",
    b"tiff:Orientation",
)  # without one of these a PNG is not turned
OPAQUE = (255, 255)  # the smallest and the largest alpha
BAND = 4_000_000  # pixels that are converted at once
NO_DATA = 42113  # the tag of a TIFF in which GDAL writes the value that stands for no data
# of a PNM, by how many numbers it has: width, height, and the largest value unless it is 1
HEADER = {
    count: re.compile(
        rb"(P[1-6])((?:(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])++[0-9]++){%d})(?=[ \t\r\n\v\f])" % count
    )
    for count in (2, 3)
}
COMMENT = re.compile(rb"#[^\r\n]*")


@extension
class ImageDecoder(Decoder):
    """Decode JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000 and PNM images, turned as EXIF says,
    alpha blended on white.
    """

    name = "image"
    modality = "image"
    version = 3
    libraries = ("pillow", "simplejpeg")

    max_pixels: int = option(
        178_000_000,
        "refuse a file that claims more pixels than this, before decoding it",
        at="measure",
        ge=1,
    )
    memory: int = option(
        2048,
        (
            "refuse a file that needs more MiB than this to be decoded and measured, before "
            "decoding it"
        ),
        at="measure",
        ge=1,
    )
    missing: float = option(
        0.05,
        "read a file that ends early if at most this share of its picture is missing, 0 to 1",
        at="measure",
        ge=0,
        le=1,
    )

    def suits(self, head: bytes) -> bool:
        """Whether the first bytes are those of an image; names of files do not matter."""
        return image_format(head) is not None

    def decode(self, data: bytes, rendition: Rendition) -> Header | Picture:
        """The Header, or the Picture: of an animation the first frame.

        Raises MediaError for whatever else the bytes are.
        """
        kind = image_format(data[:HEAD])
        if kind is None or (kind == "AVIF" and coding(data[:META]) != kind):
            raise MediaError(explain(data))
        try:
            return self._decode(kind, data, rendition)
        except TooMuchError:
            raise
        except Exception as error:  # noqa: BLE001 (on damaged files Pillow raises whatever its parsers stumble over)
            refused = error
        with suppress(Exception):
            found = self._cut(kind, data, rendition) or self._eased(kind, data, rendition)
            if found is not None:
                return found
        raise (
            refused if isinstance(refused, MediaError) else MediaError(reason(refused, kind, data))
        )

    def set_threads(self, count: int) -> int:
        """OpenCV's."""
        import cv2

        before = cv2.getNumThreads()
        cv2.setNumThreads(count)
        return before

    def example(self, folder: Path) -> dict[str, str]:
        """See `dqpipe_images.example`."""
        from dqpipe_images.example import write

        return write(folder)

    def _eased(self, kind: str, data: bytes, rendition: Rendition) -> Header | Picture | None:
        """A PNG by what makes its pixels, whatever stands beside them, and a still AVIF whatever
        its first brand, as viewers do.
        """
        if kind == "PNG":
            return _of_size(self._decode(kind, essential(data), rendition), len(data))
        still = data[:8] + AVIF[0] + data[12:]
        return self._decode(kind, still, rendition) if kind == "AVIF" and still != data else None

    def _cut(self, kind: str, data: bytes, rendition: Rendition) -> Header | Picture | None:
        """A file that ends early, if little of its picture is missing."""
        if kind == "JPEG":
            seen = jpeg.glance(data, hollow=True)
            reduction = (
                1
                if seen is None or rendition == "full"
                else _reduction(Header("JPEG", seen.width, seen.height, seen.mode))
            )
            found = None if seen is None else partial.of_jpeg(data, seen, reduction)
            if seen is None or found is None or found[1] > self.missing:
                return None
            header = self._header_of(seen, data, found[1])
            return (
                header
                if rendition == "header"
                else Picture(header, _turned(found[0], header.orientation), reduction)
            )
        if kind == "PNG":
            whole = partial.of_png(data)
        elif kind in {"BMP", "PPM"}:
            with pillow.as_it_comes():
                whole = partial.of_rows(pillow.opened(kind, _plain(kind, data)), _plain(kind, data))
        else:
            return None
        if whole is None or whole[1] > self.missing:
            return None
        return _of_size(self._decode(kind, whole[0], rendition), len(data), whole[1])

    def _header_of(self, seen: jpeg.Glance, data: bytes, missing: float = 0.0) -> Header:
        turn = 1
        if seen.tagged:
            with pillow.as_it_comes():
                turn = _orientation("JPEG", pillow.opened("JPEG", data), data)
        width, height = (
            (seen.height, seen.width) if turn in QUARTER_TURNS else (seen.width, seen.height)
        )
        return Header(
            "JPEG",
            width,
            height,
            seen.mode,
            turn,
            size=len(data),
            quality=seen.quality,
            missing=missing,
        )

    def _jpeg(self, data: bytes, rendition: Rendition) -> Header | Picture | None:
        """The usual sound JPEG; None for one that Pillow has to look at."""
        seen = jpeg.glance(data)
        if seen is None:
            return None
        self._refuse_bomb((seen.width, seen.height))
        check_scans(data, seen.width * seen.height)
        frame = _all_scans(data) if seen.several else None
        header = self._header_of(seen, data)
        if rendition == "header":
            return header
        reduction = _reduction(header) if rendition == "picture" else 1
        memory.refuse(
            memory.of_jpeg(seen.width, seen.height, len(data), reduction, frame), self.memory
        )
        pixels = jpeg.pixels(data, seen, reduction)
        return (
            None
            if pixels is None
            else Picture(header, _turned(pixels, header.orientation), reduction)
        )

    def _decode(self, kind: str, data: bytes, rendition: Rendition) -> Header | Picture:
        usual = self._jpeg(data, rendition) if kind == "JPEG" else None
        if usual is not None:
            return usual
        canvas = _canvas(kind, data)
        self._refuse_bomb(canvas)
        memory.refuse(memory.BUFFERS["WEBP"] * canvas[0] * canvas[1], self.memory)
        if kind == "PNG":
            check_chunks(data)
        with pillow.as_it_comes():
            return self._by_pillow(kind, data, rendition)

    def _by_pillow(self, kind: str, data: bytes, rendition: Rendition) -> Header | Picture:
        image = pillow.opened(kind, strict(data) if kind == "JPEG" else _plain(kind, data))
        self._refuse_bomb(image.size)
        frame = scans.frame(data, all_scans=False) if kind == "JPEG" else None
        if kind == "JPEG":
            check_scans(data, image.width * image.height)
            frame = _all_scans(data) if frame is None or frame.several else None
        header = _header(kind, image, data)
        if rendition == "header":
            return header
        reduction = _reduction(header) if rendition == "picture" and kind == "JPEG" else 1
        size = image.width, image.height, len(data)
        memory.refuse(
            memory.of_jpeg(*size, reduction, frame)
            if kind == "JPEG"
            else memory.of_image(kind, image, len(data)),
            self.memory,
        )
        if frame is not None and jpeg.fault(data, frame):
            raise MediaError(
                "damaged JPEG: a part of its pixels is missing"
                if frame.ended
                else ends_early(kind, data)
            )
        if reduction > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        if kind == "TIFF":
            check_strips(image, data)
            with (
                libtiff_complaints()
                if image.tile and image.tile[0][0] == "libtiff"
                else nullcontext()
            ):
                image.load()
        else:
            image.load()
        pixels, native = _pixels(
            image,
            1 if kind == "TIFF" else header.orientation,
            _no_data(image) if kind == "TIFF" else None,
        )
        return Picture(header, pixels, reduction, native)

    def _refuse_bomb(self, size: tuple[int, int]) -> None:
        width, height = size
        if width * height > self.max_pixels:
            limit = f"{self.max_pixels / 1e6:g} million"
            raise TooMuchError(
                f"claims {width:,} × {height:,} pixels, above the limit of {limit} (option "  # noqa: RUF001
                f"max_pixels)"
            )


def _all_scans(data: bytes) -> scans.Frame | None:
    """The frame of a JPEG of several scans.

    Raises MediaError if scans are missing that the picture is made of.
    """
    frame = scans.frame(data)
    if frame is not None and not frame.whole():
        raise MediaError(
            "damaged JPEG: a part of its pixels is missing"
            if frame.ended
            else ends_early("JPEG", data)
        )
    return frame


def _of_size(found: Header | Picture, size: int, missing: float = 0.0) -> Header | Picture:
    """What was decoded of other bytes than those of the file, with the file's size."""
    if isinstance(found, Header):
        return replace(found, size=size, missing=missing)
    return replace(found, header=replace(found.header, size=size, missing=missing))


def _plain(kind: str, data: bytes) -> bytes:
    """A PNM without the comments in its header, which Pillow reads letter by letter.

    Raises MediaError if it is none.
    """
    if kind != "PPM":
        return data
    values = 2 if data[1:2] in b"14" else 3
    place = HEADER[values].match(data)
    if place is None:
        raise MediaError("damaged PPM: its header makes no sense")
    return place[1] + b" " + b" ".join(COMMENT.sub(b"", place[2]).split()) + data[place.end() :]


def _no_data(image: ImageFile) -> float | None:
    """The value that stands for no data, as GDAL writes it."""
    try:
        return float(str(image.tag_v2.get(NO_DATA, "")).strip(" \0"))  # type: ignore[attr-defined]
    except ValueError:
        return None


# ── headers ──────────────────────────────────────────────────────────────────────────────────────


def _header(kind: str, image: ImageFile, data: bytes) -> Header:
    orientation = _orientation(kind, image, data)
    width, height = image.size
    if (
        orientation in QUARTER_TURNS and kind != "TIFF"
    ):  # Pillow gives the size of a TIFF turned already
        width, height = height, width
    frames = pages(data) if kind == "TIFF" else int(getattr(image, "n_frames", 1))
    light = getattr(image, "quantization", {}).get(0) if kind == "JPEG" else None
    return Header(
        kind,
        width,
        height,
        image.mode,
        orientation,
        frames,
        len(data),
        jpeg.quality(sum(light)) if light else None,
    )


def _orientation(kind: str, image: ImageFile, data: bytes) -> int:
    """The EXIF orientation, 1 to 8.

    For a PNG, whose tags may stand after the pixels, only looked up if it can have one.
    """
    if kind == "PNG" and not any(mark in data for mark in ORIENTED):
        return 1
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (EXIF data that cannot be parsed turn nothing, as in every viewer)
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _canvas(kind: str, data: bytes) -> tuple[int, int]:
    """The size that a WebP claims, whose canvas Pillow allocates on opening.

    (0, 0) for the others, which it does not.
    """
    if kind != "WEBP" or len(data) < EXTENDED_HEADER:
        return 0, 0
    if data[12:16] == b"VP8L":  # two numbers of 14 bits behind a byte
        sides = int.from_bytes(data[21:25], "little")
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(
            data[28:30], "little"
        ) & 0x3FFF
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


def _pixels(
    image: Any,  # noqa: ANN401
    orientation: int,
    no_data: float | None = None,  # noqa: ANN401, RUF100
) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 [h, w, 3], and the values as stored where these have lost some of them.

    Both read-only, stages share them.
    """
    from PIL import Image

    if orientation in TURNS:
        image = image.transpose(Image.Transpose[TURNS[orientation]])
    native = None
    if image.mode == "F" or image.mode.startswith("I"):
        native = np.asarray(image)
        image = Image.fromarray(eight_bits(native, no_data))
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getextrema()[3] != OPAQUE:
            native = _in_bands(image, lambda part: part, 4)
    pixels = _in_bands(
        image, _on_white if native is not None and image.mode == "RGBA" else _as_rgb, 3
    )
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
    """uint8 [h, w, channels] of what is made of an image, a band of rows at a time.

    Nothing but the result is ever as large.
    """
    rows = max(1, BAND // image.width)
    if rows >= image.height:
        return np.asarray(make(image))
    made = np.empty((image.height, image.width, channels), np.uint8)
    for top in range(0, image.height, rows):
        below = min(top + rows, image.height)
        made[top:below] = np.asarray(make(image.crop((0, top, image.width, below))))
    return made
