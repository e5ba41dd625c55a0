"""The lock of an output or a store: flock on a local disk, a file with a heartbeat elsewhere.

    local disk      flock on out/.lock, which every container on the machine sees and the kernel
                    frees when the process ends;
                    the log names the former holder if it was killed
    elsewhere       out/.lock, created if it does not exist; stale when its process has ended on
                    this machine, or when it was
                    not renewed for STALE seconds

The holder rewrites the file every BEAT seconds, as another machine that shares the disk may not see
its flock. A stale lock is taken over with a line in the log. A machine whose clock is off by more
than STALE - BEAT seconds waits longer or checks again before it takes over; a lock that is being
renewed is never taken.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from dqpipe.errors import BusyError, OutputError
from dqpipe.storage import no_links, ownership
from dqpipe.storage.location import Place, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
NAME = ownership.LOCK
BEAT, STALE = 20.0, 120.0
"""Seconds between two heartbeats, and without a heartbeat after which a lock is stale."""
TRIES = 6
"""Attempts, within a third of a second, at a lock that names no holder.

Another process is just taking or reading it.
"""
Holder = Mapping[str, Any]


class Lock:
    """The right to write an output, from `take` to `free`; a context manager.

    `doing` says for what: "run 2026…", "rollback".
    """

    def __init__(
        self, place: Place, doing: str, *, beat: float = BEAT, stale: float = STALE
    ) -> None:
        self.place, self.beat, self.stale = place, beat, stale
        self.me = {"token": uuid.uuid4().hex, "doing": doing, "since": time.time(), **_here()}
        self._handle: int | None = None
        self._held = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def take(self) -> None:
        """Take the lock. Raises OutputError that names the holder and the time."""
        if not (self.place.local and fcntl and self._flock(self.place.local / NAME)):
            self._create()

    def free(self) -> None:
        """Free the lock; harmless if it is not held."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
        elif self._held:
            self._held = False
            if self._mine():
                self.place.remove(NAME)

    def check(self) -> None:
        """Raise OutputError if another process has taken the lock meanwhile (while this machine
        slept, for example).
        """
        if self._held and self._handle is None and not self._mine():
            raise _in_use(self.place, self._read())

    # local disk -----------------------------------------------------------------------------------

    def _flock(self, path: Path) -> bool:
        """Whether the kernel locks files here; if so, the lock is held. Raises OutputError."""
        for left in reversed(range(TRIES)):
            try:
                handle = no_links.opened(path, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError as error:
                raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(os.pread(handle, 4096, 0))
                os.close(handle)
                if holder or not left:
                    raise _in_use(self.place, holder) from None
                time.sleep(0.05)
            except OSError:  # a network disk that cannot lock
                empty = not os.fstat(handle).st_size
                os.close(handle)
                if empty:
                    self.place.remove(NAME)
                return False
            else:
                self._hold(handle, path)
                return True
        raise AssertionError

    def _hold(self, handle: int, path: Path) -> None:
        """Write the holder into a locked file.

        Raises OutputError if the file is not a lock of dqpipe.
        """
        try:
            held = os.pread(handle, 4096, 0)
            _refuse_another_file(held, str(path))
            if left := _holder(held):
                log.warning(
                    "the lock of %s on %s is taken over: its process is gone",
                    said(left),
                    shown(self.place.url),
                )
            self._handle = handle
            self._beat()
        except OSError as error:
            self._handle = None
            os.close(handle)
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        except OutputError:
            os.close(handle)
            raise
        self._start(self._beat_on)

    def _beat(self) -> None:
        assert self._handle is not None
        sign = self._sign()
        os.pwrite(self._handle, sign, 0)
        os.ftruncate(self._handle, len(sign))

    def _beat_on(self) -> None:
        while not self._ended.wait(self.beat):
            try:
                self._beat()
            except OSError as error:
                log.warning("the lock on %s could not be renewed: %s", shown(self.place.url), error)

    def _start(self, renew: Callable[[], None]) -> None:
        self._held = True
        self._ended.clear()
        self._thread = threading.Thread(target=renew, name="dqpipe lock", daemon=True)
        self._thread.start()

    # other places ---------------------------------------------------------------------------------

    def _create(self) -> None:
        if not self.place.create(NAME, self._sign()):
            holder = self._read()
            if holder and not self._stale(holder):
                raise _in_use(self.place, holder)
            with suppress(FileNotFoundError):
                _refuse_another_file(self.place.read(NAME), self.place.at(NAME))
            log.warning(
                "the lock of %s on %s is taken over: it is stale",
                said(holder),
                shown(self.place.url),
            )
            self.place.remove(NAME)
            if not self.place.create(NAME, self._sign()):
                raise _in_use(self.place, self._read())
            time.sleep(
                min(1.0, self.beat)
            )  # another one may have taken it over in the same moment: the last one has it
            if not self._mine():
                raise _in_use(self.place, self._read())
        self._start(self._renew)

    def holder(self) -> Holder | None:
        """The present or possible holder of the lock; None if it is free.

        Does not take it. Raises OutputError.
        """
        if not (self.place.local and fcntl):
            holder = self._read()
            return holder if holder and not self._stale(holder) else None
        try:
            handle = no_links.opened(self.place.local / NAME, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(os.pread(handle, 4096, 0)) or {"doing": "another process"}
        except OSError:  # a network disk that cannot lock
            holder = _holder(os.pread(handle, 4096, 0))
            return holder if holder and not self._stale(holder) else None
        else:
            left = _holder(os.pread(handle, 4096, 0))
            return (
                left
                if left and left.get("boot") != _here()["boot"] and not self._stale(left)
                else None
            )
        finally:
            os.close(handle)

    def _stale(self, holder: Holder) -> bool:
        """Whether the holder of a lock is gone."""
        here = _here()
        if all(holder.get(name) == here[name] for name in ("host", "space")):
            return not alive(holder.get("pid"), holder.get("started"))
        if abs(time.time() - _number(holder.get("beat"))) < self.stale:
            return False
        time.sleep(1.5 * self.beat)  # clocks differ: what is renewed meanwhile is alive
        return self._read() == holder

    def _renew(self) -> None:
        while not self._ended.wait(self.beat):
            try:
                if not self._mine():
                    log.error(
                        "the lock on %s was taken by %s", shown(self.place.url), said(self._read())
                    )
                    return
                self.place.write(NAME, self._sign())
            except OSError as error:
                log.warning("the lock on %s could not be renewed: %s", shown(self.place.url), error)
            except OutputError as error:
                log.warning("the lock could not be renewed: %s", error)

    # both -----------------------------------------------------------------------------------------

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
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_another_file(data: bytes, name: str) -> None:
    """Raise OutputError if a file is neither a lock nor the beginning of one, cut by a crash or a
    full disk.
    """
    if data and "token" not in _holder(data) and not b'{"token": "'.startswith(data[:11]):
        raise OutputError(
            f"{shown(name)} is not a lock of dqpipe: choose another folder, or take the file away"
        )


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e12 else 0.0  # noqa: PLR2004 (seconds)


def _in_use(place: Place, holder: Holder) -> BusyError:
    return BusyError(
        f"the output {shown(place.url)} is in use by {said(holder)}: wait until it ends, or choose "
        f"another output"
    )


def said(holder: Holder) -> str:
    """The holder of a lock as text."""
    if not holder:
        return "another run"
    if "pid" not in holder:
        return str(holder.get("doing"))
    since = datetime.fromtimestamp(_number(holder.get("since")), UTC).strftime(
        "%Y-%m-%d %H:%M:%S UTC"
    )
    return (
        f"{holder.get('doing')} (process {holder.get('pid')} on {holder.get('host')}, since "
        f"{since})"
    )


def _here() -> dict[str, Any]:
    """Identify this process: machine, container, process id and start time."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        boot = socket.gethostname()
    return {
        "host": socket.gethostname(),
        "boot": boot,
        "space": space,
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks, where the kernel says it."""
    try:
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[19]
        )
    except (OSError, IndexError):
        return None


def alive(pid: object, started: object = None) -> bool:
    """Whether a process of this machine is alive.

    `started` distinguishes it from a later one with the same id.
    """
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return started is None or _started(pid) in (None, started)
