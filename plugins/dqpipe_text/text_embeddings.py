"""Texts as vectors: the facts that label noise, outliers and diversity are told by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dqpipe import Embedder, Fact, Pixels, Samples, Shard, Stage, extension, option
from dqpipe_text.columns import Columns, lacking, text_columns, texts_of
from dqpipe_text.tfidf import learned, vectors


@extension
class WordsAndLetters(Embedder):
    """Words, pairs of words and 3 to 5 letters in a row, weighted by how rare they are, and reduced
    to the directions in which the set's texts differ most; learned from the set.
    """

    name = "words"
    libraries = ("numpy", "scipy", "scikit-learn")
    learns = True

    size: int = option(256, "length of a vector at most", at="measure", ge=2, le=4096)

    def fit(self, items: Sequence[str], seed: int) -> Mapping[str, np.ndarray]:
        """The features that several of these texts have, their weights and directions."""
        return learned(items, self.size, seed)

    def embed(self, items: Sequence[str], artifact: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """float32 [n, size], of unit length."""
        assert artifact is not None
        return vectors(items, artifact)


@extension
class TextEmbeddings(Stage):
    """A vector for each text, by an embedder that ships with dqpipe or by one of yours."""

    name = "text_embeddings"
    version = 1
    default = True
    proposed_as = "embeddings"
    gives = (
        Fact(
            "vector",
            "vector[float32]",
            "the text as numbers; texts of like words have vectors that are near each other",
        ),
    )

    columns: Columns = option(
        ("text",), "the columns that hold the text; several are read as one", at="measure"
    )
    embedder: Embedder = option(
        factory=WordsAndLetters,
        help="what turns texts into vectors: a name, or a name with its options",
        at="measure",
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the text."""
        return self.columns

    @property
    def learns(self) -> bool:
        """Whether the embedder learns from the dataset first."""
        return self.embedder.learns

    @classmethod
    def proposal(cls, samples: Samples) -> Mapping[str, Any] | None:
        """The columns that hold texts."""
        found = text_columns(samples)
        return {"columns": found} if found else None

    def objection(self, samples: Samples) -> str | None:
        """Columns that cannot be read as texts."""
        return lacking(samples, self.columns)

    def fit(self, samples: Samples, pixels: Pixels) -> Mapping[str, np.ndarray] | None:
        """What the embedder learns from some texts; the run's seed has chosen them."""
        return self.embedder.fit(texts_of(samples, self.columns), 0)

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        """vector: float32 [n, d]."""
        return {
            "vector": self.embedder.embed(texts_of(shard.samples, self.columns), shard.artifact)
        }
