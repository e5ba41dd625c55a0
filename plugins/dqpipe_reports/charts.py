"""Charts as JSON specifications on the page, drawn by Observable Plot
(https://observablehq.com/plot).

    chart(alt, [[mark, rows, options], …], **options of the plot) ──chart.html──▶ <figure> with the
        JSON ──page.js──▶ SVG

A section needs no script of its own: any section, a third party's too, hands over marks by their
name in Plot. Colours are the page's (`var(--raw)` and so on), so that a chart follows light, dark
and print.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dqpipe_reports.page import render, short

if TYPE_CHECKING:
    from markupsafe import Markup

LETTER, NAMES = 7.0, 210
"""Pixels of a letter at the size of the charts, and the widest margin for names."""
Mark = Sequence[Any]


def chart(alt: str, marks: Sequence[Mark], *, caption: str = "", **options: Any) -> Markup:  # noqa: ANN401
    """A chart that page.js draws when it becomes visible.

    `alt` describes it in words, `options` are those of Plot.plot.
    """
    spec = {"marks": marks, "options": options}
    return render(
        "chart.html",
        alt=alt,
        caption=caption,
        spec=as_data(spec),
        height=int(options.get("height", 160)),
    )


def as_data(value: Any) -> Markup:  # noqa: ANN401
    """A value as JSON that is safe in a script element.

    It can neither end the element nor begin a comment.
    """
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for (
        letter
    ) in "<>&\u2028\u2029\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 (escaped above)


def margin(names: Sequence[str]) -> int:
    """Pixels that the longest of these names needs beside an axis."""
    return min(NAMES, int(LETTER * max(map(len, names), default=0)) + 14)


def named(names: Sequence[str | None], limit: int = 28) -> list[str]:
    """Names for an axis, shortened so that different names stay different."""
    used: dict[str, int] = {}
    told = []
    for name in names:
        text = "none" if name is None else short(name, limit)
        used[text] = used.get(text, 0) + 1
        told.append(text if used[text] == 1 else f"{text} ({used[text]})")
    return told


@cache
def library() -> str:
    """The scripts that draw: d3 and Plot, as they are in vendor/."""
    folder = files("dqpipe_reports") / "vendor"
    return "\n".join(
        (folder / name).read_text(encoding="utf-8") for name in ("d3.min.js", "plot.min.js")
    )
