"""Frames of one video are told as a sequence, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images.duplicates import Duplicates
from dqpipe_images.sequences import numbered, runs
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from dqpipe.data.tables import Facts, Findings, Samples, table_of
from dqpipe.plugin.stage import Shard
from tests.plugins.test_duplicates import Decoded, Rows, columns, digits, picture, samples_of, tiles

FRAMES, WIDE, HIGH = 16, 160, 120


def frame(number: int, photo: int = 0) -> Image.Image:
    """A camera that pans over a photograph with a little shake, a thing that crosses, noise, and
    JPEG.
    """
    rng = np.random.default_rng(number)
    pixels = load_sample_images().images[photo]
    top, left = 90 + int(rng.integers(0, 3)), 8 + 9 * number + int(rng.integers(0, 2))
    image = Image.fromarray(pixels[top : top + HIGH, left : left + WIDE])
    ImageDraw.Draw(image).ellipse((150 - 4 * number, 60, 174 - 4 * number, 84), fill=(220, 40, 40))
    noisy = np.clip(np.asarray(image, float) + rng.normal(0, 2, (HIGH, WIDE, 3)), 0, 255).astype(
        np.uint8
    )
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return Image.open(file).convert("RGB")


def claimed(
    images: list[Image.Image], names: list[str], split: list[str | None] | None = None
) -> Rows:
    """The findings on pictures under these names, which stand in their order."""
    pictures = [picture(image) for image in images]
    order = sorted(range(len(names)), key=names.__getitem__)
    pictures, names = [pictures[row] for row in order], [names[row] for row in order]
    more = {} if split is None else {"split": [split[row] for row in order]}
    table = samples_of(pictures, **more).table
    samples = Samples(table.set_column(0, "id", [names]))
    stage, decoded = Duplicates(), ByName(pictures, names)
    facts = columns(stage, "measure", stage.at("measure").measure(Shard(samples, pictures)))
    facts |= columns(
        stage, "relate", stage.at("relate").relate(samples, Facts(pa.table(facts)), decoded)
    )
    found = [
        part.assign(severity=part.get("severity", "warning"))
        for part in stage.detect(samples, Facts(pa.table(facts)))
    ]
    return table_of(Findings.columns, found).to_pandas()


class ByName(Decoded):
    """Pictures, decoded again by their names."""

    def __init__(self, pictures, names: list[str]) -> None:
        super().__init__(pictures, pictures)
        self.names = names

    def __call__(self, ids, rendition: str = "full"):
        return [self.pictures[self.names.index(name)] for name in ids]


def names(count: int, pattern: str = "drive/f{:04d}.jpg") -> list[str]:
    return [pattern.format(number) for number in range(count)]


def test_frames_of_a_moving_camera_are_a_sequence_and_no_copies() -> None:
    found = claimed([frame(number) for number in range(FRAMES)], names(FRAMES))
    assert sorted(found[found.code == "sequence"].id) == names(FRAMES)
    assert set(found.code) == {"sequence"}
    assert (
        found.detail.iloc[0]
        == f"one of {FRAMES} frames of a sequence that begins with drive/f0000.jpg"
    )


def test_a_copy_of_a_frame_elsewhere_is_still_a_copy() -> None:
    images = [frame(number) for number in range(12)]
    found = claimed(
        [*images, images[5].copy(), images[7].resize((140, 105))],
        [*names(12), "other/copy.png", "other/small.png"],
    )
    copies = found[found.code.isin(["exact", "near"])]
    assert {frozenset(pair) for pair in zip(copies.id, copies["match"], strict=True)} >= {
        frozenset(("drive/f0005.jpg", "other/copy.png"))
    }
    assert "drive/f0007.jpg" in set(copies.id) | set(copies["match"])
    assert (found.code == "sequence").sum() >= 11


def test_a_sequence_in_several_splits_is_said() -> None:
    splits = ["test" if number % 5 == 4 else "train" for number in range(10)]
    of = [
        name.replace("drive/", f"{split}/") for name, split in zip(names(10), splits, strict=True)
    ]
    found = claimed([frame(number) for number in range(10)], of, splits)
    told = found[found.code == "sequence"].detail
    assert len(told) == 10
    assert all(
        text.endswith("begins with train/f0000.jpg, and lies in several splits: test, train")
        for text in told
    )


def test_slow_frames_are_no_copies_though_they_are_near() -> None:
    images = [slow(number) for number in range(FRAMES)]
    assert set(claimed(images, names(FRAMES)).code) == {"sequence"}
    assert "near" in set(
        claimed(images, [f"{'zyxwvutsrqponmlk'[number]}.jpg" for number in range(FRAMES)]).code
    )


def slow(number: int) -> Image.Image:
    """A camera that pans slowly, with nothing that moves."""
    pixels = load_sample_images().images[1]
    return Image.fromarray(pixels[100 : 100 + HIGH, 20 + 6 * number : 20 + 6 * number + WIDE])


@pytest.mark.parametrize("kind", ["tiles", "digits", "burst", "meters"])
def test_what_is_no_video_is_no_sequence(kind: str) -> None:
    if kind == "burst":  # one picture, saved again and again
        images = [
            tiles()[0].rotate(0.4 * (number % 3)).crop((2, 2, 70, 70)) for number in range(12)
        ]
    else:
        images = {"tiles": tiles()[:30], "digits": digits()[:40], "meters": meters(24)}[kind]
    found = claimed(images, names(len(images)))
    assert (found.code == "sequence").sum() == 0


def meters(count: int) -> list[Image.Image]:
    """One dial, other digits."""
    images = []
    for number in range(count):
        image = Image.new("RGB", (120, 80), (230, 230, 225))
        draw = ImageDraw.Draw(image)
        draw.rounded_rectangle((8, 8, 112, 72), 10, fill=(60, 62, 66))
        draw.rectangle((20, 28, 100, 52), fill=(245, 245, 240))
        draw.text((28, 32), f"{number * 7919 % 100000:05d}", fill=(10, 10, 10), font_size=18)
        images.append(image)
    return images


def test_names_are_put_in_the_order_of_their_numbers() -> None:
    drive = [
        "train/v_0_c.png",
        "train/v_1_c.png",
        "train/v_2_c.png",
        "val/v_3_c.png",
        "val/v_4_c.png",
    ]
    ids = [*(f"a/f{number}.png" for number in (10, 2, 33, 4, 5)), "b/x.png", *drive]
    splits = [None] * 6 + ["train"] * 3 + ["val"] * 2
    assert [rows.tolist() for rows in numbered(ids, splits)] == [[1, 3, 4, 0, 2], [6, 7, 8, 9, 10]]
    assert list(runs(np.array([True, True, False, True]))) == [(0, 3), (3, 5)]
