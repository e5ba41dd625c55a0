"""A table in a file as a dataset, and the same table written again with what curation changed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqpipe import (
    ChangedError,
    Dataset,
    DatasetError,
    Samples,
    is_url,
    label_text,
    listed,
    media_path,
    path_text,
    url_below,
)
from dqpipe_formats.roles import RESERVED, Columns, exists
from dqpipe_formats.tabular import TableFile, find, hash_of

PROBES = 1000
"""So many images of a manifest are looked for at most, before it is said that none exists."""


@dataclass(frozen=True)
class Records:
    """The rows of a table in a file, and what its columns are for.

    `options` are those of its reader.
    """

    file: TableFile
    table: pa.Table
    columns: Columns
    options: Mapping[str, str]
    content: str = ""
    """The hash of the file's bytes before they were read."""
    doubts: Sequence[str] = ()

    @classmethod
    def find(
        cls, path: str, roles: Mapping[str, str | None], *, media: bool, options: Mapping[str, str]
    ) -> Records:
        """The rows of a file.

        Raises DatasetError: not readable, no row, a role or a column that does not exist.
        """
        file = find(path, options["encoding"], options["delimiter"])
        content = hash_of(path)
        table = file.read()
        if not table.num_rows:
            raise DatasetError(f"{path_text(path)} has no rows")
        columns = Columns.of(table, roles, media=media)
        if media and "media" not in columns.roles:
            have = listed(table.column_names)
            raise DatasetError(
                f"{path_text(path)} has no column that looks like paths of images: name it in "
                f"`roles: media`; has {have}"
            )
        return cls(file, table, columns, options, content, columns.doubts(table, roles))

    @classmethod
    def of(cls, layout: Mapping[str, Any]) -> Records:
        """The rows that a dataset was read from, read again.

        Raises ChangedError if the file has other bytes now.
        """
        file = find(
            media_path("", layout["source"]),
            layout["options"]["encoding"],
            layout["options"]["delimiter"],
        )
        records = cls(
            file,
            file.read(),
            Columns(layout["roles"], layout["own"]),
            layout["options"],
            layout["content"],
        )
        records.refuse_changed()
        return records

    def refuse_changed(self) -> None:
        """Raise ChangedError if the file has other bytes than when the dataset was read."""
        if hash_of(self.file.path) != self.content:
            raise ChangedError([path_text(self.file.path)])

    @property
    def root(self) -> str:
        """The folder that relative paths of images start from."""
        if is_url(self.options.get("root")):
            return self.options["root"].rstrip("/")
        if is_url(self.file.path):
            return url_below(
                posixpath.dirname(self.file.path), self.options.get("root") or "."
            ).removesuffix("/.")
        root = str(Path(self.options.get("root", "")).expanduser())
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.file.path), root))

    def samples(self) -> pa.Table:
        """The samples in the order of the file."""
        return self.columns.samples(self.table, text=self.file.text, root=self.root)

    def dataset(self) -> Dataset:
        """The samples by id, with all that a writer must know."""
        samples = Samples(self.samples().sort_by("id"))
        layout = {
            "source": path_text(self.file.path),
            "roles": dict(self.columns.roles),
            "own": dict(self.columns.own),
            "options": dict(self.options),
            "content": self.content,
            "doubts": list(self.doubts),
        }
        if "media" not in samples:
            return Dataset(samples, "", "table", layout)
        dataset = Dataset(samples, path_text(self.root), "manifest", layout)
        if is_url(dataset.root):
            ours = [path for path in samples["media"] if path and path.startswith("/")]
            if ours:  # nobody at a URL may name what is read here
                raise DatasetError(
                    f"{path_text(self.file.path)} names files of this machine, and its images are "
                    f"at a URL: {listed(map(repr, ours), 3)}"
                )
        some_exist(dataset, self.columns.roles["media"])
        return dataset

    def rewrite(
        self,
        target: str,
        samples: Samples,
        cells: Sequence[str | None],
        own: Mapping[str, Sequence[str | None]] | None = None,
    ) -> None:
        """Write the rows of these samples in the order of the file, with new labels, splits and
        paths, then the new samples.

        Columns that the file does not have (a split, a fold) are added to it.

        `cells` are the paths of images as the table shall have them, `own` those in the user's
        columns. Raises ChangedError if the file has changed meanwhile.
        """
        before = self.samples()
        rows = {id_: row for row, id_ in enumerate(before.column("id").to_pylist())}
        new = is_new(samples)
        at = [None if made else rows[id_] for id_, made in zip(samples.ids, new, strict=True)]
        changes = {
            self.columns.roles[role]: changed
            for role, values in (
                ("label", values_of(samples, "label")),
                ("split", values_of(samples, "split")),
                ("media", cells),
            )
            if role in self.columns.roles and (changed := _changed(before.column(role), at, values))
        }
        for name, values in (own or {}).items():
            if changed := _changed(before.column(name), at, values):
                changes[self.columns.own[name]] = changed
        if "label" in self.columns.roles and self.file.text:
            _respell(changes, self.columns.roles["label"], before.column("label"), self.table)
        for name, column in self.added(samples).items():
            cells_of = zip(at, values_of(samples, name), strict=True)
            changes[column] = {row: value for row, value in cells_of if row is not None}
        extra = [
            self._row(samples, number, cells[number])
            for number, row in enumerate(at)
            if row is None
        ]
        self.file.rewrite(target, sorted(row for row in at if row is not None), changes, extra)
        self.refuse_changed()  # it was read once more meanwhile

    def added(self, samples: Samples) -> dict[str, str]:
        """Columns that curation made, and the name of each in the file.

        With a `_` behind it where the file has such a column.
        """
        theirs, found = {*self.columns.own.values(), *self.columns.roles.values()}, dict[str, str]()
        for name in samples.names:
            if (
                name not in self.columns.own
                and name not in self.columns.roles
                and (name == "split" or name not in RESERVED)
            ):
                found[name] = name
                while found[name] in theirs:
                    found[name] += "_"
        return found

    def _row(self, samples: Samples, number: int, cell: str | None) -> dict[str, Any]:
        """The user's columns of a new sample."""
        row = {name: samples.table.column(name)[number].as_py() for name in samples.names} | {
            "media": cell
        }
        names = {**self.columns.own, **self.columns.roles, **self.added(samples)}
        return {column: row.get(name) for name, column in names.items()}


