"""From pairs of pictures that are alike to clusters with one keeper each, without chaining.

Best quality first: a picture that no better one is strongly like becomes a keeper, and every later picture that was verified
against it joins it. What is like a member, but not like its keeper, starts a cluster of its own. Then clusters whose keepers
are weakly alike become one, if every member was verified against the better keeper. So whatever is left out is like something
that is kept, and a doubtful link takes nothing away from a clear one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TURNED_BACK = np.array([0, 1, 2, 3, 4, 6, 5, 7])
"""The orientation that undoes each of the eight (see alignment.oriented)."""
STRONG = 0.3
"""Displacement up to which a link is strong: copies are below it, other pictures are not."""
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


def neighbours(count: int, links: Links) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [count + 1] of each row's neighbours in the rows [2 n] that follow."""
    ends, others = np.concatenate([links.low, links.high]), np.concatenate([links.high, links.low])
    order = np.argsort(ends, kind="stable")
    return np.searchsorted(ends[order], np.arange(count + 1)), others[order]


def led(count: int, rank: np.ndarray, links: Links) -> np.ndarray:
    """The keeper [count] of each row by strong links, itself if it is one; `rank` [count] has the rows in order of quality."""
    strong = links.distance <= STRONG
    bounds, others = neighbours(count, Links(*(values[strong] for values in vars(links).values())))
    keeper, settled = np.arange(count), np.zeros(count, dtype=bool)
    for row in rank[np.diff(bounds)[rank] > 0].tolist():
        if not settled[row]:
            near = others[bounds[row] : bounds[row + 1]]
            near = near[~settled[near]]
            keeper[near] = row
            settled[near] = settled[row] = True
    return keeper


def merged(rank: np.ndarray, keeper: np.ndarray, links: Links) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """The row [count] that each keeper joins by weak links, itself if none; and the pairs whose comparison was missing for that."""
    bounds, others = neighbours(len(rank), links)
    place = np.argsort(rank, kind="stable")
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(keeper != np.arange(len(rank))).tolist():
        members.setdefault(int(keeper[row]), []).append(row)
    into, missing = np.arange(len(rank)), set()
    for row in rank[np.diff(bounds)[rank] > 0].tolist():
        if keeper[row] != row or into[row] != row:
            continue
        near = set(others[bounds[row] : bounds[row + 1]].tolist())
        for head in sorted(near):
            if keeper[head] == head and into[head] == head and place[head] > place[row]:
                strangers = [one for one in members.get(head, []) if one not in near]
                missing |= {(min(row, one), max(row, one)) for one in strangers}
                into[head] = head if strangers else row
    return into, missing


def crossing(keeper: np.ndarray, links: Links) -> set[tuple[int, int]]:
    """Pairs, of clusters that a strong link crosses, that may make them one: keeper and keeper, and each keeper and the other end."""
    across = (links.distance <= STRONG) & (keeper[links.low] != keeper[links.high])
    low, high = links.low[across], links.high[across]
    a, b = keeper[low], keeper[high]
    pairs = [np.stack([np.minimum(x, y), np.maximum(x, y)], axis=1) for x, y in ((a, b), (a, high), (b, low))]
    return set(map(tuple, np.concatenate(pairs).tolist()))


def clustered(count: int, rank: np.ndarray, links: Links, compare: Compare) -> tuple[np.ndarray, Links]:
    """What each row [count] is a copy of, itself if of nothing, and all links; `compare` is asked about pairs that were not compared.

    A row leads to its keeper in two steps at most: a strong one, then a weak one.
    """
    asked = set(zip(links.low.tolist(), links.high.tolist(), strict=True))
    for _ in range(ROUNDS):
        keeper = led(count, rank, links)
        into, missing = merged(rank, keeper, links)
        pairs = sorted((missing | crossing(keeper, links)) - asked)
        if not pairs:
            break
        asked.update(pairs)
        links = links.joined(compare(np.array(pairs, dtype=np.int64)))
    return np.where(keeper == np.arange(count), into, keeper), links
