"""Executors of one machine: `Serial`, `Threads`, and `Processes`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import Any

from dqpipe.execution import worker_pool as workers
from dqpipe.execution.executor import Died, WorkerDied, patiently
from dqpipe.execution.worker_pool import Crew, Worker, first_ready

log = logging.getLogger(__name__)
MORE_AFTER = 8
"""Items that are finished without a death before there is one worker more again."""


@dataclass(frozen=True)
class Serial:
    """Runs items one after the other in this process."""

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """See `Executor.map`."""
        for item in items:
            yield function(item)


@dataclass(frozen=True)
class Threads:
    """Runs items in threads of this process; 0 is one for each core.

    Quick to start; Python code does not run in parallel.
    """

    workers: int = 0

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """See `Executor.map`."""
        from dqpipe.execution.decoding import one_thread

        # Each item sets what libraries use to one thread, and back: back to one, as others are
        # still at work.
        with one_thread(), ThreadPoolExecutor(self.workers or cores()) as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Processes:
    """Runs items in worker processes; 0 is one for each core.

    A worker that dies costs its own item another try, alone, and the others nothing; one item that
    kills three is `Lost`. Memory is what they die of most, so that there is one worker fewer after
    each death, until some items went well.
    """

    workers: int = 0

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """See `Executor.map`."""
        count = min(self.workers or cores(), len(items))
        if count <= 1 and self.workers <= 1:
            yield from Serial().map(function, items, names)
        elif not workers.allowed():
            log.warning(
                "no worker process can be started, as this one is a daemon (of a process pool, "
                "say): the work is done on %d threads",
                count,
            )
            yield from Threads(count).map(function, items, names)
        else:
            yield from patiently(partial(_together, function, items, count), names)


def _together(
    function: Callable[[Any], Any], items: Sequence[Any], count: int, numbers: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """(number, result or Died) of items as they finish, on at most `count` workers."""
    crew, left, room, well = Crew(), iter(numbers), count, 0
    busy: dict[Worker, int] = {}
    try:
        while True:
            for number in _next(left, room - len(busy)):
                worker = crew.take()
                busy[worker] = number
                worker.send(function, items[number])
            if not busy:
                return
            for worker in first_ready(list(busy)):
                number = busy.pop(worker)
                try:
                    result = worker.receive()
                    well += 1
                    room = min(count, room + (well % MORE_AFTER == 0))
                except WorkerDied as death:
                    result, room, well = Died(str(death)), max(1, room - 1), 0
                finally:
                    crew.give_back(worker)
                yield number, result
    finally:
        crew.send_away()


def _next(left: Iterator[int], room: int) -> list[int]:
    return [number for _, number in zip(range(room), left, strict=False)]


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
