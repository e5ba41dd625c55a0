"""For machines: report.json against its schema, a summary line, a badge, JUnit XML.

Codes that stay as they are.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.config.json_schema import of_report
from dqpipe.errors import GateError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Claim, Stage
from dqpipe.results import ci_files
from dqpipe.results.report import SCHEMA

PIPELINE = (
    "dataset: {path: images}\nstages: [files, image_quality, duplicates, embeddings, "
    "diversity]\noutputs: {path: out, reports: [json]}\n"
)


BUILT_IN = {
    "annotators": "disagree unsettled",
    "diversity": "rare_class under_covered",
    "drift": "shifted new_label vanished_label not_comparable duplicate_of_old",
    "duplicate_rows": "exact label_conflict leak",
    "duplicates": "exact near label_conflict leak",
    "files": "unreadable",
    "image_quality": (
        "low_information dark light low_contrast blurry noisy compressed too_small greyscale "
        "odd_size odd_aspect animated"
    ),
    "label_noise": "likely_wrong",
    "outliers": "far",
    "select": "surplus redundant",
}
"""The codes of each built-in stage."""


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema.get("required"), list):
        told["additionalProperties"] = False
    return told


def faults(report: Any, schema: Any) -> list[str]:
    checked = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [
        f"{'/'.join(map(str, error.path))}: {error.message[:200]}"
        for error in checked.iter_errors(report)
    ]


@pytest.fixture(scope="module")
def reports(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """report.json of pictures that were run twice, with a map and a difference, of a table, and of
    a failed gate.
    """
    from dqpipe.testing import small_images

    folder = tmp_path_factory.mktemp("reports")
    small_images(folder / "images")
    made = Pipeline.from_text(
        PIPELINE + 'gates: ["change of dropped > 5%"]\n', base=folder, registry=registry
    )
    made.run(Serial())
    twice = made.run(Serial(), force=True)
    found = {"pictures": Path(str(twice.path))}
    table = pd.DataFrame(
        {
            "x": [i % 7 for i in range(60)],
            "label": ["a", "b", None] * 20,
            "note": [f"n{i // 2}" for i in range(60)],
        }
    )
    text = f"stages: [duplicate_rows]\noutputs: {{path: {folder / 'table'}, reports: [json]}}\n"
    found["table"] = Path(
        str(Pipeline.from_text(text, registry=registry).run(Serial(), source=table).path)
    )
    with pytest.raises(GateError):
        Pipeline.from_text(
            text.replace("/table", "/failed") + 'gates: ["samples > 1"]\n', registry=registry
        ).run(Serial(), source=table)
    found["failed"] = next((folder / "failed" / "versions").iterdir())
    return {
        name: json.loads((path / "report.json").read_text(encoding="utf-8"))
        for name, path in found.items()
    }


@pytest.mark.parametrize("name", ["pictures", "table", "failed"])
def test_a_report_is_as_its_schema_says_and_the_schema_names_all_of_it(
    reports: dict[str, dict[str, Any]], name: str
) -> None:
    schema, report = of_report(), reports[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == SCHEMA == report["schema"]
    assert faults(report, schema) == []
    loose = closed(schema)
    for part in ("timings", "stage_seconds", "stage_use"):
        loose["$defs"]["run"]["properties"][part] = {}
    loose["$defs"]["run"]["properties"]["history"] = {}
    assert faults(report, loose) == []
    broken = copy.deepcopy(report)
    broken["account"]["dropped"], broken["decisions"]["counts"] = "many", {}
    assert len(faults(broken, schema)) == 5


def test_the_schema_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dqpipe", "schema", "--report"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out) == of_report()


def test_codes_stay_as_they_are(registry: Registry) -> None:
    """Programs, policies and gates speak of codes.

    One that goes, or is called otherwise, raises the version of the schema.
    """
    options = {"annotators": {"columns": ["ann", "ben"]}}
    for name, codes in BUILT_IN.items():
        stage = registry.get(Stage, name)(**options.get(name, {}))
        assert set(codes.split()) <= {gift.code for gift in stage.gives if isinstance(gift, Claim)}


def dqpipe(*arguments: str) -> int:
    sys.argv = ["dqpipe", *arguments]
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def test_check_tells_a_ci_system(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(images.parent)
    monkeypatch.setattr(sys, "argv", [])
    gates = 'gates: ["files.unreadable > 1", "samples < 10", "change of dropped > 1%"]\n'
    Path("pipeline.yaml").write_text(
        PIPELINE.replace(", duplicates, embeddings, diversity", "") + gates
    )
    told = [
        "check",
        "--executor",
        "serial",
        "--badge",
        "badge.json",
        "--junit",
        "gates.xml",
        "--summary",
    ]
    assert dqpipe(*told) == 1
    said = capsys.readouterr().out
    assert said.startswith("dqpipe: FAILED · 64 samples · ")
    assert said.endswith(
        " · 1 of 3 gates passed · 1 without a version to compare with · failed: files.unreadable > "
        "1\n"
    )
    badge = json.loads(Path("badge.json").read_text())
    assert badge == {
        "schemaVersion": 1,
        "label": "data quality",
        "message": "failed: files.unreadable > 1",
        "color": "red",
        "isError": True,
    }
    suite = ET.parse("gates.xml").getroot()[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {
        "run": [],
        "files.unreadable > 1": ["failure"],
        "samples < 10": ["system-out"],
        "change of dropped > 1%": ["skipped"],
    }

    assert dqpipe(*told, "-o", "gates=null") == 0
    assert capsys.readouterr().out.startswith("dqpipe: passed · 64 samples")
    assert json.loads(Path("badge.json").read_text())["color"] == "green"

    assert (
        dqpipe(*told, "-o", "files.nonsense=1") == 2
    )  # nothing of the run before is left to be taken for this one's
    assert json.loads(Path("badge.json").read_text())["message"] == "did not run"
    assert ET.parse("gates.xml").getroot()[0].get("errors") == "1"
    assert dqpipe(*told[:-3], "--junit", "absent/gates.xml") == 2
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == [
        "badge.json",
        "gates.xml",
        "pipeline.yaml",
    ]


def test_hostile_texts_stay_xml_and_one_line() -> None:
    gate = {
        "gate": 'samples in class "\x1b]0;x\x07<b>\ud800" > 1',
        "passed": False,
        "value": 1.0,
        "said": "]]>\n\x00 & more",
    }
    counts = dict.fromkeys(("samples", "marked", "dropped", "relabelled", "review"), 1)
    row = {"stage": "s", "samples": 2, "reason": "<&\x00>"}
    record = {
        "account": counts,
        "gates": [gate],
        "failures": {"total": 1, "rows": [row]},
        "run": {"seconds": 1.5},
    }
    suite = ET.fromstring(ci_files.junit(record))[0]
    assert [child.get("message") for case in suite for child in case] == [
        "2 samples: <&\\x00>",
        "]]>\n  \\x00 & more",
    ]
    assert len(ci_files.summary(record).splitlines()) == 1
    assert "\x1b" not in ci_files.summary(record) + ci_files.badge(record)["message"]
    assert len(ci_files.badge(record)["message"]) <= ci_files.LONG
