"""Objects are drawn where they are, on turned and reduced pictures too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dqpipe_images.marks import QUESTION, colour_of, marked
from dqpipe_images.picture import Header, Picture

from dqpipe.data.objects import an_object


def grey(wide: int = 200, high: int = 100, orientation: int = 1, by: int = 1) -> Picture:
    head = Header("PNG", wide, high, "RGB", orientation)
    return Picture(head, np.full((high // by, wide // by, 3), 128, np.uint8), by)


def drawn(item: Picture, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has a colour."""
    y, x = np.nonzero((item.pixels == colour).all(-1))
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())


BOX = an_object("a", "cat", box=(50, 20, 60, 40))


def test_a_box_is_drawn_where_it_is_in_the_colour_of_its_class() -> None:
    assert drawn(marked(grey(), [BOX], ()), colour_of("cat"))[:2] == pytest.approx((50, 20), abs=1)
    half = marked(grey(800, 400, by=2), [BOX], ())
    assert drawn(half, colour_of("cat")) == pytest.approx((25, 10, 55, 30), abs=2)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (50, 20, 110, 60)),
        (2, (90, 20, 150, 60)),
        (3, (90, 40, 150, 80)),
        (4, (50, 40, 110, 80)),
        (5, (20, 50, 60, 110)),
        (6, (40, 50, 80, 110)),
        (7, (40, 90, 80, 150)),
        (8, (20, 90, 60, 150)),
    ],
)
def test_a_box_turns_with_its_picture(orientation: int, expected: tuple[int, ...]) -> None:
    item = grey(100, 200, orientation) if orientation >= 5 else grey(orientation=orientation)
    assert drawn(marked(item, [BOX], ()), colour_of("cat")) == pytest.approx(expected, abs=2)


def test_the_object_in_question_is_zoomed_in_on_and_red() -> None:
    item = grey(2000, 1000)
    shown = marked(item, [BOX, an_object("b", "dog", box=(1500, 800, 60, 40))], {"b"})
    assert shown.pixels.shape[1] < 400
    assert (shown.pixels == QUESTION).all(-1).any()
    assert not (shown.pixels == colour_of("cat")).all(-1).any()
    assert (item.pixels == 128).all()  # the picture itself stays


def test_polygons_and_visible_keypoints_are_drawn() -> None:
    shape = an_object("a", "cat", polygons=[[10, 10, 90, 10, 50, 80]])
    assert drawn(marked(grey(), [shape], ()), colour_of("cat")) == pytest.approx(
        (10, 10, 90, 80), abs=2
    )
    points = an_object("a", "cat", keypoints=[30, 40, 2, 150, 90, 0])
    assert drawn(marked(grey(), [points], ()), colour_of("cat")) == pytest.approx(
        (28, 38, 32, 42), abs=2
    )


HOSTILE: list[dict[str, Any]] = [
    {"box": (float("nan"), 0, 1, 1)},
    {"box": (1e308, 1e308, 1, 1)},
    {"box": (-500, -500, 10, 10)},
    {"box": (50, 50, -40, -30)},
    {"box": (0, 0, 0, 0)},
    {"polygons": [[], [1.0], [1.0, 2.0, 3.0], [float("inf")] * 6]},
    {"keypoints": [1.0, 2.0]},
    {},
]


@pytest.mark.parametrize("shape", HOSTILE, ids=str)
def test_shapes_that_are_none_draw_nothing_and_end_nothing(shape: dict[str, Any]) -> None:
    for parts in ((), {"x"}):
        shown = marked(grey(), [an_object("x", None, **shape)], parts)
        assert shown.pixels.dtype == np.uint8
        assert shown.pixels.size
