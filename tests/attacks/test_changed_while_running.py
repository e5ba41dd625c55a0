"""Data that change between measuring and publishing.

What was judged is published, or nothing is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import ChangedError
from dqpipe.execution.local import Serial
from dqpipe.storage.fact_store import digest
from dqpipe.storage.location import place
from tests import faulty

LONG_AGO = 1_600_000_000


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six pictures that nobody has touched for years."""
    folder = tmp_path / "data"
    for number in range(6):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        faulty.picture(path, seed=number)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def going(
    source: Any, out: Path, files: str = "copy", stages: str = "[files]", **options: Any
) -> Run:
    text = (
        f"dataset: {{path: '{source}'}}\nstages: {stages}\ngates: []\noutputs: {{path: '{out}', "
        f"files: {files}, reports: []}}\n"
    )
    made = Pipeline.from_text(text)
    return Run(made.config, made.registry, Serial(), **options)


def until(run: Run, name: str, then: Callable[[], object]) -> None:
    """Run it all, with something done before the step of this name."""
    try:
        for step in run.steps():
            if step.name == name:
                then()
            step.call()
    finally:
        run.close()


def curated(out: Path) -> Iterator[Path]:
    return (path for path in (out / "versions").rglob("*.png"))


def other_bytes(path: Path) -> None:
    faulty.picture(path, seed=99)


def other_bytes_by_rename(path: Path) -> None:
    faulty.picture(path.with_name("spare.png"), seed=99)
    path.with_name("spare.png").replace(path)


