"""A dataset: its samples, and where their media lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dqpipe.data import notebook_html
from dqpipe.data.labels import Kind, kind_in
from dqpipe.data.tables import Samples, counts_told
from dqpipe.storage.paths import media_path


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and where their media lie.

    `root` is the folder that relative media references start from ("" if there are none), `format`
    the name of the writer that writes the same format back, `layout` what that writer must know
    (plain JSON values). Media lie below `root`, links resolved, or in one of the folders `added`,
    unless `outside` says that they may lie anywhere.
    """

    samples: Samples
    root: str = ""
    format: str = ""
    layout: Mapping[str, Any] = field(default_factory=dict)
    outside: bool = False
    added: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def _repr_html_(self) -> str:
        told = {
            "samples": len(self),
            "format": self.format or "none",
            "media": "yes" if self.has_media else "no",
            "root": self.root or "none",
        }
        return notebook_html.titled(
            "Dataset",
            notebook_html.facts(told),
            *counts_told(self.samples, "label", "split"),
            self.samples._repr_html_(),
        )

    @property
    def label_kind(self) -> Kind:
        """What its labels are, decided once for the whole dataset (see `dqpipe.data.labels`)."""
        return kind_in(self.samples)

    @property
    def within(self) -> tuple[str, ...] | None:
        """The folders that media may lie in, as `open` takes them; None for any."""
        return (
            None
            if self.outside
            else tuple(media_path("", folder) for folder in (self.root, *self.added) if folder)
        )

    @property
    def has_media(self) -> bool:
        """Whether any sample refers to a file."""
        return "media" in self.samples and self.samples.table.column("media").null_count < len(self)
