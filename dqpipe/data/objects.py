"""Objects as labels: the boxes, polygons, masks and keypoints of a picture, whatever format they
came in.

A picture's label is a list of objects, empty for a picture that shows none (a background), null
where nobody annotated it. Coordinates are pixels from the upper left corner of the picture as it is
stored, x before y.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

OBJECT = pa.struct(
    [
        ("id", pa.string()),  # of the annotation, unique in its picture
        ("class", pa.string()),  # null where the source names none, or one that is not known
        ("box", pa.list_(pa.float64())),  # x, y, width, height
        (
            "polygons",
            pa.list_(pa.list_(pa.float64())),
        ),  # each x1, y1, x2, y2, …; several are parts of one object
        (
            "rle",
            pa.string(),
        ),  # COCO's run lengths, as JSON text: {"size": [height, width], "counts": …}
        ("keypoints", pa.list_(pa.float64())),  # x, y, visibility for each point
        ("crowd", pa.bool_()),
        ("other", pa.string()),  # the source's other fields, as JSON text
    ]
)
LABELS = pa.list_(OBJECT)
"""The type of a label column of objects."""


def an_object(
    number: object,
    name: str | None,
    *,
    box: Iterable[float] | None = None,
    polygons: Iterable[Iterable[float]] | None = None,
    rle: Any = None,  # noqa: ANN401
    keypoints: Iterable[float] | None = None,
    crowd: bool | None = None,
    other: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One object as a value of OBJECT.

    Halves of letters, as JSON may have them, become their escapes.
    """
    return {
        "id": _writable(str(number)),
        "class": None if name is None else _writable(name),
        "box": None if box is None else [float(value) for value in box],
        "polygons": None
        if polygons is None
        else [[float(value) for value in polygon] for polygon in polygons],
        "rle": None if rle is None else _writable(json.dumps(rle, ensure_ascii=False)),
        "keypoints": None if keypoints is None else [float(value) for value in keypoints],
        "crowd": crowd,
        "other": _writable(json.dumps(other, ensure_ascii=False, default=str)) if other else None,
    }


def _writable(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def edits(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]] | None
) -> dict[str, Mapping[str, Any] | None]:
    """By id, each object that is another one now, None for one that is gone.

    One that is new stands under its own id.
    """
    old = {one["id"]: one for one in before}
    new = {one["id"]: one for one in after or ()}
    gone: dict[str, Mapping[str, Any] | None] = {
        number: None for number in old if number not in new
    }
    return gone | {
        number: one
        for number, one in new.items()
        if number not in old or _text(one) != _text(old[number])
    }


def _text(one: Mapping[str, Any]) -> str:
    return json.dumps(one, sort_keys=True, default=str)
