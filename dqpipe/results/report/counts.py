"""Counts over the tables of a result, however many samples it has.

    Samples, Findings, Decisions, curated Samples ──join──▶ Joined (positions and small integers)
        ──bincount──▶ counts

The tables are joined once by Arrow, ids become positions and names small integers; no Python loop
runs over samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data import labels
from dqpipe.data.tables import DECISIONS, SEVERITIES, Decisions, Findings, Samples

ROWS = 200
"""How many classes, groups or pairs are listed one by one; the rest is summed."""

KEEP, DROP, RELABEL, REVIEW = range(len(DECISIONS))
VERDICT = "verdict."
"""What the reasons of a person's decision begin with."""


@dataclass(frozen=True, eq=False)
class Joined:
    """The tables of a result joined by position: n samples, f findings, m curated samples.

    `decision` [n] is the position in DECISIONS. `at` [f] is the position of a finding's sample, -1
    for a claim about the whole dataset; `code` [f] the position in `codes`; `severity` [f] that in
    SEVERITIES. `origin` [m] is the position of a curated sample among the raw ones, -1 for a new
    one. `because` holds the decisions' codes, in the order of the samples.
    """

    samples: Samples
    curated: Samples
    findings: Findings
    decision: np.ndarray
    because: pa.Array
    at: np.ndarray
    code: np.ndarray
    codes: list[str]
    severity: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(
        cls, samples: Samples, findings: Findings, decisions: Decisions, curated: Samples | None
    ) -> Self:
        """The tables joined; without a curated set, the one that the decisions would make."""
        rows = pc.index_in(
            samples.table.column("id"), value_set=_flat(decisions.table.column("id"))
        )
        words = pc.index_in(decisions.table.column("decision"), value_set=pa.array(DECISIONS))
        decision = pc.fill_null(words.take(_flat(rows)), KEEP).to_numpy().astype(np.int8)
        because = (
            _flat(decisions.table.column("because").take(rows))
            if "because" in decisions
            else pa.nulls(len(samples), pa.list_(pa.string()))
        )
        if curated is None:
            curated = _would_be(samples, decisions, rows, decision)
        code, codes = numbered(findings.table.column("code"))
        severity = pc.index_in(
            findings.table.column("severity"), value_set=pa.array(SEVERITIES)
        ).to_numpy()
        at = (
            positions(findings.table.column("id"), samples)
            if "id" in findings
            else np.full(len(findings), -1)
        )
        return cls(
            samples,
            curated,
            findings,
            decision,
            because,
            at,
            code,
            [str(c) for c in codes],
            severity,
            _origin(curated, samples),
        )

    def marked(self) -> np.ndarray:
        """[n] bool: samples that carry a warning or an error."""
        marks = np.zeros(len(self.samples), dtype=bool)
        marks[self.at[(self.severity > 0) & (self.at >= 0)]] = True
        return marks

    def ruled(self) -> np.ndarray:
        """[n] bool: samples whose decision is a person's."""
        first = pc.list_element(
            self.because.filter(
                some := pc.greater(pc.fill_null(pc.list_value_length(self.because), 0), 0)
            ),
            0,
        )
        people = some.to_numpy(zero_copy_only=False).copy()
        people[people] = pc.starts_with(first, VERDICT).to_numpy(zero_copy_only=False)
        return people

    def held(self) -> np.ndarray:
        """[n] bool: samples for review that the policy keeps out of the curated set meanwhile."""
        present = np.zeros(len(self.samples), dtype=bool)
        present[self.origin[self.origin >= 0]] = True
        return (self.decision == REVIEW) & ~present


class Members(NamedTuple):
    """Which sample is in which class.

    `rows` [k] positions of samples, `values` [k] names as strings, null for none.
    """

    rows: np.ndarray
    values: pa.Array
    kind: str


def positions(ids: pa.ChunkedArray, samples: Samples) -> np.ndarray:
    """[n] positions of these ids among the samples, -1 where there is none."""
    return (
        pc.fill_null(pc.index_in(ids, value_set=_flat(samples.table.column("id"))), -1)
        .to_numpy()
        .astype(np.int64)
    )


def numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, list[Any]]:
    """A column as small integers and the sorted names they stand for."""
    names = pc.unique(_flat(column)).sort()
    return pc.index_in(column, value_set=names).to_numpy().astype(np.int64), names.to_pylist()


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _origin(curated: Samples, samples: Samples) -> np.ndarray:
    origin = positions(curated.table.column("id"), samples)
    if "parent" in curated:
        origin[pc.is_valid(curated.table.column("parent")).to_numpy()] = -1
    return origin


def _would_be(
    samples: Samples, decisions: Decisions, rows: pa.ChunkedArray, decision: np.ndarray
) -> Samples:
    """The set that the decisions would make: without what is dropped, under the new labels."""
    table = samples.table
    if "new_label" in decisions and (decision == RELABEL).any():
        new = decisions.table.column("new_label").take(rows).to_pylist()
        table = labels.relabelled(
            table,
            [
                label if asked else None
                for label, asked in zip(new, decision == RELABEL, strict=True)
            ],
        )
    return Samples(table.filter(pa.array(decision != DROP)))


def members(samples: Samples, column: str) -> Members:
    """The classes of the samples by a column.

    The label as `dqpipe.data.labels` says, or a role that is text.

    `kind` is "class" or "classes", or why there are none: "number", "other" or "none".
    """
    if column == "label":
        found, kind = labels.members(samples), labels.kind_in(samples)
        return Members(
            found.rows,
            found.names,
            {"tags": "classes", "objects": "other", "mask": "other"}.get(kind, kind),
        )
    if column not in samples or samples.table.column(column).null_count == len(samples):
        return Members(np.zeros(0, dtype=np.int64), pa.array([], pa.string()), "none")
    return Members(np.arange(len(samples)), _flat(samples.table.column(column)), "class")


