"""The command line: init, run, check, why, plugins and schema.

Each other group of commands has its own module.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqpipe.cli import (
    account,
    exchange,
    ledger,
    machine,
    review,
    store,
    streams,
    terminal,
    versions,
)
from dqpipe.cli.terminal import complain, logged_as_json, say, say_json
from dqpipe.errors import (
    ConfigError,
    DqpipeError,
    OutputError,
    PluginError,
    listed,
    nearest,
    printable,
    readable,
)
from dqpipe.execution import logs
from dqpipe.results import ci_files
from dqpipe.version import __version__

if TYPE_CHECKING:
    from dqpipe.api import Pipeline
    from dqpipe.plugin.registry import Registry
    from dqpipe.results.outcome import Outcome

app = typer.Typer(
    name="dqpipe",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From raw data to a curated, explained, leak-free training set.",
    epilog="Exit codes: 0 fine · 1 a gate failed, a version waits for approval, or some samples could not be measured · "  # noqa: E501
    "2 the config, the data or the output is wrong · 3 a stage failed · 130 interrupted · 143 "
    "told to end (SIGTERM).",
)
app.add_typer(store.app, name="store")
app.add_typer(versions.commands)
app.command()(review.review)
app.add_typer(ledger.commands)
app.add_typer(exchange.commands)
app.add_typer(machine.commands)
INTERRUPTED = 130
_BROUGHT: set[str] = set()
"""Groups of commands that plugins brought."""
Without = Annotated[
    list[str] | None,
    typer.Option("--no-plugin", help="Leave this plugin out (repeatable).", metavar="NAME"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ConfigFile = Annotated[Path, typer.Argument(help="The pipeline.yaml.", show_default=False)]
Workers = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="serial | threads:4 | processes:4 | dask | dask:tcp://HOST:PORT | ray | ray:ADDRESS. Without a number: one worker for each core; without an "  # noqa: E501
        "address: a cluster of this machine, for the run. Dask and Ray are reached through "
        "Prefect, so that they imply --flow. `dqpipe plugins` lists those of plugins (workers).",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME.OPTION=VALUE",
        help=(
            "Override an option of the file, such as label_noise.at_least=0.9 or "
            "policy.max_drop=0.1 (repeatable)."
        ),
    ),
]
Badge = Annotated[
    Path | None,
    typer.Option(
        "--badge", metavar="FILE.json", help="Write a badge in the endpoint format of shields.io."
    ),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE.xml", help="Write the gates as JUnit XML.")
]
Summary = Annotated[bool, typer.Option("--summary", help="Print the summary as one line.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use only this many samples, for a first look.")
]


def main() -> None:
    """Run the command line; a DqpipeError ends with one message and its exit code, without a
    traceback.
    """
    streams.prepare()
    terminal.prepare()
    try:
        _command()
    except SystemExit as done:
        try:
            streams.finish()
        except OutputError as error:
            complain(f"error: {error}")
            sys.exit(done.code or error.exit_code)
        raise


def _command() -> None:
    """Run the command that was asked for. Raises SystemExit, always."""
    signal.signal(
        signal.SIGTERM, lambda number, _: sys.exit(128 + number)
    )  # what is half done is cleared away, as after Ctrl-C
    try:
        _add_commands_of_plugins(sys.argv[1:])
        code = app(prog_name="dqpipe", standalone_mode=False)
        if code == INTERRUPTED:  # typer makes this of a KeyboardInterrupt
            sys.exit(_interrupted())
        sys.exit(code if isinstance(code, int) else 0)
    except DqpipeError as error:
        complain(f"error: {error}")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_interrupted())
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except Exception as error:
        show = getattr(error, "show", None)  # click's usage errors, of whichever click typer brings
        if show is not None:
            if not logged_as_json():
                error.message = readable(str(error.message))  # type: ignore[attr-defined]
                show()
            else:
                complain(error.format_message())  # type: ignore[attr-defined]
            sys.exit(getattr(error, "exit_code", 2))
        if logging.getLogger().isEnabledFor(logging.INFO):
            logging.getLogger("dqpipe").exception("a fault of dqpipe or of a plugin")
            sys.exit(3)
        complain(
            f"error: {type(error).__name__}: {error}\n  this is a fault of dqpipe or of a plugin; "
            f"`dqpipe --verbose …` shows where"
        )
        sys.exit(3)


def _add_commands_of_plugins(words: Iterable[str]) -> None:
    """Groups of commands that plugins bring, where no command of ours is asked for.

    Raises PluginError for a name that is taken.
    """
    from dqpipe.plugin import registry as plugins
    from dqpipe.plugin.kinds import Commands

    asked = next((word for word in words if not word.startswith("-")), None)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ours = {*known} - {group.name for group in app.registered_groups if group.name in _BROUGHT}
    if asked in ours:
        return
    registry = plugins.load()
    for cls in registry.all(Commands):
        if cls.name in ours:
            raise PluginError(
                f"plugin {registry.origin[Commands, cls.name]} brings commands called "
                f"{cls.name!r}, which dqpipe has itself"
            )
        if cls.name not in _BROUGHT:
            _BROUGHT.add(cls.name)
            app.add_typer(cls().app(), name=cls.name, help=cls.summary())


def _interrupted() -> int:
    complain("interrupted: what was measured is kept, nothing half-written is left", "yellow")
    return INTERRUPTED


def _version(wanted: bool) -> None:
    if wanted:
        say(f"dqpipe {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log progress to stderr.")
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option("--log-json", help="The same as one JSON object per line, errors included."),
    ] = False,
) -> None:
    """Options before the command."""
    logs.configure(logs.Wanted(logging.INFO if verbose or log_json else logging.ERROR, log_json))


@app.command()
def init(
    path: Annotated[
        str,
        typer.Argument(
            help=(
                "The dataset: a folder, a manifest, a table, annotations, tar shards (with "
                "braces), Parquet."
            )
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "pipeline.yaml"
    ),
    out: Annotated[str, typer.Option(help="Where the pipeline will write.")] = "out",
    force: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
    outside: Annotated[
        bool,
        typer.Option(
            "--outside",
            help="Allow links and paths that lead to media outside the dataset's folder.",
        ),
    ] = False,
    reader: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="The reader to use, instead of the one that is recognised.",
        ),
    ] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="COLUMN=ROLE",
            help=(
                "What a column is for: id, media, label, split or group (repeatable), such as "
                "--role diagnosis=label."
            ),
        ),
    ] = None,
    without: Without = None,
) -> None:
    """Look at a dataset, say what format it is recognised as, and write a commented pipeline.yaml
    that runs.
    """
    from dqpipe.engine.starter_config import pipeline_yaml

    if output.exists() and not force:
        raise ConfigError(f"{output} exists: --force replaces it, --output writes another file")
    text = pipeline_yaml(
        _registry(without),
        path,
        _roles(role or ()),
        outside=outside,
        outputs={"path": out},
        reader=reader,
    )
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}") from None
    for line in text.split("\n")[:2]:
        say(line.removeprefix("# "))
    say(f"{output} is written; next: dqpipe run {output}")


def _roles(given: Iterable[str]) -> dict[str, str]:
    """Role → column, of COLUMN=ROLE. Raises ConfigError."""
    found: dict[str, str] = {}
    for text in given:
        column, equals, role = text.rpartition("=")
        if not equals or not column:
            raise ConfigError(
                f"--role {text!r}: a column and its role are wanted, such as --role diagnosis=label"
            )
        if role in found:
            raise ConfigError(
                f"--role gives two columns the role {role}: {found[role]!r} and {column!r}"
            )
        found[role] = column
    return found


@app.command()
def run(
    config: ConfigFile = Path("pipeline.yaml"),
    limit: Limit = None,
    force: Annotated[
        bool, typer.Option(help="Publish beside what the output holds, then switch.")
    ] = False,
    flow: Annotated[
        bool,
        typer.Option(
            "--flow", help="Run as a Prefect flow (on Prefect's embedded server, or yours)."
        ),
    ] = False,
    executor: Workers = "processes",
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="Samples per shard.", show_default="chosen")
    ] = None,
    rehash: Annotated[
        bool, typer.Option(help="Read every file again, also unchanged ones.")
    ] = False,
    if_changed: Annotated[
        bool,
        typer.Option(
            "--if-changed",
            help="For cron: as with --force, and where nothing is new, write nothing.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", help="The output, a folder or a URL, instead of the config's."),
    ] = None,
    changes: Changes = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help=(
                "Stop after the decisions and the summary: publish nothing, and print what would "
                "change."
            ),
        ),
    ] = False,
    from_facts: Annotated[
        bool,
        typer.Option(
            "--from-facts",
            help="The same from the facts of the published version: nothing is measured.",
        ),
    ] = False,
    badge: Badge = None,
    junit: Junit = None,
    summary: Summary = False,
    without: Without = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline: measure, detect, decide, curate, report."""
    files = ci_files.Files(badge, junit)
    with files.told():
        pipeline = _pipeline(config, without, limit, out, changes)
        if not from_facts:
            _refuse(pipeline, force=force or dry_run or if_changed)
        if from_facts:
            ran = pipeline.what_if()
        else:
            with _progress(pipeline.registry):
                options = {
                    "shard_size": shard_size,
                    "force": force or if_changed,
                    "rehash": rehash,
                    "if_changed": if_changed,
                }
                ran = pipeline.drive(executor, flow=flow, writes=not dry_run, **options)
        _conclude(ran, files, as_json=as_json, dry=dry_run or from_facts, summary=summary)


