"""What follows from clusters of copies, whatever they are copies of: leaks, label conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dqpipe import Samples, claim, label_text, labels, splits

if TYPE_CHECKING:
    import pandas as pd


def split_rank(samples: Samples) -> np.ndarray:
    """0 for a sample of the test split, 1 of another that is not trained on, 2 of the training
    split: [n].
    """
    return np.asarray(splits.TEST - splits.turns(samples.table))


def equal(keys: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """For each row the best one [n] of those with an equal key."""
    best: dict[str, int] = {}
    for row in rank.tolist():
        best.setdefault(keys[row], row)
    return np.array([best[key] for key in keys], dtype=np.int64)


def of_others(ids: np.ndarray, made: np.ndarray, root: np.ndarray) -> np.ndarray:
    """[n] bool: copies of another sample at `root` [n].

    A sample and what was `made` [n] from it (an id, or None) count as one in a cluster.
    """
    family = np.unique(
        [parent or own for parent, own in zip(made, ids, strict=True)], return_inverse=True
    )[1]
    order = np.argsort(
        made.astype(bool), kind="stable"
    )  # the sample itself tells what kind of copy it is
    first = np.zeros(len(root), dtype=bool)
    first[order[np.unique(np.stack([root, family])[:, order], axis=1, return_index=True)[1]]] = True
    return np.asarray(first & (family != family[root]))


def label_conflicts(samples: Samples, root: np.ndarray, chance: np.ndarray) -> pd.DataFrame:
    """A claim on every member of a cluster whose labels disagree.

    The match is its first member with another label. `chance` [n] is the probability that each row
    is a copy of its root, NaN where it is one.
    """
    members: dict[int, list[int]] = {}
    if labels.kind_in(samples) not in (
        "objects",
        "mask",
        "none",
    ):  # copies may be annotated apart: that says nothing of a class
        texts = [label_text(label) for label in samples["label"]]
        for row in np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1).tolist():
            if texts[row] is not None:
                members.setdefault(int(root[row]), []).append(row)
    ids = samples.ids
    rows, others = [], []
    for group in members.values():
        first = texts[group[0]]
        unlike = next((one for one in group if texts[one] != first), None)
        if unlike is not None:
            rows += group
            others += [unlike if texts[row] == first else group[0] for row in group]
    confidence = [
        float(np.nanmin([chance[row], chance[other], 1.0]))
        for row, other in zip(rows, others, strict=True)
    ]
    detail = [
        f"{texts[row]} here, {texts[other]} in {ids[other]}"
        for row, other in zip(rows, others, strict=True)
    ]
    return claim(
        "label_conflict",
        ids[rows],
        match=list(ids[others]),
        confidence=confidence,
        detail=detail,
    )


def leaks(
    samples: Samples,
    root: np.ndarray,
    score: np.ndarray,
    chance: np.ndarray,
    threshold: float,
    words: str = "shows the same as",
) -> list[pd.DataFrame]:
    """Claims on copies of a sample of an earlier split in the order test, other evaluation,
    training: errors in training.

    `score` [n] and `chance` [n] are those of the weakest step from each row to its root.
    """
    ids, rank = samples.ids, split_rank(samples)
    split = samples["split"] if "split" in samples else ids  # noqa: SIM401 (a table has no get)
    claims = []
    for severity, own in (("error", 2), ("warning", 1)):
        rows = np.flatnonzero((rank == own) & (rank[root] < own))
        names = split[root[rows]]
        detail = [
            f"{words} {ids[root[row]]} of the split {name}"
            for row, name in zip(rows, names, strict=True)
        ]
        evidence = {
            "value": score[rows],
            "threshold": threshold,
            "match": list(ids[root[rows]]),
            "detail": detail,
        }
        claims.append(
            claim("leak", ids[rows], severity=severity, confidence=chance[rows], **evidence)
        )
    return claims
