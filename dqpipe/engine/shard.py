"""Measuring one shard: what a worker does, and all that it knows.

    ShardRef ──read, hash──▶ content ──not in the store?──▶ decode once ──every stage's measure──▶
        facts in the store

Workers get a job and a reference, write facts to the store and return counts: no table travels.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.data.media import Rendition, Sized
from dqpipe.data.tables import Facts, Samples, fact_array
from dqpipe.errors import MediaError, SchemaError, SlowError
from dqpipe.execution import logs, usage
from dqpipe.execution.decode_sandbox import Trial
from dqpipe.execution.decoding import decode, keep_memory, one_thread, read_bytes
from dqpipe.execution.logs import Wanted
from dqpipe.execution.timeouts import Watchdog, within
from dqpipe.plugin.cache_key import HEAD, Decoding, identity, split
from dqpipe.plugin.stage import Decoder, Fact, Shard, Stage
from dqpipe.storage.checked_files import Within
from dqpipe.storage.fact_store import Part, Store, arrow_bytes, digest, digest_json
from dqpipe.storage.paths import media_path

log = logging.getLogger(__name__)
MICRO_BATCH = 32
WRITTEN_EVERY = 4096
"""Samples of a shard after which what was measured goes to the store.

It is neither lost nor held in memory for long.
"""
MOST_HELD = 1 << 28
"""Bytes of renditions that are held at once; one may have more."""
MEDIA_KEY = digest_json(["media", ["ok", "error", "missing", "head"]])
"""The stage key of whether files can be decoded, and of how they begin, by which their decoders are
known: no decoder is in it.
"""


@dataclass(frozen=True)
class Task:
    """One stage's measuring: its options of that phase, and the key its facts are kept under."""

    name: str
    stage: Stage
    key: str
    columns: tuple[str, ...]
    gives: tuple[Fact, ...]
    artifact: Mapping[str, np.ndarray] | None = None

    @property
    def rendition(self) -> Rendition | None:
        """What it sees of the media."""
        return self.stage.rendition

    def sample_key(
        self, content: str | None, seen: str | None, row: Mapping[str, Any]
    ) -> str | None:
        """The key of one sample: its content (or what is seen of it, see `Decoding`), and the
        columns this stage reads.
        """
        of = content if self.rendition is None else seen
        return (
            of
            if of is None or not self.columns
            else digest(of, digest_json([row[c] for c in self.columns]))
        )


@dataclass(frozen=True)
class Job:
    """What is the same for every shard of a run."""

    run: str
    snapshot: str
    """When the store was looked at: what is known does not change while shards are measured."""
    root: str
    store: Store
    tasks: tuple[Task, ...]
    decoders: tuple[Decoder, ...]
    within: Within = None
    """The folders that media may lie in."""
    logs: Wanted | None = None
    driver: str = ""
    """The process that drives the run, which no hard limit ends (see `limits.process`)."""


@dataclass(frozen=True)
class ShardRef:
    """Rows start to stop of a file of samples."""

    number: int
    path: str
    start: int
    stop: int


@dataclass(frozen=True)
class Measured:
    """What a shard came to: counts, seconds per stage, failures (id, stage, reason), and where its
    contents, and the keys of what was seen of them, are.
    """

    number: int
    samples: int
    decoded: int
    measured: Mapping[str, int]
    seconds: Mapping[str, float]
    failures: tuple[tuple[str, str, str], ...]
    contents: str
    cpu: float = 0.0
    """Seconds of processor time."""
    peak_mib: float | None = None
    """The high-water mark of its process when it was finished."""


@dataclass
class _Rows:
    """Facts of one task, gathered batch by batch."""

    keys: list[str] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)


def task_of(
    name: str,
    stage: Stage,
    columns: Sequence[str],
    gives: Sequence[Fact],
    artifact: Mapping[str, np.ndarray] | None,
) -> Task:
    """A stage's measuring with its key.

    Whatever its facts depend on besides the sample, and who decodes it, is in it.
    """
    measuring = stage.at("measure")
    shape = [(f.name, f.type) for f in gives]
    learned = (
        None
        if artifact is None
        else [(n, digest(np.ascontiguousarray(a).tobytes())) for n, a in sorted(artifact.items())]
    )
    key = digest_json(
        [identity(stage, measuring.options()), stage.rendition, sorted(columns), shape, learned]
    )
    return Task(name, measuring, key, tuple(sorted(columns)), tuple(gives), artifact)


