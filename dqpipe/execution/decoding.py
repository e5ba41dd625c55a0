"""Reading and decoding of media, for workers, stages that reread media, and reports."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.data.media import Rendition
from dqpipe.errors import MediaError, SlowError
from dqpipe.execution.library_state import as_they_come
from dqpipe.execution.timeouts import TimedOut, within
from dqpipe.plugin.cache_key import chosen
from dqpipe.plugin.stage import Decoder, Preview, View
from dqpipe.storage import containers, media_bytes
from dqpipe.storage.checked_files import Inside, Within, made_up, opened, refuse_url
from dqpipe.storage.fact_store import Store, digest_json, trusted
from dqpipe.storage.location import Entry, is_url
from dqpipe.storage.paths import media_path

LARGEST_FILE = 1 << 30
"""Bytes."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
FOR_GOOD = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
}
"""Read errors that trying again does not cure."""


def read_bytes(path: str, within: Within = None) -> bytes:
    """The bytes of a file, tried three times where trying again may help.

    Raises OSError; MediaError if it is too large or not a regular file; OutsideError if it lies in
    none of the folders `within`.
    """
    if is_url(path):
        refuse_url(path, within)
        return media_bytes.read_bytes(path, LARGEST_FILE)
    for attempt in range(3):
        try:
            with os.fdopen(opened(path, within), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                _refuse_large(size)
                data = file.read(size + 1)
                if (
                    len(data) > size
                    # it grows, or is made up by the system: such files have no size and sometimes
                    # no end
                ):
                    data += file.read(LARGEST_FILE + 1 - len(data))
                if made_up(os.fstat(file.fileno()), len(data)):
                    raise MediaError("not a regular file but one of the system's, as in /proc")
            _refuse_large(len(data))
            return data  # noqa: TRY300 (one way out)
        except OSError as error:
            if error.errno in FOR_GOOD or attempt == 2:  # noqa: PLR2004
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError


def content_of(path: str, within: Within = None) -> str | None:
    """The hash of a file's bytes by which its facts are kept, 32 hex digits.

    None if it cannot be read.
    """
    try:
        return hashlib.blake2b(read_bytes(path, within), digest_size=16).hexdigest()
    except (OSError, MediaError):
        return None


def _refuse_large(size: int) -> None:
    if size > LARGEST_FILE:
        raise MediaError(
            f"the file has {size / 1e9:.1f} GB, above the limit of {LARGEST_FILE / 1e9:.1f} GB"
        )


def decode(decoders: Sequence[Decoder], data: bytes, rendition: Rendition) -> Any:  # noqa: ANN401
    """Decode bytes by the first decoder for their kind.

    Raises MediaError; SlowError if it takes too long.
    """
    if not data:
        raise MediaError("the file is empty (0 bytes)")
    decoder = chosen(decoders, data) or next(
        iter(decoders), None
    )  # the first one says what the bytes are instead
    if decoder is None:
        raise MediaError("no installed decoder reads media")
    try:
        with within(decoder.timeout):
            return decoder.decode(data, rendition)
    except MediaError:
        raise
    except TimedOut as error:
        raise SlowError(f"decoding it takes {error}") from None
    except Exception as error:  # noqa: BLE001 (a decoder meets whatever there is; one file is no reason to end a run)
        raise MediaError(
            f"the decoder {decoder.name} failed with {type(error).__name__}: {error}"[:500]
        ) from None


def view_of(views: Sequence[View], item: object) -> View | None:
    """The first view that shows such a rendition."""
    return next((view for view in views if isinstance(item, view.shows)), None)


@dataclass(frozen=True)
class Rereader:
    """The `pixels` handed to `relate`.

    Decodes named samples of a dataset again, and counts them under the stage's name.
    """

    dataset: Dataset
    decoders: Sequence[Decoder]
    counts: dict[str, int]
    name: str
    store: Store | None = None
    key: Any = None
    """What tells apart stages that see other things in a sample, as JSON values."""
    seen: Sequence[str | None] = ()
    """By row of the dataset, the key of what is seen of it (see `dqpipe.plugin.cache_key`)."""
    views: Sequence[View] = ()
    """How what is decoded can be shown."""

    @cached_property
    def where(self) -> dict[str, str]:
        """Sample id → path or URL of its media.

        Computed once (half a second for a million samples).
        """
        return dict(zip(self.dataset.samples.ids, self.dataset.samples["media"], strict=True))

    def __call__(self, ids: Sequence[str], rendition: Rendition = "full") -> list[Any]:
        """The renditions, one for each id. Raises MediaError, OSError, KeyError."""
        self.counts[self.name] = self.counts.get(self.name, 0) + len(ids)
        within = self.dataset.within
        return [
            decode(
                self.decoders,
                read_bytes(media_path(self.dataset.root, self.where[i]), within),
                rendition,
            )
            for i in ids
        ]

    def preview(
        self, sample: str, side: int, quality: int, *, parts: Collection[str] = ()
    ) -> Preview | None:
        """What a page shows of a sample. Raises MediaError, OSError, KeyError."""
        item = self([sample], "picture")[0]
        view = view_of(self.views, item)
        if view is None:
            return None
        if shapes := self._objects(sample):
            item = view.marked(item, shapes, parts)
        return view.preview(item, side, quality)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Sample id → row, where labels are objects; else nothing."""
        samples = self.dataset.samples
        if "label" not in samples or labels.kind_in(samples) != "objects":
            return {}
        return {name: row for row, name in enumerate(samples.ids)}

    def _objects(self, sample: str) -> list[dict[str, Any]]:
        """The objects of a sample; none where labels are no objects."""
        row = self._rows.get(sample)
        return [] if row is None else self.dataset.samples.table["label"][row].as_py() or []

    def difference(self, sample: str, match: str, side: int, quality: int) -> Preview | None:
        """Where a sample differs from its match. Raises MediaError, OSError, KeyError."""
        item, other = self([sample], "picture")[0], self([match], "picture")[0]
        view = view_of(self.views, item)
        return None if view is None else view.difference(item, other, side, quality)

    def strip(self, ids: Sequence[str], side: int) -> Preview | None:
        """Some samples side by side. Raises MediaError, OSError, KeyError."""
        items = self(ids, "picture")
        views = {view_of(self.views, item) for item in items}
        view = next(iter(views)) if len(views) == 1 else None
        return None if view is None else view.strip(items, side)

    def cached_per_content(
        self, ids: Sequence[str], told: Callable[[Any], str], rendition: Rendition = "full"
    ) -> list[str]:
        """Apply a function to each rendition.

        Its results are kept in the store by content and decoder. Raises MediaError.
        """
        import pyarrow as pa

        seen = dict(
            zip(self.dataset.samples.ids, self.seen or [None] * len(self.dataset), strict=True)
        )
        wanted = [seen[sample] or sample for sample in ids]
        key = digest_json(["once", self.key, told.__module__, told.__qualname__, rendition])
        known: dict[str, str] = {}
        if self.store is not None:
            self.store.heal({key: ()})
            table = self.store.read_facts(key, wanted, ["told"])
            known = (
                {}
                if table is None
                else {
                    c: text
                    for c, text in zip(wanted, table.column("told").to_pylist(), strict=True)
                    if text is not None
                }
            )
        fresh = {}
        for sample, one in zip(ids, wanted, strict=True):
            if one not in known:
                known[one] = told(self([sample], rendition)[0])
                if seen[sample] is not None:
                    fresh[one] = known[one]
        if self.store is not None and fresh:
            self.store.write_facts(
                key,
                list(fresh),
                pa.table({"told": pa.array(list(fresh.values()), pa.string())}),
                {},
            )
        return [known[c] for c in wanted]


@cache
def keep_memory() -> None:
    """Have the C library keep freed memory for the next files.

    Glibc gives it back and asks again, a tenth of the time of measuring.

    Elsewhere nothing is done. Blocks above 4 MiB are given back at once, as before; of the others,
    at most 64 MiB stay.
    """
    import ctypes

    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option:
        for option, size in ((MMAP_THRESHOLD, 4 << 20), (TRIM_THRESHOLD, 64 << 20)):
            set_option(option, size)


class _Threads:
    """The number of threads of numpy, torch and the decoders' libraries in this process.

    The user's numbers are restored when the last block ends.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.asked: list[int] = []
        """By the blocks that are open now, in order."""
        self.torch: int | None = None
        """The user's number."""
        self.modalities: dict[type[Decoder], tuple[Decoder, int]] = {}
        """The decoders that were named since the first open block, with the numbers before."""
        self.pools: Any = None

    def enter(self, count: int, decoders: Sequence[Decoder]) -> None:
        """Set them."""
        with self.lock:
            torch = sys.modules.get("torch")
            if torch and self.torch is None:  # it may be loaded meanwhile
                self.torch = torch.get_num_threads()
            for decoder in decoders:
                if type(decoder) not in self.modalities:
                    self.modalities[type(decoder)] = decoder, decoder.set_threads(count)
            self.asked.append(count)
            self._set(count)

    def leave(self, count: int) -> None:
        """Set the numbers of the innermost open block, or the user's."""
        with self.lock:
            self.asked.reverse()
            self.asked.remove(count)
            self.asked.reverse()
            self._set(self.asked[-1] if self.asked else None)
            if not self.asked:
                self.torch = None
                self.modalities.clear()

    def _set(self, count: int | None) -> None:
        from threadpoolctl import threadpool_limits

        for decoder, users in reversed(self.modalities.values()):
            decoder.set_threads(users if count is None else count)
        torch, of_torch = sys.modules.get("torch"), self.torch if count is None else count
        if torch and of_torch is not None:
            torch.set_num_threads(of_torch)
        if self.pools is not None and self.pools[0] != count:
            self.pools[1].restore_original_limits()
            self.pools = None
        if count is not None and self.pools is None:
            self.pools = count, threadpool_limits(count)


_THREADS = _Threads()


RELATE_THREADS = 2
"""A fixed number, not that of the machine: sums in another order give other bits."""


@contextmanager
def one_thread(count: int = 1, decoders: Sequence[Decoder] = ()) -> Any:  # noqa: ANN401
    """A fixed number of threads and default settings of libraries, those of the decoders too.

    Results do not depend on the user's, and workers do not compete.
    """
    _THREADS.enter(count, decoders)
    try:
        with as_they_come():
            yield
    finally:
        _THREADS.leave(count)


def stat_contents(
    dataset: Dataset, index: Mapping[str, tuple[int, str, str]]
) -> tuple[list[str | None], dict[str, Entry]]:
    """The indexed content of unchanged files, and size and tag of every file inside the dataset."""
    listed = media_bytes.listed(dataset.root) if is_url(dataset.root) else None
    inside = Inside(dataset.within)
    contents: list[str | None] = []
    stats: dict[str, Entry] = {}
    for reference in dataset.samples["media"].tolist():
        if reference is None:
            contents.append(None)
            continue
        path = media_path(dataset.root, reference)
        try:
            if not inside.holds(path):
                contents.append(None)
                continue
            stats[path] = _stat(path) if listed is None or not is_url(path) else listed[path]
        except (OSError, ValueError, KeyError):  # a NUL character; a file that is not there
            contents.append(None)
            continue
        contents.append(trusted(index.get(path), stats[path]))
    return contents, stats


def _stat(path: str) -> Entry:
    meant = containers.address(path)
    found = os.stat(os.fsencode(meant.container if meant else path))  # noqa: PTH116
    if meant:
        return Entry(
            found.st_size, f"{found.st_mtime_ns}-{found.st_ino}!{meant.member}", found.st_mtime_ns
        )
    return Entry(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}", found.st_mtime_ns)
