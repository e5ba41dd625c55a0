r"""The grammar of gates: conditions on the account that fail a run, parsed, never evaluated.

    gate      = condition { "and" condition }
    condition = [ subject ] operator number [ "%" ]
                without a subject: that of the condition before
    subject   = [ "change of" ] counted [ "in new" ] [ where ] [ "p" ]
              | figure [ where ] | "curated" figure [ where ]
                of the raw set, or of the curated one
              | fact "drift" measure | "any drift" measure
                of each fact against the last version
              | measure
                of the drift of the condition before
              | certified "of" code
                what people said of a claim (dqpipe review --audit)
    counted   = code ("label_noise.likely_wrong"; "files.*" for several) | "any finding"
              | decision | count | figure
    decision  = "dropped" | "relabelled" | "review" | "kept"
                also drop, relabel, reviewed, keep
    count     = "samples" | "curated" | "added" | "marked" | "held" | "unreadable" | "classes"
              | "classes_after" | "splits" | "whole"
              | "dropped_by_policy"     dropped samples but for those that people's verdicts drop
              | "errors"                findings about the whole dataset, of severity error
                                        (whole counts warnings too)
              | "verdicts_stranded"     people's verdicts whose sample now holds other bytes, or
                                        stands under another label
              | "verdicts_followed"     those that went over to a sample that was encoded again
                                        and shows the same
              | "replaced" | "switched" samples that hold other bytes (or values), or stand under
                                        another label, than in the last version
    where     = "in any" scope | "in" scope name
    scope     = "class" | "split" | "group"
    measure   = "p" | "p_adjusted" | "effect" of the new samples
              | "whole"                 how far the whole set is from the whole last version
    operator  = ">" | ">=" | "<" | "<="
    certified = "precision" | "precision_low" | "missed"
                its share that holds, the lower end of that, how many it missed at most
    name      = a word, or a text in double quotes, in which \" and \\ stand for " and \

The word "samples" may follow what is counted ("dropped samples"); a fact (or a column of the
samples) goes by its full name, or by a part of it that no other has ("brightness", "embedding"). A
name that is both a code and a figure is the code.

What a number means. Codes, decisions and counts are numbers of samples; with "%" their share of all
samples of the set, or of the class, split or group ("samples in class cat < 5%" and so on: its
share of the set). A figure is as it is; with "%" a hundred times that. A change is the value less
that of the version published last: with "%" in percentage points for codes, decisions, marked and
held samples, and relative to the last value for the other counts and for figures. Conditions joined
by "and" fail the gate where all of them hold together: in one and the same class, say.

"in new" counts among the samples whose content the last version did not have (new ones, and
replaced ones): "label_noise.likely_wrong in new > 25%" is a share of these. "change of CODE in new"
is their share less the share that all samples of the last version had, in percentage points. "p" is
the probability that chance alone changes a share so far in that direction (Fisher's exact test).
"any finding" is each code by itself that a warning or an error was claimed under.

A condition that no value can meet ("dropped > 500%") is refused: it is a mistake, and a gate that
would never close. What has no value now (a figure that is missing or no number, a class without
samples) fails. Where no version was published yet, what compares with one passes ("first"). Where
there is one and it cannot be compared (too few new samples to tell, another version or other
options of a stage, a class that is new), the gate is "unjudged": it passes, or fails under
`unjudged: fail`.

Without a section `gates` in the pipeline.yaml the DEFAULTS hold, as far as they make sense for the
dataset; `gates: []` is none.
"""

from __future__ import annotations

import contextlib
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dqpipe.errors import ConfigError, listed, nearest

