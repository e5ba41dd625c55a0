"""Pictures that share a layout and differ in what matters.

Drawn from a seed, each with another content.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Draw = Callable[[np.random.Generator], Image.Image]
WORDS = [
    "sample",
    "paid",
    "order",
    "blood",
    "note",
    "total",
    "north",
    "clear",
    "valve",
    "rate",
    "paper",
    "stock",
    "label",
    "train",
    "north",
    "river",
    "light",
    "event",
    "table",
    "score",
]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size=size)


def meter(draw: np.random.Generator) -> Image.Image:
    """Six digits behind glass."""
    image = Image.new("RGB", (240, 80), (20, 20, 24))
    pen = ImageDraw.Draw(image)
    for place in range(6):
        pen.rectangle([8 + place * 38, 10, 40 + place * 38, 70], fill=(235, 235, 230))
        pen.text((12 + place * 38, 12), str(draw.integers(10)), fill=(10, 10, 10), font=font(48))
    return image


def chart(draw: np.random.Generator) -> Image.Image:
    """A curve between the same axes."""
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    pen.line([40, 10, 40, 260], fill=0, width=2)
    pen.line([40, 260, 390, 260], fill=0, width=2)
    for tick in range(6):
        pen.text((8, 250 - tick * 45), str(tick * 20), fill=0, font=font(12))
        pen.text((40 + tick * 60, 268), str(2015 + tick), fill=0, font=font(12))
    curve = np.clip(np.cumsum(draw.normal(0, 12, 35)) + 130, 15, 255)
    pen.line(
        [(40 + 10 * at, float(value)) for at, value in enumerate(curve)],
        fill=(30, 90, 200),
        width=3,
    )
    return image


def page(draw: np.random.Generator) -> Image.Image:
    """A page of text under the same head."""
    image = Image.new("RGB", (300, 400), "white")
    pen = ImageDraw.Draw(image)
    pen.text((60, 16), "ANNUAL REPORT", fill=0, font=font(22))
    for line in range(16):
        text = " ".join(draw.choice(WORDS, 7))[: int(draw.integers(30, 46))]
        pen.text((24, 60 + line * 20), text, fill=(20, 20, 20), font=font(13))
    return image


def form(draw: np.random.Generator) -> Image.Image:
    """The same boxes, filled in by another hand."""
    image = Image.new("RGB", (320, 240), "white")
    pen = ImageDraw.Draw(image)
    for row in range(5):
        pen.text(
            (10, 18 + row * 42),
            ("name", "street", "city", "born", "signed")[row],
            fill=0,
            font=font(14),
        )
        pen.rectangle([80, 10 + row * 42, 300, 42 + row * 42], outline=0, width=2)
        pen.text(
            (90, 14 + row * 42), " ".join(draw.choice(WORDS, 2)), fill=(20, 30, 120), font=font(20)
        )
    return image


def plate(draw: np.random.Generator) -> Image.Image:
    """A number plate."""
    image = Image.new("RGB", (260, 70), (245, 245, 240))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 24, 70], fill=(20, 60, 160))
    pen.rectangle([0, 0, 259, 69], outline=0, width=3)
    letters = "".join(chr(65 + int(one)) for one in draw.integers(26, size=3))
    pen.text((36, 8), f"{letters} {draw.integers(100, 999)}", fill=0, font=font(46))
    return image


def x_ray(draw: np.random.Generator) -> Image.Image:
    """A chest, from one template, ribs where this person has them, and a lesion."""
    image = Image.new("L", (256, 256), 20)
    pen = ImageDraw.Draw(image)
    pen.ellipse([20, 10, 236, 250], fill=90)
    for side in (0, 1):
        x = 50 + side * 90 + draw.integers(-5, 6)
        pen.ellipse([x, 50, x + 66, 210 + draw.integers(-10, 11)], fill=45)
        for rib in range(7):
            y = 55 + rib * 22 + int(draw.integers(-6, 7))
            pen.arc(
                [x - 10, y, x + 76, y + 40 + int(draw.integers(-6, 7))], 200, 340, fill=120, width=4
            )
    x, y, size = (
        int(value)
        for value in (draw.integers(60, 190), draw.integers(70, 190), draw.integers(10, 18))
    )
    pen.ellipse([x, y, x + size, y + size], fill=150)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), float) + draw.normal(
        0, 3, (256, 256)
    )
    return Image.fromarray(np.clip(soft, 0, 255).astype(np.uint8)).convert("RGB")


def code(draw: np.random.Generator) -> Image.Image:
    """A square code with its three finders."""
    cells = draw.integers(2, size=(25, 25)).astype(np.uint8)
    finder = np.ones((7, 7), np.uint8)
    finder[1:6, 1:6] = 0
    finder[2:5, 2:5] = 1
    for row, column in ((0, 0), (0, 18), (18, 0)):
        cells[row : row + 7, column : column + 7] = finder
    return (
        Image.fromarray((1 - cells) * 255)
        .resize((200, 200), Image.Resampling.NEAREST)
        .convert("RGB")
    )


def board(draw: np.random.Generator) -> Image.Image:
    """A chess board with pieces where they stand."""
    image = Image.new("RGB", (256, 256))
    pen = ImageDraw.Draw(image)
    for place in range(64):
        y, x = divmod(place, 8)
        pen.rectangle(
            [x * 32, y * 32, x * 32 + 31, y * 32 + 31],
            fill=(240, 217, 181) if (x + y) % 2 == 0 else (181, 136, 99),
        )
    for place in draw.choice(64, 18, replace=False):
        y, x = divmod(int(place), 8)
        dark = bool(draw.integers(2))
        pen.ellipse(
            [x * 32 + 6, y * 32 + 6, x * 32 + 26, y * 32 + 26],
            fill=(20, 20, 20) if dark else (250, 250, 250),
            outline=(90, 90, 90),
        )
        pen.text(
            (x * 32 + 11, y * 32 + 7),
            "KQRBNP"[draw.integers(6)],
            fill=(255, 255, 255) if dark else 0,
            font=font(14),
        )
    return image


def icon(draw: np.random.Generator) -> Image.Image:
    """A symbol on the same round ground."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse([2, 2, 62, 62], fill=(40, 90, 170))
    points = [
        tuple(map(float, 32 + draw.uniform(-22, 22, 2))) for _ in range(int(draw.integers(3, 7)))
    ]
    pen.polygon(points, fill="white")
    return image


