"""Labels that are no classes, sets of tags and numbers, judged for `label_noise` with the same facts where they make sense."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import Facts, Samples, StageError, claim, figure, label_text, listed, many, plural
from dqpipe import labels as label_kinds
from dqpipe_labels.columns import equal_rows, unfit, vectors_of
from dqpipe_labels.folds import grouped_folds
from dqpipe_labels.multilabel import Tags, judged_tags, learn_tags, own_tags, said, tags_of
from dqpipe_labels.probabilities import ADVICE, read_columns
from dqpipe_labels.regression import Learned, folds_of, judged_numbers
from dqpipe_labels.ridge import kernel_features, out_of_fold

if TYPE_CHECKING:
    import pandas as pd

    from dqpipe_labels.label_noise import LabelNoise

NUMBERS = ("confidence", "sureness", "self_confidence", "margin", "deviation")
OTHERS = ("suggested", "confident_learning")
NOTICEABLE = 0.5
"""Expected samples from which a tag is named among the confusions."""


def objection(stage: LabelNoise, samples: Samples) -> str | None:
    """Why labels of this kind cannot be judged, or None."""
    kind = stage.kind(samples)
    if stage.probabilities is None and (why := unfit(stage.vectors, samples)):
        return why
    if not isinstance(stage.vectors, str) and "label" in (stage.vectors or ()):
        return "the label cannot be judged by itself: leave it out of `vectors`"
    if kind == "tags":
        tags_of(stage.name, samples["label"], stage.separator)
    if kind == "number" and not all(label is None or isinstance(label, (int, float)) for label in samples["label"].tolist()):
        return "labels: number, but the labels are no numbers"
    return None


def groups_of(stage: LabelNoise, samples: Samples, facts: Facts) -> np.ndarray:
    """What is equal for copies of one thing, [n] str: a fact; the same values in the `vectors` where these are columns; else the id."""
    if stage.probabilities is not None:
        return samples.ids
    if stage.grouping():
        return facts[str(stage.grouping())]
    return samples.ids if isinstance(stage.vectors, str) else equal_rows(vectors_of(stage.name, stage.vectors or (), samples, facts), samples.ids)


def judge(stage: LabelNoise, kind: str, samples: Samples, facts: Facts) -> dict[str, Any]:
    """The facts of all samples, null where a label could not be judged."""
    count = len(samples)
    found: dict[str, Any] = {name: np.full(count, np.nan) for name in NUMBERS} | {name: np.full(count, None, dtype=object) for name in OTHERS}
    rows, told = by_tags(stage, samples, facts) if kind == "tags" else by_numbers(stage, samples, facts)
    for name, values in told.items():
        found[name][rows] = values
    return found


def by_tags(stage: LabelNoise, samples: Samples, facts: Facts) -> tuple[np.ndarray, dict[str, Any]]:
    """The judged rows and their facts. A tag is judged if enough different things have it, and enough do not."""
    labels = samples["label"]
    tags = tags_of(stage.name, labels, stage.separator)
    rows, groups = np.flatnonzero(tags.labelled), groups_of(stage, samples, facts)
    some = np.flatnonzero((things_of(tags, groups) >= stage.least).all(axis=1))
    if not len(some):
        return rows, {}
    given = tags.given[rows][:, some]
    if stage.probabilities is not None:
        model = own_tags(np.clip(finite(stage, samples, tags.texts())[rows][:, some], 1e-6, 1 - 1e-6), given)
    else:
        vectors, sets = vectors_of(stage.name, stage.vectors or (), samples, facts)[rows], np.unique(given, axis=0, return_inverse=True)[1].ravel()
        scores = [fold_scores(vectors, given, grouped_folds(groups[rows], sets, stage.folds, seed), seed) for seed in seeds(stage)]
        model = learn_tags(np.mean(scores, axis=0), given)
    judged = Tags(tags.names, tags.given[rows], tags.labelled[rows])
    return rows, judged_tags(labels[rows].tolist(), judged, some, model, stage.separator)


def things_of(tags: Tags, groups: np.ndarray) -> np.ndarray:
    """How many different things, of those with a label, lack and have each tag, int [k, 2]; `groups` [n] str names the thing."""
    known, rows = groups[tags.labelled], tags.given[tags.labelled]
    return np.array([[len(set(known[rows[:, k] == there])) for there in (False, True)] for k in range(len(tags.names))], dtype=np.int64).reshape(-1, 2)


def left_out(stage: LabelNoise, samples: Samples, facts: Facts) -> dict[str, tuple[np.ndarray, str]]:
    """The tags that are not judged: the rows of their samples, and why."""
    tags = tags_of(stage.name, samples["label"], stage.separator)
    things = things_of(tags, groups_of(stage, samples, facts))
    found = {}
    for number in np.flatnonzero((things < stage.least).any(axis=1)):
        verb = "have" if things[number, 1] < stage.least else "lack"
        found[tags.texts()[number]] = (np.flatnonzero(tags.given[:, number]), f"fewer than {stage.least} different samples {verb} it")
    return found


def seeds(stage: LabelNoise) -> range:
    """One seed for each repeat."""
    repeats = stage.repeats or 2
    return range(stage.seed * repeats, (stage.seed + 1) * repeats)


def fold_scores(vectors: np.ndarray, given: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold scores [n, k] of tags bool [n, k], higher where a tag is likelier."""
    return out_of_fold(kernel_features(vectors, seed), np.where(given, 1.0, -1.0), fold)


