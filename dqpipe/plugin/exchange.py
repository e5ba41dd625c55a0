"""Formats in which samples go to other tools, and what they are given: samples, and media by name.

    version ──▶ HandedOver ──write (an Exchange)──▶ Written        another tool
    verdicts ◀── Answer… ◀──read (an Exchange)── a file ◀────────────┘

`write` and `read` are pure. Answers are matched by id, content and given label; all of them are
added, or none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import quote

from dqpipe.errors import ConfigError
from dqpipe.plugin.stage import Extension
from dqpipe.storage.location import is_url
from dqpipe.storage.paths import media_path


class Ruling(Protocol):
    """What a reviewer decided of a sample."""

    @property
    def verdict(self) -> str:
        """keep, drop, skip or relabel."""

    @property
    def label(self) -> Any:  # noqa: ANN401 (of the dataset's own type)
        """The new label of "relabel"."""

    @property
    def reviewer(self) -> str | None:
        """The reviewer's name."""

    @property
    def time(self) -> str | None:
        """When, as ISO 8601."""


@dataclass(frozen=True)
class Handed:
    """One sample that is handed over.

    Labels are text (sets of tags as JSON lists), the findings the most confident first.
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
    said: tuple[Ruling, ...] = ()
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


LabelKind = Literal["classes", "tags", "numbers", "other"]
"""What labels are: classes, sets of tags, numbers, or others (structs)."""


@dataclass(frozen=True)
class HandedOver:
    """Samples of a version, in the order in which they are worth a look."""

    items: Sequence[Handed]
    version: str
    """The version's id."""
    root: str
    """The folder or URL that media are relative to."""
    kind: LabelKind = "classes"
    classes: Sequence[str] = ()
    """Every class or tag that a sample has or is suggested."""


@dataclass(frozen=True)
class Media:
    """How the files of media are named for another tool, as the user's options say.

    A prefix, and the folder that paths are relative to; None for the default of the format.
    """

    prefix: str | None = None
    media_root: str | None = None

    def link(self, queue: HandedOver, item: Handed, prefix: str) -> str:
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

    def path(self, queue: HandedOver, item: Handed) -> str:
        """The path of an item's media, as text: whole, or as the options say.

        Quoted only behind a prefix that is a URL. Raises ConfigError.
        """
        path = media_path(queue.root, item.media or "")
        if is_url(self.prefix):
            return self.link(queue, item, "")
        if self.prefix is not None or self.media_root is not None:
            path = self._relative(queue, item)
        return _text(path)

    def relative(self, queue: HandedOver, item: Handed) -> str:
        """The prefix, and the path from the folder that holds all media, as text.

        Raises ConfigError.
        """
        return _text(self._relative(queue, item))

    def _relative(self, queue: HandedOver, item: Handed) -> str:
        path = media_path(queue.root, item.media or "")
        return (self.prefix or "") + below(path, self.media_root or queue.root, item.id)


def _text(path: str) -> str:
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


@dataclass(frozen=True)
class Written:
    """What is handed over: files by name, what to do next, and why how many items are left out."""

    files: dict[str, bytes]
    next: Sequence[str] = ()
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer of a file about one sample.

    Labels are text, sets of tags JSON lists as text, missing values None.
    """

    where: str
    """The place in the file, for messages."""
    id: str | None = None
    media: str | None = None
    """The media path that the tool has, relative to the dataset's folder, where the id is lost."""
    content: str | None = None
    given: str | None = None
    """The label when it was handed over; `knows_given` says whether the file tells."""
    knows_given: bool = False
    verdict: str | None = None
    """keep, drop, skip or relabel; None: what `label` says is kept or changed."""
    label: str | None = None
    chosen: tuple[str, ...] | None = None
    """Instead of `label`: the chosen names, several of them for sets of tags."""
    code: str | None = None
    reviewer: str | None = None
    annotator: int | None = None
    """The tool's number of the reviewer."""
    time: str | None = None
    problem: str | None = None
    """Why the answer is invalid, whatever its sample."""


class Exchange(Extension):
    """A format in which samples go to another tool.

    `dqpipe export NAME`, and back by `import`.
    """

    __slots__ = ()
    answers: ClassVar[bool] = False
    """Whether people answer in it, so that `read` is there.

    Then doubtful samples are handed over unless others are asked for, else all of them.
    """
    endings: ClassVar[tuple[str, ...]] = ()
    """What the names of files that `import` reads in this format end with, such as ".csv"."""

    def write(self, queue: HandedOver, media: Media) -> Written:
        """The files that the other tool reads. Raises ConfigError."""
        raise NotImplementedError

    def read(self, data: bytes) -> Sequence[Answer]:
        """What the bytes of a file say of samples. Raises DatasetError."""
        raise NotImplementedError
