"""Which claim leads to which decision, and what the limits take back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_curation import rules
from dqpipe_curation.policy import (
    BUDGET,
    CEILING,
    EVALUATION,
    LAST_COPY,
    RELABELS,
    UNSETTLED,
    Policy,
)

from dqpipe.api import Pipeline
from dqpipe.data.tables import Findings, Samples, claim, table_of
from dqpipe.errors import ConfigError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry

WARNING = {"severity": "warning"}


def samples(count: int, **columns: Any) -> Samples:
    return Samples(pa.table({"id": [f"s{n:02d}" for n in range(count)], **columns}))


def decide(of: Samples, *claims: pd.DataFrame, **options: Any) -> dict[str, tuple[str, list[str]]]:
    """Every sample that is not simply kept, with its decision and reasons."""
    frame = (
        Policy(**{"max_drop": 1.0, **options})
        .decide(of, Findings(table_of(Findings.columns, list(claims))))
        .frame()
    )
    rows = zip(frame["id"], frame["decision"], frame["because"], strict=True)
    return {
        i: (decision, list(because))
        for i, decision, because in rows
        if decision != "keep" or len(because)
    }


@pytest.mark.parametrize(
    ("code", "confidence", "expected"),
    [
        ("files.unreadable", None, "drop"),
        ("duplicates.exact", None, "drop"),
        ("duplicates.near", 0.95, "drop"),
        ("duplicates.near", 0.5, "review"),
        ("duplicates.near", None, "review"),
        ("duplicates.leak", 0.95, "drop"),
        ("duplicates.leak", 0.7, "review"),
        ("duplicates.label_conflict", 1.0, "review"),
        ("label_noise.likely_wrong", 1.0, "review"),
        ("label_noise.likely_wrong", 0.6, "review"),
        ("image_quality.blurry", 1.0, "review"),
        ("image_quality.low_information", 0.95, "drop"),
        ("outliers.far", 1.0, "review"),
        ("embeddings.failed", None, "review"),
        ("a_stranger.claim", None, "review"),
    ],
)
def test_a_claim_leads_to_the_decision_of_the_table(
    code: str, confidence: float | None, expected: str
) -> None:
    said = claim(code, ["s00"], severity="warning", confidence=confidence, suggestion="b")
    assert decide(samples(2, label=["a", "a"]), said) == {"s00": (expected, [code])}


def test_an_info_claim_leads_to_nothing_unless_its_rule_says_so() -> None:
    said = claim("files.odd", ["s00"], severity="info")
    assert decide(samples(1), said) == {}
    assert decide(
        samples(1), said, rules={"files.*": {"decision": "drop", "severity": "info"}}
    ) == {"s00": ("drop", ["files.odd"])}


def test_the_users_first_fitting_rule_goes_before_the_built_in_ones() -> None:
    said = [
        claim("image_quality.dark", ["s00"], **WARNING),
        claim("image_quality.blurry", ["s01"], **WARNING),
    ]
    own = {"image_quality.dark": "keep", "image_quality.*": "drop"}
    assert decide(samples(2), *said, rules=own) == {"s01": ("drop", ["image_quality.blurry"])}


def test_a_claim_about_the_dataset_decides_nothing() -> None:
    assert decide(samples(2), claim("diversity.rare_class", [None], **WARNING)) == {}


def test_drop_goes_before_relabel_before_review() -> None:
    said = [
        claim("outliers.far", ["s00", "s01"], **WARNING),
        claim(
            "label_noise.likely_wrong", ["s00", "s01"], confidence=1.0, suggestion="b", **WARNING
        ),
        claim("files.unreadable", ["s00"], severity="error"),
    ]
    expected = {
        "s00": ("drop", ["files.unreadable"]),
        "s01": ("relabel", ["label_noise.likely_wrong"]),
    }
    assert (
        decide(
            samples(2, label=["a", "a"]),
            *said,
            rules={"label_noise.likely_wrong": "relabel"},
            relabel={"max_share": 1.0},
        )
        == expected
    )


def test_what_cannot_be_seen_well_gets_no_other_label() -> None:
    said = [
        claim("image_quality.blurry", ["s00"], **WARNING),
        claim("image_quality.odd_size", ["s01"], severity="info"),
        claim(
            "label_noise.likely_wrong", ["s00", "s01"], confidence=1.0, suggestion="b", **WARNING
        ),
    ]
    expected = {
        "s00": ("review", ["image_quality.blurry"]),
        "s01": ("review", ["label_noise.likely_wrong"]),
    }
    assert decide(samples(2, label=["a", "a"]), *said) == expected


def test_copies_with_different_labels_are_reviewed_and_not_dropped() -> None:
    said = [
        claim("duplicates.exact", ["s01"], match="s00", **WARNING),
        claim("duplicates.label_conflict", ["s00", "s01"], **WARNING),
    ]
    conflict = ("review", ["duplicates.label_conflict"])
    assert decide(samples(2, label=["a", "b"]), *said) == {"s00": conflict, "s01": conflict}
    leak = claim("duplicates.leak", ["s01"], match="s00", severity="error", confidence=1.0)
    assert decide(samples(2, label=["a", "b"]), *said, leak) == {
        "s00": conflict,
        "s01": ("drop", ["duplicates.leak"]),
    }


def test_a_conflict_that_the_user_ignores_overrules_nothing() -> None:
    said = [
        claim("duplicates.exact", ["s01"], match="s00", **WARNING),
        claim("duplicates.label_conflict", ["s00", "s01"], **WARNING),
    ]
    own = {"duplicates.label_conflict": "keep"}
    assert decide(samples(2), *said, rules=own) == {"s01": ("drop", ["duplicates.exact"])}


def test_relabel_takes_the_one_suggestion_and_reviews_where_there_is_not_one() -> None:
    def noise(code: str, sample: str, suggestion: str | None) -> pd.DataFrame:
        return claim(code, [sample], confidence=0.99, suggestion=suggestion, **WARNING)

    said = [
        noise("label_noise.likely_wrong", "s00", "b"),
        noise("label_noise.likely_wrong", "s01", "b"),
        noise("second.likely_wrong", "s01", "c"),
        noise("label_noise.likely_wrong", "s02", None),
        noise("label_noise.likely_wrong", "s03", "a"),
    ]
    of = samples(4, label=["a"] * 4)
    policy = Policy(rules={"*.likely_wrong": "relabel"}, relabel={"max_share": 1.0})
    frame = policy.decide(of, Findings(table_of(Findings.columns, said))).frame()
    assert frame["decision"].tolist() == ["relabel", "review", "review", "review"]
    assert frame["new_label"].fillna("").tolist() == ["b", "", "", ""]
    assert list(frame["because"][1]) == [
        "label_noise.likely_wrong",
        "second.likely_wrong",
        UNSETTLED,
    ]


def test_evaluation_samples_are_reviewed_unless_the_policy_touches_them() -> None:
    of = samples(3, label=["a"] * 3, split=["train", "val", "test"])
    said = claim("duplicates.exact", of.ids, confidence=1.0, match="elsewhere", **WARNING)
    protected = ("review", ["duplicates.exact", EVALUATION])
    dropped = ("drop", ["duplicates.exact"])
    assert decide(of, said) == {"s00": dropped, "s01": protected, "s02": protected}
    assert decide(of, said, touch_evaluation=True) == dict.fromkeys(of.ids, dropped)


def test_the_strongest_claims_drop_up_to_the_ceiling_of_each_class() -> None:
    of = samples(20, label=["a"] * 10 + ["b"] * 10)
    said = claim(
        "x.bad", [f"s{n:02d}" for n in range(4)], confidence=[0.2, 0.9, 0.8, 0.1], **WARNING
    )
    above = ("review", ["x.bad", CEILING])
    dropped = ("drop", ["x.bad"])
    assert decide(of, said, rules={"x.bad": "drop"}, max_drop=0.2) == {
        "s00": above,
        "s01": dropped,
        "s02": dropped,
        "s03": above,
    }


def test_the_ceiling_holds_for_the_whole_set_where_labels_are_no_classes() -> None:
    of = samples(10, label=[float(n) for n in range(10)])
    found = decide(of, claim("x.bad", of.ids, **WARNING), rules={"x.bad": "drop"}, max_drop=0.3)
    assert [i for i, (decision, _) in found.items() if decision == "drop"] == ["s00", "s01", "s02"]


def test_what_cannot_be_read_is_dropped_whatever_the_ceiling() -> None:
    of = samples(4, label=["a"] * 4)
    found = decide(
        of, claim("files.unreadable", ["s00", "s01", "s02"], severity="error"), max_drop=0.0
    )
    assert [decision for decision, _ in found.values()] == ["drop"] * 3


def test_a_copy_stays_when_all_that_it_copies_is_dropped() -> None:
    said = [
        claim("duplicates.exact", ["s01", "s02"], match="s00", confidence=1.0, **WARNING),
        claim("files.unreadable", ["s00"], severity="error"),
    ]
    frame = (
        Policy(max_drop=1.0).decide(samples(3), Findings(table_of(Findings.columns, said))).frame()
    )
    assert frame["decision"].tolist() == ["drop", "keep", "drop"]
    assert list(frame["because"][1]) == ["duplicates.exact", LAST_COPY]


def test_a_chain_of_copies_leaves_its_keeper_alone() -> None:
    said = [
        claim("duplicates.exact", ["s01"], match="s00", **WARNING),
        claim("duplicates.exact", ["s02"], match="s01", **WARNING),
    ]
    assert [decision for decision, _ in decide(samples(3), *said).values()] == ["drop", "drop"]


def queue(of: Samples, wanted: int) -> pd.DataFrame:
    """A budget for the first `wanted` samples, in the order of their ids.

    The others are claimed.
    """
    return claim(
        "select.surplus",
        of.ids[wanted:],
        severity="info",
        value=[float(place) for place in range(wanted, len(of))],
        threshold=float(wanted),
    )


def kept(of: Samples, found: dict[str, tuple[str, list[str]]]) -> list[str]:
    return [i for i in of.ids if i not in found or found[i][0] != "drop"]


def test_a_budget_is_kept_whatever_the_ceiling() -> None:
    of = samples(10, label=["a"] * 10)
    assert kept(of, decide(of, queue(of, 3), max_drop=0.1)) == ["s00", "s01", "s02"]


def test_who_is_dropped_for_another_reason_is_replaced_by_the_next_in_the_queue() -> None:
    of = samples(10)
    said = [
        claim("files.unreadable", ["s01", "s04"], severity="error"),
        claim("duplicates.exact", ["s02"], match="s00", **WARNING),
    ]
    found = decide(of, *said, queue(of, 3))
    assert kept(of, found) == ["s00", "s03", "s05"]
    assert found["s03"] == ("keep", ["select.surplus", BUDGET])
    assert found["s04"] == ("drop", ["files.unreadable", "select.surplus"])
    assert len(kept(of, decide(of, *said, queue(of, 9)))) == 7


def test_who_is_held_for_review_is_replaced_as_well() -> None:
    of = samples(6)
    said = [claim("outliers.far", ["s00", "s03"], **WARNING), queue(of, 2)]
    assert kept(of, decide(of, *said)) == ["s00", "s01"]
    assert kept(of, decide(of, *said, hold=True)) == ["s00", "s01", "s02"]


def test_the_keeper_takes_the_place_of_a_chosen_copy() -> None:
    of = samples(6)
    said = [claim("duplicates.exact", ["s00"], match="s05", **WARNING), queue(of, 2)]
    assert kept(of, decide(of, *said)) == ["s01", "s05"]


def test_a_budget_is_about_training_samples() -> None:
    of = samples(6, split=["train"] * 4 + ["test"] * 2)
    found = decide(of, queue(of, 2))
    assert kept(of, found) == ["s00", "s01", "s04", "s05"]
    assert found["s04"] == ("keep", ["select.surplus", EVALUATION])


def test_what_repeats_another_sample_is_dropped_and_one_of_each_stays() -> None:
    of = samples(4, label=["a"] * 4)
    said = claim(
        "select.redundant",
        ["s01", "s02", "s03"],
        match=["s00", "s01", "s02"],
        severity="info",
        value=0.01,
        threshold=0.05,
    )
    assert kept(of, decide(of, said, max_drop=0.1)) == ["s00"]
    assert kept(of, decide(of, said, claim("files.unreadable", ["s00"], severity="error"))) == [
        "s01"
    ]


def test_the_order_of_findings_does_not_matter() -> None:
    of = samples(30, label=["a", "b", "c"] * 10)
    said = [
        claim("duplicates.near", of.ids[5:15], match=of.ids[:10], confidence=0.95, **WARNING),
        claim("label_noise.likely_wrong", of.ids[::3], suggestion="b", confidence=0.95, **WARNING),
        claim("image_quality.low_information", of.ids[:9], confidence=1.0, **WARNING),
    ]
    assert decide(of, *said, max_drop=0.2) == decide(of, *said[::-1], max_drop=0.2)


@pytest.mark.parametrize(
    ("own", "hint"),
    [
        ({"a.b": "dropp"}, "did you mean 'drop'"),
        ({"a.b": {"decision": "drop", "atleast": 0.5}}, "did you mean 'at_least'"),
        ({"a.b": {"decision": "drop", "at_least": 5}}, "from 0 to 1"),
        ({"a.b": {"decision": "drop", "severity": "bad"}}, "severity 'bad' is unknown"),
        ({"a.b": {"at_least": 0.5}}, "a mapping with `decision`"),
        ({"a.b": {"decision": "drop", "instead_of": "c.d"}}, "a list of codes"),
        ({"a.b": {"decision": "drop", "budget": 10}}, "true or false"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(own: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        Policy(rules=own).check()


def test_the_codes_of_the_users_rules_are_told() -> None:
    own = {"a.b": "drop", "c.*": {"decision": "review", "instead_of": ["d.e"]}}
    assert Policy(rules=own).codes() == ["a.b", "c.*", "d.e"]


def test_the_documented_table_holds_every_built_in_rule() -> None:
    lines = (rules.__doc__ or "").splitlines()
    told = [line.split() for line in lines if re.match(r" {4}\S", line)]
    documented = {words[0].replace("<stage>", "*"): words[1] for words in told}
    built_in = {
        rule.code: rule.decision
        for rule in rules.table({})
        if not rule.code.startswith("duplicate_rows.") and rule.code != "*"
    }
    assert {code: documented[code] for code in built_in} == built_in


def wrong(
    names: list[str],
    confidence: float,
    *,
    chance: float | list[float] | None,
    code: str = "label_noise.likely_wrong",
) -> pd.DataFrame:
    return claim(
        code, names, confidence=confidence, suggestion="b", suggestion_confidence=chance, **WARNING
    )


def certified(low: float, code: str = "label_noise.likely_wrong") -> pd.DataFrame:
    return claim(rules.CERTIFIED, [None], part=code, value=low, severity="info")


def test_no_label_is_changed_by_default_however_sure_a_claim_is() -> None:
    found = decide(samples(2, label=["a", "a"]), wrong(["s00"], 1.0, chance=1.0), certified(1.0))
    assert found == {"s00": ("review", ["label_noise.likely_wrong"])}


def test_a_label_is_changed_where_the_suggestion_is_likely_right_not_where_the_given_one_is_likely_wrong() -> (  # noqa: E501
    None
):
    said = [
        wrong(["s00"], 0.99, chance=0.92),
        wrong(["s01"], 0.99, chance=0.6),
        wrong(["s02"], 0.99, chance=None),
    ]
    found = decide(samples(3, label=["a"] * 3), *said, relabel={"at_least": 0.9, "max_share": 1.0})
    assert [found[name][0] for name in ("s00", "s01", "s02")] == ["relabel", "review", "review"]


def test_the_share_of_a_class_that_is_relabelled_has_a_ceiling_and_the_surest_come_first() -> None:
    of = samples(20, label=["a"] * 10 + ["c"] * 10)
    said = wrong([f"s{n:02d}" for n in (0, 1, 2, 10)], 0.99, chance=[0.91, 0.99, 0.95, 0.9])
    above = ("review", ["label_noise.likely_wrong", RELABELS])
    changed = ("relabel", ["label_noise.likely_wrong"])
    assert decide(of, said, relabel={"max_share": 0.2}) == {
        "s00": above,
        "s01": changed,
        "s02": changed,
        "s10": changed,
    }
    by_rule = decide(of, said, rules={"label_noise.likely_wrong": "relabel"})
    assert by_rule["s00"] == above, (
        "the ceiling holds for relabelling by a rule of the user's own, too"
    )


def test_a_certified_precision_is_asked_for_and_then_counts_for_the_suggestion() -> None:
    of, said = (
        samples(4, label=["a"] * 4),
        [wrong(["s00"], 0.5, chance=0.49), wrong(["s01"], 0.5, chance=0.3)],
    )
    relabel = {"certified": 0.95, "at_least": 0.9, "max_share": 1.0}
    review = ("review", ["label_noise.likely_wrong"])
    assert decide(of, *said, relabel=relabel) == {"s00": review, "s01": review}
    assert decide(of, *said, certified(0.94), relabel=relabel) == {"s00": review, "s01": review}
    assert decide(of, *said, certified(1.0, code="other.likely_wrong"), relabel=relabel) == {
        "s00": review,
        "s01": review,
    }
    assert decide(of, *said, certified(0.96), relabel=relabel) == {
        "s00": ("relabel", ["label_noise.likely_wrong"]),
        "s01": review,
    }


def test_the_users_own_rule_goes_before_relabel() -> None:
    own = {"label_noise.likely_wrong": "keep"}
    assert (
        decide(
            samples(2, label=["a", "a"]),
            wrong(["s00"], 1.0, chance=1.0),
            rules=own,
            relabel={"at_least": 0.5},
        )
        == {}
    )


@pytest.mark.parametrize(
    ("relabel", "says"),
    [
        ({"at_leat": 0.9}, "unknown field 'at_leat'.*at_least"),
        ({"at_least": 90}, "at_least is a number from 0 to 1"),
        ({"certified": True}, "certified"),
        (0.9, "mapping"),
    ],
)
def test_a_relabelling_that_cannot_be_meant_is_refused(relabel: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Policy(relabel=relabel).check()


def test_a_rule_that_names_its_code_counts_whatever_the_severity_and_idle_rules_are_said() -> None:
    samples = Samples(pa.table({"id": ["a", "b"], "content": ["1", "2"]}))
    found = [
        claim("image_quality.greyscale", ["a"], severity="info"),
        claim("image_quality.dark", ["b"], severity="warning"),
    ]
    findings = Findings(table_of(Findings.columns, pd.concat(found)))
    assert Policy(rules={"image_quality.greyscale": "drop"}, max_drop=1).decide(samples, findings)[
        "decision"
    ].tolist() == ["drop", "review"]
    assert Policy(rules={"image_quality.*": "drop"}, max_drop=1).decide(samples, findings)[
        "decision"
    ].tolist() == ["keep", "drop"]
    rules = {
        "image_quality.dark": "keep",
        "image_quality.dar*": "drop",
        "image_quality.g*": "drop",
        "duplicates.near": "keep",
    }
    told = Policy(rules=rules).idle(findings)
    assert told == [
        "image_quality.dar* (an earlier rule judges all of it)",
        "image_quality.g* (only milder claims were found)",
        "duplicates.near (nothing was found of it)",
    ]


def test_each_code_of_its_own_is_told_in_words() -> None:
    assert set(Policy.reasons) == {BUDGET, CEILING, EVALUATION, LAST_COPY, RELABELS, UNSETTLED}


def test_a_run_says_which_rules_judged_nothing(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("key,label,v\na,x,1\nb,x,1\nc,y,2\n")
    rules = "{duplicate_rows.exact: keep, duplicate_rows.ex*: drop, duplicate_rows.leak: drop}"
    text = (
        f"dataset: {{path: {tmp_path / 'rows.csv'}, roles: {{id: key}}}}\nstages: "
        f"[duplicate_rows]\npolicy: {{rules: {rules}}}\n"
    )
    result = Pipeline.from_text(
        text + f"outputs: {{path: {tmp_path / 'out'}, reports: [json]}}\ngates: []\n",
        registry=registry,
    ).run(Serial())
    said = (
        "2 rules of the policy judged nothing: duplicate_rows.ex* (an earlier rule judges all of "
        "it) and duplicate_rows.leak (nothing was found of it)."
    )
    assert said in result.account
    assert result.decisions["decision"].tolist() == ["keep"] * 3
