"""Read the expectations of a suite, from its JSON or from the config.

Great Expectations gets them afterwards.

{type: expect_column_values_to_be_between, kwargs: {column: fare, min_value: 0}, severity: warning,
meta: {…}}   its own form {expectation: column_values_to_be_between, column: fare, min_value: 0,
severity: warning, name: fare_sane}         the short one

A suite is data: its row condition is parsed (see `conditions`), {"$PARAMETER": name} is bound or
refused.
"""

from __future__ import annotations

import importlib.util
import re
import re._parser as re_parser  # type: ignore[import-not-found]
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from dqpipe import ConfigError, listed, nearest, strict_json
from dqpipe_validation.conditions import Condition, parse

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
_NOT_HERE = re.compile(
    r"expect_table_columns?_|expect_table_.*other_table|expect_query_|unexpected_rows"
)
_COLUMNS = ("column", "column_A", "column_B")
_CONDITION = ("row_condition", "condition_parser")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_REPEATS = (re_parser.MAX_REPEAT, re_parser.MIN_REPEAT)
_MANY = 20
"""Repetitions beyond which a limit is none."""
OUR_CODES = ("unmet", "skipped", "failed")
"""Codes of the stage's own, which no expectation has."""


@dataclass(frozen=True)
class Asked:
    """One expectation: its type by its full name, its arguments, our severity, and the code that
    its failure is claimed by.
    """

    type: str
    kwargs: Mapping[str, Any]
    severity: str
    code: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    condition: Condition | None = None
    """The rows that it judges, where not all of them."""

    @property
    def columns(self) -> list[str]:
        """The columns that it judges."""
        several = self.kwargs.get("column_list") or ()
        return list(
            dict.fromkeys(
                [*(self.kwargs[name] for name in _COLUMNS if name in self.kwargs), *several]
            )
        )

    @property
    def needs(self) -> list[str]:
        """The columns that it reads, those of its row condition among them."""
        return list(
            dict.fromkeys([*self.columns, *(self.condition.columns if self.condition else ())])
        )

    @property
    def words(self) -> str:
        """What is expected, in words."""
        text = self.type.removeprefix("expect_").removeprefix("column_").replace("_", " ")
        given = [
            f"{name} {short(value)}"
            for name, value in self.kwargs.items()
            if name not in (*_COLUMNS, "column_list")
        ]
        text = f"{text} ({', '.join(given)})" if given else text
        return f"{text}, where {short(self.condition.words)}" if self.condition else text


def known_types() -> frozenset[str]:
    """The types of expectations that Great Expectations has, without loading it.

    With those that this process registered.
    """
    registry = sys.modules.get("great_expectations.expectations.registry")
    return _shipped_types() | set(
        registry.list_registered_expectation_implementations() if registry else ()
    )


@cache
def _shipped_types() -> frozenset[str]:
    """Great Expectations keeps each type in a file of its name."""
    spec = importlib.util.find_spec("great_expectations")
    folders = (
        [Path(place) / "expectations" / "core" for place in (spec.submodule_search_locations or ())]
        if spec
        else []
    )
    return frozenset(path.stem for folder in folders for path in folder.glob("expect_*.py"))


def unknown(item: object) -> str | None:
    """Why an item cannot be expected here, or None.

    Its type is not known, or it is about what is not here.
    """
    kinds = [name for name in _TYPE if name in item] if isinstance(item, Mapping) else []
    if not isinstance(item, Mapping) or len(kinds) != 1 or not isinstance(item[kinds[0]], str):
        return None
    kind = _full(item[kinds[0]])
    if _NOT_HERE.match(kind):
        return (
            f"{kind} is about columns or tables that are not here: an expectation sees the columns "
            f"that it names"
        )
    known = known_types()
    return (
        None
        if kind in known or not known
        else f"Great Expectations knows no {kind!r}: {nearest(kind, known)}"
    )


