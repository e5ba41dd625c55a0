"""The commands that exchange samples with labelling tools: export and import."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from typer.core import TyperCommand

from dqpipe.cli.terminal import say, say_json
from dqpipe.data.wording import many
from dqpipe.errors import ConfigError, OutputError
from dqpipe.storage.whole_files import write_whole

commands = typer.Typer()
Output = Annotated[str, typer.Option("--out", "-o", help="The output of a run: a folder or a URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
KIND = "handover"
"""The kind in the marker of a folder; as it was before the command was called `export`."""
FORMATS = "[formats]"
"""Stands in a help text for the names of the formats."""


class _Listing(TyperCommand):
    """A command whose help lists the formats; only that loads the plugins."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 (of typer's own click)
        """See click."""
        from dqpipe.plugin import registry
        from dqpipe.review.exchange import formats

        brought = registry.load()
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            if FORMATS in text:
                names = " | ".join(formats(brought, answers=parameter.name == "come"))
                parameter.help = text.replace(FORMATS, names)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


@commands.command("handover", cls=_Listing, hidden=True)
@commands.command("export", cls=_Listing)
def export(
    to: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help=FORMATS,
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    out: Output = "out",
    code: Annotated[
        list[str] | None, typer.Option(help="Samples with this finding code (repeatable).")
    ] = None,
    decision: Annotated[
        list[str] | None,
        typer.Option(
            help="Samples with this decision: keep, drop, relabel or review (repeatable)."
        ),
    ] = None,
    with_verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Samples that have verdicts, with these verdicts.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="All samples; formats that are not read back always get all of them."
        ),
    ] = False,
    media_root: Annotated[
        str | None,
        typer.Option(
            help="The folder that media paths are relative to.", show_default="the format's"
        ),
    ] = None,
    media_prefix: Annotated[
        str | None,
        typer.Option(
            help="A prefix of media paths, such as a URL.",
            show_default="/data/local-files/?d= for label-studio",
        ),
    ] = None,
    version: Annotated[
        str,
        typer.Option(
            help="The version to export; the published one by default.",
            show_default="the published one",
        ),
    ] = "published",
    force: Annotated[
        bool, typer.Option(help="Replace files of this format in an existing folder.")
    ] = False,
) -> None:
    """Write samples for a labelling tool.

    By default those with a doubtful label and no verdict yet.

    Afterwards `dqpipe import` reads the answers back as verdicts.
    """
    from dqpipe.plugin.exchange import Media
    from dqpipe.results.versions import Version
    from dqpipe.review.exchange import named
    from dqpipe.review.exchange.queue import Wanted, queue
    from dqpipe.storage.location import is_url

    wished = named(to)
    if is_url(str(folder)):
        raise ConfigError(f"{folder}: files for another tool are written to a local folder")
    if folder.exists() and not force and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} exists: --force replaces the files of this format in it")
    chosen = bool(code or decision or with_verdicts)
    wanted = Wanted(
        tuple(code or ()),
        tuple(decision or ()),
        with_verdicts,
        everything or (not wished.answers and not chosen),
    )
    found = queue(out, Version.open(out, version), wanted)
    if not found.items:
        say("no sample matches: nothing is written (--code, --decision or --all select others)")
        return
    written = wished.write(found, Media(media_prefix, media_root))
    write(folder, written.files)
    say(
        f"{many(len(found.items), 'sample')} of version {found.version} → {folder}: "
        f"{', '.join(written.files)}"
    )
    for line in [
        *(f"{n:,} {why} and are left out" for why, n in written.left_out.items()),
        *written.next,
    ]:
        say(line)


@commands.command("takeover", cls=_Listing, hidden=True)
@commands.command("import", cls=_Listing)
def import_answers(
    file: Annotated[
        Path, typer.Argument(help="The file that the labelling tool exported.", show_default=False)
    ],
    out: Output = "out",
    come: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help=FORMATS,
            show_default="by the file's ending",
        ),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="The reviewer's name, where the file does not have it.")
    ] = None,
    partly: Annotated[
        bool, typer.Option(help="Add the valid answers even if others are invalid.")
    ] = False,
    new_labels: Annotated[bool, typer.Option(help="Accept labels that no sample has yet.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show what would be added, and add nothing.")
    ] = False,
    version: Annotated[
        str,
        typer.Option(help="The version that was exported.", show_default="the published one"),
    ] = "published",
    as_json: AsJson = False,
) -> None:
    """Add the answers from a labelling tool as verdicts.

    Verdicts override every stage from the next run on. Either all answers are added or, if one
    cannot be matched, none; adding the same file again changes nothing.
    """
    from dqpipe.results.versions import Version
    from dqpipe.review.exchange import by_ending, named
    from dqpipe.review.exchange.answers import contents
    from dqpipe.review.exchange.matching import take

    used = named(come, answers=True) if come else by_ending(str(file))
    opened = Version.open(out, version)
    answers = used.read(contents(file))
    taken = take(out, opened, answers, reviewer, partly=partly, new_labels=new_labels, dry=dry_run)
    if as_json:
        counts = {
            "added": len(taken.new),
            "known": taken.known,
            "older": taken.older,
            "unanswered": taken.unanswered,
            "problems": taken.problems,
        }
        say_json(counts)
        return
    for line in taken.lines():
        say(line)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each whole or not at all.

    Replace only files that dqpipe wrote and nobody changed. Raises OutputError.
    """
    from dqpipe.storage import ownership
    from dqpipe.storage.location import place

    where = place(folder)
    marker = ownership.marker(where, KIND)
    if marker is None and os.path.lexists(folder / ownership.MARKER):
        raise OutputError(
            f"{folder} is a folder of dqpipe's for something else, or its {ownership.MARKER} is "
            f"not dqpipe's: name another folder"
        )
    known = (marker or {}).get("written", {})
    for name in files:
        if os.path.lexists(folder / name) and not _as_written(folder / name, known.get(name)):
            raise OutputError(
                f"{folder / name} was changed, or is not of dqpipe: it may hold answers of people; "
                f"name another folder, or move it away"
            )
    record = {
        "made_by": "dqpipe",
        "kind": KIND,
        "id": uuid4().hex,
        "written": known | {name: _digest(data) for name, data in files.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole({folder / name: data for name, data in files.items()})
        where.write(ownership.MARKER, json.dumps(record).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None


def _as_written(path: Path, digest: str | None) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) == digest


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
