"""Pictures as vectors: the facts that label noise, outliers and diversity are told by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dqpipe.media import Rendition
from dqpipe.model import Samples
from dqpipe.stages import Embedder, Fact, Pixels, Shard, Stage, extension, option
from dqpipe_images.patch_bank import PatchBank


@extension
class Embeddings(Stage):
    """A vector for each picture, by an embedder that ships with dqpipe or by a network of yours."""

    name = "embeddings"
    version = 1
    default = True
    gives = (Fact("vector", "vector[float32]", "the picture as numbers; pictures that look alike have vectors that are near each other"),)

    embedder: Embedder = option(factory=PatchBank, help="what turns pictures into vectors: a name, or a name with its options", at="measure")

    @property
    def rendition(self) -> Rendition:  # type: ignore[override]
        """What the embedder wants to see."""
        return self.embedder.rendition

    @property
    def learns(self) -> bool:  # type: ignore[override]
        """Whether the embedder learns from the dataset first."""
        return self.embedder.learns

    def fit(self, samples: Samples, pixels: Pixels) -> Mapping[str, np.ndarray] | None:
        """What the embedder learns from some samples; the run's seed has chosen them."""
        return self.embedder.fit(pixels(list(samples.ids), self.embedder.rendition), 0)

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        """vector: float32 [n, d]."""
        return {"vector": self.embedder.embed(shard.pictures, shard.artifact)}