def receipt(draw: np.random.Generator) -> Image.Image:
    """Prices under each other."""
    image = Image.new("RGB", (180, 360), (250, 250, 246))
    pen = ImageDraw.Draw(image)
    pen.text((40, 10), "CORNER SHOP", fill=0, font=font(16))
    for line in range(12):
        pen.text((12, 50 + line * 22), str(draw.choice(WORDS)), fill=(30, 30, 30), font=font(14))
        pen.text(
            (120, 50 + line * 22), f"{draw.uniform(1, 99):.2f}", fill=(30, 30, 30), font=font(14)
        )
    pen.text((12, 330), "TOTAL", fill=0, font=font(16))
    return image


def scan(draw: np.random.Generator) -> Image.Image:
    """The same chest for everybody, with the noise of a recording, and one small lesion."""
    image = chest()
    x, y = int(draw.integers(60, 190)), int(draw.integers(60, 200))
    across, down = (int(size) for size in draw.integers(8, 16, size=2))
    spot = Image.new("L", image.size, 0)
    ImageDraw.Draw(spot).ellipse([x, y, x + across, y + down], fill=255)
    lesion = (
        np.asarray(spot.filter(ImageFilter.GaussianBlur(1.5)), float) / 255 * draw.uniform(30, 70)
    )
    return Image.fromarray(
        np.clip(np.asarray(image, float) + lesion + draw.normal(0, 3, (256, 256)), 0, 255).astype(
            np.uint8
        )
    ).convert("RGB")


def chest() -> Image.Image:
    """The template of `scan`."""
    image = Image.new("L", (256, 256), 20)
    pen = ImageDraw.Draw(image)
    pen.ellipse([20, 10, 236, 250], fill=90)
    for x in (50, 140):
        pen.ellipse([x, 50, x + 66, 215], fill=45)
        for rib in range(7):
            pen.arc([x - 10, 55 + rib * 22, x + 76, 95 + rib * 22], 200, 340, fill=120, width=4)
    return image.filter(ImageFilter.GaussianBlur(2))


def street_map(draw: np.random.Generator) -> Image.Image:
    """Streets, blocks and a river in one style, with one legend."""
    image = Image.new("RGB", (320, 240), (242, 238, 230))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = int(draw.integers(0, 280)), int(draw.integers(0, 200))
        pen.rectangle(
            [x, y, x + int(draw.integers(20, 70)), y + int(draw.integers(20, 60))],
            fill=((205, 230, 190), (222, 218, 210))[draw.integers(2)],
        )
    pen.line(
        [
            (at * 40, float(value))
            for at, value in enumerate(np.cumsum(draw.normal(0, 22, 9)) + 120)
        ],
        fill=(160, 200, 230),
        width=12,
    )
    for _ in range(7):
        y0, y1 = draw.uniform(0, 240, 2)
        x0, x1 = draw.uniform(0, 320, 2)
        pen.line([0, y0, 320, y1], fill=(255, 255, 255), width=6)
        pen.line([x0, 0, x1, 240], fill=(250, 220, 130), width=4)
    pen.rectangle([230, 190, 316, 236], fill="white", outline=0)
    pen.text((236, 196), "500 m", fill=0, font=font(14))
    pen.line([240, 226, 300, 226], fill=0, width=2)
    return image


