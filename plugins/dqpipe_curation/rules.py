"""The rules of a policy, which assign a decision to each finding code.

A rule stands under a code; a glob (`image_quality.*`) covers several. The first rule that fits a
claim's code judges it: the user's in their order, then `RULES`, then `ANY`. A rule judges claims
from its `severity` upwards, the others lead to nothing.

    code                             decision   from confidence   below it
    files.unreadable                 drop       any
    files.outside                    drop       any               it was not read; `dataset:
                                                                  {outside: allow}` takes it
    <stage>.failed                   review     any
    duplicates.leak                  drop       0.9               review; the training copy of an
                                                                  evaluation sample
    duplicates.label_conflict        review     any               and the copies are not dropped as
                                                                  copies
    duplicates.exact                 drop       any
    duplicates.normalised            drop       0.9               review
    duplicates.near                  drop       0.9               review
    duplicate_rows.…                 as duplicates.…, any
    image_quality.low_information    drop       0.9               review; and the label is not
                                                                  changed
    image_quality.*                  review     any               and the label is not changed: too
                                                                  little can be seen
    *.likely_wrong                   review     any               with `relabel`: relabel where the
                                                                  suggestion is sure enough
    <stage>.surplus                  drop       any               also as an info; the last in its
                                                                  order, and only so many that the
                                                                  budget is met
    <stage>.redundant                drop       any               also as an info
    any other warning or error       review     any
    any info                         keep
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe import DECISIONS, SEVERITIES, ConfigError, Findings, Samples, listed, nearest

RULES: Mapping[str, object] = {
    "files.unreadable": "drop",
    "files.outside": "drop",
    "*.failed": "review",
    "duplicates.leak": {"decision": "drop", "at_least": 0.9},
    "duplicates.label_conflict": {
        "decision": "review",
        "instead_of": ["duplicates.exact", "duplicates.normalised", "duplicates.near"],
    },
    "duplicates.exact": "drop",
    "duplicates.normalised": {"decision": "drop", "at_least": 0.9},
    "duplicates.near": {"decision": "drop", "at_least": 0.9},
    "duplicate_rows.leak": "drop",
    "duplicate_rows.label_conflict": {"decision": "review", "instead_of": ["duplicate_rows.exact"]},
    "duplicate_rows.exact": "drop",
    "image_quality.low_information": {
        "decision": "drop",
        "at_least": 0.9,
        "instead_of": ["label_noise.likely_wrong"],
    },
    "image_quality.*": {"decision": "review", "instead_of": ["label_noise.likely_wrong"]},
    "*.surplus": {"decision": "drop", "severity": "info", "budget": True},
    "*.redundant": {"decision": "drop", "severity": "info"},
}
"""The built-in rules, which apply after the user's."""
ANY: Mapping[str, object] = {"*": "review"}
"""The rule for all other warnings and errors."""
WISHES = ("keep", "review", "relabel", "drop")
"""Decisions from weak to strong; the strongest proposal for a sample counts."""
KEEP, REVIEW, RELABEL, DROP = range(4)
_FIELDS = (
    "decision",
    "at_least",
    "suggestion_at_least",
    "certified",
    "otherwise",
    "severity",
    "instead_of",
    "budget",
)
WRONG_LABEL = "*.likely_wrong"
"""The claims that `relabel` is about."""
CERTIFIED = "audits.precision"
"""A finding about the whole dataset that the policy is shown.

The lower end (`value`) of the certified precision of the claim in `part`.
"""


@dataclass(frozen=True)
class Relabelling:
    """When labels are changed: by a floor on the chance that the suggestion is right, with or
    without an audit of the claim.

    `certified` is the least precision (the lower end of its interval) that an audit on this dataset
    must have found of the claim; `max_share` the largest share of a class that gets another label.
    """

    at_least: float = 0.9
    certified: float = 0.0
    max_share: float = 0.2

    @classmethod
    def of(cls, given: object) -> Relabelling:
        """From its form in the config, a mapping. Raises ConfigError."""
        names = tuple(vars(cls()))
        if not isinstance(given, Mapping):
            raise ConfigError(f"relabel is a mapping of {listed(names)}, not {given!r}")
        for name, value in given.items():
            if name not in names:
                raise ConfigError(
                    f"relabel has an unknown field {name!r}: {nearest(str(name), names)}"
                )
            if not _is_share(value):
                raise ConfigError(f"relabel: {name} is a number from 0 to 1, not {value!r}")
        return cls(**{name: float(value) for name, value in given.items()})

    def rules(self) -> Mapping[str, object]:
        """The rule that it stands for."""
        return {
            WRONG_LABEL: {
                "decision": "relabel",
                "suggestion_at_least": self.at_least,
                "certified": self.certified,
            }
        }


