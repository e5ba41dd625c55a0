"""Gates are parsed, never evaluated, and judge counts, shares, classes, figures, drift, and what
changed since the last version.
"""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.config import gate_grammar
from dqpipe.data.tables import Decisions, Figures, Findings, Samples, claim, figure, table_of
from dqpipe.engine.gate_check import Tables, chance, judge
from dqpipe.errors import ConfigError, DatasetError

CODES = ["files.unreadable", "label_noise.likely_wrong"]
FIGURES = ["diversity.vendi", "classes.spread", "drift.p", "drift.p_adjusted", "drift.effect"]
FACTS = ["embeddings.vector", "image_quality.brightness", "image_quality.contrast"]
SAMPLES = Samples(
    pa.table(
        {
            "id": list("abcd"),
            "content": list("abcd"),
            "label": ["x", "x", "y", "y"],
            "group": ["1", "2", "2", "2"],
        }
    )
)
FOUND = Findings(
    table_of(Findings.columns, [claim("files.unreadable", ["a", "a"], severity="error")])
)
DECIDED = Decisions(
    table_of(
        Decisions.columns,
        pd.DataFrame({"id": list("abcd"), "decision": ["drop", "keep", "keep", "relabel"]}),
    )
)
CURATED = Samples(
    pa.table(
        {
            "id": ["b", "b.aug0", "c", "d"],
            "label": ["x", "x", "y", "x"],
            "parent": [None, "b", None, None],
        }
    )
)


def stated(**values: float) -> Figures:
    rows = [
        figure("diversity.vendi", values.get("vendi", 12.5)),
        figure("classes.spread", 2.0, scope="class", key="x"),
        figure("classes.spread", float("nan"), scope="class", key="y"),
        figure("drift.p", 1e-5, scope="fact", key="embeddings.vector"),
        figure("drift.effect", 0.2, scope="fact", key="embeddings.vector"),
        figure("drift.p", 0.5, scope="fact", key="image_quality.brightness"),
        figure("drift.effect", 0.9, scope="fact", key="image_quality.brightness"),
    ]
    return Figures(
        table_of(
            Figures.columns,
            [row | {"of": "raw"} for row in rows]
            + [figure("diversity.vendi", 10.0) | {"of": "curated"}],
        )
    )


def parsed(text: str) -> gate_grammar.Gate:
    return gate_grammar.parse(text, "line 3", CODES, FIGURES, FACTS, SAMPLES.names)


NOW = Tables(SAMPLES, FOUND, DECIDED, CURATED, stated())


def last(n: int = 40, *, dropped: int = 2, vendi: float = 25.0, kind: str = "x") -> Tables:
    ids = [f"{number:03}" for number in range(n)]
    samples = Samples(pa.table({"id": ids, "content": ids, "label": [kind] * n}))
    decisions = pd.DataFrame({"id": ids, "decision": ["drop"] * dropped + ["keep"] * (n - dropped)})
    none = Findings(table_of(Findings.columns, []))
    return Tables(
        samples, none, Decisions(table_of(Decisions.columns, decisions)), None, stated(vendi=vendi)
    )


