"""Arguments of expectations are converted to the types of their columns, or refused while planning.

A column of times takes dates, times and texts that are one, a column of dates likewise; with a time
zone, what names none is in the column's own. A text is never compared with a number: nothing would
be equal, and every row would fail.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dqpipe import ConfigError, listed
from dqpipe_validation.conditions import Combined, Comparison, Condition
from dqpipe_validation.suite import Asked, short

LIMITS = ("min_value", "max_value")
SETS = ("value_set",)
PATTERNS = ("regex", "regex_list")
WORDS = {
    "number": "numbers",
    "text": "text",
    "time": "times",
    "clock": "times of day",
    "span": "lengths of time",
    "bool": "yes and no",
    "nested": "lists, records or bytes",
}
_OF_VALUES = (
    "expect_column_values_",
    "expect_column_max_",
    "expect_column_min_",
    "expect_column_median_",
)
"""Expectations whose limits are in the unit of the column's values."""
_OF_NUMBERS = (
    "expect_column_mean_",
    "expect_column_median_",
    "expect_column_stdev_",
    "expect_column_sum_",
    "expect_column_quantile_",
)
"""Expectations that calculate with a column's values."""
_LENGTHS = "expect_column_value_lengths_"


def kind_of(kind: pa.DataType) -> str | None:
    """number, text, time, clock, span, bool or nested; None for a column without values."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    kinds: list[tuple[str, Callable[[pa.DataType], bool]]] = [
        ("bool", pa.types.is_boolean),
        ("clock", pa.types.is_time),
        ("span", pa.types.is_duration),
        *(
            ("nested", test)
            for test in (
                pa.types.is_nested,
                pa.types.is_binary,
                pa.types.is_large_binary,
                pa.types.is_fixed_size_binary,
            )
        ),
    ]
    return next((name for name, test in kinds if test(kind)), None)


def matched(asked: Asked, types: Mapping[str, pa.DataType]) -> Asked:
    """The expectation with limits, sets and its row condition as the columns' types need them.

    Raises ConfigError.

    Columns that `types` does not name (facts, while nothing is measured) are left as they are.
    """
    condition = None if asked.condition is None else _condition(asked.condition, types)
    column = asked.kwargs.get("column")
    kwargs = dict(asked.kwargs)
    if isinstance(column, str) and column in types:
        of = kind_of(types[column])
        if asked.type.startswith(_OF_NUMBERS) and of not in ("number", "bool", None):
            raise ConfigError(
                f"{column} holds {WORDS[of]}, and {asked.type} calculates with numbers"
            )
        if of == "nested" and any(kwargs.get(name) is not None for name in PATTERNS):
            raise ConfigError(f"{column} holds {WORDS[of]}, and a pattern is held against text")
        for name in LIMITS if asked.type.startswith(_OF_VALUES) else ():
            if kwargs.get(name) is not None:
                kwargs[name] = _limit(kwargs[name], column, types[column], name)
        for name in SETS:
            if isinstance(kwargs.get(name), (list, tuple, set)):
                kwargs[name] = [
                    _member(value, column, types[column], name) for value in kwargs[name]
                ]
    return replace(asked, kwargs=kwargs, condition=condition)


def objection(expected: Sequence[Asked], types: Mapping[str, pa.DataType]) -> str | None:
    """A few reasons why expectations do not fit the columns, or None."""
    said = []
    for asked in expected:
        try:
            matched(asked, types)
        except ConfigError as error:
            said.append(f"{asked.code}: {error}")
    return listed(said, 5) if said else None


def _limit(value: object, column: str, kind: pa.DataType, name: str) -> Any:  # noqa: ANN401
    of = kind_of(kind)
    if of not in ("number", "time", None):
        raise ConfigError(
            f"{name} {short(value)} is a limit, and {column} holds {WORDS[of]}: only numbers and "
            f"times have limits"
        )
    if isinstance(value, int) and not _exact_as_float(value):
        raise ConfigError(
            f"{name} {short(value)} is a limit that Great Expectations would round: use one that a "
            f"float64 holds exactly"
        )
    return _fitting(value, column, kind, name)


def _member(value: object, column: str, kind: pa.DataType, name: str) -> Any:  # noqa: ANN401
    if kind_of(kind) == "span":
        raise ConfigError(
            f"{column} holds lengths of time, of which Great Expectations knows no sets: use a row "
            f"condition"
        )
    return value if value is None else _fitting(value, column, kind, name)


def _fitting(value: object, column: str, kind: pa.DataType, name: str) -> Any:  # noqa: ANN401
    """A value that can be compared with a column. Raises ConfigError."""
    of = kind_of(kind)
    if of == "nested":
        raise ConfigError(
            f"{column} holds {WORDS[of]}, which are compared with nothing: {name} {short(value)}"
        )
    if of == "time":
        return _time(value, column, kind, name)
    if of in ("clock", "span"):
        return _of_day(value, column, name) if of == "clock" else _span(value, column, name)
    of_value = (
        "bool"
        if isinstance(value, bool)
        else "number"
        if isinstance(value, (int, float))
        else "text"
        if isinstance(value, str)
        else None
    )
    if of_value is None and isinstance(value, dt.date):
        of_value = "time"
    if of is None or of_value is None or of == of_value:
        return value
    hint = f" (write {str(value)!r}, in quotes)" if of == "text" else ""
    raise ConfigError(
        f"{name} {short(value)} cannot be compared with {column}, which holds {WORDS[of]}{hint}"
    )


def _time(value: object, column: str, kind: pa.DataType, name: str) -> dt.datetime:
    """A date, a time or a text that is one, as the column has it.

    With its time zone, or without one.
    """
    import pandas as pd

    stamp = pd.to_datetime(value, errors="coerce") if isinstance(value, (str, dt.date)) else pd.NaT
    if stamp is pd.NaT:
        raise ConfigError(
            f"{name} {short(value)} is no time, and {column} holds times: write 2020-01-31 or "
            f"2020-01-31 12:30:00"
        )
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if zone is None:
        stamp = stamp if stamp.tzinfo is None else stamp.tz_convert("UTC").tz_localize(None)
    else:
        stamp = stamp.tz_localize(zone) if stamp.tzinfo is None else stamp.tz_convert(zone)
    return stamp.to_pydatetime(warn=False)


def _of_day(value: object, column: str, name: str) -> dt.time:
    """A time of day, or a text that is one."""
    try:
        return value if isinstance(value, dt.time) else dt.time.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(
            f"{name} {short(value)} is no time of day, and {column} holds times of day: write "
            f"'12:30:00', in quotes"
        ) from None


def _span(value: object, column: str, name: str) -> Any:  # noqa: ANN401 (a pandas Timedelta)
    """A length of time, or a text that is one."""
    import pandas as pd

    span = (
        pd.to_timedelta(value, errors="coerce")
        if isinstance(value, (str, dt.timedelta))
        else pd.NaT
    )
    if span is pd.NaT:
        raise ConfigError(
            f"{name} {short(value)} is no length of time, and {column} holds lengths of time: "
            f"write '2 hours'"
        )
    return span


def _exact_as_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _condition(condition: Condition, types: Mapping[str, pa.DataType]) -> Condition:
    if isinstance(condition, Combined):
        return replace(condition, parts=tuple(_condition(part, types) for part in condition.parts))
    if not isinstance(condition, Comparison) or condition.column not in types:
        return condition
    kind, name = types[condition.column], "the value of the row condition"
    if condition.other is not None:
        other = types.get(condition.other)
        if kind_of(kind) == "nested":
            raise ConfigError(
                f"the row condition compares {condition.column}, which holds {WORDS['nested']}"
            )
        if other is not None and kind_of(kind) != kind_of(other):
            raise ConfigError(
                f"the row condition compares {condition.column} with {condition.other}, which are "
                f"not of one kind"
            )
        return condition
    if isinstance(condition.value, list):
        return replace(
            condition,
            value=[_fitting(value, condition.column, kind, name) for value in condition.value],
        )
    return replace(condition, value=_fitting(condition.value, condition.column, kind, name))
