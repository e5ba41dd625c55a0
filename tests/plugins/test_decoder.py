"""What the image decoder makes of good files, and what it says of files that are no images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.picture import Header
from PIL import Image, features

from dqpipe.errors import MediaError

DECODER = ImageDecoder()
AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def quarters() -> np.ndarray:
    """uint8 [60, 100, 3] with another colour in each quarter, so that every turn can be seen."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:30, :50], pixels[:30, 50:], pixels[30:, :50], pixels[30:, 50:] = (
        (250, 0, 0),
        (0, 250, 0),
        (0, 0, 250),
        (250, 250, 0),
    )
    return pixels


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as a camera stores them that was held in one of the eight ways of EXIF."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 3),
    }
    return np.ascontiguousarray(undo[orientation](upright))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=AVIF)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "TIFF": {}}.get(name, {"quality": 95})
    data = encoded(Image.fromarray(stored(quarters(), orientation)), name, exif=exif, **options)
    header, picture = DECODER.decode(data, "header"), DECODER.decode(data, "full")
    assert (header.width, header.height, picture.pixels.shape) == (100, 60, (60, 100, 3))
    corners = picture.pixels[[10, 10, 50, 50], [10, 90, 10, 90]].astype(int)
    assert np.abs(corners - quarters()[[10, 10, 50, 50], [10, 90, 10, 90]]).max() < 30


def test_orientation_data_that_make_no_sense_turn_nothing() -> None:
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff broken"
    picture = DECODER.decode(encoded(Image.fromarray(quarters()), "JPEG", exif=exif), "full")
    assert picture.pixels.shape == (60, 100, 3)


