"""What new samples are made from in a run, and that they are no copies of their own parents."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_curation.augment import Augmentation
from dqpipe_images.decoder import ImageDecoder
from dqpipe_images.duplicates import Duplicates
from dqpipe_images.previews import Png
from PIL import Image

from dqpipe.api import Pipeline
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Decisions, Facts, Samples, fact_array
from dqpipe.engine import curation
from dqpipe.engine.curation import Making, make_samples
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Decoder, Recipe, extension
from dqpipe.results.outcome import Outcome

EVERY = "files, image_quality, duplicates"


def run(registry: Registry, images: Path, out: Path, stages: str, more: str = "") -> Outcome:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: []}}\nstages: "
        f"[{stages}]\n{more}"
    )
    made = Pipeline.from_text(text, registry=registry)
    return Run(made.config, made.registry, Serial()).run()


def curated(ran: Outcome) -> pd.DataFrame:
    return ran.curated.samples.frame()


def planned(
    decided: dict[str, str], doubted: set[str], tmp_path: Path, **columns: list[Any]
) -> list[str]:
    """The parents of what is made to fill the classes of some samples."""
    ids = sorted(decided)
    table = {
        "id": ids,
        "media": ids,
        "content": ids,
        **columns,
        "parent": pa.nulls(len(ids), pa.string()),
        "made_by": pa.nulls(len(ids), pa.string()),
    }
    made = {
        "id": ids,
        "decision": [decided[i] for i in ids],
        "new_label": pa.nulls(len(ids), pa.string()),
        "because": pa.array([[]] * len(ids), pa.list_(pa.string())),
    }
    dataset = Dataset(Samples(pa.table(table)), str(tmp_path))
    decisions = Decisions(
        pa.table({name: pa.array(made[name], kind) for name, kind in Decisions.columns.items()})
    )
    new, _ = curation.plan_samples(
        "augment", Augmentation(target=6), ".png", dataset, decisions, doubted, tmp_path, 0
    )
    return sorted(set(new.column("parent").to_pylist()))


def test_parents_are_kept_under_their_own_label_and_in_no_doubt(tmp_path: Path) -> None:
    decided = {"a": "keep", "b": "keep", "c": "relabel", "d": "review", "e": "keep"}
    split = ["train", "train", "train", "train", "test"]
    assert planned(decided, {"b"}, tmp_path, label=["x"] * 5, split=split) == ["a"]
    assert planned(decided, {"a", "b"}, tmp_path, label=["x"] * 5, split=split) == []


def test_what_is_in_doubt_still_counts_for_the_size_of_its_class(tmp_path: Path) -> None:
    samples = Samples(pa.table({"id": list("abcdef"), "label": ["x"] * 6}))
    for sound in (np.ones(6, dtype=bool), np.arange(6) == 2):
        made = Augmentation(target=8).plan(
            samples, sound, lambda parent, copy: hash((parent, copy))
        )
        assert len(made) == 2


def test_a_sample_with_a_warning_is_no_parent_though_it_is_kept(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(
        registry,
        images,
        tmp_path / "out",
        f"{EVERY}, {{augment: {{target: 60}}}}",
        "policy: {rules: {image_quality.*: keep}}\n",
    )
    found = ran.findings.frame()
    grave = set(found.loc[found["severity"].isin(["warning", "error"]), "id"].dropna())
    decided = ran.decisions.frame().set_index("id")["decision"]
    assert (decided[[i for i in grave if i in decided.index]] == "keep").any()
    parents = set(curated(ran)["parent"].dropna())
    assert (len(parents) > 10, parents & grave, set(decided[list(parents)])) == (
        True,
        set(),
        {"keep"},
    )


def test_what_was_made_from_a_picture_is_no_copy_of_it_in_the_figures(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(registry, images, tmp_path / "out", f"{EVERY}, {{augment: {{target: 45}}}}")
    plain = run(registry, images, tmp_path / "plain", EVERY)
    counts = []
    for one in (ran, plain):
        figures = (
            one.figures.frame()
            .query("of == 'curated' and scope == 'set'")
            .set_index("figure")["value"]
        )
        shares = {name: figures[f"duplicates.{name}"] for name in ("exact", "near", "redundancy")}
        counts.append(
            [
                figures["duplicates.clusters"],
                *(round(share * len(curated(one))) for share in shares.values()),
            ]
        )
    assert curated(ran)["parent"].notna().sum() > 15
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("match", "kind", "expected"),
    [
        ({"a.augment1": "a", "a.augment2": "a"}, {}, (0, 0, 0)),
        ({"a": "a.augment1", "a.augment2": "a.augment1"}, {}, (0, 0, 0)),
        ({"a.augment1": "a", "a.augment2": "a", "b": "a"}, {"b": "exact"}, (1, 0, 1)),
        ({"a": "a.augment1", "a.augment2": "a.augment1", "b": "a"}, {"b": "exact"}, (1, 0, 1)),
        ({"a": "b", "a.augment1": "b", "a.augment2": "b"}, {"a": "exact"}, (1, 0, 1)),
        ({"b": "a.augment1"}, {}, (0, 1, 1)),
    ],
)
def test_a_family_counts_as_one_picture(
    match: dict[str, str], kind: dict[str, str], expected: tuple[int, int, int]
) -> None:
    ids = ["a", "a.augment1", "a.augment2", "b"]
    samples = Samples(pa.table({"id": ids, "content": ids}))
    values = {
        "match": [match.get(i) for i in ids],
        "kind": [kind.get(i, "near") if i in match else None for i in ids],
        "score": [1.0 if i in match else None for i in ids],
        "made.parent": [None, "a", "a", None],
        "sequence": [None] * 4,
    }
    types = {"score": "float32"}
    facts = Facts(
        pa.table(
            {name: fact_array(column, types.get(name, "string")) for name, column in values.items()}
        )
    )
    figures = {row["figure"]: row["value"] for row in Duplicates().summarise(samples, facts)}
    assert (4 * figures["exact"], 4 * figures["near"], figures["clusters"]) == expected


@extension
class Notes(Decoder):
    """Text, which is no picture."""

    name = "notes"
    version = 1

    def suits(self, head: bytes) -> bool:
        """A file that starts with a word."""
        return head.startswith(b"note")

    def decode(self, data: bytes, rendition: str) -> Any:
        """Its text."""
        return data.decode()


def test_nothing_is_made_from_what_is_no_picture(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 90, 200)).save(buffer, "PNG")
    for name, data in {"a.png": buffer.getvalue(), "b.txt": b"note this"}.items():
        (tmp_path / name).write_bytes(data)
    items = tuple(
        (Recipe(name, 1, 1), name, str(tmp_path / f"new {name}")) for name in ("a.png", "b.txt")
    )
    left_out = make_samples(
        Making(Augmentation(), Png(), (Notes(), ImageDecoder()), str(tmp_path), items)
    )
    assert left_out == [str(tmp_path / "new b.txt")]
    assert [path.name for path in sorted(tmp_path.glob("new*"))] == ["new a.png"]


def test_new_samples_stay_in_their_parents_split_and_group(
    registry: Registry, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    rows = []
    for number in range(24):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
            tmp_path / "in" / f"{number}.png"
        )
        split = ("train", "val", "test")[number % 3]
        rows.append(
            {
                "path": f"{number}.png",
                "label": "ab"[number > 18],
                "split": split,
                "group": f"g{number // 2}",
            }
        )
    (tmp_path / "in" / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ran = run(
        registry, tmp_path / "in" / "m.jsonl", tmp_path / "out", "files, {augment: {target: 9}}"
    )
    found = curated(ran).set_index("id")
    new = found[found["parent"].notna()]
    assert (len(new) > 3, set(new["split"])) == (True, {"train"})
    assert (new["group"].to_numpy() == found.loc[new["parent"], "group"].to_numpy()).all()
