"""An executor on Prefect's tasks.

One task for each item, named, shown on Prefect's pages and retried.

On threads, Prefect's default, each task hands its item to one of the engine's worker processes and
waits: Prefect's own runner of processes ends the flow when one of them dies. Dask's and Ray's
workers do the work themselves.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

os.environ.setdefault(
    "DO_NOT_TRACK", "1"
)  # Prefect tells its makers that it is imported, unless it is told not to

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.transactions import Transaction

from dqpipe.data.wording import slug
from dqpipe.errors import ConfigError, StageError
from dqpipe.execution import local, worker_pool
from dqpipe.execution.by_name import Cluster
from dqpipe.execution.decoding import one_thread
from dqpipe.execution.executor import Died, WorkerDied, patiently
from dqpipe.execution.worker_pool import Crew
from dqpipe.plugin.kinds import Executor

DELAYS = [1.0, 5.0]
"""Seconds before the first and the second retry.

A share that is remounted, a worker that is started again.
"""
ANSWERS_WITHIN = 15.0
"""Seconds that a scheduler may take to answer, when a run begins."""
DEATHS = (
    "KilledWorker",
    "WorkerCrashedError",
    "OutOfMemoryError",
    "NodeDiedError",
    "LocalRayletDiedError",
    "BrokenProcessPool",
)
"""The errors by which Dask, Ray and Prefect's own runner of processes tell that a worker died."""
QUIET = {
    "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
    # Ray tells its makers of every cluster, unless it is told not to
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


HERE = ("127.0.0.1", "localhost", "::1")
log = logging.getLogger(__name__)


@dataclass
class PrefectTasks:
    """An executor: one Prefect task for each item, on the threads, processes or cluster of another
    executor.

    Inside a flow with a task runner of its own (not Prefect's threads), and nothing else asked for,
    the work goes there. Used as a context, it keeps its cluster from one map to the next.
    """

    over: Executor = field(default_factory=local.Processes)
    place: str = ""
    """What the keys of its artifacts end with: the output's."""
    _runner: TaskRunner[Any] | None = None

    def __enter__(self) -> Self:
        if isinstance(self.over, Cluster):
            self._runner = started(self.over)
        return self

    def __exit__(self, *error: object) -> None:
        if self._runner is not None:
            self._runner.__exit__(*error)
            self._runner = None

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """See `Executor.map`.

        Prefect retries after an OSError, dqpipe after the death of a worker.
        """
        if not items:
            return
        progress = Progress(names, self.place)
        with self._at(len(items)) as (runner, here):
            act = function if here is None else partial(_unless_ended, here, function)

            def attempt(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
                tasks = {
                    number: task_named(progress.kind, names[number], partial(act, items[number]))
                    for number in numbers
                }
                with _once(self.over), _on_their_own():
                    futures = {runner.submit(one, {}): number for number, one in tasks.items()}
                try:
                    for future in as_completed(list(futures)):
                        yield futures[future], _outcome(future)
                finally:
                    _give_up(futures)

            try:
                for result in patiently(attempt, names):
                    yield result
                    progress.advance()
            finally:
                if here is not None:
                    here.send_away()

    @contextmanager
    def _at(self, items: int) -> Iterator[tuple[TaskRunner[Any], Crew | Here | None]]:
        """The task runner for the work, and the worker processes behind it where it has threads."""
        context = FlowRunContext.get()
        if isinstance(self.over, Cluster) and self._runner is None:
            with self, self._at(items) as there:
                yield there
        elif self._runner is not None:
            yield self._runner, None
        elif context is not None and not isinstance(context.task_runner, ThreadPoolTaskRunner):
            yield context.task_runner, None
        else:
            asked = (
                self.over.workers if isinstance(self.over, (local.Threads, local.Processes)) else 0
            )
            count = 1 if isinstance(self.over, local.Serial) else min(asked or local.cores(), items)
            apart = (
                isinstance(self.over, local.Processes)
                and (count > 1 or self.over.workers > 1)
                and worker_pool.allowed()
            )
            with (
                one_thread() if count > 1 else nullcontext(),
                ThreadPoolTaskRunner(max_workers=count) as threads,
            ):
                yield threads, Crew() if apart else Here()


@dataclass
class Here:
    """Runs the work in this process, without worker processes."""

    stopped: bool = False

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:  # noqa: ANN401
        """`function(item)`, or CancelledError after the run was cancelled."""
        if self.stopped:
            raise CancelledError
        return function(item)

    def send_away(self) -> None:
        """Begin nothing more."""
        self.stopped = True


def _unless_ended(here: Crew | Here, function: Callable[[Any], Any], item: Any) -> Any:  # noqa: ANN401
    """`function(item)`, or the state of a task that was cancelled with its run."""
    try:
        return here.call(function, item)
    except CancelledError:
        return Cancelled(message="the run was ended before this was done")


@contextmanager
def _on_their_own() -> Iterator[None]:
    """Keep tasks inside out of the enclosing transaction, so that finished ones stay completed when
    their step is cancelled.
    """
    token = Transaction.__var__.set(None)
    try:
        yield
    finally:
        Transaction.__var__.reset(token)


def started(cluster: Cluster) -> TaskRunner[Any]:
    """Prefect's task runner for a cluster, which is started or connected to.

    Raises ConfigError if it does not answer.
    """
    if not cluster.address and not worker_pool.allowed():
        raise ConfigError(
            f"a daemon process (of a process pool, say) cannot start {cluster.engine}: name an "
            f"executor of this process, such as threads:4"
        )
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    runner = _dask(cluster) if cluster.engine == "dask" else _ray(cluster)
    refuse_strangers(cluster)
    runner.__enter__()
    try:
        _ = getattr(runner, "client", None)  # Dask's, which would connect with the first task
    except (OSError, ValueError) as error:
        runner.__exit__(None, None, None)
        raise ConfigError(
            f"no scheduler of {cluster.engine} answers at {cluster.address or 'this machine'}: "
            f"{error}"
        ) from None
    return runner


def refuse_strangers(cluster: Cluster) -> None:
    """Refuse a remote cluster with an embedded Prefect server, which other machines cannot reach.

    Raises ConfigError.
    """
    host = urlsplit(
        cluster.address if "://" in cluster.address else f"//{cluster.address}"
    ).hostname
    server = urlsplit(PREFECT_API_URL.value() or "").hostname
    if host and host not in {*HERE, "auto", socket.gethostname()} and server in HERE:
        reason = (
            f"the workers of {cluster.address} tell Prefect's server how far they are, and cannot "
            f"reach one at {server}"
        )
        raise ConfigError(
            f"{reason}: start one that they reach (prefect server start --host 0.0.0.0) and set "
            f"PREFECT_API_URL to it"
        )


def _dask(cluster: Cluster) -> TaskRunner[Any]:
    from distributed import LocalCluster, Security
    from prefect_dask import DaskTaskRunner

    if cluster.address:
        return DaskTaskRunner(address=cluster.address, client_kwargs={"timeout": ANSWERS_WITHIN})
    # One thread each, as libraries count their threads per process. A task whose worker dies comes
    # back at once: we try it again alone.
    scheduler = {"allowed_failures": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    # TLS with a certificate of this run alone, on both sides: whoever speaks with a scheduler runs
    # code as this user.
    apart = {"security": Security.temporary(), "protocol": "tls://"}
    here = {
        **apart,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "scheduler_kwargs": scheduler,
        "silence_logs": logging.CRITICAL,
    }
    return DaskTaskRunner(
        cluster_class=LocalCluster,
        cluster_kwargs={
            **here,
            "n_workers": cluster.workers or local.cores(),
            "threads_per_worker": 1,
        },
    )


def _ray(cluster: Cluster) -> TaskRunner[Any]:
    from prefect_ray import RayTaskRunner

    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if cluster.address:
        return RayTaskRunner(address=cluster.address, init_kwargs=quiet)
    if (
        "RAY_AUTH_MODE" not in os.environ
    ):  # likewise: it listens on every interface, and answers to nobody without this run's token
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    # Without "local" Ray joins whatever cluster it finds. No table travels: the smallest store of
    # objects does.
    here = {
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "num_cpus": cluster.workers or local.cores(),
        "object_store_memory": 80 << 20,
    }
    return RayTaskRunner(address="local", init_kwargs={**quiet, **here})


def _once(executor: Executor) -> AbstractContextManager[Any]:
    """Switch off Ray's own retries of work whose worker died, as dqpipe retries it alone."""
    if not (isinstance(executor, Cluster) and executor.engine == "ray"):
        return nullcontext()
    from prefect_ray.context import remote_options

    return remote_options(max_retries=0)


def _give_up(futures: Iterable[Any]) -> None:
    """Cancel work that has not begun; finished work is kept."""
    for future in futures:
        cancel = getattr(future.wrapped_future, "cancel", None)
        if cancel is not None and not future.wrapped_future.done():
            cancel()


def _outcome(future: Any) -> Any:  # noqa: ANN401
    """The result of a task, or Died. Raises the error of the task."""
    try:
        return future.result()
    except WorkerDied as death:
        return Died(str(death))
    except Exception as error:
        if type(error).__name__ == "FutureCancelledError":  # Dask's
            advice = "what was measured is kept: see that its scheduler runs, and run again"
            raise StageError("measure", "the cluster", f"it was lost ({error})", advice) from None
        if type(error).__name__ not in DEATHS:
            raise
        # A scheduler of Dask's that others started tries again by itself, so often.
        return Died(
            f"{type(error).__name__}: a worker process died",
            1 + getattr(error, "allowed_failures", 0),
        )


class Stays:
    """Work that is done in this process alone.

    Prefect sends a task along with the tasks that begin in it, and only these are to go elsewhere.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    def __call__(self) -> Any:  # noqa: ANN401
        """Do it."""
        return self.work()

    def __reduce__(self) -> tuple[Any, ...]:
        return Stays, (_stayed,)


def _stayed() -> None:
    """What is called elsewhere in place of it. Raises RuntimeError."""
    raise RuntimeError("this work stays in the process that drives the run")


def task_named(kind: str, name: str, work: Callable[[], Any], *, repeats: bool = True) -> Any:  # noqa: ANN401
    """A task that is never cached, and repeated only where that may help.

    It takes no argument: Prefect would look into it.
    """

    def do() -> Any:  # noqa: ANN401
        return work()

    return task(
        do,
        name=kind,
        task_run_name=name.replace("{", "(").replace("}", ")"),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(DELAYS),
        retry_delay_seconds=DELAYS,
        retry_condition_fn=_worth_repeating if repeats else _never,
    )


def _worth_repeating(_task: Any, _run: Any, state: State[Any]) -> bool:  # noqa: ANN401
    return isinstance(state.data, OSError)


def _never(_task: Any, _run: Any, _state: State[Any]) -> bool:  # noqa: ANN401 (Prefect logs a traceback where nothing was to decide)
    return False


@contextmanager
def if_it_answers() -> Iterator[None]:
    """Ignore errors of Prefect's server while reporting progress, so that the work goes on without
    it.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 (how far it is shown to be is not worth a run)
        log.warning(
            "Prefect's server is not told how far the run is, which goes on (%s: %s)",
            type(error).__name__,
            error,
        )


class Progress:
    """The progress of a step's shards, as an artifact of the flow run."""

    def __init__(self, names: Sequence[str], place: str) -> None:
        self.kind = names[0].split(" ")[0]
        self.done, self.of = 0, len(names)
        self.artifact: Any = None
        key = "-".join(part for part in ("progress", slug(self.kind), place) if part)
        with if_it_answers():
            self.artifact = create_progress_artifact(
                0.0, key=key, description=names[0].partition(" · ")[2] or self.kind
            )

    def advance(self) -> None:
        """Count a finished shard."""
        self.done += 1
        if self.artifact is None:
            return
        with if_it_answers():
            update_progress_artifact(self.artifact, 100 * self.done / self.of)
