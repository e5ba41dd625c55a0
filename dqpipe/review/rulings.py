"""Verdicts applied to a run: matched with samples, refuted findings removed, decisions replaced.

    verdicts + samples ──match──▶ Rulings ──▶ findings that are not refuted ──policy──▶ decisions
        ──▶ decisions with verdicts

A verdict overrides the policy, also in validation and test splits, and beyond every limit on drops.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.labels import label_from_text, label_text
from dqpipe.data.tables import Decisions, Findings, Samples
from dqpipe.results.verdicts import Verdict, agreement, answers, last_words, most

log = logging.getLogger(__name__)
About = tuple[str | None, str | None, str]
"""The subject of a verdict: content, given label, id."""
Moved = Mapping[About, str]
"""The subject of verdicts → the content that the sample has now, where it was encoded again."""
NOT_MOVED: Moved = MappingProxyType({})
KEEP, DROP, RELABEL = "verdict.keep", "verdict.drop", "verdict.relabel"
REFUTED = "verdict.refuted"
"""Because of this the sample is kept: reviewers refuted its findings."""
DISAGREED = "verdict.disagreed"
"""Because of this the sample is under review: its verdicts are tied."""


@dataclass(frozen=True)
class Ruling:
    """The decision of verdicts on one sample.

    Keep, drop, relabel, review (a tie), None where they only answer audits.
    """

    decision: str | None
    label: str | None
    because: str
    reviewers: tuple[str, ...]
    time: str


@dataclass(frozen=True, eq=False)
class Rulings:
    """The verdicts on the samples of a run.

    Decisions by row, and refuted findings by row and code.
    """

    rows: dict[int, Ruling] = field(default_factory=dict)
    refuted: frozenset[tuple[int, str]] = frozenset()
    record: dict[str, Any] | None = None
    """The number of matched verdicts, their reviewers and their agreement.

    None where there are none.
    """
    moved: Moved = field(default_factory=dict)
    """The verdicts whose sample was encoded again, and which were carried over."""

    def shown(self, samples: Samples, findings: Findings) -> Findings:
        """The findings that reviewers did not refute: the input of the policy."""
        if not self.refuted:
            return findings
        ids = samples.table.column("id").combine_chunks()
        names = {(ids[row].as_py(), code) for row, code in self.refuted}
        suspects = pc.is_in(
            findings.table.column("id"),
            value_set=pa.array(sorted({name for name, _ in names}), pa.string()),
        )
        left = np.ones(len(findings), dtype=bool)
        for at in np.flatnonzero(suspects.to_numpy(zero_copy_only=False)):
            left[at] = (
                findings.table.column("id")[at].as_py(),
                findings.table.column("code")[at].as_py(),
            ) not in names
        return Findings(findings.table.filter(pa.array(left)))

    def applied(self, decisions: Decisions) -> Decisions:
        """The decisions, one per sample in the order of the samples, with verdicts applied."""
        if not self.rows:
            return decisions
        columns = decisions.table.to_pydict()
        for row, ruling in self.rows.items():
            if ruling.decision is not None:
                columns["decision"][row], columns["new_label"][row], columns["because"][row] = (
                    ruling.decision,
                    ruling.label,
                    [ruling.because],
                )
            elif columns["decision"][row] == "keep" and not columns["because"][row]:
                columns["because"][row] = [ruling.because]
        return Decisions(
            pa.table(
                {name: pa.array(columns[name], kind) for name, kind in Decisions.columns.items()}
            )
        )

    def people(self, samples: Samples) -> pd.DataFrame:
        """id, reviewer (several with commas between) and reviewed (the last time) of the samples
        that have verdicts.
        """
        ids = samples.ids
        entries = [
            (ids[row], ", ".join(ruling.reviewers), ruling.time)
            for row, ruling in sorted(self.rows.items())
        ]
        return pd.DataFrame(entries, columns=["id", "reviewer", "reviewed"], dtype=object)


def match(
    samples: Samples,
    verdicts: Sequence[Verdict],
    findings: Findings | None = None,
    moved: Moved = NOT_MOVED,
    known: Moved = NOT_MOVED,
) -> Rulings:
    """Match verdicts with the samples and reduce them to one ruling each.

    Answers about findings count where `findings` has them.

    `moved` are verdicts carried over to a sample that was encoded again, `known` those carried over
    in an earlier version already.
    """
    if not verdicts:
        return Rulings()
    where = places(samples, verdicts, moved)
    found = [(where[verdict.about], verdict) for verdict in verdicts if verdict.about in where]
    kind = samples.table.schema.field("label").type if "label" in samples else pa.null()
    ids, contents = samples.ids, samples.table.column("content")
    now = [
        (row, replace(verdict, id=ids[row], content=contents[row].as_py()))
        for row, verdict in found
    ]
    matching = [
        verdict for _, verdict in now if verdict.verdict != "relabel" or _fits(verdict, kind)
    ]
    where = {verdict.about: row for row, verdict in now}
    words, replies = defaultdict(list), defaultdict(list)
    for verdict in last_words(matching):
        words[where[verdict.about]].append(verdict)
    for verdict in answers(matching):
        replies[where[verdict.about], str(verdict.code)].append(verdict)
    wrong = {
        (ids[row], code): (row, code)
        for (row, code), replied in replies.items()
        if most(verdict.holds for verdict in replied) is False
    }
    refuted = frozenset(
        wrong[key] for key in _claims(findings, {sample for sample, _ in wrong}) & set(wrong)
    )
    rows: dict[int, Ruling] = {row: _settled(given) for row, given in sorted(words.items())}
    for row, code in sorted(refuted):
        if row not in rows:
            rows[row] = _ruling(None, None, REFUTED, replies[row, code])
    matched = {verdict.about for _, verdict in found}
    left = stranded(
        samples,
        [verdict for verdict in verdicts if verdict.about not in matched],
        {ids[row] for row, _ in found},
    )
    followed = sum(
        says(verdict) and verdict.about in moved and verdict.about not in known
        for _, verdict in found
    )
    record = _record(verdicts, matching, rows, refuted) | {
        "stranded": len(left),
        "followed": followed,
    }
    return Rulings(
        rows,
        refuted,
        record,
        {verdict.about: moved[verdict.about] for _, verdict in found if verdict.about in moved},
    )


def says(verdict: Verdict) -> bool:
    """Whether a verdict has a decision, or an answer about a finding."""
    return verdict.verdict != "skip" or verdict.holds is not None


def stranded(
    samples: Samples, unmatched: Sequence[Verdict], judged: Collection[str] = ()
) -> list[Verdict]:
    """Verdicts whose sample, by its id, has other content or another label now (except the label
    that the verdict asked for).

    Samples with a newer verdict (`judged`: ids) are left out.
    """
    decided = [
        verdict
        for verdict in unmatched
        if says(verdict) and verdict.content is not None and verdict.id not in judged
    ]
    some = _by_id(samples, {verdict.id for verdict in decided})
    return [
        verdict
        for verdict in decided
        if verdict.id in some
        and not (verdict.verdict == "relabel" and some[verdict.id][1] == label_text(verdict.label))
    ]


def astray(
    samples: Samples, verdicts: Sequence[Verdict], moved: Moved = NOT_MOVED
) -> dict[About, tuple[str, int]]:
    """Verdicts whose content is gone, and whose id still has the same label.

    Subject → old content and present row.
    """
    contents = {
        verdict.about: moved.get(verdict.about, verdict.content)
        for verdict in verdicts
        if verdict.content is not None
    }
    there = pa.array(
        sorted({content for content in contents.values() if content is not None}), pa.string()
    )
    left = set(
        there.filter(
            pc.invert(pc.is_in(there, value_set=samples.table.column("content").combine_chunks()))
        ).to_pylist()
    )
    some = _by_id(samples, {about[2] for about, content in contents.items() if content in left})
    return {
        about: (str(content), some[about[2]][0])
        for about, content in contents.items()
        if content in left
        and about[2] in some
        and some[about[2]][1] == about[1]
        and some[about[2]][2] is not None
    }


def _by_id(samples: Samples, ids: set[str]) -> dict[str, tuple[int, str | None, str | None]]:
    """Id → row, label and content, of the ids that occur."""
    rows = np.flatnonzero(
        pc.is_in(samples.table.column("id"), value_set=pa.array(sorted(ids), pa.string())).to_numpy(
            zero_copy_only=False
        )
    )
    some = samples.table.take(pa.array(rows))
    labels = some.column("label").to_pylist() if "label" in samples else [None] * len(rows)
    entries = zip(
        some.column("id").to_pylist(),
        rows.tolist(),
        map(as_given, labels),
        some.column("content").to_pylist(),
        strict=True,
    )
    return {sample: (row, label, content) for sample, row, label, content in entries}


def _claims(findings: Findings | None, ids: set[str]) -> set[tuple[str, str]]:
    """The findings of these samples, as (id, code)."""
    if findings is None or not ids:
        return set()
    some = findings.table.filter(
        pc.is_in(findings.table.column("id"), value_set=pa.array(sorted(ids), pa.string()))
    )
    return set(zip(some.column("id").to_pylist(), some.column("code").to_pylist(), strict=True))


def places(
    samples: Samples, verdicts: Sequence[Verdict], moved: Moved = NOT_MOVED
) -> dict[About, int]:
    """Subject of each verdict → row.

    By present content and given label, and by id where several samples have both.
    """
    about = {verdict.about: moved.get(verdict.about, verdict.content) for verdict in verdicts}
    contents = pa.array(
        sorted({content for content in about.values() if content is not None}), pa.string()
    )
    rows = np.flatnonzero(
        pc.is_in(samples.table.column("content"), value_set=contents).to_numpy(zero_copy_only=False)
    )
    some = samples.table.take(pa.array(rows))
    labels = some.column("label").to_pylist() if "label" in samples else [None] * len(rows)
    alike: dict[tuple[str, str | None], dict[str, int]] = defaultdict(dict)
    for row, sample, content, label in zip(
        rows, some.column("id").to_pylist(), some.column("content").to_pylist(), labels, strict=True
    ):
        alike[content, as_given(label)][sample] = int(row)
    found = {}
    for verdict in verdicts:
        _, given, sample = verdict.about
        among = alike.get((str(about[verdict.about]), given), {})
        if sample in among:
            found[verdict.about] = among[sample]
        elif len(among) == 1 and verdict.alike == 1:
            found[verdict.about] = next(iter(among.values()))
    return found


def as_given(label: object) -> str | None:
    """A label of the samples in the form that verdicts have."""
    return None if isinstance(label, float) and label != label else label_text(label)  # noqa: PLR0124 (NaN)


def label_for(text: str | None, kind: pa.DataType) -> object:
    """Parse the text of a label into a value of an Arrow type. Raises ValueError."""
    if text is None:
        raise ValueError("no label is named")
    try:
        label = label_from_text(text, kind)
        pa.array([label], kind.value_type if pa.types.is_dictionary(kind) else kind)
    except (TypeError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise ValueError(str(error)) from None
    if pa.types.is_integer(kind) and not isinstance(label, int):
        raise ValueError(f"{text} is no whole number")
    return label


def _fits(verdict: Verdict, kind: pa.DataType) -> bool:
    try:
        label_for(label_text(verdict.label), kind)
    except ValueError:
        log.warning(
            "the verdict on %s is left out: %r cannot be a label of this set",
            verdict.id,
            verdict.label,
        )
        return False
    return True


def _settled(group: list[Verdict]) -> Ruling:
    decided = most(verdict.said for verdict in group)
    if decided is None:
        return _ruling("review", None, DISAGREED, group)
    verdict, label = decided
    if verdict == "relabel" and label == label_text(group[0].given):
        verdict, label = "keep", None
    return _ruling(verdict, label, f"verdict.{verdict}", group)


def _ruling(decision: str | None, label: str | None, because: str, group: list[Verdict]) -> Ruling:
    return Ruling(
        decision,
        label,
        because,
        tuple(sorted({v.reviewer for v in group})),
        max(v.time for v in group),
    )


def _record(
    every: Sequence[Verdict],
    matching: Sequence[Verdict],
    rows: dict[int, Ruling],
    refuted: frozenset[tuple[int, str]],
) -> dict[str, Any]:
    """The part of run.json about verdicts."""
    meant, matched = (
        [verdict for verdict in every if says(verdict)],
        [verdict for verdict in matching if says(verdict)],
    )
    reviewers = sorted({verdict.reviewer for verdict in meant})
    decided = [ruling.decision for ruling in rows.values()]
    return {
        "verdicts": len(meant),
        "matched": len(matched),
        "unmatched": len(meant) - len(matched),
        "samples": len(rows),
        "kept": decided.count("keep"),
        "dropped": decided.count("drop"),
        "relabelled": decided.count("relabel"),
        "disagreed": decided.count("review"),
        "refuted": len(refuted),
        "reviewers": {
            name: sum(verdict.reviewer == name for verdict in meant) for name in reviewers
        },
        "agreement": agreement(matched),
    }
