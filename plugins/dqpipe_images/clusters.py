"""From pairs of pictures that are alike to clusters with one keeper each, without chaining.

Best quality first: a picture that no better one is strongly like becomes a keeper, and every later
picture that was verified against one joins the one it is most like. What is like a member, but not
like its keeper, starts a cluster of its own. Then clusters whose keepers are weakly alike become
one, if every member was verified against the better keeper. So whatever is left out is like
something that is kept, and a doubtful link takes nothing away from a clear one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dqpipe_images.alignment import oriented

TURNED_BACK = np.array([0, 1, 2, 3, 4, 6, 5, 7])
"""The orientation that undoes each of the eight (see alignment.oriented)."""
CORNERS = np.arange(4).reshape(1, 2, 2)
EVERY_TURN = np.concatenate([oriented(CORNERS, np.array([turn])) for turn in range(8)])
TURNED_TWICE = np.array(
    [
        [
            int(
                (oriented(EVERY_TURN[[first]], np.array([then])) == EVERY_TURN).all((1, 2)).argmax()
            )
            for first in range(8)
        ]
        for then in range(8)
    ]
)
"""[then, first]: the orientation that equals `first` and `then` after it."""
STRONG = 0.3
"""Displacement up to which a link is strong: copies are below it, other pictures are not."""
ROUNDS = 8
"""Rounds in which clusters that touch are asked whether they are one."""

Compare = Callable[[np.ndarray, np.ndarray], "Links"]
"""Pairs [n, 2] (template, picture) and the orientation [n] to try to their verified links."""


@dataclass(frozen=True)
class Links:
    """Verified pairs, each once, sorted: low < high, rows [n].

    How far apart, [n]; the orientation [n] that lays `high` on `low`.
    """

    low: np.ndarray
    high: np.ndarray
    distance: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, pairs: np.ndarray, distance: np.ndarray, turn: np.ndarray) -> Links:
        """Links of pairs [n, 2] (template, picture), the nearest of those that stand more than
        once; `turn` lays picture on template.
        """
        swapped = pairs[:, 0] > pairs[:, 1]
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        turn = np.where(swapped, TURNED_BACK[turn], turn)
        order = np.lexsort((turn, distance, high, low))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
        return cls(*(values[order[first]] for values in (low, high, distance, turn)))

    def joined(self, other: Links) -> Links:
        """These links and others."""
        pairs = np.concatenate(
            [np.stack([links.low, links.high], axis=1) for links in (self, other)]
        )
        return Links.of(
            pairs,
            np.concatenate([self.distance, other.distance]),
            np.concatenate([self.turn, other.turn]),
        )

    def between(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the links between rows a and b, [m] each, which must exist.

        How far apart, and the turns that lay b on a.
        """
        count = np.int64(self.high.max(initial=0) + 1)
        at = np.searchsorted(
            self.low * count + self.high, np.minimum(a, b) * count + np.maximum(a, b)
        )
        return self.distance[at], np.where(a < b, self.turn[at], TURNED_BACK[self.turn[at]])


def neighbours(count: int, links: Links) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [count + 1] of each row's neighbours in the rows [2 n] that follow."""
    ends, others = np.concatenate([links.low, links.high]), np.concatenate([links.high, links.low])
    order = np.argsort(ends, kind="stable")
    return np.searchsorted(ends[order], np.arange(count + 1)), others[order]


def strong(links: Links) -> Links:
    """The strong ones of the links."""
    near = links.distance <= STRONG
    return Links(*(values[near] for values in vars(links).values()))


def led(count: int, rank: np.ndarray, links: Links) -> np.ndarray:
    """The keeper [count] of each row by links, itself if it is one.

    `rank` [count] has the rows in order of quality.
    """
    bounds, others = neighbours(count, links)
    keeper, settled = np.arange(count), np.zeros(count, dtype=bool)
    for row in rank[np.diff(bounds)[rank] > 0].tolist():
        if not settled[row]:
            near = others[bounds[row] : bounds[row + 1]]
            near = near[~settled[near]]
            keeper[near] = row
            settled[near] = settled[row] = True
    return keeper


def nearest(keeper: np.ndarray, links: Links) -> np.ndarray:
    """The same keepers, but every other row [count] goes to the one that it is most like."""
    own = keeper == np.arange(len(keeper))
    member, head = np.concatenate([links.low, links.high]), np.concatenate([links.high, links.low])
    distance = np.concatenate([links.distance, links.distance])
    order = np.lexsort((head, distance, member))
    order = order[~own[member[order]] & own[head[order]]]
    first = order[np.unique(member[order], return_index=True)[1]]
    out = keeper.copy()
    out[member[first]] = head[first]
    return out


