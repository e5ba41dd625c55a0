"""Row conditions of expectations: parsed into comparisons, and evaluated here.

A suite is data, and none of it is ever run.

    color == "yellow" and fare > 3        `my column` in ["a", "b"]        not (fare <= 3) |
                                          tip.isnull()      as pandas writes it
    col("color") == "yellow"              col("tip").notNull()
                                          Great Expectations
    {"type": "comparison", "column": {"name": "color"}, "operator": "==", "parameter": "yellow"},
        and, or, nullity     its JSON

Anything else (a call, an attribute, arithmetic, a variable) is refused by name. As in pandas, an
empty value meets `!=` and `not in`, and no other comparison.
"""

from __future__ import annotations

import ast
import datetime as dt
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dqpipe import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LONGEST = 10_000
"""Characters of a condition."""
DEEPEST = 50
"""Levels of conditions within each other."""
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SYMBOLS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_EMPTY = {
    "isnull": True,
    "isna": True,
    "is_null": True,
    "notnull": False,
    "notna": False,
    "notNull": False,
    "is_not_null": False,
}
_SETS = {"isin": "in", "is_in": "in", "is_not_in": "not in"}
_PIECES = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|`([^`]*)`|([&|])""")
_FORMS = (
    "comparisons of columns with values, isnull(), notnull(), in, and, or, not: fare > 3 and `drop "
    'off` in ["a", "b"]'
)


