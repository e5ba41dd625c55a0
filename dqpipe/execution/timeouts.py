"""Time limits of calls: a call that is late is interrupted.

If that fails, its worker process is ended.

The soft limit, `within`, raises TimedOut inside the call: in the main thread by SIGALRM, which also
interrupts waiting; in another thread (Dask's, Prefect's) between two steps of Python. The hard
limit, `Watchdog`, is for C code that never comes back to Python: the process ends, with a traceback
on stderr. Only worker processes do, which the executor renews; a driver (so `serial`, and every
`relate`) never ends itself, and waits for such code.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
GRACE = 1.5, 2.0
"""The hard limit: so many times the soft one, and so many seconds."""


class TimedOut(Exception):  # noqa: N818 (it reads as a sentence: "TimedOut: longer than 5 s")
    """A call exceeded its time limit."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise TimedOut inside the block if it takes longer; None for no limit.

    Limits may be nested.
    """
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        yield from _by_alarm(seconds)
    else:
        yield from _by_thread(seconds)


def _by_alarm(seconds: float) -> Iterator[None]:
    over = False

    def ring(_number: int, _frame: FrameType | None) -> None:
        if not over:
            raise TimedOut(_said(seconds))

    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    # It rings again, should somebody's `except Exception` have swallowed the first.
    outer, again = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        while not over:
            with suppress(TimedOut):  # it rings at the very end: then it was in time
                over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(
                signal.ITIMER_REAL, max(outer - (time.monotonic() - began), 1e-3), again
            )


def _by_thread(seconds: float) -> Iterator[None]:
    here, lock, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), False
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def ring() -> None:
        with lock:
            if not over:
                raise_in(here, ctypes.py_object(_Late))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    except _Late:
        raise TimedOut(_said(seconds)) from None
    finally:
        timer.cancel()
        with lock:
            over = True
            raise_in(here, None)  # one that is on its way has nobody to reach any more


class _Late(Exception):  # noqa: N818
    """The exception that interrupts another thread, which Python raises without arguments."""


def hard(seconds: float) -> float:
    """The hard limit that belongs to a soft one."""
    return seconds * GRACE[0] + GRACE[1]


def _said(seconds: float) -> str:
    return f"longer than {seconds:g} s"


def tried(call: Callable[[], T], seconds: float | None, retries: int) -> T:
    """Call a function with a time limit, and retry it after an error."""
    for left in range(retries, -1, -1):
        try:
            with within(seconds):
                return call()
        except Exception:
            if not left:
                raise
            log.exception("it failed, and is tried again")
    raise AssertionError


def process() -> str:
    """A name of this process that is unique among machines."""
    return f"{platform.node()} {os.getpid()}"


class Watchdog:
    """Ends this process when it is not told to rest in time.

    Does nothing in the process named `driver`.

    Arming costs a thread: it is armed for twice the time, and again only when less than the time is
    left. There is one in a process: where several threads of a worker measure at once, they send
    each other's to rest.
    """

    def __init__(self, driver: str) -> None:
        self.awake = process() != driver
        self.until = 0.0

    def arm(self, seconds: float | None) -> None:
        """End the process if its work is not done within the hard limit of this soft one, or twice
        that.
        """
        if not self.awake:
            return
        if seconds is None:
            self.rest()
            return
        least, now = hard(seconds), time.monotonic()
        if not now + least <= self.until <= now + 2 * least:
            faulthandler.dump_traceback_later(2 * least, exit=True, file=_stderr())
            self.until = now + 2 * least

    def rest(self) -> None:
        """Report that no work is running."""
        if self.until:
            faulthandler.cancel_dump_traceback_later()
            self.until = 0.0


def _stderr() -> IO[str]:
    """The file for a last message: stderr if it is a real file."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (it lives as long as the process)
    return sys.stderr
