"""The facts store: what was measured, on disk, per sample.

    store/
      index.arrow                    path → size, mtime_ns, inode, content: unchanged files are not read again
      facts/<stage key>/<part>.arrow             rows: key of a sample, scalar facts
      facts/<stage key>/<part>.<fact>.vectors    one vector fact, in a file of its own, memory-mapped
      relations/<key>.arrow          what `relate` returned for exactly these inputs
      artifacts/<key>.npz            what a stage's `fit` learned, frozen
      runs/<id>/                     references that workers pass around; removed when the run ends

Every file is written beside and renamed, named by its content: writing one twice is harmless. An .arrow or .vectors file
is Arrow IPC followed by a checksum: what a crash or a bad disk broke is recognised, removed and made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.errors import OutputError
from dqpipe.model import media_path, path_text

log = logging.getLogger(__name__)
CHECKSUM = 8
"""Bytes of the checksum (CRC-32 in hex) that ends a file."""
RACY_NS = 2_000_000_000
"""A file changed this shortly before it was scanned may change again within the clock's grain: it stays out of the index."""
_encoded = json.JSONEncoder(sort_keys=True, ensure_ascii=True, default=str).encode
KILLED_AFTER = 86_400
"""Seconds after which what is half written belongs to no run any more."""


def digest(*parts: bytes | str) -> str:
    """32 hex digits (BLAKE2b, 128 bits) over length-prefixed parts."""
    state = hashlib.blake2b(digest_size=16)
    ready: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        ready += (len(data).to_bytes(8, "little"), data)
        if len(data) > 1 << 16:  # short ones are hashed in one go, long ones are not copied
            state.update(b"".join(ready[:-1]))
            state.update(data)
            ready.clear()
    state.update(b"".join(ready))
    return state.hexdigest()


