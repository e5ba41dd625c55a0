"""The samples that are handed over to a labelling tool, with their findings and verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqpipe.data import labels
from dqpipe.data.labels import label_text
from dqpipe.data.tables import DECISIONS
from dqpipe.errors import ConfigError, DatasetError, nearest
from dqpipe.plugin.exchange import Handed, HandedOver, LabelKind
from dqpipe.results.verdicts import Verdict, last_words, verdicts
from dqpipe.results.versions import Version
from dqpipe.review.rulings import as_given, places
from dqpipe.storage.location import place


@dataclass(frozen=True)
class Wanted:
    """The samples to hand over: of these codes and decisions, with verdicts, or all.

    By default doubtful labels without verdicts.
    """

    codes: Sequence[str] = ()
    decisions: Sequence[str] = ()
    verdicts: bool = False
    everything: bool = False

    def check(self, version: Version) -> None:
        """Raises ConfigError for what is misspelt."""
        known = {
            code for stage in version.record.get("stages", []) for code in stage.get("claims", {})
        }
        for code in self.codes:
            if code not in known:
                raise ConfigError(f"no stage claims {code!r}: {nearest(code, known)}")
        for decision in self.decisions:
            if decision not in DECISIONS:
                raise ConfigError(
                    f"no decision is called {decision!r}: {nearest(decision, DECISIONS)}"
                )

    def takes(self, item: Handed) -> bool:
        """Whether an item is wanted."""
        if self.codes and not any(code in self.codes for code, _, _ in item.claims):
            return False
        if self.decisions and item.decision not in self.decisions:
            return False
        if self.verdicts:
            return bool(item.said)
        if self.codes or self.decisions or self.everything:
            return True
        return not item.said and (
            item.decision in ("relabel", "review") or item.asked[2] is not None
        )


def queue(out: str | Path, version: Version, wanted: Wanted) -> HandedOver:
    """The samples of a version that are wanted, those of the most confident claims first.

    Raises ConfigError, DatasetError, OutputError.
    """
    wanted.check(version)
    seen = Seen(version)
    items = [item for item in seen.items(verdicts(place(out))) if wanted.takes(item)]
    if not wanted.everything:
        items.sort(key=lambda item: (-(item.asked[1] or 0), item.id))
    return HandedOver(items, version.id, seen.root, seen.kind, seen.classes)


class Seen:
    """The samples of a version, with their findings."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.samples = version.samples
        self.type = (
            self.samples.table.schema.field("label").type if "label" in self.samples else pa.null()
        )
        self.ids: list[str] = self.samples.ids.tolist()
        self.contents: list[str | None] = self.samples.table.column("content").to_pylist()
        self.labels: list[Any] = (
            self.samples.table.column("label").to_pylist()
            if "label" in self.samples
            else [None] * len(self.ids)
        )
        try:
            self.shown = version.shown
        except DatasetError:  # written by an earlier version
            self.shown = pa.table({"id": self.samples.table.column("id")})
        self.root = (
            (self.shown.schema.metadata or {}).get(b"root", b"").decode("utf-8", "surrogateescape")
        )

    @cached_property
    def row(self) -> dict[str, int]:
        """Id → row."""
        return {sample: row for row, sample in enumerate(self.ids)}

    @cached_property
    def media(self) -> list[str | None]:
        """Where the media of each row lie."""
        found: list[str | None] = (
            self.shown.column("media").to_pylist()
            if "media" in self.shown.column_names
            else [None] * len(self.ids)
        )
        return found

    @cached_property
    def texts(self) -> list[str | None]:
        """Labels as text."""
        return [as_given(label) for label in self.labels]

    @cached_property
    def kind(self) -> LabelKind:
        """What labels are."""
        kind = labels.kind_in(self.samples)
        if kind == "tags":
            text = pa.types.is_string(self.type.value_type) or pa.types.is_large_string(
                self.type.value_type
            )
            return "tags" if text else "other"
        return (
            "other" if kind in ("objects", "mask") else "numbers" if kind == "number" else "classes"
        )

    @cached_property
    def classes(self) -> list[str]:
        """Every class or tag that a sample has or is suggested, as text."""
        present = labels.members(self.samples).names.drop_null().to_pylist()
        if self.kind == "tags":
            return sorted(set(present))
        if self.kind != "classes":
            return []
        suggested = self.version.findings.table.column("suggestion").unique().to_pylist()
        decided = self.version.decisions.table.column("new_label").unique().to_pylist()
        return sorted({text for text in (*present, *suggested, *decided) if text})

    def items(self, all_verdicts: Sequence[Verdict]) -> list[Handed]:
        """All samples that have a content hash."""
        claims = self._claims()
        words = defaultdict(list)
        last = last_words(all_verdicts)
        where = places(self.samples, last, self.version.moved)
        for verdict in last:
            if verdict.about in where:
                words[where[verdict.about]].append(verdict)
        decisions = self._decisions()
        split = (
            self.samples.table.column("split").to_pylist()
            if "split" in self.samples
            else [None] * len(self.ids)
        )
        text = self._text()
        return [
            Handed(
                sample,
                content,
                self.texts[row],
                self.media[row],
                text(row),
                split[row],
                *decisions.get(sample, ("keep", None)),
                tuple(claims.get(sample, ())),
                tuple(words.get(row, ())),
            )
            for row, (sample, content) in enumerate(zip(self.ids, self.contents, strict=True))
            if content is not None
        ]

    def _claims(self) -> dict[str, list[tuple[str, float | None, str | None]]]:
        found: dict[str, list[tuple[str, float | None, str | None]]] = defaultdict(list)
        table = self.version.findings.table.select(["id", "code", "confidence", "suggestion"])
        for row in table.to_pylist():
            if row["id"] is not None:
                found[row["id"]].append((row["code"], row["confidence"], row["suggestion"]))
        return {
            sample: sorted(set(rows), key=lambda row: (-(row[1] or 0), row[0], row[2] or ""))
            for sample, rows in found.items()
        }

    def _decisions(self) -> dict[str, tuple[str, str | None]]:
        columns = self.version.decisions.table.select(["id", "decision", "new_label"]).to_pydict()
        return {
            sample: (decision, label)
            for sample, decision, label in zip(*columns.values(), strict=True)
        }

    def _text(self) -> Callable[[int], str]:
        names = [name for name in self.shown.column_names if name not in ("id", "media")]
        return lambda row: "\n".join(
            f"{name}: {label_text(self.shown.column(name)[row].as_py())}" for name in names
        )
