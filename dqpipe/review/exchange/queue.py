"""The samples that are handed over to a labelling tool, with their findings and verdicts."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from dqpipe.data import labels
from dqpipe.data.labels import label_text
from dqpipe.data.tables import DECISIONS
from dqpipe.errors import ConfigError, DatasetError, nearest
from dqpipe.results.verdicts import Verdict, last_words, verdicts
from dqpipe.results.versions import Version
from dqpipe.review.rulings import as_given, places
from dqpipe.storage.checked_files import opened
from dqpipe.storage.location import is_url, place
from dqpipe.storage.paths import media_path

CLASSES, TAGS, NUMBERS, OTHER = "classes", "tags", "numbers", "other"
"""Kinds of labels: classes, sets of tags, numbers, or others (structs)."""


@dataclass(frozen=True)
class Item:
    """One sample: labels as text (sets of tags as JSON lists), its findings with the most confident
    first.
    """

    id: str
    content: str
    label: str | None
    media: str | None = None
    text: str = ""
    """The user's own columns, for samples that are rows of a table."""
    split: str | None = None
    decision: str = "keep"
    new_label: str | None = None
    claims: tuple[tuple[str, float | None, str | None], ...] = ()
    """Code, confidence, suggestion."""
    said: tuple[Verdict, ...] = ()
    """The last verdict of each reviewer."""

    @property
    def asked(self) -> tuple[str | None, float | None, str | None]:
        """The finding to ask about: the most confident one with a suggestion, else the most
        confident one.
        """
        suggesting = [claim for claim in self.claims if claim[2] is not None]
        every = suggesting or self.claims
        return every[0] if every else (None, None, None)

    @property
    def decided_label(self) -> str | None:
        """The label in the curated set; None if the sample is not in it."""
        return (
            None
            if self.decision == "drop"
            else self.new_label
            if self.decision == "relabel"
            else self.label
        )


@dataclass(frozen=True)
class Queue:
    """Items in the order in which they are worth a look."""

    items: Sequence[Item]
    version: str
    root: str
    kind: str = CLASSES
    classes: Sequence[str] = ()
    """Every class or tag that a sample has or is suggested."""


@dataclass(frozen=True)
class Options:
    """How media are written: a prefix, and the folder that paths are relative to.

    None for the default of the format.
    """

    prefix: str | None = None
    media_root: str | None = None

    def link(self, queue: Queue, item: Item, prefix: str) -> str:
        """Where a tool finds the media of an item: a URL as it is, unless a prefix is wanted.

        Else the prefix and the quoted path. Raises ConfigError.
        """
        path = media_path(queue.root, item.media or "")
        if is_url(path) and self.prefix is None:
            return path
        root = self.media_root or (
            queue.root if is_url(queue.root) else str(Path(queue.root).parent)
        )
        return (self.prefix or prefix) + quote(os.fsencode(below(path, root, item.id)), safe="/")

    def path(self, queue: Queue, item: Item) -> str:
        """The path of an item's media, as text: whole, or as the options say.

        Quoted only behind a prefix that is a URL. Raises ConfigError.
        """
        path = media_path(queue.root, item.media or "")
        if is_url(self.prefix):
            return self.link(queue, item, "")
        if self.prefix is not None or self.media_root is not None:
            path = (self.prefix or "") + below(path, self.media_root or queue.root, item.id)
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def below(path: str, root: str, sample: str) -> str:
    """A path from the folder it should lie in. Raises ConfigError."""
    start = root.rstrip("/") + "/"
    inside = (
        path[len(start) :]
        if path.startswith(start)
        else ".."
        if is_url(path)
        else os.path.relpath(path, root)
    )
    if inside.startswith(".."):
        raise ConfigError(
            f"the media of {sample!r} do not lie below {root}: name a folder that holds all of "
            f"them (--media-root)"
        )
    return inside


def size(queue: Queue, item: Item) -> tuple[int, int] | None:
    """Width and height of a picture as shown, from the header of a local file.

    None where they are unknown.
    """
    path = media_path(queue.root, item.media or "")
    if item.media is None or is_url(path):
        return None
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with os.fdopen(opened(path), "rb") as file, Image.open(file) as picture:
                turned = picture.getexif().get(0x0112, 1) >= 5  # noqa: PLR2004 (EXIF orientations that swap sides)
                return picture.size[::-1] if turned else picture.size
    except Exception:  # noqa: BLE001 (Pillow's readers raise anything)
        return None


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

    def takes(self, item: Item) -> bool:
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


def queue(out: str | Path, version: Version, wanted: Wanted) -> Queue:
    """The samples of a version that are wanted, those of the most confident claims first.

    Raises ConfigError, DatasetError, OutputError.
    """
    wanted.check(version)
    seen = Seen(version)
    items = [item for item in seen.items(verdicts(place(out))) if wanted.takes(item)]
    if not wanted.everything:
        items.sort(key=lambda item: (-(item.asked[1] or 0), item.id))
    return Queue(items, version.id, seen.root, seen.kind, seen.classes)


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
    def kind(self) -> str:
        """What labels are."""
        kind = labels.kind_in(self.samples)
        if kind == "tags":
            return (
                TAGS
                if pa.types.is_string(self.type.value_type)
                or pa.types.is_large_string(self.type.value_type)
                else OTHER
            )
        return {"objects": OTHER, "mask": OTHER, "number": NUMBERS}.get(kind, CLASSES)

    @cached_property
    def classes(self) -> list[str]:
        """Every class or tag that a sample has or is suggested, as text."""
        present = labels.members(self.samples).names.drop_null().to_pylist()
        if self.kind == TAGS:
            return sorted(set(present))
        if self.kind != CLASSES:
            return []
        suggested = self.version.findings.table.column("suggestion").unique().to_pylist()
        decided = self.version.decisions.table.column("new_label").unique().to_pylist()
        return sorted({text for text in (*present, *suggested, *decided) if text})

    def items(self, all_verdicts: Sequence[Verdict]) -> list[Item]:
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
            Item(
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
