"""The order in which samples are worth a review: a simple expected value of a look at each.

    value = uncertainty · stake
    uncertainty = 0.05 + 4 c (1 - c)       c is the confidence of the sample's most uncertain
                                           warning or error, 1/2 where it has none
    stake = 2 under review, 1 dropped or relabelled, 1/4 kept; twice that in validation and test
        splits;
            times 1 + ln(1 + k) where k findings name the sample as what others are compared with

Samples come before all others if a reviewer confirmed a finding of theirs that had no consequence.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.tables import DECISIONS, Findings, Samples
from dqpipe.results.versions import Version

STAKES = {"keep": 0.25, "drop": 1.0, "relabel": 1.0, "review": 2.0}
UNSAID = 0.5
"""Confidence of a finding that has none."""


def values(version: Version, code: str | None = None) -> np.ndarray:
    """float64 [n]: the value of a look at each sample of a version, by findings of `code` or of
    all; 0 without a finding.
    """
    samples, findings = version.samples, version.findings
    if code is not None:
        findings = Findings(findings.table.filter(pc.equal(findings.table.column("code"), code)))
    uncertain = uncertainty(samples, findings)
    decided = version.decisions.table
    order = pc.index_in(samples.table.column("id"), value_set=decided.column("id").combine_chunks())
    kinds = pc.index_in(
        decided.column("decision").take(order), value_set=pa.array(list(DECISIONS))
    ).to_numpy(zero_copy_only=False)
    stake = np.array([STAKES[name] for name in DECISIONS])[kinds.astype(np.int64)]
    stake = stake * np.where(samples.training(), 1, 2) * (1 + np.log1p(_matched(samples, findings)))
    if code is None:
        uncertain = np.where((uncertain == 0) & (kinds != 0), 0.05 + 4 * UNSAID**2, uncertain)
    return np.asarray(uncertain * stake, dtype=np.float64)


def uncertainty(samples: Samples, findings: Findings) -> np.ndarray:
    """float64 [n]: the uncertainty of the most uncertain warning or error of each sample.

    0 without one.
    """
    table = findings.table.filter(
        pc.and_(
            pc.is_valid(findings.table.column("id")),
            pc.not_equal(findings.table.column("severity"), "info"),
        )
    )
    rows = _rows(samples, table.column("id"))
    c = pc.fill_null(table.column("confidence"), UNSAID).to_numpy()
    found = np.zeros(len(samples))
    np.maximum.at(found, rows, 0.05 + 4 * c * (1 - c))
    return found


def _matched(samples: Samples, findings: Findings) -> np.ndarray:
    """How many findings name each sample as their match, int [n]."""
    matches = findings.table.column("match").drop_null()
    rows = pc.index_in(matches, value_set=samples.table.column("id").combine_chunks()).drop_null()
    return np.bincount(rows.to_numpy().astype(np.int64), minlength=len(samples))


def _rows(samples: Samples, ids: pa.ChunkedArray) -> np.ndarray:
    return (
        pc.index_in(ids, value_set=samples.table.column("id").combine_chunks())
        .to_numpy()
        .astype(np.int64)
    )
