"""LightlyStudio: tags.json with the tags of every file, and a script that puts them on a dataset.

LightlyStudio reads no tags from a file; its Python interface sets them: `sample.file_path_abs`,
`sample.tags`, `sample.add_tag(name)`, `sample.remove_tag(name)` of the samples of an `ImageDataset`
(docs.lightly.ai/studio/concepts_and_tools/tags).

    {"samples": [{"file_path_abs": PATH, "tags": [TAG, …]}, …]}
"""

from __future__ import annotations

from dqpipe import Exchange, HandedOver, Media, Written, extension
from dqpipe_exchange.outgoing import as_json
from dqpipe_exchange.tagging import tags, with_media

SCRIPT = '''"""Put what dqpipe found on a LightlyStudio dataset: python tag.py [lightly_studio.db]."""

import json
import sys
from pathlib import Path

import lightly_studio as ls
from lightly_studio import db_manager

if len(sys.argv) > 1:
    db_manager.connect(db_file=sys.argv[1])
samples = json.loads(Path(__file__).with_name("tags.json").read_text(encoding="utf-8"))["samples"]
tags = {one["file_path_abs"]: set(one["tags"]) for one in samples}
tagged = 0
for sample in ls.ImageDataset.load():
    new = tags.get(sample.file_path_abs)
    if new is None:
        continue
    for tag in sample.tags - new:
        if tag.startswith("dqpipe:"):
            sample.remove_tag(tag)
    for tag in sorted(new - sample.tags):
        sample.add_tag(tag)
    tagged += 1
print(f"files that are in it and have their tags: {tagged} of {len(tags)}")
'''  # noqa: E501


@extension
class Lightly(Exchange):
    """Tags of every file for LightlyStudio, and a script that sets them."""

    name = "lightly"

    def write(self, queue: HandedOver, media: Media) -> Written:
        """The tags and the script. Raises ConfigError."""
        found = with_media(queue, media)
        every: dict[str, set[str]] = {}
        for path, item in found:
            every.setdefault(path, set()).update(tags(item))
        samples = [{"file_path_abs": path, "tags": sorted(names)} for path, names in every.items()]
        without = len(queue.items) - len(found)
        left = {"have no media": without} if without else {}
        steps = [
            (
                "where LightlyStudio is installed: python tag.py (tags that begin with dqpipe: are "
                "replaced)"
            )
        ]
        return Written(
            {"tags.json": as_json({"samples": samples}), "tag.py": SCRIPT.encode()}, steps, left
        )
