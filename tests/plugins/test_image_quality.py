"""What is claimed of faulty pictures, and what is not claimed of sound ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images.image_quality import FACTS, ImageQuality
from dqpipe_images.picture import Header, Picture
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

from dqpipe.data.tables import Facts, Findings, Samples, fact_array, table_of
from dqpipe.plugin.stage import Shard
from tests.sound_pictures import sound_pictures

LIGHT_AND_SHARPNESS = {"low_information", "dark", "light", "low_contrast", "blurry"}


def picture(image: Image.Image | np.ndarray, frames: int = 1) -> Picture:
    """A decoded picture of an image."""
    pixels = (
        np.asarray(image.convert("RGB"))
        if isinstance(image, Image.Image)
        else np.asarray(image, np.uint8)
    )
    height, width = pixels.shape[:2]
    return Picture(Header("PNG", width, height, "RGB", frames=frames, size=1000), pixels)


def measured(
    pictures: list[Picture], labels: list[str | None] | None = None
) -> tuple[Samples, Facts]:
    """Samples and facts of some pictures."""
    columns = {"id": pa.array([f"{number:04d}" for number in range(len(pictures))], pa.string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.string())
    samples = Samples(pa.table(columns))
    values = ImageQuality().at("measure").measure(Shard(samples, pictures))
    return samples, Facts(
        pa.table({fact.name: fact_array(values[fact.name], fact.type) for fact in FACTS})
    )


def claims(
    pictures: list[Picture], labels: list[str | None] | None = None, **options: object
) -> dict[int, set[str]]:
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
    places = [
        (x, y)
        for y in range(0, photograph.height - side + 1, side)
        for x in range(0, photograph.width - side + 1, side)
    ]
    cut = [photograph.crop((x, y, x + side, y + side)) for x, y in places]
    return tuple(
        tile
        for tile in cut
        if np.asarray(tile.convert("L")).std() > 20 and tile.convert("L").entropy() > 5.5
    )


def degraded(kind: str, tile: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A tile with one fault, of a strength that can just be seen or more."""
    if kind == "blurry":
        return tile.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3)))
    if kind == "dark":
        return ImageEnhance.Brightness(tile).enhance(rng.uniform(0.1, 0.3))
    if kind == "low_contrast":
        level = int(rng.integers(150, 220))
        return Image.blend(Image.new("RGB", tile.size, (level,) * 3), tile, rng.uniform(0.1, 0.3))
    pixels = rng.integers(256, size=3) + rng.normal(
        0, rng.uniform(0, 2), (tile.height, tile.width, 3)
    )
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [True, False])
def test_faults_among_tiles_of_a_photograph_are_found_and_sound_tiles_left_alone(
    seed: int, labelled: bool
) -> None:
    rng = np.random.default_rng(seed)
    kinds = ("blurry", "dark", "low_contrast", "low_information")
    sound = list(tiles())
    chosen = rng.choice(len(sound), 8, replace=False)
    planted = [(kind, degraded(kind, sound[place], rng)) for kind in kinds for place in chosen[:2]]
    images = [tile for place, tile in enumerate(sound) if place not in chosen] + [
        image for _, image in planted
    ]
    found = claims(
        [picture(image) for image in images], ["temple"] * len(images) if labelled else None
    )
    first = len(images) - len(planted)
    missed = [
        kind
        for n, (kind, _) in enumerate(planted)
        if not found.get(first + n, set())
        & ({kind} | ({"light"} if kind == "low_contrast" else set()))
    ]
    flagged = [
        position for position in range(first) if found.get(position, set()) & LIGHT_AND_SHARPNESS
    ]
    assert (missed, flagged) == ([], [])


