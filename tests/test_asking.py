"""The ledger asked: documented columns, filters, counts, exports that no spreadsheet obeys, the
query of the PAGE.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.data.tables import Decisions, Findings, Samples, claim, table_of
from dqpipe.data.wording import many
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.ledger import COLUMNS, SCHEMA, VERSION, ledger
from dqpipe.results.ledger_query import write_csv
from dqpipe.results.versions import Version
from dqpipe.testing import small_images

PAGE = (Path(__file__).parents[1] / "docs" / "outputs.md").read_text(encoding="utf-8")
TYPES = {
    "string": "text",
    "double": "number",
    "int64": "whole number",
    "list<item: string>": "list of text",
}


@pytest.fixture(scope="module")
def out(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of a run."""
    folder = tmp_path_factory.mktemp("ledger")
    small_images(folder / "images")
    text = (
        f"dataset: {{path: {folder / 'images'}}}\nstages: [files, image_quality, "
        f"duplicates]\noutputs: {{path: {folder / 'out'}, reports: [json]}}\n"
    )
    Pipeline.from_text(text, registry=registry).run(Serial())
    return folder / "out"


def asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """What `dqpipe ledger` says: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["dqpipe", "ledger", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def test_the_readme_and_the_file_say_what_the_columns_mean(out: Path) -> None:
    told = re.search(r"<!-- ledger -->\n(.*?)<!-- /ledger -->", PAGE, re.DOTALL)
    assert told
    assert told[1].splitlines()[2:] == [
        f"| `{name}` | {TYPES[str(kind)]} | {meaning} |" for name, kind, meaning in COLUMNS
    ]
    schema = pq.read_schema(out / "ledger.parquet")
    assert schema.equals(SCHEMA)
    assert {field.name: field.metadata[b"description"].decode() for field in schema} == {
        name: meaning for name, _, meaning in COLUMNS
    }
    assert schema.metadata[b"dqpipe.ledger"] == str(VERSION).encode()
    assert (
        json.loads(schema.metadata[b"dqpipe.columns"])["code"]
        == {n: m for n, _, m in COLUMNS}["code"]
    )


def test_the_query_of_the_readme_runs(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = re.search(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert query
    monkeypatch.chdir(out.parent)
    rows = duckdb.sql(query[1]).fetchall()
    frame = Version.open(out).ledger
    near = frame[(frame["code"] == "duplicates.near") & (frame["label"] == "china")]
    assert [row[3] for row in rows if row[:2] == ("china", "duplicates.near")] == near.groupby(
        "decision"
    )["id"].nunique().sort_values(ascending=False).tolist()
    assert duckdb.sql(
        "SELECT count(*) FROM parquet_kv_metadata('out/ledger.parquet') WHERE decode(key) LIKE "
        "'dqpipe%'"
    ).fetchall() == [(2,)]


def test_filters_count_and_agree_with_the_table(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Version.open(out).ledger
    wanted = frame[
        frame["code"].fillna("").str.startswith("duplicates.")
        & (frame["label"] == "china")
        & frame["decision"].isin(["drop", "review"])
    ]
    question = [
        str(out),
        "--code",
        "duplicates.*",
        "--class",
        "china",
        "--decision",
        "drop",
        "--decision",
        "review",
    ]
    assert asked(capsys, monkeypatch, *question, "--count")[:2] == (
        0,
        f"{wanted['id'].nunique()}\n",
    )
    rows = json.loads(asked(capsys, monkeypatch, *question, "--json")[1])
    assert [(row["id"], row["code"], row["match"]) for row in rows] == [
        tuple(row) for row in wanted[["id", "code", "match"]].to_numpy()
    ]
    told = json.loads(asked(capsys, monkeypatch, *question, "--json", "--count")[1])
    assert (told["samples"], told["rows"], sum(row["rows"] for row in told["counts"])) == (
        wanted["id"].nunique(),
        len(wanted),
        len(wanted),
    )
    _, said, _ = asked(capsys, monkeypatch, *question, "--most", "1")
    assert said.splitlines()[0].startswith(f"{wanted.iloc[0]['id']} [china]: ")
    assert (
        f"{many(wanted['id'].nunique(), 'sample')}, {many(len(wanted), 'row')} of the ledger"
        in said
    )


def test_what_nothing_has_is_refused_with_the_nearest(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, error = asked(capsys, monkeypatch, str(out), "--code", "duplicates.neer")
    assert (code, said) == (2, "")
    assert "did you mean 'duplicates.near'" in error
    assert "did you mean 'china'" in asked(capsys, monkeypatch, str(out), "--class", "chnia")[2]
    assert (
        "did you mean 'relabel'" in asked(capsys, monkeypatch, str(out), "--decision", "relabl")[2]
    )
    assert asked(capsys, monkeypatch, str(out), "--decision", "relabel", "--count")[:2] == (
        0,
        "0\n",
    )
    assert "holds no run" in asked(capsys, monkeypatch, str(out.parent / "nowhere"))[2]


def test_a_csv_is_written_whole_and_no_spreadsheet_obeys_it(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frame = Version.open(out).ledger
    assert asked(capsys, monkeypatch, str(out), "--csv", str(tmp_path / "l.csv"))[:2] == (0, "")
    assert pd.read_csv(tmp_path / "l.csv")["id"].tolist() == frame["id"].tolist()
    assert asked(capsys, monkeypatch, str(out), "--csv", str(tmp_path / "absent" / "l.csv"))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]

    hostile = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        " =1",
        'a",=b\n=c',
        "-3.5",
        "fine",
    ]
    samples = Samples(pa.table({"id": hostile, "content": list("abcdefghi"), "label": hostile}))
    decided = Decisions(
        table_of(
            Decisions.columns,
            pd.DataFrame({"id": hostile, "decision": "keep", "because": [["=x", "s.b"]] * 9}),
        )
    )
    found = Findings(
        table_of(
            Findings.columns,
            [claim("s.b", [hostile[0]], severity="info", value=-1.5, detail="=HYPERLINK(1)")],
        )
    )
    sink = io.BytesIO()
    write_csv(ledger(samples, None, found, decided, []), sink)
    cells = list(csv.reader(io.StringIO(sink.getvalue().decode(), newline="")))
    ids = {row[0] for row in cells[1:]}
    assert ids == {
        *("'" + one for one in hostile[:6] if one != "\t=1"),
        "'\t'=1",
        "a\",=b\n'=c",
        *hostile[7:],
    }
    assert {row[7] for row in cells[1:]} == {"'=x, s.b"}
    assert all(
        cell[:1] not in set("=+@\t\r") and (cell[:1] != "-" or float(cell) < 0)
        for row in cells
        for cell in row
    )


def test_what_a_name_holds_cannot_command_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out" / "versions" / "v"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"stages": []}')
    samples = Samples(
        pa.table({"id": ["\x1b[2Ja\n"], "content": ["a"], "label": [["\u202ecat", "dog"]]})
    )
    decided = Decisions(
        table_of(
            Decisions.columns,
            pd.DataFrame({"id": ["\x1b[2Ja\n"], "decision": ["keep"], "because": [[]]}),
        )
    )
    pq.write_table(
        ledger(samples, None, Findings(table_of(Findings.columns, [])), decided, []),
        folder / "ledger.parquet",
    )
    code, said, _ = asked(capsys, monkeypatch, str(folder), "--class", "dog")
    assert (code, said.splitlines()[0]) == (0, '\\x1b[2Ja\\n [["\\u202ecat", "dog"]]: keep')
