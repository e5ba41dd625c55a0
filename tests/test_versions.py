"""What an output remembers: its versions with their tables, and a history that outlives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import DatasetError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import versions
from dqpipe.results.outcome import Outcome
from dqpipe.results.versions import Version
from dqpipe.storage import ownership
from dqpipe.storage.location import place
from tests import faulty

STAGES = "stages: [files, image_quality, duplicates]\n"


def run(
    registry: Registry,
    images: Path,
    out: Path,
    stages: str = STAGES,
    *,
    outputs: str = "",
    more: str = "",
) -> Outcome:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: "
        f"[json]{outputs}}}\n{stages}{more}"
    )
    return Pipeline.from_text(text, registry=registry).drive(Serial(), force=True)


def test_a_version_gives_its_tables_back_exactly(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(registry, images, tmp_path / "out")
    version = Version.open(tmp_path / "out")
    assert version.id == ran.version
    wanted = ran.samples.select(["id", "content", "label"])
    pairs = [
        (version.samples, wanted),
        (version.facts, ran.facts),
        (version.findings, ran.findings),
        (version.decisions, ran.decisions),
        (version.figures, ran.figures),
    ]
    for found, table in pairs:
        assert found.table.equals(table.table, check_metadata=False)
    assert version.record["version"] == ran.version


def test_findings_of_an_earlier_dqpipe_lack_the_columns_that_came_later(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(registry, images, tmp_path / "out")
    path = Path(str(ran.published)) / "tables" / "findings.arrow"
    with pa.OSFile(str(path), "rb") as file:
        table = pa.ipc.open_file(file).read_all().drop_columns(["suggestion_confidence"])
    path.unlink()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    found = Version.open(tmp_path / "out").findings
    assert found.table.column("suggestion_confidence").null_count == len(found)
    assert found.table.equals(ran.findings.table)


def test_labels_keep_their_type(registry: Registry, tmp_path: Path) -> None:
    pd.DataFrame({"key": ["a", "b", "c"], "label": [1.5, 2.5, None], "x": [1, 2, 3]}).to_parquet(
        tmp_path / "rows.parquet"
    )
    text = (
        f"dataset: {{path: {tmp_path / 'rows.parquet'}, roles: {{id: key}}}}\noutputs: {{path: "
        f"{tmp_path / 'out'}, reports: []}}\nstages: [duplicate_rows]\n"
    )
    Run(Pipeline.from_text(text, registry=registry).config, registry, Serial()).run()
    assert Version.open(tmp_path / "out").samples.table.column("label").to_pylist() == [
        1.5,
        2.5,
        None,
    ]


def test_the_previous_version_is_the_one_published_before(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    first = run(registry, images, tmp_path / "out")
    with pytest.raises(DatasetError, match="no version before"):
        Version.open(tmp_path / "out", "previous")
    run(registry, images, tmp_path / "out", more="gates: ['files.unreadable > 0']\n")
    faulty.picture(images / "china" / "new.png", seed=1)
    second = run(registry, images, tmp_path / "out", outputs=", keep_versions: 9")
    assert versions.published(tmp_path / "out") == second.version
    assert Version.open(tmp_path / "out", "previous").id == first.version


def test_the_history_outlives_removed_versions_and_knows_failed_gates(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    first = run(registry, images, tmp_path / "out", outputs=", keep_versions: 1")
    run(registry, images, tmp_path / "out", more="gates: ['files.unreadable > 0']\n")
    run(registry, images, tmp_path / "out", outputs=", keep_versions: 1")
    rows = versions.history(tmp_path / "out")
    assert [row["published"] for row in rows] == [True, False, True]
    assert rows[0]["version"] == first.version
    assert rows[0]["findings"]["files.unreadable"]["samples"] == 2
    assert [gate["passed"] for gate in rows[1]["gates"]] == [False]
    assert first.version not in versions.versions(tmp_path / "out")
    with pytest.raises(DatasetError, match="was removed"):
        Version.open(tmp_path / "out", first.version)


def test_an_unknown_version_is_named_with_the_nearest(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(registry, images, tmp_path / "out")
    with pytest.raises(DatasetError, match=f"did you mean '{ran.version}'"):
        Version.open(tmp_path / "out", ran.version[:-1] + "x")


def test_a_line_of_the_history_cut_short_costs_that_line_alone(tmp_path: Path) -> None:
    versions.remember(tmp_path, {"run": "1"})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"run": "2", "ver')
    versions.remember(tmp_path, {"run": "3"})
    assert [row["run"] for row in versions.history(tmp_path)] == ["1", "3"]
    assert json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1]) == {"run": "3"}


def test_what_a_crash_after_the_pointer_left_undone_is_finished_by_the_next_run(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = run(registry, images, out)
    (out / "history.jsonl").unlink()
    (out / "curated").unlink()
    killed = out / "versions" / f".{first.id}.{ownership.owner(place(out), 'output')}"
    (killed / "curated").mkdir(parents=True)
    second = run(registry, images, out)
    assert [row["version"] for row in versions.history(out)] == [first.version, second.version]
    assert (out / "curated").resolve().parent.name == second.version
    assert not killed.exists()


def test_run_json_has_the_lineage(registry: Registry, images: Path, tmp_path: Path) -> None:
    first = run(registry, images, tmp_path / "out").record["run"]["lineage"]
    faulty.picture(images / "china" / "new.png", seed=1)
    second = run(registry, images, tmp_path / "out").record["run"]["lineage"]
    assert first["parent"] is None
    assert second["parent"] == versions.history(tmp_path / "out")[0]["version"]
    assert (first["plan"], first["seed"]) == (second["plan"], second["seed"])
    assert first["input"]["content"] != second["input"]["content"]
    assert second["plugins"]["files"].startswith("dqpipe ")
    third = run(
        registry, images, tmp_path / "out", "stages: [files, {image_quality: {}}]\n"
    ).record["run"]["lineage"]
    assert third["input"] == second["input"]
    assert third["plan"] != second["plan"]


@pytest.mark.parametrize("harm", ["gone", "broken"])
def test_a_published_version_that_somebody_took_away_or_broke_ends_no_run(
    registry: Registry, images: Path, tmp_path: Path, harm: str
) -> None:
    stages, gate = (
        "stages: [files, image_quality, duplicates, drift]\n",
        "gates: ['change of dropped > 90%']\n",
    )
    first = run(registry, images, tmp_path / "out", stages, more=gate)
    if harm == "gone":
        shutil.rmtree(first.published)
    else:
        (first.published / "run.json").write_text("{")
    second = run(registry, images, tmp_path / "out", stages, more=gate)
    assert Version.open(tmp_path / "out").id == second.version
    third = run(registry, images, tmp_path / "out", stages, more=gate)
    assert third.parent == second.version
    assert [gate["judged"] for gate in third.gates] == [True]
