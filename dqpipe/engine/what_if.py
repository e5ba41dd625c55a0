"""What another option would decide, from the facts of the published version: nothing is read, measured or written.

    Version ──▶ samples, facts, findings, figures ──stages whose options changed detect again──▶ policy ──▶ gates ──▶ account, difference

Facts do not change with an option that only `detect` reads; nor do the findings of a stage whose options stay as they are.
What would need measuring is refused by name. Vectors, where a stage asks for them, come from the facts store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config import plan
from dqpipe.config.pipeline_file import Config, Entry, options_record
from dqpipe.config.plan import Planned
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Figures, Findings, Samples
from dqpipe.engine import comparison, run_record
from dqpipe.engine.fact_table import Evidence, sample_keys
from dqpipe.engine.measuring import Survey, known_task
from dqpipe.engine.run import FOUND_ORDER, Run, Step
from dqpipe.engine.shard import judged
from dqpipe.errors import ConfigError, DatasetError, listed
from dqpipe.execution.local import Serial
from dqpipe.plugin.cache_key import Decoding
from dqpipe.plugin.registry import Registry
from dqpipe.results.diff import Diff, Side, compare
from dqpipe.results.versions import Version
from dqpipe.storage.fact_store import Store

MEASURES = "`dqpipe run --dry-run` with the same options measures what is missing, and writes nothing but measured facts"


class WhatIf(Run):
    """A run from the facts of the published version. Raises ConfigError for what would need measuring, DatasetError where nothing is published."""

    def __init__(self, config: Config, registry: Registry) -> None:
        super().__init__(config, registry, Serial(), writes=False)

    @cached_property
    def version_used(self) -> Version:
        """The version whose facts are used."""
        try:
            return Version.open(self.config.out)
        except DatasetError as error:
            raise DatasetError(f"{error}: run the pipeline once, then ask what would be") from None

    def steps(self) -> Iterator[Step]:
        """The steps, in order."""
        yield self._step("read", self._read)
        yield self._step("detect", self._detect)
        yield self._step("summarise", self._summarised)
        yield self._step("decide", self._decide)
        yield self._step("gates", self._gates)
        yield self._step("account", self._accounted)

    def close(self) -> None:
        """There is nothing that could be left behind."""

    def _read(self) -> None:
        version = self.version_used
        self.changed = changed(self.config, version)
        dataset = dataset_of(version)
        for entry in (*self.config.stages, *self.config.augments):
            if entry.name in self.changed:
                entry.check()
        self.plan = plan.make(self.config, self.registry, dataset)
        for planned in self.plan.stages:
            if planned.name in self.changed and planned.stage.does("compare"):
                raise _refused(f"{planned.name} compares with the version before, which happens in a run only")
        self.raw = Evidence(dataset)
        self.survey = Survey(self)
        self.survey.failures = failures(version)
        self.raw.add_known(version.facts)
        self.raw.add_kept(comparison.kept(version))
        self._add_vectors()

    def _add_vectors(self) -> None:
        """Where the vector facts are: a stage gives one for each sample that it could measure."""
        read = np.ones(len(self.raw.samples), dtype=bool)
        if "media.ok" in self.raw.scalars:
            read = pc.fill_null(self.raw.scalars["media.ok"], False).to_numpy(zero_copy_only=False)
        for planned in self.plan.doing("measure"):
            lost = pa.array(sorted({sample for sample, stage in self.survey.failures if stage in (planned.name, "measure")}), pa.string())
            has = read if planned.stage.rendition is not None else np.ones(len(read), dtype=bool)
            has = has & ~pc.is_in(self.raw.samples.table.column("id"), value_set=lost).to_numpy(zero_copy_only=False)
            for fact in planned.own("measure"):
                if fact.type.startswith("vector"):
                    self.raw.add_vector(f"{planned.name}.{fact.name}", has, partial(self._vectors, planned, fact.name))

    def _vectors(self, planned: Planned, fact: str, rows: np.ndarray) -> pa.Array:
        """A vector fact of some samples, from the store. Raises ConfigError if it is not there any more."""
        store = Store(self.config.store)
        task = known_task(store, planned, self.config.seed)
        seen = judged(store, Decoding(self.plan.decoders), self.id).keys_of(self.raw.samples.table.column("content").to_pylist())
        keys = sample_keys(task, self.raw.samples.table, seen)
        wanted = [keys[row] for row in rows]
        matrix = store.read_vectors(task.key, wanted, fact) if set(wanted) <= store.keys(task.key) else None
        if matrix is None:
            raise _refused(f"a stage whose options changed looks at {planned.name}.{fact}, which the facts store does not hold any more")
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])

    def _detect(self) -> None:
        found = self.version_used.findings.table
        stays = [not self._anew(code) for code in found.column("code").to_pylist()]
        tables = [found.filter(pa.array(stays, pa.bool_()))]
        tables += [self._found(planned) for planned in self._again("detect")]
        self.findings = Findings(pa.concat_tables(tables).sort_by(FOUND_ORDER))

    def _anew(self, code: str) -> bool:
        """Whether the published findings of this code do not count: their stage says anew what it claims, or is gone."""
        stage, _, claim = code.rpartition(".")
        return claim != "failed" and code != plan.DOUBT and (stage in self.changed or all(stage != planned.name for planned in self.plan.stages))

    def _summarised(self) -> None:
        """Figures of the raw set: as published, but for stages whose options changed."""
        again = {planned.name for planned in self._again("summarise")}
        known = {planned.name for planned in self.plan.stages} - again
        table = self.version_used.figures.table
        of = [of == "raw" and name.rpartition(".")[0] in known for of, name in zip(*(table.column(n).to_pylist() for n in ("of", "figure")), strict=True)]
        whole, self.figures = table.filter(pa.array(of, pa.bool_())), Figures(table.slice(0, 0))
        every, self.plan = self.plan, self.plan.only(again)
        self._summarise(self.raw, "raw")
        self.plan = every
        self.figures = Figures(pa.concat_tables([whole, self.figures.table]))

    def _accounted(self) -> None:
        """The account, without a map of the embedding."""
        self.raw.drop_vectors()
        self._account()

    def _again(self, method: str) -> list[Planned]:
        """The stages whose options changed, as far as they answer a method. Raises ConfigError where a fact is not known."""
        stages = [planned for planned in self.plan.doing(method) if planned.name in self.changed]
        for planned in stages:
            missing = [name for name in (*planned.facts, *planned.required, *(f"{planned.name}.{f.name}" for f in planned.own())) if not self.raw.knows(name)]
            if missing:
                raise _refused(f"{planned.name} looks at {missing[0]}, which the published version does not hold")
        return stages


def dataset_of(version: Version) -> Dataset:
    """The raw samples of a version with what it kept of their own columns. Raises DatasetError."""
    table, shown = version.samples.table, version.shown
    for name in shown.column_names:
        if name not in table.column_names:
            table = table.append_column(name, shown.column(name))
    root = (shown.schema.metadata or {}).get(b"root", b"")
    return Dataset(Samples(table), root=root.decode("utf-8", "surrogateescape"))


def changed(config: Config, version: Version) -> frozenset[str]:
    """The stages with another option of `detect` than in a version. Raises ConfigError where more than that is different."""
    was, now = version.record["config"], config.record()
    for name in ("path", "reader", "roles", "labels", "limit", "outside"):
        before = was["dataset"].get(name, "refuse" if name == "outside" else None)
        if before != now["dataset"].get(name):
            raise _refused(f"dataset.{name} is {now['dataset'].get(name)!r}; the published version was made with {before!r}")
    if was["seed"] != now["seed"]:
        raise _refused(f"seed is {now['seed']}; the published version was made with {was['seed']}")
    stages = {stage["name"]: stage for stage in version.record["stages"]}
    found = [_compared(entry, stages.get(entry.name)) for entry in config.stages]
    for entry in config.augments:
        if options := _differing(entry, stages.get(entry.name)):
            raise _refused(f"{entry.name}.{options[0]} is about new samples, which only a run makes")
    return frozenset(entry.name for entry, differs in zip(config.stages, found, strict=True) if differs)


def _compared(entry: Entry, was: Mapping[str, Any] | None) -> bool:
    """Whether `detect` has to speak again. Raises ConfigError where the facts would be others."""
    if was is None:
        raise _refused(f"the stage {entry.name} is new: it has measured nothing yet")
    if (was["stage"], was["version"]) != (entry.extension.name, entry.extension.version):
        now = f"{entry.extension.name} version {entry.extension.version}"
        raise _refused(f"{entry.name} is {now} now; the published version was made by {was['stage']} version {was['version']}")
    options = _differing(entry, was)
    early = [name for name in options if name not in set(entry.extension.options()) - set(entry.extension.at("relate").options())]
    if early:
        which = listed([f"{entry.name}.{name}" for name in early])
        raise _refused(f"{which} changes facts, not only what is claimed of them")
    return bool(options)


def _differing(entry: Entry, was: Mapping[str, Any] | None) -> list[str]:
    """The options that are not as they were."""
    now, before = options_record(entry.extension), dict(was["options"]) if was else {}
    return sorted(name for name in {**now, **before} if name not in now or name not in before or now[name] != before[name])


def _refused(why: str) -> ConfigError:
    return ConfigError(f"{why}: it cannot be told from the facts that there are. {MEASURES}")


def failures(version: Version) -> dict[tuple[str, str], str]:
    """(sample, stage) → why that stage could not measure it, as a version says."""
    table = version.findings.table
    table = table.filter(pc.and_(pc.ends_with(table.column("code"), ".failed"), pc.is_valid(table.column("id"))))
    return {(row["id"], row["code"].rpartition(".")[0]): row["detail"] or "" for row in table.to_pylist()}


def difference(run: Run) -> tuple[str, Diff] | None:
    """What a run that published nothing decides otherwise than the published version, and that version; None where there is none. New samples are left out.

    Raises DatasetError where the published version cannot be read.
    """
    version = run.last
    if version is None:
        return None
    now = {**run.plan.record(), "seed": run.config.seed, **{name: version.record.get(name) for name in ("dqpipe", "lineage", "versions")}}
    if not isinstance(run, WhatIf):
        now |= {"dqpipe": run_record.run_record(run)["dqpipe"], "lineage": run_record.lineage(run), "versions": run_record.library_versions()}
    before = Side(version.samples, _made_out(version.curated), version.decisions, version.record)
    return version.id, compare(before, Side(run.raw.samples, _made_out(run.outcome()[0]), run.decisions, now))


def _made_out(curated: Samples) -> Samples:
    """The curated samples without new ones."""
    return Samples(curated.table.filter(pc.is_null(curated.table.column("parent"))))
