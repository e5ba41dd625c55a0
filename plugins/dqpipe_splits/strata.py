"""What splits are balanced by: the classes, tags or ranges of values that each sample has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import Samples, classes_of, filled, label_text, labels

MOST_CLASSES = 1000
"""Texts of a column beside the label that have more different values than this are no strata."""


@dataclass(frozen=True, eq=False)
class Strata:
    """Which sample is in which stratum: `rows` and `codes` [m]; `names` by code."""

    rows: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]

    def with_(self, other: Strata) -> Strata:
        """These and others."""
        codes = np.concatenate([self.codes, other.codes + len(self.names)])
        return Strata(np.concatenate([self.rows, other.rows]), codes, self.names + other.names)


NONE = Strata(np.zeros(0, np.int64), np.zeros(0, np.int64), ())


def of_label(samples: Samples, bins: int) -> Strata:
    """Classes and tags as they are, of objects the classes that a sample has, numbers by quantile.

    What has no label together.
    """
    kind = labels.kind_in(samples)
    if kind in ("class", "tags"):
        found = labels.members(samples)
        return _coded(found.rows, found.names)
    if kind == "objects":
        return _of_objects(samples.table.column("label"))
    return of_column("label", samples.table.column("label"), bins) if kind == "number" else NONE


def _of_objects(column: pa.ChunkedArray) -> Strata:
    """The classes of the objects in each sample, however many it has of each."""
    every = [
        sorted(
            {
                one["class"]
                for one in row or ()
                if isinstance(one, dict) and one.get("class") is not None
            }
        )
        for row in column.to_pylist()
    ]
    rows = [row for row, classes in enumerate(every) for _ in classes or (None,)]
    names = [
        str(name) if name is not None else None for classes in every for name in classes or (None,)
    ]
    return _coded(np.array(rows, dtype=np.int64), pa.array(names, pa.string()))


def of_column(name: str, column: pa.ChunkedArray, bins: int) -> Strata:
    """The values of a column: numbers and times by quantile where there are more than `bins`,
    others each; empty ones together.
    """
    column = filled(column)
    if pa.types.is_nested(column.type):
        texts = [label_text(value) for value in column.to_pylist()]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    kind = column.type
    number = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or _is_time(kind)
    )
    if number and pc.count_distinct(column).as_py() > bins:
        return _quantiles(name, column, bins)
    found = classes_of(column)
    if len(found.names) > MOST_CLASSES:
        return NONE
    names = pa.array([f"{name}={value}" for value in found.names], pa.string())
    return _coded(np.arange(len(column)), names.take(pa.array(found.codes, mask=found.codes < 0)))


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind)


def _quantiles(name: str, column: pa.ChunkedArray, bins: int) -> Strata:
    plain = column
    if _is_time(column.type):
        wide = pa.int32() if column.type.bit_width == 32 else pa.int64()  # noqa: PLR2004
        plain = column.cast(wide)
    values = plain.cast(pa.float64(), safe=False).to_numpy()
    there = ~np.isnan(values)
    edges = np.unique(
        np.quantile(values[there], np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    )
    code = np.where(there, np.searchsorted(edges, values, side="left"), len(edges) + 1).astype(
        np.int64
    )
    names = [f"{name} up to {edge:g}" for edge in edges] + [
        f"{name} above {edges[-1]:g}",
        f"no {name}",
    ]
    return Strata(np.arange(len(values)), code, tuple(names))


def _coded(rows: np.ndarray, names: pa.Array) -> Strata:
    coded = names.dictionary_encode()
    order = sorted(range(len(coded.dictionary)), key=coded.dictionary.to_pylist().__getitem__)
    place = np.empty(len(order) + 1, dtype=np.int64)
    place[order] = np.arange(len(order))
    place[-1] = len(order)
    codes = place[pc.fill_null(coded.indices, len(order)).to_numpy(zero_copy_only=False)]
    return Strata(rows, codes, (*(coded.dictionary[at].as_py() for at in order), "without"))
