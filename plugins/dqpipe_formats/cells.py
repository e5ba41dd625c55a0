"""Columns of a DataFrame as Arrow.

Values exact, paths and ids as text, and what no table can hold refused with what to do.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dqpipe import DatasetError, label_text, listed, path_text
from dqpipe_formats.tabular import is_hollow

if TYPE_CHECKING:
    import pandas as pd

SAVE = "save each as a file, and give a column of the paths"


def array_of(values: pd.Series, name: str) -> pa.Array:
    """A column of a DataFrame.

    Raises DatasetError for values that no table can hold, or that have several types.
    """
    cells = values.tolist() if values.dtype == object else None
    kinds = {} if cells is None else _kinds(cells)
    if refused := _refused(kinds):
        raise DatasetError(f"column {name!r} of the DataFrame holds {refused}")
    if cells is not None and any(issubclass(kind, (os.PathLike, set, frozenset)) for kind in kinds):
        cells = [_plain(cell) for cell in cells]
    elif cells is not None and set(kinds) == {dict} and _are_paths(cells):
        cells = [cell["path"] if isinstance(cell, dict) else None for cell in cells]
    try:
        dense = values.sparse.to_dense() if str(values.dtype).startswith("Sparse") else values
        array = pa.array(dense if cells is None else cells, from_pandas=True)
        if is_hollow(array.type):
            return pa.array([label_text(value) for value in array.to_pylist()], pa.string())
        return _text(values) if isinstance(_inner(array.type), pa.BaseExtensionType) else array
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError) as error:
        raise DatasetError(
            f"column {name!r} of the DataFrame {_why(name, kinds, str(values.dtype), error)}"
        ) from None


def _kinds(cells: list[Any]) -> dict[type, Any]:
    """Each type of the values that are there, with one of them."""
    import pandas as pd

    absent = (type(None), type(pd.NA), type(pd.NaT))
    return {
        type(cell): cell
        for cell in cells
        if not isinstance(cell, absent) and not (isinstance(cell, float) and math.isnan(cell))
    }


def _refused(kinds: dict[type, Any]) -> str | None:
    """What a column holds that dqpipe does not read from a DataFrame, and what to do."""
    for one in [inner for cell in kinds.values() for inner in (cell, *_inside(cell))]:
        kind = type(one)
        module = kind.__module__.partition(".")[0]
        if module == "PIL":
            return f"pictures of Pillow ({kind.__name__}), and pictures are read from files: {SAVE}"
        if module in ("torch", "tensorflow", "jax", "jaxlib") and hasattr(one, "shape"):
            return (
                f"tensors of {module}: give numpy arrays of one dimension (`tensor.numpy()`), or, "
                f"where they are pictures, {SAVE}"
            )
        if isinstance(one, io.IOBase):
            return f"open files ({kind.__name__}), and pictures are read from files by path: {SAVE}"
        if isinstance(one, np.ndarray) and one.ndim != 1:
            return (
                f"arrays of {one.ndim} dimensions; one is what a vector has, and pictures are read "
                f"from files: {SAVE}"
            )
    dates = {kind.__name__ for kind in kinds if kind.__name__ in ("date", "datetime", "Timestamp")}
    if "date" in dates and len(dates) > 1:
        return (
            "dates beside times, which would lose their hours: make them one, as by "
            "`pandas.to_datetime`"
        )
    return None


def _inside(cell: Any) -> list[Any]:  # noqa: ANN401 (any value)
    """What a list or a mapping in a cell holds."""
    return list(cell.values() if isinstance(cell, dict) else cell if isinstance(cell, list) else ())


def _are_paths(cells: list[Any]) -> bool:
    """Whether the mappings among cells are pictures of Hugging Face, each by its path alone."""
    found = [cell for cell in cells if isinstance(cell, dict)]
    return all(
        cell.keys() == {"bytes", "path"}
        and cell["bytes"] is None
        and isinstance(cell["path"], (str, type(None)))
        for cell in found
    )


def _plain(cell: Any) -> Any:  # noqa: ANN401 (any value)
    """A path as text; a set as a list, in one order."""
    if isinstance(cell, (set, frozenset)):
        return sorted(cell, key=lambda value: (str(type(value)), str(value)))
    return path_text(os.fsdecode(cell)) if isinstance(cell, os.PathLike) else cell


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _text(values: pd.Series) -> pa.Array:
    """Periods, intervals and ids as the text that they show."""
    return pa.array(
        [
            None if empty else str(value)
            for value, empty in zip(values.tolist(), values.isna(), strict=True)
        ],
        pa.string(),
    )


def _why(name: str, kinds: Collection[type], dtype: str, error: Exception) -> str:
    """What is wrong with a column, and what to do, in place of what Arrow says."""
    names = sorted({kind.__name__ for kind in kinds}) or [dtype]
    if isinstance(error, UnicodeEncodeError):
        return f"holds {error.object[error.start]!r}, which is no valid text"
    if len(names) > 1 and set(names) <= {"int", "float", "Decimal", "bool"}:
        what = f"holds numbers of several types ({listed(names)}) that no one type holds exactly"
    elif len(names) > 1:
        what = f"holds values of several types ({listed(names, 5)})"
    elif names == ["int"]:
        what = "holds whole numbers beyond 64 bits"
    else:
        what = f"holds {names[0]}, which a table cannot"
    return f"{what}: make it text, `frame[{name!r}] = frame[{name!r}].astype(str)`, or leave it out"
