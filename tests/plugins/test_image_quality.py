"""What is claimed of faulty pictures, and what is not claimed of sound ones."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images.image_quality import FACTS, ImageQuality
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

from dqpipe.media import Header, Picture
from dqpipe.model import Facts, Findings, Samples, fact_array, table_of
from dqpipe.stages import Shard

LIGHT_AND_SHARPNESS = {"low_information", "dark", "light", "low_contrast", "blurry"}


def picture(image: Image.Image | np.ndarray, frames: int = 1) -> Picture:
    """A decoded picture of an image."""
    pixels = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else np.asarray(image, np.uint8)
    height, width = pixels.shape[:2]
    return Picture(Header("PNG", width, height, "RGB", frames=frames, size=1000), pixels)


def measured(pictures: list[Picture], labels: list[str | None] | None = None) -> tuple[Samples, Facts]:
    """Samples and facts of some pictures."""
    columns = {"id": pa.array([f"{number:04d}" for number in range(len(pictures))], pa.string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.string())
    samples = Samples(pa.table(columns))
    values = ImageQuality().at("measure").measure(Shard(samples, pictures))
    return samples, Facts(pa.table({fact.name: fact_array(values[fact.name], fact.type) for fact in FACTS}))


def claims(pictures: list[Picture], labels: list[str | None] | None = None, **options: object) -> dict[int, set[str]]:
    """Position → the codes claimed of a picture; the claims about the dataset stand under -1."""
    samples, facts = measured(pictures, labels)
    frames = ImageQuality(**options).detect(samples, facts)
    found: dict[int, set[str]] = {}
    for row in table_of(Findings.columns, frames).to_pylist():
        found.setdefault(-1 if row["id"] is None else int(row["id"]), set()).add(row["code"])
    return found


@cache
def tiles(side: int = 64) -> tuple[Image.Image, ...]:
    """Tiles of a photograph of a temple that have something to see in them."""
    photograph = Image.fromarray(load_sample_images().images[0])
    places = [(x, y) for y in range(0, photograph.height - side + 1, side) for x in range(0, photograph.width - side + 1, side)]
    cut = [photograph.crop((x, y, x + side, y + side)) for x, y in places]
    return tuple(tile for tile in cut if np.asarray(tile.convert("L")).std() > 20 and tile.convert("L").entropy() > 5.5)


def degraded(kind: str, tile: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A tile with one fault, of a strength that can just be seen or more."""
    if kind == "blurry":
        return tile.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3)))
    if kind == "dark":
        return ImageEnhance.Brightness(tile).enhance(rng.uniform(0.1, 0.3))
    if kind == "low_contrast":
        level = int(rng.integers(150, 220))
        return Image.blend(Image.new("RGB", tile.size, (level,) * 3), tile, rng.uniform(0.1, 0.3))
    pixels = rng.integers(256, size=3) + rng.normal(0, rng.uniform(0, 2), (tile.height, tile.width, 3))
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [True, False])
def test_faults_among_tiles_of_a_photograph_are_found_and_sound_tiles_left_alone(seed: int, labelled: bool) -> None:
    rng = np.random.default_rng(seed)
    kinds = ("blurry", "dark", "low_contrast", "low_information")
    sound = list(tiles())
    chosen = rng.choice(len(sound), 8, replace=False)
    planted = [(kind, degraded(kind, sound[place], rng)) for kind in kinds for place in chosen[:2]]
    images = [tile for place, tile in enumerate(sound) if place not in chosen] + [image for _, image in planted]
    found = claims([picture(image) for image in images], ["temple"] * len(images) if labelled else None)
    first = len(images) - len(planted)
    missed = [kind for n, (kind, _) in enumerate(planted) if not found.get(first + n, set()) & ({kind} | ({"light"} if kind == "low_contrast" else set()))]
    flagged = [position for position in range(first) if found.get(position, set()) & LIGHT_AND_SHARPNESS]
    assert (missed, flagged) == ([], [])


@pytest.mark.parametrize(
    ("fact", "kind", "higher"),
    [("sharpness", "blurry", False), ("brightness_p95", "dark", False), ("contrast", "low_contrast", False), ("structure", "low_information", False)],
)
def test_each_measure_tells_its_fault_from_sound_tiles(fact: str, kind: str, higher: bool) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(5)
    images = [*tiles(), *(degraded(kind, tile, rng) for tile in tiles())]
    values = measured([picture(image) for image in images])[1][fact]
    faulty = np.arange(len(images)) >= len(tiles())
    assert roc_auc_score(faulty, values if higher else -values) > 0.99


def test_a_uniform_picture_has_low_information_and_nothing_else() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30)]
    images = [*tiles(), *(Image.new("RGB", (64, 64), colour) for colour in colours)]
    found = claims([picture(image) for image in images], greyscale=1.0)
    assert [found[len(tiles()) + n] - {"greyscale"} for n in range(4)] == [{"low_information"}] * 4


def test_smooth_digits_are_not_called_blurry_beside_sharp_photographs() -> None:
    data = load_digits()
    digits = [Image.fromarray(np.uint8(image * 15.9)).resize((48, 48), Image.Resampling.BICUBIC) for image in data.images[:300]]
    labels = [f"digit {target}" for target in data.target[:300]] + ["temple"] * (len(tiles()) + 2)
    blurred = [tile.filter(ImageFilter.GaussianBlur(1.5)) for tile in tiles()[:2]]
    found = claims([picture(image) for image in (*digits, *tiles(), *blurred)], labels)
    assert {n: codes for n, codes in found.items() if codes & LIGHT_AND_SHARPNESS} == {len(labels) - 2: {"blurry"}, len(labels) - 1: {"blurry"}}


