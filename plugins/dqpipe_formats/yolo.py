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
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
    changes_of,
    digest_of,
    label_bytes,
    left_out,
    refuse_empty,
    refuse_roles,
    split_of_folder,
    told,
    unchanged_text,
    write_folder,
    write_lists,
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
CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
MOST_CLASSES = 1_000_000
FAR = 2.0
"""Fractions of a picture beyond this are none, but pixels."""
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
    doubts: tuple[str, ...] = ()


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
            and not os.path.isdir(source)
        ):
            return (
                Recognition(90, "a file with names of classes and the pictures of splits")
                if _is_config(os.fspath(source))
                else Recognition(0)
            )
        listing = None if is_url(source) else Listing.of(source)
        if listing is None:
            return Recognition(0)
        texts = Texts.of(listing.files)
        found = [text for image in listing.images if (text := texts.of_picture(image))]
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
        files = [path_text(file) for file in walk.files]
        texts, names = Texts.of(files), _names(root, config, walk.files)
        rows = []
        for media, split in sorted(images.items()):
            text = texts.of_picture(media)
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
        listing, used = _list_files(config), Counter[str | None](map(texts.of_picture, images))
        own = [
            file
            for file in files
            if file == path_text(config.file)
            or posixpath.basename(file).lower() in (*NAMES, *CONFIGS)
        ]
        lists = [path_text(file) for file in walk.files if file in listing]
        orphans = texts.orphans(root, {*used, *own, *lists})
        carried = [*(file for file in own if file not in lists), *orphans]
        doubts = [*config.doubts, *_doubts(files, images, used, orphans), *left_out(walk.skipped)]
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
        made = dict[str, set[str | None]]()
        for path, label in zip(media, labels, strict=True):
            text = layout["texts"].get(path or "")
            if text and path:
                made.setdefault(text, set()).add(
                    _rewritten(dataset, path, text, label, names, config)
                )
            elif label:
                raise cannot_add([one["id"] for one in label], str(path))
        changed, also = changes_of(made)
        write_folder(dataset, folder, files, [], layout["carried"], also)
        for text, new in changed.items():
            write_text(dataset, folder, text, new)
        kept = set(media)
        write_lists(
            dataset,
            folder,
            layout["lists"],
            lambda line, name: (
                _listed_in(line.decode("utf-8", "replace"), name, dataset.root) not in kept
            ),
        )


def _is_config(path: str) -> bool:
    """Whether a YAML file says where the pictures of splits are, and what classes there are.

    A broken one counts where its text speaks of these, so that it is not passed over.
    """
    try:
        values = _yaml(path)
    except DatasetError:
        with suppress(LabelError):
            text = label_bytes(path, None, 1 << 20)
            return all(
                re.search(rb"^%s\s*:" % key, text, re.MULTILINE) for key in (b"train", b"names")
            )
        return False
    return any(key in values for key in ("names", "nc", "path")) and any(
        split in values for split in SPLITS
    )


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
    yamls = listing.ending(".yaml", ".yml") if listing else ()
    found = sorted(
        (file for file in yamls if _is_config(os.path.join(path, file))),
        key=lambda file: (posixpath.basename(file).lower() not in CONFIGS, file.count("/"), file),
    )
    if not found:
        odd = [file for file in yamls if posixpath.basename(file).lower() in CONFIGS]
        return path, Config(
            doubts=tuple(f"{path_text(file)} does not say where pictures are" for file in odd)
        )
    root, config = _config(path, found[0], _yaml(os.path.join(path, found[0])))
    more = (
        f"{path_text(found[0])} is read, and not {listed(map(path_text, found[1:]), 3)}: give its "
        f"path to read another one"
    )
    return root, replace(config, doubts=(*config.doubts, *([more] if len(found) > 1 else [])))


