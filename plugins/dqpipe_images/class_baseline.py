"""What is usual among the pictures that a picture can be compared with.

Those of its class, or all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAD_TO_SIGMA = (
    1.4826  # the standard deviation of a normal distribution, by its median absolute deviation
)


@dataclass(frozen=True, eq=False)
class Peers:
    """The class of each sample [n] (None.

    No label), which of them count [n] bool, and how few are too few.
    """

    labels: np.ndarray
    counted: np.ndarray
    least: int

    def usual(self, values: np.ndarray, least_spread: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Median and robust standard deviation [n] among a sample's peers.

        NaN where there are too few of them.

        The standard deviation is taken from the median absolute deviation (Rousseeuw & Croux 1993),
        which holds while fewer than half of the peers are faulty, and never below `least_spread`.
        """

        def median_and_spread(known: np.ndarray) -> tuple[float, float]:
            middle = float(np.median(known))
            return middle, max(
                least_spread, MAD_TO_SIGMA * float(np.median(np.abs(known - middle)))
            )

        found = self.among(values, median_and_spread)
        return found[:, 0], found[:, 1]

    def among(
        self, values: np.ndarray, summary: Callable[[np.ndarray], tuple[float, ...]]
    ) -> np.ndarray:
        """float64 [n, k]: k numbers of the values among each sample's peers.

        NaN where there are too few of them.
        """
        known = self.counted & ~np.isnan(values)
        whole = summary(values[known]) if known.sum() >= self.least else None
        width = len(whole) if whole else len(summary(np.zeros(1)))
        found = np.tile(np.array(whole or [np.nan] * width, dtype=np.float64), (len(values), 1))
        order = np.argsort(self.labels, kind="stable")
        edges = np.flatnonzero(self.labels[order][1:] != self.labels[order][:-1]) + 1
        for rows in np.split(order, edges):
            here = rows[known[rows]]
            if len(here) >= self.least and self.labels[rows[0]] >= 0:
                found[rows] = summary(values[here])
        return found
