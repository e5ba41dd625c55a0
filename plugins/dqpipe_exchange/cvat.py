r"""CVAT: annotations.xml ("CVAT for images 1.1") both ways, labels.json for the task, and
manifest.jsonl.

"XML annotation format", version 1.1, mode annotation
(docs.cvat.ai/docs/manual/advanced/xml_format):

    <annotations><version>1.1</version><meta><task>…<labels><label><name/><attributes><attribute><name/><mutable/><input_type/>
      <default_value/><values/></attribute>…</label></labels></task></meta>
      <image id="N" name="PATH" width="N" height="N"><tag label="NAME" source="manual or
          auto"><attribute name="NAME">VALUE</attribute>…</tag></image>

labels.json is what the constructor of labels takes as "Raw"; manifest.jsonl is a "Dataset manifest"
for images (docs.cvat.ai/docs/manual/advanced/dataset_manifest): {"version"}, {"type": "images"},
then {"name", "extension", "width", "height"}.

An image has a tag with its label. A reviewer changes its label, or sets its attribute `verdict` to
keep, drop or skip; a tag as it was says nothing. Text attributes hold JSON strings, so that any
name survives.
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from typing import Any

from dqpipe import (
    Answer,
    ConfigError,
    DatasetError,
    Exchange,
    Handed,
    HandedOver,
    Media,
    Ruling,
    Written,
    extension,
    media_path,
)
from dqpipe_exchange.outgoing import NO_XML, as_json, asked_of, label_said, tags_of, xml
from dqpipe_exchange.parsing import parse_xml

UNSEEN = "unseen"
SAID = (UNSEEN, "keep", "drop", "skip")
KEPT = ("id", "content", "label", "code", "suggestion", "reviewer", "time")
"""Text attributes of a tag."""


@extension
class Cvat(Exchange):
    """CVAT's annotations for images 1.1 both ways, with the labels of a task and a manifest."""

    name = "cvat"
    answers = True
    endings = (".xml",)

    def write(self, queue: HandedOver, media: Media) -> Written:
        """Annotations, labels, and a manifest where all sizes are known. Raises ConfigError."""
        if queue.kind not in ("classes", "tags"):
            raise ConfigError(
                f"these labels are {queue.kind}, which CVAT's tags cannot say: hand them over as "
                f"csv"
            )
        from dqpipe_images import shown_size  # other formats work where that does not load

        left = {"have no media": sum(item.media is None for item in queue.items)}
        named = [
            (media.relative(queue, item), item) for item in queue.items if item.media is not None
        ]
        left["have a name that XML cannot hold"] = sum(
            bool(NO_XML.search(name)) for name, _ in named
        )
        images: dict[str, list[Handed]] = defaultdict(list)
        for name, item in sorted(named, key=lambda pair: pair[0]):
            if not NO_XML.search(name):
                images[name].append(item)
        sizes = {
            name: shown_size(media_path(queue.root, items[0].media or ""))
            for name, items in images.items()
        }
        body = [
            _image(queue, number, name, items, sizes[name])
            for number, (name, items) in enumerate(images.items())
        ]
        document = [
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n',
            _meta(queue, len(body)),
            *body,
            "</annotations>\n",
        ]
        files = {
            "annotations.xml": "".join(document).encode(),
            "labels.json": as_json(_labels(queue), indent=1),
        }
        if all(sizes.values()):
            files["manifest.jsonl"] = _manifest(
                {name: wide for name, wide in sizes.items() if wide is not None}
            )
        steps = [
            (
                "CVAT: a task of these images (named from the dataset's folder) with labels.json "
                "as its raw labels; then Upload annotations, CVAT 1.1"
            ),
            (
                "afterwards: Export annotations, CVAT for images 1.1, unpack it, then dqpipe "
                "import annotations.xml --reviewer NAME"
            ),
        ]
        return Written(files, steps, {why: n for why, n in left.items() if n})

    def read(self, data: bytes) -> list[Answer]:
        """The answers of an XML file. Raises DatasetError."""
        reader = _Reader()
        parse_xml(data, reader.start, reader.end)
        if not reader.root:
            raise DatasetError("this is no annotation file of CVAT: <annotations> is wanted")
        if reader.tracks and not reader.images:
            raise DatasetError("this is CVAT for video: export as CVAT for images 1.1")
        return [answer for name, tags in reader.images for answer in _answers(name, tags)]


# write --------------------------------------------------------------------------------------------


def _image(
    queue: HandedOver, number: int, name: str, items: list[Handed], wide: tuple[int, int] | None
) -> str:
    extent = "" if wide is None else f' width="{wide[0]}" height="{wide[1]}"'
    tags = [
        tag
        for item in items
        for verdict in item.said or (None,)
        for tag in _tags(queue, item, verdict)
    ]
    return f'  <image id="{number}" name="{xml(name)}"{extent}>\n{"".join(tags)}  </image>\n'


def _tags(queue: HandedOver, item: Handed, verdict: Ruling | None) -> list[str]:
    answer = UNSEEN if verdict is None or verdict.verdict == "relabel" else verdict.verdict
    asked = asked_of(item)
    kept = {
        "id": item.id,
        "content": item.content,
        "label": item.label,
        "code": asked["code"],
        "suggestion": asked["suggestion"],
        "reviewer": verdict and verdict.reviewer,
        "time": verdict and verdict.time,
    }
    cells = [("verdict", answer), *((name, json.dumps(value)) for name, value in kept.items())]
    inside = "".join(
        f'      <attribute name="{name}">{xml(cell)}</attribute>\n' for name, cell in cells
    )
    label = item.label if verdict is None else label_said(item, verdict)
    source = "auto" if verdict is None else "manual"
    return [
        f'    <tag label="{xml(one)}" source="{source}">\n{inside}    </tag>\n'
        for one in tags_of(queue, label)
    ]


