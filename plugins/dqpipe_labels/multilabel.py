"""Labels that are sets of tags: which tags are wrong, and which are missing.

vectors ──▶ out-of-fold score of each tag ──▶ p(tag | sample), and how often tags are forgotten and
added ──▶ p(wrong) of each tag
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dqpipe import StageError, label_text
from dqpipe import labels as label_kinds

ROUNDS, WARM = 60, 8
"""Rounds of expectation-maximisation, and Newton steps on the tags as given before them."""
START = 0.02
"""Share of forgotten and of added tags that the estimate starts from."""
PRIOR, PRIOR_SHARE = 50.0, 0.5
"""Samples' worth of belief that a tag is as often wrong as the others are, and the same as a share
of the tag's samples.
"""
PENALTY = 0.02
CERTAIN = 2.0
DOUBTED = 0.5
"""Probability of being wrong from which a tag is changed in the suggestion.

The most doubtful one always is.
"""


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags in order, which sample has which (bool [n, k]), and which samples have a label (bool
    [n]).
    """

    names: tuple[Any, ...]
    given: np.ndarray
    labelled: np.ndarray

    def texts(self) -> tuple[str, ...]:
        """The tags as texts."""
        return tuple(str(label_text(name)) for name in self.names)


def tags_of(stage: str, labels: np.ndarray, separator: str) -> Tags:
    """The tags of a label column [n]: lists, or texts with a separator.

    Raises StageError for tags that are no names.
    """
    rows = [
        None if label is None else label_kinds.split_tags(label, separator)
        for label in labels.tolist()
    ]
    present = {tag for row in rows for tag in row or () if isinstance(tag, (str, int, float, bool))}
    odd = next(
        (tag for row in rows for tag in row or () if not isinstance(tag, (str, int, float, bool))),
        None,
    )
    if odd is not None:
        raise StageError(
            stage,
            "relate",
            f"label_noise judges tags that are names, and here a tag is a {type(odd).__name__}",
            "Leave label_noise out.",
        )
    names = tuple(sorted(present, key=lambda tag: (isinstance(tag, str), tag)))
    place = {tag: position for position, tag in enumerate(names)}
    given = np.zeros((len(rows), len(names)), dtype=bool)
    for row, tags in enumerate(rows):
        given[row, [place[tag] for tag in tags or ()]] = True
    return Tags(names, given, np.array([row is not None for row in rows], dtype=bool))


@dataclass(frozen=True, eq=False)
class TagModel:
    """p(tag | sample) and p(the given tag, or its absence, is wrong | sample), float64 [n, k].

    Which tags could be judged, bool [k].
    """

    probabilities: np.ndarray
    wrong: np.ndarray
    informed: np.ndarray


def learn_tags(scores: np.ndarray, given: np.ndarray) -> TagModel:
    """From out-of-fold scores [n, k], higher where a tag is likelier, and the given tags bool [n,
    k].

    Each tag is a logistic regression on its score (Platt 1999) seen through noise: present tags are
    forgotten, absent ones added, at rates that tags share as far as they do not clearly differ.
    Fitted by expectation-maximisation (Bekker & Goldberger 2016, for two classes).
    """
    spread = scores.std(axis=0)
    scaled = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1)
    weights = np.zeros((2, scores.shape[1]))
    for _ in range(WARM):
        weights = newton(weights, scaled, given.astype(np.float64))
    noise = np.full((2, scores.shape[1]), START)
    for _ in range(ROUNDS):
        true = posterior(chances(weights, scaled), given, *noise)
        noise = rates(true, given)
        weights = newton(weights, scaled, true)
    model = tag_model(chances(weights, scaled), given, noise)
    return replace(model, informed=model.informed & (weights[1] > 0))


def own_tags(likely: np.ndarray, given: np.ndarray) -> TagModel:
    """The same from the user's own probabilities [n, k], taken at their word.

    Only the rates of errors are estimated.
    """
    noise = np.full((2, likely.shape[1]), START)
    for _ in range(ROUNDS):
        noise = rates(posterior(likely, given, *noise), given)
    return tag_model(likely, given, noise)


def tag_model(likely: np.ndarray, given: np.ndarray, noise: np.ndarray) -> TagModel:
    """What follows from p(tag | sample) [n, k], the given tags bool [n, k], and how often tags are
    added and forgotten [2, k].
    """
    added, forgotten = noise
    true = posterior(likely, given, added, forgotten)
    informed = foretells(likely * (1 - forgotten) + (1 - likely) * added, given)
    return TagModel(likely, np.where(given, 1 - true, true), informed)


