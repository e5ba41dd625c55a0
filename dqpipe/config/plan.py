"""Planning: a Config is checked against a Dataset, and everything that cannot work is refused
before anything runs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dqpipe.config import gate_grammar as gates
from dqpipe.config.pipeline_file import Config, Entry, nested_kinds, options_record, settle
from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.errors import PlanError, listed, nearest
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import EVERY, Claim, Decoder, Extension, Fact, Figure, Stage, Writer

MEDIA = (
    Fact("ok", "bool", "whether the file could be decoded"),
    Fact("error", "string", "why it could not", nullable=True),
    Fact(
        "missing",
        "float64",
        "share of it that a file which ends early lacks, 0 to 1",
        nullable=True,
    ),
)
"""The facts that the engine itself gives for every sample with media, as "media.ok", "media.error"
and "media.missing".
"""
DOUBT = "dataset.doubt"
"""The code of doubts about how the dataset was read.

They concern the whole dataset, and are reported first.
"""
LOST = "measure.failed"
"""The code of samples whose shard killed its worker process at every attempt."""
NOT_JUDGED = ".unjudged"
"""Suffix of the code by which a stage reports that it did not judge the class in `part` (without.

Any), for the reason in `detail`.
"""
KEPT = "last.kept"
"""The engine's fact that the last published version had the same sample and kept it.

False where there is none. Not shown to `relate`.
"""
PARENT = "made.parent"
"""The engine's fact of the sample that a new one was made from; null for those that were there.

Not shown to `relate`.
"""
BESIDE = frozenset({KEPT, PARENT})
"""Facts of the engine about the history of samples, not their content.

Versions do not keep them.
"""
FIXED = frozenset({"id", "content", "media", "label", "parent", "made_by"})
"""Columns of the curated samples that no fact becomes.

The dataset has them, or decisions make them.
"""
FAILED = Claim(
    "failed",
    "error",
    "this stage could not measure the sample, so nothing it says covers it",
    title="Not measured",
)


@dataclass(frozen=True)
class Planned:
    """A stage of the plan: its name, and the columns of samples and facts that it gets."""

    name: str
    stage: Stage
    columns: tuple[str, ...]
    facts: tuple[str, ...]
    required: tuple[str, ...]
    """The facts that a sample must have to be passed to relate, detect and summarise."""

    def own(self, phase: str | None = None) -> list[Fact]:
        """The facts that the stage gives."""
        return [g for g in self.stage.gives if isinstance(g, Fact) and phase in (None, g.at)]

    def claims(self) -> dict[str, Claim]:
        """The claims of the stage, by full code."""
        return {
            f"{self.name}.{c.code}": c
            for c in (*(g for g in self.stage.gives if isinstance(g, Claim)), FAILED)
        }

    def figures(self) -> list[str]:
        """The full names of its figures."""
        return [f"{self.name}.{g.name}" for g in self.stage.gives if isinstance(g, Figure)]


@dataclass(frozen=True)
class Plan:
    """A checked plan of a run."""

    config: Config
    stages: tuple[Planned, ...]
    asks: tuple[gates.Gate, ...]
    """The conditions under which a version needs approval before it is published."""
    gates: tuple[gates.Gate, ...]
    decoders: tuple[Decoder, ...]
    writer: Writer | None
    origin: Mapping[str, str]

    def doing(self, method: str) -> list[Planned]:
        """The stages that have a method, in order."""
        return [planned for planned in self.stages if planned.stage.does(method)]

    def only(self, names: Collection[str]) -> Plan:
        """The plan with these stages alone."""
        return replace(
            self, stages=tuple(planned for planned in self.stages if planned.name in names)
        )

    def becoming(self) -> dict[str, str]:
        """Columns of the curated samples and the facts, by full name, that become them."""
        return {
            fact.becomes: f"{planned.name}.{fact.name}"
            for planned in self.stages
            for fact in planned.own("relate")
            if fact.becomes
        }

    def summarising(self) -> list[Planned]:
        """The stages that summarise the curated set, and those whose facts they build
        on, in order.
        """
        wanted = {
            planned.name for planned in self.doing("summarise") if planned.stage.summarise_curated
        }
        for planned in reversed(self.stages):
            if planned.name in wanted:
                wanted |= {fact.split(".")[0] for fact in planned.facts}
        return [planned for planned in self.stages if planned.name in wanted]

    def claims(self) -> dict[str, Claim]:
        """All claims, by full code."""
        return {code: c for planned in self.stages for code, c in planned.claims().items()}

    def made_by(self, recorded: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Stage → a key of all that its findings depend on (its own and its inputs' versions and
        options), from run.json's list of stages.
        """
        told = {
            row["name"]: json.dumps(
                [row["stage"], row["version"], row["options"]], sort_keys=True, default=str
            )
            for row in recorded
        }
        behind: dict[str, set[str]] = {}
        for planned in self.stages:
            needs = {fact.partition(".")[0] for fact in planned.facts}
            behind[planned.name] = {planned.name}.union(
                *(behind.get(name, set()) for name in needs)
            )
        return {
            name: "\n".join(told.get(one, "") for one in sorted(every))
            for name, every in behind.items()
        }

    def record(self) -> dict[str, Any]:
        """The plan as JSON values, for hooks and for run.json."""
        entries = (*self.config.stages, *self.config.augments, self.config.policy)
        claims = {planned.name: planned.claims() for planned in self.stages}
        return {
            "config": self.config.record() | {"gates": [gate.text for gate in self.gates]},
            "stages": [
                {
                    "name": entry.name,
                    "stage": entry.extension.name,
                    "version": entry.extension.version,
                    "plugin": self.origin.get(entry.extension.name, ""),
                    "options": options_record(entry.extension),
                    "summary": entry.extension.summary(),
                    **({"settled": entry.settled} if entry.settled else {}),
                    "claims": {
                        code: {"severity": c.severity, "help": c.help, "title": c.heading}
                        for code, c in claims.get(entry.name, {}).items()
                    },
                }
                for entry in entries
            ],
        }


