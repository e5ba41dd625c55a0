"""The policy: findings become decisions by rules, and limits weaken them.

    findings ──rules──▶ a proposal per finding ──▶ one new label? ──▶ training sample? ──▶ below
        max_drop? ──▶ beyond the budget?
        ──▶ a copy left? ──the strongest proposal of each sample──▶ decisions

Of several proposals for a sample drop precedes relabel, relabel review, and review keep. The
exception is a rule with `instead_of`: its finding cancels the proposals of those codes for the same
sample. So copies with different labels are reviewed, and none is dropped as a copy of the other,
since a person has to say which label is right; a training copy of an evaluation sample is dropped
all the same.

Each limit that weakens a proposal adds a mark to `because`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe import Decide, Decisions, Findings, Samples, extension, label_text, labels, option
from dqpipe_curation.rules import (
    DROP,
    KEEP,
    RELABEL,
    REVIEW,
    WISHES,
    Claims,
    Relabelling,
    Rule,
    idle,
    judge,
    table,
)

UNSETTLED, EVALUATION, CEILING = "policy.unsettled", "policy.evaluation", "policy.ceiling"
RELABELS, BUDGET, LAST_COPY = "policy.relabel_ceiling", "policy.budget", "policy.last_copy"
REASONS = {
    UNSETTLED: "no single other label is suggested",
    EVALUATION: "the sample is not for training",
    CEILING: "more of the class, or of all, would have been dropped than max_drop allows",
    RELABELS: (
        "more of the class, or of all, would have got another label than relabel: {max_share} "
        "allows"
    ),
    BUDGET: "of those that were chosen before a surplus sample some are dropped for other reasons",
    LAST_COPY: "all that the sample is a copy of is dropped for other reasons",
}
"""Why a drop or a relabelling became a review, or (the last two) the sample is kept."""


@extension
class Policy(Decide):
    """Rules from findings to decisions, with a limit on the share that is dropped."""

    name = "policy"
    version = 3
    reasons = REASONS

    rules: dict[str, Any] = option(
        help="code (or a glob such as image_quality.*) to keep, drop, relabel or review, or to {decision, at_least: confidence, "  # noqa: E501
        "otherwise: review, severity: warning, instead_of: [codes]}; the first that fits counts, "
        "and the built-in ones come last",
        factory=dict,
    )
    relabel: dict[str, float] | None = option(
        None,
        "when a label that is likely wrong is changed to the suggested one; null: never, a person "
        "looks at it. {at_least: 0.9}: the chance that the "
        "suggestion is right, as the stage estimates it; {certified: 0.95}: only once an audit "
        "(dqpipe review OUT --audit CODE) has found at least "
        "this precision of the claim on this dataset; max_share (0.2): the largest share of the "
        "training samples of any class, and of all, that "
        "gets another label, the rest is reviewed",
    )
    max_drop: float = option(
        0.2,
        "largest share of the training samples of any class, and of all, that may be dropped; the "
        "strongest claims drop up to it, "
        "the rest is reviewed with policy.ceiling among the reasons",
        ge=0,
        le=1,
    )
    uncounted: list[str] = option(
        help=(
            "codes (or globs) whose drops do not count against max_drop: nothing can be kept of "
            "the sample, or nothing may be"
        ),
        factory=lambda: [
            "files.unreadable",
            "files.outside",
            "duplicates.leak",
            "duplicate_rows.leak",
            "*.redundant",
        ],
    )
    touch_evaluation: bool = option(
        False, "whether samples of validation and test splits may be dropped and relabelled as well"
    )
    hold: bool = option(
        False,
        (
            "whether samples under review stay out of the curated set until somebody has looked "
            "at them"
        ),
    )

    def check(self) -> None:
        """Raise ConfigError for an invalid rule."""
        table(self.rules, self.relabelling())

    def relabelling(self) -> Relabelling | None:
        """The conditions of relabelling; None: only where a rule relabels. Raises ConfigError."""
        return None if self.relabel is None else Relabelling.of(self.relabel)

    def codes(self) -> list[str]:
        """The codes and globs of the user's rules, so that misspelt ones can be refused."""
        own = [Rule.of(str(code), given) for code, given in self.rules.items()]
        return sorted({code for rule in own for code in (rule.code, *rule.instead_of)})

    def idle(self, findings: Findings) -> list[str]:
        """The user's rules that judged nothing, and why."""
        return idle(findings, self.rules)

    def decide(self, samples: Samples, findings: Findings) -> Decisions:
        """One row per sample; findings about the whole dataset decide nothing."""
        relabelling = self.relabelling()
        claims = judge(samples, findings, table(self.rules, relabelling))
        asked = claims.put_off()
        marks = {}
        marks[UNSETTLED] = unsettled(samples, claims)
        claims.weaken(marks[UNSETTLED], [RELABEL], to=REVIEW)
        touchable = samples.training() | self.touch_evaluation
        marks[EVALUATION] = ~touchable & (claims.strongest() > REVIEW)
        claims.weaken(marks[EVALUATION], [RELABEL, DROP], to=REVIEW)
        free = claims.rows((claims.wish == DROP) & claims.of(self.uncounted))
        of = classes(samples)
        marks[CEILING] = above_ceiling(
            claims, DROP, claims.weight, of, touchable & ~free, self.max_drop
        )
        claims.weaken(marks[CEILING], [DROP], to=REVIEW)
        marks[RELABELS] = above_ceiling(
            claims, RELABEL, claims.chance, of, touchable, (relabelling or Relabelling()).max_share
        )
        claims.weaken(marks[RELABELS], [RELABEL], to=REVIEW)
        marks[BUDGET] = spared(claims, touchable, held=self.hold)
        marks[EVALUATION] |= claims.rows(claims.queued & ~touchable[claims.row])
        out = claims.queued & touchable[claims.row] & ~marks[BUDGET][claims.row]
        claims.wish[out] = asked[out]
        marks[LAST_COPY] = last_copies(claims)
        claims.weaken(marks[LAST_COPY], [DROP], to=KEEP)
        return decisions(samples, claims, marks)


