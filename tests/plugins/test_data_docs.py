"""Data Docs of a run: built from its record alone, and readable without a network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from dqpipe_validation.data_docs import DataDocs
from dqpipe_validation.expectations import Expectations

from dqpipe.data.tables import Facts, Samples

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = [
    {
        "expectation": "values_to_be_in_set",
        "column": "color",
        "value_set": ["green", "<script>alert(1)</script>"],
    },
    {"expectation": "mean_to_be_between", "column": "fare", "min_value": 5, "max_value": 9},
]


@pytest.fixture(name="record")
def fixture_record() -> dict[str, Any]:
    stage = Expectations(expectations=EXPECTED)
    samples = Samples(
        pa.table(
            {
                "id": ["a", "b", "c", "d"],
                "color": ["green", "blue", "green", "green"],
                "fare": [5.0, 6.0, 7.0, 8.0],
            }
        )
    )
    figures = stage.summarise(samples, Facts(pa.table({})))
    return {
        "run": {
            "id": "r7",
            "started": "2026-01-02T03:04:05",
            "stages": [{"name": "checks", "stage": "expectations", "options": stage.options()}],
        },
        "figures": [
            {
                "figure": f"checks.{row['figure']}",
                "scope": "set",
                "rows": [{"raw": row, "curated": None}],
            }
            for row in figures
        ],
    }


def test_the_pages_tell_each_expectation_and_its_result(
    record: dict[str, Any], tmp_path: Path
) -> None:
    DataDocs().write(record, tmp_path, [], list)
    (page,) = tmp_path.rglob("raw.html")
    words = " ".join(
        re.sub(
            r"<style.*?</style>|<[^>]+>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL
        ).split()
    )
    assert "1 unexpected values found. 25% of 4 total rows." in words
    assert "mean must be greater than or equal to 5 and less than or equal to 9 . 6.5" in words
    assert "Successful Expectations 1" in words


def test_the_pages_load_nothing_and_run_nothing(record: dict[str, Any], tmp_path: Path) -> None:
    DataDocs().write(record, tmp_path, [], list)
    pages = list((tmp_path / "data_docs").rglob("*.html"))
    assert sorted(page.name for page in pages) == ["checks.html", "index.html", "raw.html"]
    for page in pages:
        assert re.findall(r"<script|<link|src=.?http|url\(", page.read_text(encoding="utf-8")) == []


def test_every_link_between_the_pages_leads_somewhere(
    record: dict[str, Any], tmp_path: Path
) -> None:
    DataDocs().write(record, tmp_path, [], list)
    for page in (tmp_path / "data_docs").rglob("*.html"):
        for link in re.findall(r'href="([^"#:]+\.html)"', page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file(), f"{link} in {page.name}"


def test_a_run_without_expectations_has_no_data_docs(tmp_path: Path) -> None:
    DataDocs().write({"run": {"stages": []}, "figures": []}, tmp_path, [], list)
    assert list(tmp_path.iterdir()) == []
