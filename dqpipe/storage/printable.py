"""Texts that command no terminal, whatever the names in them hold: escapes, control characters, marks that turn the direction."""

from __future__ import annotations


def printable(line: str) -> str:
    """A line with what a terminal would obey (a file's name may hold it) written out."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in line)


def readable(text: str) -> str:
    """A text of several lines, each printable; all but the first are indented, so that none passes for a message of its own."""
    first, *more = text.split("\n")
    return "\n".join([printable(first), *(printable(line if line[:1] in ("", " ") else f"  {line}") for line in more)])
