"""The tables that flow through a run, each written by one layer and read by the later ones.

    Samples ──measure, relate──▶ Facts ──detect──▶ Findings ──decide──▶ Decisions ──apply──▶ Samples
                                   └────summarise──▶ Figures

Each is a small frozen wrapper around an Arrow table that checks its schema when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from dqpipe.data import notebook_html, splits
from dqpipe.data.wording import many
from dqpipe.errors import SchemaError, listed

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = ("info", "warning", "error")
DECISIONS = ("keep", "drop", "relabel", "review")

_ARROW: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
}
SHOWN, SHOWN_COLUMNS = 8, 16
"""Rows and columns that a notebook is shown."""
VECTOR_TYPES = ("vector[float32]", "vector[float16]", "vector[uint8]")


@dataclass(frozen=True, eq=False)
class Table:
    """A frozen Arrow table whose schema was checked when it was made."""

    table: pa.Table
    columns: ClassVar[Mapping[str, pa.DataType]] = {}
    required: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        names = self.table.column_names
        if len(set(names)) != len(names):
            raise SchemaError(f"{type(self).__name__}: a column stands twice: {listed(names)}")
        missing = [name for name in self.columns if name not in names and name in self.required]
        if missing:
            raise SchemaError(
                f"{type(self).__name__}: column missing: {listed(missing)}; has {listed(names)}"
            )
        for name in self.required:
            if name in names and self.table.column(name).null_count:
                raise SchemaError(f"{type(self).__name__}: column {name} has empty values")
        for name, wanted in self.columns.items():
            if name in names and self.table.schema.field(name).type != wanted:
                have = self.table.schema.field(name).type
                raise SchemaError(
                    f"{type(self).__name__}: column {name} is {have}, wanted {wanted}"
                )

    def __len__(self) -> int:
        return self.table.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    def __getitem__(self, name: str) -> np.ndarray:
        """One column as numpy: [n], or [n, d] for a vector; strings and nulls as objects."""
        if name not in self.table.column_names:
            raise SchemaError(f"no column {name!r}; has {listed(self.table.column_names)}")
        return as_numpy(self.table.column(name))

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.column_names)

    def frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame, its values exact (see `exact_frame`)."""
        return exact_frame(self.table)

    def _repr_html_(self) -> str:
        head = self.table.slice(0, SHOWN).select(self.names[:SHOWN_COLUMNS])
        rows = (
            zip(*(column.to_pylist() for column in head.columns), strict=True)
            if head.num_columns
            else []
        )
        more = many(len(self), "row") + (f", {SHOWN} shown" if len(self) > SHOWN else "")
        columns = many(len(self.names), "column") + (
            f", {SHOWN_COLUMNS} shown" if len(self.names) > SHOWN_COLUMNS else ""
        )
        return notebook_html.titled(
            f"{type(self).__name__}: {more}, {columns}",
            *self._told(),
            notebook_html.table(head.column_names, rows),
        )

    def _told(self) -> list[str]:
        """What a notebook is told above the rows, as HTML."""
        return []

    def take(self, rows: np.ndarray | Sequence[int]) -> Self:
        """The rows at these positions (or of this boolean mask), as the same kind of table."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        return type(self)(self.table.take(pa.array(index)))

    def select(self, names: Sequence[str]) -> Self:
        """Some columns, in this order, as the same kind of table."""
        return type(self)(self.table.select(list(names)))


@dataclass(frozen=True, eq=False)
class Samples(Table):
    """One row per sample, sorted by id.

    Id, content, media, label, split, group, the user's own columns.
    """

    columns: ClassVar[Mapping[str, pa.DataType]] = {
        "id": pa.string(),
        "content": pa.string(),
        "media": pa.string(),
        "split": pa.string(),
        "group": pa.string(),
    }
    required: ClassVar[frozenset[str]] = frozenset({"id"})

    def __post_init__(self) -> None:
        super().__post_init__()
        import pyarrow.compute as pc

        ids = self.table.column("id")
        if len(self) != pc.count_distinct(ids).as_py():
            counts = pc.value_counts(ids)
            twice = [row["values"] for row in counts.to_pylist() if row["counts"] > 1]
            raise SchemaError(f"ids stand more than once: {listed(twice, 5)}")

    @property
    def ids(self) -> np.ndarray:
        """The ids, [n] objects of str."""
        return self["id"]

    def training(self) -> np.ndarray:
        """[n] bool: rows that training sees; without a split column, all of them."""
        return np.asarray(splits.turns(self.table) == splits.TRAINING)


@dataclass(frozen=True, eq=False)
class Facts(Table):
    """Wide, one row per sample: what was seen.

    Columns are `<stage>.<fact>`; a stage's own are bare inside it.
    """


@dataclass(frozen=True, eq=False)
class Findings(Table):
    """Long, one row per claim.

    A null id is a claim about the whole dataset, a null part one about the whole sample.
    """

    columns: ClassVar[Mapping[str, pa.DataType]] = {
        "id": pa.string(),
        "part": pa.string(),
        "code": pa.string(),
        "severity": pa.string(),
        "confidence": pa.float64(),
        "value": pa.float64(),
        "threshold": pa.float64(),
        "match": pa.string(),
        "suggestion": pa.string(),
        "suggestion_confidence": pa.float64(),
        "detail": pa.string(),
    }
    required: ClassVar[frozenset[str]] = frozenset({"code", "severity"})

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = set(self.table.column("severity").to_pylist()) - set(SEVERITIES)
        if wrong:
            raise SchemaError(f"severity {listed(wrong)} is none of {listed(SEVERITIES)}")

    def _told(self) -> list[str]:
        return counts_told(self, "code", "severity")


@dataclass(frozen=True, eq=False)
class Figures(Table):
    """Long, one row per number about a whole set.

    Figure, scope, key, of (raw or curated), value, interval, detail.

    `scope` is "set" (key null), "class", "split" or "group" (key: which one), or "fact" (key: a
    fact's full name).
    """

    columns: ClassVar[Mapping[str, pa.DataType]] = {
        "figure": pa.string(),
        "scope": pa.string(),
        "key": pa.string(),
        "of": pa.string(),
        "value": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "detail": pa.string(),
    }
    required: ClassVar[frozenset[str]] = frozenset({"figure", "scope"})


@dataclass(frozen=True, eq=False)
class Decisions(Table):
    """One row per sample: keep, drop, relabel or review.

    The new label; the codes that led there.
    """

    columns: ClassVar[Mapping[str, pa.DataType]] = {
        "id": pa.string(),
        "decision": pa.string(),
        "new_label": pa.string(),
        "because": pa.list_(pa.string()),
    }
    required: ClassVar[frozenset[str]] = frozenset({"id", "decision"})

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = set(self.table.column("decision").to_pylist()) - set(DECISIONS)
        if wrong:
            raise SchemaError(f"decision {listed(wrong)} is none of {listed(DECISIONS)}")


def counts_told(table: Table, *names: str) -> list[str]:
    """The most frequent values of some columns, as HTML."""
    told = []
    for name in names:
        if name in table and not pa.types.is_nested(table.table.schema.field(name).type):
            counts = sorted(
                table.table.column(name).value_counts().to_pylist(),
                key=lambda row: (-row["counts"], str(row["values"])),
            )
            more = {"…": f"{len(counts) - SHOWN:,} more"} if len(counts) > SHOWN else {}
            told.append(
                f"<p>{name}</p>"
                + notebook_html.facts(
                    {str(row["values"]): row["counts"] for row in counts[:SHOWN]} | more
                )
            )
    return told


def claim(code: str, ids: Iterable[str | None], **columns: Any) -> pd.DataFrame:  # noqa: ANN401 (arrays or scalars)
    """Findings of one code, one row per id.

    The other columns are arrays as long as `ids`, or one value for all.
    """
    import pandas as pd

    unknown = set(columns) - set(Findings.columns)
    if unknown:
        raise SchemaError(
            f"claim({code!r}): unknown column {listed(unknown)}; allowed: "
            f"{listed(Findings.columns)}"
        )
    ids = list(ids)
    data = {
        name: list(values)
        if isinstance(values, (list, tuple, np.ndarray, pd.Series))
        else [values] * len(ids)
        for name, values in columns.items()
    }
    return pd.DataFrame({"id": ids, "code": [code] * len(ids), **data})


def figure(
    name: str,
    value: float,
    *,
    scope: str = "set",
    key: str | None = None,
    **columns: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """One figure of a summary, as a row; `columns` may hold low, high (an interval) and detail."""
    return {"figure": name, "scope": scope, "key": key, "value": value, **columns}


def table_of(columns: Mapping[str, pa.DataType], rows: object) -> pa.Table:
    """Arrow table with exactly these columns from a DataFrame, a list of rows or of DataFrames.

    Absent ones are null.
    """
    import pandas as pd

    if isinstance(rows, (list, tuple)):
        parts = [part for part in rows if isinstance(part, pd.DataFrame)]
        records = [part for part in rows if not isinstance(part, pd.DataFrame)]
        if records:
            parts.append(pd.DataFrame.from_records(records))
        tables = [table_of(columns, part) for part in parts]
        return (
            pa.concat_tables(tables)
            if tables
            else pa.table({n: pa.array([], t) for n, t in columns.items()})
        )
    if not isinstance(rows, pd.DataFrame):
        raise SchemaError(f"a DataFrame or a list of rows is wanted, not {type(rows).__name__}")
    unknown = [name for name in rows.columns if name not in columns]
    if unknown:
        raise SchemaError(f"unknown column {listed(unknown)}; allowed: {listed(columns)}")
    arrays = {
        name: pa.array(_objects(rows[name]), type=kind)
        if name in rows
        else pa.nulls(len(rows), kind)
        for name, kind in columns.items()
    }
    return pa.table(arrays)


def _objects(values: pd.Series) -> list[Any]:
    """Plain Python values with None for every kind of missing one."""
    missing = values.isna().to_numpy()
    return [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]


def fact_array(values: object, kind: str) -> pa.Array:
    """An Arrow array of a fact's declared type.

    NaN and None become null, [n, d] becomes fixed-size lists.
    """
    if kind in VECTOR_TYPES:
        matrix = np.ascontiguousarray(values, dtype=kind[len("vector[") : -1])
        if matrix.ndim != 2:  # noqa: PLR2004 ([n, d])
            raise SchemaError(f"a vector fact is an array [n, d], not of shape {matrix.shape}")
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    if kind not in _ARROW:
        raise SchemaError(
            f"fact type {kind!r} is unknown; allowed: {listed([*_ARROW, *VECTOR_TYPES])}"
        )
    if kind.startswith("float"):
        return pa.array(np.asarray(values, dtype=kind), from_pandas=True)
    plain = values.tolist() if isinstance(values, np.ndarray) else list(values)  # type: ignore[call-overload]
    return pa.array(plain, type=_ARROW[kind])


def arrow_type(kind: str, width: int = 0) -> pa.DataType:
    """The Arrow type of a fact's declared type."""
    if kind in VECTOR_TYPES:
        return pa.list_(pa.from_numpy_dtype(np.dtype(kind[len("vector[") : -1])), width)
    return _ARROW[kind]


def as_numpy(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column as numpy: [n, d] for fixed-size lists, floats with NaN for null, else objects where
    nulls are.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], type=array.type)
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        if array.null_count:
            raise SchemaError(
                "a vector column with empty rows cannot become an array; select the rows that have "
                "one"
            )
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), kind.list_size)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_nested(kind):
        values = np.empty(len(array), dtype=object)
        values[:] = array.to_pylist()
        return values
    if array.null_count and not pa.types.is_floating(kind):
        return np.array(array.to_pylist(), dtype=object)
    return array.to_numpy(zero_copy_only=False)


def exact_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as pandas, nothing rounded.

    Whole numbers and truth values beside nulls as Int64, boolean and the like, not as floats.
    """
    import pandas as pd

    frame = table.to_pandas(ignore_metadata=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and (
            pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
        ):
            kind = (
                pd.BooleanDtype()
                if pa.types.is_boolean(column.type)
                else pd.api.types.pandas_dtype(_nullable(column.type))
            )
            frame[name] = kind.__from_arrow__(column)
    return frame


def _nullable(kind: pa.DataType) -> str:
    """The name of pandas' nullable type for an Arrow type of whole numbers."""
    return str(kind).replace("uint", "UInt").replace("int", "Int")
