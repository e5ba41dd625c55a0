"""Two versions of a dataset beside each other.

What the last published one held, what there is now, what of it is new.

A snapshot keeps all ids, contents, labels, splits and groups, and of a seeded part of the samples
what was measured of them: so much is enough to compare by, it does not grow with the dataset, and
it stays with its version whatever becomes of the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.tables import Facts, Samples

_INTEGERS = (
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
)
TYPES = frozenset(
    map(
        str,
        (
            pa.bool_(),
            *_INTEGERS,
            pa.float16(),
            pa.float32(),
            pa.float64(),
            pa.string(),
            pa.large_string(),
        ),
    )
)
"""The types of a user's columns that are compared."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Samples, and what some of them look like.

    `samples` are all: id, content, and label, split and group where there are any. `facts` are the
    scalars of some of them (an id, the user's own columns, and what was measured, under its full
    name), `vectors` float or uint8 [k, d] of fewer. `keys` has for each fact and vector a text that
    is another one when it is measured in another way.
    """

    samples: Samples
    facts: Facts
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    of: Mapping[str, pa.Array] = field(default_factory=dict)
    """The ids of the samples that each vector is of, where that is known."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Of contents that could be decoded, what tells apart the decoder that did from others."""

    @property
    def columns(self) -> list[str]:
        """The user's own columns: their key is the name of a type."""
        return [name for name, key in self.keys.items() if key in TYPES]

    def without(self, ids: pa.Array) -> Snapshot:
        """The same but for these samples.

        Vectors of which nobody knows whose they are stay away.
        """

        def others(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
            return np.asarray(
                pc.invert(pc.is_in(column, value_set=ids)).to_numpy(zero_copy_only=False)
            )

        samples = self.samples.take(others(self.samples.table.column("id").combine_chunks()))
        facts = self.facts.take(others(self.facts.table.column("id").combine_chunks()))
        vectors = {name: self.vectors[name][others(of)] for name, of in self.of.items()}
        of = {name: of.filter(pa.array(others(of))) for name, of in self.of.items()}
        return replace(self, samples=samples, facts=facts, vectors=vectors, of=of)


@dataclass(frozen=True)
class Batch:
    """What a version brought that the one before it did not have.

    Ids of its new samples, some of them where they are many.
    """

    version: str
    ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Since:
    """The last published version, the whole set as it is now, and those samples of it whose content
    is new since then: new ones, and replaced ones.
    """

    version: str
    before: Snapshot
    now: Snapshot
    new: Snapshot
    recent: tuple[Batch, ...] = ()
    """What the last versions brought, the newest first."""
    look: Callable[[Sequence[str]], Snapshot] | None = None
    """What is known of samples of the set as it is now, by their ids."""

    def pooled(self, least: int) -> tuple[Since, tuple[Batch, ...]]:
        """The same with so many batches of the last versions taken as new as it needs for `least`
        new samples; unchanged where they do not suffice.
        """
        if not 0 < len(self.new.samples) < least or self.look is None:
            return self, ()
        own = set(self.new.samples.ids)
        left = set(self.now.samples.ids) - own
        taken: list[Batch] = []
        for batch in self.recent:
            taken.append(
                Batch(batch.version, tuple(sample for sample in batch.ids if sample in left))
            )
            if len(own) + sum(len(one.ids) for one in taken) >= least:
                more = [sample for one in taken for sample in one.ids]
                return replace(
                    self,
                    before=self.before.without(pa.array(more, pa.string())),
                    new=self.look([*own, *more]),
                ), tuple(taken)
        return self, ()

    def comparable(self, name: str) -> bool:
        """Whether a fact was measured in the same way then and now."""
        return name in self.before.keys and self.before.keys[name] == self.now.keys.get(name)


def beside(now: Samples, before: Samples) -> dict[str, np.ndarray]:
    """How samples [n] are beside those of a version before, each bool [n].

    New, replaced, and either of them ("fresh").

    New is an id that was not there, unless the content was, under an id that is gone: that one was
    renamed. Replaced are samples that hold other bytes (or, of a row, other values) under an id
    that was there. What could not be read or measured then, and can be now, is fresh without being
    either.
    """
    ids, contents = (now.table.column(name).combine_chunks() for name in ("id", "content"))
    old_ids, old_contents = (
        before.table.column(name).combine_chunks() for name in ("id", "content")
    )
    at = pc.index_in(ids, value_set=old_ids)
    then, known = old_contents.take(at), at.is_valid()
    same = pc.or_(
        pc.fill_null(pc.equal(then, contents), False), pc.and_(then.is_null(), contents.is_null())
    )
    new = pc.invert(known).to_numpy(zero_copy_only=False).copy()
    first = pc.and_(known, pc.and_(then.is_null(), contents.is_valid())).to_numpy(
        zero_copy_only=False
    )
    replaced = pc.and_(known, pc.invert(same)).to_numpy(zero_copy_only=False) & ~first
    gone = Counter(
        old_contents.filter(pc.invert(pc.is_in(old_ids, value_set=ids))).drop_null().to_pylist()
    )
    rows = np.flatnonzero(new)
    for row, content in zip(rows.tolist(), contents.take(pa.array(rows)).to_pylist(), strict=True):
        if gone[content] > 0:
            gone[content] -= 1
            new[row] = False
    return {"new": new, "replaced": replaced, "fresh": new | replaced | first}
