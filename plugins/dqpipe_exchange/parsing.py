"""Parsing of files that cannot be trusted: text, JSON and XML of bounded depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from dqpipe import DatasetError, strict_json


def text_of(data: bytes) -> str:
    """UTF-8 with or without a mark, or UTF-16 with one. Raises DatasetError."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"this is not UTF-8 text (byte {error.start:,})") from None


def json_of(data: bytes) -> Any:  # noqa: ANN401
    """A JSON document. Raises DatasetError."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        return strict_json.parsed(text_of(data), parse_constant=refuse)
    except RecursionError:
        raise DatasetError("this is JSON that is nested too deeply") from None
    except ValueError as error:
        raise DatasetError(f"this is no JSON: {error}") from None


def parse_xml(
    data: bytes, start: Callable[[str, dict[str, str]], None], end: Callable[[str, str], None]
) -> None:
    """Call `start(name, attributes)` and `end(name, the text in it)`.

    Document types, and so entities, are refused. Raises DatasetError.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    texts: list[list[str]] = []

    def doctype(*_: object) -> None:
        raise DatasetError(
            "this XML declares a document type (entities could be anything): refused"
        )

    def opened(name: str, attributes: dict[str, str]) -> None:
        if len(texts) >= DEEPEST:
            raise DatasetError("this is XML that is nested too deeply")
        texts.append([])
        start(name, attributes)

    def closed(name: str) -> None:
        end(name, "".join(texts.pop()))

    def collect(text: str) -> None:
        texts[-1].append(text)

    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = collect
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DatasetError(f"this is no XML: {error}") from None


DEEPEST = 100
"""Levels of XML that are followed."""
