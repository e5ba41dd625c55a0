"""An audit on the desk: one question about each sample, and nothing from which the pipeline's answer could be guessed.

Claims and sound samples come mixed and look the same: no reasons, no confidence, no suggestion, no decision. Where a claim names
another sample, a sound one is shown beside the one it looks most like.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError
from dqpipe.results.verdicts import Verdict, verdicts
from dqpipe.review import audits
from dqpipe.review.audits import Audit, Certificate
from dqpipe.review.review_queue import Desk
from dqpipe.review.sample_view import AMONG, Sight
from dqpipe.storage.fact_store import shuffle_key

HOLDS = {"yes": True, "no": False, "skip": None}


class Blind(Desk):
    """The queue of an audit."""

    def __init__(self, out: Path, sight: Sight, audit: Audit, *, which: str = "open") -> None:
        self.audit = audit
        self.drawn = {sight.row[item.id]: item for item in audit.items}
        super().__init__(out, sight, which=which, code=audit.code)

    def _queue(self) -> list[int]:
        return list(self.drawn)

    def _counts(self, verdict: Verdict) -> bool:
        return verdict.audit == self.audit.audit

    def _said_of(self, verdict: Verdict) -> object:
        return verdict.holds

    def _item(self, row: int) -> dict[str, Any]:
        help_ = self.helps.get(self.audit.code, self.audit.code)
        shown = self._beside(row) | {"unreadable": self.sight.unreadable.get(row), "suggestion": None}
        return shown | {"question": f"Is it so? “{help_}”", "compared": self._compared(row, (), None), "reasons": [], "because": []}

    def _compared(self, row: int, found: Any, suggestion: str | None) -> list[dict[str, Any]]:  # noqa: ANN401
        groups = super()._compared(row, found, suggestion)
        if not any(item.match for item in self.audit.items):
            return groups
        match = self.drawn[row].match
        other = self.sight.row.get(match) if match else self._nearest(row)
        return ([] if other is None else [{"title": "compared with", "samples": [self._beside(other)]}]) + groups

    @cached_property
    def _some(self) -> list[int]:
        """Some samples of all, drawn by their ids."""
        every = [row for row in range(len(self.sight.ids)) if row not in self.sight.unreadable]
        return sorted(every, key=lambda row: shuffle_key(1, self.sight.ids[row]))[:AMONG]

    def _nearest(self, row: int) -> int | None:
        return next(iter(self.sight.nearest(row, self._some)), None)

    def progress(self, reviewer: str) -> dict[str, Any]:
        """How far it is, and what came out when all were looked at."""
        told = super().progress(reviewer)
        made = self.certificate() if not told["left"] else None
        return told | ({"result": f"{made.said[:1].upper()}{made.said[1:]}. The next run says so."} if made else {})

    def certificate(self) -> Certificate | None:
        """What the answers so far say."""
        return audits.certify(self.audit, self.heard.all())

    def say(self, row: int, said: str, reviewer: str, label: str | None = None) -> Verdict:
        """Put an answer on disk. Raises DatasetError for one that cannot be."""
        if said not in HOLDS or row not in self.drawn:
            raise DatasetError("no such answer, or no such sample in the audit")
        return self._add(self.verdict(row, "skip", reviewer, code=self.audit.code, holds=HOLDS[said], audit=self.audit.audit))

    def undo(self, reviewer: str, audit: str | None = None) -> int | None:
        """Take back this reviewer's last answer."""
        return super().undo(reviewer, audit or self.audit.audit)


def opened(out: Path, sight: Sight, code: str, number: int) -> Audit:
    """The audit of this claim and version that is not finished, or a new draw. Raises DatasetError."""
    version = sight.version
    made_by = audits.maker(code, version.record["stages"])
    if not made_by:
        raise DatasetError(f"no stage of this version claims {code}")
    known = [audit for audit in audits.audits(out) if audit.code == code]
    said = verdicts(out)
    for audit in known:
        if audit.version == version.id and len(audits.answered(audit, said)) < len(audit.items):
            return audit
    audit = audits.draw(version.id, sight.samples, version.findings, code, made_by, number, len(known))
    audits.keep(out, audit)
    return audit
