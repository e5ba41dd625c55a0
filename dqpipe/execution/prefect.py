"""The flow `curate`: a run as Prefect sees it, and one of the two files of dqpipe that import Prefect.

    curate (flow)
    ├── read                                        one task for each step, named for what it does
    ├── measure ── measure 1/12 · …, 2/12 · …       one task for each shard below it: named, watched, tried again
    ├── relate … detect ─ summarise ─ decide ─ apply ─ … ─ gates ─ publish
    ├── artifacts: progress · account · findings · report · examples · quality (each figure over the runs)
    └── event: dqpipe.dataset.published, or dqpipe.gate.failed

Prefect names, watches and repeats the work; the engine's worker processes do it, and no table travels through Prefect.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect tells its makers that it is imported, unless it is told not to

import httpx
from prefect import flow, get_client, get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.context import refresh_global_settings_context
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from dqpipe import config as configs
from dqpipe import plugins, reading, versions
from dqpipe.engine import Run
from dqpipe.errors import DqpipeError, GateError, MediaError
from dqpipe.execution import local
from dqpipe.execution.artifacts import account_markdown, finding_rows, series_markdown, series_rows, slug, strips
from dqpipe.execution.embedded import embedded, wait_until_ready
from dqpipe.execution.executor import Executor
from dqpipe.execution.named import NAMES, executor_named
from dqpipe.execution.tasks import PrefectTasks, if_it_answers, task_named
from dqpipe.report import account
from dqpipe.unchanged import unchanged


class Options(BaseModel):
    """How a run goes; what it does is in the pipeline.yaml."""

    model_config = ConfigDict(extra="forbid")

    limit: int | None = Field(default=None, ge=1, title="Limit", description="Only so many samples, for a first look; empty: all of them.")
    executor: str = Field(default="processes", title="Executor", description=f"Who does the work: {NAMES}.")
    rehash: bool = Field(default=False, title="Read every file again", description="Also files whose size and time did not change.")
    gates: list[str] = Field(default=[], title="Further gates", description='Beside those of the pipeline.yaml, such as "dropped in any class > 10%".')

if TYPE_CHECKING:
    from dqpipe.pipeline import Pipeline

log = logging.getLogger(__name__)


@flow(name="curate", persist_result=False)  # type: ignore[untyped-decorator]
def curate(
    pipeline: str = "pipeline.yaml",
    options: Options = Options(),  # noqa: B008 (what the form shows)
    force: bool = False,
) -> State[None]:
    """Turn raw data into a curated, explained, leak-free training set.

    The flow run fails when a gate fails, after the report was written: the account is among its artifacts either way.

    Args:
        pipeline: the pipeline.yaml: absolute, or relative to the flow's working directory
        options: how the run goes; what it does is in the pipeline.yaml
        force: publish beside what the output holds, then switch to it

    """
    return run_pipeline(pipeline, options, force=force)


def run_pipeline(pipeline: str, options: Options, *, force: bool = False, anyway: bool = True) -> State[None]:
    """Inside a flow: run a pipeline.yaml; `anyway` says whether to publish what is published already. See `drive`."""
    try:
        registry = plugins.load()
        made = configs.load(pipeline, registry)
        gates = (*made.gates, *((text, "options.gates") for text in options.gates))
        config = replace(made, limit=options.limit or made.limit, gates=gates)
        run = Run(config, registry, PrefectTasks(executor_named(options.executor)), force=force, rehash=options.rehash)
    except DqpipeError as error:
        return Failed(message=str(error), data=error)
    return drive(run, anyway=anyway)


def drive(run: Run, *, anyway: bool = True) -> State[None]:
    """Inside a flow: a task for each step of a run, then artifacts and events; the state says what came of it and what to do.

    Published, Unchanged (not `anyway`, and nothing is new), GateFailed, or Failed, with the error.
    """
    log = get_run_logger()
    logging.getLogger("prefect.flow_runs").addFilter(_unsaid)
    try:
        try:
            with run.executor if isinstance(run.executor, PrefectTasks) else nullcontext():
                for step in run.steps():
                    if step.name == "publish" and not anyway and all(gate["passed"] for gate in run.gates) and (same := unchanged(run)):
                        return Completed(name="Unchanged", message=f"nothing changed since version {same}, which stays published")
                    task_named(step.name, step.name, step.call, repeats=not step.maps)()
                    log.info("%s: %.2f s", step.name, run.timings[-1]["seconds"])
        finally:
            run.close()
        with if_it_answers():
            present(run)
            tell(run)
        run.finish()
    except GateError as error:
        return Failed(name="GateFailed", message=f"{error}. {_advice(run)}", data=error)
    except DqpipeError as error:
        return Failed(message=str(error), data=error)
    if run.published is None:
        return Completed(name="Checked", message=_counted(run))
    return Completed(name="Published", message=f"version {run.version}: {_counted(run)}; report: {_report(run)}")


def _unsaid(line: logging.LogRecord) -> bool:
    """Whether a line of the flow run's log is news: Prefect shows the traceback of an error after the state that was made of it."""
    return not (line.exc_info and isinstance(line.exc_info[1], DqpipeError))


def _counted(run: Run) -> str:
    told = run.record["account"]
    failed = f", {len(run.failures)} measurements failed (see the account)" if run.failures else ""
    return f"{told['kept']} of {told['samples']} samples kept, {told['relabelled']} relabelled, {told['added']} added, {told['review']} to review{failed}"


