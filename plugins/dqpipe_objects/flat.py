"""All objects of a dataset in flat arrays, without a Python object for each.

label column (a list of objects for each picture) ──▶ Flat: m objects, with the row of each
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of numbers of different lengths: list k is `numbers[starts[k] : starts[k + 1]]`."""

    numbers: np.ndarray
    starts: np.ndarray
    of: np.ndarray
    """The object of each list."""

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many numbers each list has."""
        return np.diff(self.starts)

    @cached_property
    def list_of(self) -> np.ndarray:
        """The list of each number."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


@dataclass(frozen=True, eq=False)
class Flat:
    """m objects: the row of the picture [m], id [m], class [m] (None for none), box [m, 4] (x, y,
    width, height in pixels; NaN where there is none), whether there is one [m], crowd [m], polygons
    and keypoints.
    """

    row: np.ndarray
    id: np.ndarray
    name: np.ndarray
    box: np.ndarray
    boxed: np.ndarray
    crowd: np.ndarray
    polygons: Ragged
    keypoints: Ragged

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Flat:
        """The objects of a label column of the kind `objects`."""
        lists = column.combine_chunks()
        if isinstance(lists, pa.ChunkedArray):
            lists = lists.chunk(0) if lists.num_chunks else pa.array([], type=column.type)
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        flat = pc.list_flatten(lists)
        row = np.repeat(np.arange(len(lists)), lengths.astype(np.int64))
        fields = {field.name for field in flat.type}

        def column_of(name: str) -> pa.Array | None:
            return pc.struct_field(flat, [name]) if name in fields else None

        crowd = column_of("crowd")
        box, boxed = _boxes(column_of("box"), len(row))
        return cls(
            row,
            _texts(column_of("id"), len(row)),
            _texts(column_of("class"), len(row)),
            box,
            boxed,
            np.zeros(len(row), dtype=bool)
            if crowd is None
            else pc.fill_null(crowd, False).to_numpy(zero_copy_only=False).astype(bool),
            _nested(column_of("polygons")),
            _ragged(column_of("keypoints")),
        )

    @cached_property
    def kind(self) -> np.ndarray:
        """The number of each object's class [m], -1 for none."""
        codes = pa.array(self.name, pa.string()).dictionary_encode().indices
        return pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _texts(column: pa.Array | None, n: int) -> np.ndarray:
    if column is None:
        return np.full(n, None, dtype=object)
    return column.cast(pa.string()).to_numpy(zero_copy_only=False)


def _boxes(column: pa.Array | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The boxes [n, 4], NaN but for lists of four, and which objects have a list at all [n]."""
    boxes = np.full((n, 4), np.nan)
    if column is None:
        return boxes, np.zeros(n, dtype=bool)
    four = pc.fill_null(pc.equal(pc.list_value_length(column), 4), False)
    there = four.to_numpy(zero_copy_only=False).astype(bool)
    values = pc.list_flatten(column.filter(four)).to_numpy(zero_copy_only=False)
    boxes[there] = np.asarray(values, np.float64).reshape(-1, 4)
    return boxes, column.is_valid().to_numpy(zero_copy_only=False).astype(bool)


def _ragged(column: pa.Array | None, of: np.ndarray | None = None) -> Ragged:
    """The lists of numbers of a column; `of` says whose each is, else its own row."""
    if column is None:
        return Ragged(np.zeros(0), np.zeros(1, np.int64), np.zeros(0, np.int64))
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    starts = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    owner = np.arange(len(lengths)) if of is None else of
    return Ragged(np.asarray(values, np.float64), starts, owner)


def _nested(column: pa.Array | None) -> Ragged:
    if column is None:
        return _ragged(None)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return _ragged(pc.list_flatten(column), np.repeat(np.arange(len(lengths)), lengths.astype(int)))
