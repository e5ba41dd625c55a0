"""One run per output: a lock that the kernel frees at death on a local disk, and one with a heartbeat elsewhere.

    local disk      flock on out/.lock; what a killed holder wrote in it is recognised and said
    other places    out/.lock, made if nothing is there, renewed every BEAT seconds; stale when its process is gone from
                    this machine, or when nothing renewed it for STALE seconds

A stale lock is taken over with a line in the log. A machine whose clock is off by more than STALE - BEAT seconds waits longer
or asks again before it takes over; it never takes what is being renewed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from dqpipe.errors import BusyError, OutputError
from dqpipe.places import Place, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
NAME = ".lock"
BEAT, STALE = 20.0, 120.0
"""Seconds between two signs of life, and after which there is no life any more."""
Holder = Mapping[str, Any]


class Lock:
    """The right to write an output, from `take` to `free`; a context manager. `doing` says for what: "run 2026…", "rollback"."""

    def __init__(self, place: Place, doing: str, *, beat: float = BEAT, stale: float = STALE) -> None:
        self.place, self.beat, self.stale = place, beat, stale
        self.me = {"token": uuid.uuid4().hex, "doing": doing, "since": time.time(), **_here()}
        self._handle: int | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def take(self) -> None:
        """Take the lock. Raises OutputError: who holds it, and since when."""
        if not (self.place.local and fcntl and self._flock(self.place.local / NAME)):
            self._create()

    def free(self) -> None:
        """Give the lock back; harmless where it is not held."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
            if self._mine():
                self.place.remove(NAME)

    def check(self) -> None:
        """Raise OutputError if another one has taken the lock meanwhile (this machine slept, say)."""
        if self._thread is not None and not self._mine():
            raise _held(self.place, self._read())

    # local disk ------------------------------------------------------------------------------------------------------

    def _flock(self, path: Path) -> bool:
        """Whether the kernel locks files here; if so, the lock is held. Raises OutputError."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(handle, 4096, 0))
            os.close(handle)
            raise _held(self.place, holder) from None
        except OSError:  # a network disk that cannot lock
            os.close(handle)
            path.unlink(missing_ok=True)
            return False
        left = _holder(os.pread(handle, 4096, 0))
        if left:
            log.warning("the lock of %s on %s is taken over: its process is gone", _said(left), shown(self.place.url))
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(self.me).encode(), 0)
        self._handle = handle
        return True

    # other places ----------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        if not self.place.create(NAME, self._sign()):
            holder = self._read()
            if holder and not self._stale(holder):
                raise _held(self.place, holder)
            log.warning("the lock of %s on %s is taken over: it is stale", _said(holder), shown(self.place.url))
            self.place.remove(NAME)
            if not self.place.create(NAME, self._sign()):
                raise _held(self.place, self._read())
            time.sleep(min(1.0, self.beat))  # another one may have taken it over in the same moment: the last one has it
            if not self._mine():
                raise _held(self.place, self._read())
        self._thread = threading.Thread(target=self._renew, name="dqpipe lock", daemon=True)
        self._thread.start()

    def _stale(self, holder: Holder) -> bool:
        """Whether nobody lives behind a lock."""
        here = _here()
        if all(holder.get(name) == here[name] for name in ("host", "space")):
            return not alive(holder.get("pid"), holder.get("started"))
        if abs(time.time() - float(holder.get("beat") or 0)) < self.stale:
            return False
        time.sleep(1.5 * self.beat)  # clocks differ: what is renewed meanwhile is alive
        return self._read() == holder

    def _renew(self) -> None:
        while not self._ended.wait(self.beat):
            try:
                if not self._mine():
                    log.error("the lock on %s was taken by %s", shown(self.place.url), _said(self._read()))
                    return
                self.place.write(NAME, self._sign())
            except OSError as error:
                log.warning("the lock on %s could not be renewed: %s", shown(self.place.url), error)
            except OutputError as error:
                log.warning("the lock could not be renewed: %s", error)

    def _sign(self) -> bytes:
        return json.dumps({**self.me, "beat": time.time()}).encode()

    def _read(self) -> Holder:
        try:
            return _holder(self.place.read(NAME))
        except FileNotFoundError:
            return {}

    def _mine(self) -> bool:
        return self._read().get("token") == self.me["token"]


def _holder(data: bytes) -> Holder:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _held(place: Place, holder: Holder) -> BusyError:
    return BusyError(f"the output {shown(place.url)} is in use by {_said(holder)}: wait until it ends, or choose another output")


def _said(holder: Holder) -> str:
    if not holder:
        return "another run"
    since = datetime.fromtimestamp(float(holder.get("since") or 0), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{holder.get('doing')} (process {holder.get('pid')} on {holder.get('host')}, since {since})"


def _here() -> dict[str, Any]:
    """Who this process is, told apart from one of the same number on another machine, in another container, or at another time."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return {"host": socket.gethostname(), "space": space, "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks, where the kernel says it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def alive(pid: object, started: object = None) -> bool:
    """Whether a process of this machine lives; `started` tells it from a later one of the same number."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return started is None or _started(pid) in (None, started)