def _config(root: str, file: str, values: Mapping[str, Any]) -> tuple[str, Config]:
    """What a data.yaml says. Raises DatasetError for what cannot be meant."""
    shown = path_text(file) or "the data.yaml"
    names, doubts = _class_names(shown, values)
    shape = values.get("kpt_shape")
    if shape is not None and not (
        isinstance(shape, list)
        and len(shape) == 2  # noqa: PLR2004
        and all(type(n) is int for n in shape)
        and shape[0] > 0
        and shape[1] in (2, 3)
    ):
        raise DatasetError(f"{shown}: kpt_shape is {str(shape)[:80]}, and not such as [17, 3]")
    keypoints, points = shape or (0, 0)
    base, far = _base(root, file, values.get("path"))
    doubts += [f"{shown}: path {str(values['path'])[:200]!r} {far}"] if far else []
    splits = dict[str, list[str]]()
    for split in SPLITS:
        every = _places(values.get(split))
        if wrong := [one for one in every if not isinstance(one, str)]:
            raise DatasetError(f"{shown}: {split} is {str(wrong[0])[:80]}, which is no path")
        splits |= {split: [_below(root, base, one) for one in every]} if every else {}
        gone = [
            one
            for one in splits.get(split, ())
            if not os.path.exists(os.path.join(root, one))  # noqa: PTH110
        ]
        doubts += [f"{shown}: {split} is {gone[0]!r}, which does not exist"] if gone else []
    return root, Config(file, names, points, keypoints, splits or None, tuple(doubts))


def _class_names(shown: str, values: Mapping[str, Any]) -> tuple[dict[int, str], list[str]]:
    """The names of classes by number, and doubts."""
    names, count = values.get("names"), values.get("nc")
    if names is None:
        return {}, [f"{shown} has no names of classes"]
    pairs = list(
        names.items()
        if isinstance(names, dict)
        else enumerate(names)
        if isinstance(names, list)
        else [(None, None)]
    )
    if wrong := [k for k, _ in pairs if not re.fullmatch(r"[0-9]{1,9}", str(k))]:
        what = str(names if wrong == [None] else wrong[0])[:80]
        raise DatasetError(
            f"{shown}: names is a list, or a mapping of numbers from 0 to names, not {what!r}"
        )
    differs = isinstance(count, int) and count != len(pairs)
    return {int(k): str(v) for k, v in pairs}, (
        [f"{shown}: nc is {count}, and there are {many(len(pairs), 'name')}"] if differs else []
    )


def _places(given: Any) -> list[Any]:  # noqa: ANN401
    """What a split of a data.yaml names, one after the other, from lists within lists, too."""
    if isinstance(given, list):
        return [place for one in given for place in _places(one)]
    return [] if given in (None, "") else [given]


def _base(root: str, file: str, above: object) -> tuple[str, str]:
    """The folder below the root that paths of a data.yaml start from, and what is to be said of an
    absolute one: what is curated still names the source.
    """
    if not isinstance(above, str) or not above:
        return "", ""
    whole = posixpath.join(root, posixpath.dirname(file), above)
    folder = whole if os.path.isdir(whole) else posixpath.join(root, above)
    if not os.path.isdir(folder):
        return "", "is absolute and not there" if posixpath.isabs(above) else ""
    far = "is absolute: in the curated set it names the source" if posixpath.isabs(above) else ""
    short = posixpath.relpath(os.path.realpath(folder), os.path.realpath(root))
    return ("", far) if short == "." or short.startswith("..") else (short, far)


def _below(root: str, base: str, name: str) -> str:
    """A folder or file of a data.yaml below the root.

    As it says, or without `../` before it, which exports of Roboflow have too many of.
    """
    name = name.replace("\\", "/")
    plain = re.sub(r"^(\.\./)+", "", name)
    if posixpath.isabs(name):
        name = posixpath.relpath(os.path.realpath(name), os.path.realpath(root))
    tried = [posixpath.join(base, name), posixpath.join(base, plain), plain, name]
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
                    if line.strip() and (image := _listed_in(line, place, root))
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
        return (
            label_bytes(os.path.join(root, name), (root,), LARGEST).decode("utf-8-sig").split("\n")
        )
    except (LabelError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path_text(name)} cannot be read: {error}") from None


def _listed_in(line: str, name: str, root: str) -> str:
    """The picture that a line of a list names.

    `./` starts from the list's own folder, a plain path from there or from the root.
    """
    path = line.removeprefix("\ufeff").strip()
    if path.startswith("/"):
        return path_text(posixpath.relpath(os.path.realpath(path), os.path.realpath(root)))
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    plain = posixpath.normpath(path)
    return path_text(
        beside if path.startswith("./") or os.path.exists(os.path.join(root, beside)) else plain  # noqa: PTH110
    )


