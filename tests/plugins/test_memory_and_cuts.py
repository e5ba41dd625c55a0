"""A file's memory is bounded before it is decoded, a file that lacks little of its end is read, and
no global setting changes a result.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.image_quality import ImageQuality
from dqpipe_images.levels import eight_bits
from PIL import Image, ImageFile, TiffImagePlugin

from dqpipe.api import Pipeline
from dqpipe.errors import MediaError
from dqpipe.execution import library_state
from dqpipe.execution.decoding import one_thread
from dqpipe.plugin.registry import Registry
from tests import made_by_hand as hand
from tests.made_by_hand import COLOUR, GREY, PNG_MAGIC, chunk
from tests.sound_files import AVIF

DECODER = ImageDecoder()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def scenery(side: int = 320) -> Image.Image:
    small = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def strip(width: int, height: int, kind: int = GREY) -> bytes:
    """A PNG of zeros, whose rows are packed a million bytes at a time."""
    row = bytes(1 + width * (3 if kind == COLOUR else 1))
    block = row * max(1, 1_000_000 // len(row))
    packer, left = zlib.compressobj(1), len(row) * height
    packed = [
        packer.compress(block[: min(len(block), left - done)])
        for done in range(0, left, len(block))
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        PNG_MAGIC
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", b"".join((*packed, packer.flush())))
        + chunk(b"IEND")
    )


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def refused(data: bytes, memory: int, rendition: str = "picture") -> bool:
    try:
        ImageDecoder(memory=memory).decode(data, rendition)
    except MediaError as error:
        assert f"above the limit of {memory:,} MiB (option memory of the decoder)" in str(error)  # noqa: PT017 (one of two ways out)
        return True
    return False


def test_a_picture_of_one_column_is_refused_for_what_its_rows_need() -> None:
    assert refused(strip(1, 177_000_000), 2048)
    assert not refused(strip(1, 20_000), 2048)


def test_what_is_held_besides_the_pixels_counts() -> None:
    baseline, progressive = (
        encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=one) for one in (False, True)
    )
    assert [refused(data, 40) for data in (baseline, progressive)] == [
        False,
        True,
    ]  # reduced, but all coefficients at full size
    tags = [
        *hand.tiff_tags(9, 9, compression=8),
        (322, hand.LONG, [30_000]),
        (323, hand.LONG, [30_000]),
    ]
    assert refused(hand.tiff(tags, [zlib.compress(bytes(100))], tiled=True), 100)


def test_memory_is_an_option_of_the_pipeline(registry: Registry, tmp_path: Path) -> None:
    scenery().save(tmp_path / "a.png")
    text = (
        f"dataset: {{path: {tmp_path}, decoders: {{image: {{memory: 1}}}}}}\noutputs: {{path: "
        f"{tmp_path}/.out}}\nstages: [files]\n"
    )
    result = Pipeline.from_text(text, registry=registry).check("serial")
    assert "above the limit of 1 MiB" in result.facts["media.error"][0]


def test_the_longest_strips_take_no_more_than_was_estimated(tmp_path: Path) -> None:
    """1 by 12 million pixels were made a plane of 8 by 12 million, and summed in 32 bits.

    600 MiB.
    """
    (tmp_path / "a.png").write_bytes(strip(1, 12_000_000))
    code = (
        "import sys; from pathlib import Path; import pyarrow as pa\n"
        "from dqpipe.data.tables import Samples; from dqpipe.plugin.stage import Shard; from "
        "dqpipe.execution.usage import peak_mib\n"
        "from dqpipe_images.decoder import ImageDecoder; from dqpipe_images.image_quality import "
        "ImageQuality\n"
        "picture = ImageDecoder().decode(Path(sys.argv[1]).read_bytes(), 'picture')\n"
        "ImageQuality().at('measure').measure(Shard(Samples(pa.table({'id': pa.array([], "
        "pa.string())})), (picture,)))\n"
        "print(peak_mib())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert float(said) < 480


def test_a_comment_of_a_pnm_costs_nothing() -> None:
    data = b"P6\n#" + b"x" * 20_000_000 + b"\n2 #y\n2\n255\n" + bytes(range(12))
    started = time.thread_time()
    picture = DECODER.decode(data, "full")
    assert (picture.pixels.ravel().tolist(), picture.header.size) == (list(range(12)), len(data))
    assert time.thread_time() - started < 5  # 47 when the comment was read byte by byte
    for endless in (b"P6 " + b" " * 5_000_000, b"P5 " + b"#\n" * 2_000_000):
        with pytest.raises(MediaError, match="its header makes no sense"):
            DECODER.decode(endless, "full")


# ── nobody's settings ────────────────────────────────────────────────────────────────────────────


def test_settings_of_pillow_change_nothing_and_are_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encoded(scenery(), "PNG")
    cut = {kind: encoded(scenery(), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")}
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr("dqpipe_images.decoder.BAND", 5000)
    for data in cut.values():
        with pytest.raises(MediaError):
            DECODER.decode(data[: len(data) // 2], "full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(DECODER.decode(whole, "full").pixels, np.asarray(scenery()))
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 100)


def test_settings_of_numpy_torch_and_warnings_change_no_fact(
    images: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2
    import torch

    monkeypatch.setattr(library_state, "WARNINGS_END_IT", False)
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {tmp_path}/NAME}}\nstages: [files, "
        f"image_quality, duplicates, embeddings]\n"
    )
    usual = (
        Pipeline.from_text(text.replace("NAME", "usual"), registry=registry).check("serial").facts
    )
    before, threads = torch.get_default_dtype(), cv2.getNumThreads()
    try:
        torch.set_default_dtype(torch.float64)
        cv2.setNumThreads(3)
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = (
                Pipeline.from_text(text.replace("NAME", "odd"), registry=registry)
                .check("serial")
                .facts
            )
        assert (torch.get_default_dtype(), cv2.getNumThreads()) == (torch.float64, 3)
    finally:
        torch.set_default_dtype(before)
        cv2.setNumThreads(threads)
    assert usual.equals(found)


def test_threads_that_overlap_put_the_users_number_back() -> None:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    around, first, second = one_thread(), one_thread(1, [ImageDecoder()]), one_thread(2)
    try:
        around.__enter__()
        first.__enter__()
        assert cv2.getNumThreads() == 1
        second.__enter__()
        assert cv2.getNumThreads() == 2
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 2
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        around.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


# ── brands of AVIF ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not AVIF, reason="Pillow without AVIF")
@pytest.mark.parametrize("major", [b"mif1", b"avis", b"miaf", b"msf1"])
def test_an_avif_by_another_brand_is_one(major: bytes) -> None:
    data = encoded(scenery(64), "AVIF")
    other = data[:8] + major + data[12:]
    assert DECODER.suits(other[:64])
    assert np.array_equal(DECODER.decode(other, "full").pixels, DECODER.decode(data, "full").pixels)


def test_a_heic_by_a_shared_brand_is_none() -> None:
    box = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"
    with pytest.raises(MediaError, match="a HEIC photograph"):
        DECODER.decode(box + bytes(100), "full")


# ── ranges ───────────────────────────────────────────────────────────────────────────────────────


def ramp(top: int, dtype: type) -> np.ndarray:
    return np.linspace(0, top, 6400).reshape(80, 80).astype(dtype)


def test_a_hot_pixel_and_a_dead_one_change_no_other() -> None:
    values = ramp(4000, np.uint16)
    hot = values.copy()
    hot[5, 5], hot[6, 6] = 65535, 0
    usual, found = eight_bits(values), eight_bits(hot)
    assert (
        np.delete(found, [5 * 80 + 5, 6 * 80 + 6]) == np.delete(usual, [5 * 80 + 5, 6 * 80 + 6])
    ).all()
    assert found[5, 5] == 255


def test_sparse_bright_signal_is_kept() -> None:
    values = np.full((100, 100), 40, np.uint16)
    values[::10, ::10] = np.linspace(5000, 60000, 100).reshape(10, 10).astype(np.uint16)
    assert len(np.unique(eight_bits(values)[::10, ::10])) > 90


@pytest.mark.parametrize("mark", [-9999, -3.4e38, np.nan, 1e20])
def test_no_data_sets_no_range(mark: float) -> None:
    values = ramp(300, np.float32) + 200
    marked = values.copy()
    marked[:6, :20] = mark
    usual, found = eight_bits(values), eight_bits(marked)
    assert (found[:6, :20] == 0).all()
    assert np.array_equal(found[6:], usual[6:])


def test_no_data_as_gdal_marks_it_is_read() -> None:
    values = ramp(300, np.float32) + 200
    values[0, 0] = -5
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "-5"
    found = DECODER.decode(encoded(Image.fromarray(values), "TIFF", tiffinfo=tags), "full")
    assert found.pixels[0, 0, 0] == 0
    assert abs(int(found.pixels[40, 40, 0]) - round(values[40, 40] * 255 / 4095)) <= 1


# ── files that end early ─────────────────────────────────────────────────────────────────────────


def test_a_file_that_lacks_little_is_read_and_its_share_is_told() -> None:
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
    ):
        data = encoded(scenery(), kind, **options)
        lost = 20 if kind != "PNG" else 60
        whole, found = (DECODER.decode(some, "full") for some in (data, data[:-lost]))
        assert 0 < found.header.missing < 0.01
        assert found.header.size == len(data) - lost
        assert (whole.pixels != found.pixels).any(axis=2).mean() < 0.01
        with pytest.raises(MediaError, match="ends early"):
            DECODER.decode(data[: len(data) * 2 // 3], "full")


def test_the_share_is_an_option_and_grows_with_what_is_missing() -> None:
    data = encoded(scenery(), "JPEG")
    shares = [
        ImageDecoder(missing=1).decode(data[: len(data) * kept // 10], "picture").header.missing
        for kept in (9, 7, 5, 3)
    ]
    assert shares == sorted(shares)
    assert np.abs(np.array(shares) - (0.1, 0.3, 0.5, 0.7)).max() < 0.12


def test_a_progressive_jpeg_cut_between_its_scans_is_no_picture_whatever_follows() -> None:
    data = encoded(scenery(), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    for place in (len(data) // 3, *scans[1:]):
        for ending in (b"", b"\xff\xd9"):
            with pytest.raises(MediaError):
                DECODER.decode(data[:place] + ending, "picture")
    cmyk = encoded(scenery(96).convert("CMYK"), "JPEG", progressive=True)
    with pytest.raises(MediaError):
        DECODER.decode(cmyk[: len(cmyk) // 3] + b"\xff\xd9", "picture")
    assert DECODER.decode(cmyk, "picture").header.mode == "CMYK"


def test_a_truncated_file_is_claimed_and_reviewed_not_dropped(
    registry: Registry, tmp_path: Path
) -> None:
    data = encoded(scenery(), "JPEG")
    (tmp_path / "data").mkdir()
    for name, some in (
        ("whole.jpg", data),
        ("cut.jpg", data[:-20]),
        ("half.jpg", data[: len(data) // 2]),
    ):
        (tmp_path / "data" / name).write_bytes(some)
    text = (
        f"dataset: {{path: {tmp_path}/data}}\noutputs: {{path: {tmp_path}/out}}\nstages: [files]\n"
    )
    result = Pipeline.from_text(text, registry=registry).run("serial")
    claims = result.findings[
        result.findings["id"].notna() & result.findings["code"].str.startswith("files.")
    ].set_index("id")
    assert claims["code"].to_dict() == {
        "cut.jpg": "files.truncated",
        "half.jpg": "files.unreadable",
    }
    assert 0 < claims["value"]["cut.jpg"] < 0.01
    decided = result.decisions.set_index("id")["decision"].to_dict()
    assert decided == {"whole.jpg": "keep", "cut.jpg": "review", "half.jpg": "drop"}


def test_the_stage_and_the_decoder_say_that_they_changed() -> None:
    assert (ImageDecoder.version, ImageQuality.version) >= (3, 2)
