"""A key that stands twice in one object is never the last one in silence, whatever file it stands
in.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from dqpipe_exchange import parsing
from dqpipe_formats.manifest import Manifest
from dqpipe_formats.table import Table
from dqpipe_validation.expectations import Expectations
from PIL import Image

from dqpipe.api import Pipeline
from dqpipe.data.tables import Facts, Samples
from dqpipe.errors import ConfigError, DatasetError
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Verdict
from dqpipe.storage import jsonl

EMPTY = Facts(pa.table({"id": ["a"]}))
UNIQUE = '{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id", "column": "x"}}'


def table(folder: Path) -> None:
    (folder / "t.jsonl").write_text('{"a": 1, "b": 2}\n{"a": 3, "b": 4, "a": 5}\n')
    Table().read(folder / "t.jsonl", {})


def nested(folder: Path) -> None:
    (folder / "t.jsonl").write_text(
        '{"a": 1, "b": 2}\n{"a": 3, "b": {"a": 4, "c": [{"a": 5, "\\u0061": 6}]}}\n'
    )
    Table().read(folder / "t.jsonl", {})


def manifest(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "x.png")
    (folder / "m.jsonl").write_text(
        '{"file_name": "x.png", "label": "b"}\n{"label": "cat", "file_name": "x.png", "label": '
        '"a"}\n'
    )
    Manifest().read(folder / "m.jsonl", {})


def suite(folder: Path) -> None:
    (folder / "suite.json").write_text(f'{{"expectations": [{UNIQUE}]}}')
    stage = Expectations(suite=str(folder / "suite.json"))
    stage.check()
    stage.detect(Samples(pa.table({"id": ["a"], "content": ["c"]})), EMPTY)


def answer(folder: Path) -> None:
    del folder
    parsing.json_of(b'[{"id": 1, "annotations": [], "annotations": [{}]}]')


def pipeline(folder: Path) -> None:
    (folder / "p.yaml").write_text('{"dataset": {"path": "x", "path": "a"}, "stages": ["files"]}')
    Pipeline.from_yaml(folder / "p.yaml")


@pytest.mark.parametrize(
    ("read", "error", "name"),
    [
        (table, DatasetError, "line 2.*'a' stands twice"),
        (nested, DatasetError, "line 2.*'a' stands twice"),
        (manifest, DatasetError, "line 2.*'label' stands twice"),
        (suite, ConfigError, "'column' stands twice"),
        (answer, DatasetError, "'annotations' stands twice"),
        (pipeline, ConfigError, "'path' stands twice"),
    ],
)
def test_it_is_refused_with_its_name_and_its_place(
    tmp_path: Path, read: Callable[[Path], None], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        read(tmp_path)


def test_a_verdict_that_says_two_things_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    verdicts.add(tmp_path, Verdict("c", "a.png", None, "keep", reviewer="ann"))
    line = json.loads((tmp_path / "verdicts.jsonl").read_text())
    torn = json.dumps(line | {"id": "b.png"})[:-1] + ', "verdict": "drop"}\n'
    with (tmp_path / "verdicts.jsonl").open("a") as file:
        file.write(torn)
    with caplog.at_level(logging.WARNING):
        rows = list(jsonl.rows(tmp_path, "verdicts.jsonl"))
    assert [row["id"] for row in rows] == ["a.png"]
    assert "line 2 is left out: the key 'verdict' stands twice" in caplog.text
