"""The renditions that a stage can ask for, and what the engine knows of what a decoder returns."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

Rendition = Literal["header", "picture", "full"]
"""`header`: what a file says of itself; `full`: all of it, decoded; `picture`: the same, as small
as the modality's decoder deems enough for most stages.
"""


@runtime_checkable
class Sized(Protocol):
    """A decoded medium that says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
