"""What is expected, what Great Expectations makes of it, and that nothing is dropped on the way."""

from __future__ import annotations

import datetime as dt
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_validation.expectations import Expectations

from dqpipe.data.tables import Facts, Samples
from dqpipe.errors import ConfigError, StageError
from dqpipe.plugin.stage import Claim, Figure

if TYPE_CHECKING:
    from pathlib import Path

NONE = Facts(pa.table({}))
BETWEEN = {"expectation": "values_to_be_between", "column": "fare"}


def taxis(**columns: Any) -> Samples:
    own = {"fare": [5.0, 20.0, -1.0, 7.0], "color": ["green", "yellow", "yelow", None]}
    return Samples(pa.table({"id": ["a", "b", "c", "d"], **own, **columns}))


def found(*expected: dict[str, Any], facts: Facts = NONE) -> list[tuple[str, str | None]]:
    """Every claim about a sample or an aggregate as (code, id)."""
    return claimed(Expectations(expectations=list(expected)), taxis(), facts)


def claimed(
    stage: Expectations, samples: Samples, facts: Facts = NONE
) -> list[tuple[str, str | None]]:
    """Every claim but the summary of what is unmet."""
    claims = pd.concat([pd.DataFrame({"code": [], "id": []}), *stage.detect(samples, facts)])
    return [
        (code, of) for code, of in zip(claims["code"], claims["id"], strict=True) if code != "unmet"
    ]


def declared(stage: Expectations) -> dict[str, str]:
    """The severity of each expectation's claim."""
    return {
        gift.code: gift.severity
        for gift in stage.gives
        if isinstance(gift, Claim) and gift.code != "unmet"
    }


def test_failing_rows_are_claimed_with_the_value_and_the_limit() -> None:
    claims = Expectations(expectations=[{**BETWEEN, "min_value": 0, "max_value": 10}]).detect(
        taxis(), NONE
    )[0]
    assert claims[["code", "id", "value", "threshold"]].to_numpy().tolist() == [
        ["fare_between", "b", 20.0, 10.0],
        ["fare_between", "c", -1.0, 0.0],
    ]
    assert (
        claims["detail"][0]
        == "fare is 20; expected: values to be between (min_value 0, max_value 10)"
    )


def test_facts_of_other_stages_are_expected_like_columns() -> None:
    width = {
        "expectation": "values_to_be_between",
        "column": "image_quality.width",
        "min_value": 32,
    }
    assert Expectations(expectations=[width]).needs == ["image_quality.width"]
    assert found(width, facts=Facts(pa.table({"image_quality.width": [64, 32, 16, 8]}))) == [
        ("image_quality_width_between", "c"),
        ("image_quality_width_between", "d"),
    ]


def test_rows_that_mostly_allows_are_not_claimed() -> None:
    assert found({**BETWEEN, "min_value": 0, "mostly": 0.7}) == []
    assert found({**BETWEEN, "min_value": 0, "mostly": 0.8}) == [("fare_between", "c")]


def test_an_empty_value_fails_only_where_one_is_expected() -> None:
    is_set = {
        "expectation": "values_to_be_in_set",
        "column": "color",
        "value_set": ["green", "yellow"],
    }
    assert found(is_set, {"expectation": "values_to_not_be_null", "column": "color"}) == [
        ("color_in_set", "c"),
        ("color_not_null", "d"),
    ]


