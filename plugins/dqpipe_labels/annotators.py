"""Several annotators per sample."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Gift,
    Pixels,
    Samples,
    Stage,
    StageError,
    claim,
    extension,
    figure,
    label_text,
    option,
)
from dqpipe_labels.columns import equal_rows, unfit, vectors_of
from dqpipe_labels.votes import consensus, votes_of, whole

if TYPE_CHECKING:
    import pandas as pd


GIVES: tuple[Gift, ...] = (
    Fact(
        "consensus",
        "string",
        "the label that the annotators together speak for; null without a vote",
        "relate",
        nullable=True,
    ),
    Fact(
        "quality",
        "float64",
        (
            "probability that the consensus is right; null if no sample has two votes and there "
            "are no vectors"
        ),
        "relate",
        nullable=True,
    ),
    Fact(
        "agreement",
        "float64",
        "share of the votes that are for the consensus",
        "relate",
        nullable=True,
    ),
    Fact("votes", "int64", "annotators who have labelled the sample", "relate"),
    Fact(
        "crowdlab",
        "float64",
        "the quality that CROWDLAB gives the consensus, a score; null without vectors",
        "relate",
        nullable=True,
    ),
    Fact(
        "worth",
        "float64",
        (
            "cleanlab's active-learning score: the lower, the more another vote would tell; null "
            "without vectors"
        ),
        "relate",
        nullable=True,
    ),
    Claim(
        "disagree",
        "warning",
        "The label differs from what the annotators together say.",
        title="Label against the annotators",
    ),
    Claim(
        "unsettled",
        "info",
        "The annotators leave open what the label is; another vote would help.",
        title="Annotators undecided",
    ),
    Figure(
        "quality",
        "expected share of right votes of each annotator, and of right consensus labels of the set",
    ),
    Figure(
        "agreement",
        "share of the votes that are for the consensus, of the set and of each annotator",
    ),
    Figure("votes", "votes for each sample of the set, and of each annotator their number"),
)


@extension
class Annotators(Stage):
    """Consensus of several annotators, how sure it is, and how good each annotator is.

    With a column of labels for each annotator, empty where one has not seen the sample:

        - annotators: {columns: [ann, ben, cho]}
        - annotators: {columns: [ann, ben, cho], vectors: embeddings.vector}  # a classifier of the
          vectors has a vote as well

    The annotators' confusions and the consensus are estimated together (Dawid & Skene 1979). With
    vectors a classifier learns that consensus, and from its out-of-fold probabilities and the votes
    cleanlab finds a better one (CROWDLAB, Goh, Tkachenko & Mueller 2022), and how much another vote
    is worth (ActiveLab). The classifier of a fold learns nothing of that fold's votes, at any step.
    """

    name = "annotators"
    version = 3
    libraries = ("cleanlab", "scikit-learn", "numpy")

    @property
    def gives(self) -> tuple[Gift, ...]:
        """Facts, claims and figures, with one fact for each annotator."""
        own = tuple(
            Fact(
                name,
                "float64",
                f"probability that the label in {column} is right",
                "relate",
                nullable=True,
            )
            for name, column in self.own().items()
        )
        return (*GIVES, *own)

    def own(self) -> dict[str, str]:
        """The fact of each annotator: its name and the column that it is about."""
        names = [f"right_{re.sub(r'[^0-9A-Za-z_]', '_', column)}" for column in self.columns]
        names = (
            names
            if len(set(names)) == len(names)
            else [f"right_{number}" for number in range(len(names))]
        )
        return dict(zip(names, self.columns, strict=True))

    columns: tuple[str, ...] = option(
        help="the columns that hold the annotators' labels, one each", at="relate", min_length=2
    )
    at_least: float = option(
        0.9,
        "quality of a consensus from which a label that differs is claimed to be wrong",
        ge=0,
        le=1,
    )
    unsettled: float = option(
        0.7, "quality of a consensus below which it is said to be unsettled", ge=0, le=1
    )
    vectors: tuple[str, ...] | str | None = option(
        None,
        (
            "the fact that holds vectors, or columns of the samples, for a classifier to have a "
            "vote as well"
        ),
        at="relate",
    )
    groups: str | None = option(
        None, "the fact that is equal for copies of one thing, which share a fold", at="relate"
    )
    folds: int = option(
        5,
        "parts that the samples are cut into; each is judged by a classifier of the others",
        at="relate",
        ge=2,
        le=50,
    )
    seed: int = option(0, "what the folds are drawn from", at="relate", ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """The votes, the label if there is one, and what the classifier learns from."""
        vectors = [self.vectors] if isinstance(self.vectors, str) else self.vectors or ()
        return ("label?", *self.columns, *vectors, *([self.groups] if self.groups else []))

    def objection(self, samples: Samples) -> str | None:
        """A column that stands for the label, or one twice."""
        if len(set(self.columns)) < len(self.columns):
            return "an annotator's column is named twice"
        if "label" in self.columns:
            return "the label itself is no annotator: give the annotators' own columns"
        try:
            votes_of(self.name, self.columns, samples)
        except StageError as error:
            return f"{error.reason}. {error.advice}"
        return unfit(self.vectors, samples)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> dict[str, Any]:
        """Consensus and quality of the votes."""
        votes = votes_of(self.name, self.columns, samples)
        vectors = (
            None if self.vectors is None else vectors_of(self.name, self.vectors, samples, facts)
        )
        if self.groups:
            groups = facts[self.groups]
        else:
            groups = (
                equal_rows(vectors, samples.ids)
                if vectors is not None and not isinstance(self.vectors, str)
                else samples.ids
            )
        found = consensus(votes, vectors, groups, self.folds, self.seed)
        return {name: found["right"][:, number] for number, name in enumerate(self.own())} | {
            name: found[name] for name in found if name != "right"
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Labels against a sure consensus, and samples without a sure one."""
        quality, texts = facts["quality"], facts["consensus"]
        known = ~np.isnan(quality)
        labels = (
            [label_text(label) for label in whole(samples["label"])]
            if "label" in samples
            else [None] * len(samples)
        )
        differs = np.array(
            [
                label is not None and label != text
                for label, text in zip(labels, texts, strict=True)
            ],
            dtype=bool,
        )
        wrong = np.flatnonzero(known & differs & (np.nan_to_num(quality) >= self.at_least))
        loose = np.flatnonzero(known & (np.nan_to_num(quality) < self.unsettled))
        agreed, votes = facts["agreement"], facts["votes"]
        said = [
            (
                f"given {labels[row]}, {round(agreed[row] * votes[row]):d} of {votes[row]:d} "
                f"annotators say {texts[row]}"
            )
            for row in wrong
        ]
        open_ = [
            f"{round(agreed[row] * votes[row]):d} of {votes[row]:d} annotators say {texts[row]}"
            for row in loose
        ]
        sure = {
            "value": quality[wrong],
            "confidence": quality[wrong],
            "threshold": self.at_least,
            "suggestion": texts[wrong],
            "detail": said,
        }
        return [
            claim("disagree", samples.ids[wrong], **sure),
            claim(
                "unsettled",
                samples.ids[loose],
                value=quality[loose],
                threshold=self.unsettled,
                detail=open_,
            ),
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """The quality of the consensus and of each annotator, and their agreement."""
        quality, agreement, votes = facts["quality"], facts["agreement"], facts["votes"]
        seen = np.flatnonzero(votes > 0)
        if not len(seen):
            return []
        figures = [
            figure("agreement", float(agreement[seen].mean())),
            figure("votes", float(votes.mean())),
        ]
        figures += (
            [figure("quality", float(np.nanmean(quality)))] if np.isfinite(quality).any() else []
        )
        texts = facts["consensus"]
        for name, column in self.own().items():
            said = [label_text(label) for label in whole(samples[column])]
            own = np.array(
                [label is not None and votes[row] > 0 for row, label in enumerate(said)], dtype=bool
            )
            same = np.array(
                [label == text for label, text in zip(said, texts, strict=True)], dtype=bool
            )
            if own.any():
                where = {"scope": "annotator", "key": column}
                figures += [
                    figure("votes", int(own.sum()), **where),
                    figure("agreement", float(same[own].mean()), **where),
                ]
                figures += (
                    [figure("quality", float(np.nanmean(facts[name])), **where)]
                    if np.isfinite(facts[name]).any()
                    else []
                )
        return figures
