"""Expectations as they are asked for, in a suite's JSON or in the config, before Great Expectations sees them.

{type: expect_column_values_to_be_between, kwargs: {column: fare, min_value: 0}, severity: warning, meta: {…}}   its own form
{expectation: column_values_to_be_between, column: fare, min_value: 0, severity: warning, name: fare_sane}         the short one
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dqpipe.errors import ConfigError, nearest

SEVERITIES = {"info": "info", "warning": "warning", "error": "error", "critical": "error"}
"""Great Expectations' severities, and ours, as ours."""
LONGEST = 60
"""Characters of a value that is told in words."""
_TYPE = ("type", "expectation", "expectation_type")
_APART = (
    "kwargs",
    "severity",
    "name",
    "meta",
    "notes",
    "description",
    "id",
    "rendered_content",
    "expectation_context",
    "success_on_last_run",
)
_WHOLE = ("column_", "compound_", "multicolumn_", "select_", "table_", "query_", "unexpected_")
_NOT_HERE = re.compile(r"expect_table_columns?_|expect_table_.*other_table|expect_query_|unexpected_rows")
_COLUMNS = ("column", "column_A", "column_B")


@dataclass(frozen=True)
class Asked:
    """One expectation: its type by its full name, its arguments, our severity, and the code that its failure is claimed by."""

    type: str
    kwargs: Mapping[str, Any]
    severity: str
    code: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns that it judges."""
        several = self.kwargs.get("column_list") or ()
        return list(dict.fromkeys([*(self.kwargs[name] for name in _COLUMNS if name in self.kwargs), *several]))

    @property
    def needs(self) -> list[str]:
        """The columns that it reads, those of its row condition among them."""
        return list(dict.fromkeys([*self.columns, *_conditioned(self.kwargs.get("row_condition"))]))

    @property
    def words(self) -> str:
        """What is expected, in words."""
        text = self.type.removeprefix("expect_").removeprefix("column_").replace("_", " ")
        given = {name: value for name, value in self.kwargs.items() if name not in (*_COLUMNS, "column_list", "condition_parser")}
        return f"{text} ({', '.join(f'{name} {short(value)}' for name, value in given.items())})" if given else text


def read(suite: str | None, listed: Iterable[Mapping[str, Any]]) -> list[Asked]:
    """The expectations of a suite's file and those of the config, with a code each that no other has. Raises ConfigError."""
    found: list[Asked] = []
    taken: set[str] = set()
    for item in [*_suite(suite), *listed]:
        asked = _one(item)
        if asked.code in taken and "name" in item:
            raise ConfigError(f"two expectations have the name {asked.code!r}")
        code, number = asked.code, 2
        while code in taken:
            code, number = f"{asked.code}_{number}", number + 1
        taken.add(code)
        found.append(Asked(asked.type, asked.kwargs, asked.severity, code, asked.meta))
    return found


def _suite(path: str | None) -> list[Mapping[str, Any]]:
    if path is None:
        return []
    try:
        content = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the suite {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"the suite {path} is not valid JSON: {error}") from None
    items = content.get("expectations") if isinstance(content, dict) else content
    if not isinstance(items, list):
        raise ConfigError(f"the suite {path} holds no list of expectations")
    return items


def _one(item: object) -> Asked:
    """An expectation from either form. Raises ConfigError."""
    kinds = [name for name in _TYPE if name in item] if isinstance(item, Mapping) else []
    if not isinstance(item, Mapping) or len(kinds) != 1 or not isinstance(item[kinds[0]], str):
        raise ConfigError(f"an expectation is a mapping with `expectation` (its type) and its arguments, not {item!r}")
    kwargs = dict(item.get("kwargs") or {}) | {name: value for name, value in item.items() if name not in (*_APART, *_TYPE)}
    severity = item.get("severity") or "error"
    if severity not in SEVERITIES:
        raise ConfigError(f"severity {severity!r} is unknown: {nearest(str(severity), SEVERITIES)}")
    kind = _full(item[kinds[0]])
    if _NOT_HERE.match(kind):
        raise ConfigError(f"{kind} is about columns or tables that are not here: an expectation sees the columns that it names")
    name = item.get("name")
    asked = Asked(kind, kwargs, SEVERITIES[severity], str(name), dict(item.get("meta") or {}))
    if name is None:
        return Asked(kind, kwargs, asked.severity, _code(kind, asked.columns), asked.meta)
    if not re.fullmatch(r"[^\W\d]\w*", str(name)):
        raise ConfigError(f"the name of an expectation is made of letters, digits and _, not {name!r}")
    return asked


def _full(kind: str) -> str:
    """The full name of a type: `values_to_be_unique` is expect_column_values_to_be_unique."""
    if kind.startswith(("expect_", "unexpected_")):
        return kind
    return f"expect_{kind}" if kind.startswith(_WHOLE) else f"expect_column_{kind}"


def _code(kind: str, columns: Iterable[str]) -> str:
    """A readable code from type and columns: label_in_set, fare_mean_between."""
    rest = kind.removeprefix("expect_").removeprefix("column_").removeprefix("values_")
    rest = re.sub(r"^to_|(?<=_)to_", "", rest)
    rest = re.sub(r"(^|(?<=_))be_", "", rest)
    return "_".join([*(re.sub(r"\W+", "_", str(column)).strip("_") for column in columns), rest])


def _conditioned(condition: object) -> list[str]:
    """The columns that a row condition names, in any of its three forms."""
    if isinstance(condition, Mapping):
        own = [condition["column"]["name"]] if isinstance(condition.get("column"), Mapping) else []
        return own + [name for part in condition.get("conditions", ()) for name in _conditioned(part)]
    if not isinstance(condition, str):
        return []
    named = re.findall(r"col\([\"'](.+?)[\"']\)|`([^`]+)`", condition)
    if named:
        return [one or other for one, other in named]
    try:
        tree = ast.parse(condition, mode="eval")
    except SyntaxError:
        return []
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def short(value: object) -> str:
    """A value as a text of bearable length."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
