"""An output to review: pictures with hostile names under hostile labels, and faults in them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.testing import small_images

SCRIPT = "<img src=x onerror='window.hacked=1'><script>window.hacked=1<"
STAGES = (
    "stages: [files, image_quality, duplicates, embeddings, label_noise]\npolicy: {rules: "
    "{image_quality.*: review, label_noise.likely_wrong: relabel}}\n"
)


@pytest.fixture(scope="session")
def reviewed(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: `images`, `out`; not to be changed."""
    folder = tmp_path_factory.mktemp("reviewed")
    small_images(folder / "images")
    (folder / "images" / "flower").rename(folder / "images" / SCRIPT)
    (folder / "images" / SCRIPT / "17.png").rename(folder / "images" / SCRIPT / f"{SCRIPT}.png")
    (folder / "images" / "china" / "05.png").rename(folder / "images" / SCRIPT / "wrong.png")
    text = f"dataset: {{path: images}}\noutputs: {{path: out, reports: []}}\n{STAGES}"
    Run(Pipeline.from_text(text, base=folder, registry=registry).config, registry, Serial()).run()
    return folder


@pytest.fixture
def out(reviewed: Path, tmp_path: Path) -> Path:
    """A copy of its output that may be changed, beside the same pictures."""
    shutil.copytree(reviewed / "out", tmp_path / "out", symlinks=True)
    return tmp_path / "out"


class Served:
    """A running `dqpipe review`, and a client that knows its token."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.said = process.stdout.readline()
        self.url = process.stdout.readline().strip()
        self.base, _, self.token = self.url.partition("/?token=")

    def post(self, path: str, **values) -> dict:
        answer = httpx.post(
            self.base + path,
            json={"session": "s", "reviewer": "ann", **values},
            headers={"x-token": self.token},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def served(out: Path, *arguments: str) -> Iterator[Served]:
    """`dqpipe review` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dqpipe", "review", str(out), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Served(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)
