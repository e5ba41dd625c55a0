"""The findings of each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension
from dqpipe_reports.charts import chart, margin
from dqpipe_reports.page import anchor, known_codes, many, render, share

if TYPE_CHECKING:
    from markupsafe import Markup


@extension
class Found(Section):
    """Findings per stage and code, and what became of the samples that carry them."""

    name = "findings"
    order = 200
    title = "Issues"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A table with bars on one scale; codes without findings are named below it."""
        stages = [
            stage | {"codes": [row for row in stage["codes"] if row["findings"]]}
            for stage in record["counts"]["stages"]
        ]
        silent = [
            row["code"]
            for stage in record["counts"]["stages"]
            for row in stage["codes"]
            if not row["findings"]
        ]
        most = max((row["samples"] for stage in stages for row in stage["codes"]), default=0)
        links = {code: anchor(code) for code, has in known_codes(record).items() if has}
        sure = {"sure": record.get("sure", {}), "chart": sureness(record)}
        return render(
            "findings.html",
            stages=[s for s in stages if s["codes"]],
            silent=silent,
            most=most,
            links=links,
            account=record["account"],
            **sure,
        )


def sureness(record: Mapping[str, Any]) -> Markup | str:
    """How the confidence of each claim is spread, "" where none states any.

    A row of tenths for each code, darker where more findings lie.
    """
    told = {code: row for code, row in record.get("sure", {}).items() if row["stated"]}
    if not told:
        return ""
    cells = [
        {
            "code": code,
            "a": number / len(row["counts"]),
            "b": (number + 1) / len(row["counts"]),
            "n": count,
            "share": count / row["stated"],
        }
        for code, row in told.items()
        for number, count in enumerate(row["counts"])
        if count
    ]
    middles = [{"code": code, "middle": row["middle"]} for code, row in told.items()]
    marks: list[list[Any]] = [
        [
            "barX",
            cells,
            {
                "y": "code",
                "x1": "a",
                "x2": "b",
                "fill": "var(--curated)",
                "fillOpacity": "share",
                "insetLeft": 0.5,
                "insetRight": 0.5,
                "channels": {"findings": "n"},
                "tip": {"format": {"fillOpacity": False, "x1": ".0%", "x2": ".0%"}},
            },
        ],
        ["tickX", middles, {"y": "code", "x": "middle", "stroke": "var(--ink)", "strokeWidth": 2}],
    ]
    alt = "; ".join(
        f"{code}: {many(row['stated'], 'finding')}, the middle one {share(row['middle'])}"
        for code, row in told.items()
    )
    return chart(
        f"Confidence by issue: {alt}",
        marks,
        height=44 + 22 * len(told),
        marginLeft=margin(list(told)),
        x={"label": None, "axis": "top", "tickFormat": "%", "domain": [0, 1]},
        y={"label": None, "domain": list(told)},
        opacity={"domain": [0, 1], "range": [0.12, 1]},
    )
