"""File names that do not survive on another system.

What Windows refuses, and twins that one overwrites the other of where case counts for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from dqpipe.data.wording import many, plural
from dqpipe.errors import listed

SHOWN = 5
"""Examples."""
LETTERS = 80
"""Of an example."""
_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3])"
REFUSED = re.compile(
    rf'[<>:"|?*\\\x00-\x1f]|[ .](?:/|$)|(?:^|/){_DEVICE}(?: *\.[^/]*)?(?:/|$)', re.IGNORECASE
)
"""In a path with "/" between.

Characters that a name on Windows may not hold, a dot or space at its end, and the names of devices,
whatever follows a dot.
"""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def doubts(media: Iterable[str], root: str) -> list[str]:
    """What a person should know before copying these files elsewhere.

    `media` start from a root, or are whole paths or URLs.
    """
    names = sorted({_below(one, root) for one in media})
    refused = [name for name in names if REFUSED.search(name)]
    twins = _twins(names)
    found = []
    if refused:
        says = (
            f"{many(len(refused), 'file name')} {plural(len(refused), 'is')} not allowed on Windows"
        )
        why = "characters such as a colon, a dot or space at the end, reserved names such as aux"
        found.append(
            f"{says} ({why}): {listed((ascii(name)[:LETTERS] for name in refused), SHOWN)}; rename "
            f"before the set is copied there"
        )
    if twins:
        count, pairs = (
            sum(map(len, twins)),
            [" and ".join(ascii(name)[:LETTERS] for name in some) for some in twins],
        )
        told = "; ".join(pairs[:SHOWN]) + (
            f"; and {len(pairs) - SHOWN} more such groups" if len(pairs) > SHOWN else ""
        )
        found.append(
            f"{count} file names differ only in case or in how accents are written ({told}): on "
            f"Windows and macOS one overwrites the other"
        )
    return found


def _twins(names: Iterable[str]) -> list[list[str]]:
    """Names that are one where case, and the Unicode form, count for nothing."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(
            (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold(), []
        ).append(name)
    return [some for some in alike.values() if len(some) > 1]


def _below(media: str, root: str) -> str:
    """The part of a path that goes along when the set is copied."""
    path = media.removeprefix(root.rstrip("/") + "/") if root else media
    if path.startswith("/") or _SCHEME.match(path):
        path = path.rpartition("/")[2]
    return (
        "/".join(part for part in path.split("/") if part not in {"", ".", ".."})
        if "./" in path or "//" in path
        else path
    )
