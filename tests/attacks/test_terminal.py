"""Nothing that a name holds commands a terminal.

Every command, with hostile names in every place.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import pickle
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.cli import main, terminal
from dqpipe.errors import ConfigError, DatasetError, StageError
from dqpipe.execution import logs
from dqpipe.results import ci_files

ROOT = Path(__file__).parents[2]
LINK = "[link=http:/evil]ZQZ[/link]"
EVIL = f"a\x1b]8;;http://evil\x1b\\b\x1b[2J\x9b31m\x9d0;t\x9c\u202e\u2066\r\x07{LINK}:bomb:\n\x1b[32mPASSED\udce9"
PIPELINE = """
dataset: {path: rows.parquet, roles: {id: name, label: label, split: split, group: group}}
stages: [duplicate_rows]
outputs: {path: out, reports: [json]}
"""


@contextmanager
def within(folder: Path) -> Iterator[None]:
    before, number = Path.cwd(), signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, number)


def told(folder: Path, *words: str) -> tuple[int, str, str]:
    """A command in this process: its exit code, and what it prints."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
    )
    code = 0
    with (
        within(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(sys, "argv", ["dqpipe", *words])
        patched.setattr("warnings.showwarning", terminal._warned)
        try:
            main.main()
        except SystemExit as done:
            code = int(done.code or 0)
    for stream in (out, err):
        stream.flush()
    return code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()


def harmless(text: str) -> None:
    """Only printable letters and line breaks; no line of its own, no markup obeyed."""
    assert not {char for char in text if not char.isprintable() and char != "\n"}
    assert not re.search(r"^PASSED", text, re.MULTILINE)
    joined = re.sub(r"[\s│]", "", text)
    assert joined.count("ZQZ") == joined.count(LINK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over rows whose every name is hostile, and another one, with verdicts by a hostile
    reviewer.
    """
    place = tmp_path_factory.mktemp("hostile")
    safe = EVIL.replace("\udce9", "")
    rows = pd.DataFrame(
        {
            "name": [f"{n}{safe}" for n in range(30)],
            "label": [safe, "other"] * 15,
            "split": [safe, "train", "train"] * 10,
            "group": [f"g{safe}"] * 30,
            safe: [n // 2 for n in range(30)],
        }
    )
    rows.to_parquet(place / "rows.parquet")
    (place / "pipeline.yaml").write_text(PIPELINE)
    gates = "gates: ['duplicate_rows.exact in class nobody > 1%', 'samples < 100']\n"
    (place / "gated.yaml").write_text(PIPELINE.replace("path: out", "path: gated") + gates)
    (place / "class.yaml").write_text(
        PIPELINE + f"gates: [{json.dumps('samples in class ' + json.dumps(safe + 'x') + ' > 1')}]\n"
    )
    (place / "unknown.yaml").write_text(
        f"dataset: {{path: rows.parquet, {json.dumps(safe)}: 1}}\nstages: [{json.dumps(safe)}]\n"
    )
    role = f"{{label: {json.dumps(safe + 'x')}}}"
    (place / "role.yaml").write_text(
        f"dataset: {{path: rows.parquet, roles: {role}}}\nstages: [duplicate_rows]\noutputs: "
        f"{{path: out}}\n"
    )
    assert told(place, "run")[0] == 0
    assert told(place, "run", "--force", "-o", "policy.rules.duplicate_rows.*=keep")[0] == 0
    return place


SAFE = EVIL.replace("\udce9", "")
WALK = [
    ("run", "--dry-run"),
    ("run", "--summary", "--dry-run"),
    ("run", "--json", "--dry-run"),
    ("run", "--from-facts"),
    ("run", EVIL),
    ("run", "-o", SAFE),
    ("run", "-o", f"policy.rules.{SAFE}=drop"),
    ("run", "--out", f"s{SAFE}:/x", "--dry-run"),
    ("run", "gated.yaml"),
    ("run", "class.yaml"),
    ("run", "unknown.yaml"),
    ("run", "role.yaml"),
    ("run", "--executor", SAFE),
    ("run", "--limit", SAFE),
    ("run", SAFE, SAFE),
    ("run", f"--{SAFE}"),
    ("run", "--badge", f"{SAFE}/x"),
    ("check",),
    ("check", "--json"),
    ("check", "gated.yaml", "--junit", "junit.xml", "--badge", "badge.json"),
    ("check", "class.yaml", "--junit", "class.xml"),
    ("check", "--no-plugin", SAFE),
    ("--verbose", "check"),
    ("--log-json", "check"),
    ("init", EVIL),
    ("init", "rows.parquet", "-o", f"{SAFE}/x"),
    ("init", "rows.parquet", "-o", "new.yaml", "--out", SAFE),
    ("why", f"1{SAFE}"),
    ("why", f"1{SAFE}", "--json"),
    ("why", EVIL),
    ("why", "x", "--out", EVIL),
    ("doctor",),
    ("doctor", "--json"),
    ("open", "out", "--print"),
    ("open", EVIL),
    ("open", "out", "--version", SAFE),
    ("plugins",),
    ("plugins", SAFE),
    ("plugins", "duplicate_rows"),
    ("plugins", "--json"),
    ("schema", SAFE),
    ("schema", "--no-plugin", SAFE),
    ("schema",),
    ("ledger",),
    ("ledger", "--json"),
    ("ledger", "--count", "--json"),
    ("ledger", "--csv", f"{SAFE}/x"),
    ("ledger", "--class", SAFE),
    *(
        ("ledger", f"--{name}", f"{SAFE}x")
        for name in ("class", "code", "split", "group", "decision", "severity")
    ),
    ("ledger", EVIL),
    ("versions",),
    ("versions", EVIL),
    ("versions", "--json"),
    ("diff",),
    ("diff", "--json"),
    ("diff", SAFE),
    ("diff", "--out", EVIL),
    ("rollback", "out", SAFE),
    ("rollback", EVIL),
    ("rollback", "out", "--json"),
    ("approve", "out", SAFE),
    ("approve", "out", SAFE, "--reject", "--by", SAFE),
    ("approve", EVIL, SAFE, "--json"),
    ("export", SAFE, "folder"),
    ("handover", SAFE, "folder"),
    ("export", "csv", "handed"),
    ("export", "csv", "all", "--all"),
    ("export", "csv", "x", "--code", SAFE),
    ("export", "csv", "x", "--version", SAFE),
    ("import", SAFE),
    ("takeover", SAFE),
    ("import", f"{SAFE}.csv"),
    ("import", "all/samples.csv", "--from", SAFE),
    ("import", "said.csv"),
    ("import", "said.csv", "--json", "--partly"),
    ("import", "wrong.csv"),
    ("review", EVIL),
    ("review", "out", "--audit", SAFE),
    ("review", "out", "--fit", SAFE),
    ("review", "out", "--code", SAFE),
    ("review", "--host", SAFE),
    ("store", "show", "out"),
    ("store", "show", "out", "--json"),
    ("store", "prune", "out", "--dry-run"),
    ("store", "verify", "out"),
    ("store", "show", EVIL),
    ("store", "prune", EVIL),
    ("store", "verify", EVIL),
    (SAFE,),
    ("store", SAFE),
]


def test_no_command_prints_what_a_terminal_obeys(folder: Path) -> None:
    (folder / "said.csv").write_text(
        f'id,label,verdict,reviewer\n"1{SAFE}",other,keep,"{SAFE}"\n"2{SAFE}","{SAFE}",drop,"{SAFE}"\n'
    )
    (folder / "wrong.csv").write_text(
        f'id,label,verdict,new_label,reviewer\n"1{SAFE}",other,relabel,"{SAFE}x",ann\n"{SAFE}",,"{SAFE}",,ann\n'
    )
    wrong = []
    for words in WALK:
        code, out, err = told(folder, *words)
        try:
            harmless(out)
            harmless(err)
            assert code in (0, 1, 2)
            assert out + err
        except AssertionError as error:
            wrong.append(f"{words}: exit {code}: {str(error)[:200]}: {out[:1000]!r} {err[:1000]!r}")
    assert not wrong, "\n\n".join(wrong)


def test_the_walk_leaves_no_command_out() -> None:
    app = typer.main.get_command(main.app)
    names = {
        (name, *([] if not hasattr(command, "commands") else [""]))
        for name, command in app.commands.items()
    }  # type: ignore[attr-defined]
    assert {name[0] for name in names} <= {words[0] for words in WALK}
    assert set(app.commands["store"].commands) <= {
        words[1] for words in WALK if words[0] == "store"
    }  # type: ignore[attr-defined]


def test_what_a_ci_system_is_told_commands_no_terminal(folder: Path) -> None:
    assert told(folder, "check", "class.yaml", "--junit", "class.xml", "--badge", "class.json")[
        0
    ] in (1, 2)
    said = "".join(
        text
        for case in ET.fromstring((folder / "class.xml").read_bytes()).iter()
        for text in (case.text or "", *case.attrib.values())
    )
    harmless(said)
    harmless(ci_files.junit_of_error(ConfigError(SAFE, SAFE)).decode())
    harmless(json.loads((folder / "class.json").read_text())["message"])


ANY = st.text(st.characters(), max_size=30) | st.text(st.sampled_from(EVIL), max_size=40)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_whatever_is_said_is_printable(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        terminal.say(text)
        terminal.complain(text)
        terminal.say_table([text], [[text]], title=text)
        terminal.say_styled([("bold", text)])
    assert not {
        char for char in out.getvalue() + err.getvalue() if not char.isprintable() and char != "\n"
    }
    for error in (ConfigError(text, text), DatasetError(text), StageError(text, text, text, text)):
        assert not {char for char in str(error) if not char.isprintable() and char != "\n"}
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert all(line.startswith(" ") for line in str(error).split("\n")[1:] if line)
    record = logging.LogRecord(text, logging.INFO, "", 0, "%s", (text,), None)
    assert logs.Lines().format(record).isprintable()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(ANY, ANY, max_size=3))
def test_json_is_printable_and_the_same(value: dict[str, str]) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        terminal.say_json(value)
    assert not {char for char in out.getvalue() if not char.isprintable() and char != "\n"}
    assert json.loads(out.getvalue()) == value


def test_nothing_prints_beside_the_one_way() -> None:
    found = []
    for path in [
        *(ROOT / "dqpipe").rglob("*.py"),
        *(ROOT / "plugins").rglob("*.py"),
        *(ROOT / "flows").rglob("*.py"),
    ]:
        if path.name != "terminal.py":
            called = (
                node.func
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Call)
            )
            found += [
                f"{path.name}: {ast.unparse(one)}"
                for one in called
                if re.search(r"(^|\.)(print|echo|secho|Console)$", ast.unparse(one))
            ]
    assert found == []


def test_a_terminal_that_knows_few_letters_is_told_all_the_same(folder: Path) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with within(folder), redirect_stdout(out), pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["dqpipe", "plugins", "--json"])
        patched.setattr("warnings.showwarning", terminal._warned)
        with pytest.raises(SystemExit):
            main.main()
    out.flush()
    assert json.loads(out.buffer.getvalue())["extensions"]
