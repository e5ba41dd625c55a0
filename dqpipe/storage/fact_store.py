"""The facts store: what was measured, per sample, in a folder or below any URL that fsspec knows.

    store/
      index.arrow                    path → size, tag, content: unchanged files are not read again
      facts/<stage key>/about.json               whose facts these are: stage, version, options
      facts/<stage key>/<part>.arrow             rows: key of a sample, scalar facts
      facts/<stage key>/<part>.<fact>.vectors    one vector fact, in a file of its own,
                                                 memory-mapped
      relations/<key>.arrow          what `relate` returned for exactly these inputs
      artifacts/<key>.npz            what a stage's `fit` learned, frozen
      used/<run>.json                the keys that a finished run used
      runs/<id>/                     references that workers pass around; removed when the run ends

Every file is written under another name and renamed, and is named by its inputs, so that writing it
twice is harmless. All files but the .json end with a checksum: a broken file is recognised, removed
and made again. Only files with names that a store gives are removed, and only in a folder with a
store's marker (see `dqpipe.storage.ownership`).

A store at a URL has a mirror on each machine: files are written to both, and fetched once. Files
are written and fetched many at a time; each look at the store costs one listing for each stage key.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import mmap
import os
import platform
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.errors import OutputError
from dqpipe.storage import no_links, ownership, whole_files
from dqpipe.storage.location import Entry, Place, is_url, mirror, named, place
from dqpipe.storage.lock import Holder, Lock
from dqpipe.storage.lock import said as told_of
from dqpipe.storage.paths import media_path, path_text

log = logging.getLogger(__name__)
INDEX, KIND = "index.arrow", "store"
CHECKSUM = 8
"""Bytes of the checksum (CRC-32 in hex) that ends a file."""
RACY_NS = 2_000_000_000
"""Nanoseconds: a file that changed this shortly before the scan may change again unnoticed, so it
is not indexed.
"""
_encoded = json.JSONEncoder(sort_keys=True, ensure_ascii=True, default=str).encode
KILLED_AFTER = 86_400
"""Seconds after which a half-written file is taken for one of a killed run."""
CLEANED_WITHIN = 600
"""Seconds that a run waits while another process cleans up its store."""


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


def shuffle_key(seed: int, sample: str) -> bytes:
    """A pseudorandom sort key of a sample.

    Sorting by it shuffles samples independently of their order.
    """
    return hashlib.blake2b(
        f"{seed} {sample}".encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()


def digest_json(value: Any) -> str:  # noqa: ANN401
    """The digest of JSON values, whatever the order of their keys."""
    return digest(_encoded(value))


def arrow_bytes(table: pa.Table) -> bytes:
    """An Arrow IPC file and its checksum."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return checked(sink.getvalue())


def checked(data: Any) -> bytes:  # noqa: ANN401 (a buffer)
    """The bytes and their checksum."""
    return b"".join((data, b"%08x" % zlib.crc32(data)))


def write_arrow(path: Path, table: pa.Table) -> None:
    """An Arrow IPC file and its checksum, whole or not at all.

    Raises OutputError on a full or read-only disk.
    """
    write_whole(path, arrow_bytes(table))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, without fsync, as its checksum shows damage.

    Raises OutputError on a full or read-only disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_whole({path: data})
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def read_arrow(path: Path) -> pa.Table:
    """Read a file of `write_arrow`, memory-mapped.

    Check it with `sound` first if it may be broken.
    """
    with pa.memory_map(str(path), "r") as file:
        data = file.read_buffer()
    return pa.ipc.open_file(data.slice(0, data.size - CHECKSUM)).read_all()


