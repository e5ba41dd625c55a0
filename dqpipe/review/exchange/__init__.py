"""Exchange with labelling tools: samples are written for them, answers come back as verdicts.

The formats are plugins' (`dqpipe.plugin.exchange`).
"""

from __future__ import annotations

from dqpipe.errors import ConfigError, nearest
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.exchange import Exchange
from dqpipe.plugin.registry import Registry


def formats(registry: Registry, *, answers: bool = False) -> dict[str, type[Exchange]]:
    """The formats by name; with `answers` those that answers come back in."""
    return {cls.name: cls for cls in registry.all(Exchange) if cls.answers or not answers}


def named(name: str, *, answers: bool = False) -> Exchange:
    """The format of a name. Raises ConfigError."""
    registry = plugins.load()
    known = formats(registry, answers=answers)
    if name not in known:
        raise ConfigError(
            f"no format is called {name!r}: {nearest(name, known)}{registry.failed()}"
        )
    return known[name]()


def by_ending(file: str) -> Exchange:
    """The format that files of such a name are in. Raises ConfigError where none or two are."""
    registry = plugins.load()
    known = formats(registry, answers=True)
    suit = [cls for cls in known.values() if file.lower().endswith(cls.endings)]
    if len(suit) != 1:
        raise ConfigError(
            f"say what {file} comes from: --from {' | '.join(known)}{registry.failed()}"
        )
    return suit[0]()
