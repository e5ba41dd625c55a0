"""What a version remembers for the next one to be compared with, and the comparison of a run with
the last published version.

out/versions/<id>/tables/snapshot.arrow           scalars of some samples; the schema's metadata has
their keys out/versions/<id>/tables/vectors-<fact>.arrow     a vector fact of fewer of them
out/versions/<id>/tables/decoders.arrow           of the samples with scalars their content, and a
mark of the decoder that read it out/versions/<id>/tables/recent.arrow             ids of samples
that this version and the ones before it brought, the newest first
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.data.tables import Facts, Samples
from dqpipe.data.version_comparison import TYPES, Batch, Since, Snapshot, beside
from dqpipe.engine.fact_table import Evidence
from dqpipe.errors import DatasetError
from dqpipe.plugin.cache_key import split
from dqpipe.results.versions import COLUMNS, Version, write_table
from dqpipe.storage.fact_store import shuffle_key

log = logging.getLogger(__name__)
MOST, MOST_VECTORS = 20_000, 2_000
"""Samples of which a snapshot keeps scalars, and vectors.

Drawn by their ids, the same ones every time.
"""
MOST_OF_A_BATCH, MOST_RECENT = 100, 1_000
"""Ids of new samples that a version remembers: of one batch, and of the last ones together."""
NAME, VECTORS, RECENT, DECODERS = "snapshot", "vectors-", "recent", "decoders"
LEFT_OUT = {"media.error", "parent", "made_by", "media"}


@dataclass(frozen=True, eq=False)
class Before:
    """The last published version as a run is compared with it.

    `why` it cannot be, where there is no snapshot.
    """

    version: str
    snapshot: Snapshot | None
    why: str = ""
    recent: tuple[Batch, ...] = ()
    """What the last versions brought, the newest first."""


def before(version: Version | None) -> Before | None:
    """The version published last as a run is compared with it.

    One that an earlier dqpipe wrote, or that is broken, says so.
    """
    if version is None:
        return None
    try:
        return Before(version.id, read(version), recent=_recent(version))
    except DatasetError as error:
        log.warning("nothing is compared with the last version: %s", error)
        return Before(version.id, None, str(error))


def kept(version: Version) -> Samples | None:
    """The samples that a version kept as they were, None where it cannot tell."""
    try:
        return version.samples.take(version.decisions["decision"] == "keep")
    except DatasetError:
        return None


def since(evidence: Evidence, last: Before) -> Since:
    """The run's samples beside those of the last version, which has a snapshot."""
    assert last.snapshot is not None
    everything = np.arange(len(evidence.samples))
    new = np.flatnonzero(beside(evidence.samples, last.snapshot.samples)["fresh"])
    where = {sample: row for row, sample in enumerate(evidence.samples.ids)}

    def look(ids: Sequence[str]) -> Snapshot:
        return snapshot(evidence, np.array(sorted(where[sample] for sample in ids), dtype=np.int64))

    before = (
        last.snapshot if decoded_alike(evidence, last.snapshot) else _apart(evidence, last.snapshot)
    )
    return Since(
        last.version,
        before,
        snapshot(evidence, everything),
        snapshot(evidence, new),
        last.recent,
        look,
    )


def decoded_alike(evidence: Evidence, before: Snapshot) -> bool:
    """Whether the same decoders read the same contents then and now.

    Of contents that nobody knows any more, whether they are the same ones.
    """
    now = {content: evidence.mark(content) for content in before.marks}
    told = [mark == before.marks[content] for content, mark in now.items() if mark is not None]
    if told or not before.marks:
        return all(told)
    some, others = frozenset(before.marks.values()), evidence.marks
    return some <= others or others <= some


def _apart(evidence: Evidence, before: Snapshot) -> Snapshot:
    """The same with other keys of what decoders see."""
    keys = {
        name: f"{key} by other decoders" if name in evidence.decoded else key
        for name, key in before.keys.items()
    }
    return replace(before, keys=keys)


