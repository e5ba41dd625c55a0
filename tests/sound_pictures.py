"""Pictures that are as they should be, of kinds unlike a photograph that fills its frame.

16 of them, made from photographs or drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Maker = Callable[[Sequence[Image.Image], np.random.Generator], Image.Image]


def part(
    photographs: Sequence[Image.Image], rng: np.random.Generator, size: tuple[int, int] = (360, 240)
) -> Image.Image:
    """A piece of a photograph, of this size, from its middle or beside it."""
    whole = photographs[rng.integers(len(photographs))].convert("RGB")
    return ImageOps.fit(whole, size, centering=tuple(rng.uniform(0.3, 0.7, 2)))


def framed(image: Image.Image, left: int, top: int, colour: tuple[int, ...]) -> Image.Image:
    """An image on a plain ground that is larger."""
    ground = Image.new("RGB", (image.width + 2 * left, image.height + 2 * top), colour)
    ground.paste(image, (left, top))
    return ground


def letterbox(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A wide film on a square screen."""
    return framed(part(photographs, rng, (360, 180)), 0, int(rng.integers(30, 120)), (0, 0, 0))


def pillarbox(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A picture held upright on a wide screen."""
    return framed(part(photographs, rng, (200, 300)), int(rng.integers(60, 160)), 0, (0, 0, 0))


def border(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A mat of any colour around a picture."""
    colour = (
        (255, 255, 255)
        if rng.random() < 1 / 2
        else tuple(int(level) for level in rng.integers(0, 256, 3))
    )
    return framed(
        part(photographs, rng), int(rng.integers(20, 80)), int(rng.integers(20, 80)), colour
    )


def vignette(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Light that falls off to black corners, in a circle or an oval."""
    values = np.asarray(part(photographs, rng), np.float32)
    down, right = np.meshgrid(
        np.linspace(-1, 1, values.shape[0]), np.linspace(-1, 1, values.shape[1]), indexing="ij"
    )
    fall = 1 / (1 + np.exp(8 * (np.hypot(down, right) - rng.uniform(0.6, 1.0))))
    return Image.fromarray((values * fall[..., None]).astype(np.uint8))


def collage(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Several pictures beside each other, with gaps."""
    across, down = (int(n) for n in rng.integers(2, 4, 2))
    ground = Image.new("RGB", (10 + 130 * across, 10 + 100 * down), "white")
    for place in range(across * down):
        ground.paste(
            part(photographs, rng, (120, 90)),
            (10 + 130 * (place % across), 10 + 100 * (place // across)),
        )
    return ground


def screenshot(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A window with a bar, a menu, lines of text and a small picture.

    Every second one on a dark ground.
    """
    dark = rng.random() < 1 / 2
    ground, ink = ((32, 34, 38), (210, 210, 210)) if dark else ((250, 250, 250), (40, 40, 40))
    image = Image.new("RGB", (640, 400), ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 640, 26], fill=tuple(int(level) for level in rng.integers(30, 200, 3)))
    pen.rectangle(
        [0, 27, 120, 400], fill=tuple((level + (12 if dark else -14)) for level in ground)
    )
    for line in range(int(rng.integers(6, 16))):
        pen.text((10, 40 + 20 * line), "menu item", fill=ink)
        pen.text((140, 40 + 20 * line), words(rng, int(rng.integers(20, 60))), fill=ink)
    image.paste(part(photographs, rng, (150, 100)), (460, 270))
    return image


def scan(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A page of text as a scanner sees it.

    Paper that is not quite white, a little noise, a little askew.
    """
    paper = int(rng.integers(215, 250))
    image = Image.new("L", (480, 640), paper)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=int(rng.integers(11, 17)))
    for line in range(int(rng.integers(6, 26))):
        pen.text((50, 50 + 22 * line), words(rng, 48), fill=int(rng.integers(20, 70)), font=font)
    image = image.rotate(rng.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=paper)
    return Image.fromarray(
        np.clip(np.asarray(image) + rng.normal(0, 2, (640, 480)), 0, 255).astype(np.uint8)
    ).convert("RGB")


def line_art(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Thin black lines on white: curves, circles, hatching."""
    image = Image.new("RGB", (400, 400), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 12))):
        x, y, r = (int(v) for v in rng.integers((30, 30, 10), (370, 370, 120)))
        pen.ellipse([x - r, y - r, x + r, y + r], outline=0, width=int(rng.integers(1, 4)))
    points = [
        (20 + 12 * k, float(v))
        for k, v in enumerate(200 + np.cumsum(rng.normal(0, 14, 30)).clip(-180, 180))
    ]
    pen.line(points, fill=0, width=int(rng.integers(1, 4)))
    return image


def night(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A dark place with a few lamps."""
    values = np.asarray(part(photographs, rng), np.float32) * rng.uniform(0.08, 0.3) + rng.normal(
        0, 2, (240, 360, 1)
    )
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    glow = Image.new("RGB", image.size)
    for x, y, r in rng.integers((5, 5, 2), (355, 235, 7), (int(rng.integers(2, 12)), 3)).tolist():
        pen = ImageDraw.Draw(glow)
        pen.ellipse([x - 3 * r, y - 3 * r, x + 3 * r, y + 3 * r], fill=(120, 105, 70))
    glow = glow.filter(ImageFilter.GaussianBlur(9))
    for x, y, r in rng.integers((5, 5, 2), (355, 235, 7), (int(rng.integers(2, 12)), 3)).tolist():
        ImageDraw.Draw(glow).ellipse([x - r, y - r, x + r, y + r], fill=(250, 240, 205))
    return Image.fromarray(
        np.minimum(255, np.asarray(image).astype(int) + np.asarray(glow)).astype(np.uint8)
    )


def fog(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """What is far fades into white, what is near, below, does not quite."""
    values = np.asarray(part(photographs, rng), np.float32)
    seen = np.clip(np.linspace(rng.uniform(0.0, 0.25), rng.uniform(0.55, 0.85), 240), 0, 1)[
        :, None, None
    ]
    return Image.fromarray((values * seen + rng.uniform(190, 225) * (1 - seen)).astype(np.uint8))


def shallow_focus(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A subject in focus before a ground that is not.

    A tenth to a third of the picture is sharp.
    """
    sharp = part(photographs, rng, (480, 360))
    soft = sharp.filter(ImageFilter.GaussianBlur(rng.uniform(4, 9)))
    mask = Image.new("L", sharp.size)
    x, y = rng.uniform(150, 330), rng.uniform(120, 240)
    across, down = rng.uniform(65, 130, 2)
    ImageDraw.Draw(mask).ellipse([x - across, y - down, x + across, y + down], fill=255)
    return Image.composite(sharp, soft, mask.filter(ImageFilter.GaussianBlur(6)))


def medical(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """A slice of a body: smooth organs in grey within a skin, on black, with fine grain."""
    down, right = np.mgrid[:256, :256] / 128 - 1
    turn = rng.uniform(-0.2, 0.2)
    x, y = right * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - right * np.sin(turn)
    body = (x / rng.uniform(0.7, 0.9)) ** 2 + (y / rng.uniform(0.6, 0.85)) ** 2
    values = np.where(body < 1, 90.0, 0) + np.where((body < 1) & (body > 0.9), 70, 0)
    for _ in range(int(rng.integers(4, 10))):
        cx, cy = rng.uniform(-0.45, 0.45, 2)
        inside = ((x - cx) / rng.uniform(0.06, 0.3)) ** 2 + (
            (y - cy) / rng.uniform(0.06, 0.3)
        ) ** 2 < 1
        values[inside & (body < 0.85)] += rng.uniform(-60, 90)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.5, 0.9))
    )
    grain = rng.normal(0, rng.uniform(2, 6), (256, 256)) * (np.asarray(image) > 4)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)).convert(
        "RGB"
    )


def texture(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Chequers, stripes, dots or waves of two colours, of any pitch."""
    down, right = np.mgrid[:256, :256].astype(float)
    angle, pitch = rng.uniform(0, np.pi) if rng.random() < 1 / 2 else 0.0, rng.uniform(4, 40)
    along, across = (
        right * np.cos(angle) + down * np.sin(angle),
        down * np.cos(angle) - right * np.sin(angle),
    )
    wave = np.sin(2 * np.pi * along / pitch)
    kind = int(rng.integers(4))
    wave = [
        np.sign(wave),
        np.sign(wave * np.sin(2 * np.pi * across / pitch)),
        np.where(wave + np.sin(2 * np.pi * across / pitch) > 1, 1, -1),
        wave,
    ][kind]
    one, other = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    while np.abs(one - other).max() < 80:
        other = rng.integers(0, 256, 3)
    share = (wave[..., None] + 1) / 2
    return Image.fromarray((one * share + other * (1 - share)).astype(np.uint8))


def flat(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Crisp shapes of one colour each on a plain ground, as logos and icons are."""
    image = Image.new("RGB", (160, 160), tuple(int(level) for level in rng.integers(225, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 5))):
        x, y, side = (int(v) for v in rng.integers((5, 5, 15), (100, 100, 60)))
        colour = tuple(int(level) for level in rng.integers(0, 190, 3))
        (pen.ellipse if rng.random() < 1 / 2 else pen.rectangle)(
            [x, y, x + side, y + side], fill=colour
        )
    return image


def chart(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Axes, a line or bars, and numbers."""
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    pen.line([40, 10, 40, 260, 390, 260], fill=0, width=1)
    colour = tuple(int(level) for level in rng.integers(0, 180, 3))
    if rng.random() < 1 / 2:
        pen.line(
            [
                (40 + 10 * k, float(v))
                for k, v in enumerate(130 + np.cumsum(rng.normal(0, 12, 35)).clip(-110, 110))
            ],
            fill=colour,
            width=2,
        )
    else:
        for k, v in enumerate(rng.uniform(20, 240, 8)):
            pen.rectangle([55 + 42 * k, 260 - v, 83 + 42 * k, 259], fill=colour)
    for k in range(5):
        pen.text((8, 250 - 60 * k), str(25 * k), fill=(60, 60, 60))
    return image


def silhouette(photographs: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Something black before an evening sky."""
    top, low = rng.uniform(20, 120, 3), rng.uniform(120, 255, 3)
    sky = (
        top
        + (low - top) * np.linspace(0, 1, 240)[:, None, None]
        + rng.normal(0, 1.5, (240, 360, 3))
    )
    image = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    ridge = [
        (12 * k, float(v))
        for k, v in enumerate(190 + np.cumsum(rng.normal(0, 7, 31)).clip(-60, 40))
    ]
    pen.polygon([(0, 240), *ridge, (360, 240)], fill=(8, 8, 12))
    x = int(rng.integers(60, 300))
    pen.rectangle([x, 90, x + 12, 220], fill=(8, 8, 12))
    pen.ellipse([x - 30, 60, x + 40, 130], fill=(8, 8, 12))
    return image


def words(rng: np.random.Generator, letters: int) -> str:
    """Something that looks like text."""
    return "".join(
        chr(letter) if letter < 123 else " " for letter in rng.integers(97, 128, letters)
    )


KINDS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        letterbox,
        pillarbox,
        border,
        vignette,
        collage,
        screenshot,
        scan,
        line_art,
        night,
        fog,
        shallow_focus,
        medical,
        texture,
        flat,
        chart,
        silhouette,
    )
}


def sound_pictures(
    photographs: Sequence[Image.Image], each: int, seed: int = 0
) -> dict[str, list[Image.Image]]:
    """So many of each kind; those of a kind do not depend on the other kinds."""
    found = {}
    for place, (name, maker) in enumerate(KINDS.items()):
        found[name] = [
            maker(photographs, np.random.default_rng([seed, place, number]))
            for number in range(each)
        ]
    return found
