"""What is made to fill classes, from which parents, and that neither order nor threads matter."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_curation.augment import Augmentation
from dqpipe_images.picture import Header, Picture

from dqpipe.data.tables import Samples
from dqpipe.errors import ConfigError

if TYPE_CHECKING:
    from dqpipe.plugin.stage import Recipe

FLIPS = [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}]


def samples(**sizes: int) -> Samples:
    rows = sorted((f"{label}/{n}", label) for label, size in sizes.items() for n in range(size))
    return Samples(pa.table({"id": [i for i, _ in rows], "label": [label for _, label in rows]}))


def seeds(parent: str, copy: int) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"{parent}:{copy}".encode(), digest_size=8).digest(), "big"
    )


def plan(of: Samples, **options: Any) -> list[Recipe]:
    return Augmentation(**options).plan(of, np.ones(len(of), dtype=bool), seeds)


def picture(mode: str = "RGB", width: int = 20, height: int = 12) -> Picture:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if mode == "L":
        pixels[:] = pixels[:, :, :1]
    return Picture(Header("PNG", width, height, mode), pixels)


@pytest.mark.parametrize(
    ("target", "expected"),
    [("largest", {"b": 6, "c": 8}), ("median", {"c": 2}), (11, {"a": 1, "b": 7, "c": 9})],
)
def test_each_class_is_filled_up_to_the_target(target: int | str, expected: dict[str, int]) -> None:
    made = plan(samples(a=10, b=4, c=2), target=target)
    assert Counter(recipe.parent[0] for recipe in made) == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((100, 95, 91, 110), 0), ((100, 100, 90), 0), ((100, 100, 89), 11), ((30, 30, 30), 0)],
)
@pytest.mark.parametrize("target", ["median", "largest"])
def test_a_balanced_set_gets_nothing(target: str, sizes: tuple[int, ...], expected: int) -> None:
    of = samples(**dict(zip("abcd", sizes, strict=False)))
    made = plan(of, target=target, tolerance=0.2 if target == "largest" else 0.1)
    assert len(made) == (expected if target == "median" else 0)


def test_a_number_is_filled_up_to_exactly() -> None:
    assert len(plan(samples(a=99, b=100), target=100)) == 1


def test_no_parent_has_more_than_one_copy_more_than_another() -> None:
    made = plan(samples(a=30, b=7), target="largest")
    assert sorted(Counter(recipe.parent for recipe in made).values()) == [3, 3, 3, 3, 3, 4, 4]


def test_a_class_stays_below_the_target_rather_than_copy_one_parent_for_ever() -> None:
    made = plan(samples(a=100, b=2), target="largest", max_copies=3)
    assert [(recipe.parent, recipe.copy) for recipe in made] == [
        ("b/0", 1),
        ("b/0", 2),
        ("b/0", 3),
        ("b/1", 1),
        ("b/1", 2),
        ("b/1", 3),
    ]


def test_labels_that_are_no_classes_are_refused_and_missing_ones_left_alone() -> None:
    for label in (pa.array([[1], [2]]), pa.array([0.5, 1.5])):
        assert "fills classes" in str(
            Augmentation().objection(Samples(pa.table({"id": ["a", "b"], "label": label})))
        )
    assert "no label column" in str(Augmentation().objection(Samples(pa.table({"id": ["a", "b"]}))))
    some = Samples(pa.table({"id": ["a", "b", "c", "d"], "label": ["x", "x", "y", None]}))
    assert [recipe.parent for recipe in plan(some, target="largest")] == ["c"]


def test_the_same_seed_makes_the_same_picture_in_any_order_and_thread() -> None:
    of, augment = picture(), Augmentation()
    one_by_one = [augment.make(of, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda seed: augment.make(of, seed), reversed(range(40))))[::-1]
    assert [made.tobytes() for made in at_once] == [made.tobytes() for made in one_by_one]
    assert len({made.tobytes() for made in one_by_one}) == 40


def test_transforms_draw_independently_of_each_other() -> None:
    of, augment = picture(), Augmentation(transforms=FLIPS)
    outcomes = {
        (False, False): of.pixels,
        (True, False): of.pixels[:, ::-1],
        (False, True): of.pixels[::-1],
        (True, True): of.pixels[::-1, ::-1],
    }
    seen = Counter(
        next(k for k, v in outcomes.items() if np.array_equal(v, augment.make(of, seed)))
        for seed in range(200)
    )
    assert len(seen) == 4
    assert min(seen.values()) > 25


def test_a_new_picture_has_its_parents_size_and_channels() -> None:
    cropping = Augmentation(transforms=[{"RandomCrop": {"height": 8, "width": 8, "p": 1.0}}])
    assert cropping.make(picture(), 3).shape == (12, 20, 3)
    assert Augmentation().make(picture("L"), 3).shape == (12, 20)


def test_both_forms_of_a_pipeline_make_the_same() -> None:
    nested = [{"OneOf": {"transforms": [{"Blur": {"p": 1.0}}, {"HorizontalFlip": {}}], "p": 0.9}}]
    serialised = Augmentation(transforms=nested).provenance()["pipeline"]["transform"]["transforms"]
    for seed in range(10):
        assert np.array_equal(
            Augmentation(transforms=nested).make(picture(), seed),
            Augmentation(transforms=serialised).make(picture(), seed),
        )


def test_the_written_pipeline_can_be_used_for_training() -> None:
    import albumentations

    written = json.loads(json.dumps(Augmentation().provenance()))
    assert written["pipeline"]["__version__"] == albumentations.__version__
    made = albumentations.from_dict(written["pipeline"])(image=picture().pixels)["image"]
    assert (made.dtype, made.shape) == (np.uint8, (12, 20, 3))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"transforms": [{"HorizontlFlip": {}}]}, "did you mean 'HorizontalFlip'"),
        (
            {"transforms": [{"Rotate": {"limits": 5}}]},
            "Rotate has no argument 'limits': did you mean 'limit'",
        ),
        ({"transforms": [{"Rotate": {"limit": "far"}}]}, "Rotate: .*valid number"),
        (
            {"transforms": [{"OneOf": {"transforms": [{"Blur": {"blurr": 3}}]}}]},
            "Blur has no argument 'blurr'",
        ),
        ({"transforms": [{"Normalize": {}}]}, "Normalize makes float32"),
        ({"transforms": [{"Blur": {}, "Rotate": {}}]}, "a transform is"),
        ({"transforms": []}, "names no transform"),
        ({"target": "biggest"}, "target is a number"),
        ({"target": 0}, "target is a number"),
    ],
)
def test_a_mistake_in_the_pipeline_is_refused_before_anything_runs(
    options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        Augmentation(**options).check()


def test_the_default_pipeline_is_sound_and_nearly_always_changes_something() -> None:
    Augmentation().check()
    of = picture()
    assert not any(np.array_equal(Augmentation().make(of, seed), of.pixels) for seed in range(20))
