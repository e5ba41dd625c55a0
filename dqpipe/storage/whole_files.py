"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Make or replace files, each whole or not at all, and none before all are written.

    Raises OSError.
    """
    with ExitStack() as stack:
        spares = [stack.enter_context(spare_beside(path)) for path in files]
        for spare, data in zip(spares, files.values(), strict=True):
            spare.write_bytes(data)
        for spare, path in zip(spares, files, strict=True):
            spare.replace(path)
