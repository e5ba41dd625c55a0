"""What is written comes back the same when read, apart from what curation changed.

And nothing leaves its folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dqpipe_formats.dataframe import DataFrame, DataFrameWriter
from dqpipe_formats.image_folder import ImageFolder, ImageFolderWriter
from dqpipe_formats.manifest import Manifest, ManifestWriter
from dqpipe_formats.placing import Places, folder_name, safe
from dqpipe_formats.table import Table, TableWriter

from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Samples
from dqpipe.errors import ChangedError, OutputError
from tests.faulty import small_files

HOSTILE = [
    "a b.png",
    "q\"uo'te.png",
    "new\nline.png",
    "<script>.png",
    "日本.png",
    "back\\xe9.png",
    "=cmd|' '!A0.png",
]


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but manifest.parquet."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "manifest.parquet")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def listing(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "manifest.parquet").to_pylist()


def curated(
    data: Dataset,
    labels: Mapping[str, Any] | None = None,
    *,
    drop: tuple[str, ...] = (),
    new: tuple[dict[str, Any], ...] = (),
) -> Dataset:
    """The dataset as the engine hands it to a writer.

    Some dropped, some with a new label, some new.
    """
    rows = [
        row | {"parent": None, "made_by": None}
        for row in data.samples.table.to_pylist()
        if row["id"] not in drop
    ]
    rows = [
        row | ({"label": labels[row["id"]]} if labels and row["id"] in labels else {})
        for row in rows
    ]
    empty = dict.fromkeys(data.samples.names)
    schema = pa.schema(
        [
            *data.samples.table.schema,
            pa.field("parent", pa.string()),
            pa.field("made_by", pa.string()),
        ]
    )
    every = sorted([*rows, *(empty | row for row in new)], key=lambda row: row["id"])
    return replace(data, samples=Samples(pa.Table.from_pylist(every, schema)))


def image_folder(root: Path) -> Dataset:
    return ImageFolder().read(root, {})


# image folders


@pytest.mark.parametrize("files", ["copy", "hardlink"])
def test_an_image_folder_comes_back(tmp_path: Path, files: Any) -> None:
    names = [
        *(f"train/c<l>ass/{name}" for name in HOSTILE),
        "train/c<l>ass/c\udce9.png",
        "test/dog/deep/1.png",
        "test/2.png",
        "3.png",
    ]
    data = image_folder(small_files(tmp_path / "raw", *names))
    before = tree(tmp_path / "raw")
    ImageFolderWriter().write(data, tmp_path / "out", files)
    assert image_folder(tmp_path / "out").samples.table.equals(data.samples.table)
    assert tree(tmp_path / "out") == tree(tmp_path / "raw") == before
    assert [row["id"] for row in listing(tmp_path / "out")] == list(data.samples.ids)


def test_relabelled_samples_move_to_their_class_and_take_no_name(tmp_path: Path) -> None:
    data = image_folder(
        small_files(
            tmp_path / "raw",
            "cat/1.png",
            "cat/2.png",
            "cat/x/3.png",
            "dog/1.png",
            "dog/4.png",
            "stray.png",
        )
    )
    done = curated(
        data,
        {"cat/1.png": "dog", "cat/x/3.png": "dog", "dog/4.png": "bird", "stray.png": "cat"},
        drop=("cat/2.png",),
    )
    ImageFolderWriter().write(done, tmp_path / "out", "copy")
    assert tree(tmp_path / "out") == {
        "dog/1.png": b"dog/1.png",
        "dog/1-2.png": b"cat/1.png",
        "dog/x/3.png": b"cat/x/3.png",
        "bird/4.png": b"dog/4.png",
        "cat/stray.png": b"stray.png",
    }
    assert {row["id"]: (row["media"], row["label"]) for row in listing(tmp_path / "out")}[
        "cat/1.png"
    ] == ("dog/1-2.png", "dog")


def test_relabelled_samples_stay_in_their_split(tmp_path: Path) -> None:
    data = image_folder(
        small_files(
            tmp_path / "raw", "train/cat/1.png", "test/cat/1.png", "test/dog/2.png", "val/3.png"
        )
    )
    ImageFolderWriter().write(
        curated(data, {"test/cat/1.png": "dog", "val/3.png": "dog"}), tmp_path / "out", "copy"
    )
    assert sorted(tree(tmp_path / "out")) == [
        "test/dog/1.png",
        "test/dog/2.png",
        "train/cat/1.png",
        "val/dog/3.png",
    ]


def test_new_samples_lie_with_their_class(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "train/cat/1.png", "test/dog/2.png"))
    media = str(small_files(tmp_path / "made", "0af3.png") / "0af3.png")
    new = {
        "id": "train/cat/1.aug0.png",
        "media": media,
        "label": "cat",
        "split": "train",
        "parent": "train/cat/1.png",
        "made_by": "{}",
    }
    for files in ("copy", "manifest"):
        ImageFolderWriter().write(curated(data, new=(new,)), tmp_path / files, files)
        assert (tmp_path / files / "train/cat/1.aug0.png").read_bytes() == b"0af3.png"
        assert [
            row["parent"]
            for row in listing(tmp_path / files)
            if row["media"] == "train/cat/1.aug0.png"
        ] == ["train/cat/1.png"]


def test_links_to_the_same_bytes_share_them(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png"))
    ImageFolderWriter().write(data, tmp_path / "linked", "hardlink")
    ImageFolderWriter().write(data, tmp_path / "copied", "copy")
    source = (tmp_path / "raw/cat/1.png").stat().st_ino
    assert [
        (tmp_path / out / "cat/1.png").stat().st_ino == source for out in ("linked", "copied")
    ] == [True, False]


def test_where_links_cannot_be_made_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    data = image_folder(small_files(tmp_path / "raw", "cat/1.png"))
    monkeypatch.setattr(os, "link", refuse)
    ImageFolderWriter().write(data, tmp_path / "out", "hardlink")
    assert tree(tmp_path / "out") == {"cat/1.png": b"cat/1.png"}


def test_a_manifest_alone_points_to_the_source_and_can_be_read(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png", "dog/2.png"))
    ImageFolderWriter().write(curated(data, {"cat/1.png": "dog"}), tmp_path / "out", "manifest")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.parquet"]
    again = Manifest().read(tmp_path / "out/manifest.parquet", {})
    assert list(again.samples.ids) == ["cat/1.png", "dog/2.png"]
    assert list(again.samples["label"]) == ["dog", "dog"]
    assert list(again.samples["media"]) == [
        str(tmp_path / "raw/cat/1.png"),
        str(tmp_path / "raw/dog/2.png"),
    ]


def test_links_are_written_as_what_they_lead_to(tmp_path: Path) -> None:
    pool = small_files(tmp_path / "pool", "1.png")
    root = small_files(tmp_path / "raw", "cat/2.png")
    (root / "cat/link.png").symlink_to(pool / "1.png")
    (root / "cat/broken.png").symlink_to("nowhere.png")
    ImageFolderWriter().write(
        replace(image_folder(root), outside=True), tmp_path / "out", "hardlink"
    )
    assert not (tmp_path / "out/cat/link.png").is_symlink()
    assert (tmp_path / "out/cat/link.png").read_bytes() == b"1.png"
    assert (tmp_path / "out/cat/broken.png").readlink() == Path("nowhere.png")


@pytest.mark.parametrize(
    "label",
    [
        "../../x",
        "a/b",
        "/etc",
        "",
        ".",
        "..",
        "nul\0",
        ".hidden",
        "50%",
        "Thumbs.db",
        "x" * 5000,
        "é" * 200,
        "\\x2e\\x2e\\x2fx",
    ],
)
def test_a_hostile_label_is_one_folder_inside(tmp_path: Path, label: str) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png"))
    ImageFolderWriter().write(curated(data, {"cat/1.png": label}), tmp_path / "out", "copy")
    again = image_folder(tmp_path / "out")
    assert len(again) == 1
    assert len(again.samples.ids[0].split("/")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert listing(tmp_path / "out")[0]["label"] == label


def test_labels_that_look_alike_as_folders_stay_apart(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "a%2Fb/1.png", "cat/1.png"))
    ImageFolderWriter().write(curated(data, {"cat/1.png": "a/b"}), tmp_path / "out", "copy")
    assert sorted(tree(tmp_path / "out")) == ["a%2Fb%/1.png", "a%2Fb/1.png"]


def test_a_hostile_reference_stays_inside(tmp_path: Path) -> None:
    small_files(tmp_path, "secret.png", "raw/cat/1.png")
    samples = Samples(
        pa.table(
            {
                "id": ["a", "b"],
                "media": ["../secret.png", str(tmp_path / "raw/cat/1.png")],
                "label": ["x", None],
            }
        )
    )
    dataset = Dataset(samples, str(tmp_path / "raw"), "image_folder", {})
    ImageFolderWriter().write(dataset, tmp_path / "deep/out", "copy")
    assert sorted(tree(tmp_path / "deep")) == ["out/1.png"]
    ImageFolderWriter().write(replace(dataset, outside=True), tmp_path / "allowed/out", "copy")
    assert sorted(tree(tmp_path / "allowed")) == ["out/1.png", "out/x/secret.png"]


def test_the_space_is_checked_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png"))
    with (tmp_path / "raw/cat/1.png").open("r+b") as file:
        file.truncate(50 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=40 * 2**20))
    with pytest.raises(OutputError, match=r"has 0\.04 GB free and needs 0\.07 GB: .*hardlink"):
        ImageFolderWriter().write(data, tmp_path / "out", "copy")
    assert list((tmp_path / "out").iterdir()) == []
    ImageFolderWriter().write(data, tmp_path / "out", "hardlink")


def test_a_file_that_is_gone_is_named_before_anything_is_written(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png", "cat/2.png"))
    (tmp_path / "raw/cat/2.png").unlink()
    with pytest.raises(
        OutputError, match=r"1 file of the dataset cannot be found any more: .*cat/2\.png"
    ):
        ImageFolderWriter().write(data, tmp_path / "out", "copy")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    data = image_folder(small_files(tmp_path / "raw", "cat/1.png"))
    small_files(tmp_path, "file")
    with pytest.raises(OutputError, match="file/out cannot be written: Not a directory"):
        ImageFolderWriter().write(data, tmp_path / "file/out", "copy")


# tables and manifests

CELLS = (
    'id;text;label;n;price;flag\r\nb;"=SUM(A1;A2)\n-x";True;007;1.50;NA\r\na;@home;False;12;2;\r\nc;"say '  # noqa: E501
    '""hi""";True;3;55;x\r\n'
)