DECISIONS = {"dropped": "drop", "relabelled": "relabel", "review": "review", "kept": "keep"}
SYNONYMS = {
    "drop": "dropped",
    "relabel": "relabelled",
    "relabeled": "relabelled",
    "reviewed": "review",
    "keep": "kept",
}
COMPARED = ("replaced", "switched")
"""Counts of samples compared with the last version."""
BY_POLICY = "dropped_by_policy"
"""The count of samples that are dropped, without those that verdicts drop."""
SHARES = ("curated", "added", "marked", "held", "unreadable", BY_POLICY, *COMPARED)
"""Counts of samples: they have a share, and values for each class, split and group."""
VERDICTS = {
    "verdicts_unmatched": "unmatched",
    "verdicts_stranded": "stranded",
    "verdicts_followed": "followed",
}
"""Counts of verdicts, and their place in run.json."""
NUMBERS = ("classes", "classes_after", "splits", "whole", "errors", *VERDICTS)
"""Counts of other things: whole is the number of findings about the whole dataset, errors that of
the errors among them.
"""
COUNTS = ("samples", *SHARES, *NUMBERS)
CERTIFIED = ("precision", "precision_low", "missed")
MEASURES = ("p", "p_adjusted", "effect", "whole")
SCOPES = ("class", "split", "group")
ANY = "any finding"
OPERATORS = (">", ">=", "<", "<=")
DEFAULTS = (
    ("curated samples < 1", "nothing would be left"),
    (
        "errors >= 1",
        "an error about the whole dataset: an expectation of severity error is not met, say",
    ),
    ("curated samples in any class < 1 and samples in any class > 10", "cleaning emptied a class"),
    (
        "change of unreadable > 5%",
        "files that cannot be read: percentage points more than in the last version",
    ),
    (
        "unreadable in new > 10% and > 2",
        "the same among the samples that are new since the last version",
    ),
    (
        "dropped_by_policy in new > 50% and > 10",
        "more than half of what is new is thrown away, and not by people's verdicts",
    ),
    ("change of dropped_by_policy > 10%", "percentage points more than in the last version"),
    ("change of samples < -50% and < -10", "the set lost half of its samples"),
    ("change of samples in any class <= -100%", "a class is gone"),
    ("change of samples in any class < -50% and < -10", "a class lost half of its samples"),
    (
        "switched in any class > 50% and > 5",
        "most of a class stood under another label in the last version",
    ),
    (
        "replaced > 20% and > 5",
        "other bytes under the same names: everything was encoded again, say",
    ),
    (
        "change of verdicts_stranded > 5",
        "people's verdicts that do not count any more: their samples hold other bytes or labels",
    ),
    (
        "any drift p_adjusted < 0.001 and effect > 0.3",
        "new samples that look unlike all before; effect: 0 is alike, 1 no overlap",
    ),
    (
        "change of any finding > 10% and p < 0.001",
        "a warning or an error jumps, in percentage points of all samples",
    ),
    ("change of any finding in new > 20% and p < 0.001", "or among the new samples"),
)
"""The gates of a pipeline.yaml without a section `gates`, each with its purpose."""
BY_DEFAULT = "the default gates"
"""The place of default gates, for messages."""
LONGEST = 2000
"""Letters of a gate."""
_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.*]))'
    r'|(?P<operator>[<>]=?)|(?P<sign>[%=])|(?P<word>[^\s"<>=%]+)|(?P<wrong>\S))',
)
_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True)
class Subject:
    """The quantity of a condition.

    `kind` is code, decision, count, figure or drift; `key` None is any of the scope.
    """

    kind: str
    name: str
    measure: str = ""
    change: bool = False
    curated: bool = False
    scope: str | None = None
    key: str | None = None
    new: bool = False
    """Whether only samples count that are new since the last version."""

    def __str__(self) -> str:
        if self.kind == "drift":
            return f"{self.name} drift {self.measure}"
        where = (
            ""
            if self.scope is None
            else f" in any {self.scope}"
            if self.key is None
            else f" in {self.scope} {_name(self.key)}"
        )
        new, measure = " in new" if self.new else "", f" {self.measure}" if self.measure else ""
        return f"{'change of ' if self.change else ''}{'curated ' if self.curated else ''}{self.name}{new}{where}{measure}"  # noqa: E501

    @property
    def relative(self) -> bool:
        """Whether a change in "%" is relative to the last value.

        Else it is in percentage points.
        """
        return self.kind == "figure" or self.name in ("samples", "curated", "added", *NUMBERS)

    @property
    def over(self) -> str | None:
        """The word for the key of its values; None where there is only one value."""
        if self.kind == "drift":
            return "fact" if self.name == "any" else None
        return "finding" if self.name == ANY else self.scope if self.key is None else None

    @property
    def compares(self) -> bool:
        """Whether it compares with the version published last."""
        return self.change or self.new or self.kind == "drift" or self.name in COMPARED

    @property
    def only_new(self) -> bool:
        """Whether it is about new samples only, and does not apply without any."""
        return self.new or (self.kind == "drift" and self.measure != "whole")


