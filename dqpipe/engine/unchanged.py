"""Whether a run would make the version that is published already, or waits.

For runs that come every night, whatever happened during the day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dqpipe.errors import DatasetError
from dqpipe.results import run_record, versions
from dqpipe.results.outcome import Outcome

SAME = ("dqpipe", "seed", "config", "stages", "versions", "failures", "skipped", "plugins_broken")
"""Of run.json: all that a result depends on, beside the samples themselves."""


def unchanged(run: Outcome) -> str | None:
    """The published version, or the one that waits, if the run, as far as its gates, has the same
    samples, decisions and plan; else None.
    """
    waits = versions.waiting(run.config.out)
    return _same(run, "published") or (_same(run, waits) if waits else None)


def _same(run: Outcome, version: str) -> str | None:
    try:
        last = versions.Version.open(run.config.out, version)
        kept = run.samples.select([name for name in versions.COLUMNS if name in run.samples])
        same = _plan(run_record.run_record(run)) == _plan(last.record) and kept.table.equals(
            last.samples.table
        )
        return last.id if same and run.decisions.table.equals(last.decisions.table) else None
    except DatasetError:  # nothing is published, or it cannot be read
        return None


def _plan(record: Mapping[str, Any]) -> str:
    told = {name: record.get(name) for name in SAME}
    told["versions"] = {
        name: version for name, version in (told["versions"] or {}).items() if name != "platform"
    }  # workers differ in their kernel
    return json.dumps(told, sort_keys=True, default=str)
