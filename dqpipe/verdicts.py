"""What people said of samples: on disk before anything says so, and above every stage in all later runs.

    <out>/verdicts.jsonl     one JSON line for each verdict; only ever added to, undoing adds a line, too
    {"content", "id", "given", "code", "verdict": keep | drop | relabel | skip, "label", "reviewer", "time", "undone",
     "holds", "alike", "audit"}

A verdict is about a content under a given label. Where several samples have both (now, or when it was given: `alike`), it is
about the one with its id. `code` is what was asked, `holds` whether that claim is right, if this was answered; `audit` the
sample of claims that it belongs to. Of one reviewer the last verdict on a sample counts; a skip says nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from dqpipe import lines
from dqpipe.errors import DatasetError
from dqpipe.model import label_text
from dqpipe.places import Place

log = logging.getLogger(__name__)
FILE = "verdicts.jsonl"
KINDS = ("keep", "drop", "relabel", "skip")


@dataclass(frozen=True)
class Verdict:
    """What a reviewer said of a sample; `given` and `label` are labels as JSON values, times ISO in UTC."""

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
        return self.content, self.id, label_text(self.given), self.code, self.verdict, self.reviewer, self.time, self.audit

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
    "content": TEXT, "id": (str,), "given": (object,), "verdict": (str,), "label": (object,), "code": TEXT, "reviewer": (str,), "time": (str,),
    "undone": TEXT, "holds": (bool, type(None)), "alike": (int,), "audit": TEXT,
}  # fmt: skip
"""What may stand in the fields of a line."""


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


# on disk -------------------------------------------------------------------------------------------------------------


def add(out: str | Path | Place, verdict: Verdict) -> Verdict:
    """Add a verdict (its time is set where it has none); it is on disk when this returns. Raises DatasetError, OutputError."""
    return add_all(out, [verdict])[0]


def add_all(out: str | Path | Place, every: Sequence[Verdict]) -> list[Verdict]:
    """Add verdicts in one write; they are on disk when this returns. Raises DatasetError (then none is added), OutputError."""
    for verdict in every:
        if verdict.verdict not in KINDS:
            raise DatasetError(f"a verdict is one of {', '.join(KINDS)}, not {verdict.verdict!r}")
        if verdict.verdict == "relabel" and verdict.label is None:
            raise DatasetError(f"the verdict on {verdict.id} is to relabel, and names no label")
    told = [verdict if verdict.time else replace(verdict, time=now()) for verdict in every]
    if told:
        lines.append(out, FILE, *map(asdict, told))
    return told


def undo(out: str | Path | Place, verdict: Verdict) -> Verdict:
    """Take a verdict back; that is on disk when this returns. Raises OutputError."""
    told = replace(verdict, undone=now())
    lines.append(out, FILE, asdict(told))
    return told


def verdicts(out: str | Path | Place) -> list[Verdict]:
    """The verdicts of an output that stand, the oldest first. A line that is broken is left out, and logged."""
    found: dict[tuple[object, ...], Verdict] = {}
    for row in lines.rows(out, FILE):
        take(found, row)
    return list(found.values())


def take(standing: dict[tuple[object, ...], Verdict], row: Mapping[str, Any]) -> None:
    """Let one line count: a verdict stands from now on, or one that is undone no more."""
    try:
        verdict = Verdict(**{name: value for name, value in row.items() if name in TYPES})
    except TypeError:
        verdict = None
    if verdict is None or verdict.verdict not in KINDS or not all(isinstance(getattr(verdict, name), kind) for name, kind in TYPES.items()):
        log.warning("%s: a line that is no verdict is left out", FILE)
    elif verdict.undone:
        standing.pop(verdict.key, None)
    else:
        standing[verdict.key] = verdict


# what counts ---------------------------------------------------------------------------------------------------------


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


def kappa(pairs: Sequence[tuple[object, object]]) -> float | None:
    """Cohen's kappa (1960) of two people's answers to the same questions; None where chance alone would make them agree."""
    n = len(pairs)
    if not n:
        return None
    same = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[name] * second[name] for name in first) / n**2
    return None if chance == 1 else (same - chance) / (1 - chance)


def agreement(every: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For each two reviewers who looked at the same samples: on what, at how many, how often they agree, and Cohen's kappa."""
    on: dict[str, dict[object, dict[str, object]]] = defaultdict(lambda: defaultdict(dict))
    for verdict in last_words(every):
        on["decisions"][verdict.about][verdict.reviewer] = verdict.said
    for verdict in answers(every):
        on[str(verdict.code)][verdict.about][verdict.reviewer] = verdict.holds
    told = []
    for what, looks in sorted(on.items()):
        for one, other in combinations(sorted({name for said in looks.values() for name in said}), 2):
            pairs = [(said[one], said[other]) for said in looks.values() if one in said and other in said]
            if pairs:
                told.append({"reviewers": [one, other], "on": what, "samples": len(pairs), "same": sum(a == b for a, b in pairs), "kappa": kappa(pairs)})
    return told
