"""The verdicts of an output while others add to them: read once, then only what is new, and each change told once to who counts."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from dqpipe.results import verdicts
from dqpipe.results.verdicts import Agreeing, Verdict
from dqpipe.storage import jsonl

log = logging.getLogger(__name__)
Change = Callable[[Verdict | None, Verdict | None], None]
"""What stood and stands no more, and what stands now."""


class Heard:
    """All verdicts that stand; `refresh` reads what was added since, by whichever process. What one more costs does not depend on how many there are."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / verdicts.FILE
        self.read = 0
        self.standing: dict[tuple[object, ...], Verdict] = {}
        self.said: dict[tuple[str, str | None], dict[tuple[object, ...], Verdict]] = defaultdict(dict)
        """Reviewer and audit → verdicts, the oldest first."""
        self.of: Counter[str] = Counter()
        """Reviewer → verdicts."""
        self.agreeing = Agreeing()
        self._told: list[Change] = []
        self.refresh()

    def tell(self, change: Change) -> None:
        """Call this for what stands, and for each change from now on."""
        for verdict in self.all():
            change(None, verdict)
        self._told.append(change)

    def refresh(self) -> bool:
        """Whether there was anything new."""
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < self.read:  # somebody put another file in its place
            self.read = 0
            for verdict in self.all():
                self._changed(verdict, None)
            self.standing.clear()
        if size == self.read:
            return False
        with self.file.open("rb") as file:
            file.seek(self.read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.read += len(whole) + len(newline)
        for line in whole.split(b"\n") if newline else ():
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        try:
            row = jsonl.parsed(line) if line.strip() else None
        except ValueError as error:
            log.warning("%s: a line is left out: %s", verdicts.FILE, error)
            return
        if row is not None:
            self._changed(*verdicts.take(self.standing, row))

    def _changed(self, goes: Verdict | None, comes: Verdict | None) -> None:
        if goes is not None and (comes is None or (goes.reviewer, goes.audit) != (comes.reviewer, comes.audit)):
            self.said[goes.reviewer, goes.audit].pop(goes.key)
        if comes is not None:
            self.said[comes.reviewer, comes.audit][comes.key] = comes
        for verdict, more in ((goes, -1), (comes, 1)):
            if verdict is not None:
                self.of[verdict.reviewer] += more
        self.agreeing.change(goes, comes)
        for change in self._told:
            change(goes, comes)

    def all(self) -> list[Verdict]:
        """The verdicts that stand, the oldest first."""
        return list(self.standing.values())

    def count(self, reviewer: str, audit: str | None) -> int:
        """How many verdicts of a reviewer stand, in an audit or outside of any."""
        return len(self.said.get((reviewer, audit), ()))

    def last(self, reviewer: str, audit: str | None) -> Verdict | None:
        """What a reviewer said last, in an audit or outside of any."""
        return next(reversed(self.said.get((reviewer, audit), {}).values()), None)

    def agreement(self) -> list[dict[str, object]]:
        """How far people agree (see `verdicts.agreement`)."""
        return self.agreeing.told() if sum(n > 0 for n in self.of.values()) > 1 else []
