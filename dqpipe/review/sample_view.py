"""What the review page can show of a version's samples.

Pictures, table rows, and nearest neighbours.

Samples are requested by row, so that no other file can be read: a picture is decoded and encoded
again, and only if its file has not changed since the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.data import labels
from dqpipe.data.labels import label_text
from dqpipe.data.nearest import unit
from dqpipe.errors import DqpipeError, MediaError
from dqpipe.execution.decoding import decode, read_bytes, view_of
from dqpipe.plugin.cache_key import split
from dqpipe.plugin.stage import Decoder, Preview, View
from dqpipe.results.versions import Version
from dqpipe.review.rulings import as_given
from dqpipe.storage.fact_store import Store, shuffle_key
from dqpipe.storage.location import is_url
from dqpipe.storage.paths import media_path

log = logging.getLogger(__name__)
SIDES = (160, 320, 1280)
"""Longer sides of the pictures that can be requested."""
CACHED, QUALITY = 400, 90
"""Encoded pictures that are cached in memory."""
PEERS, AMONG = 4, 500
"""Typical members that are shown of a class, and the members that they are chosen from."""
LONGEST = 2000
"""Letters of a cell."""


class SampleView:
    """The samples of a version as the page shows them."""

    def __init__(
        self, version: Version, decoders: Sequence[Decoder], views: Sequence[View] = ()
    ) -> None:
        self.version, self.decoders, self.views = version, decoders, views
        self.samples = version.samples
        self.ids: list[str] = self.samples.table.column("id").to_pylist()
        self.contents: list[str | None] = self.samples.table.column("content").to_pylist()
        self.labels: list[Any] = (
            self.samples.table.column("label").to_pylist()
            if "label" in self.samples
            else [None] * len(self.ids)
        )
        self.row = {sample: row for row, sample in enumerate(self.ids)}
        self._table = version.shown
        self._root = (
            (self._table.schema.metadata or {}).get(b"root", b"").decode("utf-8", "surrogateescape")
        )
        self._units: dict[int, np.ndarray | None] = {}
        self.picture = lru_cache(CACHED)(self._picture)

    @cached_property
    def classes(self) -> dict[str, list[int]]:
        """Label as text → the rows with it; empty where labels are not classes."""
        found: dict[str, list[int]] = {}
        if labels.kind_in(self.samples) not in ("class", "tags"):
            return found
        for row, label in enumerate(self.labels):
            if label is not None and (text := as_given(label)) is not None:
                found.setdefault(text, []).append(row)
        return found

    @cached_property
    def unreadable(self) -> dict[int, str]:
        """Rows whose media could not be decoded, and why."""
        facts = self.version.facts
        if "media.ok" not in facts:
            return {}
        columns = (
            facts.table.column(name).to_pylist() for name in ("id", "media.ok", "media.error")
        )
        return {
            self.row[sample]: why or "it could not be decoded"
            for sample, ok, why in zip(*columns, strict=True)
            if not ok
        }

    def has_picture(self, row: int) -> bool:
        """Whether a sample has media that could be decoded."""
        return (
            "media" in self._table.column_names
            and self._media(row) is not None
            and row not in self.unreadable
        )

    def cells(self, row: int) -> dict[str, str]:
        """The user's own columns of a sample, as text."""
        names = [name for name in self._table.column_names if name not in ("id", "media")]
        values = {name: self._table.column(name)[row].as_py() for name in names}
        return {
            name: str(label_text(value))[:LONGEST]
            for name, value in values.items()
            if value is not None
        }

    def _media(self, row: int) -> str | None:
        return self._table.column("media")[row].as_py()

    def _picture(self, row: int, side: int) -> Preview:
        """What is shown of a sample, at most `side` pixels wide and high.

        Raises MediaError, OSError.
        """
        media = self._media(row)
        if media is None or not self.has_picture(row):
            raise MediaError(self.unreadable.get(row, "there is no picture"))
        data = read_bytes(media_path(self._root, media))
        if hashlib.blake2b(data, digest_size=16).hexdigest() != self.contents[row]:
            raise MediaError("the file has changed since the run: run again")
        item = decode(self.decoders, data, "picture" if side <= SIDES[0] else "full")
        if (view := view_of(self.views, item)) is None:
            raise MediaError(f"no installed view shows a {type(item).__name__}")
        if self._objects and self.labels[row]:
            item = view.marked(item, self.labels[row], self._parts.get(self.ids[row], ()))
        return view.preview(item, side, QUALITY, enlarge=False)

    @cached_property
    def _objects(self) -> bool:
        """Whether labels are objects."""
        return "label" in self.samples and labels.kind_in(self.samples) == "objects"

    @cached_property
    def _parts(self) -> dict[str, set[str]]:
        """Sample id → its objects that findings are about."""
        found: dict[str, set[str]] = {}
        table = self.version.findings.table
        if "part" in table.column_names:
            for name, part in zip(
                table.column("id").to_pylist(), table.column("part").to_pylist(), strict=True
            ):
                if name is not None and part is not None:
                    found.setdefault(name, set()).add(part)
        return found

    # neighbours -----------------------------------------------------------------------------------

    @cached_property
    def _stored(self) -> tuple[Store, str, str, dict[str, str]] | None:
        """The stored embedding: store, key, fact, and the sample keys of the contents that have
        vectors; None where there is none.
        """
        try:
            metadata = self.version.table("snapshot").schema.metadata or {}
            keys, names = (json.loads(metadata.get(name, b"{}")) for name in (b"keys", b"vectors"))
            place = self.version.record["config"]["outputs"].get("store")
            floats = [
                name
                for name in names
                if name in keys
                and pa.types.is_floating(
                    self.version.table(f"vectors-{name}").schema.field(0).type.value_type
                )
            ]
            out = self.version.place.local
            where = (
                place
                if place and (is_url(place) or Path(place).is_absolute())
                else (out / "store" if out is not None and not place else None)
            )
            if not floats or where is None:
                return None
            store, key = Store(where), keys[floats[0]]
            return (
                store,
                key,
                floats[0].partition(".")[2],
                {split(one)[0]: one for one in sorted(store.keys(key))},
            )  # whoever decoded it
        except (OSError, DqpipeError, pa.ArrowException, KeyError, ValueError) as error:
            log.info("no neighbours are shown: %s: %s", type(error).__name__, error)
            return None

    def prepare(self, rows: Sequence[int]) -> None:
        """Read the vectors of samples in advance, in one pass."""
        if self._stored is None:
            return
        store, key, fact, has = self._stored
        wanted = [row for row in rows if row not in self._units]
        able = [(row, has[content]) for row in wanted if (content := self.contents[row]) in has]
        self._units |= dict.fromkeys(wanted)
        if able:
            found = store.read_vectors(key, [one for _, one in able], fact)
            assert found is not None
            self._units |= zip(
                (row for row, _ in able), unit(found.astype(np.float32)), strict=True
            )

    def vector(self, row: int) -> np.ndarray | None:
        """The unit vector of a sample in the embedding; None without one."""
        self.prepare([row])
        return self._units.get(row)

    def peers(self, row: int, label: str, but: frozenset[int]) -> list[int]:
        """The members of a class nearest to a sample in the embedding, among some of the class,
        without the rows `but`.
        """
        return self.nearest(row, self._members(label, but))[:PEERS]

    def nearest(self, row: int, members: Sequence[int]) -> list[int]:
        """The members without the sample itself, the most similar first.

        In their own order where there is no embedding.
        """
        self.prepare(members)
        able, own = [member for member in members if member != row], self.vector(row)
        if own is not None:
            known = {
                member: vector for member in able if (vector := self.vector(member)) is not None
            }
            able.sort(key=lambda member: -float(known[member] @ own) if member in known else 2.0)
        return able

    @lru_cache(maxsize=256)  # noqa: B019 (one for each server)
    def _members(self, label: str, but: frozenset[int]) -> list[int]:
        members = [
            row
            for row in self.classes.get(label, ())
            if row not in but and row not in self.unreadable
        ]
        some = sorted(members, key=lambda row: shuffle_key(0, self.ids[row]))[:AMONG]
        self.prepare(some)
        return some
