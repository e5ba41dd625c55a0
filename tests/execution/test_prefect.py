"""The flow gives what the engine gives alone.

Prefect names, repeats and records; nothing alarming is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client, task
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.task_runners import ProcessPoolTaskRunner

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import ConfigError, DqpipeError, GateError, OutputError, StageError
from dqpipe.execution.local import Processes, Serial
from dqpipe.execution.prefect import tasks
from dqpipe.flow import FlowResult, Options, curate, messages, validate
from dqpipe.flow import prefect_flow as flows
from dqpipe.flow.artifacts import key_of
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.registry import Registry
from dqpipe.results import publish, versions
from dqpipe.storage.location import place
from dqpipe.storage.lock import Lock
from tests.execution import trying
from tests.test_engine import assert_same

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "DELAYS", [0.0, 0.0])


@pytest.fixture(scope="module")
def registry() -> Registry:
    return plugins.load(extra={"trying": trying})


def pipeline(registry: Registry, images: Path, out: Path, stages: str, more: str = "") -> Pipeline:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [html, json]}}\nstages: "
        f"[{stages}]\n{more}"
    )
    return Pipeline.from_text(text, registry=registry)


def last_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(), key=lambda run: run.created)


def task_names(run: FlowRun) -> list[str]:
    """The tasks that a flow run completed, in order; the server records them a moment later."""
    names: list[str] = []
    for _ in range(100):
        with get_client(sync_client=True) as client:
            ran = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
            )
        done = sorted(
            (task for task in ran if task.state is not None and task.state.is_completed()),
            key=lambda task: task.end_time,
        )
        names = [task.name for task in done]
        if "publish" in names and len(done) == len(ran):
            break
        time.sleep(0.1)
    return names


def artifacts(run: FlowRun, out: Path) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        )
    return {artifact.key.removesuffix(f"-{key_of(out)}"): artifact.data for artifact in found}


def test_a_flow_gives_the_same_tables_as_no_flow(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    alone = Pipeline.proposed(str(images), registry=registry, path=str(tmp_path / "alone"))
    through = Pipeline.proposed(str(images), registry=registry, path=str(tmp_path / "through"))
    ran = Run(alone.config, registry, Serial()).run()
    assert_same(ran, flows.run_flow(through, executor=Processes(2), shard_size=20))


def test_one_task_for_each_shard_and_step_named_for_what_it_does(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    flows.run_flow(
        pipeline(registry, images, tmp_path / "out", "files, slow"),
        executor=Processes(2),
        shard_size=40,
    )
    names = task_names(last_run())
    assert sorted(names[1:3]) == ["measure 1/2 · slow", "measure 2/2 · slow"]
    assert [*names[:1], *names[3:]] == [
        "read",
        "measure",
        "detect",
        "summarise",
        "decide",
        "apply",
        "measure curated",
        "summarise curated",
        "gates",
        "publish",
    ]


def test_a_failed_gate_fails_the_flow_run_after_the_report_was_written(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = flows.run_flow(
        pipeline(registry, images, tmp_path / "out", "files", 'gates: ["files.unreadable > 0%"]\n'),
        executor=Serial(),
    )
    recorded = last_run()
    told = artifacts(recorded, tmp_path / "out")
    assert (recorded.state.name, recorded.state.message.partition(". ")[0]) == (
        "Failed",
        ran.gates[0]["said"],
    )
    assert (
        f"Nothing is published. Read {ran.published / 'report.html'}; ask `dqpipe why SAMPLE "
        f"--out {ran.published}`"
    ) in recorded.state.message
    assert {"dqpipe", "gate-failed", f"{tmp_path.name}/images"} <= set(recorded.tags)
    assert (tmp_path / "out" / "report.html").exists()
    assert "2 samples were dropped for unreadable files." in told["account"]
    assert "| files.unreadable &gt; 0% | failed |" in told["account"]
    assert "report.html" in told["account"]
    assert "file&#58;" not in told["account"]
    assert '"code": "files.unreadable"' in told["findings"]


def test_runs_after_the_first_are_shown_and_say_what_changed(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    made = pipeline(
        registry, images, tmp_path / "out", "files, image_quality, duplicates, drift", "gates: []"
    )
    flows.run_flow(made, executor=Serial())
    assert re.fullmatch(
        f"{tmp_path.name}/images \\d{{4}}-\\d\\d-\\d\\d \\d\\d:\\d\\d", last_run().name
    )
    for number in range(3):
        (images / f"flower/broken{number}.jpg").write_bytes(b"no picture")
    shutil.rmtree(images / "china")
    (images / "rose").mkdir()
    (images / "flower/00.png").rename(images / "rose/00.png")
    ran = flows.run_flow(made, executor=Serial(), force=True)
    recorded = last_run()
    assert (recorded.state.name, "published" in recorded.tags) == ("Completed", True)
    assert f"published version {ran.version}: " in recorded.state.message
    assert "class china gone (" in recorded.state.message
    assert "class rose new (1 sample)" in recorded.state.message
    assert any(row["said"].startswith("+2 files.unreadable") for row in ran.beside.news)
    assert "not shown" not in recorded.state.message
    assert "share of files.unreadable" in artifacts(recorded, tmp_path / "out")["quality-chart"]
    again = flows.run_flow(made, executor=Serial(), force=True)
    assert versions.published(tmp_path / "out") == again.version


def test_nothing_after_publishing_fails_a_run(
    registry: Registry, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    for name in ("account_markdown", "finding_rows", "series_rows", "strips", "emit_event"):
        monkeypatch.setattr(messages, name, fails)
    monkeypatch.setattr(publish, "prune", fails)
    monkeypatch.setattr(publish, "_links", fails)
    monkeypatch.setattr(versions, "remember", fails)
    ran = flows.run_flow(pipeline(registry, images, tmp_path / "out", "files"), executor=Serial())
    recorded = last_run()
    assert versions.published(tmp_path / "out") == ran.version
    assert (recorded.state.name, "published" in recorded.tags) == ("Completed", True)
    assert (
        "; not shown in Prefect: the account (RuntimeError: a fault), the findings"
        in recorded.state.message
    )


def test_what_a_stage_fails_with_comes_back_as_it_is(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="the worker processes die"):
        flows.run_flow(
            pipeline(registry, images, tmp_path / "out", "files, deadly"),
            executor=Processes(2),
            shard_size=40,
        )
    assert last_run().state.name == "Failed"


def test_a_shard_whose_worker_died_is_measured_again(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    stages = f"files, {{deadly: {{marker: {tmp_path / 'died'}}}}}"
    ran = flows.run_flow(
        pipeline(registry, images, tmp_path / "out", stages), executor=Processes(2), shard_size=40
    )
    assert (tmp_path / "died").exists()
    assert ran.facts.frame()["deadly.alive"].all()


def mapped(
    executor: tasks.PrefectTasks, function: Callable[[Any], Any], items: list[Any], **options: Any
) -> list[Any]:
    """What a map inside a flow gives."""

    @flow(**options)
    def mapping() -> list[Any]:
        return sorted(
            executor.map(function, items, [f"try {n}/{len(items)}" for n in range(len(items))])
        )

    return mapping()


def test_read_errors_are_tried_again_and_others_are_not(tmp_path: Path) -> None:
    assert mapped(
        tasks.PrefectTasks(Processes(2)),
        trying.unsteady,
        [(str(tmp_path / "a"), 0), (str(tmp_path / "b"), 2)],
    ) == [1, 3]
    with pytest.raises(OSError, match="Input/output error"):
        mapped(tasks.PrefectTasks(Processes(1)), trying.unsteady, [(str(tmp_path / "c"), 3)])
    with pytest.raises(ValueError, match=r"[78] is wrong"):
        mapped(tasks.PrefectTasks(Processes(2)), trying.wrong, [7, 8])


def test_after_a_cancel_what_was_done_is_completed_and_the_rest_is_cancelled(
    tmp_path: Path,
) -> None:
    class Cancel(BaseException):
        pass

    @flow
    def ended() -> None:
        def measure() -> None:
            items = [0.0, 60.0, 60.0]
            with closing(
                tasks.PrefectTasks(Processes(3)).map(
                    time.sleep, items, [f"measure {n}/3" for n in range(3)]
                )
            ) as results:
                next(results)
                raise Cancel

        tasks.task_named("measure", "measure", measure, repeats=False)()

    with pytest.raises(Cancel):
        ended()
    states: dict[str, str] = {}
    for _ in range(100):
        with get_client(sync_client=True) as client:
            ran = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[last_run().id]))
            )
        states = {task.name: task.state.name for task in ran}
        if len(states) == 4 and all(task.state.is_final() for task in ran):
            break
        time.sleep(0.1)
    assert states.pop("measure 0/3") == "Completed"
    assert {states["measure 1/3"], states["measure 2/3"]} <= {
        "Cancelled",
        "Crashed",
    }  # Prefect's word for one that had not begun


def test_other_task_runners_do_the_work_where_they_put_it(tmp_path: Path) -> None:
    runner = ProcessPoolTaskRunner(max_workers=1)
    assert mapped(
        tasks.PrefectTasks(),
        trying.unsteady,
        [(str(tmp_path / "a"), 0), (str(tmp_path / "b"), 0)],
        task_runner=runner,
    ) == [1, 1]


def test_a_wrong_config_fails_the_deployed_flow_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("stages: [flies]\n")
    with pytest.raises(
        ConfigError, match="line 1: no stage is called 'flies': did you mean 'files'"
    ):
        flows.curate(str(tmp_path / "pipeline.yaml"))


def test_a_server_that_does_not_answer_is_named(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    with (
        flows.temporary_settings({"PREFECT_API_URL": "http://127.0.0.1:9/api"}),
        pytest.raises(DqpipeError, match=r"http://127.0.0.1:9/api does not answer"),
    ):
        flows.run_flow(pipeline(registry, images, tmp_path / "out", "files"))


def test_parts_are_called_from_a_flow_of_ones_own(images: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        "dataset: {path: images}\nstages: [files, image_quality]\noutputs: {reports: [json]}\n"
    )

    @task
    def without_the_first(checked: FlowResult) -> str:
        assert (
            checked.outcome,
            checked.version,
            checked.counts["samples"],
            checked.findings["files.unreadable"],
        ) == ("checked", None, 64, 2)
        shutil.copytree(images, tmp_path / "clean", ignore=shutil.ignore_patterns("00.png"))
        return str(tmp_path / "clean")

    @flow
    def ours(pipeline: str) -> FlowResult:
        clean = without_the_first(validate(pipeline, Options(executor="serial")))
        return curate(pipeline, Options(executor="serial", changes=[f"dataset.path={clean}"]))

    made = ours(str(tmp_path / "pipeline.yaml"))
    out = tmp_path / "out"
    assert (made.outcome, made.version, made.out) == (
        "published",
        versions.published(out),
        str(out),
    )
    assert 0 < made.counts["kept"] <= made.counts["samples"] < 64
    assert Path(made.curated, "manifest.parquet").exists()
    assert Path(made.ledger).exists()
    assert made.report == f"{out}/versions/{made.version}"
    with pytest.raises(GateError, match=r"files\.unreadable"):
        flow(
            lambda: validate(
                str(tmp_path / "pipeline.yaml"),
                Options(executor="serial", gates=["files.unreadable > 0%"]),
            ),
            name="strict",
        )()


def test_a_version_that_waits_ends_the_run_as_completed_where_nobody_can_be_asked(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    made = pipeline(registry, images, tmp_path / "out", "files", 'approve: ["samples >= 0"]\n')
    ran = flows.run_flow(made, executor=Serial())
    recorded = last_run()
    assert (
        recorded.state.name,
        "waiting" in recorded.tags,
        versions.published(tmp_path / "out"),
    ) == ("Completed", True, None)
    assert (
        f"version {ran.version} waits for approval (samples is 64, which is >= 0)"
        in recorded.state.message
    )
    assert f"dqpipe approve {tmp_path / 'out'} {ran.version}" in recorded.state.message


def test_an_output_that_another_run_has_cancels_a_nightly_run_and_fails_another(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.yaml").write_text("dataset: {path: images}\nstages: [files]\n")
    (tmp_path / "out").mkdir()

    @flow
    def night(yields: bool) -> Any:
        return flows.run_pipeline(
            str(tmp_path / "pipeline.yaml"), Options(executor="serial"), yields=yields
        )

    with Lock(place(tmp_path / "out"), "another run"):
        states = [night(yields, return_state=True) for yields in (True, False)]
    assert [state.name for state in states] == ["Cancelled", "Failed"]
    assert all("is in use by another run" in state.message for state in states)
    assert "busy" in last_run().tags


def test_in_a_running_event_loop_a_flow_publishes_and_raises_as_without(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    async def notebook() -> None:
        made = pipeline(registry, images, tmp_path / "out", "files")
        ran = flows.run_flow(made, executor=Serial())
        assert versions.published(tmp_path / "out") == ran.version
        with pytest.raises(OutputError, match="holds a published version"):
            flows.run_flow(made, executor=Serial())

    asyncio.run(notebook())


def test_the_log_of_a_flow_is_the_one_that_was_asked_for(
    images: Path, tmp_path: Path, prefect_server: str
) -> None:
    (tmp_path / "pipeline.yaml").write_text("dataset: {path: images}\nstages: [files]\n")
    Pipeline.from_yaml(tmp_path / "pipeline.yaml").run("serial")
    (tmp_path / "out" / "curated").unlink()
    (tmp_path / "out" / "curated").mkdir()  # a warning
    words = ["run", "pipeline.yaml", "--flow", "--force"]
    command = [sys.executable, "-m", "dqpipe", "--log-json", *words]
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"read", "decide", "publish"} <= {line["stage"] for line in lines}
    warned = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert any("curated is no link of dqpipe" in message for message in warned)


def test_dqpipe_run_flow_prints_its_account_and_nothing_else(images: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("dataset: {path: images}\nstages: [files]\n")
    command = [sys.executable, "-m", "dqpipe", "run", "pipeline.yaml", "--flow"]
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 samples were dropped for unreadable files." in done.stdout
    assert list(tmp_path.glob("dqpipe-*")) == []
