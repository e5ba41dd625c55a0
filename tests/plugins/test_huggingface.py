"""Datasets of Hugging Face: every split read, pictures in cells decoded where they lie, features
and schemas written back as they were.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dqpipe
from dqpipe.config.dataset_source import recognise
from dqpipe.errors import ChangedError, DatasetError, OutputError
from dqpipe.execution.decoding import read_bytes
from dqpipe.plugin.registry import Registry
from dqpipe.storage.containers import batches
from tests import annotated

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "n": {"dtype": "int32", "_type": "Value"},
}


def picture(seed: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
        sink, "PNG"
    )
    return sink.getvalue()


def table(seeds: range, labels: list[int] | None = None) -> pa.Table:
    """Rows as `datasets` writes them.

    Pictures as structs of bytes and path, numbers of classes, the features in the schema.
    """
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": picture(seed), "path": f"{seed}.png"} for seed in seeds], kind)
    schema = pa.schema(
        [("image", kind), ("label", pa.int64()), ("n", pa.int32())],
        {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()},
    )
    return pa.table(
        {
            "image": cells,
            "label": labels or [seed % 2 for seed in seeds],
            "n": pa.array(seeds, pa.int32()),
        },
        schema=schema,
    )


def parquet(root: Path) -> Path:
    (root / "data").mkdir(parents=True)
    pq.write_table(
        table(range(8)),
        root / "data/train-00000-of-00001.parquet",
        row_group_size=3,
        compression="ZSTD",
    )
    pq.write_table(table(range(20, 24)), root / "data/test-00000-of-00001.parquet")
    (root / "README.md").write_text("# card\n")
    return root


def disk(root: Path) -> Path:
    for split, seeds in {"train": range(8), "odd": range(20, 24)}.items():
        (root / split).mkdir(parents=True)
        rows = table(seeds)
        with (
            pa.OSFile(str(root / split / "data-00000-of-00001.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, rows.schema) as stream,
        ):
            stream.write_table(rows, max_chunksize=3)
        (root / split / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
        (root / split / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
        )
    (root / "dataset_dict.json").write_text('{"splits": ["train", "odd"]}')
    return root


MAKE = {
    "parquet": (parquet, "test", "data/train-00000-of-00001"),
    "disk": (disk, "odd", "train/data-00000-of-00001"),
}


def content(path: Path) -> pa.Table:
    return (
        pq.read_table(path, partitioning=None)
        if path.suffix == ".parquet"
        else pa.Table.from_batches(batches(str(path)))
    )


@pytest.mark.parametrize("which", MAKE)
def test_all_splits_are_read_in_place_with_the_names_of_classes_and_come_back(
    registry: Registry, tmp_path: Path, which: str
) -> None:
    make, other, stem = MAKE[which]
    root = make(tmp_path / "set")
    assert recognise(registry, str(root)).reader.name == "huggingface"
    dataset = annotated.read(registry, "huggingface", root)
    rows = {row["id"]: row for row in dataset.samples.table.to_pylist()}
    assert {row["split"] for row in rows.values()} == {"train", other}
    assert [(rows[f"{stem}/{n:07d}"]["label"], rows[f"{stem}/{n:07d}"]["n"]) for n in range(4)] == [
        ("cat", 0),
        ("dog", 1),
        ("cat", 2),
        ("dog", 3),
    ]
    for n in (0, 4, 7):
        assert read_bytes(
            f"{dataset.root}/{rows[f'{stem}/{n:07d}']['media']}", dataset.within
        ) == picture(n)
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


@pytest.mark.parametrize("which", MAKE)
def test_what_is_dropped_and_relabelled_changes_those_rows_alone(
    registry: Registry, tmp_path: Path, which: str
) -> None:
    make, _, stem = MAKE[which]
    root = make(tmp_path / "set")
    dataset = annotated.read(registry, "huggingface", root)
    out = annotated.written(
        registry,
        annotated.curated(dataset, f"{stem}/0000004", labels={f"{stem}/0000000": "dog"}),
        tmp_path / "out",
    )
    name = next(path for path in annotated.tree(root) if path.startswith(stem))
    before, after = content(root / name), content(out / name)
    wanted = [
        {**row, "label": 1 if row["n"] == 0 else row["label"]}
        for row in before.to_pylist()
        if row["n"] != 4
    ]
    assert (after.to_pylist(), after.schema.equals(before.schema, check_metadata=True)) == (
        wanted,
        True,
    )
    others = {path: data for path, data in annotated.tree(root).items() if path != name}
    assert {path: data for path, data in annotated.tree(out).items() if path != name} == others
    manifest = pq.read_table(out / "manifest.parquet").to_pylist()
    assert {row["n"]: read_bytes(f"{out}/{row['media']}") for row in manifest} == {
        row["n"]: picture(row["n"]) for row in manifest
    }
    with pytest.raises(OutputError, match="no class 'bird'"):
        annotated.written(
            registry,
            annotated.curated(dataset, labels={f"{stem}/0000000": "bird"}),
            tmp_path / "bird",
        )


def test_new_samples_are_rows_with_their_pictures_in_cells(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    pq.write_table(table(range(30), [0] * 24 + [1] * 6), tmp_path / "set/train.parquet")
    result = dqpipe.curate(tmp_path / "set/train.parquet", tmp_path / "out", executor="serial")
    assert result.facts["media.ok"].all()
    written = content(tmp_path / "out/curated/train.parquet")
    new = result.curated[result.curated["parent"].notna()]
    assert len(new) > 0
    assert len(written) == len(result.curated)
    assert set(written.column("label").to_pylist()[-len(new) :]) == {1}
    assert all(
        Image.open(io.BytesIO(cell["bytes"])).size == (64, 48)
        for cell in written.column("image").to_pylist()
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_beside_pictures_names_them_and_masks_go_along(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    root = annotated.pictures(
        tmp_path / "set",
        *(f"{split}/{name}.png" for split in ("train", "test") for name in ("a", "b", "m")),
    )
    rows: list[dict[str, Any]] = [
        {"file_name": "a.png", "mask_file_name": "m.png", "label": "x"},
        {"file_name": "b.png", "mask_file_name": None, "label": "y"},
    ]
    for split in ("train", "test"):
        with (root / split / f"metadata.{kind}").open("w", newline="") as file:
            if kind == "csv":
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            else:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    assert recognise(registry, str(root)).reader.name == "huggingface"
    dataset = annotated.read(registry, "huggingface", root)
    assert dataset.samples["media"].tolist() == [
        "test/a.png",
        "test/b.png",
        "train/a.png",
        "train/b.png",
    ]
    assert dataset.samples["split"].tolist() == ["test", "test", "train", "train"]
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "same")
    ) == annotated.tree(root)
    out = annotated.tree(
        annotated.written(registry, annotated.curated(dataset, "train/a.png"), tmp_path / "out")
    )
    assert sorted(out) == [
        "test/a.png",
        "test/b.png",
        "test/m.png",
        f"test/metadata.{kind}",
        "train/b.png",
        f"train/metadata.{kind}",
    ]
    assert b"a.png" not in out[f"train/metadata.{kind}"]


def test_broken_changed_or_linked_files_are_said(registry: Registry, tmp_path: Path) -> None:
    root = parquet(tmp_path / "set")
    dataset = annotated.read(registry, "huggingface", root)
    file = root / "data/test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ChangedError):
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    with pytest.raises(DatasetError, match="cut short"):
        annotated.read(registry, "huggingface", root)
    pq.write_table(table(range(3)), tmp_path / "secret.parquet")
    file.unlink()
    file.symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(DatasetError, match="outside"):
        annotated.read(registry, "huggingface", root)


def test_an_empty_cell_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    rows = table(range(4)).to_pylist()
    rows[1]["image"] = {"bytes": None, "path": "1.png"}
    pq.write_table(
        pa.Table.from_pylist(rows, schema=table(range(1)).schema), tmp_path / "a.parquet"
    )
    result = dqpipe.check(tmp_path / "a.parquet", executor="serial")
    assert result.findings.query("code == 'files.unreadable'")["id"].tolist() == ["a/0000001"]
