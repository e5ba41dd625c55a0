"""A stranger's package adds what stands around a run.

An executor, a format to hand over, commands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.install.distributions import install
from tests.test_architecture import type_checked

ROOT = Path(__file__).parents[2]
PLUGIN = '''
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import json

import typer

from dqpipe import (
    Answer, Commands, Exchange, Executor, Extension, HandedOver, Media, Workers, Written, extension, hookimpl,
    option,
)


class Backwards:
    """Does the last shard first."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        for item in reversed(items):
            yield function(item)


@extension
class BackwardsWorkers(Workers):
    """The last shard first, in this process."""

    name = "backwards"

    def executor(self, rest: str) -> Executor:
        return Backwards()


@extension
class Lines(Exchange):
    """A text file with one sample on each line: its id, a tab, its label."""

    name = "lines"
    answers = True

    def write(self, queue: HandedOver, media: Media) -> Written:
        lines = [f"{item.id}\\t{item.label}" for item in queue.items]
        return Written({"lines.txt": "\\n".join(lines).encode()}, ["write other labels into lines.txt"])

    def read(self, data: bytes) -> list[Answer]:
        rows = [line.split("\\t") for line in data.decode().splitlines()]
        return [Answer(f"line {number}", id=row[0], label=row[1]) for number, row in enumerate(rows, 1)]


@extension
class Wanting(Exchange):
    """A format that cannot be made without an option."""

    name = "wanting"
    mode: str = option(help="it has no default")


@extension
class Zoo(Commands):
    """Commands about animals."""

    name = "zoo"

    def app(self) -> typer.Typer:
        app = typer.Typer()

        @app.command()
        def count(cats: int) -> None:
            """Count cats."""
            typer.echo(json.dumps({"cats": cats}))

        @app.command()
        def feed() -> None:
            """Feed them."""

        return app


@hookimpl
def dqpipe_register() -> list[type[Extension]]:
    return [BackwardsWorkers, Lines, Wanting, Zoo]
'''  # noqa: E501


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stranger's plugin installed."""
    folder = tmp_path_factory.mktemp("kinds")
    install(folder / "zoo", folder / "site", name="dqpipe-zoo", plugin="zoo", source=PLUGIN)
    return folder / "site"


def dqpipe(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "dqpipe", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_its_commands_are_run_and_listed(site: Path, tmp_path: Path) -> None:
    assert json.loads(dqpipe(site, "zoo", "count", "3", cwd=tmp_path).stdout) == {"cats": 3}
    assert "Commands about animals." in dqpipe(site, "--help", cwd=tmp_path).stdout


def test_its_executor_does_the_work_and_its_format_goes_out_and_comes_back(
    site: Path, tmp_path: Path, images: Path
) -> None:
    (tmp_path / "p.yaml").write_text(
        f"dataset: {{path: {images}}}\nstages: [files]\ngates: []\noutputs: {{path: out, reports: "
        f"[]}}\n"
    )
    done = dqpipe(
        site, "run", "p.yaml", "--executor", "backwards", "--shard-size", "20", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    done = dqpipe(site, "handover", "lines", "there", "--all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "there/lines.txt").read_text().splitlines()
    assert "china/00.png\tchina" in lines
    (tmp_path / "back.txt").write_text("china/00.png\tflower\n")
    done = dqpipe(
        site, "takeover", "back.txt", "--from", "lines", "--reviewer", "ann", "--json", cwd=tmp_path
    )
    assert json.loads(done.stdout)["added"] == 1, done.stderr


def test_what_no_one_brings_is_refused_with_the_nearest_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("dataset: {path: x}\nstages: [files]\n")
    assert (
        "backwards" in dqpipe(site, "run", "p.yaml", "--executor", "backward", cwd=tmp_path).stderr
    )
    assert "lines" in dqpipe(site, "handover", "line", "there", cwd=tmp_path).stderr


def test_it_passes_a_strict_type_checker(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(PLUGIN)
    done = type_checked(tmp_path / "zoo.py")
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n"), (
        done.stdout + done.stderr
    )
