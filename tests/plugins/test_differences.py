"""Where two pictures of the same differ.

Nothing for the same picture turned, red where something was painted, none for strangers.
"""

from __future__ import annotations

import numpy as np
import pytest
from dqpipe_images.differences import UNSEEN, difference
from sklearn.datasets import load_sample_image


@pytest.fixture(scope="module")
def tile() -> np.ndarray:
    """A part of a photograph with enough to hold on to."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[100:300, 200:440])


def red(drawn: np.ndarray) -> np.ndarray:
    """[h, w] bool: where a difference is marked."""
    return drawn[..., 0].astype(int) - drawn[..., 1] > 40


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_or_mirrored_copy_differs_nowhere(
    tile: np.ndarray, turn: int, *, mirrored: bool
) -> None:
    copy = np.ascontiguousarray(np.rot90(tile[:, ::-1] if mirrored else tile, turn))
    drawn = difference(tile, copy, 144)
    assert drawn.shape == (120, 144, 3)
    assert red(drawn).mean() < 0.02


def test_what_was_painted_over_is_red_and_nothing_else(tile: np.ndarray) -> None:
    painted = tile.copy()
    painted[40:80, 60:120] = (255, 255, 0)
    marked = red(difference(painted, tile, 240))
    assert marked[45:75, 65:115].mean() > 0.7
    assert marked[120:].mean() < 0.03


def test_light_and_a_small_crop_are_no_difference_and_what_the_match_lacks_is_blank(
    tile: np.ndarray,
) -> None:
    cropped = (0.7 * tile[12:-12, 14:-14]).astype(np.uint8)
    drawn = difference(tile, cropped, 240)
    assert red(drawn).mean() < 0.05
    assert (drawn[:4] == UNSEEN).mean() > 0.5


def test_strangers_have_no_difference_to_show(tile: np.ndarray) -> None:
    assert (
        difference(tile, np.ascontiguousarray(load_sample_image("flower.jpg")[:200, :240]), 144)
        is None
    )


def test_flat_pictures_of_one_colour_are_alike() -> None:
    flat = np.full((20, 20, 3), 90, np.uint8)
    assert not red(difference(flat, flat, 32)).any()
