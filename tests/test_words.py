"""The glossary holds in the help of every command, in the README and in the documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from dqpipe.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BANNED = re.compile(
    r"\b(claim(s|ed|ing)?|accounts?|figures?|takeover|handover|(hand|hands|handed) over"
    r"|put up for review|who lost samples|doubted labels?"
    r"|decided otherwise|whoever|nobody|somebody|everybody)\b",
    re.IGNORECASE,
)
"""Words that the glossary replaces, and words that make a person of a program."""


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command that help shows, with its name."""
    yield " ".join(words), command
    for name, child in command.commands.items() if hasattr(command, "commands") else ():
        if not child.hidden:
            yield from commands(child, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(app), ("dqpipe",)))


def prose(markdown: str) -> str:
    """A page without code, which has names that stay: `claim()`, `account` in report.json."""
    return re.sub(
        r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    )


def comments(markdown: str) -> list[str]:
    """What stands behind `#` on the lines of fenced blocks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    return [
        note for block in fenced for note in re.findall(r"(?:^|\s)#\s(.*)$", block, re.MULTILINE)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_uses_the_terms_of_the_glossary(name: str) -> None:
    command = COMMANDS[name]
    texts = [name, inspect.cleandoc(command.help or ""), command.epilog or ""]
    for parameter in command.params:
        texts += [*parameter.opts, getattr(parameter, "help", None) or ""]
    assert [text for text in texts if BANNED.search(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_the_terms_of_the_glossary(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [*prose(text).splitlines(), *comments(text)]
    assert [line for line in lines if BANNED.search(line)] == []


def test_old_names_of_commands_work_and_are_not_shown() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for old, new in {"handover": "export", "takeover": "import"}.items():
        assert known[old].hidden
        assert not known[new].hidden
        assert known[old].callback.__wrapped__ is known[new].callback.__wrapped__
        assert [p.opts for p in known[old].params] == [p.opts for p in known[new].params]


def test_each_term_of_the_glossary_has_a_meaning_and_a_place() -> None:
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    terms = [row[0] for row in rows[2:]]
    assert all(len(row) == 3 and all(row) for row in rows)
    assert len(set(terms)) == len(terms)
    assert {"issue", "metric", "summary", "flagged", "dropped", "relabelled"} < set(terms)
    assert {"needs review", "export", "import"} < set(terms)
