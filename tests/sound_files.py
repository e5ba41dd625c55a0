"""Image files that every reader should show alike, plain ones and rare ones, and what must be seen
in them.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, features

from tests import made_by_hand as hand

WIDE, HIGH = 48, 32
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 210), (230, 220, 70))
"""Of the four quarters of every picture: above left, above right, below left, below right."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
ORIENTATIONS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 3),
}
"""EXIF orientation → upright pixels as a camera stores them that was held this way."""
AVIF = features.check("avif")


@dataclass(frozen=True)
class Truth:
    """What is true of a file: whether it can be read (None.

    Nobody can know, see `why`), and what must then be seen.

    `colours` are the RGB values in the middle of the four quarters, each channel within `within`.
    What is `left_out` is no sample: it cannot be a picture, and is named where the run says what it
    left out (`hidden`: not even there).
    """

    readable: bool | None
    why: str = ""
    size: tuple[int, int] | None = None
    mode: str | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    within: int = 3
    left_out: bool = False
    hidden: bool = False


File = tuple[str, bytes, Truth]
BROKEN = Truth(readable=False)
ANY_SIZE = Truth(readable=True)
EXACT = Truth(readable=True, size=(WIDE, HIGH), colours=COLOURS)
LOSSY = replace(EXACT, within=40)


