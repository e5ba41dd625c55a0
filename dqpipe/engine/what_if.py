"""What another option would decide, from the facts of the published version.

Nothing is read, measured or written.

    Version ──▶ samples, facts, findings, figures ──stages whose options changed detect again──▶
        policy ──▶ gates ──▶ account, difference

Facts do not change with an option that only `detect` reads; nor do the findings of a stage whose
options stay as they are. What would need measuring is refused by name. Vectors, where a stage asks
for them, come from the facts store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config import plan
from dqpipe.config.pipeline_file import Config, Entry, options_record, settle
from dqpipe.config.plan import Plan, Planned
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Figures, Findings, Samples
from dqpipe.engine import comparison, conclusions, curation
from dqpipe.engine.conclusions import Decided, Last
from dqpipe.engine.fact_table import Evidence, sample_keys
from dqpipe.engine.measuring import known_task
from dqpipe.engine.shard import judged
from dqpipe.engine.steps import Step, Steps, Work, run_id
from dqpipe.errors import ConfigError, DatasetError, listed
from dqpipe.plugin.cache_key import Decoding
from dqpipe.plugin.registry import Registry
from dqpipe.results import run_record
from dqpipe.results.diff import Diff, Side, compare
from dqpipe.results.outcome import Beside, Outcome, Usage
from dqpipe.results.run_tables import Tables, unreadable
from dqpipe.results.versions import Version
from dqpipe.storage.fact_store import Store

MEASURES = (
    "`dqpipe run --dry-run` with the same options measures what is missing, and writes nothing but "
    "measured facts"
)


def what_if(config: Config, registry: Registry) -> Outcome:
    """What a config would decide, from the facts of the published version.

    A failed gate does not raise.

    Raises ConfigError for what would need measuring, DatasetError where nothing is published.
    """
    one = WhatIf(config, registry)
    for step in one.steps():
        step.call()
    return one.outcome


class WhatIf:
    """The steps of a what-if, and what they came to."""

    outcome: Outcome

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config, self.registry = settle(config), registry
        self.id, self._started = run_id(), time.time()
        self._steps = Steps(self.id, registry, self._work)
        self._seconds: dict[str, float] = {}
        self._version: Version
        self._changed: frozenset[str] = frozenset()
        self._plan: Plan
        self._raw: Evidence | None = None
        self._failures: dict[tuple[str, str], str] = {}
        self._findings: Findings
        self._figures: Figures
        self._decided: Decided
        self._last = Last(self.config)

    def steps(self) -> Iterator[Step]:
        """The steps, in order; each must be called before the next is asked for."""
        step = self._steps.step
        yield step("read", self._read)
        yield step("detect", self._detect)
        yield step("summarise", self._summarise)
        yield step("decide", self._decide)
        yield step("gates", self._gates)
        yield step("account", self._account)

    def _work(self) -> Work:
        return Work() if self._raw is None else Work(len(self._raw.dataset))

    @property
    def raw(self) -> Evidence:
        """The raw dataset and what the version knows of it."""
        assert self._raw is not None
        return self._raw

    def _read(self) -> None:
        version = self._version = _published(self.config)
        self._changed = changed(self.config, version)
        dataset = dataset_of(version)
        for entry in (*self.config.stages, *self.config.augments):
            if entry.name in self._changed:
                entry.check()
        self._plan = plan.make(self.config, self.registry, dataset)
        for planned in self._plan.stages:
            if planned.name in self._changed and planned.stage.does("compare"):
                raise _refused(
                    f"{planned.name} compares with the version before, which happens in a run only"
                )
        self._raw = Evidence(dataset)
        self._failures = failures(version)
        self.raw.add_known(version.facts)
        self.raw.add_kept(comparison.kept(version))
        self._add_vectors()

    def _add_vectors(self) -> None:
        """Where the vector facts are: a stage gives one for each sample that it could measure."""
        read = np.ones(len(self.raw.samples), dtype=bool)
        if "media.ok" in self.raw.scalars:
            read = pc.fill_null(self.raw.scalars["media.ok"], False).to_numpy(zero_copy_only=False)
        for planned in self._plan.doing("measure"):
            lost = pa.array(
                sorted(
                    {
                        sample
                        for sample, stage in self._failures
                        if stage in (planned.name, "measure")
                    }
                ),
                pa.string(),
            )
            has = read if planned.stage.rendition is not None else np.ones(len(read), dtype=bool)
            has = has & ~pc.is_in(self.raw.samples.table.column("id"), value_set=lost).to_numpy(
                zero_copy_only=False
            )
            for fact in planned.own("measure"):
                if fact.type.startswith("vector"):
                    self.raw.add_vector(
                        f"{planned.name}.{fact.name}",
                        has,
                        partial(self._vectors, planned, fact.name),
                    )

    def _vectors(self, planned: Planned, fact: str, rows: np.ndarray) -> pa.Array:
        """A vector fact of some samples, from the store.

        Raises ConfigError if it is not there any more.
        """
        store = Store(self.config.store)
        task = known_task(store, planned, self.config.seed)
        seen = judged(store, Decoding(self._plan.decoders), self.id).keys_of(
            self.raw.samples.table.column("content").to_pylist()
        )
        keys = sample_keys(task, self.raw.samples.table, seen)
        wanted = [keys[row] for row in rows]
        matrix = (
            store.read_vectors(task.key, wanted, fact)
            if set(wanted) <= store.keys(task.key)
            else None
        )
        if matrix is None:
            raise _refused(
                f"a stage whose options changed looks at {planned.name}.{fact}, which the facts "
                f"store does not hold any more"
            )
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])

    def _detect(self) -> None:
        """Findings as published, but for stages whose options changed."""
        found = self._version.findings.table
        stays = [not self._anew(code) for code in found.column("code").to_pylist()]
        tables = [found.filter(pa.array(stays, pa.bool_()))]
        for planned in self._again("detect"):
            began = time.perf_counter()
            tables.append(conclusions.detected(planned, self.raw))
            self._seconds[f"{planned.name} detect"] = time.perf_counter() - began
        self._findings = conclusions.findings_of(tables)

    def _anew(self, code: str) -> bool:
        """Whether the published findings of this code do not count.

        Their stage says anew what it claims, or is gone.
        """
        stage, _, claim = code.rpartition(".")
        return (
            claim != "failed"
            and code != plan.DOUBT
            and (
                stage in self._changed
                or all(stage != planned.name for planned in self._plan.stages)
            )
        )

    def _summarise(self) -> None:
        """Figures of the raw set: as published, but for stages whose options changed."""
        again = self._again("summarise")
        known = {planned.name for planned in self._plan.stages} - {
            planned.name for planned in again
        }
        table = self._version.figures.table
        of = [
            of == "raw" and name.rpartition(".")[0] in known
            for of, name in zip(
                *(table.column(n).to_pylist() for n in ("of", "figure")), strict=True
            )
        ]
        decoders = self._plan.decoders
        anew = [conclusions.summarised(planned, self.raw, "raw", decoders) for planned in again]
        self._figures = Figures(pa.concat_tables([table.filter(pa.array(of, pa.bool_())), *anew]))

    def _again(self, method: str) -> list[Planned]:
        """The stages whose options changed, as far as they answer a method.

        Raises ConfigError where a fact is not known.
        """
        stages = [planned for planned in self._plan.doing(method) if planned.name in self._changed]
        for planned in stages:
            missing = [
                name
                for name in (
                    *planned.facts,
                    *planned.required,
                    *(f"{planned.name}.{f.name}" for f in planned.own()),
                )
                if not self.raw.knows(name)
            ]
            if missing:
                raise _refused(
                    f"{planned.name} looks at {missing[0]}, which the published version does not "
                    f"hold"
                )
        return stages

    def _decide(self) -> None:
        store = Store(self.config.store)
        self._decided = conclusions.decided(
            self._plan, self.raw, self._findings, store, self._last.version
        )
        self._figures = Figures(pa.concat_tables([self._figures.table, self._decided.figures]))

    def _gates(self) -> None:
        raw, facts, decided = self.raw, self.raw.facts(), self._decided
        made_by = self._plan.made_by(self._plan.record()["stages"])
        tables = Tables(
            raw.samples,
            self._findings,
            decided.decisions,
            None,
            self._figures,
            unread=unreadable(facts),
            made_by=made_by,
            verdicts=decided.rulings.record,
        )
        said = conclusions.judged(self._plan, tables, self._last)
        curated = curation.kept(
            conclusions.arranged(self._plan, raw),
            decided.decisions,
            hold=self.config.policy.extension.hold,
        )
        self.outcome = Outcome(
            id=self.id,
            started=self._started,
            source=self.config.source,
            writes=False,
            plan=self._plan,
            registry=self.registry,
            dataset=raw.dataset,
            facts=facts,
            vectors={},
            has=raw.presence(),
            findings=self._findings,
            figures=self._figures,
            decisions=decided.decisions,
            curated=curated,
            failures=self._failures,
            gates=said.gates,
            asks=said.asks,
            people=decided.people(raw.samples),
            beside=Beside(self._last.version, news=said.news, of_new=said.of_new),
            version=self.id,
            from_facts=True,
        )

    def _account(self) -> None:
        """The account, without a map of the embedding."""
        known = replace(self.outcome, usage=Usage(tuple(self._steps.timings), self._seconds))
        self.outcome = replace(known, record=run_record.of_run(known))


def _published(config: Config) -> Version:
    """The version whose facts are used. Raises DatasetError where there is none."""
    try:
        return Version.open(config.out)
    except DatasetError as error:
        raise DatasetError(f"{error}: run the pipeline once, then ask what would be") from None


def dataset_of(version: Version) -> Dataset:
    """The raw samples of a version with what it kept of their own columns. Raises DatasetError."""
    table, shown = version.samples.table, version.shown
    for name in shown.column_names:
        if name not in table.column_names:
            table = table.append_column(name, shown.column(name))
    root = (shown.schema.metadata or {}).get(b"root", b"")
    layout = {
        name: version.record[name] for name in ("recognised", "skipped") if version.record.get(name)
    }
    return Dataset(Samples(table), root=root.decode("utf-8", "surrogateescape"), layout=layout)


def changed(config: Config, version: Version) -> frozenset[str]:
    """The stages with another option of `detect` than in a version.

    Raises ConfigError where more than that is different.
    """
    was, now = version.record["config"], config.record()
    for name in ("path", "reader", "roles", "labels", "limit", "outside"):
        before = was["dataset"].get(name, "refuse" if name == "outside" else None)
        if before != now["dataset"].get(name):
            raise _refused(
                f"dataset.{name} is {now['dataset'].get(name)!r}; the published version was made "
                f"with {before!r}"
            )
    if was["seed"] != now["seed"]:
        raise _refused(f"seed is {now['seed']}; the published version was made with {was['seed']}")
    stages = {stage["name"]: stage for stage in version.record["stages"]}
    found = [_compared(entry, stages.get(entry.name)) for entry in config.stages]
    for entry in config.augments:
        if options := _differing(entry, stages.get(entry.name)):
            raise _refused(
                f"{entry.name}.{options[0]} is about new samples, which only a run makes"
            )
    return frozenset(
        entry.name for entry, differs in zip(config.stages, found, strict=True) if differs
    )


def _compared(entry: Entry, was: Mapping[str, Any] | None) -> bool:
    """Whether `detect` has to speak again. Raises ConfigError where the facts would be others."""
    if was is None:
        raise _refused(f"the stage {entry.name} is new: it has measured nothing yet")
    if (was["stage"], was["version"]) != (entry.extension.name, entry.extension.version):
        now = f"{entry.extension.name} version {entry.extension.version}"
        raise _refused(
            f"{entry.name} is {now} now; the published version was made by {was['stage']} version "
            f"{was['version']}"
        )
    options = _differing(entry, was)
    early = [
        name
        for name in options
        if name not in set(entry.extension.options()) - set(entry.extension.at("relate").options())
    ]
    if early:
        which = listed([f"{entry.name}.{name}" for name in early])
        raise _refused(f"{which} changes facts, not only what is claimed of them")
    return bool(options)


def _differing(entry: Entry, was: Mapping[str, Any] | None) -> list[str]:
    """The options that are not as they were."""
    now, before = options_record(entry.extension), dict(was["options"]) if was else {}
    return sorted(
        name
        for name in {**now, **before}
        if name not in now or name not in before or now[name] != before[name]
    )


def _refused(why: str) -> ConfigError:
    return ConfigError(f"{why}: it cannot be told from the facts that there are. {MEASURES}")


def failures(version: Version) -> dict[tuple[str, str], str]:
    """(sample, stage) → why that stage could not measure it, as a version says."""
    table = version.findings.table
    table = table.filter(
        pc.and_(pc.ends_with(table.column("code"), ".failed"), pc.is_valid(table.column("id")))
    )
    return {
        (row["id"], row["code"].rpartition(".")[0]): row["detail"] or ""
        for row in table.to_pylist()
    }


def difference(run: Outcome) -> tuple[str, Diff] | None:
    """What a run that published nothing decides otherwise than the published version, and that
    version; None where there is none. New samples are left out.

    Raises DatasetError where the published version cannot be read.
    """
    version = run.beside.last
    if version is None:
        return None
    now = {**run.plan.record(), "seed": run.config.seed}
    made = version.record if run.from_facts else run.record["run"]
    now |= {name: made.get(name) for name in ("dqpipe", "lineage", "versions")}
    before = Side(version.samples, _made_out(version.curated), version.decisions, version.record)
    return version.id, compare(
        before, Side(run.samples, _made_out(run.curated.samples), run.decisions, now)
    )


def _made_out(curated: Samples) -> Samples:
    """The curated samples without new ones."""
    return Samples(curated.table.filter(pc.is_null(curated.table.column("parent"))))
