"""Tables without images: CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dqpipe import Dataset, DatasetError, Reader, Writer, extension, option
from dqpipe_formats.records import Records
from dqpipe_formats.rewriting import write_table
from dqpipe_formats.tabular import absolute, is_table


@extension
class Table(Reader):
    """A table whose rows are the samples: CSV, TSV, JSON lines or Parquet.

    The id is the key column, or `row-0000012`, counted from 0. A column called label, class, target
    or category is the label where `roles` name none; split, group and id likewise.
    """

    name = "table"
    version = 1
    knows = "a table without images, in the same kinds of files"

    encoding: str = option("utf-8", "how the text of a CSV or JSON lines file is encoded")
    delimiter: str = option(
        "",
        "what stands between the cells of a CSV file; found in its first line if empty",
        max_length=1,
    )

    def suits(self, source: object) -> int:
        """Any file with the extension of a table."""
        return 40 if is_table(source) else 0

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset of a table; with the role `media` given, that of a manifest.

        Raises DatasetError.
        """
        if not isinstance(source, (str, os.PathLike)):
            raise DatasetError(
                f"a table is read from the path of a file, not from {type(source).__name__}"
            )
        path = absolute(source)
        return Records.find(
            path, roles, media=bool(roles.get("media")), options=self.options()
        ).dataset()


@extension
class TableWriter(Writer):
    """The same table in its own format, and manifest.parquet."""

    name = "table"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the table. Raises OutputError."""
        write_table(dataset, folder, files)
