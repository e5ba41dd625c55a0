"""JSON text read element by element with the place of each, so that what changes is cut out and all
else stays as it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dqpipe import DatasetError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Span(NamedTuple):
    """A value and where it stands: text[start:end]."""

    start: int
    end: int
    value: Any


class Edit(NamedTuple):
    """text[start:end] is to be `new`."""

    start: int
    end: int
    new: str


def line_of(text: str, at: int) -> int:
    """The line of a place, counted from 1."""
    return text.count("\n", 0, at) + 1


def document(
    text: str, at: int, name: str, each: Mapping[str, Callable[[Span], Any]]
) -> dict[str, Span]:
    """The members of the object that a text consists of.

    Raises DatasetError as `members` does, and where there is more behind the object.
    """
    found: dict[str, Span] = {}
    at = skip(text, at)
    for key, span in members(text, at, name, each):
        found[key] = span
        at = span.end
    end = skip(text, text.index("}", at) + 1)
    if end < len(text):
        raise _error(text, end, name, "there is more behind the end of the JSON object")
    return found


def members(
    text: str, at: int, name: str, each: Mapping[str, Callable[[Span], Any]]
) -> Iterator[tuple[str, Span]]:
    """The keys of the object that begins at `at` and their values.

    Of an array whose key is in `each`, the list of what that makes of its elements.

    Raises DatasetError that names the file and the line; also for a key that stands twice.
    """
    at = skip(text, at)
    if text[at : at + 1] != "{":
        raise _error(text, at, name, "a JSON object is wanted")
    at, seen = skip(text, at + 1), set[str]()
    while text[at : at + 1] != "}":
        at = _expect(text, at, ",", name) if seen else at
        key = _value(text, at, name)
        if not isinstance(key.value, str) or key.value in seen:
            raise _error(
                text,
                at,
                name,
                "a key in quotes is wanted"
                if not isinstance(key.value, str)
                else f"the key {key.value!r} stands twice",
            )
        seen.add(key.value)
        at = _expect(text, skip(text, key.end), ":", name)
        make = each.get(key.value)
        span = (
            _value(text, at, name)
            if make is None or text[at : at + 1] != "["
            else _array(text, at, name, make)
        )
        yield key.value, span
        at = skip(text, span.end)


def _array(text: str, at: int, name: str, make: Callable[[Span], Any]) -> Span:
    """An array, element by element: no more than one is held as it was read."""
    start, found = at, list[Any]()
    at = skip(text, at + 1)
    while text[at : at + 1] != "]":
        at = _expect(text, at, ",", name) if found else at
        span = _value(text, at, name)
        found.append(make(span))
        at = skip(text, span.end)
    return Span(start, at + 1, found)


def edited(text: str, changes: Sequence[Edit]) -> str:
    """The text with some places changed; they do not overlap."""
    parts, at = [], 0
    for change in sorted(changes):
        parts += [text[at : change.start], change.new]
        at = change.end
    return "".join([*parts, text[at:]])


def without(spans: Sequence[Span], gone: Sequence[bool]) -> list[Edit]:
    """The edits that take elements out of their array, each with the separator before it, the first
    ones with the one behind.
    """
    found, kept = [], False
    for number, (span, goes) in enumerate(zip(spans, gone, strict=True)):
        if not goes:
            kept = True
        elif kept:
            found.append(Edit(spans[number - 1].end, span.end, ""))
        else:
            end = spans[number + 1].start if number + 1 < len(spans) else span.end
            found.append(Edit(span.start, end, ""))
    return found


def _value(text: str, at: int, name: str) -> Span:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _error(
            text,
            error.pos,
            name,
            (
                f"not JSON: "
                f"{error.msg}{'; the file is cut short' if error.pos >= len(text) - 1 else ''}"
            ),
        ) from None
    except StopIteration as error:
        raise _error(text, int(error.value), name, "the file is cut short") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits, brackets without end
        raise _error(text, at, name, f"cannot be read: {error}") from None
    return Span(at, end, value)


def skip(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _expect(text: str, at: int, what: str, name: str) -> int:
    if text[at : at + 1] != what:
        raise _error(
            text, at, name, f"{what!r} is wanted" if at < len(text) else "the file is cut short"
        )
    return skip(text, at + 1)


def _error(text: str, at: int, name: str, why: str) -> DatasetError:
    return DatasetError(f"{name}, line {line_of(text, at)}: {why}")