@app.command()
def check(
    config: ConfigFile = Path("pipeline.yaml"),
    limit: Limit = None,
    executor: Workers = "processes",
    changes: Changes = None,
    badge: Badge = None,
    junit: Junit = None,
    summary: Summary = False,
    without: Without = None,
    as_json: AsJson = False,
) -> None:
    """Run up to the gates without curating or publishing: exit code 1 when a gate fails."""
    files = ci_files.Files(badge, junit)
    with files.told():
        pipeline = _pipeline(config, without, limit, None, changes)
        _refuse(pipeline, force=True)
        with _progress(pipeline.registry):
            ran = pipeline.drive(executor, writes=False)
        _conclude(ran, files, as_json=as_json, summary=summary)


@app.command()
def why(
    sample: Annotated[
        str, typer.Argument(help="The sample's id: its path in the dataset, or its key.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="The output of a run (a folder or a URL), or a version's folder in it.",
        ),
    ] = "out",
    as_json: AsJson = False,
) -> None:
    """Print the facts, findings and decision of a sample, with values and thresholds."""
    from dqpipe.review.explain import explain

    known = explain(out, sample)
    if as_json:
        say_json(known)
    else:
        terminal.say_styled(known["said"])


@app.command("plugins")
def list_plugins(
    name: Annotated[
        str | None, typer.Argument(help="Only this extension, with its options.")
    ] = None,
    without: Without = None,
    as_json: AsJson = False,
) -> None:
    """List stages, readers, writers and other extensions, their options, and the plugins that
    provide them.
    """
    from dqpipe.config.json_schema import options_schema

    registry = _registry(without)
    rows = [
        {
            "kind": kind.__name__.lower(),
            "name": ext,
            "plugin": registry.origin[kind, ext],
            "version": cls.version,
            "summary": cls.summary(),
            "requires": list(cls.requires),
            "options": options_schema(registry, cls)["properties"],
        }
        for (kind, ext), cls in sorted(
            registry.extensions.items(), key=lambda item: (item[0][0].__name__, item[0][1])
        )
    ]
    if name is not None:
        known = [row["name"] for row in rows]
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            raise ConfigError(f"nothing is called {name!r}: {nearest(name, known)}")
    if as_json:
        say_json({"extensions": rows, "broken": dict(registry.broken)})
        return
    _print_plugins(rows, registry.broken, detailed=name is not None)


