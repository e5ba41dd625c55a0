"""The stages of every installed plugin as classes: `dqpipe.stages.LabelNoise(at_least=0.9)`.

They go into `dqpipe.curate(…, stages=[…])` and `dqpipe.Pipeline.proposed(…)`, which check their
options. `dir(dqpipe.stages)` lists them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dqpipe.errors import nearest
from dqpipe.plugin import registry
from dqpipe.plugin.stage import Augment, Stage

if TYPE_CHECKING:
    from dqpipe.plugin.stage import Extension


@lru_cache(maxsize=1)
def _classes() -> dict[str, type[Extension]]:
    plugins = registry.load()
    return {cls.__name__: cls for kind in (Stage, Augment) for cls in plugins.all(kind)}


def __getattr__(name: str) -> type[Extension]:
    if name.startswith("_"):
        raise AttributeError(name)
    if name not in _classes():
        raise AttributeError(f"no plugin brings a stage {name!r}: {nearest(name, _classes())}")
    return _classes()[name]


def __dir__() -> list[str]:
    return sorted(_classes())