def other_bytes_of_the_same_size(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def a_link_elsewhere(path: Path) -> None:
    faulty.picture(path.parents[2] / "elsewhere.png", seed=99)
    path.unlink()
    path.symlink_to(path.parents[2] / "elsewhere.png")


CHANGES = [other_bytes, other_bytes_by_rename, other_bytes_of_the_same_size, a_link_elsewhere]


@pytest.mark.parametrize("files", ["copy", "hardlink", "manifest"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_other_bytes_are_not_published_under_a_hash_that_was_judged(
    images: Path, tmp_path: Path, files: str, change: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    until(going(images, out, files), "publish", lambda: None)
    first = (out / "version").read_text()
    with pytest.raises(
        ChangedError,
        match=r"a file of the dataset changed while .* nothing was published: a/2\.png; run again",
    ):
        until(going(images, out, files, force=True), "publish", lambda: change(images / "a/2.png"))
    assert (out / "version").read_text() == first
    assert len(list((out / "versions").iterdir())) == 1
    if change is not a_link_elsewhere:
        again = going(images, out, files, force=True).run()
        assert again.measured.get("files", 0) == 0
        assert (out / "version").read_text() != first


def test_whatever_is_published_has_the_hash_that_the_manifest_says(
    images: Path, tmp_path: Path
) -> None:
    until(
        going(images, tmp_path / "out"), "publish", (images / "a/2.png").touch
    )  # touched, and the same
    rows = pd.read_parquet(tmp_path / "out/curated/manifest.parquet")
    assert len(rows) == 6
    folder = tmp_path / "out/curated"
    for row in rows.itertuples():
        assert (
            hashlib.blake2b((folder / row.media).read_bytes(), digest_size=16).hexdigest()
            == row.content
        )


def test_the_error_names_five_files_and_counts_the_others(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ChangedError,
        match=(
            r"^6 files of the dataset changed .*a/0\.png, a/2\.png, a/4\.png, b/1\.png, b/3\.png "
            r"and 1 more; run again"
        ),
    ):
        until(
            going(images, tmp_path / "out"),
            "publish",
            lambda: [other_bytes(path) for path in images.rglob("*.png")],
        )
    assert not list(curated(tmp_path / "out"))


@pytest.mark.parametrize("files", ["copy", "manifest"])
def test_what_changes_while_others_are_measured_is_left_out_and_said_and_the_rest_is_published(
    images: Path, tmp_path: Path, files: str
) -> None:
    class Meddling(Serial):
        def map(self, function: Any, items: Any, names: Any) -> Iterator[Any]:
            yield from Serial.map(self, function, items, names)
            if names and names[0].startswith("measure"):
                other_bytes(images / "a/2.png")
                (images / "b/1.png").unlink()
                (images / "b/3.png").touch()

    driver = going(images, tmp_path / "out", files, "[files, image_quality]")
    driver.executor = Meddling()
    run = driver.run()
    lost = {"a/2.png", "b/1.png"}
    told = {
        row["id"]: row["detail"]
        for row in run.findings.table.to_pylist()
        if row["code"] == "files.unreadable"
    }
    assert set(told) == lost
    assert "while the run measured others" in told["a/2.png"]
    assert set(run.curated.samples.ids) == {f"{'ab'[n % 2]}/{n}.png" for n in range(6)} - lost
    again = going(images, tmp_path / "out", files, "[files, image_quality]", force=True).run()
    assert set(again.measured.values()) == {1}
    assert set(again.curated.samples.ids) == set(run.curated.samples.ids) | {"a/2.png"}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_a_table_that_changed_is_not_published_with_rows_that_nobody_judged(
    tmp_path: Path, name: str
) -> None:
    def write(values: list[int]) -> None:
        frame = pd.DataFrame({"x": values, "label": ["a", "b"] * (len(values) // 2)})
        if name.endswith("parquet"):
            frame.to_parquet(tmp_path / name)
        elif name.endswith("jsonl"):
            frame.to_json(tmp_path / name, orient="records", lines=True)
        else:
            frame.to_csv(tmp_path / name, index=False)

    write([1, 2, 3, 4])
    with pytest.raises(ChangedError, match=name):
        until(
            going(tmp_path / name, tmp_path / "out", stages="[duplicate_rows]"),
            "publish",
            lambda: write([1, 2, 9, 4]),
        )  # an id is a row: none is missing
    assert not (tmp_path / "out/version").exists()


def test_media_of_a_manifest_are_held_against_their_hashes(images: Path, tmp_path: Path) -> None:
    rows = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    pd.DataFrame({"image": rows, "label": "x"}).to_csv(images / "m.csv", index=False)
    with pytest.raises(ChangedError, match=r"a/2\.png"):
        until(
            going(images / "m.csv", tmp_path / "out"),
            "publish",
            lambda: other_bytes(images / "a/2.png"),
        )


def test_files_at_a_url_are_held_against_their_hashes(
    images: Path, tmp_path: Path, bucket: str
) -> None:
    at = place(f"{bucket}/set")
    at.put({str(path.relative_to(images)): path for path in images.rglob("*.png")})
    for files in ("copy", "manifest"):
        with pytest.raises(ChangedError, match=r"a/2\.png"):
            until(
                going(at.url, tmp_path / files, files),
                "publish",
                lambda: at.write("a/2.png", at.read("a/2.png") + b"more"),
            )


def test_a_copy_has_the_mode_of_its_source_without_the_bits_that_lend_rights(
    images: Path, tmp_path: Path
) -> None:
    wanted = {
        "a/0.png": (0o600, 0o600),
        "a/2.png": (0o4755, 0o755),
        "a/4.png": (0o2640, 0o640),
        "b/1.png": (0o444, 0o444),
        "b/3.png": (0o1666, 0o666),
    }
    for name, (mode, _) in wanted.items():
        (images / name).chmod(mode)
    for files in ("copy", "hardlink"):
        going(images, tmp_path / files, files).run()
        found = {
            name: (tmp_path / files / "curated" / name).stat().st_mode & 0o7777 for name in wanted
        }
        assert found == {name: mode for name, (_, mode) in wanted.items()}


def test_a_private_table_stays_private(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,label\n1,a\n2,b\n")
    (tmp_path / "t.csv").chmod(0o600)
    going(tmp_path / "t.csv", tmp_path / "out", stages="[duplicate_rows]").run()
    assert {
        path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out/curated").iterdir()
    } == {"t.csv": 0o600, "manifest.parquet": 0o600}


def test_a_hash_is_that_of_the_facts(images: Path, tmp_path: Path) -> None:
    from dqpipe.execution.decoding import content_of

    result = going(images, tmp_path / "out").run()
    contents = dict(zip(result.samples.ids, result.samples["content"], strict=True))
    assert {name: content_of(str(images / name)) for name in contents} == contents
    assert content_of(str(images / "absent")) is None
    assert digest("x") != contents["a/0.png"]
