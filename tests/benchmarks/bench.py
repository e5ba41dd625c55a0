"""What every topic uses: jobs in processes of their own, alternating runs, rows of the table, and
the data.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
"""Real data that is not part of the project; topics say what they leave out where it is missing."""


@dataclass(frozen=True)
class Row:
    """One row of a table, each cell as it will be read; empty where there is nothing to say."""

    work: str
    dqpipe: str
    peer: str = ""
    ratio: str = ""
    memory: str = ""
    limit: str = ""

    def cells(self) -> tuple[str, ...]:
        """In the order of the table's columns."""
        return self.work, self.dqpipe, self.peer, self.ratio, self.memory, self.limit


@dataclass(frozen=True)
class Section:
    """What a topic has to say: rows, and text (Markdown) below them."""

    rows: Sequence[Row] = ()
    text: str = ""


@dataclass(frozen=True)
class Ran:
    """One run of a job: what it printed as JSON in its last line, seconds of the whole process, MiB
    of its largest process.
    """

    said: Mapping[str, Any]
    wall: float
    mib: float

    @property
    def seconds(self) -> float:
        """The job's own measure (without imports and preparation), or the whole process's."""
        return float(self.said.get("seconds", self.wall))


@dataclass(frozen=True)
class Bench:
    """How to run: `quick` for small inputs.

    `peers` is the Python of the peers' environment, None where there is none.
    """

    quick: bool = False
    peers: Path | None = None
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="dqpipe-bench-")))

    def runs(self, full: int = 5, quick: int = 1) -> int:
        """How many runs to make of each."""
        return quick if self.quick else full

    def ours(self, module: str, *arguments: object, threads: int = 1) -> Ran:
        """Run `python -m tests.benchmarks.<module> ARGUMENTS` in dqpipe's environment."""
        return job(Path(sys.executable), module, arguments, threads)

    def theirs(self, module: str, *arguments: object, threads: int = 1) -> Ran:
        """The same in the peers' environment, which holds CleanVision and ImageHash besides all
        that dqpipe's holds.
        """
        if self.peers is None:
            raise SystemExit(
                "the peers' environment is missing: `make bench` builds it (.venv-peers)"
            )
        return job(self.peers, module, arguments, threads)

    def alternate(self, *ways: Callable[[], Ran], runs: int) -> list[list[Ran]]:
        """Run each way in turn, A B A B …, so that a machine that slows down slows all of them."""
        ran: list[list[Ran]] = [[] for _ in ways]
        for _ in range(runs):
            for way, list_of in zip(ways, ran, strict=True):
                list_of.append(way())
        return ran


def job(python: Path, module: str, arguments: Sequence[object], threads: int) -> Ran:
    """One process; its standard error passes through, its last line of output is JSON.

    Raises SystemExit if it fails.
    """
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
    )
    command = [str(python), "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | limits | {"NO_ALBUMENTATIONS_UPDATE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    lines = printed.strip().splitlines()
    return Ran(json.loads(lines[-1]) if lines else {}, wall, mib(usage))


def mib(usage: resource.struct_rusage | None = None) -> float:
    """Peak resident memory in MiB, of this process or of one that ended (and its largest child)."""
    used = (usage or resource.getrusage(resource.RUSAGE_SELF)).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def median(ran: Sequence[Ran]) -> float:
    """Median seconds."""
    return statistics.median(one.seconds for one in ran)


def peak(ran: Sequence[Ran]) -> str:
    """The largest memory of some runs, to print."""
    return f"{max(one.mib for one in ran):,.0f} MiB"


def machine() -> str:
    """The processor, as the system names it, and how many of its cores this process may use."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}"
    )