def split_unknown(
    suite: str | None, items: Iterable[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The items of a suite's file and of the config that can be expected, and why each other one
    cannot. Raises ConfigError.
    """
    every = [*_suite(suite), *items]
    reasons = [unknown(item) for item in every]
    return [item for item, why in zip(every, reasons, strict=True) if why is None], [
        why for why in reasons if why is not None
    ]


def read(
    suite: str | None,
    items: Iterable[Mapping[str, Any]],
    *,
    parameters: Mapping[str, Any] | None = None,
    skip_unknown: bool = False,
) -> list[Asked]:
    """The expectations of a suite's file and those of the config, with a code each that no other
    has. Raises ConfigError.
    """
    found: list[Asked] = []
    taken: set[str] = set(OUR_CODES)
    possible, reasons = split_unknown(suite, items)
    if reasons and not skip_unknown:
        raise ConfigError(
            f"{listed(reasons, 5)} (skip_unknown: true leaves out what is not known, and says so)"
        )
    for item in possible:
        try:
            asked = _one(_bound(item, parameters or {}))
        except RecursionError:
            raise ConfigError("an expectation is nested too deep") from None
        if asked.code in taken and "name" in item:
            raise ConfigError(f"two expectations have the name {asked.code!r}")
        code, number = asked.code, 2
        while code in taken:
            code, number = f"{asked.code}_{number}", number + 1
        taken.add(code)
        found.append(replace(asked, code=code))
    return found


def _bound(value: Any, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON values)
    """The same with {"$PARAMETER": name} replaced by what the option `parameters` says.

    Raises ConfigError.
    """
    if isinstance(value, Mapping):
        if "$PARAMETER" not in value:
            return {name: _bound(item, parameters) for name, item in value.items()}
        name = value["$PARAMETER"]
        if not isinstance(name, str) or name not in parameters:
            raise ConfigError(
                f"the suite's parameter {name!r} has no value: give it one under `parameters`; "
                f"{nearest(str(name), parameters)}"
            )
        return parameters[name]
    return (
        [_bound(item, parameters) for item in value] if isinstance(value, (list, tuple)) else value
    )


def _suite(path: str | None) -> list[Mapping[str, Any]]:
    if path is None:
        return []
    try:
        content = strict_json.parsed(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the suite {path} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise ConfigError(f"the suite {path} is nested too deep") from None
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
        raise ConfigError(
            f"an expectation is a mapping with `expectation` (its type) and its arguments, not "
            f"{item!r}"
        )
    kwargs = dict(item.get("kwargs") or {}) | {
        name: value for name, value in item.items() if name not in (*_APART, *_TYPE)
    }
    severity = item.get("severity") or "error"
    if severity not in SEVERITIES:
        raise ConfigError(f"severity {severity!r} is unknown: {nearest(str(severity), SEVERITIES)}")
    kind = _full(item[kinds[0]])
    name, condition = item.get("name"), kwargs.get("row_condition")
    try:
        _safe(kwargs)
        parsed = parse(condition)
    except ConfigError as error:
        raise ConfigError(f"{name or kind}: {error}") from None
    kwargs = {key: value for key, value in kwargs.items() if key not in _CONDITION}
    asked = Asked(
        kind, kwargs, SEVERITIES[severity], str(name), dict(item.get("meta") or {}), parsed
    )
    if not all(isinstance(column, str) for column in asked.columns):
        raise ConfigError(
            f"{name or kind}: a column is named by a text, not {short(asked.columns)}"
        )
    if name is None:
        return replace(asked, code=_code(kind, asked.columns))
    if not re.fullmatch(r"[^\W\d]\w*", str(name)):
        raise ConfigError(
            f"the name of an expectation is made of letters, digits and _, not {name!r}"
        )
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


def _safe(value: object) -> None:
    """Refuse what would be loaded from elsewhere, and a regular expression that is none.

    Raises ConfigError.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _REFERENCES and not str(item).startswith("#"):
                raise ConfigError(
                    f"a JSON schema may not load {short(item)}: only references within it (#/…) "
                    f"are followed"
                )
            if name in ("regex", "regex_list", "pattern", "patternProperties"):
                for pattern in (
                    (item,)
                    if isinstance(item, str) or not isinstance(item, (list, tuple, Mapping))
                    else item
                ):
                    _check_regex(pattern, backtracks=name.startswith("pattern"))
            _safe(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _safe(item)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"{short(value)!r} holds half of a character, which no text does"
            ) from None


def _check_regex(pattern: object, *, backtracks: bool) -> None:
    """Refuse what is no regular expression, and one that may take for ever. Raises ConfigError.

    Text is matched by RE2, in time that grows with the text alone. Python's own `re` serves JSON
    schemas (`backtracks`) and patterns that RE2 has not (look-around, references back); there (a+)+
    takes twice as long for each character.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(pattern, str):
        return
    try:
        re.compile(pattern)
        pattern.encode()
        nested = _nested(re_parser.parse(pattern))
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise ConfigError(f"{short(pattern)!r} is no regular expression: {error}") from None
    if not nested:
        return
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid:
        backtracks = True
    if backtracks:
        raise ConfigError(
            f"the regular expression {short(pattern)!r} repeats what repeats, which can take for "
            f"ever: write it without, "
            "as a+ and not (a+)+, or without look-around and references back"
        )


def _nested(parsed: Any) -> bool:  # noqa: ANN401 (what Python's parser of expressions gives)
    """Whether an endless repetition holds only what repeats or may be left out: (a+)+, (a*b?)*.

    In (,[a-z]+)+ each turn has a comma.
    """
    if not isinstance(parsed, (list, tuple, re_parser.SubPattern)):
        return False
    items = list(parsed)
    if items and items[0] in _REPEATS:
        low, high, body = items[1]
        endless = high is re_parser.MAXREPEAT or high - low > _MANY
        return (endless and _varies(body)) or _nested(body)
    return any(_nested(item) for item in items)


def _varies(body: Any) -> bool:  # noqa: ANN401
    """Whether a sequence repeats something and has nothing that every turn takes once."""
    flat: list[Any] = []
    for op, value in body:
        flat += [
            item
            for item in (value[-1] if op is re_parser.SUBPATTERN else [(op, value)])
            if item[0] is not re_parser.AT
        ]
    if len(flat) == 1 and flat[0][0] in (re_parser.SUBPATTERN, re_parser.BRANCH):
        inner = flat[0][1]
        return (
            _varies(inner[-1])
            if flat[0][0] is re_parser.SUBPATTERN
            else any(_varies(way) for way in inner[1])
        )
    kinds = [op for op, _ in flat]
    return any(op in _REPEATS for op in kinds) and all(
        op in (*_REPEATS, re_parser.BRANCH) for op in kinds
    )


def short(value: object) -> str:
    """A value as a text of bearable length."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
