"""How much variety a set holds: Vendi score, regions and how evenly they are covered, redundancy, class balance.

The Vendi score (Friedman & Dieng 2023) is the exponential of the entropy of the eigenvalues of K/n, K the n×n similarities.
With cosine similarity K = X Xᵀ for unit rows X, and X Xᵀ/n has the same nonzero eigenvalues as the d×d matrix Xᵀ X/n:
that is exact for any n, and cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dqpipe.model import Facts, Samples, claim, figure
from dqpipe.stages import Claim, Fact, Figure, Pixels, Stage, extension, option
from dqpipe_images.neighbours import neighbours, unit
from dqpipe_images.outliers import class_numbers

EXAMPLES = 5
ROUNDS = 25
"""Of k-means: regions are a map to look at, not a model."""


@extension
class Diversity(Stage):
    """Vendi score, coverage, redundancy and class balance of the set; rare classes and thin regions."""

    name = "diversity"
    version = 1
    default = True
    fallback: ClassVar[Mapping[str, Any]] = {"vectors": None}

    vectors: str | None = option("embeddings.vector", "the vectors that tell what is alike; null for class balance alone", at="relate")
    regions: int = option(0, "regions of the embedding; 0 for the square root of half the samples, at most 64", at="relate", ge=0, le=1000)
    seed: int = option(0, "of the division into regions", at="relate", ge=0)
    rare: float = option(0.25, "claim a class with less than this share of the median class's samples", gt=0, lt=1)
    thin: float = option(0.1, "claim a region with less than this share of the samples of an even one", gt=0, lt=1)
    alike: float = option(0.05, "cosine distance below which the nearest neighbour makes a sample redundant", ge=0, le=2)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The vectors where there are any, and the label."""
        return (*([self.vectors] if self.vectors else []), "label?")

    @property
    def gives(self) -> tuple[Fact | Claim | Figure, ...]:  # type: ignore[override]
        """Without vectors, what labels alone can tell."""
        of_labels = (
            Claim("rare_class", "warning", "This class has far fewer samples than the median class."),
            Figure("samples", "samples"),
            Figure("balance", "entropy of the class sizes over that of even ones: 1 is even"),
            Figure("imbalance", "samples of the largest class for each one of the smallest"),
        )
        of_vectors = (
            Fact("region", "int64", "the region of the embedding it lies in", at="relate"),
            Fact("spacing", "float64", "cosine distance to the nearest other sample", at="relate", nullable=True),
            Claim("under_covered", "info", "A region of the embedding that holds few samples."),
            Figure("vendi", "Vendi score: the effective number of different samples"),
            Figure("coverage", "effective number of regions (exponential of the entropy of their sizes) over their number: 1 is even"),
            Figure("redundancy", "share of samples whose nearest neighbour is almost the same"),
        )
        return of_labels + of_vectors if self.vectors else of_labels

    def does(self, method: str) -> bool:
        """It relates only where there are vectors."""
        return (method != "relate" or self.vectors is not None) and Stage.does(self, method)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Regions by k-means on unit vectors, and the distance to the nearest neighbour."""
        count = len(samples)
        units = unit(facts[str(self.vectors)])
        wanted = self.regions or min(64, max(1, int(np.sqrt(count / 2))))
        spacing = neighbours(units, np.full(count, -1), np.arange(count), 1).all
        return {"region": regions(units, min(wanted, count), self.seed), "spacing": spacing}

    def detect(self, samples: Samples, facts: Facts) -> list[Any]:
        """Rare classes and thin regions: both about the whole set, with the class or the region as the part."""
        found = self._rare(samples)
        return [found, *self._thin(samples, facts)] if self.vectors else [found]

    def _rare(self, samples: Samples) -> Any:  # noqa: ANN401 (a DataFrame)
        classes, names = class_numbers(samples)
        sizes = np.bincount(classes[classes >= 0], minlength=len(names))
        limit = self.rare * float(np.median(sizes)) if len(sizes) else 0.0
        rare = np.flatnonzero(sizes < limit)
        said = [f"{sizes[at]:,} samples; the median class has {np.median(sizes):,.0f}" for at in rare]
        parts = [names[at] for at in rare]
        return claim("rare_class", [None] * len(rare), part=parts, value=sizes[rare].astype(float), threshold=limit, confidence=1.0, detail=said)

    def _thin(self, samples: Samples, facts: Facts) -> list[Any]:
        region = facts["region"]
        numbers, sizes = np.unique(region, return_counts=True)
        limit = self.thin * len(samples) / max(len(numbers), 1)
        thin = numbers[sizes < limit]
        ids = samples.ids
        said = [f"{(region == at).sum()} samples, such as {', '.join(ids[region == at][:EXAMPLES])}" for at in thin]
        parts = [f"region {at}" for at in thin]
        return [claim("under_covered", [None] * len(thin), part=parts, value=[float((region == at).sum()) for at in thin], threshold=limit, detail=said)]

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """The set's figures, and each class's."""
        classes, names = class_numbers(samples)
        sizes = np.bincount(classes[classes >= 0], minlength=len(names))
        sizes = sizes[sizes > 0]
        rows = [figure("samples", float(len(samples)))]
        if len(sizes):
            rows += [figure("balance", evenness(sizes)), figure("imbalance", float(sizes.max() / sizes.min()))]
        rows += [figure("samples", float((classes == at).sum()), scope="class", key=name) for at, name in enumerate(names)]
        if self.vectors and len(samples):
            rows += self._variety(facts, classes, names)
        return rows

    def _variety(self, facts: Facts, classes: np.ndarray, names: list[str]) -> list[Any]:
        units = unit(facts[str(self.vectors)])
        spacing = facts["spacing"]
        sizes = np.unique(facts["region"], return_counts=True)[1]
        with np.errstate(invalid="ignore"):
            redundant = spacing < self.alike
        rows = [
            figure("vendi", vendi_score(units)),
            figure("coverage", evenness(sizes, of_number=True)),
            figure("redundancy", float(np.mean(redundant))),
        ]
        for at, name in enumerate(names):
            of = classes == at
            if of.any():
                rows.append(figure("vendi", vendi_score(units[of]), scope="class", key=name))
                rows.append(figure("redundancy", float(np.mean(redundant[of])), scope="class", key=name))
        return rows


def vendi_score(units: np.ndarray) -> float:
    """The Vendi score of order 1 of unit vectors [n, d] with cosine similarity; from 1 to min(n, d)."""
    count, width = units.shape
    rows = units.astype(np.float64)
    gram = rows.T @ rows if width <= count else rows @ rows.T
    values = np.linalg.eigvalsh(gram / count)
    values = values[values > 1e-12]  # noqa: PLR2004 (rounding)
    return float(np.exp(-np.sum(values * np.log(values))))


def evenness(sizes: np.ndarray, *, of_number: bool = False) -> float:
    """Entropy of shares over that of even shares; with `of_number` the effective number over the number (Hill, order 1)."""
    if len(sizes) == 1:
        return 1.0
    shares = sizes / sizes.sum()
    entropy = float(-np.sum(shares * np.log(shares)))
    return float(np.exp(entropy) / len(sizes)) if of_number else entropy / float(np.log(len(sizes)))


def regions(units: np.ndarray, number: int, seed: int) -> np.ndarray:
    """[n] int: spherical k-means (Dhillon & Modha 2001), started by k-means++; regions numbered from the largest."""
    if number <= 1:
        return np.zeros(len(units), dtype=np.int64)
    centres = _spread(units, number, np.random.default_rng(seed))
    for _ in range(ROUNDS):
        nearest = np.argmax(units @ centres.T, axis=1)
        sums = np.zeros((len(centres), units.shape[1]), dtype=np.float64)
        np.add.at(sums, nearest, units)
        empty = np.linalg.norm(sums, axis=1) == 0
        moved = np.where(empty[:, None], centres, unit(sums))
        if np.array_equal(moved, centres):
            break
        centres = moved
    sizes = np.bincount(nearest, minlength=len(centres))
    rank = np.empty(len(centres), dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    return rank[nearest]


def _spread(units: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Starting centres far from each other (k-means++, Arthur & Vassilvitskii 2007); fewer where vectors repeat."""
    chosen = [int(rng.integers(len(units)))]
    left = np.maximum(1.0 - units @ units[chosen[0]], 0.0).astype(np.float64)
    while len(chosen) < number and left.sum() > 1e-6:  # noqa: PLR2004 (all that is left are copies)
        chosen.append(int(np.searchsorted(np.cumsum(left), rng.random() * left.sum())))
        chosen[-1] = min(chosen[-1], len(units) - 1)
        left = np.minimum(left, np.maximum(1.0 - units @ units[chosen[-1]], 0.0))
    return units[chosen]
