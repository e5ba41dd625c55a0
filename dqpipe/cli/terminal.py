"""Printing to a terminal: every line, error, table and JSON value of the command line.

Names of files, columns, classes and people may hold anything. Characters that control a terminal
(escapes, marks of text direction) are printed as escape sequences, and nothing is read as the
markup or the emoji of rich.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import typer

from dqpipe.errors import printable, readable
from dqpipe.execution.logs import configured

if TYPE_CHECKING:
    from rich.console import Console

_ASTRAL = 0xFFFF


def prepare() -> None:
    """Make printing work in any encoding of the terminal, and print Python's warnings
    the same way.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _warned


def say(line: str = "", *, err: bool = False) -> None:
    """Print a line."""
    typer.echo(printable(line), err=err)


def complain(text: str, colour: str = "red") -> None:
    """An error or a warning to stderr: for a person, or as a line of the log where that is JSON."""
    if logged_as_json():
        logging.getLogger("dqpipe").log(
            logging.ERROR if colour == "red" else logging.WARNING, "%s", text
        )
    else:
        typer.secho(readable(text), err=True, fg=colour)


def logged_as_json() -> bool:
    """Whether the log is JSON."""
    wanted = configured()
    return wanted is not None and wanted.as_json


def say_json(value: Any) -> None:  # noqa: ANN401 (what JSON can say)
    """Print a value as JSON."""
    say_pieces([json.dumps(value, indent=2, default=str, ensure_ascii=False), "\n"])


def say_pieces(pieces: Iterable[str]) -> None:
    """Print JSON that comes in pieces, line breaks included."""
    for piece in pieces:
        typer.echo(_shown(piece), nl=False)


def say_csv(data: bytes) -> None:
    """Write a CSV file to standard output: as it is for a program, printable on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
        return
    for line in data.decode("utf-8", "backslashreplace").removesuffix("\n").split("\n"):
        say(line.removesuffix("\r"))


def _shown(text: str) -> str:
    r"""JSON that is safe on a terminal.

    Control characters are written as \uXXXX, which is the same JSON.
    """
    speaks = (
        (getattr(sys.stdout, "encoding", None) or "utf-8")
        .lower()
        .replace("-", "")
        .startswith("utf")
    )
    return re.sub(
        r"[^\x20-\x7e\n]",
        lambda found: (
            found[0] if speaks and found[0].isprintable() else _unicode_escape(ord(found[0]))
        ),
        text,
    )


def say_styled(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines of (style, text)."""
    from rich.text import Text

    shown = console()
    for style, line in lines:
        shown.print(Text(printable(line), style=style))


def say_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    right: Sequence[str] = (),
) -> None:
    """Print a table; the columns named in `right` are aligned there."""
    from rich.table import Table
    from rich.text import Text

    heading = Text(printable(title), style="bold") if title else None
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(
            Text(printable(column)), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    console().print(table)


def console(*, err: bool = False) -> Console:
    """A console that reads no markup."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, markup=False, emoji=False)


def _unicode_escape(code: int) -> str:
    if code <= _ASTRAL:
        return f"\\u{code:04x}"
    code -= _ASTRAL + 1
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(readable(text.rstrip("\n")), file=file or sys.stderr)
