"""The summary that `run` and `check` print at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dqpipe.cli.terminal import say, say_json
from dqpipe.cli.versions import diff_lines
from dqpipe.data.wording import without_backticks
from dqpipe.results.ci_files import summary

if TYPE_CHECKING:
    from dqpipe.results.diff import Diff
    from dqpipe.results.outcome import Outcome

SHOWN = 5
"""How many samples of each kind a dry run prints."""


def tell(ran: Outcome, *, as_json: bool, dry: bool) -> None:
    """The account in short, then where the report is, or how a dry run differs from the published
    version.
    """
    from dqpipe.results.versions import published

    if ran.unchanged is not None and not as_json:
        stays = (
            "stays published"
            if ran.unchanged == published(ran.config.out)
            else "waits for approval"
        )
        say(f"Nothing changed since version {ran.unchanged}, which {stays}; nothing was written.")
        return
    compared = _compared(ran) if dry else None
    if as_json:
        _tell_json(ran, compared, dry=dry)
        return
    _say(ran, compared, dry=dry)


def _say(ran: Outcome, compared: tuple[str, Diff] | None, *, dry: bool) -> None:
    from dqpipe.results.report import account

    for line in account(ran.record):
        say(without_backticks(line))
    if compared is not None:
        say()
        say(f"Beside the published version {compared[0]}:")
        for line in diff_lines(compared[1], SHOWN, more="--json"):
            say(line)
    if dry:
        say()
        say("Nothing was published.")
    if ran.published is not None:
        say()
        for what, name in (("report: ", "report.html"), ("curated:", "curated")):
            if isinstance(ran.published, str):
                say(f"{what} {ran.published}/{name}")
            elif (ran.published / name).exists():
                say(f"{what} {_short(ran.published / name)}")


def _compared(ran: Outcome) -> tuple[str, Diff] | None:
    from dqpipe.engine.what_if import difference

    return difference(ran)


def _tell_json(ran: Outcome, compared: tuple[str, Diff] | None, *, dry: bool) -> None:
    record = {
        "summary": summary(ran.record),
        "account": ran.record["account"],
        "counts": ran.record.get("counts"),
        "gates": ran.gates,
        "path": None if ran.published is None else str(ran.published),
        "version": ran.version,
        "unchanged": ran.unchanged,
    }
    if dry:
        record["difference"] = (
            None if compared is None else {"before": compared[0], **compared[1].record(None)}
        )
    say_json(record)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