def test_an_aggregate_that_fails_is_a_claim_about_the_dataset() -> None:
    stage = Expectations(
        expectations=[
            {
                "expectation": "mean_to_be_between",
                "column": "fare",
                "min_value": 100,
                "severity": "error",
            }
        ]
    )
    claims, *others = stage.detect(taxis(), NONE)
    assert others == []
    assert claims[["code", "id", "value"]].to_numpy().tolist() == [
        ["fare_mean_between", None, 7.75]
    ]
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
            {
                "expectation": "column_pair_values_a_to_be_greater_than_b",
                "column_A": "fare",
                "column_B": "fare",
            },
            {"expectation": "table_row_count_to_be_between", "min_value": 9},
        ]
    )
    severities = declared(stage)
    codes = [
        "fare_between",
        "cheap",
        "fare_pair_values_a_greater_than_b",
        "table_row_count_between",
    ]
    assert severities == dict(zip(codes, ["warning", "error", "error", "error"], strict=True))
    assert {code for claims in stage.detect(taxis(), NONE) for code in claims["code"]} == {
        *codes,
        "unmet",
    }
    assert {row["figure"] for row in stage.summarise(taxis(), NONE)} <= {
        gift.name for gift in stage.gives if isinstance(gift, Figure)
    }


@pytest.mark.parametrize(
    "condition",
    [
        {"row_condition": 'color == "yellow"', "condition_parser": "pandas"},
        {"row_condition": 'col("color") == "yellow"', "condition_parser": "great_expectations"},
        {
            "row_condition": {
                "type": "comparison",
                "column": {"name": "color"},
                "operator": "==",
                "parameter": "yellow",
            }
        },
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
            {
                "type": "expect_column_values_to_be_unique",
                "kwargs": {"column": "color"},
                "severity": "warning",
                "meta": {"owner": "us"},
            },
            {
                "type": "expect_column_max_to_be_between",
                "kwargs": {"column": "fare", "max_value": 10},
            },
        ],
    ).to_json_dict()
    (tmp_path / "suite.json").write_text(
        json.dumps(suite["expectations"] if as_list else suite), encoding="utf-8"
    )
    stage = Expectations(
        suite=str(tmp_path / "suite.json"), expectations=[{**BETWEEN, "min_value": 0}]
    )
    stage.check()
    assert declared(stage) == {
        "color_unique": "warning",
        "fare_max_between": "error",
        "fare_between": "error",
    }
    assert [code for code, _ in claimed(stage, taxis())] == ["fare_max_between", "fare_between"]


@pytest.mark.parametrize(
    ("expected", "hint"),
    [
        (
            {"expectation": "values_to_be_betwen", "column": "fare"},
            "did you mean 'expect_column_values_to_be_between'",
        ),
        ({**BETWEEN, "min": 0}, "min: extra fields not permitted"),
        ({**BETWEEN, "min_value": "low"}, "min_value: value is not a valid float"),
        ({**BETWEEN, "min_value": 0, "severity": "eror"}, "did you mean 'error'"),
        ({**BETWEEN, "min_value": 0, "name": "a b"}, "letters, digits"),
        ({"column": "fare"}, "a mapping with `expectation`"),
        (
            {"expectation": "table_column_count_to_equal", "value": 3},
            "columns or tables that are not here",
        ),
    ],
)
def test_an_expectation_that_would_be_dropped_is_refused(
    expected: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        Expectations(expectations=[expected]).check()


def test_no_expectation_and_no_suite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is expected"):
        Expectations().check()
    with pytest.raises(ConfigError, match="cannot be read"):
        Expectations(suite=str(tmp_path / "absent.json")).check()
    (tmp_path / "deep.json").write_text(
        '[{"type": "expect_column_values_to_be_in_set", "kwargs": '
        + '{"a": ' * 900
        + "1"
        + "}" * 900
        + "}]",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match="nested too deep"):
        Expectations(suite=str(tmp_path / "deep.json")).check()


def test_an_expectation_that_raises_is_an_error_and_not_a_failure() -> None:
    with pytest.raises(StageError, match=r"color_mean_between: "):
        found({"expectation": "mean_to_be_between", "column": "color", "min_value": 0})


def test_no_rows_are_neither_met_nor_failed() -> None:
    stage = Expectations(expectations=[{**BETWEEN, "min_value": 0}])
    assert (stage.detect(taxis().take([]), NONE), stage.summarise(taxis().take([]), NONE)) == (
        [],
        [],
    )


def test_threads_do_not_disturb_each_other() -> None:
    stages = [
        Expectations(expectations=[{**BETWEEN, "max_value": limit}]) for limit in range(-2, 22)
    ]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda stage: len(claimed(stage, taxis())), stages))
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


