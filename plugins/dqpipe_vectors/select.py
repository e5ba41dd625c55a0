"""A budget: which samples to keep when there are more than can be used.

    vectors ──centred, unit──▶ within each class an order (see coresets) ──merged──▶ select.rank
        ──budget──▶ select.surplus

Every beginning of the order is a subset of its own, so that another budget needs no other order.
Samples for evaluation take no part. Copies of other samples come last, after everything that is
there once.

The default order is herding within each class: on all data tried it helps a trained probe most or
as much as any, at 10 and at 30 %, and more so where labels are wrong
(tests/benchmarks/selection.py). For a classifier by nearest neighbours facility_location is the
better one. Orders that look for extremes (k_centre, semantic at a small budget) choose what is odd
or broken first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from dqpipe import (
    Claim,
    ConfigError,
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
from dqpipe_vectors.coresets import METHODS, Order
from dqpipe_vectors.outliers import no_fact
from dqpipe_vectors.regions import regions
from dqpipe_vectors.vendi import vendi_score

if TYPE_CHECKING:
    import pandas as pd

REGIONS = 64
"""Regions of the embedding that stand for classes where there are none."""
LEAST = 8
"""Smallest class with an order of its own, where classes are taken in proportion.

With smaller budgets it would come too late or never.
"""


@extension
class Select(Stage):
    """The samples to keep within a budget: an order of choice in which every beginning is a good
    subset of that size.
    """

    name = "select"
    version = 3
    summarise_curated: ClassVar[bool] = False
    gives = (
        Fact(
            "rank",
            "int64",
            (
                "place in the order of choice, 0 for the first; null for samples that are not for "
                "training"
            ),
            at="relate",
            nullable=True,
        ),
        Fact(
            "gain",
            "float64",
            "what it added when it was chosen, in the terms of the method",
            at="relate",
            nullable=True,
        ),
        Fact(
            "twin",
            "string",
            "the sample that it repeats, by the method `semantic`",
            at="relate",
            nullable=True,
        ),
        Claim(
            "surplus",
            "info",
            "Beyond the budget: other samples are chosen before it.",
            title="Beyond the budget",
        ),
        Claim(
            "redundant",
            "info",
            "Means the same as another sample, by the method `semantic`.",
            title="Redundant samples",
        ),
        Figure("chosen", "samples within the budget"),
        Figure("vendi", "Vendi score of the chosen samples"),
        Figure("vendi_of_all", "Vendi score of all the samples that were there to choose from"),
        Figure("distance", "mean cosine distance from a sample to the nearest chosen one"),
        Figure("radius", "largest such distance: no sample is further from a chosen one"),
    )

    keep: float = option(
        0.3, "the budget: a share of the training samples up to 1, or a whole number of them", gt=0
    )
    within: float | None = option(
        None,
        (
            "for `semantic`, in place of the budget: claim as redundant what is within this "
            "cosine distance of a sample that stays"
        ),
        ge=0,
        le=2,
    )
    method: Literal["herding", "k_centre", "facility_location", "density", "semantic"] = option(
        "herding",
        (
            "herding keeps the means, k_centre and facility_location cover, density covers random "
            "planes (ZCore), semantic drops repetitions (SemDeDup)"
        ),
        at="relate",
    )
    classes: Literal["proportional", "balanced", "ignored"] = option(
        "proportional",
        (
            "every class in proportion, or as many of each as there are; or one order of all, "
            "without a look at labels"
        ),
        at="relate",
    )
    vectors: str = option("embeddings.vector", "the vectors that tell what is alike", at="relate")
    copies: str | None = option(
        "duplicates.match",
        "a fact that is null for all but copies of another sample: they come last; null for none",
        at="relate",
    )
    seed: int = option(0, "of the random parts of the methods", at="relate", ge=0)

    def check(self) -> None:
        """Raise ConfigError for a budget that cannot be meant."""
        if self.keep > 1 and self.keep != int(self.keep):
            raise ConfigError(
                f"select.keep is a share up to 1 or a whole number of samples, not {self.keep}"
            )
        if self.within is not None and self.method != "semantic":
            raise ConfigError(
                f"select.within goes with the method semantic, not with {self.method}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """The vectors, what is a copy, and the label and the split where there are any."""
        return (self.vectors, *([self.copies] if self.copies else []), "label?", "split?")

    def objection(self, samples: Samples) -> str | None:
        """Vectors that are no fact."""
        return no_fact(self.vectors)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """The order: first of what is there once, then of the copies."""
        copy = (
            np.array([value is not None for value in facts[self.copies]], dtype=bool)
            if self.copies
            else np.zeros(len(samples), dtype=bool)
        )
        vectors, classes, training = (
            facts[self.vectors],
            labels.classes(samples).codes,
            samples.training(),
        )
        rank, gain = np.full(len(samples), None, dtype=object), np.full(len(samples), np.nan)
        twin = np.full(len(samples), None, dtype=object)
        ranked = 0
        for rows in (np.flatnonzero(training & ~copy), np.flatnonzero(training & copy)):
            order = self._order(vectors[rows], classes[rows])
            ordered = rows[order.rows]
            rank[ordered] = ranked + np.arange(len(rows))
            gain[ordered] = np.where(np.isfinite(order.gain), order.gain, np.nan)
            twin[ordered[order.twin >= 0]] = samples.ids[rows[order.twin[order.twin >= 0]]]
            ranked += len(rows)
        return {"rank": rank, "gain": gain, "twin": twin}

    def _order(self, vectors: np.ndarray, classes: np.ndarray) -> Order:
        """The order of some samples: within each class, merged."""
        if not len(vectors):
            return Order.of(np.arange(0), np.zeros(0))
        units = unit(vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
        if self.classes == "ignored" or not (classes >= 0).any():
            by_region = self.method == "herding"
            classes = (
                regions(units, min(REGIONS, int(np.sqrt(len(units) / 2))), self.seed)
                if by_region
                else np.zeros(len(units), dtype=np.int64)
            )
        elif self.classes == "proportional":
            classes = np.where(np.bincount(classes + 1)[classes + 1] < LEAST, -1, classes)
        orders = []
        for number in np.unique(classes):
            members = np.flatnonzero(classes == number)
            of = METHODS[self.method](units[members], self.seed)
            orders.append(
                Order(members[of.rows], of.gain, np.where(of.twin >= 0, members[of.twin], -1))
            )
        return merged(orders, even=self.classes == "balanced")

    def budget(self, count: int) -> int:
        """How many of so many samples are wanted."""
        return min(count, int(self.keep) if self.keep > 1 else max(1, round(self.keep * count)))

    def _chosen(self, facts: Facts) -> tuple[np.ndarray, np.ndarray]:
        """[n] float ranks, NaN for samples without one.

        [n] bool: those within the budget, or those that repeat nothing.
        """
        rank = np.array(facts["rank"], dtype=np.float64)
        with np.errstate(invalid="ignore"):
            if self.within is not None:
                return rank, np.isfinite(rank) & ~(facts["gain"] <= self.within)
            return rank, rank < self.budget(int(np.isfinite(rank).sum()))

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """What the budget leaves no room for; what repeats a sample that stays."""
        rank, chosen = self._chosen(facts)
        out = np.flatnonzero(np.isfinite(rank) & ~chosen)
        ids = samples.ids[out]
        if self.within is not None:
            return [
                claim(
                    "redundant",
                    ids,
                    value=facts["gain"][out],
                    threshold=self.within,
                    match=facts["twin"][out],
                )
            ]
        return [claim("surplus", ids, value=rank[out], threshold=float(chosen.sum()))]

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """What the chosen samples hold of the variety of all of them."""
        rank, chosen = self._chosen(facts)
        units = unit(facts[self.vectors])
        ranked = np.isfinite(rank)
        if not chosen.any():
            return [figure("chosen", 0.0)]
        distances = Index(units[chosen], seed=self.seed).nearest(units[ranked], 1).distances[:, 0]
        return [
            figure("chosen", float(chosen.sum())),
            figure("vendi", **vendi_score(units[chosen]).interval()),
            figure("vendi_of_all", **vendi_score(units[ranked]).interval()),
            figure("distance", float(distances.mean(dtype=np.float64))),
            figure("radius", float(distances.max())),
        ]


def merged(orders: list[Order], *, even: bool) -> Order:
    """One order of several: each is taken in proportion to its length, or (`even`) one of each in
    turn, until it ends.
    """
    places = [
        np.arange(len(o.rows)) if even else (np.arange(len(o.rows)) + 0.5) / len(o.rows)
        for o in orders
    ]
    rows, gain, twin = (
        np.concatenate([getattr(o, name) for o in orders]) for name in ("rows", "gain", "twin")
    )
    order = np.argsort(np.concatenate(places), kind="stable")
    return Order(rows[order], gain[order], twin[order])
