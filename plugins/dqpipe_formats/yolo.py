"""YOLO: a text file of numbers for each picture.

Boxes, polygons and keypoints, read and written line by line.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH100, PTH111, PTH112, PTH113, PTH117, PTH118
from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml

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
    opened,
    path_text,
)
from dqpipe import objects as object_labels
from dqpipe_formats.annotated import (
    PROBLEMS,
    LabelError,
    cannot_add,
    digest_of,
    label_bytes,
    refuse_empty,
    refuse_roles,
    split_of_folder,
    told,
    unchanged_text,
    write_folder,
    write_text,
)
from dqpipe_formats.curated import media_of
from dqpipe_formats.layouts import ENOUGH
from dqpipe_formats.listing import Listing
from dqpipe_formats.records import values_of
from dqpipe_formats.roles import IMAGES
from dqpipe_formats.walking import Walk

LARGEST = 64 << 20
"""Bytes of a label file at most."""
NAMES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
"""Files with the name of a class in each line."""
SPLITS = ("train", "val", "test")
LINE = re.compile(rb"\d+(\s+[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?){4,}\s*")
BOX = 5
"""Numbers of a line with a box: its class, and the box."""
PROBED = 30


@dataclass(frozen=True)
class Config:
    """What a data.yaml says: names of classes by number, the numbers of a keypoint, and the
    pictures of each split.
    """

    file: str = ""
    names: Mapping[int, str] | None = None
    points: int = 0
    """Numbers of a keypoint, 2 or 3; 0 where there are none."""
    keypoints: int = 0
    splits: Mapping[str, Sequence[str]] | None = None
    """Folders, text files of paths or pictures, below the root."""


@extension
class Yolo(Reader):
    """YOLO: pictures, and for each a text file with a line for each object (boxes, polygons,
    oriented boxes, keypoints).

    The source is the dataset's folder or its data.yaml. The label file of `images/a.jpg` is
    `labels/a.txt`, or the one beside it; a picture without one is a background, its label an empty
    list. Coordinates, fractions of the picture in the files, become pixels.
    """

    name = "yolo"
    version = 1
    knows = "YOLO label files (detect, segment, pose, OBB), a folder or its data.yaml"

    def suits(self, source: object) -> int:
        """A data.yaml, or a folder of pictures with label files."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By a data.yaml that names classes and splits, or by label files of numbers for most
        pictures that were looked at.
        """
        if (
            isinstance(source, (str, os.PathLike))
            and not is_url(source)
            and str(source).lower().endswith((".yaml", ".yml"))
        ):
            return (
                Recognition(90, "a file with names of classes and the pictures of splits")
                if _is_config(os.fspath(source))
                else Recognition(0)
            )
        listing = None if is_url(source) else Listing.of(source)
        if listing is None:
            return Recognition(0)
        texts = {posixpath.splitext(file)[0]: file for file in listing.ending(".txt")}
        found = [
            texts[stem] for image in listing.images if (stem := _label_stem(image, texts)) in texts
        ]
        shown = found[:: max(1, len(found) // PROBED)]
        numbers = [
            all(map(LINE.fullmatch, head.strip().splitlines()[:5]))
            for file in shown
            if (head := listing.head(file).rstrip())
        ]
        fits = bool(numbers) and sum(numbers) >= ENOUGH * len(numbers)
        configs = [
            file
            for file in listing.ending(".yaml", ".yml")
            if _is_config(os.path.join(listing.root, file))
        ]
        if configs and (fits or listing.images):
            return Recognition(
                90,
                f"{configs[0]!r} names classes and the pictures of splits"
                + (", with label files of numbers" if fits else ""),
            )
        return (
            Recognition(85, f"text files of numbers for pictures, such as {shown[0]!r}")
            if fits
            else Recognition(0)
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset.

        Raises DatasetError: no folder, no picture, a data.yaml that cannot be read.
        """
        refuse_roles("YOLO", roles)
        root, config = _opened(source)
        walk = Walk(root).run()
        images = _images(root, config, walk)
        refuse_empty(list(images), root, "picture that YOLO's data.yaml or folders name")
        known = {path_text(file) for file in walk.files}
        names = _names(root, config, walk.files)
        rows = []
        for media, split in sorted(images.items()):
            text = _label_of(media, known)
            objects, said, content = (
                _read_labels(root, media, text, names, config) if text else ([], [], None)
            )
            rows.append(
                {
                    "id": media,
                    "media": media,
                    "label": objects,
                    "split": split,
                    PROBLEMS: told(said),
                    "text": text,
                    "content": content,
                }
            )
        listing, used = _list_files(config), {row["text"] for row in rows}
        own = [
            path_text(file)
            for file in walk.files
            if file == config.file or posixpath.basename(file).lower() in NAMES
        ]
        lists = [path_text(file) for file in walk.files if file in listing]
        orphans = sorted(
            file
            for file in known
            if "labels" in file.split("/")[:-1] and file.endswith(".txt") and file not in used
        )
        carried = [*(file for file in own if file not in lists), *orphans]
        doubts = (
            [f"{many(len(orphans), 'label file')} of no picture ({listed(orphans, 3)})"]
            if orphans
            else []
        )
        layout = {
            "texts": {row["media"]: row["text"] for row in rows if row["text"]},
            "contents": {row["text"]: row["content"] for row in rows if row["content"]},
            "names": {str(number): name for number, name in names.items()},
            "config": path_text(config.file),
            "points": config.points,
            "keypoints": config.keypoints,
            "carried": carried,
            "lists": lists,
            "doubts": doubts,
        }
        return Dataset(Samples(_table(rows)), path_text(root), self.name, layout)


