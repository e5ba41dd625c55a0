"""A commented pipeline.yaml that runs, from a look at the data: what `dqpipe init` writes."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dqpipe.config import gate_grammar, plan
from dqpipe.config.pipeline_file import Config, Entry, OutputsSection
from dqpipe.data.dataset import Dataset
from dqpipe.data.labels import Kind
from dqpipe.data.wording import many
from dqpipe.engine.run import read
from dqpipe.errors import printable
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Augment, Decide, Reader, Stage
from dqpipe.storage.location import is_url

OUTSIDE = "  outside: allow        # media may lie outside the dataset's folder"


def pipeline_yaml(
    registry: Registry,
    source: Any,  # noqa: ANN401
    roles: Mapping[str, str],
    *,
    seed: int = 0,
    outside: bool = False,
    labels: Kind | None = None,
    outputs: Mapping[str, Any] | None = None,
    reader: str = "",
) -> str:
    """The text that `dqpipe init` writes.

    `outside` allows media outside the dataset's folder, `outputs` goes into its section, `reader`
    says how the source is read, `labels` what its labels are.

    Raises DatasetError, also where the source can be read in several ways and no reader is named;
    PluginError where there is no such reader.
    """
    entry = Entry("policy", registry.get(Decide, "policy")())
    given = registry.get(Reader, reader)() if reader else None
    dataset = read(
        Config((), entry, source=source, reader=given, roles=roles, labels=labels, outside=outside),
        registry,
        source,
    )
    lines = [
        *_head(source, dataset, roles, reader),
        *([f"  labels: {labels}"] if labels else []),
        *([OUTSIDE] if outside else []),
        "",
        "stages:",
    ]
    stages = plan.proposal(registry, dataset)
    for cls, options, name in stages:
        lines += _stage(cls, options if name == cls.name else {"as": name, **options})
    if dataset.has_media and "label" in dataset.samples:
        for augment in registry.all(Augment):
            if augment.default and augment().objection(dataset.samples) is None:
                lines += _stage(augment, {})
    lines += [
        "",
        (
            "# What leads to which decision; `dqpipe plugins policy` lists the options and the "
            "default rules."
        ),
        "policy: {}",
        "",
        (
            "# Conditions that fail the run, after the report was written: the last version "
            "stays. What compares with it passes on the first run."
        ),
        *_gates(dataset, stages),
        (
            "# What a gate does that compares with the last version and cannot: pass (the account "
            "says so) or fail."
        ),
        "unjudged: pass",
        "",
        "outputs:",
        *_outputs(outputs or {}),
        "",
        f"seed: {_scalar(seed)}",
        "",
    ]
    return "\n".join(lines)


def _head(source: Any, dataset: Dataset, roles: Mapping[str, str], reader: str) -> list[str]:  # noqa: ANN401
    path = (
        str(source if is_url(source) else Path(source).absolute())
        if isinstance(source, (str, Path))
        else None
    )
    known = [name for name in ("label", "split", "group") if name in dataset.samples]
    lines = [
        (
            f"# {many(len(dataset), 'sample')}{' with media' if dataset.has_media else ''}; "
            f"columns: {', '.join(known) or 'no label'}"
        )
    ]
    known = dataset.layout.get("recognised", "")
    lines += [
        f"# Recognised as {printable(known)}" if known else f"# Read as {reader}, as told",
        "dataset:",
    ]
    lines += [f"  path: {_scalar(path)}"] if path else []
    lines += [f"  reader: {_scalar(reader)}"] if reader else []
    if roles:
        lines.append(f"  roles: {json.dumps(dict(roles), ensure_ascii=False)}")
    return lines


def _gates(dataset: Dataset, stages: Sequence[plan.Proposed]) -> list[str]:
    """The default gates that can be asked of the dataset, each with what it is for."""
    entries = tuple(Entry(name, cls(**options)) for cls, options, name in stages)
    texts = [gate.text for gate in plan.default_gates(entries, dataset)]
    width = max(len(json.dumps(text)) for text in texts)
    why = dict(gate_grammar.DEFAULTS)
    return ["gates:", *(f"  - {json.dumps(text).ljust(width)}    # {why[text]}" for text in texts)]


def _outputs(given: Mapping[str, Any]) -> list[str]:
    """The path, whatever is given, and what there is a choice of."""
    kinds = {
        name: typing.get_args(shape.annotation)
        for name, shape in OutputsSection.model_fields.items()
    }
    choices = {
        name: kind
        for name, kind in kinds.items()
        if kind and all(isinstance(one, str) for one in kind)
    }
    values = {
        name: shape.default
        for name, shape in OutputsSection.model_fields.items()
        if name == "path" or name in choices
    }
    behind = {name: f"        # {' | '.join(choice)}" for name, choice in choices.items()}
    return [
        f"  {name}: {_scalar(value)}{behind.get(name, '')}"
        for name, value in {**values, **given}.items()
    ]


def _stage(cls: type[Stage | Augment], options: Mapping[str, Any]) -> list[str]:
    lines = [f"  # {cls.summary()}"]
    if options:
        text = yaml.safe_dump(
            [{cls.name: dict(options)}], allow_unicode=True, sort_keys=False, width=120
        )
        return lines + ["  " + line for line in text.rstrip().split("\n")]
    first = next(
        (
            f
            for f in dataclasses.fields(cls)  # type: ignore[arg-type]
            if isinstance(f.default, (int, float, str)) and f.metadata
        ),
        None,
    )
    hint = (
        f"        # {first.name}: {json.dumps(first.default)} · {first.metadata['description']}"
        if first
        else None
    )
    return [
        *lines,
        f"  - {cls.name}",
        *([hint.replace("        #", "    #", 1).replace("\n", " ")] if hint else []),
    ]


def _scalar(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    style = '"' if not value.isascii() or " " in value else None
    return (
        yaml.safe_dump(value, allow_unicode=True, width=10_000, default_style=style)
        .removesuffix("\n...\n")
        .strip()
    )
