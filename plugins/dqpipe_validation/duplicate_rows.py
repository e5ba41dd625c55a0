"""Rows of a table that are equal except for id, label and split.

Rows are compared by their content, the hash of the row's values without id, label and split, and
without columns that only number or name the rows (a saved index, a key): see `naming`. Numeric
labels count: two rows with equal values and different targets are two measurements, not copies,
unless they are in different splits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
    label_text,
    labels,
    row_contents,
    splits,
)

if TYPE_CHECKING:
    import pandas as pd

APART = ("id", "content", "label", "split", "media")
"""Columns that are ignored when rows are compared."""
SAVED_INDEX = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__|column_1|level_0")
KEYS = frozenset(
    {"id", "ids", "uuid", "guid", "key", "index", "idx", "number", "nr", "no", "row", "rownum"}
)
"""What the name of a key ends with."""
FEWEST, MANY = 5, 0.2
"""Rows below which no column is taken for a key by its values.

Share of copies from which it is one of the values, and no name.
"""


@extension
class DuplicateRows(Stage):
    """Equal rows: copies, copies whose labels disagree, and copies of evaluation rows in training
    data.

    Columns that number or name the rows play no part, and are told: a saved index, row numbers, a
    key of different values.
    """

    name = "duplicate_rows"
    version = 2
    default = True
    media: ClassVar[bool | None] = False
    """Whether it is proposed for datasets with media only, without only, or (None) for both."""
    needs = ("label?", "split?", "media?", EVERY)
    gives = (
        Fact("group", "string", "the smallest id among the rows with equal values", at="relate"),
        Claim("exact", "warning", "the row equals another one, which is kept", title="Equal rows"),
        Claim(
            "label_conflict",
            "warning",
            "the row equals another one that has a different label",
            title="Equal rows with different labels",
        ),
        Claim(
            "leak",
            "error",
            "the row equals one of a later split: what a model is judged by, it has seen before",
            title="Equal rows across splits",
        ),
        Claim(
            "left_out",
            "info",
            "the column numbers or names the rows, and plays no part in whether they are equal",
            title="Columns left out of the comparison",
        ),
        Figure("copies", "rows that equal another one, as a share of all, less one of each group"),
        Figure("leaked", "rows that equal one of a later split, as a share of all"),
    )

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> dict[str, np.ndarray]:
        """The group of each row; a row without content has its own."""
        import pandas as pd

        ids = pd.Series(samples.ids)
        left = naming(samples)
        content = pd.Series(
            row_contents(samples, (*APART, *left)) if left else samples["content"], dtype=object
        )
        return {
            "group": ids.groupby(content).transform("first").where(content.notna(), ids).to_numpy()
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Leaks (errors in training) match the row of the latest split, copies the row that is
        kept, conflicts a row with another label.

        Of copies the one stays that has a label, then the one with the smallest id.
        """
        left, rows = naming(samples), _rows(samples, facts)
        rows = rows[rows["group"].duplicated(keep=False)]
        leaks = rows[rows["leaks"]]
        rest = rows[~rows["leaks"]]
        copies = rest[rest["place"] > 0]
        return [
            claim(
                "leak",
                leaks["id"],
                severity=[
                    "error" if turn == splits.TRAINING else "warning" for turn in leaks["turn"]
                ],
                match=leaks["latest"],
                confidence=1.0,
                detail=[f"equals {m}, of a later split" for m in leaks["latest"]],
            ),
            claim(
                "exact",
                copies["id"],
                match=copies["kept"],
                confidence=1.0,
                detail=[f"equals {m}" for m in copies["kept"]],
            ),
            _conflicts(rows, samples),
            claim(
                "left_out",
                [None] * len(left),
                part=list(left),
                detail=[f"rows are compared without {name!r}: {why}" for name, why in left.items()],
            ),
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, object]]:
        """Shares of all rows; no figure of no rows."""
        if not len(samples):
            return []
        rows = _rows(samples, facts)
        return [
            figure("copies", 1 - len(rows[["group", "target"]].drop_duplicates()) / len(rows)),
            figure("leaked", float(rows["leaks"].mean())),
        ]


