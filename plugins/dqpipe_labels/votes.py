"""The consensus of several annotators.

votes ──▶ confusion of each annotator and consensus, together (Dawid & Skene 1979) ──▶ classifier of
the vectors, out of fold ──▶ CROWDLAB
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dqpipe import Classes, Samples, StageError, classes_of
from dqpipe_labels.folds import Folds
from dqpipe_labels.kernel import softmax
from dqpipe_labels.ridge import kernel_features, out_of_fold

ROUNDS, PASSES = 50, 2
"""Rounds of expectation-maximisation, and how often the classifier learns from the consensus.

From the second time on it has its vote in it.
"""
SCORED, CALIBRATED, LEAST = 4.0, 10_000, 20
"""What scores are multiplied with before they are calibrated, on how many samples at most.

With fewer samples nothing is learned.
"""
PRIOR, TRUST = 30.0, 10.0
"""Votes' worth of belief that an annotator confuses the classes of one true class evenly, and that
annotators are equally good.
"""


@dataclass(frozen=True, eq=False)
class Votes:
    """The classes in order, as label texts, and each annotator's votes as positions among them,
    int64 [n, m]; -1 without one.
    """

    names: tuple[str, ...]
    given: np.ndarray


def votes_of(stage: str, columns: Sequence[str], samples: Samples) -> Votes:
    """The votes in these columns. Raises StageError for labels that are no classes."""
    found = [_classes(stage, whole(samples[name])) for name in columns]
    names = tuple(dict.fromkeys(name for classes in found for name in classes.names))
    place = {name: number for number, name in enumerate(sorted(names))}
    given = [
        np.array([*(place[name] for name in classes.names), -1], dtype=np.int64)[classes.codes]
        for classes in found
    ]
    return Votes(tuple(place), np.stack(given, axis=1))


def _classes(stage: str, labels: np.ndarray) -> Classes:
    """The classes of one annotator's labels [n], as `whole` gives them. Raises StageError."""
    advice = f"Leave {stage} out of the pipeline, or give it columns of classes."
    for label in labels.tolist():
        if isinstance(label, float):
            raise StageError(
                stage,
                "relate",
                f"it judges class labels, and here a label is the number {label}",
                advice,
            )
        if isinstance(label, (list, dict)):
            what = (
                f"it judges one class label for each sample, and here a label is a "
                f"{type(label).__name__}"
            )
            raise StageError(stage, "relate", what, advice)
    return classes_of(pa.array(labels.tolist()))


def whole(labels: np.ndarray) -> np.ndarray:
    """Labels [n] as objects, None for empty ones, whole numbers as such.

    A column with empty cells may hold 3 as 3.0.
    """
    found = np.empty(len(labels), dtype=object)
    given = [
        None
        if label is None or label != label or (isinstance(label, str) and not label.strip())  # noqa: PLR0124
        else label
        for label in labels.tolist()
    ]
    found[:] = [
        int(label) if isinstance(label, float) and label.is_integer() else label for label in given
    ]
    return found


def dawid_skene(given: np.ndarray, classes: int, likely: np.ndarray | None = None) -> np.ndarray:
    """p(true class | votes) [n, c] of votes int [n, m], each annotator's confusion estimated along
    with it by expectation-maximisation.

    `likely` [n, c] is p(true class) as a classifier tells it; by default the classes' sizes.
    """
    from scipy.sparse import csr_matrix

    count = len(given)
    hot = []
    for votes in given.T:
        rows = np.flatnonzero(votes >= 0)
        hot.append(csr_matrix((np.ones(len(rows)), (rows, votes[rows])), shape=(count, classes)))
    true = softmax(np.log(np.asarray(sum(one.toarray() for one in hot)) + 1e-9))
    for _ in range(ROUNDS):
        logs = np.log(confusions(np.stack([(one.T @ true).T for one in hot])))
        said = np.asarray(sum(one @ log.T for one, log in zip(hot, logs, strict=True)))
        sizes = (true.sum(axis=0) + 1) / (count + classes)
        true = softmax(said + np.log(sizes if likely is None else likely))
    return true


def confusions(counts: np.ndarray) -> np.ndarray:
    """p(vote | true class) of each annotator [m, c, c] from expected counts [m, true, vote].

    Those of one annotator are drawn towards even confusions at this annotator's rate, and that
    towards the rate of all annotators.
    """
    classes = counts.shape[1]
    right, cast = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    everyone = (right.sum() + TRUST) / (cast.sum() + TRUST + 1)
    rate = ((right + TRUST * everyone) / (cast + TRUST))[:, None, None]
    even = np.where(np.eye(classes, dtype=bool), rate, (1 - rate) / max(classes - 1, 1))
    found = counts + PRIOR * even + 1e-9
    return found / found.sum(axis=2, keepdims=True)


