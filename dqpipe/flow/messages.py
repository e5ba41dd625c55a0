"""Names, tags, state messages, artifacts and events of a flow run in Prefect.

    Outcome ──▶ name (dataset and date) · tags (dqpipe, dataset, what came of it) · message (counts,
        what changed, where the report is)
           ├──▶ artifacts: account · findings · examples · quality (each figure over the runs)
           └──▶ event: dqpipe.dataset.published, dqpipe.dataset.waiting, or dqpipe.gate.failed

All of it comes after the work: what cannot be told is logged and said, and changes neither the run
nor its state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prefect import get_client
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.events import emit_event

from dqpipe.config.gate_grammar import state
from dqpipe.data.wording import many, slug
from dqpipe.errors import listed, printable
from dqpipe.execution import decoding
from dqpipe.flow.artifacts import (
    account_markdown,
    finding_rows,
    key_of,
    series_markdown,
    series_rows,
    strips,
)
from dqpipe.plugin.stage import View
from dqpipe.results import versions
from dqpipe.results.ci_files import brief
from dqpipe.results.outcome import Outcome
from dqpipe.results.report import account

log = logging.getLogger(__name__)
OUTCOMES = (
    "published",
    "unchanged",
    "checked",
    "waiting",
    "rejected",
    "gate-failed",
    "failed",
    "busy",
)
"""Tags that say what came of a flow run; it has one of them when it has ended."""
COUNTS = ("samples", "kept", "dropped", "relabelled", "review", "added")
NEWS = 10
"""Changes that a message tells."""
LONGEST = 80
"""Letters of a dataset's name."""


@dataclass(frozen=True)
class FlowResult:
    """The return value of the flows.

    Outcome (one of OUTCOMES), version, counts, samples with each finding, changes, paths or URLs.

    `version` is the one that the run made, or that it left published where nothing changed; None
    for a check.
    """

    outcome: str
    version: str | None
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    gates: tuple[Mapping[str, Any], ...] = ()
    out: str | None = None
    curated: str | None = None
    report: str | None = None
    ledger: str | None = None


def result_of(run: Outcome, outcome: str, version: str | None) -> FlowResult:
    """The return value of a flow for a finished run."""
    where = None if version is None else f"{run.config.out}/versions/{version}"
    found = (
        {
            code["code"]: code["samples"]
            for stage in run.record["counts"]["stages"]
            for code in stage["codes"]
        }
        if run.record
        else {}
    )
    return FlowResult(
        outcome,
        version,
        counts(run, version),
        found,
        tuple(changed(run)),
        tuple(run.gates),
        out=str(run.config.out) if run.writes else None,
        curated=where and f"{where}/curated",
        report=report_of(run) or (where and f"{where}/report.html"),
        ledger=where and f"{where}/ledger.parquet",
    )


def counts(run: Outcome, version: str | None) -> dict[str, int]:
    """The counts of a run, or of the published version if the run changed nothing."""
    told = run.record.get("account") if run.record else None
    if told is None:
        rows = [row for row in versions.history(run.config.out) if row.get("version") == version]
        told = rows[-1] if rows else {}
    return {name: told[name] for name in COUNTS if name in told}


# names, tags, messages ----------------------------------------------------------------------------


def dataset_name(source: object) -> str:
    """The name of a dataset: the last two parts of its path or URL, or the type of the object."""
    text = str(source) if isinstance(source, (str, Path)) else type(source).__name__
    parts = [part for part in text.replace("\\", "/").split("/") if part and not part.endswith(":")]
    return printable("/".join(parts[-2:]))[-LONGEST:] or "dataset"


def run_name(dataset: str) -> str:
    """The name of a flow run: the dataset, and the minute (UTC)."""
    return f"{dataset} {datetime.now(UTC):%Y-%m-%d %H:%M}"


