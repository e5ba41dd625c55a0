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


def test_run_by_hand_it_prints_its_account_and_fails_with_its_gate(prefect_server: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(f'dataset: {{path: {images}}}\nstages: [files]\ngates: ["files.unreadable > 0%"]\n')
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_LOGGING_LEVEL": "INFO"}
    command = [sys.executable, "flows/curate.py", str(tmp_path / "pipeline.yaml"), "--force"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Found: files.unreadable on 2." in done.stdout
    assert done.stderr.splitlines()[-1] == "error: files.unreadable is 3.125%; it must not be > 0%"
    assert "Task run 'publish' - Finished in state Completed()" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "report.html").exists()


@pytest.fixture
def deployment() -> dict:
    return yaml.safe_load((ROOT / "flows" / "prefect.yaml").read_text())["deployments"][0]


def test_the_deployment_fits_the_flow(deployment: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loaded = load_flow_from_entrypoint(deployment["entrypoint"])
    assert loaded.name == "curate"
    assert loaded.validate_parameters(deployment["parameters"]) == {**deployment["parameters"], "limit": None, "workers": 0, "rehash": False}


def test_every_parameter_of_the_form_says_what_it_is() -> None:
    loaded = load_flow_from_entrypoint(f"{ROOT / 'flows' / 'curate.py'}:curate")
    assert [name for name, shape in loaded.parameters.properties.items() if not shape.get("description")] == []
