"""What a team deploys: it runs by hand, and the deployment asks for what the flow takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

ROOT = Path(__file__).parents[2]


def test_run_by_hand_it_prints_its_account_and_fails_with_its_gate(
    prefect_server: str, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        f'dataset: {{path: {images}}}\nstages: [files]\ngates: ["files.unreadable > 0%"]\n'
    )
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    command = [sys.executable, "flows/curate.py", str(tmp_path / "pipeline.yaml"), "--force"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "Found: unreadable files (files.unreadable) on 2." in done.stdout
    assert (
        done.stderr.splitlines()[-1]
        == "error: files.unreadable is 3.125% (2 of 64); it must not be > 0%"
    )
    assert "Task run 'publish' - Finished in state Completed()" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_the_deployments_fit_their_flows(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = yaml.safe_load((ROOT / "flows" / "prefect.yaml").read_text())["deployments"][
        number
    ]
    monkeypatch.chdir(ROOT)
    loaded = load_flow_from_entrypoint(deployment["entrypoint"])
    assert loaded.name == deployment["name"]
    assert (
        loaded.validate_parameters(deployment["parameters"]).items()
        >= deployment["parameters"].items()
    )
    assert Path(deployment["parameters"]["pipeline"]).is_file()
    assert "concurrency_limit" not in deployment  # another output may run; its lock is the limit


@pytest.mark.parametrize("entrypoint", ["curate.py:curate", "nightly.py:nightly"])
def test_every_field_of_the_form_says_what_it_is(entrypoint: str) -> None:
    schema = load_flow_from_entrypoint(f"{ROOT / 'flows' / entrypoint}").parameters
    fields = {**schema.properties, **schema.definitions["Options"]["properties"]}
    assert [name for name, shape in fields.items() if not shape.get("description")] == []
    assert schema.definitions["Options"]["properties"]["limit"]["anyOf"][0] == {
        "minimum": 1,
        "type": "integer",
    }


def test_without_a_server_that_stays_serving_says_what_to_do(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "flows/nightly.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: serving a schedule needs a Prefect server that stays: `prefect server start`, then "
        "`export PREFECT_API_URL="
    )
