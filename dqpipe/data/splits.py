"""What the splits of a dataset are for: training, validation, test, or something else.

Decided once, by their names, and asked by everybody.

split column ──kinds──▶ {name: kind} ──marked on the column──▶ turns [n]: 0 training, 1 validation
and others, 2 test
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["training", "validation", "test", "other"]
TRAINING, LATER, TEST = range(3)
WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
NAME = re.compile(
    rf"({'|'.join(WORDS)})(?:[ _-]?(?:set|data|split|images?))?(?:[ _-]?(?:19|20)\d\d)?"
)
"""A word for a split, perhaps with what it is a split of, and a year: training_set, val2017."""
MARK = b"dqpipe.splits"


def kind_of(name: str) -> Kind | None:
    """What a split of this name is for, whatever its case and the spaces around it.

    None where the name does not tell.
    """
    found = NAME.fullmatch(unicodedata.normalize("NFKC", name).strip().casefold())
    return WORDS[found[1]] if found else None


def kinds(column: pa.ChunkedArray | pa.Array) -> dict[str, Kind]:
    """What each split is for.

    Where no name tells what any is for, the largest split is taken for training (of equal ones the
    first by name).
    """
    counted = {
        row["values"]: row["counts"]
        for row in column.value_counts().to_pylist()
        if row["values"] is not None
    }
    known = {name: kind_of(name) for name in sorted(counted)}
    found: dict[str, Kind] = {name: kind or "other" for name, kind in known.items()}
    if known and not any(known.values()) and column.null_count == 0 and len(known) > 1:
        found[max(known, key=lambda name: counted[name])] = "training"
    return found


def marked(table: pa.Table) -> pa.Table:
    """A table of samples whose split column says what each split is for, so that some of the
    samples have the answer that all have.
    """
    if "split" not in table.column_names:
        return table
    column = table.column("split")
    field = pa.field("split", column.type, metadata={MARK: json.dumps(kinds(column)).encode()})
    return table.set_column(table.column_names.index("split"), field, column)


def kinds_in(table: pa.Table) -> dict[str, Kind]:
    """What each split of these samples is for.

    As it was decided for the whole dataset, else by the names that are there.
    """
    if "split" not in table.column_names:
        return {}
    said = (table.schema.field("split").metadata or {}).get(MARK)
    found = json.loads(said) if said else kinds(table.column("split"))
    return {name: kind for name, kind in found.items() if kind in get_args(Kind)}


def turns(table: pa.Table) -> np.ndarray:
    """[n] int64: when each sample is seen.

    TRAINING (also without a split), LATER (validation and others), TEST.
    """
    if "split" not in table.column_names:
        return np.full(table.num_rows, TRAINING, dtype=np.int64)
    found = kinds_in(table)
    of = {"training": TRAINING, "validation": LATER, "other": LATER, "test": TEST}
    names = pa.array(list(found), pa.string())
    at = (
        pc.fill_null(pc.index_in(table.column("split"), value_set=names), -1)
        .to_numpy()
        .astype(np.int64)
    )
    known = np.array([*(of[kind] for kind in found.values()), LATER], dtype=np.int64)[at]
    return np.where(pc.is_null(table.column("split")).to_numpy(), TRAINING, known)


def doubts(table: pa.Table) -> list[str]:
    """What a person would ask about the splits: what they are for, where no name tells."""
    found = kinds_in(table)
    odd = [name for name, kind in found.items() if kind_of(name) is None]
    if not odd:
        return []
    names, largest = (
        ", ".join(repr(name)[:80] for name in odd[:5]),
        next((name for name in odd if found[name] == "training"), None),
    )
    if largest is not None:
        return [
            (
                f"no split says that it is for training ({names}): the largest, {largest!r}, is "
                f"taken for it; rename them train, validation, test"
            )
        ]
    return [
        (
            f"the split{'s' if len(odd) > 1 else ''} {names} {'say' if len(odd) > 1 else 'says'} "
            f"not what for: taken for evaluation, nothing in it is changed"
        )
    ]
