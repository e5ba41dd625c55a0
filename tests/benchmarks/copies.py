"""Photographs changed in the ways that people change them.

Bytes of image files, drawn from a seed.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Turn = Image.Transpose
Change = Callable[[Image.Image, np.random.Generator], bytes]
UNDONE_BY_TAG = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_90,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_270,
}
"""EXIF orientation → the turn that it takes back."""


def jpeg(image: Image.Image, quality: int = 95, tag: int = 1) -> bytes:
    """A JPEG file, with an EXIF orientation if it is not 1."""
    exif, buffer = Image.Exif(), io.BytesIO()
    if tag != 1:
        exif[0x0112] = tag
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def cropped(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Without that share of its width and of its height, at random ends."""
    (width, height), (left, top) = image.size, rng.uniform(0, share, 2)
    return image.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - share + left) * width),
            round((1 - share + top) * height),
        )
    )


def trimmed(image: Image.Image, share: float) -> Image.Image:
    """Without that share of it at each of the four sides."""
    width, height = image.size
    return image.crop(
        (
            round(share * width),
            round(share * height),
            round((1 - share) * width),
            round((1 - share) * height),
        )
    )


def noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With normal noise of 8 grey steps."""
    values = np.asarray(image, float)
    return Image.fromarray(
        np.clip(values + rng.normal(0, 8, values.shape), 0, 255).astype(np.uint8)
    )


def half(image: Image.Image) -> Image.Image:
    """At half the size."""
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def captioned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With words on a bar, black or white, of half the width and an eighth of the height, near the
    upper or the lower edge.
    """
    out, black, above = image.copy(), bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    wide, high = round(image.width / 2), max(4, round(image.height / 8))
    left, top = (
        int(rng.integers(0, image.width - wide + 1)),
        1 if above else image.height - high - 1,
    )
    draw = ImageDraw.Draw(out)
    draw.rectangle((left, top, left + wide, top + high), fill="black" if black else "white")
    draw.text(
        (left + 2, top),
        "a caption",
        fill="yellow" if black else "black",
        font=ImageFont.load_default(max(4, high - 2)),
    )
    return out


def framed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With a border, black or white, of a twentieth of the shorter side."""
    return ImageOps.expand(
        image,
        max(1, round(0.05 * min(image.size))),
        fill="black" if rng.random() < 0.5 else "white",
    )


def tagged(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Stored turned or mirrored, with the EXIF orientation that says so."""
    tag = int(rng.integers(2, 9))
    return jpeg(image.transpose(UNDONE_BY_TAG[tag]), tag=tag)


CHANGES: dict[str, Change] = {
    "JPEG quality 50": lambda image, _: jpeg(image, 50),
    "JPEG quality 20": lambda image, _: jpeg(image, 20),
    "half the size": lambda image, _: jpeg(half(image)),
    "crop of 5 %": lambda image, rng: jpeg(cropped(image, 0.05, rng)),
    "crop of 10 %": lambda image, rng: jpeg(cropped(image, 0.10, rng)),
    "crop of 10 % at each side": lambda image, _: jpeg(trimmed(image, 0.10)),
    "mirrored": lambda image, _: jpeg(ImageOps.mirror(image)),
    "turned by 90°": lambda image, _: jpeg(image.transpose(Turn.ROTATE_90)),
    "turned by 180°": lambda image, _: jpeg(image.transpose(Turn.ROTATE_180)),
    "turned by 270°": lambda image, _: jpeg(image.transpose(Turn.ROTATE_270)),
    "brightness +20 %": lambda image, _: jpeg(ImageEnhance.Brightness(image).enhance(1.2)),
    "brightness -20 %": lambda image, _: jpeg(ImageEnhance.Brightness(image).enhance(0.8)),
    "contrast +20 %": lambda image, _: jpeg(ImageEnhance.Contrast(image).enhance(1.2)),
    "contrast -20 %": lambda image, _: jpeg(ImageEnhance.Contrast(image).enhance(0.8)),
    "blur": lambda image, _: jpeg(
        image.filter(ImageFilter.GaussianBlur(max(0.8, min(image.size) / 100)))
    ),
    "noise": lambda image, rng: jpeg(noisy(image, rng)),
    "greyscale": lambda image, _: jpeg(image.convert("L")),
    "border": lambda image, rng: jpeg(framed(image, rng)),
    "small caption": lambda image, rng: jpeg(captioned(image, rng)),
    "EXIF-turned": tagged,
    "crop of 10 %, JPEG 30, brightness +20 %": lambda image, rng: jpeg(
        ImageEnhance.Brightness(cropped(image, 0.10, rng)).enhance(1.2), 30
    ),
    "mirrored, half the size, JPEG 50": lambda image, _: jpeg(ImageOps.mirror(half(image)), 50),
    "turned by 90°, crop of 10 %, noise": lambda image, rng: jpeg(
        noisy(cropped(image, 0.10, rng).transpose(Turn.ROTATE_90), rng), 60
    ),
}


def changed(kind: str, images: Sequence[Image.Image]) -> list[bytes]:
    """A copy of each image, changed in one way."""
    return [
        CHANGES[kind](image, np.random.default_rng([zlib.crc32(kind.encode()), number]))
        for number, image in enumerate(images)
    ]
