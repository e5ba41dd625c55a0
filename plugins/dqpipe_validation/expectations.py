"""Great Expectations over samples and facts: failing rows become claims, results figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqpipe.errors import ConfigError
from dqpipe.model import Facts, Samples, claim, figure
from dqpipe.stages import Claim, Figure, Stage, extension, option
from dqpipe_validation.asked import Asked, read, short
from dqpipe_validation.proposal import propose
from dqpipe_validation.validate import Outcome, configuration, validate

if TYPE_CHECKING:
    import pandas as pd


@extension
class Expectations(Stage):
    """Expectations of Great Expectations over the samples and the facts, from a suite or named in the config."""

    name = "expectations"
    version = 1
    default = True
    requires = ("great_expectations",)
    order: ClassVar[int] = 900
    """Proposed after the others, so that expectations of their facts can be added."""

    suite: str | None = option(None, "path of a suite as JSON: as Great Expectations saves it, or a list of expectations")
    expectations: list[dict[str, Any]] = option(
        help="expectations, each {expectation: its type, column: …, further arguments, severity: info | warning | error, name: …}; "
        "a column of the samples or a fact (image_quality.width)",
        factory=list,
    )

    @property
    def asked(self) -> list[Asked]:
        """What is expected, the suite's first. Raises ConfigError."""
        return read(self.suite, self.expectations)

    @property
    def needs(self) -> list[str]:  # type: ignore[override]
        """Every column that an expectation names."""
        return sorted({name for asked in self.asked for name in asked.needs} - {"id", "content"})

    @property
    def gives(self) -> Sequence[Claim | Figure]:  # type: ignore[override]
        """One claim for each expectation, and its results."""
        gifts: list[Claim | Figure] = [Figure("success", "share of the expectations that are met")]
        for asked in self.asked:
            what = f"{' and '.join(asked.columns)}: {asked.words}" if asked.columns else asked.words
            gifts += [
                Claim(asked.code, asked.severity, f"expected of {what}"),
                Figure(f"{asked.code}_success", f"1 if met, else 0: {what}"),
                Figure(f"{asked.code}_unexpected", f"share of the judged rows that fail: {what}"),
                Figure(f"{asked.code}_judged", f"rows that were judged: {what}"),
                Figure(f"{asked.code}_observed", f"observed value: {what}"),
            ]
        return gifts

    @classmethod
    def proposal(cls, samples: Samples) -> dict[str, Any]:
        """Options that hold on these samples, for a first pipeline; empty if nothing can be said."""
        found = propose(samples)
        return {"expectations": found} if found else {}

    def check(self) -> None:
        """Raise ConfigError for an expectation that Great Expectations does not know or cannot read, and for none at all."""
        if not self.asked:
            raise ConfigError("nothing is expected: list expectations, or name a suite")
        for asked in self.asked:
            configuration(asked)

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Failing rows by expectation; a failing aggregate is a claim about the dataset. Rows that `mostly` allows are none."""
        frame = _frame(samples, facts)
        return [_claims(outcome, samples, frame) for outcome in validate(self.asked, frame) if not outcome.success]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Whether each expectation is met, the share of failing rows, and what was observed where it is a number."""
        outcomes = validate(self.asked, _frame(samples, facts))
        rows = [figure("success", float(np.mean([outcome.success for outcome in outcomes])))] if outcomes else []
        for outcome in outcomes:
            code, detail = outcome.asked.code, None if outcome.observed is None else f"observed {_told(outcome.observed)}"
            rows.append(figure(f"{code}_success", float(outcome.success), detail=detail))
            if outcome.rows is not None:
                rows.append(figure(f"{code}_unexpected", len(outcome.rows) / max(outcome.judged, 1)))
                rows.append(figure(f"{code}_judged", float(outcome.judged)))
            if _number(outcome.observed):
                rows.append(figure(f"{code}_observed", float(outcome.observed)))  # type: ignore[arg-type]
        return rows


def _frame(samples: Samples, facts: Facts) -> pd.DataFrame:
    """Samples and facts side by side, rows numbered from 0: failing rows are told by these numbers."""
    table = samples.table
    for name in facts.names:
        if name not in table.column_names:
            table = table.append_column(name, facts.table.column(name))
    return table.to_pandas()


def _claims(outcome: Outcome, samples: Samples, frame: pd.DataFrame) -> pd.DataFrame:
    asked = outcome.asked
    if outcome.rows is None:
        value = float(outcome.observed) if _number(outcome.observed) else None  # type: ignore[arg-type]
        of = f" of {' and '.join(asked.columns)}" if asked.columns else ""
        return claim(asked.code, [None], value=value, detail=f"expected{of}: {asked.words}; observed {_told(outcome.observed)}")
    values = frame[asked.columns].take(outcome.rows)
    parts = [_texts(name, values[name]) for name in asked.columns]
    words = asked.words
    detail = [f"{' and '.join(told)}; expected: {words}" for told in zip(*parts, strict=True)]
    return claim(asked.code, samples.ids[outcome.rows], **_evidence(asked, values), detail=detail)


def _texts(name: str, values: pd.Series) -> list[str]:
    """What each value is, in words; each text is made once for all the rows that have it."""
    if values.dtype == object:  # lists cannot be told apart by their hash
        return [f"{name} is {_told(value)}" for value in values]
    codes, different = values.factorize(use_na_sentinel=True)
    told = [*(f"{name} is {_told(value)}" for value in different), f"{name} is empty"]
    return [told[code] for code in codes]


def _evidence(asked: Asked, values: pd.DataFrame) -> dict[str, np.ndarray]:
    """The failing number and the limit that it passed, where the expectation is about one column of numbers."""
    if values.shape[1] != 1 or values.dtypes.iloc[0].kind not in "iuf":
        return {}
    numbers = values.iloc[:, 0].to_numpy(dtype=np.float64)
    low, high = (asked.kwargs.get(name) for name in ("min_value", "max_value"))
    if not all(limit is None or _number(limit) for limit in (low, high)) or (low is None and high is None):
        return {"value": numbers}
    low, high = (np.nan if limit is None else float(limit) for limit in (low, high))
    return {"value": numbers, "threshold": np.where(np.isnan(high) | (numbers <= low), low, high)}


def _number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _told(value: object) -> str:
    """A value as a short text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "empty"
    if _number(value):
        return f"{value:.6g}"
    return short(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
