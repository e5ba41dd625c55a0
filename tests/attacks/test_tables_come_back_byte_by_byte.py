"""CSV and JSON lines: what does not change is the same text again, and a changed cell changes
alone.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dqpipe_formats.tabular import find
from hypothesis import given, settings
from hypothesis import strategies as st

CSV = {
    "quotes": b'"a","b"\n"1","x, y"\n2,"z ""q"""\n3,"line\nbreak"\n',
    "line ends": b"a,b\r\n1,x\r\n2,y\r\n3,z",
    "old line ends": b"a,b\r1,x\r2,y\r3,z\r",
    "mixed line ends": b"a,b\n1,x\r\n2,y\n3,z\r\n",
    "blank lines": b"a,b\n\n1,x\n2,y\n\n3,z\n\n\n",
    "short rows": b"a,b\n1\n2,y\n3\n",
    "spaces": b" a , b \n 1 , x \n2, y\n3,z \n",
    "mark": b"\xef\xbb\xbfa,b\n1,x\n2,y\n3,z\n",
    "semicolons": b"a;b\n1;x,x\n2;y\n3;z\n",
    "spreadsheet": b"sep=;\r\na;b\r\n1;x\r\n2;y\r\n3;z\r\n",
    "numbers": b"a,b\n1.0,1e-7\n-0.0,1E5\n007,+1\n",
    "quotes within": b'a,b\n1,5" pipe\n2,6" pipe\n3,z\n',
    "odd ends": "a,b\n1,x\x85\u2028y\n2,\x0by\n3,z\n".encode(),
    "one column": b'a\n"1"\n2\n""\n3\n',
    "utf-16": "a,b\n1,ü\n2,y\n3,z\n".encode("utf-16"),
}
JSONL = {
    "line ends": b'{"a":1, "b" : 1.0}\r\n{"a": 1e-7}\r\n{"b": "\\u00e4"}',
    "blank lines": b'\n{"a":1}\n  \n {"a": 2} \n{"a":-0.0}\n\n',
    "mark": b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n{"a": 3}\n',
}


def rewritten(path: Path, rows: list[int], changes: Any = None, extra: Any = ()) -> bytes:
    """The file with these rows and changes."""
    target = path.with_name("out-" + path.name)
    find(str(path)).rewrite(str(target), rows, changes or {}, extra)
    return target.read_bytes()


@pytest.mark.parametrize("which", CSV)
def test_a_csv_file_of_which_all_stays_is_the_same(tmp_path: Path, which: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(CSV[which])
    count = find(str(path)).read().num_rows
    assert rewritten(path, list(range(count))) == CSV[which]


@pytest.mark.parametrize("which", JSONL)
def test_json_lines_of_which_all_stays_are_the_same(tmp_path: Path, which: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(JSONL[which])
    assert rewritten(path, [0, 1, 2]) == JSONL[which]


def test_what_is_packed_is_the_same_inside(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(CSV["quotes"]))
    assert gzip.decompress(rewritten(path, [0, 1, 2])) == CSV["quotes"]


def test_a_dropped_row_and_a_changed_cell_change_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'"a","b",c\r\n"1","x, y",\r\n2,"z ""q""","w"\r\n3,,"v"')
    assert rewritten(path, [0, 2]) == b'"a","b",c\r\n"1","x, y",\r\n3,,"v"'
    assert rewritten(path, [1, 2], {"b": {1: 'n"w'}, "c": {2: None}}) == (
        b'"a","b",c\r\n2,"n""w","w"\r\n3,,""'
    )
    more = [{"a": "4", "b": "x,y", "split": "test"}]
    assert rewritten(path, [0, 2], {"split": {0: "train", 2: "a,b"}}, more) == (
        b'"a","b",c,split\r\n"1","x, y",,train\r\n3,,"v","a,b"\r\n4,"x,y",,test\r\n'
    )


cells = st.text(st.sampled_from(list("ab01 ,;\"'\n\r\té=-.")), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=5),
    st.booleans(),
    st.data(),
)
def test_any_table_comes_back_but_for_what_changes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    every: bool,
    data: st.DataObject,
) -> None:
    def quoted(cell: str) -> str:
        needs = every or any(sign in cell for sign in ',;"\n\r\t') or cell != cell.strip()
        return '"' + cell.replace('"', '""') + '"' if needs else cell

    text = "".join(",".join(map(quoted, row)) + "\n" for row in [["a", "b"], *rows])
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(text.encode())
    file = find(str(path), "utf-8", ",")
    before = file.read()
    assert before.num_rows <= len(rows)
    keep = sorted(data.draw(st.sets(st.integers(0, max(before.num_rows - 1, 0)))))
    keep = [row for row in keep if row < before.num_rows]
    target = path.with_name("out.csv")
    file.rewrite(str(target), list(range(before.num_rows)), {}, ())
    assert target.read_bytes() == path.read_bytes()
    file.rewrite(str(target), keep, {}, ())
    if keep:
        after = find(str(target), "utf-8", ",").read()
        assert after.equals(before.take(pa.array(keep, pa.int64())))
