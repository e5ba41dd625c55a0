"""What is known of one dataset while a run goes on.

Its samples with their content, and facts, loaded where needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config.plan import BESIDE, KEPT, MEDIA, PARENT, Planned
from dqpipe.data.dataset import Dataset
from dqpipe.data.row_content import pieces
from dqpipe.data.tables import Facts, Samples, arrow_type, as_numpy
from dqpipe.engine.shard import MEDIA_KEY, Judged, Task
from dqpipe.plugin.cache_key import split
from dqpipe.results.report.embedding import Embedding
from dqpipe.storage.fact_store import Store


class Evidence:
    """A dataset's facts by full name.

    Scalars are held; vectors are read from the store when a stage asks for them.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.scalars: dict[str, pa.Array] = {}
        self.keys: dict[str, str] = {}
        """Of each fact that was measured of a sample alone, the key of its measuring."""
        self.decoded: set[str] = set()
        """Those of them that were seen through a decoder."""
        self.seen: list[str | None] = [None] * len(dataset)
        """By row, the key of what is seen of its content.

        It tells decoders apart (see `Decoding`).
        """
        self._judged: Callable[[], Judged] = lambda: Judged({}, frozenset())
        self._has: dict[str, np.ndarray] = {}
        self._vectors: dict[str, Callable[[np.ndarray], pa.Array]] = {}
        self._tasks: dict[str, Task] = {}
        self._remembered: dict[str, pa.Array] = {}
        made = {"parent", "made_by"} <= {*self.samples.names}
        self._keep(
            PARENT,
            self.samples.table.column("parent")
            if made
            else pa.nulls(len(self.samples), pa.string()),
        )

    @property
    def samples(self) -> Samples:
        """The samples, content filled in."""
        return self.dataset.samples

    def add_seen(self, seen: Sequence[str | None], judged: Callable[[], Judged]) -> None:
        """By row the keys of what was seen.

        `judged` tells those of contents that the dataset does not hold any more.
        """
        self.seen, self._judged = list(seen), judged

    @property
    def marks(self) -> frozenset[str]:
        """What tells apart the decoders that read the dataset from others."""
        return frozenset(split(key)[1] for key in self.seen if key is not None)

    def mark(self, content: str) -> str | None:
        """That of the decoder that reads a content, of the dataset or of an earlier state of it.

        None where nobody knows it any more.
        """
        key = self._judged().seen.get(content)
        return None if key is None else split(key)[1]

    def add_media(self, store: Store, errors: Mapping[str, str]) -> None:
        """The engine's own facts; `errors` holds what could not even be read, by id."""
        table = store.read_facts(MEDIA_KEY, self.seen, [f.name for f in MEDIA])
        ok = table.column("ok").to_pylist() if table is not None else [None] * len(self.samples)
        why = table.column("error").to_pylist() if table is not None else [None] * len(self.samples)
        lacks = (
            table.column("missing").to_pylist() if table is not None else [None] * len(self.samples)
        )
        media = self.samples["media"]
        for row, sample in enumerate(self.samples.ids):
            if media[row] is None:
                ok[row], why[row], lacks[row] = False, "no file is named", None
            elif sample in errors:
                ok[row], why[row], lacks[row] = False, errors[sample], None
        self.keys["media.ok"] = MEDIA_KEY
        self.decoded.add("media.ok")
        self._keep("media.ok", pa.array(ok, pa.bool_()))
        self._keep("media.error", pa.array(why, pa.string()))
        self._keep("media.missing", pa.array(lacks, pa.float64()))

    def add_kept(self, before: Samples | None) -> None:
        """Which samples the last published version kept, as they are now.

        `before` are those that it kept, with their content.
        """
        kept = pa.array(np.zeros(len(self.samples), dtype=bool))
        if before is not None:
            at = pc.index_in(
                self.samples.table.column("id").combine_chunks(),
                value_set=before.table.column("id").combine_chunks(),
            )
            then = before.table.column("content").combine_chunks().take(at)
            kept = pc.fill_null(
                pc.equal(then, self.samples.table.column("content").combine_chunks()), False
            )
        self._keep(KEPT, kept)

    def add_measured(
        self,
        store: Store,
        task: Task,
        keys: Sequence[str | None] | None = None,
        expected: frozenset[str] = frozenset(),
    ) -> None:
        """The facts a stage measured, for the samples that have them.

        `keys` are the samples' keys, where they are known.

        Raises OutputError where facts of `expected` keys, which were there, are not there any more.
        """
        keys = keys or sample_keys(task, self.samples.table, self.seen)
        known = store.keys(task.key)
        if not expected <= known:
            raise store.lost()
        has = np.fromiter((key in known for key in keys), dtype=bool, count=len(keys))
        if "media.ok" in self.scalars and task.rendition is not None:
            has &= pc.fill_null(self.scalars["media.ok"], False).to_numpy(zero_copy_only=False)
        shown = [key if there else None for key, there in zip(keys, has, strict=True)]
        scalars = [f.name for f in task.gives if not f.type.startswith("vector")]
        table = store.read_facts(task.key, shown, scalars) if scalars else None
        for fact in task.gives:
            name = f"{task.name}.{fact.name}"
            self.keys[name], self._tasks[name] = task.key, task
            if task.rendition is not None:
                self.decoded.add(name)
            if fact.name in scalars:
                self._keep(
                    name,
                    table.column(fact.name).combine_chunks()
                    if table is not None
                    else pa.nulls(len(keys), arrow_type(fact.type)),
                )
            else:
                self._has[name] = has
                self._vectors[name] = _reader(store, task.key, shown, fact.name)

    def key_for(self, name: str, content: str, row: int) -> str | None:
        """The key in the store that a measured fact of the sample at this row would have under
        another content; None where nobody can tell.
        """
        values = (
            self.samples.take(np.array([row])).table.to_pylist()[0]
            if self._tasks[name].columns
            else {}
        )
        return self._tasks[name].sample_key(content, self._judged().seen.get(content), values)

    def add_related(self, planned: Planned, rows: np.ndarray, table: pa.Table) -> None:
        """What `relate` returned for the samples at `rows`, null for the others."""
        where = np.full(len(self.samples), -1, dtype=np.int64)
        where[rows] = np.arange(len(rows))
        take = pa.array(np.maximum(where, 0), mask=where < 0)
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            self._keep(
                f"{planned.name}.{name}",
                column.take(take) if len(column) else pa.nulls(len(where), column.type),
            )

    def add_known(self, facts: Facts) -> None:
        """Scalar facts as a version keeps them, with their id.

        Null for samples that it has none of.
        """
        rows = pc.index_in(
            self.samples.table.column("id").combine_chunks(),
            value_set=facts.table.column("id").combine_chunks(),
        )
        for name in facts.names:
            if name != "id":
                self._keep(name, facts.table.column(name).take(rows))

    def add_remembered(self, then: Samples, facts: Facts, names: Sequence[str]) -> None:
        """What an earlier state of the dataset holds of these facts (full names).

        `then` are its samples, `facts` have their id.

        A sample is known by its id, one that was made from another by that one, and one with
        another id by its content.
        """
        at = places(self.samples, then)
        rows = pc.index_in(
            then.table.column("id").combine_chunks(),
            value_set=facts.table.column("id").combine_chunks(),
        ).take(at)
        self._remembered |= {
            name: facts.table.column(name).combine_chunks().take(rows)
            for name in names
            if name in facts
        }

    def add_vector(
        self, name: str, has: np.ndarray, read: Callable[[np.ndarray], pa.Array]
    ) -> None:
        """A vector fact: which samples have it [n], and how it is read for some rows."""
        self._has[name], self._vectors[name] = has, read

    def drop_vectors(self) -> None:
        """Nobody looks at vectors any more."""
        self._vectors.clear()

    def knows(self, name: str) -> bool:
        """Whether a fact is there."""
        return name in self._has

    def _keep(self, name: str, values: pa.Array | pa.ChunkedArray) -> None:
        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        self.scalars[name] = array
        self._has[name] = array.is_valid().to_numpy(zero_copy_only=False)

    def view(self, planned: Planned, *, related: bool = True) -> tuple[np.ndarray, Samples, Facts]:
        """The rows a stage is shown, and for them exactly the columns it declared.

        Its own bare, others' in full.
        """
        own = [f"{planned.name}.{f.name}" for f in planned.own(None if related else "measure")]
        later = (
            {f"{planned.name}.{f.name}" for f in planned.own("relate")} if not related else set()
        )
        mask = np.ones(len(self.samples), dtype=bool)
        for name in planned.required:
            if name not in later:
                mask &= self._has[name]
        rows = np.flatnonzero(mask)
        columns = {
            name: self.column(name, rows) for name in planned.facts if related or name not in BESIDE
        }
        columns |= {name.split(".", 1)[1]: self.column(name, rows) for name in own}
        if not related:
            columns |= self._of_last(planned, rows)
        names = ["id", "content", *planned.columns]
        samples = self.samples.select([n for n in names if n in self.samples]).take(rows)
        return (
            rows,
            samples,
            Facts(pa.table(columns) if columns else pa.table({"": pa.nulls(len(rows))}).select([])),
        )

    def _of_last(self, planned: Planned, rows: np.ndarray) -> dict[str, pa.Array]:
        kinds = {fact.name: arrow_type(fact.type) for fact in planned.own("relate")}
        known = {
            name: self._remembered.get(f"{planned.name}.{name}") for name in planned.stage.remembers
        }
        fitting = {
            name: array
            for name, array in known.items()
            if array is not None and array.type == kinds[name]
        }
        return {
            f"last.{name}": fitting[name].take(pa.array(rows))
            if name in fitting
            else pa.nulls(len(rows), kinds[name])
            for name in known
        }

    def column(self, name: str, rows: np.ndarray) -> pa.Array:
        """One fact for the samples at these rows."""
        if name in self._vectors:
            return self._vectors[name](rows)
        return self.scalars[name].take(pa.array(rows))

    def has(self, name: str) -> np.ndarray:
        """[n] bool: which samples have a fact."""
        return self._has[name]

    def vectors(self) -> Sequence[str]:
        """The names of the vector facts."""
        return sorted(self._vectors)

    def embeddings(self) -> dict[str, Embedding]:
        """The vector facts by name, to be read as matrices."""
        return {
            name: Embedding(name, self.has(name), partial(self._matrix, name))
            for name in self.vectors()
        }

    def _matrix(self, name: str, rows: np.ndarray) -> np.ndarray:
        return as_numpy(self.column(name, rows))

    def presence(self) -> dict[str, np.ndarray]:
        """Every fact that is known → [n] bool: which samples have it."""
        return dict(self._has)

    def facts(self) -> Facts:
        """All scalar facts, wide, without vectors."""
        scalars = {
            name: column
            for name, column in self.scalars.items()
            if name not in BESIDE and not pa.types.is_fixed_size_list(column.type)
        }
        return Facts(pa.table({"id": self.samples.table.column("id"), **scalars}))


