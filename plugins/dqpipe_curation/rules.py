"""The rules of a policy: what each claim leads to.

A rule stands under a code; a glob (`image_quality.*`) covers several. The first rule that fits a claim's code judges it: the
user's in their order, then `RULES`, then `ANY`. A rule judges claims from its `severity` upwards, the others lead to nothing.

    code                             decision   from confidence   below it
    files.unreadable                 drop       any
    files.outside                    drop       any               it was not read; `dataset: {outside: allow}` takes it
    <stage>.failed                   review     any
    duplicates.leak                  drop       0.9               review; the training copy of an evaluation sample
    duplicates.label_conflict        review     any               and the copies are not dropped as copies
    duplicates.exact                 drop       any
    duplicates.near                  drop       0.9               review
    duplicate_rows.…                 as duplicates.…, any
    image_quality.low_information    drop       0.9               review; and the label is not changed
    image_quality.*                  review     any               and the label is not changed: too little can be seen
    label_noise.likely_wrong         relabel    0.9               review
    <stage>.surplus                  drop       any               also as an info; the last in its order, and only so many that the budget is met
    <stage>.redundant                drop       any               also as an info
    any other warning or error       review     any
    any info                         keep
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe.errors import ConfigError, nearest
from dqpipe.model import DECISIONS, SEVERITIES, Findings, Samples

RULES: Mapping[str, object] = {
    "files.unreadable": "drop",
    "files.outside": "drop",
    "*.failed": "review",
    "duplicates.leak": {"decision": "drop", "at_least": 0.9},
    "duplicates.label_conflict": {"decision": "review", "instead_of": ["duplicates.exact", "duplicates.near"]},
    "duplicates.exact": "drop",
    "duplicates.near": {"decision": "drop", "at_least": 0.9},
    "duplicate_rows.leak": "drop",
    "duplicate_rows.label_conflict": {"decision": "review", "instead_of": ["duplicate_rows.exact"]},
    "duplicate_rows.exact": "drop",
    "image_quality.low_information": {"decision": "drop", "at_least": 0.9, "instead_of": ["label_noise.likely_wrong"]},
    "image_quality.*": {"decision": "review", "instead_of": ["label_noise.likely_wrong"]},
    "label_noise.likely_wrong": {"decision": "relabel", "at_least": 0.9},
    "*.surplus": {"decision": "drop", "severity": "info", "budget": True},
    "*.redundant": {"decision": "drop", "severity": "info"},
}
"""What a claim leads to where the user's rules say nothing."""
ANY: Mapping[str, object] = {"*": "review"}
"""What every other warning or error leads to."""
WISHES = ("keep", "review", "relabel", "drop")
"""Decisions from weak to strong: of several wishes for one sample the strongest counts."""
KEEP, REVIEW, RELABEL, DROP = range(4)
_FIELDS = ("decision", "at_least", "otherwise", "severity", "instead_of", "budget")


