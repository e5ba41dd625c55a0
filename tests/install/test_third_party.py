"""A stranger's plugin has the power of a built-in one, and a broken one takes no other down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.install.distributions import install

PLUGIN = '''
import json
import os
from pathlib import Path

import pyarrow as pa

from dqpipe import Claim, Dataset, Fact, Figure, Reader, Samples, Stage, claim, extension, figure, hookimpl, option


@extension
class Redness(Stage):
    """How red a picture is."""

    name = "redness"
    rendition = "picture"
    gives = (Fact("share", "float32", "red light over all light, 0 to 1"), Claim("red", "warning", "the picture is very red"), Figure("mean", "mean share"))
    above: float = option(0.4, "claim pictures above this share", ge=0, le=1)

    def measure(self, shard):
        return {"share": [p.pixels[..., 0].sum(dtype=float) / max(1.0, p.pixels.sum(dtype=float)) for p in shard.pictures]}

    def detect(self, samples, facts):
        red = facts["share"] > self.above
        return [claim("red", samples.ids[red], value=facts["share"][red], threshold=self.above, confidence=0.5)]

    def summarise(self, samples, facts):
        return [figure("mean", float(facts["share"].mean()))]


@extension
class Listing(Reader):
    """A text file with one path on each line."""

    name = "listing"

    def suits(self, source):
        return 9 if str(source).endswith(".listing") else 0

    def read(self, source, roles):
        lines = Path(source).read_text().split()
        return Dataset(Samples(pa.table({"id": lines, "media": lines})), str(Path(source).parent), "manifest", {"media": "media"})


@hookimpl
def dqpipe_register():
    return [Redness, Listing]


@hookimpl
def dqpipe_stage_finished(stage):
    with open(os.environ["WITNESS"], "a") as file:
        file.write(json.dumps({"stage": stage["name"]}) + "\\n")


@hookimpl
def dqpipe_run_finished(run):
    raise RuntimeError("an observer that fails")
'''  # noqa: E501


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stranger's plugin and a broken one installed."""
    folder = tmp_path_factory.mktemp("third-party")
    install(
        folder / "redness", folder / "site", name="dqpipe-redness", plugin="redness", source=PLUGIN
    )
    install(
        folder / "broken",
        folder / "site",
        name="dqpipe-broken",
        plugin="broken",
        source="import no_such_module_anywhere\n",
    )
    return folder / "site"


def dqpipe(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "WITNESS": str(cwd / "witness")}
    return subprocess.run(
        [sys.executable, "-m", "dqpipe", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_listed_with_its_options_and_who_brings_it(site: Path, tmp_path: Path) -> None:
    listed = json.loads(dqpipe(site, "plugins", "redness", "--json", cwd=tmp_path).stdout)[
        "extensions"
    ]
    assert [(row["kind"], row["plugin"], list(row["options"])) for row in listed] == [
        ("stage", "redness", ["above"])
    ]


def test_it_runs_like_a_built_in_one(site: Path, tmp_path: Path, images: Path) -> None:
    (images / "some.listing").write_text("china/00.png\nchina/01.png\nflower/00.png\n")
    (tmp_path / "p.yaml").write_text(
        "dataset: {path: images/some.listing}\nstages:\n  - files\n  - redness: {above: 0.01}\n"
        "gates: ['redness.red > 2']\noutputs: {path: out, reports: [json]}\n"
    )
    done = dqpipe(
        site, "run", "p.yaml", "--executor", "processes:2", "--shard-size", "2", cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "redness.red is 3; it must not be > 2" in done.stderr
    why = json.loads(dqpipe(site, "why", "china/00.png", "--json", cwd=tmp_path).stdout)
    assert [(row["code"], row["plugin"], row["threshold"]) for row in why["findings"]] == [
        ("redness.red", "redness", 0.01)
    ]
    seen = [json.loads(line)["stage"] for line in (tmp_path / "witness").read_text().splitlines()]
    assert seen[:2] == ["read", "measure"]
    assert seen[-1] == "publish"
    assert "observer dqpipe_run_finished of plugin redness raised; the run goes on" in done.stderr


def test_it_passes_the_contract(site: Path, tmp_path: Path) -> None:
    code = (
        "from dqpipe.testing import check_stage; from dqpipe_redness import Redness; "
        "check_stage(Redness(above=0.3))"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "WITNESS": str(tmp_path / "witness")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


FIXTURES = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:dqpipe",
    "-p",
    "dqpipe.testing.pytest_plugin",
]


def test_the_fixtures_for_plugin_authors_run_the_readmes_test(site: Path, tmp_path: Path) -> None:
    shown = (
        (Path(__file__).parents[2] / "docs" / "own-stage.md")
        .read_text(encoding="utf-8")
        .split("fixtures for tests of your own")[1]
    )
    (tmp_path / "test_redness.py").write_text(shown.split("```python\n")[1].split("```")[0])
    environment = {**os.environ, "PYTHONPATH": str(site), "WITNESS": str(tmp_path / "witness")}
    done = subprocess.run(
        [*FIXTURES, "--rootdir", "."],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_starts_with_the_fixtures_and_nothing_heavy() -> None:
    from tests.test_architecture import HEAVY

    named = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "entry-points"
    ]["pytest11"]["dqpipe"]
    code = (
        f"import sys, importlib; importlib.import_module({named!r}); print([m for m in "
        f"{['numpy', 'pandas', 'pyarrow', *HEAVY]} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_broken_plugin_is_named_and_takes_no_other_down(site: Path, tmp_path: Path) -> None:
    done = dqpipe(site, "plugins", cwd=tmp_path)
    assert done.returncode == 0
    assert "plugin broken could not be loaded" in done.stderr
    assert "no_such_module_anywhere" in done.stderr
    assert "redness" in done.stdout
    assert "image_quality" in done.stdout


def test_a_plugin_can_be_left_out(site: Path, tmp_path: Path) -> None:
    done = dqpipe(site, "plugins", "--no-plugin", "broken", "--no-plugin", "redness", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "redness" not in done.stdout
