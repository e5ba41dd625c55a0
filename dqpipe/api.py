"""The Python door: `curate`, `check`, `Pipeline`, and the Result they return."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqpipe.config import pipeline_file as configs
from dqpipe.config import plan as plans
from dqpipe.config.pipeline_file import Config
from dqpipe.data import notebook_html
from dqpipe.data.labels import Kind
from dqpipe.data.tables import DECISIONS
from dqpipe.engine import starter_config
from dqpipe.engine.run import Run, read
from dqpipe.engine.what_if import what_if
from dqpipe.errors import ConfigError, DatasetError, GateError, OutputError, printable
from dqpipe.execution import decoding
from dqpipe.execution.by_name import Cluster, executor_named
from dqpipe.execution.local import Processes
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.kinds import Executor
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Extension, Pixels, View
from dqpipe.results.gallery import Gallery, ReportPage, strongest
from dqpipe.results.outcome import Outcome
from dqpipe.storage.location import is_url

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Result:
    """What a run came to: its tables as DataFrames, its account, and where it was written.

    `samples`, `facts` (without vectors), `findings`, `figures`, `decisions` are of the raw dataset;
    `curated` are the kept and the new samples, `ledger` says for each sample why it is where it is.
    """

    samples: pd.DataFrame
    facts: pd.DataFrame
    findings: pd.DataFrame
    figures: pd.DataFrame
    decisions: pd.DataFrame
    curated: pd.DataFrame
    ledger: pd.DataFrame
    record: Mapping[str, Any]
    gates: tuple[Mapping[str, Any], ...]
    path: Path | str | None
    """The published version's folder, or its URL; None for a check."""
    pixels: Pixels | None = None
    """`pixels(ids)` decodes raw samples again; None where there are no media."""

    @property
    def account(self) -> list[str]:
        """The run in plain sentences."""
        from dqpipe.results.report import account

        return account(self.record)

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate["passed"] for gate in self.gates)

    @property
    def report(self) -> ReportPage:
        """The page: `.path`, `.open()`."""
        where = (
            self.path / "report.html"
            if isinstance(self.path, Path)
            else f"{self.path}/report.html"
            if self.path
            else None
        )
        return ReportPage(where)

    def to_hf(self) -> Any:  # noqa: ANN401 (a Dataset or DatasetDict, where that library is installed)
        """The curated set as Hugging Face's library loads it, with its features and splits.

        Raises DatasetError where the data did not come from it, or nothing was published.
        """
        folder = self.path / "curated" if isinstance(self.path, Path) else None
        if folder is None or not any((folder / name).is_file() for name in HUGGING_FACE):
            raise DatasetError(
                "no curated set of Hugging Face's was published: to_hf() gives back what came as "
                "a Dataset, a DatasetDict, or a folder of save_to_disk"
            )
        from datasets import load_from_disk

        return load_from_disk(str(folder))

    def show(self, code: str, n: int = 12) -> Gallery:
        """The n strongest findings of a claim, as a gallery in a notebook.

        Raises DatasetError where nothing was found of it.
        """
        claims = [
            row["code"] for stage in self.record["counts"]["stages"] for row in stage["codes"]
        ]
        return strongest(
            code,
            n,
            {"samples": self.samples, "findings": self.findings, "decisions": self.decisions},
            self.pixels,
            claims,
        )

    def _repr_html_(self) -> str:
        told = self.record["account"]
        codes = [
            row
            for stage in self.record["counts"]["stages"]
            for row in stage["codes"]
            if row["findings"]
        ]
        columns = ("code", "severity", "samples", *DECISIONS)
        found = notebook_html.table(
            columns,
            (
                [
                    row["code"],
                    row["severity"],
                    row["samples"],
                    *(row["decisions"][name] for name in DECISIONS),
                ]
                for row in codes
            ),
        )
        said = (
            notebook_html.listing([*told["alerts"], *told["said"]]),
            "<p>What to do next</p>",
            notebook_html.listing(told["next"]),
        )
        where = self.report._repr_html_()
        return notebook_html.titled("dqpipe.Result", *said, found, where)

    def __repr__(self) -> str:
        where = f"\n  in {self.path}" if self.path else ""
        return "dqpipe.Result\n  " + "\n  ".join(map(printable, self.account)) + where