def sound(path: Path) -> bool:
    """Whether a file exists and its checksum is right. Raises OSError if it cannot be read."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            return len(view) > CHECKSUM and bytes(view[-CHECKSUM:]) == b"%08x" % zlib.crc32(
                view[:-CHECKSUM]
            )
    except (FileNotFoundError, ValueError):  # a ValueError: of zero bytes
        return False


_LISTED: dict[tuple[str, str], tuple[str, ...]] = {}
"""Mirror, stage key → the files that the store had when this process last looked."""
_LOOKED: dict[tuple[str, str], str] = {}
"""Mirror, stage key → the moment that this listing is of, where the driver of a run named one."""


@dataclass(frozen=True, eq=False)
class Part:
    """Facts of a stage key for some sample keys, n rows each: scalars and, by fact, vectors."""

    key: str
    samples: Sequence[str]
    scalars: pa.Table
    vectors: Mapping[str, pa.Array]


@dataclass(frozen=True)
class Store:
    """The facts store in a folder or below a URL; cheap to pickle."""

    where: Path | str

    @property
    def home(self) -> Place | None:
        """The place of the store if it is not on this machine."""
        return place(self.where) if is_url(self.where) else None

    @property
    def root(self) -> Path:
        """The folder on this machine: the store, or its mirror."""
        return mirror(str(self.where)) if is_url(self.where) else Path(self.where)

    @property
    def place(self) -> Place:
        """The store itself."""
        return place(self.where)

    def create(self) -> None:
        """Create the folder, and check that it is dqpipe's and writable. Raises OutputError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.claim()
            ownership.try_writing(place(self.root))
        except OSError as error:
            raise OutputError(
                f"the facts store {self.root} cannot be written: {error.strerror or error}"
            ) from None
        if self.home:
            ownership.try_writing(self.home)

    def claim(self) -> None:
        """Claim the store and its mirror: each is dqpipe's already, or empty and gets a marker.

        Raises OutputError otherwise.
        """
        for where in (self.place, place(self.root)) if self.home else (self.place,):
            if ownership.owner(where, KIND) is None:
                ownership.take(where, KIND, where.listed(), partial(_adopted, where))

    @property
    def ours(self) -> bool:
        """Whether dqpipe made this store, in this version or an earlier one. Raises OutputError."""
        return ownership.owner(self.place, KIND) is not None or _of_an_earlier_version(self.place)

    # files, here and at home ----------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """Write a file to the store first, then to the mirror, which thus holds nothing that the
        store lacks. Raises OutputError.
        """
        self.put_all({name: data})

    def put_all(self, files: Mapping[str, bytes]) -> None:
        """Write files in any order, to the store first and many at a time. Raises OutputError."""
        if self.home:
            self.home.write_all(files)
        for name, data in files.items():
            write_whole(self.root / name, data)

    def find(self, name: str) -> Path | None:
        """The local path of an intact file, fetched if needed, or None; a broken file is removed.

        Raises OutputError.
        """
        path = self.root / name
        if sound(path):
            return path
        if path.exists():
            self._broken(name)
        home = self.home
        if home is None:
            return None
        try:
            home.get({name: path})
        except FileNotFoundError:
            return None
        if sound(path):
            return path
        self.drop(name)
        return None

    def drop(self, name: str) -> None:
        """Remove a broken file from the store and its mirror."""
        if (self.root / name).exists():
            self._broken(name)
        self.remove(name)

    def _broken(self, name: str) -> None:
        log.warning("%s is broken: what it held is made again", self.root / name)
        self._remove_here(name)

    def remove(self, *names: str) -> None:
        """Remove files from the store and its mirror, if this is a store and the names are of its
        kind. Raises OutputError.
        """
        mine = [name for name in names if ownership.in_store(name)]
        if self.home and mine and _marked(self.home):
            self.home.remove(*mine)
        self._remove_here(*mine)

    def _remove_here(self, *names: str) -> None:
        mine = [name for name in names if ownership.in_store(name)]
        if mine and ownership.owner(place(self.root), KIND):
            with named("remove files of", str(self.root)):
                for name in mine:
                    no_links.remove_file(self.root, name)

    # facts ----------------------------------------------------------------------------------------

    def refresh(self, *keys: str, vectors: bool = True) -> None:
        """List the parts of stage keys that the store has now, and fetch the missing ones together.

        Nothing to do for a folder.
        """
        home = self.home
        if home is None:
            return
        for last in (False, True):
            listed = {key: home.entries(f"facts/{key}") for key in keys}
            wanted = {
                name: self.root / name
                for entries in listed.values()
                for name, entry in entries.items()
                if (vectors or not name.endswith(".vectors"))
                and _size(self.root / name) != entry.size
            }
            try:
                home.get(wanted)
            except FileNotFoundError:  # somebody has just removed what is broken
                if last:
                    raise
                continue
            _LISTED.update(
                {(str(self.root), key): tuple(entries) for key, entries in listed.items()}
            )
            return

    def looked(self, keys: Iterable[str], snapshot: str) -> None:
        """Label this process's last listing of stage keys with a moment, so that `known` does not
        list them again.
        """
        _LOOKED.update(
            {(str(self.root), key): snapshot for key in keys if (str(self.root), key) in _LISTED}
        )

    def parts(self, key: str) -> list[Path]:
        """The scalar files of a stage key on this machine, by name."""
        if self.home is None:
            return sorted(
                path
                for path in (self.root / "facts" / key).glob("*.arrow")
                if ownership.IN_STORE.fullmatch(f"facts/{key}/{path.name}")
            )
        if (str(self.root), key) not in _LISTED:
            self.refresh(key, vectors=False)
        return [
            self.root / name
            for name in sorted(_LISTED[str(self.root), key])
            if name.endswith(".arrow")
        ]

    def write_facts(
        self, key: str, samples: Sequence[str], scalars: pa.Table, vectors: Mapping[str, pa.Array]
    ) -> None:
        """One part: rows for these sample keys.

        The vectors first, so that a part with its scalars is complete.
        """
        self.write_parts([Part(key, samples, scalars, vectors)])

    def write_parts(self, parts: Iterable[Part], beside: Mapping[str, bytes] | None = None) -> None:
        """The same of many parts, and other files with their scalars."""
        first: dict[str, bytes] = {}
        then = dict(beside or {})
        for part in parts:
            stem = f"facts/{part.key}/{digest(*part.samples)}"
            if self.home is None and (self.root / f"{stem}.arrow").exists():
                continue
            first |= {
                f"{stem}.{fact}.vectors": arrow_bytes(pa.table({fact: values}))
                for fact, values in part.vectors.items()
            }
            then[f"{stem}.arrow"] = arrow_bytes(
                part.scalars.add_column(0, "key", pa.array(list(part.samples), pa.string()))
            )
        self.put_all(first)
        self.put_all(then)

    def describe(self, about: Mapping[str, Mapping[str, Any]]) -> None:
        """Write about.json for stage keys, once: the stage, version and options of their facts."""
        told = {f"facts/{key}/about.json": one for key, one in about.items()}
        self.put_all(
            {
                name: json.dumps(
                    one, indent=1, sort_keys=True, ensure_ascii=False, default=str
                ).encode("utf-8", "replace")
                for name, one in told.items()
                if not (self.root / name).exists()
            }
        )

    def heal(self, vectors: Mapping[str, Sequence[str]]) -> None:
        """Remove broken parts of stage keys, whose samples then count as not measured.

        `vectors` names the vector facts of each key.
        """
        self.refresh(*vectors)
        for key, names in vectors.items():
            self._heal(key, names)

    def _heal(self, key: str, vectors: Sequence[str]) -> None:
        broken = False
        for path in self.parts(key):
            names = [
                f"facts/{key}/{path.name}",
                *(f"facts/{key}/{path.stem}.{fact}.vectors" for fact in vectors),
            ]
            if not all(map(self.find, names)):
                for name in names:
                    self.drop(name)
                broken = True
        if broken:
            self.refresh(key)

    def read_facts(self, key: str, samples: Sequence[str | None], names: Sequence[str]) -> pa.Table:
        """Scalar facts for these sample keys, row by row; null where there are none."""
        with self._whole():
            parts = [read_arrow(path) for path in self.parts(key)]
        rows = _positions(parts, samples)
        whole = pa.concat_tables(parts).select(list(names)) if parts else None
        return None if whole is None else whole.take(rows)

    def read_vectors(self, key: str, samples: Sequence[str | None], fact: str) -> np.ndarray | None:
        """One vector fact, [n, d], for sample keys that all have it.

        None where nothing was ever stored.
        """
        paths = self.parts(key)
        if not paths:
            return None
        with self._whole():
            tables = [read_arrow(path.with_name(f"{path.stem}.{fact}.vectors")) for path in paths]
            rows = _positions([read_arrow(path) for path in paths], samples)
        if rows.null_count:
            raise self.lost()
        width = tables[0].schema.field(0).type.list_size
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
        with self._whole():
            columns = [read_arrow(path).column("key").to_pylist() for path in self.parts(key)]
        return frozenset(value for column in columns for value in column)

    def parts_at(self, key: str, snapshot: str) -> list[tuple[Path, int]]:
        """The scalar files of a stage key on this machine as they were at a moment named by the
        caller, each with when it was written, in ns.
        """
        self._look(key, snapshot)
        with self._whole():
            return [(path, path.stat().st_mtime_ns) for path in self.parts(key)]

    def rows(self, parts: Iterable[Path], columns: Sequence[str]) -> list[pa.Table]:
        """Columns of scalar files. Raises OutputError if one of them has vanished."""
        with self._whole():
            return [read_arrow(path).select(list(columns)) for path in parts]

    def _look(self, key: str, snapshot: str) -> None:
        """Make the listing of a stage key the one of a moment."""
        if _LOOKED.get((str(self.root), key)) != snapshot:
            self.refresh(key, vectors=False)

    def known(self, key: str, snapshot: str) -> frozenset[str]:
        """The same, as it was at a moment named by the caller; read once in each process."""
        return _known(self.where, key, snapshot)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Raise OutputError if files that were listed have vanished or are broken."""
        try:
            yield
        except (FileNotFoundError, pa.ArrowException) as error:
            raise self.lost() from error

    def lost(self) -> OutputError:
        """The error for files that vanish while a run uses them."""
        return OutputError(
            f"files of the facts store {self.place.url} vanished while a run used them: run again, "
            f"and let nothing else remove files there"
        )

    # relations, artifacts -------------------------------------------------------------------------

    def relation(self, key: str) -> pa.Table | None:
        """The stored result of `relate` for these inputs, or None."""
        path = self.find(f"relations/{key}.arrow")
        return None if path is None else read_arrow(path)

    def write_relation(self, key: str, table: pa.Table) -> None:
        """Store the result of `relate`."""
        self.put(f"relations/{key}.arrow", arrow_bytes(table))

    def artifact(self, key: str) -> dict[str, np.ndarray] | None:
        """The stored artifact of a `fit`, or None."""
        path = self.find(f"artifacts/{key}.npz")
        if path is None:
            return None
        with np.load(io.BytesIO(path.read_bytes()[:-CHECKSUM]), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write_artifact(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store the artifact of a `fit`."""
        sink = io.BytesIO()
        np.savez(sink, **arrays)  # type: ignore[arg-type]
        self.put(f"artifacts/{key}.npz", checked(sink.getvalue()))

    # the index of files ---------------------------------------------------------------------------

    def index(self) -> dict[str, tuple[int, str, str]]:
        """Path → size, tag, content of the last scan (see `dqpipe.storage.location.Entry`)."""
        if self.home:  # another machine may have written it
            self._remove_here(INDEX)
        path = self.find(INDEX)
        table = None if path is None else read_arrow(path)
        if table is None or "tag" not in table.column_names:
            return {}
        columns = table.to_pydict()
        rows = zip(columns["size"], columns["tag"], columns["content"], strict=True)
        return dict(zip((media_path("", path) for path in columns["path"]), rows, strict=True))

    def write_index(self, rows: Mapping[str, tuple[int, str, str]]) -> None:
        """Store the index of a scan."""
        paths = sorted(rows)
        size, tag, content = (
            zip(*(rows[path] for path in paths), strict=True) if paths else ((), (), ())
        )
        columns = {
            "path": pa.array([path_text(path) for path in paths], pa.string()),
            "size": pa.array(size, pa.int64()),
            "tag": pa.array(tag, pa.string()),
            "content": pa.array(content, pa.string()),
        }
        self.put(INDEX, arrow_bytes(pa.table(columns)))

    # runs -----------------------------------------------------------------------------------------

    def begin_run(self, run: str) -> Lock:
        """Register a run as a user of the store until its lock is freed.

        Waits while another process cleans up. Raises OutputError.
        """
        told = {
            "host": platform.node(),
            "pid": os.getpid(),
            "began": int(time.time()),
            "locked": True,
        }
        self.put(f"runs/{run}/run.json", json.dumps(told).encode())
        lock = Lock(self.place.below(f"runs/{run}"), f"run {run}")
        lock.take()
        until = time.monotonic() + CLEANED_WITHIN
        while cleaning := Lock(self.place, "a run").holder():
            if time.monotonic() > until:
                lock.free()
                raise OutputError(
                    f"the facts store {self.place.url} is being cleaned up by {told_of(cleaning)}: "
                    f"run again when that is done"
                )
            time.sleep(0.2)
        return lock

    def write_reference(self, run: str, name: str, table: pa.Table) -> str:
        """Store a table for the workers of this run; returns the name to read it by."""
        self.put(f"runs/{run}/{name}", arrow_bytes(table))
        return f"runs/{run}/{name}"

    def reference(self, name: str) -> pa.Table:
        """A table of this run. Raises OutputError if it has vanished."""
        here = (
            self.root / name
        )  # written in this run: every shard reads it, and it is not checked each time
        path = here if here.exists() else self.find(name)
        if path is None:
            raise OutputError(
                f"{name} is not in the facts store {self.place.url} any more: was the run ended "
                f"elsewhere?"
            )
        return read_arrow(path)

    def note(self, name: str) -> bytes | None:
        """The bytes that any process `put` under this name, or None."""
        try:
            return self.place.read(name)
        except FileNotFoundError:
            return None

    def forget(self, name: str) -> None:
        """Remove a file from the store and its mirror."""
        self.remove(name)

    def end_run(
        self, run: str, used: Mapping[str, Any] | None = None, lock: Lock | None = None
    ) -> None:
        """Free the lock of a run; remove its references, and those of runs that died a day ago or
        more; keep what a finished one `used`.
        """
        try:
            if used is not None:
                self.put(
                    f"used/{run}.json",
                    json.dumps(used, sort_keys=True, default=str).encode("utf-8", "replace"),
                )
        finally:
            if lock is not None:
                lock.free()
        entries = self.place.entries("runs")
        changed: dict[str, int] = {}
        for name, entry in entries.items():
            one = name.split("/")[1]
            changed[one] = max(changed.get(one, 0), entry.changed or 0)
        long_ago = (time.time() - KILLED_AFTER) * 1e9
        over = {
            run,
            *(one for one, last in changed.items() if last < long_ago and self.holder(one) is None),
        }
        here = {
            one: self.root / "runs" / one for one in over if (self.root / "runs" / one).is_dir()
        }
        names = {
            *(name for name in entries if name.split("/")[1] in over),
            *(f"runs/{one}/{path.name}" for one in here for path in here[one].iterdir()),
        }
        self.remove(*sorted(names, key=lambda name: name.endswith("/run.json")))
        for one in here:
            if ownership.RUN.fullmatch(one):
                no_links.remove_folder(self.root, f"runs/{one}")

    def holder(self, run: str) -> Holder | None:
        """The process that holds the lock of a run using the store; None if the lock is free."""
        return (
            Lock(self.place.below(f"runs/{run}"), "a run").holder()
            if ownership.RUN.fullmatch(run)
            else None
        )


def _of_an_earlier_version(where: Place) -> bool:
    """Whether a folder without a marker is a store of an earlier dqpipe.

    All names fit, and some contents prove it.
    """
    top = [name for name in where.listed() if name not in ownership.SYSTEM]
    folders = {"facts", "relations", "artifacts", "used", "runs"}
    if not {name for name in top if not name.startswith(".")} <= {
        INDEX,
        *folders,
    } or ownership.strangers(name for name in top if name.startswith(".")):
        return False
    names = where.names()
    if not all(map(ownership.in_store, names)):
        return False
    if where.local is None:
        return bool(names)
    return any(_of_a_store(where.local / name) for name in names)


def _of_a_store(path: Path) -> bool:
    """Whether a file's content is what a store writes under its name."""
    if path.suffix != ".json":
        return sound(path)
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and any(
        wanted <= told.keys()
        for wanted in ({"host", "pid", "began"}, {"output", "finished", "facts"}, {"stage"})
    )


def _adopted(where: Place) -> Mapping[str, Any] | None:
    return {} if _of_an_earlier_version(where) else None


@lru_cache(maxsize=64)
def _marked_once(url: str, moment: int) -> bool:  # noqa: ARG001 (a new moment is a new answer)
    return ownership.owner(place(url), KIND) is not None


def _marked(home: Place) -> bool:
    """Whether a store at a URL has its marker; checked at most once a minute."""
    return _marked_once(home.url, int(time.monotonic()) // 60)


def trusted(entry: tuple[int, str, str] | None, seen: Entry) -> str | None:
    """The content of a file that is unchanged since the last scan, or None.

    As git's index recognises it.
    """
    return (
        entry[2] if entry is not None and entry[:2] == (seen.size, seen.tag) and seen.tag else None
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _positions(parts: Iterable[pa.Table], samples: Sequence[str | None]) -> pa.Array:
    """Row of each sample key in the concatenated parts; null where it has none."""
    import pyarrow.compute as pc

    keys = pa.chunked_array(
        [chunk for part in parts for chunk in part.column("key").chunks], pa.string()
    )
    return pc.index_in(pa.array(samples, pa.string()), value_set=keys.combine_chunks()).cast(
        pa.int64()
    )


@lru_cache(maxsize=64)
def _known(where: Path | str, key: str, snapshot: str) -> frozenset[str]:
    store = Store(where)
    store._look(key, snapshot)  # noqa: SLF001 (of this module)
    return store.keys(key)