def drawn(seed: int, sample: str) -> bytes:
    """A number drawn for a sample: sorted by it, samples are shuffled, in whatever order they came."""
    return hashlib.blake2b(f"{seed} {sample}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def digest_json(value: Any) -> str:  # noqa: ANN401
    """The digest of JSON values, whatever the order of their keys."""
    return digest(_encoded(value))


def write_arrow(path: Path, table: pa.Table) -> None:
    """An Arrow IPC file and its checksum, whole or not at all. Raises OutputError on a full or read-only disk."""
    spare = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with spare.open("wb") as file:
            file.write(data)
            file.write(b"%08x" % zlib.crc32(data))
        spare.replace(path)
    except OSError as error:
        spare.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def read_arrow(path: Path) -> pa.Table:
    """A file of `write_arrow`, memory-mapped; what may be broken is looked at with `sound` before."""
    with pa.memory_map(str(path), "r") as file:
        data = file.read_buffer()
    return pa.ipc.open_file(data.slice(0, data.size - CHECKSUM)).read_all()


def sound(path: Path) -> bool:
    """Whether a file is there, and as `write_arrow` wrote it. Raises OSError if it cannot be read at all."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            return len(view) > CHECKSUM and bytes(view[-CHECKSUM:]) == b"%08x" % zlib.crc32(view[:-CHECKSUM])
    except (FileNotFoundError, ValueError):  # a ValueError: of zero bytes
        return False


def _broken(path: Path) -> None:
    log.warning("%s is broken: what it held is made again", path)
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """The facts store below a folder; cheap to pickle."""

    root: Path

    def create(self) -> None:
        """Make the folder, and see that it can be written. Raises OutputError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{uuid.uuid4().hex[:8]}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutputError(f"the facts store {self.root} cannot be written: {error.strerror or error}") from None

    # facts ---------------------------------------------------------------------------------------------------------

    def parts(self, key: str) -> list[Path]:
        """The scalar files of a stage key, by name."""
        return sorted((self.root / "facts" / key).glob("[0-9a-f]*.arrow"))

    def write_facts(self, key: str, samples: Sequence[str], scalars: pa.Table, vectors: Mapping[str, pa.Array]) -> None:
        """One part: rows for these sample keys. The vectors first, so that a part with its scalars is complete."""
        name = digest(*samples)
        folder = self.root / "facts" / key
        if (folder / f"{name}.arrow").exists():
            return
        for fact, values in vectors.items():
            write_arrow(folder / f"{name}.{fact}.vectors", pa.table({fact: values}))
        write_arrow(folder / f"{name}.arrow", scalars.add_column(0, "key", pa.array(list(samples), pa.string())))

    def heal(self, key: str, vectors: Sequence[str]) -> None:
        """Remove the parts of a stage key that are broken, so that what they held counts as not measured."""
        for path in self.parts(key):
            if not all(map(sound, (path, *(path.with_name(f"{path.stem}.{fact}.vectors") for fact in vectors)))):
                _broken(path)

    def read_facts(self, key: str, samples: Sequence[str | None], names: Sequence[str]) -> pa.Table:
        """Scalar facts for these sample keys, row by row; null where there are none."""
        parts = [read_arrow(path) for path in self.parts(key)]
        rows = _positions(parts, samples)
        whole = pa.concat_tables(parts).select(list(names)) if parts else None
        return None if whole is None else whole.take(rows)

    def read_vectors(self, key: str, samples: Sequence[str | None], fact: str) -> np.ndarray | None:
        """One vector fact, [n, d], for sample keys that all have it; None where nothing was ever stored."""
        paths = self.parts(key)
        if not paths:
            return None
        tables = [read_arrow(path.with_name(f"{path.stem}.{fact}.vectors")) for path in paths]
        width = tables[0].schema.field(0).type.list_size
        rows = _positions([read_arrow(path) for path in paths], samples)
        starts = np.cumsum([0] + [t.num_rows for t in tables])
        at = np.asarray(rows.to_numpy(zero_copy_only=False), dtype=np.int64)
        out: np.ndarray | None = None
        for start, table in zip(starts, tables, strict=False):
            block = table.column(0).combine_chunks()
            block = block.chunk(0) if isinstance(block, pa.ChunkedArray) else block
            values = block.flatten().to_numpy().reshape(-1, width)
            out = np.empty((len(at), width), dtype=values.dtype) if out is None else out
            here = (at >= start) & (at < start + len(values))
            out[here] = values[at[here] - start]
        return out

    def keys(self, key: str) -> frozenset[str]:
        """The sample keys that have facts of a stage key."""
        columns = [read_arrow(path).column("key").to_pylist() for path in self.parts(key)]
        return frozenset(value for column in columns for value in column)

    def known(self, key: str, snapshot: str) -> frozenset[str]:
        """The same, as it was at a moment named by the caller; read once in each process."""
        return _known(str(self.root), key, snapshot)

    # relations -----------------------------------------------------------------------------------------------------

    def relation(self, key: str) -> pa.Table | None:
        """What `relate` returned for these inputs, or None."""
        return self._read(self.root / "relations" / f"{key}.arrow")

    def _read(self, path: Path) -> pa.Table | None:
        if path.exists() and not sound(path):
            _broken(path)
        return read_arrow(path) if path.exists() else None

    def write_relation(self, key: str, table: pa.Table) -> None:
        """Keep what `relate` returned."""
        write_arrow(self.root / "relations" / f"{key}.arrow", table)

    # artifacts -----------------------------------------------------------------------------------------------------

    def artifact(self, key: str) -> dict[str, np.ndarray] | None:
        """What a `fit` learned, or None."""
        path = self.root / "artifacts" / f"{key}.npz"
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (zipfile.BadZipFile, ValueError, EOFError):
            _broken(path)
            return None

    def write_artifact(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep what a `fit` learned."""
        folder = self.root / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        spare = folder / f".{uuid.uuid4().hex}.npz"
        np.savez(spare, **arrays)  # type: ignore[arg-type]
        spare.replace(folder / f"{key}.npz")

    # the index of files --------------------------------------------------------------------------------------------

    def index(self) -> dict[str, tuple[int, int, int, str]]:
        """Path → size, mtime_ns, inode, content of the last scan."""
        table = self._read(self.root / "index.arrow")
        if table is None:
            return {}
        columns = table.to_pydict()
        rows = zip(columns["size"], columns["mtime"], columns["inode"], columns["content"], strict=True)
        return dict(zip((media_path("", path) for path in columns["path"]), rows, strict=True))

    def write_index(self, rows: Mapping[str, tuple[int, int, int, str]]) -> None:
        """Keep the index of a scan."""
        paths = sorted(rows)
        columns = {
            "path": pa.array([path_text(path) for path in paths], pa.string()),
            **{name: pa.array([rows[p][i] for p in paths], pa.int64()) for i, name in enumerate(("size", "mtime", "inode"))},
            "content": pa.array([rows[p][3] for p in paths], pa.string()),
        }
        write_arrow(self.root / "index.arrow", pa.table(columns))

    # runs ----------------------------------------------------------------------------------------------------------

    def run_folder(self, run: str) -> Path:
        """The folder of references of one run."""
        folder = self.root / "runs" / run
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def forget_run(self, run: str) -> None:
        """Remove the references of a run, and those of runs that died a day ago or more."""
        shutil.rmtree(self.root / "runs" / run, ignore_errors=True)
        for folder in (self.root / "runs").glob("*"):
            if time.time() - folder.stat().st_mtime > KILLED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)


def trusted(entry: tuple[int, int, int, str] | None, stat: os.stat_result) -> str | None:
    """The content of a file that is unchanged since the last scan, or None: as git's index recognises it."""
    unchanged = entry is not None and (stat.st_size, stat.st_mtime_ns, stat.st_ino) == entry[:3]
    return entry[3] if entry is not None and unchanged else None


def _positions(parts: Iterable[pa.Table], samples: Sequence[str | None]) -> pa.Array:
    """Row of each sample key in the concatenated parts; null where it has none."""
    import pyarrow.compute as pc

    keys = pa.chunked_array([chunk for part in parts for chunk in part.column("key").chunks], pa.string())
    return pc.index_in(pa.array(samples, pa.string()), value_set=keys.combine_chunks()).cast(pa.int64())


@lru_cache(maxsize=64)
def _known(root: str, key: str, snapshot: str) -> frozenset[str]:  # noqa: ARG001 (a new moment is a new answer)
    return Store(Path(root)).keys(key)
