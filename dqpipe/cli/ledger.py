"""The command `dqpipe ledger`: filter, count and export the ledger of a version."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqpipe.cli.terminal import say, say_csv, say_json, say_pieces
from dqpipe.data.wording import many
from dqpipe.errors import OutputError
from dqpipe.storage import ownership
from dqpipe.storage.whole_files import spare_beside

if TYPE_CHECKING:
    import pyarrow as pa

commands = typer.Typer()
SHOWN = 20
Output = Annotated[
    str,
    typer.Argument(help="The output of a run (a folder or a URL), or a version's folder in it."),
]
Codes = Annotated[
    list[str] | None,
    typer.Option(
        "--code", metavar="CODE", help="A finding code, or a glob of codes (image_quality.*)."
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="LABEL",
        help="The label of the sample in the source, or one of its tags.",
    ),
]
Splits = Annotated[list[str] | None, typer.Option("--split", metavar="SPLIT")]
Groups = Annotated[list[str] | None, typer.Option("--group", metavar="GROUP")]
Decisions = Annotated[
    list[str] | None,
    typer.Option("--decision", metavar="DECISION", help="keep, drop, relabel or review."),
]
Severities = Annotated[
    list[str] | None, typer.Option("--severity", metavar="SEVERITY", help="info, warning or error.")
]


@commands.command()
def ledger(
    out: Output = "out",
    codes: Codes = None,
    classes: Classes = None,
    splits: Splits = None,
    groups: Groups = None,
    decisions: Decisions = None,
    severities: Severities = None,
    most: Annotated[int, typer.Option("--most", min=0, help="Rows to print.")] = SHOWN,
    count: Annotated[
        bool,
        typer.Option(
            "--count", help="Print only the number of samples; with --json by code and decision."
        ),
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the rows as CSV; - is standard output."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as JSON.")] = False,
) -> None:
    """Filter, count and export the ledger.

    An option given several times matches any of its values.
    """
    from dqpipe.results import ledger_query
    from dqpipe.review.explain import version_of

    version = version_of(out)
    question = ledger_query.Question(
        *(tuple(values or ()) for values in (codes, classes, splits, groups, decisions, severities))
    )
    table = ledger_query.rows(version, question)
    heading = (
        f"{many(ledger_query.samples(table), 'sample')}, {many(table.num_rows, 'row')} of the "
        f"ledger of version {version.id}"
    )
    if csv is not None:
        _export(table, csv)
        say(f"{heading}: {csv}", err=True)
    if count:
        whole = {
            "version": version.id,
            "samples": ledger_query.samples(table),
            "rows": table.num_rows,
            "counts": ledger_query.counts(table),
        }
        say_json(whole) if as_json else say(str(whole["samples"]))
    elif as_json:
        say_pieces(ledger_query.as_json(table))
    elif csv is None:
        _print(table, most, heading)


def _export(table: pa.Table, path: Path) -> None:
    """Write a CSV, whole or not at all. Raises OutputError."""
    from dqpipe.results.ledger_query import write_csv

    if str(path) == "-":
        buffer = io.BytesIO()
        write_csv(table, buffer)
        say_csv(buffer.getvalue())
        return
    try:
        with spare_beside(path) as spare:
            write_csv(table, spare)
            with spare.open("rb") as file:
                header = file.readline()
            ownership.refuse_to_replace(path, lambda beginning: beginning.startswith(header))
            spare.replace(path.resolve())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def _print(table: pa.Table, most: int, heading: str) -> None:
    for row in table.slice(0, most).to_pylist():
        say(_line(row))
    left = (
        f"; {table.num_rows - most:,} more than are shown (--most, --csv, --json)"
        if table.num_rows > most
        else ""
    )
    say(f"{heading}{left}")


def _line(row: dict[str, Any]) -> str:
    """One row of the ledger in a line.

    The sample, its decision, and a finding with its value and threshold.
    """
    name = row["id"] if row["id"] is not None else "(the whole dataset)"
    given = f" [{row['label']}]" if row["label"] is not None else ""
    to = f" → {row['new_label']}" if row["new_label"] else ""
    decided = f": {row['decision']}{to}" if row["decision"] else ""
    numbers = [
        f"{key} {row[key]:.4g}"
        for key in ("value", "threshold", "confidence")
        if row[key] is not None
    ]
    named = [f"{key} {row[key]}" for key in ("part", "match", "suggestion") if row[key] is not None]
    claimed = (
        f"  {row['code']} ({row['severity']}{''.join(f', {text}' for text in (*numbers, *named))})"
        if row["code"]
        else ""
    )
    return f"{name}{given}{decided}{claimed}"
