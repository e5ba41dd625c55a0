"""Every command: what it says, its exit codes, and JSON that is JSON and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dqpipe.cli import main
from tests import faulty

PIPELINE = (
    "dataset: {path: images}\nstages: [files, image_quality]\noutputs: {path: out, reports: "
    "[json]}\n"
)


@pytest.fixture
def folder(images: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: `images` and a pipeline.yaml."""
    monkeypatch.chdir(images.parent)
    (images.parent / "pipeline.yaml").write_text(PIPELINE)
    return images.parent


def dqpipe(*arguments: str) -> int:
    """The command line in this process: its exit code."""
    before = signal.getsignal(signal.SIGTERM)
    sys.argv = ["dqpipe", *arguments]
    try:
        main.main()
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def strictly(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("command", ["", "init", "run", "check", "why", "plugins", "schema"])
def test_help_says_what_a_command_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqpipe(*command.split(), "--help") == 0
    said = capsys.readouterr().out
    assert "Usage: dqpipe" in said
    assert all(word in said for word in ("run", "check", "why", "Exit codes")) or command


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from dqpipe.version import __version__

    assert dqpipe("--version") == 0
    assert capsys.readouterr().out == f"dqpipe {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "absent.yaml"], 2, "cannot be read"),
        (["run", "--limit", "0"], 2, "--limit"),
        (["run", "--executor", "dusk"], 2, "did you mean 'dask'"),
        (["run", "--executor", "processes:²"], 2, "is none of serial | threads:4"),
        (["run", "--no-plugin", "imgaes"], 2, "did you mean 'images'"),
        (["run", "--no-plugin", "images"], 2, "no stage is called 'image_quality'"),
        (["runn"], 2, "No such command"),
        (["plugins", "image_qualty"], 2, "did you mean 'image_quality'"),
        (["init", "nowhere", "-o", "new.yaml"], 2, "does not exist"),
        (["why", "china/00.png", "--out", "nowhere"], 2, "holds no run"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], code: int, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dqpipe(*arguments) == code
    said = capsys.readouterr()
    assert (words in said.err, said.out, "Traceback" in said.err) == (True, "", False), said.err


def test_init_writes_a_pipeline_that_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"x": range(20), "score": [i / 7 for i in range(20)], "": 1})
    table.to_csv(folder / "t.csv", index=False)
    assert dqpipe("init", "t.csv", "-o", "t.yaml") == 0
    assert dqpipe("init", "t.csv", "-o", "t.yaml") == 2
    assert dqpipe("init", "t.csv", "-o", "t.yaml", "--force", "--out", "a place/for it") == 0
    assert dqpipe("check", "t.yaml", "--executor", "serial") == 0
    assert (folder / "a place" / "for it").is_dir()


def test_run_says_json_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqpipe("run", "--executor", "serial", "--json") == 0
    told = strictly(capsys.readouterr().out)
    assert told["account"]["samples"] == 64
    assert Path(told["path"]).is_dir()
    assert dqpipe("run", "--executor", "serial") == 2
    assert dqpipe("run", "--executor", "serial", "--force") == 0
    for name in ("run.json", "report.json"):
        strictly((Path(told["path"]) / name).read_text(encoding="utf-8"))


def test_a_report_that_was_not_asked_for_is_not_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dqpipe("run", "--executor", "serial") == 0
    said = capsys.readouterr().out
    assert "\nreport: " not in said
    assert "\ncurated: out/versions/" in said


def test_check_writes_facts_only_and_lets_run_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE + 'gates: ["files.unreadable > 1"]\n')
    assert dqpipe("check", "--executor", "serial", "--json") == 1
    told = strictly(capsys.readouterr().out)
    assert [gate["passed"] for gate in told["gates"]] == [False]
    assert [p.name for p in (folder / "out").iterdir()] == ["store"]
    (folder / "pipeline.yaml").write_text(PIPELINE)
    assert dqpipe("run", "--executor", "serial") == 0