def unsettled(samples: Samples, claims: Claims) -> np.ndarray:
    """[n] bool: samples to relabel, but with no new label or with several."""
    import pandas as pd

    asks = np.flatnonzero(claims.wish == RELABEL)
    rows = claims.row[asks]
    present = (
        [label_text(label) for label in samples["label"][rows]]
        if "label" in samples
        else [None] * len(rows)
    )
    new = [s if s != p else None for s, p in zip(claims.suggestion[asks], present, strict=True)]
    count = pd.Series(new, dtype=object).groupby(rows).nunique()
    found = np.zeros(len(samples), dtype=bool)
    found[count.index[count != 1].to_numpy(dtype=np.int64)] = True
    return found


def classes(samples: Samples) -> np.ndarray:
    """[n] int: the number of each sample's class, a last one for those without.

    All 0 where labels are no classes.
    """
    known = labels.classes(samples)
    return np.where(known.codes < 0, len(known.names), known.codes)


def above_ceiling(
    claims: Claims,
    wish: int,
    strength: np.ndarray,
    of: np.ndarray,
    counted: np.ndarray,
    share: float,
) -> np.ndarray:
    """[n] bool: samples whose strongest wish is this one, and that more certain ones leave no room
    for, in their class (`of`) or in all.

    The strongest claim of a sample counts (`strength` [claims]), then the id. `counted` are the
    samples that make up a class: for training, and not dropped anyway.
    """
    weight = np.full(claims.samples, -1.0)
    asks = claims.wish == wish
    np.maximum.at(weight, claims.row[asks], np.nan_to_num(strength[asks]))
    ordered = np.flatnonzero((weight >= 0) & counted & (claims.strongest() == wish))
    ordered = ordered[np.argsort(-weight[ordered], kind="stable")]
    above = np.zeros(claims.samples, dtype=bool)
    for group in (of, np.zeros_like(of)):
        left = ordered[~above[ordered]]
        room = np.floor(
            share * np.bincount(group[counted], minlength=group.max(initial=0) + 1) + 1e-9
        )
        above[left[_place(group[left]) >= room[group[left]]]] = True
    return above


def _place(groups: np.ndarray) -> np.ndarray:
    """The position of each entry within its group, from 0."""
    import pandas as pd

    return pd.Series(groups).groupby(groups).cumcount().to_numpy()


