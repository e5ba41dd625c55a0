"""The verdicts of an output, followed while other processes append to them.

The file is read once, then only its new lines; each change is passed once to the registered
listeners.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from dqpipe.errors import OutputError
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Agreeing, Verdict
from dqpipe.storage import jsonl

log = logging.getLogger(__name__)
Change = Callable[[Verdict | None, Verdict | None], None]
"""What stood and stands no more, and what stands now."""


class VerdictLog:
    """All valid verdicts; `refresh` reads what any process added since, at a cost that does not
    grow with their number.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / verdicts.FILE
        self.read = 0
        self.standing: dict[tuple[object, ...], Verdict] = {}
        self.by_reviewer: dict[tuple[str, str | None], dict[tuple[object, ...], Verdict]] = (
            defaultdict(dict)
        )
        """Reviewer and audit → verdicts, the oldest first."""
        self.of: Counter[str] = Counter()
        """Reviewer → verdicts."""
        self.agreeing = Agreeing()
        self._told: list[Change] = []
        self.refresh()

    def tell(self, change: Change) -> None:
        """Call a listener for every present verdict, and for each change from now on."""
        for verdict in self.all():
            change(None, verdict)
        self._told.append(change)

    def refresh(self) -> bool:
        """Read new lines; whether there were any. Raises OutputError."""
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < self.read:  # somebody put another file in its place
            self.read = 0
            for verdict in self.all():
                self._changed(verdict, None)
            self.standing.clear()
        if size == self.read:
            return False
        try:
            with self.file.open("rb") as file:
                file.seek(self.read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError as error:
            raise OutputError(f"cannot read {self.file}: {error.strerror}") from None
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
        if goes is not None and (
            comes is None or (goes.reviewer, goes.audit) != (comes.reviewer, comes.audit)
        ):
            self.by_reviewer[goes.reviewer, goes.audit].pop(goes.key)
        if comes is not None:
            self.by_reviewer[comes.reviewer, comes.audit][comes.key] = comes
        for verdict, more in ((goes, -1), (comes, 1)):
            if verdict is not None:
                self.of[verdict.reviewer] += more
        self.agreeing.change(goes, comes)
        for change in self._told:
            change(goes, comes)

    def all(self) -> list[Verdict]:
        """The valid verdicts, the oldest first."""
        return list(self.standing.values())

    def count(self, reviewer: str, audit: str | None) -> int:
        """The number of a reviewer's valid verdicts, in an audit or outside of any."""
        return len(self.by_reviewer.get((reviewer, audit), ()))

    def last(self, reviewer: str, audit: str | None) -> Verdict | None:
        """A reviewer's last verdict, in an audit or outside of any."""
        return next(reversed(self.by_reviewer.get((reviewer, audit), {}).values()), None)

    def agreement(self) -> list[dict[str, object]]:
        """The agreement of reviewers (see `verdicts.agreement`)."""
        return self.agreeing.told() if sum(n > 0 for n in self.of.values()) > 1 else []
