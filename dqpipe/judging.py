"""Gates judged: the value of each condition, in each class where it asks for any, and a sentence that says it.

    Tables now ─┐
                ├─▶ Reading of each condition and key ──▶ {"gate", "passed", "judged", "value", "said"}
    Tables last ┘

What cannot be judged now fails; what has nothing to be compared with passes; either is said (see `dqpipe.gates`).
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.errors import DatasetError, listed, nearest
from dqpipe.gates import CERTIFIED, DECISIONS, NUMBERS, Condition, Gate, Subject
from dqpipe.model import DECISIONS as DECIDED
from dqpipe.model import Decisions, Figures, Findings, Samples
from dqpipe.report import tally

FEW = 3
"""Names of classes that a sentence lists."""
Key = str | None


@dataclass(frozen=True)
class Reading:
    """A value in the unit of its limit, or None, and a sentence without its full stop."""

    value: float | None
    said: str
    compared: bool = True
    """False: there is nothing to compare with."""


class Tables:
    """What a run came to, as far as gates look at it."""

    def __init__(self, samples: Samples, findings: Findings, decisions: Decisions, curated: Samples | None, figures: Figures) -> None:
        self.samples, self.figures = samples, figures
        self._parts = findings, decisions, curated

    @cached_property
    def joined(self) -> tally.Joined:
        """The tables joined on the sample."""
        return tally.Joined.of(self.samples, *self._parts)

    @cached_property
    def stated(self) -> dict[tuple[str, str, str], dict[Key, float | None]]:
        """Figures: (name, scope, raw or curated) → key → value."""
        found: dict[tuple[str, str, str], dict[Key, float | None]] = {}
        for row in self.figures.table.to_pylist():
            number = row["value"]
            fine = number is not None and math.isfinite(number)
            found.setdefault((row["figure"], row["scope"], row["of"] or "raw"), {})[row["key"]] = number if fine else None
        return found

    def members(self, samples: Samples, scope: str | None) -> tuple[np.ndarray, pa.Array]:
        """Which rows stand in which class: positions and names; all of them in one without a name where there is no scope."""
        if scope is None:
            return np.arange(len(samples)), pa.nulls(len(samples), pa.string())
        rows, values, _ = tally.members(samples, "label" if scope == "class" else scope)
        known = pc.is_valid(values).to_numpy(zero_copy_only=False)
        return rows[known], values.filter(pa.array(known))

    def counted(self, samples: Samples, hit: np.ndarray, scope: str | None) -> dict[Key, int]:
        """Samples that are hit, by class."""
        rows, values = self.members(samples, scope)
        counts = pc.value_counts(values.filter(pa.array(hit[rows]))).to_pylist()
        return {row["values"]: int(row["counts"]) for row in counts}

    def hits(self, subject: Subject) -> tuple[Samples, np.ndarray]:
        """The samples and which of them count."""
        joined, every = self.joined, np.ones(len(self.samples), dtype=bool)
        if subject.kind == "code":
            codes = [number for number, code in enumerate(joined.codes) if fnmatch.fnmatchcase(code, subject.name)]
            at = joined.at[np.isin(joined.code, codes) & (joined.at >= 0)]
            hit = ~every
            hit[at] = True
            return self.samples, hit
        if subject.kind == "decision":
            return self.samples, joined.decision == DECIDED.index(DECISIONS[subject.name])
        if subject.name in ("curated", "added"):
            return joined.curated, np.ones(len(joined.origin), dtype=bool) if subject.name == "curated" else joined.origin < 0
        marks = {"marked": joined.marked, "held": joined.held}
        return self.samples, marks[subject.name]() if subject.name in marks else every

    def number(self, name: str) -> int:
        """A count that is not of samples."""
        if name == "whole":
            return int((self.joined.severity[self.joined.at < 0] > 0).sum())
        samples, column = (self.joined.curated if name == "classes_after" else self.samples), "split" if name == "splits" else "label"
        values = tally.members(samples, column).values
        return int(pc.count_distinct(values).as_py())

    def sizes(self, scope: str | None) -> dict[Key, int]:
        """Samples by class."""
        return self.counted(self.samples, np.ones(len(self.samples), dtype=bool), scope)


def judge(gate: Gate, now: Tables, last: Callable[[], Tables | None]) -> dict[str, Any]:
    """Whether a gate passed, the value that counted, and a sentence; `last` gives the version to compare with, or None."""
    before: Tables | None = None
    why = "no version was published before"
    if gate.compares:
        try:
            before = last()
        except DatasetError as error:
            why = str(error)
    readings = [_readings(condition, now, before, why) for condition in gate.conditions]
    keys = _keys(gate, readings)
    if not keys:
        wanted = next((c.subject for c in gate.conditions if c.subject.over), gate.conditions[0].subject)
        return _record(gate, passed=False, judged=False, value=None, said=f"{wanted} cannot be judged: nothing has a value")
    rows = {key: [_of(reading, key) for reading in readings] for key in keys}
    known = {key: row for key, row in rows.items() if all(reading.value is not None for reading in row)}
    if not known:
        row = next((row for row in rows.values() if any(r.value is None and r.compared for r in row)), next(iter(rows.values())))
        reading = next(r for r in row if r.value is None)
        first = next((r for r in row if r.value is None and r.compared), reading)
        return _record(gate, passed=not first.compared, judged=False, value=None, said=first.said)
    holding = {key: row for key, row in known.items() if all(c.holds(float(r.value or 0)) for c, r in zip(gate.conditions, row, strict=True))}
    worst = _worst(gate.conditions[0], holding or known)
    row = (holding or known)[worst]
    said = " and ".join(reading.said for reading in row) + "; it must not be " + " and ".join(_limits(gate))
    others = [str(key) for key in sorted(holding, key=str) if key != worst]
    said += f" (nor in {listed(others, FEW)})" if others else ""
    blank = [str(key) for key, row in rows.items() if any(r.value is None and r.compared for r in row)]
    said += f"; without a value: {listed(sorted(blank), FEW)}" if blank else ""
    return _record(gate, passed=not holding, judged=True, value=row[0].value, said=said)


def _record(gate: Gate, *, passed: bool, judged: bool, value: float | None, said: str) -> dict[str, Any]:
    return {"gate": gate.text or str(gate), "passed": passed, "judged": judged, "value": value, "said": said}


def _limits(gate: Gate) -> list[str]:
    """The limits, each with its measure or subject where these differ."""
    first = gate.conditions[0]
    told = [first.limited if len({c.subject for c in gate.conditions}) == 1 else f"{first.subject.measure or first.subject} {first.limited}"]
    for one, other in zip(gate.conditions, gate.conditions[1:], strict=False):
        told.append(other.limited if other.subject == one.subject else f"{other.subject.measure or other.subject} {other.limited}")
    return told


def _keys(gate: Gate, readings: list[dict[Key, Reading]]) -> list[Key]:
    """The classes that are judged: those of the conditions about any class, or the one of none."""
    told = [reading for condition, reading in zip(gate.conditions, readings, strict=True) if condition.subject.over]
    return sorted({key for reading in told for key in reading}, key=str) if told else [None]


def _of(readings: Mapping[Key, Reading], key: Key) -> Reading:
    if key in readings:
        return readings[key]
    return readings.get(None) or Reading(None, f"nothing is known of {key}")


def _worst(condition: Condition, rows: Mapping[Key, list[Reading]]) -> Key:
    pick = max if condition.operator.startswith(">") else min
    return pick(rows, key=lambda key: (rows[key][0].value or 0, str(key)))


def _readings(condition: Condition, now: Tables, before: Tables | None, why: str) -> dict[Key, Reading]:
    """The readings of one condition by class; under None where it is about one place."""
    subject = condition.subject
    if subject.kind == "drift":
        return _drift(subject, now, before, why)
    values = _values(subject, now, percent=condition.percent and not (subject.change and subject.relative))
    if subject.change:
        if before is None:
            return {None: Reading(None, f"{subject}: nothing to compare with: {why}", compared=False)}
        old = _values(subject, before, percent=condition.percent and not subject.relative)
        values = {key: _changed(condition, key, values.get(key) or _absent(condition, key), old.get(key)) for key in {**old, **values}}
    if subject.key is None:
        return values
    if subject.key in values:
        return {None: values[subject.key]}
    what = f"no {subject.scope} is called {subject.key!r}: {nearest(subject.key, [str(key) for key in values])}"
    return {None: Reading(None, f"{subject} cannot be judged: {what}")}


def _absent(condition: Condition, key: Key) -> Reading:
    """What stood in the last version and stands no more: a count of 0, no share and no figure."""
    of = _in(condition.subject, key)
    if condition.subject.kind == "figure" or (condition.percent and not condition.subject.relative):
        return Reading(None, f"{of} cannot be judged: there are no samples any more")
    return Reading(0.0, f"{of} is 0")


def _values(subject: Subject, tables: Tables, *, percent: bool) -> dict[Key, Reading]:
    """The values of a subject as they stand, by class."""
    if subject.kind == "figure":
        return _figure(subject, tables, percent=percent)
    if subject.name in NUMBERS:
        number = tables.number(subject.name)
        return {None: Reading(float(number), f"{subject.name} is {number:,}")}
    samples, hit = tables.hits(subject)
    counts, sizes = tables.counted(samples, hit, subject.scope), tables.sizes(subject.scope)
    keys = {**sizes, **counts} if subject.scope else {None: 0}
    whole = len(tables.samples)
    found = {}
    for key in keys:
        count, n = counts.get(key, 0), whole if subject.name == "samples" else sizes.get(key, 0)
        of = _in(subject, key)
        if percent:
            share = 100 * count / n if n else None
            found[key] = Reading(share, f"{of} is {share:.4g}% ({count:,} of {n:,})" if n else f"{of} cannot be judged: there are no samples")
        else:
            found[key] = Reading(float(count), f"{of} is {count:,}" + (f" (of {n:,})" if subject.scope and subject.name != "samples" else ""))
    return found


def _figure(subject: Subject, tables: Tables, *, percent: bool) -> dict[Key, Reading]:
    of = "curated" if subject.curated else "raw"
    stated = tables.stated.get((subject.name, subject.scope or "set", of), {})
    sizes = tables.sizes(subject.scope) if subject.scope and not subject.curated else {}
    found: dict[Key, Reading] = {}
    for key, number in (stated if subject.scope else {None: stated.get(None)}).items():
        name = _in(subject, key)
        n = f" (n = {sizes[key]:,})" if key in sizes else ""
        value = None if number is None else number * (100 if percent else 1)
        told = f"{name} is {value:.4g}{'%' if percent else ''}{n}" if value is not None else f"{name} cannot be judged: {_valueless(subject)}{n}"
        found[key] = Reading(value, told)
    return found


def _valueless(subject: Subject) -> str:
    what, of, code = subject.name.partition(" of ")
    return f"nobody looked at these claims yet, or not since it changed: dqpipe review OUT --audit {code}" if of and what in CERTIFIED else "it has no value"


def _in(subject: Subject, key: Key) -> str:
    where = f" in {subject.scope} {subject.key or key}" if subject.scope and (subject.key or key) is not None else ""
    return f"{'curated ' if subject.curated else ''}{subject.name}{where}"


def _changed(condition: Condition, key: Key, now: Reading, old: Reading | None) -> Reading:
    """What a value changed by since the last version."""
    subject = condition.subject
    if now.value is None:
        return now
    if old is None or old.value is None:
        return Reading(None, f"{now.said}: nothing to compare with: the last version has no {_in(subject, key)}", compared=False)
    change, unit = now.value - old.value, ""
    if condition.percent:
        unit = " points"
        if subject.relative:
            unit = "%"
            if old.value == 0:
                if now.value == 0:
                    return Reading(0.0, f"{now.said} and was 0: unchanged")
                return Reading(None, f"{now.said}: nothing to compare with: it was 0", compared=False)
            change = 100 * change / abs(old.value)
    was = f"{old.value:,.4g}{'%' if condition.percent and not subject.relative else ''}"
    return Reading(change, f"{now.said} and was {was}: a change of {change:+.4g}{unit}")


def _drift(subject: Subject, now: Tables, before: Tables | None, why: str) -> dict[Key, Reading]:
    """Drift as a stage stated it, by fact; under None where it is one fact's."""
    found: dict[Key, Reading] = {}
    for (name, scope, of), values in now.stated.items():
        if scope == "fact" and of == "raw" and name.rpartition(".")[2] == subject.measure:
            for key, value in values.items():
                if subject.name in ("any", key):
                    told = f"{key} drift {subject.measure} is {value:.4g}" if value is not None else f"{key} drift {subject.measure} has no value"
                    found[key] = Reading(value, told, compared=value is not None)
    if not found:
        why = why if before is None else "no such drift was measured (few samples are new, or it is not known of both versions)"
        return {None: Reading(None, f"{subject}: nothing to compare with: {why}", compared=False)}
    return found if subject.name == "any" else {None: next(iter(found.values()))}
