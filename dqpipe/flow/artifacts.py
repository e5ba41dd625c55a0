"""The contents of a run's artifacts on Prefect's pages.

Text, rows and pictures, without calls of Prefect.

    the record of a run ──▶ account (markdown) · findings (rows) · examples (one strip of thumbnails
        for each code)
    the history of an output ──▶ quality (rows and markdown): one row for each run, one line of bars
        for each figure

Names of files, classes and groups may hold anything: what is shown as markdown is escaped.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dqpipe.config.gate_grammar import state
from dqpipe.data.wording import slug
from dqpipe.errors import printable
from dqpipe.plugin.stage import Pixels

RUNS = 60
"""How many runs a time series shows."""
STRIPS, THUMBS, SIDE = 6, 6, 96
"""Codes with pictures; pictures of each; their longer side in pixels: about 20 kB for each code."""
CLASSES = 50
"""Classes that the account lists."""
BARS = "▁▂▃▄▅▆▇█"


def escaped(text: str) -> str:
    """Text as markdown shows it, on one line: no markup, no HTML, no link, nothing invisible."""
    seen = printable(" ".join(text.split()))
    plain = re.sub(
        r"([\\`*\[\]|~#!])",
        r"\\\1",
        seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    )
    return plain.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def key_of(place: object) -> str:
    """The end of an artifact's key or of an event's id for an output or a dataset.

    Its last two names, and a hash of all of it.
    """
    text = str(place)
    name = slug("-".join([part for part in text.split("/") if part.strip(":")][-2:])[-40:])
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def account_markdown(
    sentences: Iterable[str],
    rows: Sequence[Mapping[str, Any]],
    advice: Sequence[str],
    report: str | None,
    record: Mapping[str, Any],
) -> str:
    """The account as markdown: sentences, findings, gates, classes, next steps, and the report's
    place (a path or URL, or None).
    """
    lines = [f"- {escaped(line)}" for line in sentences]
    found = [row for row in rows if row["findings"]]
    if found:
        lines += [
            "",
            *table(
                ("finding", "severity", "samples", "dropped", "relabelled", "to review"),
                [
                    (
                        row["code"],
                        row["severity"],
                        row["samples"],
                        row["drop"],
                        row["relabel"],
                        row["review"],
                    )
                    for row in found
                ],
            ),
        ]
    if record["gates"]:
        lines += [
            "",
            *table(
                ("gate", "", "what it saw"),
                [(gate["gate"], state(gate), gate["said"]) for gate in record["gates"]],
            ),
        ]
    classes = [row for row in record["classes"]["rows"] if row["name"] is not None][:CLASSES]
    if classes:
        lines += [
            "",
            *table(
                ("class", "samples", "curated"),
                [(row["name"], row["before"], row["after"]) for row in classes],
            ),
        ]
    if report is not None:
        lines += ["", f"The whole report is a file: {escaped(report)}"]
    if advice:
        lines += ["", "Next:", "", *(f"- {escaped(line)}" for line in advice)]
    return "\n".join(lines)


def finding_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each finding code: the number of samples, and their decisions."""
    codes = [code for stage in record["counts"]["stages"] for code in stage["codes"]]
    return [
        {
            **{name: code[name] for name in ("code", "severity", "findings", "samples", "help")},
            **code["decisions"],
        }
        for code in codes
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a markdown table."""
    return (
        ["| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in [head]]
        + ["|" + " --- |" * len(head)]
        + ["| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in rows]
    )


# the time series ----------------------------------------------------------------------------------


def series(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Name → one value for each of the last runs, oldest first.

    Share of each finding (0 to 1), drift effect of each fact, counts.

    A line of the history may be of any age or shape: what it does not say, or not as a number, is
    None.
    """
    last = list(history)[-RUNS:]
    found = sorted(
        {
            code
            for row in last
            for code in _part(row, "findings")
            if _number(row, "findings", code, "samples")
        }
    )
    facts = sorted(
        {
            fact
            for row in last
            for fact in _part(row, "drift")
            if _number(row, "drift", fact, "effect") is not None
        }
    )
    values = {
        name: [_number(row, name) for row in last]
        for name in ("samples", "kept", "dropped", "relabelled", "review", "added")
    }
    values |= {f"share of {code}": [_share(row, code) for row in last] for code in found}
    values |= {
        f"drift of {fact}": [_number(row, "drift", fact, "effect") for row in last]
        for fact in facts
    }
    return values


def _part(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a line of the history; empty where it has none."""
    part = row.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(row: Mapping[str, Any], *path: str) -> float | None:
    """The number at a path into a line of the history, None where there is none."""
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if fine else None


def _share(row: Mapping[str, Any], code: str) -> float | None:
    """The share of a code in a line of the history.

    0 without such findings, None where findings were not recorded.
    """
    if code not in _part(row, "findings"):
        return 0.0 if isinstance(row.get("findings"), Mapping) else None
    return _number(row, "findings", code, "share")


def series_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each of the last runs, the newest first.

    Time, version, and every value of its series.
    """
    last, values = list(history)[-RUNS:], series(history)
    rows = [
        {
            name: row.get(name) if isinstance(row.get(name), str | bool) else None
            for name in ("time", "version", "published")
        }
        | {name: _rounded(of[number]) for name, of in values.items()}
        for number, row in enumerate(last)
    ]
    return rows[::-1]


def series_markdown(history: Sequence[Mapping[str, Any]]) -> str:
    """A line of bars for each value over the last runs, with its first and its last value."""
    rows = [
        (name, bars(of), _shown(name, of[0]), _shown(name, of[-1]))
        for name, of in series(history).items()
    ]
    runs = min(len(history), RUNS)
    return "\n".join(
        [
            f"The last {runs} runs, oldest first; bars reach from 0 to the highest value.",
            "",
            *table(("", "runs", "first", "last"), rows),
        ]
    )


def bars(values: Sequence[float | None]) -> str:
    """Values as bars from 0 to the highest; a dot where there is none."""
    top = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    return "".join(
        "·" if value is None else BARS[round(abs(value) / top * (len(BARS) - 1))]
        for value in values
    )


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 5)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "none"
    return (
        f"{value:.2%}"
        if name.startswith("share of ")
        else f"{value:g}"
        if isinstance(value, int)
        else f"{value:.3f}"
    )


# pictures -----------------------------------------------------------------------------------------


def strips(record: Mapping[str, Any], pixels: Pixels) -> list[tuple[str, str, str]]:
    """(code, names of the samples, data URL) of the strongest examples of the most severe codes, as
    far as they can be decoded.
    """
    grave = {"error": 0, "warning": 1, "info": 2}
    rows = sorted(
        (row for row in finding_rows(record) if row["samples"]),
        key=lambda row: (grave[row["severity"]], -row["samples"], row["code"]),
    )
    made: list[tuple[str, str, str]] = []
    for row in rows:
        shown = [
            one
            for one in record["examples"].get(row["code"], [])
            if one["id"] and not one["unreadable"]
        ][:THUMBS]
        if len(made) < STRIPS and shown:
            strip = pixels.strip([one["id"] for one in shown], SIDE)
            if strip is not None:
                made.append((row["code"], "; ".join(_caption(one) for one in shown), strip.url))
    return made


def _caption(one: Mapping[str, Any]) -> str:
    name = escaped(one["id"][-80:])
    if one["suggestion"]:
        return f"{name}: {escaped(str(one['label'])[:40])} → {escaped(str(one['suggestion'])[:40])}"
    return f"{name}: {one['value']:.3g}" if one["value"] is not None else name
