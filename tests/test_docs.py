"""What README and documentation say can be followed: links, commands, snippets, the built pages."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from dqpipe.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language in every page: (page, text)."""
    return [
        (page.name, text)
        for page in PAGES
        for text in re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
    ]


def test_the_readme_fits_on_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in inside if not (page.parent / link).exists()]
    assert missing == []


def test_commands_that_are_shown_exist_with_their_options() -> None:
    """Each `$ dqpipe …` line is parsed by the command line itself, and not run."""
    shown = [
        (page, shlex.split(line, comments=True)[1:])
        for page, text in blocks("console")
        for line in re.findall(r"^\$ (dqpipe .+)$", text, re.MULTILINE)
    ]
    assert len(shown) > 30
    refused = []
    for page, words in shown:
        root = typer.main.get_command(app)
        try:
            context = root.make_context("dqpipe", list(words))
            command, rest = context.command, [*context._protected_args, *context.args]
            while rest and hasattr(command, "resolve_command"):
                name, command, rest = command.resolve_command(context, rest)
                context = command.make_context(name, list(rest), parent=context)
                rest = [*context._protected_args, *context.args]
        except (SystemExit, typer.Exit):
            continue
        except Exception as error:  # noqa: BLE001 (click's own errors, of whichever click)
            refused.append((page, " ".join(words), str(error)))
    assert refused == []


def test_snippets_of_python_and_yaml_can_be_read() -> None:
    for page, text in blocks("python"):
        ast.parse(text, filename=page)
    for page, text in blocks("yaml"):
        assert yaml.safe_load(text), page


def test_the_site_builds_and_asks_for_nothing_outside_of_it(tmp_path: Path) -> None:
    """`make docs`: strict, so that a broken link or anchor is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    html = {page: page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial.html", "options.html"} <= {page.name for page in html}
    fetched = re.compile(
        r'<(?:script|img|iframe|source)[^>]*\bsrc="(?:https?:|//)'
        r'|<link[^>]*rel="(?:stylesheet|preconnect|icon|preload)"[^>]*href="(?:https?:|//)'
    )
    assert [page.name for page, text in html.items() if fetched.search(text)] == []
    options = (tmp_path / "reference" / "options.html").read_text(encoding="utf-8")
    assert "label_noise.likely_wrong" in options
    assert "max_drop" in options
