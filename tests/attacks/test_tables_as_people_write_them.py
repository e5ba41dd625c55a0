"""Tables as spreadsheets, pandas and people write them.

Read as written, written back as read, refused in plain words.
"""

from __future__ import annotations

import datetime as dt
import enum
import io
import json
import pathlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dqpipe_formats.dataframe import DataFrame
from dqpipe_formats.manifest import Manifest
from dqpipe_formats.table import Table
from dqpipe_formats.tabular import find
from dqpipe_validation.duplicate_rows import DuplicateRows
from PIL import Image

import dqpipe
from dqpipe import testing
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import exact_frame
from dqpipe.errors import DatasetError


def cells(dataset: Dataset, name: str) -> list[Any]:
    return dataset.samples.table.column(name).to_pylist()


def read(folder: Path, content: str | bytes, name: str = "t.csv", **roles: str) -> Dataset:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Table().read(folder / name, roles)


@pytest.mark.parametrize(
    ("content", "column", "values"),
    [
        ("zip,l\n02139,a\n,b\n10001,c\n", "zip", ["02139", None, "10001"]),
        (
            "i,l\n185100000000000001,a\n,b\n185100000000000003,c\n",
            "i",
            [185100000000000001, None, 185100000000000003],
        ),
        (
            "i,l\n1851000000000000001,a\n,b\n9223372036854775807,c\n",
            "i",
            [1851000000000000001, None, 2**63 - 1],
        ),
        (
            "i,l\n1851000000000000001,a\n9223372036854775808,c\n",
            "i",
            ["1851000000000000001", "9223372036854775808"],
        ),
        ("iso,l\nNA,a\nDE,b\n", "iso", ["NA", "DE"]),
        ("name,l\nNull,a\nNone,b\n", "name", ["Null", "None"]),
        ("code,l\n1E5,a\n2E3,b\n", "code", ["1E5", "2E3"]),
        ("x,l\n1e5,a\n0.5,b\n", "x", [1e5, 0.5]),
        ("x,l\n1e-05,a\n2,b\n", "x", [1e-5, 2.0]),
        ('n,l\n"1,000",a\n"2,500",b\n', "n", ["1,000", "2,500"]),
        ("d,l\n2020-01-02,a\n03/04/2020,b\n", "d", ["2020-01-02", "03/04/2020"]),
        ("sep=;\na;b\n1,5;x\n", "a", ["1,5"]),
        ('\ufeff"sep=;"\r\na;b\r\n1,5;x\r\n', "a", ["1,5"]),
        ("a,b\rx;y;z;w,2\rp,3\r", "a", ["x;y;z;w", "p"]),
        ("a,b\r\n1,2\n3,4\r\n", "b", [2, 4]),
        ("a,b,\n1,2,\n3,4,\n", "column_3", [None, None]),
        ('name, first;age\n"a, b";3\nc, d;4\n', "name, first", ["a, b", "c, d"]),
        ('a;b\n5" pipe;1\n6" pipe;2\n', "a", ['5" pipe', '6" pipe']),
        ('a,b\n"x\ny",2\n', "a", ["x\ny"]),
        ("a,b\n" + "x" * 300_000 + ",1\n", "b", [1]),
        ("a,b\né,1\n".encode("utf-16"), "a", ["é"]),
    ],
)
def test_a_csv_is_read_as_it_is_written_and_written_as_it_was(
    tmp_path: Path, content: str | bytes, column: str, values: list[Any]
) -> None:
    dataset = read(tmp_path, content)
    assert cells(dataset, column) == values
    file = find(str(tmp_path / "t.csv"))
    (tmp_path / "out").mkdir()
    file.rewrite(str(tmp_path / "out" / "t.csv"), range(len(dataset)), {}, [])
    assert find(str(tmp_path / "out" / "t.csv")).read().equals(file.read())


def test_json_lines_stay_as_they_are_and_nan_is_no_value(tmp_path: Path) -> None:
    text = (
        '{"label": 0, "x": 9007199254740993, "y": 1e5}\n{"label": NaN, "x": null, "y": '
        '"\\u00e9"}\n{"label": 1, "x": 3, "y": ""}\n'
    )
    dataset = read(tmp_path, text, "t.jsonl")
    assert (cells(dataset, "label"), cells(dataset, "x")) == (
        [0, None, 1],
        [9007199254740993, None, 3],
    )
    find(str(tmp_path / "t.jsonl")).rewrite(
        str(tmp_path / "out.jsonl"), [0, 1, 2], {"label": {2: 7}}, []
    )
    assert (tmp_path / "out.jsonl").read_text().splitlines()[:2] == text.splitlines()[:2]


