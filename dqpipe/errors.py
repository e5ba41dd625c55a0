"""The error tree: every error that dqpipe raises on purpose.

    DqpipeError
    ├── ConfigError       the pipeline.yaml or an argument is wrong          exit code 2
    ├── PlanError         stages that cannot run together, or on this data   exit code 2
    ├── PluginError       a plugin that cannot be loaded, or two that clash  exit code 2
    ├── DatasetError      a source that cannot be read as a dataset          exit code 2
    ├── OutputError       a place that cannot be written                     exit code 2
    ├── ChangedError      data that changed while they were looked at        exit code 2
    ├── StageError        a stage that failed; ends the run                  exit code 3
    ├── SchemaError       a table without the columns or types of its layer  exit code 3
    ├── GateError         a gate that failed, after the report was written   exit code 1
    └── MediaError        one file that cannot be decoded; becomes a finding
        └── OutsideError  one that lies outside its dataset's folder; likewise

The exit codes are those of the command line. What names in a text hold (a class, a file) commands
no terminal, wherever the text is shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

LONGEST = 10_000
"""Letters of a text."""


def printable(line: str) -> str:
    """A line with what a terminal would obey (a file's name may hold it) written out."""
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in line
    )


def readable(text: str) -> str:
    """A text of several lines, each printable.

    All but the first are indented, so that none passes for a message of its own.
    """
    first, *more = text.split("\n")
    return "\n".join(
        [
            printable(first),
            *(printable(line if line[:1] in ("", " ") else f"  {line}") for line in more),
        ]
    )


class DqpipeError(Exception):
    """Any error that dqpipe raises on purpose; its text says what to do."""

    exit_code = 2

    def __str__(self) -> str:
        text = self._text()
        return readable(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")

    def _text(self) -> str:
        return super().__str__()


class ConfigError(DqpipeError):
    """A mistake in the configuration, with the line it stands on."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message, where)
        self.message, self.where = message, where

    def _text(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class PlanError(DqpipeError):
    """Stages that cannot run together, or not on this dataset."""


class PluginError(DqpipeError):
    """A plugin that cannot be loaded, or two that claim one name."""


class DatasetError(DqpipeError):
    """A source that cannot be read as a dataset."""


class OutputError(DqpipeError):
    """A place that cannot be written, or that already holds something."""


class BusyError(OutputError):
    """An output that another run is writing."""


class ChangedError(DqpipeError):
    """Data that were judged and have other bytes now, by the names of the files.

    Nothing was published.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = tuple(names)

    def __str__(self) -> str:
        which, them = (
            (f"{len(self.names)} files of the dataset", "them")
            if len(self.names) > 1
            else ("a file of the dataset", "it")
        )
        shown = listed((name[:200] for name in self.names), 5)
        what = f"{which} changed while the run looked at {them}, so that nothing was published"
        return f"{what}: {shown}; run again: only what changed is measured"


class StageError(DqpipeError):
    """A stage that failed: names the stage, where, and what to do."""

    exit_code = 3

    def __init__(self, stage: str, where: str, reason: str, advice: str = "") -> None:
        super().__init__(stage, where, reason, advice)
        self.stage, self.where, self.reason, self.advice = stage, where, reason, advice

    def _text(self) -> str:
        text = f"stage {self.stage} failed in {self.where}: {self.reason}"
        return f"{text}\n  {self.advice}" if self.advice else text


class SchemaError(DqpipeError):
    """A table that does not have the columns or types of its layer."""

    exit_code = 3


class GateError(DqpipeError):
    """One or more gates failed; the report was written before."""

    exit_code = 1


class ApprovalError(GateError):
    """The version is whole and waits until somebody approves it; the report was written before."""


class MediaError(DqpipeError):
    """One file that cannot be decoded; the message is the reason a person reads."""


OUTSIDE = "outside the dataset's folder"
"""How the reason of an OutsideError begins."""


class OutsideError(MediaError):
    """A file that a name or a link leads to outside its dataset's folder: it is left alone."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return f"{OUTSIDE}: it leads to {self.where}, which is left alone"


class SlowError(MediaError):
    """A file that takes too long to decode; nothing is remembered of it."""


@contextmanager
def stage_errors(name: str, where: str) -> Iterator[None]:
    """What goes wrong inside is said to be the fault of this stage.

    Raises StageError; OSError and what was raised on purpose, as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or (
            isinstance(error, DqpipeError) and not isinstance(error, SchemaError)
        ):
            raise
        reason = (
            str(error) if isinstance(error, SchemaError) else f"{type(error).__name__}: {error}"
        )
        raise StageError(name, where, reason, f"leave {name} out to go on without it") from error


MOST_COMPARED = 5000
"""Names; comparing with more takes seconds."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A sentence with the nearest right name and what is allowed."""
    names = sorted(allowed)
    close = (
        difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if len(names) <= MOST_COMPARED
        else []
    )
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}allowed: {listed(names)}" if names else f"{guess}nothing is allowed here"


def listed(items: Iterable[object], limit: int = 20) -> str:
    """Up to `limit` items and a count of the rest, however many there are."""
    every = [str(item) for item in items]
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")
