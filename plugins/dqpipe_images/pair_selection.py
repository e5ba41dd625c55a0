"""Which of the pairs that look alike are compared.

Enough to lead every row to a keeper, far fewer than all within a crowd of copies.

First every row with the best row that it looks like. Rows that are strongly linked to one and the
same are its followers, and need not be compared with each other. Of the pairs that are left, the
one most alike of each two clusters is compared, and, while they are not linked, the next ones,
TRIES at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dqpipe_images.candidates import Candidates
from dqpipe_images.clusters import Links, led, strong

TRIES = 4


def spanned(
    count: int, rank: np.ndarray, found: Candidates, verified: Callable[[np.ndarray], Links]
) -> Links:
    """Verified links among `count` rows; `verified` compares the candidates at some positions.

    `rank` has the rows in order of quality.
    """
    low, high = found.pairs.min(axis=1), found.pairs.max(axis=1)
    pair, entry = np.unique(low * np.int64(count) + high, return_inverse=True)
    low, high = np.divmod(pair, count)
    alike = np.zeros(len(pair), np.float32)
    np.maximum.at(alike, entry, found.alike)
    hub = led(count, rank, Links(low, high, 1 - alike, np.zeros(len(pair), np.int64)))
    wanted = (hub[low] == high) | (hub[high] == low)
    compared = wanted.copy()
    best = np.lexsort((-found.alike, entry))
    best = best[np.r_[True, np.diff(entry[best]) != 0]] if len(best) else best

    def answered(asked: np.ndarray) -> Links:
        """Links of some pairs [n], compared in the guise in which they are most alike and, where
        that is no strong link, in the others.
        """
        links = verified(best[asked])
        near = strong(links)
        unsure = np.zeros(len(pair), dtype=bool)
        unsure[asked] = True
        unsure[np.searchsorted(pair, near.low * np.int64(count) + near.high)] = False
        left = unsure[entry]
        left[best] = False
        return links.joined(verified(np.flatnonzero(left)))

    links = answered(np.flatnonzero(wanted))
    cluster = followers(count, rank, links)
    linked = np.empty(0, np.int64)
    for _ in range(TRIES):
        a, b = np.minimum(cluster[low], cluster[high]), np.maximum(cluster[low], cluster[high])
        left = np.flatnonzero(~compared & (a != b) & ~np.isin(a * count + b, linked))
        if not len(left):
            break
        order = left[np.lexsort((left, -alike[left], b[left], a[left]))]
        between = a[order] * count + b[order]
        chosen = order[np.r_[True, between[1:] != between[:-1]]]
        compared[chosen] = True
        more = answered(np.sort(chosen))
        links = links.joined(more)
        near = strong(more)
        ends = np.sort(np.stack([cluster[near.low], cluster[near.high]]), axis=0)
        linked = np.unique(np.concatenate([linked, ends[0] * count + ends[1]]))
    return links


def followers(count: int, rank: np.ndarray, links: Links) -> np.ndarray:
    """The row [count] that each follows by a strong link, itself if none."""
    return led(count, rank, strong(links))
