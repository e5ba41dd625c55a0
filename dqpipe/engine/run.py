"""Runs a plan, step by step.

    read ─▶ measure (shards) ─▶ relate … ─▶ [compare …] ─▶ detect ─▶ summarise ─▶ decide ─▶ apply
         ─▶ [measure, relate, summarise the curated set] ─▶ gates ─▶ publish

`Run.steps()` yields the steps one by one, each named for what it does, so that what drives them (a
loop here, a flow's tasks elsewhere) sees and names the same work. What the run came to is its
`outcome`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config import plan
from dqpipe.config.dataset_source import recognise
from dqpipe.config.pipeline_file import Config, settle
from dqpipe.config.plan import Plan, Planned
from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.data.splits import marked as split_kinds_marked
from dqpipe.data.tables import Figures, Findings, Samples, Table, table_of
from dqpipe.data.version_comparison import Since
from dqpipe.engine import comparison, conclusions, curation
from dqpipe.engine.conclusions import Decided, Judged, Last
from dqpipe.engine.fact_table import Evidence
from dqpipe.engine.measuring import Survey
from dqpipe.engine.output import Output
from dqpipe.engine.shard import facts_table
from dqpipe.engine.steps import Step, Steps, Work, run_id
from dqpipe.engine.unchanged import unchanged
from dqpipe.errors import ChangedError, DatasetError, OutputError, StageError, stage_errors
from dqpipe.execution import decoding, logs, timeouts
from dqpipe.execution.decoding import RELATE_THREADS
from dqpipe.plugin.cache_key import Decoding, identity
from dqpipe.plugin.kinds import Executor
from dqpipe.plugin.registry import Registry
from dqpipe.results import publish, run_record, versions
from dqpipe.results.outcome import Beside, Outcome, Usage
from dqpipe.results.run_tables import Tables, unreadable
from dqpipe.storage import maintenance
from dqpipe.storage.checked_files import Inside
from dqpipe.storage.fact_store import Store, digest, digest_json, shuffle_key
from dqpipe.storage.lock import Lock
from dqpipe.storage.paths import media_path, path_text

log = logging.getLogger(__name__)
SHARD = 256
"""Samples per shard at least, unless the caller says otherwise."""
PROBES = 1000
"""Media that are looked at, at most, before it is said that all lie outside their
dataset's folder.
"""
MOST_SHARDS, MOST_NEW_SHARDS = 250, 100
"""Shards of the raw set, and of new samples (made, then measured), at most.

