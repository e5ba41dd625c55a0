"""Parsing of pipeline.yaml into a Config.

Every mistake is reported with its line, the nearest right name and the allowed values.

    text ──compose──▶ values + the line of each ──build──▶ Config (extensions with their options,
        checked)

The file is trusted like code: it can name modules to import.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from dqpipe.config.gate_grammar import BY_DEFAULT, DEFAULTS
from dqpipe.config.overrides import changed
from dqpipe.data.labels import Kind
from dqpipe.errors import ConfigError, PlanError, PluginError, nearest
from dqpipe.plugin.kinds import KINDS
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import SEED, Augment, Decide, Decoder, Extension, Reader, Report, Stage
from dqpipe.storage.location import is_url

Place = tuple[str | int, ...]
LARGEST_SEED = 2**32 - 1
SECTIONS = (
    "dataset",
    "stages",
    "policy",
    "gates",
    "fail_on",
    "unjudged",
    "approve",
    "outputs",
    "seed",
)
UNJUDGED = ("pass", "fail")


@dataclass(frozen=True)
class Entry:
    """One extension of the pipeline under its name (`as:`, or its own)."""

    name: str
    extension: Any
    where: str = ""
    settled: str = ""
    """Sentences of the account about options that were chosen for this environment."""

    def check(self) -> None:
        """Check the options of the extension. Raises ConfigError."""
        checked(self.extension, self.where)


class DatasetSection(pydantic.BaseModel, extra="forbid"):
    """What is read."""

    path: str | None = pydantic.Field(
        default=None,
        description=(
            "folder, manifest or table, relative to this file; or the URL of one "
            "(s3://bucket/folder)"
        ),
    )
    reader: str | dict[str, Any] | None = pydantic.Field(
        default=None, description="the reader; recognised by default"
    )
    roles: dict[Literal["id", "media", "label", "split", "group"], str] = pydantic.Field(
        default_factory=dict, description="role → your column"
    )
    labels: Kind | None = pydantic.Field(
        default=None,
        description="the kind of the labels; recognised from the label column by default",
    )
    limit: Annotated[int, pydantic.Field(ge=1)] | None = pydantic.Field(
        default=None, description="use only this many samples, for a first look"
    )
    decoders: dict[str, dict[str, Any]] = pydantic.Field(
        default_factory=dict,
        description=(
            "options of decoders by name, such as the memory that one file may take: {image: "
            "{memory: 4096}}"
        ),
    )
    outside: Literal["refuse", "allow"] = pydantic.Field(
        default="refuse",
        description=(
            "whether media may lie outside the dataset's folder, where links and paths such as "
            "../x.jpg lead to"
        ),
    )


class OutputsSection(pydantic.BaseModel, extra="forbid"):
    """The outputs: what is written, and where."""

    path: str = pydantic.Field(
        default="out", description="folder, relative to this file; or a URL such as s3://bucket/out"
    )
    files: Literal["copy", "hardlink", "manifest"] = pydantic.Field(
        default="copy", description="how kept media are written"
    )
    reports: list[str] = pydantic.Field(
        default_factory=lambda: ["html", "json"], description="reports beside the curated set"
    )
    store: str | None = pydantic.Field(
        default=None,
        description="where measured facts are kept, a folder or a URL; default: store/ in the output",  # noqa: E501
    )
    links: bool = pydantic.Field(
        default=True,
        description=(
            "whether curated, report.html and ledger.parquet in the output are links to the "
            "published version's"
        ),
    )
    keep_versions: int = pydantic.Field(
        default=2, ge=1, description="how many published versions are kept"
    )


@dataclass(frozen=True)
class Config:
    """A pipeline, checked: what is read, the stages in order, the policy, the augmentations, gates,
    outputs, seed.
    """

    stages: tuple[Entry, ...]
    policy: Entry
    source: Any = None
    reader: Reader | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    decoders: tuple[Decoder, ...] = ()
    """Decoders with options; all others have their defaults."""
    labels: Kind | None = None
    """What the labels are; None: as their column says (see `dqpipe.data.labels`)."""
    limit: int | None = None
    outside: bool = False
    """Whether media may lie outside the dataset's folder."""
    augments: tuple[Entry, ...] = ()
    gates: tuple[tuple[str, str], ...] = ()
    """Each gate's text, and where it stands; the default ones stand at `gates.BY_DEFAULT`."""
    unjudged: str = "pass"
    """The outcome of gates that cannot be compared with the last version: pass or fail."""
    approve: tuple[tuple[str, str], ...] = ()
    """The conditions under which a version needs approval before it is published, in
    the same form.
    """
    outputs: OutputsSection = field(default_factory=OutputsSection)
    reports: tuple[Report, ...] = ()
    seed: int = 0
    base: Path = Path()
    """The folder that paths are relative to."""

    @property
    def out(self) -> str | Path:
        """The output's folder, or its URL."""
        path = self.outputs.path
        return path.rstrip("/") if is_url(path) else placed(self.base, path)

    @property
    def store(self) -> str | Path:
        """The folder of the facts store, or its URL."""
        path = self.outputs.store
        if path is None:
            return f"{self.out}/store" if is_url(self.out) else Path(self.out) / "store"
        return path.rstrip("/") if is_url(path) else placed(self.base, path)

    def record(self) -> dict[str, Any]:
        """The config as JSON values, defaults filled in."""
        return {
            "dataset": {
                "path": str(self.source)
                if isinstance(self.source, (str, Path))
                else type(self.source).__name__,
                "reader": self.reader.name if self.reader else None,
                "roles": dict(self.roles),
                "decoders": {decoder.name: options_record(decoder) for decoder in self.decoders},
                **({"labels": self.labels} if self.labels else {}),
                "limit": self.limit,
                "outside": "allow" if self.outside else "refuse",
            },
            "stages": [
                {entry.name: options_record(entry.extension)}
                for entry in (*self.stages, *self.augments)
            ],
            "policy": {self.policy.name: options_record(self.policy.extension)},
            "gates": [text for text, _ in self.gates],
            "unjudged": self.unjudged,
            "approve": [text for text, _ in self.approve],
            "outputs": self.outputs.model_dump(),
            "seed": self.seed,
        }


