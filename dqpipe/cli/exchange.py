"""The commands about other tools: handover, takeover."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from dqpipe.cli.terminal import say, say_json
from dqpipe.data.wording import many
from dqpipe.errors import ConfigError, OutputError

commands = typer.Typer()
Output = Annotated[str, typer.Option("--out", "-o", help="The output of a run: a folder or a URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
KIND = "handover"
ENDINGS = {".json": "label-studio", ".xml": "cvat", ".csv": "csv", ".tsv": "csv"}


@commands.command()
def handover(
    to: Annotated[str, typer.Argument(metavar="FORMAT", help="label-studio | cvat | csv | fiftyone | lightly", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    out: Output = "out",
    code: Annotated[list[str] | None, typer.Option(help="Samples of which this is claimed (repeatable).")] = None,
    decision: Annotated[list[str] | None, typer.Option(help="Samples of this decision: keep, drop, relabel, review (repeatable).")] = None,
    with_verdicts: Annotated[bool, typer.Option("--verdicts", help="Samples that people ruled on, with what they said.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every sample; fiftyone and lightly get every one anyway.")] = False,
    media_root: Annotated[str | None, typer.Option(help="The folder that media paths start from.", show_default="the format's")] = None,
    media_prefix: Annotated[
        str | None, typer.Option(help="What stands before media paths, a URL say.", show_default="/data/local-files/?d= for label-studio")
    ] = None,
    version: Annotated[str, typer.Option(help="A version of the output.", show_default="the published one")] = "published",
    force: Annotated[bool, typer.Option(help="Replace these files in a folder that exists.")] = False,
) -> None:
    """Hand samples to another tool: those whose label is in question and nobody ruled on, unless you say which.

    Afterwards `dqpipe takeover` brings back what people said there.
    """
    from dqpipe.results.versions import Version
    from dqpipe.review import exchange as formats
    from dqpipe.review.exchange.queue import Options, Wanted, queue
    from dqpipe.storage.location import is_url

    module = formats.module(to)
    if is_url(str(folder)):
        raise ConfigError(f"{folder}: files for another tool are written to a local folder")
    if folder.exists() and not force and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} exists: --force replaces the files of this format in it")
    chosen = bool(code or decision or with_verdicts)
    wanted = Wanted(tuple(code or ()), tuple(decision or ()), with_verdicts, everything or (to not in formats.BACK and not chosen))
    found = queue(out, Version.open(out, version), wanted)
    if not found.items:
        say("no sample is wanted: nothing is written (--code, --decision or --all choose others)")
        return
    written = module.write(found, Options(media_prefix, media_root))
    write(folder, written.files)
    say(f"{many(len(found.items), 'sample')} of version {found.version} → {folder}: {', '.join(written.files)}")
    for line in [*(f"{n:,} {why} and are left out" for why, n in written.left_out.items()), *written.next]:
        say(line)


@commands.command()
def takeover(
    file: Annotated[Path, typer.Argument(help="What the other tool exported.", show_default=False)],
    out: Output = "out",
    come: Annotated[str | None, typer.Option("--from", metavar="FORMAT", help="label-studio | cvat | csv", show_default="by the file's ending")] = None,
    reviewer: Annotated[str | None, typer.Option(help="Whose answers these are, where the file does not say.")] = None,
    partly: Annotated[bool, typer.Option(help="Take what can be taken, although some answers cannot.")] = False,
    new_labels: Annotated[bool, typer.Option(help="Take labels that no sample has yet.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would happen, and add nothing.")] = False,
    version: Annotated[str, typer.Option(help="The version that was handed over.", show_default="the published one")] = "published",
    as_json: AsJson = False,
) -> None:
    """Take back what people said in another tool, as verdicts: from the next run on they outrank every stage.

    All of it is taken or, where an answer cannot be matched, none; the same file twice adds nothing.
    """
    from dqpipe.results.versions import Version
    from dqpipe.review import exchange as formats
    from dqpipe.review.exchange.answers import contents
    from dqpipe.review.exchange.matching import take

    name = come or ENDINGS.get(file.suffix.lower())
    if name not in formats.BACK:
        raise ConfigError(f"say what {file} comes from: --from {' | '.join(formats.BACK)}")
    opened = Version.open(out, version)
    answers = formats.module(name).read(contents(file))
    taken = take(out, opened, answers, reviewer, partly=partly, new_labels=new_labels, dry=dry_run)
    if as_json:
        told = {"added": len(taken.new), "known": taken.known, "older": taken.older, "unanswered": taken.unanswered, "problems": taken.problems}
        say_json(told)
        return
    for line in taken.lines():
        say(line)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each whole or not at all; of what is there only what dqpipe wrote, as it wrote it. Raises OutputError."""
    from dqpipe.storage import ownership
    from dqpipe.storage.location import place

    where = place(folder)
    marker = ownership.marker(where, KIND)
    if marker is None and os.path.lexists(folder / ownership.MARKER):
        raise OutputError(f"{folder} is a folder of dqpipe's for something else, or its {ownership.MARKER} is not dqpipe's: name another folder")
    known = (marker or {}).get("written", {})
    for name in files:
        if os.path.lexists(folder / name) and not _as_written(folder / name, known.get(name)):
            raise OutputError(f"{folder / name} is not as dqpipe wrote it, if it did: it may hold what people said; name another folder, or take it away")
    told = {"made_by": "dqpipe", "kind": KIND, "id": uuid4().hex, "written": known | {name: _digest(data) for name, data in files.items()}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".handover-", dir=folder) as spare:
            for name, data in files.items():
                (Path(spare) / name).write_bytes(data)
            for name in files:
                (Path(spare) / name).replace(folder / name)
        where.write(ownership.MARKER, json.dumps(told).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None


def _as_written(path: Path, digest: str | None) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) == digest


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
