"""What each executor costs: until it begins, for each shard, and how much faster two workers are
than one.

    python -m tests.benchmarks.executors ENGINE WORKERS SHARDS        one job: the times of one
                                                                      engine, as JSON
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from dqpipe.execution.by_name import executor_named
from dqpipe.plugin.kinds import Executor
from tests.benchmarks.bench import Bench, Row, Section

TITLE = "Executors"
ENGINES = ("serial", "threads", "processes", "flow", "dask", "ray")
NAMESPACE = [
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
]


def report(bench: Bench) -> Section:
    """A row for each engine; Ray only where it can be shut into a network namespace, as it listens
    on every interface.
    """
    shards = 40 if bench.quick else 200
    rows = []
    for engine in ENGINES:
        if engine == "ray" and not confined():
            continue
        two = bench.ours("executors", engine, 2, shards)
        one = bench.ours("executors", engine, 1, shards) if engine != "serial" else two
        said = two.said
        told = f"starts in {said['start']:.1f} s, {1000 * said['each']:.1f} ms a shard"
        rows.append(
            Row(
                engine,
                told,
                ratio=f"{one.said['work'] / said['work']:.2f}× with two workers",
                memory=f"{two.mib:,.0f} MiB",
            )
        )
    left = "" if confined() else " Ray was left out: no network namespace can be made here."
    what = f"{shards} empty shards, then 16 with some half a second of work each"
    return Section(
        rows,
        (
            f"`flow` is Prefect over processes, on its embedded server, as are Dask and Ray; "
            f"{what}.{left}"
        ),
    )


def confined() -> bool:
    """Whether a network namespace can be made here."""
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode
    )


def nothing(item: int) -> int:
    return item


def pictures(item: int) -> str:
    """Some half a second of what measuring is: decoding pictures, and numbers from them."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    picture = cv2.resize(
        np.random.default_rng(item).integers(0, 255, (48, 64, 3), dtype=np.uint8), (640, 480)
    )
    data = cv2.imencode(".jpg", picture)[1]
    told = hashlib.blake2b()
    for _ in range(60):
        grey = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)
        told.update(
            np.float64(
                [
                    cv2.Laplacian(grey, cv2.CV_32F).var(),
                    grey.mean(),
                    *np.percentile(grey, [1, 50, 99]),
                ]
            ).tobytes()
        )
    return told.hexdigest()


def timed(executor: Executor, began: float, shards: int) -> dict[str, float]:
    """Seconds until the first shards are back, for each empty one after that, and for sixteen with
    work.
    """
    started = each(executor, nothing, 4)
    start = time.perf_counter() - began
    each(executor, pictures, 4)  # what is imported, is
    return {
        "start": start,
        "each": each(executor, nothing, shards) / shards,
        "work": each(executor, pictures, 16),
        "first": started,
    }


def each(executor: Executor, function: Callable[[int], Any], count: int) -> float:
    began = time.perf_counter()
    assert (
        len(
            list(
                executor.map(function, range(count), [f"try {n + 1}/{count}" for n in range(count)])
            )
        )
        == count
    )
    return time.perf_counter() - began


def as_flow(executor: Executor, began: float, shards: int) -> dict[str, float]:
    from prefect import flow

    from dqpipe.execution.prefect.tasks import PrefectTasks
    from dqpipe.flow import prefect_flow as flows

    @flow
    def trying() -> dict[str, float]:
        with PrefectTasks(executor) as tasks:
            return timed(tasks, began, shards)

    with flows._server(logs=False):
        return trying()


def main(engine: str, workers: str, shards: str) -> None:
    """One job."""
    began = time.perf_counter()
    name = {"serial": "serial", "flow": f"processes:{workers}"}.get(engine, f"{engine}:{workers}")
    measure = as_flow if engine in ("flow", "dask", "ray") else timed
    print(json.dumps(measure(executor_named(name), began, int(shards))))


if __name__ == "__main__":
    if sys.argv[1] == "ray" and sys.argv[-1] != "confined":
        command = [
            *NAMESPACE,
            sys.executable,
            "-m",
            "tests.benchmarks.executors",
            *sys.argv[1:],
            "confined",
        ]
        sys.exit(subprocess.run(command, check=False).returncode)
    main(*sys.argv[1:4])
