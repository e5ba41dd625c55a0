"""Numbers with their words: nouns and verbs agree with how many there are.

And what a sentence marks as code.
"""

from __future__ import annotations

import re

PLURALS = {
    "class": "classes",
    "is": "are",
    "was": "were",
    "carries": "carry",
    "has": "have",
    "stays": "stay",
    "compares": "compare",
    "concerns": "concern",
    "needs": "need",
    "outranks": "outrank",
    "matches": "match",
    "lies": "lie",
    "follows": "follow",
    "counts": "count",
    "fails": "fail",
    "looks": "look",
    "stands": "stand",
}


IN_BACKTICKS = re.compile(r"`([^`]+)`")
"""What a sentence marks as code: options, commands, names of parts."""


def without_backticks(text: str) -> str:
    """A sentence for a place that shows no code apart."""
    return IN_BACKTICKS.sub(r"\1", text)


def many(number: int, word: str) -> str:
    """A number with its word, in the singular or the plural: 1 class, 1,204 samples."""
    return f"{number:,} {plural(number, word)}"


def plural(number: int, word: str) -> str:
    """A word in the number that goes with `number`."""
    return word if number == 1 else PLURALS.get(word, word + "s")


def slug(text: str) -> str:
    """Text as the key of an artifact: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"
