"""The section about changes since the version published before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe import diff as version_diff
from dqpipe_reports.page import render


@extension
class Changes(Section):
    """Samples that came, went, or are judged otherwise than in the version before, and why."""

    name = "changes"
    order = 150
    title = "Since the last version"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[[str], str]) -> str:
        """Counts, what changed in the plan, and some samples of each kind with the reasons.

        Nothing for a first version.
        """
        diff = record["run"].get("diff")
        if not diff or "counts" not in diff:
            return ""
        counts = {
            kind: diff["counts"][kind] for kind in version_diff.KINDS if diff["counts"].get(kind)
        }
        kinds = [
            (
                version_diff.meaning(kind, n),
                n,
                [row for row in diff["rows"] if kind in row["kinds"]],
            )
            for kind, n in counts.items()
        ]
        return render("changes.html", diff=diff, kinds=kinds)
