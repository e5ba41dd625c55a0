"""What a notebook shows: small HTML, escaped, no script and no network.

A gallery of a claim; the report to open.
"""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pandas as pd
import pytest

from dqpipe.api import Pipeline, Result
from dqpipe.data.tables import Findings, claim, table_of
from dqpipe.errors import DatasetError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.testing import small_images

PLANTED = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photograph tiles in two classes, with faults."""
    folder = tmp_path_factory.mktemp("images") / "images"
    small_images(folder)
    return folder


@pytest.fixture(scope="module")
def result(
    registry: Registry, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    """A run of a few stages."""
    out = tmp_path_factory.mktemp("notebook") / "out"
    return Pipeline.from_text(
        f"dataset: {{path: {photographs}}}\noutputs: {{path: {out}}}\nstages: [files, "
        f"duplicates]\n",
        registry=registry,
    ).run(Serial())


@pytest.fixture(scope="module")
def rows(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A check of a table with something planted."""
    frame = pd.DataFrame({"label": [PLANTED, "b", "b"] * 4, "x": [1, 2, 2] * 4})
    text = f"outputs: {{path: {tmp_path_factory.mktemp('rows')}}}\nstages: [duplicate_rows]\n"
    return Pipeline.from_text(text, registry=registry).check(Serial(), source=frame)


def test_a_result_tells_its_account_its_claims_and_where_its_report_is(result: Result) -> None:
    html = result._repr_html_()
    assert all(sentence.split(" ")[0] in html for sentence in result.account)
    assert "duplicates.exact" in html
    assert str(result.path) in html
    assert len(html) < 20_000


def test_a_gallery_shows_the_strongest_beside_what_they_are_compared_with(result: Result) -> None:
    gallery = result.show("duplicates.exact", n=1)
    html = gallery._repr_html_()
    assert len(gallery) == 1
    assert html.count('src="data:image/webp;base64,') == 2
    assert gallery.rows["match"][0] in html
    assert gallery.rows["decision"][0] == "drop"
    assert "http" not in html


def test_a_file_that_cannot_be_read_has_words_instead_of_a_picture(result: Result) -> None:
    assert "no picture of" in result.show("files.unreadable")._repr_html_()


def test_a_code_that_was_not_found_is_named_with_the_nearest(result: Result) -> None:
    with pytest.raises(DatasetError, match=r"did you mean 'duplicates\.exact'"):
        result.show("duplicates.exakt")


def test_a_code_that_a_stage_claims_and_nothing_carries_is_told_as_such(result: Result) -> None:
    with pytest.raises(
        DatasetError,
        match=r"nothing was found of 'duplicates\.leak'; there are findings of: .*duplicates\.exact",  # noqa: E501
    ):
        result.show("duplicates.leak")


def test_datasets_and_tables_show_a_few_rows_and_what_is_most_frequent(
    result: Result, photographs: Path, registry: Registry, tmp_path: Path
) -> None:
    dataset = Pipeline.from_text(
        f"dataset: {{path: {photographs}}}\noutputs: {{path: {tmp_path}}}\nstages: [files]\n",
        registry=registry,
    ).dataset()
    assert "60" in dataset._repr_html_() or str(len(dataset)) in dataset._repr_html_()
    found = Findings(table_of(Findings.columns, result.findings))
    assert "duplicates.exact" in found._repr_html_()
    assert found._repr_html_().count("<tr>") <= 9


def test_everything_from_the_data_is_escaped_and_rows_need_no_pictures(rows: Result) -> None:
    found = Findings(
        table_of(Findings.columns, [claim("a.b", [PLANTED], severity="info", detail=PLANTED)])
    )
    shown = [
        rows._repr_html_(),
        rows.show(rows.findings["code"][0])._repr_html_(),
        found._repr_html_(),
    ]
    assert [html for html in shown if "<script" in html or "<img" in html] == []
    assert "&lt;script&gt;" in shown[2]


def test_the_report_opens_in_the_browser(
    result: Result, rows: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    result.report.open()
    assert opened == [(Path(str(result.path)) / "report.html").as_uri()]
    with pytest.raises(DatasetError, match="a check writes no report"):
        rows.report.open()
