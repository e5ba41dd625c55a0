"""Exchange with labelling tools: samples are written for them, and answers are read back as verdicts.

    version ──queue──▶ Item… ──write (a format)──▶ files           another tool
    verdicts.jsonl ◀──settle── Answer… ◀──read (a format)── a file ◀────┘

Each format is a module with `write(queue, options) -> Written`, and, where people answer in it, `read(data) -> list[Answer]`;
both are pure. Answers are matched by id, content and given label; all of them are added, or none.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

FORMATS = {"label-studio": "label_studio", "cvat": "cvat", "csv": "csv_file", "fiftyone": "fiftyone", "lightly": "lightly"}
"""The name of a format → its module."""
BACK = ("label-studio", "cvat", "csv")
"""The formats that can be read back."""


def module(name: str) -> ModuleType:
    """The module of a format. Raises ConfigError."""
    from dqpipe.errors import ConfigError, nearest

    if name not in FORMATS:
        raise ConfigError(f"no format is called {name!r}: {nearest(name, FORMATS)}")
    return import_module(f"{__name__}.{FORMATS[name]}")
