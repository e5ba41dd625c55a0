"""Pascal VOC: an XML file of objects for each picture, lists of names for the splits, and masks.

Read and written with nothing else changed.
"""

# names stay as the system gives them; Path would make an object of each
from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

import pyarrow as pa

from dqpipe import (
    ChangedError,
    Dataset,
    DatasetError,
    OutputError,
    Reader,
    Recognition,
    Samples,
    Writer,
    extension,
    is_url,
    listed,
    many,
    media_path,
    path_text,
)
from dqpipe import objects as object_labels
from dqpipe import splits as split_names
from dqpipe_formats.annotated import (
    PROBLEMS,
    LabelError,
    cannot_add,
    changes_of,
    digest_of,
    folder_of,
    label_bytes,
    left_out,
    refuse_empty,
    refuse_roles,
    told,
    write_bytes,
    write_folder,
    write_lists,
)
from dqpipe_formats.curated import media_of
from dqpipe_formats.layouts import ENOUGH, plain
from dqpipe_formats.listing import Listing, stems
from dqpipe_formats.records import values_of
from dqpipe_formats.roles import IMAGES
from dqpipe_formats.walking import Walk
from dqpipe_formats.xml_spans import Element, parsed

LARGEST = 16 << 20
"""Bytes of an XML file at most."""
OWN = frozenset({"name", "bndbox"})
CORNERS = ("xmin", "ymin", "xmax", "ymax")
MASK_FOLDERS = {"segmentationclass", "segmentationobject"}
LISTS = "imagesets"
PROBED = 30