COLUMNS = ("before", "marked", "dropped", "away", "into", "review", "held", "added", "after")


def by_class(joined: Joined, column: str = "label") -> dict[str, Any]:
    """Per class of a column: samples before and after, and what became of them.

    The largest first, the rest summed.

    before − dropped − held − away + into + added = after, where `away` were relabelled to another
    class and `into` from one.
    """
    raw, new = members(joined.samples, column), members(joined.curated, column)
    names = pc.unique(pa.chunked_array([raw.values, new.values], pa.string()))
    table = pa.table({"name": names, **_columns(joined, raw, new, names)})
    table = table.sort_by(
        [("before", "descending"), ("after", "descending"), ("name", "ascending")]
    )
    rows = table.slice(0, ROWS).to_pylist()
    rest = table.slice(ROWS)
    others = (
        {name: int(pc.sum(rest.column(name)).as_py()) for name in COLUMNS} if len(rest) else None
    )
    known = table.filter(
        pc.and_(pc.is_valid(table.column("name")), pc.greater(table.column("before"), 0))
    )
    total = len(table) - table.column("name").null_count
    return {
        "kind": raw.kind,
        "total": total,
        "before": len(known),
        "rows": rows,
        "others": others,
        **_extremes(known),
    }


def _columns(joined: Joined, raw: Members, new: Members, names: pa.Array) -> dict[str, np.ndarray]:
    codes = pc.index_in(raw.values, value_set=names).to_numpy()
    codes_new = pc.index_in(new.values, value_set=names).to_numpy()
    origin = joined.origin[new.rows]

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(codes[mask[raw.rows]], minlength=len(names))

    def count_new(mask: np.ndarray) -> np.ndarray:
        return np.bincount(codes_new[mask], minlength=len(names))

    return {
        "before": count(np.ones(len(joined.samples), dtype=bool)),
        "marked": count(joined.marked()),
        "dropped": count(joined.decision == DROP),
        "away": count(joined.decision == RELABEL),
        "into": count_new((origin >= 0) & (joined.decision[origin] == RELABEL))
        if len(joined.decision)
        else count_new(origin >= 0),
        "review": count(joined.decision == REVIEW),
        "held": count(joined.held()),
        "added": count_new(origin < 0),
        "after": count_new(np.ones(len(origin), dtype=bool)),
    }


def _extremes(known: pa.Table) -> dict[str, Any]:
    """The classes that came to nothing, and the one that lost the largest share."""
    emptied = known.filter(pc.equal(known.column("after"), 0)).column("name").to_pylist()
    lost = known.column("dropped").to_numpy()
    share = lost / np.maximum(known.column("before").to_numpy(), 1)
    worst = int(np.lexsort((-lost, -share))[0]) if len(known) and lost.any() else None
    return {
        "emptied": {"total": len(emptied), "names": emptied[:10]},
        "hardest": None if worst is None else known.slice(worst, 1).to_pylist()[0],
    }


def by_code(joined: Joined) -> list[dict[str, Any]]:
    """Per code: findings, samples, severities, claims about the whole dataset, and what became of
    the samples.
    """
    k, n = len(joined.codes), max(len(joined.samples), 1)
    severities = np.bincount(joined.code * 3 + joined.severity, minlength=k * 3).reshape(k, 3)
    pairs = np.unique(joined.code[joined.at >= 0] * n + joined.at[joined.at >= 0])
    decided = (
        np.bincount(pairs // n * 4 + joined.decision[pairs % n], minlength=k * 4).reshape(k, 4)
        if len(pairs)
        else np.zeros((k, 4), int)
    )
    whole = np.bincount(joined.code[joined.at < 0], minlength=k)
    return [
        {
            "code": code,
            "findings": int(severities[i].sum()),
            "samples": int(decided[i].sum()),
            "dataset": int(whole[i]),
            "severities": dict(zip(SEVERITIES, severities[i].tolist(), strict=True)),
            "decisions": dict(zip(DECISIONS, decided[i].tolist(), strict=True)),
        }
        for i, code in enumerate(joined.codes)
    ]


def reasons(joined: Joined) -> dict[str, dict[str, int]]:
    """Per decision other than keep: samples by the code that led there first, most frequent first.

    They add up.
    """
    length = pc.fill_null(pc.list_value_length(joined.because), 0).to_numpy()
    first = np.full(len(joined.samples), None, dtype=object)
    some = length > 0
    first[some] = pc.list_element(joined.because.filter(pa.array(some)), 0).to_numpy(
        zero_copy_only=False
    )
    found = {}
    for number, decision in enumerate(DECISIONS[1:], start=1):
        counts = pc.value_counts(
            pa.array(first[joined.decision == number], pa.string())
        ).to_pylist()
        ranked = sorted(counts, key=lambda row: (-row["counts"], row["values"] or ""))
        found[decision] = {row["values"] or "": row["counts"] for row in ranked}
    return found


def marks(joined: Joined) -> dict[str, int]:
    """Samples by reasons that no finding claims.

    What the policy itself put among the reasons (a ceiling, say); what people said is no such.
    """
    counts = pc.value_counts(pc.list_flatten(joined.because)).to_pylist()
    own = (
        row
        for row in counts
        if row["values"] not in joined.codes and not row["values"].startswith(VERDICT)
    )
    ranked = sorted(own, key=lambda row: (-row["counts"], row["values"]))
    return {row["values"]: row["counts"] for row in ranked}
