"""`dqpipe doctor` says what this machine has; `dqpipe open` shows a report in the browser."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from dqpipe.cli.terminal import say, say_json, say_styled, say_table
from dqpipe.errors import OutputError
from dqpipe.version import __version__

commands = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
LITTLE = 2 * 2**30
"""Free bytes of a disk below which a place is in doubt."""
FINE, DOUBT, WRONG = "fine", "in doubt", "wrong"
STYLES = {FINE: "", DOUBT: "yellow", WRONG: "red"}


@commands.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what dqpipe finds on this machine and what is wrong with it.

    Packages, plugins, processors, places.
    """
    checks = [*_packages(), *_plugins(), *_machine(), *_places()]
    if as_json:
        say_json({"dqpipe": __version__, "checks": checks})
    else:
        shown = [check for check in checks if check["state"] != FINE or check["group"] != "package"]
        fine = len(checks) - len(shown)
        say(f"dqpipe {__version__}, Python {platform.python_version()}, {platform.platform()}")
        say_table(
            ("", "what", "found", "state"),
            ([c["group"], c["name"], c["found"], c["state"]] for c in shown),
        )
        say(f"{fine} required packages are of versions that dqpipe works with")
        say_styled(
            (STYLES[c["state"]], f"{c['name']}: {c['advice']}") for c in checks if c["advice"]
        )
    if any(check["state"] == WRONG for check in checks):
        raise typer.Exit(1)


@commands.command("open")
def open_report(
    out: Annotated[
        str, typer.Argument(help="The output of a pipeline: a folder or a URL.")
    ] = "out",
    version: Annotated[
        str, typer.Option(help="A version, or previous, or published.")
    ] = "published",
    show: Annotated[
        bool,
        typer.Option("--show/--print", help="Show it in the browser, or print its path alone."),
    ] = True,
) -> None:
    """Show the report of a run in the browser."""
    import webbrowser

    from dqpipe.results.versions import Version

    opened = Version.open(out, version)
    try:
        report = opened.file("report.html").resolve()
    except FileNotFoundError:
        raise OutputError(
            f"version {opened.id} has no report.html: `outputs: {{reports: [html]}}` writes one"
        ) from None
    say(str(report))
    if show and not webbrowser.open(report.as_uri()):
        raise OutputError("no browser could be started here: open the file that is named above")


def _check(
    group: str, name: str, found: object, state: str = FINE, advice: str = ""
) -> dict[str, Any]:
    return {"group": group, "name": name, "found": str(found), "state": state, "advice": advice}


def _packages() -> list[dict[str, Any]]:
    """Each required package with its version, and each extra with what it lacks."""
    from packaging.requirements import Requirement

    checks: list[dict[str, Any]] = []
    extras: dict[str, list[tuple[Requirement, str | None, bool]]] = {}
    for line in metadata.requires("dqpipe") or []:
        needed = Requirement(line)
        extra = next(
            (e for e in _extras() if needed.marker and needed.marker.evaluate({"extra": e})), None
        )
        if needed.marker and extra is None and not needed.marker.evaluate({"extra": ""}):
            continue
        found, fits = _installed(needed.name, needed.specifier)
        if extra is None or needed.marker is None:
            advice = (
                ""
                if fits
                else (
                    f"dqpipe works with {needed.name}{needed.specifier}: pip install "
                    f"'{needed.name}{needed.specifier}'"
                )
            )
            checks.append(
                _check(
                    "package",
                    needed.name,
                    found or "not installed",
                    FINE if fits else WRONG,
                    advice,
                )
            )
        elif extra != "test":
            extras.setdefault(extra, []).append((needed, found, fits))
    for extra, packages in extras.items():
        wrong = [needed for needed, found, fits in packages if found and not fits]
        lacks = [needed.name for needed, found, _ in packages if not found]
        found = ", ".join(f"{needed.name} {found}" for needed, found, _ in packages if found)
        state = "not installed" if lacks else found
        advice = "; ".join(f"dqpipe works with {needed.name}{needed.specifier}" for needed in wrong)
        checks.append(_check("extra", f"dqpipe[{extra}]", state, WRONG if wrong else FINE, advice))
    return checks


def _extras() -> list[str]:
    return metadata.metadata("dqpipe").get_all("Provides-Extra") or []


def _installed(name: str, allowed: Any) -> tuple[str | None, bool]:  # noqa: ANN401 (a SpecifierSet)
    """The version of a package, None where it is missing, and whether it is one that is allowed."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None, False
    return found, allowed.contains(found, prereleases=True)


def _plugins() -> list[dict[str, Any]]:
    """Each plugin with what it brings, and each that could not be loaded."""
    from dqpipe.plugin import registry as plugins

    registry = plugins.load()
    brought: dict[str, int] = {}
    for plugin in registry.origin.values():
        brought[plugin] = brought.get(plugin, 0) + 1
    fine = [
        _check("plugin", name, f"{count} extensions") for name, count in sorted(brought.items())
    ]
    return fine + [
        _check(
            "plugin", name, "could not be loaded", WRONG, f"{why}; --no-plugin {name} leaves it out"
        )
        for name, why in sorted(registry.broken.items())
    ]


def _machine() -> list[dict[str, Any]]:
    from dqpipe.execution.local import cores

    checks = [_check("machine", "processors", cores())]
    with_memory = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    if with_memory:
        checks.append(
            _check(
                "machine",
                "memory",
                f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
            )
        )
    checks.append(_check("machine", "device", *_device()))
    encoding = (sys.stdout.encoding or "").lower()
    advice = (
        ""
        if "utf" in encoding
        else (
            "names are shown with escapes: LC_ALL=C.UTF-8 or PYTHONIOENCODING=utf-8 shows them as "
            "they are"
        )
    )
    checks.append(
        _check("machine", "encoding", encoding or "none", FINE if not advice else DOUBT, advice)
    )
    return checks


def _device() -> tuple[str, str, str]:
    """What `device: auto` means here: its name, the state and an advice."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return "none", WRONG, f"torch does not load ({error}): pip install torch"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu", FINE, ""


def _places() -> list[dict[str, Any]]:
    """The folders that a run writes to, with the room they have, and Prefect's server."""
    home = os.environ.get("PREFECT_HOME") or str(Path.home() / ".prefect")
    places = {
        "working folder": Path.cwd(),
        "temporary files": Path(tempfile.gettempdir()),
        "Prefect's home": Path(home),
    }
    checks = [_place(name, path) for name, path in places.items()]
    return [
        *checks,
        _check(
            "place",
            "Prefect's server",
            os.environ.get("PREFECT_API_URL") or "an embedded one for each run of a flow",
        ),
    ]


def _place(name: str, path: Path) -> dict[str, Any]:
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return _check("place", name, path, WRONG, f"{path} cannot be written")
    little = free < LITTLE
    return _check(
        "place",
        name,
        f"{path}, {free / 2**30:.1f} GiB free",
        DOUBT if little else FINE,
        "little room is left" if little else "",
    )
