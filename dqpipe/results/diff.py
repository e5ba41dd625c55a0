"""What changed between two versions, sample by sample, and why.

    in, out       came into the curated set, left it
    relabelled    is in both curated sets, under another label
    decided       is in both under one label, or in neither, by another decision
    replaced      the same id holds other bytes (or, of a row, other values)
    renamed       the same content under another id; compared as the one sample that it is

A row may be of several kinds. `why` names the codes that came and went, and what of the plan
changed in their stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.labels import label_text
from dqpipe.data.tables import Decisions, Samples
from dqpipe.data.wording import many, plural
from dqpipe.results.versions import Version

KINDS = ("in", "out", "relabelled", "decided", "replaced", "renamed")
MEANINGS = {
    "in": "came into the curated set",
    "out": "left the curated set",
    "relabelled": "have another label",
    "decided": "are decided otherwise",
    "replaced": "have other content",
    "renamed": "have another name",
}
SHOWN = 20
"""Rows of each kind in run.json and in the report."""
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two: `record` holds what run.json does, as far as it is about the plan."""

    samples: Samples
    curated: Samples
    decisions: Decisions
    record: Mapping[str, Any]

    @classmethod
    def of(cls, version: Version) -> Side:
        """The side of a version. Raises DatasetError."""
        return cls(version.samples, version.curated, version.decisions, version.record)

    @cached_property
    def columns(self) -> dict[str, pa.Array]:
        """One row per raw sample: id, content, label, decision, because, whether it is in the
        curated set, and under which label.
        """
        ids = _flat(self.samples.table.column("id"))
        decided = self.decisions.table.take(_at(ids, self.decisions.table.column("id")))
        kept = self.curated.table
        if "parent" in self.curated:
            kept = kept.filter(pc.is_null(kept.column("parent")))
        at = _at(ids, kept.column("id"))
        told = {
            "id": ids,
            "content": self.samples.table.column("content"),
            "label": _labels(self.samples),
            "decision": decided.column("decision"),
            "because": decided.column("because"),
            "curated": pc.is_valid(at),
            "as": _labels(Samples(kept)).take(at),
        }
        return {name: _flat(column) for name, column in told.items()}

    def state(self, row: int | None) -> dict[str, Any]:
        """One sample; all None where there is none."""
        return {
            name: None if row is None else column[row].as_py()
            for name, column in self.columns.items()
        }

    @property
    def made(self) -> set[str]:
        """The ids of new samples."""
        parents = (
            self.curated.table.column("parent").to_pylist() if "parent" in self.curated else []
        )
        return {
            sample
            for sample, parent in zip(self.curated.ids, parents, strict=False)
            if parent is not None
        }


@dataclass(frozen=True)
class Diff:
    """The changed samples, what else changed, and how many of each."""

    rows: Sequence[Row]
    """id, before (the old id of a renamed one), kinds, label, decision (each [before,
    after]), why.
    """
    plan: Sequence[Mapping[str, Any]]
    """what, before, after."""
    counts: Mapping[str, int]
    """KINDS, new and gone (of the input), added and removed (of the samples that were made)."""

    def record(self, shown: int | None = SHOWN) -> dict[str, Any]:
        """As JSON values, with at most so many rows of each kind."""
        left = dict.fromkeys(KINDS, len(self.rows) if shown is None else shown)
        rows = []
        for row in self.rows:
            if any(left[kind] > 0 for kind in row["kinds"]):
                rows.append(row)
                for kind in row["kinds"]:
                    left[kind] -= 1
        return {"counts": dict(self.counts), "plan": list(self.plan), "rows": rows}


