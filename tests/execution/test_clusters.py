"""Dask and Ray give what no cluster gives, also while their workers are killed.

What cannot work is refused before the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.errors import ConfigError
from dqpipe.execution.by_name import Cluster
from dqpipe.execution.prefect import tasks
from dqpipe.plugin import registry
from tests.execution import on_a_cluster, trying
from tests.test_engine import assert_same

ROOT = Path(__file__).parents[2]
NAMESPACE = [
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
]


def surroundings() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
        ),
    }


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with two worker processes."""
    command = [sys.executable, str(ROOT / "tests/execution/dask_cluster.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings()
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(20)


def killed_at_work(trace: Path, killed: list[int]) -> None:
    """Kill the first worker that says that it began something."""
    for _ in range(6_000):
        if begun := list(trace.iterdir()):
            killed.append(int(begun[0].name))
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.05)


@pytest.mark.usefixtures("prefect_server")
def test_a_worker_of_dask_killed_in_mid_shard_changes_nothing(
    scheduler: str, images: Path, tmp_path: Path
) -> None:
    (trace := tmp_path / "trace").mkdir()
    stages = f"files, image_quality, duplicates, {{slow: {{seconds: 0.02, trace: {trace}}}}}"

    def pipeline(out: str) -> Pipeline:
        text = (
            f"dataset: {{path: {images}}}\noutputs: {{path: {tmp_path / out}, reports: "
            f"[json]}}\nstages: [{stages}]\n"
        )
        return Pipeline.from_text(text, registry=registry.load(extra={"trying": trying}))

    killed: list[int] = []
    killer = threading.Thread(target=killed_at_work, args=(trace, killed))
    killer.start()
    ran = pipeline("dask").drive(f"dask:{scheduler}", shard_size=9)
    killer.join()
    assert len(killed) == 1
    assert len(list(trace.iterdir())) >= 2  # others went on
    assert_same(ran, pipeline("serial").drive("serial", shard_size=1000))


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("executor", ["processes:2", "dask:2"])
def test_a_shard_that_kills_its_workers_is_lost_in_a_flow_as_without(
    executor: str, tmp_path: Path
) -> None:
    ran = on_a_cluster.compare(executor, tmp_path)
    assert [failure["stage"] for failure in ran.record["run"]["failures"]] == ["measure"]


def test_a_run_on_ray_is_the_same(tmp_path: Path) -> None:
    """Ray listens on every interface: where it is tried there is none but loopback."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip(
            "no network namespace can be made here, and Ray would listen on every interface"
        )
    command = [
        *NAMESPACE,
        sys.executable,
        "-m",
        "tests.execution.on_a_cluster",
        "ray:2",
        str(tmp_path),
    ]
    clean = {
        name: value for name, value in surroundings().items() if not name.startswith("PREFECT_")
    }
    done = subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.stdout.strip().endswith("the same"), done.stdout + done.stderr


@pytest.mark.usefixtures("prefect_server")
def test_a_scheduler_that_does_not_answer_is_named(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ANSWERS_WITHIN", 0.5)
    made = Pipeline.proposed(str(images), path=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"no scheduler of dask answers at tcp://127\.0\.0\.1:9"):
        made.run("dask:tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("prefect_server")
def test_workers_that_cannot_reach_an_embedded_server_are_refused() -> None:
    for address in ("tcp://10.1.2.3:8786", "10.1.2.3:6379", "ray://head.example:10001"):
        with pytest.raises(ConfigError, match="set PREFECT_API_URL"):
            tasks.refuse_strangers(Cluster("dask", address))
    for address in ("", "auto", "tcp://127.0.0.1:8786", "localhost:6379"):
        tasks.refuse_strangers(Cluster("ray", address))
