"""What people said of samples.

On disk before anything says so, and above every stage in all later runs.

    <out>/verdicts.jsonl     one JSON line for each verdict; only ever added to, undoing adds a
                             line, too
    {"content", "id", "given", "code", "verdict": keep | drop | relabel | skip, "label", "reviewer",
        "time", "undone",
     "holds", "alike", "audit"}

A verdict is about a content under a given label. Where several samples have both (now, or when it
was given: `alike`), it is about the one with its id. It follows a sample that was encoded again
(see `dqpipe.engine.following`). `code` is what was asked, `holds` whether that claim is right, if
this was answered; `audit` the sample of claims that it belongs to. Of one reviewer the last verdict
on a sample counts; a skip says nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from dqpipe.data.labels import label_text
from dqpipe.errors import DatasetError
from dqpipe.storage import jsonl
from dqpipe.storage.location import Place

log = logging.getLogger(__name__)
FILE = "verdicts.jsonl"
KINDS = ("keep", "drop", "relabel", "skip")


@dataclass(frozen=True)
class Verdict:
    """What a reviewer said of a sample.

    `given` and `label` are labels as JSON values, times ISO in UTC.
    """

    content: str | None
    id: str
    given: Any
    verdict: str
    label: Any = None
    code: str | None = None
    reviewer: str = ""
    time: str = ""
    undone: str | None = None
    holds: bool | None = None
    alike: int = 1
    """How many samples had this content and label when it was given."""
    audit: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from every other one."""
        return (
            self.content,
            self.id,
            label_text(self.given),
            self.code,
            self.verdict,
            self.reviewer,
            self.time,
            self.audit,
        )

    @property
    def about(self) -> tuple[str | None, str | None, str]:
        """The sample as the reviewer saw it: content, given label, id."""
        return self.content, label_text(self.given), self.id

    @property
    def said(self) -> tuple[str, str | None]:
        """What was decided, for comparing."""
        return self.verdict, label_text(self.label) if self.verdict == "relabel" else None


TEXT = (str, type(None))
TYPES: dict[str, tuple[type, ...]] = {
    "content": TEXT,
    "id": (str,),
    "given": (object,),
    "verdict": (str,),
    "label": (object,),
    "code": TEXT,
    "reviewer": (str,),
    "time": (str,),
    "undone": TEXT,
    "holds": (bool, type(None)),
    "alike": (int,),
    "audit": TEXT,
}
"""What may stand in the fields of a line."""
NEEDED = frozenset({"content", "id", "given", "verdict"})
LONGEST, DEEPEST = 1000, 64
"""Letters of a name, a time, a code; levels of a label."""


def json_label(label: object) -> Any:  # noqa: ANN401
    """A label as a JSON value: what JSON does not know is text, a number that is none is null."""
    if isinstance(label, float) and not math.isfinite(label):
        return None
    try:
        return json.loads(json.dumps(label, allow_nan=False))
    except (TypeError, ValueError):
        return label_text(label)


