"""What Pillow lets pass and what it says in its own words.

Checks of a file's wholeness, and reasons for a person.

JPEG: missing entropy-coded data, scans without end · PNG: checksums, faults beside the pixels ·
TIFF: strips beyond the end, the number of pages, and libtiff's complaints
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dqpipe import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER, END_OF_IMAGE, START_OF_SCAN, SEQUENTIAL = 0xFF, b"\xff\xd9", 0xDA, (0xC0, 0xC1)
PADDING = bytes(16)  # libjpeg looks a few bytes ahead
SHORTEST_SCAN, MOST_SCANS = (
    10,
    3_600_000_000,
)  # bytes; and scans times pixels: the largest picture in 20 scans, some 10 s of work
PNG_ESSENTIAL = frozenset(
    {b"tRNS", b"eXIf"}
)  # chunks besides the critical ones that change what is seen
PNG_HEADER, PNG_METHODS = slice(8, 16), slice(26, 29)
CUT_SHORT = (
    "truncated",
    "not enough",
    "end of file",
    "eof ",
    "unexpected end",
    "incomplete",
    "read beyond",
    "buffer overrun",
    "expected to read",
)
STRIPS = (
    (273, 279),
    (324, 325),
)  # the tags of a TIFF with the offsets and byte counts of its strips, or tiles
COMPLAINT = re.compile(
    rb"^\w[\w.]*: .*\n(?:  .*\n)*", re.MULTILINE
)  # as libtiff's own error handler writes


def strict(data: bytes) -> bytes:
    """JPEG bytes in which missing entropy-coded data is an error to Pillow.

    At the end-of-image marker libjpeg fills what is missing with grey and only warns; without the
    marker it waits for more data, and Pillow calls the file truncated. That works for one
    sequential scan; other files are given back as they are.
    """
    position, components = 2, 0
    while position + 4 <= len(data) and data[position] == MARKER:
        marker, length = (
            data[position + 1],
            int.from_bytes(data[position + 2 : position + 4], "big"),
        )
        if marker in SEQUENTIAL:
            components = data[position + 9] if position + 9 < len(data) else 0
        if marker == START_OF_SCAN:
            if not components or data[position + 4 : position + 5] != bytes([components]):
                return data
            end = data.find(END_OF_IMAGE, position + 2 + length)
            scan = (
                data[:end] if end >= 0 else data.rstrip(b"\x00")
            )  # a file whose tail was never written ends in zeros
            return scan + PADDING
        position += 2 + length if marker != MARKER else 1  # markers may be preceded by fill bytes
    return data


def check_scans(data: bytes, pixels: int) -> None:
    """Raise MediaError if a JPEG repeats its scans until decoding takes minutes.

    Each is a pass over all pixels.
    """
    if len(data) // SHORTEST_SCAN * pixels > MOST_SCANS and not _one_scan(data):
        scans = data.count(bytes([MARKER, START_OF_SCAN]))
        if scans * pixels > MOST_SCANS:
            raise MediaError(
                f"has {scans:,} scans of {pixels / 1e6:.1f} million pixels: decoding it would take "
                f"minutes"
            )


def _one_scan(data: bytes) -> bool:
    """Whether the first scan of a JPEG is all of it: libjpeg then looks no further."""
    return strict(data) is not data


def check_chunks(data: bytes) -> None:
    """Raise MediaError if a PNG ends before its last chunk, or a critical chunk does not match its
    checksum.
    """
    position, name = 8, b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise MediaError(ends_early("PNG", data))
        length, name = struct.unpack_from(">I4s", data, position)
        if not name.isalpha():
            raise MediaError("damaged PNG: something else stands where a chunk should begin")
        end = position + 8 + length
        if end + 4 > len(data):
            raise MediaError(ends_early("PNG", data))
        critical = not name[0] & 0x20
        if critical and zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(
            data[end : end + 4], "big"
        ):
            raise MediaError(f"damaged PNG: the checksum of its {name.decode()} chunk is wrong")
        position = end + 4
    if data[PNG_HEADER] != b"\0\0\0\rIHDR" or data[26] or data[27] or data[28] > 1:
        raise MediaError(
            "damaged PNG: it asks for a compression, filter or interlacing that there is none of"
        )


def essential(data: bytes) -> bytes:
    """A PNG whose chunks were checked, without what does not change its pixels.

    No fault there keeps them from being seen.
    """
    position, kept = 8, [data[:8]]
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if not name[0] & 0x20 or (length and name in PNG_ESSENTIAL):
            kept.append(data[position:end])
        if name == b"IEND":
            break
        position = end
    return b"".join(kept)


def pages(data: bytes) -> int:
    """The number of directories of a TIFF.

    Up to one that is no longer in the file, or that was counted.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    count, size, number = (8, 20, "Q") if big else (2, 12, "I")
    counted, place = set[int](), _number(data, 8 if big else 4, order + number)
    while place and place not in counted:
        entries = _number(data, place, order + ("Q" if big else "H"))
        if entries is None:
            break
        counted.add(place)
        place = _number(data, place + count + size * entries, order + number)
    return max(1, len(counted))


