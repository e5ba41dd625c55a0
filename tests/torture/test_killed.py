"""A run that was killed, wherever it stood.

Nothing half published, and the rerun's result is an undisturbed run's, with nothing measured twice.

A few moments by default; `make torture` tries many (DQPIPE_TORTURE=20).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from dqpipe.execution.prefect import server as embedded
from dqpipe.storage.fact_store import Store
from dqpipe.testing import small_images

FEW = 2
MOMENTS = int(os.environ.get("DQPIPE_TORTURE", FEW))
ROOT = Path(__file__).parents[2]
STAGES = "stages: [files, image_quality, duplicates, embeddings, label_noise, augment]\n"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
    ),
}


@dataclass(frozen=True)
class Place:
    """A pipeline with an output of its own over the images that all share."""

    folder: Path
    images: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def yaml(self) -> Path:
        return self.folder / "pipeline.yaml"

    def made(self) -> Place:
        self.folder.mkdir(parents=True)
        self.yaml.write_text(
            f"dataset: {{path: {self.images}}}\n{STAGES}outputs: {{path: out, reports: [json]}}\n"
        )
        return self

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "dqpipe",
            "run",
            str(self.yaml),
            "--force",
            "--shard-size",
            "16",
            *more,
        ]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more),
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @property
    def published(self) -> Path | None:
        pointer = self.out / "version"
        return self.out / "versions" / pointer.read_text().strip() if pointer.exists() else None

    def result(self) -> dict[str, object]:
        """What was published, but for what tells one run from another."""
        version = self.published
        assert version is not None
        ledger = pd.read_parquet(version / "ledger.parquet")
        curated = {
            str(p.relative_to(version / "curated")): p.read_bytes()
            for p in sorted((version / "curated").rglob("*"))
            if p.is_file()
        }
        facts, relabel = (
            pd.read_parquet(version / "facts.parquet").to_json(),
            (version / "relabel.csv").read_text(),
        )
        return {
            "curated": curated,
            "ledger": ledger.to_json(),
            "facts": facts,
            "relabel": relabel,
        }

    def measured(self) -> dict[str, frozenset[str]]:
        """The samples that have facts, by the key of what measured them."""
        store = Store(self.out / "store")
        return {
            folder.name: store.keys(folder.name)
            for folder in sorted((self.out / "store" / "facts").glob("*"))
        }


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torture") / "images"
    small_images(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("undisturbed") / "run", images).made()
    done = place.run("--executor", "serial")
    assert done.returncode == 0, done.stderr
    return place


def assert_goes_on(place: Place, undisturbed: Place) -> None:
    """What stands is whole; a rerun comes to the undisturbed result, and measures what nobody had
    measured.
    """
    if place.published is not None:
        assert place.result() == undisturbed.result()
    before = place.measured()
    done = place.run("--executor", "serial")
    assert done.returncode == 0, done.stderr
    assert place.result() == undisturbed.result()
    new = sum(len(keys - before.get(name, frozenset())) for name, keys in place.measured().items())
    version = place.published
    assert version is not None
    record = json.loads((version / "run.json").read_text())

    assert sum(record["measured"].values()) <= new
    assert list((place.out / "versions").glob(".*")) == []


def session_of(leader: int) -> list[int]:
    """The processes that a process started, and it itself, while they live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, *fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and state != "Z":
            found.append(int(entry.name))
    return found


