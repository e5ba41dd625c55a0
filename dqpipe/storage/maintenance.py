"""Maintenance of a facts store.

List its contents, remove what is no longer needed, verify checksums.

    look(store) ──▶ [Kept …]      unneeded(…) ──▶ [Kept …] ──forget──▶ bytes freed
                                  broken(store) ──▶ [name …]

A finished run leaves used/<run>.json: the keys that it used, and its output. Keys that the newest
run of no output used are not needed any more; keys that no finished run ever used may belong to a
killed run, and are kept for a while. Other files in the folder of a store are ignored.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dqpipe.errors import OutputError, listed
from dqpipe.storage import no_links, ownership
from dqpipe.storage.fact_store import KILLED_AFTER, Store, read_arrow, sound
from dqpipe.storage.location import Entry
from dqpipe.storage.lock import Lock, alive, said

AT_ONCE = 64
"""Files of a store at a URL that are fetched together to be checked."""
KINDS = ("facts", "relations", "artifacts")
DAY = 86_400


@dataclass(frozen=True)
class Kept:
    """The contents of the store under one key."""

    kind: str
    key: str
    stage: str
    names: tuple[str, ...]
    size: int
    """Bytes."""
    changed: float
    """Time of the last write, in seconds since 1970, as the next field."""
    used: float | None
    """End of the newest finished run that used it; None if none is known."""
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Use:
    """The keys that one finished run used."""

    run: str
    output: str
    finished: float
    keys: Mapping[tuple[str, str], str]
    """(kind, key) → stage."""


def look(store: Store) -> list[Kept]:
    """All keys of a store, by kind and stage; one listing, and the .json files.

    Raises OutputError.
    """
    entries = store.place.entries()
    uses, abouts = (
        uses_of(store, entries),
        _documents(store, entries, lambda name: name.endswith("/about.json")),
    )
    names: dict[tuple[str, str], list[str]] = {}
    for name in entries:
        kind, _, rest = name.partition("/")
        if kind in KINDS and ownership.IN_STORE.fullmatch(name):
            names.setdefault((kind, rest.split("/")[0].split(".")[0]), []).append(name)
    kept = [
        _kept(kind, key, files, entries, uses, abouts.get(f"facts/{key}/about.json", {}))
        for (kind, key), files in names.items()
    ]
    return sorted(kept, key=lambda one: (KINDS.index(one.kind), one.stage, one.key))


def _kept(
    kind: str,
    key: str,
    names: Sequence[str],
    entries: Mapping[str, Entry],
    uses: Sequence[Use],
    about: Mapping[str, Any],
) -> Kept:
    users = [use for use in uses if (kind, key) in use.keys]
    stage = str(about.get("stage") or (users[0].keys[kind, key] if users else "?"))
    changed = max((entries[name].changed or 0) / 1e9 for name in names)
    used = max((use.finished for use in users), default=None)
    return Kept(
        kind,
        key,
        stage,
        tuple(names),
        sum(entries[name].size for name in names),
        changed,
        used,
        about,
    )


def uses_of(store: Store, entries: Mapping[str, Entry]) -> list[Use]:
    """The keys that finished runs used, the newest run first."""
    uses = []
    for name, told in _documents(store, entries, lambda name: name.startswith("used/")).items():
        keys = {
            (kind, key): str(stage)
            for kind in KINDS
            if isinstance(of := told.get(kind), dict)
            for key, stage in of.items()
        }
        finished = told.get("finished")
        uses.append(
            Use(
                Path(name).stem,
                str(told.get("output", "")),
                float(finished) if isinstance(finished, int) and finished < 1 << 40 else 0.0,
                keys,
            )
        )
    return sorted(uses, key=lambda use: (use.finished, use.run), reverse=True)


def _documents(
    store: Store, entries: Mapping[str, Entry], wanted: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """The JSON objects in some files of the store; broken ones are left out."""
    names = [name for name in entries if wanted(name) and ownership.IN_STORE.fullmatch(name)]
    if store.home:  # they never change
        store.home.get(
            {name: store.root / name for name in names if not (store.root / name).exists()}
        )
    found = {}
    for name in names:
        try:
            value = json.loads((store.root / name).read_bytes())
        except (ValueError, RecursionError, FileNotFoundError):
            continue
        if isinstance(value, dict):
            found[name] = value
    return found


def count(store: Store, one: Kept) -> int | None:
    """The number of samples with facts under a key; None for other kinds.

    At a URL the parts are fetched.
    """
    if one.kind != "facts":
        return None
    store.refresh(one.key, vectors=False)
    rows = (read_arrow(path).column("key") for path in store.parts(one.key) if sound(path))
    return len({key for column in rows for key in column.to_pylist()})


def running(store: Store) -> list[str]:
    """Runs that use the store now, or may, with process and machine, by their locks (also of other
    containers and machines).
    """
    found = []
    entries = store.place.entries("runs")
    told = _documents(store, entries, lambda name: name.endswith("/run.json"))
    for run in sorted(
        {name.split("/")[1] for name in entries if ownership.IN_STORE.fullmatch(name)}
    ):
        about = told.get(f"runs/{run}/run.json", {})
        holder = store.holder(run)
        if holder is not None:
            found.append(said(holder))
        elif about and not about.get("locked"):  # of an earlier version, which had no lock
            last = max(
                (e.changed or 0) / 1e9 for name, e in entries.items() if name.split("/")[1] == run
            )
            here = about.get("host") == platform.node() and alive(about.get("pid"))
            if here or (about.get("host") != platform.node() and time.time() - last < KILLED_AFTER):
                found.append(f"{run} (process {about.get('pid', '?')} on {about.get('host', '?')})")
    return found


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Exclusive use of the store: no run starts meanwhile.

    Raises OutputError if a run uses it, or it is not dqpipe's.
    """
    store.claim()
    with Lock(store.place, "cleaning up"):
        busy = running(store)
        if busy:
            raise OutputError(
                f"the facts store is used by {listed(busy, 3)}: clean it up when that is done"
            )
        yield


