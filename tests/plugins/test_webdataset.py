"""WebDataset: pictures are read inside their archives, and archives come back byte by byte but for
what is dropped or relabelled.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dqpipe
from dqpipe.config.dataset_source import recognise
from dqpipe.errors import ChangedError, DatasetError, MediaError
from dqpipe.execution.decoding import read_bytes
from dqpipe.plugin.registry import Registry
from dqpipe.storage import containers
from tests import annotated


def picture(seed: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
        sink, "PNG"
    )
    return sink.getvalue()


def shards(root: Path, count: int = 2, each: int = 4) -> Path:
    """Archives of pictures with a class, a text and JSON; a long name needs a header of its own."""
    root.mkdir(parents=True)
    for number in range(count):
        with tarfile.open(
            root / f"train-{number:03d}.tar", "w", format=tarfile.PAX_FORMAT
        ) as archive:
            for at in range(each):
                key = f"d.x/{'long' * 40 if at == 1 else 's'}{number}{at}ü"
                members = {
                    "png": picture(number * 10 + at),
                    "cls": str(at % 2).encode(),
                    "txt": b"a caption",
                    "json": b'{"a" : 1.50}',
                    "extra.npy": b"\0\1",
                }
                for ending, data in members.items():
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size, info.mtime = len(data), 1234.5
                    archive.addfile(info, io.BytesIO(data))
    return root


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_shards_are_recognised_read_in_place_and_come_back_byte_by_byte(
    registry: Registry, tmp_path: Path
) -> None:
    root = shards(tmp_path / "set")
    for source in (root, root / "train-{000..001}.tar", root / "train-000.tar"):
        assert recognise(registry, str(source)).reader.name == "webdataset"
    dataset = annotated.read(registry, "webdataset", root)
    assert (len(dataset), set(dataset.samples["label"]), dataset.samples["txt"][0]) == (
        8,
        {"0", "1"},
        "a caption",
    )
    assert len(annotated.read(registry, "webdataset", root / "train-{000..001}.tar")) == 8
    first = dict(zip(dataset.samples.ids, dataset.samples["media"], strict=True))["d.x/s00ü"]
    assert read_bytes(f"{dataset.root}/{first}", dataset.within) == picture(0)
    assert annotated.tree(
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    ) == annotated.tree(root)


def test_a_dropped_and_a_relabelled_sample_change_their_members_alone(
    registry: Registry, tmp_path: Path
) -> None:
    dataset = annotated.read(registry, "webdataset", shards(tmp_path / "set"))
    out = annotated.written(
        registry, annotated.curated(dataset, "d.x/s00ü", labels={"d.x/s02ü": "7"}), tmp_path / "out"
    )
    before, after = tmp_path / "set/train-000.tar", out / "train-000.tar"
    assert names(after) == [name for name in names(before) if not name.startswith("d.x/s00ü.")]
    assert (out / "train-001.tar").read_bytes() == (tmp_path / "set/train-001.tar").read_bytes()
    with tarfile.open(before) as old, tarfile.open(after) as new:
        for one in new.getmembers():
            data = new.extractfile(one).read()  # type: ignore[union-attr]
            assert data == (
                b"7" if one.name == "d.x/s02ü.cls" else old.extractfile(one.name).read()
            )  # type: ignore[union-attr]
    assert after.stat().st_size % 10_240 == 0


def test_a_label_in_json_is_changed_there_alone(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set/a.tar", "w") as archive:
        for name, data in {
            "1.png": picture(1),
            "1.json": b'{ "x":1.50,"label" : "cat" }',
            "2.png": picture(2),
            "2.json": b'{"label": "dog"}',
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    dataset = annotated.read(registry, "webdataset", tmp_path / "set")
    assert dataset.samples["label"].tolist() == ["cat", "dog"]
    out = annotated.written(
        registry, annotated.curated(dataset, labels={"1": "dog"}), tmp_path / "out"
    )
    assert (
        annotated.read(registry, "webdataset", out).samples["json"][0]
        == '{ "x":1.50,"label" : "dog" }'
    )


def test_a_whole_run_measures_pictures_in_archives_and_writes_archives_with_new_samples(
    tmp_path: Path,
) -> None:
    root = shards(tmp_path / "set", each=12)
    result = dqpipe.curate(root, tmp_path / "out", executor="serial")
    assert result.facts["media.ok"].all()
    out = tmp_path / "out/curated"
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.parquet",
        "train-000.tar",
        "train-001.tar",
    ]
    assert all(
        len(read_bytes(f"{out}/{media}")) > 100
        for media in result.curated["media"]
        if not media.startswith("/")
    )
    again = dqpipe.check(out / "train-{000..001}.tar", executor="serial")
    assert len(again.samples) == len(result.curated)


def test_changed_or_broken_archives_are_said(registry: Registry, tmp_path: Path) -> None:
    root = shards(tmp_path / "set")
    dataset = annotated.read(registry, "webdataset", root)
    media = f"{dataset.root}/{dataset.samples['media'][0]}"
    os.truncate(root / "train-000.tar", 3000)
    with pytest.raises(MediaError):
        read_bytes(media, dataset.within)
    with pytest.raises(ChangedError):
        annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    with pytest.raises(DatasetError, match="cut short"):
        annotated.read(registry, "webdataset", root)
    with pytest.raises(DatasetError, match="stands for more"):
        annotated.read(registry, "webdataset", tmp_path / "a-{0..999999999}.tar")


def test_what_a_member_is_called_leads_nowhere(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set/a.tar", "w") as archive:
        for name in ("../../up.png", "/etc/abs.png", "in.png"):
            info = tarfile.TarInfo(name)
            info.size = len(picture(1))
            archive.addfile(info, io.BytesIO(picture(1)))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    dataset = annotated.read(registry, "webdataset", tmp_path / "set")
    assert len(dataset) == 3
    assert {
        read_bytes(f"{dataset.root}/{media}", dataset.within) for media in dataset.samples["media"]
    } == {picture(1)}
    annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == []


def test_an_archive_outside_the_folder_is_not_read(registry: Registry, tmp_path: Path) -> None:
    shards(tmp_path / "secret")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.tar").symlink_to(tmp_path / "secret/train-000.tar")
    with pytest.raises(DatasetError, match="outside"):
        annotated.read(registry, "webdataset", tmp_path / "set")
    assert containers.address(str(tmp_path / "set/b.tar!/x")) is None