def finite(stage: LabelNoise, samples: Samples, names: tuple[str, ...]) -> np.ndarray:
    """The user's own probabilities or predictions [n, k], none empty. Raises StageError."""
    own = read_columns(stage.name, stage.probabilities or (), samples, names)
    empty = ~np.isfinite(own).all(axis=1)
    if empty.any():
        n = int(empty.sum())
        raise StageError(stage.name, "relate", f"{many(n, 'sample')} {plural(n, 'has')} none: {listed(samples.ids[empty], 5)}", ADVICE)
    return own


def by_numbers(stage: LabelNoise, samples: Samples, facts: Facts) -> tuple[np.ndarray, dict[str, Any]]:
    """The judged rows and their facts."""
    labels = samples["label"]
    measured = label_kinds.numbers(samples)
    rows, groups = np.flatnonzero(np.isfinite(measured)), groups_of(stage, samples, facts)
    whole = all(isinstance(label, int) for label in labels[rows[:1]].tolist())
    if stage.probabilities is not None:
        own = finite(stage, samples, ("predicted",))[rows, 0]
        return rows, judged_numbers(measured[rows], groups[rows], own, whole=whole, seed=stage.seed)
    vectors = vectors_of(stage.name, stage.vectors or (), samples, facts)[rows]
    fold = folds_of(measured[rows], groups[rows], stage.folds, stage.seed)
    source = Learned(vectors, fold, columns=not isinstance(stage.vectors, str), seed=stage.seed)
    return rows, judged_numbers(measured[rows], groups[rows], source, whole=whole, seed=stage.seed)


def claims(stage: LabelNoise, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
    """Numbers whose deviation is at least the threshold; there is no confidence in them."""
    deviation = facts["deviation"]
    rows = np.flatnonzero(np.nan_to_num(deviation, nan=-1.0) >= stage.deviates)
    labels, suggested = samples["label"][rows].tolist(), facts["suggested"][rows]
    told = zip(labels, suggested, deviation[rows], strict=True)
    detail = [f"given {label_text(old)}, looks like {new}, {far:.3g} times the usual error" for old, new, far in told]
    return [claim("likely_wrong", samples.ids[rows], value=deviation[rows], threshold=stage.deviates, suggestion=suggested, detail=detail)]


def details(stage: LabelNoise, labels: np.ndarray, suggested: np.ndarray) -> list[str]:
    """What is wrong with each set of tags, in words."""
    return [said(*pair) for pair in pairs(stage, labels, suggested)]


def pairs(stage: LabelNoise, labels: np.ndarray, suggested: np.ndarray) -> list[tuple[list[Any], list[Any]]]:
    """The given and the suggested tags of each sample."""
    news = [new if isinstance(old, str) else json.loads(new) for old, new in zip(labels, suggested, strict=True)]
    return [(label_kinds.split_tags(old, stage.separator), label_kinds.split_tags(new, stage.separator)) for old, new in zip(labels, news, strict=True)]


def figures_of_numbers(samples: Samples, facts: Facts) -> list[dict[str, Any]]:
    """The usual error, in the label's unit, and how many could not be judged."""
    rows = np.flatnonzero(~np.isnan(facts["deviation"]))
    errors = np.abs(label_kinds.numbers(samples)[rows] - np.array([float(text) for text in facts["suggested"][rows]]))
    return [figure("not_judged", len(samples) - len(rows)), figure("error", float(np.median(errors)))]


def figures_of_tags(stage: LabelNoise, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
    """The expected number of samples that lack a tag, and of those that have it wrongly."""
    confidence = facts["confidence"]
    rows = np.flatnonzero(~np.isnan(confidence))
    changed: dict[str, float] = {}
    for (given, better), chance in zip(pairs(stage, samples["label"][rows], facts["suggested"][rows]), confidence[rows], strict=True):
        for key in [*(f"{label_text(tag)}→" for tag in given if tag not in better), *(f"→{label_text(tag)}" for tag in better if tag not in given)]:
            changed[key] = changed.get(key, 0.0) + float(chance)
    return [figure("confusion", total, scope="class", key=key) for key, total in sorted(changed.items()) if total >= NOTICEABLE]
