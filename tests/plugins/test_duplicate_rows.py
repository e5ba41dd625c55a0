"""Equal rows of tables: which is kept, which leak, which disagree."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_validation.duplicate_rows import DuplicateRows

from dqpipe.data.tables import Facts, Samples


def found(rows: str, **columns: Any) -> tuple[dict[tuple[str, str], str | None], dict[str, float]]:
    """Claims as {(code, id): match} and figures; equal letters are rows of equal content."""
    ids = [f"r{n}" for n in range(len(rows))]
    samples = Samples(
        pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "content": pa.array(list(rows), pa.string()),
                **columns,
            }
        )
    )
    stage = DuplicateRows()
    facts = Facts(
        pa.table(
            {
                name: pa.array(values)
                for name, values in stage.relate(samples, Facts(pa.table({})), list).items()
            }
        )
    )
    claims = pd.concat(stage.detect(samples, facts))
    figures = {
        str(row["figure"]): float(str(row["value"])) for row in stage.summarise(samples, facts)
    }
    return {
        (code, i): match
        for code, i, match in zip(claims["code"], claims["id"], claims["match"], strict=True)
    }, figures


def test_the_first_of_equal_rows_is_kept() -> None:
    claims, figures = found("abaca")
    assert claims == {("exact", "r2"): "r0", ("exact", "r4"): "r0"}
    assert figures == {"copies": 0.4, "leaked": 0.0}


def test_rows_that_all_differ_have_no_claim() -> None:
    assert found("abc", label=["x", "x", "x"]) == ({}, {"copies": 0.0, "leaked": 0.0})


def test_no_rows_at_all_are_no_error() -> None:
    assert found("", label=pa.array([], pa.string())) == ({}, {})


def test_a_row_with_a_label_is_kept_before_one_without() -> None:
    assert found("aa", label=[None, "x"])[0] == {("exact", "r0"): "r1"}


def test_equal_rows_with_different_labels_point_at_each_other() -> None:
    claims, _ = found("aaab", label=["x", "y", "x", "y"])
    assert claims == {
        ("exact", "r1"): "r0",
        ("exact", "r2"): "r0",
        ("label_conflict", "r0"): "r1",
        ("label_conflict", "r1"): "r0",
        ("label_conflict", "r2"): "r1",
    }


def test_a_conflict_of_labels_of_equal_rows_is_certain() -> None:
    table = {"id": ["a", "b"], "content": ["x", "x"], "label": ["cat", "dog"]}
    claims = pd.concat(
        DuplicateRows().detect(Samples(pa.table(table)), Facts(pa.table({"group": ["a"] * 2})))
    )
    conflict = claims[claims.code == "label_conflict"]
    assert conflict[["id", "confidence"]].to_numpy().tolist() == [["a", 1.0], ["b", 1.0]]


def test_labels_that_are_lists_are_compared_as_a_whole() -> None:
    claims, _ = found("aa", label=[["x", "y"], ["x", "y"]])
    assert claims == {("exact", "r1"): "r0"}


def test_two_measurements_of_equal_rows_are_no_copies() -> None:
    claims, figures = found("aaa", label=[1.5, 2.5, 1.5])
    assert claims == {("exact", "r2"): "r0"}
    assert figures["copies"] == pytest.approx(1 / 3)


def test_a_training_copy_of_an_evaluation_row_leaks_and_the_test_row_has_no_claim() -> None:
    claims, figures = found("aaabb", split=["train", "val", "test", "train", "train"])
    assert claims == {("leak", "r0"): "r2", ("leak", "r1"): "r2", ("exact", "r4"): "r3"}
    assert figures["leaked"] == 0.4


def test_copies_within_the_test_split_are_told_but_not_called_a_leak() -> None:
    assert found("aa", split=["test", "test"])[0] == {("exact", "r1"): "r0"}


def test_a_leak_into_training_is_an_error_and_one_into_validation_a_warning() -> None:
    samples = Samples(
        pa.table({"id": ["a", "b", "c"], "content": ["x"] * 3, "split": ["train", "val", "test"]})
    )
    leaks = DuplicateRows().detect(samples, Facts(pa.table({"group": ["a"] * 3})))[0]
    assert leaks[["id", "severity"]].to_numpy().tolist() == [["b", "warning"], ["a", "error"]]
