"""Which facts of a store are of contents that a dataset still holds."""

from __future__ import annotations

import uuid

from dqpipe.config import plan
from dqpipe.config.pipeline_file import Config
from dqpipe.data.row_content import row_contents
from dqpipe.engine.fact_table import sample_keys
from dqpipe.engine.measuring import known_task
from dqpipe.engine.run import read
from dqpipe.engine.shard import MEDIA_KEY, judged
from dqpipe.errors import OutputError, listed
from dqpipe.execution import decoding
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.cache_key import Decoding
from dqpipe.storage import maintenance
from dqpipe.storage.fact_store import Store


def forget_gone(store: Store, config: Config, *, dry_run: bool) -> tuple[int, int]:
    """Forget what was measured of contents that the dataset does not hold any more.

    How many contents, and the bytes freed.

    A file that changed since the last run counts as gone until it is measured; so do samples that a
    run makes itself. Raises OutputError if other outputs use the store: their datasets are not
    known here.
    """
    others = sorted(
        {use.output for use in maintenance.uses_of(store, store.place.entries("used"))}
        - {str(config.out)}
    )
    if others:
        raise OutputError(
            f"the facts store is shared with {listed(others, 3)}: what their datasets hold is not "
            f"known here; leave --gone out"
        )
    registry = plugins.load()
    dataset = read(config, registry, config.source)
    made = plan.make(config, registry, dataset)
    samples = dataset.samples
    contents: list[str | None] = list(samples["content"])
    if "media" in samples:
        found, _ = decoding.stat_contents(dataset, store.index())
        contents = [given or content for given, content in zip(contents, found, strict=True)]
    if "media" not in samples or any(media is None for media in samples["media"]):
        contents = [
            given or row for given, row in zip(contents, row_contents(samples), strict=True)
        ]
    import pyarrow as pa

    table = samples.table.set_column(
        samples.table.column_names.index("content"), "content", pa.array(contents, pa.string())
    )
    seen = judged(store, Decoding(made.decoders), f"gone {uuid.uuid4().hex}").keys_of(contents)
    keys = {MEDIA_KEY: frozenset(key for key in seen if key)}
    for planned in made.doing("measure"):
        task = known_task(store, planned, config.seed)
        keys[task.key] = frozenset(key for key in sample_keys(task, table, seen) if key)
    counts = [
        maintenance.keep_only(store, key, wanted, dry_run=dry_run) for key, wanted in keys.items()
    ]
    return max((gone for gone, _ in counts), default=0), sum(freed for _, freed in counts)
