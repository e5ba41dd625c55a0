"""Executors of one machine: `Serial`, and `Processes` on loky."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dqpipe.errors import ConfigError, StageError


@dataclass(frozen=True)
class Serial:
    """One after the other, in this process."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:  # noqa: ARG002
        """See `Executor.map`."""
        for item in items:
            yield function(item)


@dataclass(frozen=True)
class Processes:
    """Worker processes (loky: no `if __name__ == "__main__"` needed, dead workers are seen); 0 is one for each core."""

    workers: int = 0

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """See `Executor.map`."""
        count = min(self.workers or cores(), len(items))
        if count <= 1:
            yield from Serial().map(function, items, names)
            return
        pool = worker_pool(count)
        left = iter(items)
        # A few at a time: work that loky has not handed out yet breaks it when its workers are sent away.
        running = {pool.submit(function, item) for item in islice(left, 2 * count)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(function, item) for item in islice(left, len(done))}
                for future in done:
                    yield future.result()
        except BrokenExecutor as error:
            raise died(names[0]) from error
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise


def worker_pool(count: int) -> Any:  # noqa: ANN401 (a concurrent.futures.Executor)
    """The worker processes of this process: the ones at hand, or new ones if there are none, others, or dead ones."""
    from joblib.externals.loky import get_reusable_executor

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return get_reusable_executor(max_workers=count, timeout=60, env=threads)


def died(name: str) -> StageError:
    """The error of work whose worker process died under it."""
    reason = "a worker process died: it was killed, by the system where memory ran out"
    advice = "what was measured is kept; try fewer workers (--executor processes:1) or smaller shards"
    return StageError(name.split(" ", maxsplit=1)[0], "a worker process", reason, advice)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def executor_named(text: str) -> Any:  # noqa: ANN401 (an Executor)
    """`serial`, `processes`, or `processes:4`. Raises ConfigError."""
    name, _, count = text.partition(":")
    if name == "serial" and not count:
        return Serial()
    if name == "processes" and (not count or (count.isdigit() and int(count) > 0)):
        return Processes(int(count or 0))
    raise ConfigError(f"executor {text!r} is none of: serial, processes, processes:<workers>")