@pytest.mark.parametrize(
    ("text", "passed", "value"),
    [
        ("files.unreadable > 5%", False, 25.0),
        ("files.unreadable > 25%", True, 25.0),
        ("files.unreadable >= 25%", False, 25.0),
        ("files.unreadable > 0", False, 1.0),
        ("files.* > 1", True, 1.0),
        ("dropped in any class > 40%", False, 50.0),
        ("dropped in any class > 50%", True, 50.0),
        ("drop in any class>40%", False, 50.0),
        ("drop in any group > 40%", False, 100.0),
        ("drop in class y > 0", True, 0.0),
        ('files.unreadable in class "x" > 5%', False, 50.0),
        ("files.unreadable in group 1 > 0", False, 1.0),
        ("relabelled > 1", True, 1.0),
        ("relabeled samples > 0", False, 1.0),
        ("kept < 60%", False, 50.0),
        ("diversity.vendi < 20", False, 12.5),
        ("curated diversity.vendi < 11", False, 10.0),
        ("label_noise.likely_wrong > 0", True, 0.0),
        ("samples < 5", False, 4.0),
        ("samples in any class < 60%", False, 50.0),
        ("added > 20%", False, 25.0),
        ("curated < 4", True, 4.0),
        ("curated samples in class y < 2", False, 1.0),
        ("marked > 0", False, 1.0),
        ("classes < 3", False, 2.0),
        ("dropped > 10% and < 50%", False, 25.0),
        ("dropped > 10% and samples > 100", True, 25.0),
        ("embedding drift p < 0.001 and effect > 0.1", False, 1e-5),
        ("embeddings.vector drift p < 0.001 and effect > 0.3", True, 1e-5),
        ("any drift p < 0.001 and effect > 0.3", True, 1e-5),
        ("any drift effect > 0.2", False, 0.9),
        ("brightness drift effect > 0.2", False, 0.9),
        ("image_quality.brightness drift effect >= 1", True, 0.9),
    ],
)
def test_a_gate_judges(text: str, passed: bool, value: float) -> None:
    judged = judge(parsed(text), NOW, lambda: None)
    assert (judged["passed"], judged["judged"], judged["value"]) == (passed, True, value)


@pytest.mark.parametrize(
    ("text", "passed", "value"),
    [
        ("change of dropped > 2%", False, 20.0),
        ("change of dropped > 20%", True, 20.0),
        ("change of dropped > 0", True, -1.0),
        ("change of samples < -5%", False, -90.0),
        ("change of samples < -36", True, -36.0),
        ("change of curated samples < -5%", False, 100 * (4 - 38) / 38),
        ("change of diversity.vendi < -10%", False, -50.0),
        ("change of diversity.vendi < -12", False, -12.5),
        ("change of classes < 0", True, 1.0),
        ("change of samples in class x < -90%", False, -95.0),
        ("change of samples in any class < -90%", False, -95.0),
        ("change of files.unreadable > 0 and files.unreadable > 5", True, 1.0),
    ],
)
def test_a_gate_judges_what_changed(text: str, passed: bool, value: float) -> None:
    judged = judge(parsed(text), NOW, last)
    assert (judged["passed"], judged["value"]) == (passed, pytest.approx(value))


@pytest.mark.parametrize(
    "text",
    [
        "dropped > 100%",
        "files.unreadable > 500%",
        "dropped < 0",
        "samples in class x > 120%",
        "embedding drift effect > 1",
        "any drift p < 1e-400",
        "embedding drift p < 0.001 and effect > 5",
        "change of samples < -100%",
        "change of dropped < -101%",
    ],
)
def test_a_condition_that_no_value_meets_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="this never holds"):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        "dropped >= 100%",
        "dropped <= 0",
        "curated > 120%",
        "added > 150%",
        "change of samples > 500%",
        "drift.p < 0",
    ],
)
def test_a_condition_at_the_edge_is_not_refused(text: str) -> None:
    assert parsed(text).conditions


@pytest.mark.parametrize(
    "text",
    [
        "change of dropped > 2%",
        "change of samples in any class < -5%",
        "change of diversity.vendi in any class > 1",
    ],
)
def test_without_a_last_version_a_change_passes_and_says_so(text: str) -> None:
    judged = judge(parsed(text), NOW, lambda: None)
    assert (judged["passed"], judged["judged"], judged["value"]) == (True, False, None)
    assert "nothing to compare with" in judged["said"]


def test_a_last_version_that_cannot_be_read_is_said() -> None:
    def broken() -> None:
        raise DatasetError("run.json of version 1 cannot be read")

    assert judge(parsed("change of dropped > 2%"), NOW, broken)["said"].endswith(
        "run.json of version 1 cannot be read"
    )


