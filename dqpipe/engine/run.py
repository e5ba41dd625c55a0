"""Runs a plan, step by step.

    read ─▶ measure (shards) ─▶ relate … ─▶ [compare …] ─▶ detect ─▶ summarise ─▶ decide ─▶ apply ─▶ [measure, relate, summarise] ─▶ publish

`Run.steps()` yields the steps one by one, each named for what it does, so that whoever drives them (a loop here, a flow's
tasks elsewhere) sees and names the same work.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config import plan
from dqpipe.config.dataset_source import recognise
from dqpipe.config.pipeline_file import Config, settle
from dqpipe.config.plan import Plan, Planned
from dqpipe.data import labels, portable_names
from dqpipe.data.dataset import Dataset
from dqpipe.data.splits import doubts as split_doubts
from dqpipe.data.splits import marked as split_kinds_marked
from dqpipe.data.tables import Decisions, Figures, Findings, Samples, Table, claim, table_of
from dqpipe.data.version_comparison import Since
from dqpipe.engine import comparison, following, gate_check, news, run_record
from dqpipe.engine import curation as applying
from dqpipe.engine.fact_table import Evidence
from dqpipe.engine.measuring import RELATE_THREADS, Survey
from dqpipe.engine.shard import facts_table
from dqpipe.engine.unchanged import unchanged
from dqpipe.errors import ApprovalError, ChangedError, DatasetError, GateError, OutputError, StageError, stage_errors
from dqpipe.execution import decoding, logs, timeouts, usage
from dqpipe.execution.executor import Executor
from dqpipe.plugin.cache_key import identity
from dqpipe.plugin.registry import Registry
from dqpipe.results import publish, verdicts, versions  # fmt: skip
from dqpipe.results.versions import Version
from dqpipe.review import audits, rulings
from dqpipe.storage import location, maintenance
from dqpipe.storage.checked_files import Inside
from dqpipe.storage.fact_store import Store, digest, digest_json, shuffle_key
from dqpipe.storage.location import Place
from dqpipe.storage.lock import Lock
from dqpipe.storage.paths import media_path, path_text

log = logging.getLogger(__name__)
FOUND_ORDER = [(name, "ascending") for name in ("code", "id", "part", "match")]
"""How findings are sorted."""
SHARD = 256
"""Samples per shard at least, unless the caller says otherwise."""
PROBES = 1000
"""Media that are looked at, at most, before it is said that all lie outside their dataset's folder."""
MOST_SHARDS, MOST_NEW_SHARDS = 250, 100
"""Shards of the raw set, and of new samples (made, then measured), at most: a flow watches each as a task, and some hundreds are what it bears."""


@dataclass(frozen=True)
class Step:
    """One step of a run; one that `maps` hands its shards to the executor itself."""

    name: str
    call: Callable[[], None]
    maps: bool = False


