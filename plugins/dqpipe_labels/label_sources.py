"""What `label_noise` judges labels by.

Which labels can be judged, groups of copies, seeds, the user's own predictions.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from dqpipe import Facts, Samples, StageError, listed, many, plural
from dqpipe_labels.columns import equal_rows, unfit, vectors_of
from dqpipe_labels.multilabel import tags_of
from dqpipe_labels.probabilities import ADVICE, read_columns


class Judging(Protocol):
    """The options of `label_noise` that judging depends on, whatever the kind of label."""

    name: ClassVar[str]

    @property
    def vectors(self) -> tuple[str, ...] | str | None:
        """What labels are judged by: a fact, or columns."""

    @property
    def probabilities(self) -> tuple[str, ...] | str | None:
        """The user's own out-of-fold probabilities or predictions."""

    @property
    def separator(self) -> str:
        """What stands between tags in a text."""

    @property
    def folds(self) -> int:
        """Parts that the samples are cut into."""

    @property
    def repeats(self) -> int | None:
        """How often that is done."""

    @property
    def least(self) -> int:
        """Different things that a class must have."""

    @property
    def deviates(self) -> float:
        """The deviation from which a number is claimed."""

    @property
    def seed(self) -> int:
        """What the folds are drawn from."""

    def grouping(self) -> str | None:
        """The fact that tells copies."""

    def kind(self, samples: Samples) -> str:
        """What the labels are."""


def objection(stage: Judging, samples: Samples) -> str | None:
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


def groups_of(stage: Judging, samples: Samples, facts: Facts) -> np.ndarray:
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


def seeds(stage: Judging) -> range:
    """One seed for each repeat."""
    repeats = stage.repeats or 2
    return range(stage.seed * repeats, (stage.seed + 1) * repeats)


def finite(stage: Judging, samples: Samples, names: tuple[str, ...]) -> np.ndarray:
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
