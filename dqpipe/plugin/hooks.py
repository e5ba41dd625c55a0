"""The few hooks: registration, an objection while planning, and observers of a run.

No hook changes data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from dqpipe.plugin.stage import Extension

hookspec = pluggy.HookspecMarker("dqpipe")
hookimpl = pluggy.HookimplMarker("dqpipe")


@hookspec
def dqpipe_register() -> Iterable[type[Extension]]:  # type: ignore[empty-body]
    """The extensions that this plugin brings.

    Asked once, in the driving process, never in a worker.
    """


@hookspec
def dqpipe_plan(plan: Mapping[str, Any]) -> str | None:
    """An objection to a plan before it runs, as a sentence, or None.

    `plan` is a frozen record of it.
    """


@hookspec
def dqpipe_run_started(run: Mapping[str, Any]) -> None:
    """A run started: its id, source, out (None for a check), the steps to come and the number of
    samples.
    """


@hookspec
def dqpipe_shard_finished(shard: Mapping[str, Any]) -> None:
    """A shard was measured: its number, of how many, its samples, how many were measured anew,
    seconds.
    """


@hookspec
def dqpipe_stage_started(stage: Mapping[str, Any]) -> None:
    """A step starts: its name."""


@hookspec
def dqpipe_stage_finished(stage: Mapping[str, Any]) -> None:
    """A step finished: its name, seconds, counts."""


@hookspec
def dqpipe_run_finished(run: Mapping[str, Any]) -> None:
    """A run finished or failed: id, source, out, version, published (whether it is), path (of its
    version), account, gates; or its error.
    """
