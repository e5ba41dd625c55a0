"""The facts store: what is broken in it is recognised and made again, and what is in it is never
said of anything else.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.outcome import Outcome
from dqpipe.storage.fact_store import Store, read_arrow, sound, write_arrow
from tests import faulty

STAGES = "[files, image_quality, duplicates]"


def run(
    registry: Registry,
    source: object,
    out: Path,
    stages: str = STAGES,
    executor: object = None,
    **outputs: object,
) -> Outcome:
    named = {"path": str(out), "reports": "[]", **outputs}
    text = (
        f"dataset: {{path: {source}}}\nstages: {stages}\noutputs: "
        f"{{{', '.join(f'{k}: {v}' for k, v in named.items())}}}\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    return Run(made.config, made.registry, executor or Serial(), force=True).run()  # type: ignore[arg-type]


def facts(ran: Outcome) -> pd.DataFrame:
    return ran.facts.frame().set_index("id")


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def garbage(data: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(data))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("harm", [truncated, empty, garbage, flipped])
def test_a_broken_store_is_made_again(
    harm: object, registry: Registry, images: Path, tmp_path: Path
) -> None:
    first = run(registry, images, tmp_path / "out")
    age(images)
    files = [
        p for p in (tmp_path / "out" / "store").rglob("*") if p.suffix in {".arrow", ".vectors"}
    ]
    assert {p.suffix for p in files} == {".arrow", ".vectors"}
    for path in files:
        path.write_bytes(harm(path.read_bytes()))  # type: ignore[operator]
    second = run(registry, images, tmp_path / "out")
    assert second.measured == first.measured
    pd.testing.assert_frame_equal(facts(first), facts(second), check_exact=True)
    pd.testing.assert_frame_equal(first.findings.frame(), second.findings.frame(), check_exact=True)
    assert sum(run(registry, images, tmp_path / "out").measured.values()) == 0


def test_only_what_is_broken_is_made_again(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    first = run(registry, images, tmp_path / "out")
    vectors = next((tmp_path / "out" / "store" / "facts").glob("*/*.vectors"))
    vectors.unlink()
    second = run(registry, images, tmp_path / "out")
    assert second.measured == {"image_quality": 0, "duplicates": first.measured["duplicates"]}


def test_a_file_is_sound_or_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write_arrow(path, pa.table({"x": [1, 2, None]}))
    assert sound(path)
    assert read_arrow(path).to_pydict() == {"x": [1, 2, None]}
    path.write_bytes(path.read_bytes()[:-1])
    assert not sound(path)
    assert not sound(tmp_path / "absent.arrow")


def test_a_broken_artifact_is_learned_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_artifact("k", {"bank": np.arange(3.0)})
    artifact = store.artifact("k")
    assert artifact is not None
    assert artifact["bank"].tolist() == [0, 1, 2]
    (tmp_path / "artifacts" / "k.npz").write_bytes(b"PK\x03\x04 not much")
    assert store.artifact("k") is None


def test_two_datasets_share_one_store(registry: Registry, images: Path, tmp_path: Path) -> None:
    shared = {"store": tmp_path / "store"}
    other = tmp_path / "other" / "china"
    other.mkdir(parents=True)
    for number in range(5):
        faulty.picture(other / f"{number}.png", seed=number)
    (other / "copy.png").write_bytes((images / "china" / "00.png").read_bytes())
    age(images, other)
    run(registry, images, tmp_path / "a", **shared)
    second = run(registry, other.parent, tmp_path / "b", **shared)
    assert second.measured["image_quality"] == 5
    alone = run(registry, other.parent, tmp_path / "c")
    pd.testing.assert_frame_equal(facts(second), facts(alone), check_exact=True)
    assert sum(run(registry, images, tmp_path / "a", **shared).measured.values()) == 0


def test_a_label_that_changes_measures_that_sample_alone_and_changes_what_is_said_of_it(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    paths = sorted(str(p) for p in images.rglob("*.png"))
    table = tmp_path / "t.csv"

    def with_labels(labels: list[str]) -> Outcome:
        pd.DataFrame({"image": paths, "label": labels}).to_csv(table, index=False)
        return run(registry, table, tmp_path / "out")

    first = with_labels([Path(p).parent.name for p in paths])
    assert "duplicates.label_conflict" not in set(first.findings["code"])
    second = with_labels(["other" if "copy" in p else Path(p).parent.name for p in paths])
    assert set(second.measured.values()) <= {0, 1}
    assert "duplicates.label_conflict" in set(second.findings["code"])


def test_a_file_that_vanishes_or_changes_while_the_run_goes_on(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    age(images)
    run(
        registry, images, tmp_path / "out", "[files]"
    )  # from here on the content of each file is known without reading

    class Meddling(Serial):
        def map(self, function, items, names):  # type: ignore[no-untyped-def]
            kept.write_bytes(gone.read_bytes())
            gone.unlink()
            faulty.picture(changed, seed=9, size=(30, 20))
            yield from Serial.map(self, function, items, names)

    gone, changed, kept = (
        images / "china" / "01.png",
        images / "china" / "02.png",
        tmp_path / "kept.png",
    )
    meddled = facts(run(registry, images, tmp_path / "out", "[files, image_quality]", Meddling()))
    assert not meddled.loc["china/01.png", "media.ok"]
    assert "No such file" in meddled.loc["china/01.png", "media.error"]
    assert meddled.loc["china/02.png", "image_quality.width"] == 30
    gone.write_bytes(kept.read_bytes())
    back = facts(run(registry, images, tmp_path / "out", "[files, image_quality]"))
    assert back["media.ok"].sum() == meddled["media.ok"].sum() + 1
    assert back.loc["china/01.png", "image_quality.width"] == 64


def test_a_file_changed_just_now_is_read_again_even_if_it_looks_the_same(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    path, other = images / "china" / "05.png", images / "china" / "06.png"
    run(registry, images, tmp_path / "out", "[files, image_quality]")
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(
        other.read_bytes().ljust(len(before), b"\0")[: max(len(before), len(other.read_bytes()))]
    )
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen = facts(run(registry, images, tmp_path / "out", "[files, image_quality]"))
    assert (
        seen.loc["china/05.png", "image_quality.brightness"]
        == seen.loc["china/06.png", "image_quality.brightness"]
    )


def test_the_files_of_one_run_do_not_stay_in_the_index(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    age(images)
    (images / "flower" / "04.png").unlink()
    run(registry, images, tmp_path / "out", "[files, image_quality, {augment: {target: 40}}]")
    assert all(path.startswith(str(images)) for path in Store(tmp_path / "out" / "store").index())


def age(*folders: Path) -> None:
    """Files as old as files usually are: one written just now is read again by every run."""
    long_ago = time.time() - 3600
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, (long_ago, long_ago))