def compare(before: Side, after: Side) -> Diff:
    """What changed from one side to the other."""
    plan = _plan(before.record, after.record)
    at = _at(after.columns["id"], before.columns["id"]).to_numpy(
        zero_copy_only=False
    )  # NaN where there is none
    there = ~np.isnan(at)
    gone = np.setdiff1d(np.arange(len(before.samples)), at[there].astype(np.int64))
    new = np.flatnonzero(~there)
    renamed = _renamed(before, gone, after, new)
    pairs: list[tuple[int | None, int | None]] = [
        (int(at[row]), int(row)) for row in _unlike(before, after, np.flatnonzero(there), at)
    ]
    pairs += [(renamed.get(row), row) for row in new.tolist()]
    again = set(renamed.values())
    pairs += [(row, None) for row in gone.tolist() if row not in again]
    rows = [
        _row(before.state(old), after.state(now), plan, renamed=now in renamed)
        for old, now in pairs
    ]
    rows = sorted((row for row in rows if row["kinds"]), key=lambda row: str(row["id"]))
    counts = {kind: sum(kind in row["kinds"] for row in rows) for kind in KINDS}
    counts |= {"new": len(new) - len(renamed), "gone": len(gone) - len(renamed)}
    counts |= {"added": len(after.made - before.made), "removed": len(before.made - after.made)}
    return Diff(rows, plan, counts)


def summary(counts: Mapping[str, int]) -> str:
    """The counts in a sentence: what changed in the curated set, and in the input."""
    told = [f"{counts[kind]:,} {meaning(kind, counts[kind])}" for kind in KINDS if counts[kind]]
    made = (("added", "new sample", "was", "made"), ("removed", "made sample", "is", "gone"))
    told += [
        f"{many(n, noun)} {plural(n, verb)} {what}"
        for name, noun, verb, what in made
        if (n := counts[name])
    ]
    new, gone = counts["new"], counts["gone"]
    read = (
        f"{many(new, 'sample')} {plural(new, 'is')} new in the input and {gone:,} "
        f"{plural(gone, 'is')} gone from it"
    )
    return f"{', '.join(told) or 'no sample changed'}; {read}."


def meaning(kind: str, number: int) -> str:
    """What so many samples of a kind did or are."""
    verb, _, rest = MEANINGS[kind].partition(" ")
    singular = {"have": "has", "are": "is"}.get(verb, verb)
    return f"{singular if number == 1 else verb} {rest}"


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _at(ids: pa.Array, among: pa.ChunkedArray) -> pa.Array:
    """Where these ids stand among others, null where they do not."""
    return _flat(pc.index_in(ids, value_set=_flat(among)))


def _labels(samples: Samples) -> pa.Array:
    if "label" not in samples:
        return pa.nulls(len(samples), pa.string())
    column = _flat(samples.table.column("label"))
    return (
        column
        if pa.types.is_string(column.type)
        else pa.array([label_text(value) for value in column.to_pylist()], pa.string())
    )


def _renamed(before: Side, gone: np.ndarray, after: Side, new: np.ndarray) -> dict[int, int]:
    """New row → old row, for content that stands under another id.

    Equal contents are paired in the order of their ids.
    """
    left: dict[str, list[int]] = {}
    for row in sorted(gone.tolist(), key=lambda row: str(before.columns["id"][row]), reverse=True):
        left.setdefault(before.columns["content"][row].as_py(), []).append(row)
    found = {}
    for row in sorted(new.tolist(), key=lambda row: str(after.columns["id"][row])):
        content = after.columns["content"][row].as_py()
        if content is not None and left.get(content):
            found[row] = left[content].pop()
    return found


