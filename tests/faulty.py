"""A plugin with stages that misbehave, each in one way, and files and pictures to order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dqpipe.data.tables import Facts, Samples
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Extension, Fact, Pixels, Shard, Stage, extension, option


@extension
class Choosy(Stage):
    """Cannot measure some samples."""

    name = "choosy"
    rendition = "header"
    gives = (Fact("width", "int64", "width in pixels"),)
    chokes_on: str = option("", "id of the sample that makes it fail, * for all", at="measure")

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        if self.chokes_on == "*" or self.chokes_on in set(shard.samples.ids):
            raise ValueError("cannot stomach it")
        return {"width": [header.width for header in shard.headers]}


@extension
class Peeking(Stage):
    """Reads a detecting option while it measures."""

    name = "peeking"
    rendition = "header"
    gives = (Fact("limit", "float64", "an option"),)
    above: float = option(0.5, "a threshold")

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        return {"limit": [self.above] * len(shard)}


@extension
class Greedy(Stage):
    """Reads a column that it did not declare."""

    name = "greedy"
    gives = (Fact("label", "string", "the label", at="relate"),)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        return {"label": samples["label"]}


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    return [Choosy, Peeking, Greedy]


def registry() -> Registry:
    """All plugins, and this one."""
    return plugins.load(extra={"faulty": sys.modules[__name__]})


def picture(path: Path, seed: int, size: tuple[int, int] = (64, 64)) -> None:
    """A picture of smooth noise."""
    import cv2

    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC))


def small_files(root: Path, *names: str) -> Path:
    """Small files below a folder, each with its own name as content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root
