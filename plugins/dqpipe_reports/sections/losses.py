"""Drop rates: the share of each class, split and group that was dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension, more_than_others
from dqpipe_reports.charts import chart, margin, named
from dqpipe_reports.page import plural, render, share

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN = 24
"""Rows of a chart: those that lost the largest share for certain."""
Z = 2.576
"""Normal quantile of a two-sided 99 % interval."""
TABLES = {"class": "classes", "split": "splits", "group": "groups"}


@extension
class Losses(Section):
    """The share of each class, split and group that was dropped, with what chance allows."""

    name = "losses"
    order = 320
    title = "Drop rates"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A sentence and a chart for each of class, split and group that the dataset has."""
        told = [(word, lost(record[key])) for word, key in TABLES.items()]
        parts = [
            {"said": said(word, rows), "chart": drawn(word, rows)}
            for word, rows in told
            if len(rows) > 1 and any(row["dropped"] for row in rows)
        ]
        return render("losses.html", parts=parts) if parts else ""


def lost(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Drop rate of each row with a 99 % interval (Wilson 1927), and whether it exceeds the others'
    beyond chance; such rows first.
    """
    rows = [
        row
        for row in [
            *table["rows"],
            *([table["others"] | {"name": "all others"}] if table["others"] else []),
        ]
        if row["before"]
    ]
    before, dropped = sum(row["before"] for row in rows), sum(row["dropped"] for row in rows)
    surely = more_than_others([row["dropped"] for row in rows], [row["before"] for row in rows])
    found = []
    for row, more in zip(rows, surely, strict=True):
        low, high = wilson(row["dropped"], row["before"])
        rest = (dropped - row["dropped"]) / max(before - row["before"], 1)
        rate = row["dropped"] / row["before"]
        found.append(
            {
                "name": row["name"],
                "before": row["before"],
                "dropped": row["dropped"],
                "rate": rate,
                "low": low,
                "high": high,
                "rest": rest,
                "more": more,
                "overall": dropped / before,
            }
        )
    return sorted(
        found, key=lambda row: (not row["more"], -row["low"], -row["rate"], str(row["name"]))
    )


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 99 % interval of a share by Wilson's score."""
    share_, spread = hits / count, Z * Z / count
    middle, half = (
        (share_ + spread / 2) / (1 + spread),
        Z * (share_ * (1 - share_) / count + spread / (4 * count)) ** 0.5 / (1 + spread),
    )
    return max(middle - half, 0.0), min(middle + half, 1.0)


def said(word: str, rows: list[dict[str, Any]]) -> str:
    """A sentence on whether a class, split or group lost more than the others."""
    more = [row for row in rows if row["more"]]
    if not more:
        overall = share(rows[0]["overall"])
        return (
            f"No {word} lost a larger share than the others beyond what chance explains; on the "
            f"whole {overall} of the samples were dropped."
        )
    listed = ", ".join(
        (
            f"{row['name'] or 'no ' + word} ({share(row['rate'])} against {share(row['rest'])} of "
            f"the others)"
        )
        for row in more[:3]
    )
    rest = f" and {len(more) - 3:,} more {plural(len(more) - 3, word)}" if len(more) > 3 else ""  # noqa: PLR2004
    return (
        f"Cleaning took more from {listed}{rest} than chance explains. Look at what was dropped "
        f"there before you train."
    )


def drawn(word: str, rows: list[dict[str, Any]]) -> Markup:
    """A chart of drop rates with intervals, and a line at the rate of the whole set."""
    few = rows[:SHOWN]
    names = named([row["name"] for row in few])
    data = [
        {"name": name, **{key: row[key] for key in ("rate", "low", "high", "dropped", "before")}}
        for name, row in zip(names, few, strict=True)
    ]
    most = [row for row, one in zip(data, few, strict=True) if one["more"]]
    usual = [row for row, one in zip(data, few, strict=True) if not one["more"]]
    marks: list[list[Any]] = [
        ["ruleX", [few[0]["overall"]], {"stroke": "var(--soft)", "strokeDasharray": "4 2"}]
    ]
    for part, colour in ((usual, "var(--curated)"), (most, "var(--drop)")):
        marks.append(
            [
                "ruleY",
                part,
                {"y": "name", "x1": "low", "x2": "high", "stroke": colour, "strokeWidth": 2},
            ]
        )
        marks.append(
            [
                "dot",
                part,
                {
                    "y": "name",
                    "x": "rate",
                    "r": 4,
                    "fill": colour,
                    "channels": {"dropped": "dropped", "of": "before"},
                    "tip": {"format": {"x": ".1%", "r": False}},
                },
            ]
        )
    alt = "; ".join(f"{name} {share(row['rate'])}" for name, row in zip(names, few, strict=True))
    return chart(
        f"Share dropped by {word}: {alt}",
        marks,
        caption=f"Share dropped by {word}"
        + (f", {SHOWN} of {len(rows):,}" if len(rows) > SHOWN else ""),
        height=34 + 20 * len(few),
        marginLeft=margin(names),
        x={"label": None, "tickFormat": "%", "grid": True, "zero": True, "axis": "top"},
        y={"label": None, "domain": names},
    )
