"""Masks stay with their pictures.

Never a class of their own, never left behind, never without the picture.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

import dqpipe
from dqpipe.config.dataset_source import recognise
from dqpipe.plugin.registry import Registry
from tests import annotated

LAYOUTS = {
    "by folder": (
        ["images/a.png", "images/b.png", "masks/a.png", "masks/b.png"],
        {"images/a.png": "masks/a.png", "images/b.png": "masks/b.png"},
    ),
    "camvid": (
        ["train/a.png", "trainannot/a.png", "val/b.png", "valannot/b.png"],
        {"train/a.png": "trainannot/a.png", "val/b.png": "valannot/b.png"},
    ),
    "splits below": (
        ["images/train/a.jpg", "masks/train/a.png", "images/val/a.jpg", "masks/val/a.png"],
        {"images/train/a.jpg": "masks/train/a.png", "images/val/a.jpg": "masks/val/a.png"},
    ),
    "by name": (
        ["x/a.jpg", "x/a_mask.png", "x/b.jpg", "x/b_mask.png"],
        {"x/a.jpg": "x/a_mask.png", "x/b.jpg": "x/b_mask.png"},
    ),
    "cityscapes": (
        [
            "leftImg8bit/u/a_leftImg8bit.png",
            "gtFine/u/a_gtFine_color.png",
            "gtFine/u/a_gtFine_labelIds.png",
        ],
        {"leftImg8bit/u/a_leftImg8bit.png": "gtFine/u/a_gtFine_labelIds.png"},
    ),
    "one without": (
        ["images/a.png", "images/b.png", "masks/a_mask.png"],
        {"images/a.png": "masks/a_mask.png", "images/b.png": None},
    ),
}


@pytest.mark.parametrize("which", LAYOUTS)
def test_pictures_and_masks_are_pairs_and_come_back(
    registry: Registry, tmp_path: Path, which: str
) -> None:
    names, pairs = LAYOUTS[which]
    root = annotated.pictures(tmp_path / "set", *names)
    assert recognise(registry, str(root)).reader.name == "masks"
    dataset = annotated.read(registry, "masks", root)
    assert dict(zip(dataset.samples["media"], dataset.samples["mask"], strict=True)) == pairs
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


def test_a_dropped_picture_takes_all_its_masks_along(registry: Registry, tmp_path: Path) -> None:
    names, _ = LAYOUTS["cityscapes"]
    root = annotated.pictures(
        tmp_path / "set",
        *names,
        "leftImg8bit/u/b_leftImg8bit.png",
        "gtFine/u/b_gtFine_labelIds.png",
        "gtFine/u/lost_gtFine_color.png",
    )
    (root / "labels.txt").write_text("0 road\n")
    dataset = annotated.read(registry, "masks", root)
    assert dataset.layout["doubts"] == ["1 mask of no picture (gtFine/u/lost_gtFine_color.png)"]
    out = annotated.written(
        registry, annotated.curated(dataset, "leftImg8bit/u/a_leftImg8bit.png"), tmp_path / "out"
    )
    assert sorted(annotated.tree(out)) == [
        "gtFine/u/b_gtFine_labelIds.png",
        "gtFine/u/lost_gtFine_color.png",
        "labels.txt",
        "leftImg8bit/u/b_leftImg8bit.png",
    ]


def test_a_run_over_a_folder_of_masks_breaks_no_pair(tmp_path: Path) -> None:
    root = annotated.pictures(
        tmp_path / "set", *(f"{kind}/{n}.png" for kind in ("images", "masks") for n in range(6))
    )
    result = dqpipe.curate(root, tmp_path / "out", executor="serial")
    assert set(result.samples["id"]) == {f"images/{n}.png" for n in range(6)}
    for path, mask in zip(result.curated["media"], result.curated["mask"], strict=True):
        assert all((tmp_path / "out/curated" / one).is_file() for one in (path, mask))


@pytest.mark.parametrize("kind", ["csv", "frame"])
def test_the_masks_that_a_table_names_are_copied_with_their_pictures(
    tmp_path: Path, kind: str
) -> None:
    root = annotated.pictures(
        tmp_path / "set",
        *(f"{kind}/{n}.png" for kind in ("pics", "masks") for n in range(4)),
        size=(64, 48),
    )
    frame = pd.DataFrame(
        {
            "image": [f"pics/{n}.png" for n in range(4)],
            "mask": [f"masks/{n}.png" for n in range(4)],
            "label": list("abab"),
        }
    )
    frame.to_csv(root / "list.csv", index=False)
    source = str(root / "list.csv")
    if kind == "csv":
        dqpipe.curate(source, tmp_path / "out", executor="serial")
        rows = list(csv.DictReader((tmp_path / "out/curated/list.csv").read_text().splitlines()))
    else:
        frame["image"], frame["mask"] = (
            [f"{root}/{one}" for one in frame["image"]],
            [f"{root}/{one}" for one in frame["mask"]],
        )
        dqpipe.curate(frame, tmp_path / "out", executor="serial")
        rows = pd.read_parquet(tmp_path / "out/curated/data.parquet").to_dict("records")
    assert rows
    for row in rows:
        mask = Path(tmp_path / "out/curated") / row["mask"]
        assert (mask.is_file(), mask.name) == (True, Path(row["image"]).name)


def test_masks_outside_the_folder_are_not_copied(registry: Registry, tmp_path: Path) -> None:
    root = annotated.pictures(tmp_path / "set", "images/a.png", "images/b.png", "masks/a.png")
    annotated.pictures(tmp_path, "secret.png")
    (root / "masks/b.png").symlink_to(tmp_path / "secret.png")
    dataset = annotated.read(registry, "masks", root)
    assert "masks/b.png" not in annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    )
