"""Runs a plan, step by step.

    read ─▶ measure (shards) ─▶ relate … ─▶ detect ─▶ summarise ─▶ decide ─▶ apply ─▶ [measure, relate, summarise] ─▶ publish

`Run.steps()` yields the steps one by one, each named for what it does, so that whoever drives them (a loop here, a flow's
tasks elsewhere) sees and names the same work.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dqpipe import __version__, plan, publish
from dqpipe import apply as applying
from dqpipe import measure as measuring
from dqpipe.config import Config
from dqpipe.errors import DatasetError, DqpipeError, GateError, OutputError, StageError
from dqpipe.evidence import Evidence, row_contents
from dqpipe.execution.executor import Executor
from dqpipe.ledger import ledger
from dqpipe.model import Dataset, Decisions, Figures, Findings, Samples, table_of
from dqpipe.plan import Plan, Planned
from dqpipe.plugins import Registry
from dqpipe.report import record as make_record
from dqpipe.stages import Reader, Section
from dqpipe.store import Store, digest_json, write_arrow

log = logging.getLogger(__name__)
SHARD = 256
RELATE_THREADS = 2
"""A fixed number, not that of the machine: sums in another order give other bits."""


@dataclass(frozen=True)
class Step:
    """One step of a run; one that `maps` hands its shards to the executor itself."""

    name: str
    call: Callable[[], None]
    maps: bool = False


class Run:
    """One run of a config: what it knows so far, and the steps that are left."""

    def __init__(  # noqa: PLR0913
        self, config: Config, registry: Registry, executor: Executor, *, source: Any = None, shard_size: int = SHARD,  # noqa: ANN401
        force: bool = False, rehash: bool = False, writes: bool = True,
    ) -> None:  # fmt: skip
        self.config, self.registry, self.executor = config, registry, executor
        self.source = config.source if source is None else source
        self.shard_size, self.force, self.rehash, self.writes = shard_size, force, rehash, writes
        self.id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") + os.urandom(2).hex()
        self.started = time.time()
        self.store = Store(config.store)
        self.version = self.id
        self.timings: list[dict[str, Any]] = []
        self.failures: dict[tuple[str, str], str] = {}
        self.rereads: dict[str, int] = {}
        self.measured: dict[str, int] = {}
        self.stage_seconds: dict[str, float] = {}
        self.findings = Findings(table_of(Findings.columns, []))
        self.figures = Figures(table_of(Figures.columns, []))
        self.gates: list[dict[str, Any]] = []
        self.record: dict[str, Any] = {}
        self.published: Path | None = None
        self.staging: Path | None = None
        self.plan: Plan
        self.raw: Evidence
        self.curated: Evidence
        self.decisions: Decisions

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
        """Raise GateError if a gate failed."""
        failed = [gate["said"] for gate in self.gates if not gate["passed"]]
        if failed:
            raise GateError("; ".join(failed))

    def close(self) -> None:
        """Leave nothing half done behind: what was measured stays, what was half written goes."""
        self.store.forget_run(self.id)
        if self.staging is not None:
            shutil.rmtree(self.staging, ignore_errors=True)
        error = sys.exc_info()[1]
        self.registry.notify("dqpipe_run_finished", run={"id": self.id, "version": self.version, "account": self.record.get("account"),
                                                         "error": None if error is None else f"{type(error).__name__}: {error}"})  # fmt: skip

    def steps(self) -> Iterator[Step]:
        """The steps, in order; each must be called before the next is asked for."""
        yield self._step("read", self._read)
        self.registry.notify("dqpipe_run_started", run={"id": self.id, "samples": len(self.raw.dataset), "stages": [p.name for p in self.plan.stages]})
        yield self._step("measure", lambda: self._measure(self.raw), maps=True)
        for planned in self.plan.doing("relate"):
            yield self._step(f"relate {planned.name}", lambda planned=planned: self._relate(self.raw, planned))
        yield self._step("detect", self._detect)
        yield self._step("summarise", lambda: self._summarise(self.raw, "raw"))
        yield self._step("decide", self._decide)
        if self.writes:
            yield self._step("apply", self._apply, maps=True)
            yield self._step("measure curated", lambda: self._measure(self.curated), maps=True)
            for planned in self.plan.summarising():
                if planned.stage.does("relate"):
                    yield self._step(f"relate {planned.name} (curated)", lambda planned=planned: self._relate(self.curated, planned))
            yield self._step("summarise curated", lambda: self._summarise(self.curated, "curated"))
        yield self._step("gates", self._gates)
        yield self._step("publish" if self.writes else "account", self._publish if self.writes else self._account)

    def _step(self, name: str, call: Callable[[], None], *, maps: bool = False) -> Step:
        def timed() -> None:
            began = time.perf_counter()
            before = sum(self.measured.values())
            call()
            seconds = time.perf_counter() - began
            fresh = sum(self.measured.values()) - before
            self.timings.append({"step": name, "seconds": round(seconds, 4), "samples": len(self.raw.dataset), "measured": fresh})
            log.info("%s: %.2f s", name, seconds)
            self.registry.notify("dqpipe_stage_finished", stage={"name": name, "seconds": seconds, "measured": fresh})

        return Step(name, timed, maps)

    # read, measure, relate -------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.writes:
            publish.prepare(self.config.out, force=self.force, source=self.source if isinstance(self.source, str) else None)
        dataset = read(self.config, self.registry, self.source)
        self.plan = plan.make(self.config, self.registry, dataset)
        self.store.create()
        self.raw = Evidence(dataset)

    def _measure(self, evidence: Evidence) -> None:
        dataset = evidence.dataset
        decoders = self.plan.decoders
        tasks = tuple(self._task(planned) for planned in self.plan.doing("measure") if evidence is self.raw or planned in self.plan.summarising())
        job = measuring.Job(self.id, f"{self.id} {'raw' if evidence is self.raw else 'curated'}", dataset.root, self.store, tasks, decoders, measuring.media_key(decoders))
        contents, stats = self._known_contents(dataset)
        waiting = self._waiting(job, dataset, contents)
        errors: dict[str, str] = {}
        if len(waiting):
            for done in self._map_shards(job, dataset, contents, waiting):
                self._take(done, dataset, contents, errors)
        limit = max(10, 0.01 * len(dataset))
        if len(self.failures) > limit:
            (sample, stage), why = next(iter(self.failures.items()))
            raise StageError(stage, "measure", f"{len(self.failures)} of {len(dataset)} samples failed, {sample!r} with: {why}", "more than 1 % ends the run")
        table = dataset.samples.table
        at = table.column_names.index("content")
        filled = table.set_column(at, "content", pa.array(contents, pa.string()))
        evidence.dataset = replace(dataset, samples=Samples(filled))
        if evidence is self.raw:
            self._keep_index(dataset, contents, stats)
        if dataset.has_media:
            evidence.add_media(self.store, job.media_key, errors)
        for task in tasks:
            evidence.add_measured(self.store, task)

    def _task(self, planned: Planned) -> measuring.Task:
        artifact = self._artifact(planned) if planned.stage.does("fit") and getattr(planned.stage, "learns", True) else None
        return measuring.task_of(planned.name, planned.stage, planned.columns, planned.own("measure"), self.plan.decoders, artifact)

    def _artifact(self, planned: Planned) -> Mapping[str, np.ndarray] | None:
        stage = planned.stage.at("measure")
        key = digest_json([measuring.identity(stage, stage.options()), self.config.seed])
        found = self.store.artifact(key)
        if found is not None:
            return found
        samples, root = self.raw.samples, self.raw.dataset.root
        ids = samples.ids
        order = sorted(range(len(samples)), key=lambda row: hashlib.blake2b(f"{self.config.seed} {ids[row]}".encode(), digest_size=8).digest())
        chosen = [row for row in order if _readable(samples, row, root, self.plan.decoders)][:LEARN_FROM] if self.raw.dataset.has_media else order[:LEARN_FROM]
        subset = samples.take(np.sort(np.array(chosen, dtype=np.int64)))
        with measuring.one_thread(RELATE_THREADS):
            learned = stage.fit(subset, measuring.rereader(subset, root, self.plan.decoders, self.rereads, planned.name))
        if learned is not None:
            self.store.write_artifact(key, learned)
        return learned

    def _known_contents(self, dataset: Dataset) -> tuple[list[str | None], dict[str, os.stat_result]]:
        samples = dataset.samples
        if "media" not in samples:
            return list(row_contents(samples)), {}
        index = {} if self.rehash else self.store.index()
        contents, stats = measuring.stat_contents(dataset.root, samples["media"], index, self.store.scanned_ns())
        given = samples["content"]
        media = samples["media"]
        rows = row_contents(samples) if any(m is None for m in media) else contents
        return [g or (c if m is not None else r) for g, c, m, r in zip(given, contents, media, rows, strict=True)], stats

    def _waiting(self, job: measuring.Job, dataset: Dataset, contents: Sequence[str | None]) -> np.ndarray:
        """Rows with anything left to do: content unknown, not yet judged readable, or facts missing."""
        judged = self.store.known(job.media_key, job.snapshot)
        broken = measuring._unreadable(job) if judged else set()  # noqa: SLF001
        known = {task.name: self.store.known(task.key, job.snapshot) for task in job.tasks}
        columns = sorted({c for task in job.tasks for c in task.columns})
        rows = dataset.samples.table.select(columns).to_pylist() if columns else [{}] * len(contents)
        media = dataset.samples["media"] if "media" in dataset.samples else np.full(len(contents), None)
        todo = []
        for number, (content, row) in enumerate(zip(contents, rows, strict=True)):
            if content is None or (media[number] is not None and content not in judged):
                todo.append(number)
                continue
            for task in job.tasks:
                sees = task.rendition is None or (media[number] is not None and content not in broken)
                if sees and task.sample_key(content, row) not in known[task.name]:
                    todo.append(number)
                    break
        return np.array(todo, dtype=np.int64)

    def _map_shards(self, job: measuring.Job, dataset: Dataset, contents: Sequence[str | None], waiting: np.ndarray) -> Iterator[measuring.Measured]:
        columns = sorted({"id", *(c for task in job.tasks for c in task.columns)} | ({"media"} if "media" in dataset.samples else set()))
        table = dataset.samples.table.select(columns).append_column("content", pa.array(contents, pa.string())).take(pa.array(waiting))
        path = self.store.run_folder(self.id) / f"samples-{'raw' if dataset is self.raw.dataset else 'curated'}.arrow"
        write_arrow(path, table.combine_chunks())
        starts = range(0, len(waiting), self.shard_size)
        refs = [measuring.ShardRef(n, str(path), s, min(s + self.shard_size, len(waiting))) for n, s in enumerate(starts)]
        what = ", ".join(task.name for task in job.tasks) or "media"
        names = [f"measure {n + 1}/{len(refs)} · {what}" for n in range(len(refs))]
        for done in self.executor.map(measuring.measure_shard, [(job, ref) for ref in refs], names):
            self.registry.notify("dqpipe_shard_finished", shard={"number": done.number, "of": len(refs), "samples": done.samples,
                                 "total": len(waiting), "decoded": done.decoded, "measured": dict(done.measured)})  # fmt: skip
            yield done

    def _take(self, done: measuring.Measured, dataset: Dataset, contents: list[str | None], errors: dict[str, str]) -> None:
        from dqpipe.store import read_arrow

        rows = {sample: row for row, sample in enumerate(dataset.samples.ids)} if not hasattr(self, "_rows") or self._rows[0] is not dataset else self._rows[1]
        self._rows = (dataset, rows)
        table = read_arrow(Path(done.contents)).to_pydict()
        for sample, content, error in zip(table["id"], table["content"], table["error"], strict=True):
            contents[rows[sample]] = content
            if error is not None:
                errors[sample] = error
        for sample, stage, why in done.failures:
            self.failures[sample, stage] = why
        for name, count in done.measured.items():
            self.measured[name] = self.measured.get(name, 0) + count
        for name, seconds in done.seconds.items():
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + seconds

    def _keep_index(self, dataset: Dataset, contents: Sequence[str | None], stats: Mapping[str, os.stat_result]) -> None:
        if not dataset.has_media:
            return
        rows = {}
        for media, content in zip(dataset.samples["media"], contents, strict=True):
            stat = stats.get(measuring.media_path(dataset.root, media)) if media is not None else None
            if stat is not None and content is not None:
                rows[measuring.media_path(dataset.root, media)] = (stat.st_size, stat.st_mtime_ns, stat.st_ino, content)
        self.store.write_index(rows)

    def _relate(self, evidence: Evidence, planned: Planned) -> None:
        rows, samples, facts = evidence.view(planned, related=False)
        stage = planned.stage.at("relate")
        gives = planned.own("relate")
        # The decoders are part of the key: a stage that rereads sees through them.
        key = digest_json([measuring.identity(stage, stage.options()), [(f.name, f.type) for f in gives], _hash(samples), _hash(facts), measuring.media_key(self.plan.decoders)])
        table = self.store.relation(key)
        if table is None:
            whole = evidence.samples
            pixels = measuring.rereader(whole, evidence.dataset.root, self.plan.decoders, self.rereads, planned.name)
            try:
                with measuring.one_thread(RELATE_THREADS):
                    table = measuring.facts_table(stage.relate(samples, facts, pixels), gives, len(samples))
            except Exception as error:
                if isinstance(error, (OutputError, StageError)):
                    raise
                raise StageError(planned.name, "relate", f"{type(error).__name__}: {error}", f"leave {planned.name} out of stages to go on without it") from error
            self.store.write_relation(key, table)
        evidence.add_related(planned, rows, table)

    # detect, summarise, decide ---------------------------------------------------------------------------------------

    def _detect(self) -> None:
        tables = [self.findings.table]
        for planned in self.plan.doing("detect"):
            tables.append(self._found(planned))
        if self.failures:
            failed = sorted(self.failures.items())
            tables.append(table_of(Findings.columns, pd.DataFrame({"id": [i for (i, _), _ in failed], "code": [f"{s}.failed" for (_, s), _ in failed],
                                                                   "severity": "error", "detail": [why for _, why in failed]})))  # fmt: skip
        self.findings = Findings(pa.concat_tables(tables).sort_by([("code", "ascending"), ("id", "ascending"), ("part", "ascending"), ("match", "ascending")]))

    def _found(self, planned: Planned) -> pa.Table:
        rows, samples, facts = self.raw.view(planned)
        del rows
        began = time.perf_counter()
        try:
            returned = planned.stage.detect(samples, facts)
        except DqpipeError:
            raise
        except Exception as error:
            raise StageError(planned.name, "detect", f"{type(error).__name__}: {error}", f"leave {planned.name} out of stages to go on without it") from error
        self.stage_seconds[f"{planned.name} detect"] = time.perf_counter() - began
        columns = {**Findings.columns}
        table = returned.table if isinstance(returned, Findings) else table_of(columns, returned)
        codes = table.column("code").to_pylist()
        declared = {code.split(".", 1)[1]: claim for code, claim in planned.claims().items()}
        unknown = sorted(set(codes) - set(declared))
        if unknown:
            raise StageError(planned.name, "detect", f"it claims {unknown[0]!r}, which it does not declare in gives")
        strangers = set(table.column("id").to_pylist()) - {None, *samples.ids}
        if strangers:
            raise StageError(planned.name, "detect", f"it claims something about {sorted(strangers)[0]!r}, which it was not shown")
        given = table.column("severity").to_pylist()
        severity = [s or declared[c].severity for s, c in zip(given, codes, strict=True)]
        table = table.set_column(table.column_names.index("code"), "code", pa.array([f"{planned.name}.{c}" for c in codes], pa.string()))
        return table.set_column(table.column_names.index("severity"), "severity", pa.array(severity, pa.string()))

    def _summarise(self, evidence: Evidence, of: str) -> None:
        tables = [self.figures.table]
        for planned in self.plan.doing("summarise"):
            _, samples, facts = evidence.view(planned)
            try:
                with measuring.one_thread(RELATE_THREADS):
                    returned = planned.stage.summarise(samples, facts)
            except Exception as error:
                raise StageError(planned.name, "summarise", f"{type(error).__name__}: {error}", f"leave {planned.name} out of stages") from error
            table = returned.table if isinstance(returned, Figures) else table_of(Figures.columns, returned)
            names = [f"{planned.name}.{name}" for name in table.column("figure").to_pylist()]
            undeclared = sorted(set(names) - set(planned.figures()))
            if undeclared:
                raise StageError(planned.name, "summarise", f"it states {undeclared[0]!r}, which it does not declare in gives")
            table = table.set_column(table.column_names.index("figure"), "figure", pa.array(names, pa.string()))
            tables.append(table.set_column(table.column_names.index("of"), "of", pa.array([of] * len(names), pa.string())))
        self.figures = Figures(pa.concat_tables(tables))

    def _decide(self) -> None:
        ok = np.ones(len(self.raw.dataset), dtype=bool)
        if "media.ok" in self.raw.scalars:
            ok = np.array(self.raw.scalars["media.ok"].fill_null(False).to_pylist(), dtype=bool)
        self.decisions = applying.decide(self.config.policy.extension, self.raw.samples, self.findings, ok)

    # apply, gates, publish ---------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        self.staging = self.config.out / "versions" / f".{self.id}"
        folder = self.staging / "added"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None
        dataset = self.raw.dataset
        result = applying.kept(dataset, self.decisions, hold=self._hold)
        tables = [result.samples.table]
        for entry in self.config.augments:
            table, items = applying.plan_samples(entry.name, entry.extension, result, self.decisions, folder, self.config.seed)
            parts = [items[s : s + self.shard_size] for s in range(0, len(items), self.shard_size)]
            jobs = [applying.Making(entry.extension, self.plan.decoders, dataset.root, tuple(part)) for part in parts]
            names = [f"{entry.name} {n + 1}/{len(jobs)}" for n in range(len(jobs))]
            for _ in self.executor.map(applying.make_samples, jobs, names):
                pass
            tables.append(table)
        whole = pa.concat_tables(tables)
        self.curated = Evidence(replace(result, samples=Samples(whole.sort_by("id"))))

    def _gates(self) -> None:
        self.gates = [gate.record(self.raw.samples, self.findings, self.decisions, self.figures) for gate in self.plan.gates]

    def outcome(self) -> tuple[Samples, Samples]:
        """The curated samples, and those of them that are new."""
        dataset = self.curated.dataset if self.writes else applying.kept(self.raw.dataset, self.decisions, hold=self._hold)
        new = np.array([parent is not None for parent in dataset.samples["parent"]], dtype=bool)
        return dataset.samples, dataset.samples.take(new)

    @property
    def _hold(self) -> bool:
        return bool(getattr(self.config.policy.extension, "hold", False))

    def _account(self) -> None:
        curated = self.outcome()[0] if self.writes else None
        self.record = make_record(samples=self.raw.samples, facts=self.raw.facts(), findings=self.findings, figures=self.figures,
                                  decisions=self.decisions, curated=curated, gates=self.gates, run=self._run_record())  # fmt: skip

    def _run_record(self) -> dict[str, Any]:
        described = self.plan.record()
        reasons: dict[str, list[str]] = {}
        for (_, stage), why in sorted(self.failures.items()):
            reasons.setdefault(stage, []).append(why)
        return {
            "id": self.id, "version": self.version, "out": str(self.config.out), "dqpipe": __version__, "seed": self.config.seed,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": round(time.time() - self.started, 3),
            "config": described["config"], "stages": described["stages"], "versions": versions(),
            "timings": self.timings, "stage_seconds": {n: round(s, 4) for n, s in sorted(self.stage_seconds.items())},
            "measured": self.measured, "rereads": self.rereads, "failures": [{"stage": s, "samples": len(w), "reason": w[0]} for s, w in reasons.items()],
            "plugins_broken": dict(self.registry.broken),
        }  # fmt: skip

    def _publish(self) -> None:
        assert self.staging is not None
        passed = all(gate["passed"] for gate in self.gates)
        self.version = f"{self.id[:15]}-{applying.version_content(self.curated.samples, self.decisions)}"
        try:
            if passed and self.plan.writer is not None:
                (self.staging / "curated").mkdir()
                self.plan.writer.write(self.curated.dataset, self.staging / "curated", self.config.outputs.files)
            self._write_account(self.staging)
            shutil.rmtree(self.staging / "added", ignore_errors=True)
            final = self.config.out / "versions" / self.version
            self.staging.rename(final)
            if passed:
                publish.switch(self.config.out, self.version, self.config.outputs.keep_versions)
            else:
                publish.link(self.config.out, "report.html", self.version)
        except OSError as error:
            raise OutputError(f"cannot write the output {self.config.out}: {error.strerror or error}") from None
        self.published = final

    def _write_account(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._account()
        _, added = self.outcome()
        pq.write_table(ledger(self.raw.samples, added, self.findings, self.decisions, self.record["run"]["stages"]), folder / "ledger.parquet", compression="zstd")
        pq.write_table(self.raw.facts().table, folder / "facts.parquet", compression="zstd")
        queue = _relabel_queue(self.raw.samples, self.findings, self.decisions)
        queue.to_csv(folder / "relabel.csv", index=False)
        for entry in self.config.augments:
            text = json.dumps(dict(entry.extension.provenance()), indent=2, sort_keys=True, default=str)
            (folder / f"{entry.name}.json").write_text(text + "\n", encoding="utf-8")
        (folder / "run.json").write_text(json.dumps(self.record["run"], indent=2, default=str) + "\n", encoding="utf-8")
        sections = sorted((cls() for cls in self.registry.all(Section)), key=lambda s: (s.order, s.name))
        media = pa.concat_tables([t.select(["id", "media"]) for t in (self.raw.samples.table, added.table)]) if self.raw.dataset.has_media else None
        for report in self.config.reports:
            pixels = measuring.rereader(Samples(media), self.raw.dataset.root, self.plan.decoders, self.rereads, report.name) if media is not None else _no_pixels
            report.write(self.record, folder, sections, pixels)


LEARN_FROM = 2000
"""How many samples a `fit` learns from at most."""


def read(config: Config, registry: Registry, source: Any) -> Dataset:  # noqa: ANN401
    """The dataset of a source, sorted by id, cut to `limit`. Raises DatasetError."""
    if source is None:
        raise DatasetError("no dataset: give dataset.path in the config, or a source")
    reader = config.reader
    if reader is None:
        scores = [(cls().suits(source), cls.name) for cls in registry.all(Reader)]
        best = max(scores, default=(0, ""))
        if best[0] <= 0:
            missing = isinstance(source, (str, Path)) and not Path(source).exists()
            raise DatasetError(f"{source} does not exist" if missing else f"no reader knows what to do with {str(source)[:200]!r}: name one in dataset.reader ({', '.join(registry.names(Reader))})")
        reader = registry.get(Reader, best[1])()
    dataset = reader.read(source, config.roles)
    table = dataset.samples.table.sort_by("id")
    if config.limit is not None and len(dataset) > config.limit:
        order = np.argsort([hashlib.blake2b(f"{config.seed} {i}".encode("utf-8", "surrogatepass"), digest_size=8).digest() for i in table.column("id").to_pylist()])
        table = table.take(pa.array(np.sort(order[: config.limit])))
    if "content" not in table.column_names:
        table = table.append_column("content", pa.nulls(table.num_rows, pa.string()))
    if table.num_rows == 0:
        raise DatasetError(f"{str(source)[:200]} holds no samples")
    return replace(dataset, samples=Samples(table.combine_chunks()))


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import importlib.metadata

    names = ("numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "opencv-python-headless", "pillow", "torch", "cleanlab", "great-expectations", "albumentations", "prefect")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _readable(samples: Samples, row: int, root: str, decoders: Sequence[Any]) -> bool:
    from dqpipe.errors import MediaError

    try:
        measuring.pixels_of(samples, root, decoders, [samples.ids[row]], "picture")
    except (MediaError, OSError):
        return False
    return True


def _hash(table: Any) -> str:  # noqa: ANN401
    state = hashlib.blake2b(digest_size=16)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.table.schema) as writer:
        writer.write_table(table.table.combine_chunks())
    state.update(sink.getvalue())
    state.update(str(len(table)).encode())
    return state.hexdigest()


def _relabel_queue(samples: Samples, findings: Findings, decisions: Decisions) -> pd.DataFrame:
    """The samples whose label was changed or is in question: id, label, suggestion, confidence, code, decision."""
    from dqpipe.model import label_text

    found = findings.frame()
    found = found[found["suggestion"].notna() & found["id"].notna()][["id", "suggestion", "confidence", "code"]]
    labels = [label_text(v) for v in samples.table.column("label").to_pylist()] if "label" in samples else [None] * len(samples)
    known = pd.DataFrame({"id": samples.ids, "label": labels}).merge(decisions.frame()[["id", "decision"]], on="id")
    queue = known.merge(found, on="id").sort_values(["confidence", "id"], ascending=[False, True], kind="stable")
    return queue[["id", "label", "suggestion", "confidence", "code", "decision"]]


def _no_pixels(ids: Sequence[str], rendition: str = "full") -> list[Any]:  # noqa: ARG001
    raise DatasetError("this dataset has no media")
