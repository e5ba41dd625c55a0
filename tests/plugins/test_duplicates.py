"""Which pictures are called copies of which, which are not, and what is claimed of
their clusters.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_images import candidates
from dqpipe_images.copies import label_conflicts
from dqpipe_images.duplicates import Duplicates
from dqpipe_images.picture import Header, Picture
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from sklearn.datasets import load_digits, load_sample_images

from dqpipe.data.tables import Facts, Findings, Samples, fact_array, table_of
from dqpipe.plugin.stage import Shard
from tests import layouts

SIDE = 72
Rows = pd.DataFrame


@cache
def tiles() -> list[Image.Image]:
    """Tiles of both photographs that have something to see and do not overlap."""
    cut = []
    for pixels in load_sample_images().images:
        for top in range(0, pixels.shape[0] - SIDE, SIDE):
            cut += [
                Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
                for left in range(0, pixels.shape[1] - SIDE, SIDE)
            ]
    return [tile for tile in cut if np.asarray(tile.convert("L")).std() > 25]


@cache
def digits() -> list[Image.Image]:
    """Handwritten digits, enlarged, no two of which differ by less than a root mean square of 1.2
    of 16 steps.
    """
    kept: list[np.ndarray] = []
    for digit in load_digits().data[:600]:
        if not kept or np.sqrt(np.mean((np.array(kept) - digit) ** 2, axis=1)).min() >= 1.2:
            kept.append(digit)
    return [
        Image.fromarray((d.reshape(8, 8) * 255 / 16).astype(np.uint8)).resize(
            (48, 48), Image.Resampling.BICUBIC
        )
        for d in kept
    ]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    width, height = image.size
    return image.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )


def captioned(image: Image.Image) -> Image.Image:
    out = image.convert("RGB")
    ImageDraw.Draw(out).rectangle((4, SIDE - 12, 34, SIDE - 5), fill=(255, 255, 0))
    return out


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image, float)
    return Image.fromarray(
        np.clip(values + np.random.default_rng(0).normal(0, 6, values.shape), 0, 255).astype(
            np.uint8
        )
    )


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a poor JPEG": lambda image: jpeg(image, 20),
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cropped": lambda image: cropped(image, 0.03, 0.1, 0.08, 0.05),
    "cropped at one side": lambda image: cropped(image, 0.18, 0, 0, 0),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "noisy": noisy,
    "framed": lambda image: ImageOps.expand(image, 3),
}
TILE_COPIES = COPIES | {
    "grey": lambda image: image.convert("L"),
    "captioned": captioned,
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda image: image.rotate(-90),
    "turned by 180 degrees": lambda image: image.rotate(180),
    "turned by 270 degrees": lambda image: image.rotate(90),
}


def picture(image: Image.Image, reduction: int = 1) -> Picture:
    """What a decoder gives of an image."""
    pixels = np.asarray(image.convert("RGB"))
    size = len(image.tobytes())
    return Picture(
        Header("PNG", image.width * reduction, image.height * reduction, image.mode, size=size),
        pixels,
        reduction,
    )


def samples_of(pictures: Sequence[Picture], **columns: list[str | None]) -> Samples:
    ids = pa.array([f"{number:04d}" for number in range(len(pictures))], pa.string())
    content = pa.array(
        [
            hashlib.sha256(p.pixels.tobytes() + bytes([n % 256])).hexdigest()
            for n, p in enumerate(pictures)
        ],
        pa.string(),
    )
    return Samples(
        pa.table(
            {"id": ids, "content": content}
            | {name: pa.array(values, pa.string()) for name, values in columns.items()}
        )
    )


def columns(stage: Duplicates, phase: str, values: object) -> dict[str, pa.Array]:
    return {fact.name: fact_array(values[fact.name], fact.type) for fact in stage.facts_at(phase)}  # type: ignore[index]


def related(
    images: Sequence[Image.Image | Picture], full: Sequence[Picture] = (), **options: object
) -> tuple[Samples, Facts]:
    """Samples and facts of some images.

    `split` and `label` among the options are columns of the samples.
    """
    pictures = [image if isinstance(image, Picture) else picture(image) for image in images]
    samples = samples_of(
        pictures, **{name: options.pop(name) for name in ("label", "split") if name in options}
    )
    stage = Duplicates(**options)
    facts = columns(stage, "measure", stage.at("measure").measure(Shard(samples, pictures)))

    return samples, Facts(
        pa.table(
            facts
            | columns(
                stage,
                "relate",
                stage.at("relate").relate(samples, Facts(pa.table(facts)), Decoded(pictures, full)),
            )
        )
    )


class Decoded:
    """The pictures of samples, decoded again."""

    def __init__(self, pictures: Sequence[Picture], full: Sequence[Picture]) -> None:
        self.pictures, self.full = pictures, full

    def __call__(self, ids: Sequence[str], rendition: str = "full") -> list[Picture]:
        return [self.pictures[int(text)] for text in ids]

    def cached_per_content(
        self, ids: Sequence[str], told: Callable[[Picture], str], rendition: str = "full"
    ) -> list[str]:
        return [told(self.full[int(text)]) for text in ids]


def claims(
    images: Sequence[Image.Image | Picture], threshold: float = 0.6, **options: object
) -> Rows:
    """The findings, with the default severity where none is given."""
    samples, facts = related(images, **options)
    found = [
        part.assign(severity=part.get("severity", "warning"))
        for part in Duplicates(threshold=threshold).detect(samples, facts)
    ]
    return table_of(Findings.columns, found).to_pandas()


def pairs(found: Rows, code: str) -> list[tuple[str, str]]:
    chosen = found[found.code == code]
    return list(zip(chosen.id, chosen["match"], strict=True))


def found_pairs(found: Rows) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in pairs(found, "near") + pairs(found, "exact")}


@pytest.mark.parametrize("kind", TILE_COPIES)
def test_copies_of_photographs_are_found_and_nothing_else(kind: str) -> None:
    originals = tiles()
    copies = [TILE_COPIES[kind](image) for image in originals[:20]]
    planted = {frozenset((f"{i:04d}", f"{len(originals) + i:04d}")) for i in range(20)}
    found = found_pairs(claims([*originals, *copies]))
    assert len(found & planted) >= 19
    assert found - planted == set()


def test_copies_of_digits_are_found_though_all_digits_look_alike() -> None:
    originals = digits()
    made = [
        (kind, i, COPIES[kind](originals[i + 20 * n]))
        for n, kind in enumerate(COPIES)
        for i in range(12)
    ]
    planted = {
        frozenset((f"{i + 20 * list(COPIES).index(kind):04d}", f"{len(originals) + n:04d}"))
        for n, (kind, i, _) in enumerate(made)
    }
    found = found_pairs(claims([*originals, *(image for _, _, image in made)]))
    assert len(found & planted) >= 0.95 * len(planted)
    assert len(found - planted) <= 0.005 * len(originals)


def test_the_transform_is_named() -> None:
    image = tiles()[0]
    turns = ("mirrored", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees")
    _, facts = related(
        [image, *(jpeg(TILE_COPIES[turn](image), 60).resize((60, 60)) for turn in turns)]
    )
    assert list(facts["transform"]) == [None, *turns]
    assert list(facts["match"]) == [None, "0000", "0000", "0000", "0000"]


@pytest.mark.parametrize(
    ("options", "found"),
    [({"mirror": False}, {"0002"}), ({"turns": False}, {"0001"}), ({}, {"0001", "0002"})],
)
def test_mirrored_and_turned_copies_can_be_left_alone(
    options: dict[str, bool], found: set[str]
) -> None:
    image = tiles()[0]
    _, facts = related(
        [image, ImageOps.mirror(image).resize((60, 60)), image.rotate(90).resize((60, 60))],
        **options,
    )
    assert {f"{row:04d}" for row in np.flatnonzero(~facts["keeper"].astype(bool))} == found


def test_the_same_pixels_are_exact_and_another_mode_is_not() -> None:
    grey = tiles()[0].convert("L")
    found = claims([tiles()[0], tiles()[0].copy(), grey, grey.convert("RGB")])
    assert pairs(found, "exact") == [("0001", "0000")]
    assert sorted(pairs(found, "near")) == [("0002", "0000"), ("0003", "0000")]


def test_equal_reduced_pictures_are_decoded_again() -> None:
    image = tiles()[0]
    other = np.asarray(image.resize((2 * SIDE, 2 * SIDE))).copy()
    other[5, 5] += 9
    fulls = [picture(image.resize((2 * SIDE, 2 * SIDE)))] * 2 + [picture(Image.fromarray(other))]
    _, facts = related([picture(image, 2)] * 3, fulls)
    assert list(facts["kind"]) == [None, "exact", "near"]


def test_the_best_is_kept_and_evaluation_data_comes_before_it() -> None:
    small, large = jpeg(tiles()[0], 90).resize((48, 48)), tiles()[0]
    assert pairs(claims([small, large]), "near") == [("0000", "0001")]
    found = claims([small, large, large], split=["test", "train", "val"])
    assert found[["id", "code", "severity", "match"]].to_numpy().tolist() == [
        ["0001", "exact", "warning", "0002"],
        ["0002", "near", "warning", "0000"],
        ["0001", "leak", "error", "0000"],
        ["0002", "leak", "warning", "0000"],
    ]


def test_labels_that_disagree_are_claimed_on_both() -> None:
    found = claims([tiles()[0], jpeg(tiles()[0], 50), tiles()[1]], label=["cat", "dog", "dog"])
    conflict = found[found.code == "label_conflict"]
    assert list(conflict.detail) == ["cat here, dog in 0001", "dog here, cat in 0000"]
    assert set(claims([tiles()[0], jpeg(tiles()[0], 50)], label=["cat", "cat"]).code) == {"near"}


def test_a_conflict_of_labels_is_as_sure_as_the_less_sure_of_its_two_copies() -> None:
    named = Samples(pa.table({"id": list("abcde"), "label": ["cat", "dog", "cat", "cat", "dog"]}))
    found = label_conflicts(
        named, np.array([0, 0, 0, 3, 3]), np.array([np.nan, 0.9, 0.6, np.nan, np.nan])
    )
    assert dict(zip(found.id, found.confidence, strict=True)) == {
        "a": 0.9,
        "b": 0.9,
        "c": 0.6,
        "d": 1.0,
        "e": 1.0,
    }


def test_clusters_do_not_chain() -> None:
    photograph = Image.fromarray(load_sample_images().images[0])
    _, facts = related([photograph.crop((left, 100, left + 100, 200)) for left in range(0, 400, 8)])
    left = {f"{n:04d}": 8 * n for n in range(50)}
    steps = [abs(left[m] - left[f"{n:04d}"]) for n, m in enumerate(facts["match"]) if m]
    assert len(steps) > 20
    assert max(steps) <= 40
    assert len(set(facts["cluster"]) - {None}) >= 8


def test_a_slow_zoom_does_not_chain() -> None:
    photograph = Image.fromarray(load_sample_images().images[0])
    sides = [round(320 * 0.97**step) for step in range(40)]
    _, facts = related(
        [
            photograph.crop(
                (300 - side // 2, 200 - side // 2, 300 + side // 2, 200 + side // 2)
            ).resize((96, 96))
            for side in sides
        ]
    )
    ratios = [sides[int(match)] / sides[n] for n, match in enumerate(facts["match"]) if match]
    assert len(ratios) > 20
    assert max(max(ratio, 1 / ratio) for ratio in ratios) < 1.7


def test_a_frame_and_a_caption_in_common_make_no_copies() -> None:
    assert (
        found_pairs(claims([ImageOps.expand(captioned(tile), 5, "white") for tile in tiles()]))
        == set()
    )


@pytest.mark.parametrize("layout", ["meter", "gauge", "form", "scan"])
def test_pictures_that_only_share_a_layout_are_no_copies_and_copies_among_them_are(
    layout: str,
) -> None:
    images = layouts.drawn(layout, 24)
    found = claims([*images, *(jpeg(image, 70) for image in images[:6])])
    planted = {frozenset((f"{i:04d}", f"{24 + i:04d}")) for i in range(6)}
    dropped = found_pairs(found[found.confidence >= 0.9])
    assert dropped - planted == set()
    assert len(dropped) >= 5
    assert len(found_pairs(found) - planted) <= 1


def test_copies_are_sure_though_others_look_alike() -> None:
    images = digits()[:120]
    copies = [
        (jpeg, 50),
        (lambda image, side: image.resize((side, side)), 32),
        (lambda image, by: ImageEnhance.Brightness(image).enhance(by), 1.2),
    ]
    found = claims(
        [
            *images,
            *(
                change(image, by)
                for at, (change, by) in enumerate(copies)
                for image in images[at * 8 : at * 8 + 8]
            ),
        ]
    )
    planted = {frozenset((f"{i:04d}", f"{120 + i:04d}")) for i in range(24)}
    sure = found_pairs(found[found.confidence >= 0.9])
    assert sure - planted == set()
    assert len(sure & planted) >= 23


def test_what_is_painted_over_is_in_doubt() -> None:
    image = tiles()[0]
    assert (claims([image, captioned(image)]).confidence < 0.9).all()
    assert (claims([image, jpeg(image, 60)]).confidence >= 0.9).all()


def test_many_copies_of_many_pictures_are_told_apart() -> None:
    originals = tiles()[:12]
    made = [
        (n, image)
        for n, original in enumerate(originals)
        for image in (original, *(change(original) for change in TILE_COPIES.values()))
    ]
    _, facts = related([image for _, image in made])
    cluster = pd.DataFrame({"source": [n for n, _ in made], "cluster": facts["cluster"]}).dropna()
    assert cluster.groupby("cluster").source.nunique().max() == 1
    assert (
        cluster.groupby("source").cluster.agg(lambda values: values.value_counts().iloc[0])
        >= 0.7 * len(made) / len(originals)
    ).all()


def test_a_crowd_of_copies_is_one_cluster() -> None:
    image = tiles()[0]
    _, facts = related(
        [
            jpeg(image.resize((side, side)), quality)
            for side in range(48, 72, 2)
            for quality in (30, 50, 70, 90)
        ]
    )
    assert set(facts["cluster"]) == {"0000"}
    assert set(facts["group"]) == {"0000"}
    assert facts["keeper"].sum() == 1


def test_a_stricter_threshold_claims_less_of_the_same_facts() -> None:
    images = [tiles()[0], jpeg(tiles()[0], 20), *(tile for tile in tiles()[1:4])]
    value = claims(images).value[0]
    assert len(claims(images, threshold=value + 0.01)) == 0
    assert 0.6 < value < 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_samples(count: int) -> None:
    assert len(claims(tiles()[:count])) == 0


def test_equal_pictures_are_quick_and_uniform_ones_are_equal_only_exactly() -> None:
    assert len(pairs(claims([tiles()[0]] * 300), "exact")) == 299
    flat = [Image.new("RGB", (40, 40), (level, level, level)) for level in range(0, 200, 4)]
    assert pairs(claims([*flat, flat[7]]), "exact") == [("0050", "0007")]
    rng = np.random.default_rng(0)
    assert (
        len(
            claims(
                [
                    Image.fromarray((100 + rng.normal(0, 2, (40, 40, 3))).astype(np.uint8))
                    for _ in range(50)
                ]
            )
        )
        == 0
    )


def test_measuring_a_picture_does_not_depend_on_the_others() -> None:
    stage, pictures = Duplicates().at("measure"), [picture(tile) for tile in tiles()[:9]]
    whole = stage.measure(Shard(samples_of(pictures), pictures))
    for at, one in enumerate(pictures):
        alone = stage.measure(Shard(samples_of([one]), [one]))
        assert all(np.array_equal(alone[name][0], whole[name][at]) for name in whole)


def test_the_index_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [
        *tiles(),
        *(jpeg(cropped(tile, 0.05, 0.05, 0.05, 0.05), 40) for tile in tiles()[:30]),
        *digits()[:120],
    ]
    _, compared = related(images)
    monkeypatch.setattr(candidates, "EXACT", 100)
    monkeypatch.setattr(candidates, "LEAF", 32)
    _, indexed = related(images)
    assert list(indexed["match"]) == list(compared["match"])
    assert list(related(images)[1]["score"][~np.isnan(indexed["score"])]) == list(
        indexed["score"][~np.isnan(indexed["score"])]
    )


def test_the_shares_are_of_all_samples() -> None:
    stage = Duplicates()
    image = tiles()[0]
    figures = stage.summarise(*related([image, image, jpeg(image, 40), tiles()[1]]))
    assert {figure["figure"]: figure["value"] for figure in figures} == {
        "exact": 0.25,
        "near": 0.25,
        "clusters": 1,
        "redundancy": 0.5,
    }


def spot(place: tuple[int, int], colour: tuple[int, int, int], ground: int = 255) -> Image.Image:
    image = Image.new("RGB", (96, 96), (ground,) * 3)
    image.paste(colour, (*place, place[0] + 24, place[1] + 24))
    return image


def chance(*images: Image.Image) -> list[float]:
    """The confidence with which each copy is claimed."""
    return claims(list(images))["confidence"].astype(float).tolist()


@pytest.mark.parametrize(
    "colours",
    [((200, 40, 40), (40, 113, 40)), ((40, 60, 200), (90, 74, 10)), ((230, 60, 60), (60, 60, 230))],
)
def test_things_of_other_colours_are_no_proven_copies(
    colours: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    assert all(sure <= 0.85 for sure in chance(*(spot((30, 40), colour) for colour in colours)))
    paler = tuple(128 + (value - 128) // 2 for value in colours[0])
    assert chance(spot((30, 40), colours[0]), spot((30, 40), paler))[0] > 0.9


def test_one_small_thing_in_another_place_is_no_proven_copy() -> None:
    places = [(10, 14), (40, 30), (60, 8), (22, 60), (62, 62), (34, 12)]
    assert all(sure <= 0.85 for sure in chance(*(spot(place, (200, 40, 40)) for place in places)))
    small = spot((10, 14), (200, 40, 40)).resize((80, 80))
    assert chance(spot((10, 14), (200, 40, 40)), small)[0] > 0.9


def test_copies_in_other_colours_stay_proven() -> None:
    """Grey, paler, stronger, warmer and cooler copies of a photograph."""
    photo = tiles()[0]
    pixels = np.asarray(photo, dtype=np.float32)
    mean = pixels.mean(2, keepdims=True)
    changed = [
        mean.repeat(3, 2),
        mean + (pixels - mean) * 0.5,
        mean + (pixels - mean) * 1.4,
        pixels * [1.12, 1, 0.88],
        pixels * [0.88, 1, 1.12],
    ]
    for other in changed:
        assert min(chance(photo, Image.fromarray(np.clip(other, 0, 255).astype(np.uint8)))) > 0.9
