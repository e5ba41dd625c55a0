"""The one thing the engine asks of whatever runs its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


class Executor(Protocol):
    """Maps a top-level function over references and yields the results as they come."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        """`function(item)` for each item, in any order; `names` tell a person what each call does."""
        ...
