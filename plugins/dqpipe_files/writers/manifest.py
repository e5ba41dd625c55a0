"""A table with a column of image paths again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dqpipe.data.tables import Dataset
from dqpipe.plugin.stage import Writer, extension
from dqpipe_files.rewriting import write_table


@extension
class Manifest(Writer):
    """The same table in its own format, with its images beside it and manifest.parquet."""

    name = "manifest"
    version = 1

    def write(self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]) -> None:
        """Write the table. Raises OutputError."""
        write_table(dataset, folder, files)
