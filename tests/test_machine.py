"""`dqpipe doctor` tells what is here and what is wrong; `dqpipe open` finds the report."""

from __future__ import annotations

import json
import webbrowser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import dqpipe
from tests.test_cli import dqpipe as command


def checks(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (check["group"], check["name"]): check
        for check in json.loads(capsys.readouterr().out)["checks"]
    }


def test_a_machine_that_works_is_called_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("doctor", "--json") == 0
    told = checks(capsys)
    assert told["package", "pandas"]["found"] == metadata.version("pandas")
    assert told["plugin", "images"]["state"] == "fine"
    assert not [check for check in told.values() if check["state"] == "wrong"]
    assert command("doctor") == 0
    assert f"dqpipe {dqpipe.__version__}" in capsys.readouterr().out


def test_a_version_that_dqpipe_does_not_work_with_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = metadata.version
    other = {"fastapi": "0.160.0"}
    monkeypatch.setattr(metadata, "version", lambda name: other.get(name) or installed(name))
    assert command("doctor", "--json") == 1
    told = checks(capsys)
    assert told["package", "fastapi"]["state"] == "wrong"
    assert "pip install 'fastapi<0.151,>=0.139'" in told["package", "fastapi"]["advice"]
    assert [name for (_, name), check in told.items() if check["state"] == "wrong"] == ["fastapi"]


def test_the_report_of_the_published_version_is_opened(
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    ran = dqpipe.curate(images, out=out, executor="serial")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)) or True)
    capsys.readouterr()
    assert command("open", str(out)) == 0
    report = Path(str(ran.path)) / "report.html"
    assert capsys.readouterr().out.strip() == str(report.resolve())
    assert opened == [report.resolve().as_uri()]
    assert command("open", str(out), "--print") == 0
    assert len(opened) == 1
    assert command("open", str(tmp_path / "nothing")) == 2
