"""What `run` and `check` say at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dqpipe.ci import summary
from dqpipe.cli_versions import told
from dqpipe.logs import printable

if TYPE_CHECKING:
    from dqpipe.diff import Diff
    from dqpipe.engine import Run

SHOWN = 5
"""Samples of each kind that a dry run names."""


def tell(ran: Run, *, as_json: bool, dry: bool) -> None:
    """The account, short: found, dropped, relabelled, added, why; where the report is, or what a dry run decides otherwise than what is published."""
    from dqpipe.report import account

    compared = _compared(ran) if dry else None
    if as_json:
        _tell_json(ran, compared, dry=dry)
        return
    for line in account(ran.record):
        typer.echo(printable(line))
    if compared is not None:
        typer.echo(f"\nBeside the published version {compared[0]}:")
        for line in told(compared[1], SHOWN):
            typer.echo(printable(line))
    if dry:
        typer.echo("\nNothing was published.")
    if ran.published is not None:
        typer.echo()
        for what, name in (("report: ", "report.html"), ("curated:", "curated")):
            if isinstance(ran.published, str):
                typer.echo(f"{what} {ran.published}/{name}")
            elif (ran.published / name).exists():
                typer.echo(f"{what} {_short(ran.published / name)}")


def _compared(ran: Run) -> tuple[str, Diff] | None:
    from dqpipe.whatif import difference

    return difference(ran)


def _tell_json(ran: Run, compared: tuple[str, Diff] | None, *, dry: bool) -> None:
    record = {"summary": summary(ran.record), "account": ran.record["account"], "counts": ran.record.get("counts"), "gates": ran.gates,
              "path": None if ran.published is None else str(ran.published), "version": ran.version}  # fmt: skip
    if dry:
        record["difference"] = None if compared is None else {"before": compared[0], **compared[1].record(None)}
    typer.echo(json.dumps(record, indent=2, default=str, ensure_ascii=False))


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