def test_the_cells_of_a_csv_file_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeff" + CELLS, newline="")
    data = Table().read(tmp_path / "t.csv", {})
    TableWriter().write(curated(data), tmp_path / "out", "copy")
    assert (tmp_path / "out/t.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    TableWriter().write(curated(data, {"a": True}, drop=("b",)), tmp_path / "less", "copy")
    assert (tmp_path / "less/t.csv").read_text("utf-8-sig").split("\n")[1:] == [
        "a;@home;True;12;2;",
        'c;"say ""hi""";True;3;55;x',
        "",
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_every_kind_of_table_comes_back(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {
            "text": ["=1+1", "ü\n,;", None, "x"],
            "label": ["a", "b", "a", None],
            "n": [3, 1, 2, 0],
            "f": [0.5, 1.5, None, 2.0],
        }
    )
    write = {
        "jsonl": lambda f: f.to_json(tmp_path / name, orient="records", lines=True),
        "parquet": lambda f: f.to_parquet(tmp_path / name),
    }
    write.get(
        name.rpartition(".")[2],
        lambda f: f.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ","),
    )(frame)
    data = Table().read(tmp_path / name, {})
    TableWriter().write(curated(data), tmp_path / "out", "copy")
    assert Table().read(tmp_path / "out" / name, {}).samples.table.equals(data.samples.table)
    relabelled = curated(data, {"row-0000001": "new"}, drop=("row-0000000",))
    TableWriter().write(relabelled, tmp_path / "less", "copy")
    less = Table().read(tmp_path / "less" / name, {}).samples.table.drop(["id"])
    assert (
        less.to_pylist() == relabelled.samples.table.drop(["id", "parent", "made_by"]).to_pylist()
    )


def test_a_packed_table_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}).to_csv(tmp_path / "t.csv.gz", index=False)
    data = Table().read(tmp_path / "t.csv.gz", {})
    for out in ("one", "two"):
        TableWriter().write(data, tmp_path / out, "copy")
        os.utime(tmp_path / "t.csv.gz", (0, 0))
    assert (tmp_path / "one/t.csv.gz").read_bytes()[10:] == (
        tmp_path / "two/t.csv.gz"
    ).read_bytes()[10:]
    assert (tmp_path / "one/t.csv.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_a_label_that_the_encoding_cannot_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("name,label\ncafé,a\n".encode("latin-1"))
    data = Table(encoding="latin-1").read(tmp_path / "t.csv", {})
    with pytest.raises(OutputError, match="'日' cannot be written as latin-1"):
        TableWriter().write(curated(data, {"row-0000000": "日"}), tmp_path / "out", "copy")


def test_types_and_metadata_of_parquet_come_back(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [3, 1, 2],
            "label": pd.Categorical(["x", "y", "x"]),
            "when": pd.Timestamp("2024-01-01", tz="UTC"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = Table().read(tmp_path / "t.parquet", {"id": "key"})
    TableWriter().write(curated(data, {"3": "y"}, drop=("1",)), tmp_path / "out", "copy")
    expected = (
        frame[frame.key != 1]
        .assign(label=pd.Categorical(["y", "x"], categories=["x", "y"]))
        .reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out/t.parquet").reset_index(drop=True),
        expected,
        check_categorical=False,
    )


def test_a_table_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,x\na,1\nb,2\n")
    data = Table().read(tmp_path / "t.csv", {})
    (tmp_path / "t.csv").write_text("id,x\na,1\nc,2\n")
    with pytest.raises(
        ChangedError,
        match=r"changed while the run looked at it, so that nothing was published: .*t\.csv",
    ):
        TableWriter().write(data, tmp_path / "out", "copy")


def manifest(tmp_path: Path) -> Dataset:
    small_files(tmp_path, "raw/img/1.png", "raw/img/2.png", "other/1.png", "raw/=x.png")
    rows = [f"img/2.png,cat,{n}" for n in (1, 2)] + [
        "img/1.png,dog,3",
        f"{tmp_path}/other/1.png,dog,4",
        "../other/1.png,cat,5",
        "=x.png,cat,6",
        ",cat,7",
    ]
    (tmp_path / "raw/m.csv").write_text("\n".join(["image,label,n", *rows, ""]))
    return replace(Manifest().read(tmp_path / "raw/m.csv", {}), outside=True)


@pytest.mark.parametrize("files", ["copy", "hardlink"])
def test_a_manifest_comes_back_with_its_images_beside_it(tmp_path: Path, files: Any) -> None:
    data = manifest(tmp_path)
    ManifestWriter().write(curated(data), tmp_path / "out/deep", files)
    again = Manifest().read(tmp_path / "out/deep/m.csv", {})
    columns = [
        column.to_pylist()
        for column in (data.samples.table.column("n"), data.samples.table.column("label"))
    ]
    assert sorted(zip(*columns, strict=True)) == sorted(
        zip(again.samples["n"], again.samples["label"], strict=True)
    )
    written = tree(tmp_path / "out")
    lines = written.pop("deep/m.csv").decode().split("\n")
    assert lines[1:4] == ["img/2.png,cat,1", "img/2.png,cat,2", "img/1.png,dog,3"]
    assert lines[4:] == ["media/1-2.png,dog,4", "media/1.png,cat,5", "=x.png,cat,6", ",cat,7", ""]
    assert sorted(written) == [
        "deep/=x.png",
        "deep/img/1.png",
        "deep/img/2.png",
        "deep/media/1-2.png",
        "deep/media/1.png",
    ]


def test_a_manifest_relabelled_dropped_and_filled(tmp_path: Path) -> None:
    data = manifest(tmp_path)
    media = str(small_files(tmp_path / "made", "x.png") / "x.png")
    new = {
        "id": "img/1.aug0.png",
        "media": media,
        "label": "a/b",
        "n": 3,
        "parent": "img/1.png",
        "made_by": "{}",
    }
    done = curated(
        data,
        {"img/1.png": "cat"},
        drop=tuple(i for i in data.samples.ids if i not in {"img/1.png", "=x.png"}),
        new=(new,),
    )
    ManifestWriter().write(done, tmp_path / "out", "copy")
    assert (
        (tmp_path / "out/m.csv").read_text()
        == "image,label,n\nimg/1.png,cat,3\n=x.png,cat,6\naugmented/a%2Fb/1.aug0.png,a/b,3\n"
    )
    assert sorted(tree(tmp_path / "out")) == [
        "=x.png",
        "augmented/a%2Fb/1.aug0.png",
        "img/1.png",
        "m.csv",
    ]


def test_a_manifest_alone_names_the_source(tmp_path: Path) -> None:
    ManifestWriter().write(curated(manifest(tmp_path)), tmp_path / "out", "manifest")
    assert sorted(tree(tmp_path / "out")) == ["m.csv"]
    again = Manifest().read(tmp_path / "out/m.csv", {})
    assert all(Path(path).exists() for path in again.samples["media"] if path)


def test_a_manifest_whose_images_lie_in_a_folder_of_it_keeps_that(tmp_path: Path) -> None:
    small_files(tmp_path, "raw/photos/1.png", "raw/2.png")
    (tmp_path / "raw/m.jsonl").write_text(
        '{"pic": "1.png", "label": 1}\n{"pic": "../2.png", "label": 2}\n'
    )
    reader, roles = Manifest(root="photos"), {"media": "pic"}
    ManifestWriter().write(
        curated(replace(reader.read(tmp_path / "raw/m.jsonl", roles), outside=True)),
        tmp_path / "out",
        "copy",
    )
    assert sorted(tree(tmp_path / "out")) == ["m.jsonl", "photos/1.png", "photos/media/2.png"]
    assert list(reader.read(tmp_path / "out/m.jsonl", roles).samples["media"]) == [
        "1.png",
        "media/2.png",
    ]


def test_a_key_of_numbers_becomes_text_for_new_samples(tmp_path: Path) -> None:
    small_files(tmp_path, "1.png", "made/x.png")
    pq.write_table(pa.table({"id": [7], "file": ["1.png"]}), tmp_path / "manifest.parquet")
    data = Manifest().read(tmp_path / "manifest.parquet", {})
    new = {"id": "7.aug0.png", "media": str(tmp_path / "made/x.png"), "parent": "7"}
    ManifestWriter().write(curated(data, new=(new,)), tmp_path / "out", "copy")
    rows = pq.read_table(tmp_path / "out/data.parquet").to_pylist()
    assert rows == [
        {"id": "7", "file": "1.png"},
        {"id": "7.aug0.png", "file": "augmented/7.aug0.png"},
    ]


def test_a_dataframe_becomes_parquet_in_its_own_columns(tmp_path: Path) -> None:
    small_files(tmp_path, "raw/1.png", "raw/2.png")
    frame = pd.DataFrame(
        {"key": [2, 1], "file": ["1.png", "2.png"], "target": ["x", "y"], "content": [0.5, None]}
    )
    data = DataFrame(root=str(tmp_path / "raw")).read(frame, {"id": "key"})
    DataFrameWriter().write(curated(data, {"2": "y"}), tmp_path / "out", "copy")
    expected = frame.assign(target="y").sort_values("key").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out/data.parquet"), expected)
    again = DataFrame(root=str(tmp_path / "out")).read(
        pd.read_parquet(tmp_path / "out/data.parquet"), {"id": "key"}
    )
    assert again.samples.table.drop(["label"]).equals(data.samples.table.drop(["label"]))


# places


def test_places_are_given_once() -> None:
    places = Places(["manifest.parquet"])
    asked = ["a/1.png", "a/1.png", "a/1.png", "a", "manifest.parquet", "a/1.png/x"]
    assert [places.take(path) for path in asked] == [
        "a/1.png",
        "a/1-2.png",
        "a/1-3.png",
        "a-2",
        "manifest-2.parquet",
        "a/1-4.png/x",
    ]
    long = "é" * 125 + ".png"
    assert [len(place.encode()) for place in (places.take(long), places.take(long))] == [254, 240]


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("a//./b.png", "a/b.png"),
        ("../a", None),
        ("/a", None),
        ("a/../b", None),
        ("", None),
        (".", None),
        ("a\0", None),
    ],
)
def test_only_paths_inside_are_safe(path: str, short: str | None) -> None:
    assert safe(path) == short


def test_folder_names_can_be_turned_back() -> None:
    from urllib.parse import unquote

    labels = ["a/b", "../x", ".", "50%", "%2F", "nul\0", "line\n", "plain é", "Thumbs.db"]
    assert [unquote(folder_name(label)) for label in labels] == labels
    assert folder_name("plain é") == "plain é"
