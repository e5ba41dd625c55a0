"""Faults of boxes, polygons and keypoints: each kind is found where it was planted, alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_objects.flat import Flat
from dqpipe_objects.geometry import crossing, iou, partners
from dqpipe_objects.objects import Objects
from PIL import Image

import dqpipe
from dqpipe.data.objects import LABELS, an_object
from dqpipe.data.tables import Facts, Samples

WIDE, HIGH = 200, 100


def boxes(n: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Sound objects of one picture: apart from each other, inside, of a usual size."""
    return [
        an_object(k, "cat" if k % 2 else "dog", box=(10 + 60 * k, 20, 40, 30 + k), **more)
        for k in range(n)
    ]


def claims(
    pictures: list[list[dict[str, Any]] | None], *, turned: bool = False, **options: Any
) -> pd.DataFrame:
    n = len(pictures)
    ids = pa.array([f"{k:03d}.jpg" for k in range(n)])
    samples = Samples(pa.table({"id": ids, "media": ids, "label": pa.array(pictures, LABELS)}))
    facts = Facts(
        pa.table({"width": [float(WIDE)] * n, "height": [float(HIGH)] * n, "turned": [turned] * n})
    )
    return pd.concat(Objects(**options).detect(samples, facts), ignore_index=True)


SQUARE = [10, 20, 50, 20, 50, 50, 10, 50]
FAULTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "outside": ({"box": (180, 20, 40, 30)}, "[180.0, 20.0, 20.0, 30.0]"),
    "inverted": ({"box": (50, 90, -40, -30)}, "[10.0, 60.0, 40.0, 30.0]"),
    "empty": ({"box": (5, 5, 0, 30)}, None),
    "broken": ({"box": (5, float("nan"), 10, 30)}, None),
    "crossing": ({"box": (10, 20, 40, 30), "polygons": [[10, 20, 50, 50, 50, 20, 10, 50]]}, None),
    "polygon_off": ({"box": (150, 60, 40, 30), "polygons": [SQUARE]}, "[10.0, 20.0, 40.0, 30.0]"),
    "keypoint_outside": ({"box": (10, 20, 40, 30), "keypoints": [20, 30, 2, 900, 30, 2]}, None),
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(code: str) -> None:
    shape, repair = FAULTS[code]
    told = claims([boxes(), [an_object("x", "cat", **shape)], boxes(2)])
    assert told[["id", "part", "code"]].to_numpy().tolist() == [["001.jpg", "x", code]]
    assert told["detail"].iloc[0].endswith(f" it is {repair}" if repair else "")
    assert "suggestion" not in told or told["suggestion"].isna().all()  # that is for labels


def test_sound_objects_have_no_claim() -> None:
    many = [boxes(3, polygons=None) for _ in range(40)]
    whole = [an_object("w", "bird", box=(0, 0, WIDE, HIGH))]
    masked = [an_object("m", "cat", box=(10, 20, 40, 30), polygons=[SQUARE], keypoints=[0, 0, 0])]
    assert claims([*many, whole, masked, None]).empty


def test_the_later_of_two_objects_in_one_place_is_the_copy() -> None:
    same = [
        an_object("a", "cat", box=(10, 20, 40, 30)),
        an_object("b", "cat", box=(10, 20, 40, 31)),
    ]
    other = [
        an_object("a", "cat", box=(10, 20, 40, 30)),
        an_object("b", "dog", box=(10, 20, 40, 31)),
    ]
    crowd = [
        an_object("a", "cat", box=(10, 20, 40, 30)),
        an_object("b", "cat", box=(10, 20, 40, 30), crowd=True),
    ]
    told = claims([same, other, crowd])
    assert told[["id", "part", "code"]].to_numpy().tolist() == [
        ["000.jpg", "b", "duplicate"],
        ["001.jpg", "a", "two_classes"],
        ["001.jpg", "b", "two_classes"],
    ]
    assert claims([same], duplicate=1.0).empty


def test_classes_without_a_name_and_with_two_spellings_are_told() -> None:
    pictures = [
        [an_object("a", None, box=(10, 20, 40, 30))],
        *[[an_object("a", "traffic light", box=(10, 20, 40, 30))] for _ in range(3)],
        [an_object("a", "Traffic_Light", box=(10, 20, 40, 30))],
    ]
    told = claims(pictures).set_index("code")
    assert told.loc["no_class", "id"] == "000.jpg"
    assert told.loc["class_spelling", "part"] == "Traffic_Light"
    assert told.loc["class_spelling", "detail"] == "'Traffic_Light' (1) beside 'traffic light' (3)"


def test_a_giant_a_dwarf_and_a_picture_without_objects_among_many_are_told() -> None:
    pictures: list[list[dict[str, Any]]] = [
        [an_object("a", "cat", box=(10, 20, 20 + k % 7, 20 + k % 5))] for k in range(80)
    ]
    pictures[5] = [an_object("g", "cat", box=(0, 0, WIDE, HIGH))]
    pictures[6] = [an_object("d", "cat", box=(0, 0, 1, 1))]
    pictures[7] = []
    told = claims(pictures)
    assert {(row.code, row.id) for row in told.itertuples()} == {
        ("odd_size", "005.jpg"),
        ("odd_size", "006.jpg"),
        ("none", "007.jpg"),
    }


