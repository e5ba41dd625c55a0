"""A run over exactly one sample, one class and one finding.

Whatever it says, nouns and verbs agree with one.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version

PLURAL = (
    "samples|classes|files|rows|columns|images|pictures|findings|warnings|errors|failures|verdicts|claims|rules|gates|runs|versions|stages|labels|groups|splits|"
    "copies|facts|figures|measurements|values|shards|points|examples|codes|kinds|reasons|reviewers|bytes|have|are|were|carry|concern|match|stay|fail|need|say|lie"
)
WRONG = re.compile(
    rf"(?<![\d.,:x=-])(?<!= )1 (?:(?:new|more|other|made|raw|failed|of) "
    rf")?(?:{PLURAL})\b|(?<![\d.,:-])1 (?:of 1 )(?:{PLURAL})\b"
)
LEFT_OUT = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^>]+>")


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["dqpipe", *words])
    with pytest.raises(SystemExit):
        main()
    return " ".join("".join(capsys.readouterr()).replace("\n", " ¶ ").split())


def told(out: Path) -> dict[str, str]:
    """Every text that a run left behind for people."""
    folder = Version.open(out).file("run.json").parent
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.iterdir()
        if path.suffix in (".html", ".json", ".md")
    }
    return {
        name: " ".join(
            html.unescape(LEFT_OUT.sub(" ", text) if name.endswith(".html") else text).split()
        )
        for name, text in texts.items()
    }


def sentences(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """All that two nights, and the commands about them, say."""
    out, told_by = home / "out", {}
    first = run(
        monkeypatch, capsys, "run", str(home / "pipeline.yaml"), "--junit", str(home / "gates.xml")
    )
    row = Version.open(out).samples.table.to_pylist()[0]
    verdicts.add(out, Verdict(row["content"], row["id"], row["label"], "keep", reviewer="ann"))
    second = run(monkeypatch, capsys, "run", str(home / "pipeline.yaml"), "--force")
    told_by |= told(out) | {
        "first": first,
        "second": second,
        "gates.xml": (home / "gates.xml").read_text(),
    }
    for words in (
        ["why", row["id"]],
        ["ledger", str(out)],
        ["diff", str(out)],
        ["store", "show", str(out / "store")],
        ["versions", str(out)],
    ):
        told_by[words[0]] = run(
            monkeypatch, capsys, *words, *(["-o", str(out)] if words[0] == "why" else [])
        )
    told_by["repr"] = (
        Pipeline.from_yaml(home / "pipeline.yaml").check()._repr_html_()
        + Version.open(out).samples._repr_html_()
    )
    return told_by


def picture(home: Path) -> str:
    (home / "set/cat").mkdir(parents=True)
    cv2.imwrite(str(home / "set/cat/1.png"), np.full((40, 40, 3), 90, np.uint8))
    return (
        "dataset: {path: set}\nstages: [files, image_quality, duplicates, drift]\ngates: ['samples "
        "> 5', 'errors >= 1']\n"
    )


def row(home: Path) -> str:
    pd.DataFrame({"key": ["a"], "label": ["x"], "fare": [100]}).to_csv(
        home / "rows.csv", index=False
    )
    expected = (
        "{expectation: values_to_be_between, column: fare, min_value: 0, max_value: 10, severity: "
        "warning}"
    )
    checks = (
        f"stages: [duplicate_rows, {{expectations: {{expectations: [{expected}]}}}}, {{drift: "
        f"{{copies: null}}}}]"
    )
    return (
        f"dataset: {{path: rows.csv, roles: {{id: key}}}}\n{checks}\ngates: ['samples > "
        f"5']\npolicy: {{rules: {{duplicate_rows.exact: drop}}}}\n"
    )


@pytest.mark.parametrize("make", [picture, row])
def test_one_is_told_as_one(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        make(tmp_path) + f"outputs: {{path: {tmp_path / 'out'}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    every = sentences(tmp_path, monkeypatch, capsys)
    assert "1 sample" in every["first"]
    assert [
        (where, text[max(0, one.start() - 60) : one.end() + 20])
        for where, text in every.items()
        for one in WRONG.finditer(text)
    ] == []


def test_what_is_wrong_would_be_seen() -> None:
    assert [
        one[0]
        for one in WRONG.finditer(
            "1 samples, 1 of 1 rows fail; 21 samples; 1 sample; 1 have; 1 more files"
        )
    ] == [
        "1 samples",
        "1 of 1 rows",
        "1 have",
        "1 more files",
    ]
