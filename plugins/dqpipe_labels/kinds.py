"""What a label is: a class, a set of tags, or a number."""

from __future__ import annotations

from typing import Literal

import numpy as np

Kind = Literal["class", "tags", "number"]
FEW, EACH = 20, 5
"""Whole numbers with so few different values, each that often on average, are classes."""


def kind_of(labels: np.ndarray, separator: str = "") -> Kind:
    """The kind of a label column [n]: lists are tags, and so are texts if `separator` stands between them; measurements are numbers.

    Whole numbers are classes where they count from 0 or 1 almost without gaps, or take few values; else (prices, years) they
    are numbers.
    """
    given = [label for label in labels.tolist() if label is not None and label == label]  # noqa: PLR0124 (NaN)
    if any(isinstance(label, (list, tuple)) for label in given):
        return "tags"
    if separator and given and all(isinstance(label, str) for label in given):
        return "tags"
    if not given or any(isinstance(label, bool) or not isinstance(label, (int, float)) for label in given):
        return "class"
    values = np.unique(np.array(given, dtype=np.float64))
    if not np.isfinite(values).all() or (values % 1 != 0).any():
        return "number"
    counted = values[0] in (0, 1) and values[-1] <= 1.1 * len(values) + 1 and 2 * len(values) <= len(given)
    return "class" if counted or (len(values) <= FEW and EACH * len(values) <= len(given)) else "number"
