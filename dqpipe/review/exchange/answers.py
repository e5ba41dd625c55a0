"""Reading of a file with answers, of bounded size."""

from __future__ import annotations

from pathlib import Path

from dqpipe.errors import DatasetError

LARGEST = 512 * 2**20
"""Bytes of a file that is read."""


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises DatasetError."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DatasetError(
                f"{path} has {size / 2**20:,.0f} MB, more than {LARGEST / 2**20:,.0f}: export it "
                f"in parts"
            )
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
