"""Whether a run would publish what is published already: for runs that come every night, whatever happened during the day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dqpipe import account, versions
from dqpipe.errors import DatasetError

if TYPE_CHECKING:
    from dqpipe.engine import Run

SAME = ("dqpipe", "seed", "config", "stages", "versions", "failures", "skipped", "plugins_broken")
"""Of run.json: all that a result depends on, beside the samples themselves."""


def unchanged(run: Run) -> str | None:
    """The published version if the run, as far as its gates, has the same samples, the same decisions and the same plan; else None."""
    try:
        last = versions.Version.open(run.config.out)
        kept = run.raw.samples.select([name for name in versions.COLUMNS if name in run.raw.samples])
        same = _plan(account.run_record(run)) == _plan(last.record) and kept.table.equals(last.samples.table)
        return last.id if same and run.decisions.table.equals(last.decisions.table) else None
    except DatasetError:  # nothing is published, or it cannot be read
        return None


def _plan(record: dict[str, Any]) -> str:
    told = {name: record.get(name) for name in SAME}
    told["versions"] = {name: version for name, version in (told["versions"] or {}).items() if name != "platform"}  # workers differ in their kernel
    return json.dumps(told, sort_keys=True, default=str)
