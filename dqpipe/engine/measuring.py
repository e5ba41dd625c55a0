"""Measures a dataset: which samples have anything left to measure, in shards, on the executor, into
the store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from dqpipe.config.plan import Planned
from dqpipe.data.dataset import Dataset
from dqpipe.data.row_content import row_contents
from dqpipe.data.tables import Samples
from dqpipe.data.wording import many, plural
from dqpipe.engine.fact_table import Evidence, sample_keys
from dqpipe.engine.shard import (
    MEDIA_KEY,
    Job,
    Judged,
    Measured,
    ShardRef,
    Task,
    judged,
    measure_shard,
    task_of,
)
from dqpipe.errors import MediaError, StageError, stage_errors
from dqpipe.execution import decoding, logs, timeouts
from dqpipe.execution.decoding import RELATE_THREADS
from dqpipe.execution.executor import DEATHS, Lost
from dqpipe.plugin.cache_key import Decoding, identity
from dqpipe.plugin.kinds import Executor
from dqpipe.plugin.stage import Decoder, Stage
from dqpipe.storage.fact_store import RACY_NS, Store, digest_json, shuffle_key
from dqpipe.storage.location import Entry
from dqpipe.storage.paths import media_path

LEARN_FROM = 2000
"""How many samples a `fit` learns from at most."""
MOST_LOST = (10, 0.1)
"""Shards, and a share of the samples.