@pytest.mark.parametrize("scale", [0.5, 0.8, 2, 4])
@pytest.mark.parametrize(("blur", "least", "most"), [(0, 0.4, 0.65), (1 / 128, 0.03, 0.08)])
def test_sharpness_does_not_depend_on_the_resolution(scale: float, blur: float, least: float, most: float) -> None:
    photograph = Image.fromarray(load_sample_images().images[0])
    size = round(photograph.width * scale), round(photograph.height * scale)
    image = photograph.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(blur * size[1]))
    assert least < measured([picture(image)])[1]["sharpness"][0] < most


def test_night_pictures_are_not_dark_among_night_pictures() -> None:
    night = [ImageEnhance.Brightness(tile).enhance(0.3) for tile in tiles()]
    images = [*night, *tiles(), ImageEnhance.Brightness(tiles()[0]).enhance(0.25)]
    labels = ["night"] * len(night) + ["day"] * (len(tiles()) + 1)
    found = claims([picture(image) for image in images], labels)
    assert {n for n, codes in found.items() if "dark" in codes and n >= 0} == {len(images) - 1}


def test_what_a_third_of_a_class_has_is_told_of_the_class() -> None:
    blurred = [tile.filter(ImageFilter.GaussianBlur(2)) for tile in tiles()[: len(tiles()) // 2]]
    samples, facts = measured([picture(image) for image in (*tiles(), *blurred)], ["temple"] * (len(tiles()) + len(blurred)))
    rows = table_of(Findings.columns, ImageQuality().detect(samples, facts)).to_pylist()
    about = [(row["id"], row["severity"], row["detail"]) for row in rows if row["code"] == "blurry"]
    assert about == [(None, "info", "33% of the class temple would be blurry: taken for usual there")]


def test_a_grey_picture_among_coloured_ones_is_told() -> None:
    images = [picture(image) for image in (*tiles(), tiles()[0].convert("L"))]
    assert {n for n, codes in claims(images).items() if "greyscale" in codes} == {len(tiles())}
    assert claims([picture(tile.convert("L")) for tile in tiles()]) == {}


def test_odd_sizes_shapes_and_animations_are_told() -> None:
    rng = np.random.default_rng(0)
    usual = [picture(rng.integers(0, 256, (60 + n % 5, 80, 3))) for n in range(20)]
    odd = [picture(rng.integers(0, 256, shape)) for shape in [(240, 320, 3), (50, 250, 3), (5, 7, 3)]]
    found = claims([*usual, *odd, picture(rng.integers(0, 256, (60, 80, 3)), frames=4)])
    assert found == {20: {"odd_size"}, 21: {"odd_aspect"}, 22: {"too_small", "odd_size"}, 23: {"animated"}}


def test_facts_of_a_picture_that_can_be_counted_by_hand() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = (255, 255, 255)
    facts = {name: values[0] for name, values in measured([picture(pixels)])[1].frame().items()}
    expected = {
        "width": 40,
        "height": 20,
        "aspect": 2.0,
        "bytes": 1000,
        "format": "PNG",
        "mode": "RGB",
        "frames": 1,
        "noise": 0.0,
        "brightness": 0.5,
        "brightness_p5": 0.0,
        "brightness_p95": 1.0,
        "contrast": 1.0,
        "entropy": 1.0,
        "modal_share": 0.5,
        "structure": 0.5,
        "sharpness": 0.5,
        "saturation": 0.0,
    }
    assert {name: facts[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (50, 1, 3), (2, 3, 3), (700, 3, 3)])
def test_the_smallest_pictures_are_measured(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    facts = measured([picture(pixels)])[1]
    assert np.isfinite(facts["entropy"]).all()
    assert claims([picture(pixels)])[0] >= {"too_small"}


def test_a_fact_depends_on_nothing_but_the_picture() -> None:
    pictures = [picture(tile) for tile in tiles()]
    together = measured(pictures)[1].table
    alone = pa.concat_tables([measured([one])[1].table for one in pictures])
    assert together.equals(alone)


def test_claims_do_not_depend_on_the_order_of_the_labels() -> None:
    images = [*tiles(), *(tile.filter(ImageFilter.GaussianBlur(2)) for tile in tiles()[:3])]
    pictures = [picture(image) for image in images]
    assert claims(pictures, ["b"] * len(images)) == claims(pictures, ["a"] * len(images)) == claims(pictures)


def test_confidence_grows_with_the_strength_of_a_fault() -> None:
    dark = [ImageEnhance.Brightness(tiles()[0]).enhance(light) for light in (0.3, 0.2, 0.1)]
    samples, facts = measured([picture(image) for image in (*tiles(), *dark)])
    rows = [row for row in table_of(Findings.columns, ImageQuality().detect(samples, facts)).to_pylist() if row["code"] == "dark"]
    confidence = [row["confidence"] for row in rows]
    assert confidence == sorted(confidence)
    assert (len(rows), confidence[0] >= 0.5, confidence[-1] > 0.95) == (3, True, True)
    assert all(row["value"] < row["threshold"] for row in rows)


def test_figures_are_medians_of_the_set_and_of_each_class() -> None:
    samples, facts = measured([picture(tile) for tile in tiles()], ["a"] * 10 + ["b"] * (len(tiles()) - 10))
    rows = {(row["figure"], row["key"]): row for row in ImageQuality().summarise(samples, facts)}
    assert rows["contrast", None]["value"] == np.median(facts["contrast"])
    assert rows["sharpness", "a"]["value"] == np.median(facts["sharpness"][:10])
    assert rows["width", None]["low"] == rows["width", None]["high"] == 64


def test_nothing_is_claimed_of_no_pictures() -> None:
    assert (claims([]), ImageQuality().summarise(*measured([]))) == ({}, [])