def snapshot(evidence: Evidence, rows: np.ndarray) -> Snapshot:
    """What is known of the samples at these rows.

    Their columns, and what was measured of each by itself.
    """
    samples = evidence.samples
    ids = samples.ids
    order = (
        rows[np.argsort([shuffle_key(0, ids[row]) for row in rows], kind="stable")]
        if len(rows)
        else rows
    )
    some = np.sort(order[:MOST])
    own = {
        name: samples.table.column(name)
        for name in samples.names
        if name not in {*COLUMNS, *LEFT_OUT}
    }
    own = {name: _plain(column) for name, column in own.items()}
    own = {name: column for name, column in own.items() if _scalar(column.type)}
    measured = {
        name: evidence.scalars[name]
        for name in evidence.keys
        if name in evidence.scalars and name not in LEFT_OUT
    }
    measured = {name: column for name, column in measured.items() if _scalar(column.type)}
    columns = {
        name: column.take(pa.array(some))
        for name, column in ({"id": samples.table.column("id")} | own | measured).items()
    }
    vectors, of = {}, {}
    for name in evidence.vectors():
        few = np.sort(order[evidence.has(name)[order]][:MOST_VECTORS])
        vectors[name] = Facts(pa.table({"": evidence.column(name, few)}))[""]
        of[name] = samples.table.column("id").combine_chunks().take(pa.array(few))
    keys = {name: str(column.type) for name, column in own.items()} | evidence.keys
    kept = samples.select([name for name in COLUMNS if name in samples]).take(rows)
    ok = (
        evidence.scalars["media.ok"].to_pylist()
        if "media.ok" in evidence.scalars
        else [False] * len(samples)
    )
    marks = dict(split(key) for row in some if ok[row] and (key := evidence.seen[row]) is not None)
    return Snapshot(kept, Facts(pa.table(columns)), vectors, keys, of, marks)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals as numbers, categories as what they stand for."""
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _scalar(kind: pa.DataType) -> bool:
    return str(kind) in TYPES


def write(evidence: Evidence, folder: Path, version: str, since: Since | None) -> None:
    """Write the snapshot of a run, and what it and the last versions brought, into its version's
    folder. Raises OSError.
    """
    recent = [] if since is None else [Batch(version, _few(since.new.samples.ids)), *since.recent]
    rows = [
        {"version": batch.version, "id": sample}
        for batch in _lately(recent)
        for sample in batch.ids
    ]
    write_table(
        folder,
        RECENT,
        pa.Table.from_pylist(rows, pa.schema([("version", pa.string()), ("id", pa.string())])),
    )
    kept = snapshot(evidence, np.arange(len(evidence.samples)))
    table = kept.facts.table.replace_schema_metadata(
        {"keys": json.dumps(dict(kept.keys)), "vectors": json.dumps(sorted(kept.vectors))}
    )
    write_table(folder, NAME, table)
    read_by = {
        "content": pa.array(list(kept.marks), pa.string()),
        "mark": pa.array(list(kept.marks.values()), pa.string()).dictionary_encode(),
    }
    write_table(folder, DECODERS, pa.table(read_by))
    for name, matrix in kept.vectors.items():
        column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        write_table(folder, VECTORS + name, pa.table({"vector": column, "id": kept.of[name]}))


def read(version: Version) -> Snapshot:
    """What a version remembers. Raises DatasetError."""
    samples, table = Samples(version.samples.table), version.table(NAME)
    told: Mapping[str, Any] = {
        name.decode(): json.loads(text) for name, text in (table.schema.metadata or {}).items()
    }
    tables = {name: version.table(VECTORS + name) for name in told.get("vectors", ())}
    vectors = {name: Facts(of.select(["vector"]))["vector"] for name, of in tables.items()}
    ids = {
        name: of.column("id").combine_chunks()
        for name, of in tables.items()
        if "id" in of.column_names
    }
    marks: dict[str, str] = {}
    with suppress(DatasetError):  # an earlier dqpipe, whose keys are others anyway
        marks = dict(
            zip(
                *(version.table(DECODERS).column(name).to_pylist() for name in ("content", "mark")),
                strict=True,
            )
        )
    return Snapshot(samples, Facts(table), vectors, told.get("keys", {}), ids, marks)


def _recent(version: Version) -> tuple[Batch, ...]:
    """What the last versions brought; none where an earlier dqpipe wrote the version."""
    found: dict[str, list[str]] = {}
    with suppress(DatasetError):
        for row in version.table(RECENT).to_pylist():
            found.setdefault(row["version"], []).append(row["id"])
    return tuple(Batch(name, tuple(ids)) for name, ids in found.items())


def _few(ids: Iterable[str]) -> tuple[str, ...]:
    """At most MOST_OF_A_BATCH of them, always the same ones."""
    return tuple(sorted(sorted(ids, key=lambda sample: shuffle_key(0, sample))[:MOST_OF_A_BATCH]))


def _lately(batches: Sequence[Batch]) -> Iterator[Batch]:
    """The newest batches, until there are MOST_RECENT samples in them."""
    count = 0
    for batch in batches:
        if batch.ids and count < MOST_RECENT:
            count += len(batch.ids)
            yield batch
