"""JSON as its writer meant it.

A key that stands twice in one object is refused, where Python's reader keeps the last.
"""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str | bytes, **options: Any) -> Any:  # noqa: ANN401
    """A JSON document; `options` are those of `json.loads`.

    Raises ValueError: no JSON (a `json.JSONDecodeError`), or a key that stands twice in an object;
    RecursionError.
    """
    return json.loads(text, object_pairs_hook=unique, **options)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found
