"""What a team needs at night.

Logs that a machine reads, exit codes, what a run used, no settings from the environment.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dqpipe import errors
from dqpipe.cli.main import app
from dqpipe.execution import logs
from tests import faulty

ROOT = Path(__file__).parents[1]
KEYS = ["time", "level", "logger", "message", "run", "stage", "shard"]


def dqpipe(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dqpipe", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / '\x1b[31mred\n{"level": "forged"}'
    folder.mkdir(parents=True)
    for number in range(4):
        faulty.picture(folder / f"{number}.png", seed=number)
    (folder / "broken\u2028.png").write_bytes(b"not a picture")
    (tmp_path / "p.yaml").write_text(
        f"dataset: {{path: {tmp_path / 'in'}}}\noutputs: {{path: out, reports: [json, "
        f"html]}}\nstages: [files, image_quality]\n"
    )
    return tmp_path


def test_logs_are_json_with_run_stage_and_shard_from_driver_and_workers(config: Path) -> None:
    done = dqpipe(
        "--log-json", "run", "p.yaml", "--executor", "processes:2", "--shard-size", "2", cwd=config
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(list(line)[:7] == KEYS for line in told)
    assert len({line["run"] for line in told if line["run"]}) == 1
    assert {
        line["shard"]
        for line in told
        if line["stage"] == "measure" and line["logger"] == "dqpipe.engine.shard"
    } == {1, 2, 3}
    assert {"read", "measure", "detect", "publish"} <= {line["stage"] for line in told}


def test_errors_are_lines_of_the_log_too(config: Path) -> None:
    for arguments, code in ((["run", "nowhere.yaml"], 2), (["run", "--no-such-option"], 2)):
        done = dqpipe("--log-json", *arguments, cwd=config)
        assert done.returncode == code
        assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["ERROR"]


@pytest.mark.parametrize("formatter", [logs.Json(), logs.Lines()])
def test_a_hostile_name_ends_no_line_and_commands_no_terminal(formatter: logging.Formatter) -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "x.py", 1, "cannot read %s", ("a\n\x1b[2J\u2028\x9b\udce9",), None
    )
    logs.Where().filter(record)
    text = formatter.format(record)
    assert text.splitlines() == [text]
    assert text.isprintable()


def test_what_is_logged_inside_says_where_it_is() -> None:
    seen: list[tuple[object, object, object]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.run, record.stage, record.shard))

    handler = Handler()
    handler.addFilter(logs.Where())
    log = logging.getLogger("tests.operations")
    log.addHandler(handler)
    with logs.at(run="r"):
        with logs.at(stage="s", shard=3):
            log.error("inside")
        log.error("outside")
    log.removeHandler(handler)
    assert seen == [("r", "s", 3), ("r", None, None)]


def test_the_exit_codes_of_readme_and_help_are_those_of_the_code() -> None:
    known = {
        cls.exit_code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.DqpipeError)
    }
    known |= {0, 130, 128 + 15}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.search(r"Exit codes:(.*?)\.\n", readme, re.DOTALL)
    assert listed is not None
    for text in (listed[1], str(app.info.epilog).split("Exit codes:")[1]):
        assert {int(code) for code in re.findall(r"(?:^|·)\s*(\d+) ", text)} == known


def test_nothing_but_secrets_and_places_is_read_from_the_environment() -> None:
    """A result must not depend on the shell that a run is started from.

    A new name here is a decision, and a line of the README.
    """
    allowed = {
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",  # where the S3 server is, as its own client has it
        "XDG_CACHE_HOME",  # where copies of remote files lie
        "PREFECT_HOME",  # of the embedded server, which was given it
        "PREFECT_API_URL",  # told by `dqpipe doctor`
    }
    reading = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*f?["']([A-Z0-9_]+)""")
    found: dict[str, str] = {}
    for folder in ("dqpipe", "plugins", "flows"):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                for name in reading.findall(line):
                    if not re.search(rf"environ\[.{name}.\]\s*=[^=]", line):  # set, not read
                        found[name] = path.name
    assert set(found) - allowed == set()


def test_run_json_says_what_each_step_and_stage_used(config: Path) -> None:
    assert (
        dqpipe(
            "run", "p.yaml", "--executor", "processes:2", "--shard-size", "2", cwd=config
        ).returncode
        == 0
    )
    version = config / "out" / "versions" / (config / "out" / "version").read_text().strip()
    said = json.loads((version / "run.json").read_text())
    steps = {row["step"]: row for row in said["timings"]}
    columns = {
        "seconds",
        "cpu_seconds",
        "samples",
        "samples_per_second",
        "measured",
        "peak_mib",
        "workers_peak_mib",
        "workers_cpu_seconds",
    }
    assert columns <= set(steps["measure"])
    assert steps["measure"]["peak_mib"] > 10
    assert steps["measure"]["workers_peak_mib"] > 10
    assert steps["measure"]["workers_cpu_seconds"] > 0
    assert steps["detect"]["workers_peak_mib"] is None
    assert said["stage_use"]["image_quality"]["samples"] == 4
    assert said["stage_use"]["image_quality"]["samples_per_second"] > 0
    assert {"relate_seconds", "detect_seconds"} <= set(
        said["stage_use"]["image_quality"]
    ) or "relate image_quality" not in steps
    assert "Memory, MiB" in (version / "report.html").read_text(encoding="utf-8")