@pytest.mark.parametrize(
    ("side", "reduction"), [(239, 1), (479, 1), (480, 2), (959, 2), (960, 4), (1920, 8), (5000, 8)]
)
def test_a_jpeg_picture_keeps_its_shorter_side_at_240_or_more(side: int, reduction: int) -> None:
    data = encoded(Image.new("RGB", (side + 300, side)), "JPEG")
    picture, full = DECODER.decode(data, "picture"), DECODER.decode(data, "full")
    assert (picture.reduction, full.reduction) == (reduction, 1)
    assert picture.pixels.shape[:2] == (-(-side // reduction), -(-(side + 300) // reduction))
    assert (picture.header.width, picture.header.height) == (side + 300, side)
    assert full.pixels.shape == (side, side + 300, 3)


@pytest.mark.parametrize("reduction", [1, 2])
def test_jpeg_pixels_are_those_of_opencv(reduction: int) -> None:
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
    data = encoded(Image.fromarray(cv2.GaussianBlur(noise, (9, 9), 0)), "JPEG", quality=80)
    picture = DECODER.decode(data, "full" if reduction == 1 else "picture")
    flag = cv2.IMREAD_COLOR if reduction == 1 else cv2.IMREAD_REDUCED_COLOR_2
    other = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), flag), cv2.COLOR_BGR2RGB)
    assert (
        np.abs(picture.pixels.astype(int) - other).max() <= 1
    )  # two builds of libjpeg; here, they are equal


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"subsampling": 0},
        {"quality": 100},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"quality": 1},
    ],
)
def test_every_kind_of_sound_jpeg_is_read(options: dict[str, object]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    data = encoded(image, "JPEG", **options)
    plain = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(DECODER.decode(data, "full").pixels, plain)
    assert np.array_equal(DECODER.decode(data + b"trailing bytes", "full").pixels, plain)


@pytest.mark.parametrize("side", [960, 500, 481, 17])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"restart_marker_blocks": 5},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_pixels_are_those_of_pillow_at_every_scale(
    side: int, options: dict[str, object], mode: str
) -> None:
    import cv2

    noise = np.random.default_rng(side).integers(0, 256, (side, side + 3, 3), np.uint8)
    data = encoded(
        Image.fromarray(cv2.GaussianBlur(noise, (5, 5), 0)).convert(mode),
        "JPEG",
        quality=70,
        **options,
    )
    picture, plain = DECODER.decode(data, "picture"), Image.open(io.BytesIO(data))
    plain.draft(None, (plain.width // picture.reduction, plain.height // picture.reduction))
    assert (picture.reduction, picture.header.mode) == ({960: 4, 500: 2, 481: 2, 17: 1}[side], mode)
    assert np.array_equal(picture.pixels, np.asarray(plain.convert("RGB")))


@pytest.mark.parametrize("quality", [1, 10, 35, 50, 75, 92, 100])
def test_a_jpeg_tells_the_quality_it_was_saved_at(quality: int) -> None:
    for mode in ("RGB", "L"):
        header = DECODER.decode(
            encoded(Image.fromarray(quarters()).convert(mode), "JPEG", quality=quality), "header"
        )
        assert header.quality == quality


def test_every_sound_part_of_a_damaged_jpeg_is_no_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    for kept in range(4, len(data) - 2, 131):
        for ending in (b"", b"\xff\xd9"):
            with pytest.raises(MediaError):
                ImageDecoder(missing=0).decode(data[:kept] + ending, "picture")


def test_a_jpeg_that_lacks_nothing_but_its_end_marker_is_read() -> None:
    data = encoded(Image.fromarray(quarters()), "JPEG")
    assert np.array_equal(
        DECODER.decode(data[:-2], "full").pixels, DECODER.decode(data, "full").pixels
    )


def test_alpha_is_blended_on_white_and_kept() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, 2:, 3], pixels[:, :2, 3] = 255, 0
    pixels[0, 0] = (0, 0, 0, 102)
    picture = DECODER.decode(encoded(Image.fromarray(pixels), "PNG"), "full")
    assert picture.pixels[1, :, 0].tolist() == [255, 255, 0, 0]
    assert picture.pixels[0, 0].tolist() == [153, 153, 153]
    assert np.array_equal(picture.native, pixels)
    assert picture.header.mode == "RGBA"


def test_an_opaque_alpha_channel_loses_nothing() -> None:
    image = Image.fromarray(quarters()).convert("RGBA")
    picture = DECODER.decode(encoded(image, "PNG"), "full")
    assert (picture.native, np.array_equal(picture.pixels, quarters())) == (None, True)


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    for name in ("PNG", "GIF"):
        picture = DECODER.decode(encoded(image, name, transparency=0), "full")
        assert (picture.pixels[0, 0].tolist(), picture.pixels[2, 2].tolist()) == (
            [255, 255, 255],
            [0, 0, 255],
        )


@pytest.mark.parametrize(("top", "name"), [(65535, "PNG"), (4095, "PNG"), (255, "TIFF")])
def test_sixteen_bit_grey_is_scaled_by_the_bits_that_are_used_and_kept(top: int, name: str) -> None:
    values = np.linspace(0, top, 64).round().astype(np.uint16).reshape(8, 8)
    picture = DECODER.decode(encoded(Image.fromarray(values), name), "full")
    assert np.array_equal(picture.native, values)
    assert np.array_equal(picture.pixels[..., 0], np.round(values * (255 / top)))
    assert picture.header.grey


def test_floats_are_scaled_and_values_that_are_no_numbers_are_black() -> None:
    values = np.array([[0.0, 0.5], [1.0, np.nan]], np.float32)
    assert DECODER.decode(encoded(Image.fromarray(values), "TIFF"), "full").pixels[
        ..., 0
    ].tolist() == [[0, 128], [255, 0]]
    wide = np.array([[-10.0, 0.0], [10.0, np.inf]], np.float32)
    assert DECODER.decode(encoded(Image.fromarray(wide), "TIFF"), "full").pixels[
        ..., 0
    ].tolist() == [[0, 128], [255, 0]]


def test_cmyk_becomes_rgb() -> None:
    picture = DECODER.decode(
        encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95), "full"
    )
    red, green, blue = picture.pixels[4, 4].astype(int)
    assert (red < 20, min(green, blue) > 220) == (True, True)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_seen_and_the_frames_are_counted(name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if name == "WEBP" else {}
    picture = DECODER.decode(
        encoded(frames[0], name, save_all=True, append_images=frames[1:], **options), "full"
    )
    assert (picture.header.frames, picture.pixels[0, 0].tolist()) == (3, [255, 0, 0])


def test_the_header_says_what_the_file_says() -> None:
    data = encoded(Image.new("L", (30, 20)), "JPEG")
    assert DECODER.decode(data, "header") == Header("JPEG", 30, 20, "L", 1, 1, len(data), 75)


def test_pixels_are_shared_and_thus_read_only() -> None:
    picture = DECODER.decode(encoded(Image.new("RGBA", (4, 4)), "PNG"), "full")
    assert (picture.pixels.flags.writeable, picture.native.flags.writeable) == (False, False)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file (0 bytes)"),
        (
            bytes(1000),
            "not an image: all its 1,000 bytes are zero (an interrupted download or copy)",
        ),
        (b"\n<!DOCTYPE html><html><body>404 Not Found", "not an image: it is an HTML page"),
        (
            b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
            "not an image: it is an SVG drawing",
        ),
        (b"%PDF-1.7 ...", "not an image: it is a PDF document"),
        (b"PK\x03\x04....", "not an image: it is a zip archive (or an office document)"),
        (b"\x1f\x8b\x08", "not an image: it is a gzip archive"),
        (b'{"error": "not found"}', "not an image: it is JSON or other text"),
        ("Привет, это не картинка".encode(), "not an image: it is text"),
        (
            b"\x00\x00\x00\x18ftypheic\x00",
            "not an image: it is a HEIC photograph: convert it to JPEG or AVIF first",
        ),
        (b"\x00\x00\x00\x18ftypisom\x00", "not an image: it is a video (MP4 or QuickTime)"),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09",
            "not an image: it is of no known format (first bytes 01 02 03 04 05 06 07 08)",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            (
                "not an image: it is a pointer of Git LFS: the file itself was not fetched (git "
                "lfs pull)"
            ),
        ),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    assert not DECODER.suits(data[:64])
    with pytest.raises(MediaError) as caught:
        DECODER.decode(data, "picture")
    assert str(caught.value) == reason


def test_the_bytes_decide_not_the_name() -> None:
    for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        data = encoded(Image.new("RGB", (8, 8)), name)
        assert (DECODER.suits(data[:64]), DECODER.decode(data, "header").format) == (True, name)