def grey(of: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour as a grey picture shows it."""
    return (round(0.299 * of[0] + 0.587 * of[1] + 0.114 * of[2]),) * 3


GREYS = tuple(grey(colour) for colour in COLOURS)
EXACT_GREY, LOSSY_GREY = replace(EXACT, colours=GREYS), replace(LOSSY, colours=GREYS)


def scene(number: int = 0, width: int = WIDE, height: int = HIGH) -> np.ndarray:
    """uint8 [h, w, 3]: four quarters of one colour each, and in the middle a patch that is another
    for each number.
    """
    pixels = np.zeros((height, width, 3), np.uint8)
    halves = (
        [slice(0, height // 2), slice(height // 2, None)],
        [slice(0, width // 2), slice(width // 2, None)],
    )
    for colour, (rows, columns) in zip(
        COLOURS, ((r, c) for r in halves[0] for c in halves[1]), strict=True
    ):
        pixels[rows, columns] = colour
    drawn = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
    patch = drawn.repeat(2, axis=0).repeat(2, axis=1)
    top, left = (height - 8) // 2, (width - 12) // 2
    if min(top, left) > 3:
        pixels[top : top + 8, left : left + 12] = patch
    return pixels


def picture(
    number: int = 0, mode: str = "RGB", width: int = WIDE, height: int = HIGH
) -> Image.Image:
    """The scene in one of Pillow's modes."""
    image = Image.fromarray(scene(number, width, height))
    if mode in {"LA", "RGBA", "PA"}:
        image.putalpha(255)
        return image.convert(mode) if mode != "RGBA" else image
    if mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode in {"I", "F"}:
        return Image.fromarray(
            np.asarray(image.convert("L")).astype(np.int32 if mode == "I" else np.float32)
            / (1 if mode == "I" else 255)
        )
    if mode == "1":
        return image.convert("L").point(lambda value: 255 * (value > 127), "1")
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(buffer, kind, **options)
    return buffer.getvalue()


# ── sound ────────────────────────────────────────────────────────────────────────────────────────


def sound() -> Iterator[File]:
    """Every format and mode, as readers of images should show them."""
    for name, data, truth in (
        *sound_jpegs(),
        *sound_pngs(),
        *sound_tiffs(),
        *sound_bmps(),
        *sound_gifs(),
        *sound_others(),
    ):
        yield f"sound/{name}", data, truth


def sound_jpegs() -> Iterator[File]:
    """JPEG: qualities, samplings, scans, colour models, and segments that few write."""
    jpeg = replace(LOSSY, mode="RGB")
    kinds: dict[str, dict[str, Any]] = {
        "baseline": {"quality": 90},
        "progressive": {"progressive": True},
        "optimised": {"optimize": True},
        "best": {"quality": 100, "subsampling": 0},
        "444": {"subsampling": "4:4:4"},
        "422": {"subsampling": "4:2:2"},
        "420": {"subsampling": "4:2:0"},
        "restarts_by_block": {"restart_marker_blocks": 1},
        "restarts_by_row": {"restart_marker_rows": 1},
        "progressive_restarts": {"progressive": True, "restart_marker_rows": 1},
        "smooth": {"smooth": 50},
        "dpi": {"dpi": (0, 0)},
        "stored_as_rgb": {"keep_rgb": True},
        "progressive_444": {"progressive": True, "subsampling": 0},
    }
    for number, (name, options) in enumerate(kinds.items()):
        yield f"jpeg_{name}.jpg", encoded(picture(number), "JPEG", **options), jpeg
    yield "jpeg_worst.jpg", encoded(picture(20), "JPEG", quality=1), replace(jpeg, within=90)
    yield (
        "jpeg_grey.jpg",
        encoded(picture(21, "L"), "JPEG", quality=90),
        replace(LOSSY_GREY, mode="L"),
    )
    yield (
        "jpeg_grey_progressive.jpg",
        encoded(picture(22, "L"), "JPEG", progressive=True),
        replace(LOSSY_GREY, mode="L"),
    )
    cmyk = encoded(picture(23, "CMYK"), "JPEG", quality=95, subsampling=0)
    yield "jpeg_cmyk.jpg", cmyk, replace(LOSSY, mode="CMYK")
    yield (
        "jpeg_cmyk_progressive.jpg",
        encoded(picture(24, "CMYK"), "JPEG", quality=95, progressive=True),
        replace(LOSSY, mode="CMYK"),
    )
    start, end = hand.segment(cmyk, 0xEE)
    yield (
        "jpeg_cmyk_without_adobe.jpg",
        cmyk[:start] + cmyk[end:],
        replace(ANY_SIZE, size=(WIDE, HIGH), mode="CMYK"),
    )
    opposite = np.asarray(Image.fromarray(255 - scene(25)).convert("YCbCr"))
    ycck = Image.merge(
        "CMYK",
        [
            *(Image.fromarray(255 - opposite[..., channel]) for channel in range(3)),
            Image.new("L", (WIDE, HIGH)),
        ],
    )
    data = encoded(ycck, "JPEG", quality=97, subsampling=0)
    yield "jpeg_ycck.jpg", data[: end - 1] + b"\x02" + data[end:], replace(LOSSY, mode="CMYK")
    plain = encoded(picture(26), "JPEG", quality=90)
    yield (
        "jpeg_adobe_says_ycc.jpg",
        hand.with_segment(plain, 0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01"),
        jpeg,
    )
    yield "jpeg_adobe_short.jpg", hand.with_segment(plain, 0xEE, b"Adobe"), jpeg
    yield "jpeg_long_comment.jpg", hand.with_segment(plain, 0xFE, b"x" * 65533), jpeg
    many = plain
    for _ in range(200):
        many = hand.with_segment(many, 0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff")
    yield "jpeg_many_segments.jpg", many, jpeg
    first = hand.segments(plain)[0][1]
    yield "jpeg_fill_bytes.jpg", plain[:first] + b"\xff" * 9 + plain[first:], jpeg
    yield "jpeg_without_end_marker.jpg", plain[:-2], jpeg
    yield "jpeg_with_a_zip_behind.jpg", plain + b"PK\x03\x04" + bytes(500), jpeg
    yield "jpeg_twice.jpg", plain + encoded(picture(27), "JPEG"), jpeg
    yield "jpeg_without_jfif.jpg", plain[:2] + plain[hand.segments(plain)[0][2] :], jpeg
    yield (
        "jpeg_several_pictures.mpo",
        encoded(picture(28), "MPO", save_all=True, append_images=[picture(29)]),
        jpeg,
    )
    yield (
        "jpeg_mpo_index_makes_no_sense.jpg",
        hand.with_segment(plain, 0xE2, b"MPF\0II*\0\xff\xff\xff\x7f"),
        jpeg,
    )
    thumbnail = b"JFXX\x00\x10" + encoded(picture(30, "RGB", 16, 16), "JPEG")
    yield "jpeg_thumbnail_inside.jpg", hand.with_segment(plain, 0xE0, thumbnail), jpeg


def sound_pngs() -> Iterator[File]:
    """PNG: every depth and colour type, interlacing, filters, transparency, and chunks that few
    write.
    """
    rgb, luma = scene(40), np.asarray(picture(40, "L"))
    quarters = np.zeros((HIGH, WIDE), np.uint8)
    (
        quarters[: HIGH // 2, WIDE // 2 :],
        quarters[HIGH // 2 :, : WIDE // 2],
        quarters[HIGH // 2 :, WIDE // 2 :],
    ) = 1, 2, 3
    palette = hand.chunk(b"PLTE", bytes(np.array(COLOURS, np.uint8)))
    opaque = np.full((HIGH, WIDE, 1), 255, np.uint8)
    for interlaced in (False, True):
        tail = "_interlaced" if interlaced else ""

        def made(
            values: np.ndarray, depth: int, kind: int, *extra: bytes, tail: bool = interlaced
        ) -> bytes:
            return hand.png(values, depth, kind, *extra, interlaced=tail)

        for depth in (1, 2, 4, 8, 16):
            top = 2**depth - 1
            values = np.round(luma.astype(float) * top / 255).astype(np.uint16)
            shown = tuple(
                (round(round(colour[0] * top / 255) * 255 / top),) * 3 for colour in GREYS
            )
            yield (
                f"png_grey_{depth}{tail}.png",
                made(values, depth, hand.GREY),
                replace(EXACT, colours=shown),
            )
        for depth in (2, 4, 8):
            yield (
                f"png_palette_{depth}{tail}.png",
                made(quarters, depth, hand.PALETTE, palette),
                replace(EXACT, mode="P"),
            )
        two = hand.chunk(b"PLTE", bytes([*COLOURS[0], *COLOURS[1]]))
        yield (
            f"png_palette_1{tail}.png",
            made(quarters % 2, 1, hand.PALETTE, two),
            replace(EXACT, colours=(COLOURS[0], COLOURS[1]) * 2),
        )
        yield f"png_rgb_8{tail}.png", made(rgb, 8, hand.COLOUR), replace(EXACT, mode="RGB")
        yield f"png_rgb_16{tail}.png", made(rgb.astype(np.uint16) * 257, 16, hand.COLOUR), EXACT
        clear = hand.chunk(b"tRNS", b"\xff\xff\x00\xff")
        third = (COLOURS[0], COLOURS[1], WHITE, COLOURS[3])
        yield (
            f"png_palette_clear{tail}.png",
            made(quarters, 2, hand.PALETTE, palette, clear),
            replace(EXACT, colours=third),
        )
        for depth in (8, 16):
            scale = 257 if depth == 16 else 1
            whole = np.dstack([rgb, opaque]).astype(np.uint16) * scale
            yield f"png_rgba_{depth}{tail}.png", made(whole, depth, hand.COLOUR_ALPHA), EXACT
            greyer = np.dstack([luma, opaque]).astype(np.uint16) * scale
            yield (
                f"png_grey_alpha_{depth}{tail}.png",
                made(greyer, depth, hand.GREY_ALPHA),
                replace(EXACT_GREY, within=4),
            )
    half = np.dstack([rgb, opaque // 2])
    mixed = tuple(
        tuple(round(255 - 127 / 255 * (255 - value)) for value in colour) for colour in COLOURS
    )
    yield "png_half_clear.png", hand.png(half, 8, hand.COLOUR_ALPHA), replace(EXACT, colours=mixed)
    yield (
        "png_all_clear.png",
        hand.png(np.dstack([rgb, opaque * 0]), 8, hand.COLOUR_ALPHA),
        replace(EXACT, colours=(WHITE,) * 4),
    )
    key = hand.chunk(b"tRNS", struct.pack(">HHH", *COLOURS[1]))
    yield (
        "png_colour_key.png",
        hand.png(rgb, 8, hand.COLOUR, key),
        replace(EXACT, colours=(COLOURS[0], WHITE, COLOURS[2], COLOURS[3])),
    )
    yield "png_filters.png", hand.png(rgb, 8, hand.COLOUR, filtered=True), EXACT
    yield (
        "png_filters_16.png",
        hand.png(rgb.astype(np.uint16) * 257, 16, hand.COLOUR, filtered=True),
        EXACT,
    )
    yield "png_in_300_pieces.png", hand.png(rgb, 8, hand.COLOUR, pieces=300), EXACT
    yield (
        "png_trailing_bytes.png",
        hand.png(rgb, 8, hand.COLOUR) + b"<script>alert(1)</script>",
        EXACT,
    )
    yield (
        "png_unknown_chunk.png",
        hand.png(rgb, 8, hand.COLOUR, hand.chunk(b"duMy", bytes(5000))),
        EXACT,
    )
    yield (
        "png_animated.png",
        encoded(picture(41), "PNG", save_all=True, append_images=[picture(42), picture(43)]),
        EXACT,
    )
    yield "png_suggested_palette.png", hand.png(rgb, 8, hand.COLOUR, palette), EXACT


def sound_tiffs() -> Iterator[File]:
    """TIFF: compressions, depths, byte orders, tiles, planes, pages."""
    rgb, luma = scene(50), np.asarray(picture(50, "L"))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"):
        yield (
            f"tiff_{compression}.tif",
            encoded(picture(51), "TIFF", compression=compression),
            replace(EXACT, mode="RGB"),
        )
    for compression in ("jpeg", "lzma", "zstd"):
        with contextlib.suppress(
            OSError, ValueError, RuntimeError
        ):  # libtiff may have been built without it
            yield (
                f"tiff_{compression}.tif",
                encoded(picture(52), "TIFF", compression=compression),
                LOSSY,
            )
    bilevel = tuple((255 * (colour[0] > 127),) * 3 for colour in GREYS)
    for compression in ("raw", "group3", "group4", "tiff_ccitt"):
        yield (
            f"tiff_bilevel_{compression}.tif",
            encoded(picture(53, "1"), "TIFF", compression=compression),
            replace(EXACT, colours=bilevel),
        )
    for mode, truth in (
        ("L", EXACT_GREY),
        ("LA", EXACT_GREY),
        ("P", LOSSY),
        ("RGBA", EXACT),
        ("CMYK", EXACT),
        ("YCbCr", LOSSY),
        ("F", EXACT_GREY),
    ):
        yield (
            f"tiff_{mode.lower()}.tif",
            encoded(picture(54, mode), "TIFF"),
            replace(truth, mode=mode),
        )
    yield "tiff_16.tif", encoded(picture(55, "I;16"), "TIFF"), EXACT_GREY
    yield "tiff_32.tif", encoded(picture(56, "I"), "TIFF"), EXACT_GREY
    yield (
        "tiff_float_lzw.tif",
        encoded(picture(57, "F"), "TIFF", compression="tiff_lzw"),
        EXACT_GREY,
    )
    yield (
        "tiff_16_deflate.tif",
        encoded(picture(58, "I;16"), "TIFF", compression="tiff_adobe_deflate"),
        EXACT_GREY,
    )
    yield (
        "tiff_pages.tif",
        encoded(
            picture(59), "TIFF", save_all=True, append_images=[picture(60, "L"), picture(61, "1")]
        ),
        EXACT,
    )
    yield "tiff_big.tif", encoded(picture(62), "TIFF", big_tiff=True), EXACT
    for order, name in (("<", "little"), (">", "big")):
        yield (
            f"tiff_{name}_endian.tif",
            hand.tiff(hand.tiff_tags(WIDE, HIGH), [rgb.tobytes()], order=order),
            EXACT,
        )
        wide = hand.tiff_tags(WIDE, HIGH, (16,) * 3)
        yield (
            f"tiff_{name}_endian_rgb_16.tif",
            hand.tiff(wide, [(rgb.astype(order + "u2") * 257).tobytes()], order=order),
            EXACT,
        )
        deep = hand.tiff_tags(WIDE, HIGH, (16,), photometric=1)
        yield (
            f"tiff_{name}_endian_16.tif",
            hand.tiff(deep, [(luma.astype(order + "u2") * 257).tobytes()], order=order),
            EXACT_GREY,
        )
        truth = (
            EXACT
            if order == "<"
            else Truth(readable=False, why="Pillow cannot read BigTIFF in this order")
        )
        yield (
            f"tiff_{name}_endian_bigtiff.tif",
            hand.tiff(hand.tiff_tags(WIDE, HIGH), [rgb.tobytes()], order=order, big=True),
            truth,
        )
    strips = [(278, hand.LONG, [8]) if tag[0] == 278 else tag for tag in hand.tiff_tags(WIDE, HIGH)]
    yield (
        "tiff_strips.tif",
        hand.tiff(strips, [rgb[row : row + 8].tobytes() for row in range(0, HIGH, 8)]),
        EXACT,
    )
    tiles = [tag for tag in hand.tiff_tags(WIDE, HIGH) if tag[0] != 278] + [
        (322, hand.SHORT, [16]),
        (323, hand.SHORT, [16]),
    ]
    parts = [
        rgb[row : row + 16, column : column + 16].tobytes()
        for row in range(0, HIGH, 16)
        for column in range(0, WIDE, 16)
    ]
    yield "tiff_tiles.tif", hand.tiff(tiles, parts, tiled=True), EXACT
    packed = [(259, hand.SHORT, [8]) if tag[0] == 259 else tag for tag in tiles]
    yield (
        "tiff_tiles_deflate.tif",
        hand.tiff(packed, [zlib.compress(part) for part in parts], tiled=True),
        EXACT,
    )
    planes = [*hand.tiff_tags(WIDE, HIGH), (284, hand.SHORT, [2])]
    yield (
        "tiff_planes.tif",
        hand.tiff(planes, [rgb[..., channel].tobytes() for channel in range(3)]),
        EXACT,
    )
    yield (
        "tiff_white_is_zero.tif",
        hand.tiff(hand.tiff_tags(WIDE, HIGH, (8,), photometric=0), [(255 - luma).tobytes()]),
        EXACT_GREY,
    )
    difference = np.diff(rgb, axis=1, prepend=np.zeros((HIGH, 1, 3), np.uint8))
    predicted = [*hand.tiff_tags(WIDE, HIGH, compression=8), (317, hand.SHORT, [2])]
    yield "tiff_predictor.tif", hand.tiff(predicted, [zlib.compress(difference.tobytes())]), EXACT
    private = [
        *hand.tiff_tags(WIDE, HIGH),
        (65000, hand.UNDEFINED, bytes(3000)),
        (65001, 12, struct.pack("<d", float("nan"))),
    ]
    yield "tiff_private_tags.tif", hand.tiff(private, [rgb.tobytes()]), EXACT


def sound_bmps() -> Iterator[File]:
    """BMP: depths, headers, row orders, run lengths."""
    rgb = scene(70)
    indexes = np.zeros((HIGH, WIDE), np.uint8)
    (
        indexes[: HIGH // 2, WIDE // 2 :],
        indexes[HIGH // 2 :, : WIDE // 2],
        indexes[HIGH // 2 :, WIDE // 2 :],
    ) = 1, 2, 3
    colours = b"".join(bytes([blue, green, red, 0]) for red, green, blue in COLOURS)
    bgr = np.ascontiguousarray(rgb[..., ::-1]).reshape(HIGH, -1)
    bgrx = np.ascontiguousarray(
        np.dstack([rgb[..., ::-1], np.full((HIGH, WIDE), 255, np.uint8)])
    ).reshape(HIGH, -1)
    yield "bmp_24.bmp", hand.bmp(WIDE, HIGH, 24, hand.bmp_rows(bgr, 24)), replace(EXACT, mode="RGB")
    yield "bmp_from_the_top.bmp", hand.bmp(WIDE, -HIGH, 24, hand.bmp_rows(bgr[::-1], 24)), EXACT
    yield "bmp_os2.bmp", hand.bmp(WIDE, HIGH, 24, hand.bmp_rows(bgr, 24), header=12), EXACT
    yield "bmp_32.bmp", hand.bmp(WIDE, HIGH, 32, hand.bmp_rows(bgrx, 32)), EXACT
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for header in (108, 124):
        yield (
            f"bmp_32_header_{header}.bmp",
            hand.bmp(
                WIDE, HIGH, 32, hand.bmp_rows(bgrx, 32), packing=3, masks=masks, header=header
            ),
            EXACT,
        )
    fives = (rgb >> 3).astype(np.uint16)
    short = (fives[..., 0] << 10 | fives[..., 1] << 5 | fives[..., 2]).astype("<u2")
    yield "bmp_16.bmp", hand.bmp(WIDE, HIGH, 16, hand.bmp_rows(short, 16)), replace(EXACT, within=9)
    yield "bmp_8.bmp", hand.bmp(WIDE, HIGH, 8, hand.bmp_rows(indexes, 8), colours=colours), EXACT
    yield "bmp_4.bmp", hand.bmp(WIDE, HIGH, 4, hand.bmp_rows(indexes, 4), colours=colours), EXACT
    yield (
        "bmp_1.bmp",
        hand.bmp(WIDE, HIGH, 1, hand.bmp_rows(indexes % 2, 1), colours=colours[:8]),
        replace(EXACT, colours=(COLOURS[0], COLOURS[1]) * 2),
    )
    runs = (
        b"".join(
            bytes([WIDE // 2, row[0], WIDE // 2, row[-1], 0, 0]) for row in indexes[::-1].tolist()
        )
        + b"\0\1"
    )
    yield "bmp_runs_8.bmp", hand.bmp(WIDE, HIGH, 8, runs, packing=1, colours=colours), EXACT
    nibbles = (
        b"".join(
            bytes([WIDE // 2, row[0] * 17, WIDE // 2, row[-1] * 17, 0, 0])
            for row in indexes[::-1].tolist()
        )
        + b"\0\1"
    )
    yield "bmp_runs_4.bmp", hand.bmp(WIDE, HIGH, 4, nibbles, packing=2, colours=colours), EXACT


def sound_gifs() -> Iterator[File]:
    """GIF: palettes, transparency, animations."""
    gif = replace(LOSSY, within=12)
    yield "gif_plain.gif", encoded(picture(80), "GIF"), gif
    yield "gif_not_interlaced.gif", encoded(picture(81), "GIF", interlace=0), gif
    yield "gif_grey.gif", encoded(picture(82, "L"), "GIF"), EXACT_GREY
    yield (
        "gif_bilevel.gif",
        encoded(picture(83, "1"), "GIF"),
        replace(EXACT, colours=tuple((255 * (colour[0] > 127),) * 3 for colour in GREYS)),
    )
    yield (
        "gif_animated.gif",
        encoded(
            picture(84),
            "GIF",
            save_all=True,
            append_images=[picture(85), picture(86)],
            loop=0,
            duration=0,
        ),
        gif,
    )
    yield (
        "gif_disposal.gif",
        encoded(
            picture(87), "GIF", save_all=True, append_images=[picture(88), picture(89)], disposal=2
        ),
        gif,
    )
    clear = picture(90, "RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, WIDE // 2, HIGH // 2))
    yield "gif_transparent.gif", encoded(clear, "GIF"), replace(gif, colours=(WHITE, *COLOURS[1:]))
    yield "gif_comment.gif", encoded(picture(91), "GIF", comment=b"\xff" * 3000), gif
    yield (
        "gif_87.gif",
        hand.gif(1, 1, hand.gif_frame(0, 0, 1, 1), version=b"87a"),
        replace(ANY_SIZE, size=(1, 1)),
    )
    yield "gif_trailing_bytes.gif", encoded(picture(92), "GIF") + bytes(999), gif
    yield "gif_without_trailer.gif", encoded(picture(93), "GIF").rstrip(b";"), gif


def sound_others() -> Iterator[File]:
    """WebP, AVIF, JPEG 2000, and the PNM family."""
    for mode, truth in (("RGB", LOSSY), ("L", LOSSY_GREY), ("RGBA", LOSSY)):
        yield f"webp_{mode.lower()}.webp", encoded(picture(100, mode), "WEBP", quality=90), truth
        exact = replace(truth, within=3)
        yield (
            f"webp_lossless_{mode.lower()}.webp",
            encoded(picture(101, mode), "WEBP", lossless=True),
            exact,
        )
    clear = picture(102, "RGBA")
    clear.paste((9, 9, 9, 0), (0, 0, WIDE // 2, HIGH // 2))
    yield (
        "webp_clear.webp",
        encoded(clear, "WEBP", quality=90),
        replace(LOSSY, colours=(WHITE, *COLOURS[1:])),
    )
    yield (
        "webp_animated.webp",
        encoded(picture(103), "WEBP", save_all=True, append_images=[picture(104)], lossless=True),
        EXACT,
    )
    yield "webp_lowest.webp", encoded(picture(105), "WEBP", quality=0), replace(LOSSY, within=90)
    if AVIF:
        yield from sound_avifs(clear)
    for name, options in (
        ("jp2", {}),
        ("codestream", {"no_jp2": True}),
        ("lossy", {"irreversible": True, "quality_layers": [4]}),
        ("tiles", {"tile_size": (16, 16)}),
    ):
        yield f"jpeg2000_{name}.jp2", encoded(picture(110), "JPEG2000", **options), LOSSY
    for mode, truth in (
        ("L", EXACT_GREY),
        ("LA", EXACT_GREY),
        ("RGBA", EXACT),
        ("I;16", EXACT_GREY),
    ):
        yield (
            f"jpeg2000_{mode.lower().replace(';', '_')}.jp2",
            encoded(picture(111, mode), "JPEG2000"),
            truth,
        )
    rgb, luma = scene(112), np.asarray(picture(112, "L"))
    bits = (luma <= 127).astype(np.uint8)
    black = tuple((255 * (colour[0] > 127),) * 3 for colour in GREYS)
    size = f"{WIDE} {HIGH}"
    yield "pnm_p6.ppm", f"P6\n# made by hand\n{size}\n255\n".encode() + rgb.tobytes(), EXACT
    yield "pnm_p5.pgm", f"P5 {size} 255\n".encode() + luma.tobytes(), EXACT_GREY
    yield (
        "pnm_p4.pbm",
        f"P4\n{size}\n".encode() + np.packbits(bits, axis=1).tobytes(),
        replace(EXACT, colours=black),
    )
    for kind, values, top in (("P3", rgb, "255"), ("P2", luma, "255"), ("P1", bits, "")):
        text = f"{kind}\n{size}\n{top}\n" + "\n".join(
            " ".join(map(str, row)) for row in values.reshape(HIGH, -1).tolist()
        )
        yield (
            f"pnm_{kind.lower()}.pnm",
            text.encode(),
            {"P3": EXACT, "P2": EXACT_GREY, "P1": replace(EXACT, colours=black)}[kind],
        )
    yield (
        "pnm_p5_16.pgm",
        f"P5 {size} 65535\n".encode() + (luma.astype(">u2") * 257).tobytes(),
        EXACT_GREY,
    )
    yield (
        "pnm_p6_of_100.ppm",
        f"P6 {size} 100\n".encode() + np.round(rgb / 2.55).astype(np.uint8).tobytes(),
        replace(EXACT, within=6),
    )


def sound_avifs(clear: Image.Image) -> Iterator[File]:
    """AVIF, also with ten bits, which OpenCV writes."""
    yield "avif_rgb.avif", encoded(picture(106), "AVIF", quality=90), LOSSY
    yield "avif_444.avif", encoded(picture(107), "AVIF", subsampling="4:4:4", quality=95), LOSSY
    yield "avif_grey.avif", encoded(picture(107, "L"), "AVIF", subsampling="4:0:0"), LOSSY_GREY
    yield (
        "avif_clear.avif",
        encoded(clear, "AVIF", quality=90),
        replace(LOSSY, colours=(WHITE, *COLOURS[1:])),
    )
    yield (
        "avif_animated.avif",
        hand.without_times(
            encoded(picture(108), "AVIF", save_all=True, append_images=[picture(109)])
        ),
        LOSSY,
    )
    import cv2

    if hasattr(cv2, "IMWRITE_AVIF_DEPTH"):
        for depth in (10, 12):
            values = np.round(scene(109)[..., ::-1].astype(float) * (2**depth - 1) / 255).astype(
                np.uint16
            )
            with contextlib.suppress(cv2.error):  # built without AVIF
                yield (
                    f"avif_{depth}.avif",
                    cv2.imencode(".avif", values, [cv2.IMWRITE_AVIF_DEPTH, depth])[1].tobytes(),
                    LOSSY,
                )


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────


def tags() -> Iterator[File]:
    """Orientations, and metadata that make no sense, none of which may keep a picture from being
    seen.
    """
    writers: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95},
        "PNG": {},
        "WEBP": {"quality": 95},
        "TIFF": {},
    } | ({"AVIF": {"quality": 95}} if AVIF else {})
    for kind, options in writers.items():
        for orientation, turned in ORIENTATIONS.items():
            asked = Image.Exif()
            asked[0x0112] = orientation
            stored = Image.fromarray(np.ascontiguousarray(turned(scene(orientation))))
            yield (
                f"tags/turned_{orientation}.{kind.lower()}",
                encoded(stored, kind, exif=asked, **options),
                LOSSY,
            )
    for kind in ("JPEG", "PNG", "WEBP"):
        for name, data in nonsense().items():
            head = b"" if kind == "PNG" else b"Exif\0\0"
            yield (
                f"tags/exif_{name}.{kind.lower()}",
                encoded(picture(120), kind, exif=head + data, **writers[kind]),
                LOSSY,
            )
    for order in "<>":
        asked = hand.exif((0x0112, hand.SHORT, 1, struct.pack(order + "H", 6)), order=order)
        stored = Image.fromarray(np.ascontiguousarray(ORIENTATIONS[6](scene(121))))
        yield (
            f"tags/exif_{'little' if order == '<' else 'big'}_endian.jpg",
            encoded(stored, "JPEG", quality=95, exif=b"Exif\0\0" + asked),
            LOSSY,
        )
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        for name, profile in (
            ("garbage", bytes(range(256)) * 3),
            ("short", b"\0\0\0\x80acsp"),
            ("empty", b" "),
        ):
            yield (
                f"tags/profile_{name}.{kind.lower()}",
                encoded(picture(122), kind, icc_profile=profile, **writers[kind]),
                LOSSY,
            )
    yield from jpeg_tags()
    yield from png_tags()


def nonsense() -> dict[str, bytes]:
    """EXIF data that no camera wrote, none of which may turn a picture."""
    turn = (0x0112, hand.SHORT, 1, b"\0\6")
    return {
        "orientation_9": hand.exif((0x0112, hand.SHORT, 1, b"\0\x09")),
        "orientation_0": hand.exif((0x0112, hand.SHORT, 1, b"\0\0")),
        "orientation_text": hand.exif((0x0112, hand.ASCII, 2, b"6\0")),
        "orientation_two": hand.exif((0x0112, hand.SHORT, 2, b"\0\x09\0\x09")),
        "orientation_none": hand.exif((0x0112, hand.SHORT, 0, b"")),
        "orientation_far_away": hand.exif((0x0112, hand.SHORT, 10, b"\x7f\xff\xff\xff")),
        "orientation_4_billion": hand.exif((0x0112, hand.SHORT, 0xFFFFFFFF, b"\0\0\0\x08")),
        "unknown_type": hand.exif((0x0112, 99, 1, b"\0\6")),
        "directory_loops": hand.exif(
            (0x8769, hand.LONG, 1, b"\0\0\0\x08"),
            (0x8825, hand.LONG, 1, b"\0\0\0\x08"),
            following=8,
        ),
        "directory_far_away": b"MM\0*\x7f\xff\xff\xff",
        "directory_cut": hand.exif(turn)[:13],
        "many_entries": b"MM\0*\0\0\0\x08\xff\xff" + bytes(100),
        "garbage": b"\xff\xd8\xff\xe1" * 50,
        "empty": b"",
        "zeros": bytes(300),
    }


def jpeg_tags() -> Iterator[File]:
    """Segments of a JPEG with nothing sensible in them."""
    plain = encoded(picture(123), "JPEG", quality=95)
    deep = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + b"<a>" * 18_000
    entities = (
        b'http://ns.adobe.com/xap/1.0/\0<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c '
        b'"&b;&b;">]><x>&b;</x>'
    )
    bodies = {
        "xmp_deep": (0xE1, deep),
        "xmp_entities": (0xE1, entities),
        "exif_without_body": (0xE1, b"Exif\0\0"),
        "exif_twice": (0xE1, b"Exif\0\0MM"),
        "profile_part_0_of_0": (0xE2, b"ICC_PROFILE\0\0\0"),
        "profile_part_9_of_2": (0xE2, b"ICC_PROFILE\0\x09\x02xxxx"),
        "profile_cut": (0xE2, b"ICC_PROFILE\0"),
        "photoshop_cut": (0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff"),
        "photoshop_resolution_cut": (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x02\0\0"),
        "jfif_cut": (0xE0, b"JFIF"),
        "mpf_cut": (0xE2, b"MPF\0II*\0"),
        "comment_empty": (0xFE, b""),
        "flashpix": (0xE2, b"FPXR\0" + bytes(40)),
        "unknown": (0xEB, bytes(65000)),
    }
    for name, (marker, body) in bodies.items():
        yield f"tags/jpeg_{name}.jpg", hand.with_segment(plain, marker, body), LOSSY
    xmp = (
        b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        b'tiff:Orientation="6"/></x:xmpmeta>'
    )
    why = "readers of images do not agree whether XMP may turn a picture"
    yield (
        "tags/jpeg_xmp_orientation.jpg",
        hand.with_segment(plain, 0xE1, xmp),
        replace(ANY_SIZE, why=why),
    )


def png_tags() -> Iterator[File]:
    """Ancillary chunks of a PNG: broken ones are no reason not to see the picture."""
    rgb = scene(124)
    bodies = {
        "gamma_0": (b"gAMA", bytes(4)),
        "gamma_cut": (b"gAMA", b"\0"),
        "chromaticities_cut": (b"cHRM", b"\0" * 5),
        "intent_9": (b"sRGB", b"\x09"),
        "intent_empty": (b"sRGB", b""),
        "dots_cut": (b"pHYs", b"\0"),
        "time_13": (b"tIME", b"\xff" * 7),
        "profile_cut": (b"iCCP", b"x\0\0"),
        "profile_unnamed": (b"iCCP", b""),
        "profile_garbage": (b"iCCP", b"x\0\0" + b"\xff" * 99),
        "profile_method_9": (b"iCCP", b"x\0\x09abc"),
        "text_empty": (b"tEXt", b""),
        "text_without_end": (b"tEXt", b"\xff" * 99),
        "text_packed_garbage": (b"zTXt", b"x\0\0garbage"),
        "text_international_cut": (b"iTXt", b"x\0\1"),
        "exif_garbage": (b"eXIf", b"\xff" * 20),
        "animation_of_0": (b"acTL", bytes(8)),
        "animation_of_4_billion": (b"acTL", b"\xff" * 8),
        "clear_without_palette": (b"tRNS", b""),
        "background_cut": (b"bKGD", b""),
        "bits_255": (b"sBIT", b"\xff" * 3),
    }
    for name, (kind, body) in bodies.items():
        yield f"tags/png_{name}.png", hand.png(rgb, 8, hand.COLOUR, hand.chunk(kind, body)), EXACT
    wrong = hand.chunk(b"tEXt", b"a\0b", sum_is_right=False)
    yield "tags/png_text_with_a_wrong_sum.png", hand.png(rgb, 8, hand.COLOUR, wrong), EXACT
