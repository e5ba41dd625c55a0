"""What each column of a table is, and what is wrong with it as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_tables.columns import Columns

from dqpipe import Facts, Samples

ROWS = 400


def table(**columns: Any) -> Samples:
    ids = [f"row-{n:04}" for n in range(len(next(iter(columns.values()))))]
    return Samples(pa.table({"id": ids, **{n: pa.array(v) for n, v in columns.items()}}))


def remarks(**columns: Any) -> pd.DataFrame:
    samples = table(**columns)
    found = Columns().detect(samples, Facts(samples.table.select(["id"])))
    return pd.concat(found, ignore_index=True)


def told(code: str, /, **columns: Any) -> dict[str, str]:
    found = remarks(**columns)
    return dict(found.loc[found["code"] == code, ["part", "detail"]].itertuples(index=False))


@pytest.mark.parametrize(
    ("name", "values", "word"),
    [
        ("mail", ["a@b.org", "c.d@e.com"] * 30, "an e-mail"),
        ("site", ["https://a.org/x", "www.b.org"] * 30, "a URL"),
        ("phone", [f"+49 30 {n:06}" for n in range(60)], "a phone"),
        ("born", [f"{n % 28 + 1}.3.2001" for n in range(60)], "a date"),
        ("seen", [f"2001-03-{n % 28 + 1:02} 10:00" for n in range(60)], "a date"),
        ("start", ["10:15", "9:40 pm"] * 30, "a time"),
        ("took", ["3 days", "4h 20m"] * 30, "a duration"),
        ("price", ["$3.50", "$1,200"] * 30, "money"),
        ("price", [3.5, 2.0] * 30, "money"),
        ("rate", ["3%", "12.5 %"] * 30, "a share"),
        ("rate", [0.25, 0.5] * 30, "a share"),
        ("weight", ["3 kg", "12 kg"] * 30, "a quantity"),
        ("ok", ["yes", "no"] * 30, "a boolean"),
        ("ok", [0, 1] * 30, "a boolean"),
        ("city", ["Bonn", "Köln"] * 30, "a place"),
        ("color", ["red", "blue"] * 30, "a category"),
        ("nr", list(range(60)), "a key"),
        ("children", [0, 1, 2] * 20, "a count"),
        ("shift", [-1.5, 2.5] * 30, "a number"),
        ("year", [1999, 2004] * 30, "a year"),
        ("note", [f"the {n}th note of a person" for n in range(60)], "text"),
        ("none", pa.nulls(60, pa.string()), "empty"),
    ],
)
def test_a_column_is_what_a_person_would_call_it(name: str, values: Any, word: str) -> None:
    assert told("kind", **{name: values})[name].split(":")[0] == word


def test_missing_values_are_found_in_all_their_spellings() -> None:
    job = ["cook", "smith", "cook", "judge"] * 90 + ["?", "N/A", "unknown", "-"] * 10
    found = told("missing_spelt", job=job, land=["DE", "FR", "NA", "IT"] * 100)
    assert list(found) == ["job"]  # Namibia is a land
    assert found["job"].startswith("40 of 400 cells stand for no value: '-' (10)")


def test_numbers_that_stand_for_missing_values_are_found() -> None:
    rng = np.random.default_rng(1)
    height = rng.normal(170, 9, ROWS).round()
    height[:6] = 999
    side = rng.uniform(4, 9, ROWS).round(2)
    side[:4] = 0
    riders = rng.choice([1, 2, 3], ROWS, p=[0.7, 0.2, 0.1])
    riders[:5] = 0
    children = rng.poisson(1.5, ROWS)
    found = told("missing_code", height=height, side=side, riders=riders, children=children)
    assert {name: text.split(",")[0] for name, text in found.items()} == {
        "height": "6 cells are 999",
        "side": "4 cells are 0",
        "riders": "5 cells are 0",
    }


def test_what_is_written_in_several_ways_is_told() -> None:
    found = remarks(
        size=["12 oz", "16 oz.", "12", "20 oz"] * 100,
        day=["13/02/2020", "02/14/2020", "01/02/2020", "25/12/2020"] * 100,
        age=[str(n % 97) for n in range(ROWS - 2)] + ["thirty", "old"],
        zip=[n + 10000 for n in range(ROWS - 20)] + [n + 1000 for n in range(20)],
    )
    seen = found.loc[found["code"].str.startswith(("mixed", "lost")), ["part", "code", "severity"]]
    assert set(seen.itertuples(index=False, name=None)) == {
        ("size", "mixed_units", "warning"),
        ("day", "mixed_dates", "warning"),
        ("zip", "lost_zeros", "warning"),
        ("age", "mixed_types", "warning"),
    }


def test_constants_and_columns_that_say_the_same_are_told() -> None:
    rng = np.random.default_rng(1)
    code = rng.integers(0, 9, ROWS)
    names = np.array(list("abcdefghi"))[code].tolist()
    columns = {
        "code": code,
        "name": names,
        "unit": ["cm"] * ROWS,
        "other": rng.integers(0, 9, ROWS),
    }
    assert list(told("same", **columns)) == ["name"]
    assert list(told("constant", **columns)) == ["unit"]


@pytest.mark.parametrize("leaking", [True, False])
def test_a_column_that_gives_the_label_away_is_found(leaking: bool) -> None:
    rng = np.random.default_rng(2)
    label = rng.choice(["sick", "well"], ROWS, p=[0.3, 0.7])
    sure = np.where(label == "sick", 1.0, 0.0) if leaking else rng.random(ROWS)
    score = sure * 10 + rng.random(ROWS)
    key = [f"k{n}" for n in range(ROWS)]
    ward = np.where(rng.random(ROWS) < 0.8, label, "none").tolist()  # tells much, but not all
    found = told("leak", label=label.tolist(), score=score, ward=ward, key=key)
    assert list(found) == (["score"] if leaking else [])


def test_a_table_without_columns_or_rows_is_no_error() -> None:
    samples = table(x=[1.0])
    nothing = samples.take(np.array([], int))
    assert Columns().detect(nothing, Facts(nothing.table.select(["id"]))) == []
    assert Columns().summarise(nothing, Facts(nothing.table.select(["id"]))) == []
    assert Columns.proposal(samples.select(["id"])) is None


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    columns = {
        "a": rng.integers(0, 30, ROWS),
        "b": rng.choice(["x", "y", "N/A"], ROWS),
        "label": rng.choice(["p", "q"], ROWS),
    }
    mixed = rng.permutation(ROWS)
    first = remarks(**columns)
    again = remarks(**{name: values[mixed] for name, values in columns.items()})
    pd.testing.assert_frame_equal(first, again)
