"""Paths of media as text that a table can hold, and back."""

from __future__ import annotations

import os
import re

from dqpipe.storage.location import is_url, url_below

_BYTE = re.compile(r"\\x([89a-f][0-9a-f]|5c)")
"""Only bytes that `path_text` writes: a reference that spells `\\x2f` must not become a slash."""


def path_text(path: str) -> str:
    r"""A path as valid Unicode that a table can hold: a byte that is not UTF-8 stands as `\\xe9`.

    Where the name itself has a backslash that looks like that, the backslash stands as `\\x5c`; all
    other names stay as they are. `media_path` is the inverse.
    """
    plain = _BYTE.sub(r"\\x5cx\1", path)
    return plain.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def media_path(root: str, media: str) -> str:
    """The file of a media reference, as `open` takes it.

    Bytes that are not UTF-8 come back as they were (see `path_text`).
    """
    # hostile names must not be normalised
    joined = url_below(root, media) if is_url(root) else os.path.join(root, media)  # noqa: PTH118
    return _BYTE.sub(
        lambda match: bytes.fromhex(match[1]).decode("utf-8", "surrogateescape"), joined
    )
