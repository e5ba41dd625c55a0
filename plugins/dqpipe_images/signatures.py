"""What a file is, by its first bytes.

The image formats that can be decoded, and names for what people find instead.
"""

from __future__ import annotations

import codecs
import string

IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"BM", "BMP"),
)
CONTAINERS: tuple[tuple[int, tuple[bytes, ...], str], ...] = ((8, (b"WEBP",), "WEBP"),)
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a zip archive (or an office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"Rar!", "a rar archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"RIFF", "a RIFF file that holds no WebP image (a sound or a video)"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS: the file itself was not fetched (git lfs pull)",
    ),
)
MARKUP: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
)
TEXT = frozenset(string.printable.encode())
HEAD = 64  # bytes that are enough to tell
AVIF, HEIC = (
    (b"avif", b"avis"),
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"),
)  # brands (ISO/IEC 14496-12) of one coding
SHARED = (
    b"mif1",
    b"msf1",
    b"miaf",
    b"mif2",
)  # brands of pictures in any coding: what is inside decides
AV1 = (b"av01", b"av1C")  # a picture's type, and the box with its settings
META = 1 << 16  # bytes in which these boxes stand


def image_format(head: bytes) -> str | None:
    """The image format that these first bytes belong to, by Pillow's name, or None."""
    for magic, name in IMAGES:
        if head.startswith(magic):
            return name
    for offset, magics, name in CONTAINERS:
        if head.startswith(magics, offset):
            return name
    if head[4:8] == b"ftyp" and coding(head) == "AVIF":
        return "AVIF"
    if (
        head[:1] == b"P"
        and head[1:2] in {b"1", b"2", b"3", b"4", b"5", b"6"}
        and head[2:3] in {b" ", b"\n", b"\t", b"\r"}
    ):
        return "PPM"
    return None


def coding(data: bytes) -> str | None:
    """AVIF or HEIC, of a file that begins with a box of brands.

    None if it is neither, which is a video.

    The brand of a coding tells, wherever it stands; where there are only shared ones, the boxes of
    the picture do, if they are there: of the first bytes alone AVIF is said, so that the decoder
    looks at the rest.
    """
    size = int.from_bytes(data[:4], "big")
    brands = [
        data[8:12],
        *(data[place : place + 4] for place in range(16, min(size, len(data)) - 3, 4)),
    ]
    if any(brand in AVIF for brand in brands):
        return "AVIF"
    if any(brand in HEIC for brand in brands):
        return "HEIC"
    if not any(brand in SHARED for brand in brands):
        return None
    return "AVIF" if len(data) <= HEAD or any(mark in data[:META] for mark in AV1) else "HEIC"


def explain(data: bytes) -> str:
    """A sentence about bytes that are no image this package decodes."""
    if not data:
        return "empty file (0 bytes)"
    if not data.strip(b"\x00"):
        return (
            f"not an image: all its {len(data):,} bytes are zero (an interrupted download or copy)"
        )
    return f"not an image: it is {_kind(data[:512])}"


def _kind(head: bytes) -> str:
    for magic, name in OTHERS:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return (
            "a HEIC photograph: convert it to JPEG or AVIF first"
            if coding(head) == "HEIC"
            else "a video (MP4 or QuickTime)"
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, name in MARKUP:
        if magic in text[:256] and text.startswith(b"<"):
            return name
    if text.startswith(b"<?xml"):
        return "an XML document"
    if text[:1] in {b"{", b"["} and _is_text(head):
        return "JSON or other text"
    return "text" if _is_text(head) else f"of no known format (first bytes {head[:8].hex(' ')})"


def _is_text(head: bytes) -> bool:
    """Whether these bytes read as text.

    Printable ASCII, or valid UTF-8 without control characters.
    """
    if TEXT.issuperset(head):
        return True
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char.isspace() for char in text)
