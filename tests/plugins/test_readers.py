"""What becomes a sample, under which id, with which label and split; and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dqpipe_formats.dataframe import DataFrame
from dqpipe_formats.image_folder import ImageFolder
from dqpipe_formats.manifest import Manifest
from dqpipe_formats.roles import Columns, infer
from dqpipe_formats.table import Table

from dqpipe.data.dataset import Dataset
from dqpipe.errors import DatasetError
from dqpipe.storage.paths import media_path, path_text
from tests.faulty import small_files


def column(dataset: Dataset, name: str) -> list[object]:
    return dataset.samples.table.column(name).to_pylist()


def folder(root: Path) -> Dataset:
    return ImageFolder().read(root, {})


# image folders


def test_class_folders(tmp_path: Path) -> None:
    data = folder(small_files(tmp_path, "dog/2.png", "cat/1.jpg", "cat/sub/3.webp"))
    assert column(data, "id") == ["cat/1.jpg", "cat/sub/3.webp", "dog/2.png"]
    assert column(data, "label") == ["cat", "cat", "dog"]
    assert data.samples.names == ["id", "media", "label"]
    assert (data.root, data.format) == (str(tmp_path), "image_folder")


def test_split_folders(tmp_path: Path) -> None:
    data = folder(small_files(tmp_path, "Train/cat/1.png", "test/dog/2.png", "val/3.png", "4.png"))
    assert column(data, "id") == ["4.png", "Train/cat/1.png", "test/dog/2.png", "val/3.png"]
    assert column(data, "split") == [None, "Train", "test", "val"]
    assert column(data, "label") == [None, "cat", "dog", None]


def test_a_split_is_one_only_if_every_folder_is(tmp_path: Path) -> None:
    data = folder(small_files(tmp_path, "train/1.png", "bus/2.png"))
    assert column(data, "label") == ["bus", "train"]
    assert "split" not in data.samples


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    assert folder(small_files(tmp_path, "1.png", "2.png")).samples.names == ["id", "media"]


def test_every_file_is_a_sample_but_papers_beside_the_classes_and_litter(tmp_path: Path) -> None:
    small_files(
        tmp_path,
        "README",
        "LICENSE",
        "labels.csv",
        "stray.bin",
        "cat/1.png",
        "cat/notes.txt",
        "cat/text.png",
        "cat/README",
    )
    small_files(
        tmp_path,
        ".git/config",
        "cat/.hidden.png",
        "cat/Thumbs.db",
        "__MACOSX/cat/1.png",
        ".DS_Store",
    )
    data = folder(tmp_path)
    assert column(data, "id") == [
        "cat/1.png",
        "cat/README",
        "cat/notes.txt",
        "cat/text.png",
        "stray.bin",
    ]
    assert column(data, "label") == ["cat", "cat", "cat", "cat", None]
    assert list(data.layout["skipped"]) == ["LICENSE", "README", "labels.csv"]


def test_layout_is_plain_json(tmp_path: Path) -> None:
    layout = folder(small_files(tmp_path, "cat/1.png", "notes.md")).layout
    assert json.loads(json.dumps(layout)) == layout


HOSTILE = ["a b.png", 'it\'s "q".png']
HOSTILE += [
    "new\nline.png",
    "<script>.png",
    "日本 é.png",
    "%2e%2e.png",
    "back\\x41\\xe9.png",
    "-rf.png",
    "c\udce9.png",
    "\\\udce9",
]


def test_hostile_names_are_valid_text_and_still_open(tmp_path: Path) -> None:
    names = [f"cl<a>ss\udcff/{name}" for name in HOSTILE]
    try:
        small_files(tmp_path, *names)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    data = folder(tmp_path)
    assert set(column(data, "label")) == {"cl<a>ss\\xff"}
    opened = {Path(media_path(data.root, media)).read_bytes() for media in column(data, "media")}
    assert opened == {os.fsencode(name) for name in names}


@pytest.mark.parametrize("name", [*HOSTILE, "\\x5cxe9", "\\\\xe9\udce9\\", "é\udcc3"])
def test_path_text_comes_back(name: str) -> None:
    assert path_text(name).encode()
    assert media_path("", path_text(name)) == name


def test_a_reference_cannot_spell_a_slash() -> None:
    assert media_path("root", "\\x2e\\x2e\\x2fetc") == "root/\\x2e\\x2e\\x2fetc"


def test_links_that_loop_end(tmp_path: Path) -> None:
    root = small_files(tmp_path / "data", "cat/1.png", "dog/2.png")
    (root / "cat" / "again").symlink_to(root, target_is_directory=True)
    (root / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "dog" / "self").symlink_to("self")
    (root / "alias").symlink_to("cat", target_is_directory=True)
    data = folder(root)
    assert column(data, "id") == [
        "cat/1.png",
        "dog/2.png",
        "dog/self",
    ]  # the last one cannot be read, and is claimed
    assert list(data.layout["skipped"]) == ["alias", "cat/again", "cat/up"]


def test_links_to_files_and_folders_elsewhere_are_followed_once(tmp_path: Path) -> None:
    pool = small_files(tmp_path / "pool", "1.png", "deep/2.png")
    root = small_files(tmp_path / "data", "dog/3.png")
    (root / "cat").symlink_to(pool, target_is_directory=True)
    (root / "kitten").symlink_to(pool, target_is_directory=True)
    (root / "dog" / "link.png").symlink_to(pool / "1.png")
    (root / "dog" / "gone.png").symlink_to(pool / "nothing.png")
    data = ImageFolder().read_outside(root, {})
    assert column(data, "id") == [
        "cat/1.png",
        "cat/deep/2.png",
        "dog/3.png",
        "dog/gone.png",
        "dog/link.png",
    ]
    assert list(data.layout["skipped"]) == ["kitten"]
    assert column(folder(root), "id") == [
        "cat",
        "dog/3.png",
        "dog/gone.png",
        "dog/link.png",
        "kitten",
    ]  # and claimed


def test_what_is_no_file_is_listed(tmp_path: Path) -> None:
    small_files(tmp_path, "cat/1.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    data = folder(tmp_path)
    assert column(data, "id") == ["cat/1.png"]
    assert data.layout["skipped"] == {"cat/pipe.png": "not a regular file"}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    small_files(tmp_path, ".hidden", "README.md")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DatasetError, match="has no images"):
        folder(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        folder(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="is not a folder"):
        folder(small_files(tmp_path, "file") / "file")
    with pytest.raises(DatasetError, match="no columns to give the roles label"):
        ImageFolder().read(small_files(tmp_path, "cat/1.png"), {"label": "class"})


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_refused_or_stands_among_what_cannot_be_read(
    tmp_path: Path,
) -> None:
    small_files(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "dog").chmod(0)
    try:
        assert column(folder(tmp_path), "id") == ["cat/1.png", "dog"]
        with pytest.raises(DatasetError, match="dog cannot be read: Permission denied"):
            folder(tmp_path / "dog")
    finally:
        (tmp_path / "dog").chmod(0o755)


# tables and manifests


def csv(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


def test_rows_are_samples_and_names_give_roles(tmp_path: Path) -> None:
    data = Table().read(
        csv(tmp_path / "t.csv", "text,category,split,n\nhi,a,train,1\nho,b,test,2\n"), {}
    )
    assert column(data, "id") == ["row-0000000", "row-0000001"]
    assert data.samples.names == ["id", "split", "label", "text", "n"]
    assert column(data, "label") == ["a", "b"]
    assert (data.format, data.has_media) == ("table", False)


def test_a_key_column_gives_sorted_ids(tmp_path: Path) -> None:
    data = Table().read(csv(tmp_path / "t.csv", "key,x\nb,1\n007,2\na,3\n"), {"id": "key"})
    assert column(data, "id") == ["007", "a", "b"]
    assert column(data, "x") == [2, 3, 1]


def test_a_key_that_is_none_is_refused_with_five_examples(tmp_path: Path) -> None:
    rows = "".join(f"k{i // 2},{i}\n" for i in range(14))
    with pytest.raises(DatasetError, match=r"not unique: 'k0', 'k1', 'k2', 'k3', 'k4' and 2 more"):
        Table().read(csv(tmp_path / "t.csv", "key,x\n" + rows), {"id": "key"})
    with pytest.raises(DatasetError, match=r"empty in row 1 \(counted"):
        Table().read(csv(tmp_path / "u.csv", "key,x\na,1\n,2\n"), {"id": "key"})


def test_roles_that_do_not_exist_name_the_nearest(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "species,x\na,1\n")
    with pytest.raises(DatasetError, match="did you mean 'label'"):
        Table().read(path, {"lable": "species"})
    with pytest.raises(DatasetError, match="did you mean 'species'"):
        Table().read(path, {"label": "specie"})


def test_reserved_names_of_the_users_columns_get_an_underscore(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "t.csv", "id,content,label,species,label_\n1,x,old,cat,z\n1,y,old,dog,z\n"
    )
    data = Table().read(path, {"label": "species"})
    assert data.samples.names == ["id", "label", "id_", "content_", "label__", "label_"]
    assert column(data, "id") == [
        "row-0000000",
        "row-0000001",
    ]  # column id is no key: it is not unique
    assert column(data, "label") == ["cat", "dog"]


def test_an_empty_role_takes_the_role_away(tmp_path: Path) -> None:
    data = Table().read(csv(tmp_path / "t.csv", "label,x\na,1\n"), {"label": ""})
    assert data.samples.names == ["id", "label_", "x"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "NA"], [1, -2, None]),
        (["1.50", "2", ".5e3", ""], [1.5, 2.0, 500.0, None]),
        (["True", "false", None], [True, False, None]),
        (["007", "12"], ["007", "12"]),
        (["NA", "x"], ["NA", "x"]),
        (["+49", "1"], ["+49", "1"]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["NA", "nan"], ["NA", "nan"]),
    ],
)
def test_types_of_csv_cells(cells: list[str | None], values: list[object]) -> None:
    cells = [cell or None for cell in cells]
    assert infer(pa.chunked_array([pa.array(cells, pa.string())])).to_pylist() == values


def test_csv_of_other_lands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffname;label\r\n"M;ü\nller";a\r\n'.encode())
    data = Table().read(path, {})
    assert data.samples.table.to_pylist() == [
        {"id": "row-0000000", "label": "a", "name": "M;ü\nller"}
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,b\n1,2,3\n", "Expected 2 fields in line 2, saw 3"),
        ("t.csv", b'a,b\n"1,2\n', "EOF inside string"),
        ("t.csv", b"a,a\n1,2\n", "column stands twice: a"),
        ("t.csv", b"a,b\n\xe9,2\n", "is not utf-8"),
        ("t.csv.gz", b"not packed", "cannot be read"),
        ("t.jsonl", b'{"a": 1}\n{', "line 2: not JSON"),
        (
            "t.jsonl",
            b'{"a": ' + b"[" * 100_000 + b"\n",
            "line 1: cannot be read: maximum recursion depth",
        ),
        ("t.jsonl", b'{"a": ' + b"1" * 9000 + b"}\n", "line 1: cannot be read: Exceeds the limit"),
        ("t.jsonl", b"[1]\n", "a JSON object is wanted, not list"),
        ("t.jsonl", b'{"a": "\\ud800"}\n', "no valid text"),
        ("t.parquet", b"PAR1", "is no Parquet file"),
        ("t.xlsx", b"", "is no table that can be read"),
    ],
)
def test_broken_tables_are_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        Table().read(tmp_path / name, {})


def test_an_encoding_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("name\ncafé\n".encode("latin-1"))
    assert column(Table(encoding="latin-1").read(tmp_path / "t.csv", {}), "name") == ["café"]
    with pytest.raises(DatasetError, match="unknown encoding: lattin"):
        Table(encoding="lattin").read(tmp_path / "t.csv", {})


def test_manifest_paths_are_ids_and_rows_tell_repeated_ones_apart(tmp_path: Path) -> None:
    small_files(tmp_path, "img/a.png")
    data = Manifest().read(
        csv(tmp_path / "m.csv", "image,label\nimg/b.png,x\nimg/a.png,y\nimg/a.png,z\n,q\n"), {}
    )
    assert column(data, "id") == ["img/a.png#1", "img/a.png#2", "img/b.png", "row-0000003"]
    assert column(data, "media") == ["img/a.png", "img/a.png", "img/b.png", None]
    assert (data.root, data.format) == (str(tmp_path), "manifest")


def test_manifest_ids_are_unique_whatever_files_are_called(tmp_path: Path) -> None:
    small_files(tmp_path, "a.png")
    data = Manifest().read(
        csv(tmp_path / "m.csv", "image\na.png\na.png\na.png#1\n"), {"media": "image"}
    )
    assert column(data, "id") == ["a.png#0", "a.png#1", "a.png#1#2"]


def test_manifest_of_another_folder(tmp_path: Path) -> None:
    small_files(tmp_path, "photos/a.png")
    path = csv(tmp_path / "m.csv", "pic\na.png\n")
    with pytest.raises(DatasetError, match="no column that looks like paths"):
        Manifest().read(path, {})
    with pytest.raises(DatasetError, match="no image of column 'pic' exists"):
        Manifest().read(path, {"media": "pic"})
    assert Manifest(root="photos").read(path, {"media": "pic"}).root == str(tmp_path / "photos")


def test_typed_labels_stay_as_they_are(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"label": pa.array([[1, 2], [3], None]), "x": [1, 2, 3]}), tmp_path / "t.parquet"
    )
    assert column(Table().read(tmp_path / "t.parquet", {}), "label") == [[1, 2], [3], None]
    (tmp_path / "t.jsonl").write_text(
        '{"label": {"box": 1}, "id": 9}\n{"label": {"box": 2}, "id": 10, "more": "x"}\n'
    )
    data = Table().read(tmp_path / "t.jsonl", {})
    assert (column(data, "id"), column(data, "label"), column(data, "more")) == (
        ["10", "9"],
        [{"box": 2}, {"box": 1}],
        ["x", None],
    )


# DataFrames, and which reader suits


def test_dataframe_ids_follow_the_index() -> None:
    frame = pd.DataFrame({"label": pd.Categorical(["a", "b", "a"]), 7: [1, 2, 3]})
    data = DataFrame().read(frame[frame[7] > 1], {})
    assert column(data, "id") == ["row-0000001", "row-0000002"]
    assert (column(data, "label"), column(data, "7")) == (["b", "a"], [2, 3])
    assert column(DataFrame().read(frame.set_index(pd.Index(["z", "y", "x"])), {}), "id") == [
        "x",
        "y",
        "z",
    ]
    assert (
        column(DataFrame().read(frame.set_index(pd.Index([5, 5, 5])), {}), "id")[2] == "row-0000002"
    )


def test_dataframe_with_images(tmp_path: Path) -> None:
    small_files(tmp_path, "a.png")
    data = DataFrame(root=str(tmp_path)).read(pd.DataFrame({"file": ["a.png"], "label": ["x"]}), {})
    assert (column(data, "id"), data.root, data.has_media) == (["a.png"], str(tmp_path), True)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pd.DataFrame({"a": []}), "has no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "stands twice: a"),
        (pd.DataFrame({"a": [object()]}), "column 'a'"),
    ],
)
def test_frames_that_cannot_be_a_dataset(frame: pd.DataFrame, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        DataFrame().read(frame, {})


def test_the_reader_that_suits(tmp_path: Path) -> None:
    small_files(tmp_path, "a.png")
    sources = {
        "image_folder": tmp_path,
        "manifest": csv(tmp_path / "m.csv", "file,x\na.png,1\n"),
        "table": csv(tmp_path / "t.csv", "file,x\nreport,1\n"),
        "dataframe": pd.DataFrame({"a": [1]}),
    }
    readers = [ImageFolder(), Manifest(), Table(), DataFrame()]
    assert {
        name: max(readers, key=lambda r: r.suits(source)).name for name, source in sources.items()
    } == {n: n for n in sources}
    assert [reader.suits(tmp_path / "nothing.csv") for reader in readers] == [0, 0, 0, 0]
    assert [reader.suits(csv(tmp_path / "broken.csv", "")) for reader in readers] == [0, 0, 40, 0]


def test_every_role_has_a_name_of_its_own() -> None:
    table = pa.table({"class": ["a"], "label": ["b"]})
    columns = Columns.of(table, {}, media=False)
    assert (columns.roles, columns.own) == ({"label": "label"}, {"class": "class"})