def merged(
    rank: np.ndarray, keeper: np.ndarray, links: Links
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """The row [count] that each keeper joins by weak links, itself if none.

    And where it could not, (row, head, member) not linked.
    """
    bounds, others = neighbours(len(rank), links)
    place = np.argsort(rank, kind="stable")
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(keeper != np.arange(len(rank))).tolist():
        members.setdefault(int(keeper[row]), []).append(row)
    into, missing = np.arange(len(rank)), []
    for row in rank[np.diff(bounds)[rank] > 0].tolist():
        if keeper[row] != row or into[row] != row:
            continue
        near = set(others[bounds[row] : bounds[row + 1]].tolist())
        for head in sorted(near):
            if keeper[head] == head and into[head] == head and place[head] > place[row]:
                strangers = [one for one in members.get(head, []) if one not in near]
                missing += [(row, head, one) for one in strangers]
                into[head] = head if strangers else row
    return into, missing


def crossing(keeper: np.ndarray, links: Links) -> list[np.ndarray]:
    """Columns (a, b, the turn that lays b on a) [n, 3] of pairs whose clusters a link crosses.

    They are keeper and keeper, and each keeper and the other end of the link.
    """
    across = keeper[links.low] != keeper[links.high]
    low, high, turn = links.low[across], links.high[across], links.turn[across]
    a, b, back = keeper[low], keeper[high], TURNED_BACK[turn]
    low_on_a, high_on_b = laid(keeper, low, links), laid(keeper, high, links)
    high_on_a, low_on_b = TURNED_TWICE[low_on_a, turn], TURNED_TWICE[high_on_b, back]
    b_on_a = TURNED_TWICE[high_on_a, TURNED_BACK[high_on_b]]
    return [
        np.stack(columns, axis=1)
        for columns in ((a, b, b_on_a), (a, high, high_on_a), (b, low, low_on_b))
    ]


def laid(keeper: np.ndarray, rows: np.ndarray, links: Links) -> np.ndarray:
    """The turns [n] that lay rows on their keepers."""
    turns, led_there = np.zeros(len(rows), dtype=np.int64), np.flatnonzero(keeper[rows] != rows)
    turns[led_there] = links.between(keeper[rows[led_there]], rows[led_there])[1]
    return turns


def once(pairs: list[np.ndarray], asked: set[tuple[int, int]]) -> np.ndarray:
    """Columns (low, high, turn) [n, 3] of the pairs (a, b, turn) that were not compared yet, each
    once.
    """
    every = np.concatenate(pairs)
    a, b, turn = every[every[:, 0] != every[:, 1]].T
    ordered = np.stack(
        [np.minimum(a, b), np.maximum(a, b), np.where(a < b, turn, TURNED_BACK[turn])], axis=1
    )
    wanted = {(low, high): turn for low, high, turn in sorted(ordered.tolist(), reverse=True)}
    return np.array(
        sorted((*pair, turn) for pair, turn in wanted.items() if pair not in asked), dtype=np.int64
    ).reshape(-1, 3)


def clustered(
    count: int, rank: np.ndarray, links: Links, compare: Compare
) -> tuple[np.ndarray, Links]:
    """What each row [count] is a copy of, itself if of nothing, and all links.

    `compare` is asked about pairs that were not compared.

    A row leads to its keeper in two steps at most: a strong one, then a weak one.
    """
    asked = set(zip(links.low.tolist(), links.high.tolist(), strict=True))

    def answered(pairs: np.ndarray) -> Links:
        asked.update(map(tuple, pairs[:, :2].tolist()))
        return links.joined(compare(pairs[:, :2], pairs[:, 2]))

    for _ in range(ROUNDS):
        keeper = led(count, rank, strong(links))
        pairs = once(crossing(keeper, strong(links)), asked)
        if not len(pairs):
            break
        links = answered(pairs)
    keeper = nearest(led(count, rank, strong(links)), strong(links))
    for _ in range(ROUNDS):
        into, missing = merged(rank, keeper, links)
        row, head, member = np.array(missing, dtype=np.int64).reshape(-1, 3).T
        member_on_row = TURNED_TWICE[links.between(row, head)[1], laid(keeper, member, links)]
        pairs = once([np.stack([row, member, member_on_row], axis=1)], asked)
        if not len(pairs):
            break
        links = answered(pairs)
    return np.where(keeper == np.arange(count), into, keeper), links
