"""From pairs of pictures that are alike to clusters with one keeper each, without chaining.

Best quality first: a picture that no better one is like becomes a keeper, and every later picture that was verified against
it joins it. What is like a member, but not like its keeper, starts a cluster of its own. So whatever is left out is like
something that is kept, and no two keepers are like each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TURNED_BACK = np.array([0, 1, 2, 3, 4, 6, 5, 7])
"""The orientation that undoes each of the eight (see alignment.oriented)."""
ROUNDS = 8
"""Rounds in which clusters that touch are asked whether they are one."""

Compare = Callable[[np.ndarray], "Links"]


@dataclass(frozen=True)
class Links:
    """Verified pairs, each once, sorted: low < high, rows [n]; how far apart, [n]; the orientation [n] that lays `high` on `low`."""

    low: np.ndarray
    high: np.ndarray
    distance: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, pairs: np.ndarray, distance: np.ndarray, turn: np.ndarray) -> Links:
        """Links of pairs [n, 2] (template, picture), the nearest of those that stand more than once; `turn` lays picture on template."""
        swapped = pairs[:, 0] > pairs[:, 1]
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        turn = np.where(swapped, TURNED_BACK[turn], turn)
        order = np.lexsort((turn, distance, high, low))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
        return cls(*(values[order[first]] for values in (low, high, distance, turn)))

    def joined(self, other: Links) -> Links:
        """These links and others."""
        pairs = np.concatenate([np.stack([links.low, links.high], axis=1) for links in (self, other)])
        return Links.of(pairs, np.concatenate([self.distance, other.distance]), np.concatenate([self.turn, other.turn]))

    def find(self, a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
        """Positions of the links between rows a and b, [m] each, which must exist, of `count` rows in all."""
        return np.searchsorted(self.low * count + self.high, np.minimum(a, b) * count + np.maximum(a, b))


def led(count: int, rank: np.ndarray, links: Links) -> np.ndarray:
    """The keeper [count] of each row, itself if it is one; `rank` [count] is the order of quality, the best first."""
    ends = np.concatenate([links.low, links.high])
    others = np.concatenate([links.high, links.low])
    order = np.argsort(ends, kind="stable")
    bounds, others = np.searchsorted(ends[order], np.arange(count + 1)), others[order]
    keeper = np.arange(count)
    settled = np.zeros(count, dtype=bool)
    for row in rank[np.diff(bounds)[rank] > 0].tolist():
        if settled[row]:
            continue
        near = others[bounds[row] : bounds[row + 1]]
        near = near[~settled[near]]
        keeper[near] = row
        settled[near] = settled[row] = True
    return keeper


def unasked(keeper: np.ndarray, links: Links, asked: set[tuple[int, int]]) -> np.ndarray:
    """Pairs [n, 2] not compared yet, of clusters that a link crosses: keeper and keeper, and each keeper and the other end."""
    crossing = keeper[links.low] != keeper[links.high]
    low, high = links.low[crossing], links.high[crossing]
    a, b = keeper[low], keeper[high]
    wanted = {tuple(sorted(pair)) for x, y in ((a, b), (a, high), (b, low)) for pair in zip(x.tolist(), y.tolist(), strict=True)}
    return np.array(sorted(pair for pair in wanted - asked if pair[0] != pair[1]), dtype=np.int64).reshape(-1, 2)


def clustered(count: int, rank: np.ndarray, links: Links, compare: Compare) -> tuple[np.ndarray, Links]:
    """The keeper [count] of each row, and all links; where clusters touch, `compare` is asked about pairs that no one compared."""
    asked = set(zip(links.low.tolist(), links.high.tolist(), strict=True))
    keeper = led(count, rank, links)
    for _ in range(ROUNDS):
        pairs = unasked(keeper, links, asked)
        if not len(pairs):
            break
        asked |= set(map(tuple, pairs.tolist()))
        links = links.joined(compare(pairs))
        keeper = led(count, rank, links)
    return keeper, links
