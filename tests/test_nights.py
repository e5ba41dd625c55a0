"""A pipeline that runs every night.

What its default gates stop, what cannot be judged, what is said of what changed, and a night
without news.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.config import gate_grammar, plan
from dqpipe.config import pipeline_file as configs
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Facts, Samples
from dqpipe.engine.fact_table import Evidence
from dqpipe.engine.run import read
from dqpipe.engine.starter_config import pipeline_yaml
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Fact
from dqpipe.results import ci_files, verdicts
from dqpipe.results.ci_files import brief
from dqpipe.results.unseen import unjudged
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version

STAGES = "stages: [files, image_quality, duplicates, drift]"
PICTURES = 90


def put(folder: Path, numbers: range, kinds: str = "ab") -> None:
    """Pictures of noise of two classes: smooth ones and rough ones."""
    for number in numbers:
        kind = kinds[number % len(kinds)]
        rng = np.random.default_rng(number)
        picture = cv2.resize(
            rng.integers(40, 220, (8, 8, 3), dtype=np.uint8),
            (64, 64),
            interpolation=cv2.INTER_CUBIC,
        )
        (folder / kind).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / kind / f"{number:03}.png"), picture)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A folder with `set` and what a first night published of it."""
    home = tmp_path_factory.mktemp("nights")
    put(home / "set", range(PICTURES))
    (home / "pipeline.yaml").write_text(
        f"dataset: {{path: set}}\n{STAGES}\noutputs: {{path: out, reports: [json]}}\n"
    )
    run = Pipeline.from_yaml(home / "pipeline.yaml").drive(Serial())
    assert {gate["state"] for gate in run.gates} == {"passed", "first"}
    assert len(run.gates) == len(gate_grammar.DEFAULTS)
    return home


@pytest.fixture
def home(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def night(home: Path, *changes: str):
    return Pipeline.from_yaml(home / "pipeline.yaml", changes=changes).drive(Serial(), force=True)


def files(home: Path) -> list[Path]:
    return sorted((home / "set").rglob("*.png"))


def corrupt(home: Path) -> None:
    for path in files(home)[::3]:
        path.write_bytes(path.read_bytes()[:200])


def empty(home: Path) -> None:
    for path in files(home):
        path.write_bytes(b"")


def copied(home: Path) -> None:
    """As many copies as there are pictures, and a few more: 52 % are dropped."""
    for number, path in enumerate(files(home)):
        for copy in range(2 if number % 10 == 0 else 1):
            shutil.copy(path, path.with_name(f"copy-{copy}-{path.name}"))


def swapped(home: Path) -> None:
    (home / "set/a").rename(home / "set/c")
    (home / "set/b").rename(home / "set/a")
    (home / "set/c").rename(home / "set/b")


def gone(home: Path) -> None:
    shutil.rmtree(home / "set/b")


def encoded(home: Path) -> None:
    for path in files(home):
        cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_PNG_COMPRESSION, 1])


@pytest.mark.parametrize(
    ("change", "gate", "kind"),
    [
        (copied, "change of dropped_by_policy > 10%", "dropped"),
        (empty, "curated samples < 1", "unreadable"),
        (swapped, "switched in any class > 50% and > 5", "switched"),
        (corrupt, "change of unreadable > 5%", "unreadable"),
        (gone, "change of samples in any class <= -100%", "class_gone"),
        (encoded, "replaced > 20% and > 5", "replaced"),
    ],
)
def test_a_bad_night_fails_a_default_gate_and_says_what_changed(
    home: Path, change: Callable[[Path], None], gate: str, kind: str
) -> None:
    before = (home / "out/version").read_text()
    change(home)
    run = night(home, "policy.max_drop=1.0") if change is copied else night(home)
    assert gate in [one["gate"] for one in run.gates if one["state"] == "failed"]
    assert (home / "out/version").read_text() == before
    assert kind in [row["kind"] for row in run.beside.news[:3]]
    assert brief(run.beside.news, 1).startswith(run.beside.news[0]["said"])


def test_an_ordinary_night_and_a_quiet_one_pass(home: Path) -> None:
    put(home / "set", range(PICTURES, PICTURES + 40))
    run = night(home)
    assert [gate["state"] for gate in run.gates] == ["passed"] * len(gate_grammar.DEFAULTS), [
        gate["said"] for gate in run.gates
    ]
    assert [(row["kind"], row["said"]) for row in run.beside.news if row["kind"] != "finding"] == [
        ("samples_new", "40 new samples")
    ]
    assert {gate["state"] for gate in night(home).gates} == {"passed"}


