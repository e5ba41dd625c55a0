"""A pandas DataFrame in memory, with or without a column of image paths."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from dqpipe import (
    Dataset,
    DatasetError,
    Reader,
    Samples,
    Writer,
    extension,
    listed,
    option,
    path_text,
)
from dqpipe_formats.cells import array_of
from dqpipe_formats.records import some_exist
from dqpipe_formats.rewriting import write_table
from dqpipe_formats.roles import Columns, row_id

if TYPE_CHECKING:
    import pandas as pd


@extension
class DataFrame(Reader):
    """A pandas DataFrame whose rows are the samples, with or without a column of image paths.

    The id is the key column, else the image's path, else the index (`row-0000012` where it counts).
    Roles are found by name as in a manifest.
    """

    name = "dataframe"
    version = 1
    knows = "a pandas DataFrame, from Python"

    root: str = option(
        "",
        (
            "folder that relative image paths start from, and below which they lie; if empty the "
            "current one, and they may lie anywhere"
        ),
    )

    def suits(self, source: object) -> int:
        """Any pandas DataFrame."""
        return 100 if _is_frame(source) else 0

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset of a DataFrame.

        Raises DatasetError: no row, a column that stands twice or mixes types.
        """
        if not _is_frame(source):
            raise DatasetError(f"a pandas DataFrame is wanted, not {type(source).__name__}")
        if not len(source):
            raise DatasetError("the DataFrame has no rows")
        table = _arrow(source)
        columns = Columns.of(table, roles, media=True)
        ids = None if {"id", "media"} & set(columns.roles) else _index_ids(source.index)
        root = str(Path(self.root).expanduser().absolute())
        samples = Samples(columns.samples(table, text=False, root=root, ids=ids).sort_by("id"))
        types = {column: str(table.schema.field(column).type) for column in table.column_names}
        layout = {
            "roles": dict(columns.roles),
            "own": dict(columns.own),
            "types": types,
            "doubts": columns.doubts(table, roles),
        }
        if "media" not in samples:
            return Dataset(samples, "", self.name, layout)
        dataset = Dataset(samples, path_text(root), self.name, layout, outside=not self.root)
        some_exist(dataset, columns.roles["media"])
        return dataset


def _is_frame(source: object) -> bool:
    pandas = sys.modules.get("pandas")  # whoever holds a DataFrame has imported it
    return pandas is not None and isinstance(source, pandas.DataFrame)


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """The columns of a frame, named by text."""
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"a column of the DataFrame stands twice: {listed(twice, 5)}")
    return pa.Table.from_arrays(
        [array_of(frame.iloc[:, number], name) for number, name in enumerate(names)], names=names
    )


def _index_ids(index: pd.Index) -> list[str]:
    """The index as ids where it can be, else the rows."""
    values = index.tolist()
    if all(isinstance(value, int) and value >= 0 for value in values):
        ids = [row_id(value) for value in values]
    else:
        ids = [value if isinstance(value, str) else "" for value in values]
    unique = all(ids) and len(set(ids)) == len(ids)
    return ids if unique else [row_id(row) for row in range(len(values))]


@extension
class DataFrameWriter(Writer):
    """The DataFrame as data.parquet, with its images beside it and manifest.parquet."""

    name = "dataframe"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the table. Raises OutputError."""
        write_table(dataset, folder, files)