def nightly(codes: dict[str, list[str]], ids: str, labels: str, contents: str = "") -> Tables:
    samples = Samples(
        pa.table({"id": list(ids), "content": list(contents or ids), "label": list(labels)})
    )
    found = Findings(
        table_of(
            Findings.columns,
            [
                row
                for code, of in codes.items()
                for row in [claim(code, of, severity="warning")]
                if of
            ],
        )
    )
    decided = pd.DataFrame(
        {
            "id": list(ids),
            "decision": [
                "drop" if one in codes.get("files.unreadable", []) else "keep" for one in ids
            ],
        }
    )
    return Tables(samples, found, Decisions(table_of(Decisions.columns, decided)), None, stated())


LAST = nightly({"label_noise.likely_wrong": ["a"]}, "abcdefghij", "xxxxxyyyyy")
TONIGHT = nightly(
    {"label_noise.likely_wrong": [*"aklmnop"], "files.unreadable": ["q"]},
    "abcdefghijklmnopqr",
    "xxxxyyyyyyxxxxxxyy",
    "abcdefgHijklmnopqr",
)


@pytest.mark.parametrize(
    ("text", "passed", "value"),
    [
        ("label_noise.likely_wrong in new > 25%", False, 100 * 6 / 9),
        ("label_noise.likely_wrong in new > 25% and > 6", True, 100 * 6 / 9),
        ("label_noise.likely_wrong in new in class x >= 100%", False, 100.0),
        ("dropped in new in any class > 30%", False, 100 / 3),
        ("samples in new > 40%", False, 50.0),
        ("change of label_noise.likely_wrong in new > 50%", False, 100 * 6 / 9 - 10),
        ("change of label_noise.likely_wrong in new > 50% and p < 0.001", True, 100 * 6 / 9 - 10),
        ("change of label_noise.likely_wrong in new > 50% and p < 0.02", False, 100 * 6 / 9 - 10),
        ("change of any finding in new > 50%", False, 100 * 6 / 9 - 10),
        ("change of any finding > 50%", True, 700 / 18 - 10),
        ("change of any finding p < 0.05", True, 0.11),
        ("any finding > 30%", False, 700 / 18),
        ("any finding in new >= 9", True, 6.0),
        ("replaced > 0", False, 1.0),
        ("switched > 1", True, 1.0),
        ("switched in any class > 10%", False, 100 / 8),
        ("unreadable > 0", True, 0.0),
    ],
)
def test_a_gate_judges_the_new_samples_apart(text: str, passed: bool, value: float) -> None:
    judged = judge(parsed(text), TONIGHT, lambda: LAST)
    assert (judged["passed"], judged["value"]) == (passed, pytest.approx(value, abs=0.01)), judged[
        "said"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "label_noise.likely_wrong in new > 25%",
        "change of any finding > 1%",
        "replaced > 0",
        "size drift p < 0.1",
    ],
)
def test_on_the_first_night_what_compares_passes_whatever_is_said_of_the_unjudged(
    text: str,
) -> None:
    gate = gate_grammar.parse(text, "", CODES, FIGURES, ["x.size"], SAMPLES.names)
    judged = judge(gate, TONIGHT, lambda: None, unjudged="fail")
    assert (judged["passed"], judged["judged"], judged["state"]) == (True, False, "first")


def test_a_fact_that_cannot_be_compared_leaves_a_gate_on_any_unjudged() -> None:
    rows = [
        figure("drift.effect", value, scope="fact", key=key) | {"of": "raw"}
        for key, value in (("x.a", 0.1), ("x.b", float("nan")))
    ]
    tables = Tables(TONIGHT.samples, FOUND, DECIDED, None, Figures(table_of(Figures.columns, rows)))
    assert judge(parsed("any drift effect > 0.2"), tables, lambda: LAST)["state"] == "unjudged"
    assert (
        "not judged: x.b" in judge(parsed("any drift effect > 0.2"), tables, lambda: LAST)["said"]
    )
    assert judge(parsed("any drift effect > 0.05"), tables, lambda: LAST)["state"] == "failed"


