"""The stage that claims unreadable files and counts samples."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from dqpipe_formats.files import Files

from dqpipe.data.tables import Facts, Figures, Findings, Samples, table_of

ERRORS = [None, "the file is empty (0 bytes)", None, "no image: text"]


def given(**columns: Any) -> tuple[Samples, Facts]:
    """Four samples, two of them unreadable."""
    ids = pa.array(["a", "b", "c", "d"])
    facts = {
        "media.ok": pa.array([error is None for error in ERRORS]),
        "media.error": pa.array(ERRORS),
        "media.missing": pa.nulls(4, pa.float64()),
    }
    return Samples(pa.table({"id": ids, **columns})), Facts(pa.table(facts))


def figures(**columns: Any) -> dict[tuple[str, str, str | None], float]:
    rows = Figures(
        table_of(Figures.columns, Files().summarise(*given(**columns)))
    ).table.to_pylist()
    return {(row["figure"], row["scope"], row["key"]): row["value"] for row in rows}


def test_unreadable_files_are_claimed_with_the_reason() -> None:
    found = Findings(
        table_of(Findings.columns, [f.assign(severity="error") for f in Files().detect(*given())])
    ).table.to_pylist()
    assert [(row["id"], row["code"], row["confidence"], row["detail"]) for row in found] == [
        ("b", "unreadable", 1.0, "the file is empty (0 bytes)"),
        ("d", "unreadable", 1.0, "no image: text"),
    ]


def test_samples_and_unreadable_ones_are_counted_per_class_and_split() -> None:
    assert figures(
        label=pa.array(["cat", "cat", "dog", None]),
        split=pa.array(["train", "train", "test", "test"]),
    ) == {
        ("samples", "set", None): 4,
        ("unreadable", "set", None): 0.5,
        ("samples", "class", "cat"): 2,
        ("unreadable", "class", "cat"): 0.5,
        ("samples", "class", "dog"): 1,
        ("unreadable", "class", "dog"): 0,
        ("samples", "split", "train"): 2,
        ("unreadable", "split", "train"): 0.5,
        ("samples", "split", "test"): 2,
        ("unreadable", "split", "test"): 0.5,
    }


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([1, 1, 2, 2]), {"1": 2, "2": 2}),
        (pa.array([True, None, True, False]), {"false": 1, "true": 2}),
        (pa.array([["x", "y"], ["x", "x"], [], None]), {"x": 2, "y": 1}),
        (pa.array([0.5, 1.5, None, 2.5]), {}),
        (pa.array([{"box": 1}, None, None, None]), {}),
    ],
)
def test_every_kind_of_label_has_the_classes_it_has(
    labels: pa.Array, classes: dict[str, int]
) -> None:
    counted = figures(label=labels)
    assert {
        str(key): count
        for (name, scope, key), count in counted.items()
        if (name, scope) == ("samples", "class")
    } == classes


def test_nothing_is_claimed_where_all_is_read() -> None:
    samples = Samples(pa.table({"id": ["a"]}))
    facts = Facts(
        pa.table(
            {
                "media.ok": [True],
                "media.error": pa.array([None], pa.string()),
                "media.missing": [0.0],
            }
        )
    )
    assert [len(frame) for frame in Files().detect(samples, facts)] == [0, 0]
