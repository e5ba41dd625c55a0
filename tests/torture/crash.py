"""A run that kills itself just before its n-th change of the file system.

`python -m tests.torture.crash PIPELINE N`; 0 is never.

What a run changes is counted by Python's audit events; the last line says how many changes there
were.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Countdown:
    """Counts the changes below a folder, and ends the process before the one it was told."""

    def __init__(self, below: str, last: int) -> None:
        self.below, self.last, self.count = below, last, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES and (event != "open" or not int(arguments[2] or 0) & WRITES):
            return
        path = arguments[1] if event in {"os.symlink", "os.link", "os.rename"} else arguments[0]
        if (
            event in {"os.remove", "os.rmdir"} and isinstance(path, str) and arguments[1] >= 0
        ):  # named from an open folder
            path = str(Path(f"/proc/self/fd/{arguments[1]}").readlink() / path)
        if not isinstance(path, (str, bytes)) or not os.fsdecode(path).startswith(self.below):
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the pipeline."""
    logging.disable(logging.CRITICAL)
    pipeline = Pipeline.from_yaml(sys.argv[1])
    countdown = Countdown(str(pipeline.config.out), int(sys.argv[2]))
    sys.addaudithook(countdown)
    Run(pipeline.config, pipeline.registry, Serial(), shard_size=16, force=True).run()
    sys.stdout.write(f"{countdown.count}\n")


if __name__ == "__main__":
    main()