@app.command()
def schema(
    report: Annotated[
        bool, typer.Option("--report", help="The schema of report.json instead.")
    ] = False,
    without: Without = None,
) -> None:
    """Print the JSON Schema of pipeline.yaml, for editors, or of report.json, for programs that
    read it.
    """
    from dqpipe.config import json_schema as schemas

    say_json(schemas.of_report() if report else schemas.schema(_registry(without)))


def _registry(without: list[str] | None) -> Registry:
    from dqpipe.plugin import registry as plugins

    registry = plugins.load(without or ())
    for name, error in registry.broken.items():
        complain(f"warning: plugin {name} could not be loaded and is left out: {error}", "yellow")
    return registry


def _pipeline(
    path: Path,
    without: list[str] | None,
    limit: int | None,
    out: str | None,
    changes: list[str] | None,
) -> Pipeline:
    from dataclasses import replace

    from dqpipe.api import Pipeline
    from dqpipe.config import pipeline_file as configs
    from dqpipe.storage.location import is_url

    registry = _registry(without)
    config = configs.load(path, registry, changes or (), checks=False)
    if limit is not None:
        config = replace(config, limit=limit)
    if out is not None:
        config = replace(
            config,
            outputs=config.outputs.model_copy(
                update={"path": out if is_url(out) else str(Path(out).absolute())}
            ),
        )
    return Pipeline(config, registry)


