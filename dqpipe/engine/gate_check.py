"""Gates judged: the value of each condition, in each class where it asks for any, and a sentence
that says it.

    Tables now ─┐
                ├─▶ Reading of each condition and key ──▶ {"gate", "state", "passed", "judged",
                    "value", "said"}
    Tables last ┘

The state is "passed", "failed", "first" (it compares, and no version was published before) or
"unjudged" (there is one, and it cannot be compared): that passes or fails as the pipeline.yaml
says. What has no value now fails (see `dqpipe.config.gate_grammar`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dqpipe.config.gate_grammar import ANY, CERTIFIED, NUMBERS, Condition, Gate, Subject
from dqpipe.data.intervals import chance
from dqpipe.data.wording import many
from dqpipe.errors import DatasetError, listed, nearest
from dqpipe.results.run_tables import Key, Tables

P_SHOWN = 0.001
"""Smaller p values are told as such."""
OF_ALL = {"whole": "finding", "errors": "error"}
"""Counts of findings about the whole dataset, and what they count."""
FEW = 3
"""Names of classes that a sentence lists."""


@dataclass(frozen=True)
class Reading:
    """A value in the unit of its limit, or None, and a sentence without its full stop."""

    value: float | None
    said: str
    state: str = ""
    """Where there is no value: "" it is missing now, "first" no version was published before,
    "unjudged" it cannot be compared, "new" it came since.
    """

    @property
    def compared(self) -> bool:
        """Whether there was something to compare with."""
        return not self.state


def judge(
    gate: Gate, now: Tables, last: Callable[[], Tables | None], *, unjudged: str = "pass"
) -> dict[str, Any]:
    """A gate's state, the value that counted, and a sentence.

    `last` gives the version to compare with, or None. `unjudged` says what such a gate does.
    """
    before: Tables | None = None
    missing = Reading(None, "no version was published before", "first")
    if gate.compares:
        try:
            before = last()
        except DatasetError as error:
            missing = Reading(None, str(error), "unjudged")
    if (
        before is not None
        and any(c.subject.only_new for c in gate.conditions)
        and not now.beside(before, "fresh").any()
    ):
        return _record(gate, "passed", None, "no sample is new or replaced since the last version")
    readings = [_readings(condition, now, before, missing) for condition in gate.conditions]
    keys = _keys(gate, readings)
    if not keys:
        wanted = next(
            (c.subject for c in gate.conditions if c.subject.over), gate.conditions[0].subject
        )
        if wanted.name == ANY:
            return _record(gate, "passed", None, f"{wanted}: nothing was found")
        return _record(
            gate, "failed", None, f"{wanted} cannot be judged: nothing has a value", judged=False
        )
    rows = {key: [_of(reading, key) for reading in readings] for key in keys}
    known = {
        key: row for key, row in rows.items() if all(reading.value is not None for reading in row)
    }
    if not known:
        row = next(
            (row for row in rows.values() if any(r.value is None and r.compared for r in row)),
            next(iter(rows.values())),
        )
        reading = next(r for r in row if r.value is None)
        first = next((r for r in row if r.value is None and r.compared), reading)
        state = "failed" if first.compared else "first" if first.state == "first" else "unjudged"
        return _settled(gate, state, None, first.said, unjudged)
    holding = {
        key: row
        for key, row in known.items()
        if all(c.holds(float(r.value or 0)) for c, r in zip(gate.conditions, row, strict=True))
    }
    worst = _worst(gate.conditions[0], holding or known)
    row = (holding or known)[worst]
    said = (
        " and ".join(reading.said for reading in row)
        + "; it must not be "
        + " and ".join(_limits(gate))
    )
    others = [str(key) for key in sorted(holding, key=str) if key != worst]
    said += f" (the same holds for {listed(others, FEW)})" if others else ""
    said += _by_people(gate, now)
    blank = [
        str(key) for key, row in rows.items() if any(r.value is None and r.compared for r in row)
    ]
    said += f"; without a value: {listed(sorted(blank), FEW)}" if blank else ""
    shut = {key: r.said for key, row in rows.items() for r in row if r.state == "unjudged"}
    said += (
        f"; not judged: {listed(sorted(map(str, shut)), FEW)} ({next(iter(shut.values()))})"
        if shut
        else ""
    )
    return _settled(
        gate,
        "failed" if holding else "unjudged" if shut else "passed",
        row[0].value,
        said,
        unjudged,
    )


def _by_people(gate: Gate, now: Tables) -> str:
    """How many samples of each decision that a gate counts were decided by people."""
    told = ""
    for name in dict.fromkeys(
        c.subject.name for c in gate.conditions if c.subject.kind == "decision"
    ):
        hit = now.hits(Subject("decision", name))[1]
        if ruled := int((hit & now.joined.ruled()).sum()):
            told += (
                f"; of {many(int(hit.sum()), 'sample')} {name} people's verdicts decided {ruled:,}"
            )
    return told


def _settled(
    gate: Gate, state: str, value: float | None, said: str, unjudged: str
) -> dict[str, Any]:
    """The record of a gate, where one that could not be judged passes or fails as the pipeline.yaml
    says.
    """
    if state == "unjudged" and unjudged == "fail":
        return _record(
            gate,
            state,
            value,
            f"{said}; what cannot be judged fails (unjudged: fail)",
            passed=False,
        )
    return _record(gate, state, value, said, judged=not (state == "failed" and value is None))


def _record(
    gate: Gate,
    state: str,
    value: float | None,
    said: str,
    *,
    judged: bool = True,
    passed: bool | None = None,
) -> dict[str, Any]:
    return {
        "gate": gate.text or str(gate),
        "state": state,
        "passed": state != "failed" if passed is None else passed,
        "judged": judged and state in ("passed", "failed"),
        "value": value,
        "said": said,
    }


def _limits(gate: Gate) -> list[str]:
    """The limits, each with its measure or subject where these differ."""
    first = gate.conditions[0]
    alike = (
        len(
            {
                c.subject if c.subject.kind == "drift" else replace(c.subject, measure="")
                for c in gate.conditions
            }
        )
        == 1
    )
    told = [first.limited if alike else f"{first.subject.measure or first.subject} {first.limited}"]
    for one, other in zip(gate.conditions, gate.conditions[1:], strict=False):
        told.append(
            other.limited
            if other.subject == one.subject
            else f"{other.subject.measure or other.subject} {other.limited}"
        )
    return told


def _keys(gate: Gate, readings: list[dict[Key, Reading]]) -> list[Key]:
    """The classes that are judged: those of the conditions about any class, or the one of none."""
    told = [
        reading
        for condition, reading in zip(gate.conditions, readings, strict=True)
        if condition.subject.over
    ]
    return sorted({key for reading in told for key in reading}, key=str) if told else [None]


def _of(readings: Mapping[Key, Reading], key: Key) -> Reading:
    if key in readings:
        return readings[key]
    return readings.get(None) or Reading(None, f"nothing is known of {key}")


def _worst(condition: Condition, rows: Mapping[Key, list[Reading]]) -> Key:
    pick = max if condition.operator.startswith(">") else min
    return pick(rows, key=lambda key: (rows[key][0].value or 0, str(key)))


def _readings(
    condition: Condition, now: Tables, before: Tables | None, missing: Reading
) -> dict[Key, Reading]:
    """The readings of one condition by class; under None where it is about one place."""
    subject = condition.subject
    if subject.kind == "drift":
        return _drift(subject, now, before, missing)
    if subject.compares and before is None:
        return {None: replace(missing, said=f"{subject}: nothing to compare with: {missing.said}")}
    if subject.name == ANY:
        codes = sorted(
            {*now.carried, *(before.carried if before is not None and subject.change else ())}
        )
        return {
            code: _one(condition, replace(subject, name=code), now, before, now.carries(code))
            for code in codes
        }
    values = _values(
        subject,
        now,
        before,
        percent=condition.percent and not (subject.change and subject.relative),
    )
    if subject.change:
        assert before is not None
        if subject.kind == "code" and not all(
            now.same(code, before)
            for code in {*now.joined.codes, subject.name}
            if fnmatch.fnmatchcase(code, subject.name)
        ):
            return {None: Reading(None, _other(subject), "unjudged")}
        if subject.measure or subject.new:
            return _shares(condition, now, before)
        old = _values(subject, before, None, percent=condition.percent and not subject.relative)
        values = {
            key: _changed(condition, key, values.get(key) or _absent(condition, key), old.get(key))
            for key in {**old, **values}
        }
    return values if subject.key is None else {None: _named(subject, values)}


def _named(subject: Subject, values: Mapping[Key, Reading]) -> Reading:
    """The reading of the class that a subject names."""
    if subject.key in values:
        return values[subject.key]
    what = (
        f"no {subject.scope} is called {subject.key!r}: "
        f"{nearest(str(subject.key), [str(key) for key in values])}"
    )
    return Reading(None, f"{subject} cannot be judged: {what}")


def _other(subject: Subject) -> str:
    return (
        f"{subject}: the stage is of another version, or has other options, than in the last "
        f"version"
    )


def _one(
    condition: Condition, subject: Subject, now: Tables, before: Tables | None, hit: np.ndarray
) -> Reading:
    """The reading of one code of any, of the samples [n] that carry it."""
    among = (
        now.beside(before, "fresh")
        if subject.new and before is not None
        else np.ones(len(hit), dtype=bool)
    )
    here = int((hit & among).sum()), int(among.sum())
    if not subject.change:
        return _share(subject, *here, percent=condition.percent)
    assert before is not None
    if not now.same(subject.name, before):
        return Reading(None, _other(subject), "unjudged")
    was = before.carries(subject.name)
    return _moved(condition, subject, here, (int(was.sum()), len(was)))


def _shares(condition: Condition, now: Tables, before: Tables) -> dict[Key, Reading]:
    """How far a share is from that of the last version, or its p value, by class.

    That of a class which came, or of no new sample, has none.
    """
    subject = condition.subject
    of: list[tuple[dict[Key, int], dict[Key, int]]] = []
    for tables, since in ((now, before if subject.new else None), (before, None)):
        samples, hit = tables.hits(subject, before)
        among = (
            now.beside(before, "fresh") if since is not None else np.ones(len(samples), dtype=bool)
        )
        of.append(
            (
                tables.counted(samples, hit & among, subject.scope),
                tables.counted(samples, among, subject.scope),
            )
        )
    (counts, sizes), (old, olds) = of
    keys = (
        [subject.key]
        if subject.key is not None or subject.scope is None
        else sorted({*sizes, *olds}, key=str)
    )
    found: dict[Key, Reading] = {}
    for key in keys:
        name = _in(subject, key)
        if not olds.get(key):
            found[key] = Reading(
                None,
                f"{name}: nothing to compare with: the last version has no such samples",
                "new",
            )
        elif not sizes.get(key):
            found[key] = Reading(None, f"{name}: there are no such samples now", "new")
        else:
            found[key] = _moved(
                condition,
                subject,
                (counts.get(key, 0), sizes[key]),
                (old.get(key, 0), olds[key]),
                name,
            )
    return {None: found[subject.key]} if subject.key is not None else found


def _moved(
    condition: Condition,
    subject: Subject,
    here: tuple[int, int],
    there: tuple[int, int],
    name: str = "",
) -> Reading:
    """A change of a share, (count, of how many) now and then.

    In points, in samples, or as its p value.
    """
    (count, n), (was, m) = here, there
    told = (
        f"{name or _in(subject, None)} is {100 * count / max(n, 1):.4g}% ({count:,} of {n:,}) and "
        f"was {100 * was / max(m, 1):.4g}% ({was:,} of {m:,})"
    )
    if subject.measure:
        p = chance(count, n, was, m)
        return Reading(
            p,
            (
                f"p {'< 0.001' if p < P_SHOWN else f'= {p:.2g}'} ({name or _in(subject, None)}: "
                f"{count:,} of {n:,}, and was {was:,} of {m:,})"
            ),
        )
    change = (
        100 * count / max(n, 1) - 100 * was / max(m, 1) if condition.percent else float(count - was)
    )
    return Reading(
        change, f"{told}: a change of {change:+.4g}{' points' if condition.percent else ''}"
    )


def _absent(condition: Condition, key: Key) -> Reading:
    """What stood in the last version and stands no more: a count of 0, no share and no figure."""
    of = _in(condition.subject, key)
    if condition.subject.kind == "figure" or (condition.percent and not condition.subject.relative):
        return Reading(None, f"{of} cannot be judged: there are no samples any more")
    return Reading(0.0, f"{of} is 0")


def _values(
    subject: Subject, tables: Tables, before: Tables | None, *, percent: bool
) -> dict[Key, Reading]:
    """The values of a subject as they stand, by class."""
    if subject.kind == "figure":
        return _figure(subject, tables, percent=percent)
    if subject.name in OF_ALL:
        found = tables.about_all(subject.name)
        what = f": {listed(found, FEW)}" if found else ""
        return {
            None: Reading(
                float(len(found)),
                f"{many(len(found), OF_ALL[subject.name])} about the whole dataset{what}",
            )
        }
    if subject.name in NUMBERS:
        number = tables.number(subject.name)
        return {None: Reading(float(number), f"{subject.name} is {number:,}")}
    samples, hit = tables.hits(subject, before)
    among = tables.beside(before, "fresh") if subject.new and before is not None else None
    hit = hit if among is None else hit & among
    counts, sizes = tables.counted(samples, hit, subject.scope), tables.sizes(subject.scope, among)
    keys = {**sizes, **counts} if subject.scope else {None: 0}
    whole = len(tables.samples) if among is None or not subject.scope else int(among.sum())
    return {
        key: _share(
            subject,
            counts.get(key, 0),
            whole if subject.name == "samples" else sizes.get(key, 0),
            key,
            percent=percent,
        )
        for key in keys
    }


def _share(subject: Subject, count: int, n: int, key: Key = None, *, percent: bool) -> Reading:
    """A count of n samples, or its share of them."""
    of = _in(subject, key)
    if percent:
        share = 100 * count / n if n else None
        return Reading(
            share,
            f"{of} is {share:.4g}% ({count:,} of {n:,})"
            if n
            else f"{of} cannot be judged: there are no samples",
        )
    return Reading(
        float(count),
        f"{of} is {count:,}"
        + (f" (of {n:,})" if (subject.scope or subject.new) and subject.name != "samples" else ""),
    )


def _figure(subject: Subject, tables: Tables, *, percent: bool) -> dict[Key, Reading]:
    of = "curated" if subject.curated else "raw"
    stated = tables.stated.get((subject.name, subject.scope or "set", of), {})
    sizes = tables.sizes(subject.scope) if subject.scope and not subject.curated else {}
    found: dict[Key, Reading] = {}
    for key, number in (stated if subject.scope else {None: stated.get(None)}).items():
        name = _in(subject, key)
        n = f" (n = {sizes[key]:,})" if key in sizes else ""
        value = None if number is None else number * (100 if percent else 1)
        told = (
            f"{name} is {value:.4g}{'%' if percent else ''}{n}"
            if value is not None
            else f"{name} cannot be judged: {_valueless(subject)}{n}"
        )
        found[key] = Reading(value, told)
    return found


def _valueless(subject: Subject) -> str:
    what, of, code = subject.name.partition(" of ")
    return (
        (
            f"nobody looked at these claims yet, or not since it changed: dqpipe review OUT "
            f"--audit {code}"
        )
        if of and what in CERTIFIED
        else "it has no value"
    )


def _in(subject: Subject, key: Key) -> str:
    where = (
        f" in {subject.scope} {subject.key or key}"
        if subject.scope and (subject.key or key) is not None
        else ""
    )
    return f"{'curated ' if subject.curated else ''}{subject.name}{' in new' if subject.new else ''}{where}"  # noqa: E501


def _changed(condition: Condition, key: Key, now: Reading, old: Reading | None) -> Reading:
    """What a value changed by since the last version."""
    subject = condition.subject
    if now.value is None:
        return now
    if old is None or old.value is None:
        return Reading(
            None,
            f"{now.said}: nothing to compare with: the last version has no {_in(subject, key)}",
            "new",
        )
    change, unit = now.value - old.value, ""
    if condition.percent:
        unit = " points"
        if subject.relative:
            unit = "%"
            if old.value == 0:
                if now.value == 0:
                    return Reading(0.0, f"{now.said} and was 0: unchanged")
                return Reading(None, f"{now.said}: nothing to compare with: it was 0", "new")
            change = 100 * change / abs(old.value)
    was = f"{old.value:,.4g}{'%' if condition.percent and not subject.relative else ''}"
    return Reading(change, f"{now.said} and was {was}: a change of {change:+.4g}{unit}")


def _drift(
    subject: Subject, now: Tables, before: Tables | None, missing: Reading
) -> dict[Key, Reading]:
    """Drift as a stage stated it, by fact; under None where it is one fact's."""
    found: dict[Key, Reading] = {}
    for (name, scope, of), values in now.stated.items():
        if scope == "fact" and of == "raw" and name.rpartition(".")[2] == subject.measure:
            for key, value in values.items():
                if subject.name in ("any", key):
                    other = f"{key} is measured in another way than in the last version"
                    found[key] = (
                        Reading(None, other, "unjudged")
                        if value is None
                        else Reading(value, f"{key} drift {subject.measure} is {value:.4g}")
                    )
    if not found:
        few = (
            "no such drift was measured (too few samples are new, or it is not known of both "
            "versions)"
        )
        none = missing if before is None else Reading(None, few, "unjudged")
        return {None: replace(none, said=f"{subject}: nothing to compare with: {none.said}")}
    return found if subject.name == "any" else {None: next(iter(found.values()))}
