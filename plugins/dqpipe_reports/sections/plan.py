"""The run itself: stages, options, versions, seed and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.page import render


@extension
class Plan(Section):
    """The plan with its options, the time and memory each step took, versions and seed: what is
    needed to run it again.
    """

    name = "plan"
    order = 900
    title = "Run"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """Stages with options, timings with bars, versions; the whole configuration unfolds."""
        run = record["run"]
        timings = run.get("timings", [])
        most = max((row.get("seconds") or 0 for row in timings), default=0)
        return render(
            "plan.html",
            run=run,
            timings=timings,
            most=most,
            failures=record["failures"],
            schema=record["schema"],
        )
