"""The user's own out-of-fold probabilities: columns of the samples, a .npy or a parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path

import numpy as np

from dqpipe import Samples, StageError, as_numpy, listed, many, plural

ADVICE = (
    "Give one probability for each class and sample, by a model that was not trained on that "
    "sample."
)


def read_probabilities(
    stage: str, source: str | Sequence[str], samples: Samples, classes: Sequence[str]
) -> np.ndarray:
    """float64 [n, c], rows as in `samples` (sorted by id), columns as in `classes` (label texts).

    Raises StageError.
    """
    found = read_columns(stage, source, samples, classes)
    if not np.isfinite(found).all() or (found < 0).any() or (found.sum(axis=1) <= 0).any():
        bad = samples.ids[
            ~np.isfinite(found).all(axis=1) | (found < 0).any(axis=1) | ~(found.sum(axis=1) > 0)
        ]
        raise StageError(
            stage,
            "relate",
            (
                f"{many(len(bad), 'sample')} {plural(len(bad), 'has')} empty or negative "
                f"probabilities: {listed(bad, 5)}"
            ),
            ADVICE,
        )
    return found / found.sum(axis=1, keepdims=True)


def read_columns(
    stage: str, source: str | Sequence[str], samples: Samples, classes: Sequence[str]
) -> np.ndarray:
    """float64 [n, c] of the columns or the file, NaN where empty. Raises StageError."""
    if not isinstance(source, str):
        found = by_class(stage, {name: samples[name] for name in source}, classes)
    elif source.endswith(".npy"):
        found = from_array(stage, source, len(samples), len(classes))
    else:
        found = from_table(stage, source, samples, classes)
    return np.asarray(found, dtype=np.float64)


def by_class(stage: str, columns: dict[str, np.ndarray], classes: Sequence[str]) -> np.ndarray:
    """The columns in the order of the classes.

    By name, by name after a common prefix, or else as they stand.
    """
    names = list(columns)
    prefix = commonprefix(names) if len(names) > 1 else ""  # noqa: RUF071 (names, no paths)
    known = {name: name for name in names} | {name.removeprefix(prefix): name for name in names}
    if all(text in known for text in classes):
        return np.stack([as_floats(columns[known[text]]) for text in classes], axis=1)
    if len(names) == len(classes):
        return np.stack([as_floats(columns[name]) for name in names], axis=1)
    reason = (
        f"{len(names)} columns of probabilities ({listed(names, 5)}) do not fit {len(classes)} "
        f"classes ({listed(classes, 5)})"
    )
    raise StageError(stage, "relate", reason, ADVICE)


def as_floats(values: np.ndarray) -> np.ndarray:
    """float64 with NaN for what is empty."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def from_array(stage: str, path: str, rows: int, columns: int) -> np.ndarray:
    """A .npy file [n, c]: rows in the order of the sorted ids, columns in that of the sorted
    classes.
    """
    try:
        found = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StageError(
            stage, "relate", f"{path} cannot be read as probabilities: {error}", ADVICE
        ) from None
    if found.shape != (rows, columns):
        reason = (
            f"{path} holds an array {list(found.shape)}, wanted [{rows}, {columns}]: a row for "
            f"each id, sorted, a column for each class, sorted"
        )
        raise StageError(stage, "relate", reason, ADVICE)
    return found


def from_table(stage: str, path: str, samples: Samples, classes: Sequence[str]) -> np.ndarray:
    """A parquet file with a column `id` and one column for each class."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(Path(path))
    except (OSError, pa.ArrowException) as error:
        raise StageError(
            stage,
            "relate",
            f"{path} cannot be read as a parquet file of probabilities: {error}",
            ADVICE,
        ) from None
    if "id" not in table.column_names:
        raise StageError(
            stage, "relate", f"{path} has no column 'id'; has {listed(table.column_names)}", ADVICE
        )
    place = {str(name): row for row, name in enumerate(table.column("id").to_pylist())}
    missing = [name for name in samples.ids if name not in place]
    if missing:
        raise StageError(
            stage,
            "relate",
            f"{path} lacks {many(len(missing), 'sample')}: {listed(missing, 5)}",
            ADVICE,
        )
    rows = np.array([place[name] for name in samples.ids], dtype=np.int64)
    columns = {
        name: as_numpy(table.column(name))[rows] for name in table.column_names if name != "id"
    }
    return by_class(stage, columns, classes)
