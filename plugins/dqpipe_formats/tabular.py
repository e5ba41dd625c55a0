"""Files that hold a table (CSV, TSV, JSON lines, Parquet).

Read with types, and written again cell by cell as they were.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import itertools
import json
import math
import os
import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from dqpipe import DatasetError, is_url, label_text, listed, path_text, place, strict_json
from dqpipe_formats.csv_rows import CsvRows

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
DELIMITERS = (",", ";", "\t", "|")
PROBED = 50
"""Rows of a CSV file in which its delimiter is looked for."""
SEP = re.compile(r'\ufeff?"?sep=(.)"?(?:\r\n|\r|\n)', re.IGNORECASE)
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark → encoding; the longer ones first."""
Cells = Mapping[str, Mapping[int, Any]]
"""New values: column → row → value."""


def kind_of(path: str) -> str:
    """The kind of table in a file, by its extension; "" if it is none.

    CSV and JSON lines may end in .gz.
    """
    name = path.lower().removesuffix(".gz")
    kind = KINDS.get(posixpath.splitext(name)[1], "")
    return "" if kind == "parquet" and path.lower().endswith(".gz") else kind


def is_table(source: object) -> bool:
    """Whether this is the path of a file with the extension of a table, or a URL with one."""
    if not isinstance(source, (str, os.PathLike)) or not kind_of(str(source)):
        return False
    return is_url(source) or Path(source).expanduser().is_file()


def absolute(source: Any) -> str:  # noqa: ANN401 (a str or os.PathLike)
    """An absolute path, or a URL as it is."""
    return str(source) if is_url(source) else str(Path(source).expanduser().absolute())


def local(path: str) -> str:
    """A path on this machine: itself, or that of a copy of what a URL holds now. Raises OSError."""
    if not is_url(path):
        return path
    folder, _, name = path.rpartition("/")
    return str(place(folder).fetch(name))


def hash_of(path: str) -> str:
    """The hash of a file's bytes, 32 hex digits. Raises DatasetError."""
    with _reading(path), Path(local(path)).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def open_file(
    path: str, mode: str, encoding: str | None = None, newline: str | None = None
) -> IO[Any]:
    """Open a file that is packed if its name ends in .gz; what is packed does not hold the time."""
    path = local(path)
    if not path.lower().endswith(".gz"):
        return Path(path).open(mode, encoding=encoding, newline=newline)
    if "w" not in mode:
        return cast(
            "IO[Any]",
            gzip.open(
                path, mode if "b" in mode else mode + "t", encoding=encoding, newline=newline
            ),
        )
    packed = gzip.GzipFile(filename=path, mode="wb", mtime=0)
    return io.TextIOWrapper(packed, encoding=encoding, newline=newline)


