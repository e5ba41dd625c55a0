"""Folders and splits as people name them.

Read as a person would, with what is in doubt said first, and nothing merged in silence.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_formats.image_folder import ImageFolder, places

import dqpipe
from dqpipe.data import labels, splits
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Samples
from tests.faulty import small_files


def read(root: Path, *names: str) -> Dataset:
    return ImageFolder().read(small_files(root, *names), {})


def column(dataset: Dataset, name: str) -> list[Any] | None:
    return dataset.samples.table.column(name).to_pylist() if name in dataset.samples else None


@pytest.mark.parametrize(
    ("names", "label", "split", "doubt"),
    [
        (
            ["Training/cat/1.png", "Testing/dog/2.png"],
            ["dog", "cat"],
            ["Testing", "Training"],
            None,
        ),
        (
            ["train2017/1.png", "val2017/2.png", "annotations/a.json"],
            None,
            ["train2017", "val2017"],
            "'annotations'",
        ),
        (
            ["training_set/cats/1.png", "test_set/dogs/2.png"],
            ["dogs", "cats"],
            ["test_set", "training_set"],
            None,
        ),
        (["ds/cat/1.png", "ds/dog/2.png", "README.md"], ["cat", "dog"], None, "'ds'"),
        (["a/b/train/cat/1.png", "a/b/test/dog/2.png"], ["dog", "cat"], ["test", "train"], "'b'"),
        (
            ["train/cat/1.png", "val/cat/2.png", "extra/cat/3.png"],
            ["cat"] * 3,
            ["extra", "train", "val"],
            "'extra'",
        ),
        (["train/1.png", "bus/2.png"], ["bus", "train"], None, "'train'"),
        (["cat/train/1.png", "dog/test/2.png"], ["cat", "dog"], None, "'test', 'train'"),
        (["cat/1.png", "cat/2.png"], ["cat", "cat"], None, None),
        (["x/1.png", "x/y/2.png"], ["x", "x"], None, None),
        (["1.png", "2.png"], None, None, None),
    ],
)
def test_a_layout_is_read_as_a_person_would(
    tmp_path: Path,
    names: list[str],
    label: list[str] | None,
    split: list[str] | None,
    doubt: str | None,
) -> None:
    dataset = read(tmp_path, *names)
    assert (column(dataset, "label"), column(dataset, "split")) == (label, split)
    assert (
        any(doubt in said for said in dataset.layout["doubts"])
        if doubt
        else dataset.layout["doubts"] == []
    )


def test_an_empty_folder_makes_no_classes_of_splits(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "train" / "bird").mkdir(parents=True)
    dataset = read(tmp_path, "train/cat/1.png", "val/dog/2.png")
    assert (column(dataset, "label"), column(dataset, "split")) == (
        ["cat", "dog"],
        ["train", "val"],
    )
    assert dataset.layout["doubts"] == [
        "folders without a picture are no classes and no splits: 'new', 'train/bird'"
    ]


def test_a_relabelled_sample_stays_in_the_folder_around_all(tmp_path: Path) -> None:
    dataset = read(tmp_path, "ds/train/cat/1.png", "ds/test/dog/2.png")
    table = dataset.samples.table
    relabelled = table.set_column(
        table.column_names.index("label"), "label", pa.array(["dog", "dog"])
    )
    assert places(Dataset(Samples(relabelled), dataset.root, dataset.format, dataset.layout)) == [
        "ds/test/dog/2.png",
        "ds/train/dog/1.png",
    ]


@pytest.mark.parametrize(
    ("names", "turns"),
    [
        (["train ", "Test", None], [0, 2, 0]),
        (["TRAINING", "valid", "testing"], [0, 1, 2]),
        (["train2017", "val2017", "test2017"], [0, 1, 2]),
        (["0", "0", "1"], [0, 0, 1]),
        (["a", "b", "train"], [1, 1, 0]),
        (["val", "test", "test"], [1, 2, 2]),
        (["x", "x", "x"], [1, 1, 1]),
    ],
)
def test_what_a_split_is_for_has_one_answer(names: list[str | None], turns: list[int]) -> None:
    samples = Samples(
        splits.marked(pa.table({"id": ["a", "b", "c"], "split": pa.array(names, pa.string())}))
    )
    assert splits.turns(samples.table).tolist() == turns
    assert samples.training().tolist() == [turn == splits.TRAINING for turn in turns]
    assert splits.turns(samples.take([2]).table).tolist() == turns[2:]


def test_classes_that_look_like_one_are_said_and_not_merged() -> None:
    names = ["cat", "Cat", "cat ", "café", unicodedata.normalize("NFD", "café"), "dog", "C", "C++"]
    samples = Samples(
        labels.marked(pa.table({"id": [str(n) for n in range(len(names))], "label": names}))
    )
    assert len(labels.classes(samples).names) == len(names)
    assert [said.split(" are ")[0] for said in labels.doubts(samples)] == [
        "'Cat' and 'cat' and 'cat '",
        "'cafe\\u0301' and 'caf\\xe9'",
    ]


@pytest.mark.parametrize(("one", "other", "doubts"), [("0", "1", 1), ("train ", "TEST", 0)])
def test_copies_across_splits_leak_and_doubts_come_first(one: str, other: str, doubts: int) -> None:
    frame = pd.DataFrame(
        {"a": np.random.default_rng(0).normal(size=100), "split": [one] * 80 + [other] * 20}
    )
    frame.loc[90, "a"] = frame.loc[5, "a"]
    result = dqpipe.check(frame)
    assert result.findings.query("code == 'duplicate_rows.leak'")[
        ["id", "severity"]
    ].to_numpy().tolist() == [["row-0000005", "error"]]
    assert (result.findings["code"] == "dataset.doubt").sum() == doubts
    assert [
        text.startswith("In doubt: No split says")
        for text in result.record["account"]["alerts"][:1]
    ] == [True] * doubts
