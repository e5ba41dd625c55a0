"""Texts as a page shows them: what nobody would see is named, and where two differ is marked."""

from __future__ import annotations

import difflib
import re

from markupsafe import Markup, escape

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
"""Characters without a shape, or that turn what is around them."""
WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def named(text: str) -> Markup:
    """Text for a page, escaped, with characters that nobody would see by their number."""
    parts = []
    start = 0
    for found in UNSEEN.finditer(text):
        parts += [escape(text[start : found.start()]), _number(found[0])]
        start = found.end()
    return Markup("").join([*parts, escape(text[start:])])


def _number(letter: str) -> Markup:
    return Markup('<span class="soft">[U+{}]</span>').format(f"{ord(letter):04X}")


def compared(text: str | None, match: str | None) -> tuple[Markup, Markup]:
    """A text and its match, the words marked that the other one does not have in that place."""
    if text is None or match is None:
        return named(text or ""), named(match or "")
    ours, theirs = WORDS.findall(text), WORDS.findall(match)
    one: list[Markup] = []
    other: list[Markup] = []
    pieces = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    for kind, a, b, c, d in pieces:
        for out, words in ((one, ours[a:b]), (other, theirs[c:d])):
            part = named("".join(words))
            out.append(
                part if kind == "equal" or not part else Markup("<mark>{}</mark>").format(part)
            )
    return Markup("").join(one), Markup("").join(other)
