"""The account at the top of the page: sentences, a bar of decisions, and next steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dqpipe import Section, extension
from dqpipe_reports.charts import chart
from dqpipe_reports.page import known_codes, render

if TYPE_CHECKING:
    from markupsafe import Markup


@extension
class Account(Section):
    """What failed, what was found and done and why, and what to do next."""

    name = "account"
    order = 100
    title = "Account"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The sentences of the record, a bar drawn to scale, and the gates."""
        account, parts = record["account"], flow(record["account"])
        return render(
            "account.html",
            account=account,
            codes=known_codes(record),
            flow=parts,
            gates=record["gates"],
            chart=became(account, parts),
        )


def became(account: Mapping[str, Any], parts: list[tuple[str, str, int]]) -> Markup:
    """A bar chart of the decisions on all samples."""
    every = [*parts, ("added", "new", account["added"])]
    rows = [
        {"part": word, "samples": count, "fill": f"var(--{name})"}
        for name, word, count in every
        if count
    ]
    colours = {"domain": [row["part"] for row in rows], "range": [row["fill"] for row in rows]}
    marks: list[list[Any]] = [
        [
            "barX",
            rows,
            {"x": "samples", "fill": "part", "order": None, "insetRight": 1, "tip": True},
        ]
    ]
    alt = ", ".join(f"{row['samples']:,} {row['part']}" for row in rows)
    return chart(
        f"What became of the samples: {alt}",
        marks,
        height=34,
        marginLeft=0,
        marginRight=0,
        marginTop=4,
        marginBottom=4,
        axis=None,
        color=colours,
    )


def flow(account: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The outcome of the samples as (CSS class, word, number of samples).

    The numbers add up to all samples.
    """
    kept = account["samples"] - account["dropped"] - account["relabelled"] - account["review"]
    every = [
        ("keep", "kept as they are"),
        ("relabel", "relabelled"),
        ("review", "for review"),
        ("drop", "dropped"),
    ]
    counts = [kept, account["relabelled"], account["review"], account["dropped"]]
    return [(name, word, count) for (name, word), count in zip(every, counts, strict=True)]