def test_boxes_drawn_on_the_turned_picture_are_one_claim_on_the_picture() -> None:
    tall = [an_object(k, "cat", box=(5, 105 + 30 * k, 60, 25)) for k in range(3)]
    told = claims([tall], turned=True)
    assert told[["id", "code"]].to_numpy().tolist() == [["000.jpg", "turned"]]
    assert set(claims([tall], turned=False)["code"]) == {"outside"}


def test_partners_are_those_of_comparing_all_pairs() -> None:
    chance = np.random.default_rng(3)
    row, kind = np.sort(chance.integers(0, 12, 300)), chance.integers(0, 3, 300)
    box = np.concatenate([chance.uniform(0, 50, (300, 2)), chance.uniform(-2, 60, (300, 2))], 1)
    box[50:60] = box[40:50]  # equal ones, too
    sound = (box[:, 2] > 0) & (box[:, 3] > 0)
    for least in (0.3, 0.9, 1.0):
        near = [
            [
                j
                for j in range(300)
                if j != i and row[i] == row[j] and sound[i] and sound[j]
                if iou(box[[i]], box[[j]])[0] >= least
            ]
            for i in range(300)
        ]
        first = [[j for j in js if kind[j] == kind[i] and j < i] for i, js in enumerate(near)]
        other = [[j for j in js if kind[j] != kind[i]] for i, js in enumerate(near)]
        found = partners(row, kind, box, least)
        assert [min(js, default=-1) for js in first] == found[0].tolist()
        assert [min(js, default=-1) for js in other] == found[1].tolist()


def test_many_objects_in_one_spot_cost_no_memory() -> None:
    m = 20_000
    copy_of, _ = partners(np.zeros(m, int), np.zeros(m, int), np.tile([5.0, 5, 9, 9], (m, 1)), 0.9)
    assert copy_of[0] == -1
    assert (copy_of[1:] >= 0).all()


def test_polygons_that_only_touch_themselves_do_not_cross() -> None:
    shapes = [
        SQUARE,
        [0, 0, 10, 10, 10, 0, 0, 10],
        [0, 0, 10, 0, 10, 10, 5, 0, 0, 10],
        [0, 0, 4, 0, 4, 4, 2, 1, 0, 4],
    ]
    objects = [an_object(k, "a", polygons=[shape]) for k, shape in enumerate(shapes)]
    flat = Flat.of(pa.chunked_array([pa.array([objects], LABELS)]))
    assert crossing(flat.polygons).tolist() == [False, True, False, False]


HOSTILE = [
    {"box": (1e308, 1e308, 1e308, 1e308)},
    {"box": (float("nan"),) * 4},
    {"box": (1, 2, 3)},
    {"box": (float("inf"), 0, 1, 1)},
    {"box": (-1e9, -1e9, 2e9, 2e9)},
    {"polygons": [[], [1.0], [1.0, 2.0, 3.0]]},
    {"polygons": [[float("nan")] * 6]},
    {"keypoints": [1.0]},
    {"keypoints": [float("-inf"), 0, 2]},
    {},
]


@pytest.mark.parametrize("shape", HOSTILE, ids=str)
def test_hostile_shapes_are_claims_and_no_crash(shape: dict[str, Any]) -> None:
    told = claims([[an_object("<script>", "\u202e", **shape)], [], None])
    assert set(told["code"]) <= {"broken", "outside", "odd_size", "keypoint_outside"}
    assert bool(len(told)) == bool(shape)


def test_a_coco_file_is_looked_at_by_default_and_kept_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    annotations = []
    for k in range(4):
        Image.fromarray(np.full((HIGH, WIDE, 3), 40 * k, np.uint8)).save(
            folder / "images" / f"{k}.png"
        )
        annotations.append(
            {
                "id": k + 1,
                "image_id": k,
                "category_id": 1,
                "bbox": [10, 20, 40, 30],
                "area": 1200,
                "iscrowd": 0,
            }
        )
    annotations.append(
        {
            "id": 9,
            "image_id": 2,
            "category_id": 1,
            "bbox": [190, 20, 40, 30],
            "area": 1200,
            "iscrowd": 0,
        }
    )
    images = [{"id": k, "file_name": f"{k}.png", "width": WIDE, "height": HIGH} for k in range(4)]
    text = json.dumps(
        {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    )
    (folder / "instances.json").write_text(text)
    result = dqpipe.curate(folder, tmp_path / "out", stages=["files", "objects"], gates=[])
    told = result.findings
    assert told[["id", "code"]].to_numpy().tolist() == [["images/2.png", "objects.outside"]]
    assert told["part"].iloc[0].endswith("9")
    assert set(result.decisions["decision"]) == {"keep", "review"}
    assert next((tmp_path / "out" / "curated").rglob("*.json")).read_text() == text
    proposed = dqpipe.Pipeline.proposed(folder, path=str(tmp_path / "other"))
    assert "objects" in [entry.name for entry in proposed.config.stages]
