"""The commands about versions: versions, diff, rollback and approve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqpipe.cli.terminal import say, say_json
from dqpipe.data.wording import many

if TYPE_CHECKING:
    from dqpipe.results.diff import Diff

commands = typer.Typer()
Output = Annotated[str, typer.Argument(help="The output of a pipeline: a folder or a URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
LISTED = 20


@commands.command("versions")
def list_versions(out: Output = "out", as_json: AsJson = False) -> None:
    """List the versions of an output: time, number of samples, and which one is published."""
    from dqpipe.results.rollback import listing

    rows = listing(out)
    if as_json:
        say_json(rows)
        return
    for row in rows:
        counts = (
            ""
            if row["curated"] is None
            else f"{many(row['samples'], 'sample')}, {row['curated']:,} curated"
        )
        say(f"{row['version']}  {row['state']:<12}  {row['time'] or '':<25}  {counts}".rstrip())
    if not rows:
        say("no version yet")


@commands.command()
def diff(
    before: Annotated[
        str, typer.Argument(help="A version, or previous, or published.")
    ] = "previous",
    after: Annotated[str, typer.Argument(help="A version, or published.")] = "published",
    out: Annotated[
        str, typer.Option("--out", "-o", help="The output of a pipeline: a folder or a URL.")
    ] = "out",
    most: Annotated[
        int, typer.Option("--most", min=0, help="Samples of each kind to print.")
    ] = LISTED,
    as_json: AsJson = False,
) -> None:
    """Print what changed between two versions, sample by sample, and why."""
    from dqpipe.results.diff import Side, compare
    from dqpipe.results.versions import Version

    one, other = Version.open(out, before), Version.open(out, after)
    found = compare(Side.of(one), Side.of(other))
    if as_json:
        say_json({"before": one.id, "after": other.id, **found.record(None)})
        return
    say(f"{one.id} → {other.id}")
    for line in diff_lines(found, most):
        say(line)


@commands.command()
def rollback(
    out: Output,
    version: Annotated[
        str,
        typer.Argument(
            help="The version to publish again; by default the one before the published one."
        ),
    ] = "previous",
    as_json: AsJson = False,
) -> None:
    """Publish an older version again: the pointer is switched in one step, nothing is removed."""
    from dqpipe.results.rollback import roll_back

    was, now = roll_back(out, version)
    say_json({"published": now, "was": was}) if as_json else say(f"published is {now} (was {was})")


@commands.command()
def approve(
    out: Output,
    version: Annotated[
        str, typer.Argument(help="The version that waits, as `dqpipe versions` lists it.")
    ],
    refuse: Annotated[
        bool, typer.Option("--reject", help="Reject the version: it is never published.")
    ] = False,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Your name, for the history.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Publish a version that waits for a person (`approve:` in the pipeline.yaml), or reject it."""
    from dqpipe.results import rollback as answers

    if refuse:
        rejected = answers.reject(out, version, by=by)
        say_json({"rejected": rejected}) if as_json else say(
            f"rejected is {rejected}: it is not published"
        )
        return
    was, now = answers.approve(out, version, by=by)
    say_json({"published": now, "was": was}) if as_json else say(
        f"published is {now} (was {was or 'none'})"
    )


def diff_lines(found: Diff, most: int, more: str = "--most, --json") -> list[str]:
    """A diff as lines: counts, changes of the plan, and some samples of each kind.

    `more` names the options that print all.
    """
    from dqpipe.results.diff import KINDS, MEANINGS, summary

    lines = [summary(found.counts)]
    lines += [
        f"  {change['what']}: {change['before'] or 'none'} → {change['after'] or 'none'}"
        for change in found.plan
    ]
    for kind in KINDS:
        rows = [row for row in found.rows if kind in row["kinds"]]
        lines += ["", f"{MEANINGS[kind]}: {len(rows):,}"] if rows else []
        lines += [f"  {_sample(row, kind)}" for row in rows[:most]]
        lines += [f"  and {len(rows) - most:,} more ({more})"] if len(rows) > most else []
    return lines


def _sample(row: dict[str, Any], kind: str) -> str:
    name = f"{row['before']} → {row['id']}" if row["before"] is not None else row["id"]
    pair = {"relabelled": row["label"], "decided": row["decision"]}.get(kind)
    change = "" if pair is None else f" {pair[0]} → {pair[1]}"
    return f"{name}:{change} {'; '.join(row['why'])}"