@pytest.mark.parametrize("kind", [".parquet", "frame"])
def test_nothing_is_rounded_on_the_way_to_pandas(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([2**60 + 1, None], "Int64"),
            "b": pd.array([True, None], "boolean"),
            "t": ["02139", None],
            "label": ["a", ""],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = (
        DataFrame().read(frame, {}) if kind == "frame" else Table().read(tmp_path / "t.parquet", {})
    )
    shown = dataset.samples.frame()
    assert [str(kind) for kind in shown[["i", "b"]].dtypes] == ["Int64", "boolean"]
    assert shown["i"][0] == 2**60 + 1
    assert (
        shown["i"].isna().tolist()
        == shown["b"].isna().tolist()
        == shown["t"].isna().tolist()
        == shown["label"].isna().tolist()
        == [False, True]
    )
    assert exact_frame(pa.table({"u": pa.array([1, None], pa.uint8())})).dtypes.astype(
        str
    ).tolist() == ["UInt8"]


@pytest.mark.parametrize("value", [{}, [{}], {"a": {}}])
def test_what_has_no_fields_is_text(tmp_path: Path, value: Any) -> None:
    text = json.dumps(value)
    assert cells(
        DataFrame().read(pd.DataFrame({"x": pd.Series([value], dtype=object)}), {}), "x"
    ) == [text]
    assert cells(read(tmp_path, f'{{"x": {text}}}\n', "t.jsonl"), "x") == [text]


def test_parquet_of_any_text_type_comes_back(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "t": pa.array(["a", None], pa.string_view()),
                "b": pa.array([b"x", b"y"], pa.binary_view()),
            }
        ),
        tmp_path / "t.parquet",
    )
    file = find(str(tmp_path / "t.parquet"))
    file.rewrite(str(tmp_path / "out.parquet"), [1], {}, [])
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [{"t": None, "b": b"y"}]


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("file_name", "a.png"),
        ("Image", "a.png "),
        ("image_path ", " a.png"),
        ("Image-Path", "a.png"),
    ],
)
def test_a_manifest_is_one_whatever_the_spelling_of_its_column(
    tmp_path: Path, header: str, cell: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "m.csv").write_text(f"{header},Label\n{cell},x\n")
    assert Manifest().suits(tmp_path / "m.csv") > Table().suits(tmp_path / "m.csv")
    dataset = Manifest().read(tmp_path / "m.csv", {})
    assert (cells(dataset, "id"), cells(dataset, "media"), cells(dataset, "label")) == (
        ["a.png"],
        ["a.png"],
        ["x"],
    )


def test_a_file_whose_name_has_a_space_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.png ").write_bytes(b"x")
    (tmp_path / "m.csv").write_text("file\na.png \nb.png \n")
    assert cells(Manifest().read(tmp_path / "m.csv", {"media": "file"}), "media") == [
        "a.png ",
        "b.png",
    ]


def test_paths_that_nobody_reads_are_said(tmp_path: Path) -> None:
    said = read(tmp_path, "photo,x\na.png,1\n").layout["doubts"]
    assert said == [
        (
            "column 'photo' looks like paths of pictures, and the table is read without them: give "
            "`roles: {media: 'photo'}` if it names them"
        )
    ]


def test_a_column_named_like_paths_that_holds_some_is_asked_about(tmp_path: Path) -> None:
    dataset = read(tmp_path, "file_name,label\n" + "a.jpg,x\nb.jpg,x\n" * 4 + "c.npy,y\nd.npy,y\n")
    assert "media" not in dataset.samples
    assert dataset.layout["doubts"] == [
        (
            "column 'file_name' looks like paths of pictures, and the table is read without them: "
            "give `roles: {media: 'file_name'}` if it names them"
        )
    ]


def _png(red: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(sink, "PNG")
    return sink.getvalue()


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda: [Image.new("RGB", (4, 4))], "pictures of Pillow"),
        (lambda: [np.zeros((4, 4, 3), np.uint8)], "arrays of 3 dimensions"),
        (lambda: [np.zeros((4, 4), np.uint8)], "arrays of 2 dimensions"),
        (lambda: ["a.png", Image.new("L", (4, 4))], "pictures of Pillow"),
        (lambda: [{"image": Image.new("RGB", (4, 4))}], "pictures of Pillow"),
        (lambda: [[np.zeros((4, 4), np.uint8)]], "arrays of 2 dimensions"),
        (lambda: [io.BytesIO(_png())], "open files"),
        (lambda: [bytearray(_png())], "pictures as bytes"),
        (lambda: [_png()], "pictures as bytes"),
        (lambda: [{"bytes": _png(), "path": "a.png"}], "pictures as bytes"),
        (lambda: [1, "a"], "several types"),
        (lambda: [2**60 + 1, 0.5], "numbers of several types"),
        (lambda: [2**70], "beyond 64 bits"),
        (lambda: [1 + 2j], "complex"),
        (lambda: [Colour.RED], "Colour"),
        (lambda: [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 5)], "would lose their hours"),  # noqa: DTZ001 (as people have them)
    ],
)
def test_what_no_table_holds_is_refused_by_the_name_of_its_column(
    values: Callable[[], list[Any]], said: str
) -> None:
    with pytest.raises(DatasetError, match=said) as refused:
        DataFrame().read(pd.DataFrame({"image": pd.Series(values(), dtype=object)}), {})
    assert "'image'" in str(refused.value)
    assert not any(
        word in str(refused.value)
        for word in ("Arrow", "Python value type", "C long", "numpy type")
    )