def spared(claims: Claims, of: np.ndarray, *, held: bool) -> np.ndarray:
    """[n] bool: the queued samples that a budget has room for, since others are dropped (or,
    `held`, under review and so left out).

    `of` are the samples that the budget is about. First come those whose copy was chosen and is
    dropped as a copy of them.
    """
    stays = of & (claims.strongest() < (REVIEW if held else DROP))
    found = np.zeros(claims.samples, dtype=bool)
    for code in np.unique(claims.code[claims.queued]):
        queue = np.flatnonzero(claims.queued & (claims.code == code) & of[claims.row])
        waits = claims.rows(np.isin(np.arange(len(claims.row)), queue))
        lacking = int(claims.wanted[queue].max(initial=0)) - int((stays & ~waits).sum())
        able = queue[stays[claims.row[queue]]]
        place = np.where(
            _stands_in(claims, stays, waits)[claims.row[able]], -np.inf, claims.place[able]
        )
        found[claims.row[able[np.lexsort((claims.row[able], place))[: max(lacking, 0)]]]] = True
    return found


def _stands_in(claims: Claims, stays: np.ndarray, waits: np.ndarray) -> np.ndarray:
    """[n] bool: samples of whose cluster of copies one that does not wait is dropped, and none that
    does not wait stays.
    """
    cluster, clusters = _clusters(claims, drops := (claims.wish == DROP) & (claims.match >= 0))
    gone, there = np.zeros(clusters, dtype=bool), np.zeros(clusters, dtype=bool)
    gone[cluster[claims.rows(drops) & ~waits]] = True
    there[cluster[stays & ~waits]] = True
    return (gone & ~there)[cluster]


def _clusters(claims: Claims, copies: np.ndarray) -> tuple[np.ndarray, int]:
    """[n] int: the cluster of each sample, and their number.

    The samples of a chosen claim ([claims] bool) share that of its match.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(copies.sum(), dtype=np.int8), (claims.row[copies], claims.match[copies]))
    clusters, cluster = connected_components(
        coo_array(edges, shape=(claims.samples, claims.samples)), directed=False
    )
    return cluster, clusters


def last_copies(claims: Claims) -> np.ndarray:
    """[n] bool: of each cluster of copies that would be dropped altogether, the first that is
    dropped only as a copy.

    A drop whose claim names a match is a drop as a copy of it.
    """
    last = np.zeros(claims.samples, dtype=bool)
    drops = claims.wish == DROP
    copies = drops & (claims.match >= 0)
    if not copies.any():
        return last
    cluster, clusters = _clusters(claims, copies)
    stays = np.zeros(clusters, dtype=bool)
    stays[cluster[~claims.rows(drops)]] = True
    able = np.flatnonzero(claims.rows(copies) & ~claims.rows(drops & ~copies) & ~stays[cluster])
    last[able[np.unique(cluster[able], return_index=True)[1]]] = True
    return last


def decisions(samples: Samples, claims: Claims, marks: dict[str, np.ndarray]) -> Decisions:
    """The strongest wish of each sample, with the codes that wished it and the marks of what
    weakened it.
    """
    wish = claims.strongest()
    label = np.full(len(samples), None, dtype=object)
    asks = (claims.wish == RELABEL) & (wish[claims.row] == RELABEL)
    label[claims.row[asks]] = claims.suggestion[asks]
    columns = {
        "id": samples.table.column("id"),
        "decision": pa.array(np.array(WISHES, dtype=object)[wish], pa.string()),
        "new_label": pa.array(label, pa.string()),
        "because": _because(claims, wish, marks),
    }
    return Decisions(pa.table(columns))


def _because(claims: Claims, wish: np.ndarray, marks: dict[str, np.ndarray]) -> pa.ListArray:
    """For each sample the codes that led to its decision, the strongest claim first, then the
    marks.
    """
    import pandas as pd

    led = claims.wish == wish[claims.row]
    parts = [
        pd.DataFrame(
            {
                "row": claims.row[led],
                "weight": claims.weight[led],
                "text": claims.names[claims.code[led]],
            }
        )
    ]
    for mark, rows in marks.items():
        parts.append(
            pd.DataFrame(
                {"row": np.flatnonzero(rows & (wish < DROP)), "weight": -1.0, "text": mark}
            )
        )
    reasons = pd.concat(parts).sort_values(
        ["row", "weight", "text"], ascending=[True, False, True], kind="stable"
    )
    reasons = reasons.drop_duplicates(["row", "text"])
    offsets = np.concatenate(
        [
            [0],
            np.cumsum(
                np.bincount(reasons["row"].to_numpy(dtype=np.int64), minlength=claims.samples)
            ),
        ]
    )
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(reasons["text"].tolist(), pa.string())
    )