def test_a_p_value_is_fishers() -> None:
    from scipy.stats import fisher_exact

    for count, n, was, m in ((6, 9, 1, 10), (1, 20, 9, 40), (0, 5, 0, 7)):
        side = "greater" if count * m >= was * n else "less"
        assert chance(count, n, was, m) == pytest.approx(
            fisher_exact([[count, n - count], [was, m - was]], side).pvalue
        )


def test_a_class_that_is_gone_is_a_change_and_a_new_one_is_not_compared() -> None:
    judged = judge(parsed("change of samples in any class <= -100%"), NOW, lambda: last(kind="z"))
    assert (judged["passed"], judged["value"]) == (False, -100.0)
    assert "samples in class z is 0 and was 40" in judged["said"]
    assert (
        "nothing to compare with"
        in judge(parsed("change of samples in class y < 0"), NOW, last)["said"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("diversity.vendi in any class > 1", "nothing has a value"),
        ("classes.spread > 1", "it has no value"),
        ("classes.spread in class y > 1", r"has no value \(n = 2\)"),
        ("dropped in class xx > 5%", "did you mean 'x'"),
    ],
)
def test_what_has_no_value_fails_the_gate(text: str, said: str) -> None:
    judged = judge(parsed(text), NOW, lambda: None)
    assert (judged["passed"], judged["judged"]) == (False, False)
    assert re.search(said, judged["said"]), judged["said"]


def test_a_sentence_names_the_class_how_many_samples_it_has_and_what_is_without_a_value() -> None:
    assert (
        judge(parsed("drop in any class > 10%"), NOW, lambda: None)["said"]
        == "dropped in class x is 50% (1 of 2); it must not be > 10%"
    )
    assert judge(parsed("classes.spread in any class > 1"), NOW, lambda: None)["said"].endswith(
        "must not be > 1; without a value: y"
    )
    both = judge(parsed("embedding drift p < 0.001 and effect > 0.1"), NOW, lambda: None)["said"]
    assert both == (
        "embeddings.vector drift p is 1e-05 and embeddings.vector drift effect is 0.2; it must "
        "not be p < 0.001 and effect > 0.1"
    )