class Run:
    """One run of a config: what it knows so far, and the steps that are left."""

    def __init__(
        self, config: Config, registry: Registry, executor: Executor, *, source: Any = None, shard_size: int | None = None,  # noqa: ANN401
        force: bool = False, rehash: bool = False, writes: bool = True, if_changed: bool = False,
    ) -> None:  # fmt: skip
        self.config, self.registry, self.executor = settle(config), registry, executor
        self.source = config.source if source is None else source
        self._shard_size, self.force, self.rehash, self.writes = shard_size, force, rehash, writes
        self.if_changed = if_changed
        self.unchanged: str | None = None
        """The published version, where it is what this run would publish, and only what changed was asked for."""
        self.id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f") + os.urandom(2).hex()
        self.started = time.time()
        self.store = Store(config.store)
        self.place = location.place(config.out) if writes else None
        self.owner = ""
        """The id of the output that is written."""
        self.lock: Lock | None = None
        self._using: Lock | None = None
        self.version = self.id
        self.parent: str | None = None
        self.before: comparison.Before | None = None
        self.since: Since | None = None
        self.timings: list[dict[str, Any]] = []
        self.findings = Findings(table_of(Findings.columns, []))
        self.figures = Figures(table_of(Figures.columns, []))
        self.tables: gate_check.Tables | None = None
        self.news: list[dict[str, Any]] = []
        self.of_new: list[dict[str, Any]] = []
        self.rulings = rulings.Rulings()
        self.certificates: list[audits.Certificate] = []
        self.gates: list[dict[str, Any]] = []
        self.asks: list[str] = []
        """What a person is asked before the version is published."""
        self.record: dict[str, Any] = {}
        self.published: str | Path | None = None
        self.staging: Path | None = None
        self.plan: Plan
        self.raw: Evidence
        self.curated: Evidence
        self.decisions: Decisions

    def shard_size(self, count: int, *, new: bool) -> int:
        """Samples per shard of `count` that wait, as asked for, or so many that there are at most MOST_SHARDS."""
        return self._shard_size or max(SHARD, -(-count // (MOST_NEW_SHARDS if new else MOST_SHARDS)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Its name alone: a run stays where it is driven, also where Prefect sends along the flow and the step that hold it."""
        return str, (f"run {self.id}",)

    # driving -------------------------------------------------------------------------------------------------------

    def run(self) -> Run:
        """All the steps, one after the other. Raises DqpipeError; GateError only after everything was published."""
        try:
            for step in self.steps():
                step.call()
        finally:
            self.close()
        self.finish()
        return self

    def finish(self) -> None:
        """Raise GateError if a gate failed, ApprovalError if the version waits for a person."""
        failed = [gate["said"] for gate in self.gates if not gate["passed"]]
        if failed:
            raise GateError("; ".join(failed))
        if self.waits:
            what = f"dqpipe approve {shlex.quote(str(self.config.out))} {self.version}"
            raise ApprovalError(f"version {self.version} waits for approval ({'; '.join(self.asks)}): look at its report, then {what}, or {what} --reject")

    @property
    def waits(self) -> bool:
        """Whether the version waits for a person: it passed its gates, and there is something to ask."""
        return self.writes and self.unchanged is None and bool(self.asks) and self.passed

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate["passed"] for gate in self.gates)

    def close(self) -> None:
        """Leave nothing half done behind: what was measured stays, what was half written goes."""
        used = {"output": str(self.config.out), "finished": int(time.time()), **self.survey.used} if self.record and self.unchanged is None else None
        with suppress(OutputError):  # what ended the run is said instead
            self.store.end_run(self.id, used, self._using)
        if self.published is not None:
            with suppress(OutputError, OSError):  # another run uses the store: the next one does it
                maintenance.forget_relations(self.store, self.survey.used["relations"])
        if self.staging is not None:
            publish.unstage(self.staging)
        if self.lock is not None:
            with logs.harmless(f"the lock of {self.config.out} could not be given back"):
                self.lock.free()
        error = sys.exc_info()[1]
        self.registry.notify("dqpipe_run_finished", run=self._told() | {
            "version": self.version, "published": self.published is not None and self.passed and not self.waits, "asks": tuple(self.asks),
            "path": None if self.published is None else str(self.published), "account": self.record.get("account"), "gates": tuple(self.gates),
            "error": None if error is None else f"{type(error).__name__}: {error}",
        })  # fmt: skip

    def _told(self) -> dict[str, Any]:
        """What every observer of a run is told: which it is, of what, and where it goes."""
        source = str(self.source) if isinstance(self.source, (str, Path)) else type(self.source).__name__
        return {"id": self.id, "source": source, "out": str(self.config.out) if self.writes else None}

    def steps(self) -> Iterator[Step]:
        """The steps, in order; each must be called before the next is asked for."""
        yield self._step("read", self._read)
        self.registry.notify("dqpipe_run_started", run=self._told() | {"samples": len(self.raw.dataset), "stages": [p.name for p in self.plan.stages]})
        yield self._step("measure", lambda: self._measure(self.raw), maps=True)
        for planned in self.plan.doing("relate"):
            yield self._step(f"relate {planned.name}", partial(self._relate, self.raw, planned))
        if self.before is not None and self.before.snapshot is not None:
            for planned in self.plan.doing("compare"):
                yield self._step(f"compare {planned.name}", partial(self._compare, planned))
        yield self._step("detect", self._detect)
        yield self._step("summarise", lambda: self._summarise(self.raw, "raw"))
        yield self._step("decide", self._decide)
        if self.writes:
            yield self._step("apply", self._apply, maps=True)
            yield self._step("measure curated", lambda: self._measure(self.curated), maps=True)
            for planned in self.plan.summarising():
                if planned.stage.does("relate"):
                    yield self._step(f"relate {planned.name} (curated)", partial(self._relate, self.curated, planned))
            yield self._step("summarise curated", lambda: self._summarise(self.curated, "curated"))
        yield self._step("gates", self._gates)
        if self.writes and self.if_changed and self.passed:
            self.unchanged = unchanged(self)
        writes = self.writes and self.unchanged is None
        yield self._step("publish" if writes else "account", self._publish if writes else self._account)

    def _step(self, name: str, call: Callable[[], None], *, maps: bool = False) -> Step:
        def timed() -> None:
            began, cpu, workers = time.perf_counter(), usage.cpu_seconds(), self._workers()
            before = sum(self.measured.values())
            self.registry.notify("dqpipe_stage_started", stage={"name": name})
            with logs.at(run=self.id, stage=name):
                call()
                seconds = time.perf_counter() - began
                log.info("%s: %.2f s", name, seconds)
            fresh = sum(self.measured.values()) - before
            self.timings.append({
                "step": name, "seconds": round(seconds, 4), "samples": len(self.raw.dataset), "measured": fresh,
                "samples_per_second": round(len(self.raw.dataset) / max(seconds, 1e-6), 1), "cpu_seconds": round(usage.cpu_seconds() - cpu, 4),
                "workers_cpu_seconds": round(self._workers()[0] - workers[0], 4), "peak_mib": _rounded(usage.peak_mib()),
                "workers_peak_mib": _rounded(self._workers()[1]) if self._workers()[0] > workers[0] else None,
            })  # fmt: skip
            self.registry.notify("dqpipe_stage_finished", stage={"name": name, "seconds": seconds, "measured": fresh})

        return Step(name, timed, maps)

    def _workers(self) -> tuple[float, float | None]:
        """Processor seconds and the memory peak of those who measured."""
        return (self.survey.workers_cpu, self.survey.workers_mib) if hasattr(self, "survey") else (0.0, None)

    # read, measure, relate -------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.place is not None:
            publish.refuse(self.config.out, force=self.force, source=self.source)
            if self.place.local is not None and self.place.local.exists():
                self._enter(self.place)
        dataset = read(self.config, self.registry, self.source)
        self.plan = plan.make(self.config, self.registry, dataset)
        if self.place is not None:
            publish.create(self.place)
            self._enter(self.place)
        self.before = comparison.before(self.last) if self.plan.doing("compare") else None
        self.store.create()
        self._using = self.store.begin_run(self.id)
        self.raw = Evidence(dataset)
        self.survey = Survey(self)

    def _enter(self, out: Place) -> None:
        """Take the output for this run alone. Raises OutputError: another run has it, or published while this one waited."""
        if self.lock is None:
            self.owner = publish.claim(out)
            self.lock = Lock(out, f"run {self.id}")
            try:
                self.lock.take()
            except OutputError:
                self.lock = None
                raise
            publish.refuse(self.config.out, force=self.force, source=self.source)
            publish.sweep(out, self.owner)

    def _measure(self, evidence: Evidence) -> None:
        wanted = self.plan.doing("measure")
        if evidence is not self.raw:
            wanted = [planned for planned in wanted if planned in self.plan.summarising()]
        self.survey.measure(evidence, wanted, "raw" if evidence is self.raw else "curated")
        if any(plan.KEPT in planned.facts for planned in self.plan.stages):
            evidence.add_kept(comparison.kept(self.last) if evidence is self.raw and self.last is not None else None)

    def _remember(self, evidence: Evidence, planned: Planned) -> None:
        """Let a stage see what the last version holds of its facts; of the curated set, what this run holds."""
        names = [f"{planned.name}.{name}" for name in planned.stage.remembers]
        if evidence is not self.raw:
            evidence.add_remembered(self.raw.samples, self.raw.facts(), names)
        elif self.last is not None:
            try:
                evidence.add_remembered(self.last.samples, self.last.facts, names)
            except DatasetError as error:
                raise StageError(planned.name, "relate", f"what was published cannot be read, so it might not stay as it is: {error}") from None

    def _relate(self, evidence: Evidence, planned: Planned) -> None:
        if planned.stage.remembers:
            self._remember(evidence, planned)
        rows, samples, facts = evidence.view(planned, related=False)
        stage = planned.stage.at("relate")
        gives = planned.own("relate")
        shape = [(f.name, f.type) for f in gives]
        seen = digest("\0".join(evidence.seen[row] or "" for row in rows))  # who decodes each: a stage that rereads sees through them
        key = digest_json([identity(stage, stage.options()), shape, _hash(samples), _hash(facts), seen])
        self.survey.used["relations"][key] = planned.name
        table = self.store.relation(key)
        if table is None:
            sees = [stage.name, stage.version]
            pixels = decoding.Rereader(evidence.dataset, self.plan.decoders, self.survey.rereads, planned.name, self.store, sees, evidence.seen)
            with stage_errors(planned.name, "relate"), decoding.one_thread(RELATE_THREADS):
                returned = timeouts.tried(lambda: stage.relate(samples, facts, pixels), stage.timeout, stage.retries)
                table = facts_table(returned, gives, len(samples))
            self.store.write_relation(key, table)
        evidence.add_related(planned, rows, table)

    # compare ---------------------------------------------------------------------------------------------------------

    def _compare(self, planned: Planned) -> None:
        """What a stage says of the difference from the last published version."""
        assert self.before is not None
        self.since = self.since or comparison.since(self.raw, self.before)
        _, samples, facts = self.raw.view(planned)
        with stage_errors(planned.name, "compare"), decoding.one_thread(RELATE_THREADS):
            figures, found = planned.stage.compare(samples, facts, self.since)
            stated = figures.table if isinstance(figures, Figures) else table_of(Figures.columns, figures)
            claimed = found.table if isinstance(found, Findings) else table_of(Findings.columns, found)
        self.figures = Figures(pa.concat_tables([self.figures.table, _stated(planned, stated, "compare", "raw")]))
        self.findings = Findings(pa.concat_tables([self.findings.table, _claimed(planned, claimed, "compare", samples)]))

    # detect, summarise, decide ---------------------------------------------------------------------------------------

    def _detect(self) -> None:
        tables = [self.findings.table, *(self._found(planned) for planned in self.plan.doing("detect"))]
        if doubts := self.doubts:
            numbers = [f"{number:02d}" for number in range(1, len(doubts) + 1)]
            tables.append(table_of(Findings.columns, claim(plan.DOUBT, [None] * len(numbers), severity="warning", part=numbers, detail=doubts)))
        if self.failures:
            failed = sorted(self.failures.items())
            tables.append(table_of(Findings.columns, pd.DataFrame({"id": [i for (i, _), _ in failed], "code": [f"{s}.failed" for (_, s), _ in failed],
                                                                   "severity": "error", "detail": [why for _, why in failed]})))  # fmt: skip
        self.findings = Findings(pa.concat_tables(tables).sort_by(FOUND_ORDER))

    @property
    def doubts(self) -> list[str]:
        """What a person would ask about how the dataset was read."""
        dataset = self.raw.dataset
        media = dataset.samples.table.column("media").drop_null().to_pylist() if dataset.has_media else []
        said = [*split_doubts(dataset.samples.table), *labels.doubts(dataset.samples), *portable_names.doubts(media, dataset.root)]
        return [*dataset.layout.get("doubts", ()), *said]

    def _found(self, planned: Planned) -> pa.Table:
        _, samples, facts = self.raw.view(planned)
        began = time.perf_counter()
        with stage_errors(planned.name, "detect"):
            returned = planned.stage.detect(samples, facts)
            table = returned.table if isinstance(returned, Findings) else table_of(Findings.columns, returned)
        self.survey.seconds[f"{planned.name} detect"] = time.perf_counter() - began
        return _claimed(planned, table, "detect", samples)

    def _summarise(self, evidence: Evidence, of: str) -> None:
        tables = [self.figures.table]
        for planned in self.plan.doing("summarise"):
            if of == "curated" and not planned.stage.summarise_curated:
                continue
            _, samples, facts = evidence.view(planned)
            with stage_errors(planned.name, "summarise"), decoding.one_thread(RELATE_THREADS):
                returned = planned.stage.summarise(samples, facts)
                table = returned.table if isinstance(returned, Figures) else table_of(Figures.columns, returned)
            tables.append(_stated(planned, table, "summarise", of))
        self.figures = Figures(pa.concat_tables(tables))

    def _decide(self) -> None:
        ok = np.ones(len(self.raw.dataset), dtype=bool)
        if "media.ok" in self.raw.scalars:
            ok = np.array(self.raw.scalars["media.ok"].fill_null(False).to_pylist(), dtype=bool)
        said = verdicts.verdicts(self.config.out)
        moved = following.moved(self.raw, self.store, said, self.last)
        self.rulings = rulings.match(self.raw.samples, said, self.findings, moved, {} if self.last is None else self.last.moved)
        self.certificates = audits.certificates(self.config.out, said, self.raw.samples, self.findings, self.plan.record()["stages"])
        certified = {one.code: one.low for one in self.certificates if not one.why}
        with stage_errors(self.config.policy.name, "decide"):
            self.decisions = applying.decide(self.config.policy.extension, self._arranged.samples, self.findings, ok, self.rulings, certified)
        stated = table_of(Figures.columns, audits.figures(self.certificates))
        self.figures = Figures(pa.concat_tables([self.figures.table, stated]))

    # apply, gates, publish ---------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        assert self.place is not None
        self.staging = publish.stage(self.place, self.owner, self.id)
        folder = self.staging / "added"
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None
        dataset = self.raw.dataset
        result = applying.kept(self._arranged, self.decisions, hold=self._hold)
        tables, doubted = [result.samples.table], applying.doubted(self.rulings.shown(self.raw.samples, self.findings))
        for entry in self.config.augments:
            with stage_errors(entry.name, "plan"):
                table, items = applying.plan_samples(entry.name, entry.extension, result, self.decisions, doubted, folder, self.config.seed)
            size = self.shard_size(len(items), new=True)
            parts = [items[s : s + size] for s in range(0, len(items), size)]
            jobs = [applying.Making(entry.extension, self.plan.decoders, dataset.root, tuple(part), dataset.within) for part in parts]
            names = [f"{entry.name} {n + 1}/{len(jobs)}" for n in range(len(jobs))]
            lacking = [path for paths in self.executor.map(applying.make_samples, jobs, names) for path in paths]
            tables.append(table.filter(pc.invert(pc.is_in(table.column("media"), value_set=pa.array(lacking, pa.string())))) if lacking else table)
        whole = pa.concat_tables(tables)
        self.curated = Evidence(replace(result, samples=Samples(whole.sort_by("id")), added=(path_text(str(folder)),)))

    def _gates(self) -> None:
        curated = self.curated.samples if self.writes else None
        unread = pc.invert(pc.fill_null(self.raw.scalars["media.ok"], False)).to_numpy(zero_copy_only=False) if "media.ok" in self.raw.scalars else None
        made_by = self.plan.made_by(self.plan.record()["stages"])
        parts = (self.raw.samples, self.findings, self.decisions, curated, self.figures)
        self.tables = gate_check.Tables(*parts, unread=unread, made_by=made_by, verdicts=self.rulings.record)
        with suppress(DatasetError):  # a last version that cannot be read: gates say so
            if self.compared is not None:
                self.news, self.of_new = news.news(self.tables, self.compared), news.of_new(self.tables, self.compared)
        self.gates = [gate_check.judge(gate, self.tables, lambda: self.compared, unjudged=self.config.unjudged) for gate in self.plan.gates]
        asked = [gate_check.judge(gate, self.tables, lambda: self.compared, unjudged="fail") for gate in self.plan.asks]
        self.asks = [gate["said"].replace("; it must not be ", ", which is ", 1) for gate in asked if not gate["passed"]]

    @cached_property
    def compared(self) -> gate_check.Tables | None:
        """What gates compare with. Raises DatasetError if it cannot be read: a gate that cannot judge says so."""
        last = self.last or self._published_last()
        if last is None:
            return None
        unread = None
        if "media.ok" in last.facts:
            unread = pc.invert(pc.fill_null(last.facts.table.column("media.ok").combine_chunks(), False)).to_numpy(zero_copy_only=False)
        made_by = self.plan.made_by(last.record.get("stages", []))
        parts = (last.samples, last.findings, last.decisions, last.curated, last.figures)
        return gate_check.Tables(*parts, unread=unread, made_by=made_by, verdicts=last.record.get("verdicts"))

    @cached_property
    def last(self) -> Version | None:
        """The version published last; None where there is none, or somebody took its folder away."""
        try:
            return self._published_last()
        except DatasetError as error:
            log.warning("nothing is compared with the version published last: %s", error)
            return None

    def _published_last(self) -> Version | None:
        """Raises DatasetError where it is not there any more."""
        return Version.open(self.config.out) if versions.published(self.config.out) else None

    @property
    def measured(self) -> dict[str, int]:
        """How many samples each stage measured anew."""
        return self.survey.measured if hasattr(self, "survey") else {}

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """(sample, stage) → why that stage could not measure it."""
        return self.survey.failures if hasattr(self, "survey") else {}

    def outcome(self) -> tuple[Samples, Samples]:
        """The curated samples, and those of them that are new."""
        dataset = self.curated.dataset if self.writes else applying.kept(self._arranged, self.decisions, hold=self._hold)
        new = np.array([parent is not None for parent in dataset.samples["parent"]], dtype=bool)
        return dataset.samples, dataset.samples.take(new)

    def _of_the_source(self) -> Dataset:
        """The curated set without the samples that this run made."""
        samples = self.curated.samples
        return replace(self.curated.dataset, samples=Samples(samples.table.filter(pc.is_null(samples.table.column("parent")))))

    @cached_property
    def _arranged(self) -> Dataset:
        """The dataset with the columns that facts become: so it is decided on, and curated."""
        columns = {column: self.raw.scalars[fact] for column, fact in self.plan.becoming().items()}
        return replace(self.raw.dataset, samples=applying.become(self.raw.samples, columns)) if columns else self.raw.dataset

    @property
    def _hold(self) -> bool:
        return bool(getattr(self.config.policy.extension, "hold", False))

    def _account(self) -> None:
        self.record = run_record.of_run(self)

    def _publish(self) -> None:
        assert self.staging is not None
        assert self.place is not None
        assert self.lock is not None
        self.version = f"{self.id[:22]}-{applying.version_content(self.curated.samples, self.decisions)}"
        self.parent, published = versions.published(self.place), self.passed and not self.waits
        try:
            if self.passed and self.plan.writer is not None:
                (self.staging / "curated").mkdir()
                with stage_errors(self.plan.writer.name, "write"):
                    self.plan.writer.write(self.curated.dataset, self.staging / "curated", self.config.outputs.files)
                if changed := self.survey.changed(self._of_the_source()):
                    raise ChangedError(changed)
            self._account()
            row = run_record.history_row(self, published=published)
            run_record.write(self, self.staging, row)
            self.lock.check()
            publish.bring(self.place, self.staging, self.version)
            if published:
                publish.switch(self.place, self.version)
            else:
                publish.show(self.place, self.version)
        except OSError as error:
            raise OutputError(f"cannot write the output {self.config.out}: {error.strerror or error}") from None
        where = self.place.below(f"versions/{self.version}")
        self.published = where.local or where.url
        with logs.harmless(f"the history of {self.config.out} is not written, the next run makes up for it"):
            versions.remember(self.place, row)
            publish.done(self.place)
        with logs.harmless(f"old versions of {self.config.out} are not removed"):
            publish.prune(self.place, self.owner, self.config.outputs.keep_versions)


def read(config: Config, registry: Registry, source: Any) -> Dataset:  # noqa: ANN401
    """The dataset of a source, sorted by id, cut to `limit`. Raises DatasetError."""
    if source is None:
        raise DatasetError("no dataset: give dataset.path in the config, or a source")
    reader, said = config.reader, ""
    if reader is None:
        reading = recognise(registry, source)
        reader, said = reading.reader, reading.said
    dataset = replace(reader.read_outside(source, config.roles), outside=True) if config.outside else reader.read(source, config.roles)
    _refuse_outside(dataset)
    table = split_kinds_marked(labels.marked(dataset.samples.table.sort_by("id"), config.labels))
    if config.limit is not None and len(dataset) > config.limit:
        order = np.argsort([shuffle_key(config.seed, sample) for sample in table.column("id").to_pylist()])
        table = table.take(pa.array(np.sort(order[: config.limit])))
    if "content" not in table.column_names:
        table = table.append_column("content", pa.nulls(table.num_rows, pa.string()))
    if table.num_rows == 0:
        raise DatasetError(f"{str(source)[:200]} holds no samples")
    layout = {**dataset.layout, "recognised": said} if said else dataset.layout
    return replace(dataset, samples=Samples(table.combine_chunks()), layout=layout)


def _refuse_outside(dataset: Dataset) -> None:
    """Raise DatasetError if all media lie outside their dataset's folder: then another folder was meant."""
    if dataset.within is None or not dataset.has_media:
        return
    media = [one for one in dataset.samples["media"] if one is not None]
    inside, probes = Inside(dataset.within), media[:: max(1, len(media) // PROBES)]
    paths = [media_path(dataset.root, one) for one in probes]
    if any(inside.holds(path) for path in paths):
        return
    which = f"all {len(media)} media" if len(probes) == len(media) else f"all of {len(probes)} media that were looked at"
    raise DatasetError(
        f"{which} lie outside the dataset's folder {dataset.root} (such as {paths[0][:200]!r}), where nothing is read or copied: "
        "`dataset: {outside: allow}` in the pipeline.yaml allows it (`dqpipe init --outside`, `outside=True` in Python)"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _hash(table: Table) -> str:
    """The hash of all that a table holds."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.table.schema) as writer:
        writer.write_table(table.table.combine_chunks())
    return digest(bytes(sink.getvalue()), str(len(table)))


def _claimed(planned: Planned, table: pa.Table, method: str, samples: Samples) -> pa.Table:
    """Findings of a stage under their full codes, each with its severity. Raises StageError for what it may not claim."""
    declared = {code.split(".", 1)[1]: claim for code, claim in planned.claims().items()}
    codes = table.column("code")
    unknown = sorted(set(codes.unique().to_pylist()) - set(declared))
    if unknown:
        raise StageError(planned.name, method, f"it claims {unknown[0]!r}, which it does not declare in gives")
    ids = table.column("id").drop_null()
    strangers = ids.filter(pc.invert(pc.is_in(ids, value_set=samples.table.column("id").combine_chunks())))
    if len(strangers):
        raise StageError(planned.name, method, f"it claims something about {pc.min(strangers).as_py()!r}, which it was not shown")
    usual = pa.array([claim.severity for claim in declared.values()], pa.string())
    severity = usual.take(pc.index_in(codes, value_set=pa.array(list(declared), pa.string())))
    given = table.column("severity")
    severity = pc.if_else(pc.equal(pc.fill_null(given, ""), ""), severity, given)
    table = table.set_column(table.column_names.index("code"), "code", pc.binary_join_element_wise(planned.name, codes, "."))
    return table.set_column(table.column_names.index("severity"), "severity", severity)


def _stated(planned: Planned, table: pa.Table, method: str, of: str) -> pa.Table:
    """Figures of a stage under their full names. Raises StageError for one that it does not declare."""
    names = [f"{planned.name}.{name}" for name in table.column("figure").to_pylist()]
    undeclared = sorted(set(names) - set(planned.figures()))
    if undeclared:
        raise StageError(planned.name, method, f"it states {undeclared[0]!r}, which it does not declare in gives")
    table = table.set_column(table.column_names.index("figure"), "figure", pa.array(names, pa.string()))
    return table.set_column(table.column_names.index("of"), "of", pa.array([of] * len(names), pa.string()))
