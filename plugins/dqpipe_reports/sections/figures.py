"""Figures of the raw and the curated set: diversity, balance, and all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension
from dqpipe_reports.charts import chart, margin, named
from dqpipe_reports.page import render, significant

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN = 30
"""Keys of a chart at most."""


@extension
class Numbers(Section):
    """Diversity and the other figures of the set and of its classes, raw and curated."""

    name = "figures"
    order = 500
    title = "Metrics"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The figures of the whole set in one table, those of classes, splits and groups below,
        unfolding.
        """
        whole = [
            (f["figure"], row)
            for f in record["figures"]
            if f["scope"] == "set"
            for row in f["rows"]
        ]
        others = [
            figure | {"chart": moved(figure)}
            for figure in record["figures"]
            if figure["scope"] != "set"
        ]
        return (
            render("figures.html", whole=whole, others=others, value=value, change=change)
            if record["figures"]
            else ""
        )


def moved(figure: Mapping[str, Any]) -> Markup | str:
    """A chart of the raw and the curated value of each key, largest changes first.

    "" if nothing can be compared.
    """
    both = sorted(
        (row for row in figure["rows"] if change(row) is not None),
        key=lambda row: -abs(change(row) or 0),
    )[:SHOWN]
    if len(both) < 2:  # noqa: PLR2004
        return ""
    names = named([row["key"] for row in both])
    data = [
        {"name": name, "raw": value(row, "raw"), "curated": value(row, "curated")}
        for name, row in zip(names, both, strict=True)
    ]
    marks: list[list[Any]] = [
        [
            "ruleY",
            data,
            {
                "y": "name",
                "x1": "raw",
                "x2": "curated",
                "stroke": "var(--curated)",
                "strokeWidth": 2,
            },
        ],
        [
            "dot",
            data,
            {
                "y": "name",
                "x": "raw",
                "r": 4,
                "stroke": "var(--raw)",
                "strokeWidth": 2,
                "fill": "var(--bg)",
            },
        ],
        [
            "dot",
            data,
            {
                "y": "name",
                "x": "curated",
                "r": 4.5,
                "fill": "var(--curated)",
                "channels": {"raw": "raw"},
                "tip": {"format": {"r": False}},
            },
        ],
    ]
    alt = "; ".join(
        f"{name} {significant(value(row, 'raw'))} raw, {significant(value(row, 'curated'))} curated"
        for name, row in zip(names, both, strict=True)
    )
    title = f"{figure['figure']} by {figure['scope']}"
    return chart(
        f"{title}: {alt}",
        marks,
        height=34 + 20 * len(both),
        marginLeft=margin(names),
        x={"label": None, "axis": "top", "grid": True, "ticks": 5},
        y={"label": None, "domain": names},
    )


def value(row: Mapping[str, Any], of: str) -> float | None:
    """A figure's value of the raw or the curated set."""
    return row[of]["value"] if row[of] else None


def change(row: Mapping[str, Any]) -> float | None:
    """Curated minus raw, None where one of them is missing."""
    raw, curated = value(row, "raw"), value(row, "curated")
    return None if raw is None or curated is None else curated - raw
