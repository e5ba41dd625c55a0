"""What `label_noise` judges labels by.

Which labels can be judged, groups of copies, seeds, the user's own predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dqpipe import Facts, Samples, StageError, listed, many, plural
from dqpipe_labels.columns import equal_rows, unfit, vectors_of
from dqpipe_labels.multilabel import tags_of
from dqpipe_labels.probabilities import ADVICE, read_columns

if TYPE_CHECKING:
    from dqpipe_labels.label_noise import LabelNoise


def objection(stage: LabelNoise, samples: Samples) -> str | None:
    """Why labels of this kind cannot be judged, or None."""
    kind = stage.kind(samples)
    if stage.probabilities is None and (why := unfit(stage.vectors, samples)):
        return why
    if not isinstance(stage.vectors, str) and "label" in (stage.vectors or ()):
        return "the label cannot be judged by itself: leave it out of `vectors`"
    if kind == "tags":
        tags_of(stage.name, samples["label"], stage.separator)
    if kind == "number" and not all(
        label is None or isinstance(label, (int, float)) for label in samples["label"].tolist()
    ):
        return "labels: number, but the labels are no numbers"
    return None


def groups_of(stage: LabelNoise, samples: Samples, facts: Facts) -> np.ndarray:
    """What is equal for copies of one thing, [n] str: a fact.

    The same values in the `vectors` where these are columns; else the id.
    """
    if stage.probabilities is not None:
        return samples.ids
    if stage.grouping():
        return facts[str(stage.grouping())]
    return (
        samples.ids
        if isinstance(stage.vectors, str)
        else equal_rows(vectors_of(stage.name, stage.vectors or (), samples, facts), samples.ids)
    )


def seeds(stage: LabelNoise) -> range:
    """One seed for each repeat."""
    repeats = stage.repeats or 2
    return range(stage.seed * repeats, (stage.seed + 1) * repeats)


def finite(stage: LabelNoise, samples: Samples, names: tuple[str, ...]) -> np.ndarray:
    """The user's own probabilities or predictions [n, k], none empty. Raises StageError."""
    own = read_columns(stage.name, stage.probabilities or (), samples, names)
    empty = ~np.isfinite(own).all(axis=1)
    if empty.any():
        n = int(empty.sum())
        raise StageError(
            stage.name,
            "relate",
            f"{many(n, 'sample')} {plural(n, 'has')} none: {listed(samples.ids[empty], 5)}",
            ADVICE,
        )
    return own
