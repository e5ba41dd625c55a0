"""Whether two pictures that agree in their grey values have other colours.

A red thing and a green one.

A copy may be paler or stronger in colour, tinted as by another white balance, or grey altogether:
then its colour differences are those of the other picture times a gain that is not negative, and a
tint that grows with the light.
"""

from __future__ import annotations

import numpy as np

from dqpipe_images.alignment import warped
from dqpipe_images.proof import EDGE, SEEN, celled

COLOURED = 20.0
"""Colour difference of a cell, in steps of 255, from which a picture is no grey one."""
STRONGER = 3.0
"""The largest gain of a copy's colours over the other's, either way."""
TINT, CAST = 0.25, 25.0
"""The largest tint: its share of the light, and in steps everywhere."""
OTHER, MOSTLY = 30.0, 0.5
"""What is left in a cell of another colour, in steps and as a share of what the cell shows, at
least.
"""
ROUNDS = 3
CELL = (4, 2)
"""Side of a cell, and from one to the next, in pixels."""


def recoloured(
    templates: np.ndarray, pictures: np.ndarray, light: np.ndarray, warps: np.ndarray
) -> np.ndarray:
    """Which pairs [n] have other colours somewhere.

    `templates` and `pictures` are colour differences [n, 2, s, s], the latter turned as the former;
    `light` [n, s, s] are grey values of the templates, `warps` [n, 4] lay the pictures on them.
    """
    laid = [warped(pictures[:, channel], warps.astype(np.float32), EDGE) for channel in (0, 1)]
    mask = laid[0][1]
    share = celled(mask, CELL)
    seen, scale = share >= SEEN, np.maximum(share, 1e-3)

    def cells(values: np.ndarray) -> np.ndarray:
        return np.where(seen, celled(values * mask, CELL) / scale, 0)

    wanted = np.stack([cells(templates[:, channel]) for channel in (0, 1)], axis=1)
    read = np.stack([cells(values) for values, _ in laid], axis=1)
    shown = [np.linalg.norm(values, axis=1) for values in (wanted, read)]
    grey = np.minimum(*(values.max(1, initial=0) for values in shown)) < COLOURED
    lit = cells(light)
    return ~grey & _other(wanted, read, lit, seen).any(1) & _other(read, wanted, lit, seen).any(1)


def _other(wanted: np.ndarray, read: np.ndarray, light: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Cells [n, cells] whose colours [n, 2, cells] no gain and no tint explains by those of the
    other picture.
    """
    gain, tint = np.ones((len(wanted), 1, 1)), np.zeros((len(wanted), 2, 1))
    light, count = light[:, None], np.maximum(seen.sum(1), 1)[:, None, None]

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * seen[:, None]).sum(2, keepdims=True) / count

    for _ in range(ROUNDS):
        cast = np.clip(mean(wanted - gain * read - tint * light), -CAST, CAST)
        tint = np.clip(
            mean((wanted - gain * read - cast) * light) / np.maximum(mean(light * light), 1),
            -TINT,
            TINT,
        )
        agrees, power = (
            mean(values * read).sum(1, keepdims=True)
            for values in (wanted - tint * light - cast, read)
        )
        gain = np.clip(agrees / np.maximum(power, 1), 1 / STRONGER, STRONGER)
    rest = np.linalg.norm(wanted - gain * read - tint * light - cast, axis=1)
    shown = np.maximum(np.linalg.norm(wanted, axis=1), np.linalg.norm(gain * read, axis=1))
    return np.asarray(seen & (rest > OTHER) & (rest > MOSTLY * shown))
