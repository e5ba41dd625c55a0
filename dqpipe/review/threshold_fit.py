"""A threshold from verdicts: the lowest confidence above which a claim's precision is what was asked for, and what that costs.

Every draw of an audit stands for the same number of claims, so that the draws above a confidence are a fair sample of the claims above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dqpipe.data.intervals import at_least, clopper_pearson
from dqpipe.errors import DatasetError
from dqpipe.results.verdicts import Verdict
from dqpipe.review.audits import Audit, answered

CANDIDATES = 10
"""Thresholds that are tried where the precision has to be sure: the risk is shared among them (Bonferroni)."""


@dataclass(frozen=True)
class Fit:
    """A threshold on the confidence: precision above it with its 95 % interval, and the share of the true claims that it keeps."""

    at_least: float
    precision: float
    low: float
    high: float
    looked: int
    recall: float
    """Of the claims that hold, the share that stays."""


def curve(audit: Audit, said: Sequence[Verdict]) -> list[Fit]:
    """What each threshold would come to, the lowest first. Raises DatasetError where there is nothing to go by."""
    told = [(item.confidence, holds) for item, holds in answered(audit, said) if item.claimed and holds is not None for _ in range(item.times)]
    known = sorted((confidence, holds) for confidence, holds in told if confidence is not None)
    if not told:
        raise DatasetError(f"nothing was looked at yet: dqpipe review OUT --audit {audit.code}")
    if not known:
        raise DatasetError(f"{audit.code} has no confidence: there is no threshold to fit")
    right = sum(holds for _, holds in known)
    fits = []
    for at, (confidence, _) in enumerate(known):
        if at and confidence == known[at - 1][0]:
            continue
        above = [holds for _, holds in known[at:]]
        hits = sum(above)
        fits.append(Fit(confidence, hits / len(above), *clopper_pearson(hits, len(above)), len(above), hits / right if right else 0.0))
    return fits


def fit(audit: Audit, said: Sequence[Verdict], precision: float) -> Fit | None:
    """The lowest threshold whose estimated precision is reached; None where no threshold reaches it."""
    return next((one for one in curve(audit, said) if one.precision >= precision), None)


def sure(audit: Audit, said: Sequence[Verdict], precision: float) -> Fit | None:
    """The lowest of some thresholds above which the precision is reached with 95 %, whichever of them is chosen; None without one."""
    every = curve(audit, said)
    some = [every[round(at * (len(every) - 1) / (CANDIDATES - 1))] for at in range(CANDIDATES)] if len(every) > CANDIDATES else every
    risk = 0.05 / CANDIDATES
    return next((one for one in some if at_least(round(one.precision * one.looked), one.looked, risk) >= precision), None)


def needed(precision: float) -> int:
    """How many draws, all of them right, make a precision sure."""
    return math.ceil(math.log(0.05 / CANDIDATES) / math.log(precision)) if precision < 1 else 0