def test_wrong_files_among_the_new_are_told_apart_from_the_rest(home: Path) -> None:
    put(home / "set", range(PICTURES, PICTURES + 20))
    for path in files(home)[-6:]:
        path.write_bytes(b"no picture")
    run = night(home)
    failed = [gate["gate"] for gate in run.gates if gate["state"] == "failed"]
    assert "unreadable in new > 10% and > 2" in failed
    assert "change of any finding in new > 20% and p < 0.001" in failed
    told = next(row for row in run.beside.of_new if row["code"] == "files.unreadable")
    assert (told["samples"], told["of"], told["before"]) == (6, 20, 0.0)
    assert (
        "6 of 20 new samples carry files.unreadable (30%); of the last version it was 0.0%."
        in run.record["account"]["said"]
    )
    row = json.loads((home / "out/history.jsonl").read_text().splitlines()[-1])
    assert row["of_new"]["files.unreadable"] == {"samples": 6, "of": 20}


@pytest.mark.parametrize(("setting", "passes"), [("pass", True), ("fail", False)])
def test_a_stage_with_other_options_cannot_be_compared(
    home: Path, setting: str, passes: bool
) -> None:
    asked = 'gates=["change of image_quality.* > 5%", "change of any finding > 5%", "samples < 1"]'
    run = night(home, asked, f"unjudged={setting}", "image_quality.too_small=100")
    assert [(gate["state"], gate["passed"], gate["judged"]) for gate in run.gates] == [
        ("unjudged", passes, False)
    ] * 2 + [("passed", True, True)]
    assert "other options" in run.gates[0]["said"]
    assert "2 gates could not be judged" in " ".join(run.record["account"]["said"])
    suite = ET.fromstring(ci_files.junit(run.record))[0]
    assert [[child.tag for child in case] for case in suite][1:] == [
        ["skipped" if passes else "failure"]
    ] * 2 + [["system-out"]]
    assert "2 unjudged" in ci_files.summary(run.record)


def test_too_few_new_samples_are_unjudged_not_passed(home: Path) -> None:
    put(home / "set", range(PICTURES, PICTURES + 5))
    run = night(home, 'gates=["any drift effect > 0.3"]', "drift.least=40")
    assert [(gate["state"], gate["passed"]) for gate in run.gates] == [("unjudged", True)]


def test_what_init_writes_and_a_file_without_gates_are_one_list(
    home: Path, registry: Registry
) -> None:
    text = pipeline_yaml(registry, str(home / "set"), {})
    assert all(f'"{gate}"' in text for gate, _ in gate_grammar.DEFAULTS)
    bare = text[: text.index("gates:")]
    for one in (text, bare):
        config = configs.parse(one, registry, checks=False)
        made = plan.make(config, registry, read(config, registry, str(home / "set")))
        assert [gate.text for gate in made.gates] == [gate for gate, _ in gate_grammar.DEFAULTS]


def test_where_nothing_is_new_nothing_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed() -> dict[str, int]:
        kept = [
            home / "out/version",
            home / "out/history.jsonl",
            *(home / "out/versions").rglob("*"),
        ]
        return {str(path): path.stat().st_mtime_ns for path in kept if path.is_file()}

    def cron(*more: str) -> str:
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "dqpipe",
                "run",
                str(home / "pipeline.yaml"),
                "--executor",
                "serial",
                "--if-changed",
                *more,
            ],
        )
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code
        return capsys.readouterr().out

    cron()  # the folder has another path than when it was first published
    before, version = listed(), (home / "out/version").read_text().strip()
    assert (
        cron()
        == f"Nothing changed since version {version}, which stays published; nothing was written.\n"
    )
    assert cron("--summary").startswith("dqpipe: unchanged · passed · 90 samples")
    assert json.loads(cron("--json"))["unchanged"] == version
    assert listed() == before
    put(home / "set", range(PICTURES, PICTURES + 40))
    assert "Nothing changed" not in cron()
    assert (home / "out/version").read_text().strip() != version


def test_no_gates_is_said(home: Path) -> None:
    run = night(home, "gates=[]")
    assert run.gates == ()
    assert "There are no gates: whatever comes out is published." in run.record["account"]["said"]


