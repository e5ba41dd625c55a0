"""The stage that gives every picture a vector, by any embedder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe.stages import Embedder, Fact, Shard, Stage, extension, option
from dqpipe_images.patch_bank import PatchBank

if TYPE_CHECKING:
    from dqpipe.media import Rendition
    from dqpipe.model import Samples
    from dqpipe.stages import Pixels

FIT_SEED = 0  # the engine draws the subset that is learned from by the run's seed


@extension
class Embeddings(Stage):
    """A vector for each picture, near to those of pictures that look alike."""

    name = "embeddings"
    version = 1
    default = True
    gives = (Fact("vector", "vector[float32]", "what the picture looks like, as numbers: alike pictures have vectors of a like direction"),)

    embedder: Embedder = option(factory=PatchBank, at="measure", help="what makes the vectors: patches (no download), torch_module, timm, torchvision")

    @property
    def rendition(self) -> Rendition:
        """What the embedder looks at."""
        return self.embedder.rendition

    @property
    def learns(self) -> bool:
        """Whether the embedder must be fitted to this dataset first."""
        return bool(getattr(self.embedder, "learns", False))

    def artifacts(self) -> Mapping[str, str]:
        """The embedder's files."""
        return self.embedder.artifacts()

    def fit(self, samples: Samples, pixels: Pixels) -> Mapping[str, np.ndarray] | None:
        """What the embedder learns from some of the pictures."""
        return self.embedder.fit(pixels(list(samples.ids), self.rendition), FIT_SEED)

    def measure(self, shard: Shard) -> dict[str, Any]:
        """One vector for each picture of the shard."""
        return {"vector": self.embedder.embed(shard.pictures, shard.artifact)}
