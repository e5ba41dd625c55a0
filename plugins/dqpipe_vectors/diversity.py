"""How much variety a set holds.

Vendi score, regions and how evenly they are covered, redundancy, class balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
    many,
    option,
    unit,
)
from dqpipe_vectors.outliers import no_fact
from dqpipe_vectors.regions import regions
from dqpipe_vectors.vendi import vendi_score

EXAMPLES = 5


@extension
class Diversity(Stage):
    """Vendi score, coverage, redundancy and class balance of the set; rare classes and thin
    regions.
    """

    name = "diversity"
    version = 4
    default = True
    fallback: ClassVar[Mapping[str, Any]] = {"vectors": None}

    vectors: str | None = option(
        "embeddings.vector",
        "the vectors that tell what is alike; null for class balance alone",
        at="relate",
    )
    regions: int = option(
        0,
        "regions of the embedding; 0 for the square root of half the samples, at most 64",
        at="relate",
        ge=0,
        le=1000,
    )
    seed: int = option(0, "of the division into regions", at="relate", ge=0)
    rare: float = option(
        0.25, "claim a class with less than this share of the median class's samples", gt=0, lt=1
    )
    thin: float = option(
        0.1, "claim a region with less than this share of the samples of an even one", gt=0, lt=1
    )
    alike: float = option(
        0.05,
        "cosine distance below which the nearest neighbour makes a sample redundant",
        ge=0,
        le=2,
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The vectors where there are any, and the label."""
        return (*([self.vectors] if self.vectors else []), "label?")

    @property
    def gives(self) -> tuple[Fact | Claim | Figure, ...]:
        """Without vectors, what labels alone can tell."""
        of_labels = (
            Claim(
                "rare_class",
                "warning",
                "This class has far fewer samples than the median class.",
                title="Rare classes",
            ),
            Figure("samples", "samples"),
            Figure("balance", "entropy of the class sizes over that of even ones: 1 is even"),
            Figure("imbalance", "samples of the largest class for each one of the smallest"),
        )
        of_vectors = (
            Fact("region", "int64", "the region of the embedding it lies in", at="relate"),
            Fact(
                "spacing",
                "float64",
                (
                    "cosine distance to the nearest other sample; beyond 4,096 samples to the "
                    "nearest that an index finds"
                ),
                at="relate",
                nullable=True,
            ),
            Claim(
                "under_covered",
                "info",
                "A region of the embedding that holds few samples.",
                title="Thin regions",
            ),
            Figure(
                "vendi",
                (
                    "Vendi score: the effective number of different samples; exact, or with an "
                    "interval where vectors are too long"
                ),
            ),
            Figure(
                "coverage",
                (
                    "effective number of regions (exponential of the entropy of their sizes) over "
                    "their number: 1 is even"
                ),
            ),
            Figure("redundancy", "share of samples whose nearest neighbour is almost the same"),
        )
        return of_labels + of_vectors if self.vectors else of_labels

    def does(self, method: str) -> bool:
        """It relates only where there are vectors."""
        return (method != "relate" or self.vectors is not None) and Stage.does(self, method)

    def objection(self, samples: Samples) -> str | None:
        """Vectors that are no fact."""
        return no_fact(self.vectors)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Regions by k-means on unit vectors, and the distance to the nearest neighbour."""
        count = len(samples)
        units = unit(facts[str(self.vectors)])
        wanted = self.regions or min(64, max(1, int(np.sqrt(count / 2))))
        spacing = (
            Index(units, np.arange(count), self.seed)
            .nearest(units, 1, np.arange(count))
            .distances[:, 0]
        )
        return {
            "region": regions(units, min(wanted, count), self.seed),
            "spacing": np.where(np.isfinite(spacing), spacing, np.nan),
        }

    def detect(self, samples: Samples, facts: Facts) -> list[Any]:
        """Rare classes and thin regions.

        Both about the whole set, with the class or the region as the part.
        """
        found = self._rare(samples)
        return [found, *self._thin(samples, facts)] if self.vectors else [found]

    def _rare(self, samples: Samples) -> Any:  # noqa: ANN401 (a DataFrame)
        known = labels.classes(samples)
        sizes = np.bincount(known.codes[known.codes >= 0], minlength=len(known.names))
        limit = self.rare * float(np.median(sizes)) if len(sizes) else 0.0
        rare = np.flatnonzero(sizes < limit)
        said = [
            f"{many(int(sizes[at]), 'sample')}; the median class has {np.median(sizes):,.0f}"
            for at in rare
        ]
        parts = [known.names[at] for at in rare]
        return claim(
            "rare_class",
            [None] * len(rare),
            part=parts,
            value=sizes[rare].astype(float),
            threshold=limit,
            confidence=1.0,
            detail=said,
        )

    def _thin(self, samples: Samples, facts: Facts) -> list[Any]:
        region = facts["region"]
        numbers, sizes = np.unique(region, return_counts=True)
        limit = self.thin * len(samples) / max(len(numbers), 1)
        thin = numbers[sizes < limit]
        ids = samples.ids
        said = [
            (
                f"{many(int((region == at).sum()), 'sample')}, such as "
                f"{', '.join(ids[region == at][:EXAMPLES])}"
            )
            for at in thin
        ]
        parts = [f"region {at}" for at in thin]
        return [
            claim(
                "under_covered",
                [None] * len(thin),
                part=parts,
                value=[float((region == at).sum()) for at in thin],
                threshold=limit,
                detail=said,
            )
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """The set's figures, and each class's."""
        known = labels.classes(samples)
        classes, names = known.codes, known.names
        sizes = np.bincount(classes[classes >= 0], minlength=len(names))
        sizes = sizes[sizes > 0]
        rows = [figure("samples", float(len(samples)))]
        if len(sizes):
            rows += [
                figure("balance", evenness(sizes)),
                figure("imbalance", float(sizes.max() / sizes.min())),
            ]
        rows += [
            figure("samples", float((classes == at).sum()), scope="class", key=name)
            for at, name in enumerate(names)
        ]
        if self.vectors and len(samples):
            rows += self._variety(facts, classes, names)
        return rows

    def _variety(self, facts: Facts, classes: np.ndarray, names: Sequence[str]) -> list[Any]:
        units = unit(facts[str(self.vectors)])
        spacing = facts["spacing"]
        sizes = np.unique(facts["region"], return_counts=True)[1]
        with np.errstate(invalid="ignore"):
            redundant = spacing < self.alike
        rows = [
            figure("vendi", **vendi_score(units).interval()),
            figure("coverage", evenness(sizes, of_number=True)),
            figure("redundancy", float(np.mean(redundant))),
        ]
        for at, name in enumerate(names):
            of = classes == at
            if of.any():
                rows.append(
                    figure("vendi", scope="class", key=name, **vendi_score(units[of]).interval())
                )
                rows.append(
                    figure("redundancy", float(np.mean(redundant[of])), scope="class", key=name)
                )
        return rows


def evenness(sizes: np.ndarray, *, of_number: bool = False) -> float:
    """Entropy of shares over that of even shares.

    With `of_number` the effective number over the number (Hill, order 1).
    """
    if len(sizes) == 1:
        return 1.0
    shares = sizes / sizes.sum()
    entropy = float(-np.sum(shares * np.log(shares)))
    return float(np.exp(entropy) / len(sizes)) if of_number else entropy / float(np.log(len(sizes)))
