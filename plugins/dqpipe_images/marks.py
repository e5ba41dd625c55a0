"""Objects drawn on their picture: boxes, polygons and keypoints, those in question zoomed in on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dqpipe_images.picture import Header, Picture

COLOURS = (
    (66, 135, 245),
    (240, 140, 40),
    (70, 180, 95),
    (200, 80, 190),
    (215, 190, 40),
    (120, 100, 240),
    (40, 190, 200),
    (165, 110, 60),
)
QUESTION = (235, 50, 50)
"""The colour of an object in question; the others have that of their class."""
AROUND, LEAST = 1.2, 48
"""How much of its surroundings is shown of an object, in its own sizes on each side, and the least
side of what is shown, in pixels.
"""
WHOLE = 0.7
"""Share of the picture from which it is shown as a whole."""
MOST, FARTHEST = 500, 1e6
"""Objects that are drawn, and the largest coordinate, in pixels."""


def marked(item: Picture, objects: Sequence[Mapping[str, Any]], parts: Collection[str]) -> Picture:
    """The picture with its objects drawn; with `parts` (ids) in question, only around these.

    Coordinates of objects are those of the picture as it is stored, before EXIF turns it.
    """
    from PIL import Image, ImageDraw

    shapes = [_placed(item, one) for one in objects[:MOST]]
    asked = [shape for shape, one in zip(shapes, objects, strict=False) if one.get("id") in parts]
    left, top, right, bottom = _shown(item.pixels, [shape["box"] for shape in asked])
    pixels = np.ascontiguousarray(item.pixels[top:bottom, left:right])
    times = max(
        1, round(240 / max(pixels.shape[:2]))
    )  # lines are thinner than what they are drawn on
    image = Image.fromarray(pixels)
    if times > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / 160))

    def at(points: np.ndarray) -> list[tuple[float, float]]:
        return [((x - left) * times, (y - top) * times) for x, y in points.tolist()]

    for shape, one in sorted(
        zip(shapes, objects, strict=False), key=lambda pair: pair[1].get("id") in parts
    ):
        own = one.get("id") in parts
        colour = QUESTION if own else colour_of(one.get("class"))
        thick = 2 * width if own else width
        if shape["box"] is not None:
            (a, b), (c, d) = at(shape["box"])
            draw.rectangle(
                (min(a, c), min(b, d), max(a, c), max(b, d)), outline=colour, width=thick
            )
        for polygon in shape["polygons"]:
            draw.line([*at(polygon), at(polygon)[0]], fill=colour, width=thick)
        for x, y in at(shape["points"]):
            draw.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill=colour)
    return replace(item, pixels=np.asarray(image), native=None)


def colour_of(name: object) -> tuple[int, int, int]:
    """The colour of a class, the same in every picture."""
    digest = hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=2).digest()
    return COLOURS[int.from_bytes(digest, "big") % len(COLOURS)]


def _placed(item: Picture, one: Mapping[str, Any]) -> dict[str, Any]:
    """An object in pixels of the picture as it is decoded; what is no number is left out."""
    head = item.header
    scale = item.pixels.shape[1] / max(head.width, 1), item.pixels.shape[0] / max(head.height, 1)

    def points(values: Sequence[float], step: int = 2) -> np.ndarray:
        flat = np.asarray(values, np.float64)
        pairs = flat[: len(flat) // step * step].reshape(-1, step)
        if step > 2:  # noqa: PLR2004 (x, y, visibility)
            pairs = pairs[pairs[:, 2] > 0][:, :2]
        sound = np.isfinite(pairs).all(1) & (np.abs(pairs) < FARTHEST).all(1)
        return _turned(pairs[sound], head) * scale

    box = one.get("box")
    corners = (
        points([box[0], box[1], box[0] + box[2], box[1] + box[3]]) if box else np.zeros((0, 2))
    )
    polygons = [points(polygon) for polygon in one.get("polygons") or ()]
    return {
        "box": corners if len(corners) == 2 else None,  # noqa: PLR2004 (two corners)
        "polygons": [polygon for polygon in polygons if len(polygon) > 1],
        "points": points(one.get("keypoints") or (), 3),
    }


def _turned(points: np.ndarray, head: Header) -> np.ndarray:
    """Points [k, 2] of the stored picture where EXIF's orientation brings them (values 1 to 8)."""
    x, y = points.T
    swapped = head.orientation >= 5  # noqa: PLR2004 (width and height change places)
    w, h = (head.height, head.width) if swapped else (head.width, head.height)
    turned = {
        2: (w - x, y),
        3: (w - x, h - y),
        4: (x, h - y),
        5: (y, x),
        6: (h - y, x),
        7: (h - y, w - x),
        8: (y, w - x),
    }.get(head.orientation, (x, y))
    return np.stack(turned, 1)


def _shown(pixels: np.ndarray, boxes: Sequence[np.ndarray | None]) -> tuple[int, int, int, int]:
    """What is shown: around the boxes in question, or all of it (left, top, right, bottom)."""
    height, width = pixels.shape[:2]
    known = [box for box in boxes if box is not None]
    if not known:
        return 0, 0, width, height
    low, high = np.min([box.min(0) for box in known], 0), np.max([box.max(0) for box in known], 0)
    middle, half = (low + high) / 2, np.maximum((high - low) * (0.5 + AROUND), LEAST / 2)
    left, top = (max(0, math.floor(value)) for value in middle - half)
    right, bottom = (math.ceil(value) for value in middle + half)
    right, bottom = min(width, max(right, 1)), min(height, max(bottom, 1))
    left, top = min(left, right - 1), min(top, bottom - 1)
    if (right - left) * (bottom - top) > WHOLE * width * height:
        return 0, 0, width, height
    return left, top, right, bottom
