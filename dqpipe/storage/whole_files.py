"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def spare_beside(path: Path) -> Iterator[Path]:
    """A free name in the path's folder to write to before a rename puts it in place.

    Gone at the end.

    What a killed process leaves is known by the form of the name (`ownership.sweep_spares`).
    """
    spare = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield spare
    finally:
        spare.unlink(missing_ok=True)