@dataclass(frozen=True)
class Rule:
    """What the claims of some codes lead to.

    `at_least` is the confidence below which, or without which, `otherwise` takes the place of
    `decision`; so are `suggestion_at_least`, the chance that the suggestion is right, and
    `certified`, the precision that an audit found at least. `severity` is the least severity that
    is judged; `instead_of` are codes whose wishes for the same sample this claim takes away. With
    `budget` the claims of a code are a queue: each one's value is its place, its threshold the
    number of samples wanted, and those first in the queue are spared where fewer than that are
    left.
    """

    code: str
    decision: str
    at_least: float = 0.0
    suggestion_at_least: float = 0.0
    certified: float = 0.0
    otherwise: str = "review"
    severity: str = "warning"
    instead_of: tuple[str, ...] = ()
    budget: bool = False

    @classmethod
    def of(cls, code: str, given: object) -> Rule:
        """A rule from its form in the config: a decision, or a mapping. Raises ConfigError."""
        fields = {"decision": given} if isinstance(given, str) else given
        if not isinstance(fields, Mapping) or "decision" not in fields:
            raise ConfigError(
                f"the rule for {code} is a decision or a mapping with `decision`, not {given!r}"
            )
        for name in fields:
            if name not in _FIELDS:
                raise ConfigError(
                    f"the rule for {code} has an unknown field {name!r}: "
                    f"{nearest(str(name), _FIELDS)}"
                )
        for name, allowed in (
            ("decision", DECISIONS),
            ("otherwise", DECISIONS),
            ("severity", SEVERITIES),
        ):
            if name in fields and fields[name] not in allowed:
                raise ConfigError(
                    f"the rule for {code}: {name} {fields[name]!r} is unknown: "
                    f"{nearest(str(fields[name]), allowed)}"
                )
        over = fields.get("instead_of", ())
        floors = {
            name: fields[name]
            for name in ("at_least", "suggestion_at_least", "certified")
            if name in fields
        }
        for name, least in floors.items():
            if not _is_share(least):
                raise ConfigError(
                    f"the rule for {code}: {name} is a number from 0 to 1, not {least!r}"
                )
        if (
            isinstance(over, str)
            or not isinstance(over, Sequence)
            or not all(isinstance(item, str) for item in over)
        ):
            raise ConfigError(f"the rule for {code}: instead_of is a list of codes, not {over!r}")
        if not isinstance(fields.get("budget", False), bool):
            raise ConfigError(
                f"the rule for {code}: budget is true or false, not {fields['budget']!r}"
            )
        return cls(
            code,
            **{
                **fields,
                **{name: float(least) for name, least in floors.items()},
                "instead_of": tuple(over),
            },
        )

    def wishes(self, confidence: np.ndarray, chance: np.ndarray, precision: float) -> np.ndarray:
        """What claims of this confidence, and this chance that the suggestion is right (NaN.

        Unknown), lead to, as positions in WISHES.

        `precision` is what an audit of the claim found at least, 0 without one.
        """
        sure = np.full(len(confidence), precision >= self.certified)
        for numbers, least in ((confidence, self.at_least), (chance, self.suggestion_at_least)):
            if least:
                sure &= np.nan_to_num(numbers, nan=-1.0) >= least
        return np.where(sure, WISHES.index(self.decision), WISHES.index(self.otherwise))


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def table(own: Mapping[str, object], relabelling: Relabelling | None = None) -> list[Rule]:
    """The rules in the order in which they are asked.

    The user's own, the built-in ones, the one for any other code.
    """
    more = relabelling.rules() if relabelling else {}
    every = [(str(code), _explicit(str(code), given)) for code, given in own.items()]
    return [
        Rule.of(str(code), given)
        for code, given in (*every, *more.items(), *RULES.items(), *ANY.items())
    ]


def _explicit(code: str, given: object) -> object:
    """A user's rule: one that names its code, not a glob, judges claims of every severity.

    What is a queue stays one.
    """
    fields = {"decision": given} if isinstance(given, str) else given
    if any(mark in code for mark in "*?[") or not isinstance(fields, Mapping):
        return given
    usual = next((rule for known, rule in RULES.items() if fnmatch.fnmatchcase(code, known)), None)
    budget = {"budget": True} if isinstance(usual, Mapping) and usual.get("budget") else {}
    return {"severity": "info", **budget, **fields}


def idle(findings: Findings, own: Mapping[str, object]) -> list[str]:
    """Sentences about the user's rules that matched no finding, with reasons."""
    rules, told = table(own), []
    seen = (
        findings.table.select(["code", "severity", "id"])
        .group_by(["code", "severity"])
        .aggregate([("id", "count")])
        .to_pylist()
    )
    for number, rule in enumerate(rules[: len(own)]):
        fits = [row for row in seen if row["id_count"] and any_of(row["code"], [rule.code])]
        first = [
            row
            for row in fits
            if not any(any_of(row["code"], [before.code]) for before in rules[:number])
        ]
        if not any(
            SEVERITIES.index(row["severity"]) >= SEVERITIES.index(rule.severity) for row in first
        ):
            why = (
                "nothing was found of it"
                if not fits
                else "an earlier rule judges all of it"
                if not first
                else "only milder claims were found"
            )
            told.append(f"{rule.code} ({why})")
    return told


