"""The verdicts of an output while others add to them: read once, then only what is new."""

from __future__ import annotations

import json
from pathlib import Path

from dqpipe import verdicts
from dqpipe.verdicts import Verdict


class Heard:
    """All verdicts that stand; `refresh` reads what was added since, by whichever process."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / verdicts.FILE
        self.read = 0
        self.standing: dict[tuple[object, ...], Verdict] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Whether there was anything new."""
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < self.read:  # somebody put another file in its place
            self.read, self.standing = 0, {}
        if size == self.read:
            return False
        with self.file.open("rb") as file:
            file.seek(self.read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.read += len(whole) + len(newline)
        for line in whole.split(b"\n"):
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if isinstance(row, dict):
            verdicts.take(self.standing, row)

    def all(self) -> list[Verdict]:
        """The verdicts that stand, the oldest first."""
        return list(self.standing.values())

    def last(self, reviewer: str, audit: str | None) -> Verdict | None:
        """What a reviewer said last, in an audit or outside of any."""
        return next((v for v in reversed(self.standing.values()) if v.reviewer == reviewer and v.audit == audit), None)
