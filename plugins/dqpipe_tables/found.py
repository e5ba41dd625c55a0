"""What the checks of cells hand on: suspected cells, each with why and what fits better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suspect:
    """A cell that is likely wrong: its row, the kind of fault, how strongly, and what fits better.

    `strength` grows with the evidence, in the unit of the kind: a ratio of counts, votes,
    deviations.
    """

    row: int
    column: str
    kind: str
    strength: float
    suggestion: str | None
    why: str
