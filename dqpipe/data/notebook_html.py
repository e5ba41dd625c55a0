"""How values show themselves in a notebook.

Small HTML without scripts, styles of its own or a network; everything is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from dqpipe.data.wording import IN_BACKTICKS

LETTERS = 80
"""Letters of a cell that are shown."""


def cell(value: object) -> str:
    """A value as escaped text, cut."""
    text = (
        ""
        if value is None
        else f"{value:.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if type(value) is int
        else str(value)
    )
    return escape(text if len(text) <= LETTERS else text[:LETTERS] + "…")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a head."""
    head = "".join(f'<th scope="col" style="text-align:left">{cell(name)}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{cell(value)}</td>' for value in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts(values: Mapping[str, object]) -> str:
    """A few names and values on one line."""
    return (
        "<p>"
        + " · ".join(f"{cell(name)} <b>{cell(value)}</b>" for name, value in values.items())
        + "</p>"
    )


def titled(title: str, *parts: str) -> str:
    """Parts below a title."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def listing(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return "<ul>" + "".join(f"<li>{_with_code(sentence)}</li>" for sentence in sentences) + "</ul>"


def _with_code(sentence: str) -> str:
    return IN_BACKTICKS.sub(r"<code>\1</code>", escape(sentence))
