"""Distributions of measured facts, with the thresholds they were judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension
from dqpipe_reports.charts import chart
from dqpipe_reports.page import many, render, significant

if TYPE_CHECKING:
    from markupsafe import Markup

HEIGHT = 110


@extension
class Limits(Section):
    """How the measured facts are distributed, with the limits they were judged against drawn in."""

    name = "limits"
    order = 600
    title = "Thresholds"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A histogram for each fact, those with limits first, the others unfolding.

        Every bar starts at zero.
        """
        facts = [row | {"chart": histogram(row)} for row in record["distributions"]]
        judged, others = (
            [row for row in facts if row["limits"]],
            [row for row in facts if not row["limits"]],
        )
        return render("limits.html", judged=judged, others=others) if facts else ""


def histogram(row: Mapping[str, Any]) -> Markup:
    """The distribution of one fact as a chart.

    On the scale of square roots where few bars would hide all others.
    """
    low, high, counts = row["low"], row["high"], row["counts"]
    step = (high - low) / len(counts)
    bars = [
        {"a": low + step * number, "b": low + step * (number + 1), "n": count}
        for number, count in enumerate(counts)
        if count
    ]
    lines = [{"x": limit["threshold"], "code": limit["code"]} for limit in row["limits"]]
    marks: list[list[Any]] = [
        [
            "rectY",
            bars,
            {
                "x1": "a",
                "x2": "b",
                "y": "n",
                "fill": "var(--raw)",
                "insetLeft": 0.3,
                "insetRight": 0.3,
                "tip": {"format": {"x": ".3~g"}},
            },
        ],
        ["ruleY", [0], {"stroke": "var(--line)"}],
        [
            "ruleX",
            lines,
            {"x": "x", "stroke": "var(--drop)", "strokeWidth": 1.5, "strokeDasharray": "4 2"},
        ],
    ]
    return chart(
        alt(row),
        marks,
        height=HEIGHT,
        marginLeft=38,
        marginBottom=22,
        marginTop=8,
        marginRight=8,
        x={"label": None, "ticks": 4, "tickSize": 3},
        y={
            "label": None,
            "ticks": 3,
            "tickSize": 3,
            "type": "sqrt" if skewed(counts) else "linear",
        },
    )


def skewed(counts: list[int]) -> bool:
    """Whether the highest bar is so high that the others are hardly visible."""
    some = sorted(count for count in counts if count)
    return bool(some) and some[-1] > 20 * some[len(some) // 2]


def alt(row: Mapping[str, Any]) -> str:
    """A description of the chart in words."""
    least, middle, most = (significant(row[key], 3) for key in ("least", "middle", "most"))
    limits = "".join(
        f"; limit {significant(limit['threshold'], 3)} for {limit['code']}"
        for limit in row["limits"]
    )
    return (
        f"{row['fact']} of {many(row['samples'], 'sample')}: from {least} to {most}, half of them "
        f"below {middle}{limits}"
    )
