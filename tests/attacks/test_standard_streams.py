"""Commands whose standard streams are closed, full or read by nobody, and whose locale knows no
letter of the names.
"""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import faulty

COMMAND = shlex.join([sys.executable, "-c", "from dqpipe.cli.main import main; main()"])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data in letters beyond ASCII, and a pipeline that was run on it."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "café" / "é").mkdir(parents=True)
    for number in range(3):
        faulty.picture(folder / "café" / "é" / f"{number}.png", seed=number)
    (folder / "p.yaml").write_text(
        "dataset: {path: café}\nstages: [files]\noutputs: {path: out, reports: []}\n",
        encoding="utf-8",
    )
    assert shell(folder, "run p.yaml --executor serial").returncode == 0
    return folder


def shell(folder: Path, line: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    script = "\n".join(["set -o pipefail", f"{COMMAND} {line}"])
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "streams", ["2>&-", ">&-", "2>/dev/full", "2>&1 | head -c 1", ">&- 2>&- <&-"]
)
def test_a_stream_that_is_gone_changes_no_exit_code(published: Path, streams: str) -> None:
    done = shell(published, f"check p.yaml --executor serial {streams}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_failed_gate_is_told_by_the_exit_code_though_nobody_reads(published: Path) -> None:
    (published / "gate.yaml").write_text(
        (published / "p.yaml").read_text(encoding="utf-8") + "gates: ['samples < 10']\n",
        encoding="utf-8",
    )
    done = shell(published, "check gate.yaml --executor serial | true")
    assert done.returncode == 1
    assert b"samples" in done.stderr


def test_no_file_takes_the_number_of_a_stream_that_is_closed(published: Path) -> None:
    """What a C library says to its standard error would else stand in a file of the run."""
    code = (
        "import os; from dqpipe.cli import streams; streams.prepare(); print(os.open('spare', "
        "os.O_CREAT | os.O_WRONLY) > 2, file=open('number', 'w'))"
    )
    subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&- 2>&-"],
        cwd=published,
        check=True,
    )
    assert (published / "number").read_text() == "True\n"


@pytest.mark.parametrize("line", ["--version", "ledger out", "why é/0.png"])
def test_a_full_standard_output_is_an_error_that_says_so(published: Path, line: str) -> None:
    done = shell(published, f"{line} >/dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        b"error: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=["C", "ASCII", "printing"],
)
def test_names_beyond_the_locale_are_read_and_printed(published: Path, env: dict[str, str]) -> None:
    for line in (
        "check p.yaml --executor processes:2",
        "why é/0.png",
        "init café --force --output new.yaml",
    ):
        done = shell(published, line, **env)
        assert (done.returncode, done.stderr) == (0, b""), line
    assert "café" in (published / "new.yaml").read_text(encoding="utf-8")


def test_a_name_that_is_no_text_comes_from_the_command_line_and_back(published: Path) -> None:
    name = b"caf\xe9"
    os.rename(published / "café", os.path.join(os.fsencode(published), name))  # noqa: PTH104, PTH118
    try:
        done = shell(published, f"init {shlex.quote(os.fsdecode(name))} --force --output odd.yaml")
        assert done.returncode == 0, done.stderr
        text = (published / "odd.yaml").read_text(encoding="utf-8")
        (published / "odd.yaml").write_text(
            text.partition("\nstages:")[0] + "\nstages: [files]\n", encoding="utf-8"
        )
        done = shell(published, "check odd.yaml --executor serial")
        assert (done.returncode, done.stderr) == (0, b"")
    finally:
        os.rename(os.path.join(os.fsencode(published), name), published / "café")  # noqa: PTH104, PTH118


def test_what_runs_is_shown_until_the_end(published: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        f"{COMMAND} check p.yaml --executor serial",
        shell=True,
        cwd=published,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as going:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert going.returncode == 0
    assert shown.index(b"measure") < shown.rindex(b"decide") < shown.rindex(b"account")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the other side is closed
        return b""


def test_a_refusal_comes_before_anything_large_is_loaded(published: Path) -> None:
    (published / "large.yaml").write_text(
        "dataset: {path: café}\nstages: [files, expectations: {expectations: [{type: "
        "expect_column_to_exist, column: label}]}]\noutputs: {path: out}\n",
        encoding="utf-8",
    )
    start = (
        "import sys; sys.argv = ['dqpipe', 'run', 'large.yaml']\nfrom dqpipe.cli.main import "
        "main\ntry: main()\nexcept SystemExit as e: print(e.code)\n"
    )
    code = (
        f"{start}print([m for m in ('torch', 'great_expectations', 'albumentations', 'sklearn') if "
        f"m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=published, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n[]\n", done.stderr
    assert "holds a published version" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "run café",
            (
                "café: this is a folder, not a pipeline: `dqpipe init 'café'` writes the "
                "pipeline.yaml to run"
            ),
        ),
        ("run t.csv", "t.csv: this is data, not a pipeline: `dqpipe init t.csv`"),
        ("run .", ".: this is a folder: name the file in it, pipeline.yaml"),
        (
            "run absent.yaml",
            "absent.yaml: cannot be read: there is no such file; `dqpipe init DATA` writes one",
        ),
        (
            "init notes.txt --output x.yaml",
            "nothing that is installed reads 'notes.txt'. What can be read: ",
        ),
        (
            "init s3://b/x.zip --output x.yaml",
            "nothing that is installed reads 's3://b/x.zip'. What can be read:",
        ),
    ],
)
def test_what_is_no_pipeline_and_no_dataset_is_told_with_what_to_do(
    published: Path, line: str, said: str
) -> None:
    (published / "t.csv").write_text("x,label\n1,a\n")
    (published / "notes.txt").write_text("hello\n")
    (published / "pipeline.yaml").write_text(
        (published / "p.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    done = shell(published, line)
    assert done.returncode == 2
    assert said in done.stderr.decode()
