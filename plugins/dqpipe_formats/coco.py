"""COCO: pictures and annotations in JSON files.

Read with every field, and written again as it was but for what curation took out or changed.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH110, PTH113, PTH118, PTH119, PTH120
from __future__ import annotations

import json
import math
import os
import posixpath
import re
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from dqpipe import (
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
    option,
    path_text,
)
from dqpipe import objects as object_labels
from dqpipe_formats.annotated import (
    PROBLEMS,
    LabelError,
    cannot_add,
    digest_of,
    label_bytes,
    plain_text,
    refuse_empty,
    refuse_roles,
    split_of,
    told,
    unchanged_text,
    write_folder,
    write_text,
)
from dqpipe_formats.curated import media_of
from dqpipe_formats.json_spans import Edit, Span, document, edited, line_of, members, without
from dqpipe_formats.layouts import LABELS as LABEL_FOLDERS
from dqpipe_formats.listing import HEAD, Listing

LARGEST = 1 << 30
"""Bytes of a JSON file at most."""
SURE = 90
PROBES = 200
"""Pictures of a file that are looked for in each folder."""
ARRAY = re.compile(rb'"(images|annotations)"\s*:\s*\[')
OPENING = re.compile(rb'\{\s*"(info|licenses|categories|type|images|annotations)"')
LARGE_PROBED, DEEP = 20, 16 << 20
"""Files that begin with other lists, and bytes of each that are looked through for pictures."""
SIGNS = (
    b'"file_name"',
    b'"image_id"',
    b'"category_id"',
    b'"categories"',
    b'"licenses"',
    b'"supercategory"',
)
OWN = frozenset({"id", "image_id", "category_id", "bbox", "segmentation", "keypoints", "iscrowd"})
LISTS = ("images", "annotations", "categories")
NUMBERS = frozenset({int, float})
BOX, POINTS = 4, 6
"""Numbers of a box, and of the least polygon."""


@dataclass
class CocoFile:
    """One JSON file: its pictures and annotations with their places in the text."""

    name: str
    text: str
    images: list[Span] = field(default_factory=list)
    annotations: list[Span] = field(default_factory=list)
    categories: dict[Any, str] = field(default_factory=dict)
    folder: str = ""
    """Where its pictures lie, below the dataset's root."""
    doubts: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, name: str, text: str) -> CocoFile:
        """The file of this text. Raises DatasetError that names the line."""
        shown, start = path_text(name), 1 if text.startswith("\ufeff") else 0
        found = document(text, start, shown, dict.fromkeys(LISTS, lambda span: span))
        for key in LISTS:
            if key in found and not isinstance(found[key].value, list):
                raise DatasetError(
                    f"{shown}, line {line_of(text, found[key].start)}: {key!r} is no list"
                )
        if "images" not in found:
            raise DatasetError(f"{shown} has no list of images")
        images, annotations, categories = (
            found[key].value if key in found else [] for key in LISTS
        )
        made = cls(name, text, images, annotations)
        for span in categories:
            made._named(span)
        return made

    def _named(self, span: Span) -> None:
        """Note the name of a category, or what is wrong with it."""
        one = span.value
        number = one.get("id") if isinstance(one, dict) else None
        if not _is_key(number):
            why = "a category without an id names nothing"
        elif number in self.categories:
            why = f"the category {str(number)[:80]} stands twice: the first one counts"
        else:
            self.categories[number] = plain_text(str(one.get("name", number)))
            return
        self.doubts.append(f"{path_text(self.name)}, line {self.line(span)}: {why}")

    def media(self, image: Any) -> str | None:  # noqa: ANN401
        """The reference of a picture, None where it names no file."""
        name = image.get("file_name") if isinstance(image, dict) else None
        return (
            path_text(posixpath.join(self.folder, name)) if isinstance(name, str) and name else None
        )

    def pictures(self) -> list[str | None]:
        """The reference of each annotation's picture, None for one of no picture that is listed."""
        known: dict[Any, str | None] = {}
        for span in self.images:
            if isinstance(span.value, dict) and _is_key(span.value.get("id")):
                known.setdefault(span.value["id"], self.media(span.value))
        numbers = [
            span.value.get("image_id") if isinstance(span.value, dict) else None
            for span in self.annotations
        ]
        return [known.get(number) if _is_key(number) else None for number in numbers]

    @cached_property
    def _breaks(self) -> list[int]:
        """Where lines end."""
        return [found.start() for found in re.finditer("\n", self.text)]

    def line(self, span: Span) -> int:
        """The line that an element begins in, from 1."""
        return bisect(self._breaks, span.start) + 1

    def object(self, span: Span, prefix: str) -> dict[str, Any]:
        """An annotation as an object; what is no number is left out."""
        value: dict[str, Any] = span.value
        parts = value.get("segmentation")
        polygons = [one for one in parts if _floats(one)] if isinstance(parts, list) else None
        return object_labels.an_object(
            f"{prefix}{value.get('id', f'@{span.start}')}",
            self.categories.get(value.get("category_id"))
            if _is_key(value.get("category_id"))
            else None,
            box=value["bbox"] if _floats(value.get("bbox")) else None,
            polygons=polygons or None,
            rle=parts if isinstance(parts, dict) else None,
            keypoints=value["keypoints"] if _floats(value.get("keypoints")) else None,
            crowd=bool(value["iscrowd"]) if isinstance(value.get("iscrowd"), (int, bool)) else None,
            other={key: one for key, one in value.items() if key not in OWN},
        )


