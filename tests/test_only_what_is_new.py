"""Only what is new is measured, and the result is that of a run from nothing.

By random edits, with a store that is harmed, on a full disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.ledger import ledger
from dqpipe.results.outcome import Outcome
from dqpipe.storage import ownership
from tests import faulty
from tests.test_store import age, flipped, truncated

IMAGES = "[files, {image_quality: {}}, {embeddings: {}}, {duplicates: {}}]"
ROWS = "[{duplicate_rows: {}}, {expectations: {checks: []}}]"
# Not shrunk: an example that fails costs seconds, and is short as it is.
FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],
)


def run(
    registry: Registry, source: object, out: Path, store: Path, stages: str = IMAGES
) -> Outcome:
    text = (
        f"dataset: {{path: {source}}}\nstages: {stages}\noutputs: {{path: {out}, store: {store}, "
        f"reports: []}}\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    return Run(made.config, made.registry, Serial(), force=True).run()


def tables(ran: Outcome) -> dict[str, pa.Table]:
    """All that a run says, bit for bit."""
    book = ledger(ran.samples, ran.added, ran.findings, ran.decisions, [])
    every = {
        "samples": ran.samples.table,
        "facts": ran.facts.table,
        "findings": ran.findings.table,
        "figures": ran.figures.table,
    }
    for name, vectors in ran.vectors.items():
        rows = np.flatnonzero(vectors.has)
        every[name] = pa.table({"row": rows, "vector": list(vectors.read(rows))})
    every |= {
        "decisions": ran.decisions.table,
        "curated": ran.curated.samples.table,
        "ledger": book,
    }
    return {
        name: table.combine_chunks().replace_schema_metadata(None) for name, table in every.items()
    }


def files(ran: Outcome) -> dict[str, bytes]:
    assert ran.published is not None
    folder = ran.published / "curated"
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".parquet"
    }


def same(one: Outcome, other: Outcome) -> None:
    mine, theirs = tables(one), tables(other)
    assert mine.keys() == theirs.keys()
    for name, table in mine.items():
        pd.testing.assert_frame_equal(
            table.to_pandas(), theirs[name].to_pandas(), check_exact=True, obj=name
        )
    assert files(one) == files(other)


def measured(ran: Outcome) -> int:
    return max(ran.measured.values(), default=0)


def small(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        path = folder / ("china", "flower")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        faulty.picture(path, seed=number)
    age(folder)
    return folder


# random edits -------------------------------------------------------------------------------------

EDITS = ("add", "remove", "rename", "change", "touch", "relabel", "copy")


def edit_images(folder: Path, kind: str, pick: int, name: str) -> int:
    """One edit of an image folder; how many contents it may bring that nobody measured."""
    paths = sorted(folder.rglob("*.png"))
    path = paths[pick % len(paths)]
    beside = path.with_name(f"{name}.png")
    other = folder / ("flower" if path.parent.name == "china" else "china") / beside.name
    if kind == "add":
        faulty.picture(beside, seed=1000 + pick)
    elif kind == "remove" and len(paths) > 6:
        path.unlink()
    elif kind == "rename":
        path.rename(beside)
    elif kind == "change":
        faulty.picture(path, seed=2000 + pick)
    elif kind == "touch":
        os.utime(path)
    elif kind == "relabel":
        path.rename(other)
    elif kind == "copy":
        shutil.copyfile(path, beside)
    return kind in {"add", "change", "relabel"}  # a stage may read the label, too


@FEW
@given(
    st.lists(
        st.tuples(
            st.sampled_from(EDITS), st.integers(0, 50), st.from_regex(r"[a-z]{1,8}", fullmatch=True)
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_a_run_after_any_edits_of_images_equals_one_from_nothing(
    registry: Registry, edits: list[tuple[str, int, str]], old: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = small(folder / "images")
        run(registry, images, folder / "first", folder / "store")
        new = sum(edit_images(images, *one) for one in edits)
        if old:
            settled(images)
        cached = run(registry, images, folder / "cached", folder / "store")
        same(cached, run(registry, images, folder / "fresh", folder / "empty"))
        assert measured(cached) <= new


def settled(folder: Path) -> None:
    """What was edited was edited a while ago."""
    for path in folder.rglob("*.png"):
        if path.stat().st_mtime > time.time() - 1800:
            os.utime(path, (time.time() - 600, time.time() - 600))


@FEW
@given(
    st.lists(
        st.tuples(st.sampled_from(EDITS), st.integers(0, 50), st.text(max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_a_run_after_any_edits_of_a_table_equals_one_from_nothing(
    registry: Registry, edits: list[tuple[str, int, str]]
) -> None:
    rows = [
        {"key": f"r{n}", "text": f"words {n % 7}", "size": n % 5, "label": "ab"[n % 2]}
        for n in range(30)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def go(out: str, store: str) -> Outcome:
            pd.DataFrame(rows).to_json(folder / "t.jsonl", orient="records", lines=True)
            return run(
                registry, folder / "t.jsonl", folder / out, folder / store, "[{duplicate_rows: {}}]"
            )

        go("first", "store")
        for number, (kind, pick, text) in enumerate(edits):
            row = rows[pick % len(rows)]
            if kind in {"add", "copy"}:
                rows.append(
                    {**row, "key": f"n{number}"}
                    if kind == "copy"
                    else {"key": f"n{number}", "text": text, "size": pick, "label": "a"}
                )
            elif kind == "remove" and len(rows) > 5:
                rows.remove(row)
            elif kind == "rename":
                row["key"] = f"m{number}"
            elif kind == "change":
                row["text"] = text
            elif kind == "relabel":
                row["label"] = "c"
        same(go("cached", "store"), go("fresh", "empty"))


def test_what_each_change_costs_is_what_is_new(registry: Registry, tmp_path: Path) -> None:
    images, store = small(tmp_path / "images", 100), tmp_path / "store"

    def again(stages: str = IMAGES) -> Outcome:
        return run(registry, images, tmp_path / "out", store, stages)

    assert measured(again()) == 100
    assert measured(again()) == 0
    (images / "china" / "00.png").rename(images / "china" / "renamed.png")
    assert measured(again()) == 0
    faulty.picture(images / "china" / "02.png", seed=500)
    changed = again()
    assert measured(changed) == 1
    (images / "china" / "04.png").unlink()
    left = again()
    assert measured(left) == 0
    assert "china/04.png" not in set(left.samples.ids)
    faulty.picture(images / "flower" / "new.png", seed=501)
    grown = again()
    assert 0 < sum(grown.measured.values()) <= 0.05 * 100 * len(grown.measured)
    stricter = again(IMAGES.replace("{image_quality: {}}", "{image_quality: {low_contrast: 1}}"))
    assert measured(stricter) == 0


# a harmed store -----------------------------------------------------------------------------------


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(["cut", "flip", "gone"])),
        min_size=1,
        max_size=4,
    )
)
def test_a_store_with_files_cut_flipped_or_gone_gives_the_same(
    registry: Registry, harms: list[tuple[int, str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = small(folder / "images")
        first = run(registry, images, folder / "first", folder / "store")
        stages = set()
        for pick, kind in harms:
            kept = sorted(
                p
                for p in (folder / "store").rglob("*")
                if p.is_file() and p.name != ownership.MARKER
            )
            path = kept[pick % len(kept)]
            stages |= (
                {path.parent.name}
                if path.parent.parent.name == "facts" and path.suffix != ".json"
                else set()
            )
            path.unlink() if kind == "gone" else path.write_bytes(
                (truncated if kind == "cut" else flipped)(path.read_bytes())
            )
        again = run(registry, images, folder / "again", folder / "store")
        same(first, again)
        assert sum(count > 0 for count in again.measured.values()) <= len(stages)
        assert measured(run(registry, images, folder / "third", folder / "store")) == 0


def test_a_store_whose_marker_is_damaged_is_left_alone_until_it_is_deleted(
    registry: Registry, tmp_path: Path
) -> None:
    images, marker = small(tmp_path / "images"), tmp_path / "store" / ownership.MARKER
    run(registry, images, tmp_path / "first", tmp_path / "store")
    marker.write_bytes(truncated(marker.read_bytes()))
    with pytest.raises(OutputError, match="damaged, delete it"):
        run(registry, images, tmp_path / "again", tmp_path / "store")
    marker.unlink()
    assert measured(run(registry, images, tmp_path / "again", tmp_path / "store")) == 0


# a full disk --------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], Any]]:
    """A disk of so many bytes; what it gives makes it another size."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "dqpipe-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no small disk can be mounted here: it takes the superuser")
    try:
        yield lambda size: subprocess.run(
            ["mount", "-o", f"remount,size={size}", str(folder)], capture_output=True, check=True
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("size", ["24k", "64k", "120k"])
def test_a_full_disk_is_said_and_the_run_goes_on_where_it_stopped(
    registry: Registry, tmp_path: Path, size: str
) -> None:
    images = small(tmp_path / "images", 40)
    whole = run(registry, images, tmp_path / "whole", tmp_path / "store")
    with small_disk(tmp_path / "disk", size) as resize:
        with pytest.raises(OutputError, match="No space left on device"):
            run(registry, images, tmp_path / "out", tmp_path / "disk" / "store")
        assert not (tmp_path / "out" / "version").exists()
        resize("64m")
        same(whole, run(registry, images, tmp_path / "out", tmp_path / "disk" / "store"))
