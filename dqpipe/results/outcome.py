"""What a run came to: the one record that report, ledger, artifacts, what-if and `dqpipe.Result`
read.

    Run ──steps──▶ Outcome ──▶ report and run.json · ledger · card · artifacts of a flow · exit code
    what_if ─────▶

It is made when the gates are judged, and made anew (never changed) with what comes later: its
record for reports, the version's name, and where that was published.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe.config.pipeline_file import Config
from dqpipe.config.plan import Plan
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples
from dqpipe.data.version_comparison import Since
from dqpipe.errors import ApprovalError, GateError
from dqpipe.plugin.registry import Registry
from dqpipe.results.report.embedding import Embedding
from dqpipe.results.versions import Version

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Usage:
    """What a run measured and took."""

    timings: tuple[Mapping[str, Any], ...] = ()
    """A row for each step so far: its name, seconds, samples, and what it used."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds of measuring by stage, summed over workers, and of detecting by "<stage> detect"."""
    measured: Mapping[str, int] = field(default_factory=dict)
    """Samples that each stage measured anew."""
    rereads: dict[str, int] = field(default_factory=dict)
    """Media that were decoded again, by what asked for them; later readers count here too."""


@dataclass(frozen=True)
class People:
    """What people said about samples, as far as it counts in this run."""

    verdicts: Mapping[str, Any] | None = None
    """Counts of verdicts, as run.json has them; None where there are none."""
    ledger: pd.DataFrame | None = None
    """Rows of the ledger for samples that people ruled on."""
    moved: Mapping[Any, str] = field(default_factory=dict)
    """What a verdict is about → the content that this sample has now."""
    audits: tuple[Mapping[str, Any], ...] = ()
    """The precision of each claim that people audited, with a sentence that says it."""


@dataclass(frozen=True)
class Beside:
    """A run beside the version published last."""

    last: Version | None = None
    """None where nothing is published, or it cannot be read."""
    version: str | None = None
    """The version that stages compare with; None where no stage compares."""
    why_not: str = ""
    """Why that comparison is impossible."""
    since: Since | None = None
    """What the stages compared."""
    news: tuple[Mapping[str, Any], ...] = ()
    """What a person must know, the gravest first (see `dqpipe.results.news`)."""
    of_new: tuple[Mapping[str, Any], ...] = ()
    """Each finding among new and replaced samples."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """A run whose gates are judged. Tables are of the raw dataset unless they say otherwise."""

    id: str
    """The run's."""
    started: float
    """Seconds since 1970."""
    source: object
    """What was read: a path, a URL, or an object in memory."""
    writes: bool
    """Whether the run makes a version; a check and a what-if do not."""
    plan: Plan
    registry: Registry
    dataset: Dataset
    """The raw dataset, with the content of each sample where it could be read."""
    facts: Facts
    """Scalar facts with their id, one row per sample."""
    vectors: Mapping[str, Embedding]
    """Vector facts by full name, read when they are asked for."""
    has: Mapping[str, np.ndarray]
    """Facts by full name → [n] bool: which samples have one."""
    findings: Findings
    figures: Figures
    """Of the raw set, and of the curated one where that was measured."""
    decisions: Decisions
    curated: Dataset
    """The kept samples and, where the run makes a version, the new ones (with `parent`)."""
    failures: Mapping[tuple[str, str], str]
    """(sample, stage) → why that stage could not measure it."""
    gates: tuple[Mapping[str, Any], ...]
    """The record of each gate: gate, state, passed, judged, value, said."""
    asks: tuple[str, ...] = ()
    """What a person is asked before the version is published."""
    people: People = People()
    beside: Beside = Beside()
    usage: Usage = Usage()
    modality: str = ""
    """What most media are, as their decoder says; "" where it does not, or there are none."""
    version: str = ""
    """The name of the version; the run's id until it has one."""
    parent: str | None = None
    """The version published before, where this run makes one."""
    unchanged: str | None = None
    """The version that is published, or waits, where it is what this run would publish."""
    from_facts: bool = False
    """Whether nothing was measured: a what-if, from the facts of the published version."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The account as JSON values (see `dqpipe.results.report`); empty until it is made."""
    published: Path | str | None = None
    """The version's folder or URL; None where the run made no version."""

    @property
    def config(self) -> Config:
        """The config as it was run."""
        return self.plan.config

    @property
    def samples(self) -> Samples:
        """The raw samples."""
        return self.dataset.samples

    @property
    def added(self) -> Samples:
        """The new samples of the curated set."""
        table = self.curated.samples.table
        return Samples(table.filter(table.column("parent").is_valid()))

    @property
    def measured(self) -> Mapping[str, int]:
        """How many samples each stage measured anew."""
        return self.usage.measured

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate["passed"] for gate in self.gates)

    @property
    def waits(self) -> bool:
        """Whether the version waits for a person.

        It passed its gates, and there is something to ask.
        """
        return self.writes and self.unchanged is None and bool(self.asks) and self.passed

    def raise_for_gates(self) -> None:
        """Raise GateError if a gate failed, ApprovalError if the version waits for a person."""
        failed = [gate["said"] for gate in self.gates if not gate["passed"]]
        if failed:
            raise GateError("; ".join(failed))
        if self.waits:
            what = f"dqpipe approve {shlex.quote(str(self.config.out))} {self.version}"
            asked = f"version {self.version} waits for approval ({'; '.join(self.asks)})"
            raise ApprovalError(f"{asked}: look at its report, then {what}, or {what} --reject")
