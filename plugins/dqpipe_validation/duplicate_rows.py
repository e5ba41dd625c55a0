"""Rows of a table that are equal but for id, label and split.

Rows are compared by their content, the hash of the row's own values, so that what the user made the id, the label and the
split plays no part. Labels that are numbers do: two rows with equal values and different targets are two measurements, not
copies, unless they lie in different splits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dqpipe import labels
from dqpipe.model import TRAINING_SPLITS, Facts, Samples, claim, figure, label_text
from dqpipe.stages import Claim, Fact, Figure, Pixels, Stage, extension

if TYPE_CHECKING:
    import pandas as pd

TEST_SPLITS = frozenset({"test", "testing"})
_TRAINING, _VALIDATION, _TEST = range(3)


@extension
class DuplicateRows(Stage):
    """Equal rows: copies, copies whose labels disagree, and copies of evaluation rows in training data."""

    name = "duplicate_rows"
    version = 2
    default = True
    media: ClassVar[bool | None] = False
    """Whether it is proposed for datasets with media only, without only, or (None) for both."""
    needs = ("label?", "split?")
    gives = (
        Fact("group", "string", "the smallest id among the rows with equal values", at="relate"),
        Claim("exact", "warning", "the row equals another one, which is kept"),
        Claim("label_conflict", "warning", "the row equals another one that has a different label"),
        Claim("leak", "error", "the row equals one of a later split: what a model is judged by, it has seen before"),
        Figure("copies", "rows that equal another one, as a share of all, less one of each group"),
        Figure("leaked", "rows that equal one of a later split, as a share of all"),
    )

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> dict[str, np.ndarray]:
        """The group of each row; a row without content stands alone."""
        import pandas as pd

        ids = pd.Series(samples.ids)
        content = pd.Series(samples["content"], dtype=object)
        return {"group": ids.groupby(content).transform("first").where(content.notna(), ids).to_numpy()}

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Leaks (errors in training) match the row of the latest split, copies the row that is kept, conflicts a row with another label.

        Of copies the one stays that has a label, then the one with the smallest id.
        """
        rows = _rows(samples, facts)
        rows = rows[rows["group"].duplicated(keep=False)]
        leaks = rows[rows["leaks"]]
        rest = rows[~rows["leaks"]]
        copies = rest[rest["place"] > 0]
        return [
            claim(
                "leak",
                leaks["id"],
                severity=["error" if turn == _TRAINING else "warning" for turn in leaks["turn"]],
                match=leaks["latest"],
                confidence=1.0,
                detail=[f"equals {m}, of a later split" for m in leaks["latest"]],
            ),
            claim("exact", copies["id"], match=copies["kept"], confidence=1.0, detail=[f"equals {m}" for m in copies["kept"]]),
            _conflicts(rows, samples),
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


def _rows(samples: Samples, facts: Facts) -> pd.DataFrame:
    """One row per sample, those to keep first.

    `target` is the label if it is a number, `latest` the first row of the group's latest split, `place` the row's place
    among its copies and `kept` the first of them.
    """
    import pandas as pd

    texts = [label_text(label) for label in samples["label"]] if "label" in samples else [None] * len(samples)
    rows = pd.DataFrame({"id": samples.ids, "group": facts["group"], "label": pd.Series(texts, dtype=object)})
    rows["target"] = rows["label"].fillna("") if _measured(samples) else ""
    rows["turn"] = _turns(samples)
    rows["unlabelled"] = rows["label"].isna()
    rows = rows.sort_values(["turn", "unlabelled", "id"], ascending=[False, True, True], kind="stable")
    groups = rows.groupby("group", sort=False)
    rows["leaks"] = rows["turn"] < groups["turn"].transform("max")
    rows["latest"] = groups["id"].transform("first")
    copies = rows.groupby(["group", "target", "turn"], sort=False)
    rows["place"], rows["kept"] = copies.cumcount(), copies["id"].transform("first")
    return rows


def _measured(samples: Samples) -> bool:
    return labels.kind_in(samples) == "number"


def _turns(samples: Samples) -> np.ndarray:
    """[n] int: training 0, validation (and any other split) 1, test 2."""
    if "split" not in samples:
        return np.full(len(samples), _TRAINING)
    names = [(split or "train").lower() for split in samples["split"]]
    return np.array([_TRAINING if n in TRAINING_SPLITS else _TEST if n in TEST_SPLITS else _VALIDATION for n in names], dtype=np.int64)


def _conflicts(rows: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Claims on every labelled row of a group with several labels, matched with its first row of another label."""
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