A flow watches each as a task, and some hundreds are what it bears.
"""


class Run:
    """Drives the steps of one run. What it finds out is `outcome`, once the gates are judged."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        executor: Executor,
        *,
        source: Any = None,  # noqa: ANN401
        shard_size: int | None = None,
        force: bool = False,
        rehash: bool = False,
        writes: bool = True,
        if_changed: bool = False,
    ) -> None:
        self.config, self.registry, self.executor = settle(config), registry, executor
        self.source = config.source if source is None else source
        self.rehash, self.if_changed = rehash, if_changed
        self.id = run_id()
        self.outcome: Outcome | None = None
        self._shard_size, self._started = shard_size, time.time()
        self._store = Store(config.store)
        self._using: Lock | None = None
        self._output = Output(self.config, self.source, self.id, force=force) if writes else None
        self._last = Last(self.config)
        self._steps = Steps(self.id, registry, self._work)
        self._since: Since | None = None
        self._findings: list[pa.Table] = []
        self._figures: list[pa.Table] = []
        self._judged = Judged()
        self._survey: Survey | None = None
        self._plan: Plan
        self._raw: Evidence
        self._curated: Evidence
        self._before: comparison.Before | None
        self._found: Findings
        self._decided: Decided

    # driving --------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """All the steps, one after the other.

        Raises DqpipeError; GateError only after everything was published, see `outcome`.
        """
        try:
            for step in self.steps():
                step.call()
        finally:
            self.close()
        assert self.outcome is not None
        self.outcome.raise_for_gates()
        return self.outcome

    @property
    def timings(self) -> list[dict[str, Any]]:
        """A row for each step that was taken."""
        return self._steps.timings

    def steps(self) -> Iterator[Step]:
        """The steps, in order; each must be called before the next is asked for."""
        step = self._steps.step
        yield step("read", self._read)
        stages = [planned.name for planned in self._plan.stages]
        self.registry.notify(
            "dqpipe_run_started",
            run=self._told() | {"samples": len(self._raw.dataset), "stages": stages},
        )
        yield step("measure", lambda: self._measure(self._raw), maps=True)
        for planned in self._plan.doing("relate"):
            yield step(f"relate {planned.name}", partial(self._relate, self._raw, planned))
        if self._before is not None and self._before.snapshot is not None:
            for planned in self._plan.doing("compare"):
                yield step(f"compare {planned.name}", partial(self._compare, planned))
        yield step("detect", self._detect)
        yield step("summarise", lambda: self._summarise(self._raw, "raw"))
        yield step("decide", self._decide)
        if self._output is not None:
            yield step("apply", partial(self._apply, self._output), maps=True)
            yield step("measure curated", lambda: self._measure(self._curated), maps=True)
            for planned in self._plan.summarising():
                if planned.stage.does("relate"):
                    yield step(
                        f"relate {planned.name} (curated)",
                        partial(self._relate, self._curated, planned),
                    )
            yield step("summarise curated", lambda: self._summarise(self._curated, "curated"))
        yield step("gates", self._gates)
        assert self.outcome is not None
        if self._output is not None and self.if_changed and self.outcome.passed:
            self.outcome = replace(self.outcome, unchanged=unchanged(self.outcome))
        if self._output is not None and self.outcome.unchanged is None:
            yield step("publish", partial(self._publish, self._output))
        else:
            yield step("account", self._account)

    def close(self) -> None:
        """Leave nothing half done behind: what was measured stays, what was half written goes."""
        done, survey = self.outcome, self._survey
        used = (
            {"output": str(self.config.out), "finished": int(time.time()), **survey.used}
            if survey is not None
            else None
        )
        with suppress(OutputError):  # what ended the run is said instead
            self._store.end_run(
                self.id,
                used if done is not None and done.record and done.unchanged is None else None,
                self._using,
            )
        if survey is not None and done is not None and done.published is not None:
            with suppress(OutputError, OSError):  # another run uses the store: the next one does it
                maintenance.forget_relations(self._store, survey.used["relations"])
        if self._output is not None:
            self._output.close()
        self.registry.notify(
            "dqpipe_run_finished", run=self._told() | self._ended(sys.exc_info()[1])
        )

    def _told(self) -> dict[str, Any]:
        """What every observer of a run is told: which it is, of what, and where it goes."""
        source = (
            str(self.source) if isinstance(self.source, (str, Path)) else type(self.source).__name__
        )
        return {
            "id": self.id,
            "source": source,
            "out": None if self._output is None else str(self.config.out),
        }

    def _ended(self, error: BaseException | None) -> dict[str, Any]:
        """What observers are told of how a run ended."""
        done = self.outcome
        path = None if done is None else done.published
        return {
            "version": self.id if done is None else done.version,
            "published": done is not None and path is not None and done.passed and not done.waits,
            "asks": self._judged.asks,
            "path": None if path is None else str(path),
            "account": None if done is None else done.record.get("account"),
            "gates": self._judged.gates,
            "error": None if error is None else f"{type(error).__name__}: {error}",
        }

    def _work(self) -> Work:
        """What was measured so far."""
        if self._survey is None:
            return Work()
        count = sum(self._survey.measured.values())
        return Work(
            len(self._raw.dataset), count, self._survey.workers_cpu, self._survey.workers_mib
        )

    def _size(self, count: int, *, new: bool) -> int:
        """Samples per shard of `count` that wait, as asked for, or so many that there are at most
        MOST_SHARDS.
        """
        return self._shard_size or max(
            SHARD, -(-count // (MOST_NEW_SHARDS if new else MOST_SHARDS))
        )

    # read, measure, relate ------------------------------------------------------------------------

    def _read(self) -> None:
        if self._output is not None:
            self._output.refuse()
        dataset = read(self.config, self.registry, self.source)
        self._plan = plan.make(self.config, self.registry, dataset)
        if self._output is not None:
            self._output.create()
        self._before = (
            comparison.before(self._last.version) if self._plan.doing("compare") else None
        )
        self._store.create()
        self._using = self._store.begin_run(self.id)
        self._raw = Evidence(dataset)
        self._survey = Survey(
            self.id,
            self._raw,
            self._store,
            self._plan.decoders,
            self.executor,
            seed=self.config.seed,
            rehash=self.rehash,
            shard_size=self._size,
            notify=self.registry.notify,
        )

    def _measure(self, evidence: Evidence) -> None:
        assert self._survey is not None
        wanted, raw = self._plan.doing("measure"), evidence is self._raw
        if not raw:
            wanted = [planned for planned in wanted if planned in self._plan.summarising()]
        self._survey.measure(evidence, wanted, "raw" if raw else "curated")
        if any(plan.KEPT in planned.facts for planned in self._plan.stages):
            last = self._last.version
            evidence.add_kept(comparison.kept(last) if raw and last is not None else None)

    def _remember(self, evidence: Evidence, planned: Planned) -> None:
        """Let a stage see what the last version holds of its facts.

        Of the curated set, what this run holds.
        """
        names = [f"{planned.name}.{name}" for name in planned.stage.remembers]
        if evidence is not self._raw:
            evidence.add_remembered(self._raw.samples, self._raw.facts(), names)
        elif (last := self._last.version) is not None:
            try:
                evidence.add_remembered(last.samples, last.facts, names)
            except DatasetError as error:
                raise StageError(
                    planned.name,
                    "relate",
                    f"what was published cannot be read, so it might not stay as it is: {error}",
                ) from None

    def _relate(self, evidence: Evidence, planned: Planned) -> None:
        if planned.stage.remembers:
            self._remember(evidence, planned)
        assert self._survey is not None
        rows, samples, facts = evidence.view(planned, related=False)
        stage = planned.stage.at("relate")
        gives = planned.own("relate")
        shape = [(f.name, f.type) for f in gives]
        seen = digest(
            "\0".join(evidence.seen[row] or "" for row in rows)
        )  # who decodes each: a stage that rereads sees through them
        key = digest_json(
            [identity(stage, stage.options()), shape, _hash(samples), _hash(facts), seen]
        )
        self._survey.used["relations"][key] = planned.name
        table = self._store.relation(key)
        if table is None:
            sees, rereads = [stage.name, stage.version], self._survey.rereads
            pixels = decoding.Rereader(
                evidence.dataset,
                self._plan.decoders,
                rereads,
                planned.name,
                self._store,
                sees,
                evidence.seen,
            )
            with (
                stage_errors(planned.name, "relate"),
                decoding.one_thread(RELATE_THREADS, self._plan.decoders),
            ):
                returned = timeouts.tried(
                    lambda: stage.relate(samples, facts, pixels), stage.timeout, stage.retries
                )
                table = facts_table(returned, gives, len(samples))
            self._store.write_relation(key, table)
        evidence.add_related(planned, rows, table)

    # compare, detect, summarise, decide -----------------------------------------------------------

    def _compare(self, planned: Planned) -> None:
        assert self._before is not None
        self._since = self._since or comparison.since(self._raw, self._before)
        figures, found = conclusions.compared(planned, self._raw, self._since, self._plan.decoders)
        self._figures.append(figures)
        self._findings.append(found)

    def _detect(self) -> None:
        assert self._survey is not None
        for planned in self._plan.doing("detect"):
            began = time.perf_counter()
            self._findings.append(conclusions.detected(planned, self._raw))
            self._survey.seconds[f"{planned.name} detect"] = time.perf_counter() - began
        own = [conclusions.doubts(self._raw.dataset), conclusions.failed(self._survey.failures)]
        self._found = conclusions.findings_of([*self._findings, *own])

    def _summarise(self, evidence: Evidence, of: str) -> None:
        for planned in self._plan.doing("summarise"):
            if of == "raw" or planned.stage.summarise_curated:
                decoders = self._plan.decoders
                self._figures.append(conclusions.summarised(planned, evidence, of, decoders))

    def _decide(self) -> None:
        self._decided = conclusions.decided(
            self._plan, self._raw, self._found, self._store, self._last.version
        )
        self._figures.append(self._decided.figures)

    # apply, gates, publish ------------------------------------------------------------------------

    def _apply(self, output: Output) -> None:
        folder = output.stage()
        dataset, decisions = conclusions.arranged(self._plan, self._raw), self._decided.decisions
        result = curation.kept(dataset, decisions, hold=self.config.policy.extension.hold)
        tables, doubted = (
            [result.samples.table],
            curation.doubted(self._decided.rulings.shown(self._raw.samples, self._found)),
        )
        for entry in self.config.augments:
            encoder = self.registry.encoder(entry.extension)
            with stage_errors(entry.name, "plan"):
                table, items = curation.plan_samples(
                    entry.name,
                    entry.extension,
                    encoder.suffix,
                    result,
                    decisions,
                    doubted,
                    folder,
                    self.config.seed,
                )
            size = self._size(len(items), new=True)
            parts = [items[s : s + size] for s in range(0, len(items), size)]
            jobs = [
                curation.Making(
                    entry.extension,
                    encoder,
                    self._plan.decoders,
                    dataset.root,
                    tuple(part),
                    dataset.within,
                )
                for part in parts
            ]
            names = [f"{entry.name} {n + 1}/{len(jobs)}" for n in range(len(jobs))]
            lacking = [
                path
                for paths in self.executor.map(curation.make_samples, jobs, names)
                for path in paths
            ]
            tables.append(
                table.filter(
                    pc.invert(
                        pc.is_in(table.column("media"), value_set=pa.array(lacking, pa.string()))
                    )
                )
                if lacking
                else table
            )
        whole = pa.concat_tables(tables)
        self._curated = Evidence(
            replace(result, samples=Samples(whole.sort_by("id")), added=(path_text(str(folder)),))
        )

    def _gates(self) -> None:
        raw, decisions, figures = self._raw, self._decided.decisions, self._all_figures()
        curated = None if self._output is None else self._curated.samples
        rulings = self._decided.rulings
        made_by = self._plan.made_by(self._plan.record()["stages"])
        facts = raw.facts()
        tables = Tables(
            raw.samples,
            self._found,
            decisions,
            curated,
            figures,
            unread=unreadable(facts),
            made_by=made_by,
            verdicts=rulings.record,
        )
        self._judged = conclusions.judged(self._plan, tables, self._last)
        self.outcome = self._concluded()

    def _concluded(self) -> Outcome:
        """What the run came to, as far as it is known when the gates are judged."""
        before, raw, decided, judged = self._before, self._raw, self._decided, self._judged
        if self._output is None:
            hold = self.config.policy.extension.hold
            curated = curation.kept(
                conclusions.arranged(self._plan, raw), decided.decisions, hold=hold
            )
        else:
            curated = self._curated.dataset
        beside = Beside(
            self._last.version,
            None if before is None else before.version,
            "" if before is None else before.why,
            self._since,
            judged.news,
            judged.of_new,
        )
        return Outcome(
            id=self.id,
            started=self._started,
            source=self.source,
            writes=self._output is not None,
            plan=self._plan,
            registry=self.registry,
            dataset=raw.dataset,
            facts=raw.facts(),
            vectors=raw.embeddings(),
            has=raw.presence(),
            findings=self._found,
            figures=self._all_figures(),
            decisions=decided.decisions,
            curated=curated,
            failures=self._failures(),
            gates=judged.gates,
            asks=judged.asks,
            people=decided.people(raw.samples),
            beside=beside,
            modality=Decoding(self._plan.decoders).modality(raw.seen),
            version=self.id,
        )

    def _all_figures(self) -> Figures:
        return Figures(pa.concat_tables([table_of(Figures.columns, []), *self._figures]))

    def _failures(self) -> dict[tuple[str, str], str]:
        return {} if self._survey is None else dict(self._survey.failures)

    def _account(self) -> None:
        assert self.outcome is not None
        assert self._survey is not None
        survey = self._survey
        usage = Usage(
            tuple(self.timings), dict(survey.seconds), dict(survey.measured), survey.rereads
        )
        known = replace(self.outcome, usage=usage)
        self.outcome = replace(known, record=run_record.of_run(known))

    def _publish(self, output: Output) -> None:
        assert self.outcome is not None
        assert output.staging is not None
        version = f"{self.id[:22]}-{curation.version_content(self._curated.samples, self._decided.decisions)}"  # noqa: E501
        self.outcome = replace(
            self.outcome, version=version, parent=versions.published(output.place)
        )
        published = self.outcome.passed and not self.outcome.waits
        try:
            if self.outcome.passed and self._plan.writer is not None:
                self._write_curated(output.staging)
            self._account()
            row = run_record.history_row(self.outcome, published=published)
            comparison.write(self._raw, output.staging, version, self._since)
            run_record.write(self.outcome, output.staging, row, output.owner)
            path = output.bring(version, switch=published)
        except OSError as error:
            raise OutputError(
                f"cannot write the output {self.config.out}: {error.strerror or error}"
            ) from None
        self.outcome = replace(self.outcome, published=path)
        with logs.harmless(
            f"the history of {self.config.out} is not written, the next run makes up for it"
        ):
            versions.remember(output.place, row)
            publish.done(output.place)
        with logs.harmless(f"old versions of {self.config.out} are not removed"):
            publish.prune(output.place, output.owner, self.config.outputs.keep_versions)

    def _write_curated(self, staging: Path) -> None:
        """Write the curated set in the format it came in.

        Raises ChangedError for files that are others now, OutputError, OSError.
        """
        assert self._plan.writer is not None
        assert self._survey is not None
        (staging / "curated").mkdir()
        dataset = self._curated.dataset
        with stage_errors(self._plan.writer.name, "write"):
            self._plan.writer.write(dataset, staging / "curated", self.config.outputs.files)
        of_the_source = dataset.samples.table.filter(
            pc.is_null(dataset.samples.table.column("parent"))
        )
        if changed := self._survey.changed(replace(dataset, samples=Samples(of_the_source))):
            raise ChangedError(changed)


def read(config: Config, registry: Registry, source: Any) -> Dataset:  # noqa: ANN401
    """The dataset of a source, sorted by id, cut to `limit`. Raises DatasetError."""
    if source is None:
        raise DatasetError("no dataset: give dataset.path in the config, or a source")
    reader, said = config.reader, ""
    if reader is None:
        reading = recognise(registry, source)
        reader, said = reading.reader, reading.said
    dataset = (
        replace(reader.read_outside(source, config.roles), outside=True)
        if config.outside
        else reader.read(source, config.roles)
    )
    _refuse_outside(dataset)
    table = split_kinds_marked(labels.marked(dataset.samples.table.sort_by("id"), config.labels))
    if config.limit is not None and len(dataset) > config.limit:
        order = np.argsort(
            [shuffle_key(config.seed, sample) for sample in table.column("id").to_pylist()]
        )
        table = table.take(pa.array(np.sort(order[: config.limit])))
    if "content" not in table.column_names:
        table = table.append_column("content", pa.nulls(table.num_rows, pa.string()))
    if table.num_rows == 0:
        raise DatasetError(f"{str(source)[:200]} holds no samples")
    layout = {**dataset.layout, "recognised": said} if said else dataset.layout
    return replace(dataset, samples=Samples(table.combine_chunks()), layout=layout)


def _refuse_outside(dataset: Dataset) -> None:
    """Raise DatasetError if all media lie outside their dataset's folder.

    Then another folder was meant.
    """
    if dataset.within is None or not dataset.has_media:
        return
    media = [one for one in dataset.samples["media"] if one is not None]
    inside, probes = Inside(dataset.within), media[:: max(1, len(media) // PROBES)]
    paths = [media_path(dataset.root, one) for one in probes]
    if any(inside.holds(path) for path in paths):
        return
    which = (
        f"all {len(media)} media"
        if len(probes) == len(media)
        else f"all of {len(probes)} media that were looked at"
    )
    raise DatasetError(
        f"{which} lie outside the dataset's folder {dataset.root} (such as {paths[0][:200]!r}), "
        f"where nothing is read or copied: "
        "`dataset: {outside: allow}` in the pipeline.yaml allows it (`dqpipe init --outside`, "
        "`outside=True` in Python)"
    )


def _hash(table: Table) -> str:
    """The hash of all that a table holds."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.table.schema) as writer:
        writer.write_table(table.table.combine_chunks())
    return digest(bytes(sink.getvalue()), str(len(table)))