@extension
class Coco(Reader):
    """COCO: one or several JSON files with images, annotations and categories, and the pictures
    that they name.

    The source is a JSON file, or the folder of a dataset; each picture that is listed is a sample,
    its label the list of its objects (see `dqpipe.data.objects`). Several files (instances,
    captions, splits) are read together. What is wrong in annotations is told with the line, in the
    column `label_problems`.
    """

    name = "coco"
    version = 1
    knows = "COCO JSON (instances, keypoints, captions), a file or a folder with its pictures"

    images: str = option(
        "",
        (
            "folder that the files' names of pictures start from, below the dataset's; found out "
            "if empty"
        ),
    )

    def suits(self, source: object) -> int:
        """A JSON file of COCO's keys, or a folder with one."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By the keys at the beginning of JSON files."""
        if is_url(source):
            return Recognition(0)
        listing = Listing.of(source)
        if listing is not None:
            found = _in(listing)
            why = (
                f"{listed(map(repr, found), 3)} {'holds' if len(found) == 1 else 'hold'} lists of "
                f"images and annotations"
            )
            return Recognition(SURE, why) if found else Recognition(0)
        if (
            not isinstance(source, (str, os.PathLike))
            or not str(source).lower().endswith(".json")
            or not os.path.isfile(source)
        ):
            return Recognition(0)
        try:
            fits = _begins_so(Path(source))
        except OSError:
            return Recognition(0)
        return (
            Recognition(SURE, "a JSON file with lists of images and annotations")
            if fits
            else Recognition(0)
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset.

        Raises DatasetError: no JSON that can be read, no picture, or none of the pictures lies
        there.
        """
        refuse_roles("COCO", roles)
        root, names, listing = _files(source)
        rows: dict[str, dict[str, Any]] = {}
        doubts: list[str] = []
        files = []
        for name, prefix in zip(names, _prefixes(names), strict=True):
            try:
                data = label_bytes(media_path(root, path_text(name)), (root,), LARGEST)
                coco = CocoFile.parse(name, data.decode("utf-8"))
            except LabelError as error:
                raise DatasetError(f"{path_text(name)} cannot be read: {error}") from None
            except UnicodeDecodeError as error:
                raise DatasetError(
                    f"{path_text(name)} is not UTF-8: {error.reason} at byte {error.start}"
                ) from None
            coco.folder = self.images or _folder_of(root, coco, listing)
            _collect(coco, rows, doubts, prefix)
            files.append(
                {
                    "name": name,
                    "content": digest_of(data),
                    "folder": coco.folder,
                    "prefix": prefix,
                }
            )
        refuse_empty(list(rows), root, "COCO JSON that lists a picture")
        if not any(
            os.path.exists(media_path(root, media))
            for media in list(rows)[:: max(1, len(rows) // 1000)]
        ):
            raise DatasetError(
                f"no picture of {path_text(names[0])} lies below {path_text(root)} (such as "
                f"{next(iter(rows))!r}): set the reader's `images`"
            )
        doubts += _unlisted(listing, rows)
        layout = {"files": files, "doubts": doubts}
        return Dataset(Samples(_table(rows)), path_text(root), self.name, layout)


@extension
class CocoWriter(Writer):
    """The same JSON files, as they were but for pictures that are gone with their annotations, and
    for objects that were changed.
    """

    name = "coco"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the pictures, the JSON files and manifest.parquet.

        Raises OutputError, ChangedError.
        """
        kept = dict(
            zip(
                media_of(dataset),
                dataset.samples.table.column("label").to_pylist()
                if "label" in dataset.samples
                else [],
                strict=False,
            )
        )
        write_folder(dataset, folder, files, [])
        for row in dataset.layout["files"]:
            text = unchanged_text(
                media_path(dataset.root, path_text(row["name"])),
                dataset.within,
                LARGEST,
                row["content"],
            )
            coco = CocoFile.parse(row["name"], text)
            coco.folder = row["folder"]
            changes = _changes(coco, kept, row["prefix"])
            write_text(dataset, folder, path_text(row["name"]), edited(text, changes))


def _in(listing: Listing) -> list[str]:
    """The files of COCO among the JSON files of a folder."""
    found, large = list[str](), 0
    for file in listing.ending(".json"):
        head = listing.head(file)
        fits = _is_coco(head)
        if not fits and len(head) == HEAD and large < LARGE_PROBED and _opens(head):
            large += 1
            with suppress(OSError):
                fits = _begins_so(Path(listing.root, file))
        found += [file] if fits else []
    return found


def _begins_so(path: Path) -> bool:
    """Whether a file is of COCO by its beginning; categories may stand before its pictures."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        return _is_coco(head) or (
            len(head) == HEAD and _opens(head) and _is_coco(head + file.read(DEEP))
        )


def _opens(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"{") and OPENING.match(start) is not None


def _is_coco(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return (
        start.startswith(b"{")
        and ARRAY.search(start) is not None
        and any(sign in start for sign in SIGNS)
    )


def _is_key(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and NUMBERS.issuperset(map(type, value))


def _floats(value: Any) -> bool:  # noqa: ANN401
    """Whether this is a list of numbers, none of them NaN, infinite or too large for a float."""
    try:
        return _numbers(value) and math.isfinite(sum(value))
    except OverflowError:
        return False


def _files(source: Any) -> tuple[str, list[str], Listing | None]:  # noqa: ANN401
    """The folder of a dataset, its JSON files below it, and what else lies there.

    Raises DatasetError.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise DatasetError(f"COCO is read from a path, not from {type(source).__name__}")
    path = os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111
    if os.path.isfile(path):
        root, name = os.path.split(path)
        if os.path.basename(root).lower() in LABEL_FOLDERS:
            name, root = posixpath.join(os.path.basename(root), name), os.path.dirname(root)
        return root, [name], Listing.of(root)
    listing = Listing.of(path)
    if listing is None:
        raise DatasetError(f"there is no folder or file {path_text(path)}")
    return path, _in(listing), listing


def _folder_of(root: str, coco: CocoFile, listing: Listing | None) -> str:
    """The folder below the root that most pictures of a file lie in, by their names."""
    names = [
        span.value["file_name"]
        for span in coco.images
        if isinstance(span.value, dict) and isinstance(span.value.get("file_name"), str)
    ]
    probes = [name for name in names[:: max(1, len(names) // PROBES)] if name and "\0" not in name]
    beside, stem = (
        posixpath.dirname(coco.name),
        posixpath.splitext(posixpath.basename(coco.name))[0],
    )
    words = [word for word in re.split(r"[_.\- ]+", stem) if word]
    usual = [
        "",
        beside,
        posixpath.join(beside, "images"),
        "images",
        *words,
        *(f"images/{word}" for word in words),
    ]
    held = {
        folder[: len(folder) - len(up)].rstrip("/")
        for folder in (listing.folders if listing else ())
        for up in ("", *_tails(folder))
    }
    counts = {
        one: sum(os.path.isfile(os.path.join(root, one, name)) for name in probes)
        for one in dict.fromkeys([*usual, *sorted(held)])
    }
    return max(counts, key=lambda one: counts[one]) if any(counts.values()) else ""


def _tails(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[at:]) for at in range(1, len(parts))]


def _prefixes(names: Sequence[str]) -> list[str]:
    """What the ids of each file's objects begin with: its name, its path, or its number.

    The first of these by which the files can be told apart; nothing for a single file.
    """
    if len(names) == 1:
        return [""]
    paths = [plain_text(posixpath.splitext(path_text(name))[0]) + ":" for name in names]
    for tried in ([path.rpartition("/")[2] for path in paths], paths):
        ordered = sorted(tried)
        if not any(b.startswith(a) for a, b in pairwise(ordered)):
            return tried
    return [f"{number}:" for number in range(1, len(names) + 1)]


def _collect(
    coco: CocoFile, rows: dict[str, dict[str, Any]], doubts: list[str], prefix: str
) -> None:
    """Add the pictures of a file, and their objects, to the rows by media."""
    shown, split = path_text(coco.name), split_of(coco.name)
    of: dict[Any, dict[str, Any]] = {}
    sizes: dict[Any, list[Any]] = {}
    doubts += coco.doubts
    for span in coco.images:
        media, number = (
            coco.media(span.value),
            span.value.get("id") if isinstance(span.value, dict) else None,
        )
        if media is None:
            doubts.append(
                f"{shown}, line {coco.line(span)}: a picture without a file_name is left alone"
            )
            continue
        row = rows.setdefault(
            media, {"id": media, "media": media, "label": [], "split": split, "said": []}
        )
        if not _is_key(number):
            row["said"].append(
                f"{shown}, line {coco.line(span)}: the picture is without an id, so that no "
                f"annotation is its own"
            )
            continue
        sizes.setdefault(number, [span.value.get("height"), span.value.get("width")])
        if number in of:
            row["said"].append(
                f"{shown}, line {coco.line(span)}: the id {number!r} of the picture stands twice: "
                f"annotations count for the first one"
            )
        of.setdefault(number, row)
    ids = Counter(
        span.value.get("id")
        for span in coco.annotations
        if isinstance(span.value, dict) and _is_key(span.value.get("id"))
    )
    lost: list[Span] = []
    for at, span in enumerate(coco.annotations):
        coco.annotations[at] = span._replace(
            value=None
        )  # of a large file, what was read already is let go
        picture = (
            of.get(span.value.get("image_id"))
            if isinstance(span.value, dict) and _is_key(span.value.get("image_id"))
            else None
        )
        if picture is None:
            lost.append(span)
            continue
        picture["label"].append(coco.object(span, prefix))
        picture["said"] += [
            f"{shown}, line {coco.line(span)}: annotation {span.value.get('id')}: {what}"
            for what in _wrong(coco, span.value, ids, sizes[span.value["image_id"]])
        ]
    if lost:
        lines = listed((coco.line(span) for span in lost), 5)
        doubts.append(
            f"{shown}: {many(len(lost), 'annotation')} of no picture that it lists (line {lines})"
        )


def _wrong(coco: CocoFile, value: dict[str, Any], ids: Counter[Any], size: list[Any]) -> list[str]:
    """What no reader of COCO can make sense of in an annotation of a picture [height, width]."""
    found = []
    if not _is_key(value.get("id")):
        found += ["it has no id"] if any(key in value for key in ("bbox", "segmentation")) else []
    elif ids[value["id"]] > 1:
        found.append("the id stands more than once")
    category = value.get("category_id")
    if (
        coco.categories
        and not (_is_key(category) and category in coco.categories)
        and ("bbox" in value or "category_id" in value)
    ):
        found.append(f"there is no category {str(category)[:80]}")
    return found + _wrong_shapes(value, size)


def _wrong_shapes(value: dict[str, Any], size: list[Any]) -> list[str]:
    """What is wrong with its box, its outlines and its keypoints."""
    found = []
    box = value.get("bbox")
    if box is not None and (not _floats(box) or len(box) != BOX):
        found.append(f"the box {json.dumps(box)[:80]} is not four numbers")
    elif box is not None and (box[2] < 0 or box[3] < 0):
        found.append(f"the box {json.dumps(box)[:80]} has a negative size")
    parts = value.get("segmentation")
    found += [
        f"a polygon of {len(part) if isinstance(part, list) else 0} numbers is none: three points "
        f"or more, x and y of each"
        for part in (parts if isinstance(parts, list) else ())
        if not _floats(part) or len(part) < POINTS or len(part) % 2
    ]
    if isinstance(parts, dict) and (said := _wrong_rle(parts, size)):
        found.append(said)
    elif parts is not None and not isinstance(parts, (list, dict)):
        found.append("the segmentation is neither a list of polygons nor run lengths")
    points = value.get("keypoints")
    if points is not None and points != [] and (not _floats(points) or len(points) % 3):
        found.append("the keypoints are not three numbers for each point")
    return found


def _wrong_rle(rle: dict[str, Any], picture: list[Any]) -> str:
    """What is wrong in run lengths: their size [height, width], or a sum that is another one."""
    size, counts = rle.get("size"), rle.get("counts")
    if (
        not isinstance(size, list)
        or not _floats(size)
        or len(size) != 2  # noqa: PLR2004
        or not isinstance(counts, (str, list))
    ):
        return "the run lengths (RLE) lack size or counts"
    high, wide = size
    runs = unpacked(counts) if isinstance(counts, str) else counts
    if not (runs == [] or (_floats(runs) and min(runs) >= 0)) or min(size) < 0:
        return "the run lengths (RLE) are not numbers of pixels"
    if sum(runs) != high * wide:
        return f"the run lengths (RLE) cover {sum(runs)} pixels of {high} by {wide}"
    if _floats(picture) and picture != size:
        return (
            f"the run lengths (RLE) are of a picture of {high} by {wide}, and this one has "
            f"{picture[0]} by {picture[1]} (height by width)"
        )
    return ""


def unpacked(counts: str) -> list[int]:
    """COCO's packed run lengths as numbers; [-1] where these are none.

    Groups of 5 bits, the lowest first, a sixth bit for more, each from the third on as the
    difference from the last but one (pycocotools, `rleFrString`).
    """
    found: list[int] = []
    value = shift = 0
    for letter in counts:
        group = ord(letter) - 48
        if not 0 <= group < 64 or shift > 60:  # noqa: PLR2004
            return [-1]
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        value -= (1 << shift) if group & 16 else 0
        found.append(value + (found[-2] if len(found) > 2 else 0))  # noqa: PLR2004
        value = shift = 0
    return found if shift == 0 else [-1]


def _unlisted(listing: Listing | None, rows: Mapping[str, Any]) -> list[str]:
    """Pictures beside those that the files list, as a doubt."""
    if listing is None or not listing.whole:
        return []
    folders = {posixpath.dirname(media) for media in rows}
    left = [
        path_text(file)
        for file in listing.images
        if posixpath.dirname(file) in folders and path_text(file) not in rows
    ]
    return (
        [
            (
                f"{many(len(left), 'picture')} that no JSON file lists ({listed(left, 3)}) "
                f"{'is' if len(left) == 1 else 'are'} left out"
            )
        ]
        if left
        else []
    )


def _table(rows: Mapping[str, dict[str, Any]]) -> pa.Table:
    every = [rows[media] for media in sorted(rows)]
    found = {name: pa.array([row[name] for row in every], pa.string()) for name in ("id", "media")}
    found["label"] = pa.array([row["label"] for row in every], object_labels.LABELS)
    if len({row["split"] for row in every}) > 1:
        found["split"] = pa.array([row["split"] for row in every], pa.string())
    if any(row["said"] for row in every):
        found[PROBLEMS] = pa.array([told(row["said"]) for row in every], pa.string())
    return pa.table(found)


def _changes(coco: CocoFile, kept: Mapping[str | None, Any], prefix: str) -> list[Edit]:
    """The edits of a file's text.

    Pictures that are gone with their annotations, objects that are gone or others now.
    """
    gone = [
        media is not None and media not in kept
        for media in (coco.media(span.value) for span in coco.images)
    ]
    out = [False] * len(coco.annotations)
    objects: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for at, (span, media) in enumerate(zip(coco.annotations, coco.pictures(), strict=True)):
        if media is not None and media in kept:
            objects.setdefault(media, []).append((at, coco.object(span, prefix)))
        out[at] = media is not None and media not in kept
    inner: list[Edit] = []
    for media, every in objects.items():
        inner += _object_changes(coco, every, kept[media], out, prefix)
    return [*without(coco.images, gone), *without(coco.annotations, out), *inner]


def _object_changes(
    coco: CocoFile,
    every: list[tuple[int, dict[str, Any]]],
    label: Any,  # noqa: ANN401
    out: list[bool],
    prefix: str,
) -> list[Edit]:
    """The edits of the objects of a picture; those that are gone are marked in `out`."""
    ours = None if label is None else [one for one in label if one["id"].startswith(prefix)]
    if ours is None or ours == [row for _, row in every]:
        return []
    found: list[Edit] = []
    for number, one in object_labels.edits([row for _, row in every], ours).items():
        places = [at for at, row in every if row["id"] == number]
        if not places:
            raise cannot_add([number], path_text(coco.name))
        for at in places:
            out[at] |= one is None
            found += [] if one is None else _object_edits(coco, coco.annotations[at], one)
    return found


def _object_edits(coco: CocoFile, span: Span, one: Mapping[str, Any]) -> list[Edit]:
    """The edits of an annotation whose class or box is another one now.

    Other changes are refused.
    """
    places = dict(members(coco.text, span.start, coco.name, {}))
    was, changes = coco.object(span, ""), []
    if one["class"] != was["class"]:
        numbers = [number for number, name in coco.categories.items() if name == one["class"]]
        if not numbers or "category_id" not in places:
            raise OutputError(
                f"{path_text(coco.name)} has no category {one['class']!r}: add it to `categories`"
            )
        changes.append(Edit(*places["category_id"][:2], json.dumps(numbers[0])))
    if one["box"] != was["box"] and one["box"] is not None and "bbox" in places:
        changes.append(
            Edit(
                *places["bbox"][:2],
                json.dumps([int(v) if float(v).is_integer() else v for v in one["box"]]),
            )
        )
    return changes