def places(now: Samples, then: Samples) -> pa.Array:
    """The row of `then` that each sample was, null for none.

    By its id, or its parent's, else by the content of one whose id is gone.
    """
    ids, old = (of.table.column("id").combine_chunks() for of in (now, then))
    contents, old_contents = (of.table.column("content").combine_chunks() for of in (now, then))
    if "parent" in now:
        ids = pc.coalesce(now.table.column("parent").combine_chunks(), ids)
    at = pc.index_in(ids, value_set=old)
    gone = np.flatnonzero(pc.invert(pc.is_in(old, value_set=ids)).to_numpy(zero_copy_only=False))
    moved = pc.index_in(contents, value_set=old_contents.take(pa.array(gone)), skip_nulls=True)
    return pc.coalesce(at.cast(pa.int64()), pa.array(gone, pa.int64()).take(moved))


def sample_keys(task: Task, table: pa.Table, seen: Sequence[str | None]) -> list[str | None]:
    """The key of each sample for a stage's measuring, None where its content, or who decodes it, is
    not known.
    """
    if not task.columns:
        return table.column("content").to_pylist() if task.rendition is None else list(seen)
    rows = (
        row
        for piece in pieces(table.select(["content", *task.columns]))
        for row in piece.to_pylist()
    )
    return [task.sample_key(row["content"], key, row) for row, key in zip(rows, seen, strict=True)]


def _reader(
    store: Store, key: str, keys: Sequence[str | None], fact: str
) -> Callable[[np.ndarray], pa.Array]:
    def read(rows: np.ndarray) -> pa.Array:
        matrix = store.read_vectors(key, [keys[row] for row in rows], fact)
        if matrix is None and len(rows):
            raise store.lost()
        matrix = np.zeros((0, 1), np.float32) if matrix is None else matrix
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])

    return read