When more are lost with the workers they kill, nothing would be left to judge.
"""
CHANGED = (
    "it changed, or went, while the run measured others: the next run measures what is there then"
)
"""Why a file is not judged."""
MEDIA_STAGE = "media"
"""The name under which is kept whether files can be decoded."""
Stats = Mapping[str, Entry]


class ShardSize(Protocol):
    """How many samples go into a shard."""

    def __call__(self, count: int, *, new: bool) -> int:
        """Of so many samples that wait; `new` are those that the run made."""
        ...


class Notify(Protocol):
    """Tells observers a record, by the name of a hook."""

    def __call__(self, hook: str, **record: Mapping[str, Any]) -> None:
        """Tell them."""
        ...


class Survey:
    """The measuring of one run, and what it counted."""

    def __init__(
        self,
        run: str,
        raw: Evidence,
        store: Store,
        decoders: Sequence[Decoder],
        executor: Executor,
        *,
        seed: int,
        rehash: bool,
        shard_size: ShardSize,
        notify: Notify,
    ) -> None:
        self.run, self.raw, self.store, self.decoders = run, raw, store, tuple(decoders)
        self._executor, self._shard_size, self._notify = executor, shard_size, notify
        self._seed, self._rehash = seed, rehash
        self.decoding = Decoding(self.decoders)
        self.failures: dict[tuple[str, str], str] = {}
        self.lost: dict[str, str] = {}
        """The samples of shards that killed their workers, and why.

        In this run they are not measured again.
        """
        self.rereads: dict[str, int] = {}
        self.measured: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.workers_cpu = 0.0
        """Seconds of processor time that shards took."""
        self.workers_mib: float | None = None
        """The highest high-water mark of a process that measured."""
        self._healed: set[str] = set()
        self._index: dict[str, tuple[int, str, str]] = {}
        """The store's index of files when the raw dataset was looked at."""
        self._seen: tuple[Stats, int] = {}, 0
        """The files of the raw dataset before they were read, and when that was, in ns."""
        self.used: dict[str, dict[str, str]] = {"facts": {}, "relations": {}, "artifacts": {}}
        """What this run needs of the store: key → stage."""

    def measure(self, evidence: Evidence, stages: Sequence[Planned], name: str) -> None:
        """Fill in the contents of a dataset's samples and their facts.

        Raises StageError if more than 1 % fail.
        """
        dataset = evidence.dataset
        tasks = tuple(self._task(planned) for planned in stages)
        job = Job(
            self.run,
            f"{self.run} {name}",
            dataset.root,
            self.store,
            tasks,
            self.decoders,
            within=dataset.within,
            logs=logs.configured(),
            driver=timeouts.process(),
        )
        self._heal(job)
        kept = (MEDIA_KEY, *(task.key for task in tasks))
        self.store.looked(
            kept, job.snapshot
        )  # when it was healed, or when what this run measured last was brought
        looked = time.time_ns()
        contents, stats = self._contents(dataset)
        known = (
            judged(self.store, self.decoding, job.snapshot)
            if dataset.has_media
            else Judged({}, frozenset())
        )
        seen = known.keys_of(contents)
        waiting, keys = self._waiting(job, dataset, contents, seen, known)
        errors: dict[str, str] = {}
        rows = (
            {sample: row for row, sample in enumerate(dataset.samples.ids)} if len(waiting) else {}
        )
        for done in self._shards(job, dataset, contents, waiting, name) if len(waiting) else ():
            self._take(done, rows, contents, seen, errors)
            self._bear(max(len(dataset), len(self.raw.dataset)))
        if len(waiting):
            self.store.refresh(*kept)  # workers elsewhere wrote to it
            if evidence is self.raw and dataset.has_media:
                self._leave_out(dataset, contents, seen, errors, stats)
        table = dataset.samples.table
        filled = table.set_column(
            table.column_names.index("content"), "content", pa.array(contents, pa.string())
        )
        evidence.dataset = replace(dataset, samples=Samples(filled))
        evidence.add_seen(
            seen, partial(judged, self.store, self.decoding, f"{job.snapshot} measured")
        )
        if self.raw.dataset.has_media:  # a curated set of nothing has none of its own
            if evidence is self.raw:  # new samples are files of this run only
                self._seen = stats, looked
                self._keep_index(dataset, contents, stats, looked)
            evidence.add_media(self.store, errors)
        for task in tasks:
            self.used["facts"][task.key] = task.name
            evidence.add_measured(
                self.store, task, keys.get(task.name), self.store.known(task.key, job.snapshot)
            )

    def _bear(self, samples: int) -> None:
        failed = (
            {one: why for one, why in self.failures.items() if one[1] != "measure"}
            if self.lost
            else self.failures
        )
        if len(failed) > max(10, 0.01 * samples):
            (sample, stage), why = next(iter(sorted(failed.items())))
            raise StageError(
                stage,
                "measure",
                f"{len(failed)} of {many(samples, 'sample')} failed, {sample!r} with: {why}",
                "more than 1 % ends the run",
            )

    def _lose(self, lost: Lost, samples: Sequence[str]) -> None:
        """Go on without a shard. Raises StageError if too many are lost."""
        why = (
            f"{lost.name}: {DEATHS} worker processes died of it ({lost.reason}); smaller shards "
            f"tell which of its samples it was"
        )
        self.lost.update(dict.fromkeys(samples, why))
        self.failures.update({(sample, "measure"): why for sample in samples})
        shards, most, whole = len(set(self.lost.values())), MOST_LOST, len(self.raw.dataset)
        if len(self.lost) >= whole or (shards >= most[0] and len(self.lost) > most[1] * whole):
            advice = (
                "what was measured is kept; try fewer workers (--executor processes:1), smaller "
                "shards, or leave stages out until it goes"
            )
            gone = (
                f"{len(self.lost)} of {many(whole, 'sample')} {plural(len(self.lost), 'is')} lost"
            )
            raise StageError(
                "measure", lost.name, f"the worker processes die ({lost.reason}): {gone}", advice
            )

    def _heal(self, job: Job) -> None:
        """Forget what is broken in the store, once in a run, before anybody asks what is known."""
        vectors = {
            task.key: [f.name for f in task.gives if f.type.startswith("vector")]
            for task in job.tasks
        }
        left = {
            key: names
            for key, names in {MEDIA_KEY: [], **vectors}.items()
            if key not in self._healed
        }
        if left:
            self.store.heal(left)
            self._healed.update(left)
        self.used["facts"][MEDIA_KEY] = MEDIA_STAGE
        about: dict[str, dict[str, Any]] = {MEDIA_KEY: {"stage": MEDIA_STAGE}}
        for task in job.tasks:
            told = identity(task.stage, task.stage.options())
            about[task.key] = {
                "stage": task.name,
                **dict(
                    zip(("kind", "version", "options", "libraries", "artifacts"), told, strict=True)
                ),
            }
        self.store.describe(about)

    # what is to be measured -----------------------------------------------------------------------

    def _task(self, planned: Planned) -> Task:
        artifact = (
            self._artifact(planned) if planned.stage.does("fit") and planned.stage.learns else None
        )
        return task_of(
            planned.name, planned.stage, planned.columns, planned.own("measure"), artifact
        )

    def _artifact(self, planned: Planned) -> Mapping[str, np.ndarray] | None:
        """What the stage learned in an earlier run, or learns now from a seeded subset of the raw
        samples.
        """
        stage, seed, raw = planned.stage.at("measure"), self._seed, self.raw
        key = artifact_key(stage, seed)
        self.used["artifacts"][key] = planned.name
        found = self.store.artifact(key)
        if found is not None:
            return found
        ids = raw.samples.ids.tolist()
        order = sorted(range(len(ids)), key=lambda row: shuffle_key(seed, ids[row]))
        chosen = sorted(self._readable(raw, order))
        subset = raw.samples.take(np.array(chosen, dtype=np.int64))
        with stage_errors(planned.name, "fit"), decoding.one_thread(RELATE_THREADS, self.decoders):
            learned = stage.fit(
                subset,
                decoding.Rereader(
                    replace(raw.dataset, samples=subset), self.decoders, self.rereads, planned.name
                ),
            )
        if learned is not None:
            self.store.write_artifact(key, learned)
        return learned

    def _readable(self, raw: Evidence, order: Sequence[int]) -> list[int]:
        """The first rows, in this order, whose media can be decoded."""
        if not raw.dataset.has_media:
            return list(order[:LEARN_FROM])
        ids, chosen = raw.samples.ids, []
        look = decoding.Rereader(raw.dataset, self.decoders, {}, "fit")
        for row in order:
            try:
                look([ids[row]], "picture")
            except (MediaError, OSError, TypeError):
                continue
            chosen.append(row)
            if len(chosen) == LEARN_FROM:
                break
        return chosen

    def _contents(self, dataset: Dataset) -> tuple[list[str | None], Stats]:
        """The content of each sample where it is known without reading.

        Given, or the file is unchanged.
        """
        samples = dataset.samples
        if "media" not in samples:
            return [
                given or row
                for given, row in zip(samples["content"], row_contents(samples), strict=True)
            ], {}
        index = {} if self._rehash else self.store.index()
        self._index = self._index or index
        media = samples["media"].tolist()
        contents, stats = decoding.stat_contents(dataset, index)
        rows = row_contents(samples) if any(m is None for m in media) else contents
        known = zip(samples["content"], contents, media, rows, strict=True)
        return [
            given or (content if reference is not None else row)
            for given, content, reference, row in known
        ], stats

    def _waiting(
        self,
        job: Job,
        dataset: Dataset,
        contents: Sequence[str | None],
        seen: Sequence[str | None],
        known_media: Judged,
    ) -> tuple[np.ndarray, dict[str, list[str | None]]]:
        """Rows with anything left to do.

        Content unknown, not yet judged readable, or facts missing.

        And the keys of all rows by task, where nothing can change them any more.
        """
        count = len(contents)
        left, sees = (
            np.fromiter((content is None for content in contents), dtype=bool, count=count),
            np.zeros(count, dtype=bool),
        )
        if "media" in dataset.samples:
            media = dataset.samples.table.column("media").is_valid().to_numpy()
            left |= media & np.fromiter((key is None for key in seen), dtype=bool, count=count)
            sees = media & ~np.fromiter(
                (content in known_media.unreadable for content in contents), dtype=bool, count=count
            )
        columns = sorted({c for task in job.tasks for c in task.columns})
        table = dataset.samples.table.select(columns).append_column(
            "content", pa.array(contents, pa.string())
        )
        keys: dict[str, list[str | None]] = {}
        for task in job.tasks:
            known, keys[task.name] = (
                self.store.known(task.key, job.snapshot),
                sample_keys(task, table, seen),
            )
            missing = ~np.fromiter(
                (key in known for key in keys[task.name]), dtype=bool, count=count
            )
            left |= missing if task.rendition is None else missing & sees
        waiting = np.flatnonzero(left)
        if self.lost:
            waiting = waiting[[sample not in self.lost for sample in dataset.samples.ids[waiting]]]
        return (
            waiting,
            {} if "media" in dataset.samples else keys,
        )  # a file may be another one by the time it is read

    # measuring it ---------------------------------------------------------------------------------

    def _shards(
        self,
        job: Job,
        dataset: Dataset,
        contents: Sequence[str | None],
        waiting: np.ndarray,
        name: str,
    ) -> Iterator[Measured]:
        columns = {"id", *(c for task in job.tasks for c in task.columns)} | (
            {"media"} & set(dataset.samples.names)
        )
        table = dataset.samples.table.select(sorted(columns)).append_column(
            "content", pa.array(contents, pa.string())
        )
        path = self.store.write_reference(
            self.run, f"samples-{name}.arrow", table.take(pa.array(waiting)).combine_chunks()
        )
        size = self._shard_size(len(waiting), new=name != "raw")
        refs = [
            ShardRef(n, path, s, min(s + size, len(waiting)))
            for n, s in enumerate(range(0, len(waiting), size))
        ]
        what = ", ".join(task.name for task in job.tasks) or "media"
        names = [f"measure {n + 1}/{len(refs)} · {what}" for n in range(len(refs))]
        for done in self._executor.map(measure_shard, [(job, ref) for ref in refs], names):
            if isinstance(done, Lost):
                ref = refs[done.number]
                self._lose(done, dataset.samples.ids[waiting[ref.start : ref.stop]].tolist())
                continue
            told = {
                "number": done.number,
                "of": len(refs),
                "samples": done.samples,
                "total": len(waiting),
                "decoded": done.decoded,
            }
            self._notify("dqpipe_shard_finished", shard={**told, "measured": dict(done.measured)})
            yield done

    def _take(
        self,
        done: Measured,
        rows: Mapping[str, int],
        contents: list[str | None],
        seen: list[str | None],
        errors: dict[str, str],
    ) -> None:
        table = self.store.reference(done.contents).to_pydict()
        for sample, content, key, error in zip(
            *(table[name] for name in ("id", "content", "seen", "error")), strict=True
        ):
            contents[rows[sample]], seen[rows[sample]] = content, key
            if error is not None:
                errors[sample] = error
        self.failures.update({(sample, stage): why for sample, stage, why in done.failures})
        for name, count in done.measured.items():
            self.measured[name] = self.measured.get(name, 0) + count
        self.workers_cpu += done.cpu
        if done.peak_mib is not None:
            self.workers_mib = max(self.workers_mib or 0.0, done.peak_mib)
        for name, seconds in done.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _leave_out(
        self,
        dataset: Dataset,
        contents: list[str | None],
        seen: list[str | None],
        errors: dict[str, str],
        before: Stats,
    ) -> None:
        """Take files that changed while others were measured, which may take hours, for unreadable.

        What was measured of them is there no more.
        """
        for row in _changed(dataset, contents, before, None):
            contents[row] = seen[row] = None
            errors[dataset.samples.ids[row]] = CHANGED

    def changed(self, dataset: Dataset) -> list[str]:
        """The media of a curated set that have other bytes now than those which were measured.

        Files that look as then are not read.
        """
        if not dataset.has_media:
            return []
        before, looked = self._seen
        contents = dataset.samples.table.column("content").to_pylist()
        return [
            dataset.samples["media"][row]
            for row in _changed(dataset, contents, before, looked - RACY_NS)
        ]

    def _keep_index(
        self, dataset: Dataset, contents: Sequence[str | None], stats: Stats, looked: int
    ) -> None:
        """Remember the files as they were when they were `looked` at.

        Files of other datasets in this store stay known.
        """
        if (
            self._index
            and self._indexed(self._index, dataset, contents, stats, looked) == self._index
        ):
            return
        self.store.write_index(
            self._indexed(self.store.index(), dataset, contents, stats, looked)
        )  # another run may have written it meanwhile

    @staticmethod
    def _indexed(
        known: Mapping[str, tuple[int, str, str]],
        dataset: Dataset,
        contents: Sequence[str | None],
        stats: Stats,
        looked: int,
    ) -> dict[str, tuple[int, str, str]]:
        """An index with the files of a dataset as they were when they were `looked` at."""
        rows = dict(known)
        for media, content in zip(dataset.samples["media"], contents, strict=True):
            path = "" if media is None else media_path(dataset.root, media)
            stat = stats.get(path)
            rows.pop(path, None)
            if (
                stat is not None
                and content is not None
                and stat.changed is not None
                and stat.changed < looked - RACY_NS
            ):
                rows[path] = (stat.size, stat.tag, content)
        return rows


