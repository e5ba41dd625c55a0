"""Where the limits lie in the distributions of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe.stages import Section, extension
from dqpipe_reports.page import render

WIDTH, HEIGHT = 240, 56


@extension
class Limits(Section):
    """How the measured facts are distributed, with the limits they were judged against drawn in."""

    name = "limits"
    order = 600
    title = "Limits"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[[str], str]) -> str:
        """A histogram for each fact, those with limits first, the others unfolding; every bar starts at zero."""
        facts = [row | {"bars": bars(row["counts"]), "lines": lines(row)} for row in record["distributions"]]
        judged, others = [row for row in facts if row["limits"]], [row for row in facts if not row["limits"]]
        return render("limits.html", judged=judged, others=others, width=WIDTH, height=HEIGHT) if facts else ""


def bars(counts: list[int]) -> str:
    """The bars as one SVG path."""
    step, most = WIDTH / len(counts), max([1, *counts])
    tops = [(round(number * step, 2), round(HEIGHT * (1 - count / most), 2)) for number, count in enumerate(counts) if count]
    return "".join(f"M{x} {HEIGHT}V{y}h{round(step - 0.6, 2)}V{HEIGHT}z" for x, y in tops)


def lines(row: Mapping[str, Any]) -> list[float]:
    """Where each limit stands, from the left."""
    return [round((limit["threshold"] - row["low"]) / (row["high"] - row["low"]) * WIDTH, 2) for limit in row["limits"]]
