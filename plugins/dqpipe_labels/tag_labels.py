"""Labels that are sets of tags, judged for `label_noise`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dqpipe import Facts, Samples, figure, label_text
from dqpipe import labels as label_kinds
from dqpipe_labels.columns import vectors_of
from dqpipe_labels.folds import grouped_folds
from dqpipe_labels.label_sources import Judging, finite, groups_of, seeds
from dqpipe_labels.multilabel import Tags, judged_tags, learn_tags, own_tags, said, tags_of
from dqpipe_labels.ridge import kernel_features, out_of_fold

NOTICEABLE = 0.5
"""Expected samples from which a tag is named among the confusions."""


def judge(stage: Judging, samples: Samples, facts: Facts) -> tuple[np.ndarray, dict[str, Any]]:
    """The judged rows and their facts.

    A tag is judged if enough different things have it, and enough do not.
    """
    labels = samples["label"]
    tags = tags_of(stage.name, labels, stage.separator)
    rows, groups = np.flatnonzero(tags.labelled), groups_of(stage, samples, facts)
    some = np.flatnonzero((things_of(tags, groups) >= stage.least).all(axis=1))
    if not len(some):
        return rows, {}
    given = tags.given[rows][:, some]
    if stage.probabilities is not None:
        model = own_tags(
            np.clip(finite(stage, samples, tags.texts())[rows][:, some], 1e-6, 1 - 1e-6), given
        )
    else:
        vectors, sets = (
            vectors_of(stage.name, stage.vectors or (), samples, facts)[rows],
            np.unique(given, axis=0, return_inverse=True)[1].ravel(),
        )
        scores = [
            fold_scores(vectors, given, grouped_folds(groups[rows], sets, stage.folds, seed), seed)
            for seed in seeds(stage)
        ]
        model = learn_tags(np.mean(scores, axis=0), given)
    judged = Tags(tags.names, tags.given[rows], tags.labelled[rows])
    return rows, judged_tags(labels[rows].tolist(), judged, some, model, stage.separator)


def things_of(tags: Tags, groups: np.ndarray) -> np.ndarray:
    """How many different things, of those with a label, lack and have each tag, int [k, 2].

    `groups` [n] str names the thing.
    """
    known, rows = groups[tags.labelled], tags.given[tags.labelled]
    return np.array(
        [
            [len(set(known[rows[:, k] == there])) for there in (False, True)]
            for k in range(len(tags.names))
        ],
        dtype=np.int64,
    ).reshape(-1, 2)


def left_out(stage: Judging, samples: Samples, facts: Facts) -> dict[str, tuple[np.ndarray, str]]:
    """The tags that are not judged: the rows of their samples, and why."""
    tags = tags_of(stage.name, samples["label"], stage.separator)
    things = things_of(tags, groups_of(stage, samples, facts))
    found = {}
    for number in np.flatnonzero((things < stage.least).any(axis=1)):
        verb = "have" if things[number, 1] < stage.least else "lack"
        found[tags.texts()[number]] = (
            np.flatnonzero(tags.given[:, number]),
            f"fewer than {stage.least} different samples {verb} it",
        )
    return found


def fold_scores(vectors: np.ndarray, given: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold scores [n, k] of tags bool [n, k], higher where a tag is likelier."""
    return out_of_fold(kernel_features(vectors, seed), np.where(given, 1.0, -1.0), fold)


def details(stage: Judging, labels: np.ndarray, suggested: np.ndarray) -> list[str]:
    """What is wrong with each set of tags, in words."""
    return [said(*pair) for pair in pairs(stage, labels, suggested)]


def pairs(
    stage: Judging, labels: np.ndarray, suggested: np.ndarray
) -> list[tuple[list[Any], list[Any]]]:
    """The given and the suggested tags of each sample."""
    news = [
        new if isinstance(old, str) else json.loads(new)
        for old, new in zip(labels, suggested, strict=True)
    ]
    return [
        (label_kinds.split_tags(old, stage.separator), label_kinds.split_tags(new, stage.separator))
        for old, new in zip(labels, news, strict=True)
    ]


def figures(stage: Judging, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
    """The expected number of samples that lack a tag, and of those that have it wrongly."""
    confidence = facts["confidence"]
    rows = np.flatnonzero(~np.isnan(confidence))
    changed: dict[str, float] = {}
    for (given, better), chance in zip(
        pairs(stage, samples["label"][rows], facts["suggested"][rows]),
        confidence[rows],
        strict=True,
    ):
        for key in [
            *(f"{label_text(tag)}→" for tag in given if tag not in better),
            *(f"→{label_text(tag)}" for tag in better if tag not in given),
        ]:
            changed[key] = changed.get(key, 0.0) + float(chance)
    return [
        figure("confusion", total, scope="class", key=key)
        for key, total in sorted(changed.items())
        if total >= NOTICEABLE
    ]
