"""A plugin for executors: stages that are slow, that fail to read, and that take their worker down.

A decoder that does.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dqpipe.data.media import Rendition
from dqpipe.execution.local import Processes
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.stage import Decoder, Extension, Fact, Shard, Stage, extension, option


@extension
class Slow(Stage):
    """Takes its time for each sample, and leaves a trace of each shard it begins."""

    name = "slow"
    gives = (Fact("letters", "int64", "letters of the id"),)
    seconds: float = option(0.0, "seconds per sample", at="measure")
    trace: str = option("", "folder of the traces", at="measure")

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        if self.trace:
            (Path(self.trace) / str(os.getpid())).touch()
        time.sleep(self.seconds * len(shard))
        return {"letters": [len(i) for i in shard.samples.ids]}


@extension
class Deadly(Stage):
    """Kills its worker process, the first time or always, on any sample or on some."""

    name = "deadly"
    gives = (Fact("alive", "bool", "true"),)
    marker: str = option("", "a file that says it was the first time; none: always", at="measure")

    samples: tuple[str, ...] = option((), "the ids of the samples; none: any", at="measure")

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        if self.samples and not set(self.samples) & set(shard.samples.ids):
            return {"alive": [True] * len(shard)}
        if not self.marker or not Path(self.marker).exists():
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"alive": [True] * len(shard)}


@extension
class Fragile(Decoder):
    """A library with a fault: some bytes kill the process, others raise what nobody expects."""

    name = "fragile"

    def suits(self, head: bytes) -> bool:
        return head.startswith(b"FRAGILE")

    def decode(self, data: bytes, rendition: Rendition) -> Any:
        if b"kill" in data:
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGSEGV)
        raise LookupError("no table of that number")


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    return [Slow, Deadly, Fragile]


def unsteady(item: tuple[str, int]) -> int:
    """Fails to read so many times, counted in a file, then gives how often it was called."""
    path, failures = Path(item[0]), item[1]
    calls = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(calls))
    if calls <= failures:
        raise OSError(5, "Input/output error")
    return calls


def wrong(item: int) -> int:
    """Fails for good."""
    raise ValueError(f"{item} is wrong")


def grown(item: int) -> int:
    """Holds more memory than before."""
    HELD.append(bytearray(8 << 20))
    return item


HELD: list[bytearray] = []


class Unpicklable(Exception):  # noqa: N818
    """Comes back from no worker."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__("Unpicklable")


def unpicklable(item: int) -> int:
    raise Unpicklable(item, item)


def mapped_in_a_daemon(pipe: Connection) -> None:
    """Map on worker processes, and send what came of it, and what was logged."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("dqpipe").addHandler(handler)
    pipe.send((sorted(Processes(2).map(str, range(4), list("abcd"))), said))
