"""The interface of executors, and the retry of work whose worker process died.

    every item ──together──▶ result
                     └─▶ its worker died: a suspect ──alone──▶ result
                                                       └─▶ its worker died, the third time: Lost

A cluster may say of several that their worker died: only what dies alone is to blame for it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)
DEATHS = 3
"""So many worker processes may die of one item."""
MANY = 8
"""Suspects, before anything was finished: they are looked at before more workers die."""


@dataclass(frozen=True)
class Lost:
    """In place of a result: the number and name of an item that killed its worker process at every
    attempt, and how.
    """

    number: int
    name: str
    reason: str


@dataclass(frozen=True)
class Died:
    """In place of a result, until a retry: how often worker processes died at this item."""

    reason: str
    times: int = 1


class WorkerDied(Exception):  # noqa: N818 (what happened, not what is wrong)
    """A worker process ended before it returned its result."""


Round = Callable[[Sequence[int]], Iterator[tuple[int, Any]]]
"""(number, result or Died) of each of these items, in any order.

What is running when it is closed is given up.
"""


def patiently(attempt: Round, names: Sequence[str]) -> Iterator[Any]:
    """The results of all items; items whose worker died are retried one at a time, so that the
    cause is certain.
    """
    waiting = dict.fromkeys(range(len(names)))
    finished = 0
    while waiting:
        suspects: dict[int, Died] = {}
        for number, result in attempt(list(waiting)):
            del waiting[number]
            if isinstance(result, Died):
                log.warning(
                    "%s: its worker process died (%s); it is tried again, alone",
                    names[number],
                    result.reason,
                )
                suspects[number] = result
            else:
                finished += 1
                yield result
            if len(suspects) == MANY and not finished:
                break
        for number, death in suspects.items():
            yield alone(attempt, number, names[number], death)


def alone(attempt: Round, number: int, name: str, death: Died) -> Any:  # noqa: ANN401
    """The result of one retried item, or Lost."""
    deaths = Counter(
        {number: min(death.times, DEATHS - 1)}
    )  # in company it may have been another's fault
    while deaths[number] < DEATHS:
        ((_, result),) = attempt([number])
        if not isinstance(result, Died):
            return result
        death = result
        deaths[number] += death.times
    log.error(
        "%s: %d worker processes died of it (%s); it is given up",
        name,
        deaths[number],
        death.reason,
    )
    return Lost(number, name, death.reason)