def chances(weights: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """p(tag | score) [n, k] by weights [2, k]."""
    return 1 / (1 + np.exp(-np.clip(weights[0] + weights[1] * scaled, -30, 30)))


def newton(weights: np.ndarray, scaled: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """One step of logistic regression of targets [n, k] in 0 … 1 on their scores, all
    tags at once.
    """
    likely = chances(weights, scaled)
    rest, curve = targets - likely, likely * (1 - likely)
    gradient = np.stack([rest.sum(axis=0), (rest * scaled).sum(axis=0)]) - PENALTY * weights
    a, b, c = (
        curve.sum(axis=0) + PENALTY,
        (curve * scaled).sum(axis=0),
        (curve * scaled**2).sum(axis=0) + PENALTY,
    )
    step = np.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (
        a * c - b * b
    )
    return weights + np.clip(step, -2, 2)


def posterior(
    likely: np.ndarray, given: np.ndarray, added: np.ndarray, forgotten: np.ndarray
) -> np.ndarray:
    """p(tag is truly there | sample, given) [n, k]."""
    there = likely * np.where(given, 1 - forgotten, forgotten)
    absent = (1 - likely) * np.where(given, added, 1 - added)
    return there / np.maximum(there + absent, 1e-300)


def rates(true: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How often each tag is added and forgotten [2, k], drawn towards the rates of all tags, from
    p(tag is truly there) [n, k].
    """
    errors = np.stack([(given * (1 - true)).sum(axis=0), (~given * true).sum(axis=0)])
    cases = np.stack([(1 - true).sum(axis=0), true.sum(axis=0)])
    common = (errors.sum(axis=1, keepdims=True) + 1e-3) / (cases.sum(axis=1, keepdims=True) + 1)
    prior = PRIOR + PRIOR_SHARE * cases
    return np.clip((errors + prior * common) / (cases + prior), 1e-6, 0.45)


def foretells(likely: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Which tags the probabilities [n, k] foretell better than the tag's frequency does, for
    certain: bool [k].
    """
    usual = np.clip(given.mean(axis=0), 1e-6, 1 - 1e-6)
    gain = np.log(np.where(given, likely, 1 - likely) + 1e-12) - np.log(
        np.where(given, usual, 1 - usual)
    )
    return gain.mean(axis=0) > CERTAIN * gain.std(axis=0) / np.sqrt(len(given))


def corrected(labels: Sequence[Any], tags: Tags, wrong: np.ndarray, separator: str) -> list[Any]:
    """The suggested label of each sample, as the column writes labels.

    Without wrong tags, with missing ones behind.

    `labels` are the given ones, `tags` those of the same rows, `wrong` [n, k] the probability of
    each tag's being wrong.
    """
    change = wrong >= np.maximum(np.minimum(wrong.max(axis=1, keepdims=True), DOUBTED), 1e-12)
    place = {tag: position for position, tag in enumerate(tags.names)}
    found: list[Any] = []
    for row, label in enumerate(labels):
        kept = [
            tag
            for tag in dict.fromkeys(label_kinds.split_tags(label, separator))
            if not change[row, place[tag]]
        ]
        more = [tags.names[k] for k in np.flatnonzero(change[row] & ~tags.given[row])]
        found.append(separator.join([*kept, *more]) if isinstance(label, str) else [*kept, *more])
    return found


def cleanlab_view(given: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label quality [n] that cleanlab gives tags bool [n, k], and which labels its confident
    learning takes for wrong, bool [n].
    """
    import warnings

    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    lists = [np.flatnonzero(row).tolist() for row in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tag is predicted for no sample
        return get_label_quality_scores(lists, probabilities), find_label_issues(
            lists, probabilities, n_jobs=1
        )


def judged_tags(
    labels: Sequence[Any], tags: Tags, some: np.ndarray, model: TagModel, separator: str
) -> dict[str, Any]:
    """The facts of labelled samples [n] from the model of `some` of their tags (positions int [k]).

    {} where none can be judged.

    confidence is that the most doubtful tag is wrong, sureness that the suggested set is right,
    self_confidence the probability of the least likely of what is given, tags that are there and
    tags that are not.
    """
    here = model.informed
    if not here.any():
        return {}
    given, likely, doubt = (
        tags.given[:, some[here]],
        model.probabilities[:, here],
        model.wrong[:, here],
    )
    wrong = np.zeros(tags.given.shape)
    wrong[:, some[here]] = doubt
    suggested = np.empty(len(labels), dtype=object)
    suggested[:] = [label_text(label) for label in corrected(labels, tags, wrong, separator)]
    margin, doubted = cleanlab_view(given, likely)
    return {
        "confidence": doubt.max(axis=1),
        "suggested": suggested,
        "sureness": np.maximum(doubt, 1 - doubt).prod(axis=1),
        "self_confidence": np.where(given, likely, 1 - likely).min(axis=1),
        "margin": margin,
        "confident_learning": doubted,
    }


def said(given: Sequence[Any], suggested: Sequence[Any]) -> str:
    """The wrong and the missing tags of a set, in words."""
    wrong = [str(label_text(tag)) for tag in given if tag not in suggested]
    missing = [str(label_text(tag)) for tag in suggested if tag not in given]
    return "; ".join(
        [
            *([f"{', '.join(wrong)} looks wrong"] if wrong else []),
            *([f"{', '.join(missing)} looks missing"] if missing else []),
        ]
    )
