"""Labels as classes: which ones there are, in which order, and which sample has which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dqpipe.data.labels import label_text
from dqpipe.errors import StageError

ADVICE = "Leave {stage} out of the pipeline, or give it columns of classes."


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes in order, as label texts, and the position of each sample's class, int64 [n]; -1 without a label."""

    names: tuple[str, ...]
    given: np.ndarray


def classes_of(stage: str, labels: np.ndarray) -> Classes:
    """The classes of a label column. Raises StageError for labels that are no classes (lists, measurements)."""
    values = [None if label is None or label != label else plain(stage, label) for label in labels.tolist()]  # noqa: PLR0124 (NaN)
    kinds = {type(value) for value in values if value is not None}
    numeric = kinds <= {int, float, bool}
    present = {value for value in values if value is not None}
    ordered = sorted(present) if numeric or kinds == {str} else sorted(present, key=lambda value: (str(type(value)), str(value)))
    place = {value: position for position, value in enumerate(ordered)}
    given = np.array([-1 if value is None else place[value] for value in values], dtype=np.int64)
    return Classes(tuple(str(label_text(value)) for value in ordered), given)


def plain(stage: str, label: object) -> str | float | bool:
    """A label that names a class; StageError for one that measures something, or that is several."""
    if isinstance(label, float) and not label.is_integer():
        raise StageError(stage, "relate", f"it judges class labels, and here a label is the number {label}", ADVICE.format(stage=stage))
    if not isinstance(label, (str, int, float, bool)):
        what = f"it judges one class label for each sample, and here a label is a {type(label).__name__}"
        raise StageError(stage, "relate", what, ADVICE.format(stage=stage))
    return label
