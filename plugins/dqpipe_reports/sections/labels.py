"""The confusion matrix of label errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.page import render

MATRIX = 16
"""Up to so many classes are shown as a matrix; more of them as a list of pairs."""
PAIRS = 30


@extension
class Labels(Section):
    """Which labels were doubted in favour of which others, and which were changed."""

    name = "labels"
    order = 450
    title = "Labels in doubt"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A matrix of given against suggested label, or the most frequent pairs."""
        doubted = record["suggestions"]
        if not doubted["pairs"]:
            return ""
        changed = {
            (pair["from"], pair["to"]): pair["samples"]
            for pair in record["decisions"]["relabels"]["pairs"]
        }
        names = sorted({str(pair[key]) for pair in doubted["pairs"] for key in ("from", "to")})
        cells = {(str(pair["from"]), pair["to"]): pair["samples"] for pair in doubted["pairs"]}
        whole = doubted["total"] == len(doubted["pairs"]) and len(names) <= MATRIX
        most = max(cells.values())
        shown = {"names": names if whole else [], "cells": cells, "most": most}
        return render(
            "labels.html",
            **shown,
            pairs=doubted["pairs"][:PAIRS],
            total=doubted["total"],
            changed=changed,
        )
