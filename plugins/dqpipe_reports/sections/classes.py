"""Samples per class, split and group, before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe.stages import Section, extension
from dqpipe_reports.page import render

COLUMNS = {"dropped": "Dropped", "held": "Held", "away": "Away", "into": "Into", "added": "New", "review": "Review", "marked": "Marked"}
SHOWN = 30
"""Rows that are seen at once; the others unfold."""


@extension
class Classes(Section):
    """Samples per class, split and group before and after, and what happened in between."""

    name = "classes"
    order = 300
    title = "Before and after"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[[str], str]) -> str:
        """One table for each of class, split and group that the dataset has."""
        words = (("class", "classes"), ("split", "splits"), ("group", "groups"))
        tables = [(word, record[key], columns(record[key])) for word, key in words if record[key]["rows"]]
        return render("classes.html", tables=tables, shown=SHOWN) if tables else ""


def columns(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The columns that are not zero in every row; what was dropped always stands."""
    rows = [*table["rows"], *([table["others"]] if table["others"] else [])]
    return [(name, word) for name, word in COLUMNS.items() if name == "dropped" or any(row[name] for row in rows)]
