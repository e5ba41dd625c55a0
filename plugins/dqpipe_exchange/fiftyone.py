"""FiftyOne: samples.json with the tags, labels and suggestions of every sample, and a script that
puts them on a dataset.

A sample is what `fiftyone.Sample.from_dict` takes (docs.voxel51.com/api/fiftyone.core.sample.html),
in the layout of `fiftyone.types.LegacyFiftyOneDataset`, {"samples": [S, …]}:

    S = {"filepath": PATH, "tags": [TAG, …], "ground_truth": {"_cls": "Classification", "label":
        NAME}, "dqpipe_suggestion": {…, "confidence": P}}
"""

from __future__ import annotations

from typing import Any

from dqpipe import Exchange, Handed, HandedOver, Media, Written, extension
from dqpipe_exchange.outgoing import as_json, tags_of
from dqpipe_exchange.tagging import tags, with_media

SCRIPT = '''"""Put what dqpipe found on a FiftyOne dataset: python tag.py DATASET (a new one of this name if there is none)."""

import json
import sys
from pathlib import Path

import fiftyone as fo

name = sys.argv[1] if len(sys.argv) > 1 else "dqpipe"
samples = json.loads(Path(__file__).with_name("samples.json").read_text(encoding="utf-8"))["samples"]
if not fo.dataset_exists(name):
    dataset = fo.Dataset(name, persistent=True)
    dataset.add_samples([fo.Sample.from_dict(one) for one in samples])
    print(f"{name}: samples: {len(samples)}")
else:
    dataset = fo.load_dataset(name)
    tags = {}
    for one in samples:
        tags.setdefault(one["filepath"], set()).update(one["tags"])
    tagged = 0
    for sample in dataset.iter_samples(autosave=True):
        new = tags.get(sample.filepath)
        if new:
            sample.tags = [tag for tag in sample.tags if not tag.startswith("dqpipe:")] + sorted(new)
            tagged += 1
    print(f"{name}: files that are in it and have their tags: {tagged} of {len(tags)}")
'''  # noqa: E501


@extension
class FiftyOne(Exchange):
    """Tags, labels and suggestions of every sample for FiftyOne, and a script that sets them."""

    name = "fiftyone"

    def write(self, queue: HandedOver, media: Media) -> Written:
        """The samples and the script. Raises ConfigError."""
        found = with_media(queue, media)
        samples = [
            {"filepath": path, "tags": tags(item), **_labels(queue, item)} for path, item in found
        ]
        files = {"samples.json": as_json({"samples": samples}), "tag.py": SCRIPT.encode()}
        without = len(queue.items) - len(found)
        left = {"have no media": without} if without else {}
        return Written(
            files,
            [
                (
                    "where FiftyOne is installed: python tag.py DATASET (tags that begin with "
                    "dqpipe: are replaced)"
                )
            ],
            left,
        )


def _labels(queue: HandedOver, item: Handed) -> dict[str, Any]:
    _, confidence, suggestion = item.asked
    fields: dict[str, Any] = {"dqpipe_id": item.id}
    if (label := _label(queue, item.label)) is not None:
        fields["ground_truth"] = label
    if (label := _label(queue, suggestion)) is not None:
        fields["dqpipe_suggestion"] = (
            label
            if confidence is None or queue.kind != "classes"
            else label | {"confidence": confidence}
        )
    return fields


def _label(queue: HandedOver, label: str | None) -> dict[str, Any] | None:
    if label is None or queue.kind not in ("classes", "tags", "numbers"):
        return None
    if queue.kind == "numbers":
        return {"_cls": "Regression", "value": float(label)}
    every = [{"_cls": "Classification", "label": name} for name in tags_of(queue, label)]
    return (
        {"_cls": "Classifications", "classifications": every}
        if queue.kind == "tags"
        else next(iter(every), None)
    )
