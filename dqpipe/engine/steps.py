"""The steps of a run: named, timed, and told to observers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dqpipe.execution import logs, usage
from dqpipe.plugin.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One step of a run; one that `maps` hands its shards to the executor itself."""

    name: str
    call: Callable[[], None]
    maps: bool = False


def run_id() -> str:
    """A new name of a run: the moment (UTC) and four random hex digits."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f") + os.urandom(2).hex()


class Work(NamedTuple):
    """What a run has measured so far."""

    samples: int = 0
    """Samples of the raw dataset."""
    measured: int = 0
    """Samples measured anew, summed over stages."""
    cpu: float = 0.0
    """Seconds of processor time of those who measured."""
    mib: float | None = None
    """The highest memory peak of a process that measured."""


class Steps:
    """Makes the steps of a run, and keeps a row of timings for each that was taken."""

    def __init__(self, run: str, registry: Registry, work: Callable[[], Work]) -> None:
        self.run, self.registry, self.work = run, registry, work
        self.timings: list[dict[str, Any]] = []

    def step(self, name: str, call: Callable[[], None], *, maps: bool = False) -> Step:
        """A step that calls this, timed."""

        def timed() -> None:
            began, cpu, before = time.perf_counter(), usage.cpu_seconds(), self.work()
            self.registry.notify("dqpipe_stage_started", stage={"name": name})
            with logs.at(run=self.run, stage=name):
                call()
                seconds = time.perf_counter() - began
                log.info("%s: %.2f s", name, seconds)
            after = self.work()
            self.timings.append(_row(name, seconds, usage.cpu_seconds() - cpu, before, after))
            told = {"name": name, "seconds": seconds, "measured": after.measured - before.measured}
            self.registry.notify("dqpipe_stage_finished", stage=told)

        return Step(name, timed, maps)


def _row(name: str, seconds: float, cpu: float, before: Work, after: Work) -> dict[str, Any]:
    return {
        "step": name,
        "seconds": round(seconds, 4),
        "samples": after.samples,
        "measured": after.measured - before.measured,
        "samples_per_second": round(after.samples / max(seconds, 1e-6), 1),
        "cpu_seconds": round(cpu, 4),
        "workers_cpu_seconds": round(after.cpu - before.cpu, 4),
        "peak_mib": _rounded(usage.peak_mib()),
        "workers_peak_mib": _rounded(after.mib) if after.cpu > before.cpu else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
