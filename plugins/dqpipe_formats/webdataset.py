"""WebDataset: samples as members of tar archives, `key.jpg`, `key.cls`, `key.json`, `key.txt`.

Written into the same shards.
"""

# names stay as the system gives them; Path would make an object of each
# ruff: noqa: PTH100, PTH103, PTH111, PTH112, PTH113, PTH118, PTH119, PTH120, PTH123
from __future__ import annotations

import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from dqpipe import (
    ChangedError,
    Dataset,
    DatasetError,
    Inside,
    OutputError,
    Reader,
    Recognition,
    Samples,
    Writer,
    containers,
    extension,
    is_url,
    listed,
    many,
    media_path,
    path_text,
    read_bytes,
)
from dqpipe_formats.annotated import PROBLEMS, plain_text, refuse_roles, split_of, told
from dqpipe_formats.copying import CHUNK, below, keep_mode, writing
from dqpipe_formats.curated import media_of, write_manifest
from dqpipe_formats.json_spans import Edit, edited
from dqpipe_formats.json_spans import members as keys_of
from dqpipe_formats.listing import Listing
from dqpipe_formats.placing import file_name, safe
from dqpipe_formats.records import is_new, values_of
from dqpipe_formats.roles import IMAGES

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS, LARGEST_TEXT = 100_000, 1 << 20
PROBED = 20
LABEL_KEYS = ("label", "class", "cls")
"""What the label is called in a sample's JSON."""
BLOCK, RECORD = 512, 10_240
"""Bytes of a tar archive's blocks, and the multiple that its length is."""


@dataclass
class Shard:
    """One archive: for each key its members, by extension, in their order; of two members of one
    name the last, as in tar.
    """

    name: str
    keys: dict[str, dict[str, tarfile.TarInfo]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, root: str, name: str, most: int | None = None) -> Shard:
        """The members of an archive, or its first ones. Raises DatasetError."""
        made, twice, odd = cls(name), list[str](), list[str]()
        with open(media_path(root, name), "rb") as file:
            for number, (one, _) in enumerate(headers(file, name)):
                if number == most:
                    return made
                key, ending = split_name(one.name)
                if not one.isreg() or one.sparse is not None:
                    odd += [] if one.isdir() else [path_text(one.name)]
                elif ending:
                    members = made.keys.setdefault(key, {})
                    twice += [path_text(one.name)] if ending in members else []
                    members[ending] = one
            made.doubts += _behind(file, name)
        for some, what in ((twice, "twice: the last counts"), (odd, "no plain file: left alone")):
            if some:
                made.doubts.append(
                    f"{name}: {many(len(some), 'member')} {what} ({listed(map(repr, some), 3)})"
                )
        return made


