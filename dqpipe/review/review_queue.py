"""The review queue: which sample is next, what the page shows of it, and its verdicts.

Any number of pages share a queue, and any number of queues an output: a sample that one page has is
reserved for some minutes, and verdicts are read from the one file that all append to.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from dqpipe.data.labels import label_text
from dqpipe.errors import ConfigError, DatasetError
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Verdict
from dqpipe.review import priority
from dqpipe.review.rulings import as_given, label_for, places, stranded
from dqpipe.review.sample_view import SampleView
from dqpipe.review.verdict_log import VerdictLog
from dqpipe.review.waiting import Waiting

AHEAD = 4
"""Samples that a page gets at a time: the present one, and the next ones to load in advance."""
LEASE = 600.0
"""Seconds for which samples are reserved for a page."""
MOST_LABELS = 5000
MOST_QUEUES = 64
"""Reviewers whose queues of second opinions are kept at a time."""
PREPARED = 64
"""Samples whose neighbours are searched at once."""
SAID = ("keep", "drop", "relabel", "skip")


class ReviewQueue:
    """The queue of an output: `which` is open (no verdict yet), second (verdicts of others only) or
    disagreed.
    """

    def __init__(
        self, out: Path, view: SampleView, *, which: str = "open", code: str | None = None
    ) -> None:
        self.out, self.view, self.which, self.code = out, view, which, code
        self.verdict_log = VerdictLog(out)
        self.lock = threading.RLock()
        self.words: dict[int, dict[str, dict[tuple[object, ...], Verdict]]] = {}
        """Row → reviewer → the verdicts of this queue, the oldest first."""
        self.queues: dict[str, Waiting] = {}
        self.item_cache: dict[int, dict[str, Any]] = {}
        self.leases: dict[int, tuple[str, float]] = {}
        version = view.version
        self.helps = {
            name: claim["help"]
            for stage in version.record["stages"]
            for name, claim in stage["claims"].items()
        }
        if code is not None and code not in self.helps:
            from dqpipe.errors import nearest

            raise ConfigError(f"no stage claims {code!r}: {nearest(code, self.helps)}")
        self.doubted = frozenset(
            self._rows_of(pc.unique(version.findings.table.column("id").drop_null()).to_pylist())
        )
        self.alike = Counter(
            (content, as_given(label))
            for content, label in zip(view.contents, view.labels, strict=True)
        )
        self.order = self._queue()
        self.findings = self._findings(self.order)
        self.decisions = self._decisions(self.order)
        self.verdict_log.tell(self._changed)

    def _rows_of(self, ids: Iterable[str]) -> list[int]:
        return [self.view.row[sample] for sample in ids if sample in self.view.row]

    def _queue(self) -> list[int]:
        value = priority.values(self.view.version, self.code)
        urgent = [self._at(v) for v in self.verdict_log.all() if v.holds and v.verdict == "skip"]
        value[[row for row in urgent if row is not None]] += 1e6
        value[[row for row, content in enumerate(self.view.contents) if content is None]] = (
            0  # nothing to recognise them by
        )
        value[self._stranded()] += 1e3
        rows = np.flatnonzero(value > 0)
        return [int(row) for row in rows[np.argsort(-value[rows], kind="stable")]]

    def _stranded(self) -> list[int]:
        """The rows whose verdicts are about other content or another label than now, and which need
        another review.
        """
        samples, moved, all_verdicts = (
            self.view.version.samples,
            self.view.version.moved,
            self.verdict_log.all(),
        )
        where = places(samples, all_verdicts, moved)
        left = stranded(
            samples,
            [verdict for verdict in all_verdicts if verdict.about not in where],
            {self.view.ids[row] for row in where.values()},
        )
        return self._rows_of({verdict.id for verdict in left})

    def _findings(self, rows: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        table = self.view.version.findings.table
        known = {self.view.ids[row] for row in rows}
        found = defaultdict(list)
        for row in table.filter(pc.is_valid(table.column("id"))).to_pylist():
            if row["id"] in known:
                found[self.view.row[row["id"]]].append(row)
        return found

    def _decisions(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        known = {self.view.ids[row] for row in rows}
        return {
            self.view.row[row["id"]]: row
            for row in self.view.version.decisions.table.to_pylist()
            if row["id"] in known
        }

    # what is next ---------------------------------------------------------------------------------

    def next(self, session: str, reviewer: str, first: int | None = None) -> list[dict[str, Any]]:
        """The next samples for a page, the present one first (`first`, if it is shown again).

        They stay reserved for it.
        """
        with self.lock:
            self.verdict_log.refresh()
            waiting, now = self._waiting(reviewer), time.monotonic()

            def free(row: int) -> bool:
                return row != first and (
                    (lease := self.leases.get(row)) is None or lease[0] == session or lease[1] < now
                )

            again = [] if first is None else [first]
            rows = [*again, *waiting.first(AHEAD - len(again), free)] or waiting.first(
                1, lambda row: row != first
            )  # better a second look than none
            self.leases |= dict.fromkeys(rows, (session, now + LEASE))
            if not all(row in self.item_cache for row in rows):
                self.view.prepare(waiting.first(PREPARED, lambda row: row != first))
            return [self.item(row, reviewer) for row in rows]

    def _waiting(self, reviewer: str) -> Waiting:
        """The rows that this reviewer has yet to review."""
        whose = reviewer if self.which == "second" else ""
        if whose not in self.queues:
            while len(self.queues) >= MOST_QUEUES:
                self.queues.pop(next(iter(self.queues)))
            self.queues[whose] = Waiting(self.order, lambda row: self._waits(row, whose))
        return self.queues[whose]

    def _waits(self, row: int, reviewer: str) -> bool:
        """Whether this reviewer has yet to review a row."""
        by_reviewer = self.words.get(row, {})
        if self.which == "open":
            return not by_reviewer
        if self.which == "second":
            return bool(by_reviewer) and reviewer not in by_reviewer
        last = (self._said_of(next(reversed(words.values()))) for words in by_reviewer.values())
        return len({one for one in last if one is not None}) > 1

    def _changed(self, goes: Verdict | None, comes: Verdict | None) -> None:
        """Update the counts for an added and a removed verdict."""
        for verdict in (goes, comes):
            row = self._at(verdict) if verdict is not None and self._counts(verdict) else None
            if verdict is None or row is None:
                continue
            words = self.words.setdefault(row, {}).setdefault(verdict.reviewer, {})
            if verdict is comes:
                words[verdict.key] = verdict
            elif comes is None or comes.key != verdict.key:
                words.pop(verdict.key, None)
            if not words:
                del self.words[row][verdict.reviewer]
            if not self.words[row]:
                del self.words[row]
            for reviewer, queue in self.queues.items():
                queue.put(row, waits=self._waits(row, reviewer))

    def _counts(self, verdict: Verdict) -> bool:
        """Whether a verdict is one of this queue."""
        return verdict.audit is None

    def _said_of(self, verdict: Verdict) -> object:
        """The answer of a verdict; None where it has none."""
        return None if verdict.verdict == "skip" else verdict.said

    def _at(self, verdict: Verdict) -> int | None:
        """The row of a verdict's sample."""
        row = self.view.row.get(verdict.id)
        now = self.view.version.moved.get(verdict.about, verdict.content)
        same = (
            row is not None
            and self.view.contents[row] == now
            and as_given(self.view.labels[row]) == label_text(verdict.given)
        )
        return row if same else None

    def progress(self, reviewer: str) -> dict[str, Any]:
        """The progress of all reviewers, and their agreement."""
        with self.lock:
            left, mine, agreed = (
                len(self._waiting(reviewer)),
                self.verdict_log.count(reviewer, None),
                self.verdict_log.agreement(),
            )
        return {
            "left": left,
            "total": len(self.order),
            "done": len(self.order) - left,
            "mine": mine,
            "agreement": agreed,
        }

    # one sample -----------------------------------------------------------------------------------

    def item(self, row: int, reviewer: str) -> dict[str, Any]:
        """What the page shows of a sample, as JSON values."""
        if row not in self.item_cache:
            self.item_cache[row] = self._item(row)
        return self.item_cache[row] | {"said": self._said(row, reviewer)}

    def _item(self, row: int) -> dict[str, Any]:
        found, decided = self.findings.get(row, []), self.decisions.get(row, {})
        suggestion = decided.get("new_label") or next(
            (f["suggestion"] for f in found if f["suggestion"]), None
        )
        because = decided.get("because") or []
        code = (
            self.code
            or next((c for c in because if c in self.helps), None)
            or (found[0]["code"] if found else None)
        )
        item = {
            "row": row,
            "id": self.view.ids[row],
            "label": label_text(self.view.labels[row]),
            "suggestion": suggestion,
            "code": code,
        }
        shown = {
            "picture": self.view.has_picture(row),
            "unreadable": self.view.unreadable.get(row),
            "cells": self.view.cells(row),
        }
        reasons = [
            self.reason(finding)
            for finding in sorted(
                found, key=lambda f: (f["code"] not in because, f["severity"], f["code"])
            )
        ]
        return (
            item
            | shown
            | {
                "decision": decided.get("decision", "keep"),
                "because": because,
                "reasons": reasons,
                "compared": self._compared(row, found, suggestion),
            }
        )

    def reason(self, finding: dict[str, Any]) -> dict[str, Any]:
        """A finding in words."""
        names = ("value", "threshold", "confidence")
        numbers = ", ".join(
            f"{name} {finding[name]:.4g}" for name in names if finding[name] is not None
        )
        others = ", ".join(
            f"{name} {finding[name]}"
            for name in ("match", "suggestion", "part")
            if finding[name] is not None
        )
        says = finding["detail"] or self.helps.get(finding["code"], "")
        return {
            "code": finding["code"],
            "severity": finding["severity"],
            "says": says,
            "numbers": ", ".join(t for t in (numbers, others) if t),
        }

    def _compared(
        self, row: int, found: Sequence[dict[str, Any]], suggestion: str | None
    ) -> list[dict[str, Any]]:
        """The samples shown for comparison.

        Matches, and typical members of the given and the suggested class.
        """
        matches = list(dict.fromkeys(self._rows_of(f["match"] for f in found if f["match"])))[:4]
        groups = [("compared with", matches)] if matches else []
        given = as_given(self.view.labels[row])
        groups += [
            (f"labelled {name}", self.view.peers(row, name, self.doubted))
            for name in dict.fromkeys((given, suggestion))
            if name is not None
        ]
        return [
            {"title": title, "samples": [self._beside(other) for other in rows]}
            for title, rows in groups
            if rows
        ]

    def _beside(self, row: int) -> dict[str, Any]:
        label = label_text(self.view.labels[row])
        return {
            "row": row,
            "id": self.view.ids[row],
            "label": label,
            "picture": self.view.has_picture(row),
            "cells": self.view.cells(row),
        }

    def _said(self, row: int, reviewer: str) -> list[dict[str, Any]]:
        """The verdicts of others, shown only in the queue of disagreements."""
        if self.which != "disagreed":
            return []
        every = (
            next((v for v in reversed(words.values()) if v.verdict != "skip"), None)
            for words in self.words.get(row, {}).values()
        )
        words = sorted((v for v in every if v is not None), key=lambda v: v.time)
        return [
            {
                "reviewer": v.reviewer,
                "verdict": v.verdict,
                "label": label_text(v.label),
                "time": v.time,
                "mine": v.reviewer == reviewer,
            }
            for v in words
        ]

    def labels(self) -> list[str]:
        """The labels that occur in the dataset."""
        return sorted(self.view.classes)[:MOST_LABELS]

    # saying it ------------------------------------------------------------------------------------

    def say(self, row: int, kind: str, reviewer: str, label: str | None = None) -> Verdict:
        """Store a verdict. Raises DatasetError for an invalid one."""
        if kind not in SAID or not 0 <= row < len(self.view.ids) or row not in self.decisions:
            raise DatasetError("no such verdict, or no such sample in the queue")
        return self._add(
            self.verdict(
                row,
                kind,
                reviewer,
                self._label(label) if kind == "relabel" else None,
                self._code(row),
            )
        )

    def verdict(
        self,
        row: int,
        kind: str,
        reviewer: str,
        label: object = None,
        code: str | None = None,
        **more: Any,  # noqa: ANN401
    ) -> Verdict:
        """A verdict on a sample with the content and label that the version has."""
        content, given = self.view.contents[row], self.view.labels[row]
        return Verdict(
            content,
            self.view.ids[row],
            verdicts.json_label(given),
            kind,
            verdicts.json_label(label),
            code,
            reviewer,
            alike=self.alike[content, as_given(given)],
            **more,
        )

    def _add(self, verdict: Verdict) -> Verdict:
        with self.lock:
            added = verdicts.add(self.out, verdict)
            self.verdict_log.refresh()
        return added

    def undo(self, reviewer: str, audit: str | None = None) -> int | None:
        """Undo this reviewer's last verdict; its row, None if there was none."""
        with self.lock:
            self.verdict_log.refresh()
            last = self.verdict_log.last(reviewer, audit)
            if last is None:
                return None
            verdicts.undo(self.out, last)
            self.verdict_log.refresh()
            return self._at(last)

    def _code(self, row: int) -> str | None:
        because = self.decisions[row].get("because") or []
        codes = [f["code"] for f in self.findings.get(row, [])]
        return self.code or next(
            (code for code in because if code in codes), codes[0] if codes else None
        )

    def _label(self, text: str | None) -> object:
        if not text or "label" not in self.view.samples:
            raise DatasetError("a new label is wanted")
        try:
            return label_for(text, self.view.samples.table.schema.field("label").type)
        except ValueError:
            raise DatasetError(f"{text!r} cannot be a label of this set") from None