def unneeded(
    store: Store, kept: Iterable[Kept], days: float | None, uses: Sequence[Use] | None = None
) -> list[Kept]:
    """Keys that the newest run of no output used.

    With `days`, keys that no run used for that many days.

    Keys that no finished run used are kept for a day (or for `days`): they may hold the work of a
    killed run.
    """
    uses = uses_of(store, store.place.entries("used")) if uses is None else uses
    oldest = time.time() - DAY * (1 if days is None else days)
    needed = (
        newest(uses)
        if days is None
        else {key for use in uses if use.finished >= oldest for key in use.keys}
    )
    return [
        one
        for one in kept
        if (one.kind, one.key) not in needed and (one.used is not None or one.changed < oldest)
    ]


def forget(store: Store, some: Iterable[Kept]) -> int:
    """Remove the contents of these keys; returns the bytes freed.

    Raises OutputError while a run uses the store.
    """
    every = list(some)
    if every:
        with _alone(store):
            for one in every:
                _drop(store, one.names)
    return sum(one.size for one in every)


def forget_relations(store: Store, needed: Collection[str]) -> int:
    """Remove relations that the newest run of no output used; returns the bytes freed.

    Raises OutputError while a run uses the store.

    Each run with new samples makes new relations, as large as all facts together. `needed` are the
    keys of the newest run.
    """
    entries = {
        name: e
        for name, e in store.place.entries("relations").items()
        if ownership.IN_STORE.fullmatch(name) and Path(name).stem not in needed
    }
    if not entries:
        return 0
    uses = uses_of(store, store.place.entries("used"))
    return forget(
        store,
        unneeded(
            store,
            [_kept("relations", Path(name).stem, [name], entries, uses, {}) for name in entries],
            None,
            uses,
        ),
    )


def newest(uses: Sequence[Use]) -> set[tuple[str, str]]:
    """The (kind, key) pairs that the newest run of each output used."""
    return {key for use in {use.output: use for use in reversed(uses)}.values() for key in use.keys}


def _drop(store: Store, names: Sequence[str]) -> None:
    # The scalars first: without them a part is not there, whatever happens next.
    store.remove(*sorted(names, key=lambda name: not name.endswith(".arrow")))
    for folder in {name.rpartition("/")[0] for name in names}:
        if folder.startswith("facts/"):
            no_links.remove_folder(store.root, folder)


def keep_only(store: Store, key: str, samples: frozenset[str], *, dry_run: bool) -> tuple[int, int]:
    """Forget the facts of all other sample keys under a stage key.

    How many, and the bytes that it frees. Raises OutputError while a run uses the store.
    """
    if dry_run:
        return _keep_only(store, key, samples, dry_run=True)
    with _alone(store):
        return _keep_only(store, key, samples, dry_run=False)


