"""Files of an output that are only ever added to: one JSON object per line, on disk before anything says so.

What a crash cut short stays a line of its own, which is left out, and logged, when the file is read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dqpipe.places import Place, named, place, shown, synced

log = logging.getLogger(__name__)


def append(out: str | Path | Place, name: str, *rows: Mapping[str, Any]) -> None:
    """Add lines in one write, safely beside other processes; they are on disk when this returns. Raises OutputError."""
    where = place(out)
    told = (json.dumps(row, ensure_ascii=False, default=str, allow_nan=False).encode("utf-8", "backslashreplace") for row in rows)
    lines = b"".join(line + b"\n" for line in told)
    if where.local is None:
        where.write(name, _bytes(where, name) + lines)
        return
    path = where.local / name
    with named("write", str(path)):
        new = not path.exists()
        with path.open("ab+", buffering=0) as file:
            _alone(file.fileno())
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                lines = b"\n" + lines
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        if new:
            synced(path.parent)


def rows(out: str | Path | Place, name: str) -> Iterator[dict[str, Any]]:
    """The lines as they were added."""
    where = place(out)
    for number, line in enumerate(_bytes(where, name).split(b"\n")):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            log.warning("%s of %s, line %d is broken and left out", name, shown(where.url), number + 1)
            continue
        if isinstance(row, dict):
            yield row


def _alone(number: int) -> None:
    """Wait until nobody else adds to an open file, where the system knows such locks; they end when it is closed."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(number, fcntl.LOCK_EX)


def _bytes(where: Place, name: str) -> bytes:
    try:
        return where.read(name)
    except FileNotFoundError:
        return b""
