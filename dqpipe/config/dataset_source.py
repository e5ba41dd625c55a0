"""Which reader reads a source.

Each says how sure it is and why, the surest is taken, and where two are as sure a person is asked.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from dqpipe.errors import DatasetError, printable
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Reader, Recognition
from dqpipe.storage.location import is_url

CLOSE = 10
"""Readers whose scores differ by less are both possible."""
LONGEST = 200
"""Letters of a source in a message."""


class Reading(NamedTuple):
    """A reader, and how sure it is of the source and why."""

    reader: Reader
    seen: Recognition

    @property
    def said(self) -> str:
        """What was recognised and why, as a sentence without its full stop."""
        return f"{self.reader.name}: {self.seen.why}" if self.seen.why else self.reader.name


def recognise(registry: Registry, source: object) -> Reading:
    """The one reader that suits a source best.

    Raises DatasetError: nothing suits it, what it looks like where a reader says so, or several
    suit it about as well, with the line of the config for each reading.
    """
    made = [cls() for cls in registry.all(Reader)]
    readings = sorted(
        (Reading(reader, reader.recognise(source)) for reader in made),
        key=lambda one: (-one.seen.score, one.reader.name),
    )
    possible = [one for one in readings if one.seen.score > 0]
    if not possible:
        raise DatasetError(_unknown(source, readings))
    likely = [one for one in possible if possible[0].seen.score - one.seen.score < CLOSE]
    if len(likely) > 1:
        raise DatasetError(
            f"{_shown(source)} can be read in {len(likely)} ways. {_choose(source, likely)}"
        )
    return possible[0]


def _unknown(source: object, readings: list[Reading]) -> str:
    """Why nothing reads a source, and what to do."""
    if (
        isinstance(source, (str, Path))
        and not is_url(source)
        and not Path(source).expanduser().exists()
    ):
        return f"{source} does not exist"
    refused = [one for one in readings if one.seen.refused]
    if refused:
        return "\n".join(
            [
                *(f"{_shown(source)}: {one.seen.refused}" for one in refused),
                _choose(source, refused, "If it is meant to be read so: "),
            ]
        )
    known = "; ".join(
        f"{one.reader.name}: {one.reader.knows or one.reader.summary()}"
        for one in sorted(readings, key=lambda one: one.reader.name)
    )
    return f"nothing that is installed reads {_shown(source)}. What can be read: {known}"


def _choose(source: object, readings: list[Reading], lead: str = "") -> str:
    """The line of the config that takes each reading, and how else to say it."""
    path = printable(str(source)) if isinstance(source, (str, Path)) else None
    lines = []
    for reader, seen in readings:
        values = {**({"path": path} if path else {}), "reader": reader.name}
        section = ", ".join(
            f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
        )
        lines.append(
            f"  dataset: {{{section}}}{f'    # {printable(seen.why)}' if seen.why else ''}"
        )
    shell = (
        f", or `dqpipe init {shlex.quote(path)} --format {readings[0].reader.name}`" if path else ""
    )
    return "\n".join(
        [
            (
                f"{lead}Say which in the pipeline.yaml{shell} (in Python "
                f"`format={readings[0].reader.name!r}`):"
            ),
            *lines,
        ]
    )


def _shown(source: Any) -> str:  # noqa: ANN401
    return repr(str(source)[:LONGEST])
