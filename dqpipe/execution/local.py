"""Executors of one machine: `Serial`, and `Processes` on loky."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Any

from dqpipe.errors import ConfigError


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

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:  # noqa: ARG002
        """See `Executor.map`."""
        count = min(self.workers or cores(), len(items))
        if count <= 1:
            yield from Serial().map(function, items, names)
            return
        from joblib.externals.loky import get_reusable_executor

        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        pool = get_reusable_executor(max_workers=count, timeout=60, env=threads)
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, kill_workers=True)
            raise


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
