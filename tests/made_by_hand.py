"""Image files put together byte by byte.

Kinds that no library here writes, and ones with a fault in a known place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
"""Colour types of PNG."""
ADAM7 = (
    (0, 8, 0, 8),
    (0, 8, 4, 8),
    (4, 8, 0, 4),
    (0, 4, 2, 4),
    (2, 4, 0, 2),
    (0, 2, 1, 2),
    (1, 2, 0, 1),
)
"""Passes of an interlaced PNG: first row, step, first column, step."""
SHORT, LONG, UNDEFINED, ASCII = 3, 4, 7, 2
"""Types of TIFF tags."""
FORMATS = {
    1: "B",
    ASCII: "s",
    SHORT: "H",
    LONG: "I",
    5: "II",
    UNDEFINED: "s",
    12: "d",
    13: "I",
    16: "Q",
}
Tag = tuple[int, int, Sequence[int] | bytes]


# ── PNG ──────────────────────────────────────────────────────────────────────────────────────────


def chunk(name: bytes, body: bytes = b"", *, sum_is_right: bool = True) -> bytes:
    """One chunk of a PNG file."""
    return (
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body) ^ (not sum_is_right))
    )


def png_header(
    width: int, height: int, depth: int = 8, kind: int = COLOUR, *, interlaced: bool = False
) -> bytes:
    """The first chunk of a PNG file."""
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    )


def png(
    values: np.ndarray,
    depth: int,
    kind: int,
    *extra: bytes,
    interlaced: bool = False,
    filtered: bool = False,
    pieces: int = 1,
) -> bytes:
    """A PNG file of values [h, w] or [h, w, channels].

    `extra` chunks stand before the pixels, which come in `pieces`.
    """
    height, width = values.shape[:2]
    passes = (
        [values[row::down, column::right] for row, down, column, right in ADAM7]
        if interlaced
        else [values]
    )
    packed = zlib.compress(
        b"".join(_rows(part, depth, filtered=filtered) for part in passes if part.size)
    )
    size = -(-len(packed) // pieces)
    data = b"".join(
        chunk(b"IDAT", packed[start : start + size]) for start in range(0, len(packed), size)
    )
    return (
        PNG_MAGIC
        + png_header(width, height, depth, kind, interlaced=interlaced)
        + b"".join(extra)
        + data
        + chunk(b"IEND")
    )


def png_claiming(
    width: int,
    height: int,
    *extra: bytes,
    depth: int = 8,
    kind: int = COLOUR,
    pixels: bytes = bytes(1000),
) -> bytes:
    """A PNG file that claims a size, and has some bytes of pixels."""
    return (
        PNG_MAGIC
        + png_header(width, height, depth, kind)
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(pixels, 9))
        + chunk(b"IEND")
    )


def _rows(values: np.ndarray, depth: int, *, filtered: bool) -> bytes:
    """Scan lines with their filter byte: no filter, or one after the other of the five."""
    lines = []
    before, step = b"", max(1, depth * (values.shape[2] if values.ndim > 2 else 1) // 8)
    for number, row in enumerate(values.reshape(len(values), -1)):
        line = _packed(row, depth)
        before = before or bytes(len(line))
        lines.append(_filtered(number % 5 if filtered else 0, line, before, step))
        before = line
    return b"".join(lines)


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = (row[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(bits.ravel()).tobytes()


def _filtered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    here, up = np.frombuffer(line, np.uint8).astype(int), np.frombuffer(above, np.uint8).astype(int)
    left, corner = (
        np.concatenate([np.zeros(step, int), of[:-step]])
        if len(of) > step
        else np.zeros(len(of), int)
        for of in (here, up)
    )
    distances = np.abs(np.stack([up - corner, left - corner, left + up - 2 * corner]))
    paeth = np.choose(distances.argmin(axis=0), [left, up, corner])
    guess = (0 * here, left, up, (left + up) // 2, paeth)[kind]
    return bytes([kind]) + ((here - guess) % 256).astype(np.uint8).tobytes()


# ── TIFF ─────────────────────────────────────────────────────────────────────────────────────────


def tiff(
    tags: Iterable[Tag],
    parts: Sequence[bytes] = (),
    *,
    order: str = "<",
    big: bool = False,
    tiled: bool = False,
    following: int = 0,
) -> bytes:
    """A TIFF file of one directory, written before its tags' values and its strips (or tiles),
    whose places are filled in.
    """
    start = 16 if big else 8
    offsets, counts = (324, 325) if tiled else (273, 279)
    entries = sorted(
        [
            *tags,
            *(
                [(offsets, LONG, [0] * len(parts)), (counts, LONG, [len(part) for part in parts])]
                if parts
                else []
            ),
        ]
    )
    entry, slot, number = (20, 8, "Q") if big else (12, 4, "I")
    place = start + (8 if big else 2) + entry * len(entries) + slot
    sizes = [_value(order, kind, values) for _, kind, values in entries]
    first = place + sum(len(value) + len(value) % 2 for value in sizes if len(value) > slot)
    places = [first + sum(map(len, parts[:index])) for index in range(len(parts))]
    directory, behind = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for tag, kind, values in entries:
        value = _value(order, kind, places if tag == offsets and parts else values)
        count = len(value) // struct.calcsize("=" + FORMATS[kind])
        directory += struct.pack(f"{order}HH{number}", tag, kind, count)
        if len(value) > slot:
            directory += struct.pack(order + number, place + len(behind))
            behind += value + bytes(len(value) % 2)
        else:
            directory += value.ljust(slot, b"\0")
    magic = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, start)
        if big
        else struct.pack(order + "HI", 42, start)
    )
    return magic + directory + struct.pack(order + number, following) + behind + b"".join(parts)


def _value(order: str, kind: int, values: Sequence[int] | bytes) -> bytes:
    return (
        values
        if isinstance(values, bytes)
        else struct.pack(f"{order}{len(values)}{FORMATS[kind]}", *values)
    )


def tiff_tags(
    width: int,
    height: int,
    bits: Sequence[int] = (8, 8, 8),
    photometric: int = 2,
    compression: int = 1,
) -> list[Tag]:
    """What each TIFF has to say."""
    return [
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, bits),
        (259, SHORT, [compression]),
        (262, SHORT, [photometric]),
        (277, SHORT, [len(bits)]),
        (278, LONG, [height]),
    ]


# ── BMP, GIF, WebP, AVIF, JPEG ───────────────────────────────────────────────────────────────────


def bmp(
    width: int,
    height: int,
    bits: int,
    data: bytes,
    *,
    packing: int = 0,
    colours: bytes = b"",
    masks: bytes = b"",
    header: int = 40,
) -> bytes:
    """A BMP file; a negative height stands for rows from the top."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack(
            "<IiiHHIIiiII",
            header,
            width,
            height,
            1,
            bits,
            packing,
            len(data),
            2835,
            2835,
            len(colours) // 4,
            0,
        )
        info = (info + masks).ljust(header, b"\0") if header > 40 else info + masks
    start = 14 + len(info) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + colours + data