def now() -> str:
    """The time, as verdicts name it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


# on disk ------------------------------------------------------------------------------------------


def add(out: str | Path | Place, verdict: Verdict) -> Verdict:
    """Add a verdict (its time is set where it has none); it is on disk when this returns.

    Raises DatasetError, OutputError.
    """
    return add_all(out, [verdict])[0]


def add_all(out: str | Path | Place, every: Sequence[Verdict]) -> list[Verdict]:
    """Add verdicts in one write; they are on disk when this returns.

    Raises DatasetError (then none is added), OutputError.
    """
    for verdict in every:
        if why := unfit(verdict):
            raise DatasetError(f"the verdict on {verdict.id!r} cannot be kept: {why}")
        if verdict.verdict == "relabel" and verdict.label is None:
            raise DatasetError(f"the verdict on {verdict.id!r} is to relabel, and names no label")
    told = [verdict if verdict.time else replace(verdict, time=now()) for verdict in every]
    if told:
        jsonl.append(out, FILE, *map(asdict, told))
    return told


def undo(out: str | Path | Place, verdict: Verdict) -> Verdict:
    """Take a verdict back; that is on disk when this returns. Raises OutputError."""
    told = replace(verdict, undone=now())
    jsonl.append(out, FILE, asdict(told))
    return told


def verdicts(out: str | Path | Place) -> list[Verdict]:
    """The verdicts of an output that stand, the oldest first.

    A line that is broken is left out, and logged.
    """
    found: dict[tuple[object, ...], Verdict] = {}
    for row in jsonl.rows(out, FILE):
        take(found, row)
    return list(found.values())


def take(
    standing: dict[tuple[object, ...], Verdict], row: Mapping[str, Any]
) -> tuple[Verdict | None, Verdict | None]:
    """Let one line count: a verdict stands from now on, or one that is undone no more.

    What stood in its place, and what stands now.
    """
    verdict = (
        Verdict(**{name: value for name, value in row.items() if name in TYPES})
        if row.keys() >= NEEDED
        else None
    )
    if verdict is None or (why := unfit(verdict)):
        log.warning(
            "%s: a line that is no verdict is left out%s",
            FILE,
            "" if verdict is None else f": {why}",
        )
        return None, None
    if verdict.undone:
        return standing.pop(verdict.key, None), None
    before = standing.get(verdict.key)
    standing[verdict.key] = verdict
    return before, verdict


def unfit(verdict: Verdict) -> str:
    """Why a verdict cannot be one.

    Wrong types, texts that no file can hold, labels nested too deeply; "" if it can.
    """
    wrong = [name for name, kind in TYPES.items() if not isinstance(getattr(verdict, name), kind)]
    if wrong or isinstance(verdict.alike, bool):
        return f"{(wrong or ['alike'])[0]} is of the wrong type"
    if verdict.verdict not in KINDS:
        return f"a verdict is one of {', '.join(KINDS)}, not {verdict.verdict[:40]!r}"
    if any(
        len(text) > LONGEST
        for text in (
            verdict.reviewer,
            verdict.time,
            verdict.code or "",
            verdict.audit or "",
            verdict.undone or "",
        )
    ):
        return f"a name of more than {LONGEST:,} letters"
    return _unsayable([vars(verdict)])


def _unsayable(values: list[Any]) -> str:
    """Why values cannot stand in a line of JSON, "" if they can.

    Text that is not valid Unicode, numbers that are none, lists too deep.
    """
    for _ in range(DEEPEST):
        inside: list[Any] = []
        for value in values:
            if isinstance(value, Mapping):
                inside += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inside += value
            elif isinstance(value, str) and not _is_unicode(value):
                return "a text that is not valid Unicode"
            elif isinstance(value, float) and not math.isfinite(value):
                return "a number that is none"
        if not inside:
            return ""
        values = inside
    return f"something nested more than {DEEPEST} deep"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# what counts --------------------------------------------------------------------------------------


def last_words(every: Iterable[Verdict]) -> list[Verdict]:
    """Of each reviewer and sample the last decision."""
    found: dict[object, Verdict] = {}
    for verdict in every:
        if verdict.verdict != "skip":
            found.pop(key := (verdict.reviewer, verdict.about), None)
            found[key] = verdict
    return list(found.values())


def answers(every: Iterable[Verdict]) -> list[Verdict]:
    """Of each reviewer, sample and claim the last answer to whether the claim holds."""
    found: dict[object, Verdict] = {}
    for verdict in every:
        if verdict.holds is not None and verdict.code:
            found.pop(key := (verdict.reviewer, verdict.about, verdict.code), None)
            found[key] = verdict
    return list(found.values())


def most(said: Iterable[Any]) -> Any:  # noqa: ANN401
    """What most say, None where two things are said as often."""
    ranked = Counter(said).most_common(2)
    return None if len(ranked) == 2 and ranked[0][1] == ranked[1][1] else ranked[0][0]  # noqa: PLR2004


class Pair:
    """Two people's answers to the same questions.

    How many, how many are the same, and Cohen's kappa (1960), one answer at a time.
    """

    def __init__(self) -> None:
        self.samples = self.same = self._chance = 0
        self._one: Counter[object] = Counter()
        self._other: Counter[object] = Counter()

    def add(self, one: object, other: object) -> None:
        """Count two answers to one question."""
        self.samples += 1
        self.same += one == other
        self._chance += self._other[one]
        self._one[one] += 1
        self._chance += self._one[other]
        self._other[other] += 1

    def remove(self, one: object, other: object) -> None:
        """Count them no more."""
        self._other[other] -= 1
        self._chance -= self._one[other]
        self._one[one] -= 1
        self._chance -= self._other[one]
        self.same -= one == other
        self.samples -= 1

    @property
    def kappa(self) -> float | None:
        """None where there are no answers, or chance alone would make them agree."""
        if not self.samples:
            return None
        chance = self._chance / self.samples**2
        return None if chance == 1 else (self.same / self.samples - chance) / (1 - chance)


def kappa(pairs: Sequence[tuple[object, object]]) -> float | None:
    """Cohen's kappa (1960) of two people's answers to the same questions.

    None where chance alone would make them agree.
    """
    told = Pair()
    for one, other in pairs:
        told.add(one, other)
    return told.kappa


class Agreeing:
    """How far people agree, kept up to date.

    A verdict more, or one less, costs the same however many there are.
    """

    def __init__(self) -> None:
        self.words: dict[tuple[str, object, str], dict[tuple[object, ...], object]] = defaultdict(
            dict
        )
        """What it is about, of which sample, who → answers, the last of which counts."""
        self.looks: dict[tuple[str, object], set[str]] = defaultdict(set)
        self.pairs: dict[tuple[str, str, str], Pair] = defaultdict(Pair)

    def change(self, goes: Verdict | None, comes: Verdict | None) -> None:
        """Take a verdict out, put one in."""
        still = [] if comes is None else [what for what, _ in _answered(comes)]
        for verdict, stands in ((goes, False), (comes, True)):
            if verdict is not None:
                for what, answer in _answered(verdict):
                    self._change(what, verdict, answer, stands=stands or what in still)

    def _change(self, what: str, verdict: Verdict, answer: object, *, stands: bool) -> None:
        about, who = verdict.about, verdict.reviewer
        words, others = self.words[what, about, who], self.looks[what, about] - {who}
        before = list(islice(reversed(words.values()), 1))
        if stands:
            words[verdict.key] = answer
        else:
            words.pop(verdict.key, None)
        after = list(islice(reversed(words.values()), 1))
        for other in others if before != after else ():
            theirs = next(reversed(self.words[what, about, other].values()))
            first = who < other
            pair = self.pairs[what, *((who, other) if first else (other, who))]
            for told, count in ((before, pair.remove), (after, pair.add)):
                for mine in told:
                    count(*((mine, theirs) if first else (theirs, mine)))
        (self.looks[what, about].add if after else self.looks[what, about].discard)(who)

    def told(self) -> list[dict[str, Any]]:
        """For each two reviewers who looked at the same samples.

        On what, at how many, how often they agree, and Cohen's kappa.
        """
        return [
            {
                "reviewers": [one, other],
                "on": what,
                "samples": pair.samples,
                "same": pair.same,
                "kappa": pair.kappa,
            }
            for (what, one, other), pair in sorted(self.pairs.items())
            if pair.samples
        ]


def _answered(verdict: Verdict) -> list[tuple[str, object]]:
    """What a verdict answers, and how: the decision, and whether a claim holds."""
    told: list[tuple[str, object]] = (
        [("decisions", verdict.said)] if verdict.verdict != "skip" else []
    )
    return (
        [*told, (str(verdict.code), verdict.holds)]
        if verdict.holds is not None and verdict.code
        else told
    )


def agreement(every: Iterable[Verdict]) -> list[dict[str, Any]]:
    """For each two reviewers who looked at the same samples.

    On what, at how many, how often they agree, and Cohen's kappa.
    """
    agreeing = Agreeing()
    for verdict in every:
        agreeing.change(None, verdict)
    return agreeing.told()
