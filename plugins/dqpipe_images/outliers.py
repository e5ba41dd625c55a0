"""Samples that are far from their own class: strangers, and pictures that belong elsewhere.

A sample's distance is the cosine distance to the k-th nearest neighbour of its own class (k-NN outlier score, Ramaswamy,
Rastogi & Shim 2000), k growing with the class so that a group of strangers does not vouch for itself. On a log scale it is
standardised by median and MAD of its class, since some classes are wide and others tight (a robust z-score, Iglewicz &
Hoaglin 1993). In a wide class a stranger from another class is no further than its members: there the ratio to its distance
from the other classes tells (novelty detection by distance ratio, Tax & Duin 1998).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dqpipe.model import Facts, Samples, claim, figure, label_text
from dqpipe.stages import Claim, Fact, Figure, Pixels, Stage, extension, option
from dqpipe_images.neighbours import neighbours

SPREAD = 0.05
"""The least MAD (of log distances) that counts: classes of near-equal pictures are not infinitely strict."""


@extension
class Outliers(Stage):
    """Samples whose nearest neighbours in their own class are unusually far, or much further than those of another class."""

    name = "outliers"
    version = 1
    default = True
    gives = (
        Fact("distance", "float64", "cosine distance to the k-th nearest neighbour, 0 to 2", at="relate", nullable=True),
        Fact("class_distance", "float64", "the same within the sample's own class", at="relate", nullable=True),
        Fact("score", "float64", "robust z-score of the log of the (class) distance within its class", at="relate", nullable=True),
        Fact("elsewhere", "float64", "distance to its own class over distance to the others", at="relate", nullable=True),
        Fact("nearest", "string", "the nearest sample that is no copy of it", at="relate", nullable=True),
        Fact("nearest_class", "string", "the class of the nearest sample of another class", at="relate", nullable=True),
        Claim("far", "warning", "Unlike the other samples of its class."),
        Figure("far", "share of samples that are far from their own class, by these thresholds"),
    )

    vectors: str = option("embeddings.vector", "the vectors that tell what is near", at="relate")
    groups: str | None = option(
        "duplicates.group", "a fact that is equal for copies of one picture: they do not count as neighbours; null for none", at="relate"
    )
    neighbours: int = option(5, "k: the distance is that to the k-th nearest neighbour", at="relate", ge=1)
    share: float = option(0.05, "k is at least this share of the class: fewer strangers that look alike do not hide each other", at="relate", ge=0, lt=0.5)
    least: int = option(
        8, "smallest class that is judged by its own spread; smaller ones are judged by the whole set's; a smaller set is not judged", at="relate", ge=3
    )
    far: float = option(3.5, "claim above this robust z-score within the class", gt=0)
    elsewhere: float = option(2.0, "claim where the own class is this many times as far as another one", gt=1)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The vectors, the groups of copies, and the label where there is one."""
        return (self.vectors, *([self.groups] if self.groups else []), "label?")

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Distances, and how unusual they are."""
        classes, names = class_numbers(samples)
        groups = np.unique(facts[self.groups].astype(str), return_inverse=True)[1] if self.groups else np.arange(len(samples))
        found = neighbours(facts[self.vectors], classes, groups, self.neighbours, self.share)
        sizes = np.bincount(classes[classes >= 0], minlength=len(names) + 1)
        judged = (classes >= 0) & (sizes[classes] >= self.least) & np.isfinite(found.own)
        whole = np.where(np.isfinite(found.all) & (len(samples) >= self.least), 0, -1)
        score = np.where(judged, robust_scores(found.own, np.where(judged, classes, -1)), robust_scores(found.all, whole))
        ids, other = samples.ids, found.nearest_other
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(judged & (found.other > 0), found.near / found.other, np.nan)
        return {
            "distance": found.all,
            "class_distance": found.own,
            "score": score,
            "elsewhere": ratio,
            "nearest": [ids[at] if at >= 0 else None for at in found.nearest],
            "nearest_class": [names[classes[at]] if at >= 0 else None for at in other],
        }

    def _far(self, facts: Facts) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (facts["score"] > self.far) | (facts["elsewhere"] > self.elsewhere)

    def detect(self, samples: Samples, facts: Facts) -> list[Any]:
        """`far`, by the z-score where that is why, else by the ratio."""
        rows = np.flatnonzero(self._far(facts))
        score, ratio = facts["score"][rows], facts["elsewhere"][rows]
        by_score = np.nan_to_num(score, nan=-np.inf) > self.far
        nearest = facts["nearest_class"][rows]
        said = [
            f"{s:.1f} spreads further from its class than is usual" if one else f"its own class is {r:.1f} times as far as {c}"
            for one, s, r, c in zip(by_score, score, ratio, nearest, strict=True)
        ]
        return [
            claim("far", samples.ids[rows], value=np.where(by_score, score, ratio), threshold=np.where(by_score, self.far, self.elsewhere),
                  match=facts["nearest"][rows], detail=said)
        ]  # fmt: skip

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """The share of far samples."""
        return [figure("far", float(np.mean(self._far(facts))))] if len(samples) else []


def class_numbers(samples: Samples) -> tuple[np.ndarray, list[str]]:
    """The number of each sample's class, -1 for none, and the classes' names; numbers with fractions are no classes."""
    import pyarrow as pa

    if "label" not in samples or pa.types.is_floating(samples.table.schema.field("label").type):
        return np.full(len(samples), -1), []
    labels = [label_text(label) for label in samples.table.column("label").to_pylist()]
    names = sorted({label for label in labels if label is not None})
    number = {name: at for at, name in enumerate(names)}
    return np.array([-1 if label is None else number[label] for label in labels], dtype=np.int64), names


def robust_scores(distances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """[n] how many spreads (1.4826 MAD) a log distance lies above its class's median; NaN for class -1."""
    score = np.full(len(distances), np.nan)
    for number in np.unique(classes[classes >= 0]):
        rows = np.flatnonzero(classes == number)
        logs = np.log(np.maximum(distances[rows], 1e-6))
        middle = np.median(logs)
        score[rows] = (logs - middle) / max(1.4826 * float(np.median(np.abs(logs - middle))), SPREAD)
    return score
