"""A plugin whose stages and decoder do not come back in time."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dqpipe.data.tables import Facts, Samples
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.stage import Decoder, Extension, Fact, Pixels, Shard, Stage, extension, option

LONG = 600


def hang() -> None:
    """Wait in C, with the interpreter's lock held, for a lock that nobody gives back.

    No signal interrupts that.
    """
    mutex, held = ctypes.create_string_buffer(128), ctypes.PyDLL(None)
    held.pthread_mutex_lock(mutex)
    held.pthread_mutex_lock(mutex)


@extension
class Dozing(Stage):
    """Falls asleep over some samples."""

    name = "dozing"
    rendition = "header"
    timeout = 0.2
    gives = (Fact("width", "int64", "width in pixels"),)
    over: str = option("", "id of the sample it falls asleep over", at="measure")
    deeply: bool = option(False, "whether in C, which nothing interrupts", at="measure")

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        if self.over in set(shard.samples.ids):
            hang() if self.deeply else time.sleep(LONG)
        return {"width": [header.width for header in shard.headers]}


@extension
class Pondering(Stage):
    """Thinks for ever about how things relate."""

    name = "pondering"
    timeout = 0.2
    gives = (Fact("thought", "int64", "a thought", at="relate"),)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        time.sleep(LONG)
        return {"thought": [0] * len(samples)}


@extension
class Wavering(Stage):
    """Succeeds when it is asked for the third time."""

    name = "wavering"
    retries = 2
    gives = (Fact("thought", "int64", "a thought", at="relate"),)
    notes: str = option("", "file where it counts", at="relate")

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        with Path(self.notes).open("a") as file:
            file.write("x")
        if Path(self.notes).stat().st_size < 3:
            raise ValueError("not yet")
        return {"thought": [0] * len(samples)}


@extension
class Sluggish(Decoder):
    """Takes for ever over a kind of file of its own."""

    name = "a_sluggish_one"
    timeout = 0.2

    def suits(self, head: bytes) -> bool:
        return head.startswith(b"SLOW")

    def decode(self, data: bytes, rendition: str) -> Any:
        time.sleep(LONG)


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    return [Dozing, Pondering, Sluggish, Wavering]
