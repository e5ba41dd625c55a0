"""Standard streams that work in any state: closed, full, without a reader, or not in UTF-8.

closed                 nothing is written there, and no file that is opened later takes its number
nobody reads any more  the rest is thrown away; the command goes on, and ends with its own exit code
(`dqpipe check … | head -1`) full                   what cannot be printed is an OutputError; on
stderr it is dropped a locale without UTF-8 the command starts again in Python's UTF-8 mode: names
of files are bytes, which that keeps
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from dqpipe.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

NAMES = ("stdin", "stdout", "stderr")
MODE = "PYTHONUTF8"


def prepare() -> None:
    """Make standard input, output and error usable.

    Called once, first of all, by the process of a command.
    """
    _speak_utf8()
    for number, name in enumerate(NAMES):
        if _is_closed(number):
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(
                sys,
                name,
                os.fdopen(
                    number,
                    "r" if number == 0 else "w",
                    encoding="utf-8",
                    errors="backslashreplace",
                    closefd=False,
                ),
            )
        elif number and getattr(sys, name) is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(getattr(sys, name), number))


def finish() -> None:
    """Write out what is still held back. Raises OutputError if standard output cannot take it."""
    for name in NAMES[1:]:
        getattr(sys, name).flush()


def _speak_utf8() -> None:
    if (
        os.name == "posix"
        and sys.getfilesystemencoding().lower() != "utf-8"
        and os.environ.get(MODE) != "1"
    ):
        os.environ[MODE] = "1"  # for worker processes, too
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same command)


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return getattr(sys, NAMES[number]) is None


def _patient(stream: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    """The same stream over a file that tolerates a closed reader."""
    stream.flush()
    raw = io.BufferedWriter(_Bearing(number, "w", closefd=False))
    return io.TextIOWrapper(
        raw,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.isatty(),
    )


class _Bearing(io.FileIO):
    """A standard stream; once it cannot be written, what comes after is thrown away."""

    def write(self, data: Buffer, /) -> int:
        """Write bytes; all of them count as written where nobody reads them.

        Raises OutputError if they are lost otherwise.
        """
        try:
            return super().write(data) or 0
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError) and self.fileno() == 1:
                raise OutputError(f"standard output cannot be written: {error.strerror}") from None
            return memoryview(data).nbytes