def test_several_tags_are_several_classes() -> None:
    samples = Samples(pa.table({"id": ["a", "b"], "label": [["x", "y"], ["y"]]}))
    decided = Decisions(
        table_of(Decisions.columns, pd.DataFrame({"id": ["a", "b"], "decision": ["drop", "keep"]}))
    )
    tables = Tables(samples, Findings(table_of(Findings.columns, [])), decided, None, stated())
    assert judge(parsed("drop in class y >= 50%"), tables, lambda: None)["said"].startswith(
        "dropped in class y is 50% (1 of 2)"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("files.unreadable", "at its end: one of > >= < <= is expected"),
        ("__import__('os') > 1", "nothing is called \"__import__\\('os'\\)\""),
        ("files.unreadable > many", r"at letter 20 \('many'\): a number is expected"),
        (
            "dropped in any colour > 3",
            r"at letter 16 \('colour'\): class, split or group is expected",
        ),
        ("dropped in colour > 3", "any, new, class, split or group is expected"),
        ("dropped in any split > 3", "no split column"),
        ("dropped in class > 3", "the name of a class is expected"),
        ("> 3", "what must not be is expected"),
        ("", "what must not be is expected"),
        ("dropped > 3% or kept < 1", '"and", or the end, is expected'),
        ("dropped == 3", "one of > >= < <= is expected"),
        ("id drift effect > 1", "no fact is called 'id'"),
        ("samples > 3%", "leave % away"),
        ("any drift effect > 3%", "leave % away"),
        ("change of any drift effect > 3", "leave `change of` away"),
        ("image_quality drift p < 1", "may be image_quality.brightness, image_quality.contrast"),
        (
            "embedings drift p < 1",
            "no fact is called 'embedings': did you mean 'embeddings.vector'",
        ),
        ("any drift size > 1", "one of p, p_adjusted, effect, whole is expected"),
        ("drop in any class > 1 and keep in any group > 1", "about the same places"),
        ("diversity.* > 1", "names one of them"),
        ("dropped > 1e999", "too large"),
        ('dropped in class "x > 3', "the name of a class is expected"),
        ("diversity.vendi in new > 1", "not counted among new samples"),
        ("change of dropped in new > 3", "write %"),
        ("dropped p < 0.1", "p is that of a change"),
        ("change of samples p < 0.1", "p is that of a change"),
        ("any finding in any class > 1", "leave the any away"),
        ("change of dropped p < 0.1%", "leave % away"),
        ("files.unredable > 1", r"did you mean 'files\.unreadable'"),
        ("droped > 1", "did you mean 'dropped'"),
        ("dropped" * 999, "at most 2000 letters"),
    ],
)
def test_what_is_no_gate_is_refused_with_its_place_and_what_is_expected(
    text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parsed(text)
    assert caught.value.where == "line 3"


def test_drift_without_a_stage_that_measures_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="no stage of this pipeline measures drift"):
        gate_grammar.parse("any drift effect > 0.1", "", CODES, ["diversity.vendi"], FACTS)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr)
PLACES = st.one_of(
    st.just(""),
    st.just(" in any class"),
    st.text(max_size=8).map(lambda name: f' in group "{name}"'),
    st.just(" in class cat"),
)
COUNTED = st.sampled_from(
    [
        *CODES,
        "files.*",
        "diversity.vendi",
        "curated diversity.vendi",
        "drop",
        "kept",
        "review",
        "samples",
        "curated samples",
        "added",
    ]
)
SUBJECTS = st.one_of(
    st.tuples(st.sampled_from(["", "change of "]), COUNTED, PLACES).map("".join),
    st.tuples(
        st.sampled_from(["any", "embedding", *FACTS, "label"]),
        st.sampled_from(gate_grammar.MEASURES),
    ).map(" drift ".join),
)
OPERATORS = st.sampled_from(gate_grammar.OPERATORS)
CONDITIONS = st.tuples(SUBJECTS, OPERATORS, NUMBERS, st.sampled_from(["", "%", " %"])).map(
    lambda t: f"{t[0]} {t[1]} {t[2]}{t[3]}"
)
MIXED = [
    "in",
    "any",
    "class",
    "of",
    "change",
    "drift",
    "and",
    "p",
    "effect",
    ">",
    "<=",
    "5",
    "%",
    "-1",
    "drop",
    "curated",
    '"',
    '"a"',
    "\\",
]
WORDS = st.sampled_from([*MIXED, *CODES])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(WORDS, max_size=9).map(" ".join),
    st.lists(CONDITIONS, min_size=1, max_size=3).map(" and ".join),
)


def tried(text: str) -> gate_grammar.Gate | str:
    try:
        return parsed(text)
    except ConfigError as error:
        return str(error)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(TEXTS)
def test_a_text_is_a_config_error_or_a_gate_that_can_be_written_and_read_again(text: str) -> None:
    gate = tried(text)
    if isinstance(gate, str):
        assert "line 3" in gate
        return
    assert parsed(str(gate)) == gate
    assert judge(gate, NOW, last)["said"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CONDITIONS)
def test_what_follows_the_grammar_is_read(text: str) -> None:
    gate = tried(text)
    assert (
        isinstance(gate, gate_grammar.Gate) or "%" in gate or "never holds" in gate or '"' in text
    )  # a drift has no share; a name may hold quotes
