"""No CSV for people holds a cell that a spreadsheet runs, and each comes back as it was."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.api import Pipeline
from dqpipe.data.tables import Decisions, Findings, Samples, claim, table_of
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.run_record import relabel_queue
from dqpipe.storage import spreadsheet

FORMULAS = [
    '=HYPERLINK("http://evil","x")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\u3000=1",
    "\ufeff=1",
    "\x00=1",
    "\r=1",
    "\n=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1+2",
    "\uff20A1",
    "\ufe661",
    "a;=1",
    "a;\u00a0=1",
    "a\t@b",
    "a\n=1",
    "'=1",
    "a;'=1",
    "-",
]
HARMLESS = ["-3.5", "-1e-7", "a-b", "a=b", "x@y", "a; b", "'", ""]
RUN = re.compile(
    "[\x00-\x20\x7f-\xa0\u3000\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
)
NUMBER = re.compile(r"-(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def runs(cell: str) -> bool:
    """Whether a spreadsheet runs a cell, or one that it makes of it where it separates
    otherwise.
    """
    return not NUMBER.fullmatch(cell) and any(
        RUN.match(part) for part in re.split("[;\t\r\n]", cell)
    )


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_is_guarded(cell: str) -> None:
    assert not runs(spreadsheet.safe(cell))
    assert spreadsheet.plain(spreadsheet.safe(cell)) == cell


@pytest.mark.parametrize("cell", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(cell: str) -> None:
    assert spreadsheet.safe(cell) == cell == spreadsheet.plain(cell)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.text(
            st.sampled_from("=+-@\uff1d\uff20';\t\r\n \ufeffa1,\"") | st.characters(codec="utf-8"),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_written_comes_back(cells: list[str]) -> None:
    file = io.BytesIO()
    spreadsheet.write(pa.table({"=id": cells, "list": [[cell] for cell in cells]}), file)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert [spreadsheet.plain(row[0]) for row in rows[1:]] == cells
    assert not any(runs(cell) for row in rows for cell in row)


def test_the_queue_of_labels_in_question_runs_nowhere(registry: Registry, tmp_path: Path) -> None:
    ids = [*FORMULAS, "fine"]
    samples = Samples(
        pa.table({"id": ids, "content": [str(n) for n in range(len(ids))], "label": ids})
    )
    found = Findings(
        table_of(
            Findings.columns,
            [
                claim("s.b", [one], severity="warning", suggestion=one, confidence=0.5)
                for one in ids
            ],
        )
    )
    decided = Decisions(
        table_of(
            Decisions.columns,
            pd.DataFrame({"id": ids, "decision": "keep", "because": [[]] * len(ids)}),
        )
    )
    file = io.BytesIO()
    spreadsheet.write(
        pa.Table.from_pandas(relabel_queue(samples, found, decided), preserve_index=False), file
    )
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert {spreadsheet.plain(row[0]) for row in rows[1:]} == {*ids}
    assert not any(runs(cell) for row in rows for cell in row)

    frame = pd.DataFrame(
        {"a": range(40), "label": ["=1+1", "b"] * 20, "name": [f"=x{n}" for n in range(40)]}
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    text = (
        "dataset: {path: rows.parquet, roles: {id: name, label: label}}\nstages: "
        "[duplicate_rows]\noutputs: {path: out, reports: []}\n"
    )
    done = Pipeline.from_text(text, base=tmp_path, registry=registry).run(Serial())
    assert isinstance(done.path, Path)
    assert (done.path / "relabel.csv").read_text().splitlines()[0].replace(
        '"', ""
    ) == "id,label,suggestion,confidence,code,decision"


def test_a_cell_of_every_csv_is_made_safe_in_one_place() -> None:
    root = Path(__file__).parents[2]
    writers = {
        str(path.relative_to(root))
        for path in (*root.glob("dqpipe/**/*.py"), *root.glob("plugins/dqpipe_exchange/*.py"))
        if re.search(r"to_csv\(|csv\.writer\(|csv\.write_csv\(", path.read_text())
    }
    assert writers == {"dqpipe/storage/spreadsheet.py", "plugins/dqpipe_exchange/csv_file.py"}
