"""File names and labels that other exporters lose, rename or overwrite.

The curated set and what it is handed over as keep each of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dqpipe.api import Pipeline
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry

NAMES = (
    "c/a+b #1.png",
    "c/d%C3%A9.png",
    "c/d\u00e9.png",
    "d/\N{CAT}.png",
    "c/" + "\u00e9" * 125 + ".png",
    "c/" + "n" * 251 + ".png",
    "c/con.png",
    "aux/1.png",
    "dog./2.png",
    "dog /3.png",
    "c/a:b.png",
    "c/x?.png",
    "c/A.png",
    "c/a.png",
)
"""Percent signs beside what they stand for, names of 255 bytes, names that Windows keeps for
itself, dots and blanks at the end, upper and lower case.
"""
LABELS = ("NA", "null", "None", "a/b", "..", "con", "a:b", "=1+1", "x ")


def put(folder: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(
            cv2.imencode(".png", rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))[1].tobytes()
        )


def curated(home: Path, registry: Registry, dataset: str) -> Path:
    text = (
        f"dataset: {{path: {home / dataset}}}\nstages: [files]\ngates: []\noutputs: {{path: "
        f"{home / 'out'}, reports: [json]}}\n"
    )
    Pipeline.from_text(text, registry=registry).run(Serial())
    return Path(os.path.realpath(home / "out/curated"))


def test_every_name_stands_in_the_curated_folder_with_its_own_bytes(
    tmp_path: Path, registry: Registry
) -> None:
    put(tmp_path / "set", NAMES)
    folder = curated(tmp_path, registry, "set")
    assert {name: (folder / name).read_bytes() for name in NAMES} == {
        name: (tmp_path / "set" / name).read_bytes() for name in NAMES
    }
    assert sorted(pq.read_table(folder / "manifest.parquet").column("id").to_pylist()) == sorted(
        NAMES
    )


@pytest.mark.parametrize("read", ["m.csv", "manifest.parquet"])
def test_labels_that_are_words_for_nothing_or_no_names_of_folders_come_back(
    tmp_path: Path, registry: Registry, read: str
) -> None:
    names = tuple(f"set/{number}/1.png" for number in range(len(LABELS)))
    put(tmp_path, names)
    pd.DataFrame({"path": names, "label": LABELS}).to_csv(tmp_path / "m.csv", index=False)
    folder = curated(tmp_path, registry, "m.csv")
    again = Pipeline.from_text(
        f"stages: [files]\noutputs: {{path: {tmp_path / 'none'}}}\n", registry=registry
    ).check(Serial(), source=folder / read)
    assert dict(zip(again.samples["id"], again.samples["label"], strict=True)) == dict(
        zip(names, LABELS, strict=True)
    )


def test_a_table_with_other_labels_beside_the_folders_is_asked_about(
    tmp_path: Path, registry: Registry
) -> None:
    names = ("set/1.png", "set/2.png")
    put(tmp_path, names)
    pd.DataFrame({"path": names, "label": ["cat", "dog"]}).to_csv(tmp_path / "m.csv", index=False)
    folder = curated(tmp_path, registry, "m.csv")
    pipeline = Pipeline.from_text(
        f"stages: [files]\noutputs: {{path: {tmp_path / 'none'}}}\n", registry=registry
    )
    told = " ".join(pipeline.check(Serial(), source=folder).account)
    assert "gives 2 images another label than the folder does, which counts here: read m" in told
    put(tmp_path / "plain", ("cat/1.png", "dog/2.png"))
    (tmp_path / "plain/m.csv").write_text("path,label\ncat/1.png,cat\ndog/2.png,dog\n")
    assert "another label" not in " ".join(
        pipeline.check(Serial(), source=tmp_path / "plain").account
    )
