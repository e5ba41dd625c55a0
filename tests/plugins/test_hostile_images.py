"""No bytes whatever may crash the decoder, print, or pass as a picture when they are none."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.picture import Header, Picture
from PIL import Image, features

from dqpipe.errors import MediaError

DECODER = ImageDecoder()
SIZE = (23, 17)
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "WEBP": ("L", "RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"),
}
SUPPORTED = {
    "WEBP": features.check("webp"),
    "AVIF": features.check("avif"),
    "JPEG2000": features.check("jpg_2000"),
}
FORMATS = [name for name in MODES if SUPPORTED.get(name, True)]


def drawn(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """A gradient with some noise, in any mode of Pillow."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: size[1], : size[0]]
    ramp = np.clip(255 * (x + y) / sum(size) + rng.normal(0, 20, (size[1], size[0])), 0, 255)
    if mode in {"I;16", "I", "F"}:
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((ramp * 257).astype(kind))
    colour = Image.fromarray(np.dstack([ramp, ramp, 255 - ramp]).astype(np.uint8))
    if mode in {"LA", "RGBA"}:
        alpha = Image.fromarray((255 * x / size[0]).astype(np.uint8))
        colour.putalpha(alpha)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.applyTransform(colour, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    return colour.convert(mode)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def outcome(data: bytes, rendition: str = "full") -> Picture | Header | str:
    """The picture, or the reason why there is none; anything else raised fails the test."""
    try:
        return DECODER.decode(data, rendition)
    except MediaError as error:
        reason = str(error)
    assert len(reason) > 10
    return reason


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]):
    """Nothing may reach stdout or stderr, not even from C, and no warning may escape."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name in FORMATS for mode in MODES[name]]
)
def test_every_format_and_mode_gives_a_picture(name: str, mode: str) -> None:
    picture = outcome(encoded(drawn(mode), name))
    assert isinstance(picture, Picture), picture
    assert (picture.pixels.shape, picture.pixels.dtype) == ((17, 23, 3), np.uint8)
    assert (picture.header.width, picture.header.height) == SIZE
    assert picture.pixels.std() > 20
    assert picture.grey.shape == (17, 23)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rendition", ["header", "full"])
def test_a_cut_or_damaged_file_gives_a_picture_or_a_reason(name: str, rendition: str) -> None:
    rng = np.random.default_rng(1)
    for mode in MODES[name]:
        data = encoded(drawn(mode), name)
        for cut in np.unique(np.linspace(0, len(data) - 1, 25).astype(int)):
            outcome(data[:cut], rendition)
        for _ in range(40):
            flipped = bytearray(data)
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                flipped[place] ^= 1 << rng.integers(8)
            found = outcome(bytes(flipped), rendition)
            if isinstance(found, Picture):
                assert found.pixels.dtype == np.uint8
                assert found.pixels.shape == (found.header.height, found.header.width, 3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_cut_or_damaged_compressed_tiff_is_refused_in_silence(compression: str) -> None:
    data = encoded(drawn("RGB", (64, 48)), "TIFF", compression=compression)
    assert isinstance(outcome(data), Picture)
    rng = np.random.default_rng(2)
    for _ in range(60):
        flipped = bytearray(data)
        flipped[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
        outcome(bytes(flipped))
    assert [type(outcome(data[: len(data) * share // 10])) for share in range(1, 10)] == [str] * 9


@pytest.mark.parametrize("name", [f for f in FORMATS if f != "JPEG2000"])
def test_a_file_cut_in_the_middle_is_refused(name: str) -> None:
    data = encoded(drawn("RGB", (64, 48)), name)
    for share in (0.3, 0.6, 0.9):
        found = outcome(data[: int(share * len(data))])
        assert isinstance(found, str)
        assert "ends early" in found or "damaged" in found


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_behind_a_true_beginning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in FORMATS:
        head = encoded(drawn("RGB"), name)[:40]
        for keep in (4, 12, 24, 40):
            outcome(head[:keep] + rng.bytes(300))


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_claiming(width: int, height: int, *extra: bytes) -> bytes:
    """A small PNG file that claims a size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def test_a_pixel_bomb_is_refused_before_it_is_decoded() -> None:
    reason = "claims 50,000 × 50,000 pixels, above the limit of 178 million (option max_pixels)"  # noqa: RUF001
    assert [
        outcome(png_claiming(50_000, 50_000), rendition)
        for rendition in ("header", "picture", "full")
    ] == [reason] * 3


