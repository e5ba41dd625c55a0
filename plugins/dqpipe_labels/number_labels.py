"""Labels that are numbers, judged for `label_noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import Facts, Samples, claim, figure, label_text
from dqpipe import labels as label_kinds
from dqpipe_labels.columns import vectors_of
from dqpipe_labels.label_sources import Judging, finite, groups_of
from dqpipe_labels.regression import Learned, folds_of, judged_numbers

if TYPE_CHECKING:
    import pandas as pd


def judge(stage: Judging, samples: Samples, facts: Facts) -> tuple[np.ndarray, dict[str, Any]]:
    """The judged rows and their facts."""
    labels = samples["label"]
    measured = label_kinds.numbers(samples)
    rows, groups = np.flatnonzero(np.isfinite(measured)), groups_of(stage, samples, facts)
    whole = all(isinstance(label, int) for label in labels[rows[:1]].tolist())
    if stage.probabilities is not None:
        own = finite(stage, samples, ("predicted",))[rows, 0]
        return rows, judged_numbers(measured[rows], groups[rows], own, whole=whole, seed=stage.seed)
    vectors = vectors_of(stage.name, stage.vectors or (), samples, facts)[rows]
    fold = folds_of(measured[rows], groups[rows], stage.folds, stage.seed)
    source = Learned(vectors, fold, columns=not isinstance(stage.vectors, str), seed=stage.seed)
    return rows, judged_numbers(measured[rows], groups[rows], source, whole=whole, seed=stage.seed)


def claims(stage: Judging, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
    """Numbers whose deviation is at least the threshold; there is no confidence in them."""
    deviation = facts["deviation"]
    rows = np.flatnonzero(np.nan_to_num(deviation, nan=-1.0) >= stage.deviates)
    labels, suggested = samples["label"][rows].tolist(), facts["suggested"][rows]
    told = zip(labels, suggested, deviation[rows], strict=True)
    detail = [
        f"given {label_text(old)}, looks like {new}, {far:.3g} times the usual error"
        for old, new, far in told
    ]
    return [
        claim(
            "likely_wrong",
            samples.ids[rows],
            value=deviation[rows],
            threshold=stage.deviates,
            suggestion=suggested,
            detail=detail,
        )
    ]


def figures(samples: Samples, facts: Facts) -> list[dict[str, Any]]:
    """The usual error, in the label's unit, and how many could not be judged."""
    rows = np.flatnonzero(~np.isnan(facts["deviation"]))
    errors = np.abs(
        label_kinds.numbers(samples)[rows]
        - np.array([float(text) for text in facts["suggested"][rows]])
    )
    return [
        figure("not_judged", len(samples) - len(rows)),
        figure("error", float(np.median(errors))),
    ]
