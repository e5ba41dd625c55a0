"""Gates: conditions on the account that fail a run, parsed, never evaluated.

    gate     = subject [ "in any" ("class" | "split" | "group") ] operator number [ "%" ]
    subject  = a code ("label_noise.likely_wrong"), a decision ("dropped", "relabelled", "review", "kept"), or a figure
    operator = ">" | ">=" | "<" | "<="

A code or a decision counts samples; with "%" it is their share of all samples. A name that is both a code and a figure is
the code. The condition states what must not be.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dqpipe.errors import ConfigError, listed, nearest
from dqpipe.model import Decisions, Figures, Findings, Samples, label_text

DECIDED = {"dropped": "drop", "relabelled": "relabel", "review": "review", "kept": "keep"}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_GATE = re.compile(
    r"^\s*(?P<subject>[\w.*]+)\s+(?:in\s+any\s+(?P<scope>class|split|group)\s+)?(?P<operator>[<>]=?)\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<percent>%?)\s*$"
)


@dataclass(frozen=True)
class Gate:
    """One condition that fails the run when it holds."""

    text: str
    subject: str
    scope: str | None
    operator: str
    limit: float
    percent: bool
    of_figure: bool = False

    def record(self, samples: Samples, findings: Findings, decisions: Decisions, figures: Figures) -> dict[str, Any]:
        """Whether it passed, the value that counted, and a sentence."""
        values = self._values(samples, findings, decisions, figures)
        holds = {key: value for key, value in values.items() if _OPERATORS[self.operator](value, self.limit)}
        value, key = self._worst(holds or values)
        unit = "%" if self.percent else ""
        of = f" in {self.scope} {key}" if self.scope and key is not None else ""
        said = f"{self.subject}{of} is {value:.4g}{unit}; it must not be {self.operator} {self.limit:g}{unit}" if values else "nothing to judge"
        return {"gate": self.text, "passed": not holds, "value": value, "said": said}

    def _worst(self, values: dict[str | None, float]) -> tuple[float | None, str | None]:
        if not values:
            return None, None
        pick = max if self.operator.startswith(">") else min
        key = pick(values, key=lambda k: (values[k], str(k)))
        return values[key], key

    def _values(self, samples: Samples, findings: Findings, decisions: Decisions, figures: Figures) -> dict[str | None, float]:
        if self.of_figure:
            frame = figures.frame()
            wanted = (frame["figure"] == self.subject) & (frame["of"] == "raw") & (frame["scope"] == (self.scope or "set"))
            known = frame[wanted & frame["value"].notna()]
            return {key: float(value) * (100 if self.percent else 1) for key, value in zip(known["key"], known["value"], strict=True)}
        hit = self._hits(samples, findings, decisions)
        if not len(samples):
            return {}
        column = "label" if self.scope == "class" else self.scope
        keys = np.array([str(label_text(v)) for v in samples[column]]) if column and column in samples else np.full(len(samples), "")
        grouped = pd.Series(hit).groupby(keys)
        counts = grouped.mean() * 100 if self.percent else grouped.sum()
        return {key or None: float(value) for key, value in counts.items()}

    def _hits(self, samples: Samples, findings: Findings, decisions: Decisions) -> np.ndarray:
        if self.subject in DECIDED:
            return decisions["decision"] == DECIDED[self.subject]
        matching = {i for i, code in zip(findings["id"], findings["code"], strict=True) if fnmatch.fnmatchcase(code, self.subject)}
        return np.fromiter((i in matching for i in samples.ids), dtype=bool, count=len(samples))


def parse(text: str, where: str, codes: Iterable[str], figures: Iterable[str]) -> Gate:
    """A gate from its text. Raises ConfigError with the grammar, or with the nearest right subject."""
    match = _GATE.match(text)
    if not match:
        raise ConfigError(f'gate {text!r} is not of the form `subject [in any class] > number[%]`, such as "dropped in any class > 10%"', where)
    subject = match["subject"]
    codes, figures = list(codes), list(figures)
    known = [*codes, *figures, *DECIDED]
    if not fnmatch.filter(known, subject):
        raise ConfigError(f"gate {text!r}: nothing is called {subject!r}: {nearest(subject, known)}", where)
    of_figure = not fnmatch.filter([*codes, *DECIDED], subject)
    if of_figure and subject not in figures:
        raise ConfigError(f"gate {text!r}: a gate on figures names one of them: {listed(fnmatch.filter(figures, subject))}", where)
    return Gate(text, subject, match["scope"], match["operator"], float(match["limit"]), bool(match["percent"]), of_figure)
