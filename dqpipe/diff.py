"""What changed between two versions, sample by sample, and why.

    in, out       came into the curated set, left it
    relabelled    is in both curated sets, under another label
    decided       is in both under one label, or in neither, by another decision
    content       the same id holds other bytes (or, of a row, other values)
    renamed       the same content under another id; compared as the one sample that it is

A row may be of several kinds. `why` names the codes that came and went, and what of the plan changed in their stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dqpipe.model import Decisions, Samples, label_text
from dqpipe.versions import Version

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("in", "out", "relabelled", "decided", "content", "renamed")
MEANINGS = {
    "in": "came into the curated set", "out": "left the curated set", "relabelled": "have another label", "decided": "are decided otherwise",
    "content": "have another content", "renamed": "have another name",
}  # fmt: skip
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
    def states(self) -> pd.DataFrame:
        """By id: content, label, decision, because, whether it is in the curated set, and under which label."""
        import pandas as pd

        frame = pd.DataFrame({"id": self.samples.ids, "content": self.samples["content"], "label": _labels(self.samples)}, dtype=object)
        decided = self.decisions.table.select(["id", "decision", "because"]).to_pandas().astype(object)
        frame = frame.merge(decided, on="id", how="left").set_index("id")
        kept = _kept(self.curated)
        frame["curated"] = frame.index.isin(kept.index)
        frame["as"] = kept.reindex(frame.index).astype(object)
        return frame.astype(object).where(frame.notna(), None)

    @property
    def made(self) -> set[str]:
        """The ids of new samples."""
        parents = self.curated.table.column("parent").to_pylist() if "parent" in self.curated else []
        return {sample for sample, parent in zip(self.curated.ids, parents, strict=False) if parent is not None}


@dataclass(frozen=True)
class Diff:
    """The changed samples, what else changed, and how many of each."""

    rows: Sequence[Row]
    """id, before (the old id of a renamed one), kinds, label, decision (each [before, after]), why."""
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
    old, new = before.states, after.states
    renamed = _renamed(old, new)
    old = old.rename(index={then: now for now, then in renamed.items()})
    joined = old.add_suffix("_before").join(new.add_suffix("_after"), how="outer").sort_index(kind="stable")
    rows = [row for row in _rows(joined.astype(object).where(joined.notna(), None), renamed, plan) if row["kinds"]]
    counts = {kind: sum(kind in row["kinds"] for row in rows) for kind in KINDS}
    counts |= {"new": int((~new.index.isin(old.index)).sum()), "gone": int((~old.index.isin(new.index)).sum())}
    counts |= {"added": len(after.made - before.made), "removed": len(before.made - after.made)}
    return Diff(rows, plan, counts)


def summary(counts: Mapping[str, int]) -> str:
    """The counts in a sentence: what changed in the curated set, and in the input."""
    told = [f"{counts[kind]:,} {MEANINGS[kind]}" for kind in KINDS if counts[kind]]
    told += [f"{counts[name]:,} {what}" for name, what in (("added", "new samples were made"), ("removed", "made samples are gone")) if counts[name]]
    read = f"{counts['new']:,} samples are new in the input and {counts['gone']:,} are gone from it"
    return f"{', '.join(told) or 'no sample changed'}; {read}."


def _labels(samples: Samples) -> list[str | None]:
    if "label" not in samples:
        return [None] * len(samples)
    column = samples.table.column("label")
    return column.to_pylist() if pa.types.is_string(column.type) else [label_text(value) for value in column.to_pylist()]


def _kept(curated: Samples) -> pd.Series:
    """The label of each curated sample that was not made, by id."""
    import pandas as pd

    parents = curated.table.column("parent").to_pylist() if "parent" in curated else [None] * len(curated)
    known = [(i, label) for i, label, parent in zip(curated.ids, _labels(curated), parents, strict=True) if parent is None]
    return pd.Series([label for _, label in known], index=pd.Index([i for i, _ in known], dtype=object), dtype=object)


def _renamed(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, str]:
    """New id → old id, for content that stands under another id; equal contents are paired in the order of their ids."""
    sides = []
    for one, other in ((old, new), (new, old)):
        alone = one.loc[~one.index.isin(other.index) & one["content"].notna(), ["content"]].sort_index()
        sides.append(alone.assign(id=alone.index, nth=alone.groupby("content").cumcount()))
    pairs = sides[0].merge(sides[1], on=["content", "nth"], suffixes=("_before", "_after"))
    return dict(zip(pairs["id_after"], pairs["id_before"], strict=True))


def _rows(joined: pd.DataFrame, renamed: Mapping[str, str], plan: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The rows that may have changed; the many that did not are passed over by whole columns."""
    same = ~joined.index.isin(list(renamed))
    for name in ("content", "decision", "curated", "as"):
        one, other = joined[f"{name}_before"], joined[f"{name}_after"]
        same &= ((one == other) | (one.isna() & other.isna())).to_numpy(dtype=bool)
    changed = joined[~same]
    for sample, row in zip(changed.index, changed.to_dict("records"), strict=True):
        yield _row(sample, row, renamed.get(sample), plan)


