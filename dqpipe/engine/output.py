"""The output of one run: taken for it alone, written beside what is published, switched
at the end.
"""

from __future__ import annotations

from pathlib import Path

from dqpipe.config.pipeline_file import Config
from dqpipe.errors import OutputError
from dqpipe.execution import logs
from dqpipe.results import publish
from dqpipe.storage import location
from dqpipe.storage.lock import Lock


class Output:
    """An output while a run has it; it owns the lock and the folder that is written."""

    def __init__(self, config: Config, source: object, run: str, *, force: bool) -> None:
        self.path, self.source, self.run, self.force = config.out, source, run, force
        self.place = location.place(config.out)
        self.owner = ""
        """The id of the output."""
        self.staging: Path | None = None
        self._lock: Lock | None = None

    def refuse(self) -> None:
        """Raise OutputError where the run must not write here.

        Take the output if it is there already.
        """
        publish.refuse(self.path, force=self.force, source=self.source)
        if self.place.local is not None and self.place.local.exists():
            self._take()

    def create(self) -> None:
        """Make the output where it is not there yet, and take it. Raises OutputError."""
        publish.create(self.place)
        self._take()

    def _take(self) -> None:
        """Take it for this run alone.

        Raises OutputError: another run has it, or published while this one waited.
        """
        if self._lock is None:
            self.owner = publish.claim(self.place)
            lock = Lock(self.place, f"run {self.run}")
            lock.take()
            self._lock = lock
            publish.refuse(self.path, force=self.force, source=self.source)
            publish.sweep(self.place, self.owner)

    def stage(self) -> Path:
        """A folder for new samples, in the one that becomes the version. Raises OutputError."""
        self.staging = publish.stage(self.place, self.owner, self.run)
        folder = self.staging / "added"
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None
        return folder

    def bring(self, version: str, *, switch: bool) -> Path | str:
        """Give what was written its name, and publish it where that is wanted.

        The version's folder or URL. Raises OSError, OutputError.
        """
        assert self.staging is not None
        assert self._lock is not None
        self._lock.check()
        publish.bring(self.place, self.staging, version)
        if switch:
            publish.switch(self.place, version)
        else:
            publish.show(self.place, version)
        where = self.place.below(f"versions/{version}")
        return where.local or where.url

    def close(self) -> None:
        """Remove what was half written, and give the output back."""
        if self.staging is not None:
            publish.unstage(self.staging)
        if self._lock is not None:
            with logs.harmless(f"the lock of {self.path} could not be given back"):
                self._lock.free()