def killed_after(place: Place, seconds: float, *more: str) -> None:
    """Start a run and kill its driver; its workers must notice by themselves."""
    driver = subprocess.Popen(
        place.command(*more),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        driver.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    until = time.monotonic() + 60
    while session_of(driver.pid) and time.monotonic() < until:
        time.sleep(0.1)
    left = session_of(driver.pid)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left, "workers outlive the run that started them"


def crashing(place: Place, change: int) -> subprocess.CompletedProcess[str]:
    """A run that is killed before a certain change of the file system; 0 is an undisturbed one."""
    command = [sys.executable, "-m", "tests.torture.crash", str(place.yaml), str(change)]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("number", range(MOMENTS))
def test_the_driver_is_killed_before_any_change_of_the_file_system(
    number: int, images: Path, undisturbed: Place, tmp_path: Path, changes: int
) -> None:
    place = Place(tmp_path / "run", images).made()
    moment = random.Random(number).randrange(1, changes + 1)
    crashed = crashing(place, moment)
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert_goes_on(place, undisturbed)


@pytest.fixture(scope="module")
def changes(images: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How often an undisturbed run changes the file system."""
    place = Place(tmp_path_factory.mktemp("counted") / "run", images).made()
    done = crashing(place, 0)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(MOMENTS))
def test_the_driver_of_two_workers_is_killed_at_a_random_moment(
    number: int, images: Path, undisturbed: Place, tmp_path: Path
) -> None:
    place = Place(tmp_path / "run", images).made()
    record = json.loads((undisturbed.published / "run.json").read_text())
    killed_after(
        place,
        random.Random(number).uniform(1.0, record["seconds"] + 3.0),
        "--executor",
        "processes:2",
    )
    assert_goes_on(place, undisturbed)


def test_killed_again_and_again_it_still_comes_to_its_end(
    images: Path, undisturbed: Place, tmp_path: Path, changes: int
) -> None:
    place = Place(tmp_path / "run", images).made()
    for number in range(1, MOMENTS):
        crashing(place, number * changes // MOMENTS)
    assert_goes_on(place, undisturbed)


def test_a_full_disk_ends_a_run_clearly_and_the_rerun_goes_on(
    images: Path, undisturbed: Place, tmp_path: Path
) -> None:
    place = Place(tmp_path / "run", images).made()
    script = """
        set -e
        mkdir -p "$OUT" && mount -t tmpfs -o size=8k dqpipe "$OUT" 2>/dev/null || exit 77
        for size in $SIZES; do
            mount -o remount,size=$size "$OUT"
            "$@" 2>> "$SAID" && exit 66 || echo "exit $?" >> "$SAID"
            ! ls "$OUT"/version 2>/dev/null || exit 67
        done
        mount -o remount,size=200m "$OUT"
        "$@" && cp -a "$OUT" "$OUT.kept"
    """
    said = tmp_path / "said"
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *place.command("--executor", "serial")]
    needed = sum(
        path.stat().st_size
        for path in undisturbed.out.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    sizes = [
        int(needed * share) // 4096 * 4
        for share in ((0.03, 0.12, 0.3, 0.75) if MOMENTS > FEW else (0.12, 0.75))
    ]
    environment = {
        **ENVIRONMENT,
        "OUT": str(place.out),
        "SAID": str(said),
        "SIZES": " ".join(f"{size}k" for size in sizes),
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode in {1, 77} and not said.exists():
        pytest.skip("no file system of one's own can be made here, to be filled up")
    assert done.returncode == 0, (done.returncode, done.stderr, said.read_text())
    lines = said.read_text().splitlines()
    assert [line for line in lines if line.startswith("exit")] == ["exit 2"] * len(sizes)
    assert all(
        "No space left on device" in line or "GB free and needs" in line
        for line in lines
        if line.startswith("error:")
    )
    place.out.rmdir()
    (place.folder / "out.kept").rename(place.out)
    assert place.result() == undisturbed.result()


def test_the_prefect_server_is_killed_under_a_flow(
    images: Path, undisturbed: Place, tmp_path: Path
) -> None:
    place = Place(tmp_path / "run", images).made()
    (tmp_path / "home").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        server = embedded._start(listening, tmp_path / "home", "dqpipe:secret")
    try:
        embedded.wait_until_ready(embedded.Embedded(url, "dqpipe:secret", tmp_path / "home"))
        known = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": "dqpipe:secret"}
        environment = {
            **ENVIRONMENT,
            **known,
            "PREFECT_HOME": str(tmp_path / "flow"),
            "PREFECT_CLIENT_MAX_RETRIES": "0",
        }
        driver = subprocess.Popen(
            place.command("--flow"),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 120
        while (
            not any(place.measured().values())
            and driver.poll() is None
            and time.monotonic() < until
        ):
            time.sleep(0.05)
    finally:
        server.kill()
        server.communicate()
    _, said = driver.communicate(timeout=300)
    assert "fault of dqpipe" not in said
    assert place.published is not None or [
        line for line in said.splitlines() if line.startswith("error: Prefect's server at")
    ], said
    assert_goes_on(place, undisturbed)
