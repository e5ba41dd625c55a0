#!/usr/bin/env python
"""Cut a small image folder from scikit-learn's own data and plant known faults in it.

    originals ──▶ samples (sound, or with one fault) ──▶ images/<class>/<number>.<ext>
    (digits, tiles)                                      truth.csv: what was planted where

One seed decides everything; README.md beside this file says what is planted and where the pictures
come from.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from sklearn.datasets import load_digits, load_sample_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEED = 20
SIDE = 32  # pixels; the digits were counted from bitmaps of this size
RARE = "digit_8"
PER_DIGIT, PER_RARE = 88, 18

# A tile is sound when it has something to see, is neither dark, light nor flat, and is in focus.
MIN_ENTROPY = 5.5  # bits of the grey histogram
MEAN_RANGE = (45, 210)  # mean grey
MIN_DEVIATION = 20  # standard deviation of grey
MIN_FOCUS = 0.3  # share of the gradient that a Gaussian blur of one pixel takes away
MIN_DISTANCE = 1.2  # root mean square between two digits, of 16 grey steps

# The stated ranges of strength.
SOUND_QUALITY = (92, 97)  # JPEG
REENCODED_QUALITY = (20, 60)  # JPEG
RESIZED = (0.5, 0.8)  # of the side
CROPPED = (0.03, 0.10)  # of the side, drawn for each side
BRIGHTENED = (0.15, 0.30)  # up or down
BLURRED = (1.0, 3.0)  # standard deviation in pixels; 1 is just visible
DARK = (0.05, 0.20)  # of the light left
WASHED_OUT = (0.08, 0.20)  # of the contrast left
WASHED_OUT_LEVEL = (170, 230)  # grey that takes the place of the contrast
EMPTY_NOISE = (0.0, 2.0)  # standard deviation in grey steps
TRUNCATED = (0.2, 0.9)  # of the encoded pixels left

# How many of each: (digits, tiles).
COPIES = {
    "exact_copy": (16, 4),
    "resaved": (16, 4),
    "reencoded": (12, 8),
    "resized": (12, 8),
    "cropped": (12, 8),
    "brightened": (12, 8),
    "mirrored": (0, 12),
    "turned": (0, 12),
    "exif_turned": (0, 12),
}
SPOILED_TILES = {"blurred": 15, "dark": 15, "washed_out": 15}
WRONG_LABELS = 40
STRANGERS = (7, 7, 6)  # tiles among digits, digits among tiles, drawn patterns anywhere
TRUNCATIONS = (6, 4)  # digits, tiles
EMPTY, ZERO_BYTES, TEXT = 10, 5, 5

NEAR, EXACT = "duplicates.near", "duplicates.exact"
EXPECTED = {
    "sound": "",
    "wrong_label": "label_noise.likely_wrong",
    "exact_copy": EXACT,
    "resaved": EXACT,
    "reencoded": NEAR,
    "resized": NEAR,
    "cropped": NEAR,
    "brightened": NEAR,
    "mirrored": NEAR,
    "turned": NEAR,
    "exif_turned": f"{NEAR}|{EXACT}",
    "blurred": "image_quality.blurry",
    "dark": "image_quality.dark",
    "washed_out": "image_quality.low_contrast|image_quality.light",
    "empty": "image_quality.low_information",
    "stranger": "outliers.far|label_noise.likely_wrong",
    "truncated": "files.unreadable",
    "zero_bytes": "files.unreadable",
    "text": "files.unreadable",
    "rare_class": "diversity.rare_class",
}
COLUMNS = ("path", "label", "kind", "expected", "source", "true_label", "strength", "origin")


@dataclass(frozen=True)
class Original:
    """A real picture, its class, and where it was cut."""

    image: Image.Image
    label: str
    origin: str


@dataclass(frozen=True)
class Sample:
    """One file to write: its bytes, the folder it goes to, and the truth about it."""

    data: bytes
    suffix: str
    label: str
    kind: str = "sound"
    true_label: str = ""
    strength: str = ""
    origin: str = ""
    source: Sample | None = None


# ── originals ────────────────────────────────────────────────────────────────────────────────────


def digits(rng: np.random.Generator) -> dict[str, list[Original]]:
    """Return the handwritten digits of each class in random order, no two of them nearly equal."""
    data = load_digits()
    kept: list[int] = []
    for i in rng.permutation(len(data.target)):
        distances = np.sqrt(np.mean((data.data[kept] - data.data[i]) ** 2, axis=1))
        if not kept or distances.min() >= MIN_DISTANCE:
            kept.append(int(i))
    classes: dict[str, list[Original]] = {f"digit_{digit}": [] for digit in range(10)}
    for i in kept:
        small = Image.fromarray(np.round(data.images[i] * 255 / 16).astype(np.uint8))
        image = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        label = f"digit_{data.target[i]}"
        classes[label].append(Original(image, label, f"digits {i}"))
    return classes


def tiles(rng: np.random.Generator) -> list[Original]:
    """Return the sound tiles of both photographs in random order.

    Tiles of one grid cannot overlap.
    """
    data = load_sample_images()
    found = []
    for name, pixels in zip(data.filenames, data.images, strict=True):
        photograph = Image.fromarray(pixels)
        rows, columns = range(photograph.height // SIDE), range(photograph.width // SIDE)
        for top, left in product(rows, columns):
            x, y = left * SIDE, top * SIDE
            image = photograph.crop((x, y, x + SIDE, y + SIDE))
            if is_sound(image):
                found.append(Original(image, Path(name).stem, f"{Path(name).name} {x} {y}"))
    return [found[i] for i in rng.permutation(len(found))]


def is_sound(image: Image.Image) -> bool:
    """Say whether a tile has something to see, is neither dark, light nor flat, and is in focus."""
    grey = image.convert("L")
    pixels = np.asarray(grey, dtype=float)
    focus = 1 - gradient(grey.filter(ImageFilter.GaussianBlur(1))) / max(gradient(grey), 1e-9)
    return bool(
        grey.entropy() >= MIN_ENTROPY
        and MEAN_RANGE[0] <= pixels.mean() <= MEAN_RANGE[1]
        and pixels.std() >= MIN_DEVIATION
        and focus >= MIN_FOCUS
    )


def gradient(grey: Image.Image) -> float:
    """Return the mean step between neighbouring pixels."""
    pixels = np.asarray(grey, dtype=float)
    return float(np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean())


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def png(image: Image.Image, level: int = 6) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def jpeg(image: Image.Image, quality: int, orientation: int = 1) -> bytes:
    """Encode as JPEG, with an EXIF orientation unless it is the ordinary one."""
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def encode(image: Image.Image, rng: np.random.Generator) -> tuple[bytes, str]:
    """Encode as PNG or as a good JPEG, by chance."""
    quality = int(rng.integers(*SOUND_QUALITY, endpoint=True))
    return (png(image), "png") if rng.integers(2) else (jpeg(image, quality), "jpg")


def save(original: Original, rng: np.random.Generator) -> Sample:
    """Make a sound sample of an original."""
    data, suffix = encode(original.image, rng)
    return Sample(data, suffix, original.label, true_label=original.label, origin=original.origin)


# ── copies: a new file that shows what its source shows ──────────────────────────────────────────


def copy(source: Sample, kind: str, rng: np.random.Generator) -> Sample:
    """Make a copy of a sample's file, changed as the kind says."""
    data, suffix, strength = COPIERS[kind](source, rng)
    return Sample(
        data, suffix, source.label, kind, source.true_label, strength, source.origin, source
    )