def classifier(
    features: np.ndarray, given: np.ndarray, classes: int, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    """p(class | features) [n, c], out of fold, of a classifier that learns from votes int [n, m].

    Ridge regression, its scores calibrated.

    What a fold is judged by is learned from the votes of the others at every step: their consensus,
    with the classifier's own vote in it, and the calibration, too.
    """
    labels = dawid_skene(given, classes).argmax(axis=1)
    dealt = Folds.of(groups, labels, folds, seed)
    found = np.empty((len(given), classes))
    for number in range(folds):
        held = dealt.outer == number
        others, parts = ~held, np.where(held, dealt.inner.max() + 1, dealt.inner)
        if not others.any() or not held.any():
            found[held] = 1 / classes
            continue
        true, likely = np.zeros((len(given), classes)), np.zeros((len(given), classes))
        for turn in range(PASSES):
            true[others] = dawid_skene(given[others], classes, likely[others] if turn else None)
            likely = calibrated(
                SCORED * out_of_fold(features, true, parts, others), true, others, seed
            )
        found[held] = likely[held]
    return found


def calibrated(scores: np.ndarray, true: np.ndarray, learned: np.ndarray, seed: int) -> np.ndarray:
    """p(class | scores [n, k]) [n, c], learned from p(true class) [n, c] of some samples ([n]
    bool).
    """
    from sklearn.linear_model import LogisticRegression

    rows, labels = np.flatnonzero(learned), true.argmax(axis=1)
    known = np.unique(labels[rows])
    found = np.full(true.shape, 1e-6)
    if len(known) > 1:
        some = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:CALIBRATED])]
        some = some if len(np.unique(labels[some])) == len(known) else rows
        model = LogisticRegression(C=10.0, max_iter=500).fit(
            scores[some], labels[some], sample_weight=true.max(axis=1)[some]
        )
        found[:, known] += model.predict_proba(scores)
    else:
        found[:, known] += 1
    return found / found.sum(axis=1, keepdims=True)


def consensus(
    votes: Votes, vectors: np.ndarray | None, groups: np.ndarray, folds: int, seed: int
) -> dict[str, np.ndarray]:
    """What the annotators say together of each sample [n].

    `right` [n, m] is the probability that a vote is right, NaN without one.

    With vectors the consensus is CROWDLAB's: annotators fall for the same hard samples, which it
    takes better than a model in which their votes are independent. That model gives the
    probabilities, which CROWDLAB's score is not.
    """
    count, annotators = votes.given.shape
    cast = (votes.given >= 0).sum(axis=1)
    found: dict[str, np.ndarray] = {
        "consensus": np.full(count, None, dtype=object),
        "votes": cast,
        "right": np.full((count, annotators), np.nan),
    }
    found |= {
        name: np.full(count, np.nan) for name in ("quality", "agreement", "crowdlab", "worth")
    }
    rows = np.flatnonzero(cast)
    given, texts = votes.given[rows], np.array(votes.names, dtype=object)
    if not len(rows):
        return found
    true, likely = dawid_skene(given, len(texts)), None
    if vectors is not None and len(np.unique(groups[rows])) >= LEAST:
        likely = classifier(
            kernel_features(vectors[rows], seed), given, len(texts), groups[rows], folds, seed
        )
        true = dawid_skene(given, len(texts), likely)
    best = true.argmax(axis=1)
    if likely is not None and (cast > 1).any():
        best, found["crowdlab"][rows], found["worth"][rows] = cleanlab_view(given, likely)
    found["consensus"][rows] = texts[best]
    found["agreement"][rows] = (given == best[:, None]).sum(axis=1) / cast[rows]
    if likely is not None or (cast > 1).any():
        found["quality"][rows] = true[np.arange(len(rows)), best]
        found["right"][rows] = np.where(
            given >= 0, np.take_along_axis(true, np.maximum(given, 0), axis=1), np.nan
        )
    return found


def cleanlab_view(
    given: np.ndarray, likely: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CROWDLAB's consensus int [n] of votes int [n, m] and p(class | sample) [n, c], its quality
    [n], and ActiveLab's score [n].
    """
    import warnings

    from cleanlab.multiannotator import get_active_learning_scores, get_label_quality_multiannotator

    table = np.where(given >= 0, given, np.nan)[:, (given >= 0).any(axis=0)].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that annotators never agree
        told = get_label_quality_multiannotator(
            table,
            likely,
            verbose=False,
            return_detailed_quality=False,
            return_annotator_stats=False,
        )["label_quality"]
        worth = get_active_learning_scores(table, likely)[0]
    return (
        told["consensus_label"].to_numpy(dtype=np.int64),
        told["consensus_quality_score"].to_numpy(),
        worth,
    )
