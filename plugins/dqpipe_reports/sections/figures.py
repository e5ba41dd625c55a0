"""What is true of the whole set, raw and curated: diversity, balance, and every other figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe.stages import Section, extension
from dqpipe_reports.page import render


@extension
class Numbers(Section):
    """Diversity and the other figures of the set and of its classes, raw and curated."""

    name = "figures"
    order = 500
    title = "Raw and curated figures"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The figures of the whole set in one table, those of classes, splits and groups below, unfolding."""
        whole = [(f["figure"], row) for f in record["figures"] if f["scope"] == "set" for row in f["rows"]]
        others = [figure for figure in record["figures"] if figure["scope"] != "set"]
        return render("figures.html", whole=whole, others=others, value=value, change=change) if record["figures"] else ""


def value(row: Mapping[str, Any], of: str) -> float | None:
    """A figure's value of the raw or the curated set."""
    return row[of]["value"] if row[of] else None


def change(row: Mapping[str, Any]) -> float | None:
    """Curated minus raw, None where one of them is missing."""
    raw, curated = value(row, "raw"), value(row, "curated")
    return None if raw is None or curated is None else curated - raw