def _attributes() -> list[dict[str, Any]]:
    attribute = {
        "name": "verdict",
        "mutable": False,
        "input_type": "radio",
        "default_value": UNSEEN,
        "values": list(SAID),
    }
    return [
        attribute,
        *(
            {
                "name": name,
                "mutable": False,
                "input_type": "text",
                "default_value": "null",
                "values": ["null"],
            }
            for name in KEPT
        ),
    ]


def _labels(queue: HandedOver) -> list[dict[str, Any]]:
    return [{"name": name, "type": "tag", "attributes": _attributes()} for name in queue.classes]


def _meta(queue: HandedOver, images: int) -> str:
    attributes = "".join(
        f"<attribute><name>{one['name']}</name><mutable>False</mutable><input_type>{one['input_type']}</input_type>"
        f"<default_value>{one['default_value']}</default_value><values>{xml(chr(10).join(one['values']))}</values></attribute>"
        for one in _attributes()
    )
    labels = "".join(
        (
            f"        "
            f"<label><name>{xml(name)}</name><type>tag</type><attributes>{attributes}</attributes></label>\n"
        )
        for name in queue.classes
    )
    return f"""  <version>1.1</version>
  <meta>
    <task>
      <name>dqpipe {xml(queue.version)}</name>
      <size>{images}</size>
      <mode>annotation</mode>
      <overlap>0</overlap>
      <flipped>False</flipped>
      <labels>
{labels}      </labels>
    </task>
  </meta>
"""


def _manifest(sizes: dict[str, tuple[int, int]]) -> bytes:
    lines: list[dict[str, Any]] = [{"version": "1.1"}, {"type": "images"}]
    for name, (width, height) in sizes.items():
        stem, extension = posixpath.splitext(name)
        lines.append({"name": stem, "extension": extension, "width": width, "height": height})
    return b"".join(as_json(line) for line in lines)


# read ---------------------------------------------------------------------------------------------


class _Reader:
    """Images by name, each with its tags: (label, attributes)."""

    def __init__(self) -> None:
        self.images: list[tuple[str, list[tuple[str, dict[str, str]]]]] = []
        self.root = self.tracks = False
        self.within: list[str] = []
        self.attribute = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.root |= not self.within and name == "annotations"
        self.within.append(name)
        if name == "track":
            self.tracks = True
        elif name == "image":
            self.images.append((attributes.get("name", ""), []))
        elif name == "tag" and self.within[-2:-1] == ["image"]:
            self.images[-1][1].append((attributes.get("label", ""), {}))
        elif name == "attribute":
            self.attribute = attributes.get("name", "")

    def end(self, name: str, text: str) -> None:
        self.within.pop()
        if (
            name == "attribute"
            and self.within[-1:] == ["tag"]
            and self.images
            and self.images[-1][1]
        ):
            self.images[-1][1][-1][1][self.attribute] = text


def _answers(name: str, tags: list[tuple[str, dict[str, str]]]) -> list[Answer]:
    """The answers of one image: of each sample that it is, and each reviewer."""
    parsed = [
        (label, {key: _text(value) if key in KEPT else value for key, value in attributes.items()})
        for label, attributes in tags
    ]
    ids = {about["id"] for _, about in parsed if about.get("id") is not None}
    only = next(iter(ids)) if len(ids) == 1 else None
    groups: dict[tuple[str | None, str | None], list[tuple[str, dict[str, Any]]]] = defaultdict(
        list
    )
    for label, about in parsed:
        groups[about.get("id") or only, about.get("reviewer")].append((label, about))
    return [
        _answer(name, sample, reviewer, group) for (sample, reviewer), group in groups.items()
    ] or [Answer(f"image {name}", media=name)]


def _answer(
    name: str, sample: str | None, reviewer: str | None, group: list[tuple[str, dict[str, Any]]]
) -> Answer:
    first: dict[str, Any] = next((about for _, about in group if about.get("id") is not None), {})
    answers = {about.get("verdict", "").strip() for _, about in group} - {"", UNSEEN}
    where, chosen = f"image {name}", tuple(dict.fromkeys(label for label, _ in group))
    problem = "has two answers" if len(answers) > 1 else None
    given, verdict = first.get("label"), answers.pop() if answers else None
    quiet = (
        verdict is None and "label" in first and _same(chosen, given)
    )  # as it was handed over: nobody said anything
    fields: dict[str, Any] = {key: first.get(key) for key in ("content", "code", "time")}
    fields |= {
        "verdict": verdict,
        "chosen": None if quiet else chosen,
        "reviewer": reviewer,
        "problem": problem,
    }
    return Answer(where, sample, name, given=given, knows_given="label" in first, **fields)


def _same(chosen: tuple[str, ...], given: str | None) -> bool:
    if chosen == (given,):
        return True
    try:
        tags = json.loads(given or "")
    except ValueError:
        return False
    return isinstance(tags, list) and sorted(map(str, tags)) == sorted(chosen)


def _text(value: str) -> str | None:
    """The JSON string of a text attribute; what a person typed there is taken as it is."""
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value or None
    return parsed if isinstance(parsed, str) else None
