"""Exchange with labelling tools.

Samples are written for them, and answers are read back as verdicts.

    version ──queue──▶ Item… ──write (a format)──▶ files           another tool
    verdicts.jsonl ◀──settle── Answer… ◀──read (a format)── a file ◀────┘

Each format is a module with `write(queue, options) -> Written`, and, where people answer in it,
`read(data) -> list[Answer]`; both are pure. Answers are matched by id, content and given label; all
of them are added, or none.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

FORMATS = {
    "label-studio": "label_studio",
    "cvat": "cvat",
    "csv": "csv_file",
    "fiftyone": "fiftyone",
    "lightly": "lightly",
}
"""The name of a format → its module."""
BACK = ("label-studio", "cvat", "csv")
"""The formats that can be read back."""


def named(name: str, *, back: bool = False) -> Any:  # noqa: ANN401 (a module with `write` and `read`, or an Exchange)
    """The format of a name, ours or a plugin's; with `back` one that answers come back in.

    Raises ConfigError.
    """
    from dqpipe.errors import ConfigError, nearest
    from dqpipe.plugin import registry
    from dqpipe.plugin.kinds import Exchange

    if name in (BACK if back else FORMATS):
        return module(name)
    brought = [cls for cls in registry.load().all(Exchange) if cls.answers or not back]
    for cls in brought:
        if cls.name == name:
            return cls()
    known = [*(BACK if back else FORMATS), *(cls.name for cls in brought)]
    raise ConfigError(f"no format is called {name!r}: {nearest(name, known)}")


def module(name: str) -> ModuleType:
    """The module of a format. Raises ConfigError."""
    from dqpipe.errors import ConfigError, nearest

    if name not in FORMATS:
        raise ConfigError(f"no format is called {name!r}: {nearest(name, FORMATS)}")
    return import_module(f"{__name__}.{FORMATS[name]}")
