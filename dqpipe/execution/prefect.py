"""The flow `curate`: a run as Prefect sees it, and one of the two files of dqpipe that import Prefect.

    curate (flow)
    ├── read                                        one task for each step, named for what it does
    ├── measure ── measure 1/12 · …, 2/12 · …       one task for each shard below it: named, watched, tried again
    ├── relate … detect ─ summarise ─ decide ─ apply ─ … ─ gates ─ publish
    └── artifacts: progress · account · findings · report

Prefect names, watches and repeats the work; the engine's worker processes do it, and no table travels through Prefect.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect tells its makers that it is imported, unless it is told not to

from prefect import flow, get_client, get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.configuration import setup_logging
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed, State
from pydantic import Field

from dqpipe import config as configs
from dqpipe import plugins
from dqpipe.engine import Run
from dqpipe.errors import DqpipeError, GateError
from dqpipe.execution import local
from dqpipe.execution.embedded import embedded, wait_until_ready
from dqpipe.execution.executor import Executor
from dqpipe.execution.named import executor_named
from dqpipe.execution.tasks import PrefectTasks, task_named
from dqpipe.report import account

if TYPE_CHECKING:
    from dqpipe.pipeline import Pipeline


@flow(name="curate", persist_result=False)  # type: ignore[untyped-decorator]
def curate(
    pipeline: str = "pipeline.yaml",
    force: bool = False,
    limit: Annotated[int, Field(ge=1)] | None = None,
    workers: Annotated[int, Field(ge=0)] = 0,
    rehash: bool = False,
) -> State[None]:
    """Turn raw data into a curated, explained, leak-free training set.

    The flow run fails when a gate fails, after the report was written: the account is among its artifacts either way.

    Args:
        pipeline: the pipeline.yaml
        force: publish beside what the output holds, then switch
        limit: only so many samples, for a first look
        workers: worker processes; 0 is one for each core
        rehash: read every file again, also unchanged ones

    """
    try:
        registry = plugins.load()
        config = configs.load(pipeline, registry)
        config = config if limit is None else replace(config, limit=limit)
        run = Run(config, registry, PrefectTasks(local.Processes(workers)), force=force, rehash=rehash)
    except DqpipeError as error:
        return Failed(message=str(error), data=error)
    return drive(run)


def drive(run: Run) -> State[None]:
    """Drive a run inside a flow: a task for each step, then the artifacts; Failed with the error where it ends with one."""
    log = get_run_logger()
    try:
        try:
            with run.executor if isinstance(run.executor, PrefectTasks) else nullcontext():
                for step in run.steps():
                    task_named(step.name, step.name, step.call, repeats=not step.maps)()
                    log.info("%s: %.2f s", step.name, run.timings[-1]["seconds"])
        finally:
            run.close()
        present(run)
        run.finish()
    except DqpipeError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"published {run.version}" if run.published else "checked")


def present(run: Run) -> None:
    """The account as artifacts of the flow run: markdown, a table of the findings, and where the report is."""
    lines = account(run.record) + ([] if run.published is None else [f"Written to {run.published}"])
    plain = (" ".join(line.split()).replace("<", "&lt;") for line in lines)  # names of files and classes may hold anything
    create_markdown_artifact("\n".join(f"- {line}" for line in plain), key="account", description=f"run {run.id}")
    codes = [code for stage in run.record["counts"]["stages"] for code in stage["codes"]]
    rows = [{**{name: code[name] for name in ("code", "severity", "findings", "samples", "help")}, **code["decisions"]} for code in codes]
    create_table_artifact(rows, key="findings", description="what was claimed, and what became of the samples")
    report = run.published / "report.html" if isinstance(run.published, Path) else None
    if report is not None and report.exists():
        create_link_artifact(report.as_uri(), link_text=str(report), key="report", description="the quality report")


def run_flow(
    pipeline: Pipeline, *, executor: Executor | str | None = None, shard_size: int | None = None,
    force: bool = False, rehash: bool = False, writes: bool = True, logs: bool = False,
) -> Run:  # fmt: skip
    """Run a pipeline as the flow `curate`, on the Prefect server that is set up, else on an embedded one; the Run when it is finished.

    `executor` is one or its name (`processes:4`, `dask:tcp://…`); `logs` shows Prefect's log of an embedded run. Raises
    DqpipeError, but not for a failed gate: see `Run.gates` and `Run.finish`.
    """
    over = PrefectTasks(executor_named(executor) if isinstance(executor, str) else executor or local.Processes())
    run = Run(pipeline.config, pipeline.registry, over, shard_size=shard_size, force=force, rehash=rehash, writes=writes)

    @flow(name=curate.name, description=curate.description, persist_result=False)  # type: ignore[untyped-decorator]
    def flow_of_run(dataset: str, output: str, force: bool, limit: int | None) -> State[None]:  # noqa: ARG001 (parameters are what Prefect shows)
        return drive(run)

    with _server(logs=logs):
        state = flow_of_run(str(pipeline.config.source), str(pipeline.config.out), force, pipeline.config.limit, return_state=True)
        error = state.result(raise_on_failure=False)
    if isinstance(error, Exception) and not isinstance(error, GateError):
        raise error
    return run


@contextmanager
def _server(*, logs: bool) -> Iterator[None]:
    """The Prefect server that the user set up (environment, profile), else an embedded one that is quiet and private."""
    url = PREFECT_API_URL.value()
    if url is not None:
        with get_client(sync_client=True) as client:
            error = client.api_healthcheck()
        if error is not None:
            raise DqpipeError(f"Prefect's server at {url} does not answer ({error}): start it, or unset PREFECT_API_URL for an embedded one")
        yield
        return
    with embedded() as (url, home), _environment(_settings(url, home, logs=logs)), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        setup_logging()
        wait_until_ready(url, home)
        yield
        EventsWorker.drain_all()  # what it still has to tell would find nobody at exit


def _settings(url: str, home: Path, *, logs: bool) -> dict[str, str]:
    """Settings of a flow on the embedded server: nothing to anybody else, nothing alarming."""
    return {
        "PREFECT_API_URL": url,
        "PREFECT_UI_URL": "",  # there is no page to look at, and no link to it
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "INFO" if logs else "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    }


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Settings by the environment, for every thread and process: a thread that does not see them starts a server of its own."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    refresh_global_settings_context()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        refresh_global_settings_context()
