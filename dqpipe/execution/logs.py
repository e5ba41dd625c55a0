"""Structured logs: every record has its run, stage and shard, and can be printed as one line of
JSON.

    contexts (run, stage, shard) ──Where──▶ record ──Lines or Json──▶ stderr

The library logs through `logging` and sets nothing up; the command line calls `configure`, and
workers do as it did.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dqpipe.errors import printable, readable

log = logging.getLogger(__name__)
FIELDS = ("run", "stage", "shard")
_here: ContextVar[dict[str, Any]] = ContextVar("dqpipe_here", default={})  # noqa: B039 (it is replaced, never changed)
NOISY = ("httpx", "great_expectations", "prefect")


@dataclass(frozen=True)
class Wanted:
    """The log options of the command line; jobs pass them to workers."""

    level: int = logging.ERROR
    as_json: bool = False


_wanted: list[Wanted] = []
"""What was configured in this process, if anything was."""


@contextmanager
def at(**where: Any) -> Iterator[None]:  # noqa: ANN401 (run, stage, shard)
    """Set run, stage or shard of all records logged inside the block."""
    token = _here.set({**_here.get(), **where})
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """For steps after publishing: errors inside are logged, and do not fail the run."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (it is said, and what was published stays published)
        log.error("%s: %s: %s; what the run published stands", what, type(error).__name__, error)  # noqa: TRY400 (its traceback says no more)


class Where(logging.Filter):
    """Adds run, stage and shard to every record, None where unknown."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept every record."""
        here = _here.get()
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, here.get(name))
        return True


class Json(logging.Formatter):
    """One JSON object per line, in ASCII, so that no name of a file can break a line or control a
    terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, logger, message, run, stage, shard, and the traceback where there is
        one.
        """
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        said |= {name: getattr(record, name, None) for name in FIELDS}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class Lines(logging.Formatter):
    """One line for people; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, [run stage shard], message.

        Then the traceback where there is one.
        """
        where = " ".join(
            f"{name}={value}"
            for name in FIELDS
            if (value := getattr(record, name, None)) is not None
        )
        text = printable(
            f"{self.formatTime(record)} {record.levelname} "
            f"{record.name}{f' [{where}]' if where else ''}: {record.getMessage()}"
        )
        return (
            f"{text}\n{readable(self.formatException(record.exc_info))}"
            if record.exc_info
            else text
        )


def configure(wanted: Wanted) -> None:
    """Set up logging to stderr, in this process and in workers that it starts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Where())
    handler.setFormatter(Json() if wanted.as_json else Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(wanted.level)
    logging.captureWarnings(wanted.as_json)  # else they are no JSON
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(wanted.level, logging.WARNING))
    _wanted[:] = [wanted]


def again() -> None:
    """Restore this process's logging after a library set up its own (as Prefect does)."""
    if _wanted:
        configure(_wanted[0])


def configured() -> Wanted | None:
    """The log options of this process, if it has any."""
    return _wanted[0] if _wanted else None


def follow(wanted: Wanted | None) -> None:
    """In a worker: set up the driver's logging, unless this process has logging already."""
    if wanted is not None and not _wanted:
        configure(wanted)
