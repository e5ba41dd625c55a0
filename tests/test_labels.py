"""What a label is has one answer, whatever the type of the column and whoever asks."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_curation.augment import Augmentation
from dqpipe_curation.policy import classes as of_policy
from dqpipe_formats.files import Files
from dqpipe_labels.label_noise import LabelNoise

from dqpipe.data import labels
from dqpipe.data.tables import Decisions, Facts, Findings, Samples, table_of
from dqpipe.results.report import counts

NAN = float("nan")
DAY = dt.date(2020, 1, 1)


@pytest.mark.parametrize(
    ("column", "kind", "names"),
    [
        (pa.array(["a", "b", "", " ", None]), "class", ("a", "b")),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "class", ("a", "b")),
        (pa.array([10, 2, 0, None] * 5), "class", ("0", "2", "10")),
        (pa.array([0.0, 1.0, NAN, None] * 5), "class", ("0.0", "1.0")),
        (pa.array(np.array([0, 1] * 5, np.float16)), "class", ("0.0", "1.0")),
        (pa.array([2**60 + 1, 2**60] * 5), "class", (str(2**60), str(2**60 + 1))),
        (pa.array([True, None, False]), "class", ("false", "true")),
        (pa.array([b"x", b"\xff", b"x"]), "class", ("x", "\\xff")),
        (pa.array([DAY] * 5), "class", ("2020-01-01",)),
        (pa.array([1990, 2001, 2020, 1985]), "number", ()),
        (pa.array(range(100)), "number", ()),
        (pa.array([0.5, 1.5, 2.0, NAN] * 20), "number", ()),
        (pa.array([decimal.Decimal("1.50")] * 9), "number", ()),
        (pa.array([DAY, dt.date(2020, 1, 2)]), "number", ()),
        (pa.array([["a"], [], None]), "tags", ()),
        (pa.array([["a", "b"], None], pa.list_(pa.string(), 2)), "tags", ()),
        (pa.array([{"box": 1}]), "objects", ()),
        (pa.array([[{"box": 1}], []]), "objects", ()),
        (pa.array([None, None]), "none", ()),
        (pa.array(["", None]), "none", ()),
        (pa.array([NAN]), "none", ()),
        (pa.array([], pa.string()), "none", ()),
    ],
)
def test_the_kind_and_the_classes_of_every_type(column: pa.Array, kind: str, names: tuple[str, ...]) -> None:
    samples = Samples(labels.marked(pa.table({"id": pa.array([f"{i:03d}" for i in range(len(column))], pa.string()), "label": column})))
    assert (labels.kind_in(samples), labels.classes(samples).names) == (kind, names)
    assert all((code < 0) == (value.as_py() is None) for code, value in zip(labels.classes(samples).codes, samples.table["label"], strict=True) if names)


def test_some_of_the_samples_have_the_kind_that_all_have() -> None:
    table = labels.marked(pa.table({"id": [str(i) for i in range(10)], "label": [7, 9] * 5}))
    few = Samples(table.slice(0, 3))
    assert labels.kind_of(few.table["label"]) == "number"
    assert (labels.kind_in(few), labels.classes(few).names) == ("class", ("7", "9"))


@pytest.mark.parametrize("column", [[0.0, 1.0, 1.0, NAN] * 10, ["x", "y", "y", ""] * 10, ["x", "y", "y", None] * 10])
def test_all_who_ask_see_the_same_two_classes(column: list[Any]) -> None:
    ids = [f"{i:03d}" for i in range(40)]
    samples = Samples(labels.marked(pa.table({"id": ids, "label": column})))
    facts = Facts(pa.table({"media.ok": [True] * 40, "media.error": pa.nulls(40, pa.string())}))
    counted = {row["key"] for row in Files().summarise(samples, facts) if row["scope"] == "class"}
    kept = Decisions(table_of(Decisions.columns, [{"id": i, "decision": "keep", "because": []} for i in ids]))
    joined = counts.Joined.of(samples, Findings(table_of(Findings.columns, [])), kept, None)
    known = [row["name"] for row in counts.by_class(joined)["rows"] if row["name"] is not None]
    made = Augmentation(target="largest").plan(samples, np.ones(40, dtype=bool), lambda _, copy: copy)
    assert len(counted) == len(known) == 2
    assert set(known) == counted
    assert sorted(np.bincount(of_policy(samples)).tolist()) == [10, 10, 20]
    assert {recipe.parent for recipe in made} == set(ids[::4])
    assert LabelNoise().kind(samples) == "class"
    assert Augmentation().objection(samples) is None


def test_classes_that_differ_in_what_nobody_sees_are_asked_about() -> None:
    samples = Samples(pa.table({"id": list("abcd"), "label": ["cat", "cat\u200b", "\u202ecat", "dog"]}))
    assert [said.split(" are ")[0] for said in labels.doubts(samples)] == ["'cat' and 'cat\\u200b' and '\\u202ecat'"]
