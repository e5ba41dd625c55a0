"""What a person wants to see behind the counts.

The strongest examples, their peers, and where the limits lie.

    Joined + Facts ──▶ examples (per code), peers (per class), suggestions (given → suggested),
        distributions (per fact)

Everything is bounded: so many examples per code, so many bars per fact, whatever the number of
samples.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data import labels
from dqpipe.data.labels import label_text
from dqpipe.data.tables import DECISIONS, Facts, Findings
from dqpipe.results.report.counts import KEEP, RELABEL, REVIEW, ROWS, Joined, positions
from dqpipe.results.report.embedding import Embedding

EXAMPLES = 12
"""The strongest findings shown of each code."""
SURE = 0.9
"""Chance of a suggestion's being right from which the account counts it among those that could be
followed.
"""
PEERS = 3
"""Sound samples of a class shown beside a label that is doubted."""
CLASSES_WITH_PEERS = 60
CANDIDATES = 200
"""Sound samples of a class among which its most typical ones are looked for."""
CELLS, LETTERS = 8, 120
"""Columns of two compared rows that are shown at most where they differ, and letters of a cell."""
LONG, EXCERPT = 20, 600
"""Mean letters of a column of which a page shows the beginning, and letters of that."""
BINS = 40
LEVELS = 3
"""A code with more different thresholds than this has none that could be drawn as a line."""
FACTS = 64
ROLES = frozenset({"id", "content", "media", "label", "split", "group"})
"""Columns that are not the user's own, or are told apart from them."""
COMPARED = 1000
"""Findings of a code that are looked at to see which fact it judged."""


def strongest(joined: Joined, new_label: pa.Array, facts: Facts) -> dict[str, list[dict[str, Any]]]:
    """Per code the strongest findings.

    By confidence, then by distance from the threshold, then by id; one per sample.
    """
    confidence = _number(joined.findings, "confidence")
    distance = np.nan_to_num(
        np.abs(_number(joined.findings, "value") - _number(joined.findings, "threshold"))
    )
    found: dict[str, np.ndarray] = {}
    order = np.argsort(joined.code, kind="stable")
    starts = np.searchsorted(joined.code[order], np.arange(len(joined.codes) + 1))
    for number, code in enumerate(joined.codes):
        rows = order[starts[number] : starts[number + 1]]
        ranked = rows[
            np.lexsort(
                (rows, joined.at[rows], -distance[rows], -np.nan_to_num(confidence[rows], nan=-1))
            )
        ]
        found[code] = _one_each(ranked, joined.at)
    told = _told(
        joined, np.concatenate([*found.values(), np.zeros(0, np.int64)]), new_label, facts
    )  # at once: ids are looked up among all samples
    ends = np.cumsum([len(rows) for rows in found.values()])
    return {
        code: told[end - len(rows) : end]
        for (code, rows), end in zip(found.items(), ends, strict=True)
    }


def _number(findings: Findings, name: str) -> np.ndarray:
    return findings[name].astype(np.float64) if name in findings else np.full(len(findings), np.nan)


