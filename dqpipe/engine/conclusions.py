"""What is concluded from facts: findings, figures, decisions, gates. A run and a what-if share it.

    samples, facts ──detect──▶ findings ──policy, people──▶ Decided ──gates──▶ Judged
                   └─summarise, compare──▶ figures ───────────────────▲

Nothing here measures, reads media or writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config import plan as plans
from dqpipe.config.pipeline_file import Config
from dqpipe.config.plan import Plan, Planned
from dqpipe.data import labels, portable_names
from dqpipe.data.dataset import Dataset
from dqpipe.data.splits import doubts as split_doubts
from dqpipe.data.tables import Decisions, Figures, Findings, Samples, claim, table_of
from dqpipe.data.version_comparison import Since
from dqpipe.engine import curation, following, gate_check
from dqpipe.engine.fact_table import Evidence
from dqpipe.errors import DatasetError, StageError, stage_errors
from dqpipe.execution import decoding
from dqpipe.execution.decoding import RELATE_THREADS
from dqpipe.plugin.stage import Decoder
from dqpipe.results import news, verdicts, versions
from dqpipe.results.outcome import People
from dqpipe.results.run_tables import Tables, unreadable
from dqpipe.results.versions import Version
from dqpipe.review import audits, rulings
from dqpipe.storage.fact_store import Store

log = logging.getLogger(__name__)
FOUND_ORDER = [(name, "ascending") for name in ("code", "id", "part", "match")]
"""How findings are sorted."""


# findings and figures ------------------------------------------------------------------------


def compared(
    planned: Planned, evidence: Evidence, since: Since, decoders: Sequence[Decoder]
) -> tuple[pa.Table, pa.Table]:
    """What a stage says of the difference from the last version: figures and findings.

    Raises StageError.
    """
    _, samples, facts = evidence.view(planned)
    with stage_errors(planned.name, "compare"), decoding.one_thread(RELATE_THREADS, decoders):
        figures, found = planned.stage.compare(samples, facts, since)
        stated = (
            figures.table if isinstance(figures, Figures) else table_of(Figures.columns, figures)
        )
        claimed = found.table if isinstance(found, Findings) else table_of(Findings.columns, found)
    return _stated(planned, stated, "compare", "raw"), _claimed(
        planned, claimed, "compare", samples
    )


def detected(planned: Planned, evidence: Evidence) -> pa.Table:
    """The findings of a stage. Raises StageError."""
    _, samples, facts = evidence.view(planned)
    with stage_errors(planned.name, "detect"):
        returned = planned.stage.detect(samples, facts)
        table = (
            returned.table
            if isinstance(returned, Findings)
            else table_of(Findings.columns, returned)
        )
    return _claimed(planned, table, "detect", samples)


def summarised(
    planned: Planned, evidence: Evidence, of: str, decoders: Sequence[Decoder]
) -> pa.Table:
    """The figures of a stage; `of` is the raw or the curated set. Raises StageError."""
    _, samples, facts = evidence.view(planned)
    with stage_errors(planned.name, "summarise"), decoding.one_thread(RELATE_THREADS, decoders):
        returned = planned.stage.summarise(samples, facts)
        table = (
            returned.table if isinstance(returned, Figures) else table_of(Figures.columns, returned)
        )
    return _stated(planned, table, "summarise", of)


def doubts(dataset: Dataset) -> pa.Table:
    """What a person would ask about how the dataset was read, as findings about all of it."""
    media = (
        dataset.samples.table.column("media").drop_null().to_pylist() if dataset.has_media else []
    )
    said = [
        *split_doubts(dataset.samples.table),
        *labels.doubts(dataset.samples),
        *portable_names.doubts(media, dataset.root),
    ]
    said = [*dataset.layout.get("doubts", ()), *said]
    numbers = [f"{number:02d}" for number in range(1, len(said) + 1)]
    rows = claim(plans.DOUBT, [None] * len(numbers), severity="warning", part=numbers, detail=said)
    return table_of(Findings.columns, rows if said else [])


def failed(failures: Mapping[tuple[str, str], str]) -> pa.Table:
    """Samples that a stage could not measure, as findings."""
    rows = sorted(failures.items())
    values = {
        "id": [sample for (sample, _), _ in rows],
        "code": [f"{stage}.failed" for (_, stage), _ in rows],
        "severity": "error",
        "detail": [why for _, why in rows],
    }
    return table_of(Findings.columns, pd.DataFrame(values) if rows else [])


def findings_of(tables: Sequence[pa.Table]) -> Findings:
    """All findings, in their order."""
    return Findings(pa.concat_tables(tables).sort_by(FOUND_ORDER))


# decisions -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Decided:
    """What is done with each sample, by whom it was asked for, and what audits say."""

    decisions: Decisions
    rulings: rulings.Rulings
    certificates: tuple[audits.Certificate, ...]
    figures: pa.Table
    """The precision of audited claims."""

    def people(self, samples: Samples) -> People:
        """What people said, as reports and the ledger tell it."""
        said = tuple(asdict(one) | {"said": one.said} for one in self.certificates)
        return People(self.rulings.record, self.rulings.people(samples), self.rulings.moved, said)


def arranged(plan: Plan, evidence: Evidence) -> Dataset:
    """The dataset with the columns that facts become: so it is decided on, and curated."""
    columns = {column: evidence.scalars[fact] for column, fact in plan.becoming().items()}
    if not columns:
        return evidence.dataset
    return replace(evidence.dataset, samples=curation.become(evidence.samples, columns))


def decided(
    plan: Plan, evidence: Evidence, findings: Findings, store: Store, last: Version | None
) -> Decided:
    """The policy's decisions, where people did not decide otherwise. Raises StageError."""
    config, samples = plan.config, evidence.samples
    ok = np.ones(len(samples), dtype=bool)
    if "media.ok" in evidence.scalars:
        ok = np.array(evidence.scalars["media.ok"].fill_null(False).to_pylist(), dtype=bool)
    said = verdicts.verdicts(config.out)
    moved = following.moved(evidence, store, said, last)
    ruled = rulings.match(samples, said, findings, moved, {} if last is None else last.moved)
    certificates = audits.certificates(config.out, said, samples, findings, plan.record()["stages"])
    certified = {one.code: one.low for one in certificates if not one.why}
    with stage_errors(config.policy.name, "decide"):
        decisions = curation.decide(
            config.policy.extension,
            arranged(plan, evidence).samples,
            findings,
            ok,
            ruled,
            certified,
        )
    stated = table_of(Figures.columns, audits.figures(certificates))
    return Decided(decisions, ruled, tuple(certificates), stated)


