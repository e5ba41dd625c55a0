"""Numbers with their words: nouns and verbs agree with how many there are."""

from __future__ import annotations

import re

PLURALS = {
    "class": "classes", "is": "are", "was": "were", "carries": "carry",
    "has": "have", "stays": "stay", "compares": "compare", "concerns": "concern", "needs": "need", "outranks": "outrank", "matches": "match", "lies": "lie",
    "follows": "follow", "counts": "count", "fails": "fail", "looks": "look", "stands": "stand",
}  # fmt: skip


def many(number: int, word: str) -> str:
    """A number with its word, in the singular or the plural: 1 class, 1,204 samples."""
    return f"{number:,} {plural(number, word)}"


def plural(number: int, word: str) -> str:
    """A word in the number that goes with `number`."""
    return word if number == 1 else PLURALS.get(word, word + "s")


def slug(text: str) -> str:
    """Text as the key of an artifact: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"
