"""Great Expectations over samples and facts: failing rows become claims, results figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from dqpipe import (
    Claim,
    ConfigError,
    Facts,
    Figure,
    Samples,
    Stage,
    StageError,
    claim,
    extension,
    figure,
    listed,
    many,
    option,
    plural,
)
from dqpipe_validation.matching import matched, objection
from dqpipe_validation.proposal import propose
from dqpipe_validation.suite import Asked, read, short, split_unknown
from dqpipe_validation.validate import Outcome, configuration, validate

if TYPE_CHECKING:
    import pandas as pd


_DIGITS = 15
"""Digits of a decimal number that a float64 always holds."""


@extension
class Expectations(Stage):
    """Expectations of Great Expectations over the samples and the facts, from a suite or named in
    the config.
    """

    name = "expectations"
    version = 2
    default = True
    requires = ("great_expectations",)
    order: ClassVar[int] = 900
    """Proposed after the others, so that expectations of their facts can be added."""

    suite: str | None = option(
        None, "path of a suite as JSON: as Great Expectations saves it, or a list of expectations"
    )
    expectations: list[dict[str, Any]] = option(
        help="expectations, each {expectation: its type, column: …, further arguments, severity: info | warning | error, name: …}; "  # noqa: E501
        "a column of the samples or a fact (image_quality.width)",
        factory=list,
    )

    parameters: dict[str, Any] = option(
        help='values for what a suite leaves open: {"$PARAMETER": name}', factory=dict
    )
    skip_unknown: bool = option(
        False,
        (
            "leave out expectations that are not known here, or need another table, instead of "
            "refusing the suite; a finding lists them"
        ),
    )

    @property
    def asked(self) -> list[Asked]:
        """The expectations, those of the suite first. Raises ConfigError."""
        return read(
            self.suite,
            self.expectations,
            parameters=self.parameters,
            skip_unknown=self.skip_unknown,
        )

    @property
    def skipped(self) -> list[str]:
        """The expectations that are left out, with reasons."""
        return split_unknown(self.suite, self.expectations)[1] if self.skip_unknown else []

    @property
    def needs(self) -> list[str]:
        """Every column that an expectation names."""
        return sorted({name for asked in self.asked for name in asked.needs} - {"id", "content"})

    @property
    def gives(self) -> Sequence[Claim | Figure]:
        """One claim for each expectation, and its results."""
        gifts: list[Claim | Figure] = [
            Figure("success", "share of the expectations that are met"),
            Claim(
                "unmet",
                "error",
                "rows fail an expectation of severity error or critical",
                title="Failed expectations",
            ),
            *(
                [
                    Claim(
                        "skipped",
                        "warning",
                        "expectations that are not known here were left out",
                        title="Expectations not known",
                    )
                ]
                if self.skip_unknown
                else []
            ),
        ]
        for asked in self.asked:
            what = f"{' and '.join(asked.columns)}: {asked.words}" if asked.columns else asked.words
            gifts += [
                Claim(asked.code, asked.severity, f"expected of {what}", title=f"Not met: {what}"),
                Figure(f"{asked.code}_success", f"1 if met, else 0: {what}"),
                Figure(f"{asked.code}_unexpected", f"share of the judged rows that fail: {what}"),
                Figure(f"{asked.code}_judged", f"rows that were judged: {what}"),
                Figure(f"{asked.code}_observed", f"observed value: {what}"),
            ]
        return gifts

    @classmethod
    def proposal(cls, samples: Samples) -> dict[str, Any] | None:
        """Options that hold on these samples, for a first pipeline; None if nothing can be said."""
        found = propose(samples)
        return {"expectations": found} if found else None

    def check(self) -> None:
        """Raise ConfigError for an expectation that Great Expectations does not know or cannot
        read, and for none at all.
        """
        expected = self.asked
        if not expected:
            raise ConfigError("nothing is expected: list expectations, or name a suite")
        for asked in expected:
            configuration(asked)

    def objection(self, samples: Samples) -> str | None:
        """Limits, sets and row conditions that cannot be compared with their columns."""
        return objection(self.asked, _types(samples))

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Failing rows by expectation; a failing aggregate is a claim about the dataset.

        Rows that `mostly` allows are none.
        """
        frame = _frame(samples, facts)
        failed = [
            outcome
            for outcome in validate(self._matched(samples, facts), frame)
            if not outcome.success
        ]
        unmet = [
            _unmet(outcome)
            for outcome in failed
            if outcome.asked.severity == "error" and outcome.rows is not None
        ]
        skipped = (
            [claim("skipped", [None], detail=f"left out: {listed(self.skipped)}")]
            if self.skipped
            else []
        )
        return [*(_claims(outcome, samples, frame) for outcome in failed), *unmet, *skipped]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Whether each expectation is met, the share of failing rows, and what was observed where
        it is a number.
        """
        outcomes = validate(self._matched(samples, facts), _frame(samples, facts))
        rows = (
            [figure("success", float(np.mean([outcome.success for outcome in outcomes])))]
            if outcomes
            else []
        )
        for outcome in outcomes:
            code, detail = (
                outcome.asked.code,
                None if outcome.observed is None else f"observed {_told(outcome.observed)}",
            )
            rows.append(figure(f"{code}_success", float(outcome.success), detail=detail))
            if outcome.rows is not None:
                rows.append(
                    figure(f"{code}_unexpected", len(outcome.rows) / max(outcome.judged, 1))
                )
                rows.append(figure(f"{code}_judged", float(outcome.judged)))
            if _number(outcome.observed):
                rows.append(figure(f"{code}_observed", float(outcome.observed)))  # type: ignore[arg-type]
        return rows

    def _matched(self, samples: Samples, facts: Facts) -> list[Asked]:
        """The expectations with limits and sets converted to the types of the columns.

        Raises StageError.
        """
        types = _types(samples) | _types(facts)
        expected = self.asked
        said = objection(expected, types)
        if said:
            raise StageError(
                "expectations", "the suite", said, "give limits and sets of the column's own type"
            )
        return [matched(asked, types) for asked in expected]


def _types(table: Samples | Facts) -> dict[str, pa.DataType]:
    """The type of each column; null where a table of text has no value in it, which is then of any
    type.
    """
    return {
        field.name: pa.null()
        if pa.types.is_string(field.type) and _empty(table.table.column(field.name))
        else field.type
        for field in table.table.schema
    }


def _empty(column: pa.ChunkedArray) -> bool:
    return column.null_count == len(column)


def _frame(samples: Samples, facts: Facts) -> pd.DataFrame:
    """Samples and facts side by side, rows numbered from 0: failing rows are told by these numbers.

    Integers and booleans with empty values stay what they are, exact, and dates are times. Decimal
    numbers that a float64 tells apart are such numbers: 0.10 is then what is written as the limit
    0.1.
    """
    table = samples.table
    for name in facts.names:
        if name not in table.column_names:
            table = table.append_column(name, facts.table.column(name))
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # codes would have no order
            table = table.set_column(
                place, field.name, table.column(place).cast(field.type.value_type)
            )
        if pa.types.is_string(field.type) and _empty(
            table.column(place)
        ):  # of any type: as numbers, it can be calculated with
            table = table.set_column(place, field.name, pa.nulls(len(table), pa.float64()))
        if pa.types.is_decimal(field.type) and field.type.precision <= _DIGITS:
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    gaps = [field.type for field in table.schema if table.column(field.name).null_count]
    exact = {
        kind: _exact(kind)
        for kind in gaps
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    }
    return table.to_pandas(date_as_object=False, types_mapper=exact.get)


def _exact(kind: pa.DataType) -> Any:  # noqa: ANN401 (a pandas dtype)
    """The pandas type that holds an Arrow type's values and empty ones."""
    import pandas as pd

    return (
        pd.BooleanDtype()
        if pa.types.is_boolean(kind)
        else pd.api.types.pandas_dtype(str(kind).replace("int", "Int").replace("uI", "UI"))
    )