def precisions(findings: Findings) -> dict[str, float]:
    """The certified precision (its lower end) of each claim that was audited."""
    some = findings["code"] == CERTIFIED
    return {
        str(part): float(low)
        for part, low in zip(findings["part"][some], findings["value"][some], strict=True)
    }


def chances(findings: Findings, confidence: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The chance that each suggestion is right [f], NaN where it is unknown.

    As the stage tells it; or by the certified precision of the claim ([f], 0 without one): that the
    label is wrong, which the audit told, times the chance that the suggestion is right if it is.
    """
    if "suggestion_confidence" not in findings:
        return np.full(len(findings), np.nan)
    told = findings["suggestion_confidence"].astype(np.float64)
    if_wrong = np.clip(told / np.maximum(confidence, 1e-9), 0, 1)
    return np.fmax(told, np.where(precision > 0, precision * if_wrong, np.nan))


def any_of(code: str, patterns: Sequence[str]) -> bool:
    """Whether a code equals one of these, or matches one of these globs."""
    return any(fnmatch.fnmatchcase(code, pattern) for pattern in patterns)


@dataclass(frozen=True, eq=False)
class Claims:
    """The judged claims about single samples, as arrays with one entry per claim, in no order that
    matters.

    `row` and `match` are rows of the samples (match is -1 where the claim names no other sample),
    `code` a position in `names`, `wish` one in WISHES, `weight` orders claims from weak to strong,
    `chance` is that of a right suggestion. `queued` are those under a rule with a budget: `place`
    is where they stand in the queue, `wanted` how many samples the budget has room for.
    """

    row: np.ndarray
    match: np.ndarray
    code: np.ndarray
    names: np.ndarray
    wish: np.ndarray
    weight: np.ndarray
    chance: np.ndarray
    suggestion: np.ndarray
    queued: np.ndarray
    place: np.ndarray
    wanted: np.ndarray
    samples: int

    def strongest(self) -> np.ndarray:
        """[samples] int: the strongest wish for each sample."""
        found = np.full(self.samples, KEEP)
        np.maximum.at(found, self.row, self.wish)
        return found

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """[samples] bool: the samples of the chosen claims."""
        found = np.zeros(self.samples, dtype=bool)
        found[self.row[chosen]] = True
        return found

    def of(self, patterns: Sequence[str]) -> np.ndarray:
        """[claims] bool: those of these codes or globs."""
        return np.isin(
            self.code, [number for number, name in enumerate(self.names) if any_of(name, patterns)]
        )

    def put_off(self) -> np.ndarray:
        """What the queued claims wish, as positions in WISHES for every claim.

        They wish nothing until all else is settled.
        """
        asked = self.wish.copy()
        self.wish[self.queued] = KEEP
        return asked

    def weaken(self, rows: np.ndarray, wishes: Sequence[int], to: int) -> None:
        """Turn these wishes for these samples ([samples] bool) into `to`, in place."""
        self.wish[rows[self.row] & np.isin(self.wish, wishes)] = to


def judge(samples: Samples, findings: Findings, rules: Sequence[Rule]) -> Claims:
    """The claims with what they lead to.

    Without those about no single sample, those that lead nowhere, those overruled.
    """
    import pandas as pd

    index = pd.Index(samples.ids)
    code, names = pd.factorize(findings["code"], sort=True)
    by_code = [next(rule for rule in rules if any_of(name, [rule.code])) for name in names]
    severity = pd.Index(SEVERITIES).get_indexer(findings["severity"])
    confidence = findings["confidence"].astype(np.float64)
    precision = precisions(findings)
    known = np.array([precision.get(str(name), 0.0) for name in names])[code]
    chance = chances(findings, confidence, known)
    wish = np.zeros(len(code), dtype=np.int64)
    for number, rule in enumerate(by_code):
        here = np.flatnonzero((code == number) & (severity >= SEVERITIES.index(rule.severity)))
        wish[here] = rule.wishes(
            confidence[here], chance[here], precision.get(str(names[number]), 0.0)
        )
    claims = Claims(
        row=index.get_indexer(findings["id"]),
        match=index.get_indexer(findings["match"]),
        code=code,
        names=names,
        wish=wish,
        weight=severity * 2 + np.nan_to_num(confidence),
        chance=chance,
        suggestion=findings["suggestion"],
        queued=np.array([rule.budget for rule in by_code], dtype=bool)[code],
        place=findings["value"].astype(np.float64),
        wanted=np.nan_to_num(findings["threshold"].astype(np.float64)),
        samples=len(samples),
    )
    used = (claims.row >= 0) & (claims.wish > KEEP)
    for number, rule in enumerate(by_code):
        if rule.instead_of:
            speaking = claims.rows(used & (code == number))
            used &= ~(claims.of(rule.instead_of) & speaking[claims.row])
    return Claims(
        **{
            **vars(claims),
            **{
                name: values[used]
                for name, values in vars(claims).items()
                if name not in ("names", "samples")
            },
        }
    )