def _row(sample: str, row: Mapping[str, Any], before: str | None, plan: Sequence[Mapping[str, Any]]) -> Row:
    was, now = row["decision_before"] is not None, row["decision_after"] is not None
    inside, there = bool(row["curated_before"]), bool(row["curated_after"])
    relabelled = inside and there and row["as_before"] != row["as_after"]
    told = {
        "in": there and not inside,
        "out": inside and not there,
        "relabelled": relabelled,
        "decided": was and now and inside == there and row["decision_before"] != row["decision_after"] and not relabelled,
        "content": was and now and row["content_before"] != row["content_after"],
        "renamed": before is not None,
    }
    kinds = [kind for kind in KINDS if told[kind]]
    decision = [row["decision_before"], row["decision_after"]]
    label = [row["as_before"] if inside else row["label_before"], row["as_after"] if there else row["label_after"]]
    why = _why(row, kinds, was=was, now=now, plan=plan)
    return {"id": sample, "before": before, "kinds": kinds, "label": label, "decision": decision, "why": why}


def _why(row: Mapping[str, Any], kinds: Sequence[str], *, was: bool, now: bool, plan: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasons, the nearest first; what else changed in the plan only where a decision or a label did."""
    if not was or not now:
        return ["gone from the input" if was else "new in the input"]
    why = ["its content changed"] if "content" in kinds else []
    why += ["its label changed in the input"] if row["label_before"] != row["label_after"] else []
    judged = {"in", "out", "relabelled", "decided"} & set(kinds)
    if not judged:
        return why or ["same content, other name"]
    before, after = (list(row[f"because_{when}"]) if row[f"because_{when}"] is not None else [] for when in ("before", "after"))
    came, went = [code for code in after if code not in before], [code for code in before if code not in after]
    why += [f"now {code}" for code in came] + [f"no longer {code}" for code in went]
    stages = {code.rpartition(".")[0] for code in (*came, *went)}
    why += [_said(change) for change in plan if change["stage"] in stages or change["stage"] == POLICY]
    return why or ["what it is compared with changed"]


POLICY = "policy"


def _said(change: Mapping[str, Any]) -> str:
    if change["before"] is None and change["what"].startswith("stage "):
        return f"{change['what']} is new"
    if change["after"] is None and change["what"].startswith("stage "):
        return f"{change['what']} is gone"
    return f"{change['what']} changed: {change['before']} → {change['after']}"


def _plan(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """What changed beside the samples: options, versions of stages, plugins and libraries, seed, input."""
    old, new = dict(_parts(before)), dict(_parts(after))
    return [{"what": what, "stage": stage, "before": old.get((what, stage)), "after": new.get((what, stage))}
            for what, stage in {**old, **new} if old.get((what, stage)) != new.get((what, stage))]  # fmt: skip


def _parts(record: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """What a plan consists of, as (what, of which stage) and its value in words."""
    last = [stage["name"] for stage in record.get("stages", [])][-1:]
    for stage in record.get("stages", []):
        name = POLICY if [stage["name"]] == last else stage["name"]  # the policy is the last of them, whatever it is called
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