def _unmet(outcome: Outcome) -> pd.DataFrame:
    """The claim about the dataset that rows fail an expectation of severity error.

    A failing aggregate is one already.
    """
    asked = outcome.asked
    of = f"{' and '.join(asked.columns)}: " if asked.columns else ""
    assert outcome.rows is not None
    failing = (
        f"{len(outcome.rows):,} of {many(outcome.judged, 'row')} "
        f"{plural(len(outcome.rows), 'fails')}"
    )
    return claim(
        "unmet",
        [None],
        value=len(outcome.rows) / max(outcome.judged, 1),
        detail=f"{failing}: {of}{asked.words}",
    )


def _claims(outcome: Outcome, samples: Samples, frame: pd.DataFrame) -> pd.DataFrame:
    asked = outcome.asked
    if outcome.rows is None:
        value = float(outcome.observed) if _number(outcome.observed) else None  # type: ignore[arg-type]
        of = f" of {' and '.join(asked.columns)}" if asked.columns else ""
        return claim(
            asked.code,
            [None],
            value=value,
            detail=f"expected{of}: {asked.words}; observed {_told(outcome.observed)}",
        )
    values = frame[asked.columns].take(outcome.rows)
    parts = [_texts(name, values[name]) for name in asked.columns]
    words = asked.words
    detail = [f"{' and '.join(told)}; expected: {words}" for told in zip(*parts, strict=True)]
    return claim(asked.code, samples.ids[outcome.rows], **_evidence(asked, values), detail=detail)


def _texts(name: str, values: pd.Series) -> list[str]:
    """A description of each value; rows with equal values share one text."""
    if values.dtype == object:  # lists cannot be told apart by their hash
        return [f"{name} is {_told(value)}" for value in values]
    codes, different = values.factorize(use_na_sentinel=True)
    told = [*(f"{name} is {_told(value)}" for value in different), f"{name} is empty"]
    return [told[code] for code in codes]


def _evidence(asked: Asked, values: pd.DataFrame) -> dict[str, np.ndarray]:
    """The failing number and the limit that it passed, where the expectation is about one column of
    numbers.
    """
    if values.shape[1] != 1 or values.dtypes.iloc[0].kind not in "iuf":
        return {}
    numbers = values.iloc[:, 0].to_numpy(dtype=np.float64)
    low, high = (asked.kwargs.get(name) for name in ("min_value", "max_value"))
    if not all(limit is None or _number(limit) for limit in (low, high)) or (
        low is None and high is None
    ):
        return {"value": numbers}
    low, high = (np.nan if limit is None else float(limit) for limit in (low, high))
    return {"value": numbers, "threshold": np.where(np.isnan(high) | (numbers <= low), low, high)}


def _number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _told(value: object) -> str:
    """A value as a short text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "empty"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value)
    if _number(value):
        return f"{value:.6g}"
    return short(
        value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    )
