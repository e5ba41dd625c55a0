"""Single wrong cells: each kind is found where it was planted, and sound tables stay untouched."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_tables.cells import Cells, suspects
from sklearn import datasets

import dqpipe
from dqpipe.data.tables import Facts, Samples

CITIES = {"Birmingham": "AL", "Sheffield": "AL", "Phoenix": "AZ", "Boston": "MA", "Salem": "OR"}


def table(n: int = 400) -> pd.DataFrame:
    """Deliveries: a city that determines its state, a code of one form, amounts, times."""
    chance = np.random.default_rng(1)
    cities = chance.choice(list(CITIES), n)
    start = pd.Timestamp("2026-01-01") + pd.to_timedelta(chance.integers(0, 500_000, n), "min")
    weight = chance.lognormal(2, 0.3, n).round(2)
    return pd.DataFrame(
        {
            "city": cities,
            "state": [CITIES[city] for city in cities],
            "code": [
                f"{a}-{b:04d}" for a, b in zip(chance.integers(10, 99, n), range(n), strict=True)
            ],
            "weight": weight,
            "cost": (weight * 3 + chance.normal(0, 0.5, n)).round(2),
            "pieces": chance.choice([1, 2, 3], n, p=[0.8, 0.15, 0.05]),
            "sent": start,
            "arrived": start + pd.to_timedelta(chance.integers(60, 5_000, n), "min"),
        }
    )


def samples(frame: pd.DataFrame) -> Samples:
    ids = pa.array([f"{row:06d}" for row in range(len(frame))])
    return Samples(pa.Table.from_pandas(frame, preserve_index=False).add_column(0, "id", ids))


def found(frame: pd.DataFrame) -> set[tuple[int, str, str]]:
    return {(s.row, s.column, s.kind) for s in suspects(samples(frame), 0)}


FAULTS = {
    "misspelt": ("city", "Birmingxam"),
    "swapped letters": ("city", "Pheonix"),
    "dependency": ("state", "OR"),
    "form": ("code", "12-34x4"),
    "zero": ("pieces", 0),
    "zero of a measure": ("weight", 0.0),
    "negative": ("cost", -30.0),
    "far": ("weight", 8_000.0),
    "order": ("arrived", pd.Timestamp("2025-01-01")),
    "missing": ("city", None),
    "missing in words": ("state", "n/a"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(fault: str) -> None:
    frame, (column, value) = table(), FAULTS[fault]
    row = int(np.flatnonzero(frame["city"] == "Birmingham")[3])
    frame.loc[row, column] = value
    told = found(frame)
    assert {(r, c) for r, c, _ in told} == {(row, column)}
    assert fault.split(maxsplit=1)[0] in {kind for _, _, kind in told} or fault == "swapped letters"


def test_a_sound_table_has_no_suspect() -> None:
    assert found(table()) == set()


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "linnerud"])
def test_measurements_that_people_published_have_none(name: str) -> None:
    assert found(getattr(datasets, f"load_{name}")(as_frame=True).frame) == set()


def test_what_fits_better_is_suggested_with_why() -> None:
    frame = table()
    row = int(np.flatnonzero(frame["city"] == "Salem")[0])
    frame.loc[row, "city"] = "Salxm"
    told = [s for s in suspects(samples(frame), 0) if s.kind == "misspelt"]
    assert [(s.row, s.column, s.suggestion) for s in told] == [(row, "city", "Salem")]
    assert "'Salem' occurs" in told[0].why


def test_misspellings_that_recur_do_not_silence_their_column() -> None:
    """Of many rows a misspelling stands several times, and is no value of its own for that."""
    chance = np.random.default_rng(3)
    cut = chance.choice(["Ideal", "Premium", "Very Good"], 4000, p=[0.4, 0.35, 0.25]).astype(object)
    for k, wrong in enumerate(["Idel", "dIeal", "Premum", "Very God", "Idela"]):
        cut[10 * k : 10 * k + 6] = wrong
    told = list(suspects(samples(pd.DataFrame({"cut": cut})), 0))
    assert {s.row for s in told} == {10 * k + j for k in range(5) for j in range(6)}
    assert {s.suggestion for s in told} == {"Ideal", "Premium", "Very Good"}


def test_a_total_that_is_not_the_sum_of_its_parts_is_found() -> None:
    chance = np.random.default_rng(5)
    net, tax, tip = (chance.integers(100, 5_000, 300) / 100 for _ in range(3))
    total = (net + tax + tip).round(2)
    frame = pd.DataFrame({"net": net, "tax": tax, "tip": tip, "total": total})
    assert found(frame) == set()
    frame.loc[33, "total"] += 10
    told = list(suspects(samples(frame), 0))
    assert [(s.row, s.column, s.kind) for s in told] == [(33, "total", "sum")]
    assert told[0].suggestion == f"{total[33]:.12g}"
    frame["total"] += chance.normal(0, 1, 300)  # of the same size, and no sum
    assert found(frame) == set()


def test_codes_that_differ_by_a_digit_and_words_of_a_language_are_no_misspellings() -> None:
    chance = np.random.default_rng(2)
    grades = chance.choice(["grade 1", "grade 2", "grade 3"], 500, p=[0.95, 0.04, 0.01])
    two = {
        "wing": ("north wing", "south wing"),
        "ward": ("ward A", "ward B"),
        "type": ("type II", "type III"),
        "sex": ("female", "male"),
        "plan": ("plan-a", "plan-b"),
    }
    names = {name: chance.choice(both, 500, p=[0.98, 0.02]) for name, both in two.items()}
    assert found(pd.DataFrame({"grade": grades, **names})) == set()


def test_a_value_that_a_group_always_has_breaks_no_dependency() -> None:
    """One clinic of another state: its rows differ from all others as a rule, not by mistake."""
    rows = [
        {
            "clinic": f"c{k % 12}",
            "test": f"t{k % 7}",
            "average": f"{'ak' if k % 12 == 0 else 'al'} t{k % 7}",
        }
        for k in range(600)
    ]
    assert found(pd.DataFrame(rows)) == set()


def test_numbers_with_units_written_in_several_ways_are_told_with_the_number() -> None:
    frame = pd.DataFrame(
        {"size": [f"{12 + k % 3}{(' oz', ' oz.', ' ounce')[k % 3]}" for k in range(90)]}
    )
    told = list(suspects(samples(frame), 0))
    assert {s.kind for s in told} == {"unit"}
    assert len(told) == 90
    assert told[0].suggestion == "12"
    same = pd.DataFrame({"size": [f"{12 + k % 3} oz" for k in range(90)]})
    assert found(same) == set()


def test_the_order_of_the_rows_and_their_number_do_not_matter() -> None:
    frame = table()
    frame.loc[[3, 50], "city"] = ["Bostxn", None]
    frame.loc[[7], "weight"] = 0.0
    turned = frame.iloc[::-1].reset_index(drop=True)
    n = len(frame)
    assert found(frame) == {(n - 1 - row, c, k) for row, c, k in found(turned)}


def test_an_option_judges_anew_what_was_found() -> None:
    frame = table()
    frame.loc[:59, "code"] = None  # 85 % are filled
    given = samples(frame)
    facts = Facts(
        pa.table(
            {"suspects": pa.array(Cells().relate(given, Facts(pa.table({})), None)["suspects"])}
        )
    )

    def missing(**options: float) -> int:
        codes = pd.concat(Cells(**options).detect(given, facts))["code"]
        return int((codes == "missing").sum())

    assert (missing(), missing(filled=0.8)) == (0, 60)


HOSTILE = {
    "lists": pa.array([[1], [2, 3]] * 30),
    "structs": pa.array([{"a": 1}] * 60),
    "bytes": pa.array([b"\xff\x00"] * 60),
    "nan": pa.array([float("nan"), float("inf"), -1e308, 1e308] * 15),
    "wide": pa.array([2**63 - 1, -(2**63), 0] * 20),
    "empty": pa.array([None] * 60, pa.string()),
    "odd": pa.array(["\x00", "\u202e", "\n", "'; drop", "<script>", "é" * 5000] * 10),
    "dictionary": pa.array(["a", "b", None] * 20).dictionary_encode(),
    "decimal": pa.array([Decimal("1.5"), Decimal("2.5")] * 30),
    "truth": pa.array([True, False, None] * 20),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_column_can_be_looked_at(name: str) -> None:
    ids = pa.array([f"{row:03d}" for row in range(60)])
    list(suspects(Samples(pa.table({"id": ids, name: HOSTILE[name], "x": list(range(60))})), 0))


def test_a_run_over_a_table_sends_such_rows_to_review_and_changes_nothing(tmp_path: Path) -> None:
    frame = table()
    frame.loc[11, "city"] = "Bostxn"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    result = dqpipe.curate(tmp_path / "rows.csv", tmp_path / "out", stages=["cells"], gates=[])
    told = result.findings[result.findings["code"] == "cells.misspelt"]
    assert told["part"].tolist() == ["city"]
    assert told["detail"].iloc[0].startswith("city is 'Bostxn': 'Boston' occurs ")
    assert told["detail"].iloc[0].endswith("; 'Boston' fits better")
    assert "suggestion" not in told or told["suggestion"].isna().all()  # that is for labels
    assert set(result.decisions["decision"]) == {"keep", "review"}
    written = next((tmp_path / "out" / "curated").glob("*.csv"))
    assert "Bostxn" in written.read_text()