def exact_copy(source: Sample, _: np.random.Generator) -> tuple[bytes, str, str]:
    """Copy byte by byte."""
    return source.data, source.suffix, ""


def resaved(source: Sample, _: np.random.Generator) -> tuple[bytes, str, str]:
    """Write other bytes of the same pixels: a PNG compressed less, a JPEG with a comment."""
    if source.suffix == "png":
        return png(Image.open(io.BytesIO(source.data)), level=1), "png", "compress_level 1"
    text = b"saved again"
    segment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    return source.data[:2] + segment + source.data[2:], "jpg", "comment"


def reencoded(source: Sample, rng: np.random.Generator) -> tuple[bytes, str, str]:
    """Save as a poor JPEG."""
    quality = int(rng.integers(*REENCODED_QUALITY, endpoint=True))
    return jpeg(Image.open(io.BytesIO(source.data)), quality), "jpg", str(quality)


def exif_turned(source: Sample, rng: np.random.Generator) -> tuple[bytes, str, str]:
    """Store the pixels turned, with the orientation that turns them back."""
    turns = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    orientation = int(rng.choice(list(turns)))
    image = Image.open(io.BytesIO(source.data)).transpose(turns[orientation])
    return (
        jpeg(image, int(rng.integers(*SOUND_QUALITY, endpoint=True)), orientation),
        "jpg",
        str(orientation),
    )


def redrawn(
    change: Callable[[Image.Image, np.random.Generator], tuple[Image.Image, str]],
) -> Copier:
    """Return a copier that changes the picture and encodes it anew."""

    def copier(source: Sample, rng: np.random.Generator) -> tuple[bytes, str, str]:
        image, strength = change(Image.open(io.BytesIO(source.data)), rng)
        return *encode(image, rng), strength

    return copier


