"""Sharp pictures of many kinds, and the same degraded by known amounts.

What the benchmark of image facts judges.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.strangers import archived

BLURS = ("Gaussian blur", "defocus", "motion blur")
LEVELS: dict[str, tuple[float, ...]] = {  # from just visible to strong
    **dict.fromkeys(
        BLURS, (1 / 240, 1 / 120, 1 / 60)
    ),  # standard deviation by the shorter side, or what looks like it
    "underexposed": (0.4, 0.25, 0.15),
    "overexposed": (0.5, 0.35, 0.25),
    "low contrast": (0.4, 0.25, 0.15),
    "noise": (15, 25, 40),  # grey levels
    "JPEG quality": (20, 10, 5),
    "nothing to see": (0, 1, 2),  # one colour, and grey levels of noise
    "grey, stored in colour": (1,),
}
UNDEGRADED = ("texture", "sky", "large", "uniform")
"""Kinds that are only asked whether something is claimed of them."""


def sources(each: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and uint8 [h, w, 3] of sharp pictures.

    Photographs, micrographs, small pictures, drawings and text, textures, skies, large ones,
    uniform ones.
    """
    rng = np.random.default_rng(0)
    yield from (("photographs", one) for one in photographs(each, rng))
    for kind, name, count in (("micrographs", "bccd", each), ("32×32", "cifar10_test", 3 * each)):
        pictures, _ = archived(name, every=(364 if name == "bccd" else 10_000) // count)
        yield from ((kind, one) for one in pictures[:count])
    for number in range(each):
        yield "drawings", text(rng) if number % 2 else drawing(rng)
    for number in range(each // 2):
        yield "texture", texture(rng)
        yield "sky", sky(rng)
        yield "uniform", np.full((200, 300, 3), rng.integers(0, 256, 3), np.uint8)
        if number % 4 == 0:
            yield "large", enlarged(photographs(1, rng)[0])


def photographs(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Parts of scikit-learn's two photographs at their own resolution, with something in them."""
    from sklearn.datasets import load_sample_images

    found: list[np.ndarray] = []
    while len(found) < count:
        side = int(rng.integers(200, 427))
        top, left = int(rng.integers(0, 427 - side + 1)), int(rng.integers(0, 640 - side + 1))
        part = load_sample_images().images[int(rng.integers(2))][
            top : top + side, left : left + side
        ]
        if part.mean(axis=2).std() > 12:
            found.append(part)
    return found


def drawing(rng: np.random.Generator) -> np.ndarray:
    """Flat shapes on flat ground."""
    from PIL import Image, ImageDraw

    width, height = (int(side) for side in rng.integers(300, 900, 2))
    image = Image.new(
        "RGB", (width, height), tuple(int(level) for level in rng.integers(200, 256, 3))
    )
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 14))):
        (left, right), (top, bottom) = (
            np.sort(rng.uniform(0, width, 2)),
            np.sort(rng.uniform(0, height, 2)),
        )
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        [pen.rectangle, pen.ellipse, pen.line][int(rng.integers(3))](
            (left, top, right, bottom), fill=colour
        )
    return np.asarray(image)


