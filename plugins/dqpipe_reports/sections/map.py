"""A map of the embedding, in which similar samples lie together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.charts import as_data
from dqpipe_reports.page import render
from dqpipe_reports.thumbnails import Thumbnails

SIDE = 64
"""Longer side of the thumbnails in pixels."""


@extension
class Map(Section):
    """The samples on a plane, coloured by class, finding or decision; a thumbnail where a pointer
    rests.
    """

    name = "map"
    order = 470
    title = "Embedding map"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The points as data, for page.js to draw.

        Pictures for those with a finding first, as many as may be.
        """
        told = record.get("map")
        if not told:
            return ""
        ours = thumbnail if isinstance(thumbnail, Thumbnails) else None
        most = ours.on_the_map if ours and record["account"]["media"] else 0
        pictures = {
            row: url for row in wanted(told, most) if (url := thumbnail(told["id"][row], SIDE))
        }
        keys = ("id", "x", "y", "label", "labels", "code", "every", "codes", "decision")
        data = {key: told[key] for key in keys} | {"pictures": pictures}
        return render(
            "map.html",
            map=told,
            data=as_data(data),
            pictures=len(pictures),
            decisions=[d for d in DECISIONS if d in told["decision"]],
        )


DECISIONS = ("drop", "relabel", "review", "keep")


def wanted(told: Mapping[str, Any], most: int) -> list[int]:
    """Which points get a picture.

    Those with a finding, then the others, each spread evenly over the samples.
    """
    some = [row for row, code in enumerate(told["code"]) if code >= 0]
    others = [row for row, code in enumerate(told["code"]) if code < 0]
    first = spread(some, min(most, max(most * 2 // 3, most - len(others))))
    return sorted(first + spread(others, most - len(first)))


def spread(rows: list[int], most: int) -> list[int]:
    """At most `count` of these, evenly spaced."""
    return (
        rows if len(rows) <= most else [rows[number * len(rows) // most] for number in range(most)]
    )