def measure_shard(item: tuple[Job, ShardRef]) -> Measured:
    """Measure what is not in the store yet. Raises OutputError."""
    job, ref = item
    logs.follow(job.logs)
    with logs.at(run=job.run, stage="measure", shard=ref.number + 1):
        return _measure_shard(job, ref)


def _measure_shard(job: Job, ref: ShardRef) -> Measured:
    began = usage.cpu_seconds()
    samples = Samples(job.store.reference(ref.path).slice(ref.start, ref.stop - ref.start))
    work = _Work(job, ref)
    keep_memory()
    work.diary = Diary(
        job.store, f"runs/{job.run}/begun-{job.snapshot.rpartition(' ')[2]}-{ref.number}"
    )  # still there if this process dies
    try:
        with (
            one_thread(1, job.decoders),
            _first_tried(job.decoders, careful=work.diary.again) as work.tried,
        ):
            for start in range(0, len(samples), MICRO_BATCH):
                work.batch(samples.take(np.arange(start, min(start + MICRO_BATCH, len(samples)))))
                if (
                    start // MICRO_BATCH % (WRITTEN_EVERY // MICRO_BATCH)
                    == WRITTEN_EVERY // MICRO_BATCH - 1
                ):
                    work.write()
    finally:
        work.watchdog.rest()
    work.diary.close()
    done = work.finish(len(samples))
    log.info("%d samples, %d decoded", done.samples, done.decoded)
    return replace(done, cpu=usage.cpu_seconds() - began, peak_mib=usage.peak_mib())


