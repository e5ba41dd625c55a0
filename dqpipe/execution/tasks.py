"""An executor on Prefect's tasks: one for each item, named, watched and tried again.

On threads, Prefect's default, the engine's worker processes do the work; any other task runner does it itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect tells its makers that it is imported, unless it is told not to

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.states import State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from dqpipe.execution import local

DELAYS = [1.0, 5.0]
"""Seconds before the first and the second retry: a share that is remounted, a worker that is started again."""


@dataclass(frozen=True)
class PrefectTasks:
    """An executor: one Prefect task for each item; 0 workers are one for each core.

    On threads, Prefect's default, each task hands its item to one of the engine's worker processes and waits. On any
    other task runner (processes, Dask, Ray) the task does the work itself, where that runner put it; give such workers
    one thread each, as libraries count their threads per process.
    """

    workers: int = 0

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """See `Executor.map`. What fails on an OSError or a worker that died is tried again."""
        if not items:
            return
        count = min(self.workers or local.cores(), len(items))
        stopped = threading.Event()
        act = handing_over(function, count, stopped) if _on_threads() and count > 1 else function
        progress = Progress(names)
        with _task_runner(count) as runner:
            futures = [runner.submit(task_named(progress.kind, name, partial(act, item)), {}) for item, name in zip(items, names, strict=True)]
            try:
                for future in as_completed(futures):
                    yield future.result()
                    progress.advance()
            except BrokenExecutor as error:
                raise local.died(progress.kind) from error
            except BaseException:
                stopped.set()
                if act is not function:
                    local.worker_pool(count).shutdown(wait=True, kill_workers=True)
                raise


def handing_over(function: Callable[[Any], Any], count: int, stopped: threading.Event) -> Callable[[Any], Any]:
    """The function, done in a worker process while the caller waits; CancelledError once it is `stopped`."""

    def hand_over(item: Any) -> Any:  # noqa: ANN401
        try:
            if not stopped.is_set():
                return local.worker_pool(count).submit(function, item).result()
        except Exception:
            if not stopped.is_set():
                raise
        raise CancelledError

    return hand_over


def _on_threads() -> bool:
    context = FlowRunContext.get()
    return context is None or isinstance(context.task_runner, ThreadPoolTaskRunner)


@contextmanager
def _task_runner(count: int) -> Iterator[TaskRunner[Any]]:
    """The flow's own task runner if it is a special one, else as many threads as there are workers to wait for."""
    if _on_threads():
        with ThreadPoolTaskRunner(max_workers=count) as threads:
            yield threads
    else:
        yield FlowRunContext.get().task_runner


def task_named(kind: str, name: str, work: Callable[[], Any], *, repeats: bool = True) -> Any:  # noqa: ANN401
    """A task that is never cached, and repeated only where that may help. It takes no argument: Prefect would look into it."""

    def do() -> Any:  # noqa: ANN401
        return work()

    return task(
        do, name=kind, task_run_name=name.replace("{", "(").replace("}", ")"), cache_policy=NO_CACHE, persist_result=False,
        retries=len(DELAYS), retry_delay_seconds=DELAYS, retry_condition_fn=_worth_repeating if repeats else _never,
    )  # fmt: skip


def _worth_repeating(_task: Any, _run: Any, state: State[Any]) -> bool:  # noqa: ANN401
    return isinstance(state.data, (OSError, BrokenExecutor))


def _never(_task: Any, _run: Any, _state: State[Any]) -> bool:  # noqa: ANN401 (Prefect logs a traceback where nothing was to decide)
    return False


class Progress:
    """How far the shards of a step are, as an artifact of the flow run."""

    def __init__(self, names: Sequence[str]) -> None:
        self.kind = names[0].split(" ")[0]
        self.done, self.of = 0, len(names)
        key = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.kind.lower())
        self.artifact = create_progress_artifact(0.0, key=f"progress-{key}", description=names[0].partition(" · ")[2] or self.kind)

    def advance(self) -> None:
        """One more shard is done."""
        self.done += 1
        update_progress_artifact(self.artifact, 100 * self.done / self.of)