def satellite(draw: np.random.Generator) -> Image.Image:
    """Fields from above."""
    y, x = np.mgrid[:224, :224]
    centres = draw.uniform(0, 224, (24, 2))
    field = np.argmin(
        np.abs(y[..., None] - centres[:, 0]) + 0.7 * np.abs(x[..., None] - centres[:, 1]), axis=2
    )
    tone = draw.uniform(70, 150, (24, 3)) * (0.9, 1.0, 0.6)
    rows = np.sin((x * np.cos(field * 1.3) + y * np.sin(field * 1.3)) * 0.6)[..., None] * 6
    return Image.fromarray(
        np.clip(tone[field] + rows + draw.normal(0, 5, (224, 224, 1)), 0, 255).astype(np.uint8)
    )


def glyph(draw: np.random.Generator) -> Image.Image:
    """A letter of a script that nobody writes: strokes between nine points."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(3, 6))):
        a, b = draw.choice(9, 2, replace=False)
        pen.line(
            [
                14 + 18 * int(a % 3),
                14 + 18 * int(a // 3),
                14 + 18 * int(b % 3),
                14 + 18 * int(b // 3),
            ],
            fill=0,
            width=6,
        )
    return image


def gauge(draw: np.random.Generator) -> Image.Image:
    """Four dials of one meter, photographed, each with its needle somewhere."""
    image = Image.new("RGB", (200, 200), (120, 118, 112))
    pen = ImageDraw.Draw(image)
    for dial in range(4):
        middle = np.array([52 + 96 * (dial % 2), 52 + 96 * (dial // 2)])
        pen.ellipse(
            [*(middle - 44), *(middle + 44)], fill=(236, 236, 228), outline=(30, 30, 30), width=4
        )
        for tick in range(10):
            away = np.array([np.sin(tick * np.pi / 5), -np.cos(tick * np.pi / 5)])
            pen.text(tuple(middle + 32 * away - (4, 7)), str(tick), fill=0, font=font(13))
        turn = draw.uniform(0, 2 * np.pi)
        away = np.array([np.sin(turn), -np.cos(turn)])
        pen.line([*(middle - 8 * away), *(middle + 26 * away)], fill=(190, 20, 20), width=5)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), float) * draw.uniform(0.85, 1.05)
    return Image.fromarray(np.clip(soft + draw.normal(0, 3, soft.shape), 0, 255).astype(np.uint8))


LAYOUTS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        meter,
        gauge,
        chart,
        page,
        form,
        plate,
        x_ray,
        scan,
        code,
        board,
        icon,
        glyph,
        receipt,
        street_map,
        satellite,
    )
}


def drawn(name: str, count: int, seed: int = 0, side: int = 0) -> list[Image.Image]:
    """That many pictures of one layout; with `side`, the longer one of each that long."""
    images = [LAYOUTS[name](np.random.default_rng([seed, number])) for number in range(count)]
    return [resized(image, side) for image in images] if side else images


def resized(image: Image.Image, side: int) -> Image.Image:
    """With a longer side of that many pixels."""
    scale = side / max(image.size)
    return image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.LANCZOS,
    )


def frames(count: int, seed: int = 0) -> list[Image.Image]:
    """Frames of one video: the camera stands or pans slowly, two things move through
    the picture.
    """
    draw = np.random.default_rng(seed)
    low = Image.fromarray(draw.integers(0, 255, (12, 16, 3)).astype(np.uint8)).resize(
        (480, 360), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(draw.integers(0, 255, (72, 96, 3)).astype(np.uint8)).resize(
        (480, 360), Image.Resampling.BICUBIC
    )
    scene = Image.blend(low, fine, 0.4)
    pan, speed = draw.uniform(0, 0.8), draw.uniform(1.5, 4, 2)
    out = []
    for number in range(count):
        left = int(min(pan * number, 150))
        image = scene.crop((left, 40, left + 320, 280))
        pen = ImageDraw.Draw(image)
        for at, (fill, size) in enumerate((((200, 40, 40), 34), ((30, 30, 60), 24))):
            x = (speed[at] * number + 90 * at) % 340 - 20
            pen.rectangle([x, 90 + 70 * at, x + size, 90 + 70 * at + size * 0.8], fill=fill)
        values = np.asarray(image, float) + draw.normal(0, 2, (240, 320, 3))
        out.append(Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)))
    return out
