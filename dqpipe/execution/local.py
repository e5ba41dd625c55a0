"""Executors of one machine: `Serial`, and `Processes` on loky."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dqpipe.errors import ConfigError, StageError

log = logging.getLogger(__name__)
_POOL = threading.Lock()
HANDED_OUT_WITHIN = 200
"""Times five milliseconds that work just given to loky may take to reach a worker: taken away before, it breaks loky with a traceback."""


@dataclass(frozen=True)
class Serial:
    """One after the other, in this process."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """See `Executor.map`."""
        for item in items:
            yield function(item)


@dataclass(frozen=True)
class Processes:
    """Worker processes (loky: no `if __name__ == "__main__"` needed); 0 is one for each core.

    What a worker that dies leaves undone is tried again in new workers, half as many: memory is what they die of. Twice in
    a row without anything being finished is the end.
    """

    workers: int = 0

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """See `Executor.map`."""
        count = min(self.workers or cores(), len(items))
        if count <= 1:
            yield from Serial().map(function, items, names)
            return
        left, idle = dict(enumerate(items)), 0
        while left:
            idle += 1
            try:
                for number, result in _submitted(function, left, count):
                    del left[number]
                    idle = 0
                    yield result
            except BrokenExecutor as error:
                log.warning("a worker process died; what it was doing is tried again, in new ones")
                if idle == 2:  # noqa: PLR2004
                    raise died(names[min(left)]) from error
                count = max(1, count // 2)


def _submitted(function: Callable[[Any], Any], items: Mapping[int, Any], workers: int) -> Iterator[tuple[int, Any]]:
    """(number, result) of each item, as they come. Raises BrokenExecutor if a worker dies."""
    pool = worker_pool(workers)
    left = iter(list(items.items()))
    # A few at a time: work that loky has not handed out yet breaks it when its workers are sent away.
    running = {pool.submit(function, item): number for number, item in islice(left, 2 * workers)}
    try:
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(function, item): number for number, item in islice(left, len(done))}
            for future in done:
                yield running.pop(future), future.result()
    except BrokenExecutor:
        raise
    except BaseException:
        for _ in range(HANDED_OUT_WITHIN):
            if all(future.running() or future.done() for future in running):
                break
            time.sleep(0.005)
        pool.shutdown(wait=True, kill_workers=True)
        raise


def worker_pool(count: int) -> Any:  # noqa: ANN401 (a concurrent.futures.Executor)
    """The worker processes of this process: the ones at hand, or new ones if there are none, others, or dead ones."""
    with _POOL:  # threads of a flow ask at the same time
        return _worker_pool(count)


def _worker_pool(count: int) -> Any:  # noqa: ANN401
    from joblib.externals.loky import get_reusable_executor

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Ctrl-C reaches every process of the terminal: workers are started deaf to it, and sent away by the one that hears it.
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool = get_reusable_executor(max_workers=count, timeout=60, env=threads)
        pool.submit(int).result()  # it is with the first task that they start; queued, it would break a pool sent away
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
    return pool


def died(name: str) -> StageError:
    """The error of work whose worker process died under it."""
    reason = "a worker process died: it was killed, by the system where memory ran out"
    advice = "what was measured is kept; try fewer workers (--executor processes:1) or smaller shards"
    return StageError(name.split(" ", maxsplit=1)[0], f"a worker process ({name})", reason, advice)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def executor_named(text: str) -> Any:  # noqa: ANN401 (an Executor)
    """`serial`, `processes`, or `processes:4`. Raises ConfigError."""
    name, _, count = text.partition(":")
    if name == "serial" and not count:
        return Serial()
    if name == "processes" and (not count or (count.isdecimal() and int(count) > 0)):
        return Processes(int(count or 0))
    raise ConfigError(f"executor {text!r} is none of: serial, processes, processes:<workers>")
