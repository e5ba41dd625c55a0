"""What a label is has one answer, whatever the type of the column and whoever asks."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from dqpipe_curation.augment import Augmentation
from dqpipe_curation.policy import classes as of_policy
from dqpipe_formats.files import Files
from dqpipe_labels.label_noise import LabelNoise

import dqpipe
from dqpipe.data import labels
from dqpipe.data.tables import Decisions, Facts, Findings, Samples, table_of
from dqpipe.errors import DatasetError
from dqpipe.results import ledger_query
from dqpipe.results.report import counts
from dqpipe.results.versions import Version
from dqpipe.review.exchange.queue import Seen
from dqpipe.review.sample_view import SampleView

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
def test_the_kind_and_the_classes_of_every_type(
    column: pa.Array, kind: str, names: tuple[str, ...]
) -> None:
    samples = Samples(
        labels.marked(
            pa.table(
                {
                    "id": pa.array([f"{i:03d}" for i in range(len(column))], pa.string()),
                    "label": column,
                }
            )
        )
    )
    assert (labels.kind_in(samples), labels.classes(samples).names) == (kind, names)
    assert all(
        (code < 0) == (value.as_py() is None)
        for code, value in zip(labels.classes(samples).codes, samples.table["label"], strict=True)
        if names
    )


def test_some_of_the_samples_have_the_kind_that_all_have() -> None:
    table = labels.marked(pa.table({"id": [str(i) for i in range(10)], "label": [7, 9] * 5}))
    few = Samples(table.slice(0, 3))
    assert labels.kind_of(few.table["label"]) == "number"
    assert (labels.kind_in(few), labels.classes(few).names) == ("class", ("7", "9"))


@pytest.mark.parametrize(
    "column", [[0.0, 1.0, 1.0, NAN] * 10, ["x", "y", "y", ""] * 10, ["x", "y", "y", None] * 10]
)
def test_all_who_ask_see_the_same_two_classes(column: list[Any]) -> None:
    ids = [f"{i:03d}" for i in range(40)]
    samples = Samples(labels.marked(pa.table({"id": ids, "label": column})))
    facts = Facts(pa.table({"media.ok": [True] * 40, "media.error": pa.nulls(40, pa.string())}))
    counted = {row["key"] for row in Files().summarise(samples, facts) if row["scope"] == "class"}
    kept = Decisions(
        table_of(Decisions.columns, [{"id": i, "decision": "keep", "because": []} for i in ids])
    )
    joined = counts.Joined.of(samples, Findings(table_of(Findings.columns, [])), kept, None)
    known = [row["name"] for row in counts.by_class(joined)["rows"] if row["name"] is not None]
    made = Augmentation(target="largest").plan(
        samples, np.ones(40, dtype=bool), lambda _, copy: copy
    )
    assert len(counted) == len(known) == 2
    assert set(known) == counted
    assert sorted(np.bincount(of_policy(samples)).tolist()) == [10, 10, 20]
    assert {recipe.parent for recipe in made} == set(ids[::4])
    assert LabelNoise().kind(samples) == "class"
    assert Augmentation().objection(samples) is None


def test_classes_that_differ_in_what_nobody_sees_are_asked_about() -> None:
    samples = Samples(
        pa.table({"id": list("abcd"), "label": ["cat", "cat\u200b", "\u202ecat", "dog"]})
    )
    assert [said.split(" are ")[0] for said in labels.doubts(samples)] == [
        "'cat' and 'cat\\u200b' and '\\u202ecat'"
    ]


CASES: dict[str, tuple[list[Any], str | None, str, list[str]]] = {
    "years": ([1985 + i % 35 for i in range(70)], None, "number", []),
    "years, said to be classes": (
        [1985 + i % 5 * 7 for i in range(70)],
        "class",
        "class",
        ["1985", "1992", "1999", "2006", "2013"],
    ),
    "ids from 0 to 99": (list(range(100)), None, "number", []),
    "codes from 0 to 4": ([i % 5 for i in range(70)], None, "class", list("01234")),
    "ratings": ([0.5 + i % 10 / 2 for i in range(70)], None, "number", []),
    "ratings, said to be classes": (
        [0.5 + i % 4 / 2 for i in range(70)],
        "class",
        "class",
        ["0.5", "1.0", "1.5", "2.0"],
    ),
    "codes, said to be numbers": ([i % 5 for i in range(70)], "number", "number", []),
    "lists": (
        [[["a"], ["a", "b", "b"], ["", "c"], []][i % 4] for i in range(70)],
        None,
        "tags",
        list("abc"),
    ),
    "sets": (
        [[{"a"}, {"b", "a"}, {"c"}, set()][i % 4] for i in range(70)],
        None,
        "tags",
        list("abc"),
    ),
    "lists of codes": ([[1, 2], [2, 3]] * 35, None, "tags", list("123")),
    "names and nothing": (
        [["x", "y", None, NAN, "", " "][i % 6] for i in range(72)],
        None,
        "class",
        ["x", "y"],
    ),
    "codes and nothing": (
        [[0.0, 1.0, NAN][i % 3] for i in range(72)],
        None,
        "class",
        ["0.0", "1.0"],
    ),
    "truth": ([True, False] * 35, None, "class", ["false", "true"]),
    "bytes": ([b"x", b"\xff"] * 35, None, "class", ["\\xff", "x"]),
    "numpy's": ([np.int64(3), np.int64(4)] * 35, None, "class", ["3", "4"]),
    "numpy's text": ([np.str_("x"), np.str_("y")] * 35, None, "class", ["x", "y"]),
    "texts of numbers": (["10", "2", "1"] * 24, None, "class", ["1", "10", "2"]),
    "names, said to be none": (["x", "y"] * 35, "none", "none", []),
}


JUDGED = (
    "years",
    "ratings, said to be classes",
    "codes, said to be numbers",
    "lists",
    "names and nothing",
    "bytes",
)
"""Cases whose labels are judged as well, which takes most of the time."""


@pytest.mark.parametrize("case", CASES, ids=CASES)
def test_every_part_of_a_run_says_the_same_of_the_classes(case: str, tmp_path: Path) -> None:
    """One run over a table and a second one without what the first class had: stages, figures,
    gates, report, policy, augmentation, drift, ledger, review and what is handed over name the same
    classes.
    """
    values, said, kind, names = CASES[case]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "key": [f"{i:03d}" for i in range(len(values))],
            "x": rng.normal(size=len(values)),
            "label": pd.Series(values, dtype=object),
        }
    )
    noise = (
        []
        if case not in JUDGED
        else [{"label_noise": {"vectors": ["x"], "folds": 2, "repeats": 1}}]
    )
    config = {
        "dataset": {"roles": {"id": "key"}} | ({"labels": said} if said else {}),
        "stages": ["duplicate_rows", {"drift": {"copies": None, "least": 5}}, *noise],
        "gates": ["classes > 1000"],
        "outputs": {"path": str(tmp_path / "out"), "files": "manifest"},
    }
    pipeline = dqpipe.Pipeline.from_text(yaml.safe_dump(config))
    result = pipeline.run("serial", source=frame)
    version = Version.open(tmp_path / "out")
    samples, figures = version.samples, result.figures
    assert labels.kind_in(samples) == kind
    assert sorted(set(labels.members(samples).names.drop_null().to_pylist())) == sorted(names)
    # figures of the stages
    by_class = figures[(figures["scope"] == "class") & (figures["of"] != "curated")]
    readable = Facts(
        pa.table(
            {"media.ok": [True] * len(samples), "media.error": pa.nulls(len(samples), pa.string())}
        )
    )
    assert sorted(
        {row["key"] for row in Files().summarise(samples, readable) if row["scope"] == "class"}
    ) == sorted(names)
    judged = {
        key.strip("→")
        for key in by_class[by_class["figure"].str.startswith("label_noise")]["key"]
        if "→" not in key.strip("→")
    }
    assert judged <= set(names)
    assert kind == "none" or LabelNoise(vectors=("x",)).kind(samples) == kind
    # report, account, gates
    told = result.record["classes"]
    assert sorted(row["name"] for row in told["rows"] if row["name"] is not None) == sorted(names)
    assert told["kind"] == {"tags": "classes"}.get(kind, kind)
    assert result.gates[0]["value"] == len(names)
    # policy, augmentation
    assert len(set(of_policy(samples)[labels.classes(samples).codes >= 0])) == (
        len(names) if kind == "class" else 0
    )
    assert (Augmentation().objection(samples) is None) == (kind == "class")
    # ledger, review, what is handed over
    for name in names:
        rows = ledger_query.rows(version, ledger_query.Question(classes=[name]))
        carry = {
            samples.ids[row]
            for row, own in zip(*labels.members(samples), strict=True)
            if own.as_py() == name
        }
        assert set(rows.column("id").to_pylist()) == carry
    seen = Seen(version)
    assert set(seen.classes) == (set(names) if seen.kind in ("classes", "tags") else set())
    sight = SampleView(version, ())
    assert (
        set(sight.classes) == set(names)
        if kind == "class"
        else (kind == "tags") == bool(sight.classes)
    )
    # drift, against a set without the samples of one class
    keep = np.ones(len(samples), dtype=bool)
    keep[
        [row for row, own in zip(*labels.members(samples), strict=True) if own.as_py() in names[:1]]
    ] = False
    left = set(labels.members(samples.take(keep)).names.to_pylist())
    again = pipeline.check("serial", source=frame[np.isin(frame["key"], samples.ids[keep])])
    vanished = again.findings[again.findings["code"] == "drift.vanished_label"]["part"].tolist()
    assert vanished == [name for name in names if name not in left]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["a", "b"], "number"),
        (["a", "b"], "tags"),
        ([["a"], ["b"]], "class"),
        ([1, 2], "objects"),
        ([1, 2], "mask"),
    ],
)
def test_labels_that_cannot_be_what_they_are_said_to_be_are_refused(
    column: list[Any], kind: Any
) -> None:
    with pytest.raises(DatasetError, match=f"labels: {kind}, but the labels are"):
        dqpipe.check(pd.DataFrame({"x": [1.0, 2.0], "label": column}), labels=kind)


def test_numbers_are_numbers_whatever_holds_them() -> None:
    for column, numbers in [
        (pa.array([1, None, 3]), [1, NAN, 3]),
        (pa.array([1.5, NAN, None]), [1.5, NAN, NAN]),
        (pa.array([decimal.Decimal("1.50"), None]), [1.5, NAN]),
        (pa.array([dt.date(1970, 1, 3), None]), [2, NAN]),
    ]:
        found = labels.numbers(
            Samples(pa.table({"id": [str(i) for i in range(len(column))], "label": column}))
        )
        np.testing.assert_array_equal(found, numbers)


def test_a_check_counts_whole_numbers_under_their_new_label() -> None:
    samples = Samples(labels.marked(pa.table({"id": list("abcd"), "label": [0, 1, 1, 1]}), "class"))
    rows = [
        {
            "id": i,
            "decision": "relabel" if i == "d" else "keep",
            "new_label": "0" if i == "d" else None,
            "because": [],
        }
        for i in "abcd"
    ]
    joined = counts.Joined.of(
        samples,
        Findings(table_of(Findings.columns, [])),
        Decisions(table_of(Decisions.columns, rows)),
        None,
    )
    assert {row["name"]: row["after"] for row in counts.by_class(joined)["rows"]} == {
        "0": 2,
        "1": 2,
    }
