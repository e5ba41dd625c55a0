"""An upload whose process was killed while an object was half written.

The next run finishes it, or removes what is left of it, and nothing else.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import versions
from dqpipe.storage.location import place
from tests import faulty
from tests.torture import cut
from tests.torture.test_killed import ENVIRONMENT, ROOT

assert cut.Disk.protocol == "disk"


@pytest.mark.parametrize(
    ("name", "before"),
    [
        (".dqpipe.json", 0),
        ("/tables/files.arrow", 0),
        ("/tables/files.arrow", 1),
        ("/ledger.parquet", 1),
        ("/run.json", 0),
        ("/run.json", 1),
    ],
)
def test_what_a_killed_upload_left_is_finished_or_removed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, before: int
) -> None:
    spare = tmp_path / "spare"
    for mine in (
        f"dqpipe-20260101-000000-000000abcd.{'0' * 32}-abcdefgh",
        "dqpipe-20260101-000000-000000abcd-abcdefgh",
    ):
        (spare / mine / "curated").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    for number in range(4):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        faulty.picture(path, seed=number)
    out, yaml = tmp_path / "bucket" / "out", tmp_path / "p.yaml"
    outputs = f"{{path: 'disk://{out}', store: {tmp_path / 'store'}, reports: []}}"
    yaml.write_text(
        f"dataset: {{path: {tmp_path / 'images'}}}\nstages: [files]\ngates: []\noutputs: "
        f"{outputs}\n"
    )
    made = Pipeline.from_yaml(yaml)

    def run() -> str:
        return Run(made.config, registry, Serial(), force=True).run().version

    stand = [run() for _ in range(before)]
    command = [sys.executable, "-m", "tests.torture.cut", str(yaml), name]
    killed = subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | {"TMPDIR": str(spare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert any(f"/{one}".endswith(name) for one in left)
    assert len(list(spare.iterdir())) == (2 if name == ".dqpipe.json" else 4)
    if name == ".dqpipe.json":
        assert left == {name}  # it is the first thing that is written
    mine = out / "versions" / "mine" / "notes.txt"
    if name != ".dqpipe.json":
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("mine")
    stand.append(run())
    where = place(f"disk://{out}")
    assert versions.versions(where) == stand
    assert versions.published(where) == stand[-1]
    held = {one.split("/")[1] for one in where.names("versions")}
    assert held == {*stand, *(["mine"] if mine.exists() else [])}
    assert (
        len(list(spare.iterdir())) == 2
    )  # which are of another output, or of nobody that is known
    assert {path.name for path in out.iterdir()} <= {
        ".dqpipe.json",
        "version",
        "versions",
        "history.jsonl",
    }
