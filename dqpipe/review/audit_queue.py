"""The queue of an audit: one blind question about each sample.

Samples with and without the finding come mixed and look the same: no reasons, confidence,
suggestion or decision is shown. Where the finding names another sample, samples without it are
shown beside the one they look most like.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError
from dqpipe.results.verdicts import Verdict, verdicts
from dqpipe.review import audits
from dqpipe.review.audits import Audit, Certificate
from dqpipe.review.review_queue import ReviewQueue
from dqpipe.review.sample_view import AMONG, SampleView
from dqpipe.storage.fact_store import shuffle_key

HOLDS = {"yes": True, "no": False, "skip": None}


class AuditQueue(ReviewQueue):
    """The review queue of one audit."""

    def __init__(self, out: Path, view: SampleView, audit: Audit, *, which: str = "open") -> None:
        self.audit = audit
        self.drawn = {view.row[item.id]: item for item in audit.items}
        super().__init__(out, view, which=which, code=audit.code)

    def _queue(self) -> list[int]:
        return list(self.drawn)

    def _counts(self, verdict: Verdict) -> bool:
        return verdict.audit == self.audit.audit

    def _said_of(self, verdict: Verdict) -> object:
        return verdict.holds

    def _item(self, row: int) -> dict[str, Any]:
        help_ = self.helps.get(self.audit.code, self.audit.code)
        shown = self._beside(row) | {
            "unreadable": self.view.unreadable.get(row),
            "suggestion": None,
        }
        return shown | {
            "question": f"Is it so? “{help_}”",
            "compared": self._compared(row, (), None),
            "reasons": [],
            "because": [],
        }

    def _compared(self, row: int, found: Any, suggestion: str | None) -> list[dict[str, Any]]:  # noqa: ANN401
        groups = super()._compared(row, found, suggestion)
        if not any(item.match for item in self.audit.items):
            return groups
        match = self.drawn[row].match
        other = self.view.row.get(match) if match else self._nearest(row)
        return (
            [] if other is None else [{"title": "compared with", "samples": [self._beside(other)]}]
        ) + groups

    @cached_property
    def _some(self) -> list[int]:
        """Some samples of all, drawn by their ids."""
        every = [row for row in range(len(self.view.ids)) if row not in self.view.unreadable]
        return sorted(every, key=lambda row: shuffle_key(1, self.view.ids[row]))[:AMONG]

    def _nearest(self, row: int) -> int | None:
        return next(iter(self.view.nearest(row, self._some)), None)

    def progress(self, reviewer: str) -> dict[str, Any]:
        """The number of answers, and the result once all samples are answered."""
        progress = super().progress(reviewer)
        made = self.certificate() if not progress["left"] else None
        return progress | (
            {"result": f"{made.said[:1].upper()}{made.said[1:]}. The next run says so."}
            if made
            else {}
        )

    def certificate(self) -> Certificate | None:
        """The certificate of the answers so far."""
        return audits.certify(self.audit, self.verdict_log.all())

    def say(self, row: int, answer: str, reviewer: str, label: str | None = None) -> Verdict:
        """Store an answer. Raises DatasetError for an invalid one."""
        if answer not in HOLDS or row not in self.drawn:
            raise DatasetError("no such answer, or no such sample in the audit")
        return self._add(
            self.verdict(
                row,
                "skip",
                reviewer,
                code=self.audit.code,
                holds=HOLDS[answer],
                audit=self.audit.audit,
            )
        )

    def undo(self, reviewer: str, audit: str | None = None) -> int | None:
        """Undo this reviewer's last answer."""
        return super().undo(reviewer, audit or self.audit.audit)


def opened(out: Path, view: SampleView, code: str, number: int) -> Audit:
    """The unfinished audit of this finding code and version, or a new one. Raises DatasetError."""
    version = view.version
    made_by = audits.maker(code, version.record["stages"])
    if not made_by:
        raise DatasetError(f"no stage of this version claims {code}")
    known = [audit for audit in audits.audits(out) if audit.code == code]
    all_verdicts = verdicts(out)
    for audit in known:
        if audit.version == version.id and len(audits.answered(audit, all_verdicts)) < len(
            audit.items
        ):
            return audit
    audit = audits.draw(
        version.id, view.samples, version.findings, code, made_by, number, len(known)
    )
    audits.keep(out, audit)
    return audit