@dataclass(frozen=True)
class Comparison:
    """A column beside a value, a list of values (in, not in), or another column."""

    column: str
    symbol: str
    value: Any
    other: str | None = None
    """The other column, where there is one instead of a value."""

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [self.column, *([self.other] if self.other is not None else [])]

    @property
    def words(self) -> str:
        """The same as a text."""
        return (
            f"{self.column} {self.symbol} {self.value!r}"
            if self.other is None
            else f"{self.column} {self.symbol} {self.other}"
        )

    def holds(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows meet it. Raises TypeError where a column cannot be compared with the value."""
        column = frame[self.column]
        empty = column.isna().to_numpy(dtype=bool)
        if self.symbol in ("in", "not in"):
            inside = column.isin(self.value).fillna(value=False).to_numpy(dtype=bool)
            return ~inside if self.symbol == "not in" else inside
        value = self.value
        if self.other is not None:
            value = frame[self.other]
            empty = empty | value.isna().to_numpy(
                dtype=bool
            )  # a new array: pandas lends its own to be read only
        met = COMPARISONS[self.symbol](
            column[~empty], value[~empty] if self.other is not None else value
        )
        whole = empty & (self.symbol == "!=")
        whole[~empty] = met.to_numpy(dtype=bool)
        return cast("np.ndarray", whole)


@dataclass(frozen=True)
class Empty:
    """A column that has no value, or that has one."""

    column: str
    empty: bool

    @property
    def columns(self) -> list[str]:
        """The column that it reads."""
        return [self.column]

    @property
    def words(self) -> str:
        """The same as a text."""
        return f"{self.column} is {'' if self.empty else 'not '}empty"

    def holds(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows meet it."""
        return cast("np.ndarray", frame[self.column].isna().to_numpy(dtype=bool) == self.empty)


@dataclass(frozen=True)
class Combined:
    """Conditions of which all hold (and), any (or), or the only one does not (not)."""

    word: str
    parts: tuple[Condition, ...]

    @property
    def columns(self) -> list[str]:
        """The columns that they read."""
        return list(dict.fromkeys(name for part in self.parts for name in part.columns))

    @property
    def words(self) -> str:
        """The same as a text."""
        parts = [
            f"({part.words})" if isinstance(part, Combined) else part.words for part in self.parts
        ]
        return f"not ({parts[0]})" if self.word == "not" else f" {self.word} ".join(parts)

    def holds(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows meet them."""
        import numpy as np

        masks = [part.holds(frame) for part in self.parts]
        return (
            ~masks[0]
            if self.word == "not"
            else (np.logical_and if self.word == "and" else np.logical_or).reduce(masks)
        )


Condition = Comparison | Empty | Combined


def comparisons(condition: Condition) -> list[Comparison]:
    """Every comparison in a condition."""
    if isinstance(condition, Combined):
        return [one for part in condition.parts for one in comparisons(part)]
    return [condition] if isinstance(condition, Comparison) else []


def parse(given: object) -> Condition | None:
    """A row condition in any of its forms, or None for none.

    Raises ConfigError, with what is refused.
    """
    if given is None or given == "":
        return None
    if isinstance(given, Mapping):
        return _from_record(given, 0)
    if not isinstance(given, str):
        raise ConfigError(f"a row condition is a text or a mapping, not {type(given).__name__}")
    if len(given) > LONGEST:
        raise ConfigError(
            f"the row condition has {len(given):,} characters; the most is {LONGEST:,}"
        )
    text = _PIECES.sub(
        lambda m: (
            m[1] or (f"col({m[2]!r})" if m[2] is not None else {"&": " and ", "|": " or "}[m[3]])
        ),
        given.strip(),
    )
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # of escapes and comparisons that Python thinks odd
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(
            f"the row condition {_short(given)} cannot be read: write {_FORMS}"
        ) from None
    return _from_tree(tree.body, 0)


def _from_record(record: Mapping[str, Any], level: int) -> Condition:
    """Great Expectations' own form as JSON."""
    _deep(level)
    kind = record.get("type")
    if kind == "pass_through" and isinstance(record.get("pass_through_filter"), str):
        found = parse(record["pass_through_filter"])
        if found is not None:
            return found
    if (
        kind in ("and", "or")
        and isinstance(record.get("conditions"), Sequence)
        and record["conditions"]
    ):
        parts = [
            _from_record(part if isinstance(part, Mapping) else {}, level + 1)
            for part in record["conditions"]
        ]
        return Combined(kind, tuple(parts))
    column = record.get("column")
    name = column.get("name") if isinstance(column, Mapping) else None
    if kind == "nullity" and isinstance(name, str) and isinstance(record.get("is_null"), bool):
        return Empty(name, record["is_null"])
    symbol = {"IN": "in", "NOT_IN": "not in"}.get(
        str(record.get("operator")), str(record.get("operator"))
    )
    value = record.get("parameter")
    if (
        kind == "comparison"
        and isinstance(name, str)
        and (
            (symbol in COMPARISONS and _plain(value))
            or (
                symbol in ("in", "not in")
                and isinstance(value, (list, tuple))
                and all(map(_plain, value))
            )
        )
    ):
        return Comparison(name, symbol, list(value) if isinstance(value, (list, tuple)) else value)
    raise ConfigError(
        f"the row condition {_short(record)} is none that is known: comparison, nullity, and, or"
    )


def _from_tree(node: ast.expr, level: int) -> Condition:
    """A parsed text."""
    _deep(level)
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        return Combined(word, tuple(_from_tree(part, level + 1) for part in node.values))  # noqa: PD011 (a tree, not a table)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        return Combined("not", (_from_tree(node.operand, level + 1),))
    if isinstance(node, ast.Compare):
        ends = [node.left, *node.comparators]
        parts = [
            _compared(left, type(op), right)
            for left, op, right in zip(ends, node.ops, ends[1:], strict=False)
        ]
        return parts[0] if len(parts) == 1 else Combined("and", tuple(parts))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.keywords:
        column, method = _column(node.func.value), node.func.attr
        if column is not None and method in _EMPTY and not node.args:
            return Empty(column, _EMPTY[method])
        if column is not None and method in _SETS and len(node.args) == 1:
            return Comparison(column, _SETS[method], _values(node.args[0]))
    if (column := _column(node)) is not None:  # a column of yes and no
        return Comparison(column, "==", value=True)
    raise _refused(node)


def _compared(left: ast.expr, kind: type[ast.cmpop], right: ast.expr) -> Comparison:
    symbol = _SYMBOLS.get(kind)
    first, second = _column(left), _column(right)
    if symbol is None:
        raise _refused(left)
    if symbol in ("in", "not in"):
        if first is None:
            raise _refused(left)
        return Comparison(first, symbol, _values(right))
    if first is not None:
        return (
            Comparison(first, symbol, None, second)
            if second is not None
            else Comparison(first, symbol, _value(right))
        )
    if second is not None:
        return Comparison(second, MIRRORED.get(symbol, symbol), _value(left))
    raise _refused(left)


def _column(node: ast.expr) -> str | None:
    """The name of a column: name, or col("name")."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):  # image_quality.width, as facts are named
        inner = _column(node.value) if isinstance(node.value, (ast.Name, ast.Attribute)) else None
        return f"{inner}.{node.attr}" if inner is not None and "__" not in node.attr else None
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "col"
        and len(node.args) == 1
        and not node.keywords
    ):
        name = node.args[0]
        return (
            name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
        )
    return None


def _value(node: ast.expr) -> Any:  # noqa: ANN401
    """A number, a text, yes or no, or date("2020-01-31")."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _value(node.operand)
        if isinstance(inner, (int, float)) and not isinstance(inner, bool):
            return -inner if isinstance(node.op, ast.USub) else inner
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "date"
        and len(node.args) == 1
        and not node.keywords
    ):
        return _value(node.args[0])
    if isinstance(node, ast.Constant) and _plain(node.value):
        return node.value
    raise _refused(node)


def _values(node: ast.expr) -> list[Any]:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item) for item in node.elts]
    raise _refused(node)


def _plain(value: object) -> bool:
    """Whether a value is one that a column can hold.

    A whole number of at most 64 bits, and a text that can be written.
    """
    if isinstance(value, str):
        return value.isascii() or not re.search("[\ud800-\udfff]", value)
    return (
        -(2**63) <= value < 2**64 if isinstance(value, int) else isinstance(value, (float, dt.date))
    )


def _deep(level: int) -> None:
    if level > DEEPEST:
        raise ConfigError(f"the row condition is nested more than {DEEPEST} deep")


def _refused(node: ast.expr) -> ConfigError:
    try:
        held = _short(ast.unparse(node))
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        held = "a number of so many digits"
    return ConfigError(f"a row condition may not hold {held}: write {_FORMS}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004