class Diary:
    """What a shard's process is at, on disk: whoever takes over when it died reads what it died of.

    The first attempt writes nothing but that it began. A later one measures sample by sample and
    says which; the sample under way when that one dies, too, is the culprit.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name, written = store, name, store.note(name)
        self.again = written is not None
        try:
            said = json.loads(written) if written else []
        except ValueError:  # it died while it wrote
            said = []
        self.culprits = {(str(task), str(key)) for task, key in said}
        self.at()

    def at(self, *now: tuple[str, str]) -> None:
        """Say which (task, key) is being measured; without one, that nothing is that could kill."""
        self.store.put(self.name, json.dumps(sorted({*self.culprits, *now})).encode())

    def close(self) -> None:
        """The shard is done."""
        self.store.forget(self.name)


@contextmanager
def _first_tried(decoders: Sequence[Decoder], *, careful: bool) -> Iterator[Trial | None]:
    """Where an earlier attempt at this shard died: a trial for every file that is to be decoded."""
    if careful:
        with Trial(decoders) as trial:
            yield trial
    else:
        yield None


class _OneByOne(Exception):  # noqa: N818
    """An earlier attempt died: nothing is measured together."""


class _Work:
    """The state of one shard while it is measured; lives and dies inside `measure_shard`."""

    def __init__(self, job: Job, ref: ShardRef) -> None:
        self.job, self.ref = job, ref
        self.seconds: dict[str, float] = dict.fromkeys(
            ("read", "decode", *(t.name for t in job.tasks)), 0.0
        )
        self.rows = {task.name: _Rows() for task in job.tasks}
        self.measured = dict.fromkeys(self.rows, 0)
        self.media: dict[str, str | None] = {}
        """What is seen of a content → why it cannot be decoded."""
        self.media_written = 0
        self.missing: dict[str, float] = {}
        """What is seen of a content → share of it that is missing, of files that end early."""
        self.contents: list[tuple[str, str | None, str | None, str | None]] = []
        """Id, content, what is seen of it, and why there is neither."""
        self.failed: dict[tuple[str, str], str] = {}
        """(task, key) → why it could not be measured."""
        self.decoded = 0
        self.known = {task.name: job.store.known(task.key, job.snapshot) for task in job.tasks}
        self.asking: dict[str, dict[str, list[str]]] = {task.name: {} for task in job.tasks}
        """Per task the keys that are new in this shard, each with the ids that share it.

        It is measured once for all of them.
        """
        self.decoding = Decoding(job.decoders)
        self.judged = judged(job.store, self.decoding, job.snapshot)
        self.heads: dict[str, bytes] = {}
        """What is seen of a content → how it begins, of those that were read here."""
        self.seen: dict[str, str] = {}
        """Content → what is seen of it, of the same."""
        self.tried: Trial | None = None
        self.diary: Diary | None = None
        self.watchdog = Watchdog(job.driver)
        self.slow: dict[str, str] = {}
        """What is seen of a content → why it could not be decoded in time."""
        limits = [decoder.timeout for decoder in job.decoders]
        self.longest = (
            None
            if None in limits
            else max((limit for limit in limits if limit is not None), default=None)
        )

    def batch(self, samples: Samples) -> None:
        """Read, hash, decode and measure some samples, once each."""
        waiting: dict[str, list[tuple[int, str]]] = {task.name: [] for task in self.job.tasks}
        media: dict[int, dict[str, Any]] = {}
        held = 0
        for number, row in enumerate(samples.table.to_pylist()):
            content, data, error = self._content(row)
            seen = None if content is None or row.get("media") is None else self._seen(content)
            self.contents.append((row["id"], content, seen, error))
            if content is None:
                continue
            missing = self._missing(content, seen, row)
            if data is not None and seen is not None and (missing or not self._is_judged(content)):
                ready = self._decode(seen, data, {t.rendition for t, _ in missing if t.rendition})
                if seen in self.slow:
                    self.contents[-1] = (row["id"], None, None, self.slow[seen])
                    continue
                if ready is None:
                    missing = [(t, k) for t, k in missing if t.rendition is None]
                else:
                    media[number] = ready
                    held += _held(ready)
            for task, key in missing:
                self.asking[task.name][key] = [row["id"]]
                broken = media.get(number, {}).get(task.rendition) if task.rendition else None
                if isinstance(broken, MediaError):
                    self.failed[task.name, key] = str(broken)
                else:
                    waiting[task.name].append((number, key))
            if held > MOST_HELD:
                self._run_all(samples, waiting, media)
                held = 0
        self._run_all(samples, waiting, media)

    def _run_all(
        self,
        samples: Samples,
        waiting: Mapping[str, list[tuple[int, str]]],
        media: dict[int, dict[str, Any]],
    ) -> None:
        """Every task on what waits for it; the renditions are let go of."""
        self.watchdog.rest()
        for task in self.job.tasks:
            self._run(task, samples, waiting[task.name], media)
            waiting[task.name].clear()
        media.clear()

    def _content(self, row: Mapping[str, Any]) -> tuple[str | None, bytes | None, str | None]:
        """A sample's content, its bytes if they are wanted, and why there is neither.

        A content that is known is that of the file when it was looked at; what is measured is what
        is read now.
        """
        content, media = row.get("content"), row.get("media")
        if media is None:
            return content, None, "no file is named" if content is None else None
        if (
            content is not None
            and self._is_judged(content)
            and not self._missing(content, self._seen(content), row, look=True)
        ):
            return content, None, None
        began = time.perf_counter()
        try:
            data = read_bytes(media_path(self.job.root, media), self.job.within)
        except OSError as error:
            return None, None, f"cannot be read: {error.strerror or error}"
        except MediaError as error:
            return None, None, str(error)
        finally:
            self.seconds["read"] += time.perf_counter() - began
        content = hashlib.blake2b(data, digest_size=16).hexdigest()
        if content not in self.seen:
            self.seen[content] = self.decoding.seen(content, data[:HEAD])
            self.heads[self.seen[content]] = data[:HEAD]
        return content, data, None

    def _seen(self, content: str) -> str | None:
        return self.seen.get(content) or self.judged.seen.get(content)

    def _is_judged(self, content: str) -> bool:
        return content in self.judged.seen or self.seen.get(content) in self.media

    def _missing(
        self, content: str, seen: str | None, row: Mapping[str, Any], *, look: bool = False
    ) -> list[tuple[Task, str]]:
        """What nobody measured yet; a key that an earlier sample of the shard asked for gets this
        id too, unless one only looks.
        """
        broken = (
            seen is None or content in self.judged.unreadable or self.media.get(seen) is not None
        )
        tasks = [
            t
            for t in self.job.tasks
            if t.rendition is None or (not broken and row.get("media") is not None)
        ]
        keyed = [
            (task, key)
            for task in tasks
            if (key := task.sample_key(content, seen, row)) is not None
        ]
        if not look:
            for task, key in keyed:
                self.asking[task.name].get(key, []).append(row["id"])
        return [
            (task, key)
            for task, key in keyed
            if key not in self.known[task.name] and key not in self.asking[task.name]
        ]

    def _decode(self, seen: str, data: bytes, wanted: set[Rendition]) -> dict[str, Any] | None:
        """The renditions of one file, or None if it cannot be decoded.

        A rendition that fails alone is its MediaError.
        """
        if seen in self.slow:
            return None
        began = time.perf_counter()
        self.watchdog.arm(self.longest)
        try:
            if self.tried is not None and data:
                self.tried.decode(data)
            item = decode(self.job.decoders, data, "picture")
            self.media.setdefault(seen, None)
            if item.header.missing:
                self.missing[seen] = item.header.missing
        except SlowError as error:
            self.slow[seen] = str(error)
            return None
        except MediaError as error:
            self.media[seen] = str(error)
            return None
        finally:
            self.seconds["decode"] += time.perf_counter() - began
        self.decoded += 1
        ready: dict[str, Any] = {"picture": item, "header": item.header}
        if "full" in wanted:
            try:
                ready["full"] = (
                    item if item.reduction == 1 else decode(self.job.decoders, data, "full")
                )
            except MediaError as error:
                ready["full"] = error
        return ready

    def _run(
        self,
        task: Task,
        samples: Samples,
        waiting: Sequence[tuple[int, str]],
        media: Mapping[int, dict[str, Any]],
    ) -> None:
        if not waiting:
            return
        began = time.perf_counter()
        rows = self.rows[task.name]
        careful = self.diary is not None and self.diary.again
        try:
            if careful:
                raise _OneByOne  # noqa: TRY301 (as after an error)
            rows.tables.append(self._within(task, samples, waiting, media))
            rows.keys += [key for _, key in waiting]
        except Exception:  # noqa: BLE001 (tried again one by one, to find the culprit and its reason)
            for number, key in waiting:
                self._run_one(task, samples, (number, key), media)
        if careful and self.diary is not None:
            self.diary.at()
        self.seconds[task.name] += time.perf_counter() - began

    def _run_one(
        self,
        task: Task,
        samples: Samples,
        waiting: tuple[int, str],
        media: Mapping[int, dict[str, Any]],
    ) -> None:
        """One sample alone; why it cannot be measured is kept."""
        rows, key = self.rows[task.name], waiting[1]
        if self.diary is not None and self.diary.again:
            if (task.name, key) in self.diary.culprits:
                self.failed[task.name, key] = (
                    "measuring it ends the process that does it: it crashes, or hangs and was ended"
                )
                return
            self.diary.at((task.name, key))
        try:
            rows.tables.append(self._within(task, samples, [waiting], media))
            rows.keys.append(key)
        except Exception as error:  # noqa: BLE001 (becomes a finding of this sample)
            self.failed[task.name, key] = f"{type(error).__name__}: {error}"[:500]

    def _within(
        self,
        task: Task,
        samples: Samples,
        waiting: Sequence[tuple[int, str]],
        media: Mapping[int, dict[str, Any]],
    ) -> pa.Table:
        """Measured in the time that the stage declares, as often as it declares."""
        seconds = task.stage.timeout
        for left in range(task.stage.retries, -1, -1):
            self.watchdog.arm(seconds)
            try:
                with logs.at(stage=task.name), within(seconds):
                    return self._measure(task, samples, waiting, media)
            except Exception as error:
                if not left:
                    raise
                log.warning(
                    "%s failed, and is tried again: %s: %s", task.name, type(error).__name__, error
                )
            finally:
                self.watchdog.rest()
        raise AssertionError

    def _measure(
        self,
        task: Task,
        samples: Samples,
        waiting: Sequence[tuple[int, str]],
        media: Mapping[int, dict[str, Any]],
    ) -> pa.Table:
        numbers = [number for number, _ in waiting]
        names = ["id", "content", *task.columns]
        shard = Shard(
            samples.take(numbers).select(names),
            tuple(media[n][task.rendition] for n in numbers) if task.rendition else (),
            task.artifact,
        )
        return facts_table(task.stage.measure(shard), task.gives, len(numbers))

    def write(self, beside: Mapping[str, bytes] | None = None) -> None:
        """Bring to the store what was measured since the last time, and other files with it."""
        parts: list[Part] = []
        for task in self.job.tasks:
            rows = self.rows[task.name]
            if rows.keys:
                table = pa.concat_tables(rows.tables, promote_options="none")
                vectors = {
                    f.name: table.column(f.name).combine_chunks()
                    for f in task.gives
                    if f.type.startswith("vector")
                }
                scalars = table.select([f.name for f in task.gives if f.name not in vectors])
                parts.append(Part(task.key, rows.keys, scalars, vectors))
                self.measured[task.name] += len(rows.keys)
                self.rows[task.name] = _Rows()
        judged = sorted(islice(self.media, self.media_written, None))
        self.media_written = len(self.media)
        if judged:
            errors = [self.media[seen] for seen in judged]
            facts = pa.table(
                {
                    "ok": pa.array([e is None for e in errors]),
                    "error": pa.array(errors, pa.string()),
                    "missing": pa.array(
                        [
                            self.missing.get(s, 0.0) if e is None else None
                            for s, e in zip(judged, errors, strict=True)
                        ],
                        pa.float64(),
                    ),
                    "head": pa.array([self.heads[seen] for seen in judged], pa.binary()),
                }
            )
            parts.append(Part(MEDIA_KEY, judged, facts, {}))
        self.job.store.write_parts(parts, beside)

    def finish(self, count: int) -> Measured:
        """Write what is left, and say how it went."""
        columns = zip(*self.contents, strict=True) if self.contents else ((),) * 4
        table = pa.table(
            {
                name: pa.array(column, pa.string())
                for name, column in zip(("id", "content", "seen", "error"), columns, strict=True)
            }
        )
        path = f"runs/{self.job.run}/contents-{self.job.snapshot.rpartition(' ')[2]}-{self.ref.number}.arrow"  # noqa: E501
        self.write({path: arrow_bytes(table)})
        failures = tuple(
            (sample, name, why)
            for (name, key), why in self.failed.items()
            for sample in self.asking[name][key]
        )
        return Measured(
            self.ref.number, count, self.decoded, self.measured, self.seconds, failures, path
        )


def _held(ready: Mapping[str, Any]) -> int:
    """Bytes of one file's renditions, as far as they tell."""
    items = {id(item): item for item in ready.values() if isinstance(item, Sized)}
    return sum(item.nbytes for item in items.values())


