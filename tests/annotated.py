"""Small datasets with annotations in the usual formats, made to order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Samples
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Reader, Writer


def pictures(root: Path, *names: str, size: tuple[int, int] = (40, 20)) -> Path:
    """Pictures of noise, each another, 40 wide and 20 high."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(
            0, 255, (size[1], size[0], 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(path)
    return root


COCO: Mapping[str, Any] = {
    "info": {"year": 2026, "note": "ünïcode"},
    "licenses": [{"id": 3, "name": "none"}],
    "images": [
        {"id": 10, "file_name": "a.png", "width": 40, "height": 20, "extra": [1.50, 2e3]},
        {"id": 7, "file_name": "b.png", "width": 40, "height": 20, "license": 3},
        {"id": 99, "file_name": "c.png", "width": 40, "height": 20},
    ],
    "annotations": [
        {
            "id": 5,
            "image_id": 7,
            "category_id": 90,
            "bbox": [1, 2.0, 3.25, 4],
            "area": 13.0,
            "iscrowd": 0,
            "segmentation": [[1, 2, 4, 2, 4, 6]],
        },
        {
            "id": 6,
            "image_id": 10,
            "category_id": 1,
            "bbox": [0, 0, 5, 5],
            "attributes": {"seen": True},
            "keypoints": [1, 2, 2],
        },
        {
            "id": 8,
            "image_id": 7,
            "category_id": 1,
            "iscrowd": 1,
            "bbox": [0, 0, 2, 2],
            "segmentation": {"size": [20, 40], "counts": [800]},
        },
    ],
    "categories": [
        {"id": 1, "name": "cat", "supercategory": "animal"},
        {"id": 90, "name": "dog", "keypoints": ["nose"]},
    ],
    "unknown": {"kept": None},
}


def coco(root: Path, document: Mapping[str, Any] = COCO, indent: int | None = 1) -> Path:
    """A COCO folder of three pictures."""
    pictures(root, "images/a.png", "images/b.png", "images/c.png")
    (root / "annotations").mkdir()
    (root / "annotations/instances.json").write_text(
        json.dumps(document, indent=indent, ensure_ascii=False), encoding="utf-8"
    )
    return root


def yolo(root: Path) -> Path:
    """A YOLO folder of two splits, with a background and an object of a polygon."""
    pictures(root, "images/train/a.png", "images/train/b.png", "images/val/c.png")
    for name, text in {
        "train/a": "0 0.5 0.5 0.25 0.1\r\n1  .1 0.1 0.2 0.20\r\n",
        "val/c": "1 0.1 0.1 0.9 0.1 0.9 0.9\n",
    }.items():
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"labels/{name}.txt").write_bytes(text.encode())
    (root / "data.yaml").write_text(
        "# mine\npath: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
    )
    return root


VOC = """<annotation verified="yes">
\t<folder>VOC</folder> <!-- a comment -->
\t<filename>{name}.png</filename>
\t<size><width>40</width><height>20</height><depth>3</depth></size>
\t<object>
\t\t<name>cat</name><pose>Left</pose><truncated>0</truncated>
\t\t<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11.5</xmax><ymax>12</ymax></bndbox>
\t</object>
\t<object><name>d&amp;g</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object>
</annotation>
"""


def voc(root: Path) -> Path:
    """A VOC folder of three pictures, one without XML, with lists of splits and a mask."""
    pictures(
        root, "JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png", "SegmentationClass/a.png"
    )
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in "ab":
        (root / f"Annotations/{name}.xml").write_text(VOC.format(name=name))
    for split, text in {
        "train": "a\nc\n",
        "val": "b\n",
        "trainval": "a\nb\nc\n",
        "cat_train": "a  1\nc -1\n",
    }.items():
        (root / f"ImageSets/Main/{split}.txt").write_text(text)
    return root


def read(registry: Registry, name: str, source: Path) -> Dataset:
    """The dataset of a folder as the engine hands it on."""
    dataset = registry.get(Reader, name)().read(str(source), {})
    return replace(dataset, samples=Samples(dataset.samples.table.sort_by("id")))


def curated(dataset: Dataset, *gone: str, labels: Mapping[str, Any] | None = None) -> Dataset:
    """The dataset without some samples, and with other labels."""
    table = dataset.samples.table
    if labels:
        values = [
            labels.get(i, old)
            for i, old in zip(
                table.column("id").to_pylist(), table.column("label").to_pylist(), strict=True
            )
        ]
        table = table.set_column(
            table.column_names.index("label"),
            "label",
            pa.array(values, table.schema.field("label").type),
        )
    table = table.filter(pa.array([i not in gone for i in table.column("id").to_pylist()]))
    for name in ("parent", "made_by", "content"):
        table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return replace(dataset, samples=Samples(table))


def written(registry: Registry, dataset: Dataset, folder: Path, files: Any = "copy") -> Path:
    """What the format's writer makes of a dataset."""
    registry.get(Writer, dataset.format)().write(dataset, folder, files)
    return folder


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but manifest.parquet."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "manifest.parquet"
    }