@contextmanager
def _reading(path: str, encoding: str = "") -> Iterator[None]:
    """Whatever the system, the packing, the encoding or Arrow says against a file, as a
    DatasetError that names it.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path_text(path)} is not {encoding} ({error.reason} at byte {error.start}): set the "
            f"reader's `encoding`, often cp1252"
        ) from None
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{path_text(path)} holds {error.object[error.start]!r}, which is no valid text"
        ) from None
    except LookupError as error:
        raise DatasetError(f"{path_text(path)}: {error}: set `encoding`") from None
    except pa.ArrowException as error:
        raise DatasetError(
            f"{path_text(path)} is no Parquet file that can be read, or it is cut short: {error}"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path_text(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


@dataclass(frozen=True)
class CsvFile:
    """A CSV or TSV file: its cells are text, kept as they are.

    Only an empty cell is an empty value.
    """

    path: str
    encoding: str = "utf-8"
    delimiter: str = ","
    newline: str = "\n"
    preamble: str = ""
    """A first line `sep=;`, by which spreadsheets are told the delimiter; it is written again."""
    text: bool = True

    @classmethod
    def find(cls, path: str, encoding: str, delimiter: str) -> Self:
        """How this file is written: a byte order mark, its line ends, and its delimiter, found in
        its first rows.
        """
        with _reading(path, encoding), open_file(path, "rb") as file:
            head = file.read(65536)
            encoding = marked(head, encoding)
            text = head.decode(encoding, "replace")
        preamble = found[0] if (found := SEP.match(text)) else ""
        rows = (
            list(itertools.islice(_rows(text[len(preamble) :]), PROBED))
            or text[len(preamble) :].splitlines(keepends=True)[:PROBED]
        )
        newline = next(
            (end for end in ("\r\n", "\n", "\r") if (rows[0] if rows else "").endswith(end)), "\n"
        )
        if not delimiter and found:
            delimiter = found[1]
        if not delimiter:
            delimiter = (
                "\t" if path.lower().removesuffix(".gz").endswith(".tsv") else _delimiter(rows)
            )
        return cls(path, encoding, delimiter, newline, preamble)

    def _cells(self, rows: int | None) -> pd.DataFrame:
        import pandas as pd

        options: dict[str, Any] = {
            "header": None,
            "dtype": str,
            "na_filter": False,
            "nrows": rows,
            "sep": self.delimiter,
        }
        try:
            with (
                _reading(self.path, self.encoding),
                open_file(self.path, "r", self.encoding, "") as file,
            ):
                file.read(len(self.preamble))
                return pd.read_csv(file, **options)
        except pd.errors.EmptyDataError:
            raise DatasetError(f"{path_text(self.path)} is empty") from None
        except pd.errors.ParserError as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise DatasetError(
                f"{path_text(self.path)} is no table delimited by {self.delimiter!r}: {reason}"
            ) from None

    def read(self, rows: int | None = None) -> pa.Table:
        """All the rows, or the first ones, as text with nulls for empty cells.

        A column without a name is `column_<n>`.
        """
        cells = self._cells(None if rows is None else rows + 1)
        names = [name or f"column_{number}" for number, name in enumerate(cells.iloc[0], 1)]
        body = cells.iloc[1:]
        arrays = [
            pa.array(body[i].where(body[i] != "", None), pa.string(), from_pandas=True)
            for i in range(len(names))
        ]
        return _named(self.path, names, arrays)

    def rewrite(
        self, target: str, rows: Sequence[int], changes: Cells, extra: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write these rows in the file's own order and spelling, with the changed cells, then the
        extra rows.

        What does not change is the same text again, quotes and line ends included, unless its rows
        cannot be told apart without parsing them as pandas does.
        """
        cells = self._cells(None)
        names = [name or f"column_{number}" for number, name in enumerate(cells.iloc[0], 1)]
        width = len(names)
        names += [new for new in changes if new not in names]
        more = [[cell_text(row.get(name)) for name in names] for row in extra]
        if self._as_written(target, cells, [0, *(row + 1 for row in rows)], names, changes, more):
            return
        for name in names[width:]:
            cells[cells.shape[1]] = [name, *[""] * (len(cells) - 1)]
        for name, column in changes.items():
            where = [row + 1 for row in column]
            cells.iloc[where, names.index(name)] = [cell_text(value) for value in column.values()]
        self._rendered(target, cells.iloc[[0, *(row + 1 for row in rows)]], more)

    def _as_written(
        self,
        target: str,
        cells: pd.DataFrame,
        rows: Sequence[int],
        names: Sequence[str],
        changes: Cells,
        more: Sequence[list[str]],
    ) -> bool:
        """Write the rows as they are written; False where that cannot be done."""
        with open_file(self.path, "r", self.encoding, "") as file:
            text = file.read()[len(self.preamble) :]
        width = cells.shape[1]
        known = CsvRows.of(
            text, self.delimiter, self.newline, cells.itertuples(index=False, name=None), width
        )
        if known is None:
            return False
        new: dict[int, dict[int, str]] = {}
        for name, column in changes.items():
            for row, value in column.items():
                new.setdefault(row + 1, {})[names.index(name)] = cell_text(value)
        if len(names) > width:
            for row in rows:
                added = new.setdefault(row, {})
                for at in range(width, len(names)):
                    added.setdefault(at, names[at] if row == 0 else "")
        with open_file(target, "w", self.encoding, "") as file:
            file.write(self.preamble)
            file.writelines(known.written(rows, new, more))
        told = [self.find(path, self.encoding, "").delimiter for path in (self.path, target)]
        return told[0] != self.delimiter or told[1] == self.delimiter

    def _rendered(self, target: str, kept: pd.DataFrame, more: Sequence[list[str]]) -> None:
        """Write cells with quotes where they need them, or with quotes around all."""
        import pandas as pd

        kept = pd.concat([kept, pd.DataFrame(more, columns=kept.columns, dtype=str)])
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            with open_file(target, "w", self.encoding, "") as file:
                file.write(self.preamble)
                kept.to_csv(
                    file,
                    header=False,
                    index=False,
                    sep=self.delimiter,
                    lineterminator=self.newline,
                    quoting=quoting,
                )
            if (
                self.find(target, self.encoding, "").delimiter == self.delimiter
            ):  # else cells that lost their quotes hide it
                break