@dataclass(frozen=True)
class Judged:
    """What is known of the contents that the decoders of a run were tried on, by them or by equal
    ones.
    """

    seen: Mapping[str, str]
    """Content → the key of what is seen of it."""
    unreadable: frozenset[str]
    """The contents that do not decode."""

    def keys_of(self, contents: Iterable[str | None]) -> list[str | None]:
        """The keys of what is seen of contents, None where no decoder was tried."""
        return [None if content is None else self.seen.get(content) for content in contents]


def judged(store: Store, decoding: Decoding, snapshot: str) -> Judged:
    """The contents that these decoders were tried on, as the store was at a moment.

    Read once in each process. Raises OutputError.
    """
    return _judged(store.where, decoding, snapshot)


@lru_cache(maxsize=8)
def _judged(where: Path | str, decoding: Decoding, snapshot: str) -> Judged:
    return _judged_in(Store(where), decoding, tuple(Store(where).parts_at(MEDIA_KEY, snapshot)))


@lru_cache(maxsize=2)
def _judged_in(store: Store, decoding: Decoding, parts: tuple[tuple[Path, int], ...]) -> Judged:
    """The same of parts that were last written at these times.

    The curated set is mostly looked up where the raw one was.
    """
    seen: dict[str, str] = {}
    marks: dict[bytes, str] = {}
    unreadable = []
    for rows in store.rows([path for path, _ in parts], ["key", "ok", "head"]):
        for key, ok, head in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            content, mark = split(key)
            now = marks.get(head)
            if now is None:
                now = marks[head] = decoding.mark(head)
            if mark == now:
                seen[content] = key
                if not ok:
                    unreadable.append(content)
    return Judged(seen, frozenset(unreadable))


def facts_table(returned: Any, gives: Iterable[Fact], count: int) -> pa.Table:  # noqa: ANN401
    """What a stage returned as an Arrow table of exactly the facts it declared.

    Raises SchemaError.
    """
    columns = returned.table.to_pydict() if isinstance(returned, Facts) else returned
    facts = {f.name: f for f in gives}
    got = list(columns)  # of a mapping or a DataFrame
    if set(got) != set(facts):
        raise SchemaError(f"facts {sorted(got)} were returned, {sorted(facts)} are declared")
    arrays = {name: fact_array(columns[name], f.type) for name, f in facts.items()}
    for name, array in arrays.items():
        if len(array) != count:
            raise SchemaError(f"fact {name} has {len(array)} rows for {count} samples")
        if array.null_count and not facts[name].nullable:
            raise SchemaError(
                f"fact {name} has {array.null_count} empty values and is not declared nullable"
            )
    return pa.table(arrays)
