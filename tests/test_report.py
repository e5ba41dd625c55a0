"""The record and the account.

Numbers that add up, sentences that are true, a size that does not grow with the data.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dqpipe.data.objects import LABELS, an_object
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples, claim, figure, table_of
from dqpipe.data.wording import many
from dqpipe.results.report import account, plain, record
from dqpipe.results.report.counts import Joined
from dqpipe.results.report.examples import texts
from dqpipe.results.report.sentences import expected, some

RUN = {
    "id": "r1",
    "seed": 7,
    "stages": [
        {
            "name": "duplicates",
            "summary": "Copies.",
            "claims": {
                "duplicates.near": {"severity": "warning", "help": "Nearly the same."},
                "duplicates.exact": {"severity": "error", "help": "The same."},
            },
        },
        {
            "name": "label_noise",
            "summary": "Labels.",
            "claims": {
                "likely_wrong": {"severity": "warning", "help": "The label is likely wrong."}
            },
        },
    ],
}


def made(
    samples: dict[str, Any],
    found: list[Any],
    decided: dict[str, tuple[str, str | None, list[str]]],
    **given: Any,
) -> dict[str, Any]:
    """The record of a small result; `decided` holds the decisions other than keep, by id."""
    table = Samples(pa.table(samples))
    rows = [
        {
            "id": i,
            **dict(
                zip(
                    ("decision", "new_label", "because"),
                    decided.get(i, ("keep", None, [])),
                    strict=True,
                )
            ),
        }
        for i in table.ids
    ]
    decisions = Decisions(pa.Table.from_pylist(rows, pa.schema(list(Decisions.columns.items()))))
    facts, figures = (
        Facts(pa.table({"q.x": np.arange(len(table), dtype=float)})),
        Figures(table_of(Figures.columns, [])),
    )
    defaults = {"facts": facts, "figures": figures, "curated": None, "run": RUN}
    return record(
        samples=table,
        findings=Findings(table_of(Findings.columns, found)),
        decisions=decisions,
        **{**defaults, **given},
    )


def small() -> dict[str, Any]:
    """Six samples in two classes: a copy dropped, a label changed, one to look at, one made."""
    samples = {"id": list("abcdef"), "label": ["cat", "cat", "cat", "cat", "dog", "dog"]}
    found = [
        claim(
            "duplicates.near",
            ["b"],
            severity="warning",
            match="a",
            value=0.97,
            threshold=0.9,
            confidence=0.97,
        ),
        claim(
            "label_noise.likely_wrong",
            ["c", "d"],
            severity="warning",
            suggestion="dog",
            confidence=[0.99, 0.6],
        ),
        claim("duplicates.near", ["f"], severity="info", match="e", value=0.91, threshold=0.9),
    ]
    doubt = ["label_noise.likely_wrong"]
    decided = {
        "b": ("drop", None, ["duplicates.near"]),
        "c": ("relabel", "dog", doubt),
        "d": ("review", None, doubt),
    }
    curated = {
        "id": ["a", "c", "d", "e", "f", "f.augment0"],
        "label": ["cat", "dog", "cat", "dog", "dog", "dog"],
        "parent": pa.array([None] * 5 + ["f"]),
    }
    return made(samples, found, decided, curated=Samples(pa.table(curated)))


def test_the_account_says_what_was_found_done_and_why_and_what_to_do_next() -> None:
    expected = [
        "6 samples in 2 classes were read; 3 carry a warning or an error.",
        (
            "Found most often: near (duplicates.near) on 2 and likely wrong "
            "(label_noise.likely_wrong) on 2."
        ),
        "1 sample was dropped for near.",
        "1 sample was relabelled for likely wrong.",
        "1 sample needs review for likely wrong.",
        "1 new sample was made by augmentation for dog (1).",
        "The curated set holds 6 samples in 2 classes: 5 of the originals and 1 new.",
        "The class that lost the largest share is cat: 1 of 4 (25 %).",
        (
            "Look at the sample that needs review: report.html shows the strongest findings, "
            "ledger.parquet has all."
        ),
        "Check the new label before you train: a suggestion can be wrong.",
        "Ask why a sample is where it is: dqpipe why b",
    ]
    assert account(small()) == expected


def suggested(decided: str) -> dict[str, Any]:
    """Four claims with the chance that the suggestion is right, one of them in the test split.

    The first two are decided so.
    """
    samples = {
        "id": list("abcd"),
        "label": ["cat"] * 4,
        "split": ["train", "train", "train", "test"],
    }
    chances = [0.95, 0.93, 0.6, 0.99]
    found = claim(
        "label_noise.likely_wrong",
        list("abcd"),
        severity="warning",
        suggestion="dog",
        confidence=0.99,
        suggestion_confidence=chances,
    )
    doubt = ["label_noise.likely_wrong"]
    new = "dog" if decided == "relabel" else None
    return made(
        samples,
        [found],
        {i: (decided, new, doubt) if i in "ab" else ("review", None, doubt) for i in "abcd"},
    )


def test_the_account_says_how_many_labels_could_be_changed_and_how_many_of_them_right() -> None:
    said = suggested("review")["account"]["said"]
    expected = (
        "policy: {relabel: {at_least: 0.9}} would change 2 of those under review, 94 % of them are "
        "expected to be right then."
    )
    assert f"No label was changed; {expected}" in said


def test_the_account_says_how_many_changed_labels_are_expected_to_be_right() -> None:
    (said,) = [
        one
        for one in suggested("relabel")["account"]["said"]
        if one.startswith("2 samples were relabelled")
    ]
    assert said.endswith("94 % of the new labels that a stage suggested are expected to be right.")


def test_what_a_stage_cannot_judge_of_the_whole_set_is_said_first() -> None:
    detail = (
        "the vectors do not tell these classes apart well enough to judge labels: 10 % of 6 labels "
        "are foretold"
    )
    told = made(
        {"id": ["a"], "label": ["x"]},
        [claim("label_noise.unjudged", [None], severity="info", detail=detail)],
        {},
    )
    assert told["account"]["said"][0] == f"label_noise: {detail}."


def test_classes_before_and_after_balance() -> None:
    rows = {row["name"]: row for row in small()["classes"]["rows"]}
    assert [
        (name, row["before"], row["dropped"], row["away"], row["into"], row["added"], row["after"])
        for name, row in rows.items()
    ] == [
        ("cat", 4, 1, 1, 0, 0, 2),
        ("dog", 2, 0, 0, 1, 1, 4),
    ]


def test_counts_name_what_was_looked_for_and_not_found() -> None:
    stages = small()["counts"]["stages"]
    assert [
        (row["code"], row["samples"], row["decisions"]["drop"], row["help"])
        for stage in stages
        for row in stage["codes"]
    ] == [
        ("duplicates.near", 2, 1, "Nearly the same."),
        ("duplicates.exact", 0, 0, "The same."),
        ("label_noise.likely_wrong", 2, 0, "The label is likely wrong."),
    ]


def test_an_example_tells_what_its_sample_is_compared_with_and_what_became_of_it() -> None:
    near = small()["examples"]["duplicates.near"][0]
    assert {
        key: near[key]
        for key in (
            "id",
            "label",
            "match",
            "match_label",
            "value",
            "threshold",
            "confidence",
            "decision",
            "because",
        )
    } == {
        "id": "b",
        "label": "cat",
        "match": "a",
        "match_label": "cat",
        "value": 0.97,
        "threshold": 0.9,
        "confidence": 0.97,
        "decision": "drop",
        "because": ["duplicates.near"],
    }


def test_the_strongest_examples_come_first_and_each_sample_once() -> None:
    ids = [f"{n:02}" for n in range(30)]
    found = [
        claim("s.far", ids[:20], severity="warning", value=np.arange(20.0), threshold=10.0),
        claim("s.far", ids[20:], severity="warning", confidence=np.linspace(0.1, 1, 10)),
        claim(
            "s.far",
            ["29", "29"],
            severity="warning",
            confidence=[0.9, 0.95],
            part=["left", "right"],
        ),
    ]
    shown = made({"id": ids}, found, {})["examples"]["s.far"]
    assert [row["id"] for row in shown] == [
        "29",
        "28",
        "27",
        "26",
        "25",
        "24",
        "23",
        "22",
        "21",
        "20",
        "00",
        "01",
    ]


def test_sound_peers_of_the_given_and_the_suggested_class_stand_beside_a_doubted_label() -> None:
    ids = [f"{n:02}" for n in range(20)]
    samples = {"id": ids, "label": ["cat"] * 10 + ["dog"] * 10}
    told = made(
        samples,
        [
            claim(
                "label_noise.likely_wrong",
                ["03"],
                severity="warning",
                suggestion="dog",
                confidence=0.9,
            )
        ],
        {},
    )
    assert told["peers"] == {"cat": ["02", "05", "07"], "dog": ["12", "14", "16"]}
    assert told["suggestions"]["pairs"] == [{"from": "cat", "to": "dog", "samples": 1}]


def test_limits_are_drawn_where_a_claim_judged_a_fact() -> None:
    ids = [f"{n:03}" for n in range(200)]
    facts = Facts(
        pa.table(
            {
                "q.sharpness": np.linspace(0, 10, 200, dtype=np.float32),
                "q.width": np.full(200, 32),
                "q.mean": np.linspace(5, 6, 200),
            }
        )
    )
    low = facts["q.sharpness"] < 1.5
    found = [
        claim(
            "q.blurred",
            np.array(ids)[low].tolist(),
            severity="warning",
            value=facts["q.sharpness"][low],
            threshold=1.5,
        )
    ]
    told = {row["fact"]: row for row in made({"id": ids}, found, {}, facts=facts)["distributions"]}
    assert {name: row["limits"] for name, row in told.items()} == {
        "q.sharpness": [{"code": "q.blurred", "threshold": 1.5}],
        "q.mean": [],
    }
    assert all(sum(row["counts"]) + row["below"] + row["above"] == 200 for row in told.values())


@pytest.mark.filterwarnings("error")
def test_numbers_that_differ_by_rounding_alone_have_no_distribution() -> None:
    facts = Facts(
        pa.table(
            {
                "q.same": [1.0, np.nextafter(1.0, 2), 1.0],
                "q.huge": [-1.7e308, 0.0, 1.7e308],
                "q.size": [1.0, 2.0, 3.0],
            }
        )
    )
    assert [
        row["fact"] for row in made({"id": ["a", "b", "c"]}, [], {}, facts=facts)["distributions"]
    ] == ["q.size"]


def test_failures_and_failed_gates_stand_on_top() -> None:
    run = {
        **RUN,
        "failures": [
            {"stage": "embeddings", "samples": ["a", "b"], "reason": "RuntimeError: no area"}
        ],
    }
    gates = [
        {
            "gate": "dropped > 1%",
            "passed": False,
            "value": 2.0,
            "said": "dropped is 2%; it must not be > 1%",
        }
    ]
    told = made({"id": ["a", "b", "c"]}, [], {}, run=run, gates=gates)
    assert account(told)[:3] == [
        "Stage embeddings failed on 2 samples (for example a, b): RuntimeError: no area.",
        "Gate failed: dropped > 1%. Dropped is 2%; it must not be > 1%.",
        "No curated set was published because of this; report, ledger and run.json were written.",
    ]
    assert "A curated set would hold 3 samples." in account(told)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ({"id": ["a"], "label": ["x"]}, "1 sample in 1 class was read"),
        ({"id": ["a", "b"], "label": ["x", None]}, "2 samples in 1 class were read"),
        ({"id": ["a", "b"], "label": [["x", "y"], ["y"]]}, "2 samples in 2 classes were read"),
        ({"id": ["a", "b"], "label": [0.5, 1.5]}, "2 samples were read"),
        ({"id": ["a", "b", "c", "d"], "label": [0, 1, 0, 1]}, "4 samples in 2 classes were read"),
        ({"id": ["a", "b"], "label": [1990, 2020]}, "2 samples were read"),
        ({"id": ["a", "b"], "label": pa.nulls(2, pa.string())}, "2 samples were read"),
        ({"id": ["a"], "label": [{"box": [1, 2]}]}, "1 sample was read"),
        (
            {"id": ["a", "b"], "label": ["x", "y"], "split": ["train", "test"]},
            "2 samples in 2 classes and 2 splits were read",
        ),
        ({"id": pa.array([], pa.string())}, "0 samples were read"),
    ],
)
def test_any_kind_of_label_can_be_told(samples: dict[str, Any], expected: str) -> None:
    told = made(samples, [], {}, facts=Facts(pa.table({"q.x": np.zeros(len(samples["id"]))})))
    bare = " 1 sample has no label." if samples.get("label") == ["x", None] else ""
    assert told["account"]["said"][0] == (
        f"{expected}; none carries a warning or an error that duplicates and label_noise look "
        f"for.{bare}"
    )


def test_a_multi_label_relabelling_moves_between_its_classes() -> None:
    samples = {"id": ["a", "b"], "label": [["x", "y"], ["y"]]}
    curated = Samples(
        pa.table(
            {"id": ["a", "b"], "label": [["x", "z"], ["y"]], "parent": pa.nulls(2, pa.string())}
        )
    )
    told = made(samples, [], {"a": ("relabel", '["x", "z"]', ["l.w"])}, curated=curated)
    assert {row["name"]: (row["before"], row["after"]) for row in told["classes"]["rows"]} == {
        "x": (1, 1),
        "y": (2, 1),
        "z": (0, 1),
    }


def test_a_class_that_came_to_nothing_is_named() -> None:
    told = made({"id": ["a", "b"], "label": ["x", "y"]}, [], {"b": ("drop", None, [])})
    assert "1 class has no sample left: y." in account(told)
    assert "Decide whether the class without samples should go, or needs new data." in account(told)


def test_what_the_policy_took_back_is_said() -> None:
    found = [claim("d.near", ["a", "b"], severity="warning")]
    decided = {"a": ("drop", None, ["d.near"]), "b": ("review", None, ["d.near", "policy.ceiling"])}
    told = made(
        {"id": ["a", "b"]},
        found,
        decided,
        run={**RUN, "policy_reasons": {"policy.ceiling": "it was enough"}},
    )
    assert (
        "The policy did less than the issues asked for: on 1 sample since it was enough "
        "(policy.ceiling)."
    ) in account(told)
    assert (
        "The policy did less than the issues asked for: on 1 sample (policy.ceiling)."
        in account(made({"id": ["a", "b"]}, found, decided))
    )


def test_the_question_why_names_the_output_and_quotes_the_sample() -> None:
    found = [claim("d.near", ["a b.png"], severity="warning")]
    told = made(
        {"id": ["a b.png"]},
        found,
        {"a b.png": ("drop", None, ["d.near"])},
        run={**RUN, "out": "/data/my out"},
    )
    assert (
        account(told)[-1]
        == "Ask why a sample is where it is: dqpipe why 'a b.png' --out '/data/my out'"
    )


def test_figures_stand_raw_beside_curated_and_those_that_changed_most_are_kept() -> None:
    sizes = [
        (of, times * key, f"{key:03}")
        for of, times in (("raw", 1.0), ("curated", 2.0))
        for key in range(300)
    ]
    rows = [
        {**figure("d.size", value, scope="class", key=key), "of": of} for of, value, key in sizes
    ]
    rows.append({**figure("d.score", float("nan")), "of": "raw"})
    score, size = made({"id": ["a"]}, [], {}, figures=Figures(table_of(Figures.columns, rows)))[
        "figures"
    ]
    assert (score["figure"], score["rows"][0]["raw"]["value"], score["rows"][0]["curated"]) == (
        "d.score",
        None,
        None,
    )
    assert (size["total"], len(size["rows"]), size["rows"][0]["key"]) == (300, 100, "200")
    assert (size["rows"][0]["raw"]["value"], size["rows"][0]["curated"]["value"]) == (200.0, 400.0)


def many_samples(count: int, classes: int) -> dict[str, Any]:
    """A result with many classes, in which every tenth sample is dropped."""
    ids = [f"{n:06}" for n in range(count)]
    found = [
        claim(
            "duplicates.near",
            ids[::10],
            severity="warning",
            match=ids[1],
            confidence=0.9,
            detail="x" * 5000,
        )
    ]
    samples = {"id": ids, "label": [f"class {n % classes}" for n in range(count)], "group": ids}
    facts = Facts(
        pa.table({f"q.{n}": np.random.default_rng(n).normal(size=count) for n in range(5)})
    )
    return made(
        samples, found, {i: ("drop", None, ["duplicates.near"]) for i in ids[::10]}, facts=facts
    )


def test_the_record_does_not_grow_with_the_dataset() -> None:
    sizes = [
        len(json.dumps(many_samples(count, classes), allow_nan=False))
        for count, classes in ((3_000, 1_000), (30_000, 10_000))
    ]
    assert sizes[1] < 1.1 * sizes[0] < 1_000_000
    told = many_samples(3_000, 1_000)["classes"]
    assert told["total"] == 1_000
    assert sum(row["before"] for row in told["rows"]) + told["others"]["before"] == 3_000


def test_the_order_of_the_decisions_and_findings_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{n:03}" for n in range(100)]
    samples = Samples(pa.table({"id": ids, "label": [f"c{n % 3}" for n in range(100)]}))
    findings = table_of(
        Findings.columns,
        [claim("s.far", ids, severity="warning", confidence=rng.random(100).round(1))],
    )
    decisions = pa.table(
        {"id": ids, "decision": ["drop" if n % 7 == 0 else "keep" for n in range(100)]}
    )
    facts = pa.table({"id": ids, "s.x": rng.random(100)})

    def told(order: np.ndarray) -> dict[str, Any]:
        shuffled = [table.take(pa.array(order)) for table in (findings, decisions, facts)]
        given = {
            "findings": Findings(shuffled[0]),
            "decisions": Decisions(shuffled[1]),
            "facts": Facts(shuffled[2]),
        }
        return record(
            samples=samples,
            figures=Figures(table_of(Figures.columns, [])),
            curated=None,
            run=RUN,
            **given,
        )

    assert told(rng.permutation(100)) == told(np.arange(100))


def test_anything_becomes_json() -> None:
    value = {
        "a": np.float32(0.5),
        1: (np.nan, np.int64(3), {2, 1}),
        "t": pd.Timestamp("2026-01-02"),
        "p": np.arange(2),
        "f": float,
        "b": np.bool_(True),
    }
    assert plain(value) == {
        "a": 0.5,
        "1": [None, 3, [1, 2]],
        "t": "2026-01-02T00:00:00",
        "p": [0, 1],
        "f": "<class 'float'>",
        "b": True,
    }


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (many(1, "class"), "1 class"),
        (many(1204, "sample"), "1,204 samples"),
        (some(["a"], "kind"), "a"),
        (some(["a", "b", "c"], "kind"), "a, b and c"),
        (some(list("abcdefg"), "kind"), "a, b, c, d, e and 2 more kinds"),
        (some(list("abcdef"), "class"), "a, b, c, d, e and 1 more class"),
    ],
)
def test_singular_and_plural(actual: str, expected: str) -> None:
    assert actual == expected


def test_a_share_that_is_expected_is_not_called_certain() -> None:
    assert [expected(share) for share in (0, 0.0001, 0.5, 0.9999, 1)] == [
        "0 %",
        "1 %",
        "50 %",
        "99 %",
        "100 %",
    ]


def test_objects_are_told_by_their_classes() -> None:
    cat, dog = an_object("1", "cat", box=(0, 0, 1, 1)), an_object("2", "dog", box=(0, 0, 1, 1))
    labels = pa.array([[cat, dog, cat], [], None], LABELS)
    samples = Samples(pa.table({"id": ["a", "b", "c"], "label": labels}))
    joined = Joined.of(
        samples,
        Findings(table_of(Findings.columns, [])),
        Decisions(pa.Table.from_pylist([], pa.schema(list(Decisions.columns.items())))),
        None,
    )
    assert texts(joined, "label", np.array([0, 1, 2, -1])) == [
        "cat 2, dog 1",
        "no object",
        None,
        None,
    ]