def test_a_gate_that_fails_is_exit_code_1_and_the_report_stands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pipeline.yaml").write_text(
        PIPELINE + 'gates: ["image_quality.low_information > 0%"]\n'
    )
    assert dqpipe("run", "--executor", "serial") == 1
    assert "it must not be > 0%" in capsys.readouterr().err
    assert len(list((folder / "out" / "versions").glob("*/report.json"))) == 1


def test_nothing_is_left_where_the_dataset_is_missing(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("images", "imgaes", 1))
    assert dqpipe("run") == 2
    assert not (folder / "out").exists()


def test_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dqpipe("run", "--executor", "serial") == 0
    capsys.readouterr()
    assert dqpipe("why", "china/truncated.png", "--json") == 0
    known = strictly(capsys.readouterr().out)
    assert (known["decision"], known["because"]) == ("drop", ["files.unreadable"])
    assert dqpipe("why", "china/00.png") == 0
    assert "image_quality.width = 64" in capsys.readouterr().out
    for odd in ("", "00.png", "a\nb", "images/china/00.png", "*"):
        assert dqpipe("why", odd) == 2
    assert (
        "did you mean 'china/00.png'"
        in (dqpipe("why", str(folder / "images/china/00.png")), capsys.readouterr().err)[1]
    )


def test_plugins_and_schema_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert dqpipe("plugins", "--json") == 0
    assert "image_quality" in {
        row["name"] for row in strictly(capsys.readouterr().out)["extensions"]
    }
    assert dqpipe("schema") == 0
    assert strictly(capsys.readouterr().out)["required"] == ["stages"]
    assert dqpipe("plugins", "image_quality") == 0
    assert "options of image_quality" in capsys.readouterr().out


def test_paths_start_from_the_config_whatever_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link").symlink_to("images")
    (folder / "sub").mkdir()
    (folder / "sub" / "p.yaml").write_text(PIPELINE.replace("images", "../link", 1))
    monkeypatch.chdir("/")
    assert (
        dqpipe("run", str(folder / "sub" / "p.yaml"), "--executor", "serial", "--limit", "9") == 0
    )
    curated = folder / "sub" / "out" / "curated"
    assert curated.is_symlink()
    assert 5 <= len(list(curated.rglob("*.png"))) <= 9


def pictures(folder: Path, count: int) -> None:
    (folder / "images" / "a").mkdir(parents=True)
    for number in range(count):
        faulty.picture(folder / "images" / "a" / f"{number:03d}.png", seed=number, size=(200, 200))
    (folder / "pipeline.yaml").write_text(PIPELINE)


def started(folder: Path) -> subprocess.Popen[str]:
    """A run in processes that has begun to measure."""
    command = [
        sys.executable,
        "-m",
        "dqpipe",
        "run",
        "--executor",
        "processes:2",
        "--shard-size",
        "8",
    ]
    running = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while running.poll() is None and not list(
        (folder / "out" / "store" / "facts").glob("*/*.arrow")
    ):
        time.sleep(0.01)
    return running


def test_sigterm_ends_the_run_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    pictures(tmp_path, 400)
    running = started(tmp_path)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in said) == (143, False), said
    assert list((tmp_path / "out" / "versions").iterdir()) == []
    assert list((tmp_path / "out" / "store" / "runs").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the workers")
def test_work_of_a_worker_that_is_killed_is_done_again(tmp_path: Path) -> None:
    pictures(tmp_path, 400)
    running = started(tmp_path)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    threads = [
        pid
        for task in Path(f"/proc/{running.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    workers = [
        pid
        for pid in {*children, *threads}
        if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(int(workers[0]), signal.SIGKILL)
    told, said = running.communicate(timeout=100)
    assert (running.returncode, "Traceback" in said) == (0, False), said
    assert "400 samples" in told