@pytest.mark.parametrize(
    ("fact", "kind", "higher"),
    [
        ("sharpness", "blurry", False),
        ("brightness_p95", "dark", False),
        ("contrast", "low_contrast", False),
        ("structure", "low_information", False),
    ],
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
    digits = [
        Image.fromarray(np.uint8(image * 15.9)).resize((48, 48), Image.Resampling.BICUBIC)
        for image in data.images[:300]
    ]
    labels = [f"digit {target}" for target in data.target[:300]] + ["temple"] * (len(tiles()) + 2)
    blurred = [tile.filter(ImageFilter.GaussianBlur(1.5)) for tile in tiles()[:2]]
    found = claims([picture(image) for image in (*digits, *tiles(), *blurred)], labels)
    assert {n: codes for n, codes in found.items() if codes & LIGHT_AND_SHARPNESS} == {
        len(labels) - 2: {"blurry"},
        len(labels) - 1: {"blurry"},
    }


@pytest.mark.parametrize("scale", [0.5, 0.8, 2, 4])
@pytest.mark.parametrize(("blur", "least", "most"), [(0, 0.4, 0.65), (1 / 128, 0.03, 0.08)])
def test_sharpness_does_not_depend_on_the_resolution(
    scale: float, blur: float, least: float, most: float
) -> None:
    photograph = Image.fromarray(load_sample_images().images[0])
    size = round(photograph.width * scale), round(photograph.height * scale)
    image = photograph.resize(size, Image.Resampling.LANCZOS).filter(
        ImageFilter.GaussianBlur(blur * size[1])
    )
    assert least < measured([picture(image)])[1]["sharpness"][0] < most


def streaked(tile: Image.Image, axis: int, length: int = 7) -> Image.Image:
    """A tile as a camera sees it that moves along an axis."""
    moved = [np.roll(np.asarray(tile, dtype=np.float32), step, axis) for step in range(length)]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


@pytest.mark.parametrize("axis", [0, 1])
def test_motion_along_one_axis_is_blur_though_the_other_stays_sharp(axis: int) -> None:
    images = [*tiles(), *(streaked(tile, axis, length=19) for tile in tiles()[:4])]
    found = {
        n for n, codes in claims([picture(image) for image in images]).items() if "blurry" in codes
    }
    assert (len(found) >= 3, min(found) >= len(tiles())) == (True, True)


def drawings() -> list[Image.Image]:
    """Flat shapes and letters on flat ground: sharp, with little fine detail."""
    rng, found = np.random.default_rng(4), []
    for _ in range(12):
        image = Image.new("RGB", (320, 260), "white")
        pen = ImageDraw.Draw(image)
        pen.ellipse((40, 40, *(int(end) for end in rng.integers(120, 250, 2))), fill="navy")
        pen.text((20, 230), "what is sharp stays sharp", fill="black")
        found.append(image)
    return found


def test_drawings_skies_uniform_and_very_large_pictures_are_not_blurry() -> None:
    slope = (
        np.linspace(60, 200, 300)[:, None, None]
        + np.linspace(0, 40, 400)[None, :, None]
        + np.array([-20, 0, 30])
    )
    large = Image.fromarray(load_sample_images().images[0]).resize(
        (2560, 1708), Image.Resampling.LANCZOS
    )
    odd = [
        *drawings(),
        Image.fromarray(np.clip(slope, 0, 255).astype(np.uint8)),
        large,
        Image.new("RGB", (300, 200), "teal"),
    ]
    for images in (odd, [*tiles(), *odd]):
        assert not [
            n
            for n, codes in claims([picture(image) for image in images]).items()
            if "blurry" in codes
        ]


def test_blurred_drawings_are_blurry_beside_sharp_ones() -> None:
    images = [*drawings(), *(image.filter(ImageFilter.GaussianBlur(3)) for image in drawings()[:2])]
    assert {
        n for n, codes in claims([picture(image) for image in images]).items() if "blurry" in codes
    } == {12, 13}


def test_where_all_are_equally_soft_a_little_more_blur_is_told() -> None:
    def micrograph(seed: int, blur: float) -> Image.Image:
        spots = np.random.default_rng(seed).normal(size=(240, 320, 3))
        smooth = np.asarray(
            [cv2.GaussianBlur(spots, (0, 0), sigma) * sigma for sigma in (1.5, 6)]
        ).sum(axis=0)
        return Image.fromarray(
            np.clip(128 + 60 * cv2.GaussianBlur(smooth, (0, 0), blur), 0, 255).astype(np.uint8)
        )

    images = [micrograph(seed, 0.5) for seed in range(20)] + [micrograph(20, 1.3)]
    assert measured([picture(images[0])])[1]["sharpness"][0] < 0.25
    assert {
        n for n, codes in claims([picture(image) for image in images]).items() if "blurry" in codes
    } == {20}


def noisy(tile: Image.Image, sigma: float) -> Image.Image:
    """A tile with noise of so many grey levels."""
    pixels = np.asarray(tile) + np.random.default_rng(0).normal(
        0, sigma, (tile.height, tile.width, 1)
    )
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("sigma", [5, 10, 20])
def test_noise_is_measured_in_units_of_the_range(sigma: float) -> None:
    flat = Image.new("RGB", (200, 200), (120, 120, 120))
    assert measured([picture(noisy(flat, sigma))])[1]["noise"][0] * 255 == pytest.approx(
        sigma, rel=0.15
    )


def test_noise_is_told_where_the_others_have_none_and_not_where_all_have_it() -> None:
    clean, grainy = drawings(), [noisy(image, 12) for image in drawings()]
    assert {
        n
        for n, codes in claims([picture(image) for image in (*clean, grainy[0])]).items()
        if "noisy" in codes
    } == {len(clean)}
    assert not [
        n for n, codes in claims([picture(image) for image in grainy]).items() if "noisy" in codes
    ]


def test_a_jpeg_of_low_quality_is_told_where_the_others_are_better() -> None:
    plain = picture(tiles()[0])
    saved = [
        replace(plain, header=replace(plain.header, quality=quality))
        for quality in [90] * 12 + [12, 28, None]
    ]
    assert {n for n, codes in claims(saved).items() if "compressed" in codes} == {12, 13}
    assert not [n for n, codes in claims(saved[12:13] * 12).items() if "compressed" in codes]


def test_night_pictures_are_not_dark_among_night_pictures() -> None:
    night = [ImageEnhance.Brightness(tile).enhance(0.3) for tile in tiles()]
    images = [*night, *tiles(), ImageEnhance.Brightness(tiles()[0]).enhance(0.25)]
    labels = ["night"] * len(night) + ["day"] * (len(tiles()) + 1)
    found = claims([picture(image) for image in images], labels)
    assert {n for n, codes in found.items() if "dark" in codes and n >= 0} == {len(images) - 1}


def test_what_a_third_of_a_class_has_is_told_of_the_class() -> None:
    blurred = [tile.filter(ImageFilter.GaussianBlur(2)) for tile in tiles()[: len(tiles()) // 2]]
    samples, facts = measured(
        [picture(image) for image in (*tiles(), *blurred)],
        ["temple"] * (len(tiles()) + len(blurred)),
    )
    rows = table_of(Findings.columns, ImageQuality().detect(samples, facts)).to_pylist()
    about = [(row["id"], row["severity"], row["detail"]) for row in rows if row["code"] == "blurry"]
    assert about == [
        (None, "info", "33% of the class temple would be blurry: taken for usual there")
    ]


def test_a_grey_picture_among_coloured_ones_is_told() -> None:
    images = [picture(image) for image in (*tiles(), tiles()[0].convert("L"))]
    assert {n for n, codes in claims(images).items() if "greyscale" in codes} == {len(tiles())}
    assert claims([picture(tile.convert("L")) for tile in tiles()]) == {}


def test_odd_sizes_shapes_and_animations_are_told() -> None:
    rng = np.random.default_rng(0)
    usual = [picture(rng.integers(0, 256, (60 + n % 5, 80, 3))) for n in range(20)]
    odd = [
        picture(rng.integers(0, 256, shape)) for shape in [(240, 320, 3), (50, 250, 3), (5, 7, 3)]
    ]
    found = claims([*usual, *odd, picture(rng.integers(0, 256, (60, 80, 3)), frames=4)])
    assert found == {
        20: {"odd_size"},
        21: {"odd_aspect"},
        22: {"too_small", "odd_size"},
        23: {"animated"},
    }


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
    assert (
        claims(pictures, ["b"] * len(images))
        == claims(pictures, ["a"] * len(images))
        == claims(pictures)
    )


def test_confidence_grows_with_the_strength_of_a_fault() -> None:
    dark = [ImageEnhance.Brightness(tiles()[0]).enhance(light) for light in (0.3, 0.2, 0.1)]
    samples, facts = measured([picture(image) for image in (*tiles(), *dark)])
    rows = [
        row
        for row in table_of(Findings.columns, ImageQuality().detect(samples, facts)).to_pylist()
        if row["code"] == "dark"
    ]
    confidence = [row["confidence"] for row in rows]
    assert confidence == sorted(confidence)
    assert (len(rows), confidence[0] >= 0.5, confidence[-1] > 0.95) == (3, True, True)
    assert all(row["value"] < row["threshold"] for row in rows)


def test_figures_are_medians_of_the_set_and_of_each_class() -> None:
    samples, facts = measured(
        [picture(tile) for tile in tiles()], ["a"] * 10 + ["b"] * (len(tiles()) - 10)
    )
    rows = {(row["figure"], row["key"]): row for row in ImageQuality().summarise(samples, facts)}
    assert rows["contrast", None]["value"] == np.median(facts["contrast"])
    assert rows["sharpness", "a"]["value"] == np.median(facts["sharpness"][:10])
    assert rows["width", None]["low"] == rows["width", None]["high"] == 64


def test_nothing_is_claimed_of_no_pictures() -> None:
    assert (claims([]), ImageQuality().summarise(*measured([]))) == ({}, [])


def sound_kinds() -> dict[str, list[Image.Image]]:
    """Pictures that are as they should be, and unlike photographs that fill their frame."""
    rng = np.random.default_rng(3)
    photographs = [Image.fromarray(one) for one in load_sample_images().images]
    parts = [
        photographs[n % 2].crop((40 * n, 20 * n, 40 * n + 360, 20 * n + 202)) for n in range(5)
    ]
    found: dict[str, list[Image.Image]] = {
        name: []
        for name in (
            "letterbox",
            "pillarbox",
            "mat",
            "flat",
            "chart",
            "texture",
            "page",
            "lamps",
            "focus",
        )
    }
    for number, part in enumerate(parts):
        for name, size, place in (
            ("letterbox", (360, 360), (0, 79)),
            ("pillarbox", (640, 202), (140, 0)),
            ("mat", (460, 302), (50, 50)),
        ):
            frame = Image.new("RGB", size, "white" if name == "mat" else "black")
            frame.paste(part, place)
            found[name].append(frame)
        flat, chart, page = (
            Image.new("RGB", size, "white") for size in ((128, 128), (400, 300), (400, 500))
        )
        pens = [ImageDraw.Draw(image) for image in (flat, chart, page)]
        for _ in range(4):
            x, y, side = (int(v) for v in rng.integers((0, 0, 10), (90, 90, 50)))
            colour = tuple(int(v) for v in rng.integers(0, 200, 3))
            (pens[0].ellipse if rng.random() < 0.5 else pens[0].rectangle)(
                [x, y, x + side, y + side], fill=colour
            )
        pens[1].line([40, 10, 40, 260], fill=0, width=2)
        pens[1].line([40, 260, 390, 260], fill=0, width=2)
        pens[1].line(
            [
                (40 + 10 * k, float(v))
                for k, v in enumerate(130 + np.cumsum(rng.normal(0, 12, 35)).clip(-100, 100))
            ],
            fill=(30, 90, 200),
            width=3,
        )
        for line in range(12):
            pens[2].text((30, 30 + 18 * line), "lorem ipsum dolor sit amet", fill=(30, 30, 30))
        y, x = np.mgrid[:256, :256]
        marks = [
            (y // 16 + x // 16) % 2 == 0,
            (x // 16) % 2 == 0,
            (y // 8) % 2 == 0,
            (x // 4) % 2 == 0,
            (y // 4 + x // 4) % 2 == 0,
        ]
        night = Image.fromarray(np.uint8(np.asarray(part) * 0.25))
        for lamp in rng.integers(10, 190, (8, 2)).tolist():
            ImageDraw.Draw(night).ellipse(
                [lamp[0], lamp[1], lamp[0] + 6, lamp[1] + 6], fill=(250, 240, 200)
            )
        soft = part.filter(ImageFilter.GaussianBlur(6))
        soft.paste(part.crop((90, 30, 270, 170)), (90, 30))
        textured = Image.fromarray(
            np.where(marks[number][..., None], [230, 200, 60], [40, 40, 120]).astype(np.uint8)
        )
        for name, image in (
            ("flat", flat),
            ("chart", chart),
            ("page", page),
            ("texture", textured),
            ("lamps", night),
            ("focus", soft),
        ):
            found[name].append(image)
    return found


def test_sound_pictures_of_other_kinds_are_no_faults_among_photographs() -> None:
    photographs = [
        Image.fromarray(load_sample_images().images[0]).crop((x, 0, x + 240, 240))
        for x in range(0, 400, 20)
    ]
    for name, images in sound_kinds().items():
        found = claims([picture(image) for image in (*photographs, *images)])
        assert {
            n: codes & LIGHT_AND_SHARPNESS
            for n, codes in found.items()
            if n >= len(photographs) and codes & LIGHT_AND_SHARPNESS
        } == {}, name


def test_at_most_one_of_a_hundred_sound_pictures_of_sixteen_kinds_is_claimed() -> None:
    photographs = [Image.fromarray(one) for one in load_sample_images().images]
    usual = [photographs[n % 2].crop((20 * n, 5 * n, 20 * n + 300, 5 * n + 220)) for n in range(16)]
    made = sound_pictures(photographs, 7)
    kinds = ["photograph"] * len(usual) + [kind for kind, images in made.items() for _ in images]
    found = claims(
        [picture(image) for image in (*usual, *(one for images in made.values() for one in images))]
    )
    wrong = [
        (kinds[n], sorted(codes & LIGHT_AND_SHARPNESS))
        for n, codes in found.items()
        if n >= 0 and codes & LIGHT_AND_SHARPNESS
    ]
    assert len(made) == 16
    assert len(wrong) <= 0.01 * len(kinds), wrong


def test_what_is_vivid_is_neither_dark_nor_light() -> None:
    left = np.arange(64)[:, None] // 8 % 2 == 0
    blue, yellow = (
        np.where(left[..., None], one, other).repeat(64, axis=1).astype(np.uint8)
        for one, other in (
            ([20, 15, 230], [60, 20, 130]),
            ([250, 240, 30], [255, 225, 110]),
        )
    )
    found = claims([picture(image) for image in (*tiles(), blue, yellow)])
    assert [found.get(len(tiles()) + n, set()) & {"dark", "light"} for n in range(2)] == [
        set(),
        set(),
    ]


def test_waves_are_soft_and_not_blurred() -> None:
    down, right = np.mgrid[:200, :200]
    waves = [
        np.repeat(
            np.uint8(127 + 100 * np.sin((right + slope * down) / pitch))[..., None], 3, axis=2
        )
        for slope in (0, 0.4)
        for pitch in (3, 5)
    ]
    photographs = [
        Image.fromarray(load_sample_images().images[0]).crop((x, 0, x + 240, 240))
        for x in range(0, 400, 20)
    ]
    found = claims([picture(image) for image in (*photographs, *waves)])
    assert not any("blurry" in codes for codes in found.values())
    blurred = claims(
        [
            picture(image)
            for image in (*photographs, photographs[0].filter(ImageFilter.GaussianBlur(4)))
        ]
    )
    assert "blurry" in blurred[len(photographs)]


def test_one_shape_on_its_ground_is_no_frame_around_nothing() -> None:
    square, dot = (Image.new("RGB", (160, 160), (240, 252, 230)) for _ in range(2))
    ImageDraw.Draw(square).rectangle([40, 40, 98, 98], fill=(185, 45, 120))
    ImageDraw.Draw(dot).ellipse([20, 60, 36, 76], fill=(20, 180, 50))
    _, facts = measured([picture(square)])
    assert (facts["border"][0], facts["structure"][0] > 0.1) == (0, True)
    assert not any(
        codes & LIGHT_AND_SHARPNESS
        for n, codes in claims([picture(image) for image in (*tiles(), square, dot)]).items()
        if n >= len(tiles())
    )


def test_a_frame_is_measured_and_left_out_of_the_other_numbers() -> None:
    part = Image.fromarray(load_sample_images().images[0]).crop((0, 0, 360, 200))
    framed = Image.new("RGB", (360, 400))
    framed.paste(part, (0, 100))
    alone, found = (measured([picture(image)])[1] for image in (part, framed))
    assert (alone["border"][0], found["border"][0]) == (0, pytest.approx(0.5, abs=0.01))
    for name in ("brightness", "contrast", "saturation"):
        assert found[name][0] == pytest.approx(alone[name][0], abs=0.03)
    blurred = framed.filter(ImageFilter.GaussianBlur(4))
    assert measured([picture(blurred)])[1]["sharpness"][0] < 0.15


def test_contrast_is_of_colour_too() -> None:
    pixels = np.full((64, 64, 3), (200, 50, 50), np.uint8)
    pixels[:, 32:] = (50, 115, 50)  # as light as the other half
    facts = measured([picture(pixels)])[1]
    assert facts["brightness_p99"][0] - facts["brightness_p1"][0] < 0.05
    assert facts["contrast"][0] > 0.7
