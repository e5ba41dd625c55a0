"""Media files of a dataset at a URL: listed once, read whole."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from dqpipe.errors import DatasetError, MediaError, OutputError
from dqpipe.storage.location import Entry, entry_of, filesystem, named, place


def read_bytes(url: str, limit: int) -> bytes:
    """The bytes of a file.

    Raises OSError if it is not there or forbidden, MediaError above `limit` bytes; DatasetError if
    the store does not answer.
    """
    if "\0" in url:
        raise MediaError("no file can have this name: it holds a NUL character")
    try:
        with named("read", url):
            data: bytes = (
                filesystem(url).cat_file(url, start=0, end=limit + 1) if _size(url) else b""
            )
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "No such file", url) from None
    except OutputError as error:
        if isinstance(error.__cause__, PermissionError):
            raise PermissionError(errno.EACCES, "Permission denied", url) from None
        raise DatasetError(
            f"{error}: a store that does not answer says nothing about its files"
        ) from None
    if len(data) > limit:
        raise MediaError(f"the file is larger than the limit of {limit / 1e9:.1f} GB")
    return data


def _size(url: str) -> int:
    return int(filesystem(url).info(url).get("size") or 0)


class Listing(dict[str, Entry]):
    """URL → entry for all files below a root; one elsewhere is asked for by itself.

    Raises KeyError if there is none.
    """

    def __missing__(self, url: str) -> Entry:
        try:
            with named("look at", url):
                self[url] = entry_of(filesystem(url).info(url))
        except FileNotFoundError:
            raise KeyError(url) from None
        return self[url]


def listed(root: str) -> Listing:
    """Every file below a URL. Raises OutputError."""
    return Listing({f"{root}/{name}": entry for name, entry in place(root).entries().items()})


def download(pairs: Iterable[tuple[str, str]]) -> None:
    """Copy files from URLs to local paths, many at a time.

    Raises FileNotFoundError, OutputError.
    """
    every = list(pairs)
    if every:
        with named("read", every[0][0]):
            filesystem(every[0][0]).get([url for url, _ in every], [path for _, path in every])
