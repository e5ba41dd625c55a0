"""Builds distributions in a temporary folder and installs them offline, for the tests beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.0"
[project.entry-points.dqpipe]
{plugin} = "{module}"
[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""


def install(folder: Path, site: Path, *, name: str, plugin: str, source: str) -> None:
    """Write a distribution with one module and one plugin entry point, and install it into `site`,
    offline.
    """
    module = name.replace("-", "_")
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        PYPROJECT.format(name=name, plugin=plugin, module=module), encoding="utf-8"
    )
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    pip("install", "--no-build-isolation", "--target", str(site), str(folder))


def pip(*arguments: str) -> None:
    """Run pip, offline and without dependencies."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "--disable-pip-version-check",
        *arguments,
        "--no-index",
        "--no-deps",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