def _one_each(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The first findings, at most one of each sample; claims about the whole dataset all count."""
    who = np.where(at[rows] >= 0, at[rows], -1 - np.arange(len(rows)))
    first = np.sort(np.unique(who, return_index=True)[1])
    return rows[first[:EXAMPLES]]


def _told(
    joined: Joined, rows: np.ndarray, new_label: pa.Array, facts: Facts
) -> list[dict[str, Any]]:
    """These findings with what is known of their samples and of those they are compared with."""
    table = joined.findings.table.take(pa.array(rows)).to_pylist()
    at = joined.at[rows]
    match = positions(
        pa.chunked_array([[row.get("match") for row in table]], pa.string()), joined.samples
    )
    label, match_label = texts(joined, "label", at), texts(joined, "label", match)
    split, new = texts(joined, "split", at), _picked(new_label, at)
    error = (
        _picked(facts.table.column("media.error"), at)
        if "media.error" in facts
        else [None] * len(at)
    )
    because, cells = _picked(joined.because, at), differing(joined, at, match)
    excerpt = excerpts(joined, at, match)
    keys = (
        "id",
        "part",
        "severity",
        "confidence",
        "value",
        "threshold",
        "match",
        "suggestion",
        "suggestion_confidence",
        "detail",
    )
    return [
        {key: row.get(key) for key in keys}
        | {
            "label": label[i],
            "split": split[i],
            "match_label": match_label[i],
            "unreadable": error[i] or None,
        }
        | {
            "decision": DECISIONS[joined.decision[at[i]]] if at[i] >= 0 else None,
            "because": because[i] or [],
            "cells": cells[i],
            "excerpt": excerpt[i],
        }
        | {"new_label": new[i] if at[i] >= 0 and joined.decision[at[i]] == RELABEL else None}
        for i, row in enumerate(table)
    ]


def differing(
    joined: Joined, at: np.ndarray, match: np.ndarray
) -> list[list[dict[str, str | None]]]:
    """Per pair of samples the columns of the user's own in which they differ, as text."""
    own = [name for name in joined.samples.names if name not in ROLES]
    pairs = (at >= 0) & (match >= 0)
    told: list[list[dict[str, str | None]]] = [[] for _ in at]
    for name in own if pairs.any() else ():
        here, there = (
            _picked(joined.samples.table.column(name), np.where(pairs, where, -1))
            for where in (at, match)
        )
        for row, (one, other) in enumerate(zip(here, there, strict=True)):
            if pairs[row] and one != other and len(told[row]) < CELLS:
                told[row].append({"column": name, "value": _cut(one), "match": _cut(other)})
    return told


def excerpts(
    joined: Joined, at: np.ndarray, match: np.ndarray
) -> list[dict[str, str | None] | None]:
    """Of rows without media the beginning of their longest text, and of their matches' texts.

    None where no column of the user's own holds texts of some length.
    """
    none: list[dict[str, str | None] | None] = [None] * len(at)
    if "media" in joined.samples or not (at >= 0).any():
        return none
    some = pa.array(at[at >= 0])
    lengths = {
        name: pc.mean(pc.utf8_length(joined.samples.table.column(name).take(some))).as_py() or 0.0
        for name in joined.samples.names
        if name not in ROLES and pa.types.is_string(joined.samples.table.schema.field(name).type)
    }
    column = max(lengths, key=lambda name: lengths[name], default="")
    if lengths.get(column, 0) < LONG:
        return none
    values = joined.samples.table.column(column)
    here, there = (
        [_cut(value, EXCERPT) for value in _picked(values, where)] for where in (at, match)
    )
    return [
        {"column": column, "value": one, "match": other} if row >= 0 else None
        for row, one, other in zip(at, here, there, strict=True)
    ]


def _cut(value: Any, limit: int = LETTERS) -> str | None:  # noqa: ANN401 (a cell)
    text = label_text(value)
    return text if text is None or len(text) <= limit else text[:limit] + "…"


def _picked(column: pa.Array | pa.ChunkedArray, at: np.ndarray) -> list[Any]:
    """The values at these positions, None where a position is -1."""
    return column.take(pa.array(at, mask=at < 0)).to_pylist()


def texts(joined: Joined, column: str, at: np.ndarray) -> list[str | None]:
    """A column of the samples as text at these positions, None where a position is -1 or the column
    is absent.
    """
    if column not in joined.samples:
        return [None] * len(at)
    every = _picked(joined.samples.table.column(column), at)
    if column == "label" and labels.kind_in(joined.samples) == "objects":
        return [_classes(value) for value in every]
    return [label_text(value) for value in every]


def _classes(objects: list[dict[str, Any]] | None) -> str | None:
    """The classes of the objects of a picture, with their numbers, the most frequent first."""
    if objects is None:
        return None
    counts = Counter(str(one.get("class")) for one in objects)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ranked) or "no object"


