"""Worker processes with one item each at a time, so that it is known which item killed a process.

loky starts them (from notebooks and scripts, without a guard). Its pool is not used: in it one
death fails the work of all without a word on whose it was, and its own thread can end (on a warning
that is an error) while work waits, for ever.

    driver ──pipe: (news, function, item)──▶ worker ──pipe: result──▶ driver          the pipe
        closed: it died
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from dqpipe.execution.executor import WorkerDied

IDLE = 60.0
"""Seconds that worker processes wait for more work.

Another step, another run of the same notebook.
"""
WATCH = 1.0
"""Seconds between two looks at whether a worker still lives, should its pipe not tell."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that are 1 in every worker, as workers would crowd each other."""
ENDED_BY = {
    signal.SIGKILL: "it was killed, by the system if memory ran out",
    signal.SIGTERM: "it was told to end",
    signal.SIGINT: "it was interrupted",
}
_LOCK = threading.Lock()
_idle: list[Worker] = []
_since = [0.0]
"""When the last one became idle."""
_watching: list[threading.Thread] = []


def allowed() -> bool:
    """Whether this process may start others.

    A daemon process (as in `multiprocessing.Pool`) may not.
    """
    return not multiprocessing.current_process().daemon


@dataclass(eq=False)
class Worker:
    """A worker process that runs one call after the other."""

    process: Any
    pipe: Connection
    environment: dict[str, str] = field(default_factory=dict)
    """The driver's, as the worker knows it."""

    @classmethod
    def start(cls) -> Worker:
        """Start a process; it is ready within a second."""
        from loky.backend import get_context

        context = get_context("loky")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), env=dict.fromkeys(THREADS, "1"))
        # Ctrl-C reaches every process of the terminal: workers are started deaf to it, and sent
        # away by the one that hears it.
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        theirs.close()
        return cls(process, ours, dict(os.environ))

    def send(self, function: Callable[[Any], Any], item: Any) -> None:  # noqa: ANN401
        """Send it a call. If it has died meanwhile, `receive` reports that."""
        import cloudpickle

        message = cloudpickle.dumps((self._news(), function, item))
        with suppress(OSError):
            self.pipe.send_bytes(message)

    def _news(self) -> dict[str, str | None]:
        """Changes of the driver's environment since the last call, such as credentials set in a
        notebook.
        """
        now, known = dict(os.environ), self.environment
        self.environment = now
        return {
            name: now.get(name)
            for name in sorted(now.keys() | known.keys())
            if now.get(name) != known.get(name) and name not in THREADS
        }

    def ready(self) -> bool:
        """Whether `receive` will not have to wait."""
        return self.pipe.poll() or not self.process.is_alive()

    def receive(self) -> Any:  # noqa: ANN401
        """The result of the call. Raises what the function raised, or WorkerDied."""
        while not self.ready():
            wait([self.pipe, self.process.sentinel], WATCH)
        try:
            result, error = pickle.loads(self.pipe.recv_bytes())  # noqa: S301 (from a process that this one started)
        except (EOFError, OSError):
            raise WorkerDied(self.end()) from None
        if error is not None:
            raise error
        return result

    def end(self) -> str:
        """Make sure that the process has ended; how it ended, as text."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.join(WATCH)  # it may be about to end by itself, for a reason of its own
        if self.process.is_alive():
            self.kill()
        self.process.join()
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"{signal.Signals(-code).name}: {ENDED_BY.get(-code, 'a fault in a library')}"

    def kill(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)


@dataclass(eq=False)
class Crew:
    """The workers of one caller; several threads may `call` at a time, each with its own worker."""

    busy: set[Worker] = field(default_factory=set)
    sent_away: bool = False

    def take(self) -> Worker:
        """An idle worker, or a new one. Raises CancelledError after the workers were dismissed."""
        with _LOCK:
            if self.sent_away:
                raise CancelledError("the run was ended")
            while _idle:
                worker = _idle.pop()
                if worker.process.is_alive():
                    break
                worker.end()
            else:
                worker = Worker.start()
            self.busy.add(worker)
            return worker

    def give_back(self, worker: Worker) -> None:
        """Return a worker to the idle ones."""
        with _LOCK:
            self.busy.discard(worker)
            if worker.process.is_alive() and not worker.pipe.closed:
                _idle.append(worker)
                _since[0] = time.monotonic()
                if not _watching:
                    _watching.append(
                        threading.Thread(target=_watch_idle, name="idle workers", daemon=True)
                    )
                    _watching[0].start()

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:  # noqa: ANN401
        """`function(item)` in a worker.

        Raises what it raises, WorkerDied, or CancelledError if the run was ended with its workers.
        """
        worker = self.take()
        try:
            worker.send(function, item)
            return worker.receive()
        except WorkerDied:
            if self._ended(worker.process.exitcode):
                raise CancelledError("the run was ended") from None
            raise
        finally:
            self.give_back(worker)

    def _ended(self, code: int | None) -> bool:
        """Whether a worker died because the run was ended.

        One told to end hears of it with its driver, which may take a moment longer.
        """
        until = time.monotonic() + (WATCH if code in (-signal.SIGTERM, -signal.SIGINT) else 0)
        while not self.sent_away and time.monotonic() < until:
            time.sleep(WATCH / 20)
        return self.sent_away

    def send_away(self) -> None:
        """End the busy workers; their callers get CancelledError."""
        with _LOCK:
            self.sent_away = True
            for worker in self.busy:
                worker.kill()


def first_ready(workers: Sequence[Worker]) -> list[Worker]:
    """Workers that have finished or died; waits until there is one."""
    while True:
        ready = [worker for worker in workers if worker.ready()]
        if ready:
            return ready
        wait(
            [waitable for worker in workers for waitable in (worker.pipe, worker.process.sentinel)],
            WATCH,
        )


def _watch_idle() -> None:
    """The main loop of the thread that ends workers after a while without work."""
    while (rest := _since[0] + IDLE - time.monotonic()) > 0:
        time.sleep(rest)
    dismiss()


def dismiss() -> None:
    """End the idle workers."""
    with _LOCK:
        leaving = _idle[:]
        _idle.clear()
        _watching.clear()
    for worker in leaving:
        worker.kill()
    for worker in leaving:
        worker.end()


atexit.register(dismiss)


def _serve(pipe: Connection) -> None:
    """The main loop of a worker, until its driver is gone."""
    import faulthandler

    import cloudpickle

    faulthandler.enable()  # a library that takes the process down says where
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send_bytes(_answer(cloudpickle, pipe.recv_bytes()))


def _answer(cloudpickle: Any, message: bytes) -> bytes:  # noqa: ANN401
    """(result, error) of a message, pickled."""
    try:
        news, function, item = pickle.loads(message)  # noqa: S301 (from the process that started this one)
        for name, value in news.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        return cloudpickle.dumps((function(item), None))
    except Exception as error:  # noqa: BLE001 (raised again where it is waited for)
        told = "".join(traceback.format_exception(error))
        error.add_note(f"in a worker process:\n{told}")
        try:
            pickle.loads(pickled := cloudpickle.dumps((None, error)))  # noqa: S301 (some errors do not come back)
        except Exception:  # noqa: BLE001
            return cloudpickle.dumps((None, RuntimeError(told)))
        return pickled