def settle(config: Config) -> Config:
    """The config with automatic choices (such as `embedder: auto`) made for this environment.

    Raises PlanError.
    """
    return dataclasses.replace(
        config,
        stages=tuple(map(_settled, config.stages)),
        augments=tuple(map(_settled, config.augments)),
    )


def _settled(entry: Entry) -> Entry:
    """An entry with the chosen options."""
    inside = {name: getattr(entry.extension, name) for name in nested_kinds(type(entry.extension))}
    chosen = {name: one.settled() for name, one in inside.items() if isinstance(one, Extension)}
    changes = {name: one for name, (one, _) in chosen.items() if one is not inside[name]}
    said = "; ".join(text for _, text in chosen.values() if text)
    return (
        dataclasses.replace(
            entry, extension=dataclasses.replace(entry.extension, **changes), settled=said
        )
        if changes
        else entry
    )


def placed(base: Path, path: str) -> Path:
    """A path relative to a folder as an absolute one without "..".

    Links are followed as the system does.
    """
    whole = (base / Path(path).expanduser()).absolute()
    return whole.resolve() if ".." in whole.parts else whole


def options_record(extension: Extension) -> dict[str, Any]:
    """Options as JSON values; a nested extension becomes {name: options}."""
    return {name: plain(value) for name, value in extension.options().items()}


