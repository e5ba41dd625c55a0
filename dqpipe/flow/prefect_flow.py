"""The Prefect flow `curate`: a run with a task for each step.

One of the files of dqpipe that import Prefect.

    curate (flow)
    ├── read                                        one task for each step, named for what it does
    ├── measure ── measure 1/12 · …, 2/12 · …       one task for each shard below it: named,
                                                    watched, tried again
    ├── relate … detect ─ summarise ─ decide ─ apply ─ … ─ gates ─ publish
    └── Completed, Failed or Cancelled; what came of it is said in tags, message, artifacts and an
        event (see `messages`)

    validate (task)                                 the same without curating, for flows of one's
                                                    own

Prefect names, watches and repeats the work; the engine's worker processes do it, and no table
travels through Prefect.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault(
    "DO_NOT_TRACK", "1"
)  # Prefect tells its makers that it is imported, unless it is told not to

import httpx
import yaml
from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled, Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from dqpipe.config import pipeline_file as configs
from dqpipe.config.pipeline_file import Config
from dqpipe.engine.run import Run
from dqpipe.errors import ApprovalError, BusyError, DqpipeError, GateError
from dqpipe.execution import local, logs
from dqpipe.execution.by_name import NAMES, Cluster, executor_named
from dqpipe.execution.prefect.server import Embedded, embedded, wait_until_ready
from dqpipe.execution.prefect.tasks import PrefectTasks, Stays, task_named
from dqpipe.flow.artifacts import key_of
from dqpipe.flow.messages import (
    FlowResult,
    advice,
    counted,
    dataset_name,
    each,
    emit,
    missed_text,
    report_of,
    result_of,
    run_name,
    tag,
    tell,
)
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.kinds import Executor
from dqpipe.plugin.registry import Registry
from dqpipe.results import rollback, versions
from dqpipe.results.outcome import Outcome


class Options(BaseModel):
    """How a run goes; what it does is in the pipeline.yaml."""

    model_config = ConfigDict(extra="forbid")

    limit: int | None = Field(
        default=None,
        ge=1,
        title="Limit",
        description="Only so many samples, for a first look; empty: all of them.",
    )
    executor: str = Field(
        default="processes", title="Executor", description=f"Who does the work: {NAMES}."
    )
    rehash: bool = Field(
        default=False,
        title="Read every file again",
        description="Also files whose size and time did not change.",
    )
    gates: list[str] = Field(
        default=[],
        title="Further gates",
        description='Beside those of the pipeline.yaml, such as "dropped in any class > 10%".',
    )
    approval_hours: float = Field(
        default=12,
        ge=0,
        title="Wait for approval",
        description="So many hours, where `approve:` asks a person; then the run ends.",
    )
    changes: list[str] = Field(
        default=[],
        title="Other values",
        description="Than the pipeline.yaml's, as NAME.OPTION=VALUE: dataset.path=/data/tonight.",
    )


class Approval(RunInput):  # type: ignore[misc]
    """The input form of an approval before a version is published."""

    publish: bool = Field(title="Publish this version", description="Else it is rejected.")
    by: str = Field(default="", title="Who says so", description="For the history of the output.")


class Pipeline(Protocol):
    """A checked config, and the plugins it was built with."""

    @property
    def config(self) -> Config:
        """What runs."""

    @property
    def registry(self) -> Registry:
        """The plugins."""


log = logging.getLogger(__name__)
LOOKS = 5
"""Seconds between two looks at whether somebody answered."""
_embedded: set[str] = set()
"""The URLs of embedded servers: on their pages nobody can be asked."""


def name_of_run() -> str:
    """The name of a flow run that has the parameter `pipeline`.

    The dataset of that file, and the minute.
    """
    given = Path(str(runtime.flow_run.parameters.get("pipeline", "pipeline.yaml")))
    try:
        path = yaml.safe_load(given.read_text(encoding="utf-8"))["dataset"]["path"]
        source = path if "://" in path else str((given.parent / path).resolve())
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        yaml.YAMLError,
    ):  # the run says what is wrong with it
        source = str(given)
    return run_name(dataset_name(source))


@flow(name="curate", persist_result=False, flow_run_name=name_of_run)  # type: ignore[untyped-decorator]
def curate(
    pipeline: str = "pipeline.yaml",
    options: Options = Options(),  # noqa: B008 (what the form shows)
    force: bool = False,
) -> State[FlowResult]:
    """Turn raw data into a curated, explained, leak-free training set.

    The flow run fails when a gate fails, after the report was written: the account is among its
    artifacts either way.

    Args:
        pipeline: the pipeline.yaml: absolute, or relative to the flow's working directory
        options: how the run goes; what it does is in the pipeline.yaml
        force: publish beside what the output holds, then switch to it

    """
    return run_pipeline(pipeline, options, force=force)


@task(name="validate", cache_policy=NO_CACHE, persist_result=False)  # type: ignore[untyped-decorator]
def validate(pipeline: str, options: Options = Options()) -> FlowResult:  # noqa: B008 (never changed)
    """Look at a dataset without curating, as `dqpipe check`: counts, findings, gates.

    Raises DqpipeError; GateError where a gate fails.
    """
    over = executor_named(options.executor)
    run = _made(
        pipeline, options, PrefectTasks(over) if isinstance(over, Cluster) else over, writes=False
    )
    return result_of(run.run(), "checked", None)


def _made(pipeline: str, options: Options, executor: Executor, **how: Any) -> Run:  # noqa: ANN401
    """The run of a pipeline.yaml. Raises DqpipeError."""
    registry = plugins.load()
    made = configs.load(pipeline, registry, tuple(options.changes))
    gates = (*made.gates, *((text, "options.gates") for text in options.gates))
    config = replace(made, limit=options.limit or made.limit, gates=gates)
    return Run(config, registry, executor, rehash=options.rehash, **how)


def run_pipeline(
    pipeline: str,
    options: Options,
    *,
    force: bool = False,
    anyway: bool = True,
    yields: bool = False,
) -> State[FlowResult]:
    """Inside a flow: run a pipeline.yaml; `anyway` publishes even if nothing is new.

    See `drive`.
    """
    try:
        run = _made(pipeline, options, PrefectTasks(executor_named(options.executor)), force=force)
    except DqpipeError as error:
        each(("the tags", lambda: tag("dqpipe", "failed")))
        return Failed(message=str(error), data=error)
    return drive(run, anyway=anyway, yields=yields, hours=options.approval_hours)


def drive(
    run: Run, *, anyway: bool = True, yields: bool = False, hours: float = 0
) -> State[FlowResult]:
    """Inside a flow: a task for each step of a run, then artifacts and an event.

    Message and tags say what came of it and what to do.

    Completed with a FlowResult (tagged published; unchanged, where not `anyway` and nothing is new;
    waiting or rejected, where a person is asked, for up to so many hours; checked), or Failed with
    the error (gate-failed, failed). With `yields` it is Cancelled (busy) where another run has the
    output.
    """
    state, outcome = _driven(run, anyway=anyway, yields=yields)
    if outcome == "waiting" and hours > 0 and PREFECT_API_URL.value() not in _embedded:
        assert run.outcome is not None
        state, outcome = _asked(run.outcome, state, hours)
    each(("the tags", lambda: tag("dqpipe", dataset_name(run.source), outcome)))
    return state


def _driven(run: Run, *, anyway: bool, yields: bool) -> tuple[State[FlowResult], str]:
    """The final state of a run, and one of OUTCOMES."""
    logging.getLogger("prefect.flow_runs").addFilter(_unsaid)
    logs.again()
    try:
        same = _steps(run, anyway=anyway)
    except BusyError as error:
        busy: State[Any] = (
            Cancelled(message=f"skipped: {error}", data=error)
            if yields
            else Failed(message=str(error), data=error)
        )
        return busy, "busy"
    except DqpipeError as error:
        return Failed(message=str(error), data=error), "failed"
    assert run.outcome is not None
    return _unchanged(run.outcome, same) if same else _ended(run.outcome)


def _unchanged(run: Outcome, same: str) -> tuple[State[FlowResult], str]:
    stays = (
        "stays published" if same == versions.published(run.config.out) else "waits for approval"
    )
    return Completed(
        message=f"nothing changed since version {same}, which {stays}",
        data=result_of(run, "unchanged", same),
    ), "unchanged"


def _ended(run: Outcome) -> tuple[State[FlowResult], str]:
    """Report a run that completed all steps; its final state and outcome."""
    missed = missed_text(tell(run))
    try:
        run.raise_for_gates()
    except ApprovalError as error:
        return Completed(
            message=f"{error}; {counted(run)}; report: {report_of(run)}{missed}",
            data=result_of(run, "waiting", run.version),
        ), "waiting"
    except GateError as error:
        return Failed(message=f"{error}. {advice(run)}{missed}", data=error), "gate-failed"
    if run.published is None:
        return Completed(
            message=counted(run) + missed, data=result_of(run, "checked", None)
        ), "checked"
    return _published(run, missed), "published"


def _published(run: Outcome, more: str) -> State[FlowResult]:
    message = f"published version {run.version}: {counted(run)}; report: {report_of(run)}{more}"
    return Completed(message=message, data=result_of(run, "published", run.version))


def _asked(run: Outcome, waiting: State[FlowResult], hours: float) -> tuple[State[FlowResult], str]:
    """Pause this flow run until a person approves or rejects, here or by `dqpipe approve`.

    The state, and one of OUTCOMES.
    """
    each(("the tags", lambda: tag("dqpipe", dataset_name(run.source), "waiting")))
    asked = Approval.with_initial_data(description=f"{waiting.message}\n\nReport: {report_of(run)}")
    try:
        answer = pause_flow_run(
            wait_for_input=asked, timeout=max(1, round(hours * 3600)), poll_interval=LOOKS
        )
    except FlowPauseTimeout:
        return waiting, "waiting"
    out, by = run.config.out, answer.by
    try:
        if not answer.publish:
            return Completed(
                message=f"rejected version {rollback.reject(out, run.version, by=by)}",
                data=result_of(run, "rejected", run.version),
            ), "rejected"
        if versions.published(out) != run.version:
            rollback.approve(out, run.version, by=by)
    except DqpipeError as error:
        return Failed(message=str(error), data=error), "failed"
    each(("the event", lambda: emit(run, "dqpipe.dataset.published")))
    return _published(run, f"; approved by {by or 'somebody'}"), "published"


def _steps(run: Run, *, anyway: bool) -> str | None:
    """Run the steps, each as a task; returns the published version if nothing is new.

    Raises DqpipeError.
    """
    told = get_run_logger()
    run.if_changed = run.if_changed or not anyway
    try:
        if isinstance(run.executor, PrefectTasks):
            run.executor.place = key_of(run.config.out)
        with run.executor if isinstance(run.executor, PrefectTasks) else nullcontext():
            for step in run.steps():
                task_named(step.name, step.name, Stays(step.call), repeats=not step.maps)()
                told.info("%s: %.2f s", step.name, run.timings[-1]["seconds"])
    except Exception:
        if run.outcome is None or run.outcome.published is None:
            raise
        log.exception("the run is published and complete; what came after it failed")
    finally:
        run.close()
    return None if run.outcome is None else run.outcome.unchanged


def _unsaid(line: logging.LogRecord) -> bool:
    """Whether to keep a line of the flow run's log.

    Prefect repeats the traceback of an error that became a state.
    """
    return not (line.exc_info and isinstance(line.exc_info[1], DqpipeError))


def run_flow(
    pipeline: Pipeline,
    *,
    executor: Executor | str | None = None,
    shard_size: int | None = None,
    force: bool = False,
    rehash: bool = False,
    writes: bool = True,
    if_changed: bool = False,
    logs: bool = False,
) -> Outcome:
    """Run a pipeline as the flow `curate` on the configured Prefect server, else on an embedded
    one; returns the finished Run.

    `executor` is one or its name (`processes:4`, `dask:tcp://…`); `logs` shows Prefect's log of an
    embedded run. Raises DqpipeError, but not for a failed gate: see `Outcome.gates` and
    `Outcome.raise_for_gates`.
    """
    over = PrefectTasks(
        executor_named(executor) if isinstance(executor, str) else executor or local.Processes()
    )
    run = Run(
        pipeline.config,
        pipeline.registry,
        over,
        shard_size=shard_size,
        force=force,
        rehash=rehash,
        writes=writes,
        if_changed=if_changed,
    )

    name = run_name(dataset_name(pipeline.config.source)).replace("{", "(").replace("}", ")")

    driven = Stays(partial(drive, run))

    @flow(
        name=curate.name, description=curate.description, persist_result=False, flow_run_name=name
    )  # type: ignore[untyped-decorator]
    def flow_of_run(dataset: str, output: str, force: bool, limit: int | None) -> State[FlowResult]:  # noqa: ARG001 (parameters are what Prefect shows)
        return driven()

    error: object = None
    with _server(logs=logs), _outlived(run):
        state = flow_of_run(
            str(pipeline.config.source),
            str(pipeline.config.out),
            force,
            pipeline.config.limit,
            return_state=True,
        )
        error = state.result(
            raise_on_failure=False, _sync=True
        )  # in a running event loop it would be a coroutine
    if isinstance(error, Exception) and not isinstance(error, GateError):
        raise error
    assert run.outcome is not None
    return run.outcome


@contextmanager
def _outlived(run: Run) -> Iterator[None]:
    """Handle the death of Prefect's server during a flow.

    A published version or measured facts are kept. Raises DqpipeError.
    """
    try:
        yield
    except httpx.HTTPError as error:
        for teller in (
            EventsWorker,
            APILogWorker,
        ):  # what they still have to tell, nobody hears: each try takes seconds
            for told in teller._instances.values():  # noqa: SLF001
                told._queue.queue.clear()  # noqa: SLF001
        logging.getLogger("prefect").setLevel(logging.CRITICAL)
        lost = (
            f"Prefect's server at {PREFECT_API_URL.value()} stopped answering "
            f"({error or type(error).__name__})"
        )
        done = run.outcome
        if done is None or (done.published is None and (done.writes or not done.record)):
            raise DqpipeError(
                f"{lost}: what was measured is kept; run again when it is back, or without Prefect"
            ) from None
        log.error("%s: the run is complete; Prefect shows its flow run as running", lost)  # noqa: TRY400 (its traceback says no more)


def standing_server(what: str) -> str:
    """The URL of the user's Prefect server.

    Raises DqpipeError if none is configured, or it does not answer.
    """
    url = PREFECT_API_URL.value()
    if url is None:
        raise DqpipeError(
            f"{what} needs a Prefect server that stays: `prefect server start`, then `export "
            f"PREFECT_API_URL=http://127.0.0.1:4200/api`"
        )
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise DqpipeError(
            f"Prefect's server at {url} does not answer ({error}): start it, or unset "
            f"PREFECT_API_URL for an embedded one"
        )
    return str(url)


@contextmanager
def _server(*, logs: bool) -> Iterator[None]:
    """The user's Prefect server (environment, profile), else an embedded one that is quiet and
    private.
    """
    if PREFECT_API_URL.value() is not None:
        standing_server("this run")
        yield
        return
    with (
        embedded() as server,
        _known(server),
        _environment(_settings(server, logs=logs)),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        setup_logging()
        wait_until_ready(server)
        yield
        last = threading.Thread(
            target=EventsWorker.drain_all
        )  # in a running event loop it would be a coroutine
        last.start()
        last.join()  # what it still has to tell would find nobody at exit


@contextmanager
def _known(server: Embedded) -> Iterator[None]:
    """Mark the server as an embedded one while it runs."""
    _embedded.add(server.url)
    try:
        yield
    finally:
        _embedded.discard(server.url)


def _settings(server: Embedded, *, logs: bool) -> dict[str, str]:
    """Settings of a flow on the embedded server: no telemetry, and no needless warnings."""
    return {
        "PREFECT_API_URL": server.url,
        "PREFECT_API_AUTH_STRING": server.secret,
        "PREFECT_UI_URL": "",  # there is no page to look at, and no link to it
        "PREFECT_HOME": str(server.home),
        "PREFECT_LOGGING_LEVEL": "INFO" if logs else "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    }


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Settings by the environment, for every thread and process.

    A thread that does not see them starts a server of its own.
    """
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    refresh_global_settings_context()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        refresh_global_settings_context()
