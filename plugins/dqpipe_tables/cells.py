"""Single cells of a table that are likely wrong, each with why, and with what fits better."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from dqpipe import (
    EVERY,
    Claim,
    Fact,
    Facts,
    Figure,
    Pixels,
    Samples,
    Stage,
    claim,
    extension,
    figure,
    option,
)
from dqpipe_tables import dependencies, quantities, spellings
from dqpipe_tables.found import Suspect
from dqpipe_tables.profile import Column

if TYPE_CHECKING:
    import pandas as pd

APART = frozenset(("id", "content", "media", "split", "label", "group", "parent", "made_by"))
"""Columns with a meaning of their own, which other stages look at."""
FEWEST = 20
"""Rows below which no cell is judged."""
FILLED = 0.9
"""Share of a column's cells that hold a value from which an empty one is the exception."""
EXCEPTION = 0.98
"""The share from which an empty cell is a warning, and not only told."""
LONGEST = 80
"""Letters of a cell in a sentence."""
KINDS = (
    "missing",
    "misspelt",
    "form",
    "unit",
    "dependency",
    "zero",
    "negative",
    "far",
    "sum",
    "order",
)


@extension
class Cells(Stage):
    """Single cells that are likely wrong: misspelt, of another form, empty, zero, far away, or
    against what other columns say.

    Rules are not given, they are found: frequent values, the few forms of a column, and
    groups of rows that agree say what fits. A cell is claimed once, for the strongest reason.
    Labels, ids, splits and groups are left to other stages. Nothing is changed: what fits
    better is told. No confidence is stated: how many cells of a kind are wrong depends on
    the table, and `dqpipe review --audit` measures it.
    """

    name = "cells"
    version = 2
    default = True
    media: ClassVar[bool | None] = False
    """Whether it is proposed for datasets with media only, without only, or (None) for both."""
    needs = ("media?", EVERY)
    seed: int = option(0, "where chance begins", at="relate", ge=0)
    filled: float = option(
        FILLED, "claim an empty cell where this share of its column holds a value", ge=0.5, le=1
    )
    gives = (
        Fact(
            "suspects",
            "string",
            "suspected cells as JSON: column, kind, strength, suggestion, why",
            at="relate",
            nullable=True,
        ),
        Claim(
            "missing",
            "warning",
            "The cell is empty, where nearly all of its column hold a value.",
            title="Missing values",
        ),
        Claim(
            "misspelt",
            "warning",
            "A rare value that differs by a letter from a frequent one.",
            title="Misspelt values",
        ),
        Claim(
            "form",
            "warning",
            "The value has another form than all others of its column.",
            title="Values of another form",
        ),
        Claim(
            "unit",
            "info",
            "A number with a unit, where others have none or write it otherwise.",
            title="Units in numbers",
        ),
        Claim(
            "dependency",
            "warning",
            "Other rows that agree in another column have another value here.",
            title="Values against other columns",
        ),
        Claim(
            "zero",
            "warning",
            "Zero, where the column is above zero and nothing leads down to it.",
            title="Zeros for no value",
        ),
        Claim(
            "negative",
            "warning",
            "Negative, where the column is above zero.",
            title="Negative values",
        ),
        Claim(
            "far",
            "warning",
            "A number far beyond all others of its column.",
            title="Impossible numbers",
        ),
        Claim(
            "sum",
            "warning",
            "A total that is not the sum of its parts, as nearly all others are.",
            title="Totals unlike their parts",
        ),
        Claim(
            "order",
            "warning",
            "A time before another one that comes first elsewhere.",
            title="Times in the wrong order",
        ),
        Figure("suspected", "cells that are claimed, as a share of all cells"),
    )

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> dict[str, Any]:
        """Suspected cells of each row as JSON; null where there is none."""
        found: dict[int, dict[str, Suspect]] = {}
        if len(samples) >= FEWEST:
            for suspect in suspects(samples, self.seed):
                cells = found.setdefault(suspect.row, {})
                # the first kind stands: they come in the order of how certain they are
                cells.setdefault(suspect.column, suspect)
        texts = np.full(len(samples), None, dtype=object)
        for row, cells in found.items():
            texts[row] = json.dumps(
                [
                    [s.column, s.kind, round(s.strength, 4), s.suggestion, s.why]
                    for s in sorted(cells.values(), key=lambda s: s.column)
                ],
                ensure_ascii=False,
            )
        return {"suspects": texts}

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """One finding for each suspected cell, with the column as its part."""
        rows: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in KINDS}
        usual = {gift.code: gift.severity for gift in self.gives if isinstance(gift, Claim)}
        for at, text in enumerate(facts["suspects"]):
            for column, kind, strength, suggestion, why in json.loads(text) if text else ():
                severity = usual[kind]
                if kind == "missing" and strength < EXCEPTION:
                    severity = "info"
                if kind != "missing" or strength >= self.filled:
                    cell = samples.table.column(column)[at].as_py()
                    told = f"{column} is {_short(cell)}: {why}" + (
                        "" if suggestion is None else f"; {_short(suggestion)} fits better"
                    )
                    rows[kind].append((samples.ids[at], column, strength, told, severity))
        return [
            claim(
                kind,
                [row[0] for row in found],
                part=[row[1] for row in found],
                value=[row[2] for row in found],
                detail=[row[3] for row in found],
                severity=[row[4] for row in found],
            )
            for kind, found in rows.items()
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, object]]:
        """The share of all cells that is suspected."""
        own = [name for name in samples.names if name not in APART]
        if not own or not len(samples):
            return []
        found = sum(len(json.loads(text)) for text in facts["suspects"] if text)
        return [figure("suspected", found / (len(own) * len(samples)))]


def _short(value: object) -> str:
    """A cell for a sentence."""
    text = "empty" if value is None else repr(str(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def suspects(samples: Samples, seed: int) -> Iterator[Suspect]:
    """Suspected cells, the kinds that are most certain first."""
    names = [name for name in samples.names if name not in APART]
    columns = [c for name in names if (c := Column.of(name, samples.table.column(name)))]
    for column in columns:
        yield from spellings.misspelt(column)
    yield from dependencies.broken(columns, seed)
    for column in columns:
        yield from spellings.odd_forms(column)
        yield from spellings.units(column)
    yield from quantities.zeros(columns, seed)
    yield from quantities.negatives(columns)
    yield from quantities.far(columns)
    yield from quantities.sums(columns)
    yield from quantities.ends(columns, _times(samples, names))
    for column in columns:
        yield from _missing(column)


def _missing(column: Column) -> Iterator[Suspect]:
    """Cells without a value, and those of a column of numbers that say so in words.

    The strength is the share of the column that holds a value.
    """
    filled = 1 - column.missing.mean()
    words = column.rows(column.blank) if column.numbers is not None else np.zeros(0, np.int64)
    for row in words:
        why = f"{str(column.texts[int(column.code[row])])!r} in a column of numbers"
        yield Suspect(int(row), column.name, "missing", 1.0, None, why)
    empty = column.code < 0 if len(words) else column.missing
    why = f"no value, where {filled:.1%} of the column hold one"
    for row in np.flatnonzero(empty) if filled >= 0.5 else ():  # noqa: PLR2004
        yield Suspect(int(row), column.name, "missing", float(filled), None, why)


def _times(samples: Samples, names: list[str]) -> dict[str, np.ndarray]:
    """The columns of times, as numbers of microseconds."""
    found = {}
    for name in names:
        column = samples.table.column(name)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            found[name] = np.asarray(
                column.cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]"
            )
    return found
