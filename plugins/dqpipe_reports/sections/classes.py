"""Samples per class, split and group, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension
from dqpipe_reports.charts import chart, margin, named
from dqpipe_reports.page import render

if TYPE_CHECKING:
    from markupsafe import Markup

COLUMNS = {
    "dropped": "Dropped",
    "held": "Held",
    "away": "Away",
    "into": "Into",
    "added": "New",
    "review": "Review",
    "marked": "Marked",
}
SHOWN = 30
"""Rows that are visible at first; the others unfold."""


@extension
class Classes(Section):
    """Samples per class, split and group before and after, and what happened in between."""

    name = "classes"
    order = 300
    title = "Classes and balance"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A chart and a table for each of class, split and group that the dataset has."""
        words = (("class", "classes"), ("split", "splits"), ("group", "groups"))
        tables = [
            (word, record[key], columns(record[key]), balance(word, record[key]["rows"]))
            for word, key in words
            if record[key]["rows"]
        ]
        return render("classes.html", tables=tables, shown=SHOWN) if tables else ""


def balance(word: str, rows: list[Mapping[str, Any]]) -> Markup:
    """Samples before and after, one above the other, for each class; the new ones lighter."""
    few = rows[:SHOWN]
    names = named([row["name"] for row in few])
    keys = ("before", "after", "added")
    data = [
        {"name": name, **{key: row[key] for key in keys}, "old": row["after"] - row["added"]}
        for name, row in zip(names, few, strict=True)
    ]
    tall, low = {"insetTop": 1, "insetBottom": 10}, {"insetTop": 10, "insetBottom": 1}
    tip = {
        "channels": {"before": "before", "after": "after", "of them new": "added"},
        "tip": {"format": {"x": False, "x1": False, "x2": False}},
    }
    marks: list[list[Any]] = [
        [
            "barX",
            data,
            {
                "y": "name",
                "x": "before",
                "stroke": "var(--raw)",
                "fill": "var(--bg)",
                **tall,
                **tip,
            },
        ],
        ["barX", data, {"y": "name", "x1": 0, "x2": "old", "fill": "var(--curated)", **low}],
        ["barX", data, {"y": "name", "x1": "old", "x2": "after", "fill": "var(--added)", **low}],
        ["ruleX", [0], {"stroke": "var(--line)"}],
    ]
    alt = "; ".join(
        f"{name} {row['before']:,} before, {row['after']:,} after"
        for name, row in zip(names, few, strict=True)
    )
    axes: dict[str, Any] = {
        "x": {"label": None, "axis": "top", "grid": True, "ticks": 5},
        "y": {"label": None, "domain": names, "padding": 0.1},
    }
    return chart(
        f"Samples by {word}: {alt}",
        marks,
        height=34 + 22 * len(few),
        marginLeft=margin(names),
        **axes,
    )


def columns(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The columns that are not zero in every row, and always that of dropped samples."""
    rows = [*table["rows"], *([table["others"]] if table["others"] else [])]
    return [
        (name, word)
        for name, word in COLUMNS.items()
        if name == "dropped" or any(row[name] for row in rows)
    ]
