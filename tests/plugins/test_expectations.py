"""What is expected, what Great Expectations makes of it, and that nothing is dropped on the way."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_validation.expectations import Expectations

from dqpipe.errors import ConfigError, StageError
from dqpipe.model import Facts, Samples
from dqpipe.stages import Claim, Figure

if TYPE_CHECKING:
    from pathlib import Path

NONE = Facts(pa.table({}))
BETWEEN = {"expectation": "values_to_be_between", "column": "fare"}


def taxis(**columns: Any) -> Samples:
    own = {"fare": [5.0, 20.0, -1.0, 7.0], "color": ["green", "yellow", "yelow", None]}
    return Samples(pa.table({"id": ["a", "b", "c", "d"], **own, **columns}))


def found(*expected: dict[str, Any], facts: Facts = NONE) -> list[tuple[str, str | None]]:
    """Every claim as (code, id)."""
    claims = pd.concat([pd.DataFrame({"code": [], "id": []}), *Expectations(expectations=list(expected)).detect(taxis(), facts)])
    return list(zip(claims["code"], claims["id"], strict=True))


def test_failing_rows_are_claimed_with_the_value_and_the_limit() -> None:
    claims = Expectations(expectations=[{**BETWEEN, "min_value": 0, "max_value": 10}]).detect(taxis(), NONE)[0]
    assert claims[["code", "id", "value", "threshold"]].to_numpy().tolist() == [
        ["fare_between", "b", 20.0, 10.0],
        ["fare_between", "c", -1.0, 0.0],
    ]
    assert claims["detail"][0] == "fare is 20; expected: values to be between (min_value 0, max_value 10)"


def test_facts_of_other_stages_are_expected_like_columns() -> None:
    width = {"expectation": "values_to_be_between", "column": "image_quality.width", "min_value": 32}
    assert Expectations(expectations=[width]).needs == ["image_quality.width"]
    assert found(width, facts=Facts(pa.table({"image_quality.width": [64, 32, 16, 8]}))) == [
        ("image_quality_width_between", "c"),
        ("image_quality_width_between", "d"),
    ]


def test_rows_that_mostly_allows_are_not_claimed() -> None:
    assert found({**BETWEEN, "min_value": 0, "mostly": 0.7}) == []
    assert found({**BETWEEN, "min_value": 0, "mostly": 0.8}) == [("fare_between", "c")]


def test_an_empty_value_fails_only_where_one_is_expected() -> None:
    is_set = {"expectation": "values_to_be_in_set", "column": "color", "value_set": ["green", "yellow"]}
    assert found(is_set, {"expectation": "values_to_not_be_null", "column": "color"}) == [("color_in_set", "c"), ("color_not_null", "d")]


def test_an_aggregate_that_fails_is_a_claim_about_the_dataset() -> None:
    stage = Expectations(expectations=[{"expectation": "mean_to_be_between", "column": "fare", "min_value": 100}])
    (claims,) = stage.detect(taxis(), NONE)
    assert claims[["code", "id", "value"]].to_numpy().tolist() == [["fare_mean_between", None, 7.75]]
    assert {str(row["figure"]): row["value"] for row in stage.summarise(taxis(), NONE)} == {
        "success": 0.0,
        "fare_mean_between_success": 0.0,
        "fare_mean_between_observed": 7.75,
    }


def test_figures_tell_the_share_that_fails() -> None:
    stage = Expectations(expectations=[{**BETWEEN, "min_value": 0}, {**BETWEEN, "max_value": 100}])
    assert {str(row["figure"]): row["value"] for row in stage.summarise(taxis(), NONE)} == {
        "success": 0.5,
        "fare_between_success": 0.0,
        "fare_between_unexpected": 0.25,
        "fare_between_judged": 4.0,
        "fare_between_2_success": 1.0,
        "fare_between_2_unexpected": 0.0,
        "fare_between_2_judged": 4.0,
    }


def test_every_claim_and_figure_was_declared() -> None:
    stage = Expectations(
        expectations=[
            {**BETWEEN, "min_value": 0, "severity": "warning"},
            {**BETWEEN, "max_value": 9, "severity": "critical", "name": "cheap"},
            {"expectation": "column_pair_values_a_to_be_greater_than_b", "column_A": "fare", "column_B": "fare"},
            {"expectation": "table_row_count_to_be_between", "min_value": 9},
        ]
    )
    severities = {gift.code: gift.severity for gift in stage.gives if isinstance(gift, Claim)}
    codes = ["fare_between", "cheap", "fare_pair_values_a_greater_than_b", "table_row_count_between"]
    assert severities == dict(zip(codes, ["warning", "error", "error", "error"], strict=True))
    assert {code for claims in stage.detect(taxis(), NONE) for code in claims["code"]} == set(codes)
    assert {row["figure"] for row in stage.summarise(taxis(), NONE)} <= {gift.name for gift in stage.gives if isinstance(gift, Figure)}


@pytest.mark.parametrize(
    "condition",
    [
        {"row_condition": 'color == "yellow"', "condition_parser": "pandas"},
        {"row_condition": 'col("color") == "yellow"', "condition_parser": "great_expectations"},
        {"row_condition": {"type": "comparison", "column": {"name": "color"}, "operator": "==", "parameter": "yellow"}},
    ],
)
def test_a_row_condition_is_obeyed_and_its_column_needed(condition: dict[str, Any]) -> None:
    some = {**BETWEEN, "max_value": 6, **condition}
    assert Expectations(expectations=[some]).needs == ["color", "fare"]
    assert found(some) == [("fare_between", "b")]


@pytest.mark.parametrize("as_list", [False, True])
def test_a_suite_of_great_expectations_own_form_is_read(tmp_path: Path, as_list: bool) -> None:
    import great_expectations as gx

    suite = gx.ExpectationSuite(
        name="taxis",
        expectations=[
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "color"}, "severity": "warning", "meta": {"owner": "us"}},
            {"type": "expect_column_max_to_be_between", "kwargs": {"column": "fare", "max_value": 10}},
        ],
    ).to_json_dict()
    (tmp_path / "suite.json").write_text(json.dumps(suite["expectations"] if as_list else suite), encoding="utf-8")
    stage = Expectations(suite=str(tmp_path / "suite.json"), expectations=[{**BETWEEN, "min_value": 0}])
    stage.check()
    severities = {gift.code: gift.severity for gift in stage.gives if isinstance(gift, Claim)}
    assert severities == {"color_unique": "warning", "fare_max_between": "error", "fare_between": "error"}
    assert [code for claims in stage.detect(taxis(), NONE) for code in claims["code"]] == ["fare_max_between", "fare_between"]


@pytest.mark.parametrize(
    ("expected", "hint"),
    [
        ({"expectation": "values_to_be_betwen", "column": "fare"}, "did you mean 'expect_column_values_to_be_between'"),
        ({**BETWEEN, "min": 0}, "min: extra fields not permitted"),
        ({**BETWEEN, "min_value": "low"}, "min_value: value is not a valid float"),
        ({**BETWEEN, "min_value": 0, "severity": "eror"}, "did you mean 'error'"),
        ({**BETWEEN, "min_value": 0, "name": "a b"}, "letters, digits"),
        ({"column": "fare"}, "a mapping with `expectation`"),
        ({"expectation": "table_column_count_to_equal", "value": 3}, "columns or tables that are not here"),
    ],
)
def test_an_expectation_that_would_be_dropped_is_refused(expected: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        Expectations(expectations=[expected]).check()


def test_no_expectation_and_no_suite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is expected"):
        Expectations().check()
    with pytest.raises(ConfigError, match="cannot be read"):
        Expectations(suite=str(tmp_path / "absent.json")).check()


def test_an_expectation_that_raises_is_an_error_and_not_a_failure() -> None:
    with pytest.raises(StageError, match=r"color_between: .*same type"):
        found({"expectation": "values_to_be_between", "column": "color", "min_value": 0})


def test_no_rows_are_neither_met_nor_failed() -> None:
    stage = Expectations(expectations=[{**BETWEEN, "min_value": 0}])
    assert (stage.detect(taxis().take([]), NONE), stage.summarise(taxis().take([]), NONE)) == ([], [])


def test_threads_do_not_disturb_each_other() -> None:
    stages = [Expectations(expectations=[{**BETWEEN, "max_value": limit}]) for limit in range(-2, 22)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda stage: sum(len(claims) for claims in stage.detect(taxis(), NONE)), stages))
    assert counts == [sum(fare > limit for fare in (5, 20, -1, 7)) for limit in range(-2, 22)]


def test_nothing_is_printed_connected_to_or_left_behind(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.exceptions import DataContextError

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    project_manager.set_project(None)
    found({**BETWEEN, "min_value": 0})
    assert (*capfd.readouterr(), list(tmp_path.iterdir())) == ("", "", [])
    with pytest.raises(DataContextError):
        project_manager.get_current_project()


def test_what_is_proposed_holds_on_the_samples_it_is_proposed_for() -> None:
    of = taxis(label=["x", "y", "x", "y"], split=["train", "train", "test", "test"], count=[1, 2, 3, 400])
    stage = Expectations(**Expectations.proposal(of))
    stage.check()
    assert [gift.code for gift in stage.gives if isinstance(gift, Claim)] == [
        "label_not_null",
        "label_in_set",
        "split_not_null",
        "split_in_set",
        "fare_not_null",
        "fare_between",
        "count_not_null",
        "count_between",
    ]
    assert stage.detect(of, NONE) == []


def test_nothing_is_proposed_where_nothing_can_be_said() -> None:
    assert Expectations.proposal(Samples(pa.table({"id": ["a"], "media": ["a.png"]}))) == {}