def _keep_only(
    store: Store, key: str, samples: frozenset[str], *, dry_run: bool
) -> tuple[int, int]:
    store.refresh(key)
    gone = freed = 0
    for path in store.parts(key):
        scalars = read_arrow(path)
        keys = scalars.column("key").to_pylist()
        mask = pa.array([one in samples for one in keys])
        left = sum(one in samples for one in keys)
        if left == len(keys):
            continue
        gone += len(keys) - left
        files = [path, *path.parent.glob(f"{path.stem}.*.vectors")]
        freed += int(sum(file.stat().st_size for file in files) * (1 - left / len(keys)))
        if dry_run:
            continue
        if left:
            facts = {
                file.name.removeprefix(f"{path.stem}.").removesuffix(".vectors"): file
                for file in files[1:]
            }
            vectors = {
                fact: read_arrow(file).column(0).filter(mask).combine_chunks()
                for fact, file in facts.items()
            }
            rest = scalars.filter(mask).combine_chunks()
            store.write_facts(
                key, rest.column("key").to_pylist(), rest.drop_columns(["key"]), vectors
            )
        _drop(store, [f"facts/{key}/{file.name}" for file in files])
    return gone, freed


def broken(store: Store) -> list[str]:
    """The files of a store with a wrong checksum.

    At a URL all are read there, and the local copies are checked too.
    """
    entries = store.place.entries()
    names = [
        name
        for name in entries
        if ownership.IN_STORE.fullmatch(name) and not name.startswith("runs/")
    ]
    wrong = {
        name
        for name in names
        if (store.home is None or (store.root / name).exists()) and not _right(store.root / name)
    }
    if store.home:
        for start in range(0, len(names), AT_ONCE):
            with tempfile.TemporaryDirectory(prefix="dqpipe-verify-") as folder:
                copies = {
                    name: Path(folder) / str(number) / Path(name).name
                    for number, name in enumerate(names[start : start + AT_ONCE])
                }
                store.home.get(copies)
                wrong |= {name for name, copy in copies.items() if not _right(copy)}
    return sorted(wrong)


def _right(path: Path) -> bool:
    if path.suffix != ".json":
        return sound(path)
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def repair(store: Store, names: Iterable[str]) -> None:
    """Remove broken files and those that are useless without them; the next run makes them again.

    Raises OutputError while a run uses the store.
    """
    stems = {
        name.rpartition("/")[2].split(".")[0]: name for name in names if name.startswith("facts/")
    }
    together = [
        name
        for name in store.place.names("facts")
        if name.rpartition("/")[2].split(".")[0] in stems and not name.endswith(".json")
    ]
    with _alone(store):
        _drop(store, [*names, *together])


def tidy(store: Store, *, dry_run: bool) -> int:
    """Remove half-written files older than a day and records of outdated runs.

    Returns the bytes freed.
    """
    entries = store.place.entries()
    long_ago = (time.time() - KILLED_AFTER) * 1e9
    uses = uses_of(store, entries)
    last = {use.output: use.run for use in reversed(uses)}
    old = [
        f"used/{use.run}.json"
        for use in uses
        if last[use.output] != use.run and use.finished < time.time() - 90 * DAY
    ]
    alone = [
        name
        for name, e in entries.items()
        if ownership.IN_STORE.fullmatch(name)
        and name.endswith(".vectors")
        and (e.changed or long_ago) < long_ago
        and f"{name.rpartition('/')[0]}/{name.rpartition('/')[2].split('.')[0]}.arrow"
        not in entries
    ]
    spares = [
        (path.relative_to(store.root).as_posix(), path.lstat())
        for path in (store.root.rglob(".*") if store.root.exists() else ())
    ]
    spares = [
        (name, status)
        for name, status in spares
        if ownership.spare_in_store(name) and status.st_mtime * 1e9 < long_ago
    ]
    freed = sum(entries[name].size for name in (*old, *alone)) + sum(
        status.st_size for _, status in spares
    )
    if not dry_run and (old or alone or spares):
        with _alone(store):
            _drop(store, [*old, *alone, *(name for name, _ in spares)])
    return freed
