"""What a run shows on Prefect's pages, as text, rows and pictures; nothing here speaks with Prefect.

    the record of a run ──▶ account (markdown) · findings (rows) · examples (one strip of thumbnails for each code)
    the history of an output ──▶ quality (rows and markdown): one row for each run, one line of bars for each figure

Names of files, classes and groups may hold anything: what is shown as markdown is escaped.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dqpipe.logs import printable

RUNS = 60
"""How many runs a time series shows."""
STRIPS, THUMBS, SIDE = 6, 6, 96
"""Codes with pictures; pictures of each; their longer side in pixels: about 20 kB for each code."""
BARS = "▁▂▃▄▅▆▇█"


def escaped(text: str) -> str:
    """Text as markdown shows it, on one line: no markup, no HTML, no link, nothing invisible."""
    seen = printable(" ".join(text.split()))
    plain = re.sub(r"([\\`*\[\]|~#!])", r"\\\1", seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return plain.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def slug(text: str) -> str:
    """Text as the key of an artifact: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"


def account_markdown(sentences: Iterable[str], rows: Sequence[Mapping[str, Any]], advice: Sequence[str], report: str | None) -> str:
    """The account: sentences, what was found, what to do, and where the report is (a URL of ours, or None)."""
    lines = [f"- {escaped(line)}" for line in sentences]
    found = [row for row in rows if row["findings"]]
    if found:
        lines += ["", *table(("finding", "severity", "samples", "dropped", "relabelled", "to review"), [
            (row["code"], row["severity"], row["samples"], row["drop"], row["relabel"], row["review"]) for row in found
        ])]  # fmt: skip
    if report is not None:
        lines += ["", f"Report: {escaped(report)}"]
    if advice:
        lines += ["", "Next:", "", *(f"- {escaped(line)}" for line in advice)]
    return "\n".join(lines)


def finding_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each code a stage looked for: how many samples, and what became of them."""
    codes = [code for stage in record["counts"]["stages"] for code in stage["codes"]]
    return [{**{name: code[name] for name in ("code", "severity", "findings", "samples", "help")}, **code["decisions"]} for code in codes]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a markdown table."""
    return ["| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in [head]] + ["|" + " --- |" * len(head)] + [
        "| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in rows
    ]  # fmt: skip


# the time series ---------------------------------------------------------------------------------------------------------


def series(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Name → one value for each of the last runs, oldest first: share of each finding (0 to 1), drift effect of each fact, counts."""
    last = list(history)[-RUNS:]
    found = sorted({code for row in last for code, told in row.get("findings", {}).items() if told["samples"]})
    facts = sorted({fact for row in last for fact in row.get("drift", {})})
    values: dict[str, list[float | None]] = {name: [row.get(name) for row in last] for name in ("samples", "kept", "dropped", "relabelled", "review", "added")}
    values |= {f"share of {code}": [_told(row, "findings", code, "share") for row in last] for code in found}
    values |= {f"drift of {fact}": [_told(row, "drift", fact, "effect") for row in last] for fact in facts}
    return values


def _told(row: Mapping[str, Any], part: str, name: str, value: str) -> float | None:
    """A run that judged this and found nothing has 0; one without a word on it has None."""
    told = row.get(part, {}).get(name)
    return told[value] if told is not None else (0.0 if part == "findings" else None)


def series_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each of the last runs, the newest first: when, which version, and every value of its series."""
    last, values = list(history)[-RUNS:], series(history)
    rows = [
        {"time": row.get("time"), "version": row.get("version"), "published": row.get("published")}
        | {name: _rounded(of[number]) for name, of in values.items()}
        for number, row in enumerate(last)
    ]  # fmt: skip
    return rows[::-1]


def series_markdown(history: Sequence[Mapping[str, Any]]) -> str:
    """A line of bars for each value over the last runs, with its first and its last value."""
    rows = [(name, bars(of), _shown(name, of[0]), _shown(name, of[-1])) for name, of in series(history).items()]
    runs = min(len(history), RUNS)
    return "\n".join([f"The last {runs} runs, oldest first; bars reach from 0 to the highest value.", "", *table(("", "runs", "first", "last"), rows)])


def bars(values: Sequence[float | None]) -> str:
    """Values as bars from 0 to the highest; a dot where there is none."""
    top = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    return "".join("·" if value is None else BARS[round(abs(value) / top * (len(BARS) - 1))] for value in values)


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 5)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.2%}" if name.startswith("share of ") else f"{value:g}" if isinstance(value, int) else f"{value:.3f}"


# pictures ----------------------------------------------------------------------------------------------------------------


def strips(record: Mapping[str, Any], pixels: Callable[..., Sequence[Any]]) -> list[tuple[str, str, str]]:
    """(code, which samples these are, data URL) of the strongest examples of the gravest codes; only what can be decoded."""
    grave = {"error": 0, "warning": 1, "info": 2}
    rows = sorted((row for row in finding_rows(record) if row["samples"]), key=lambda row: (grave[row["severity"]], -row["samples"], row["code"]))
    made: list[tuple[str, str, str]] = []
    for row in rows:
        shown = [one for one in record["examples"].get(row["code"], []) if one["id"] and not one["unreadable"]][:THUMBS]
        if len(made) < STRIPS and shown:
            pictures = [picture.pixels for picture in pixels([one["id"] for one in shown], "picture")]
            made.append((row["code"], "; ".join(_caption(one) for one in shown), data_url(pictures)))
    return made


def _caption(one: Mapping[str, Any]) -> str:
    name = escaped(one["id"][-80:])
    if one["suggestion"]:
        return f"{name}: {escaped(str(one['label'])[:40])} → {escaped(str(one['suggestion'])[:40])}"
    return f"{name}: {one['value']:.3g}" if one["value"] is not None else name


def data_url(pictures: Sequence[np.ndarray]) -> str:
    """Pictures (uint8 [height, width, 3]) side by side as one small JPEG in a URL."""
    from PIL import Image

    strip = Image.new("RGB", (SIDE * len(pictures), SIDE), "white")
    for number, pixels in enumerate(pictures):
        thumb = Image.fromarray(np.ascontiguousarray(pixels))
        thumb.thumbnail((SIDE, SIDE))
        strip.paste(thumb, (number * SIDE + (SIDE - thumb.width) // 2, (SIDE - thumb.height) // 2))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
