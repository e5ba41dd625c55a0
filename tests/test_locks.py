"""Two runs at once on one output: one wins, the other says so.

A lock whose holder is gone is taken over.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import ConfigError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.storage.location import Place, place
from dqpipe.storage.lock import Lock

HOLD = """
import sys, time
from dqpipe.storage.lock import Lock
from dqpipe.storage.location import place
Lock(place(sys.argv[1]), "run 1", beat=0.2, stale=5).take()
print("held", flush=True)
time.sleep(600)
"""


def holder(out: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def memory() -> Place:
    return place(f"memory://{uuid.uuid4().hex}/out")


def test_the_second_run_says_who_holds_the_output_and_goes_on_when_that_one_is_killed(
    registry: Registry, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    text = f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: []}}\nstages: [files]\n"
    config = Pipeline.from_text(text, registry=registry).config
    process = holder(str(out))
    try:
        with pytest.raises(
            OutputError,
            match=(
                rf"is in use by run 1 \(process {process.pid} on .*, since 20.*\): wait until it "
                rf"ends"
            ),
        ) as caught:
            Run(config, registry, Serial()).run()
        assert caught.value.exit_code == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with caplog.at_level(logging.WARNING):
        assert Run(config, registry, Serial()).run().published is not None
    assert "the lock of run 1" in caplog.text
    caplog.clear()
    Run(config, registry, Serial(), force=True).run()
    assert "taken over" not in caplog.text


def test_of_two_runs_in_one_process_one_wins(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {tmp_path / 'out'}, reports: []}}\nstages: "
        f"[files]\n"
    )
    config = Pipeline.from_text(text, registry=registry).config
    runs = [Run(config, registry, Serial()) for _ in range(2)]
    said: list[str] = []

    def go(run: Run) -> None:
        try:
            run.run()
        except OutputError as error:
            said.append(str(error))

    threads = [threading.Thread(target=go, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
    assert "in use by" in said[0] or "holds a published version" in said[0]
    assert sum(run.outcome is not None and run.outcome.published is not None for run in runs) == 1


def test_the_lock_is_free_again_after_a_run_that_failed(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: []}}\nstages: "
        f"[files]\ngates: [nonsense > 1]\n"
    )
    config = Pipeline.from_text(text, registry=registry).config
    for _ in range(2):
        with pytest.raises(ConfigError, match="nonsense"):
            Run(config, registry, Serial()).run()
    with Lock(place(out), "test"):
        pass


def test_elsewhere_the_lock_is_an_object_that_only_one_can_make(memory: Place) -> None:
    with Lock(memory, "run 1"), pytest.raises(OutputError, match="in use by run 1"):
        Lock(memory, "run 2").take()
    assert not memory.exists(".lock")
    with Lock(memory, "run 2"):
        assert json.loads(memory.read(".lock"))["doing"] == "run 2"


def test_elsewhere_a_lock_of_a_process_that_is_gone_is_taken_over_at_once(
    memory: Place, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Lock(memory, "run 1")
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    memory.write(".lock", json.dumps({**gone.me, "pid": done.pid, "beat": time.time()}).encode())
    with caplog.at_level(logging.WARNING), Lock(memory, "run 2", beat=0.1):
        assert json.loads(memory.read(".lock"))["doing"] == "run 2"
    assert "the lock of run 1" in caplog.text
    memory.write(
        ".lock",
        json.dumps({**gone.me, "pid": os.getpid(), "started": "1", "beat": time.time()}).encode(),
    )
    Lock(memory, "run 2", beat=0.1).take()  # the number of the process is taken by another one


def test_elsewhere_a_lock_of_another_machine_is_stale_when_nothing_renews_it(memory: Place) -> None:
    far = {**Lock(memory, "run 1").me, "host": "far"}
    memory.write(".lock", json.dumps({**far, "beat": time.time()}).encode())
    with pytest.raises(OutputError, match="on far"):
        Lock(memory, "run 2", beat=0.1, stale=60).take()
    memory.write(".lock", json.dumps({**far, "beat": time.time() - 61}).encode())
    with Lock(memory, "run 2", beat=0.1, stale=60):
        assert json.loads(memory.read(".lock"))["doing"] == "run 2"


def test_elsewhere_a_lock_is_renewed_while_it_is_held_and_who_lost_it_is_told(
    memory: Place,
) -> None:
    with Lock(memory, "run 1", beat=0.05) as lock:
        first = json.loads(memory.read(".lock"))["beat"]
        deadline = time.monotonic() + 20
        while json.loads(memory.read(".lock"))["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lock.check()
        memory.write(".lock", json.dumps(Lock(memory, "run 2").me).encode())
        with pytest.raises(OutputError, match="in use by run 2"):
            lock.check()
    assert json.loads(memory.read(".lock"))["doing"] == "run 2"