def is_new(samples: Samples) -> list[bool]:
    """Which samples were made in this run: those that have a parent."""
    return (
        [parent is not None for parent in samples["parent"]]
        if "parent" in samples
        else [False] * len(samples)
    )


def some_exist(dataset: Dataset, column: str) -> None:
    """Raise DatasetError if no image of a manifest exists: then its folder is another one."""
    paths = [path for path in dataset.samples["media"] if path]
    probes = paths[:: max(1, len(paths) // PROBES)]
    if not any(exists(media_path(dataset.root, path)) for path in probes):
        shown = listed(map(repr, probes), 3)
        raise DatasetError(
            f"no image of column {column!r} exists below {dataset.root} (looked for {shown}): set "
            f"the reader's `root`"
        )


def values_of(samples: Samples, name: str) -> list[Any]:
    """A column as Python values [n], None for each sample where there is no such column."""
    return (
        list(samples.table.column(name).to_pylist()) if name in samples else [None] * len(samples)
    )


def _changed(
    before: pa.ChunkedArray, at: Sequence[int | None], values: Sequence[Any]
) -> dict[int, Any]:
    """Row → new value, where it is another one."""
    old = before.to_pylist()
    return {
        row: value
        for row, value in zip(at, values, strict=True)
        if row is not None and label_text(old[row]) != label_text(value)
    }


def _respell(
    changes: dict[str, dict[int, Any]], column: str, labels: pa.ChunkedArray, cells: pa.Table
) -> None:
    """Write a new label as the table writes it elsewhere (`True`, not `true`; `1.0`, not `1`)."""
    if column not in changes:
        return
    known = dict(
        zip(map(label_text, labels.to_pylist()), cells.column(column).to_pylist(), strict=True)
    )
    changes[column] = {
        row: known.get(label_text(value), value) for row, value in changes[column].items()
    }