def proposed(**columns: Any) -> dict[str, list[dict[str, Any]]]:
    """What is proposed of each column, without column and severity."""
    rows = len(next(iter(columns.values())))
    found: dict[str, list[dict[str, Any]]] = {}
    for one in (
        Expectations.proposal(
            Samples(pa.table({"id": [str(row) for row in range(rows)], **columns}))
        )
        or {}
    ).get("expectations", []):
        found.setdefault(one["column"], []).append(
            {name: value for name, value in one.items() if name not in ("column", "severity")}
        )
    return found


def test_what_is_proposed_follows_from_what_a_column_is() -> None:
    rows = np.arange(2000)
    some = [None if row % 150 == 0 else "ab"[row % 2] for row in rows]
    found = proposed(
        label=["x", "y"] * 1000,
        key=rows,
        kind=some,
        day=[f"2024-01-{row % 28 + 1:02}" for row in rows],
        share=rows / 1999,
        flag=rows % 2,
        note=[f"text {row % 1000}" for row in rows],
        mostly_empty=[None if row % 2 else 1.5 for row in rows],
    )
    here = {"expectation": "values_to_not_be_null"}
    assert found == {
        "label": [here, {"expectation": "values_to_be_in_set", "value_set": ["x", "y"]}],
        "key": [here, {"expectation": "values_to_be_unique"}],
        "kind": [here, {"expectation": "values_to_be_in_set", "value_set": ["a", "b"]}],
        "day": [
            here,
            {"expectation": "values_to_match_strftime_format", "strftime_format": "%Y-%m-%d"},
        ],
        "share": [here, {"expectation": "values_to_be_between", "max_value": 1, "min_value": 0}],
        "flag": [here],
        "note": [here],
    }


