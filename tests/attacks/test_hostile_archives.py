"""Archives and Parquet as they should not be: said, bounded, and nothing of them lost."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dqpipe.data.dataset import Dataset
from dqpipe.errors import DatasetError
from dqpipe.plugin.registry import Registry
from tests import annotated

BLOCK = 512


def picture(seed: int = 0) -> bytes:
    """A small picture."""
    sink = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def archive(path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]], **options: Any) -> Path:
    """A tar archive of these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for one, data in members:
            info = one if isinstance(one, tarfile.TarInfo) else tarfile.TarInfo(one)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pairs(*keys: str) -> list[tuple[str | tarfile.TarInfo, bytes]]:
    """A picture and a class for each key."""
    return [
        member
        for number, key in enumerate(keys)
        for member in ((f"{key}.png", picture(number)), (f"{key}.cls", str(number).encode()))
    ]


def said(dataset: Dataset) -> str:
    """Doubts and problems."""
    problems = dataset.samples.table.to_pydict().get("label_problems", [])
    return "\n".join([*dataset.layout["doubts"], *filter(None, problems)])


def gnu_sparse(name: str, data: bytes, size: int) -> bytes:
    """A member in GNU's old sparse format: its data at the beginning, then a hole."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, len(data))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    return bytes(header) + data + b"\0" * (-len(data) % BLOCK)


SECOND = BLOCK + -(-len(picture()) // BLOCK) * BLOCK
"""Where the second member of an archive begins."""
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut within a member": (lambda data: data[:2000], "cut short"),
    "a header of noise": (
        lambda data: data[:SECOND] + b"x" * BLOCK + data[SECOND + BLOCK :],
        "s.tar",
    ),
    "a negative size": (
        lambda data: (
            data[:124] + b"\xff" * 8 + (-4096).to_bytes(4, "big", signed=True) + data[136:]
        ),
        "s.tar",
    ),
    "gzip": (lambda data: __import__("gzip").compress(data), "no tar archive"),
    "nothing": (lambda _: b"", "s.tar"),
    "noise": (lambda _: b"x" * 10_000, "no tar archive"),
}


def fixed(data: bytes, at: int = 0) -> bytes:
    """A header with its sum made right again."""
    header = bytearray(data[at : at + BLOCK])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + BLOCK :]


@pytest.mark.parametrize("which", BROKEN)
def test_a_broken_archive_is_one_clear_error(
    registry: Registry, tmp_path: Path, which: str
) -> None:
    path = archive(tmp_path / "s.tar", pairs("a", "b", "c"))
    change, wanted = BROKEN[which]
    data = change(path.read_bytes())
    path.write_bytes(fixed(data) if which == "a negative size" else data)
    with pytest.raises(DatasetError, match=wanted):
        annotated.read(registry, "webdataset", path)


def test_an_archive_without_an_end_may_be_cut_short(registry: Registry, tmp_path: Path) -> None:
    path = archive(tmp_path / "s.tar", pairs("a", "b"))
    with tarfile.open(path) as tar:
        start = tar.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:start])
    dataset = annotated.read(registry, "webdataset", path)
    assert (len(dataset), "may be cut short" in said(dataset)) == (1, True)


def test_what_is_no_file_stands_twice_or_lies_behind_the_end_is_said_and_stays(
    registry: Registry, tmp_path: Path
) -> None:
    link = tarfile.TarInfo("l.png")
    link.type, link.linkname = tarfile.LNKTYPE, "a.png"
    path = archive(tmp_path / "set/s.tar", [*pairs("a", "b"), (link, b""), *pairs("b", "c")])
    whole = path.read_bytes().rstrip(b"\0")
    whole += b"\0" * (-len(whole) % BLOCK)
    sparse = gnu_sparse("z.png", picture(9), 1_000_000)
    path.write_bytes(whole + sparse + b"".join([b"\0" * 2 * BLOCK, whole, b"\0" * 2 * BLOCK]))
    dataset = annotated.read(registry, "webdataset", path.parent)
    assert dataset.samples.ids.tolist() == ["a", "b", "c"]
    for text in ("l.png", "z.png", "b.png", "behind its end"):
        assert text in said(dataset)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(path.parent)
    out = annotated.written(registry, annotated.curated(dataset, "a"), tmp_path / "less")
    with tarfile.open(out / "s.tar") as tar:
        assert tar.getnames() == [
            "b.png",
            "b.cls",
            "l.png",
            "b.png",
            "b.cls",
            "c.png",
            "c.cls",
            "z.png",
        ]
        assert tar.getmembers()[-1].size == 1_000_000
    assert sparse in (out / "s.tar").read_bytes()


def test_a_header_for_all_members_stays_where_the_first_one_goes(
    registry: Registry, tmp_path: Path
) -> None:
    path = archive(
        tmp_path / "set/s.tar",
        pairs("a", "b"),
        format=tarfile.PAX_FORMAT,
        pax_headers={"comment": "all of them"},
    )
    dataset = annotated.read(registry, "webdataset", path.parent)
    for gone in ("a", "b"):
        out = annotated.written(registry, annotated.curated(dataset, gone), tmp_path / gone)
        with tarfile.open(out / "s.tar") as tar:
            assert len(tar.getmembers()) == 2
            assert tar.pax_headers == {"comment": "all of them"}


def test_names_that_lead_elsewhere_and_long_ones_are_names(
    registry: Registry, tmp_path: Path
) -> None:
    keys = ["../x", "/abs/y", "d/" + "n" * 300, "a\nb", "\u202egnp", "-rf", "%2e%2e"]
    path = archive(tmp_path / "set/s.tar", pairs(*keys), format=tarfile.GNU_FORMAT)
    dataset = annotated.read(registry, "webdataset", path.parent)
    assert len(dataset) == len(keys)
    out = annotated.written(registry, annotated.curated(dataset, "../x"), tmp_path / "out")
    with tarfile.open(out / "s.tar") as tar:
        assert tar.getnames() == [name for name, _ in pairs(*keys[1:])]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "set"]


def test_json_that_is_none_and_texts_beyond_measure_are_said(
    registry: Registry, tmp_path: Path
) -> None:
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        ("a.png", picture()),
        ("a.json", b'{"label": \n'),
        ("b.png", picture(1)),
        ("b.cls", b"1" * (2 << 20)),
        ("c.png", picture(2)),
        ("c.json", b'{"label": ' + b"[" * 100_000),
    ]
    path = archive(tmp_path / "set/s.tar", members)
    dataset = annotated.read(registry, "webdataset", path.parent)
    for text in ("s.tar, a.json, line 2", "s.tar, b.cls", "s.tar, c.json"):
        assert text in said(dataset)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(path.parent)


def test_an_archive_that_braces_name_and_is_not_there_is_an_error(
    registry: Registry, tmp_path: Path
) -> None:
    for number in (0, 2):
        archive(tmp_path / f"s-{number:03d}.tar", pairs(f"{number}a"))
    with pytest.raises(DatasetError, match=r"s-001\.tar"):
        annotated.read(registry, "webdataset", tmp_path / "s-{000..002}.tar")


KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class Uuid(pa.ExtensionType):
    """An extension type of a user's."""

    def __init__(self) -> None:
        super().__init__(pa.binary(2), "tests.uuid")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, _: pa.DataType, __: bytes) -> Uuid:
        return cls()


