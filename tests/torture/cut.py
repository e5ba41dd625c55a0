"""A run whose process is killed half-way through one object of its output.

`python -m tests.torture.cut PIPELINE NAME`.

`disk://` is a folder behind fsspec's verbs that, unlike S3, shows an object while it is written:
what is cut off stays there.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial


class Disk(LocalFileSystem):
    """Objects in a folder; the process ends half-way through the one whose name ends as told."""

    protocol = "disk"
    cut = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "auto_mkdir": True})

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return "/" + str(path).removeprefix("disk://").strip("/")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self._written(rpath, Path(lpath).read_bytes())

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if mode == "create" and self.exists(path):
            raise FileExistsError(path)
        self._written(path, value)

    def _written(self, name: str, data: bytes) -> None:
        path = Path(self._strip_protocol(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.cut and str(path).endswith(self.cut):
            path.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        path.write_bytes(data)


fsspec.register_implementation("disk", Disk, clobber=True)


def main() -> None:
    """Run the pipeline."""
    logging.disable(logging.CRITICAL)
    pipeline = Pipeline.from_yaml(sys.argv[1])
    Disk.cut = sys.argv[2]
    Run(pipeline.config, pipeline.registry, Serial(), force=True).run()


if __name__ == "__main__":
    main()
