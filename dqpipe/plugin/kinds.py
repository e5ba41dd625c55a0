"""The kinds of extension around a run: what does its work, what hands samples over, commands.

    Extension
    ├── Workers    "--executor NAME[:REST]" to an Executor
    ├── Exchange   samples to the files of another tool, and people's answers back from one
    └── Commands   a group of commands of `dqpipe`

They are brought by the same hook as stages; `KINDS` are all kinds that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dqpipe.plugin.stage import (
    Augment,
    Decide,
    Decoder,
    Embedder,
    Encoder,
    Extension,
    Reader,
    Report,
    Section,
    Stage,
    View,
    Writer,
)

if TYPE_CHECKING:
    import typer


class Executor(Protocol):
    """Maps a top-level function over references and yields the results as they come."""

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]
    ) -> Iterator[Any]:
        """`function(item)` for each item, in any order; `names` tell a person what each does."""
        ...


class Workers(Extension):
    """What does the work of a run, as `--executor NAME` or `NAME:REST` asks for it."""

    __slots__ = ()

    def executor(self, rest: str) -> Executor:
        """The executor; `rest` is what stands behind the colon. Raises ConfigError."""
        raise NotImplementedError


class Handed(Protocol):
    """One sample that is handed over: labels are text, sets of tags JSON lists as text."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def content(self) -> str:
        """The hash of its bytes."""

    @property
    def label(self) -> str | None:
        """Its label as it came."""

    @property
    def decision(self) -> str:
        """keep, drop, relabel or review."""

    @property
    def new_label(self) -> str | None:
        """Its new label, where it is decided to be relabelled."""

    @property
    def claims(self) -> Sequence[tuple[str, float | None, str | None]]:
        """Code, confidence and suggestion of each claim, the most confident first."""


class HandedOver(Protocol):
    """Samples of a version, those first that are most worth a look."""

    @property
    def items(self) -> Sequence[Handed]:
        """The samples."""

    @property
    def version(self) -> str:
        """The version's id."""

    @property
    def classes(self) -> Sequence[str]:
        """Every class or tag that a sample has or is suggested."""


class Media(Protocol):
    """How the files of media are named for another tool."""

    def path(self, queue: Any, item: Any) -> str:  # noqa: ANN401 (what `write` was given)
        """The path or URL of an item's media, as the user's options say. Raises ConfigError."""
        ...


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

    `dqpipe handover NAME`, and back by `takeover`.
    """

    __slots__ = ()
    answers: ClassVar[bool] = False
    """Whether people answer in it, so that `read` is there."""

    def write(self, queue: HandedOver, media: Media) -> Written:
        """The files that the other tool reads. Raises ConfigError."""
        raise NotImplementedError

    def read(self, data: bytes) -> Sequence[Answer]:
        """What the bytes of a file say of samples. Raises DatasetError."""
        raise NotImplementedError


class Commands(Extension):
    """A group of commands, `dqpipe NAME …`; its summary is the group's help."""

    __slots__ = ()

    def app(self) -> typer.Typer:
        """The commands."""
        raise NotImplementedError


KINDS: tuple[type[Extension], ...] = (
    Stage,
    Decide,
    Augment,
    Reader,
    Writer,
    Decoder,
    Encoder,
    View,
    Embedder,
    Report,
    Section,
    Workers,
    Exchange,
    Commands,
)
"""Every kind of extension."""
