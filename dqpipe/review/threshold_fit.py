"""A threshold from verdicts.

The lowest confidence above which a finding code reaches a precision, and its recall.

Every draw of an audit represents the same number of findings, so that the draws above a confidence
are a fair sample of the findings above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dqpipe.data.intervals import clopper_pearson, lower_bound
from dqpipe.errors import DatasetError
from dqpipe.results.verdicts import Verdict
from dqpipe.review.audits import Audit, answered

CANDIDATES = 10
"""Number of thresholds tried where the precision must be certified.

The risk is divided among them (Bonferroni).
"""


@dataclass(frozen=True)
class Fit:
    """A threshold on the confidence.

    The precision above it with a 95 % interval, and its recall among audited findings.
    """

    at_least: float
    precision: float
    low: float
    high: float
    looked: int
    recall: float
    """The share of the confirmed findings that lie above the threshold."""


def curve(audit: Audit, all_verdicts: Sequence[Verdict]) -> list[Fit]:
    """Precision and recall of each threshold, the lowest first.

    Raises DatasetError where nothing was reviewed.
    """
    answers = [
        (item.confidence, holds)
        for item, holds in answered(audit, all_verdicts)
        if item.claimed and holds is not None
        for _ in range(item.times)
    ]
    known = sorted((confidence, holds) for confidence, holds in answers if confidence is not None)
    if not answers:
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
        fits.append(
            Fit(
                confidence,
                hits / len(above),
                *clopper_pearson(hits, len(above)),
                len(above),
                hits / right if right else 0.0,
            )
        )
    return fits


def fit(audit: Audit, all_verdicts: Sequence[Verdict], precision: float) -> Fit | None:
    """The lowest threshold whose estimated precision is high enough; None where there is none."""
    return next((one for one in curve(audit, all_verdicts) if one.precision >= precision), None)


def sure(audit: Audit, all_verdicts: Sequence[Verdict], precision: float) -> Fit | None:
    """The lowest of some thresholds whose precision is certified at 95 % for all of them together.

    None where there is none.
    """
    every = curve(audit, all_verdicts)
    some = (
        [every[round(at * (len(every) - 1) / (CANDIDATES - 1))] for at in range(CANDIDATES)]
        if len(every) > CANDIDATES
        else every
    )
    risk = 0.05 / CANDIDATES
    return next(
        (
            one
            for one in some
            if lower_bound(round(one.precision * one.looked), one.looked, risk) >= precision
        ),
        None,
    )


def needed(precision: float) -> int:
    """The number of draws that certify a precision if all of them are confirmed."""
    return math.ceil(math.log(0.05 / CANDIDATES) / math.log(precision)) if precision < 1 else 0