def plain(value: Any) -> Any:  # noqa: ANN401
    """A value of an option as JSON values."""
    if isinstance(value, Extension):
        return {value.name: options_record(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


class Source:
    """A YAML text, its values, and the line of each of them."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.said: dict[Place, str] = {}
        """Places that the command line overrides → the name of the override."""
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            self.lines: dict[Place, int] = {}
            self._walk(node, (), ())
            self.values = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date that is none, say
            mark = getattr(error, "problem_mark", None)
            where = f"{name}, line {mark.line + 1}" if mark else name
            raise ConfigError(
                f"not valid YAML: {getattr(error, 'problem', None) or error}", where
            ) from None

    def _walk(self, node: yaml.Node | None, place: Place, above: tuple[yaml.Node, ...]) -> None:
        if node is None:
            return
        line = f"{self.name}, line {node.start_mark.line + 1}"
        if any(node is other for other in above):
            raise ConfigError("an alias refers to what it stands in", line)
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                line = f"{self.name}, line {key.start_mark.line + 1}"
                if not isinstance(key, yaml.ScalarNode):
                    raise ConfigError("a key is a name, not a list or a mapping", line)
                here = (*place, key.value)
                if key.value in seen:
                    raise ConfigError(f"{key.value!r} stands twice", line)
                seen.add(key.value)
                self.lines[here] = key.start_mark.line + 1
                self._walk(value, here, (*above, node))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self._walk(value, (*place, number), (*above, node))

    def where(self, place: Place) -> str:
        """The file and the line of the deepest known part of a place, or the override
        that set it.
        """
        for end in range(len(place), 0, -1):
            if place[:end] in self.said:
                return self.said[place[:end]]
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}, line {self.lines.get(place, 1)}"


def load(
    path: str | Path, registry: Registry, changes: Sequence[str] = (), *, checks: bool = True
) -> Config:
    """The Config of a file, with options changed (see `dqpipe.config.overrides`).

    Checks: as of `parse`. Raises ConfigError.
    """
    file = Path(path)
    _refuse_data(file, registry)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "cannot be read: there is no such file; `dqpipe init DATA` writes one for a folder of "
            "images or a table",
            str(file),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", str(file)) from None
    return parse(
        text, registry, name=str(file), base=file.absolute().parent, changes=changes, checks=checks
    )


def _refuse_data(file: Path, registry: Registry) -> None:
    """Raise ConfigError if the path is that of a dataset instead of a pipeline.yaml."""
    if file.suffix.lower() in {".yaml", ".yml"} and not file.is_dir():
        return
    if (file / "pipeline.yaml").is_file():
        raise ConfigError(
            f"this is a folder: name the file in it, {shlex.quote(str(file / 'pipeline.yaml'))}",
            str(file),
        )
    if file.is_dir() or any(cls().suits(str(file)) > 0 for cls in registry.all(Reader)):
        what = "a folder" if file.is_dir() else "data"
        raise ConfigError(
            f"this is {what}, not a pipeline: `dqpipe init {shlex.quote(str(file))}` writes the "
            f"pipeline.yaml to run",
            str(file),
        )


def parse(
    text: str,
    registry: Registry,
    name: str = "pipeline",
    base: Path | None = None,
    changes: Sequence[str] = (),
    *,
    checks: bool = True,
) -> Config:
    """The Config of a YAML text, with options changed. Raises ConfigError.

    Without checks the stages do not check their options yet, for which some import large libraries:
    that is left to `Entry.check`.
    """
    source = Source(text, name)
    values = source.values
    if not isinstance(values, dict):
        raise ConfigError(f"a mapping with {', '.join(SECTIONS)} is wanted", source.where(()))
    for key in values:
        if key not in SECTIONS:
            raise ConfigError(
                f"unknown section {key!r}: {nearest(str(key), SECTIONS)}", source.where((key,))
            )
    values, source.said = changed(values, changes)
    seed = values.get("seed", 0)
    build = Builder(registry, source, seed, checks)
    build.checked_seed()
    dataset = build.section(DatasetSection, values.get("dataset"), ("dataset",))
    outputs = build.section(OutputsSection, values.get("outputs"), ("outputs",))
    stages, augments = build.stages(values.get("stages"))
    root = base or Path.cwd()
    return Config(
        stages=stages,
        augments=augments,
        policy=build.policy(values.get("policy")),
        source=None
        if dataset.path is None
        else dataset.path
        if is_url(dataset.path)
        else str(placed(root, dataset.path)),
        reader=None
        if dataset.reader is None
        else build.one(Reader, dataset.reader, ("dataset", "reader")).extension,
        roles=dataset.roles,
        decoders=tuple(
            build.one(Decoder, {name: options}, ("dataset", "decoders")).extension
            for name, options in dataset.decoders.items()
        ),
        labels=dataset.labels,
        limit=dataset.limit,
        outside=dataset.outside == "allow",
        gates=build.gates(values),
        unjudged=build.unjudged(values),
        approve=build.conditions(
            "approve", values.get("approve"), "ask a person before a version is published"
        ),
        outputs=outputs,
        reports=tuple(
            build.one(Report, item, ("outputs", "reports", i)).extension
            for i, item in enumerate(outputs.reports)
        ),
        seed=build.checked_seed(),
        base=root,
    )


@dataclass(frozen=True)
class Builder:
    """Builds extensions and sections from values; errors name the line."""

    registry: Registry
    source: Source
    seed: Any = 0
    """The run's seed, the default of every option called `seed`."""
    checks: bool = True
    """Whether stages check their options while parsing."""

    def fail(self, message: str, place: Place) -> ConfigError:
        """A ConfigError that names the line of a place."""
        return ConfigError(message, self.source.where(place))

    def section(self, model: type[Any], values: Any, place: Place) -> Any:  # noqa: ANN401
        """A section checked by its pydantic model."""
        if values is not None and not isinstance(values, dict):
            raise self.fail(f"{place[-1]} is a mapping, not {values!r}", place)
        try:
            return model.model_validate(values or {})
        except pydantic.ValidationError as error:
            raise self._explain(error, place, model.model_fields) from None

    def stages(self, values: Any) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:  # noqa: ANN401
        """The stages and the augmentations, in order."""
        if not isinstance(values, list) or not values:
            raise self.fail("stages is a list of stages, at least one", ("stages",))
        found: list[Entry] = []
        for number, value in enumerate(values):
            place = ("stages", number)
            name = self._name(value, place)
            kind = Augment if name in self.registry.names(Augment) else Stage
            if name not in self.registry.names(kind):
                known = [*self.registry.names(Stage), *self.registry.names(Augment)]
                broken = "".join(
                    f"\n  plugin {p} failed to load: {why}"
                    for p, why in self.registry.broken.items()
                )
                raise self.fail(
                    f"no stage is called {name!r}: {nearest(name, known)}{broken}", place
                )
            entry = self.one(kind, value, place)
            if any(entry.name == other.name for other in found):
                raise self.fail(
                    f"stage {entry.name!r} stands twice: give one of them another name with `as: "
                    f"other_name`",
                    place,
                )
            found.append(entry)
        return (
            tuple(entry for entry in found if isinstance(entry.extension, Stage)),
            tuple(entry for entry in found if isinstance(entry.extension, Augment)),
        )

    def policy(self, values: Any) -> Entry:  # noqa: ANN401
        """The policy: `policy: {options}` of the one called policy, or `policy.

        {use: other, …}`.
        """
        if values is not None and not isinstance(values, dict):
            raise self.fail(f"policy is a mapping of options, not {values!r}", ("policy",))
        options = dict(values or {})
        use = options.pop("use", "policy")
        if not isinstance(use, str):
            raise self.fail(f"use is the name of a policy, not {use!r}", ("policy", "use"))
        return self.one(Decide, {use: options}, ("policy",), nested=False)

    def gates(self, sections: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """The gates as texts, of `gates` or of `fail_on`, its other name.

        They are parsed when the plan is made.
        """
        if "gates" in sections and "fail_on" in sections:
            raise self.fail(
                "fail_on is another name for gates: write all conditions under one of them",
                ("fail_on",),
            )
        name = "fail_on" if "fail_on" in sections else "gates"
        if name not in sections:
            return tuple((text, BY_DEFAULT) for text, _ in DEFAULTS)
        values = sections[name]
        if name == "fail_on" and isinstance(values, str):
            return ((values, self.source.where((name,))),)
        return self.conditions(name, values, "fail the run")

    def conditions(self, name: str, values: Any, do: str) -> tuple[tuple[str, str], ...]:  # noqa: ANN401
        """The conditions of a section, each with its place; none without the section."""
        if values is None:
            return ()
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.fail(
                f'{name} is a list of conditions that {do}, such as "label_noise.likely_wrong > '
                f'5%"',
                (name,),
            )
        return tuple((value, self.source.where((name, i))) for i, value in enumerate(values))

    def unjudged(self, sections: Mapping[str, Any]) -> str:
        """The value of `unjudged`."""
        value = sections.get("unjudged", UNJUDGED[0])
        if value not in UNJUDGED:
            raise self.fail(f"unjudged is pass or fail, not {value!r}"[:200], ("unjudged",))
        return str(value)

    def checked_seed(self) -> int:
        """The seed, a whole number that every library takes."""
        if (
            isinstance(self.seed, bool)
            or not isinstance(self.seed, int)
            or not 0 <= self.seed <= LARGEST_SEED
        ):
            raise self.fail(
                f"seed is a whole number from 0 to {LARGEST_SEED}, not {self.seed!r}", ("seed",)
            )
        return self.seed

    def _name(self, value: Any, place: Place) -> str:  # noqa: ANN401
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and len(value) == 1:
            return str(next(iter(value)))
        raise self.fail(f"a name, or one name with its options, is wanted, not {value!r}", place)

    def one(self, kind: type[Extension], value: Any, place: Place, *, nested: bool = True) -> Entry:  # noqa: ANN401
        """An extension from `name` or `{name: {options}}`.

        `as` among the options renames a stage.
        """
        name = self._name(value, place)
        options = value[name] if isinstance(value, dict) else None
        inner = (*place, name) if nested and isinstance(value, dict) else place
        try:
            cls = self.registry.get(kind, name)
        except PluginError as error:
            raise self.fail(str(error), place) from None
        if options is not None and not isinstance(options, dict):
            raise self.fail(f"the options of {name} are a mapping, not {options!r}", inner)
        options = dict(options or {})
        alias = options.pop("as", name) if kind in (Stage, Augment) else name
        if not isinstance(alias, str) or not alias.replace("_", "").isalnum() or alias == "media":
            raise self.fail(
                f"`as` is a name of letters, digits and _, other than media; not {alias!r}", inner
            )
        extension = self._make(cls, options, inner)
        if self.checks or kind not in (Stage, Augment):
            checked(extension, self.source.where(inner))
        return Entry(alias, extension, self.source.where(place))

    def _make(self, cls: type[Extension], options: dict[str, Any], place: Place) -> Extension:
        for name, kind in nested_kinds(cls).items():
            if isinstance(options.get(name), (str, dict)):
                options[name] = self.one(kind, options[name], (*place, name)).extension
        if SEED in {f.name for f in dataclasses.fields(cls)}:  # type: ignore[arg-type]
            options.setdefault(SEED, self.seed)
        try:
            return pydantic.TypeAdapter(cls).validate_python(options)
        except pydantic.ValidationError as error:
            raise self._explain(error, place, [f.name for f in dataclasses.fields(cls)]) from None  # type: ignore[arg-type]
        except (ConfigError, PlanError) as error:
            if isinstance(error, ConfigError) and error.where:
                raise
            raise self.fail(f"{cls.name}: {error}", place) from None

    def _explain(
        self,
        error: pydantic.ValidationError,
        place: Place,
        allowed: Sequence[str] | Mapping[str, Any],
    ) -> ConfigError:
        first = error.errors()[0]
        here = (*place, *first["loc"])
        name = ".".join(str(part) for part in first["loc"]) or str(place[-1])
        if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            return self.fail(f"unknown option {name!r}: {nearest(name, allowed)}", here)
        if first["loc"][-1:] == ("[key]",) and first["type"] == "literal_error":
            of, wrong, known = (
                first["loc"][-3],
                str(first["input"]),
                re.findall("'([^']*)'", first["ctx"]["expected"]),
            )
            return self.fail(f"{of}: there is no {wrong!r}: {nearest(wrong, known)}", here[:-1])
        given = "" if first["type"].startswith("missing") else f", not {first['input']!r}"[:200]
        return self.fail(f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}{given}", here)


def checked(extension: Extension, where: str) -> None:
    """Let an extension check its options, where it can. Raises ConfigError."""
    try:
        extension.check()
    except (ConfigError, PlanError) as error:
        if isinstance(error, ConfigError) and error.where:
            raise
        raise ConfigError(f"{extension.name}: {error}", where) from None


def nested_kinds(cls: type[Extension]) -> dict[str, type[Extension]]:
    """The options of an extension that are extensions themselves (an embedder, say), by name."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    return {
        name: hints[name]
        for name in names
        if isinstance(hints.get(name), type) and hints[name] in KINDS
    }