@dataclass(frozen=True)
class Rule:
    """What the claims of some codes lead to.

    `at_least` is the confidence below which, or without which, `otherwise` takes the place of `decision`; `severity` is
    the least severity that is judged; `instead_of` are codes whose wishes for the same sample this claim takes away. With
    `budget` the claims of a code are a queue: each one's value is its place, its threshold the number of samples wanted, and
    those first in the queue are spared where fewer than that are left otherwise.
    """

    code: str
    decision: str
    at_least: float = 0.0
    otherwise: str = "review"
    severity: str = "warning"
    instead_of: tuple[str, ...] = ()
    budget: bool = False

    @classmethod
    def of(cls, code: str, given: object) -> Rule:
        """A rule from its form in the config: a decision, or a mapping. Raises ConfigError."""
        fields = {"decision": given} if isinstance(given, str) else given
        if not isinstance(fields, Mapping) or "decision" not in fields:
            raise ConfigError(f"the rule for {code} is a decision or a mapping with `decision`, not {given!r}")
        for name in fields:
            if name not in _FIELDS:
                raise ConfigError(f"the rule for {code} has an unknown field {name!r}: {nearest(str(name), _FIELDS)}")
        for name, allowed in (("decision", DECISIONS), ("otherwise", DECISIONS), ("severity", SEVERITIES)):
            if name in fields and fields[name] not in allowed:
                raise ConfigError(f"the rule for {code}: {name} {fields[name]!r} is unknown: {nearest(str(fields[name]), allowed)}")
        least, over = fields.get("at_least", 0.0), fields.get("instead_of", ())
        if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
            raise ConfigError(f"the rule for {code}: at_least is a confidence from 0 to 1, not {least!r}")
        if isinstance(over, str) or not isinstance(over, Sequence) or not all(isinstance(item, str) for item in over):
            raise ConfigError(f"the rule for {code}: instead_of is a list of codes, not {over!r}")
        if not isinstance(fields.get("budget", False), bool):
            raise ConfigError(f"the rule for {code}: budget is true or false, not {fields['budget']!r}")
        return cls(code, **{**fields, "at_least": float(least), "instead_of": tuple(over)})

    def wishes(self, confidence: np.ndarray) -> np.ndarray:
        """What claims of this confidence (NaN: unknown) lead to, as positions in WISHES."""
        sure = np.nan_to_num(confidence, nan=-1.0) >= self.at_least if self.at_least else np.ones(len(confidence), dtype=bool)
        return np.where(sure, WISHES.index(self.decision), WISHES.index(self.otherwise))


def table(own: Mapping[str, object]) -> list[Rule]:
    """The rules in the order in which they are asked: the user's own, the built-in ones, the one for any other code."""
    return [Rule.of(str(code), given) for code, given in (*own.items(), *RULES.items(), *ANY.items())]


def any_of(code: str, patterns: Sequence[str]) -> bool:
    """Whether a code is one of these, or fits one of these globs."""
    return any(fnmatch.fnmatchcase(code, pattern) for pattern in patterns)


@dataclass(frozen=True, eq=False)
class Claims:
    """The judged claims about single samples, as arrays with one entry per claim, in no order that matters.

    `row` and `match` are rows of the samples (match is -1 where the claim names no other sample), `code` a position in
    `names`, `wish` one in WISHES, `weight` orders claims from weak to strong. `queued` are those under a rule with a budget:
    `place` is where they stand in the queue, `wanted` how many samples the budget has room for.
    """

    row: np.ndarray
    match: np.ndarray
    code: np.ndarray
    names: np.ndarray
    wish: np.ndarray
    weight: np.ndarray
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
        return np.isin(self.code, [number for number, name in enumerate(self.names) if any_of(name, patterns)])

    def put_off(self) -> np.ndarray:
        """What the queued claims wish, as positions in WISHES for every claim; they wish nothing until all else is settled."""
        asked = self.wish.copy()
        self.wish[self.queued] = KEEP
        return asked

    def weaken(self, rows: np.ndarray, wishes: Sequence[int], to: int) -> None:
        """Turn these wishes for these samples ([samples] bool) into `to`, in place."""
        self.wish[rows[self.row] & np.isin(self.wish, wishes)] = to


def judge(samples: Samples, findings: Findings, rules: Sequence[Rule]) -> Claims:
    """The claims with what they lead to; without those about no single sample, those that lead nowhere, those overruled."""
    import pandas as pd

    index = pd.Index(samples.ids)
    code, names = pd.factorize(findings["code"], sort=True)
    by_code = [next(rule for rule in rules if any_of(name, [rule.code])) for name in names]
    severity = pd.Index(SEVERITIES).get_indexer(findings["severity"])
    confidence = findings["confidence"].astype(np.float64)
    wish = np.zeros(len(code), dtype=np.int64)
    for number, rule in enumerate(by_code):
        here = np.flatnonzero((code == number) & (severity >= SEVERITIES.index(rule.severity)))
        wish[here] = rule.wishes(confidence[here])
    claims = Claims(
        row=index.get_indexer(findings["id"]),
        match=index.get_indexer(findings["match"]),
        code=code,
        names=names,
        wish=wish,
        weight=severity * 2 + np.nan_to_num(confidence),
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
    return Claims(**{**vars(claims), **{name: values[used] for name, values in vars(claims).items() if name not in ("names", "samples")}})