def peers(
    joined: Joined, shown: dict[str, list[dict[str, Any]]], embedding: Embedding | None = None
) -> dict[str, list[str]]:
    """A few sound samples of each class that an example is compared with.

    Those nearest the middle of their class, or spread evenly over it.
    """
    wanted = [name for rows in shown.values() for row in rows for name in _compared_with(row)]
    names = list(dict.fromkeys(wanted))[:CLASSES_WITH_PEERS]
    if not names or not (known := labels.classes(joined.samples)).names:
        return {}
    sound = ~joined.marked() & (joined.decision == KEEP)
    place = {name: number for number, name in enumerate(known.names)}
    found = {}
    for name in names:
        rows = _typical(
            np.flatnonzero(sound & (known.codes == place.get(name, len(place)))), embedding
        )
        found[name] = joined.samples.table.column("id").take(pa.array(rows)).to_pylist()
    return found


def _compared_with(row: dict[str, Any]) -> list[str]:
    """The classes that an example is compared with."""
    if row["suggestion"]:
        return [name for name in (row["label"], row["suggestion"]) if name]
    return [name for name in (row["match_label"],) if name]


def _typical(rows: np.ndarray, embedding: Embedding | None) -> np.ndarray:
    """PEERS of these rows: of CANDIDATES spread evenly over them those whose vectors are nearest
    the mean, else spread evenly.
    """
    if embedding is not None and embedding.has[rows].any():
        rows = rows[embedding.has[rows]]
        some = rows[
            np.unique(np.linspace(0, len(rows) - 1, min(CANDIDATES, len(rows))).astype(int))
        ]
        return some[nearest_the_middle(embedding.read(some).astype(np.float64), PEERS)]
    return (
        rows[np.unique(np.linspace(0, len(rows) - 1, PEERS + 2).astype(int)[1:-1])]
        if len(rows)
        else rows
    )