@extension
class Voc(Reader):
    """Pascal VOC: for each picture an XML file of objects with boxes; splits from the lists in
    `ImageSets`, masks beside.

    A picture's XML has its name, in `Annotations` or beside it. A box runs from corner to corner in
    pixels as the file has them; the first pixel is 1 in VOC itself, which is left as it is. A
    picture without XML has no label.
    """

    name = "voc"
    version = 1
    knows = "Pascal VOC XML files with their pictures, a folder"

    def suits(self, source: object) -> int:
        """A folder with XML files of annotations."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By XML files that begin with `<annotation>` and have the names of pictures."""
        listing = None if is_url(source) else Listing.of(source)
        files = listing.ending(".xml") if listing else ()
        if listing is None or not files or not stems(files) & stems(listing.images):
            return Recognition(0)
        shown = files[:: max(1, len(files) // PROBED)]
        fits = [
            file
            for file in shown
            if b"<annotation" in (head := listing.head(file)) and b"<annotations" not in head
        ]
        return (
            Recognition(90, f"XML files of annotations for pictures, such as {fits[0]!r}")
            if len(fits) >= ENOUGH * len(shown)
            else Recognition(0)
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset. Raises DatasetError: no folder, or no picture with an XML file."""
        refuse_roles("Pascal VOC", roles)
        root = folder_of(source, "Pascal VOC is")
        walk = Walk(root).run()
        files = [path_text(file) for file in walk.files]
        xmls = [file for file in files if file.lower().endswith(".xml")]
        masks = [
            file
            for file in files
            if posixpath.basename(posixpath.dirname(file)).lower() in MASK_FOLDERS
        ]
        apart = set(masks)
        images = [
            file
            for file in files
            if posixpath.splitext(file)[1].lower() in IMAGES and file not in apart
        ]
        lists = [
            file
            for file in files
            if LISTS in file.lower().split("/")[:-1] and file.endswith(".txt")
        ]
        splits = _splits(root, lists, {_stem(media) for media in images})
        rows, texts = [], _matched(images, xmls)
        for media in images:
            text = texts.get(media)
            objects, said, content = _read(root, text) if text else (None, [], None)
            rows.append(
                {"id": media, "media": media, "label": objects, "split": splits.get(_stem(media))}
            )
            rows[-1] |= {PROBLEMS: told(said), "text": text, "content": content}
        refuse_empty(
            [row for row in rows if row["text"]], root, "picture with an XML file of annotations"
        )
        used, of_masks = set(texts.values()), _by_stem(images)
        orphans = sorted(set(xmls) - used)
        loose = [mask for mask in masks if _stem(mask) not in of_masks]
        bare = [row["media"] for row in rows if not row["text"]]
        doubts = [
            f"{many(len(some), what)} {how} ({listed(some, 3)}){end}"
            for some, what, how, end in (
                (orphans, "XML file", "of no picture", ""),
                (loose, "mask", "of no picture", ""),
                (bare, "picture", "without an XML file", ": without label"),
            )
            if some
        ] + left_out(walk.skipped)
        layout = {
            "texts": {row["media"]: row["text"] for row in rows},
            "contents": {row["text"]: row["content"] for row in rows if row["content"]},
            "masks": masks,
            "lists": lists,
            "carried": [*orphans, *loose],
            "doubts": doubts,
        }
        return Dataset(Samples(_table(rows)), path_text(root), self.name, layout)


@extension
class VocWriter(Writer):
    """The same folders, XML files and lists, as they were but for pictures and objects that are
    gone, or others now.
    """

    name = "voc"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the pictures, their XML files and masks, the lists and manifest.parquet.

        Raises OutputError, ChangedError.
        """
        layout, media = dataset.layout, media_of(dataset)
        labels = values_of(dataset.samples, "label")
        made = dict[str, set[bytes | None]]()
        for path, label in zip(media, labels, strict=True):
            text = layout["texts"].get(path or "")
            if text is not None:
                readable = label is not None and text in layout["contents"]
                made.setdefault(text, set()).add(
                    _rewritten(dataset, text, label) if readable else None
                )
        changed, also = changes_of(made)
        masks = _by_stem(layout["masks"])
        write_folder(
            dataset,
            folder,
            files,
            [masks.get(_stem(path), []) if path else [] for path in media],
            layout["carried"],
            also,
        )
        for text, data in changed.items():
            write_bytes(dataset, folder, text, data)
        kept = {_stem(path) for path in media if path}
        gone = {_stem(path) for path in layout["texts"]} - kept
        write_lists(
            dataset, folder, layout["lists"], lambda line, _: _listed_in(line, gone) in gone
        )


def _bytes(dataset: Dataset, name: str) -> bytes:
    try:
        return label_bytes(media_path(dataset.root, name), dataset.within, LARGEST)
    except LabelError as error:
        raise OutputError(f"{name} cannot be read again: {error}") from None


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


def _by_stem(files: Any) -> dict[str, list[str]]:  # noqa: ANN401 (any iterable of paths)
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_stem(file), []).append(file)
    return found


def _matched(images: Sequence[str], xmls: Sequence[str]) -> dict[str, str]:
    """The XML file of each picture: of its name and in its folder, but for `JPEGImages` and the
    like; else the only one of its name, where no other picture has that name.
    """
    by_place = {(*plain(file.split("/")[:-1]), _stem(file)): file for file in xmls}
    found = {
        image: by_place[key]
        for image in images
        if (key := (*plain(image.split("/")[:-1]), _stem(image))) in by_place
    }
    used, free = set(found.values()), _by_stem(image for image in images if image not in found)
    for stem, files in _by_stem(file for file in xmls if file not in used).items():
        if len(files) == len(free.get(stem, ())) == 1:
            found[free[stem][0]] = files[0]
    return found


def _splits(root: str, lists: Sequence[str], stems: Container[str]) -> dict[str, str]:
    """The split of each name by the lists that are called like one (train.txt).

    `trainval` says nothing beside them.
    """
    found: dict[str, str] = {}
    for name in lists:
        split = _stem(name)
        if split.lower() == "trainval" or not split_names.kind_of(split):
            continue
        try:
            lines = label_bytes(media_path(root, name), (root,), LARGEST).splitlines()
        except LabelError as error:
            raise DatasetError(f"{name} cannot be read: {error}") from None
        for line in lines:
            found.setdefault(_listed_in(line, stems), split)
    return found


def _listed_in(line: bytes, stems: Container[str]) -> str:
    """The picture's name, which may hold spaces, in a line of a list; a number may follow it."""
    text = path_text(os.fsdecode(line.removeprefix(b"\xef\xbb\xbf").strip()))
    return text if text in stems else re.sub(r"\s+-?\d+$", "", text)


def _read(root: str, text: str) -> tuple[list[dict[str, Any]] | None, list[str], str | None]:
    """The objects of an XML file (None if it cannot be read), what is wrong in it, and the hash of
    its bytes.
    """
    try:
        data = label_bytes(media_path(root, text), (root,), LARGEST)
        objects, said = _objects(parsed(data), text)
    except LabelError as error:
        return None, [error.of(text)], None
    return objects, said, digest_of(data)


def _objects(tree: Element, text: str) -> tuple[list[dict[str, Any]], list[str]]:
    objects, said = [], []
    if tree.name != "annotation":
        said.append(f"{text}, line {tree.line}: the root is <{tree.name[:80]}>, not <annotation>")
    for number, one in enumerate(tree.all("object"), 1):
        box = _box(one)
        if isinstance(box, str):
            said.append(f"{text}, line {one.line}: {box}")
        other = {child.name: child.plain() for child in one.children if child.name not in OWN}
        name = one.value("name") or None
        if name is None:
            said.append(f"{text}, line {one.line}: the object has no name")
        objects.append(
            object_labels.an_object(
                number, name, box=None if isinstance(box, str) else box, other=other
            )
        )
    return objects, said


def _box(one: Element) -> list[float] | str:
    """The box of an object as x, y, width, height, or what is wrong with it."""
    if one.first("bndbox") is None:
        return "the object has no box"
    words = [one.value("bndbox", corner) for corner in CORNERS]
    values = [_number(word) for word in words]
    if not all(map(math.isfinite, values)):
        return f"the corners of the box are not four numbers: {listed(map(repr, words))}"
    left, top, right, bottom = values
    if right < left or bottom < top:
        return f"the corners of the box are inverted: {listed(words)}"
    return [left, top, right - left, bottom - top]


def _number(word: str) -> float:
    """A number as XML has it, NaN for anything else."""
    try:
        return math.nan if "_" in word else float(word)
    except ValueError:
        return math.nan


def _rewritten(dataset: Dataset, text: str, label: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The XML file without objects that are gone, and with other names and boxes.

    None where nothing changed.
    """
    data = _bytes(dataset, text)
    if digest_of(data) != dataset.layout["contents"][text]:
        raise ChangedError([text])
    tree = parsed(data)
    before, _ = _objects(tree, text)
    if before == label:
        return None
    known, places = {one["id"]: one for one in before}, list(tree.all("object"))
    changes: list[tuple[int, int, bytes]] = []
    for number, one in object_labels.edits(before, label).items():
        if number not in known:
            raise cannot_add([number], text)
        place = places[int(number) - 1]
        changes += (
            [_out(data, place)]
            if one is None
            else _changed(place, one, known[number], text, tree.encoding)
        )
    for start, end, new in sorted(changes, reverse=True):
        data = data[:start] + new + data[end:]
    return data


def _out(data: bytes, place: Element) -> tuple[int, int, bytes]:
    """The edit that takes an element out, with the white space before it."""
    start = place.start
    while start and data[start - 1 : start].isspace():
        start -= 1
    return start, place.end, b""


def _changed(
    place: Element, one: Mapping[str, Any], was: Mapping[str, Any], text: str, encoding: str
) -> list[tuple[int, int, bytes]]:
    found = []
    if one["class"] != was["class"]:
        named = place.first("name")
        if named is None or one["class"] is None:
            raise OutputError(f"{text}, line {place.line}: the object has no name to change")
        found.append((*named.inner, escape(one["class"]).encode(encoding, "xmlcharrefreplace")))
    if one["box"] != was["box"] and one["box"] is not None:
        x, y, width, height = one["box"]
        for corner, value in zip(CORNERS, (x, y, x + width, y + height), strict=True):
            at = place.first("bndbox", corner)
            if at is None:
                raise OutputError(f"{text}, line {place.line}: the object has no box to change")
            found.append(
                (
                    *at.inner,
                    (str(int(value)) if float(value).is_integer() else repr(value)).encode(),
                )
            )
    return found


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    found = {
        name: pa.array([row[name] for row in rows], pa.string())
        for name in ("id", "media", "split", PROBLEMS)
    }
    found = {
        name: column
        for name, column in found.items()
        if name in ("id", "media") or column.null_count < len(column)
    }
    return pa.table(
        {**found, "label": pa.array([row["label"] for row in rows], object_labels.LABELS)}
    )