def make(config: Config, registry: Registry, dataset: Dataset) -> Plan:
    """The plan. Raises PlanError with every reason found, each with its line."""
    problems: list[str] = []
    config = settle(config)
    for entry in (*config.stages, *config.augments, config.policy):
        problems += [f"{entry.where}: {text}" for text in missing_packages(entry.extension)]
    of_media = {cls.name for cls in registry.all(Stage) if cls.rendition is not None}
    stages = tuple(
        _planned(entry, number, config.stages, dataset, problems, of_media)
        for number, entry in enumerate(config.stages)
    )
    _clashes(stages, problems)
    problems += _become(stages, dataset)
    for entry in config.augments:
        problems += [
            f"{entry.where}: {entry.name} needs media and labels; {what}"
            for what in _lacks(dataset)
        ]
        try:
            registry.encoder(entry.extension)
        except PlanError as error:
            problems.append(f"{entry.where}: {error}")
    for entry in () if problems else (*config.stages, *config.augments):
        said = entry.extension.objection(dataset.samples)
        problems += [f"{entry.where}: {entry.name}: {said}"] if said else []
    claims = [LOST, DOUBT, *(code for planned in stages for code in planned.claims())]
    figures = [name for planned in stages for name in planned.figures()]
    facts = [f"{planned.name}.{fact.name}" for planned in stages for fact in planned.own()]
    known = (claims, figures, facts, dataset.samples.names)
    parsed = tuple(
        gates.parse(text, where, *known)
        for text, where in config.gates
        if where != gates.BY_DEFAULT
    )
    if any(where == gates.BY_DEFAULT for _, where in config.gates):
        parsed = (*_suiting(*known[:3], dataset), *parsed)
    asks = tuple(gates.parse(text, where, *known) for text, where in config.approve)
    problems += _unknown_codes(config, [*claims, "media.unreadable"])
    if problems:
        raise PlanError("\n".join(problems))
    origin = {name: plugin for (_, name), plugin in registry.origin.items()}
    writer = registry.get(Writer, dataset.format)() if dataset.format else None
    given = {decoder.name: decoder for decoder in config.decoders}
    decoders = tuple(given.get(cls.name) or cls() for cls in registry.all(Decoder))
    plan = Plan(config, stages, asks, parsed, decoders, writer, origin)
    objections = registry.objections(plan.record())
    if objections:
        raise PlanError("\n".join(objections))
    return plan


def default_gates(entries: Iterable[Entry], dataset: Dataset) -> tuple[gates.Gate, ...]:
    """The default gates of these stages on a dataset."""
    gives = [(entry.name, gift) for entry in entries for gift in entry.extension.gives]
    codes = [f"{name}.{gift.code}" for name, gift in gives if isinstance(gift, Claim)]
    figures, facts = (
        [f"{name}.{gift.name}" for name, gift in gives if isinstance(gift, kind)]
        for kind in (Figure, Fact)
    )
    return _suiting(codes, figures, facts, dataset)


