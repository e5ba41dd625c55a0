"""What a run did not look at, and why.

Stages that are left out, samples and classes that a stage did not judge, columns that nobody reads,
files left out.

Said first thing in every account: "no warning" is worth as much as what was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from dqpipe.config.plan import BESIDE, NOT_JUDGED, Plan, missing_packages
from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Facts, Findings, Samples
from dqpipe.data.wording import many, plural
from dqpipe.errors import listed
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Fact, Stage
from dqpipe.results.outcome import Outcome

OURS = {"id", "content", "label", "split", "group", "media", "parent", "made_by"}
FEW = 5


def unseen(run: Outcome) -> list[dict[str, str]]:
    """Each as {"what", "why"}; first what concerns the classes."""
    classes = [*_classes(run.findings), *_unreadable(run)]
    stages = _stages(run.plan, run.registry, run.dataset)
    found = [*classes, *stages, *unjudged(run), *_columns(run.plan, run.dataset)]
    if skipped := run.dataset.layout.get("skipped", {}):
        kinds = listed([f"{name}: {count}" for name, count in sorted(skipped.items())], FEW)
        found.append((f"files beside the samples ({kinds})", "they are of no kind that is read"))
    return [{"what": what, "why": why} for what, why in found]


def _stages(plan: Plan, registry: Registry, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """The stages that a default pipeline may hold for such data, and this one does not."""
    here = {type(planned.stage) for planned in plan.stages}
    given = {*BESIDE} | {
        f"{planned.name}.{fact.name}" for planned in plan.stages for fact in planned.own()
    }
    for cls in registry.all(Stage):
        if cls in here or not cls.default or cls.media not in (None, dataset.has_media):
            continue
        if not dataset.has_media and (
            cls.rendition is not None or any(str(need).startswith("media") for need in _needs(cls))
        ):
            continue
        if why := _why(cls, given, dataset):
            yield cls.name, f"not run, {why}"


def _needs(cls: type[Stage]) -> tuple[str, ...]:
    """What a stage needs in any case.

    One that computes it from its options says so only when it is made.
    """
    return cls.needs if isinstance(cls.needs, tuple) else ()


def _why(cls: type[Stage], given: set[str], dataset: Dataset) -> str:
    """Why a stage did not run; "" where there is nothing that it could work on."""
    options = cls.proposal(dataset.samples)
    if options is None:
        return ""
    stage = cls(**options)
    if missing := missing_packages(stage):
        return missing[0]
    facts = sorted({need for need in stage.needs if "." in need and not need.endswith("?")} - given)
    made = {need for need in facts if not need.startswith("media.")}
    columns = [
        need
        for need in stage.needs
        if "." not in need and need.isidentifier() and need not in dataset.samples
    ]
    if columns:
        return f"the data has no {listed(columns, FEW)}"
    if made:
        return f"it needs {' and '.join(sorted(made))}, which no stage of this pipeline gives"
    return stage.objection(dataset.samples) or "the pipeline does not hold it"


def _classes(findings: Findings) -> Iterator[tuple[str, str]]:
    """The classes that a stage says it did not judge, those of one reason together."""
    said = findings.table.filter(
        pc.and_(
            pc.ends_with(findings.table.column("code"), NOT_JUDGED),
            pc.is_valid(findings.table.column("part")),
        )
    )
    together: dict[tuple[str, str], list[str]] = {}
    for row in said.select(["code", "part", "detail"]).to_pylist():
        together.setdefault((row["code"].removesuffix(NOT_JUDGED), row["detail"] or ""), []).append(
            row["part"]
        )
    for (stage, why), names in together.items():
        yield f"{stage}: {plural(len(names), 'class')} {listed(names, FEW)}", why


def _unreadable(run: Outcome) -> Iterator[tuple[str, str]]:
    """The classes of which no file could be read, so that no stage judged them."""
    if "media.ok" in run.facts:
        gone = _whole(run.samples, ~_readable(run.facts), np.ones(len(run.samples), dtype=bool))
        if gone:
            yield (
                f"{plural(len(gone), 'class')} {listed(gone, FEW)}",
                "none of the files could be read",
            )


def _readable(facts: Facts) -> np.ndarray:
    """[n] bool: samples whose media could be read, or that have none."""
    if "media.ok" not in facts:
        return np.ones(len(facts), dtype=bool)
    return pc.fill_null(facts.table.column("media.ok"), False).to_numpy()


def unjudged(run: Outcome) -> Iterator[tuple[str, str]]:
    """Samples that could be read and have none of what a stage says of each sample.

    Classes of which that is so of all are named.
    """
    readable = _readable(run.facts)
    for planned in run.plan.stages:
        facts = [
            f"{planned.name}.{g.name}"
            for g in planned.stage.gives
            if isinstance(g, Fact) and not g.nullable
        ]
        known = [run.has[name] for name in facts if name in run.has]
        if not known:
            continue
        lacks = readable & ~np.logical_or.reduce(known)
        if lacks.any():
            gone = _whole(run.samples, lacks, readable)
            classes = f"; all of class {listed(gone, FEW)}" if gone else ""
            them = "it" if lacks.sum() == 1 else "them"
            yield (
                f"{planned.name}: {int(lacks.sum()):,} of {many(len(lacks), 'sample')}{classes}",
                f"the stage says nothing of {them}",
            )


def _whole(samples: Samples, lacks: np.ndarray, readable: np.ndarray) -> list[str]:
    """The classes of which no readable sample was judged."""
    if labels.kind_in(samples) not in ("class", "tags"):
        return []
    rows, names = labels.members(samples)[:2]
    told = list(zip(rows.tolist(), names.to_pylist(), strict=True))
    judged = {name for row, name in told if readable[row] and not lacks[row]}
    return sorted(
        {str(name) for row, name in told if name is not None and lacks[row] and name not in judged}
    )


def _columns(plan: Plan, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """The user's columns that no stage asks for by name."""
    asked = {need.rstrip("?") for planned in plan.stages for need in planned.stage.needs}
    own = [name for name in dataset.samples.names if name not in OURS and name not in asked]
    if own:
        them, selves = ("it", "itself") if len(own) == 1 else ("them", "themselves")
        beside = [planned.name for planned in plan.stages if planned.stage.does("compare")]
        compared = (
            (
                f"; {listed(beside, FEW)} {plural(len(beside), 'compares')} {them} with the last "
                f"version, where that can be done"
            )
            if beside
            else ""
        )
        yield (
            f"{plural(len(own), 'column')} {listed(own, FEW)}",
            f"no stage reads {them} by {selves}{compared}",
        )