@dataclass(frozen=True)
class Condition:
    """A subject, an operator and a limit."""

    subject: Subject
    operator: str
    limit: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.subject} {self.limited}"

    @property
    def limited(self) -> str:
        """The condition without its subject."""
        return f"{self.operator} {repr(self.limit).removesuffix('.0')}{'%' if self.percent else ''}"

    def holds(self, value: float) -> bool:
        """Whether the condition is true of a value in the unit of its limit."""
        return {
            ">": value > self.limit,
            ">=": value >= self.limit,
            "<": value < self.limit,
            "<=": value <= self.limit,
        }[self.operator]


@dataclass(frozen=True)
class Gate:
    """Conditions that fail the run if all of them are true; `text` as the user wrote it."""

    conditions: tuple[Condition, ...]
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return " and ".join(str(condition) for condition in self.conditions)

    @property
    def compares(self) -> bool:
        """Whether it compares with the version published last."""
        return any(c.subject.compares for c in self.conditions)


@dataclass(frozen=True)
class Known:
    """The names that a gate may use.

    Codes, figures, facts, and the columns of the samples (None: not known yet).
    """

    codes: Sequence[str]
    figures: Sequence[str]
    facts: Sequence[str] = ()
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(
    text: str,
    where: str,
    codes: Iterable[str],
    figures: Iterable[str],
    facts: Iterable[str] = (),
    columns: Iterable[str] | None = None,
) -> Gate:
    """A gate from its text.

    Raises ConfigError: the place in the text, what is expected there, the nearest right name.
    """
    known = Known(
        list(codes), list(figures), list(facts), None if columns is None else list(columns)
    )
    return Gate(_Parser(text, where, known).conditions(), text)


def default(
    codes: Iterable[str], figures: Iterable[str], facts: Iterable[str], columns: Iterable[str]
) -> tuple[Gate, ...]:
    """The DEFAULTS that apply to a dataset.

    Without classes, or without drift, those that need them are left out.
    """
    told = [list(names) for names in (codes, figures, facts, columns)]
    found = []
    for text, _ in DEFAULTS:
        with contextlib.suppress(ConfigError):
            found.append(parse(text, BY_DEFAULT, *told))
    return tuple(found)


def state(gate: Mapping[str, Any]) -> str:
    """The outcome in a gate's record, also of an earlier dqpipe.

    Passed, failed, unjudged, or first (no version before).
    """
    known = gate.get("state") or (
        "unjudged"
        if gate["passed"] and not gate.get("judged", True)
        else "passed"
        if gate["passed"]
        else "failed"
    )
    return str(known)


def bounds(condition: Condition) -> tuple[float, float]:
    """The least and the largest value that its subject may have, in the unit of its limit."""
    subject, share = (
        condition.subject,
        condition.percent and condition.subject.name not in ("curated", "added"),
    )  # these may be more than there were
    most = 100.0 if share else math.inf
    if subject.kind == "drift" or subject.measure:
        return 0.0, 1.0
    if subject.kind == "figure":
        return -math.inf, math.inf
    if subject.change:
        return (-100.0, math.inf) if condition.percent and subject.relative else (-most, most)
    return 0.0, most


