"""Augmented samples beside their parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.page import render


@extension
class Made(Section):
    """Some of the samples that augmentation made, each beside its parent."""

    name = "made"
    order = 700
    title = "New samples"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """Pairs of parent and new sample, spread evenly over all of them."""
        media = record["account"]["media"]
        return (
            render(
                "made.html",
                added=record["added"],
                total=record["account"]["added"],
                thumbnail=thumbnail,
            )
            if record["added"] and media
            else ""
        )