def naming(samples: Samples) -> dict[str, str]:
    """The columns that number or name the rows, each with the reason.

    None where that would make many rows equal, or leave no column.

    Named for it are the index that pandas saves without a name. Else all values are different, and
    they are whole numbers without a gap, or the column's name is that of a key.
    """
    own = [name for name in samples.names if name not in APART]
    if "media" in samples and samples.table.column("media").null_count < len(samples):
        return {}  # contents are those of files
    sure = {
        name: "it is a saved index"
        for name in own
        if SAVED_INDEX.fullmatch(name)
        and pa.types.is_integer(samples.table.schema.field(name).type)
    }
    maybe = {
        name: why
        for name in own
        if name not in sure and (why := _names_rows(name, samples.table.column(name)))
    }
    for left in (sure | maybe, sure):
        rest = [name for name in own if name not in left]
        if rest and (left == sure or 1 - _different(samples, rest) / len(samples) <= MANY):
            return left
    return {}


def _names_rows(name: str, column: pa.ChunkedArray) -> str | None:
    """The reason why a column seems to number or name the rows; None if it does not."""
    kind = column.type
    whole = pa.types.is_integer(kind)
    if (
        len(column) < FEWEST
        or column.null_count
        or not (whole or pa.types.is_string(kind))
        or pc.count_distinct(column).as_py() < len(column)
    ):
        return None
    if whole and (pc.max(column).as_py() - pc.min(column).as_py()) == len(column) - 1:
        return "it numbers the rows"
    words = re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
    return "it names each row, and none twice" if words and words[-1].lower() in KEYS else None


def _different(samples: Samples, columns: list[str]) -> int:
    """The number of different rows in these columns."""
    try:
        return int(samples.table.select(columns).group_by(columns).aggregate([]).num_rows)
    except pa.ArrowException:  # lists and structs cannot be grouped by
        return len(
            set(row_contents(samples, [name for name in samples.names if name not in columns]))
        )


def _rows(samples: Samples, facts: Facts) -> pd.DataFrame:
    """One row per sample, those to keep first.

    `target` is the label if it is a number, `latest` the first row of the group's latest split,
    `place` the row's place among its copies and `kept` the first of them.
    """
    import pandas as pd

    texts = (
        [label_text(label) for label in samples["label"]]
        if "label" in samples
        else [None] * len(samples)
    )
    rows = pd.DataFrame(
        {"id": samples.ids, "group": facts["group"], "label": pd.Series(texts, dtype=object)}
    )
    rows["target"] = rows["label"].fillna("") if _measured(samples) else ""
    rows["turn"] = splits.turns(samples.table)
    rows["unlabelled"] = rows["label"].isna()
    rows = rows.sort_values(
        ["turn", "unlabelled", "id"], ascending=[False, True, True], kind="stable"
    )
    groups = rows.groupby("group", sort=False)
    rows["leaks"] = rows["turn"] < groups["turn"].transform("max")
    rows["latest"] = groups["id"].transform("first")
    copies = rows.groupby(["group", "target", "turn"], sort=False)
    rows["place"], rows["kept"] = copies.cumcount(), copies["id"].transform("first")
    return rows


def _measured(samples: Samples) -> bool:
    return labels.kind_in(samples) == "number"


def _conflicts(rows: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Claims on every labelled row of a group with several labels, matched with its first row of
    another label.
    """
    labelled = rows[rows["label"].notna()] if not _measured(samples) else rows[:0]
    groups = labelled.groupby("group", sort=False)
    labelled = labelled[groups["label"].transform("nunique") > 1]
    first = labelled.drop_duplicates("group").set_index("group")
    usual = labelled["group"].map(first["label"])
    other = labelled[labelled["label"] != usual].drop_duplicates("group").set_index("group")
    same = (labelled["label"] == usual).to_numpy()
    match = np.where(same, labelled["group"].map(other["id"]), labelled["group"].map(first["id"]))
    theirs = np.where(same, labelled["group"].map(other["label"]), usual)
    detail = [f"equals {m}, which is labelled {t}" for m, t in zip(match, theirs, strict=True)]
    return claim("label_conflict", labelled["id"], match=match, confidence=1.0, detail=detail)
