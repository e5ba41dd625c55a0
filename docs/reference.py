"""Pages of the reference, made from the code when the documentation is built (a hook of mkdocs)."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from mkdocs.structure.files import File, Files

import dqpipe
from dqpipe.cli.main import app
from dqpipe.config import gate_grammar
from dqpipe.config.json_schema import options_schema
from dqpipe.plugin import registry as registries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PYTHON = ("curate", "check", "Pipeline", "Result", "Dataset")
"""What prep scripts use; the rest of the exports is for plugins."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    pages = {
        "reference/options.md": options(),
        "reference/commands.md": commands(),
        "reference/python.md": python(),
        "reference/gates.md": gates(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Links to files of the repository outside of the pages become their names."""
    del page  # mkdocs gives it by this name
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"`\2`", markdown)


def options() -> str:
    """Each extension with its options and, of stages, what it gives."""
    registry = registries.load()
    lines = ["# Options, metrics and codes", ""]
    kinds = sorted({kind for kind, _ in registry.extensions}, key=lambda kind: kind.__name__)
    for kind in kinds:
        lines += [f"## {kind.__name__}", ""]
        for name in registry.names(kind):
            cls = registry.get(kind, name)
            lines += [f"### {name}", "", cls.summary(), ""]
            lines += _table(
                ("option", "default", "meaning"),
                (
                    (
                        f"`{option}`",
                        f"`{json.dumps(shape.get('default'), default=str)}`",
                        _said(shape),
                    )
                    for option, shape in options_schema(registry, cls)["properties"].items()
                ),
            )
            lines += _gifts(cls)
    return "\n".join(lines)


def _said(shape: dict[str, Any]) -> str:
    limits = [
        f"{sign} {shape[key]}"
        for key, sign in {
            "minimum": "≥",
            "exclusiveMinimum": ">",
            "maximum": "≤",
            "exclusiveMaximum": "<",
        }.items()
        if key in shape
    ]
    choices = [json.dumps(choice) for choice in shape.get("enum", ())]
    return "; ".join(
        [str(shape.get("description", "")), *limits, *([" or ".join(choices)] if choices else [])]
    )


def _gifts(cls: type[Any]) -> list[str]:
    gives = getattr(cls, "gives", ())
    if not isinstance(gives, tuple):
        return []
    rows = []
    for gift in gives:
        match gift:
            case dqpipe.Fact():
                rows.append((f"`{cls.name}.{gift.name}`", "fact", gift.type, gift.help))
            case dqpipe.Claim():
                rows.append((f"`{cls.name}.{gift.code}`", "issue", gift.severity, gift.help))
            case dqpipe.Figure():
                rows.append((f"`{cls.name}.{gift.name}`", "metric", "number", gift.help))
    return _table(("name", "kind", "type or severity", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    body = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    if not body:
        return []
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body, ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def commands() -> str:
    """The help of every command."""
    lines = ["# Commands", ""]
    for words, command in _walk(typer.main.get_command(app), ("dqpipe",)):
        lines += [
            f"{'#' * (len(words) if len(words) > 1 else 2)} {' '.join(words)}",
            "",
            (command.help or "").strip(),
            "",
        ]
        rows = []
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
            if parameter.param_type_name == "argument":
                names = f"`{(parameter.metavar or parameter.name or '').upper()}`"
            rows.append((names, getattr(parameter, "help", None) or ""))
        lines += _table(("argument or option", "meaning"), rows)
    return "\n".join(lines)


def _walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from _walk(child, (*words, name))


def python() -> str:
    """The docstrings of what scripts use."""
    lines = ["# Python", ""]
    for name in PYTHON:
        member = getattr(dqpipe, name)
        lines += [f"## dqpipe.{name}", "", *_documented(member, name)]
        if inspect.isclass(member):
            for attribute, value in sorted(vars(member).items()):
                if attribute.startswith("_") or not inspect.getdoc(value):
                    continue
                if (
                    callable(value)
                    or isinstance(value, property | classmethod | staticmethod)
                    or hasattr(value, "func")
                ):
                    lines += [
                        f"### {name}.{attribute}",
                        "",
                        *_documented(getattr(value, "__func__", value), attribute),
                    ]
    return "\n".join(lines)


def _documented(member: object, name: str) -> list[str]:
    shown = []
    if callable(member) and not inspect.isclass(member):
        shown = ["```python", f"{name}{inspect.signature(member)}", "```", ""]
    return [*shown, inspect.getdoc(member) or "", ""]


def gates() -> str:
    """The grammar of gates, from the module that reads them."""
    return f"# Grammar of gates\n\n```text\n{inspect.getdoc(gate_grammar)}\n```\n"
