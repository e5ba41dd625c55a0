"""Tables with a column of image paths: CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dqpipe import Dataset, DatasetError, Reader, Writer, extension, option
from dqpipe_formats.records import Records
from dqpipe_formats.rewriting import write_table
from dqpipe_formats.roles import is_images, named
from dqpipe_formats.tabular import absolute, find, is_table


@extension
class Manifest(Reader):
    """A table with a column of image paths, relative to its own folder or absolute: CSV, TSV, JSON
    lines or Parquet.

    The image column is the one that `roles` name, or one called image, path, file, filename,
    image_path, filepath, image_file, image_name, img or media (in any case, with or without dashes,
    spaces and underscores) whose values look like paths of images. The id is the key column, else
    the path, with `#<row>` where an image stands in several rows.
    """

    name = "manifest"
    version = 1
    knows = (
        "a table with a column of image paths: .csv or .tsv, .jsonl or .ndjson (these also with "
        ".gz behind), .parquet or .pq"
    )

    root: str = option(
        "",
        (
            "folder that relative image paths start from; the table's own if empty, from which it "
            "may be relative"
        ),
    )
    encoding: str = option("utf-8", "how the text of a CSV or JSON lines file is encoded")
    delimiter: str = option(
        "",
        "what stands between the cells of a CSV file; found in its first line if empty",
        max_length=1,
    )

    def suits(self, source: object) -> int:
        """A file of a table whose first rows have a column of image paths."""
        if not is_table(source):
            return 0
        try:
            head = find(absolute(source), self.encoding, self.delimiter).read(50)
        except DatasetError:  # `read` says what is wrong; here it only is no manifest
            return 0
        return (
            60
            if any(is_images(head.column(name)) for name in named("media", head.column_names))
            else 0
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset of a manifest.

        Raises DatasetError, also if no image of it exists: then `root` is wrong.
        """
        if not isinstance(source, (str, os.PathLike)):
            raise DatasetError(
                f"a manifest is read from the path of a file, not from {type(source).__name__}"
            )
        path = absolute(source)
        return Records.find(path, roles, media=True, options=self.options()).dataset()


@extension
class ManifestWriter(Writer):
    """The same table in its own format, with its images beside it and manifest.parquet."""

    name = "manifest"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the table. Raises OutputError."""
        write_table(dataset, folder, files)
