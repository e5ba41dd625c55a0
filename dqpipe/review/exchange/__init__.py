"""Exchange with labelling tools: samples are written for them, answers come back as verdicts.

The formats are plugins' (`dqpipe.plugin.exchange`).
"""

from __future__ import annotations

from dqpipe.errors import ConfigError, nearest
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.exchange import Exchange
from dqpipe.plugin.registry import Registry


def formats(*, answers: bool = False, registry: Registry | None = None) -> dict[str, Exchange]:
    """The formats by name; with `answers` those that answers come back in."""
    found = (registry or plugins.load()).instances(Exchange)
    return {one.name: one for one in found if one.answers or not answers}


def named(name: str, *, answers: bool = False) -> Exchange:
    """The format of a name. Raises ConfigError."""
    known = formats(answers=answers)
    if name not in known:
        raise ConfigError(f"no format is called {name!r}: {nearest(name, known)}")
    return known[name]


def by_ending(file: str) -> Exchange:
    """The format that files of such a name are in. Raises ConfigError where none or two are."""
    known = formats(answers=True)
    suit = [one for one in known.values() if file.lower().endswith(one.endings)]
    if len(suit) != 1:
        raise ConfigError(f"say what {file} comes from: --from {' | '.join(known)}")
    return suit[0]