# gates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """Gates, what a person is asked, and what changed since the last version."""

    gates: tuple[Mapping[str, Any], ...] = ()
    asks: tuple[str, ...] = ()
    news: tuple[Mapping[str, Any], ...] = ()
    of_new: tuple[Mapping[str, Any], ...] = ()


class Last:
    """The version that was published last, as far as a run looks at it."""

    def __init__(self, config: Config) -> None:
        self.out = config.out

    @cached_property
    def version(self) -> Version | None:
        """None where there is none, or its folder was taken away."""
        try:
            return self._published()
        except DatasetError as error:
            log.warning("nothing is compared with the version published last: %s", error)
            return None

    def tables(self, plan: Plan) -> Tables | None:
        """What gates compare with.

        Raises DatasetError if it cannot be read: a gate that cannot judge says so.
        """
        last = self.version or self._published()
        if last is None:
            return None
        made_by = plan.made_by(last.record.get("stages", []))
        parts = (last.samples, last.findings, last.decisions, last.curated, last.figures)
        return Tables(
            *parts,
            unread=unreadable(last.facts),
            made_by=made_by,
            verdicts=last.record.get("verdicts"),
        )

    def _published(self) -> Version | None:
        """Raises DatasetError where it is not there any more."""
        return Version.open(self.out) if versions.published(self.out) else None


def judged(plan: Plan, now: Tables, last: Last) -> Judged:
    """The gates of a plan, judged, and what is new."""
    known: list[Tables | None] = []

    def before() -> Tables | None:
        if not known:
            known.append(last.tables(plan))
        return known[0]

    changed: list[dict[str, Any]] = []
    of_new: list[dict[str, Any]] = []
    try:
        then = before()
        if then is not None:
            changed, of_new = news.news(now, then), news.of_new(now, then)
    except DatasetError:  # a last version that cannot be read: gates say so
        pass
    unjudged = plan.config.unjudged
    gates = [gate_check.judge(gate, now, before, unjudged=unjudged) for gate in plan.gates]
    asked = [gate_check.judge(gate, now, before, unjudged="fail") for gate in plan.asks]
    asks = [
        gate["said"].replace("; it must not be ", ", which is ", 1)
        for gate in asked
        if not gate["passed"]
    ]
    return Judged(tuple(gates), tuple(asks), tuple(changed), tuple(of_new))


# what a stage may say ------------------------------------------------------------------------


def _claimed(planned: Planned, table: pa.Table, method: str, samples: Samples) -> pa.Table:
    """Findings of a stage under their full codes, each with its severity.

    Raises StageError for what it may not claim.
    """
    declared = {code.split(".", 1)[1]: claim for code, claim in planned.claims().items()}
    codes = table.column("code")
    unknown = sorted(set(codes.unique().to_pylist()) - set(declared))
    if unknown:
        raise StageError(
            planned.name, method, f"it claims {unknown[0]!r}, which it does not declare in gives"
        )
    ids = table.column("id").drop_null()
    strangers = ids.filter(
        pc.invert(pc.is_in(ids, value_set=samples.table.column("id").combine_chunks()))
    )
    if len(strangers):
        raise StageError(
            planned.name,
            method,
            f"it claims something about {pc.min(strangers).as_py()!r}, which it was not shown",
        )
    usual = pa.array([claim.severity for claim in declared.values()], pa.string())
    severity = usual.take(pc.index_in(codes, value_set=pa.array(list(declared), pa.string())))
    given = table.column("severity")
    severity = pc.if_else(pc.equal(pc.fill_null(given, ""), ""), severity, given)
    table = table.set_column(
        table.column_names.index("code"),
        "code",
        pc.binary_join_element_wise(planned.name, codes, "."),
    )
    return table.set_column(table.column_names.index("severity"), "severity", severity)


def _stated(planned: Planned, table: pa.Table, method: str, of: str) -> pa.Table:
    """Figures of a stage under their full names.

    Raises StageError for one that it does not declare.
    """
    names = [f"{planned.name}.{name}" for name in table.column("figure").to_pylist()]
    undeclared = sorted(set(names) - set(planned.figures()))
    if undeclared:
        raise StageError(
            planned.name, method, f"it states {undeclared[0]!r}, which it does not declare in gives"
        )
    table = table.set_column(
        table.column_names.index("figure"), "figure", pa.array(names, pa.string())
    )
    return table.set_column(
        table.column_names.index("of"), "of", pa.array([of] * len(names), pa.string())
    )
