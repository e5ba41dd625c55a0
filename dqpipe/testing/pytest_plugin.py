"""Fixtures that pytest offers wherever dqpipe is installed.

`dqpipe_images` and `dqpipe_run` (docs/own-stage.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from dqpipe.api import Result


class RunPipeline(Protocol):
    """What the fixture `dqpipe_run` is."""

    def __call__(
        self,
        source: Any,  # noqa: ANN401 (a path, or a DataFrame)
        stages: str = "[files]",
        *,
        out: str | Path | None = None,
        sections: str = "gates: []",
        roles: dict[str, str] | None = None,
        force: bool = True,
        **outputs: Any,  # noqa: ANN401 (as in the section of that name)
    ) -> Result:
        """Run a pipeline in this process and return what it came to."""
        ...


@pytest.fixture
def dqpipe_images(tmp_path: Path) -> Path:
    """A folder of 60 photograph tiles in two classes, with known faults (see
    `dqpipe.testing.small_images`).
    """
    from dqpipe.testing import small_images

    folder = tmp_path / "images"
    small_images(folder)
    return folder


@pytest.fixture
def dqpipe_run(tmp_path: Path) -> RunPipeline:
    """Run a pipeline with every installed plugin, in this process, into a temporary folder.

    A function that returns a `dqpipe.Result`.

    `source` is a path or a DataFrame, `stages` and `sections` are YAML as in pipeline.yaml, other
    arguments are options of `outputs`. Raises what the run raises; GateError where a gate of
    `sections` fails.
    """

    def run(
        source: Any,  # noqa: ANN401
        stages: str = "[files]",
        *,
        out: str | Path | None = None,
        sections: str = "gates: []",
        roles: dict[str, str] | None = None,
        force: bool = True,
        **outputs: Any,  # noqa: ANN401
    ) -> Result:
        from dqpipe.api import Pipeline

        written = {"path": str(out or tmp_path / "out"), "reports": [], **outputs}
        dataset = {"roles": roles} if roles else {}
        text = (
            f"dataset: {json.dumps(dataset)}\nstages: {stages}\n{sections}\noutputs: "
            f"{json.dumps(written)}\n"
        )
        return Pipeline.from_text(text).run(
            "serial", source=str(source) if isinstance(source, Path) else source, force=force
        )

    return run
