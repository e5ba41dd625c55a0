"""Two versions of a dataset beside each other: what the last published one held, what there is now, what of it is new.

A snapshot keeps all ids, contents, labels, splits and groups, and of a seeded part of the samples what was measured of them:
so much is enough to compare by, it does not grow with the dataset, and it stays with its version whatever becomes of the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dqpipe.model import Facts, Samples


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Samples, and what some of them look like.

    `samples` are all: id, content, and label, split and group where there are any. `facts` are the scalars of some of them (an
    id, the user's own columns, and what was measured, under its full name), `vectors` float or uint8 [k, d] of fewer. `keys`
    has for each fact and vector a text that is another one when it is measured in another way.
    """

    samples: Samples
    facts: Facts
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Since:
    """The last published version, the whole set as it is now, and those samples of it that are new since then."""

    version: str
    before: Snapshot
    now: Snapshot
    new: Snapshot

    def comparable(self, name: str) -> bool:
        """Whether a fact was measured in the same way then and now."""
        return name in self.before.keys and self.before.keys[name] == self.now.keys.get(name)


def fresh(now: Samples, before: Samples) -> np.ndarray:
    """[n] bool: samples that are new. One whose content was there under an id that is gone was renamed, and is not new."""
    import pyarrow.compute as pc

    ids, contents = (now.table.column(name).combine_chunks() for name in ("id", "content"))
    old_ids, old_contents = (before.table.column(name).combine_chunks() for name in ("id", "content"))
    same = pc.fill_null(pc.equal(old_contents.take(pc.index_in(ids, value_set=old_ids)), contents), False)
    new = pc.and_(pc.invert(same), contents.is_valid()).to_numpy(zero_copy_only=False).copy()
    gone = Counter(old_contents.filter(pc.invert(pc.is_in(old_ids, value_set=ids))).to_pylist())
    rows = np.flatnonzero(new)
    for row, content in zip(rows.tolist(), contents.take(pa.array(rows)).to_pylist(), strict=True):
        if gone[content] > 0:
            gone[content] -= 1
            new[row] = False
    return new