@dataclass(frozen=True)
class Texts:
    """The text files of a folder by their path without `.txt`, and how its `labels` are spelled."""

    files: Mapping[str, str]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, files: Iterable[str]) -> Texts:
        """Those among some files."""
        texts = [file for file in files if file.lower().endswith(".txt")]
        folders = {
            part for file in texts for part in file.split("/")[:-1] if part.lower() == "labels"
        }
        return cls({file[: -len(".txt")]: file for file in texts}, tuple(sorted(folders)))

    def of_picture(self, image: str) -> str | None:
        """A picture's label file: below `labels` in the place of `images`, else beside it."""
        stem = posixpath.splitext(image)[0]
        parts = stem.split("/")
        for at in range(len(parts) - 2, -1, -1):
            if parts[at].lower() in {"images", "jpegimages", "imgs"}:
                for folder in self.folders:
                    if found := self.files.get("/".join([*parts[:at], folder, *parts[at + 1 :]])):
                        return found
        return self.files.get(stem)

    def orphans(self, root: str, used: Container[str | None]) -> list[str]:
        """Label files of no picture: below `labels`, or elsewhere with lines of numbers."""
        return sorted(
            file
            for file in self.files.values()
            if file not in used
            and (set(self.folders) & set(file.split("/")[:-1]) or _has_labels(root, file))
        )


def _has_labels(root: str, file: str) -> bool:
    with suppress(LabelError):
        lines = label_bytes(media_path(root, file), (root,), LARGEST).strip().splitlines()
        return bool(lines) and all(map(LINE.fullmatch, lines[:5]))
    return False


def _doubts(
    files: Iterable[str],
    images: Mapping[str, Any],
    used: Mapping[str | None, int],
    orphans: Sequence[str],
) -> list[str]:
    """Pictures in no split, label files of no picture, and those of several."""
    left = [
        file
        for file in files
        if posixpath.splitext(file)[1].lower() in IMAGES and file not in images
    ]
    shared = [text for text, count in used.items() if text and count > 1]
    found = [
        (left, "picture", "in no split of the data.yaml", ": left out"),
        (orphans, "label file", "of no picture", ""),
        (shared, "label file", "of several pictures of its name", ""),
    ]
    return [
        f"{many(len(some), what)} {how} ({listed(some, 3)}){end}"
        for some, what, how, end in found
        if some
    ]


def _names(root: str, config: Config, files: Sequence[str]) -> dict[int, str]:
    if config.names:
        return dict(config.names)
    file = next((file for file in files if posixpath.basename(file).lower() in NAMES), None)
    return (
        {}
        if file is None
        else {
            number: line.strip() for number, line in enumerate(_lines(root, file)) if line.strip()
        }
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
) -> tuple[list[dict[str, Any]] | None, list[str], str | None]:
    """The objects of a label file (None if it cannot be read), what is wrong in it, and the hash
    of its bytes.
    """
    try:
        data = label_bytes(media_path(root, text), (root,), LARGEST)
        lines = data.decode("utf-8").splitlines()
    except (LabelError, UnicodeDecodeError) as error:
        return None, [f"{text}: {error}"], None
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


def _numbers(first: str, rest: Sequence[str]) -> tuple[int, list[float]]:
    """The class of a line and what follows it. Raises ValueError with what is wrong."""
    try:
        index, *values = [math.nan if "_" in word else float(word) for word in (first, *rest)]
    except ValueError:
        raise ValueError(f"no numbers: {' '.join([first, *rest])[:60]!r}") from None
    if not all(map(math.isfinite, values)):
        raise ValueError("a number that is none (NaN or infinite)")
    if not index.is_integer() or abs(index) > MOST_CLASSES:
        raise ValueError(f"the class {first[:60]!r} is no whole number")
    return int(index), values


def _object(
    line: str, number: int, size: tuple[int, int] | None, names: Mapping[int, str], config: Config
) -> dict[str, Any]:
    """The object of a line. Raises ValueError with what is wrong."""
    first, *rest = line.split()
    index, values = _numbers(first, rest)
    if any(abs(value) > FAR for value in values[: None if len(values) > BOX else 4]):
        raise ValueError(f"the coordinates are no fractions of the picture: {line.strip()[:60]!r}")
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
