"""What the search for duplicates keeps of a picture.

A digest of its pixels, and a grey thumbnail.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dqpipe import Pixels
    from dqpipe_images.picture import Picture

SIDE = 32
"""Side of a thumbnail in pixels; a multiple of the cells that alignment.py compares."""
WORDS = 512
"""Words of 64 bits that one partial sum of the digest covers."""
READ_AT_ONCE = 16
"""Pictures that are decoded again at once."""
WINDOW = 256
"""Side in pixels of the middle part whose sharpness is taken.

The tie-break between copies needs no more.
"""


@functools.cache
def digest_weights() -> np.ndarray:
    """uint64 [2, WORDS], odd, the same for ever: they are part of the digest."""
    drawn = np.random.Generator(np.random.Philox(20)).integers(
        0, 2**64, (2, WORDS), dtype=np.uint64
    )
    return drawn | np.uint64(1)


def digest(values: np.ndarray, *about: object) -> str:
    """32 hex digits of an array's values, shape and type, and of what else is said about it.

    Rows of words are reduced by two multilinear hashes modulo 2**64 (Lemire & Kaser 2014), five
    times as fast as a cryptographic hash; the sums are then hashed by SHA-256. Differences in the
    highest bits of words only are hardly seen by such a hash: the second one takes the bytes of a
    word the other way round.
    """
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    whole = data.size - data.size % (8 * WORDS)
    words = data[:whole].reshape(-1, 8 * WORDS)
    said = hashlib.sha256(
        repr((values.shape, values.dtype.str, *about)).encode() + data[whole:].tobytes()
    )
    if whole:
        for weights, order in zip(digest_weights(), ("<u8", ">u8"), strict=True):
            said.update(np.einsum("ij,j->i", words.view(order), weights).astype("<u8").tobytes())
    return said.hexdigest()[:32]


def picture_digest(picture: Picture) -> str:
    """Digest of the decoded values, their shape, and the mode, the full size and the reduction of
    the picture.

    Of a reduced picture the grey values do: equal ones are decoded again, in full, before they are
    called equal.
    """
    header = picture.header
    values = picture.exact if picture.reduction == 1 else picture.grey
    return digest(values, header.mode, header.width, header.height, picture.reduction)


def thumbnails(pictures: Sequence[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Grey uint8 [n, SIDE * SIDE] stretched to 0 … 255, and their contrast before.

    Float32 [n], the standard deviation in grey steps.
    """
    import cv2

    small = np.empty((len(pictures), SIDE, SIDE), dtype=np.float32)
    for thumbnail, picture in zip(small, pictures, strict=True):
        grey = picture.small
        enlarged = min(grey.shape) < SIDE
        thumbnail[:] = cv2.resize(
            grey.astype(np.float32),
            (SIDE, SIDE),
            interpolation=cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA,
        )
    flat = small.reshape(len(small), SIDE * SIDE)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    stretched = np.rint((flat - low) * (np.float32(255) / np.maximum(high - low, np.float32(1e-3))))
    return stretched.astype(np.uint8), flat.std(axis=1, dtype=np.float64).astype(np.float32)


def details(ids: Sequence[str], pixels: Pixels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of some samples, decoded again, a few at a time.

    Grey values uint8 [n, proof.SIDE, proof.SIDE], the mean sides [n] that these had, and two colour
    differences int16 [n, 2, SIDE, SIDE]: red less green, and blue less the mean of both.
    """
    import cv2

    from dqpipe_images.proof import SIDE as FINE

    out, sides = (
        np.empty((len(ids), FINE, FINE), dtype=np.uint8),
        np.empty(len(ids), dtype=np.int64),
    )
    colours = np.empty((len(ids), 2, SIDE, SIDE), dtype=np.int16)
    for start in range(0, len(ids), READ_AT_ONCE):
        for at, picture in enumerate(
            pixels(list(ids[start : start + READ_AT_ONCE]), "picture"), start
        ):
            sides[at] = round(np.sqrt(picture.grey.size))
            out[at] = cv2.resize(
                picture.grey,
                (FINE, FINE),
                interpolation=cv2.INTER_CUBIC if min(picture.grey.shape) < FINE else cv2.INTER_AREA,
            )
            red, green, blue = np.moveaxis(
                cv2.resize(picture.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(
                    np.int16
                ),
                2,
                0,
            )
            colours[at] = red - green, blue - (red + green) // 2
    return out, sides, colours


def sharpness(picture: Picture) -> float:
    """Mean absolute difference of neighbours in rows and columns in the middle of the picture, in
    grey steps.
    """
    import cv2

    height, width = picture.grey.shape
    top, left = max(0, (height - WINDOW) // 2), max(0, (width - WINDOW) // 2)
    middle = picture.grey[top : top + WINDOW, left : left + WINDOW]
    pairs = ((middle[1:], middle[:-1]), (middle[:, 1:], middle[:, :-1]))
    return sum(
        cv2.norm(after, before, cv2.NORM_L1) / middle.size for after, before in pairs if after.size
    )
