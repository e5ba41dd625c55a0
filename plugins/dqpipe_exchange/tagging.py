"""Tags of samples, for tools to filter by.

The decision, the finding codes, and whether a sample was reviewed.
"""

from __future__ import annotations

from dqpipe import ConfigError, Handed, HandedOver, Media

FIRST = "dqpipe:"
"""The prefix of every tag, so that all of them can be found and removed."""


def tags(item: Handed) -> list[str]:
    """dqpipe:DECISION, dqpipe:CODE of each claim, dqpipe:reviewed."""
    tags = [
        item.decision,
        *sorted({code for code, _, _ in item.claims}),
        *(["reviewed"] if item.said else []),
    ]
    return [FIRST + tag for tag in tags]


def with_media(queue: HandedOver, media: Media) -> list[tuple[str, Handed]]:
    """The items with media, by their path as the tool knows it.

    Raises ConfigError where none has.
    """
    found = [(media.path(queue, item), item) for item in queue.items if item.media is not None]
    if queue.items and not found:
        raise ConfigError("these samples have no media: hand them over as csv")
    return sorted(found, key=lambda pair: (pair[0], pair[1].id))
