"""Make the shipped bank of patch filters: python -m dqpipe_images.make_patch_bank [FILE].

    photographs ──crops of many scales──┐
    digits ──enlarged───────────────────┴──▶ 32×32 pictures ──learn──▶ patch_bank.npz

Everything comes from scikit-learn's own data: the photographs china.jpg and flower.jpg
(danielbuechele and vultilion, CC BY 2.0) and the Optical Recognition of Handwritten Digits data
(Alpaydin & Kaynak, UCI, CC BY 4.0). One seed decides what is cut; on the same libraries the file is
the same, byte for byte.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dqpipe_images.patch_bank import BANK, SIDE, learn, shrink

SEED = 1
CROPS, DIGITS = 10_000, 1_000
CROP_SIDES = (24, 400)  # pixels of the photographs, drawn evenly in the logarithm
STRETCH = 1.35  # at most, between width and height


def crop(photographs: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A piece of a photograph as 32×32, mirrored or turned by chance."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    limits = photograph.shape[:2]
    height = int(np.exp(rng.uniform(*np.log(CROP_SIDES))))
    width = min(int(height * np.exp(rng.uniform(-1, 1) * np.log(STRETCH))), limits[1])
    top, left = rng.integers(limits[0] - height + 1), rng.integers(limits[1] - width + 1)
    piece = shrink(photograph[top : top + height, left : left + width])
    return (piece, piece[:, ::-1], piece[::-1], piece.transpose(1, 0, 2))[
        rng.choice(4, p=(0.4, 0.4, 0.1, 0.1))
    ]


def pasted(ground: np.ndarray, figure: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ellipse of one picture before another.

    Pictures show things, and the two photographs show few of them.
    """
    (y, x), angle = rng.uniform(8, 24, 2), rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:SIDE, :SIDE] - np.array([y, x])[:, None, None]
    along, across = (
        columns * np.cos(angle) + rows * np.sin(angle),
        rows * np.cos(angle) - columns * np.sin(angle),
    )
    inside = np.hypot(along / rng.uniform(5, 16), across / rng.uniform(5, 16)) < 1
    return np.where(inside[..., None], figure, ground)


def digit(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A handwritten digit, light on dark or dark on light."""
    grey = shrink(np.repeat((values * 255 / 16).astype(np.uint8)[..., None], 3, axis=2))
    return grey if rng.random() < 1 / 2 else 255 - grey


def pictures(seed: int = SEED) -> np.ndarray:
    """uint8 [n, 32, 32, 3]: what the bank is learned from."""
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    crops = [crop(photographs, rng) for _ in range(CROPS)]
    found = [
        pasted(one, crops[rng.integers(CROPS)], rng) if rng.random() < 1 / 3 else one
        for one in crops
    ]
    images = load_digits().images
    return np.stack(
        found + [digit(images[row], rng) for row in rng.choice(len(images), DIGITS, replace=False)]
    )


def save(bank: Mapping[str, np.ndarray], path: Path) -> None:
    """Write an npz whose bytes depend on the arrays alone (numpy's own holds the time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(bank):
            array = io.BytesIO()
            np.save(array, bank[name], allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    save(learn(pictures(), SEED), Path(sys.argv[1]) if len(sys.argv) > 1 else BANK)