@dataclass(frozen=True)
class JsonlFile:
    """A file with one JSON object in each line."""

    path: str
    encoding: str = "utf-8"
    """What it is written in; it is read as `utf-8-sig` where this is UTF-8."""
    text: bool = False

    @classmethod
    def find(cls, path: str, encoding: str) -> Self:
        """How this file is written: in UTF-8, with a byte order mark or without, unless its mark or
        the user says otherwise.
        """
        with _reading(path), open_file(path, "rb") as file:
            return cls(path, marked(file.read(4), encoding))

    def _lines(self, rows: int | None) -> tuple[list[tuple[str, dict[str, Any]]], str]:
        """Each line that is not blank, with its end and the blank ones before it, and what it says;
        and the blank lines at the end.
        """
        lines: list[tuple[str, dict[str, Any]]] = []
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        blank = ""
        with _reading(self.path, encoding), open_file(self.path, "r", encoding, "") as file:
            for number, line in enumerate(file, 1):
                if rows is not None and len(lines) >= rows:
                    break
                blank += line
                if line.strip():
                    lines.append((blank, _record(line, path_text(self.path), number)))
                    blank = ""
        return lines, blank

    def read(self, rows: int | None = None) -> pa.Table:
        """All the rows, or the first ones; a key that a line does not have is null."""
        records = [record for _, record in self._lines(rows)[0]]
        names = list(dict.fromkeys(name for record in records for name in record))
        with _reading(self.path, self.encoding):
            return _named(
                self.path,
                names,
                [_array([record.get(name) for record in records]) for name in names],
            )

    def rewrite(
        self, target: str, rows: Sequence[int], changes: Cells, extra: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write these lines in the file's own order, as they are unless a value changed, then the
        extra rows.
        """
        lines, blank = self._lines(None)
        changed = {row for column in changes.values() for row in column}
        end = next(
            (end for end in ("\r\n", "\n", "\r") if lines and lines[0][0].endswith(end)), "\n"
        )
        for name, column in changes.items():
            for row, value in column.items():
                lines[row][1][name] = value
        more = [{name: value for name, value in row.items() if value is not None} for row in extra]
        with open_file(target, "w", self.encoding, "") as file:
            text = end
            for row in rows:
                file.write("" if text.endswith(("\n", "\r")) else end)
                text = lines[row][0]
                if row in changed:
                    lead, body = re.fullmatch(r"(\s*)(.*?)(?=\s*$)", text, re.DOTALL).groups()  # type: ignore[union-attr]
                    text = lead + _json(lines[row][1]) + text[len(lead + body) :]
                file.write(text)
            file.write(end if more and not text.endswith(("\n", "\r")) else "")
            file.writelines(_json(row) + end for row in more)
            file.write(blank)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file."""

    path: str
    text: bool = False

    def read(self, rows: int | None = None) -> pa.Table:
        """All the rows, or the first ones."""
        with _reading(self.path), pq.ParquetFile(local(self.path)) as file:
            if rows is None:
                table = file.read()
            else:
                first = next(file.iter_batches(batch_size=max(rows, 1)), None)
                table = pa.Table.from_batches([] if first is None else [first], file.schema_arrow)
        columns = [_without_views(column) for column in table.columns]
        return _named(self.path, table.column_names, columns).replace_schema_metadata(
            table.schema.metadata
        )

    def rewrite(
        self, target: str, rows: Sequence[int], changes: Cells, extra: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write these rows in the file's own order and types, with the changed values, then the
        extra rows.

        A column whose type cannot hold a new value (a key of numbers, for a new sample) becomes
        text.
        """
        table = self.read()
        for name in (new for new in changes if new not in table.column_names):
            table = table.append_column(
                name, pa.nulls(table.num_rows, pa.array(list(changes[name].values())).type)
            )
        columns = {}
        for name in table.column_names:
            kind = table.schema.field(name).type
            column = table.column(name)
            if name in changes:
                values = column.to_pylist()
                for row, value in changes[name].items():
                    values[row] = value
                column = typed(values, kind)
            kept = column.take(pa.array(rows, pa.int64()))
            columns[name] = joined(kept, [row.get(name) for row in extra])
        pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), target)


def _without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text and bytes in the types that Arrow can take rows of."""
    kinds = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return column.cast(kinds[column.type]) if column.type in kinds else column


TableFile = CsvFile | JsonlFile | ParquetFile


def find(path: str, encoding: str = "utf-8", delimiter: str = "") -> TableFile:
    """The table in a file. Raises DatasetError if there is none, or it cannot be opened."""
    kind = kind_of(path)
    if not kind:
        raise DatasetError(
            f"{path_text(path)} is no table that can be read: its extension should be one of "
            f"{listed(KINDS)}"
        )
    if kind == "csv":
        return CsvFile.find(path, encoding, delimiter)
    return JsonlFile.find(path, encoding) if kind == "jsonl" else ParquetFile(path)


def marked(head: bytes, encoding: str) -> str:
    """The encoding that a file's byte order mark speaks of, where the user names no other than
    UTF-8.
    """
    if encoding.lower().replace("-", "") != "utf8":
        return encoding
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), encoding)