def nearest_the_middle(vectors: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` vectors [k, d] nearest their mean, the nearest first."""
    away = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    return np.argsort(np.round(away, 6), kind="stable")[:count]


def added(joined: Joined) -> list[dict[str, Any]]:
    """Some of the new samples, each with its parent, spread evenly over all of them."""
    rows = np.flatnonzero(joined.origin < 0)
    if not len(rows) or "parent" not in joined.curated:
        return []
    spread = rows[np.unique(np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).astype(int))]
    names = [name for name in ("id", "label", "parent", "made_by") if name in joined.curated]
    told = joined.curated.select(names).table.take(pa.array(spread)).to_pylist()
    return [row | {"label": label_text(row.get("label"))} for row in told]


def suggestions(joined: Joined) -> dict[str, Any]:
    """How often which label was doubted in favour of which other.

    The confusion that label errors show.
    """
    if "suggestion" not in joined.findings:
        return {"total": 0, "pairs": []}
    rows = np.flatnonzero(
        pc.is_valid(joined.findings.table.column("suggestion")).to_numpy() & (joined.at >= 0)
    )
    given = pa.array(texts(joined, "label", joined.at[rows]), pa.string())
    return _pairs(
        given, joined.findings.table.column("suggestion").take(pa.array(rows)), joined.at[rows]
    )


def relabels(joined: Joined, new_label: pa.Array) -> dict[str, Any]:
    """How many samples went from which label to which."""
    rows = np.flatnonzero(joined.decision == RELABEL)
    return _pairs(
        pa.array(texts(joined, "label", rows), pa.string()), new_label.take(pa.array(rows)), rows
    )


def suggested(joined: Joined) -> dict[str, Any]:
    """How many of the samples under review could get the suggested label with a chance of at least
    SURE that it is right, and what is expected of it.

    `expected` is the mean chance of these, `relabelled` that of the labels that were changed; null
    where there are none or nobody can tell.
    """
    chance = np.full(len(joined.samples), np.nan)
    if "suggestion_confidence" in joined.findings:
        told = joined.findings["suggestion_confidence"].astype(np.float64)
        rows = np.flatnonzero((joined.at >= 0) & np.isfinite(told))
        np.fmax.at(chance, joined.at[rows], told[rows])
    able = chance[(joined.decision == REVIEW) & joined.samples.training()]
    able = able[np.nan_to_num(able) >= SURE]
    changed = chance[(joined.decision == RELABEL) & np.isfinite(chance)]
    return {
        "at_least": SURE,
        "samples": len(able),
        "expected": float(able.mean()) if len(able) else None,
        "relabelled": float(changed.mean()) if len(changed) else None,
    }


def _pairs(given: pa.Array, other: pa.Array | pa.ChunkedArray, at: np.ndarray) -> dict[str, Any]:
    table = (
        pa.table({"from": given, "to": other, "at": at})
        .group_by(["from", "to"])
        .aggregate([("at", "count_distinct")])
    )
    table = table.select(["from", "to", "at_count_distinct"]).rename_columns(
        ["from", "to", "samples"]
    )
    table = table.sort_by([("samples", "descending"), ("from", "ascending"), ("to", "ascending")])
    return {"total": len(table), "pairs": table.slice(0, ROWS).to_pylist()}


def distributions(joined: Joined, facts: Facts) -> list[dict[str, Any]]:
    """A histogram of each number among the facts, those with limits first, each limit with its
    code.

    The bars span the 0.5th to the 99.5th percentile and every limit; `below` and `above` count what
    lies beyond them.
    """
    numeric = [name for name in facts.names if _is_number(facts.table.schema.field(name).type)]
    limits = _limits(joined, facts, numeric)
    ranked = sorted(numeric, key=lambda name: (name not in limits, name))[:FACTS]
    found = [_histogram(name, facts, limits.get(name, [])) for name in ranked]
    return [row for row in found if row is not None]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _histogram(name: str, facts: Facts, limits: list[dict[str, Any]]) -> dict[str, Any] | None:
    column = facts.table.column(name)
    values = pc.drop_null(column).to_numpy().astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() == values.max():
        return None
    low, high = np.percentile(values, [0.5, 99.5])
    low, high = (
        min([low, *(limit["threshold"] for limit in limits)]),
        max([high, *(limit["threshold"] for limit in limits)]),
    )
    if low == high:
        low, high = values.min(), values.max()
    with np.errstate(all="ignore"):
        widths = np.diff(np.linspace(low, high, BINS + 1))
    if not (widths > 0).all():  # they differ by rounding only, or by more than a number can hold
        return None
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    return {
        "fact": name,
        "samples": len(values),
        "missing": len(column) - len(values),
        "least": values.min(),
        "middle": float(np.median(values)),
        "most": values.max(),
        "low": low,
        "high": high,
        "counts": counts.tolist(),
        "below": int((values < low).sum()),
        "above": int((values > high).sum()),
        "limits": limits,
    }


def _limits(joined: Joined, facts: Facts, numeric: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Per fact the limits it was judged against.

    A code's fact is the one whose numbers are the values its findings give.
    """
    value, threshold = _number(joined.findings, "value"), _number(joined.findings, "threshold")
    told = (joined.at >= 0) & np.isfinite(value) & np.isfinite(threshold)
    limits: dict[str, list[dict[str, Any]]] = {}
    for number, code in enumerate(joined.codes):
        rows = np.flatnonzero(told & (joined.code == number))[:COMPARED]
        levels = np.unique(threshold[rows])
        if not 1 <= len(levels) <= LEVELS:
            continue
        own = [name for name in numeric if name.startswith(code.partition(".")[0] + ".")]
        same = [name for name in own if _equal(facts, name, joined.at[rows], value[rows])]
        if len(same) == 1:
            limits.setdefault(same[0], []).extend(
                {"code": code, "threshold": float(level)} for level in levels
            )
    return limits


def _equal(facts: Facts, name: str, at: np.ndarray, value: np.ndarray) -> bool:
    fact = facts.table.column(name).take(pa.array(at)).to_numpy().astype(np.float64)
    return bool(np.allclose(fact, value, rtol=1e-6, atol=0))