def _suiting(
    codes: Sequence[str], figures: Sequence[str], facts: Sequence[str], dataset: Dataset
) -> tuple[gates.Gate, ...]:
    """The default gates, without those on classes where the labels are none."""
    classes = labels.kind_in(dataset.samples) in ("class", "tags")
    return gates.default(
        codes,
        figures,
        facts,
        [name for name in dataset.samples.names if name != "label" or classes],
    )


def _lacks(dataset: Dataset) -> list[str]:
    lacks = [] if dataset.has_media else ["this dataset has no media column"]
    return lacks + ([] if "label" in dataset.samples else ["this dataset has no label column"])


def _planned(
    entry: Entry,
    number: int,
    every: Sequence[Entry],
    dataset: Dataset,
    problems: list[str],
    of_media: Collection[str],
) -> Planned:
    stage: Stage = entry.extension
    earlier = _given(every[:number], dataset)
    own = {f.name: not f.nullable for f in stage.gives if isinstance(f, Fact)}
    if stage.rendition is not None and not dataset.has_media:
        problems.append(
            f"{entry.where}: {entry.name} looks at media (rendition {stage.rendition}), and this "
            f"dataset has no media column"
        )
    columns, facts = [], []
    for need in stage.needs:
        if need == EVERY:
            known = {"id", "content", "media", *(other.rstrip("?") for other in stage.needs)}
            columns += [name for name in dataset.samples.names if name not in known]
        elif "." in need and not need.endswith("?"):
            facts.append(need)
            if need not in earlier:
                problems.append(
                    f"{entry.where}: {_missing_fact(entry, need, number, every, dataset, of_media)}"
                )
        elif need.rstrip("?") in dataset.samples:
            columns.append(need.rstrip("?"))
        elif "." in need:
            problems.append(
                f"{entry.where}: {entry.name} needs {need!r}: only a column of the samples may be "
                f"optional"
            )
        elif not need.endswith("?"):
            have = [n for n in dataset.samples.names if n not in {"content", "media"}]
            problems.append(
                f"{entry.where}: {entry.name} needs the column {need!r}: {nearest(need, have)}; "
                f"name a role for it in dataset.roles"
            )
    required = [f for f in facts if earlier.get(f)] + [
        f"{entry.name}.{name}" for name, fixed in own.items() if fixed
    ]
    return Planned(entry.name, stage, tuple(columns), tuple(facts), tuple(required))


def _given(entries: Iterable[Entry], dataset: Dataset) -> dict[str, bool]:
    """Facts by full name, and whether each is never null where measured."""
    media = {f"media.{f.name}": not f.nullable for f in MEDIA} if dataset.has_media else {}
    return (
        media
        | {KEPT: True, PARENT: False}
        | {
            f"{e.name}.{f.name}": not f.nullable
            for e in entries
            for f in e.extension.gives
            if isinstance(f, Fact)
        }
    )


def _missing_fact(
    entry: Entry,
    need: str,
    number: int,
    every: Sequence[Entry],
    dataset: Dataset,
    of_media: Collection[str],
) -> str:
    source = need.split(".", maxsplit=1)[0]
    after = [other for other in every[number + 1 :] if other.name == source]
    if after:
        return f"{entry.name} needs {need}: move {source} before {entry.name}"
    if source == entry.name:
        return f"{entry.name} may not list its own fact {need} in needs"
    if source == "media":
        return f"{entry.name} needs {need}, and this dataset has no media column"
    if source in {other.name for other in every[:number]}:
        return f"{entry.name} needs {need}: {nearest(need, _given(every[:number], dataset))}"
    if source in of_media and not dataset.has_media:
        return (
            f"{entry.name} needs {need}, which {source} sees in media, and this dataset has none: "
            f"point its option elsewhere, or leave it out"
        )
    return (
        f"{entry.name} needs {need}: add the stage {source} before it, or point its option "
        f"elsewhere"
    )