def text(rng: np.random.Generator) -> np.ndarray:
    """A page of letters."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = (int(side) for side in rng.integers(300, 900, 2))
    image = Image.new(
        "RGB", (width, height), tuple(int(level) for level in rng.integers(200, 256, 3))
    )
    pen, font, top = (
        ImageDraw.Draw(image),
        ImageFont.load_default(size=int(rng.integers(10, 28))),
        10,
    )
    while top < height - 20:
        line = "".join(chr(letter) for letter in rng.integers(97, 123, width // 9))
        pen.text(
            (10, top), line, fill=tuple(int(level) for level in rng.integers(0, 90, 3)), font=font
        )
        top += int(rng.integers(16, 40))
    return np.asarray(image)


def texture(rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of natural scenes."""
    height, width = 480, 640
    frequency = np.maximum(
        np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]), 1 / width
    )
    values = np.fft.irfft2(
        np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** rng.uniform(0.8, 1.3),
        s=(height, width),
    )
    grey = 128 + rng.uniform(20, 50) * values / values.std()
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def sky(rng: np.random.Generator) -> np.ndarray:
    """A smooth slope with hardly any noise."""
    down, right = rng.uniform(-60, 60, 2)
    grey = (
        150
        + down * np.linspace(0, 1, 480)[:, None]
        + right * np.linspace(0, 1, 640)[None]
        + rng.normal(0, rng.uniform(0, 2), (480, 640))
    )
    return np.clip(grey[..., None] + np.array([-30, 0, 30]), 0, 255).astype(np.uint8)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """As a camera of many pixels takes it: sharp as a whole, soft from pixel to pixel."""
    import cv2

    return cv2.resize(pixels, (2560, 1920), interpolation=cv2.INTER_LANCZOS4)


def degraded(pixels: np.ndarray, kind: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """One fault of a known amount; JPEG quality is done where the file is written."""
    import cv2

    side, values = min(pixels.shape[:2]), pixels.astype(np.float32)
    blurred = {
        "defocus": lambda: disk(max(1.2, 2 * level * side)),
        "motion blur": lambda: streak(max(3, 3.5 * level * side), rng.uniform(0, math.pi)),
    }
    if kind in blurred:
        return cv2.filter2D(pixels, -1, blurred[kind](), borderType=cv2.BORDER_REFLECT)
    changed: dict[str, Callable[[], np.ndarray]] = {
        "Gaussian blur": lambda: cv2.GaussianBlur(values, (0, 0), max(0.7, level * side)),
        "underexposed": lambda: values * level,
        "overexposed": lambda: 255 - np.maximum(255 - values / level, 0) * level,
        "low contrast": lambda: values.mean() + (values - values.mean()) * level,
        "noise": lambda: values + rng.normal(0, level, values.shape),
        "JPEG quality": lambda: values,
        "nothing to see": lambda: (
            rng.integers(0, 256, 3) + rng.normal(0, level, values.shape)
            if level
            else np.full_like(values, values.mean())
        ),
        "grey, stored in colour": lambda: np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2),
    }
    return np.clip(np.rint(changed[kind]()), 0, 255).astype(np.uint8)


def disk(radius: float) -> np.ndarray:
    """What a lens out of focus makes of a point."""
    reach = math.ceil(radius)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(down, right), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def streak(length: float, angle: float) -> np.ndarray:
    """What a moving camera makes of a point."""
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, int(8 * length) + 1):
        down, right = reach + step * math.sin(angle), reach + step * math.cos(angle)
        top, left = int(down), int(right)
        for row, share in ((top, 1 - (down - top)), (top + 1, down - top)):
            for column, part in ((left, 1 - (right - left)), (left + 1, right - left)):
                kernel[row, column] += share * part
    return kernel / kernel.sum()


def write(folder: Path, each: int) -> None:
    """`clean/KIND-NUMBER.jpg`, and `LEVEL/FAULT/KIND-NUMBER.jpg` of every fault and level.

    JPEG files of quality 90, if that is not the fault.
    """
    from PIL import Image

    rng = np.random.default_rng(1)

    def saved(pixels: np.ndarray, where: Path, quality: int = 90) -> None:
        where.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        where.write_bytes(buffer.getvalue())

    for number, (kind, pixels) in enumerate(sources(each)):
        saved(pixels, folder / "clean" / f"{kind}-{number}.jpg")
        for fault, levels in LEVELS.items() if kind not in UNDEGRADED else ():
            for place, level in enumerate(levels):
                quality = int(level) if fault == "JPEG quality" else 90
                saved(
                    degraded(pixels, fault, level, rng),
                    folder / f"level-{place}" / fault / f"{kind}-{number}.jpg",
                    quality,
                )
