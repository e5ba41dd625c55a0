"""Media that lie in other files: members of tar archives, cells of Parquet and Arrow files.

Each has an address and is read like a file.

    shards/train-000.tar!/n01/cat.jpg        a member of an archive
    data/train.parquet!/12/image             row 12 (from 0) of the column `image`: bytes, or a
                                             struct with a field `bytes`

Nothing is unpacked to a disk, and what a member is called names no place in the file system.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tarfile
import tempfile
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from dqpipe.errors import MediaError

if TYPE_CHECKING:
    import pyarrow as pa

_ADDRESS = re.compile(r"(.+?\.(tar|parquet|arrow))!/(.+)", re.IGNORECASE | re.DOTALL)
Key = tuple[int, int, int, int]
_LOCK = threading.Lock()


class Address(NamedTuple):
    """A member of a container: the file, its kind (tar, parquet or arrow), and what is
    meant in it.
    """

    container: str
    kind: str
    member: str


def address(path: str) -> Address | None:
    """What a path means where it names something in a container that is a file.

    None for an ordinary path.
    """
    if (
        "!/" not in path
        or (found := _ADDRESS.fullmatch(path)) is None
        or "\0" in path
        or not os.path.isfile(found[1])  # noqa: PTH113
    ):
        return None
    return Address(found[1], found[2].lower(), found[3])


def member(container: str, name: str) -> str:
    """The address of something in a container."""
    return f"{container}!/{name}"


def opened(meant: Address, handle: int) -> int:
    """The descriptor of a file in memory that holds the member, read-only by its mode.

    `handle` is the container, and is closed.

    Raises FileNotFoundError for an empty cell, MediaError: no such member, or a container that is
    broken.
    """
    try:
        data = _data(meant, handle)
    finally:
        os.close(handle)
    if hasattr(os, "memfd_create"):
        made = os.memfd_create("member", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            made = os.dup(file.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(made, view) :]
        os.lseek(made, 0, os.SEEK_SET)
        os.fchmod(made, stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
    except BaseException:
        os.close(made)
        raise
    return made


def members(path: str) -> dict[str, tuple[int, int]]:
    """Of each regular file of a tar archive, by name, where its bytes begin and how many they are.

    Raises OSError, tarfile.TarError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _members(handle)
    finally:
        os.close(handle)


def _members(handle: int) -> dict[str, tuple[int, int]]:
    key = _key(handle)
    with _LOCK:
        known = _INDEX.get(key)
    if known is None:
        with (
            os.fdopen(os.dup(handle), "rb") as file,
            tarfile.open(fileobj=file, mode="r:") as archive,
        ):
            known = {
                one.name: (one.offset_data, one.size)
                for one in archive
                if one.isreg() and one.sparse is None
            }
        with _LOCK:
            while len(_INDEX) >= MOST:
                del _INDEX[next(iter(_INDEX))]
            _INDEX[key] = known
    return known


_INDEX: dict[Key, dict[str, tuple[int, int]]] = {}
MOST = 256
"""Archives whose members are remembered."""


def _data(meant: Address, handle: int) -> bytes:
    try:
        if meant.kind == "tar":
            start, size = _members(handle)[meant.member]
            data = os.pread(handle, size, start)
            if len(data) < size:
                raise MediaError("the archive that it lies in is cut short")
            return data
        row, _, column = meant.member.partition("/")
        value = _cell(
            f"/proc/self/fd/{handle}" if os.path.exists("/proc/self/fd") else meant.container,  # noqa: PTH110
            meant.kind,
            _key(handle),
            int(row),
            column,
        )
    except (KeyError, IndexError, tarfile.TarError) as error:
        raise MediaError(
            f"it is not in {os.path.basename(meant.container)}, or that is broken: {error}"[:300]  # noqa: PTH119
        ) from None
    except ValueError as error:  # Arrow's errors are such
        raise MediaError(
            f"{os.path.basename(meant.container)} cannot be read: {error}"[:300]  # noqa: PTH119
        ) from None
    if not isinstance(value, bytes):
        raise FileNotFoundError(
            errno.ENOENT, "the cell is empty", f"{meant.container}!/{meant.member}"
        )
    return value


def _cell(path: str, kind: str, key: Key, row: int, column: str) -> Any:  # noqa: ANN401
    if row < 0:
        raise IndexError(row)
    for start, group in _groups(path, kind, key):
        if row < start + group[1]:
            value = _column(path, kind, key, group[0], column)[row - start].as_py()
            return value.get("bytes") if isinstance(value, dict) else value
    raise IndexError(row)


def _groups(path: str, kind: str, key: Key) -> list[tuple[int, tuple[int, int]]]:
    """Of each row group or batch where it begins, its number and its rows."""
    counts, start, found = _counts(path, kind, key), 0, []
    for number, count in enumerate(counts):
        found.append((start, (number, count)))
        start += count
    return found


class _Path(str):
    """A path that does not count as a difference: the file is known by its key."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Path)

    def __hash__(self) -> int:
        return 0


def _counts(path: str, kind: str, key: Key) -> list[int]:
    return _counted(_Path(path), kind, key)


def _column(path: str, kind: str, key: Key, group: int, column: str) -> pa.ChunkedArray | pa.Array:
    return _read(_Path(path), kind, key, group, column)


@lru_cache(maxsize=64)
def _counted(path: str, kind: str, key: Key) -> list[int]:  # noqa: ARG001 (the key tells files apart)
    if kind == "arrow":
        return [batch.num_rows for batch in batches(str(path))]
    import pyarrow.parquet as pq

    with pq.ParquetFile(str(path)) as file:
        return [
            file.metadata.row_group(number).num_rows
            for number in range(file.metadata.num_row_groups)
        ]


@lru_cache(maxsize=4)
def _read(path: str, kind: str, key: Key, group: int, column: str) -> pa.ChunkedArray | pa.Array:  # noqa: ARG001 (the key tells files apart)
    if kind == "arrow":
        return batches(str(path))[group].column(column)
    import pyarrow.parquet as pq

    with pq.ParquetFile(str(path)) as file:
        return file.read_row_group(group, columns=[column]).column(column)


def batches(path: str) -> list[pa.RecordBatch]:
    """The record batches of an Arrow IPC file or stream, mapped into memory.

    Raises OSError, pyarrow.ArrowInvalid.
    """
    import pyarrow as pa

    source = pa.memory_map(path)
    try:
        return list(pa.ipc.open_stream(source))
    except pa.ArrowInvalid:
        source.seek(0)
        file = pa.ipc.open_file(source)
        return [file.get_batch(number) for number in range(file.num_record_batches)]


def _key(handle: int) -> Key:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
