"""The samples as vectors, as far as the account needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Embedding(NamedTuple):
    """The samples as vectors: the fact's name, which samples have one [n] bool, and how to read
    some rows as [k, d].
    """

    fact: str
    has: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
