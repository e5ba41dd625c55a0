"""Gates are parsed, never evaluated, and judge counts, shares, classes and figures."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from dqpipe import gates
from dqpipe.errors import ConfigError
from dqpipe.model import Decisions, Figures, Findings, Samples, claim, figure, table_of

CODES, FIGURES = ["files.unreadable", "label_noise.likely_wrong"], ["diversity.vendi"]
SAMPLES = Samples(pa.table({"id": list("abcd"), "label": ["x", "x", "y", "y"]}))
FOUND = Findings(table_of(Findings.columns, [claim("files.unreadable", ["a", "a"], severity="error")]))
DECIDED = Decisions(table_of(Decisions.columns, pd.DataFrame({"id": list("abcd"), "decision": ["drop", "keep", "keep", "relabel"]})))
STATED = Figures(table_of(Figures.columns, [figure("diversity.vendi", 12.5) | {"of": "raw"}]))


@pytest.mark.parametrize(
    ("text", "passed", "value"),
    [
        ("files.unreadable > 5%", False, 25.0),
        ("files.unreadable > 25%", True, 25.0),
        ("files.unreadable >= 25%", False, 25.0),
        ("files.unreadable > 0", False, 1.0),
        ("files.* > 1", True, 1.0),
        ("dropped in any class > 40%", False, 50.0),
        ("dropped in any class > 50%", True, 50.0),
        ("relabelled > 1", True, 1.0),
        ("kept < 60%", False, 50.0),
        ("diversity.vendi < 20", False, 12.5),
        ("label_noise.likely_wrong > 0", True, 0.0),
    ],
)
def test_a_gate_judges(text: str, passed: bool, value: float) -> None:
    judged = gates.parse(text, "here", CODES, FIGURES).record(SAMPLES, FOUND, DECIDED, STATED)
    assert (judged["passed"], judged["value"]) == (passed, value)


@pytest.mark.parametrize("text", ["files.unreadable", "__import__('os') > 1", "files.unreadable > many", "dropped in any colour > 3", "> 3", ""])
def test_what_is_no_gate_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form"):
        gates.parse(text, "line 3", CODES, FIGURES)


def test_an_unknown_subject_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'files\.unreadable'"):
        gates.parse("files.unredable > 1", "line 3", CODES, FIGURES)