def test_what_is_proposed_claims_impossible_values_and_empty_ones_and_no_others() -> None:
    draw = np.random.default_rng(0)
    length = draw.normal(5.7, 0.8, 3000).round(2)
    length[[5, 6]], length[7] = 0, 58.9
    people = 1 + draw.binomial(5, 0.1, 3000)
    people[:30] = 0
    zone = np.array(["north", "south"])[draw.integers(2, size=3000)].astype(object)
    zone[9] = None
    samples = Samples(
        pa.table(
            {
                "id": [f"{row:04}" for row in range(3000)],
                "length": length,
                "people": people,
                "zone": zone,
            }
        )
    )
    stage = Expectations(**Expectations.proposal(samples))
    stage.check()
    assert sorted(claimed(stage, samples)) == [
        ("length_between", "0005"),
        ("length_between", "0006"),
        ("length_between", "0007"),
        *(("people_between", f"{row:04}") for row in range(30)),
        ("zone_not_null", "0009"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_proposed_holds_on_sound_numbers_of_any_distribution(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size = 5000
    columns = {
        "normal": draw.normal(size=size),
        "exponential": draw.exponential(size=size),
        "lognormal": np.exp(draw.normal(size=size)),
        "pareto": draw.pareto(1, size),
        "cauchy": draw.standard_cauchy(size),
        "few": draw.poisson(1, size),
        "more": draw.poisson(4, size),
        "tries": draw.binomial(8, 0.5, size),
        "rounded": draw.gamma(2, 1, size).round(1),
        "uniform": draw.uniform(5, 9, size),
    }
    samples = Samples(pa.table({"id": [str(row) for row in range(size)], **columns}))
    assert claimed(Expectations(**Expectations.proposal(samples)), samples) == []


def test_nothing_is_proposed_where_nothing_can_be_said() -> None:
    assert Expectations.proposal(Samples(pa.table({"id": ["a"], "media": ["a.png"]}))) is None


def test_an_expectation_of_severity_error_that_fails_is_said_of_the_dataset() -> None:
    strict = {**BETWEEN, "min_value": 0, "max_value": 10, "severity": "critical", "name": "fair"}
    unmet = [
        claims
        for claims in Expectations(expectations=[strict]).detect(taxis(), NONE)
        if claims["code"].iloc[0] == "unmet"
    ]
    assert [row.to_dict() for _, row in unmet[0][["id", "value", "detail"]].iterrows()] == [
        {
            "id": None,
            "value": 0.5,
            "detail": "2 of 4 rows fail: fare: values to be between (min_value 0, max_value 10)",
        }
    ]
    lenient = {**strict, "severity": "warning"}
    assert all(
        "unmet" not in set(claims["code"])
        for claims in Expectations(expectations=[lenient]).detect(taxis(), NONE)
    )


WHEN = pa.array([1, None, 3, 5], pa.date32())
TIMES = {
    "date": WHEN,
    "time": WHEN.cast(pa.timestamp("us")),
    "zoned": WHEN.cast(pa.timestamp("us")).cast(pa.timestamp("us", "Europe/Berlin")),
}


@pytest.mark.parametrize("column", list(TIMES))
@pytest.mark.parametrize(
    "limit", [dt.date(1970, 1, 4), "1970-01-04", "1970-01-04 00:00:00", pd.Timestamp(1970, 1, 4)]
)
def test_a_date_a_time_and_a_text_are_limits_of_times(column: str, limit: object) -> None:
    samples = taxis(**TIMES)
    if column == "zoned":
        limit = pd.Timestamp(limit).tz_localize("UTC").isoformat()
    for expected, failing in (
        ({"expectation": "values_to_be_between", "min_value": limit}, ["a"]),
        ({"expectation": "values_to_be_in_set", "value_set": [limit]}, ["a", "d"]),
        ({"expectation": "values_to_not_be_in_set", "value_set": [limit]}, ["c"]),
        ({"expectation": "max_to_be_between", "max_value": limit}, [None]),
        (
            {
                "expectation": "values_to_be_between",
                "max_value": 9e9,
                "column": "fare",
                "row_condition": f'{column} > "{limit}"',
            },
            [],
        ),
        (
            {
                "expectation": "values_to_be_between",
                "max_value": 6,
                "column": "fare",
                "row_condition": f'{column} >= "{limit}"',
            },
            ["d"],
        ),
    ):
        stage = Expectations(expectations=[{"column": column, **expected}])
        assert stage.objection(samples) is None
        assert [of for _, of in claimed(stage, samples)] == failing, expected


@pytest.mark.parametrize(
    ("expected", "hint"),
    [
        (
            {"expectation": "values_to_be_between", "column": "time", "min_value": "noon"},
            "noon is no time",
        ),
        ({"expectation": "values_to_be_between", "column": "time", "min_value": 5}, "5 is no time"),
        (
            {"expectation": "values_to_be_in_set", "column": "zip", "value_set": [2139]},
            "write '2139', in quotes",
        ),
        (
            {"expectation": "values_to_be_in_set", "column": "fare", "value_set": ["5"]},
            "holds numbers",
        ),
        (
            {"expectation": "values_to_be_between", "column": "zip", "min_value": 0},
            "only numbers and times have limits",
        ),
        (
            {"expectation": "values_to_not_be_null", "column": "fare", "row_condition": "zip > 3"},
            "cannot be compared with zip",
        ),
        (
            {
                "expectation": "values_to_not_be_null",
                "column": "fare",
                "row_condition": "zip == fare",
            },
            "not of one kind",
        ),
    ],
)
def test_what_cannot_be_compared_with_a_column_is_refused_while_planning(
    expected: dict[str, Any], hint: str
) -> None:
    samples = taxis(zip=["02139", "10001", None, "94103"], **TIMES)
    assert hint in str(Expectations(expectations=[expected]).objection(samples))


def test_whole_numbers_with_an_empty_one_stay_exact() -> None:
    ids = [185100000000000001, 185100000000000002, None, 185100000000000003]
    samples = taxis(
        tweet=pa.array(ids, pa.int64()),
        zip=pa.array([10001, 10002, None, 10003]),
        paid=[True, None, False, True],
    )
    expected = [
        {"expectation": "values_to_be_unique", "column": "tweet"},
        {"expectation": "values_to_match_regex", "column": "zip", "regex": "^[0-9]{5}$"},
        {"expectation": "value_lengths_to_equal", "column": "zip", "value": 5},
        {"expectation": "values_to_be_in_set", "column": "paid", "value_set": [True, False]},
    ]
    assert claimed(Expectations(expectations=expected), samples) == []


def test_an_unknown_expectation_is_refused_with_all_others_named_or_skipped_and_said() -> None:
    odd = [
        {"type": "expect_column_values_to_be_prime", "kwargs": {"column": "gone"}},
        {"type": "expect_table_column_count_to_equal", "kwargs": {"value": 3}},
    ]
    with pytest.raises(
        ConfigError, match=r"(?s)values_to_be_prime.*table_column_count.*skip_unknown: true"
    ):
        Expectations(expectations=[*odd, {**BETWEEN, "min_value": 0}]).check()
    stage = Expectations(expectations=[*odd, {**BETWEEN, "min_value": 0}], skip_unknown=True)
    stage.check()
    assert stage.needs == ["fare"]
    assert claimed(stage, taxis()) == [("fare_between", "c"), ("skipped", None)]


def test_a_parameter_is_bound_or_refused() -> None:
    open_limit = {**BETWEEN, "min_value": {"$PARAMETER": "least"}}
    with pytest.raises(ConfigError, match="'least' has no value"):
        Expectations(expectations=[open_limit]).check()
    stage = Expectations(expectations=[open_limit], parameters={"least": 6})
    stage.check()
    assert claimed(stage, taxis()) == [("fare_between", "a"), ("fare_between", "c")]


def kinds_of_columns() -> Samples:
    """A column of each kind with an empty value."""
    return Samples(
        pa.table(
            {
                "id": ["a", "b", "c"],
                "low": pa.array([1, 5, None]),
                "high": pa.array([2, 4, 3]),
                "big": pa.array([2**60 + 1, 2**60 + 2, None]),
                "price": pa.array([Decimal("0.10"), Decimal("0.30"), None], pa.decimal128(10, 2)),
                "clock": pa.array([dt.time(2), dt.time(3), None]),
                "span": pa.array([dt.timedelta(hours=2), dt.timedelta(hours=3), None]),
                "kind": pa.array([1, 2, None]).dictionary_encode(),
                "words": pa.array([["x"], ["y"], None]),
                "bytes": pa.array([b"\xff", b"y", None]),
                "text": ["x", "y", None],
            }
        )
    )


@pytest.mark.parametrize(
    ("expected", "failing"),
    [
        (
            {"expectation": "values_to_be_null", "column": "high", "row_condition": "low < high"},
            ["a"],
        ),
        (
            {"expectation": "values_to_be_null", "column": "high", "row_condition": "low != high"},
            ["a", "b", "c"],
        ),
        ({"expectation": "values_to_be_between", "column": "price", "min_value": 0.1}, []),
        ({"expectation": "values_to_be_in_set", "column": "price", "value_set": [0.1]}, ["b"]),
        (
            {
                "expectation": "values_to_be_null",
                "column": "price",
                "row_condition": "price == 0.3",
            },
            ["b"],
        ),
        (
            {"expectation": "values_to_be_in_set", "column": "clock", "value_set": ["02:00:00"]},
            ["b"],
        ),
        (
            {
                "expectation": "values_to_be_null",
                "column": "clock",
                "row_condition": 'clock > "02:00"',
            },
            ["b"],
        ),
        (
            {
                "expectation": "values_to_be_null",
                "column": "span",
                "row_condition": 'span > "2 hours"',
            },
            ["b"],
        ),
        (
            {"expectation": "values_to_be_null", "column": "kind", "row_condition": "kind < 2"},
            ["a"],
        ),
    ],
)
def test_values_of_every_kind_are_compared_as_what_they_are(
    expected: dict[str, Any], failing: list[str]
) -> None:
    samples, stage = kinds_of_columns(), Expectations(expectations=[expected])
    assert stage.objection(samples) is None
    assert [of for _, of in claimed(stage, samples)] == failing


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (
            {"expectation": "values_to_be_in_set", "column": "words", "value_set": ["x"]},
            "compared with nothing",
        ),
        (
            {"expectation": "values_to_be_in_set", "column": "clock", "value_set": ["noon"]},
            "no time of day",
        ),
        (
            {"expectation": "values_to_be_in_set", "column": "span", "value_set": ["2 hours"]},
            "use a row condition",
        ),
        (
            {"expectation": "values_to_match_regex", "column": "bytes", "regex": "x"},
            "a pattern is held against text",
        ),
        (
            {"expectation": "max_to_be_between", "column": "words", "max_value": 1},
            "only numbers and times have limits",
        ),
        (
            {"expectation": "column_mean_to_be_between", "column": "text", "max_value": 1},
            "calculates with numbers",
        ),
        (
            {"expectation": "values_to_be_between", "column": "big", "min_value": 2**60 + 2},
            "would round",
        ),
        (
            {"expectation": "values_to_be_between", "column": "big", "max_value": 10**400},
            "would round",
        ),
        (
            {
                "expectation": "values_to_be_null",
                "column": "text",
                "row_condition": "words == words",
            },
            "which holds lists",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_while_planning(
    expected: dict[str, Any], said: str
) -> None:
    assert said in (Expectations(expectations=[expected]).objection(kinds_of_columns()) or "")


def test_whole_numbers_are_told_exactly() -> None:
    stage = Expectations(
        expectations=[
            {"expectation": "values_to_be_in_set", "column": "big", "value_set": [2**60 + 2]}
        ]
    )
    assert stage.detect(kinds_of_columns(), NONE)[0]["detail"][0].startswith(
        "big is 1152921504606846977; "
    )


@pytest.mark.parametrize(
    ("expected", "claimed"),
    [
        (
            {
                "expectation": "values_to_be_between",
                "column": "age",
                "min_value": 0,
                "max_value": 120,
            },
            [],
        ),
        (
            {
                "expectation": "values_to_be_between",
                "column": "age",
                "min_value": dt.date(2020, 1, 1),
            },
            [],
        ),
        ({"expectation": "values_to_match_regex", "column": "age", "regex": "^a"}, []),
        ({"expectation": "values_to_be_in_set", "column": "age", "value_set": [1, 2]}, []),
        (
            {
                "expectation": "values_to_be_unique",
                "column": "id",
                "row_condition": "age > 3",
                "condition_parser": "pandas",
            },
            [],
        ),
        (
            {"expectation": "column_mean_to_be_between", "column": "age", "min_value": 1},
            ["observed empty"],
        ),
        (
            {"expectation": "column_stdev_to_be_between", "column": "age", "max_value": 3},
            ["observed empty"],
        ),
        (
            {"expectation": "values_to_not_be_null", "column": "age"},
            ["age is empty"] * 3 + ["3 of 3 rows fail"],
        ),
    ],
)
def test_a_column_without_any_value_is_of_any_type(
    expected: dict[str, Any], claimed: list[str]
) -> None:
    samples = Samples(
        pa.table({"id": list("abc"), "content": list("abc"), "age": pa.nulls(3, pa.string())})
    )
    stage = Expectations(expectations=(expected,))
    assert stage.objection(samples) is None
    details = [detail for found in stage.detect(samples, NONE) for detail in found["detail"]]
    assert len(details) == len(claimed)
    assert all(part in detail for part, detail in zip(claimed, details, strict=True))


def test_a_long_text_is_no_time_and_is_not_tried() -> None:
    from dqpipe_validation.proposal import _written

    assert _written("2024-01-01", "%Y-%m-%d")
    assert not _written("2024-01-01" + " " * 200, "%Y-%m-%d ")
