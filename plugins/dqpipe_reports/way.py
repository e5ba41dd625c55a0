"""The way of the samples from raw to curated, drawn as bands (a Sankey diagram), without a script.

read ──▶ kept, relabelled, need review, dropped ──▶ curated, or the reasons for dropping
                                        added ──▶ curated
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dqpipe_reports.page import render, short

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, TALL, BAR, GAP, LEAST = 960.0, 232.0, 12.0, 10.0, 2.0
"""Pixels of the drawing, of a bar, between bars, and of the thinnest bar."""
COLUMNS = (0.0, 400.0, 740.0)
"""Where the bars of each column stand."""
REASONS = 3
"""Reasons for dropping that are drawn one by one."""


class Bar(NamedTuple):
    """A bar of the drawing with its text."""

    x: float
    y: float
    height: float
    kind: str
    word: str
    samples: int


class Band(NamedTuple):
    """A band between two bars: a closed path."""

    path: str
    kind: str


def way(record: Mapping[str, Any]) -> Markup | str:
    """The drawing; nothing for an empty dataset."""
    account = record["account"]
    if not account["samples"]:
        return ""
    bars, bands = laid(account, reasons(record))
    told = ", ".join(f"{bar.word} {bar.samples:,}" for bar in bars)
    return render(
        "way.html",
        bars=bars,
        bands=bands,
        width=WIDTH,
        tall=TALL,
        thick=BAR,
        alt=f"From raw to curated: {told}",
    )


def reasons(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Why samples were dropped, by title, the most frequent first; the rest summed."""
    titles = {
        row["code"]: row["title"] for stage in record["counts"]["stages"] for row in stage["codes"]
    }
    ranked = [
        (short(titles.get(code, code or "no stated reason"), 34), count)
        for code, count in record["decisions"]["because"]["drop"].items()
    ]
    rest = sum(count for _, count in ranked[REASONS:])
    return [*ranked[:REASONS], *([("for other reasons", rest)] if rest else [])]


def laid(
    account: Mapping[str, Any], dropped: list[tuple[str, int]]
) -> tuple[list[Bar], list[Band]]:
    """Bars and bands; heights are to one scale, but for bars that would be too thin to see."""
    unchanged = account["samples"] - sum(account[k] for k in ("dropped", "relabelled", "review"))
    middle = [
        ("keep", "kept as they are", unchanged),
        ("relabel", "relabelled", account["relabelled"]),
        ("review", "need review", account["review"]),
        ("drop", "dropped", account["dropped"]),
        ("added", "added", account["added"]),
    ]
    middle = [row for row in middle if row[2]]
    out = [("sum", "curated set" if account["made"] else "curated set (not written)", "")]
    last = [(kind, word, account["curated"]) for kind, word, _ in out if account["curated"]]
    last += [("review", "held back", account["held"])] if account["held"] else []
    last += [("drop", word, count) for word, count in dropped]
    total = max(account["samples"] + account["added"], 1)
    room = TALL - GAP * (max(len(middle), len(last)) - 1) - LEAST * 10
    scale = room / total
    first = stacked(COLUMNS[0], [("sum", "read", account["samples"])], scale)
    second, third = stacked(COLUMNS[1], middle, scale), stacked(COLUMNS[2], last, scale)
    bands = _from(first[0], [bar for bar in second if bar.kind != "added"], scale)
    return [*first, *second, *third], [*bands, *_into(second, third, account["held"], scale)]


def stacked(x: float, rows: list[tuple[str, str, int]], scale: float) -> list[Bar]:
    """Bars on top of each other with gaps between them."""
    bars, y = [], 0.0
    for kind, word, count in rows:
        height = max(count * scale, LEAST)
        bars.append(Bar(x, round(y, 1), round(height, 1), kind, word, count))
        y += height + GAP
    return bars


def _from(source: Bar, targets: list[Bar], scale: float) -> list[Band]:
    """Bands from one bar to each of the next column."""
    bands, y = [], source.y
    for bar in targets:
        bands.append(_band(source, y, bar.samples * scale, bar, bar.y, bar.height))
        y += bar.samples * scale
    return bands


def _into(middle: list[Bar], last: list[Bar], held: int, scale: float) -> list[Band]:
    """Bands from the decisions into the curated set, what is held back, and the reasons."""
    curated = next((bar for bar in last if bar.kind == "sum"), None)
    waits = next((bar for bar in last if bar.word == "held back"), None)
    because = [bar for bar in last if bar.kind == "drop"]
    bands, y = [], 0.0
    for bar in middle:
        if bar.kind == "drop":
            bands += [
                band._replace(kind="drop") for band in _from(bar, because, bar.height / bar.samples)
            ]
            continue
        count = bar.samples - (held if bar.kind == "review" else 0)
        if curated and count > 0:
            height = count * scale
            bands.append(_band(bar, bar.y, height, curated, y, height)._replace(kind=bar.kind))
            y += height
        if waits and bar.kind == "review":
            start = bar.y + bar.height * max(count, 0) / bar.samples
            bands.append(_band(bar, start, held * scale, waits, waits.y, waits.height))
    return bands


def _band(source: Bar, y: float, height: float, target: Bar, into: float, tall: float) -> Band:
    """A band between two bars, curved, from `y` to `into`."""
    a, b = source.x + BAR, target.x
    m = (a + b) / 2
    low, end = y + max(height, 1), into + max(tall, 1)
    path = (
        f"M{a:.1f} {y:.1f}C{m:.1f} {y:.1f} {m:.1f} {into:.1f} {b:.1f} {into:.1f}"
        f"V{end:.1f}C{m:.1f} {end:.1f} {m:.1f} {low:.1f} {a:.1f} {low:.1f}Z"
    )
    return Band(path, target.kind)