def test_small_nights_are_compared_together(home: Path) -> None:
    for count in (12, 24):
        put(home / "set", range(PICTURES + count - 12, PICTURES + count))
        run = night(home)
        assert next(gate for gate in run.gates if "drift" in gate["gate"])["state"] == "unjudged"
    for number in range(PICTURES + 24, PICTURES + 36):
        cv2.imwrite(
            str(home / f"set/a/{number}.png"),
            np.random.default_rng(number).integers(0, 40, (64, 64, 3), dtype=np.uint8),
        )
    run = night(home, 'gates=["any drift p_adjusted < 0.01 and effect > 0.2"]')
    assert run.gates[0]["state"] == "failed", run.gates[0]["said"]
    counts = {"new": 12, "replaced": 0, "gone": 0, "pooled": 36, "nights": 2}
    assert run.record["run"]["since"] | {"said": [], "version": ""} == {
        **counts,
        "said": [],
        "version": "",
    }
    assert any(
        (
            "12 new samples. Too few to be compared by themselves: 36 samples were compared "
            "together, with those of the 2 versions before."
        )
        in said
        for said in run.record["account"]["said"]
    )


def test_what_was_not_looked_at_is_said_first(home: Path, registry: Registry) -> None:
    text = (
        f"dataset: {{path: {home / 'set'}}}\nstages: [files, image_quality]\noutputs: {{path: "
        f"{home / 'none'}}}\n"
    )
    made = Pipeline.from_text(text, registry=registry).check(Serial())
    told = {row["what"]: row["why"] for row in made.record["run"]["unseen"]}
    assert told["duplicates"] == "not run, the pipeline does not hold it"
    assert told["label_noise"] == (
        "not run, it needs duplicates.group and embeddings.vector, which no stage of this "
        "pipeline gives"
    )
    assert made.account[0].startswith("Not looked at: diversity (not run, ")
    table = pd.DataFrame({"text": ["a b", "c d", "e f"] * 9, "label": ["x", "y", "z"] * 9})
    said = Pipeline.from_text(
        "stages: [drift: {copies: null}]\noutputs: {path: out}\n", registry=registry
    ).check(Serial(), source=table)
    why = (
        "no stage reads it by itself; drift compares it with the last version, where that can be "
        "done"
    )
    assert {"what": "column text", "why": why} in said.record["run"]["unseen"]
    assert "none carries a warning or an error that drift looks for." in said.account[1]


def test_a_class_that_nobody_judged_is_named() -> None:
    samples = Samples(pa.table({"id": list("abcd"), "label": ["x", "x", "y", "y"]}))
    evidence = Evidence(Dataset(samples))
    evidence.add_known(Facts(pa.table({"id": ["a"], "s.sure": [0.5]})))
    stage = SimpleNamespace(
        name="s", stage=SimpleNamespace(gives=(Fact("sure", "float", "how sure"),))
    )
    known = SimpleNamespace(
        plan=SimpleNamespace(stages=[stage]),
        samples=samples,
        facts=evidence.facts(),
        has=evidence.presence(),
    )
    told = list(unjudged(known))
    assert told == [("s: 3 of 4 samples; all of class y", "the stage says nothing of them")]


def test_classes_that_a_stage_leaves_out_or_that_nobody_could_read_are_named_first(
    tmp_path: Path, registry: Registry
) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("cat", 8), ("dog", 8), ("emu", 2), ("fox", 3)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            data = b"no picture" if name == "fox" else cv2.imencode(".png", picture)[1].tobytes()
            (tmp_path / "set" / name / f"{number}.png").write_bytes(data)
    text = (
        f"dataset: {{path: {tmp_path / 'set'}}}\nstages: [files, duplicates, embeddings, "
        f"label_noise]\noutputs: {{path: {tmp_path / 'out'}}}\n"
    )
    made = Pipeline.from_text(text, registry=registry).check(Serial())
    assert made.record["run"]["unseen"][:2] == [
        {"what": "label_noise: class emu", "why": "fewer than 3 different samples have it"},
        {"what": "class fox", "why": "none of the files could be read"},
    ]
    said = (
        "Not looked at: label_noise: class emu (fewer than 3 different samples have it); class fox "
        "(none of the files could be read)"
    )
    assert made.account[0].startswith(said)
    of_class = made.figures[
        made.figures["figure"].eq("label_noise.not_judged") & made.figures["key"].eq("emu")
    ]
    assert of_class["value"].tolist() == [2]