def _refuse(pipeline: Pipeline, *, force: bool) -> None:
    """Refuse early: first an output that is in use, then invalid options, whose check loads large
    libraries.
    """
    from dqpipe.results import publish

    config = pipeline.config
    if not force:
        publish.refuse(config.out, force=False, source=config.source)
    for entry in (*config.stages, *config.augments):
        entry.check()


def _conclude(
    ran: Outcome, files: ci_files.Files, *, as_json: bool, dry: bool = False, summary: bool = False
) -> None:
    """Print the account, then end with the exit code of what went wrong. Raises GateError."""
    files.write(ran.record)
    if summary and not as_json:
        say(ci_files.summary(ran.record))
    else:
        account.tell(ran, as_json=as_json, dry=dry)
    ran.raise_for_gates()
    if ran.failures and ran.unchanged is None:
        raise typer.Exit(1)


@contextmanager
def _progress(registry: Registry) -> Iterator[None]:
    """Progress bars with counts and remaining time on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty() or logged_as_json():
        yield
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from dqpipe.plugin.hooks import hookimpl

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal.console(err=True), transient=True) as bars:
        bar = bars.add_task("read", total=None)

        class Watcher:
            @hookimpl
            def dqpipe_shard_finished(self, shard: Mapping[str, Any]) -> None:
                bars.update(bar, total=shard["total"], advance=shard["samples"])

            @hookimpl
            def dqpipe_stage_started(self, stage: Mapping[str, Any]) -> None:
                nonlocal bar
                bars.remove_task(bar)
                bar = bars.add_task(
                    printable(stage["name"]), total=None
                )  # of unknown length: it pulses

        registry.watch("progress bars", Watcher())
        yield


def _print_plugins(
    rows: list[dict[str, Any]], broken: Mapping[str, str], *, detailed: bool
) -> None:
    for kind in dict.fromkeys(row["kind"] for row in rows):
        columns = ("name", "plugin", "what it does", *(() if detailed else ("options",)))
        cells = [
            (row["name"], row["plugin"], row["summary"], listed(row["options"], 12))
            for row in rows
            if row["kind"] == kind
        ]
        terminal.say_table(columns, (row[: len(columns)] for row in cells), title=kind)
        say()
    for row in rows if detailed else ():
        options = [
            (option, json.dumps(shape.get("default"), default=str), shape.get("description", ""))
            for option, shape in row["options"].items()
        ]
        terminal.say_table(
            ("option", "default", "meaning"), options, title=f"options of {row['name']}"
        )
    for plugin, error in broken.items():
        terminal.say_styled([("red", f"plugin {plugin} could not be loaded: {error}")])