def _name(key: str) -> str:
    if _WORD.fullmatch(key):
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Parser:
    """A recursive-descent parser over the tokens of one gate."""

    def __init__(self, text: str, where: str, known: Known) -> None:
        self.text, self.where, self.known = text, where, known
        if len(text) > LONGEST:
            raise ConfigError(f"a gate has at most {LONGEST} letters, not {len(text)}", where)
        self.tokens = [
            _Token(str(m.lastgroup), m[str(m.lastgroup)], m.start(str(m.lastgroup)))
            for m in _TOKEN.finditer(text.rstrip())
        ]
        self.tokens.append(_Token("end", "", len(text.rstrip())))
        self.at = 0

    # tokens ---------------------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    @property
    def following(self) -> _Token:
        return self.tokens[min(self.at + 1, len(self.tokens) - 1)]

    def take(self) -> _Token:
        token = self.token
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def word(self, *words: str) -> bool:
        """Consume the next token if it is one of these words; returns whether it was."""
        if self.token.kind == "word" and self.token.text in words:
            self.at += 1
            return True
        return False

    def fail(self, message: str, token: _Token | None = None) -> ConfigError:
        token = token or self.token
        place = (
            "at its end"
            if token.kind == "end"
            else f"at letter {token.at + 1} ({token.text[:40]!r})"
        )
        return ConfigError(f"gate {self.text[:200]!r}, {place}: {message}", self.where)

    # grammar --------------------------------------------------------------------------------------

    def conditions(self) -> tuple[Condition, ...]:
        """Everything, to the end of the text."""
        found = [self.condition(None)]
        while self.word("and"):
            found.append(self.condition(found[-1].subject))
        if self.token.kind != "end":
            raise self.fail('"and", or the end, is expected')
        scopes = {c.subject.over for c in found} - {None}
        if len(scopes) > 1:
            raise self.fail(
                f'conditions joined by "and" are about the same places; these are about any '
                f"{listed(sorted(map(str, scopes)))}",
                self.tokens[-1],
            )
        return tuple(found)

    def condition(self, before: Subject | None) -> Condition:
        start = self.token
        subject = self.subject(before)
        if self.token.kind != "operator":
            raise self.fail(f"one of {' '.join(OPERATORS)} is expected")
        operator = self.take().text
        if self.token.kind != "number":
            raise self.fail("a number is expected")
        limit = float(self.token.text)
        if not math.isfinite(limit):
            raise self.fail("this number is too large")
        self.take()
        percent = self.token.kind == "sign" and self.token.text == "%"
        if percent:
            shareless = subject.name in NUMBERS or (
                subject.name == "samples" and subject.scope is None and not subject.new
            )
            if subject.kind == "count" and shareless and not subject.change:
                raise self.fail(f"{subject.name} is a number and has no share: leave % away", start)
            if subject.measure:
                raise self.fail(f"{subject.measure} is a number: leave % away")
            self.take()
        elif subject.change and subject.new and not subject.measure:
            raise self.fail("a change in new is one of shares: write %", self.tokens[self.at - 1])
        condition = Condition(subject, operator, limit + 0.0, percent)
        least, most = bounds(condition)
        if not (condition.holds(least) or condition.holds(most)):
            raise self.fail(
                f"this never holds: {subject} is from {least:g} to "
                f"{most:g}{'%' if percent else ''}",
                start,
            )
        return condition

    def subject(self, before: Subject | None) -> Subject:
        if before is not None and self.token.kind == "operator":
            return before if before.kind == "drift" else replace(before, measure="")
        if (
            before is not None
            and self.token.text == "p"
            and self.following.kind == "operator"
            and before.kind != "drift"
        ):
            return self.chance(before)
        if (
            before is not None
            and before.kind == "drift"
            and self.token.text in MEASURES
            and self.following.kind == "operator"
        ):
            return replace(before, measure=self.take().text)
        if self.token.kind != "word":
            raise self.fail(
                "what must not be is expected: a code, a decision, a count, a figure, or a drift"
            )
        if self.following.kind == "word" and self.following.text == "drift":
            return self.drift()
        change = self.token.text == "change" and self.following.text == "of"
        if change:
            self.take(), self.take()
            if self.following.text == "drift":
                raise self.fail(
                    "drift is against the last version as it is: leave `change of` away"
                )
        counted = replace(self.counted(), change=change)
        if counted.kind != "figure" and counted.name != "samples":
            self.word("samples")
        found = self.place(counted)
        return (
            self.chance(found)
            if self.token.text == "p" and self.following.kind == "operator"
            else found
        )

    def chance(self, subject: Subject) -> Subject:
        """The p value of a change of a share."""
        shares = subject.kind in ("code", "decision") or subject.name in (
            "marked",
            "held",
            "unreadable",
        )
        if not (subject.change and shares):
            raise self.fail(
                "p is that of a change of a finding, a decision, or of marked, held or unreadable "
                "samples"
            )
        self.take()
        return replace(subject, measure="p")

    def counted(self) -> Subject:  # noqa: PLR0911 (a case each)
        """A code, a decision, a count or a figure."""
        token = self.token
        if token.kind != "word":
            raise self.fail("a code, a decision, a count or a figure is expected")
        if token.text in CERTIFIED and self.following.text == "of":
            return self.certified()
        name = SYNONYMS.get(token.text, token.text)
        self.at += 1
        if token.text == "any" and self.word("finding"):
            return Subject("code", ANY)
        if name == "curated" and self.token.text in self.known.figures:
            return Subject("figure", self.take().text, curated=True)
        if name in DECISIONS:
            return Subject("decision", name)
        if name in COUNTS:
            return Subject("count", name)
        if fnmatch.filter(self.known.codes, name):
            return Subject("code", name)
        if name in self.known.figures:
            return Subject("figure", name)
        several = fnmatch.filter(self.known.figures, name)
        if several:
            raise self.fail(f"a gate on figures names one of them: {listed(several)}", token)
        known = [*self.known.codes, *self.known.figures, *DECISIONS, *COUNTS, ANY]
        raise self.fail(f"nothing is called {name[:200]!r}: {nearest(name[:200], known)}", token)

    def certified(self) -> Subject:
        """A certified precision of one finding code."""
        what = self.take().text
        self.take()
        code = self.take()
        if code.kind != "word" or code.text not in self.known.codes:
            raise self.fail(
                f"one code is expected: {nearest(code.text[:200], self.known.codes)}", code
            )
        return Subject("figure", f"{what} of {code.text}")

    def place(self, subject: Subject) -> Subject:
        """The subject in any class, in one class, or as it is."""
        start = self.token
        if self.token.text == "in" and self.following.text == "new":
            self.take(), self.take()
            if subject.kind == "figure" or subject.name in ("curated", "added", *NUMBERS):
                raise self.fail(
                    f"{subject.name} is not counted among new samples: a code, a decision or "
                    f"another count is",
                    start,
                )
            subject = replace(subject, new=True)
        if not self.word("in"):
            return subject
        if subject.name == ANY:
            raise self.fail(
                f"{ANY} is each code of the whole set, or in new: leave the "
                f"{self.token.text or 'class'} away",
                start,
            )
        one = not self.word("any")
        scope = self.token.text
        if self.token.kind != "word" or scope not in SCOPES:
            guess = (
                "class, split or group is expected"
                if not one
                else "any, new, class, split or group is expected"
            )
            raise self.fail(guess)
        if subject.name in NUMBERS:
            raise self.fail(f"{subject.name} is a number of the whole set", start)
        column = "label" if scope == "class" else scope
        if (
            subject.kind != "figure"
            and self.known.columns is not None
            and column not in self.known.columns
        ):  # figures have keys of their own
            raise self.fail(
                f"this dataset has no {column} column (dataset.roles says which of yours it is)"
            )
        self.take()
        return replace(subject, scope=scope, key=self.key(scope) if one else None)

    def key(self, scope: str) -> str:
        if self.token.kind == "quoted":
            return re.sub(r"\\(.)", r"\1", self.take().text[1:-1], flags=re.DOTALL)
        if self.token.kind not in ("word", "number"):
            raise self.fail(
                f"the name of a {scope} is expected, in double quotes if it is more than a word"
            )
        return self.take().text

    def drift(self) -> Subject:
        """A fact's drift, or that of any."""
        if not any(name.rpartition(".")[2] == "effect" for name in self.known.figures):
            raise self.fail("no stage of this pipeline measures drift: add one to its stages")
        fact = self.take()
        self.take()
        name = "any" if fact.text == "any" else self.fact(fact)
        if self.token.kind != "word" or self.token.text not in MEASURES:
            raise self.fail(f"one of {listed(MEASURES)} is expected")
        return Subject("drift", name, self.take().text)

    def fact(self, token: _Token) -> str:
        """The full name of the one fact, or the column of the samples, that is meant."""
        facts = sorted(
            {*self.known.facts, "label", "split", *(self.known.columns or ())}
            - {"id", "content", "media"}
        )
        if token.text in facts:
            return token.text
        meant = [
            f
            for f in facts
            if token.text
            in (f.partition(".")[0], f.partition(".")[0].removesuffix("s"), f.partition(".")[2])
        ]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise self.fail(f"{token.text!r} may be {listed(meant)}: name one of them", token)
        raise self.fail(
            f"no fact is called {token.text[:200]!r}: {nearest(token.text[:200], facts)}", token
        )
