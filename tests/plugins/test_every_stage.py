"""The contract as a test, over every built-in stage, and the documentation's table of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from dqpipe.config import plan
from dqpipe.config.pipeline_file import Config, Entry
from dqpipe.engine.run import read
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Augment, Decide, Reader, Stage
from dqpipe.testing import check_stage, small_images

ROOT = Path(__file__).parents[2]
STAGES = [
    "annotators",
    "cells",
    "columns",
    "diversity",
    "drift",
    "duplicate_rows",
    "duplicates",
    "embeddings",
    "expectations",
    "files",
    "image_quality",
    "label_noise",
    "objects",
    "outliers",
    "select",
    "split",
    "text_duplicates",
    "text_embeddings",
    "text_quality",
]
OPTIONS = {
    "annotators": {"columns": ("ann", "ben")},
    "expectations": {
        "expectations": [
            {
                "expectation": "expect_column_values_to_not_be_null",
                "column": "label",
                "severity": "error",
            }
        ]
    },
}


def test_these_are_all(registry: Registry) -> None:
    assert registry.broken == {}
    assert registry.names(Stage) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_it_keeps_the_contract(name: str, registry: Registry, tmp_path: Path) -> None:
    if name.startswith("text_"):
        source = str(tmp_path / "texts.csv")
        texts(Path(source))
    elif name == "objects":
        annotated(tmp_path / "coco")
        source = str(tmp_path / "coco")
    elif name in {"annotators", "cells", "columns", "duplicate_rows"}:
        rows = {
            "x": [1, 2, 1, 3] * 5,
            "label": ["a", "b"] * 10,
            "ann": ["a", "b"] * 10,
            "ben": ["a", "b", "b", "b"] * 5,
        }
        pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
        source = str(tmp_path / "rows.csv")
    else:
        small_images(tmp_path / "images")
        source = str(tmp_path / "images")
    dataset = read(
        Config((), Entry("policy", registry.get(Decide, "policy")()), source=source),
        registry,
        source,
    )
    chosen = {cls.name: options for cls, options, _ in plan.proposal(registry, dataset)} | {
        name: OPTIONS.get(name, {})
    }
    stages = {other: registry.get(Stage, other)(**options) for other, options in chosen.items()}
    needed = {need.split(".")[0] for need in stages[name].needs if "." in need}
    while True:
        more = {
            need.split(".")[0]
            for other in needed - {"media", "last", "made"}
            for need in stages[other].needs
            if "." in need
        } - needed
        if not more:
            break
        needed |= more
    check_stage(
        stages[name],
        after=[stages[other] for other in chosen if other in needed],
        source=source,
        registry=registry,
    )


def annotated(folder: Path) -> None:
    """Pictures with boxes, some of them at fault, as COCO."""
    small_images(folder / "images")
    names = sorted(p.relative_to(folder / "images").as_posix() for p in folder.rglob("*.png"))[:12]
    boxes = [[2, 3, 10, 8], [3, 3, 10, 8], [30, 3, -4, 8], [0, 0, 900, 5], [4, 4, 0, 9]]
    coco = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": k, "image_id": k % 12, "category_id": 1 + k % 2, "bbox": boxes[k % 5]}
            for k in range(30)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "Cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(coco))


def texts(path: Path) -> None:
    """Some short texts of two classes, in two splits, with copies among them."""
    things, does = ("kettle", "lamp", "chair"), ("arrived", "broke", "was sold", "was returned")
    rows = [
        (f"The {thing} {verb} after {n} weeks, and we were glad of it.", thing, split)
        for thing in things
        for verb in does
        for n, split in ((2, "train"), (3, "train"), (4, "test"))
    ]
    more = [
        (None, "lamp", "train"),
        (rows[0][0].upper(), "chair", "test"),
        (rows[1][0], "lamp", ""),
    ]
    frame = pd.DataFrame([*rows, *more], columns=["text", "label", "split"])
    frame.to_csv(path, index=False)


def test_the_readme_lists_every_stage(registry: Registry) -> None:
    found = {
        (cls, name): origin
        for (cls, name), origin in registry.origin.items()
        if cls in (Stage, Augment)
    }
    rows = [
        f"| `{name}` | {registry.get(kind, name).summary()} | {origin} |"
        for (kind, name), origin in sorted(found.items(), key=lambda i: i[0][1])
    ]
    text = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
    table = text.split("<!-- stages -->")[1].split("<!-- /stages -->")[0].strip().split("\n")
    assert table[2:] == rows


def test_the_readme_lists_every_format(registry: Registry) -> None:
    rows = [
        f"| `{cls.name}` | {cls.knows} |"
        for cls in sorted(registry.all(Reader), key=lambda cls: cls.name)
    ]
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    table = text.split("<!-- formats -->")[1].split("<!-- /formats -->")[0].strip().split("\n")
    assert table[2:] == rows