def _advice(run: Run) -> str:
    """What to do about a gate that failed."""
    if run.published is None:
        return "Run again when the data, or the gate, is right"
    last = versions.published(run.config.out)
    stays = f"Version {last} stays published" if last else "Nothing is published"
    return f"{stays}. Read {_report(run)}; ask `dqpipe why SAMPLE --out {run.published}`; run again when the data, or the gate, is right"


def _report(run: Run) -> str | None:
    """Where the report is: a URL, or the version's folder where no HTML was asked for; None for a check."""
    if not isinstance(run.published, Path):
        return run.published and f"{run.published}/report.html"
    report = run.published / "report.html"
    return (report if report.exists() else run.published).as_uri()


def present(run: Run) -> None:
    """The account as artifacts of the flow run. Their keys name the output, so that Prefect keeps their history for each."""
    place, record = slug("-".join(str(run.config.out).split("/")[-2:])), run.record
    rows, failed, report = finding_rows(record), [gate for gate in run.gates if not gate["passed"]], _report(run)
    text = account_markdown(account(record), rows, [_advice(run)] if failed else [], report)
    create_markdown_artifact(text, key=f"account-{place}", description=f"run {run.id}")
    create_table_artifact(rows, key=f"findings-{place}", description="what was claimed, and what became of the samples")
    if report is not None:
        create_link_artifact(report, link_text="report", key=f"report-{place}", description="the quality report")
    past = versions.history(run.config.out)
    if past:
        create_table_artifact(series_rows(past), key=f"quality-{place}", description="each run: share of each finding (0 to 1), drift of each fact, counts")
        create_markdown_artifact(series_markdown(past), key=f"quality-chart-{place}", description="the last runs as bars")
    if run.raw.dataset.has_media:
        pixels = reading.Rereader(run.raw.samples, run.raw.dataset.root, run.plan.decoders, run.survey.rereads, "artifacts")
        with suppress(MediaError, OSError):  # a file that left meanwhile
            for code, caption, url in strips(record, pixels):
                create_image_artifact(url, key=f"examples-{slug(code)}-{place}", description=f"{code}, the strongest: {caption}")


def tell(run: Run) -> None:
    """An event for a failed gate or a published dataset, for automations: on the output, related to the dataset, the version, and this flow run."""
    failed = [gate for gate in run.gates if not gate["passed"]]
    if not failed and run.published is None:
        return  # a check
    out, source = str(run.config.out), str(run.source)
    told = run.record["account"]
    emit_event(
        "dqpipe.gate.failed" if failed else "dqpipe.dataset.published",
        resource={"prefect.resource.id": f"dqpipe.output.{slug(out)}", "prefect.resource.name": out},
        related=[
            {"prefect.resource.id": f"dqpipe.version.{run.version}", "prefect.resource.role": "version", "prefect.resource.name": run.version},
            {"prefect.resource.id": f"dqpipe.dataset.{slug(source)}", "prefect.resource.role": "dataset", "prefect.resource.name": source[:200]},
        ],
        payload={
            "version": run.version, "out": out, "report": _report(run), "said": account(run.record), "gates": [gate["said"] for gate in failed],
            "counts": {name: told[name] for name in ("samples", "kept", "dropped", "relabelled", "review", "added")},
        },
    )  # fmt: skip


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

    error: object = None
    with _server(logs=logs), _outlived(run):
        state = flow_of_run(str(pipeline.config.source), str(pipeline.config.out), force, pipeline.config.limit, return_state=True)
        error = state.result(raise_on_failure=False)
    if isinstance(error, Exception) and not isinstance(error, GateError):
        raise error
    return run


@contextmanager
def _outlived(run: Run) -> Iterator[None]:
    """Where Prefect's server dies under a flow: what is published stands, else what was measured. Raises DqpipeError."""
    try:
        yield
    except httpx.HTTPError as error:
        for teller in (EventsWorker, APILogWorker):  # what they still have to tell, nobody hears: each try takes seconds
            for told in teller._instances.values():  # noqa: SLF001
                told._queue.queue.clear()  # noqa: SLF001
        logging.getLogger("prefect").setLevel(logging.CRITICAL)
        lost = f"Prefect's server at {PREFECT_API_URL.value()} stopped answering ({error or type(error).__name__})"
        if run.published is None and (run.writes or not run.record):
            raise DqpipeError(f"{lost}: what was measured is kept; run again when it is back, or without Prefect") from None
        log.error("%s: the run is complete; Prefect shows its flow run as running", lost)  # noqa: TRY400 (its traceback says no more)


def standing_server(what: str) -> str:
    """The URL of the Prefect server that the user set up. Raises DqpipeError if there is none, or it does not answer."""
    url = PREFECT_API_URL.value()
    if url is None:
        raise DqpipeError(f"{what} needs a Prefect server that stays: `prefect server start`, then `export PREFECT_API_URL=http://127.0.0.1:4200/api`")
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise DqpipeError(f"Prefect's server at {url} does not answer ({error}): start it, or unset PREFECT_API_URL for an embedded one")
    return str(url)


@contextmanager
def _server(*, logs: bool) -> Iterator[None]:
    """The Prefect server that the user set up (environment, profile), else an embedded one that is quiet and private."""
    if PREFECT_API_URL.value() is not None:
        standing_server("this run")
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
