"""A version that a person is asked about.

It waits whole, and is published, rejected, or followed by another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import ApprovalError, ConfigError, DatasetError, GateError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import versions
from dqpipe.results.outcome import Outcome
from dqpipe.results.rollback import approve, listing, reject, roll_back
from dqpipe.storage.location import place
from dqpipe.storage.lock import Lock

ASKS = 'approve: ["change of dropped > 1%"]\n'


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(
    registry: Registry, images: Path, out: Path, more: str = ASKS, outputs: str = ""
) -> Outcome:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [json]{outputs}}}\nstages: "
        f"[files]\n{more}"
    )
    made = Pipeline.from_text(text, registry=registry)
    driven = Run(made.config, made.registry, Serial(), force=True)
    for step in driven.steps():
        step.call()
    driven.close()
    assert driven.outcome is not None
    return driven.outcome


def spoil(images: Path, number: int) -> None:
    (images / f"flower/bad{number}.jpg").write_bytes(b"no picture" + bytes([number]))


def states(out: Path) -> list[str]:
    return [row["state"] for row in listing(out)]


def test_a_version_waits_whole_and_is_published_by_the_one_who_is_asked(
    registry: Registry, images: Path, out: Path
) -> None:
    first = run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    with pytest.raises(
        ApprovalError,
        match=(
            rf"version {second.version} waits for approval \(dropped is 4.*dqpipe approve {out} "
            rf"{second.version}"
        ),
    ):
        second.raise_for_gates()
    assert (versions.published(out), versions.waiting(out), states(out)) == (
        first.version,
        second.version,
        ["waiting", "published"],
    )
    assert (out / "versions" / second.version / "curated" / "manifest.parquet").exists()
    assert (out / "curated").resolve().parent.name == first.version
    assert f"dqpipe approve {out} {second.version}" in second.record["account"]["alerts"][0]
    with pytest.raises(DatasetError, match="nobody approved it"):
        roll_back(out, second.version)
    assert approve(out, second.version, by="ann") == (first.version, second.version)
    assert (versions.published(out), versions.waiting(out), states(out)) == (
        second.version,
        None,
        ["published", ""],
    )
    assert (out / "curated").resolve().parent.name == second.version
    assert {
        "approved": second.version,
        "from": first.version,
        "by": "ann",
    }.items() <= versions.journal(out)[-1].items()
    assert versions.history(out)[-1]["published"]
    with pytest.raises(DatasetError, match="is the published one already"):
        approve(out, second.version)
    assert roll_back(out) == (second.version, first.version)
    assert roll_back(out, second.version) == (first.version, second.version)


def test_a_newer_version_takes_the_place_of_the_one_that_waits(
    registry: Registry, images: Path, out: Path
) -> None:
    run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    spoil(images, 2)
    third = run(registry, images, out)
    assert (versions.waiting(out), states(out)) == (
        third.version,
        ["waiting", "not approved", "published"],
    )
    with pytest.raises(DatasetError, match=f"does not wait for approval: {third.version} does"):
        approve(out, second.version)
    (images / "flower/bad1.jpg").unlink()
    (images / "flower/bad2.jpg").unlink()
    fourth = run(registry, images, out)
    assert (versions.published(out), versions.waiting(out)) == (fourth.version, None)
    with pytest.raises(DatasetError, match="does not wait for approval: none does"):
        approve(out, third.version)


def test_the_version_that_waits_is_not_pruned_and_a_failed_run_does_not_take_its_place(
    registry: Registry, images: Path, out: Path
) -> None:
    first = run(registry, images, out, outputs=", keep_versions: 1")
    spoil(images, 1)
    second = run(registry, images, out, outputs=", keep_versions: 1")
    for number in range(2, 5):
        spoil(images, number)
        run(
            registry,
            images,
            out,
            f'{ASKS}gates: ["files.unreadable > 0%"]\n',
            outputs=", keep_versions: 1",
        )
    assert versions.waiting(out) == second.version
    assert approve(out, second.version)[1] == second.version
    assert first.version != second.version


def test_a_run_that_would_make_the_version_that_waits_makes_none(
    registry: Registry, images: Path, out: Path
) -> None:
    run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    made = Pipeline(second.config, registry)
    again = made.drive("serial", force=True, if_changed=True)
    assert (again.unchanged, versions.waiting(out), len(versions.versions(out))) == (
        second.version,
        second.version,
        2,
    )
    again.raise_for_gates()


def test_a_rejected_version_is_never_published(registry: Registry, images: Path, out: Path) -> None:
    first = run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    reject(out, second.version, by="ben")
    assert (versions.published(out), versions.waiting(out), states(out)) == (
        first.version,
        None,
        ["not approved", "published"],
    )
    for publish in (approve, roll_back):
        with pytest.raises(DatasetError):
            publish(out, second.version)


def test_what_is_not_whole_and_what_is_in_use_is_not_published(
    registry: Registry, images: Path, out: Path
) -> None:
    run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    with Lock(place(out), "another run"), pytest.raises(OutputError, match="in use by another run"):
        approve(out, second.version)
    next((out / "versions" / second.version / "curated").rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="it is not whole"):
        approve(out, second.version)


def test_a_crash_between_switching_and_writing_it_down_leaves_the_version_published(
    registry: Registry,
    images: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(registry, images, out)
    spoil(images, 1)
    second = run(registry, images, out)
    with monkeypatch.context() as patched:
        patched.setattr("dqpipe.results.rollback.remember", lambda *_: 1 / 0)
        approve(out, second.version)
    assert (versions.published(out), versions.waiting(out)) == (second.version, None)
    run(registry, images, out)
    assert [row["published"] for row in versions.history(out)] == [True, True, True]


def test_nothing_is_asked_where_a_gate_fails_and_always_is_possible(
    registry: Registry, images: Path, out: Path
) -> None:
    failed = run(
        registry, images, out, 'approve: ["samples >= 0"]\ngates: ["files.unreadable > 0%"]\n'
    )
    with pytest.raises(GateError, match=r"files\.unreadable"):
        failed.raise_for_gates()
    assert versions.waiting(out) is None
    waits = run(registry, images, out, 'approve: ["samples >= 0"]\n')
    assert (versions.published(out), versions.waiting(out)) == (None, waits.version)
    assert approve(out, waits.version) == (None, waits.version)
    with pytest.raises(
        ConfigError, match="line 4: approve is a list of conditions that ask a person"
    ):
        run(registry, images, out, "approve: yes please\n")


def test_from_the_command_line(images: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        f'dataset: {{path: {images}}}\nstages: [files]\napprove: ["samples >= 0"]\n'
    )

    def dqpipe(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "dqpipe", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = dqpipe("run", "--summary")
    assert (code, "WAITS FOR APPROVAL" in said, "waits for approval" in said) == (1, True, True)
    version = str(versions.waiting(tmp_path / "out"))
    assert f"{version}  waiting" in dqpipe("versions", "out")[1]
    assert dqpipe("approve", "out", "1")[0] == 2
    assert dqpipe("approve", "out", version, "--by", "ann") == (
        0,
        f"published is {version} (was none)\n",
    )
    assert (
        json.loads((tmp_path / "out" / "history.jsonl").read_text().splitlines()[-1])["by"] == "ann"
    )


def test_an_output_without_links_has_none_and_loses_those_it_had(
    registry: Registry, images: Path, out: Path
) -> None:
    run(registry, images, out, "")
    assert (out / "curated").is_symlink()
    second = run(registry, images, out, "", outputs=", links: false")
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "history.jsonl",
        "store",
        "version",
        "versions",
    ]
    assert versions.published(out) == second.version
    roll_back(out)
    assert (out / "curated").is_symlink()  # that version was made with links
    (out / "curated").unlink()
    (out / "curated").symlink_to(images)  # somebody's own link
    run(registry, images, out, "", outputs=", links: false")
    assert (out / "curated").resolve() == images


def test_what_lies_in_a_links_place_is_said_and_stays(
    registry: Registry, images: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `dvc add` does, which puts the files of a link in its place."""
    caplog.set_level("WARNING")
    first = run(registry, images, out, "")
    for name in ("curated", "ledger.parquet"):
        held = (out / name).resolve()
        (out / name).unlink()
        (shutil.copytree if held.is_dir() else shutil.copyfile)(held, out / name)
    spoil(images, 1)
    second = run(registry, images, out, "")
    assert versions.published(out) == second.version != first.version
    assert not (out / "curated").is_symlink()
    assert (
        f"{out / 'curated'} is no link of dqpipe: it stays as it is, and does not show version "
        f"{second.version}"
    ) in caplog.text
    assert second.record["account"]["alerts"] == [
        (
            "curated and ledger.parquet in the output are no links of dqpipe and stay as before, "
            "whatever is published: read versions/, or move them away."
        ),
    ]


@pytest.mark.parametrize("answer", [approve, reject])
def test_an_answer_leaves_nothing_in_a_folder_that_dqpipe_did_not_make(
    tmp_path: Path, answer: Callable[..., object]
) -> None:
    (tmp_path / "mine.py").write_text("x")
    with pytest.raises(DatasetError, match="dqpipe did not make this folder"):
        answer(tmp_path, "some")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
