"""Decode a file first in a disposable process, so that a file that crashes the decoder costs no
worker.

worker ──length, bytes──▶ trial ──one byte──▶ worker          no answer: the file killed it
"""

from __future__ import annotations

import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Self

from dqpipe.errors import MediaError, SlowError
from dqpipe.execution.decoding import decode
from dqpipe.execution.timeouts import hard
from dqpipe.plugin.stage import Decoder

LENGTH = struct.Struct("<Q")
STARTS_WITHIN = 30
"""Seconds on top of the decoder's own, for the first file: the process starts with it."""
COMMAND = (
    "import sys; sys.path[:] = eval(sys.argv[1]); from dqpipe.execution.decode_sandbox import "
    "answer; answer()"
)


class Trial:
    """Decodes each file in full in a child process, which is restarted after a crash."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self.decoders = pickle.dumps(tuple(decoders))
        self.process: subprocess.Popen[bytes] | None = None
        soft = [decoder.timeout for decoder in decoders if decoder.timeout is not None]
        self.seconds = (
            hard(max(soft)) + STARTS_WITHIN if soft and len(soft) == len(decoders) else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def decode(self, data: bytes) -> None:
        """Return if decoding does not crash the process, whether it succeeds or not.

        Raises MediaError if it crashes.
        """
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # a pipe without an end
            _send(process.stdin, data)
            if (
                self.seconds is not None
                and not select.select([process.stdout], [], [], self.seconds)[0]
            ):
                process.kill()
                self._end()
                raise SlowError(
                    f"decoding it takes longer than {self.seconds:g} s, and cannot be interrupted"
                )
            if process.stdout.read(1):
                return
        raise MediaError(f"decoding it ends the process that does it ({self._end()})")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", COMMAND, repr(sys.path)]
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin is not None
        with suppress(OSError):
            _send(self.process.stdin, self.decoders)
        return self.process

    def _end(self) -> str:
        """Wait until the process has ended; how it ended, as text."""
        if self.process is None:
            return ""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        code, self.process = self.process.wait(), None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def answer() -> None:
    """The main loop of the child process: decode each file that comes in, and confirm it."""
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    decoders = pickle.loads(_received(asked))  # noqa: S301 (from the process that started this one)
    while data := _received(asked):
        with suppress(MediaError):
            decode(decoders, data, "full")
        told.write(b".")
        told.flush()


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> bytes:
    """The next message, empty at the end."""
    head = pipe.read(LENGTH.size)
    return pipe.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
