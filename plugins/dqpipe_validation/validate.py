"""Validation of a frame by Great Expectations: expectations become outcomes.

Every call has a context of its own (one that threads share gives wrong results), and it is not made
the current one of the process, so that the user's own stays.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import ConfigError, StageError, listed, nearest
from dqpipe_validation.suite import Asked, short

if TYPE_CHECKING:
    import pandas as pd

_PLACE = "dqpipe"
_ROWS = "dqpipe_rows_of_{}"
"""The column that says which rows an expectation judges."""
_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one expectation.

    `rows` are the positions of failing rows, None where it judges no single rows; `judged` is the
    number of rows that had a value and met the row condition; `observed` is the value of an
    aggregate.
    """

    asked: Asked
    success: bool
    rows: np.ndarray | None
    judged: int
    observed: object


def validate(expected: Sequence[Asked], frame: pd.DataFrame) -> list[Outcome]:
    """The outcome of each expectation, in order; none without rows.

    Raises StageError if one cannot be evaluated.
    """
    if not len(frame) or not expected:
        return []
    with quiet():
        from great_expectations.core.batch import Batch
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.validator import Validator

        judged = _with_rows(expected, frame)
        configurations = [_numbered(asked, place) for place, asked in enumerate(expected)]
        validator = Validator(
            execution_engine=PandasExecutionEngine(),
            data_context=context(),
            batches=[Batch(data=judged)],
        )
        results = validator.graph_validate(
            configurations=configurations, runtime_configuration={"result_format": _FORMAT}
        )
    # They come back in another order, and one that could not be evaluated says so only in
    # exception_info.
    by_place = {result.expectation_config.meta[_PLACE]: result for result in results}
    if sorted(by_place) != list(range(len(expected))):
        raise StageError(
            "expectations",
            "the suite",
            f"{len(expected)} expectations were asked, {len(by_place)} answered",
        )
    return [_outcome(asked, by_place[place]) for place, asked in enumerate(expected)]


def _numbered(asked: Asked, place: int) -> Any:  # noqa: ANN401 (an ExpectationConfiguration)
    """The expectation with its place, and with the column that says which rows it judges."""
    if asked.condition is None:
        return configuration(asked, **{_PLACE: place})
    rows = {
        "type": "comparison",
        "column": {"name": _ROWS.format(place)},
        "operator": "==",
        "parameter": True,
    }
    return configuration(
        replace(asked, kwargs={**asked.kwargs, "row_condition": rows}), **{_PLACE: place}
    )


def _with_rows(expected: Sequence[Asked], frame: pd.DataFrame) -> pd.DataFrame:
    """The frame and, for each row condition, a column of the rows that meet it.

    Pandas never evaluates a suite's text.
    """
    met = {}
    for place, asked in enumerate(expected):
        if asked.condition is not None:
            try:
                met[_ROWS.format(place)] = asked.condition.holds(frame)
            except (TypeError, ValueError) as error:
                raise StageError(
                    "expectations",
                    asked.code,
                    str(error)[:500],
                    f"check its row condition: {short(asked.condition.words)}",
                ) from None
    return frame.assign(**met) if met else frame


def _outcome(asked: Asked, result: Any) -> Outcome:  # noqa: ANN401 (an ExpectationValidationResult)
    raised = _raised(result.exception_info)
    if raised:
        raise StageError(
            "expectations", asked.code, raised, f"check what it is given: {asked.words}"
        )
    found = result.result
    rows = found.get("unexpected_index_list")
    return Outcome(
        asked=asked,
        success=bool(result.success),
        rows=None if rows is None else np.asarray(rows, dtype=np.int64),
        judged=int(found.get("element_count", 0) - found.get("missing_count", 0)),
        observed=found.get("observed_value"),
    )


def _raised(info: Mapping[str, Any]) -> str:
    """The message of what an expectation raised, or "".

    Exception_info is one record, or one for each metric.
    """
    records = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    said = [
        str(record.get("exception_message")) for record in records if record.get("raised_exception")
    ]
    return listed(dict.fromkeys(said), 3)


def configuration(asked: Asked, **meta: object) -> Any:  # noqa: ANN401 (an ExpectationConfiguration)
    """The expectation as Great Expectations holds it.

    Its suites would drop one that they cannot read. Raises ConfigError.
    """
    with quiet():
        from great_expectations.exceptions import ExpectationNotFoundError, GreatExpectationsError
        from great_expectations.expectations.expectation_configuration import (
            ExpectationConfiguration,
        )
        from great_expectations.expectations.registry import (
            list_registered_expectation_implementations,
        )
    try:
        made = ExpectationConfiguration(
            type=asked.type, kwargs=dict(asked.kwargs), meta={**asked.meta, **meta}
        )
        with quiet():
            made.to_domain_obj()
    except ExpectationNotFoundError:
        known = list_registered_expectation_implementations()
        raise ConfigError(
            f"Great Expectations knows no {asked.type!r}: {nearest(asked.type, known)}"
        ) from None
    except (GreatExpectationsError, ValueError, TypeError) as error:
        problems: list[dict[str, Any]] = getattr(error, "errors", list)()
        said = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in problems
        ] or [str(error)]
        raise ConfigError(f"{asked.type}: {listed(dict.fromkeys(said), 5)}") from None
    return made


def context(sites: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 (an EphemeralDataContext)
    """A new context that keeps nothing on disk but its Data Docs `sites`, shows no progress bars
    and tells nobody of its use.
    """
    with quiet():
        from great_expectations.data_context import EphemeralDataContext
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    config["data_docs_sites"] = dict(sites or {})
    return EphemeralDataContext(project_config=config)


def quiet() -> warnings.catch_warnings[None]:
    """Great Expectations uses what Python deprecates, calls its users' forms deprecated, and may
    report use unless told not to.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)
