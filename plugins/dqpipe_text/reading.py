"""What two optional libraries tell of a text: broken encodings (ftfy), languages (py3langid)."""

from __future__ import annotations

import importlib.metadata
import re
from functools import cache
from typing import Any

PACKAGES = {"ftfy": "broken encodings", "py3langid": "languages"}
"""Distribution → what is not looked at without it."""
ENOUGH = 12
"""Letters from which a language is told."""
SEEN = 2000
"""Characters from which it is told at most."""


@cache
def versions() -> dict[str, str]:
    """The versions of what is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def has(name: str) -> bool:
    """Whether one of PACKAGES is installed."""
    return versions()[name] != "missing"


def mojibake(text: str) -> int | None:
    """Places where one encoding was read as another; None where ftfy is not installed.

    Only what can be put right counts: reading it the right way leaves fewer of them.
    """
    if not has("ftfy"):
        return None
    if text.isascii():
        return 0
    import ftfy
    from ftfy.badness import badness

    before = badness(text)
    return max(before - badness(ftfy.fix_encoding(text)), 0) if before else 0


def repaired(text: str) -> str:
    """The text read in the encoding that it was most likely written in."""
    import ftfy

    return ftfy.fix_encoding(text)


@cache
def _identifier() -> Any:  # noqa: ANN401 (untyped)
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language(text: str) -> tuple[str | None, float | None]:
    """ISO 639-1 code and the model's probability; None where too little can be read."""
    letters = re.sub(r"https?://\S+|\S+@\S+|[\W\d_]+", " ", text[:SEEN]).strip()
    if not has("py3langid") or len(letters) < ENOUGH:
        return None, None
    name, sure = _identifier().classify(letters)
    return str(name), float(sure)
