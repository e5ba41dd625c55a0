"""Append-only files of JSON lines, each on disk before the call returns.

A row is checked before it is written, so that it can be read back. An invalid line (cut short by a
crash, or written by another program) is skipped and logged when the file is read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError, OutputError
from dqpipe.storage import no_links, strict_json
from dqpipe.storage.location import Place, named, place, shown, synced

log = logging.getLogger(__name__)
DEEPEST, MOST_DIGITS, LARGEST = 64, 20, 1 << 24
"""Limits: depth of nesting, digits of an integer, bytes of a line."""
BEGINNING = 4096
"""Bytes by which a file of lines is known as dqpipe's."""


def append(out: str | Path | Place, name: str, *rows: Mapping[str, Any]) -> None:
    """Add lines in one write, safely beside other processes; they are on disk when this returns.

    Raises DatasetError where a row could not be read back (then none is added), OutputError.
    """
    where = place(out)
    lines = b"".join(_line(name, row) for row in rows)
    if where.local is None:
        where.write(name, _bytes(where, name) + lines)
        return
    path = where.local / name
    with named("write", str(path)):
        new = not path.exists()
        try:
            handle = no_links.opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except FileNotFoundError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        with open(handle, "ab+", buffering=0) as file:  # noqa: PTH123 (open already)
            _alone(file.fileno())
            file.seek(0)
            if not _added_by_us(file.read(BEGINNING), rows):
                raise OutputError(
                    f"{path} is not of dqpipe's making, or its first line is damaged: take it "
                    f"away, or choose another output"
                )
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                lines = b"\n" + lines
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        if new:
            synced(path.parent)


def _added_by_us(beginning: bytes, rows: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether a file of this beginning is empty, or starts with a line like these rows, which a
    crash may have cut short.
    """
    first = beginning.lstrip().partition(b"\n")[0]
    try:
        held = json.loads(first) if first else dict.fromkeys(key for row in rows for key in row)
    except (ValueError, RecursionError):
        return first.startswith(b'{"')
    return isinstance(held, dict) and any(held.keys() & row.keys() for row in rows)


def rows(out: str | Path | Place, name: str) -> Iterator[dict[str, Any]]:
    """The lines as they were added."""
    where = place(out)
    for number, line in enumerate(_bytes(where, name).split(b"\n")):
        if not line.strip():
            continue
        try:
            yield parsed(line)
        except ValueError as error:
            log.warning(
                "%s of %s, line %d is left out: %s", name, shown(where.url), number + 1, error
            )


def parsed(line: bytes) -> dict[str, Any]:
    """Parse a line into an object of valid Unicode and bounded depth and size.

    Raises ValueError with the reason.
    """
    if len(line) > LARGEST:
        raise ValueError(f"it has {len(line):,} bytes")
    try:
        text = line.decode("utf-8")
        row = strict_json.parsed(
            text, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
    except UnicodeError:
        raise ValueError("it is not valid Unicode") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise ValueError("it is broken") from None
    if not isinstance(row, dict):
        raise ValueError("it is no object")  # noqa: TRY004 (one error for all that is wrong with a line)
    if line.count(b"[") + line.count(b"{") > DEEPEST and _depth(row) > DEEPEST:
        raise ValueError("it is nested too deeply")
    return row


def _line(name: str, row: Mapping[str, Any]) -> bytes:
    """A row as a line. Raises DatasetError if it could not be read back, with the reason."""
    try:
        line = json.dumps(row, ensure_ascii=False, default=str, allow_nan=False).encode()
        parsed(line)
    except UnicodeError:
        why = "it is not valid Unicode"
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    else:
        return line + b"\n"
    raise DatasetError(f"nothing is added to {name}, for it could not be read back: {why}")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"it holds an integer of {len(digits):,} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise ValueError("it holds a number that is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no JSON")


def _depth(value: object) -> int:
    """The depth of nesting of lists and objects."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def _alone(number: int) -> None:
    """Lock an open file against other writers until it is closed, where the system has
    such locks.
    """
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
