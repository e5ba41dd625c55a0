"""A commented pipeline.yaml that runs, from a look at the data: what `dqpipe init` writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dqpipe import plan
from dqpipe.config import Config, Entry
from dqpipe.engine import read
from dqpipe.model import Dataset
from dqpipe.plugins import Registry
from dqpipe.stages import Augment, Decide, Stage

OUTPUTS = {"files": "        # copy | hardlink | manifest"}
"""What stands behind an output's value."""


def pipeline_yaml(registry: Registry, source: Any, roles: Mapping[str, str], *, seed: int = 0, outputs: Mapping[str, Any] | None = None) -> str:  # noqa: ANN401
    """The text; `outputs` goes into its section. Raises DatasetError."""
    entry = Entry("policy", registry.get(Decide, "policy")())
    dataset = read(Config((), entry, source=source, roles=roles), registry, source)
    lines = [*_head(source, dataset, roles), "", "stages:"]
    for cls, options in plan.proposal(registry, dataset):
        lines += _stage(cls, options)
    if dataset.has_media and "label" in dataset.samples:
        for cls in registry.all(Augment):
            if getattr(cls, "default", False) and cls().objection(dataset.samples) is None:
                lines += _stage(cls, {})
    lines += [
        "", "# What leads to which decision; `dqpipe plugins policy` lists the options and the default rules.", "policy: {}",
        "", "# Conditions that fail the run, after the report was written.", "gates: []",
        "# gates:", '#   - "files.unreadable > 5%"', '#   - "dropped in any class > 20%"',
        "", "outputs:", *(f"  {name}: {_scalar(value)}{OUTPUTS.get(name, '')}" for name, value in {"path": "out", "files": "copy", **(outputs or {})}.items()),
        "", f"seed: {_scalar(seed)}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _head(source: Any, dataset: Dataset, roles: Mapping[str, str]) -> list[str]:  # noqa: ANN401
    path = str(Path(source).absolute()) if isinstance(source, (str, Path)) else None
    known = [name for name in ("label", "split", "group") if name in dataset.samples]
    lines = [f"# {len(dataset):,} samples{' with media' if dataset.has_media else ''}; columns: {', '.join(known) or 'no label'}", "dataset:"]
    lines += [f"  path: {_scalar(path)}"] if path else []
    if roles:
        lines.append(f"  roles: {json.dumps(dict(roles), ensure_ascii=False)}")
    return lines


def _stage(cls: type[Stage] | type[Augment], options: Mapping[str, Any]) -> list[str]:
    lines = [f"  # {cls.summary()}"]
    if options:
        text = yaml.safe_dump([{cls.name: dict(options)}], allow_unicode=True, sort_keys=False, width=120)
        return lines + ["  " + line for line in text.rstrip().split("\n")]
    first = next((f for f in dataclasses.fields(cls) if isinstance(f.default, (int, float, str)) and f.metadata), None)  # type: ignore[arg-type]
    hint = f"        # {first.name}: {json.dumps(first.default)} · {first.metadata['description']}" if first else None
    return [*lines, f"  - {cls.name}", *([hint.replace("        #", "    #", 1).replace("\n", " ")] if hint else [])]


def _scalar(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str):
        return text
    return yaml.safe_dump(text, allow_unicode=True, width=10_000, default_style='"' if not text.isascii() or " " in text else None).removesuffix("\n...\n").strip()
