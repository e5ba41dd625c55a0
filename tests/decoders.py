"""Plugins with a decoder each.

For a kind of file of their own, in two versions, and for a kind that another decoder reads, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.picture import Header, Picture

from dqpipe.data.media import Rendition
from dqpipe.errors import MediaError
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.stage import Decoder, Extension, extension

JPEG = b"\xff\xd8\xff"


@extension
class Raw(Decoder):
    """Reads RAWP files: a side of one byte, then grey values."""

    name = "raw"

    def suits(self, head: bytes) -> bool:
        return head.startswith(b"RAWP")

    def decode(self, data: bytes, rendition: Rendition) -> Any:
        side = data[4]
        header = Header("RAWP", side, side, "L", size=len(data))
        if len(data) != 5 + side * side:
            raise MediaError("its length is wrong")
        pixels = np.frombuffer(data[5:], np.uint8).reshape(side, side)
        return (
            header
            if rendition == "header"
            else Picture(header, np.repeat(pixels[:, :, None], 3, axis=2))
        )


@extension
class Mirrored(Decoder):
    """Reads JPEG, before the decoder of images is asked, and turns left into right."""

    name = "a_mirror"
    version = 1

    def suits(self, head: bytes) -> bool:
        return head.startswith(JPEG)

    def decode(self, data: bytes, rendition: Rendition) -> Any:
        found = ImageDecoder().decode(data, rendition)
        return (
            found
            if rendition == "header"
            else Picture(found.header, np.ascontiguousarray(found.pixels[:, ::-1]), found.reduction)
        )


@extension
class Darkened(Decoder):
    """The same decoder in its next version: half the light, too."""

    name = "a_mirror"
    version = 2

    def suits(self, head: bytes) -> bool:
        return head.startswith(JPEG)

    def decode(self, data: bytes, rendition: Rendition) -> Any:
        found = Mirrored().decode(data, rendition)
        return (
            found
            if rendition == "header"
            else Picture(found.header, found.pixels // 2, found.reduction)
        )


@extension
class Stumbling(Decoder):
    """Cannot even say what it reads."""

    name = "a_stumbling_one"

    def suits(self, head: bytes) -> bool:
        raise IndexError(head[:4])


def plugin(*kinds: type[Extension]) -> object:
    """A plugin that brings them."""

    @hookimpl
    def dqpipe_register() -> Iterable[type[Extension]]:
        return kinds

    return SimpleNamespace(dqpipe_register=dqpipe_register)


def raw(picture: np.ndarray) -> bytes:
    """A grey picture [n, n] as a RAWP file."""
    return b"RAWP" + bytes([len(picture)]) + picture.tobytes()


def jpeg(picture: np.ndarray) -> bytes:
    """A picture [h, w, 3] as a JPEG file."""
    return bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def png(picture: np.ndarray) -> bytes:
    """A picture as a PNG file."""
    return bytes(cv2.imencode(".png", picture)[1].tobytes())


Encoder = Callable[[np.ndarray], bytes]
