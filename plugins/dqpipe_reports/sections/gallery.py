"""The strongest examples of each finding code, beside the samples they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.page import render

FEW = 6
"""Examples of a claim that are seen at once; the others unfold. page.css knows it as well."""


@extension
class Gallery(Section):
    """The strongest examples of each claim, with reasons, to look at and to filter."""

    name = "examples"
    order = 400
    title = "Examples"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """Pictures if the dataset has media, else rows; the most severe codes first."""
        rows = [
            row
            for stage in record["counts"]["stages"]
            for row in stage["codes"]
            if record["examples"].get(row["code"])
        ]
        rank = {"error": 0, "warning": 1, "info": 2}
        rows.sort(
            key=lambda row: rank[row["severity"]]
        )  # stable: stages stay in the order of the plan
        told = [row | {"examples": record["examples"][row["code"]]} for row in rows]
        template = "gallery.html" if record["account"]["media"] else "rows.html"
        labels = sorted(
            {example["label"] for row in told for example in row["examples"] if example["label"]}
        )
        choices = {
            "decisions": _decisions(told),
            "labels": labels,
            "out": record["run"].get("out") or "",
        }
        return (
            render(
                template, codes=told, peers=record["peers"], thumbnail=thumbnail, few=FEW, **choices
            )
            if told
            else ""
        )


def _decisions(codes: list[dict[str, Any]]) -> list[str]:
    """The decisions on the examples, in a fixed order."""
    found = {example["decision"] for row in codes for example in row["examples"]}
    return [decision for decision in ("drop", "relabel", "review", "keep") if decision in found]
