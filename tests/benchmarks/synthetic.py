"""A table of any size, and a stage that measures its rows.

What a run costs when the work itself is next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from dqpipe.data.tables import Facts, Samples, claim, figure
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.stage import Claim, Extension, Fact, Figure, Shard, Stage, extension

CLASSES = 10
NAMES = tuple(f"x{at}" for at in range(8))
MIDDLES = np.random.default_rng(0).normal(size=(CLASSES, len(NAMES))) * 3


@extension
class Sketch(Stage):
    """Three numbers and a short vector of a row.

    Claims what is far from the middle of its class.
    """

    name = "sketch"
    needs = ("label", *NAMES)
    gives = (
        *(Fact(name, "float64", "a number") for name in ("mean", "spread", "most")),
        Fact("vector", "vector[float32]", "the numbers and their squares"),
        Claim("far", "warning", "another class is nearer"),
        Figure("mean", "mean of the means"),
    )

    def measure(self, shard: Shard) -> dict[str, np.ndarray]:
        """Moments, and the numbers with their squares."""
        rows = np.stack([shard.samples[name] for name in NAMES], axis=1)
        vector = np.concatenate([rows, rows**2], axis=1).astype(np.float32)
        return {
            "mean": rows.mean(axis=1),
            "spread": rows.std(axis=1),
            "most": rows.max(axis=1),
            "vector": vector,
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Rows nearer to the middle of another class, with that class."""
        rows = facts["vector"][:, : len(NAMES)]
        nearest = np.stack(
            [((rows - middle) ** 2).sum(axis=1) for middle in MIDDLES], axis=1
        ).argmin(axis=1)
        looks = np.array([f"class {at}" for at in range(CLASSES)], dtype=object)[nearest]
        far = np.flatnonzero(looks != samples["label"])
        return [
            claim(
                "far",
                samples.ids[far],
                value=facts["mean"][far],
                confidence=0.9,
                suggestion=looks[far],
            )
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, object]]:
        """One number."""
        return [figure("mean", float(facts["mean"].mean()))]


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """The stage."""
    return [Sketch]


def make(count: int, target: Path) -> None:
    """A table: numbers about the middle of their class, 2 % wrong labels, 1 % equal rows, a tenth
    for testing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(count)
    true = rng.integers(CLASSES, size=count)
    values = MIDDLES[true] + rng.normal(size=(count, len(NAMES)))
    copies = rng.choice(count, count // 100, replace=False)
    values[copies], true[copies] = values[copies - 1], true[copies - 1]
    label = np.where(
        rng.random(count) < 0.02, (true + rng.integers(1, CLASSES, size=count)) % CLASSES, true
    )
    split = np.where(rng.random(count) < 0.1, "test", "train")
    columns = {name: values[:, at] for at, name in enumerate(NAMES)}
    ids = [f"sample/{at:09d}" for at in rng.permutation(count)]
    pq.write_table(
        pa.table({"id": ids, "label": [f"class {at}" for at in label], "split": split, **columns}),
        target,
    )