@pytest.mark.parametrize("cell", [_png, lambda n: {"bytes": _png(n), "path": None}])
def test_what_is_told_of_pictures_as_bytes_can_be_done(
    tmp_path: Path, cell: Callable[[int], Any]
) -> None:
    frame = pd.DataFrame({"image": [cell(n) for n in range(8)], "label": ["a", "b"] * 4})
    with pytest.raises(DatasetError, match=r"frame\.to_parquet\('pictures\.parquet'\)"):
        dqpipe.check(frame)
    frame.to_parquet(tmp_path / "pictures.parquet")
    made = dqpipe.check(tmp_path / "pictures.parquet", executor="serial", gates=[])
    assert made.pixels is not None
    assert len(made.samples) == 8
    assert not any(code == "files.unreadable" for code in made.findings["code"])


def test_pictures_of_hugging_face_by_path_alone_are_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png())
    frame = pd.DataFrame({"image": [{"bytes": None, "path": "a.png"}, None]})
    assert cells(DataFrame(root=str(tmp_path)).read(frame, {}), "media") == ["a.png", None]


def test_bytes_of_pictures_in_a_file_are_not_read_as_text(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"image": [{"bytes": _png(), "path": None}], "label": ["a"]}),
        tmp_path / "t.parquet",
    )
    with pytest.raises(DatasetError, match="'image' holds pictures as bytes"):
        Table().read(tmp_path / "t.parquet", {})
    assert cells(Table().read(tmp_path / "t.parquet", {"media": ""}), "label") == ["a"]


def test_paths_ids_periods_and_sets_of_a_frame_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    of = {
        "image": [pathlib.Path("a.png"), None],
        "u": [uuid.UUID(int=1), None],
        "tags": [{"b", "a"}, set()],
    }
    of |= {
        "p": pd.period_range("2020", periods=2, freq="M"),
        "c": pd.cut([1, 2], 2),
        "s": pd.arrays.SparseArray([0, 1]),
    }
    dataset = DataFrame(root=str(tmp_path)).read(pd.DataFrame(of), {})
    assert cells(dataset, "media") == ["a.png", None]
    assert cells(dataset, "u") == ["00000000-0000-0000-0000-000000000001", None]
    assert (cells(dataset, "tags"), cells(dataset, "p"), cells(dataset, "s")) == (
        [["a", "b"], []],
        ["2020-01", "2020-02"],
        [0, 1],
    )


def rows(copies: int = 10) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=100),
            "b": rng.integers(0, 5, 100),
            "label": rng.choice(["x", "y"], 100),
        }
    )
    return pd.concat([frame, frame.iloc[:copies]], ignore_index=True)


@pytest.mark.parametrize(
    ("save", "column"),
    [
        (lambda frame, path: frame.to_csv(path), "column_1"),
        (
            lambda frame, path: (
                frame.rename_axis("Unnamed: 0").reset_index().to_csv(path, index=False)
            ),
            "Unnamed: 0",
        ),
        (
            lambda frame, path: pd.concat([frame[:60], frame[60:].reset_index(drop=True)]).to_csv(
                path
            ),
            "column_1",
        ),
        (lambda frame, path: frame.assign(n=range(7, 117)).to_csv(path, index=False), "n"),
        (
            lambda frame, path: frame.assign(CustomerID=np.arange(110) * 7).to_csv(
                path, index=False
            ),
            "CustomerID",
        ),
    ],
)
def test_numbers_of_rows_hide_no_copies(
    tmp_path: Path, save: Callable[[pd.DataFrame, Path], None], column: str
) -> None:
    save(rows(), tmp_path / "t.csv")
    found = testing.check_stage(DuplicateRows(), source=str(tmp_path / "t.csv")).findings.frame()
    assert (found["code"] == "duplicate_rows.exact").sum() == 10
    said = found[found["code"] == "duplicate_rows.left_out"]
    assert said["part"].tolist() == [column]
    assert said["id"].isna().all()


def test_a_number_that_tells_rows_apart_is_a_value(tmp_path: Path) -> None:
    pd.DataFrame({"day": range(200), "temperature": np.arange(200) % 17}).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert len(testing.check_stage(DuplicateRows(), source=str(tmp_path / "t.csv")).findings) == 0