def _changed(
    dataset: Dataset, contents: Sequence[str | None], before: Stats, settled: int | None
) -> list[int]:
    """The rows whose files hold other bytes than these contents.

    A file that looks as `before` is not read, if it was last changed before a moment, in ns.
    """
    now, found = decoding.stat_contents(dataset, {})[1], []
    for row, (media, content) in enumerate(zip(dataset.samples["media"], contents, strict=True)):
        if media is None or content is None:
            continue
        path = media_path(dataset.root, media)
        was = before.get(path)
        alike = was is not None and was == now.get(path)
        if alike and (
            settled is None
            or (was is not None and was.changed is not None and was.changed < settled)
        ):
            continue
        if decoding.content_of(path, dataset.within) != content:
            found.append(row)
    return found


def known_task(store: Store, planned: Planned, seed: int) -> Task:
    """A stage's measuring with what it learned in an earlier run; nothing is learned now."""
    stage = planned.stage
    learned = (
        store.artifact(artifact_key(stage.at("measure"), seed))
        if stage.does("fit") and stage.learns
        else None
    )
    return task_of(planned.name, stage, planned.columns, planned.own("measure"), learned)


def artifact_key(stage: Stage, seed: int) -> str:
    """The key of what a stage learns."""
    return digest_json([identity(stage, stage.options()), seed])
