"""Files that end early, read as far as they go.

Which share of the picture is missing, and bytes or pixels to look at.

What is missing of a JPEG is mid-grey, of the others black. Only a plain cut is taken for one (a
copy or a download that was interrupted, a tail of zeros): a file that goes on after its damage is
not.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe_images import jpeg, scans
from dqpipe_images.damage import PNG_ESSENTIAL

if TYPE_CHECKING:
    from dqpipe_images.jpeg import Glance
    from dqpipe_images.scans import Frame

GREY = 128  # what libjpeg gives where it has no data
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type of a PNG → channels
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # of Adam7: left, top, steps
BITS = {
    "1;I": 1,
    "L": 8,
    "RGB": 24,
    "I;16B": 16,
}  # a pixel, by Pillow's names of what stands in a PNM


def of_jpeg(data: bytes, seen: Glance, reduction: int) -> tuple[np.ndarray, float] | None:
    """uint8 [h, w, 3] of a JPEG in grey or colour, and the share that is missing.

    None if it is not merely cut.
    """
    frame = scans.frame(data)
    if frame is None or frame.ended or not frame.whole():
        return None
    kept = data.rstrip(b"\0")
    sound = jpeg.pixels(kept + jpeg.END, seen, reduction)
    if sound is not None:
        return sound, 0.0
    try:
        found = jpeg.filled(kept + jpeg.END, seen, reduction)
        there = (
            (found != GREY).any(axis=2)
            if not frame.several
            else _refined(found, kept, seen, reduction, frame)
        )
    except ValueError:
        return None
    return found, _share_after(there, frame, reduction)


def _refined(
    found: np.ndarray, data: bytes, seen: Glance, reduction: int, frame: Frame
) -> np.ndarray:
    """Bool [h, w]: which pixels the last scan changed, the one that is cut."""
    start = frame.scans[-1].start
    header = (
        start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    )  # with it libjpeg takes the frequencies for known, and smoothes none
    before = jpeg.filled(data[:header] + jpeg.END, seen, reduction)
    changed: np.ndarray = (found != before).any(axis=2)
    return changed


def _share_after(there: np.ndarray, frame: Frame, reduction: int) -> float:
    """The share of the blocks, coded row by row, that are missing.

    The last one with a pixel [h, w] that is there is not whole.
    """
    wide, high = (max(1, side // reduction) for side in frame.block)
    rows = np.flatnonzero(there.any(axis=1))
    down, across = -(-there.shape[0] // high), -(-there.shape[1] // wide)
    if not len(rows):
        return 1.0
    last = int(rows[-1]) // high
    column = int(np.flatnonzero(there[last * high : (last + 1) * high].any(axis=0))[-1]) // wide
    return 1 - (last * across + column) / (down * across)


def of_png(data: bytes) -> tuple[bytes, float] | None:
    """A whole PNG made of one that ends early, black where rows are missing, and the share of its
    values that is.
    """
    place, kept, packed, name, cut = 8, [data[:8]], list[bytes](), b"", False
    while name != b"IEND" and place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if not name.isalpha():
            return None
        end = place + 8 + length
        cut = end + 4 > len(data)
        if name == b"IDAT":
            packed.append(data[place + 8 : end])
        if not cut and (not name[0] & 0x20 or (length and name in PNG_ESSENTIAL)):
            if not name[0] & 0x20 and zlib.crc32(data[place + 4 : end]) != int.from_bytes(
                data[end : end + 4], "big"
            ):
                return None
            if name not in {b"IDAT", b"IEND"}:
                kept.append(data[place : end + 4])
        place = end + 4
    if (name == b"IEND" and not cut) or not packed:
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    wanted = _packed_length(
        width, height, depth * CHANNELS.get(colour, 0), interlaced=data[28] == 1
    )
    try:
        values = zlib.decompressobj().decompress(b"".join(packed), wanted)
    except zlib.error:
        return None
    made = zlib.compress(values + bytes(wanted - len(values)), 1)
    return b"".join((*kept, _chunk(b"IDAT", made), _chunk(b"IEND", b""))), 1 - len(values) / wanted


def _packed_length(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Bytes of all rows, each with that of its filter."""
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [
        (-(-(width - left) // across), -(-(height - top) // down))
        for left, top, across, down in passes
    ]
    return sum(high * (1 + -(-wide * bits // 8)) for wide, high in sizes if wide > 0 and high > 0)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def of_rows(image: Any, data: bytes) -> tuple[bytes, float] | None:  # noqa: ANN401 (PIL's ImageFile)
    """A BMP or PNM of plain rows, filled up with zeros, and the share of its rows that
    is missing.
    """
    if len(image.tile) != 1 or image.tile[0][0] != "raw":
        return None
    _, _, start, how = image.tile[0]
    stride = how[1] if isinstance(how, tuple) else 0
    mode = how[0] if isinstance(how, tuple) else how
    stride = stride or -(-image.width * BITS.get(mode, 0) // 8)
    wanted = stride * image.height
    lacks = start + wanted - len(data)
    return None if wanted <= 0 or lacks <= 0 else (data + bytes(lacks), min(1.0, lacks / wanted))
