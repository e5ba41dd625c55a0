"""What the written formats have in common.

JSON and XML that hold any name or refuse it, and texts of labels.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dqpipe import ConfigError, Handed, HandedOver, Ruling, label_text

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document can hold (section 2.2, Char)."""
XML = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}


def as_json(value: object, *, indent: int | None = None) -> bytes:
    """A JSON document as UTF-8."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n").encode()


def xml(text: object) -> str:
    """Text for an attribute or an element; it comes back as it was. Raises ConfigError."""
    plain = str(text)
    if NO_XML.search(plain):
        raise ConfigError(f"{plain!r} cannot stand in XML: hand it over as csv")
    return "".join(XML.get(letter, letter) for letter in plain)


def tags_of(queue: HandedOver, label: str | None) -> list[str]:
    """The classes of a label as text: one, several of a set of tags, or none."""
    if not label:
        return []
    return [str(tag) for tag in json.loads(label)] if queue.kind == "tags" else [label]


def label_said(item: Handed, verdict: Ruling) -> str | None:
    """The label of a sample after a verdict, as text."""
    return label_text(verdict.label) if verdict.verdict == "relabel" else item.label


def asked_of(item: Handed) -> dict[str, Any]:
    """The reasons for a review, as text."""
    code, confidence, suggestion = item.asked
    return {
        "code": code,
        "confidence": None if confidence is None else round(confidence, 4),
        "suggestion": suggestion,
    }
