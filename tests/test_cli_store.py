"""`dqpipe store`: what it shows, what it removes and what it leaves, on a disk and on S3."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dqpipe.cli import main
from dqpipe.errors import ConfigError, OutputError
from dqpipe.storage import maintenance
from dqpipe.storage.fact_store import Store
from dqpipe.storage.location import place
from tests.test_store import age

STAGES = "[files, image_quality, {duplicates: {}}]"
NOW = "20260101-000000-000000abcd"


@pytest.fixture(params=["local", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        request.getfixturevalue("bucket") + "/store"
        if request.param == "s3"
        else str(tmp_path / "kept")
    )


def config(images: Path, store: str, stages: str = STAGES, out: str = "out") -> Path:
    path = images.parent / f"{out}.yaml"
    path.write_text(
        f"dataset: {{path: {images}}}\nstages: {stages}\noutputs: {{path: {out}, reports: [], "
        f"store: '{store}'}}\n"
    )
    return path


def dqpipe(*words: object, code: int = 0) -> Any:
    done = CliRunner().invoke(main.app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if "--json" in words else done.stdout


def run(path: Path) -> Any:
    return dqpipe("run", path, "--force", "--executor", "serial", "--json")


def kept(where: object) -> dict[tuple[str, str], Any]:
    return {
        (row["kind"], row["stage"]): row for row in dqpipe("store", "show", where, "--json")["kept"]
    }


def test_what_is_shown_pruned_and_verified(images: Path, where: str) -> None:
    age(images)
    path = config(images, where)
    run(path)
    shown = kept(path)
    assert set(shown) == {
        ("facts", "media"),
        ("facts", "image_quality"),
        ("facts", "duplicates"),
        ("relations", "duplicates"),
    }
    assert all(row["used"] and row["bytes"] > 0 for row in shown.values())
    assert shown["facts", "image_quality"]["about"]["stage"] == "image_quality"
    assert 0 < shown["facts", "image_quality"]["samples"] <= 70
    assert "image_quality" in dqpipe("store", "show", where)
    assert dqpipe("store", "prune", path, "--json")["removed"] == []

    run(config(images, where, "[files, image_quality]"))
    shown.pop(
        ("relations", "duplicates")
    )  # those of earlier nights went when this one was published
    assert set(kept(where)) == set(shown)
    would = dqpipe("store", "prune", path, "--dry-run", "--json")
    assert {row["stage"] for row in would["removed"]} == {"duplicates"}
    assert set(kept(where)) == set(shown)
    assert dqpipe("store", "prune", path, "--json")["freed"] == would["freed"] > 0
    assert set(kept(where)) == {("facts", "media"), ("facts", "image_quality")}

    store = place(where)
    name = next(name for name in store.names("facts") if name.endswith(".arrow"))
    data = store.read(name)
    store.write(name, data[:50] + bytes([data[50] ^ 4]) + data[51:])
    assert dqpipe("store", "verify", where, "--json", code=1)["broken"] == [name]
    assert "--repair" in dqpipe("store", "verify", where, code=1)
    dqpipe("store", "verify", where, "--repair", code=1)
    assert "is sound" in dqpipe("store", "verify", where)
    run(path)
    assert "is sound" in dqpipe("store", "verify", where)


def test_contents_that_are_gone_are_pruned_and_others_are_not_measured_again(
    images: Path, where: str
) -> None:
    age(images)
    path = config(images, where)
    run(path)
    for left in sorted(images.rglob("*.png"))[:7]:
        left.unlink()
    run(path)
    before = kept(path)["facts", "image_quality"]["samples"]
    told = dqpipe("store", "prune", path, "--gone", "--json")
    assert 0 < told["gone"] <= 7
    assert kept(path)["facts", "image_quality"]["samples"] == before - told["gone"]
    run(path)
    assert kept(path)["facts", "image_quality"]["samples"] == before - told["gone"]


def test_what_another_output_needs_stays(images: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "shared")
    run(config(images, store, STAGES, out="a"))
    other = config(images, store, "[files, image_quality]", out="b")
    run(other)
    assert dqpipe("store", "prune", other, "--json")["removed"] == []
    with pytest.raises(OutputError, match="shared with"):
        CliRunner().invoke(
            main.app, ["store", "prune", str(other), "--gone"], catch_exceptions=False
        )
    assert {
        row["stage"]
        for row in dqpipe("store", "prune", other, "--older-than", 0, "--json")["removed"]
    } == {"media", "image_quality", "duplicates"}


def test_nothing_is_pruned_while_a_run_uses_it_and_nothing_of_a_killed_one(
    images: Path, tmp_path: Path
) -> None:
    path = config(images, str(tmp_path / "kept"))
    run(path)
    store = Store(tmp_path / "kept")
    shutil.rmtree(store.root / "used")
    assert (
        dqpipe("store", "prune", path, "--json")["removed"] == []
    )  # a killed run may have measured it
    now = store.begin_run(NOW)
    with pytest.raises(OutputError, match=f"process {os.getpid()}"):
        CliRunner().invoke(
            main.app, ["store", "prune", str(path), "--older-than", "0"], catch_exceptions=False
        )
    store.end_run(NOW, lock=now)
    long_ago = time.time() - 3 * maintenance.DAY
    for file in store.root.rglob("*"):
        os.utime(file, (long_ago, long_ago))
    assert (
        len(dqpipe("store", "prune", path, "--json")["removed"]) == 5
    )  # two relations: of the raw and of the curated set


def test_an_output_stands_for_its_store_and_nothing_else_does(images: Path, tmp_path: Path) -> None:
    path = config(images, str(tmp_path / "out" / "store"))
    run(path)
    assert kept(tmp_path / "out") == kept(path) != {}
    with pytest.raises(ConfigError, match="no facts store"):
        CliRunner().invoke(main.app, ["store", "show", str(images)], catch_exceptions=False)