def bmp_rows(values: np.ndarray, bits: int) -> bytes:
    """Rows of a BMP, the last first, each filled up to four bytes.

    Values [h, w] of 1 or 4 bits, else bytes [h, n].
    """
    lines = [_packed(row, bits) if bits < 8 else row.tobytes() for row in values[::-1]]
    return b"".join(line + bytes(-len(line) % 4) for line in lines)


def gif(
    width: int, height: int, *blocks: bytes, colours: bytes = bytes(6), version: bytes = b"89a"
) -> bytes:
    """A GIF file of a screen and what is on it."""
    bits = (len(colours) // 3).bit_length() - 2
    return (
        b"GIF"
        + version
        + struct.pack("<HHBBB", width, height, 0x80 | bits, 0, 0)
        + colours
        + b"".join(blocks)
        + b";"
    )


def gif_frame(
    left: int, top: int, width: int, height: int, data: bytes = b"\x02\x02\x4c\x01\x00"
) -> bytes:
    """A frame of a GIF; the data are those of one pixel unless given."""
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + data


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def without_times(data: bytes) -> bytes:
    """An animated AVIF without the moments when it was made."""
    found = bytearray(data)
    for name in (b"mvhd", b"tkhd", b"mdhd"):
        place = found.find(name)
        while place >= 0:
            length = 16 if found[place + 4] else 8
            found[place + 8 : place + 8 + length] = bytes(length)
            place = found.find(name, place + 1)
    return bytes(found)


def segments(data: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of each segment of a JPEG before its first scan's data."""
    found, place = [], 2
    while data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        found.append((marker, place, place + 2 + length))
        place += 2 + length
        if marker == 0xDA:
            break
    return found


def segment(data: bytes, marker: int) -> tuple[int, int]:
    """Start and end of the first segment of this kind."""
    return next((start, end) for kind, start, end in segments(data) if kind == marker)


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, at its beginning."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def exif(*entries: tuple[int, int, int, bytes], order: str = ">", following: int = 0) -> bytes:
    """A TIFF directory as EXIF data hold it.

    The entries are (tag, type, count, the four bytes of value or place).
    """
    head = (
        (b"MM" if order == ">" else b"II")
        + struct.pack(order + "HI", 42, 8)
        + struct.pack(order + "H", len(entries))
    )
    body = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]
        for tag, kind, count, value in entries
    )
    return head + body + struct.pack(order + "I", following)


def icon(image: bytes) -> bytes:
    """An ICO file that holds a PNG."""
    return (
        struct.pack("<HHH", 0, 1, 1)
        + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(image), 22)
        + image
    )