def rows(count: int, **columns: Any) -> pa.Table:
    """Pictures in cells, and other columns."""
    cells = [{"bytes": picture(number), "path": f"{number}.png"} for number in range(count)]
    return pa.table({"image": pa.array(cells, KIND), **columns})


def test_columns_of_every_kind_stay_where_rows_go(registry: Registry, tmp_path: Path) -> None:
    table = rows(
        6,
        label=pa.array([1.5, float("nan"), None, -0.0, 1e-7, 2.0]),
        kind=pa.array(list("aabbca")).dictionary_encode(),
        nested=pa.array([{"a": [1, None], "b": {"c": None}}, None] * 3),
        own=pa.ExtensionArray.from_storage(Uuid(), pa.array([b"ab"] * 6, pa.binary(2))),
        when=pa.array([1, None] * 3, pa.timestamp("ns", "Europe/Berlin")),
        big=pa.array(["x"] * 6, pa.large_string()),
        second=pa.array([{"bytes": b"\0", "path": None}] * 6, KIND),
        money=pa.array([1, 2, 3, None, 5, 6]).cast(pa.decimal128(30, 4)),
        nothing=pa.nulls(6),
    )
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set/train.parquet", row_group_size=4)
    dataset = annotated.read(registry, "huggingface", tmp_path / "set")
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(tmp_path / "set")
    out = annotated.written(
        registry, annotated.curated(dataset, "train/0000001"), tmp_path / "less"
    )
    before, after = (pq.read_table(root / "train.parquet") for root in (tmp_path / "set", out))
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.equals(pa.concat_tables([before.slice(0, 1), before.slice(2)]))


