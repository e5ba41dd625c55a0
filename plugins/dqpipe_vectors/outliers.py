"""Samples that are far from their own class: strangers, and pictures that belong elsewhere.

How far is told in three ways, and the one that finds it strangest counts (`outlier_scores.py`). A
sample is claimed where so few sound ones are expected to be as far. In a wide class a stranger from
another class is no further than its members: there the ratio to its distance from the other classes
tells (novelty detection by distance ratio, Tax & Duin 1998).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Index,
    Pixels,
    Samples,
    Stage,
    claim,
    extension,
    figure,
    labels,
    option,
    unit,
)
from dqpipe_vectors.outlier_scores import (
    INNER,
    SPREAD,
    WIDTH,
    Distances,
    distances,
    lengths,
    rare,
    robust_scores,
    sure,
)

STRANGE = 1.0, 1.25
"""Score, or ratio, above which a sample's nearest neighbour is looked up."""


@extension
class Outliers(Stage):
    """Samples that are unusually far from their own class, or much further from it than from
    another one.
    """

    name = "outliers"
    version = 4
    default = True
    gives = (
        Fact(
            "distance",
            "float64",
            "cosine distance to a neighbour that `share` of the set is nearer than, 0 to 2",
            at="relate",
            nullable=True,
        ),
        Fact(
            "class_distance",
            "float64",
            "the same within the sample's own class",
            at="relate",
            nullable=True,
        ),
        Fact(
            "score",
            "float64",
            (
                "how rare it is to be so far from the class, as a normal deviate: 3 is one sound "
                "sample in 740"
            ),
            at="relate",
            nullable=True,
        ),
        Fact(
            "elsewhere",
            "float64",
            "distance to its own class over distance to the others",
            at="relate",
            nullable=True,
        ),
        Fact(
            "nearest",
            "string",
            "the nearest sample that is no copy of it, for the stranger ones",
            at="relate",
            nullable=True,
        ),
        Fact(
            "nearest_class",
            "string",
            "the class of the nearest sample of another class",
            at="relate",
            nullable=True,
        ),
        Claim("far", "warning", "Unlike the other samples of its class.", title="Outliers"),
        Figure("far", "share of samples that are far from their own class, by these thresholds"),
    )

    vectors: str = option("embeddings.vector", "the vectors that tell what is near", at="relate")
    groups: str | None = option(
        "duplicates.group",
        (
            "a fact that is equal for copies of one picture: they do not count as neighbours; "
            "null for none"
        ),
        at="relate",
    )
    neighbours: int = option(
        5, "k: the distance is that to the k-th nearest neighbour at least", at="relate", ge=1
    )
    share: float = option(
        0.05,
        (
            "k is at least this share of the class: fewer strangers that look alike do not hide "
            "each other"
        ),
        at="relate",
        ge=0,
        lt=0.5,
    )
    least: int = option(
        8,
        (
            "smallest class that is judged by its own spread; smaller ones are judged by the "
            "whole set's; a smaller set is not judged"
        ),
        at="relate",
        ge=3,
    )
    far: float = option(2.7, "claim above this score: 2.7 is one sound sample in 290", gt=0)
    confidence: float = option(
        0.3,
        (
            "claim by the score from this confidence: where there are no strangers, the furthest "
            "are the others' tail"
        ),
        ge=0,
        le=1,
    )
    elsewhere: float = option(
        2.0, "claim where the own class is this many times as far as another one", gt=1
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The vectors, the groups of copies, and the label where there is one."""
        return (self.vectors, *([self.groups] if self.groups else []), "label?")

    def objection(self, samples: Samples) -> str | None:
        """Vectors that are no fact."""
        return no_fact(self.vectors)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Distances, and how unusual they are."""
        vectors, known = facts[self.vectors], labels.classes(samples)
        classes, names = known.codes, known.names
        groups = (
            np.unique(facts[self.groups].astype(str), return_inverse=True)[1]
            if self.groups
            else np.arange(len(samples))
        )
        found = distances(vectors, classes, groups, self.neighbours, self.share)
        sizes = np.bincount(classes[classes >= 0], minlength=len(names) + 1)
        judged = np.where(
            (classes >= 0) & (sizes[classes] >= self.least) & np.isfinite(found.own), classes, -1
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((judged >= 0) & (found.other > 0), found.near / found.other, np.nan)
        score, ids = self._scores(vectors, found, judged), samples.ids
        strange = np.flatnonzero(
            (np.nan_to_num(score, nan=-1) > STRANGE[0]) | (np.nan_to_num(ratio) > STRANGE[1])
        )
        nearest = np.full(len(samples), -1)
        nearest[strange] = (
            Index(vectors, groups).nearest(vectors[strange], 1, groups[strange]).positions[:, 0]
            if len(strange)
            else -1
        )
        return {
            "distance": found.all,
            "class_distance": found.own,
            "score": score,
            "elsewhere": ratio,
            "nearest": [ids[at] if at >= 0 else None for at in nearest],
            "nearest_class": [
                names[classes[at]] if at >= 0 else None for at in found.nearest_other
            ],
        }

    def _scores(self, vectors: np.ndarray, found: Distances, judged: np.ndarray) -> np.ndarray:
        """[n] how rare it is to be so far, as a normal deviate.

        NaN where there is too little to compare with.
        """
        from scipy.special import ndtri

        whole = np.where(np.isfinite(found.all) & (len(judged) >= self.least), 0, -1)

        def standardised(own: np.ndarray, among_all: np.ndarray, least: float) -> np.ndarray:
            return np.where(
                judged >= 0,
                robust_scores(own, judged, least),
                robust_scores(among_all, whole, least),
            )

        by_distance = standardised(found.own, found.all, SPREAD)
        known = np.isfinite(by_distance)
        if not known.any():
            return by_distance
        inner = known & (by_distance <= np.quantile(by_distance[known], INNER))
        score = by_distance
        for one in (vectors, unit(vectors)):
            length = lengths(one, judged, inner)
            score = np.maximum(score, standardised(length, length, WIDTH))
        return np.asarray(-ndtri(rare(score)))

    def _far(self, facts: Facts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which are claimed, which of them by the score [n] bool each, and the confidence [n]."""
        confidence = sure(facts["score"])
        with np.errstate(invalid="ignore"):
            by_score = (facts["score"] > self.far) & (confidence >= self.confidence)
            return by_score | (facts["elsewhere"] > self.elsewhere), by_score, confidence

    def detect(self, samples: Samples, facts: Facts) -> list[Any]:
        """`far`, by the z-score where that is why, else by the ratio."""
        from scipy.special import ndtr

        far, scored, confidence = self._far(facts)
        rows = np.flatnonzero(far)
        score, ratio, by_score = facts["score"][rows], facts["elsewhere"][rows], scored[rows]
        nearest = facts["nearest_class"][rows]
        said = [
            f"one sound sample in {1 / ndtr(-s):,.0f} is expected so far from its class"
            if one
            else f"its own class is {r:.1f} times as far as {c}"
            for one, s, r, c in zip(by_score, score, ratio, nearest, strict=True)
        ]
        columns = {
            "value": np.where(by_score, score, ratio),
            "threshold": np.where(by_score, self.far, self.elsewhere),
            "confidence": np.where(by_score, confidence[rows], np.nan),
        }
        return [
            claim("far", samples.ids[rows], match=facts["nearest"][rows], detail=said, **columns)
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """The share of far samples."""
        return [figure("far", float(np.mean(self._far(facts)[0])))] if len(samples) else []


def no_fact(vectors: str | None) -> str | None:
    """Why an option `vectors` cannot be meant, or None: it names a column of the samples."""
    if vectors is None or "." in vectors:
        return None
    return (
        f"`vectors: {vectors}` is no fact: give the full name of one that holds vectors, such as "
        f"embeddings.vector"
    )
