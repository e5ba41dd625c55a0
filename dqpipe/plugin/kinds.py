"""The kinds of extension around a run: what does its work, what hands samples over, commands.

    Extension
    ├── Workers    "--executor NAME[:REST]" to an Executor
    ├── Exchange   samples to the files of another tool, and answers back (`dqpipe.plugin.exchange`)
    └── Commands   a group of commands of `dqpipe`

They are brought by the same hook as stages; `KINDS` are all kinds that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dqpipe.plugin.exchange import Exchange
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
