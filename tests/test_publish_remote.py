"""A version published on an object store: whole, and read back from there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import GateError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import ledger_query, versions
from dqpipe.results.outcome import Outcome
from dqpipe.results.versions import Version
from dqpipe.review.explain import explain
from dqpipe.storage.location import Place, place

STAGES = "stages: [files, duplicates]\n"


def run(
    registry: Registry, images: Path, out: str, store: Path | None, *, more: str = "", keep: int = 2
) -> Outcome:
    kept = "null" if store is None else store
    outputs = f"{{path: {out!r}, store: {kept}, reports: [html, json], keep_versions: {keep}}}"
    made = Pipeline.from_text(
        f"dataset: {{path: {images}}}\noutputs: {outputs}\n{STAGES}{more}", registry=registry
    )
    return Run(made.config, registry, Serial(), force=True).run()


def test_an_output_on_an_object_store_holds_what_a_local_one_does(
    registry: Registry, images: Path, tmp_path: Path, bucket: str
) -> None:
    out = f"{bucket}/nested/out"
    local = run(registry, images, str(tmp_path / "out"), tmp_path / "store")
    ran = run(registry, images, out, None)
    where, name = place(out), f"versions/{ran.version}"
    assert ran.published == f"{out}/{name}"
    assert versions.published(out) == ran.version
    here = {
        file.removeprefix(f"versions/{local.version}/")
        for file in place(tmp_path / "out").names(f"versions/{local.version}")
    }
    assert {file.removeprefix(f"{name}/") for file in where.names(name)} == here
    assert not where.exists(".lock")
    assert any(name.startswith("store/facts/") for name in where.names("store"))
    version = Version.open(out)
    assert version.findings.table.equals(local.findings.table)
    pd.testing.assert_frame_equal(version.facts.frame(), local.facts.frame())
    assert explain(out, "flower/text.png")["decision"] == "drop"
    assert ledger_query.rows(version, ledger_query.Question(codes=("files.unreadable",))).column(
        "id"
    ).to_pylist() == sorted(
        row["id"] for row in local.findings.table.to_pylist() if row["code"] == "files.unreadable"
    )
    assert [row["version"] for row in versions.history(out)] == [ran.version]


def test_old_versions_go_and_a_failed_gate_leaves_the_pointer(
    registry: Registry, images: Path, tmp_path: Path, bucket: str
) -> None:
    out = f"{bucket}/out"
    ran = [run(registry, images, out, tmp_path / "store", keep=1) for _ in range(2)]
    assert versions.versions(out) == [ran[1].version]
    with pytest.raises(GateError):
        run(registry, images, out, tmp_path / "store", more="gates: ['files.unreadable > 0']\n")
    assert versions.published(out) == ran[1].version
    assert [row["published"] for row in versions.history(out)] == [True, True, False]


def test_an_upload_that_breaks_leaves_the_last_version_published_and_nothing_of_the_new_one(
    registry: Registry, images: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/out"
    first = run(registry, images, out, tmp_path / "store")
    upload = Place.upload

    def broken(self: Place, folder: Path, name: str) -> None:
        upload(self, folder, name)
        raise OutputError("the network is gone")

    monkeypatch.setattr(Place, "upload", broken)
    with pytest.raises(OutputError, match="network is gone"):
        run(registry, images, out, tmp_path / "store")
    monkeypatch.setattr(Place, "upload", upload)
    assert versions.published(out) == first.version
    assert {file.split("/")[1] for file in place(out).names("versions")} == {first.version}
    assert run(registry, images, out, tmp_path / "store").published is not None
