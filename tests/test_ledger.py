"""The ledger says for each sample why it is where it is, also where there is nothing to say."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from dqpipe.data.tables import Decisions, Findings, Samples, claim, table_of
from dqpipe.results.ledger import SCHEMA, ledger

SAMPLES = Samples(pa.table({"id": ["a", "b"], "content": ["1", "2"], "label": [1, None]}))
DECIDED = Decisions(
    table_of(
        Decisions.columns,
        pd.DataFrame({"id": ["a", "b"], "decision": ["drop", "keep"], "because": [["s.bad"], []]}),
    )
)
STAGES = [{"name": "s", "version": 3, "plugin": "p"}]


def test_one_row_for_each_finding_and_one_for_each_sample_without() -> None:
    found = Findings(
        table_of(
            Findings.columns,
            [claim("s.bad", ["a", "a", None], severity="error", value=2.0, part=["x", "y", None])],
        )
    )
    rows = ledger(SAMPLES, None, found, DECIDED, STAGES).to_pylist()
    assert [
        (r["id"], r["code"], r["part"], r["decision"], r["stage_version"], r["plugin"])
        for r in rows
    ] == [
        ("a", "s.bad", "x", "drop", 3, "p"),
        ("a", "s.bad", "y", "drop", 3, "p"),
        ("b", None, None, "keep", None, None),
        (None, "s.bad", None, None, 3, "p"),
    ]
    assert rows[0]["because"] == ["s.bad"]
    assert rows[0]["label"] == "1"


def test_without_any_finding() -> None:
    table = ledger(SAMPLES, None, Findings(table_of(Findings.columns, [])), DECIDED, STAGES)
    assert table.schema.equals(SCHEMA)
    assert table.column("code").to_pylist() == [None, None]
