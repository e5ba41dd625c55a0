"""Answers from labelling tools, matched with samples.

Verdicts to add, and invalid answers with reasons and counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqpipe.data.labels import label_from_text, label_text
from dqpipe.data.wording import many
from dqpipe.errors import ConfigError, DatasetError, listed
from dqpipe.plugin.exchange import Answer, below
from dqpipe.results.verdicts import KINDS, Verdict, add_all, json_label, last_words, now, verdicts
from dqpipe.results.versions import Version
from dqpipe.review.exchange.queue import Seen
from dqpipe.review.rulings import as_given
from dqpipe.storage.location import place
from dqpipe.storage.paths import media_path

SHOWN, REASONS = 5, 12
"""Places that a message names for each reason, and reasons that it names."""


class _Wrong(Exception):  # noqa: N818
    """The reason why an answer is invalid."""


@dataclass
class Taken:
    """The result of matching the answers of a file."""

    new: list[Verdict] = field(default_factory=list)
    known: int = 0
    """Answers that are in verdicts.jsonl already."""
    older: int = 0
    """Answers from before the reviewer's last word on the sample."""
    unanswered: int = 0
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Why → where."""

    @property
    def wrong(self) -> int:
        """The number of invalid answers."""
        return sum(map(len, self.problems.values()))

    def lines(self) -> list[str]:
        """The result as lines of text."""
        counts = Counter(verdict.verdict for verdict in self.new)
        kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])
        lines = [f"{many(len(self.new), 'verdict')} added" + (f" ({kinds})" if kinds else "")]
        rest = (
            (self.known, "known already"),
            (self.older, "older than what the reviewer said since"),
            (self.unanswered, "without an answer"),
        )
        return [*lines, *(f"{n:,} {what}" for n, what in rest if n), *self.complaints()]

    def complaints(self) -> list[str]:
        """The invalid answers, by reason, with their places in the file."""
        ranked = sorted(self.problems.items(), key=lambda item: (-len(item[1]), item[0]))
        lines = [f"{len(where):,} {why}: {listed(where, SHOWN)}" for why, where in ranked[:REASONS]]
        rest = sum(len(where) for _, where in ranked[REASONS:])
        return [*lines, f"{rest:,} for other reasons"] if rest else lines


def take(
    out: str | Path,
    version: Version,
    answers: Sequence[Answer],
    reviewer: str | None = None,
    *,
    partly: bool = False,
    new_labels: bool = False,
    dry: bool = False,
) -> Taken:
    """Add answers to an output's verdicts: all, or none and DatasetError unless `partly`.

    Raises ConfigError, OutputError too.
    """
    taken = Settling(Seen(version), verdicts(place(out)), reviewer, new_labels=new_labels).settle(
        answers
    )
    if taken.wrong and not partly:
        problems = "\n  ".join(taken.complaints())
        raise DatasetError(
            f"{taken.wrong:,} of {many(len(answers), 'answer')} cannot be taken over, so none was "
            f"(--partly takes the others):\n  {problems}"
        )
    if not dry:
        add_all(out, taken.new)
    return taken


class Settling:
    """The samples that answers can be matched with, and the verdicts that exist already."""

    def __init__(
        self, seen: Seen, all_verdicts: Sequence[Verdict], reviewer: str | None, *, new_labels: bool
    ) -> None:
        self.seen, self.reviewer, self.new_labels = (
            seen,
            (reviewer or "").strip() or None,
            new_labels,
        )
        self.last = {
            (verdict.reviewer, verdict.about): verdict for verdict in last_words(all_verdicts)
        }
        self.skipped = {
            (verdict.reviewer, verdict.about)
            for verdict in all_verdicts
            if verdict.verdict == "skip"
        }
        self.alike = Counter(zip(seen.contents, seen.texts, strict=True))
        self.numbered = False

    @cached_property
    def same(self) -> dict[tuple[str | None, str | None], list[int]]:
        """Content and label → rows."""
        found = defaultdict(list)
        for row, key in enumerate(zip(self.seen.contents, self.seen.texts, strict=True)):
            found[key].append(row)
        return found

    @cached_property
    def named(self) -> dict[str, list[int]]:
        """Media, as other tools name them → rows."""
        found = defaultdict(list)
        for row, media in enumerate(self.seen.media):
            if media is not None:
                try:
                    name = below(media_path(self.seen.root, media), self.seen.root, "")
                except ConfigError:
                    continue
                found[
                    name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                ].append(row)
        return found

    def settle(self, answers: Iterable[Answer]) -> Taken:
        """Match all answers. Raises ConfigError where the reviewer is unknown."""
        every, taken = list(answers), Taken()
        self.numbered = (
            len({answer.annotator for answer in every if answer.annotator is not None}) > 1
        )
        found: dict[tuple[str, int], list[tuple[Answer, Verdict]]] = defaultdict(list)
        for answer in every:
            if (
                answer.problem is None
                and answer.verdict is None
                and answer.label is None
                and answer.chosen is None
            ):
                taken.unanswered += 1
                continue
            try:
                row, verdict = self._verdict(answer)
            except _Wrong as wrong:
                taken.problems[str(wrong)].append(answer.where)
                continue
            found[verdict.reviewer, row].append((answer, verdict))
        for group in found.values():
            if len({verdict.said for _, verdict in group}) > 1:
                taken.problems["has two answers of one reviewer"] += [
                    answer.where for answer, _ in group
                ]
            else:
                self._sort(group[0][1], taken)
                taken.known += len(group) - 1
        return taken

    def _sort(self, verdict: Verdict, taken: Taken) -> None:
        last = self.last.get((verdict.reviewer, verdict.about))
        if (
            (verdict.reviewer, verdict.about) in self.skipped
            if verdict.verdict == "skip"
            else last is not None and last.said == verdict.said
        ):
            taken.known += 1
        elif last is not None and verdict.time and verdict.time < last.time:
            taken.older += 1
        else:
            taken.new.append(
                verdict if verdict.time else Verdict(**{**vars(verdict), "time": now()})
            )

    def _verdict(self, answer: Answer) -> tuple[int, Verdict]:
        if answer.problem is not None:
            raise _Wrong(answer.problem)
        row = self._row(answer)
        kind, label = self._said(answer, self.seen.texts[row])
        content, given = self.seen.contents[row], self.seen.labels[row]
        alike = self.alike[content, self.seen.texts[row]]
        return row, Verdict(
            content,
            self.seen.ids[row],
            json_label(given),
            kind,
            label,
            answer.code,
            self._whose(answer),
            _time(answer.time),
            alike=alike,
        )

    def _whose(self, answer: Answer) -> str:
        if answer.reviewer is not None and answer.reviewer.strip():
            return answer.reviewer.strip()
        if answer.annotator is not None and (self.numbered or self.reviewer is None):
            return f"annotator {answer.annotator}"
        if self.reviewer is None:
            raise ConfigError(f"{answer.where} does not say who answered: give --reviewer NAME")
        return self.reviewer

    # what it is about -----------------------------------------------------------------------------

    def _row(self, answer: Answer) -> int:
        row = self.seen.row.get(answer.id) if answer.id is not None else self._by_media(answer)
        if row is None or (
            answer.content is not None and self.seen.contents[row] != answer.content
        ):
            moved = (
                self.same.get((answer.content, answer.given), [])
                if answer.content is not None and answer.knows_given
                else []
            )
            if len(moved) == 1:  # renamed since
                return moved[0]
            raise _Wrong(
                "name a sample that this version does not have"
                if row is None
                else "are about other content than the sample has now"
            )
        if self.seen.contents[row] is None:
            raise _Wrong("are about a sample without content to recognise it by")
        if answer.knows_given and (answer.given or None) != (self.seen.texts[row] or None):
            raise _Wrong("are about another label than the sample has now")
        return row

    def _by_media(self, answer: Answer) -> int | None:
        rows = self.named.get(answer.media or "", [])
        if len(rows) > 1:
            raise _Wrong("name a file that is several samples")
        return rows[0] if rows else None

    # what it says ---------------------------------------------------------------------------------

    def _said(self, answer: Answer, given: str | None) -> tuple[str, Any]:
        """The verdict, and the new label as a JSON value."""
        kind = answer.verdict
        if kind is not None and kind not in KINDS:
            raise _Wrong(f"say {kind[:40]!r}, which is none of {', '.join(KINDS)}")
        if kind in ("drop", "skip"):
            return kind, None
        if answer.label is None and answer.chosen is None:
            if kind == "relabel":
                raise _Wrong("want another label, and name none")
            return "keep", None
        label = self._label(answer)
        kept = as_given(label) == given or (
            self.seen.kind == "tags"
            and given is not None
            and sorted(label) == sorted(json.loads(given))
        )
        if (kind == "keep") != kept and kind is not None:
            raise _Wrong(
                "keep the label and name another one"
                if kind == "keep"
                else "relabel to the label that the sample has"
            )
        return ("keep", None) if kept else ("relabel", json_label(label))

    def _label(self, answer: Answer) -> Any:  # noqa: ANN401
        kind, chosen = self.seen.kind, answer.chosen
        if chosen is not None and kind == "tags":
            label: Any = list(dict.fromkeys(chosen))
        elif chosen is not None and len(chosen) != 1:
            raise _Wrong("choose two labels where a sample has one")
        else:
            label = self._parsed(chosen[0] if chosen else answer.label)
        if kind == "numbers" and not (isinstance(label, (int, float)) and math.isfinite(label)):
            raise _Wrong("name a label that is no number")
        names: list[Any] = label if kind == "tags" else [label_text(label)]
        unknown = [str(name) for name in names if name not in self.known]
        if unknown and kind in ("classes", "tags") and not self.new_labels:
            raise _Wrong(
                f"name the label {unknown[0][:80]!r}, which no sample has (--new-labels takes it)"
            )
        return label

    @cached_property
    def known(self) -> frozenset[str]:
        """Classes and tags."""
        return frozenset(self.seen.classes)

    def _parsed(self, text: str | None) -> Any:  # noqa: ANN401
        try:
            label = label_from_text(text or "", self.seen.type)
            pa.array([label], self.seen.type if not pa.types.is_null(self.seen.type) else None)
        except (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException):
            raise _Wrong(
                f"name the label {(text or '')[:80]!r}, which cannot be a label of this set"
            ) from None
        if self.seen.kind == "tags" and not (
            isinstance(label, list) and all(isinstance(tag, str) for tag in label)
        ):
            raise _Wrong("name a label that is no list of tags")
        if self.seen.kind == "other" and label is None:
            raise _Wrong("name no label")
        return label


def _time(text: str | None) -> str:
    """A time in the form of verdicts; empty where it cannot be read."""
    try:
        parsed = datetime.fromisoformat((text or "").strip())
        return (
            parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        ).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""