def resize(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Scale down."""
    side = int(rng.integers(np.ceil(RESIZED[0] * SIDE), np.floor(RESIZED[1] * SIDE), endpoint=True))
    return image.resize((side, side), Image.Resampling.LANCZOS), f"{side / SIDE:.4f}"


def crop(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Cut whole pixels off left, top, right and bottom."""
    low, high = np.ceil(CROPPED[0] * SIDE), np.floor(CROPPED[1] * SIDE)
    left, top, right, bottom = (int(cut) for cut in rng.integers(low, high, size=4, endpoint=True))
    strength = " ".join(f"{cut / SIDE:.4f}" for cut in (left, top, right, bottom))
    return image.crop((left, top, SIDE - right, SIDE - bottom)), strength


def brighten(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Multiply all values, up or down."""
    change = float(rng.choice([-1, 1]) * rng.uniform(*BRIGHTENED))
    return ImageEnhance.Brightness(image).enhance(1 + change), f"{change:+.4f}"


def mirror(image: Image.Image, _: np.random.Generator) -> tuple[Image.Image, str]:
    """Swap left and right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "left-right"


def turn(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Turn by quarters."""
    angle = int(rng.choice([90, 180, 270]))
    return image.rotate(angle), str(angle)


if TYPE_CHECKING:
    Copier = Callable[[Sample, np.random.Generator], tuple[bytes, str, str]]

COPIERS: dict[str, Copier] = {
    "exact_copy": exact_copy,
    "resaved": resaved,
    "reencoded": reencoded,
    "resized": redrawn(resize),
    "cropped": redrawn(crop),
    "brightened": redrawn(brighten),
    "mirrored": redrawn(mirror),
    "turned": redrawn(turn),
    "exif_turned": exif_turned,
}


# ── faults of one picture ────────────────────────────────────────────────────────────────────────


def spoil(tile: Original, kind: str, rng: np.random.Generator) -> Sample:
    """Blur, darken or wash out a tile."""
    if kind == "blurred":
        amount = rng.uniform(*BLURRED)
        image = tile.image.filter(ImageFilter.GaussianBlur(amount))
    elif kind == "dark":
        amount = rng.uniform(*DARK)
        image = ImageEnhance.Brightness(tile.image).enhance(amount)
    else:
        amount = rng.uniform(*WASHED_OUT)
        level = round(rng.uniform(*WASHED_OUT_LEVEL))
        image = Image.blend(Image.new("RGB", tile.image.size, (level,) * 3), tile.image, amount)
    data, suffix = encode(image, rng)
    return Sample(data, suffix, tile.label, kind, tile.label, f"{amount:.4f}", tile.origin)


def empty(label: str, rng: np.random.Generator) -> Sample:
    """Make a picture of one colour, with hardly any noise."""
    noise = rng.uniform(*EMPTY_NOISE)
    pixels = rng.integers(256, size=3) + rng.normal(0, noise, (SIDE, SIDE, 3))
    data, suffix = encode(picture(pixels), rng)
    return Sample(data, suffix, label, "empty", strength=f"{noise:.4f}")


def stranger(original: Original, label: str, rng: np.random.Generator) -> Sample:
    """Put a picture into a class of another world."""
    data, suffix = encode(original.image, rng)
    return Sample(data, suffix, label, "stranger", original.label, origin=original.origin)


def pattern(name: str, rng: np.random.Generator) -> Original:
    """Draw a checkerboard, stripes or a line of print in two colours."""
    y, x = np.mgrid[:SIDE, :SIDE]
    if name == "checkerboard":
        width = rng.integers(3, 8)
        mask = (x // width + y // width) % 2 == 0
    elif name == "stripes":
        mask = np.sin(x * rng.uniform(0.3, 1) + y * rng.uniform(0.3, 1)) > 0
    else:
        page = Image.new("L", (SIDE, SIDE))
        text = "".join(rng.choice(list("ABCDEFGHKLMNPRSTXYZ"), 8))
        ImageDraw.Draw(page).text(
            (1, 1), f"{text[:4]}\n{text[4:]}", 255, ImageFont.load_default(10)
        )
        mask = np.asarray(page) > 127  # noqa: PLR2004
    dark, light = rng.integers(0, 90, 3), rng.integers(160, 256, 3)
    return Original(picture(np.where(mask[..., None], light, dark)), "", name)


def picture(pixels: NDArray[np.number]) -> Image.Image:
    """Turn numbers into a picture."""
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def truncate(original: Original, rng: np.random.Generator) -> Sample:
    """Cut a file off within its encoded pixels."""
    data, suffix = encode(original.image, rng)
    start = data.index(b"IDAT" if suffix == "png" else b"\xff\xda")
    left = rng.uniform(*TRUNCATED)
    data = data[: start + round(left * (len(data) - start))]
    return Sample(
        data, suffix, original.label, "truncated", original.label, f"{left:.4f}", original.origin
    )


# ── the whole set ────────────────────────────────────────────────────────────────────────────────


def samples(seed: int) -> list[Sample]:
    """Make all samples in random order.

    No original is used for two of them but a copy and its source.
    """
    rng = np.random.default_rng(seed)
    by_digit, tile_pool = digits(rng), tiles(rng)
    made = [save(original, rng) for original in by_digit.pop(RARE)[:PER_RARE]]

    common = sorted(by_digit)
    spare = [original for label in common for original in by_digit[label][PER_DIGIT:]]
    spare = [spare[i] for i in rng.permutation(len(spare))]
    digit_pool = [original for label in common for original in by_digit[label][:PER_DIGIT]]
    digit_pool = [digit_pool[i] for i in rng.permutation(len(digit_pool))]

    for kind, counts in COPIES.items():
        for original in take(digit_pool, counts[0]) + take(tile_pool, counts[1]):
            source = save(original, rng)
            made += [source, copy(source, kind, rng)]
    for original in take(digit_pool, WRONG_LABELS):
        wrong = str(rng.choice([label for label in common if label != original.label]))
        data, suffix = encode(original.image, rng)
        made.append(
            Sample(data, suffix, wrong, "wrong_label", original.label, origin=original.origin)
        )
    for kind, count in SPOILED_TILES.items():
        made += [spoil(tile, kind, rng) for tile in take(tile_pool, count)]

    photographs = sorted({tile.label for tile in tile_pool})
    anywhere = common + photographs
    made += [empty(str(rng.choice(photographs)), rng) for _ in range(EMPTY)]
    made += [stranger(tile, str(rng.choice(common)), rng) for tile in take(tile_pool, STRANGERS[0])]
    made += [
        stranger(digit, str(rng.choice(photographs)), rng) for digit in take(spare, STRANGERS[1])
    ]
    for i in range(STRANGERS[2]):
        drawn = pattern(("checkerboard", "stripes", "print")[i % 3], rng)
        made.append(stranger(drawn, str(rng.choice(anywhere)), rng))
    made += [
        truncate(cut, rng) for cut in take(spare, TRUNCATIONS[0]) + take(tile_pool, TRUNCATIONS[1])
    ]
    for i in range(ZERO_BYTES):
        made.append(Sample(b"", ("png", "jpg")[i % 2], str(rng.choice(anywhere)), "zero_bytes"))
    for i in range(TEXT):
        page = (
            f"<html><body><h1>404 Not Found</h1><p>Request "
            f"{rng.integers(10**6):06d}.{i}</p></body></html>\n"
        )
        made.append(Sample(page.encode(), "png", str(rng.choice(anywhere)), "text"))

    made += [save(original, rng) for original in digit_pool + tile_pool]
    return [made[i] for i in rng.permutation(len(made))]


def take(pool: list[Original], count: int) -> list[Original]:
    """Remove some originals from a pool and return them."""
    if count > len(pool):
        message = f"{count} originals wanted, {len(pool)} left: plant fewer faults"
        raise ValueError(message)
    taken = pool[:count]
    del pool[:count]
    return taken


def write(seed: int, out: Path) -> None:
    """Write out/images and out/truth.csv, in place of those of an earlier call."""
    images, truth = out / "images", out / "truth.csv"
    if images.exists():
        if not truth.exists():
            message = (
                f"{images} exists and has no truth.csv beside it, so it was not made here: choose "
                f"another --out"
            )
            raise FileExistsError(message)
        shutil.rmtree(images)
    made = samples(seed)
    paths = {
        id(sample): f"{sample.label}/{number:04d}.{sample.suffix}"
        for number, sample in enumerate(made, 1)
    }
    rows = [("", RARE, "rare_class", EXPECTED["rare_class"], "", RARE, str(PER_RARE), "")]
    for sample in made:
        path = paths[id(sample)]
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        (images / path).write_bytes(sample.data)
        source = paths[id(sample.source)] if sample.source else ""
        truth_of = (sample.label, sample.kind, EXPECTED[sample.kind], source, sample.true_label)
        rows.append((path, *truth_of, sample.strength, sample.origin))
    with truth.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seed", type=int, default=SEED, help="decides everything (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="default: the folder of this script"
    )
    options = parser.parse_args(arguments)
    write(options.seed, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