def test_files_whose_columns_differ_are_read_or_refused_by_name(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    pq.write_table(rows(2, label=["a", "b"], n=[1, 2]), tmp_path / "set/train.parquet")
    pq.write_table(rows(2, label=["a", "b"], n=["x", "y"]), tmp_path / "set/test.parquet")
    with pytest.raises(DatasetError, match=r"column 'n' .*train\.parquet"):
        annotated.read(registry, "huggingface", tmp_path / "set")


def test_files_of_one_name_and_two_kinds_have_ids_of_their_own(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    table = rows(2, label=["a", "b"])
    pq.write_table(table, tmp_path / "set/train.parquet")
    with (
        pa.OSFile(str(tmp_path / "set/train.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as stream,
    ):
        stream.write_table(table)
    dataset = annotated.read(registry, "huggingface", tmp_path / "set")
    assert len(set(dataset.samples.ids)) == 4
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(tmp_path / "set")


def test_a_split_that_is_named_and_not_there_is_said(registry: Registry, tmp_path: Path) -> None:
    from tests.plugins.test_huggingface import disk

    root = disk(tmp_path / "set")
    (root / "dataset_dict.json").write_text('{"splits": ["train", "odd", "test"]}')
    assert "'test'" in said(annotated.read(registry, "huggingface", root))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_pictures_that_metadata_does_not_list_are_said(
    registry: Registry, tmp_path: Path, ending: str
) -> None:
    root = annotated.pictures(tmp_path / "set", "train/a.png", "train/b.png", "train/c.png")
    lines = ["file_name,label", "a.png,x", "gone.png,y"]
    if ending == "jsonl":
        lines = [
            json.dumps({"file_name": "a.png", "label": "x", "n": 1e-7}),
            '{"file_name":"gone.png" ,"label":"y", "n": 1.0}',
        ]
    data = "\r\n".join([*lines, ""]).encode()
    (root / f"train/metadata.{ending}").write_bytes(data)
    dataset = annotated.read(registry, "huggingface", root)
    assert "2 pictures that no metadata file lists (train/b.png, train/c.png)" in said(dataset)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert (out / f"train/metadata.{ending}").read_bytes() == data
    out = annotated.written(
        registry, annotated.curated(dataset, "train/gone.png"), tmp_path / "less"
    )
    kept = data[: data.index(lines[-1].encode())]
    assert (out / f"train/metadata.{ending}").read_bytes() == kept


def test_metadata_at_two_levels_keep_their_rows(registry: Registry, tmp_path: Path) -> None:
    root = annotated.pictures(tmp_path / "set", "a.png", "train/b.png", "train/c.png")
    texts = {
        "metadata.csv": "file_name,label\na.png,x\ntrain/b.png,y\n",
        "train/metadata.csv": "file_name,label\nc.png,z\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    dataset = annotated.read(registry, "huggingface", root)
    out = annotated.written(registry, annotated.curated(dataset), tmp_path / "out")
    assert annotated.tree(out) == annotated.tree(root)
    out = annotated.written(registry, annotated.curated(dataset, "train/b.png"), tmp_path / "less")
    assert (out / "metadata.csv").read_text() == "file_name,label\na.png,x\n"
    assert (out / "train/metadata.csv").read_text() == texts["train/metadata.csv"]


def test_files_of_parquet_that_are_none_are_named(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    pq.write_table(rows(4, label=list("abab")), tmp_path / "set/train.parquet")
    whole = (tmp_path / "set/train.parquet").read_bytes()
    for data in (b"", b"PAR1", whole[:-8], whole[: len(whole) // 2], b"PAR1" + whole[-200:]):
        (tmp_path / "set/test.parquet").write_bytes(data)
        with pytest.raises(DatasetError, match=r"test\.parquet"):
            annotated.read(registry, "huggingface", tmp_path / "set")