def _rows(text: str) -> Iterator[str]:
    """The rows of a CSV text with their ends, cut where no quotation is open.

    Quoted cells as `"…"`.
    """
    row, quoted = [], False
    for part in re.findall(r'"|\r\n|\r|\n|[^"\r\n]+', text):
        if part == '"':
            quoted = not quoted
        row.append("" if quoted and part != '"' else part)
        if not quoted and part in ("\r\n", "\r", "\n"):
            yield "".join(row)
            row = []
    if row and not quoted:
        yield "".join(row)


def _delimiter(rows: Sequence[str]) -> str:
    """The delimiter of these rows.

    The one that most of them have as often as the first one, else the most frequent in the first.
    """
    first = rows[0] if rows else ""

    def fit(delimiter: str) -> tuple[int, int]:
        count = first.count(delimiter)
        return (sum(row.count(delimiter) == count for row in rows) if count else 0, count)

    return max(DELIMITERS, key=fit)


def cell_text(value: object) -> str:
    """A value as the text of a CSV cell.

    Nothing is escaped against spreadsheets, so that data come back as they were.
    """
    return (
        label_text(value) or ""
        if value is None or isinstance(value, (str, bool, int, float, list, dict))
        else str(value)
    )


def typed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values in this type, or as text where it cannot hold them all."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array(
            [None if value is None else cell_text(value) for value in values], pa.string()
        )


def joined(column: pa.ChunkedArray | pa.Array, more: Sequence[Any]) -> pa.ChunkedArray:
    """A column with more values, as text if its type cannot hold them."""
    if not more:
        return column
    tail = typed(more, column.type)
    if tail.type == column.type:
        return pa.chunked_array([*getattr(column, "chunks", [column]), tail])
    return pa.chunked_array(
        [
            pa.array(
                [None if value is None else cell_text(value) for value in column.to_pylist()],
                pa.string(),
            ),
            tail,
        ]
    )


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)


def _record(line: str, path: str, number: int) -> dict[str, Any]:
    try:
        record = strict_json.parsed(line)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {number}: not JSON: {error.msg}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits, brackets without end
        raise DatasetError(f"{path}, line {number}: cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise DatasetError(
            f"{path}, line {number}: a JSON object is wanted, not {type(record).__name__}"
        )
    return record


def _array(values: list[Any]) -> pa.Array:
    """Values of JSON as one Arrow type, as text if they have several.

    NaN, which stands for no value, is null.
    """
    values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([label_text(value) for value in values], pa.string())
    return (
        pa.array([label_text(value) for value in values], pa.string())
        if is_hollow(array.type)
        else array
    )


def is_hollow(kind: pa.DataType) -> bool:
    """Whether a type has a struct without fields in it (of `{}`), which Parquet cannot hold."""
    if pa.types.is_struct(kind) and not kind.num_fields:
        return True
    return any(is_hollow(kind.field(number).type) for number in range(kind.num_fields))


def _named(path: str, names: Sequence[str], arrays: Sequence[Any]) -> pa.Table:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DatasetError(f"{path_text(path)}: a column stands twice: {listed(twice, 5)}")
    return pa.Table.from_arrays(list(arrays), names=list(names))