def test_an_expectation_of_severity_error_that_is_not_met_fails_the_default_gates(
    tmp_path: Path, registry: Registry
) -> None:
    rows = "".join(f"{number},{'' if number < 3 else 'north'}\n" for number in range(30))
    (tmp_path / "rows.csv").write_text(f"fare,zone\n{rows}")
    for severity, failed in (("critical", ["errors >= 1"]), ("warning", [])):
        expected = (
            f"expectations: [{{expectation: values_to_not_be_null, column: zone, severity: "
            f"{severity}}}]"
        )
        (tmp_path / "pipeline.yaml").write_text(
            f"dataset: {{path: rows.csv}}\nstages: [{{expectations: {{{expected}}}}}]\noutputs: "
            f"{{path: out}}\n"
        )
        judged = Pipeline.from_yaml(tmp_path / "pipeline.yaml").drive(Serial(), force=True).gates
        assert [gate["gate"] for gate in judged if gate["state"] == "failed"] == failed
    said = (
        "1 error about the whole dataset: expectations.unmet (3 of 30 rows fail: zone: values to "
        "not be null); it must not be >= 1"
    )
    (tmp_path / "pipeline.yaml").write_text(
        (tmp_path / "pipeline.yaml").read_text().replace("warning", "error")
    )
    assert said in [
        gate["said"]
        for gate in Pipeline.from_yaml(tmp_path / "pipeline.yaml").drive(Serial(), force=True).gates
    ]


def test_what_became_of_columns_is_said(tmp_path: Path) -> None:
    def after(table: pa.Table) -> list[str]:
        pq.write_table(table, tmp_path / "rows.parquet")
        since = (
            Pipeline.from_yaml(tmp_path / "pipeline.yaml")
            .drive(Serial(), force=True)
            .record["run"]["since"]
        )
        return since["said"] if since else []

    (tmp_path / "pipeline.yaml").write_text(
        "dataset: {path: rows.parquet}\nstages: [drift: {copies: null}]\ngates: []\noutputs: "
        "{path: out}\n"
    )
    price, none = pa.array([Decimal(n) / 4 for n in range(40)]), pa.nulls(40)
    same = {"key": pa.array(map(float, range(40)))}
    assert (
        after(pa.table({**same, "price": price, "size": price, "code": pa.array([1] * 40)})) == []
    )
    said = after(
        pa.table(
            {**same, "price": price, "size": none, "code": pa.array(["1"] * 40), "area": price}
        )
    )
    assert said == [
        "column size is gone, or without any value now",
        "column area is new, or the last version kept no value of it",
        "column code cannot be compared with the last version: it held values of another type",
    ]


def test_a_table_without_labels_that_loses_most_of_its_rows_fails_a_default_gate(
    tmp_path: Path,
) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        "dataset: {path: rows.csv}\nstages: [duplicate_rows]\noutputs: {path: out}\n"
    )
    for count, failed in ((60, []), (20, ["change of samples < -50% and < -10"])):
        (tmp_path / "rows.csv").write_text("".join(f"{row}\n" for row in ["number", *range(count)]))
        gates_now = Pipeline.from_yaml(tmp_path / "pipeline.yaml").drive(Serial(), force=True).gates
        assert [gate["gate"] for gate in gates_now if not gate["passed"]] == failed


def test_what_people_drop_fails_no_default_gate_and_is_said_by_others(home: Path) -> None:
    last = Version.open(home / "out")
    rows = {row["id"]: row for row in last.samples.table.to_pylist()}
    for name in [path.relative_to(home / "set").as_posix() for path in files(home)[:50:2]]:
        verdicts.add(
            home / "out",
            Verdict(rows[name]["content"], name, rows[name]["label"], "drop", reviewer="ann"),
        )
    run = night(home)
    assert [gate["said"] for gate in run.gates if gate["state"] == "failed"] == []
    assert len(run.gates) == len(gate_grammar.DEFAULTS)
    assert any(
        "dropped 0% → 27.8% (25 of 90, 25 by people's verdicts)" in str(row)
        for row in run.record["run"]["news"]
    ), run.record["run"]["news"]
    (home / "out/version").write_text(last.id + "\n")  # as it was before
    asked = night(home, 'gates=["change of dropped > 10%", "dropped_by_policy > 0"]').gates
    assert [gate["state"] for gate in asked] == ["failed", "passed"]
    assert asked[0]["said"].endswith("; of 25 samples dropped people's verdicts decided 25")