def test_bombs_of_other_formats_are_refused() -> None:
    small = {name: bytearray(encoded(drawn("RGB"), name)) for name in ("BMP", "GIF", "JPEG")}
    small["BMP"][18:26] = struct.pack("<II", 60_000, 60_000)
    small["GIF"][6:10] = struct.pack("<HH", 60_000, 60_000)
    place = small["JPEG"].index(b"\xff\xc0") + 5
    small["JPEG"][place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    webp = (
        b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + b"\x7f\x3e\x00" * 2
    )
    for data in (*map(bytes, small.values()), webp):
        assert "above the limit of 178 million" in str(outcome(data))


def test_the_limit_is_an_option() -> None:
    with pytest.raises(
        MediaError,
        match=r"claims 23 × 17 pixels, above the limit of 0\.0001 million",  # noqa: RUF001
    ):
        ImageDecoder(max_pixels=100).decode(encoded(drawn("RGB"), "PNG"), "header")


def test_a_text_chunk_that_unpacks_to_a_bomb_is_not_unpacked() -> None:
    import tracemalloc

    data = png_claiming(
        4, 4, chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(300_000_000), 9))
    )
    tracemalloc.start()
    picture = outcome(data)
    assert (picture.pixels.shape, picture.header.size) == ((4, 4, 3), len(data))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encoded(drawn("RGB"), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 1
    assert outcome(bytes(data)) == "damaged PNG: the checksum of its IDAT chunk is wrong"


def test_a_jpeg_with_a_hole_or_a_tail_of_zeros_is_refused() -> None:
    data = encoded(drawn("RGB", (200, 150)), "JPEG")
    middle = len(data) // 2
    assert (
        outcome(data[:middle] + data[middle + 2000 :])
        == "damaged JPEG: a part of its pixels is missing"
    )
    assert (
        outcome(data[:middle] + bytes(len(data)))
        == f"the file ends early: incomplete JPEG of {middle + len(data):,} bytes"
    )
    assert outcome(data[:middle]) == f"the file ends early: incomplete JPEG of {middle:,} bytes"


def test_threads_may_decode_at_once() -> None:
    files = [
        encoded(drawn(mode), name) for name in ("JPEG", "PNG", "TIFF") for mode in ("L", "RGB")
    ]
    alone = [outcome(data).pixels for data in files]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(
                i
                for i, data in enumerate(files)
                if not np.array_equal(outcome(data).pixels, alone[i])
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fault_beside_the_pixels_of_a_png_hides_nothing_and_turns_nothing_off() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(drawn("RGB"), "PNG", exif=exif)
    end_of_header = 33
    broken = data[:end_of_header] + chunk(b"pHYs", b"\0") + data[end_of_header:]
    whole, found = outcome(data), outcome(broken)
    assert np.array_equal(found.pixels, whole.pixels)
    assert (found.header.orientation, found.header.size) == (6, len(broken))
    assert outcome(broken, "header") == found.header


def test_the_pages_of_a_tiff_are_counted_in_no_time_even_if_they_loop() -> None:
    from tests import made_by_hand as hand
    from tests.hostile_files import endless_tiff

    assert outcome(endless_tiff(20_000), "header").frames == 20_000
    loop = hand.tiff(hand.tiff_tags(4, 4), [bytes(48)], following=8)
    assert outcome(loop).header.frames == 1


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    from tests.hostile_files import many_scans

    for rendition in ("header", "picture", "full"):
        assert (
            outcome(many_scans(1000), rendition)
            == "has 1,009 scans of 4.0 million pixels: decoding it would take minutes"
        )
    assert isinstance(outcome(many_scans(20)), Picture)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_large_pictures_are_converted_in_bands_to_the_same_pixels(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(drawn(mode, (61, 47)), "TIFF")
    at_once = outcome(data)
    monkeypatch.setattr("dqpipe_images.decoder.BAND", 200)
    found = outcome(data)
    assert np.array_equal(found.pixels, at_once.pixels)
    assert np.array_equal(found.exact, at_once.exact)


def test_reasons_are_for_people() -> None:
    from tests.hostile_files import files

    told = {
        reason
        for _, data, truth in files()
        if truth.readable is False and data
        for reason in [outcome(data)]
    }
    wordy = {
        reason
        for reason in told
        if any(
            word in reason
            for word in (
                "Error",
                "driver",
                "buffer",
                "NoneType",
                "b'",
                "errno",
                "unpack",
                "int()",
                "code ",
            )
        )
    }
    assert wordy <= {"damaged TIFF: its pixels cannot be unpacked"}