def _number(data: bytes, place: int, form: str) -> int | None:
    return (
        struct.unpack_from(form, data, place)[0]
        if place + struct.calcsize(form) <= len(data)
        else None
    )


def check_strips(image: Any, data: bytes) -> None:  # noqa: ANN401 (PIL's TiffImageFile)
    """Raise MediaError if the strips or tiles of a TIFF reach beyond its end.

    Pillow fills them for some compressions.
    """
    for offsets, counts in STRIPS:
        pairs = zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(counts, ()), strict=False)
        if any(offset + count > len(data) for offset, count in pairs):
            raise MediaError(ends_early("TIFF", data))


@contextmanager
def libtiff_complaints() -> Iterator[None]:
    """Raise MediaError for what libtiff only writes to the process's stderr.

    Pillow gives no other way to learn of it.

    What other threads write there in the meantime is passed on. To be entered by one thread at a
    time.
    """
    try:
        real = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    with tempfile.TemporaryFile() as held, os.fdopen(real, "wb", buffering=0) as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)
            held.seek(0)
            said = held.read()
            stderr.write(COMPLAINT.sub(b"", said))
    errors = [line for line in COMPLAINT.findall(said) if b": Warning" not in line]
    if errors:
        raise MediaError(f"damaged TIFF: {errors[0].decode('utf-8', 'replace').strip()}")


def ends_early(kind: str, data: bytes) -> str:
    """What a person is told about a file of which the end is missing."""
    return f"the file ends early: incomplete {kind} of {len(data):,} bytes"


def reason(error: Exception, kind: str, data: bytes) -> str:
    """What a person is told about an error of Pillow."""
    if isinstance(error, MemoryError):
        return f"this {kind} needs more memory than there is"
    text = " ".join(str(error).split())
    cut_short = any(word in text.lower() for word in CUT_SHORT)
    missing = kind in CUT and CUT[kind](data)
    if kind == "JPEG" and cut_short and not missing and END_OF_IMAGE in data:
        return "damaged JPEG: a part of its pixels is missing"
    if cut_short or missing or isinstance(error, (EOFError, IndexError, struct.error)):
        return ends_early(kind, data)
    for words, meaning in MEANINGS.items():
        if words in text:
            return f"damaged {kind}: {meaning}"
    if isinstance(error, SENSELESS):
        return f"damaged {kind}: its header makes no sense"
    if isinstance(error, KeyError) or text.isdecimal():
        text = f"unknown or missing entry {text}"
    return f"damaged or unsupported {kind}: {text or type(error).__name__}"


def _cut_jpeg(data: bytes) -> bool:
    return data.rfind(END_OF_IMAGE) < data.rfind(bytes([MARKER, START_OF_SCAN]))


def _cut_webp(data: bytes) -> bool:
    return int.from_bytes(data[4:8], "little") > len(data) - 8


def _cut_tiff(data: bytes) -> bool:
    """Whether the first directory is not in the file: many writers put it last."""
    order, big = "<" if data[:2] == b"II" else ">", b"+" in data[2:4]
    place = _number(data, 8 if big else 4, order + ("Q" if big else "I"))
    return place is None or place + 2 > len(data)


def _cut_boxes(data: bytes) -> bool:
    """Whether the last box of an AVIF or JP2 is longer than the file is."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if size < 8:  # noqa: PLR2004 (0: to the end of the file; 1: a size of 64 bits; others make no sense)
            return data[place + 4 : place + 8] == b"jp2c" and not data.endswith(END_OF_IMAGE)
        place += size
    return place != len(data)


def _cut_jpeg2000(data: bytes) -> bool:
    return not data.endswith(END_OF_IMAGE) if data.startswith(b"\xff\x4f") else _cut_boxes(data)


CUT = {
    "JPEG": _cut_jpeg,
    "WEBP": _cut_webp,
    "TIFF": _cut_tiff,
    "AVIF": _cut_boxes,
    "JPEG2000": _cut_jpeg2000,
}
SENSELESS = (TypeError, AssertionError, AttributeError, OverflowError, ZeroDivisionError)
MEANINGS = {  # what Pillow says → what it means
    "not identified by this driver": "its header makes no sense",
    "cannot load this image": "it has no pixels",
    "Missing dimensions": "it does not say how large it is",
    "broken data stream": "its pixels make no sense",
    "decoder error": "its pixels cannot be unpacked",
    "no more images in": "it has no picture",
    "image not found in": "it has no picture",
    "Token too long in file header": "its header makes no sense",
    "invalid literal for int()": "its header makes no sense",
    "requires a buffer of": "its header makes no sense",
    "not a WEBP file": "its header makes no sense",
}
