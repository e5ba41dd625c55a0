"""`python -m tests.hostile_files FOLDER` makes a folder of broken, hostile and unusual files, and
says of each what is true of it.

    sound     every format and mode that can be read, with the colours that must be seen
    tags      EXIF orientations, and tags and profiles that make no sense around a sound picture
    cut       files that end early            flipped   files with wrong bits, where it is known
                                                        what they break
    disguised names that lie, and what is no image      bombs   small files that ask for much
    sizes     the smallest, the longest       names     names from hell       special   links,
                                                        pipes, sockets, folders, holes

Each time the same bytes. The truth of what no reader can know (a flipped bit without a checksum) is
None, and `why` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests import made_by_hand as hand
from tests.sound_files import (
    ANY_SIZE,
    AVIF,
    BROKEN,
    EXACT,
    HIGH,
    LOSSY,
    WIDE,
    File,
    Truth,
    encoded,
    picture,
    scene,
    sound,
    tags,
)

UNKNOWABLE = Truth(
    readable=None,
    why="the bytes may make a picture, another one: without a checksum nobody can tell",
)
SHARES = (1, 20, 50, 80, 97, 99)
"""Percent of a file that is left."""
NEARLY_WHOLE = 97
"""Percent from which little of a picture is missing.

It is read with a warning where its pixels stand in order.
"""
IN_ORDER = {
    "baseline.jpg",
    "restarts.jpg",
    "plain.png",
    "palette.png",
    "interlaced.png",
    "plain.bmp",
    "plain.ppm",
}
TERABYTE = 2**40


def sources() -> dict[str, bytes]:
    """One file of each kind, larger than the others, to be cut and flipped."""
    image = Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (96, 120, 3), np.uint8)
    ).resize((240, 192), Image.Resampling.BICUBIC)
    found = {
        "baseline.jpg": encoded(image, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "restarts.jpg": encoded(image, "JPEG", restart_marker_rows=1),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "plain.png": encoded(image, "PNG"),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "interlaced.png": hand.png(np.asarray(image), 8, hand.COLOUR, interlaced=True),
        "plain.gif": encoded(image, "GIF"),
        "plain.bmp": encoded(image, "BMP"),
        "raw.tif": encoded(image, "TIFF"),
        "lzw.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(image, "TIFF", compression="jpeg"),
        "lossy.webp": encoded(image, "WEBP"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "plain.jp2": encoded(image, "JPEG2000"),
        "codestream.jp2": encoded(image, "JPEG2000", no_jp2=True),
        "plain.ppm": encoded(image, "PPM"),
    }
    return found | ({"plain.avif": encoded(image, "AVIF")} if AVIF else {})


# ── cut and flipped ──────────────────────────────────────────────────────────────────────────────


def cut() -> Iterator[File]:
    """Files that end early: at shares of their length, and inside of their headers."""
    for name, data in sources().items():
        stem, ending = name.split(".")
        for share in SHARES:
            truth = (
                replace(ANY_SIZE, size=(240, 192))
                if (share >= NEARLY_WHOLE and name in IN_ORDER)
                or f"{share} {name}" == "99 progressive.jpg"
                else BROKEN
            )
            yield f"cut/{stem}_{share:02d}.{ending}", data[: len(data) * share // 100], truth
    jpeg, png = sources()["baseline.jpg"], sources()["plain.png"]
    for marker, start, end in hand.segments(jpeg)[:12]:
        yield f"cut/jpeg_before_{marker:02x}_at_{start}.jpg", jpeg[:start], BROKEN
        yield f"cut/jpeg_inside_{marker:02x}_at_{start}.jpg", jpeg[: (start + end) // 2], BROKEN
    for length in (8, 12, 16, 20, 33, 37, 41, 60):
        yield f"cut/png_at_{length}.png", png[:length], BROKEN
    yield "cut/png_without_last_chunk.png", png[:-12], replace(ANY_SIZE, size=(240, 192))
    half, middle = len(jpeg) // 2, len(png) // 2
    yield "cut/jpeg_with_end_marker.jpg", jpeg[:half] + b"\xff\xd9", BROKEN
    yield "cut/jpeg_filled_with_zeros.jpg", jpeg[:half] + bytes(half), BROKEN
    yield "cut/png_filled_with_zeros.png", png[:middle] + bytes(middle), BROKEN
    yield "cut/jpeg_hole.jpg", jpeg[:half] + jpeg[half + 3000 :], BROKEN
    yield "cut/png_hole.png", png[:middle] + png[middle + 3000 :], BROKEN
    pages = encoded(picture(1), "GIF", save_all=True, append_images=[picture(2), picture(3)])
    why = "its first frame, the only one that is used, is whole"
    yield "cut/gif_in_the_last_frame.gif", pages[:-60], replace(LOSSY, readable=True, why=why)
    yield "cut/gif_without_a_frame.gif", hand.gif(9, 9), BROKEN
    yield "cut/gif_of_its_header.gif", hand.gif(9, 9)[:13], BROKEN
    yield "cut/tiff_without_directory.tif", b"II*\0\x08\0\0\0", BROKEN
    yield "cut/tiff_of_no_tags.tif", hand.tiff([]), BROKEN
    yield "cut/webp_of_no_chunk.webp", hand.riff(), BROKEN
    yield "cut/webp_of_tags_only.webp", hand.riff((b"EXIF", b"abcd")), BROKEN
    yield (
        "cut/png_of_no_pixels.png",
        hand.PNG_MAGIC + hand.png_header(4, 4) + hand.chunk(b"IEND"),
        BROKEN,
    )
    yield "cut/png_of_its_end.png", hand.PNG_MAGIC + hand.chunk(b"IEND"), BROKEN


def flipped() -> Iterator[File]:
    """Wrong bits: where a checksum, a magic number or a structure tells, and where nothing does."""
    found = sources()
    for name, data in found.items():
        stem, ending = name.split(".")
        if ending not in {"ppm", "bmp"}:  # of two bytes only
            yield f"flipped/{stem}_first_byte.{ending}", bytes([data[0] ^ 0x10]) + data[1:], BROKEN
        if ending != "ppm":
            start = min(40, len(data) // 2)
            yield (
                f"flipped/{stem}_zeros_in_head.{ending}",
                data[:3] + bytes(start) + data[start + 3 :],
                BROKEN,
            )
    for name in (
        "lossy.webp",
        "plain.jp2",
        "plain.gif",
        "lzw.tif",
        "plain.bmp",
        *(["plain.avif"] if AVIF else []),
    ):
        stem, ending = name.split(".")
        for number, place in enumerate(np.random.default_rng(4).integers(60, len(found[name]), 3)):
            yield (
                f"flipped/{ending}_{stem}_{number}.{ending}",
                _flip(found[name], int(place)),
                UNKNOWABLE,
            )
    yield from broken_pngs(found["plain.png"])
    yield from broken_jpegs(found["baseline.jpg"])
    yield from broken_tiffs()
    yield from broken_bmps()


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x24]) + data[place + 1 :]


def broken_pngs(png: bytes) -> Iterator[File]:
    """PNG files whose checksums are wrong, and ones whose checksums are right and whose headers are
    not.
    """
    for number, place in enumerate(np.random.default_rng(2).integers(60, len(png) - 20, 12)):
        yield f"flipped/png_pixels_{number}.png", _flip(png, int(place)), BROKEN
    for number, place in enumerate((16, 18, 22, 24, 25, 26, 27, 28, 30)):
        yield f"flipped/png_header_{number}.png", _flip(png, place), BROKEN
    for method, name in ((26, "packing"), (27, "filter"), (28, "interlacing")):
        header = bytearray(hand.png_header(4, 4)[4:-4])
        header[method - 12] = 7
        wrong = struct.pack(">I", 13) + bytes(header) + struct.pack(">I", zlib.crc32(bytes(header)))
        yield (
            f"flipped/png_unknown_{name}.png",
            hand.PNG_MAGIC + wrong + hand.png_claiming(4, 4)[33:],
            BROKEN,
        )
    for depth, kind in ((3, 2), (16, 3), (1, 2), (8, 5), (0, 0), (64, 6)):
        yield (
            f"flipped/png_depth_{depth}_of_type_{kind}.png",
            hand.png_claiming(4, 4, depth=depth, kind=kind),
            BROKEN,
        )
    yield "flipped/png_palette_missing.png", hand.png_claiming(4, 4, kind=hand.PALETTE), BROKEN
    yield (
        "flipped/png_two_headers.png",
        hand.png_claiming(4, 4, hand.png_header(4000, 4000)),
        BROKEN,
    )


def broken_jpegs(jpeg: bytes) -> Iterator[File]:
    """JPEG files without a part that is needed, with headers that say what cannot be, and with
    other pixels.
    """
    for marker, what in ((0xC0, "frame"), (0xC4, "codes"), (0xDB, "tables"), (0xDA, "scan")):
        start, end = hand.segment(jpeg, marker)
        usual = replace(
            ANY_SIZE, why="the decoder has the usual codes, which are the ones that are missing"
        )
        yield (
            f"flipped/jpeg_{what}_missing.jpg",
            jpeg[:start] + jpeg[end:],
            usual if marker == 0xC4 else BROKEN,
        )
        yield (
            f"flipped/jpeg_{what}_of_length_0.jpg",
            jpeg[: start + 2] + b"\0\0" + jpeg[start + 4 :],
            BROKEN,
        )
        yield (
            f"flipped/jpeg_{what}_too_long.jpg",
            jpeg[: start + 2] + b"\xff\xff" + jpeg[start + 4 :],
            BROKEN,
        )
    start, _ = hand.segment(jpeg, 0xC0)
    fields = {
        "precision_12": (4, b"\x0c"),
        "components_0": (9, b"\0"),
        "components_200": (9, b"\xc8"),
        "sampling_0": (11, b"\0"),
        "sampling_15": (11, b"\xff"),
        "table_9": (12, b"\x09"),
    }
    for what, (place, value) in fields.items():
        yield (
            f"flipped/jpeg_{what}.jpg",
            jpeg[: start + place] + value + jpeg[start + place + 1 :],
            BROKEN,
        )
    for kind in (0xC3, 0xC5, 0xC7, 0xC9, 0xCB):
        yield (
            f"flipped/jpeg_process_{kind:02x}.jpg",
            jpeg[: start + 1] + bytes([kind]) + jpeg[start + 2 :],
            BROKEN if kind != 0xC9 else UNKNOWABLE,
        )
    scan = hand.segment(jpeg, 0xDA)[1]
    for number, place in enumerate(np.random.default_rng(3).integers(scan, len(jpeg) - 4, 12)):
        yield f"flipped/jpeg_pixels_{number}.jpg", _flip(jpeg, int(place)), UNKNOWABLE


def broken_tiffs() -> Iterator[File]:
    """TIFF directories that loop, point beyond the end, or say what cannot be."""
    pixels = scene(5).tobytes()
    sane = hand.tiff_tags(WIDE, HIGH)

    def but(*tags_: hand.Tag) -> list[hand.Tag]:
        return [tag for tag in sane if tag[0] not in {one[0] for one in tags_}] + list(tags_)

    yield "flipped/tiff_directory_follows_itself.tif", hand.tiff(sane, [pixels], following=8), EXACT
    yield (
        "flipped/tiff_next_directory_far_away.tif",
        hand.tiff(sane, [pixels], following=0x7FFFFFFF),
        EXACT,
    )
    yield (
        "flipped/tiff_sub_directory_is_itself.tif",
        hand.tiff([*sane, (330, hand.LONG, [8]), (34665, hand.LONG, [8])], [pixels]),
        EXACT,
    )
    broken = {
        "directory_far_away": b"II*\0\xff\xff\xff\x7f" + bytes(50),
        "strip_far_away": hand.tiff(
            [*sane, (273, hand.LONG, [0x7FFFFFFF]), (279, hand.LONG, [len(pixels)])]
        ),
        "strip_too_long": hand.tiff([*sane, (273, hand.LONG, [8]), (279, hand.LONG, [0xFFFFFFFF])]),
        "no_strips": hand.tiff(sane),
        "no_width": hand.tiff([tag for tag in sane if tag[0] != 256], [pixels]),
        "width_0": hand.tiff(but((256, hand.LONG, [0])), [pixels]),
        "compression_7777": hand.tiff(but((259, hand.SHORT, [7777])), [pixels]),
        "photometric_99": hand.tiff(but((262, hand.SHORT, [99])), [pixels]),
        "bits_3": hand.tiff(but((258, hand.SHORT, [3, 3, 3])), [pixels]),
        "samples_60000": hand.tiff(but((277, hand.SHORT, [60000])), [pixels]),
        "rows_per_strip_0": hand.tiff(but((278, hand.LONG, [0])), [pixels]),
        "rows_per_strip_as_text": hand.tiff(but((278, hand.ASCII, b"x\0")), [pixels]),
        "deflate_garbage": hand.tiff(but((259, hand.SHORT, [8])), [b"garbage" * 40]),
        "lzw_garbage": hand.tiff(but((259, hand.SHORT, [5])), [b"\xff" * 200]),
        "jpeg_garbage": hand.tiff(but((259, hand.SHORT, [7])), [b"\xff\xd8\xff" * 40]),
        "tile_of_0": hand.tiff(
            [*sane, (322, hand.SHORT, [0]), (323, hand.SHORT, [0])], [pixels], tiled=True
        ),
        "tags_65535": b"II*\0\x08\0\0\0\xff\xff" + bytes(600),
    }
    unsure = {"rows_per_strip_0", "rows_per_strip_as_text", "photometric_99"}
    for name, data in broken.items():
        why = (
            "the file has all its pixels; libraries differ in how they take this tag"
            if name in unsure
            else ""
        )
        yield f"flipped/tiff_{name}.tif", data, Truth(readable=None if why else False, why=why)


def broken_bmps() -> Iterator[File]:
    """BMP headers that say what cannot be."""
    rows = hand.bmp_rows(scene(6).reshape(HIGH, -1), 24)
    for name, (width, bits, packing) in {
        "bits_7": (WIDE, 7, 0),
        "bits_0": (WIDE, 0, 0),
        "packing_9": (WIDE, 24, 9),
        "negative_width": (-WIDE, 24, 0),
    }.items():
        yield f"flipped/bmp_{name}.bmp", hand.bmp(width, HIGH, bits, rows, packing=packing), BROKEN
    colours = bytes(1024)
    yield (
        "flipped/bmp_runs_leave_the_picture.bmp",
        hand.bmp(
            WIDE,
            HIGH,
            8,
            b"\0\2\xff\xff" * 50 + b"\xff\1" * 50 + b"\0\1",
            packing=1,
            colours=colours,
        ),
        replace(BROKEN, readable=None, why="pixels that run lengths skip are allowed"),
    )
    yield (
        "flipped/bmp_pixels_start_at_the_end.bmp",
        (data := hand.bmp(WIDE, HIGH, 24, rows))[:10] + struct.pack("<I", len(data)) + data[14:],
        BROKEN,
    )
    yield "flipped/bmp_header_of_1_gb.bmp", data[:14] + struct.pack("<I", 10**9) + data[18:], BROKEN


# ── disguised, bombs, sizes ──────────────────────────────────────────────────────────────────────


def disguised() -> Iterator[File]:
    """Pictures under the name of another format, and what is no picture under the name of one."""
    endings = {
        "JPEG": "jpg",
        "PNG": "png",
        "GIF": "gif",
        "BMP": "bmp",
        "TIFF": "tif",
        "WEBP": "webp",
        "PPM": "ppm",
        "JPEG2000": "jp2",
    } | ({"AVIF": "avif"} if AVIF else {})
    kinds = list(endings)
    for number, kind in enumerate(kinds):
        other = kinds[(number + 3) % len(kinds)]
        yield (
            f"disguised/{kind.lower()}_called.{endings[other]}",
            encoded(picture(number), kind),
            replace(LOSSY, size=(WIDE, HIGH)),
        )
        yield (
            f"disguised/{kind.lower()}_called.{('exe', 'mp3', 'doc')[number % 3]}",
            encoded(picture(20 + number), kind),
            LOSSY,
        )
        yield f"disguised/{kind.lower()}_without_ending", encoded(picture(40 + number), kind), LOSSY
        magic = encoded(picture(number), kind)[: 12 if kind in {"WEBP", "JPEG2000", "AVIF"} else 4]
        yield f"disguised/only_the_magic.{endings[kind]}", magic, BROKEN
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(zipfile.ZipInfo("a.png"), encoded(picture(60), "PNG"))
    texts = {
        "text.jpg": b"This is no picture.\n",
        "page.png": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "json.jpg": b'{"error": "not found"}',
        "drawing.png": (
            b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><rect width="9" '
            b'height="9"/></svg>'
        ),
        "script.gif": b"#!/bin/sh\nrm -rf /\n",
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/owned) (w) file\n",  # noqa: E501
        "archive.png": archive.getvalue(),
        "packed.jpg": gzip.compress(encoded(picture(61), "JPEG"), mtime=0),
        "video.avif": b"\0\0\0\x18ftypisom" + bytes(80),
        "photograph.jpg": b"\0\0\0\x18ftypheic" + bytes(80),
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
        "layers.png": b"8BPS\0\1" + bytes(40),
        "table.jpg": b"PAR1" + bytes(40),
        "array.png": b"\x93NUMPY\1\0" + bytes(60),
        "program.jpg": b"\x7fELF\2\1\1" + bytes(60),
        "library.png": b"MZ\x90\0" + bytes(60),
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n",
        "wide_text.png": "\ufeffno picture".encode("utf-16"),
        "icon.ico": hand.icon(encoded(picture(62, "RGBA", 16, 16), "PNG")),
        "targa.tga": encoded(picture(63), "TGA"),
        "paintbrush.pcx": encoded(picture(64), "PCX"),
        "surface.dds": encoded(picture(65), "DDS"),
        "silicon.sgi": encoded(picture(66), "SGI"),
        "bits.xbm": encoded(picture(67, "1"), "XBM"),
        "nothing.jpg": b"",
        "nothing.png": b"",
        "nothing.webp": b"",
        "one_byte.jpg": b"\xff",
        "one_byte.png": b"\x89",
        "one_zero.gif": b"\0",
        "newline.bmp": b"\n",
        "zeros.jpg": bytes(5000),
        "ones.jpg": b"\xff" * 5000,
        "noise.png": np.random.default_rng(5).bytes(5000),
        "noise.tif": b"MM\0*" + np.random.default_rng(6).bytes(5000),
        "letters.bmp": b"BM is how this text begins, and it is no bitmap",
        "letters.pgm": b"P5 is a text too",
        "letters.gif": b"GIF89a is a format",
        "riff_in_riff.webp": hand.riff((b"RIFF", hand.riff((b"VP8 ", bytes(20))))),
        "page_with_magic.jpg": b"\xff\xd8\xff<html><script>alert(1)</script>",
    }
    for name, data in texts.items():
        yield f"disguised/{name}", data, BROKEN


def bombs() -> Iterator[File]:
    """Small files that ask for more memory or time than there is."""
    small = {
        kind: encoded(picture(), kind) for kind in ("BMP", "GIF", "JPEG", "PPM", "JPEG2000", "TIFF")
    }
    start, _ = hand.segment(small["JPEG"], 0xC0)
    jpeg = (
        small["JPEG"][: start + 5] + struct.pack(">HH", 65500, 65500) + small["JPEG"][start + 9 :]
    )
    zeros = zlib.compress(bytes(20_000_000), 9)
    far = [(256, hand.LONG, [2**31 - 1]), (257, hand.LONG, [2**31 - 1]), *hand.tiff_tags(9, 9)[2:]]
    size = small["JPEG2000"].index(b"\xff\x51") + 6
    box = small["JPEG2000"].index(b"ihdr") + 4
    huge = struct.pack(">II", 2**31, 2**31)
    jp2 = bytearray(small["JPEG2000"])
    jp2[size : size + 8], jp2[box : box + 8] = huge, huge
    frames = b"".join(hand.gif_frame(0, 0, 1, 1) for _ in range(20_000))
    claims = {
        "png_50000.png": hand.png_claiming(
            50_000, 50_000, depth=1, kind=hand.GREY, pixels=bytes(20_000_000)
        ),
        "png_4_billion.png": hand.png_claiming(2**31 - 1, 2**31 - 1),
        "png_one_line.png": hand.png_claiming(2**31 - 1, 1),
        "png_8000_of_few_bytes.png": hand.png_claiming(8000, 8000, kind=hand.COLOUR_ALPHA),
        "jpeg_65500.jpg": jpeg,
        "jpeg_8000_of_few_bytes.jpg": small["JPEG"][: start + 5]
        + struct.pack(">HH", 8000, 8000)
        + small["JPEG"][start + 9 :],
        "gif_65535.gif": hand.gif(65_535, 65_535, hand.gif_frame(0, 0, 1, 1)),
        "bmp_2_billion.bmp": hand.bmp(2**31 - 1, 2**31 - 1, 24, bytes(100)),
        "bmp_2_billion_from_the_top.bmp": hand.bmp(2**31 - 1, -(2**31), 24, bytes(100)),
        "bmp_8000_of_few_bytes.bmp": hand.bmp(8000, 8000, 24, bytes(100)),
        "tiff_2_billion.tif": hand.tiff(far, [bytes(100)]),
        "tiff_8000_of_few_bytes.tif": hand.tiff(
            hand.tiff_tags(8000, 8000, compression=8), [zlib.compress(bytes(100))]
        ),
        "webp_16384.webp": hand.riff(
            (b"VP8X", bytes(4) + b"\xff\x3f\0" * 2), (b"VP8L", b"\x2f" + bytes(20))
        ),
        "webp_16383_lossless.webp": hand.riff(
            (b"VP8L", b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(20))
        ),
        "ppm_99999.ppm": b"P6 99999 99999 255\n" + bytes(100),
        "ppm_of_endless_digits.ppm": b"P6 " + b"9" * 100_000,
        "ppm_of_endless_comments.ppm": b"P6 " + b"#\n" * 200_000,
        "jp2_2_billion.jp2": bytes(jp2),
        "drawing_of_entities.svg": (
            b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "&b;&b;"><!ENTITY b '
            b'"&a;&a;">]><svg>&a;</svg>'
        ),
        "nested.xml.jpg": b"<?xml version='1.0'?>" + b"<a>" * 50_000,
        "nested.json.jpg": b"[" * 100_000,
    }
    for name, data in claims.items():
        yield f"bombs/{name}", data, BROKEN
    texts = {
        "text": (b"zTXt", b"Comment\0\0" + zeros),
        "international": (b"iTXt", b"Comment\0\1\0\0\0" + zeros),
        "profile": (b"iCCP", b"x\0\0" + zeros),
    }
    whole = scene(7)
    for name, (kind, body) in texts.items():
        yield (
            f"bombs/png_{name}_of_20_mb.png",
            hand.png(whole, 8, hand.COLOUR, hand.chunk(kind, body)),
            replace(EXACT, why="its pixels are whole"),
        )
    yield "bombs/gif_20000_frames.gif", hand.gif(1, 1, frames), replace(ANY_SIZE, size=(1, 1))
    yield "bombs/tiff_20000_pages.tif", endless_tiff(20_000), replace(ANY_SIZE, size=(1, 1))
    yield "bombs/jpeg_3000_scans.jpg", many_scans(3000), BROKEN


def endless_tiff(pages: int) -> bytes:
    """A TIFF of many directories that share one pixel."""
    entries = sorted(
        [(tag, kind, values[0]) for tag, kind, values in hand.tiff_tags(1, 1, (8,), photometric=1)]
        + [(273, hand.LONG, 8), (279, hand.LONG, 1)]
    )
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    following = [10 + (len(body) + 4) * page for page in range(1, pages)]
    return (
        b"II*\0"
        + struct.pack("<I", 10)
        + b"\x7f\0"
        + b"".join(body + struct.pack("<I", place) for place in (*following, 0))
    )


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated.

    Each costs the decoder a pass over the whole picture.
    """
    data = encoded(Image.new("RGB", (2000, 2000), "gray"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def sizes() -> Iterator[File]:
    """Pictures of one pixel, of one line, and of none."""
    kinds = {
        "JPEG": "jpg",
        "PNG": "png",
        "GIF": "gif",
        "BMP": "bmp",
        "TIFF": "tif",
        "WEBP": "webp",
        "PPM": "ppm",
        "JPEG2000": "jp2",
    } | ({"AVIF": "avif"} if AVIF else {})
    for kind, ending in kinds.items():
        for width, height in ((1, 1), (2, 3), (1, 900), (900, 1), (7, 7)):
            yield (
                f"sizes/{ending}_{width}_by_{height}.{ending}",
                encoded(picture(8, "RGB", width, height), kind),
                replace(ANY_SIZE, size=(width, height)),
            )
    for kind in ("JPEG", "PNG"):
        for width, height in ((1, 10_000), (10_000, 1), (2, 60_000), (9000, 8)):
            yield (
                f"sizes/long_{width}_by_{height}.{kind.lower()}",
                encoded(Image.new("RGB", (width, height), "teal"), kind),
                replace(ANY_SIZE, size=(width, height)),
            )
    for mode in ("1", "L", "LA", "P", "RGBA"):
        yield (
            f"sizes/png_{mode}_1_by_1.png",
            encoded(Image.new(mode, (1, 1)), "PNG"),
            replace(ANY_SIZE, size=(1, 1)),
        )
    for mode in ("I;16", "I", "F", "CMYK"):
        yield (
            f"sizes/tiff_{mode.replace(';', '_')}_1_by_1.tif",
            encoded(Image.new(mode, (1, 1)), "TIFF"),
            replace(ANY_SIZE, size=(1, 1)),
        )
    flat = {"black": 0, "grey": 127, "white": 255}
    for name, value in flat.items():
        yield (
            f"sizes/uniform_{name}.png",
            encoded(Image.new("L", (64, 64), value), "PNG"),
            replace(ANY_SIZE, size=(64, 64), colours=((value,) * 3,) * 4),
        )
    jpeg = encoded(picture(), "JPEG")
    start, _ = hand.segment(jpeg, 0xC0)
    for width, height in ((0, 9), (9, 0), (0, 0)):
        name = f"{width}_by_{height}"
        yield f"sizes/png_{name}.png", hand.png_claiming(width, height), BROKEN
        yield (
            f"sizes/jpeg_{name}.jpg",
            jpeg[: start + 5] + struct.pack(">HH", height, width) + jpeg[start + 9 :],
            BROKEN,
        )
        yield (
            f"sizes/gif_{name}.gif",
            hand.gif(width, height, hand.gif_frame(0, 0, width, height)),
            BROKEN,
        )
        yield f"sizes/bmp_{name}.bmp", hand.bmp(width, height, 24, bytes(100)), BROKEN
        yield (
            f"sizes/tiff_{name}.tif",
            hand.tiff(hand.tiff_tags(width, height), [bytes(100)]),
            BROKEN,
        )
        yield f"sizes/ppm_{name}.ppm", f"P6 {width} {height} 255\n".encode() + bytes(100), BROKEN
    yield (
        "sizes/not_a_number_1_by_1.tif",
        encoded(Image.fromarray(np.full((1, 1), np.nan, np.float32)), "TIFF"),
        replace(ANY_SIZE, size=(1, 1)),
    )
    extreme = np.array([[np.inf, -np.inf, np.nan, 3e38]] * 4, np.float32)
    yield (
        "sizes/extreme_floats.tif",
        encoded(Image.fromarray(extreme), "TIFF"),
        replace(ANY_SIZE, size=(4, 4)),
    )
    whole = np.array([[-(2**31), 2**31 - 1, 0, 1]] * 4, np.int32)
    yield (
        "sizes/extreme_integers.tif",
        encoded(Image.fromarray(whole), "TIFF"),
        replace(ANY_SIZE, size=(4, 4)),
    )


# ── names and what is no plain file ──────────────────────────────────────────────────────────────


def names() -> Iterator[File]:
    """Sound and broken pictures under names that break what handles names carelessly."""
    plain = [
        "new\nline.png",
        "carriage\rreturn.png",
        "tab\there.png",
        "bell\x07.png",
        "escape\x1b[31mred.png",
        'quote".png',
        "apostrophe'.png",
        "back\\slash.png",
        "back\\x41slash.png",
        "<script>alert(1)</script>.png".replace("/", "\u2044"),
        "<img src=x onerror=alert(1)>.png",
        "&amp;.png",
        "{{7*7}}.png",
        "{0}{name}.png",
        "%s%n%d.png",
        "%2e%2e.png",
        "$(touch owned).png",
        "`id`.png",
        ";rm -rf .png",
        "-rf.png",
        "--help.png",
        "-.png",
        "=cmd|' C'!A0.png",
        "+1.png",
        "@SUM(A1).png",
        "a,b;c.png",
        "a|b.png",
        "glob*?[a-z].png",
        "#1.png",
        "a#12.png",
        "a?b=c.png",
        " leading.png",
        "trailing.png ",
        "   ",
        "~.png",
        "~root.png",
        "CON.png",
        "NUL",
        "aux.jpg",
        "..png",
        "a..png",
        "...",
        "x" * 246 + ".png",
        "\u00e9" * 120 + ".png",
        "\U0001f4a9.png",
        "\u202egnp.exe.png",
        "\ufeffbom.png",
        "zero\u200bwidth.png",
        "e\u0301.png",
        "\u00e9.png",
        "\u0645\u0631\u062d\u0628\u0627.png",
        "\u5f62.png",
        "null.png",
        "None",
        "nan",
        "true.png",
        "1e5",
        "0",
        "README.jpg",
        "labels.csv",
        "UPPER.PNG",
        "many.dots.in.name.png",
        "file:.png",
        "C:\\windows\\x.png",
        "http:\u2044\u2044x.png",
        "\u0430.png",
        "a.png",
        "\u2028.png",
        "\x7f.png",
        "\x01.png",
    ]
    for number, name in enumerate(plain):
        broken = number % 3 == 2
        hidden = name.startswith(".")
        data = b"no picture, under a strange name" if broken else encoded(picture(number), "PNG")
        truth = BROKEN if broken else EXACT
        yield (
            f"names/{name}",
            data + (b"" if not broken else str(number).encode()),
            Truth(readable=None, why="hidden files are no samples", hidden=True)
            if hidden
            else truth,
        )
    for number, name in enumerate((b"\xff\xfe.png", b"caf\xe9.png", b"\x80")):
        yield os.fsdecode(b"names/" + name), encoded(picture(90 + number), "PNG"), EXACT
    yield "names/a folder\nwith a line/in it/picture.png", encoded(picture(95), "PNG"), EXACT
    yield "names/folder.png/picture.png", encoded(picture(96), "PNG"), EXACT
    yield f"names/{'d' * 200}/{'e' * 200}/{'f' * 200}/deep.png", encoded(picture(97), "PNG"), EXACT


def special(folder: Path) -> Iterator[tuple[str, Truth]]:
    """Make what is no plain file, as far as the system lets one; give back its name and truth."""
    sound_one = encoded(picture(98), "PNG")
    target = folder.parent.with_name(f"{folder.parent.name}-outside.png")
    target.write_bytes(sound_one)
    folder.mkdir(parents=True)
    (folder / "sound.png").write_bytes(encoded(picture(99), "PNG"))
    left_out, nobody = Truth(readable=None, left_out=True), Truth(readable=None, hidden=True)

    def place(name: str) -> Path:
        return folder / name

    yield "sound.png", EXACT
    for name, goal, truth in (
        ("link_to_a_file.png", "sound.png", EXACT),
        ("link_outside.png", str(target), BROKEN),
        ("link_to_nowhere.jpg", "absent.jpg", BROKEN),
        ("link_to_itself.jpg", "link_to_itself.jpg", BROKEN),
        ("link_to_and.jpg", "link_fro.jpg", BROKEN),
        ("link_fro.jpg", "link_to_and.jpg", BROKEN),
        ("link_to_this_folder", ".", left_out),
        ("link_to_the_parent", "..", left_out),
        ("link_to_the_void.jpg", os.devnull, left_out),
        ("link_to_endless_zeros.jpg", "/dev/zero", left_out),
        ("link_to_input.jpg", "/dev/stdin", None),
        ("link_through_a_file.jpg", "sound.png/x", BROKEN),
    ):
        with contextlib.suppress(OSError):
            place(name).symlink_to(goal)
            if truth is not None:
                yield name, truth
            else:
                place(name).unlink()
    with contextlib.suppress(OSError, AttributeError):
        os.mkfifo(place("pipe.jpg"))
        yield "pipe.jpg", left_out
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listening:
        with contextlib.chdir(folder):  # the whole path may be too long for a socket
            listening.bind("socket.jpg")
        yield "socket.jpg", left_out
    with contextlib.suppress(OSError):
        os.mknod(place("device.jpg"), 0o600 | 0o020000, os.makedev(1, 5))
        yield "device.jpg", left_out
    with contextlib.suppress(OSError):
        os.link(place("sound.png"), place("hard_link.png"))
        yield "hard_link.png", EXACT
    place("empty_folder.jpg").mkdir()
    place("folder.jpg").mkdir()
    place("folder.jpg/inside.png").write_bytes(encoded(picture(100), "PNG"))
    yield "folder.jpg/inside.png", EXACT
    for name in (".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        place(name).write_bytes(sound_one)
        yield name, nobody
    with contextlib.suppress(OSError):
        with place("sparse.jpg").open("wb") as file:
            file.truncate(TERABYTE)
        yield "sparse.jpg", BROKEN
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        for name in ("forbidden.png",):
            place(name).write_bytes(sound_one)
            place(name).chmod(0)
            yield name, BROKEN
        place("forbidden_folder").mkdir()
        place("forbidden_folder/inside.png").write_bytes(sound_one)
        place("forbidden_folder").chmod(0)
        yield "forbidden_folder", BROKEN


# ── all of them ──────────────────────────────────────────────────────────────────────────────────


def files() -> Iterator[File]:
    """Every plain file of the corpus: its name below the folder, its bytes, its truth."""
    for part in (sound, tags, cut, flipped, disguised, bombs, sizes, names):
        yield from part()


def make(folder: Path) -> dict[str, Truth]:
    """Write the corpus; name below the folder (as the system gives it) → truth.

    Raises FileExistsError.
    """
    folder.mkdir(parents=True)
    truths: dict[str, Truth] = {}
    for name, data, truth in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(data)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            continue  # a name that this file system does not take
        truths[name] = truth
    for name, truth in special(folder / "special"):
        truths[f"special/{name}"] = truth
    return truths


def main() -> None:
    """Make the corpus in a folder, and print what is true of each file, a JSON object
    in each line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile_files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="is made, and must not exist")
    for name, truth in make(parser.parse_args().folder).items():
        sys.stdout.write(json.dumps({"name": name, **asdict(truth)}) + "\n")


if __name__ == "__main__":
    main()