def _unlike(before: Side, after: Side, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Those of these rows of the later side whose sample is not as it was."""
    old, now = pa.array(at[rows].astype(np.int64)), pa.array(rows)
    same = np.ones(len(rows), dtype=bool)
    for name in ("content", "decision", "curated", "as"):
        one, other = before.columns[name].take(old), after.columns[name].take(now)
        alike = pc.or_(
            pc.fill_null(pc.equal(one, other), fill_value=False),
            pc.and_(pc.is_null(one), pc.is_null(other)),
        )
        same &= alike.to_numpy(zero_copy_only=False)
    return rows[~same]


def _row(old: Row, new: Row, plan: Sequence[Mapping[str, Any]], *, renamed: bool) -> Row:
    was, now = old["id"] is not None, new["id"] is not None
    inside, there = bool(old["curated"]), bool(new["curated"])
    relabelled = inside and there and old["as"] != new["as"]
    told = {
        "in": there and not inside,
        "out": inside and not there,
        "relabelled": relabelled,
        "decided": was
        and now
        and inside == there
        and old["decision"] != new["decision"]
        and not relabelled,
        "replaced": was and now and old["content"] != new["content"],
        "renamed": renamed,
    }
    kinds = [kind for kind in KINDS if told[kind]]
    label = [state["as"] if state["curated"] else state["label"] for state in (old, new)]
    return {
        "id": new["id"] if now else old["id"],
        "before": old["id"] if renamed else None,
        "kinds": kinds,
        "label": label,
        "decision": [old["decision"], new["decision"]],
        "why": _why(old, new, kinds, plan),
    }


def _why(old: Row, new: Row, kinds: Sequence[str], plan: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasons, the nearest first.

    What else changed in the plan only where a decision or a label did.
    """
    if old["id"] is None or new["id"] is None:
        return ["new in the input" if old["id"] is None else "gone from the input"]
    why = ["its content changed"] if "replaced" in kinds else []
    why += ["its label changed in the input"] if old["label"] != new["label"] else []
    judged = {"in", "out", "relabelled", "decided"} & set(kinds)
    if not judged:
        return why or ["same content, other name"]
    before, after = old["because"] or [], new["because"] or []
    came, went = (
        [code for code in after if code not in before],
        [code for code in before if code not in after],
    )
    why += [f"now {code}" for code in came] + [f"no longer {code}" for code in went]
    stages = {code.rpartition(".")[0] for code in (*came, *went)}
    why += [
        _said(change) for change in plan if change["stage"] in stages or change["stage"] == POLICY
    ]
    return why or ["what it is compared with changed"]


POLICY = "policy"


def _said(change: Mapping[str, Any]) -> str:
    if change["before"] is None and change["what"].startswith("stage "):
        return f"{change['what']} is new"
    if change["after"] is None and change["what"].startswith("stage "):
        return f"{change['what']} is gone"
    return f"{change['what']} changed: {change['before']} → {change['after']}"


def _plan(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """What changed beside the samples.

    Options, versions of stages, plugins and libraries, seed, input.
    """
    old, new = dict(_parts(before)), dict(_parts(after))
    return [
        {
            "what": what,
            "stage": stage,
            "before": old.get((what, stage)),
            "after": new.get((what, stage)),
        }
        for what, stage in {**old, **new}
        if old.get((what, stage)) != new.get((what, stage))
    ]


def _parts(record: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """What a plan consists of, as (what, of which stage) and its value in words."""
    last = [stage["name"] for stage in record.get("stages", [])][-1:]
    for stage in record.get("stages", []):
        name = (
            POLICY if [stage["name"]] == last else stage["name"]
        )  # the policy is the last of them, whatever it is called
        yield (f"stage {stage['name']}", name), f"{stage['stage']} version {stage['version']}"
        for option, value in stage["options"].items():
            yield (f"option {stage['name']}.{option}", name), _text(value)
    config, lineage = record.get("config", {}), record.get("lineage", {})
    for name in ("path", "limit", "reader", "roles"):
        yield (f"dataset.{name}", ""), _text(config.get("dataset", {}).get(name))
    yield ("gates", ""), _text(config.get("gates"))
    yield ("seed", ""), _text(record.get("seed"))
    yield ("dqpipe", ""), _text(record.get("dqpipe"))
    for name, value in (*lineage.get("plugins", {}).items(), *record.get("versions", {}).items()):
        yield (f"version of {name}", ""), _text(value)


def _text(value: object) -> str:
    return "none" if value is None else str(value)[:200]