def tag(*words: str) -> None:
    """Tag this flow run with its outcome, in place of an earlier outcome."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    run = context.flow_run
    run.tags = sorted({*(word for word in run.tags if word not in OUTCOMES), *words})
    with get_client(sync_client=True) as client:
        client.update_flow_run(run.id, tags=run.tags)


def changed(run: Outcome) -> list[str]:
    """The changes since the version published before, in short phrases."""
    return [row["said"] for row in run.beside.news]


def counted(run: Outcome) -> str:
    """Counts, changes, and what was not judged or measured, as one text."""
    told = run.record["account"]
    text = (
        f"{told['kept']} of {many(told['samples'], 'sample')} kept, {told['relabelled']} "
        f"relabelled, {told['added']} added, {told['review']} to review"
    )
    if run.failures:
        text += f", {many(len(run.failures), 'measurement')} failed (see the account)"
    if since := brief(run.beside.news, NEWS):
        text += f"; since the last version: {since}"
    if rows := run.record["run"].get("unseen"):
        text += f"; not looked at: {listed([row['what'] for row in rows], 3)}"
    if unjudged := [gate["gate"] for gate in run.gates if state(gate) == "unjudged"]:
        text += f"; not judged: {listed(unjudged, 3)}"
    return text


def advice(run: Outcome) -> str:
    """What to do about a gate that failed."""
    if run.published is None:
        return "Run again when the data, or the gate, is right"
    last = versions.published(run.config.out)
    stays = f"Version {last} stays published" if last else "Nothing is published"
    return (
        f"{stays}. Read {report_of(run)}; ask `dqpipe why SAMPLE --out {run.published}`; run again "
        f"when the data, or the gate, is right"
    )


def report_of(run: Outcome) -> str | None:
    """The path or URL of the report, or of the version's folder if it has no HTML report.

    None for a check.
    """
    if not isinstance(run.published, Path):
        return run.published and f"{run.published}/report.html"
    report = run.published / "report.html"
    return str(report if report.exists() else run.published)


# artifacts and events -----------------------------------------------------------------------------


def tell(run: Outcome) -> list[str]:
    """Create the artifacts and emit the event of a run; returns what failed, in short phrases."""
    return each(
        ("the account", lambda: _account(run)),
        ("the findings", lambda: _findings(run)),
        ("quality over the runs", lambda: _quality(run)),
        ("the examples", lambda: _examples(run)),
        ("the event", lambda: _event(run)),
    )


def each(*pieces: tuple[str, Callable[[], object]]) -> list[str]:
    """Make calls to the server one after the other.

    Returns failures with reasons, and stops when the server does not answer.
    """
    missed: list[str] = []
    for what, telling in pieces:
        try:
            telling()
        except Exception as error:  # noqa: BLE001 (the run is over: nothing that is said about it may change what came of it)
            reason = f"{type(error).__name__}: {error}"[:200]
            log.warning(
                "%s could not be told to Prefect (%s); the run stands as it is", what, reason
            )
            missed.append(f"{what} ({reason})")
            if isinstance(error, httpx.TransportError):
                break
    return missed


def missed_text(missed: Iterable[str]) -> str:
    """The end of a state message that names failed calls to the server."""
    every = list(missed)
    return f"; not shown in Prefect: {listed(every, 3)}" if every else ""


def _account(run: Outcome) -> None:
    failed = [gate for gate in run.gates if not gate["passed"]]
    told = account_markdown(
        account(run.record),
        finding_rows(run.record),
        [advice(run)] if failed else [],
        report_of(run),
        run.record,
    )
    create_markdown_artifact(
        told, key=f"account-{key_of(run.config.out)}", description=f"run {run.id}"
    )


def _findings(run: Outcome) -> None:
    rows = finding_rows(run.record)
    create_table_artifact(
        rows,
        key=f"findings-{key_of(run.config.out)}",
        description="what was claimed, and what became of the samples",
    )


def _quality(run: Outcome) -> None:
    past, place = versions.history(run.config.out), key_of(run.config.out)
    if past:
        create_table_artifact(
            series_rows(past),
            key=f"quality-{place}",
            description="each run: share of each finding (0 to 1), drift of each fact, counts",
        )
        create_markdown_artifact(
            series_markdown(past), key=f"quality-chart-{place}", description="the last runs as bars"
        )


def _examples(run: Outcome) -> None:
    if not run.dataset.has_media:
        return
    pixels = decoding.Rereader(
        run.dataset,
        run.plan.decoders,
        run.usage.rereads,
        "artifacts",
        views=run.registry.instances(View),
    )
    for code, caption, url in strips(run.record, pixels):
        create_image_artifact(
            url,
            key=f"examples-{slug(code)}-{key_of(run.config.out)}",
            description=f"{code}, the strongest: {caption}",
        )


def _event(run: Outcome) -> None:
    """For automations: on the output, related to the dataset, the version, and this flow run."""
    if run.passed and run.published is None:
        return  # a check
    emit(
        run,
        "dqpipe.gate.failed"
        if not run.passed
        else "dqpipe.dataset.waiting"
        if run.waits
        else "dqpipe.dataset.published",
    )


def emit(run: Outcome, name: str) -> None:
    """An event about the output of a run, with fields for the messages of automations."""
    failed, out, source = (
        [gate for gate in run.gates if not gate["passed"]],
        str(run.config.out),
        str(run.source),
    )
    emit_event(
        name,
        resource={
            "prefect.resource.id": f"dqpipe.output.{key_of(out)}",
            "prefect.resource.name": out,
        },
        related=[
            {
                "prefect.resource.id": f"dqpipe.version.{run.version}",
                "prefect.resource.role": "version",
                "prefect.resource.name": run.version,
            },
            {
                "prefect.resource.id": f"dqpipe.dataset.{key_of(source)}",
                "prefect.resource.role": "dataset",
                "prefect.resource.name": source[:200],
            },
        ],
        payload={
            "version": run.version,
            "out": out,
            "source": source[:200],
            "report": report_of(run),
            "said": account(run.record),
            "changed": changed(run),
            "gates": [gate["said"] for gate in failed],
            "asks": list(run.asks),
            "counts": {name: run.record["account"][name] for name in COUNTS},
        },
    )
