"""The rows of a review queue.

Removing a row, putting it back and finding the first take the same time in a queue of any length.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence


class Waiting:
    """A queue of rows in a fixed order, each waiting or not."""

    def __init__(self, order: Sequence[int], waits: Callable[[int], bool]) -> None:
        self.order, self.place = order, {row: place for place, row in enumerate(order)}
        self.rows = {row for row in order if waits(row)}
        self.heap = [place for place, row in enumerate(order) if row in self.rows]
        """Places of all that wait, and of some that wait no more."""
        self.held = set(self.heap)

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, row: int, *, waits: bool) -> None:
        """Set whether a row waits; rows outside the queue are ignored."""
        if not waits:
            self.rows.discard(row)
        elif row in self.place:
            self.rows.add(row)
            if self.place[row] not in self.held:
                self.held.add(self.place[row])
                heapq.heappush(self.heap, self.place[row])

    def first(self, number: int, chosen: Callable[[int], bool]) -> list[int]:
        """The first waiting rows that are chosen, at most `count`."""
        found: list[int] = []
        seen: list[int] = []
        while self.heap and len(found) < number:
            place = heapq.heappop(self.heap)
            row = self.order[place]
            if row not in self.rows:
                self.held.discard(place)
                continue
            seen.append(place)
            if chosen(row):
                found.append(row)
        for place in seen:
            heapq.heappush(self.heap, place)
        return found
