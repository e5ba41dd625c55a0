"""A suite of expectations is data: whatever it holds, nothing of it is run, read or fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_validation.conditions import parse
from dqpipe_validation.expectations import Expectations
from hypothesis import given
from hypothesis import strategies as st

from dqpipe.data.tables import Facts, Samples
from dqpipe.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CODE = [
    "@pd.io.common.os.system('touch {mark}')",
    "label.__class__.__init__.__globals__['sys'].modules['os'].system('touch {mark}')",
    "label.to_csv('{mark}')",
    "label == label.to_csv('{mark}')",
    "label.isnull(label.to_csv('{mark}'))",
    "label.isnull().to_csv('{mark}')",
    "label in label.to_csv('{mark}')",
    "label in [x for x in open('{mark}', 'w')]",
    "(lambda: open('{mark}', 'w'))()",
    "__import__('os').system('touch {mark}')",
    "`label`.to_csv('{mark}')",
    "col('label').to_csv('{mark}')",
    "col(open('{mark}', 'w')) == 1",
    "label == @open",
    "f'{{open(1)}}' == label",
    "label.__class__",
    "label[0] == 1",
    "label + open('{mark}', 'w') == 1",
    "label := 1",
]


@pytest.mark.parametrize("text", CODE)
@pytest.mark.parametrize(
    "form", ["pandas", "great_expectations", "pass_through", "column", "value"]
)
def test_a_row_condition_runs_nothing(tmp_path: Path, text: str, form: str) -> None:
    mark = tmp_path / "mark"
    text = text.format(mark=mark)
    condition: dict[str, Any] = {"row_condition": text, "condition_parser": form}
    if form == "pass_through":
        condition = {"row_condition": {"type": "pass_through", "pass_through_filter": text}}
    if form in ("column", "value"):
        name, value = (
            (f"label` == 1 or {text} or `label", 1)
            if form == "column"
            else ("label", f"' or {text} or '")
        )
        condition = {
            "row_condition": {
                "type": "comparison",
                "column": {"name": name},
                "operator": "==",
                "parameter": value,
            }
        }
    stage = Expectations(
        expectations=[{"expectation": "values_to_not_be_null", "column": "label", **condition}]
    )
    samples = Samples(pa.table({"id": ["a", "b"], "label": ["x", None]}))
    if form in ("column", "value"):
        assert stage.needs == (
            ["label", name] if form == "column" else ["label"]
        )  # a name and a text like any other
        named = (
            samples
            if form == "value"
            else Samples(samples.table.append_column(name, pa.array([1, 2])))
        )
        assert sum(map(len, stage.detect(named, Facts(pa.table({}))))) == 0
    else:
        with pytest.raises(ConfigError, match=r"row condition"):
            stage.check()
    assert not mark.exists()


def test_a_json_schema_fetches_nothing() -> None:
    for reference in ("http://127.0.0.1:9/schema", "file:///etc/passwd", "other.json"):
        schema = {"properties": {"a": [{"$ref": reference}]}}
        stage = Expectations(
            expectations=[
                {
                    "expectation": "values_to_match_json_schema",
                    "column": "label",
                    "json_schema": schema,
                }
            ]
        )
        with pytest.raises(ConfigError, match="may not load"):
            stage.check()


@pytest.mark.parametrize(
    "text", ["(" * 5000 + "a" + ")" * 5000, "not " * 200 + "a", "a == 1 and " * 5000 + "a == 1"]
)
def test_a_condition_of_any_depth_is_refused_and_no_crash(text: str) -> None:
    with pytest.raises(ConfigError, match="row condition"):
        parse(text)


NUMBERS, WORDS = st.sampled_from([0, 1, -2, 2.5]), st.sampled_from(["x", "y z", "it's"])
PARTS = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["n", "`n m`"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        NUMBERS,
    ),
    st.builds("{2!r} {1} {0}".format, st.just("w"), st.sampled_from(["==", "!="]), WORDS),
    st.builds(
        "{} {} {}".format,
        st.just("w"),
        st.sampled_from(["in", "not in"]),
        st.lists(WORDS, min_size=1, max_size=2),
    ),
    st.builds(
        "{}.{}()".format, st.sampled_from(["n", "w"]), st.sampled_from(["isnull", "notnull"])
    ),
    st.just("-2 <= n < 2.5"),
)
TREES = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or", "&", "|"]), inner),
        st.builds("not ({})".format, inner),
    ),
)


@given(TREES)
def test_conditions_mean_what_they_mean_to_pandas(text: str) -> None:
    frame = pd.DataFrame(
        {
            "n": [0, 1, -2, None, 2.5, 7],
            "n m": [0.0, 0, 1, 1, 2.5, None],
            "w": ["x", "y z", None, "it's", "x", "q"],
        }
    )
    condition = parse(text)
    assert condition is not None
    assert (
        np.flatnonzero(condition.holds(frame)).tolist()
        == frame.query(text, engine="python").index.tolist()
    )


@pytest.mark.parametrize(
    "text", ["fare > 0x" + "f" * 8000, "fare > " + "9" * 4000, "fare in [1, " + "9" * 30 + "]"]
)
def test_a_number_that_no_column_holds_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("values_to_match_regex", {"regex": "^(?=a)(a+)+$"}),
        ("values_to_match_regex_list", {"regex_list": ["x", r"(a*b?)*(?!c)$"]}),
        (
            "values_to_match_json_schema",
            {"json_schema": {"properties": {"a": {"pattern": "^(a+)+$"}}}},
        ),
        ("values_to_match_json_schema", {"json_schema": {"patternProperties": {"(.*)*x": {}}}}),
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused(kind: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="can take for ever"):
        Expectations(expectations=[{"expectation": kind, "column": "label", **given}]).check()


@pytest.mark.parametrize(
    "pattern",
    [r"^(?=.{3,9}$)[a-z]+(\.[a-z]+)*$", "^(a+)+$", r"^([0-9]{5})(-[0-9]{4})?$", r"(\w)\1"],
)
def test_patterns_of_linear_time_are_taken(pattern: str) -> None:
    Expectations(
        expectations=[{"expectation": "values_to_match_regex", "column": "label", "regex": pattern}]
    ).check()


def test_half_a_character_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match="half of a character"):
        Expectations(
            expectations=[
                {"expectation": "values_to_be_in_set", "column": "label", "value_set": ["\ud800"]}
            ]
        ).check()
