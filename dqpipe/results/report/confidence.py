"""How sure each claim is of itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqpipe.results.report.counts import Joined

STEPS = 10


def sure(joined: Joined) -> dict[str, dict[str, Any]]:
    """Per code: findings, how many of them state a confidence, how many of those hold if it is
    right, the middle one, and counts by tenths.
    """
    if "confidence" not in joined.findings:
        return {}
    confidence = joined.findings["confidence"].astype(np.float64)
    found = {}
    for number, code in enumerate(joined.codes):
        own = confidence[joined.code == number]
        stated = own[np.isfinite(own)]
        counts = np.histogram(stated, bins=STEPS, range=(0, 1))[0].tolist()
        told = {
            "hold": float(stated.sum()),
            "middle": float(np.median(stated)) if len(stated) else None,
            "least": float(stated.min()) if len(stated) else None,
        }
        found[code] = {"findings": len(own), "stated": len(stated), **told, "counts": counts}
    return found