HUGGING_FACE = ("dataset_dict.json", "dataset_info.json")
"""What one of lies in a folder that Hugging Face's library saved."""
SAVED = ".saved-by-dqpipe"
"""Marks a folder that a Dataset in memory was saved to."""
StageEntry = str | Mapping[str, Any] | Extension
"""A stage by its name, as {name: options}, or made with its options."""


def _entry(stage: StageEntry) -> str | dict[str, Any]:
    """A stage as an entry of pipeline.yaml."""
    if isinstance(stage, Extension):
        return {stage.name: configs.options_record(stage)}
    return stage if isinstance(stage, str) else dict(stage)


def _with(text: str, given: Mapping[str, Any]) -> str:
    """A pipeline.yaml with these sections instead of its own; None leaves one as it is."""
    import yaml

    sections = {name: value for name, value in given.items() if value is not None}
    if not sections:
        return text
    values = yaml.safe_load(text)
    if "stages" in sections:
        del values["gates"]  # without any, the default ones that these stages allow
    return yaml.safe_dump({**values, **sections}, allow_unicode=True, sort_keys=False)


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A pipeline that can run: a checked config and the plugins it was built with."""

    config: Config
    registry: Registry

    @classmethod
    def from_yaml(
        cls, path: str | Path, *, without: Iterable[str] = (), changes: Iterable[str] = ()
    ) -> Pipeline:
        """The pipeline of a file, with `changes` such as "label_noise.at_least=0.9".

        Raises ConfigError, PluginError.
        """
        registry = plugins.load(without)
        return cls(configs.load(path, registry, tuple(changes)), registry)

    @classmethod
    def from_text(
        cls, text: str, *, base: str | Path | None = None, registry: Registry | None = None
    ) -> Pipeline:
        """The pipeline of a YAML text; relative paths start from `base`.

        Raises ConfigError, PluginError.
        """
        registry = registry or plugins.load()
        return cls(
            configs.parse(text, registry, base=None if base is None else Path(base).absolute()),
            registry,
        )

    @classmethod
    def proposed(
        cls,
        source: Any,  # noqa: ANN401
        *,
        roles: Mapping[str, str] | None = None,
        registry: Registry | None = None,
        seed: int = 0,
        outside: bool = False,
        format: str = "",  # noqa: A002
        labels: Kind | None = None,
        stages: Iterable[StageEntry] | None = None,
        policy: Mapping[str, Any] | None = None,
        gates: Iterable[str] | str | None = None,
        options: Mapping[str, Any] | None = None,
        **outputs: Any,  # noqa: ANN401
    ) -> Pipeline:
        """The pipeline that `dqpipe init` would write for a source (a path, a DataFrame).

        `outputs` as in its section. Raises DatasetError, ConfigError.

        `format` names the reader of the source where it shall not be found out, or can be read in
        several ways. `stages`, `policy` and `gates` take the place of those that would be proposed:
        stages by name, as {name: options}, or made (`dqpipe.stages.LabelNoise(at_least=0.9)`).
        `options` changes single ones, such as {"label_noise.at_least": 0.9}.
        """
        registry = registry or plugins.load()
        text = starter_config.pipeline_yaml(
            registry,
            source,
            roles or {},
            seed=seed,
            outside=outside,
            labels=labels,
            outputs=outputs,
            reader=format,
        )
        given = {
            "stages": None if stages is None else [_entry(stage) for stage in stages],
            "policy": None if policy is None else dict(policy),
            "gates": [gates] if isinstance(gates, str) else None if gates is None else [*gates],
        }
        changes = [
            f"{name}={json.dumps(configs.plain(value))}" for name, value in (options or {}).items()
        ]
        config = configs.parse(
            _with(text, given), registry, name="proposed pipeline", changes=changes
        )
        return cls(replace(config, source=source), registry)

    def to_yaml(self) -> str:
        """The pipeline.yaml of this pipeline, every option filled in.

        A dataset that is no path (a DataFrame) is left out, and given when the file is run.
        """
        import yaml

        values = self.config.record()
        if not isinstance(self.config.source, str | Path):
            del values["dataset"]["path"]
        entries = (*self.config.stages, *self.config.augments)
        values["stages"] = [
            {
                entry.extension.name: configs.options_record(entry.extension)
                | ({"as": entry.name} if entry.name != entry.extension.name else {})
            }
            for entry in entries
        ]
        policy = self.config.policy
        use = {} if policy.name == "policy" else {"use": policy.name}
        values["policy"] = use | configs.options_record(policy.extension)
        for section in ("dataset", "outputs"):
            told = values[section].items()
            values[section] = {name: value for name, value in told if value not in (None, {})}
        return yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=100)

    def run(
        self,
        executor: Executor | str | None = None,
        *,
        source: Any = None,  # noqa: ANN401
        shard_size: int | None = None,
        force: bool = False,
        rehash: bool = False,
    ) -> Result:
        """Run everything and publish.

        Raises DqpipeError; GateError after the report was written.
        """
        outcome = self.drive(
            executor, source=source, shard_size=shard_size, force=force, rehash=rehash
        )
        outcome.raise_for_gates()
        return result_of(outcome)

    def check(
        self,
        executor: Executor | str | None = None,
        *,
        source: Any = None,  # noqa: ANN401
        shard_size: int | None = None,
    ) -> Result:
        """Run without curating: findings, decisions and gates, nothing written but measured facts.

        A failed gate does not raise.
        """
        return result_of(self.drive(executor, source=source, shard_size=shard_size, writes=False))

    def drive(
        self,
        executor: Executor | str | None = None,
        *,
        source: Any = None,  # noqa: ANN401
        flow: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> Outcome:
        """What a run came to, as a flow if that is asked for or its executor is a cluster.

        A failed gate does not raise, see `Outcome.raise_for_gates`.
        """
        chosen = (
            executor_named(executor, self.registry)
            if isinstance(executor, str)
            else executor or Processes()
        )
        if flow or isinstance(chosen, Cluster):
            from dqpipe.flow import run_flow

            return run_flow(
                self
                if source is None
                else replace(self, config=replace(self.config, source=source)),
                executor=chosen,
                **options,
            )
        run = Run(self.config, self.registry, chosen, source=source, **options)
        with contextlib.suppress(GateError):
            return run.run()
        assert run.outcome is not None
        return run.outcome

    def what_if(self) -> Outcome:
        """What the pipeline would decide, from the facts of the published version (see
        `dqpipe.engine.what_if`). Raises ConfigError, DatasetError.
        """
        return what_if(self.config, self.registry)

    def dataset(self) -> Any:  # noqa: ANN401
        """The dataset of the config, read but not measured. Raises DatasetError."""
        return read(self.config, self.registry, self.config.source)

    def plan(self) -> plans.Plan:
        """The plan, checked against the dataset. Raises PlanError."""
        return plans.make(self.config, self.registry, self.dataset())


def _saved(source: Any, folder: Path) -> Any:  # noqa: ANN401
    """The folder that a Dataset or DatasetDict of Hugging Face was saved to; else the source.


    Raises OutputError where something else lies there.
    """
    if not callable(getattr(source, "save_to_disk", None)):
        return source
    import shutil

    if folder.exists() and not (folder / SAVED).is_file():
        raise OutputError(f"{folder} is where the dataset is saved, and holds something else")
    spare = folder.with_name(f".{folder.name}-saving")
    if (spare / SAVED).is_file():
        shutil.rmtree(spare)
    spare.mkdir(parents=True)
    (spare / SAVED).touch()
    source.save_to_disk(str(spare / "data"))
    if folder.exists():
        shutil.rmtree(folder)
    spare.rename(folder)
    return folder / "data"


def curate(
    source: Any,  # noqa: ANN401
    out: str | Path,
    *,
    force: bool = False,
    executor: Executor | str | None = None,
    roles: Mapping[str, str] | None = None,
    files: str = "copy",
    seed: int = 0,
    outside: bool = False,
    format: str = "",  # noqa: A002
    labels: Kind | None = None,
    stages: Iterable[StageEntry] | None = None,
    policy: Mapping[str, Any] | None = None,
    gates: Iterable[str] | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Result:
    """Curate a dataset in any format that is known, or a DataFrame, with the proposed pipeline.

    A Dataset or DatasetDict of Hugging Face is saved beside the output first, as OUT-source, where
    report and review find it later; `Result.to_hf` gives the curated one back. Raises DqpipeError.

    The format is recognised from what is there, and `format` names it where several are possible:
    `dqpipe plugins` lists the readers. Media outside the dataset's folder are left alone unless
    `outside` allows them; those of a DataFrame may lie anywhere. `labels` says what the labels are
    (class, tags, number, objects, mask, none) where their column does not tell it right. `stages`,
    `policy`, `gates` and `options` are as those of `Pipeline.proposed`:

    >>> dqpipe.curate(
    ...     "photos/",
    ...     out="curated/",
    ...     stages=[dqpipe.stages.Duplicates(threshold=0.7), dqpipe.stages.ImageQuality()],
    ...     policy={"relabel": {"at_least": 0.95}},
    ...     gates=["curated samples < 1000"],
    ... )  # doctest: +SKIP
    """
    place = str(out) if is_url(out) else str(Path(out).absolute())
    if is_url(out) and hasattr(source, "save_to_disk"):
        raise ConfigError("a Dataset in memory is saved beside the output, which is a URL here")
    source = source if is_url(out) else _saved(source, Path(f"{place}-source"))
    return Pipeline.proposed(
        source,
        roles=roles,
        seed=seed,
        outside=outside,
        format=format,
        labels=labels,
        stages=stages,
        policy=policy,
        gates=gates,
        options=options,
        path=place,
        files=files,
    ).run(executor, force=force)


def check(
    source: Any,  # noqa: ANN401
    *,
    gates: Iterable[str] | str | None = None,
    executor: Executor | str | None = None,
    roles: Mapping[str, str] | None = None,
    outside: bool = False,
    format: str = "",  # noqa: A002
    labels: Kind | None = None,
    stages: Iterable[StageEntry] | None = None,
    policy: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
) -> Result:
    """Look at a dataset with the proposed pipeline and its gates, or these; nothing is curated.

    `stages`, `policy`, `gates` and `options` are as those of `Pipeline.proposed`. Measured facts
    are kept in the folder `store` where one is named, so that the next check of these data measures
    only what is new. Raises DqpipeError; a failed gate does not raise.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="dqpipe-") as folder:
        source = _saved(source, Path(folder, "source"))
        kept: dict[str, Any] = {} if store is None else {"store": str(Path(store).absolute())}
        return Pipeline.proposed(
            source,
            roles=roles,
            outside=outside,
            format=format,
            labels=labels,
            stages=stages,
            policy=policy,
            gates=gates,
            options=options,
            path=str(Path(folder, "out")),
            **kept,
        ).check(executor)


def result_of(run: Outcome) -> Result:
    """The Result of a finished run."""
    from dqpipe.results.run_record import ledger_of

    return Result(
        samples=run.samples.frame(),
        facts=run.facts.frame(),
        findings=run.findings.frame(),
        figures=run.figures.frame(),
        decisions=run.decisions.frame(),
        curated=run.curated.samples.frame(),
        ledger=ledger_of(run).to_pandas(),
        record=run.record,
        gates=run.gates,
        path=run.published,
        pixels=decoding.Rereader(
            run.dataset, run.plan.decoders, {}, "show", views=run.registry.instances(View)
        )
        if run.dataset.has_media
        else None,
    )