@extension
class YoloWriter(Writer):
    """The same folders, data.yaml and label files, as they were but for lines of objects that are
    gone or others now.
    """

    name = "yolo"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the pictures, their label files, data.yaml and manifest.parquet.

        Raises OutputError, ChangedError.
        """
        layout, media = dataset.layout, media_of(dataset)
        labels = values_of(dataset.samples, "label")
        config = Config(points=layout["points"], keypoints=layout["keypoints"])
        names = {int(number): name for number, name in layout["names"].items()}
        also, changed = list[str](), dict[str, str]()
        for path, label in zip(media, labels, strict=True):
            text = layout["texts"].get(path or "")
            if text and path:
                new = _rewritten(dataset, path, text, label, names, config)
                changed |= {} if new is None else {text: new}
                also += [text] if new is None else []
            elif label:
                raise cannot_add([one["id"] for one in label], str(path))
        write_folder(dataset, folder, files, [], layout["carried"], also)
        for text, new in changed.items():
            write_text(dataset, folder, text, new)
        kept = set(media)
        for name in layout["lists"]:
            try:
                lines = (
                    label_bytes(media_path(dataset.root, name), dataset.within, LARGEST)
                    .decode("utf-8")
                    .splitlines(keepends=True)
                )
            except (LabelError, UnicodeDecodeError) as error:
                raise OutputError(f"{name} cannot be read again: {error}") from None
            write_text(
                dataset,
                folder,
                name,
                "".join(
                    line
                    for line in lines
                    if not line.strip() or _listed_in(line, name, dataset.root) in kept
                ),
            )


def _is_config(path: str) -> bool:
    try:
        values = _yaml(path)
    except DatasetError:
        return False
    return "names" in values and any(split in values for split in SPLITS)


def _yaml(path: str) -> dict[str, Any]:
    try:
        data = label_bytes(path, None, 1 << 20)
        if b"&" in data and re.search(rb"\*\w", data):  # aliases may unfold without end
            raise DatasetError(
                f"{path_text(path)} uses YAML aliases, which a data.yaml does not need"
            )
        values = yaml.safe_load(data.decode("utf-8"))
    except (LabelError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path_text(path)} cannot be read: {str(error)[:300]}") from None
    return values if isinstance(values, dict) else {}


def _opened(source: Any) -> tuple[str, Config]:  # noqa: ANN401
    """The folder of a dataset, and what its data.yaml says. Raises DatasetError."""
    if not isinstance(source, (str, os.PathLike)):
        raise DatasetError(f"YOLO is read from a path, not from {type(source).__name__}")
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        root, file = os.path.split(path)
        values = _yaml(path)
        inner = values.get("path")
        if (
            isinstance(inner, str)
            and not os.path.isabs(inner)
            and os.path.isdir(os.path.join(root, inner))
        ):
            return _config(os.path.normpath(os.path.join(root, inner)), "", values)
        return _config(root, file, values)
    if not os.path.isdir(path):
        raise DatasetError(f"there is no folder {path_text(path)}")
    listing = Listing.of(path)
    found = [
        file
        for file in (listing.ending(".yaml", ".yml") if listing else ())
        if _is_config(os.path.join(path, file))
    ]
    return (
        _config(path, found[0], _yaml(os.path.join(path, found[0]))) if found else (path, Config())
    )


def _config(root: str, file: str, values: Mapping[str, Any]) -> tuple[str, Config]:
    names = values.get("names")
    pairs = (
        names.items()
        if isinstance(names, dict)
        else enumerate(names)
        if isinstance(names, list)
        else []
    )
    shape = values.get("kpt_shape")
    keypoints, points = (
        shape
        if isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) for n in shape)  # noqa: PLR2004
        else (0, 0)
    )
    above = values.get("path") if isinstance(values.get("path"), str) else ""
    base = (
        posixpath.normpath(posixpath.join(posixpath.dirname(file), str(above)))
        if above and os.path.isdir(os.path.join(root, above))
        else ""
    )
    splits = dict[str, list[str]]()
    for split in SPLITS:
        given = values.get(split)
        every = [
            one
            for one in (given if isinstance(given, list) else [given])
            if isinstance(one, str) and one
        ]
        splits |= {split: [_below(root, base, one) for one in every]} if every else {}
    return root, Config(
        file,
        {int(k): str(v) for k, v in pairs if str(k).isdigit()},
        points,
        keypoints,
        splits or None,
    )


def _below(root: str, base: str, name: str) -> str:
    """A folder or file of a data.yaml below the root.

    As it says, or without `../` before it, which exports of Roboflow have too many of.
    """
    plain = re.sub(r"^(\.\./)+", "", name.replace("\\", "/"))
    tried = [
        posixpath.join(base, name),
        posixpath.join(base, plain),
        plain,
        posixpath.relpath(name, root) if name.startswith("/") else name,
    ]
    found = next((one for one in tried if os.path.exists(os.path.join(root, one))), tried[0])  # noqa: PTH110
    return posixpath.normpath(found)


def _list_files(config: Config) -> set[str]:
    return {
        one
        for every in (config.splits or {}).values()
        for one in every
        if one.lower().endswith(".txt")
    }


def _images(root: str, config: Config, walk: Walk) -> dict[str, str | None]:
    """The split of each picture; of all pictures below the root where no data.yaml says which."""
    images = [
        path_text(file) for file in walk.files if posixpath.splitext(file)[1].lower() in IMAGES
    ]
    if config.splits is None:
        splits = {image: split_of_folder(posixpath.dirname(image)) for image in images}
        return splits if len(set(splits.values())) > 1 else dict.fromkeys(images)
    found: dict[str, str | None] = {}
    for split, places in config.splits.items():
        for place in places:
            if place.lower().endswith(".txt"):
                found |= {
                    image: split
                    for line in _lines(root, place)
                    if (image := _listed_in(line, place, root))
                }
            else:
                found |= {
                    image: split
                    for image in images
                    if place == "." or image.startswith(path_text(place) + "/")
                }
    return found


def _lines(root: str, name: str) -> list[str]:
    try:
        return [
            line
            for line in label_bytes(os.path.join(root, name), (root,), LARGEST)
            .decode("utf-8")
            .splitlines()
            if line.strip()
        ]
    except (LabelError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path_text(name)} cannot be read: {error}") from None


def _listed_in(line: str, name: str, root: str) -> str:
    """The picture that a line of a list names.

    `./` starts from the list's own folder, a plain path from there or from the root.
    """
    path = line.strip()
    if path.startswith("/"):
        return path_text(posixpath.relpath(path, root))
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    plain = posixpath.normpath(path)
    return path_text(
        beside if path.startswith("./") or os.path.exists(os.path.join(root, beside)) else plain  # noqa: PTH110
    )


def _label_stem(image: str, texts: Container[str]) -> str:
    """The path of a picture's label file without its extension.

    Below `labels` in the place of `images`, else beside the picture.
    """
    stem = posixpath.splitext(image)[0]
    parts = stem.split("/")
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() in {"images", "jpegimages", "imgs"}:
            swapped = "/".join([*parts[:at], "labels", *parts[at + 1 :]])
            if swapped in texts:
                return swapped
    return stem


def _label_of(media: str, known: set[str]) -> str | None:
    stem = _label_stem(media, _Texts(known))
    return f"{stem}.txt" if f"{stem}.txt" in known else None


class _Texts:
    """The known files by their path without `.txt`."""

    def __init__(self, known: set[str]) -> None:
        self.known = known

    def __contains__(self, stem: object) -> bool:
        return f"{stem}.txt" in self.known


def _names(root: str, config: Config, files: Sequence[str]) -> dict[int, str]:
    if config.names:
        return dict(config.names)
    file = next((file for file in files if posixpath.basename(file).lower() in NAMES), None)
    return (
        {}
        if file is None
        else {number: line.strip() for number, line in enumerate(_lines(root, file))}
    )


def _size(root: str, media: str) -> tuple[int, int] | None:
    """Width and height of a picture as it is stored, by its header.

    None where that cannot be read.
    """
    from PIL import Image

    try:
        with (
            os.fdopen(opened(media_path(root, media), (root,)), "rb") as file,
            Image.open(file) as image,
        ):
            return image.size
    except Exception:  # noqa: BLE001 (Pillow raises whatever a broken header makes of it; the picture itself is claimed as unreadable)
        return None


def _read_labels(
    root: str, media: str, text: str, names: Mapping[int, str], config: Config
) -> tuple[list[dict[str, Any]], list[str], str | None]:
    """The objects of a label file, what is wrong in it, and the hash of its bytes."""
    try:
        data = label_bytes(media_path(root, text), (root,), LARGEST)
        lines = data.decode("utf-8").splitlines()
    except (LabelError, UnicodeDecodeError) as error:
        return [], [f"{text}: {error}"], None
    return *_objects(
        lines, text, _size(root, media) if data.strip() else None, names, config
    ), digest_of(data)


def _objects(
    lines: Sequence[str],
    text: str,
    size: tuple[int, int] | None,
    names: Mapping[int, str],
    config: Config,
) -> tuple[list[dict[str, Any]], list[str]]:
    objects, said = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            objects.append(_object(line, number, size, names, config))
        except ValueError as error:
            objects.append(object_labels.an_object(number, None, other={"line": line[:1000]}))
            said.append(f"{text}, line {number}: {error}")
    return objects, said


def _object(
    line: str, number: int, size: tuple[int, int] | None, names: Mapping[int, str], config: Config
) -> dict[str, Any]:
    """The object of a line. Raises ValueError with what is wrong."""
    first, *rest = line.split()
    try:
        index, values = int(float(first)), [float(value) for value in rest]
    except (ValueError, OverflowError):
        raise ValueError(f"no numbers: {line.strip()[:60]!r}") from None
    if not all(map(math.isfinite, values)):
        raise ValueError("a number that is none (NaN or infinite)")
    if names and index not in names:
        raise ValueError(f"there is no class {index}: the names go from 0 to {max(names)}")
    name, wide, high = names.get(index, str(index)), *(size or (0, 0))
    scale = (
        (lambda xy: [value * (high if at % 2 else wide) for at, value in enumerate(xy)])
        if size
        else None
    )
    if config.points and len(values) == 4 + config.keypoints * config.points:
        flat = [
            values[4 + at : 4 + at + config.points]
            for at in range(0, config.keypoints * config.points, config.points)
        ]
        points = [
            value
            for x, y, *seen in flat
            for value in (x * wide, y * high, seen[0] if seen else 2.0)
        ]
        return object_labels.an_object(
            number, name, box=scale and _box(scale(values[:4])), keypoints=points if size else None
        )
    if len(values) in (4, BOX):
        if values[2] < 0 or values[3] < 0:
            raise ValueError(f"the box has a negative size: {line.strip()[:60]!r}")
        return object_labels.an_object(
            number,
            name,
            box=scale and _box(scale(values[:4])),
            other={"score": values[4]} if len(values) == BOX else None,
        )
    if len(values) < 6 or len(values) % 2:  # noqa: PLR2004 (three points)
        raise ValueError(
            f"{len(values) + 1} numbers are neither a box nor a polygon of three points or more"
        )
    return object_labels.an_object(number, name, polygons=scale and [scale(values)])


def _box(centred: Sequence[float]) -> list[float]:
    x, y, width, height = centred
    return [x - width / 2, y - height / 2, width, height]


def _rewritten(
    dataset: Dataset,
    media: str,
    text: str,
    label: Sequence[Mapping[str, Any]] | None,
    names: Mapping[int, str],
    config: Config,
) -> str | None:
    """The label file with the lines of objects that are gone or others now.

    None where nothing changed.
    """
    if label is None or text not in dataset.layout["contents"]:
        return None
    whole = unchanged_text(
        media_path(dataset.root, text), dataset.within, LARGEST, dataset.layout["contents"][text]
    )
    lines = whole.splitlines(keepends=True)
    size = _size(dataset.root, media) if whole.strip() else None
    before, _ = _objects(whole.splitlines(), text, size, names, config)
    if before == label:
        return None
    known, changes = {one["id"]: one for one in before}, object_labels.edits(before, label)
    for number, one in changes.items():
        if number not in known:
            raise cannot_add([number], text)
        lines[int(number) - 1] = (
            ""
            if one is None
            else _line(lines[int(number) - 1], one, known[number], names, size, text)
        )
    return "".join(lines)


def _line(
    line: str,
    one: Mapping[str, Any],
    was: Mapping[str, Any],
    names: Mapping[int, str],
    size: tuple[int, int] | None,
    text: str,
) -> str:
    """A line with another class or another box."""
    match = re.fullmatch(r"(\s*)(\S+)(.*?)(\s*)", line, re.DOTALL)
    if match is None:
        raise OutputError(f"{text}: an empty line has no object")
    lead, first, rest, end = match.groups()
    if one["class"] != was["class"]:
        first = next(
            (str(number) for number, name in names.items() if name == one["class"]),
            "" if names else str(one["class"]),
        )
        if not first.isdigit():
            raise OutputError(
                f"{text}: there is no class {one['class']!r} in data.yaml: add it to `names`"
            )
    if one["box"] != was["box"] and one["box"] is not None and size:
        x, y, width, height = one["box"]
        new = [
            (x + width / 2) / size[0],
            (y + height / 2) / size[1],
            width / size[0],
            height / size[1],
        ]
        rest = " " + " ".join([*(f"{value:.6f}" for value in new), *rest.split()[4:]])
    return f"{lead}{first}{rest}{end}"


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