def _clashes(stages: Sequence[Planned], problems: list[str]) -> None:
    for planned in stages:
        names = [f.name for f in planned.own()] + [
            g.code for g in planned.stage.gives if isinstance(g, Claim)
        ]
        twice = {
            name
            for name in names
            if names.count(name) > 1 and name not in {f.name for f in planned.own()}
        }
        facts = [f.name for f in planned.own()]
        twice |= {name for name in facts if facts.count(name) > 1}
        if twice:
            problems.append(f"stage {planned.name} gives {listed(sorted(twice))} twice")


def _become(stages: Sequence[Planned], dataset: Dataset) -> list[str]:
    """What is wrong with the facts that become columns, and with those that a stage remembers."""
    problems, taken = [], dict[str, str]()
    for planned in stages:
        related = {fact.name: fact for fact in planned.own("relate")}
        for fact in planned.own():
            name = f"{planned.name}.{fact.name}"
            if not fact.becomes:
                continue
            if fact.becomes in FIXED or fact.at != "relate":
                problems.append(
                    f"{name} cannot become the column {fact.becomes!r} of the curated samples"
                )
            elif fact.becomes in dataset.samples and fact.becomes not in ("split", "group"):
                problems.append(
                    f"{name} becomes the column {fact.becomes!r}, which the dataset has already: "
                    f"rename it there"
                )
            elif fact.becomes in taken:
                problems.append(
                    f"{taken[fact.becomes]} and {name} both become the column {fact.becomes!r}"
                )
            else:
                taken[fact.becomes] = name
        unknown = sorted(set(planned.stage.remembers) - set(related))
        problems += [
            f"{planned.name} remembers {name!r}, which its relate does not give" for name in unknown
        ]
    return problems


def _unknown_codes(config: Config, claims: Sequence[str]) -> list[str]:
    import fnmatch

    return [
        (
            f"{config.policy.where}: the policy speaks of {code!r}, which no stage of the plan "
            f"claims: {nearest(code, claims)}"
        )
        for code in config.policy.extension.codes()
        if not fnmatch.filter(claims, code)
    ]


def missing_packages(extension: Extension) -> list[str]:
    """An error message with the pip command for each missing package of an extension and of those
    in its options.
    """
    inside = [getattr(extension, name) for name in nested_kinds(type(extension))]
    found = [text for one in inside if isinstance(one, Extension) for text in missing_packages(one)]
    for package in extension.requires:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                found.append(
                    f"please install {package} to use {extension.name} (pip install {package})"
                )
    return found


class Proposed(NamedTuple):
    """A stage of the default pipeline, its options, and the name that it is used under."""

    stage: type[Stage]
    options: dict[str, Any]
    name: str


def proposal(registry: Registry, dataset: Dataset) -> list[Proposed]:
    """The stages of the default pipeline for a dataset, with options, in an order that meets their
    needs.
    """
    waiting = [
        cls for cls in registry.all(Stage) if cls.default and cls.media in (None, dataset.has_media)
    ]
    chosen: list[Proposed] = []
    given = set(_given((), dataset))
    while True:
        ready = [
            (cls, options)
            for cls in waiting
            for options in _variants(cls, dataset)
            if _met(cls, options, given, dataset)
        ]
        sure = [pair for pair in ready if not pair[1].get("__fallback__")] or ready
        if not sure:
            break
        cls, options = min(sure, key=lambda pair: (pair[0].order, pair[0].name))
        waiting.remove(cls)
        options = {name: value for name, value in options.items() if name != "__fallback__"}
        taken = {one.name for one in chosen} | {one.name for one, _ in ready}
        name = cls.proposed_as if cls.proposed_as and cls.proposed_as not in taken else cls.name
        given |= {f"{name}.{f.name}" for f in cls(**options).gives if isinstance(f, Fact)}
        chosen.append(Proposed(cls, options, name))
    return chosen


def _variants(cls: type[Stage], dataset: Dataset) -> list[dict[str, Any]]:
    options = cls.proposal(dataset.samples)
    if options is None:
        return []
    return [dict(options)] + (
        [{**options, **cls.fallback, "__fallback__": True}] if cls.fallback else []
    )


def _met(cls: type[Stage], options: dict[str, Any], given: set[str], dataset: Dataset) -> bool:
    stage = cls(**{name: value for name, value in options.items() if name != "__fallback__"})
    if stage.rendition is not None and not dataset.has_media:
        return False
    needs = [need for need in stage.needs if not need.endswith("?")]
    met = all(need in given if "." in need else need in dataset.samples for need in needs)
    return met and not missing_packages(stage) and stage.objection(dataset.samples) is None
