"""Columns of the samples as vectors, for data that has no embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import Facts, Samples, StageError, listed

CATEGORIES = 100
"""A text column with more different values than this is no category."""


def unfit(source: str | Sequence[str] | None, samples: Samples) -> str | None:
    """Why columns of the samples cannot be `vectors`, as a sentence, or None.

    Whether a fact is there, the plan knows.
    """
    if source is None or (isinstance(source, str) and "." in source):
        return None
    if isinstance(source, str):
        return _unfit(source, samples) or (
            f"`vectors: {source}` names a column of the samples: columns are given as a list, "
            f"`vectors: [{source}]`"
        )
    found = [why for name in source if (why := _unfit(name, samples))]
    return next(iter(found), None) if source else "`vectors: []` names no column"


def _unfit(name: str, samples: Samples) -> str | None:
    if name not in samples:
        return (
            f"{name!r} is a fact, and a list holds columns of the samples: give one fact that "
            f"holds vectors, or columns"
        )
    column = samples.table.column(name)
    if (
        pa.types.is_nested(column.type)
        or pa.types.is_binary(column.type)
        or pa.types.is_large_binary(column.type)
    ):
        return (
            f"column {name!r} holds {column.type}: give columns of numbers or categories as "
            f"`vectors`, one for each dimension of a list"
        )
    if (
        pa.types.is_string(column.type)
        and (different := pc.count_distinct(column).as_py()) > CATEGORIES
    ):
        return (
            f"column {name!r} holds {different:,} different texts: give columns of numbers or "
            f"categories as `vectors`"
        )
    return None


def vectors_of(
    stage: str, source: str | Sequence[str], samples: Samples, facts: Facts
) -> np.ndarray:
    """float32 [n, d]: a fact that holds vectors, or columns of the samples side by side.

    Raises StageError.
    """
    if isinstance(source, str):
        return facts[source]
    parts = [part for name in source for part in column_parts(stage, name, samples[name])]
    return np.stack(parts, axis=1).astype(np.float32)


def column_parts(stage: str, name: str, values: np.ndarray) -> list[np.ndarray]:
    """A column as one or more of numbers [n].

    Numbers stand around their median in units of their spread, far ones drawn in by asinh; a
    category is a column of 0 and 1 for each of its values; what is empty is 0, with a column that
    says so.
    """
    empty = np.array([value is None or value != value for value in values.tolist()], dtype=bool)  # noqa: PLR0124 (NaN, NaT)
    shown = values[~empty]
    kind = np.array(shown.tolist()) if values.dtype == object else shown
    if kind.dtype.kind in "mM":
        kind = kind.astype(
            "datetime64[us]" if kind.dtype.kind == "M" else "timedelta64[us]"
        ).astype(np.int64)
    if kind.dtype.kind in "biuf":
        parts = [spread_out(kind.astype(np.float64), ~empty)]
    elif kind.dtype.kind in "US":
        names = np.unique(kind)
        if len(names) > CATEGORIES:
            raise StageError(
                stage,
                "relate",
                f"column {name!r} holds {len(names):,} different texts",
                "Give columns of numbers or categories as `vectors`.",
            )
        parts = []
        for text in names:
            here = np.zeros(len(values))
            here[~empty] = kind == text
            parts.append(here)
    else:
        kinds = listed(sorted({type(value).__name__ for value in shown.tolist()}))
        raise StageError(
            stage,
            "relate",
            f"column {name!r} holds {kinds}",
            "Give columns of numbers or categories as `vectors`.",
        )
    return [*parts, empty.astype(np.float64)] if empty.any() else parts


def spread_out(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known numbers [k] as values [n] around 0, 0 where `known` [n] is false.

    Infinite ones are as far as the farthest finite one.
    """
    found = np.zeros(len(known))
    finite = numbers[np.isfinite(numbers)]
    if len(finite):
        numbers = np.clip(numbers, finite.min(), finite.max())
        low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
        unit = (high - low) / 1.35 or float(finite.std()) or 1.0
        found[known] = np.arcsinh((numbers - middle) / unit)
    return found


def equal_rows(vectors: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The id of the first of the rows that equal each row of [n, d]: [n] objects of str.

    Equal rows are copies of one thing.
    """
    rows = np.ascontiguousarray(vectors + np.zeros(1, vectors.dtype))  # minus zero is zero
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, index = np.unique(whole, return_index=True, return_inverse=True)
    return ids[first[index]]
