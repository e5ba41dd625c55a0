"""`dqpipe store`: show, prune and verify the facts store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqpipe.cli.terminal import say, say_json, say_table
from dqpipe.data.wording import many, plural
from dqpipe.errors import ConfigError

if TYPE_CHECKING:
    from dqpipe.config.pipeline_file import Config
    from dqpipe.storage.fact_store import Store
    from dqpipe.storage.maintenance import Kept

app = typer.Typer(
    no_args_is_help=True,
    help="Show, prune or verify the facts store: what was measured, kept per sample.",
    pretty_exceptions_enable=False,
)
Where = Annotated[
    str,
    typer.Argument(
        help="A store (folder or URL), a pipeline.yaml, or the output folder of a run.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command()
def show(where: Where = "pipeline.yaml", as_json: AsJson = False) -> None:
    """List what is stored for each stage: samples, size, and when a run last used it."""
    from dqpipe.storage import maintenance

    store, _ = _store(where)
    rows = [_row(store, one) for one in maintenance.look(store)]
    entries = store.place.entries()
    files, index = sum(e.size for e in entries.values()), entries.get("index.arrow")
    busy = maintenance.running(store)
    if as_json:
        summary = {
            "store": store.place.url,
            "bytes": files,
            "index_bytes": index.size if index else 0,
            "running": busy,
            "kept": rows,
        }
        say_json(summary)
        return
    columns = ("kind", "stage", "samples", "size", "last used", "key")
    cells = [
        (
            row["kind"],
            row["stage"],
            "" if row["samples"] is None else f"{row['samples']:,}",
            _size(row["bytes"]),
            row["used"] or "never",
            row["key"],
        )
        for row in rows
    ]
    say_table(columns, cells, right=("samples", "size"))
    say(
        f"{store.place.url}: {_size(files)}, of it {_size(index.size if index else 0)} for the "
        f"index of files"
    )
    for run in busy:
        say(f"in use by {run}")


@app.command()
def prune(
    where: Where = "pipeline.yaml",
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Remove what no run has used for this many days."),
    ] = None,
    gone: Annotated[
        bool,
        typer.Option(
            help=(
                "Remove also facts of contents that are no longer in the dataset of this "
                "pipeline.yaml."
            )
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what the newest run of no output uses. Refused while a run uses the store."""
    from dqpipe.storage import maintenance

    store, config = _store(where)
    if gone and config is None:
        raise ConfigError("--gone needs the pipeline.yaml: it says which dataset is meant")
    kept = maintenance.look(store)
    going = maintenance.unneeded(store, kept, older_than)
    freed = sum(one.size for one in going) if dry_run else maintenance.forget(store, going)
    freed += maintenance.tidy(store, dry_run=dry_run)
    samples = 0
    if gone and config is not None:
        from dqpipe.engine.store_pruning import forget_gone

        samples, more = forget_gone(store, config, dry_run=dry_run)
        freed += more
    summary: dict[str, Any] = {
        "store": store.place.url,
        "dry_run": dry_run,
        "freed": freed,
        "gone": samples,
        "removed": [
            {"kind": one.kind, "stage": one.stage, "key": one.key, "bytes": one.size}
            for one in going
        ],
    }
    if as_json:
        say_json(summary)
        return
    verb = "would be" if dry_run else "are"
    for one in going:
        say(
            f"{one.kind} of {one.stage} ({_size(one.size)}, last used {_day(one.used) or 'never'}) "
            f"{verb} removed: {one.key}"
        )
    if gone:
        say(f"facts of {samples:,} contents that the dataset does not hold any more {verb} removed")
    say(f"{_size(freed)} {verb} freed in {store.place.url}")


@app.command()
def verify(
    where: Where = "pipeline.yaml",
    repair: Annotated[
        bool, typer.Option(help="Remove broken files, so that the next run makes them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify the checksum of every file; exit code 1 when one is broken."""
    from dqpipe.storage import maintenance

    store, _ = _store(where)
    wrong = maintenance.broken(store)
    if repair and wrong:
        maintenance.repair(store, wrong)
    if as_json:
        say_json({"store": store.place.url, "broken": wrong, "repaired": repair})
    else:
        for name in wrong:
            say(f"broken: {name}")
        done = (
            " and removed: the next run makes it again"
            if repair and wrong
            else "; --repair removes it"
            if wrong
            else ""
        )
        say(
            (
                f"{many(len(wrong), 'file')} of {store.place.url} {plural(len(wrong), 'is')} "
                f"broken{done}"
            )
            if wrong
            else f"{store.place.url} is sound"
        )
    if wrong:
        raise typer.Exit(1)


def _store(where: str) -> tuple[Store, Config | None]:
    """The store of the argument: a store, a pipeline.yaml or an output. Raises ConfigError."""
    from dqpipe.storage.fact_store import Store
    from dqpipe.storage.location import is_url

    if is_url(where):
        return _checked(Store(where.rstrip("/"))), None
    path = Path(where)
    if path.is_file():
        from dqpipe.config import pipeline_file as config
        from dqpipe.plugin import registry

        loaded = config.load(path, registry.load())
        return _checked(Store(loaded.store)), loaded
    for folder in (path.absolute(), path.absolute() / "store"):
        if Store(folder).ours:
            return Store(folder), None
    raise ConfigError(
        f"{where} is no facts store that dqpipe made, no pipeline.yaml and no output that holds a "
        f"store"
    )


def _checked(store: Store) -> Store:
    """The store itself; ConfigError where the folder holds something else."""
    if store.place.listed() and not store.ours:
        raise ConfigError(
            f"{store.place.url} is no facts store: it holds what dqpipe did not put there, and "
            f"nothing of it is looked at or removed"
        )
    return store


def _row(store: Store, one: Kept) -> dict[str, Any]:
    from dqpipe.storage import maintenance

    return {
        "kind": one.kind,
        "stage": one.stage,
        "key": one.key,
        "samples": maintenance.count(store, one),
        "bytes": one.size,
        "used": _day(one.used),
        "about": dict(one.about),
    }


def _day(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