def headers(file: IO[bytes], name: str) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Each member of an archive and the place of its end; the file stands at the archive's end
    then. Raises DatasetError.
    """
    try:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for one in archive:
                if archive.offset <= one.offset:  # Python's reader would go round in circles
                    raise tarfile.ReadError(f"{one.name[:80]!r} has a size below zero")
                yield one, archive.offset
            file.seek(archive.offset)
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise DatasetError(
            f"{name} is no tar archive that can be read, or it is cut short: {error}"
        ) from None


def _behind(file: IO[bytes], name: str) -> list[str]:
    """What is to be said of the end of an archive. Raises DatasetError where it is no end."""
    at = file.tell()
    block = file.read(BLOCK)
    if block.strip(b"\0"):
        raise DatasetError(
            f"{name}: the header at byte {at:,} is broken, and what lies behind it cannot be read"
        )
    if len(block) < BLOCK:
        return [f"{name} ends without the mark of an end: it may be cut short"]
    while chunk := file.read(CHUNK):
        if chunk.strip(b"\0"):
            return [f"{name} holds more behind its end (byte {at:,}), which is left alone"]
    return []


@extension
class WebDataset(Reader):
    """WebDataset: tar archives whose members with one key are a sample, a picture with `.cls`,
    `.txt` or `.json` beside it.

    The source is an archive, a folder of them, or a path with braces (`train-{000..011}.tar`).
    Pictures are read where they lie. The label is what `.cls` holds, else `label` or `class` of the
    JSON; `.txt` and `.json` become columns. Splits are told by the names of shards.
    """

    name = "webdataset"
    version = 1
    knows = "WebDataset tar shards: an archive, a folder of them, or a path with braces"

    def suits(self, source: object) -> int:
        """Archives with pictures in them."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By the first members of the first archive."""
        try:
            root, names = shards_of(source)
            shard = Shard.of(root, names[0], PROBED) if names else None
        except DatasetError:
            return Recognition(0)
        image = (
            next((name for key in shard.keys.values() if (name := image_of(key))), None)
            if shard
            else None
        )
        listing = Listing.of(source)
        if image is None or (listing is not None and listing.images):
            return Recognition(0)
        return Recognition(
            90,
            (
                f"{many(len(names), 'tar archive')} with pictures and their labels, such as "
                f"{image.name!r}"
            ),
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset. Raises DatasetError: no archive, one that is broken, no picture."""
        refuse_roles("WebDataset", roles)
        root, names = shards_of(source)
        rows, bare, doubts, inside = [], 0, list[str](), Inside((root,))
        for name in names:
            if not inside.holds(media_path(root, name)):
                raise DatasetError(f"{name} is a link to outside the dataset's folder")
            shard, split = Shard.of(root, name), split_of(name)
            doubts += shard.doubts
            with open(media_path(root, name), "rb") as file:
                for key, members in shard.keys.items():
                    image = image_of(members)
                    bare += image is None
                    if image is not None:
                        found, problems = _fields(file, members)
                        rows.append(
                            {
                                **found,
                                "key": path_text(key),
                                "shard": name,
                                "split": split,
                                "media": containers.member(name, path_text(image.name)),
                                PROBLEMS: told([f"{name}, {problem}" for problem in problems]),
                            }
                        )
        if not rows:
            raise DatasetError(f"no picture is in {listed(names, 3)}")
        keys = [row["key"] for row in rows]
        unique = len(set(keys)) == len(keys)
        for row in rows:
            row["id"] = row["key"] if unique else f"{row['shard']}/{row['key']}"
        doubts += [f"{many(bare, 'key')} without a picture: left alone"] if bare else []
        layout = {
            "shards": {name: _stamp(root, name) for name in names},
            "keys": {row["id"]: [row["shard"], row["key"]] for row in rows},
            "doubts": doubts,
        }
        columns = [
            name
            for name in ("id", "media", "label", "split", "txt", "json", PROBLEMS)
            if any(row.get(name) is not None for row in rows)
        ]
        columns = [
            name for name in columns if name != "split" or len({row["split"] for row in rows}) > 1
        ]
        table = pa.table(
            {name: pa.array([row.get(name) for row in rows], pa.string()) for name in columns}
        )
        return Dataset(Samples(table.sort_by("id")), path_text(root), self.name, layout)


@extension
class WebDatasetWriter(Writer):
    """The same archives with the members of what is kept, as they were; new samples stand in the
    archive of their parent.
    """

    name = "webdataset"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the archives and manifest.parquet. Raises OutputError, ChangedError."""
        samples, media = dataset.samples, media_of(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        if files == "manifest":
            write_manifest(
                dataset,
                [
                    path
                    if path is None or path.startswith("/")
                    else posixpath.join(dataset.root, path)
                    for path in media
                ],
                folder,
            )
            return
        changed = [
            name
            for name, stamp in dataset.layout["shards"].items()
            if _stamp(dataset.root, name) != stamp
        ]
        if changed:
            raise ChangedError(changed)
        labels, parents = values_of(samples, "label"), values_of(samples, "parent")
        members = _members_of(dataset, parents)
        references = list(media)
        for name in dataset.layout["shards"]:
            shard = Shard.of(dataset.root, name)
            kept, new = dict[str, str | None](), list[tuple[int, str]]()
            for row, key, made in members.get(name, ()):
                if made:
                    new.append((row, f"{posixpath.dirname(key)}/" if "/" in key else ""))
                else:
                    kept[media_path("", key)] = labels[row]
            added = [(row, _new_members(dataset, row, prefix, labels[row])) for row, prefix in new]
            for row, pairs in added:
                if pairs:
                    references[row] = containers.member(name, pairs[0][0])
            _write_shard(dataset, folder, shard, kept, [one for _, pair in added for one in pair])
        write_manifest(dataset, references, folder)


def _members_of(
    dataset: Dataset, parents: Sequence[str | None]
) -> dict[str, list[tuple[int, str, bool]]]:
    """The samples of each archive as (row, key, whether new); new ones go by their parent."""
    found: dict[str, list[tuple[int, str, bool]]] = {}
    rows = zip(dataset.samples.ids, parents, is_new(dataset.samples), strict=True)
    for row, (sample, parent, made) in enumerate(rows):
        name, key = dataset.layout["keys"].get(parent if made else sample, (None, ""))
        if name is not None:
            found.setdefault(name, []).append((row, key, made))
    return found


def split_name(name: str) -> tuple[str, str]:
    """The key of a member and its extension in lower case.

    All behind the first dot of its file name.
    """
    folder, base = posixpath.split(name)
    stem, _, ending = base.partition(".")
    return posixpath.join(folder, stem), ending.lower()


def image_of(members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The picture among the members of a key."""
    return next(
        (one for ending, one in members.items() if "." + ending.rpartition(".")[2] in IMAGES), None
    )


def shards_of(source: object) -> tuple[str, list[str]]:
    """The folder of a dataset and its archives below it. Raises DatasetError."""
    if not isinstance(source, (str, os.PathLike)) or is_url(source):
        raise DatasetError("WebDataset is read from archives on this machine")
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(path):
        listing = Listing.of(path)
        names = [path_text(name) for name in (listing.ending(".tar") if listing else ())]
        root = path
    else:
        root = os.path.dirname(path)
        every = [one for one in _expanded(path) if one.lower().endswith(".tar")]
        names = [path_text(os.path.basename(one)) for one in every if os.path.isfile(one)]
        if names and len(names) < len(every):
            gone = [os.path.basename(one) for one in every if not os.path.isfile(one)]
            raise DatasetError(
                f"{many(len(gone), 'archive')} of {path_text(path)} cannot be found: "
                f"{listed(map(path_text, gone), 5)}"
            )
    if not names:
        raise DatasetError(f"there is no tar archive at {str(source)[:200]!r}")
    return root, names


def _expanded(path: str) -> Iterator[str]:
    """The paths that braces stand for, numbers as wide as they are written."""
    match = BRACES.search(os.path.basename(path))
    if match is None:
        yield path
        return
    low, high = int(match[1]), int(match[2])
    if high - low >= MOST_SHARDS:
        raise DatasetError(f"{match[0]} stands for more than {MOST_SHARDS:,} archives")
    folder, base = os.path.split(path)
    for number in range(low, high + 1):
        yield from _expanded(
            os.path.join(
                folder, base[: match.start()] + f"{number:0{len(match[1])}d}" + base[match.end() :]
            )
        )


def _fields(
    file: IO[bytes], members: Mapping[str, tarfile.TarInfo]
) -> tuple[dict[str, str | None], list[str]]:
    """The label and the texts of a sample, and what is wrong in them."""
    texts, problems = dict[str, str | None](), list[str]()
    for ending in ("cls", "txt", "json"):
        if one := members.get(ending):
            texts[ending] = _text(file, one)
            if texts[ending] is None:
                problems.append(
                    f"{path_text(one.name)}: it has {one.size / 1e6:,.1f} MB, and "
                    f"{LARGEST_TEXT / 1e6:,.0f} MB is the most that is read"
                )
    label, value = texts.get("cls"), None
    if texts.get("json"):
        try:
            value = json.loads(str(texts["json"]))
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            problems.append(
                f"{path_text(members['json'].name)}, line {line}: not JSON: {str(error)[:200]}"
            )
    if "cls" not in members and isinstance(value, dict):
        found = next((value[name] for name in LABEL_KEYS if name in value), None)
        label = str(found) if isinstance(found, (str, int)) else None
    return {
        "label": plain_text(label.strip()) if label else None,
        "txt": texts.get("txt"),
        "json": texts.get("json"),
    }, problems


def _text(file: IO[bytes], one: tarfile.TarInfo) -> str | None:
    if one.size > LARGEST_TEXT:
        return None
    file.seek(one.offset_data)
    return file.read(one.size).decode("utf-8", "replace")


def _stamp(root: str, name: str) -> list[int]:
    """By what a change of an archive is seen."""
    try:
        found = Path(media_path(root, name)).stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _new_members(
    dataset: Dataset, row: int, prefix: str, label: str | None
) -> list[tuple[str, bytes]]:
    """The members of a new sample: its picture, and its class."""
    media = str(dataset.samples["media"][row])
    key = prefix + file_name(str(dataset.samples.ids[row])).replace(".", "_")
    found = [(key + posixpath.splitext(media)[1], read_bytes(media_path(dataset.root, media)))]
    return found + ([(f"{key}.cls", label.encode())] if label is not None else [])


def _write_shard(
    dataset: Dataset,
    folder: Path,
    shard: Shard,
    kept: Mapping[str, str | None],
    new: Sequence[tuple[str, bytes]],
) -> None:
    """Write an archive with the members of the kept keys, block by block as they were."""
    place = safe(shard.name)
    if place is None:
        raise OutputError(f"{shard.name!r} lies outside the dataset's folder")
    source, target = media_path(dataset.root, shard.name), below(folder, place)
    with writing(folder), open(source, "rb") as file:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb") as out:
            gone = {
                key
                for key, members in shard.keys.items()
                if image_of(members) is not None and key not in kept
            }
            others = {
                key: label
                for key, label in kept.items()
                if label is not None and label != _fields(file, shard.keys[key])[0]["label"]
            }
            if not (gone or others or new):
                _copy(file, out, 0, os.fstat(file.fileno()).st_size)
            else:
                _rewritten(file, out, shard.name, (gone, others), new)
        keep_mode(source, target)


def _rewritten(
    file: IO[bytes],
    out: IO[bytes],
    name: str,
    changes: tuple[set[str], Mapping[str, str | None]],
    new: Sequence[tuple[str, bytes]],
) -> None:
    """Copy an archive without the keys that are gone, with new labels of others, and with new
    members at its end.
    """
    gone, others = changes
    members, end = list(headers(file, name)), file.tell()
    classed = {
        key for one, _ in members for key, ending in [split_name(one.name)] if ending == "cls"
    }
    said, at = set(classed), 0
    for one, behind in members:
        key, ending = split_name(one.name)
        in_json = ending == "json" and key not in classed
        if not ending or not (key in gone or (key in others and (ending == "cls" or in_json))):
            continue
        _copy(file, out, at, one.offset)
        at = behind
        if key not in gone:
            label = others[key]
            text = _with_label(str(_text(file, one)), label, one.name) if in_json else str(label)
            _add(out, one, text.encode())
            said.add(key)
    _copy(file, out, at, end)
    if lost := [key for key in others if key not in said]:
        raise OutputError(
            f"a new label has no place, as there is neither .cls nor .json beside the picture: "
            f"{listed(lost, 3)}"
        )
    for name_, data in new:
        _add(out, tarfile.TarInfo(name_), data)
    out.write(b"\0" * (2 * BLOCK))
    out.write(b"\0" * (-out.tell() % RECORD))


def _with_label(text: str, label: str | None, name: str) -> str:
    """A JSON text with another label, all else as it is written."""
    places = dict(keys_of(text, 0, name, {}))
    place = next((places[key] for key in LABEL_KEYS if key in places), None)
    if place is None:
        raise OutputError(f"{name} has no label to change")
    new = (
        label
        if isinstance(place.value, int) and str(label).lstrip("-").isdigit()
        else json.dumps(label, ensure_ascii=False)
    )
    return edited(text, [Edit(place.start, place.end, str(new))])


def _add(out: IO[bytes], one: tarfile.TarInfo, data: bytes) -> None:
    made = tarfile.TarInfo(one.name)
    made.mode, made.mtime, made.uid, made.gid, made.uname, made.gname = (
        one.mode,
        one.mtime,
        one.uid,
        one.gid,
        one.uname,
        one.gname,
    )
    made.size = len(data)
    out.write(made.tobuf(tarfile.PAX_FORMAT) + data + b"\0" * (-len(data) % BLOCK))


def _copy(file: IO[bytes], out: IO[bytes], start: int, end: int) -> None:
    file.seek(start)
    left = end - start
    while left and (chunk := file.read(min(left, io.DEFAULT_BUFFER_SIZE * 128))):
        out.write(chunk)
        left -= len(chunk)
