"""Exact copies stay exact: equal digests mean equal pixels, and what is equal at a reduced size
only is looked at in full.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.thumbnails import digest, picture_digest
from PIL import Image

from dqpipe import Pipeline


def saved(pixels: np.ndarray, comment: bytes = b"") -> bytes:
    """A JPEG file, of other bytes with another comment."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60, comment=comment)
    return buffer.getvalue()


def test_files_that_are_equal_at_the_reduced_size_only_are_no_exact_copies(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(20, 236, (30, 40, 3), dtype=np.uint8)
    plain = colours.repeat(16, axis=0).repeat(16, axis=1)
    wave = np.cos(
        (2 * np.arange(8) + 1) * 4 * np.pi / 16
    )  # the one of the DCT's waves that reading at half scale leaves out
    finer = (
        (plain + 30 * np.tile(np.outer(wave, wave), (60, 80))[..., None]).round().astype(np.uint8)
    )
    files = {"a.jpg": saved(plain), "b.jpg": saved(plain, b"saved again"), "c.jpg": saved(finer)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    reduced = {name: ImageDecoder().decode(data, "picture") for name, data in files.items()}
    assert [
        picture_digest(reduced["a.jpg"]) == picture_digest(reduced[name])
        for name in ("b.jpg", "c.jpg")
    ] == [True, True]
    text = (
        f"dataset: {{path: {tmp_path}}}\nstages: [duplicates]\noutputs: {{path: "
        f"{tmp_path / 'out'}}}\n"
    )
    found = Pipeline.from_text(text).check("serial").findings
    assert found.loc[found["code"] == "duplicates.exact", ["id", "match"]].to_numpy().tolist() == [
        ["a.jpg", "b.jpg"]
    ]


def test_a_picture_is_decoded_in_full_once_and_not_again_for_every_new_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = [
        rng.integers(0, 255, (15, 20, 3), dtype=np.uint8).repeat(32, axis=0).repeat(32, axis=1)
        for _ in range(3)
    ]
    folder, first = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    for number, pixels in enumerate(plain):
        for name in "ab":
            (folder / f"{number}{name}.jpg").write_bytes(saved(pixels, name.encode()))
    text = (
        f"dataset: {{path: {folder}}}\nstages: [duplicates]\noutputs: {{path: {first}, store: "
        f"%s}}\n"
    )
    runs = [Pipeline.from_text(text % (tmp_path / "store")).check("serial")]
    (folder / "0c.jpg").write_bytes(saved(plain[0], b"one more"))
    runs += [
        Pipeline.from_text(text % (tmp_path / store)).check("serial")
        for store in ("store", "another")
    ]
    assert [run.record["run"]["rereads"].get("duplicates") for run in runs] == [6, 1, 7]
    pd.testing.assert_frame_equal(runs[1].facts, runs[2].facts, check_exact=True)
    pd.testing.assert_frame_equal(runs[1].findings, runs[2].findings, check_exact=True)


def test_of_equal_files_the_one_that_was_published_stays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("b", "c", "d"):
        (folder / f"{name}.jpg").write_bytes(
            saved(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        )
    text = (
        f"dataset: {{path: {folder}}}\nstages: [duplicates]\ngates: []\noutputs: {{path: "
        f"{tmp_path / 'out'}}}\n"
    )
    Pipeline.from_text(text).run("serial")
    for name in ("a", "z"):
        (folder / f"{name}.jpg").write_bytes((folder / "b.jpg").read_bytes())
    for _ in range(2):  # and it stays the next night
        found = Pipeline.from_text(text).run("serial", force=True).findings
        claims = found.loc[found["code"] == "duplicates.exact", ["id", "match", "value"]]
        assert claims.to_numpy().tolist() == [["a.jpg", "b.jpg", 1.0], ["z.jpg", "b.jpg", 1.0]]


@pytest.mark.parametrize("place", range(8))
def test_digests_differ_wherever_in_a_word_pictures_differ(place: int) -> None:
    plain = np.zeros((64, 256, 3), dtype=np.uint8)
    seen = set()
    for first in range(0, 256, 4):
        for second in range(0, 256, 4):
            plain.reshape(-1)[[place + 8, place + 800]] = first, second
            seen.add(digest(plain))
    assert len(seen) == 64 * 64
