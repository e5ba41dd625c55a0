"""Masks beside images: a picture and its mask are one sample, which stays or goes as a whole."""

# names stay as the system gives them; Path would make an object of each
from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from dqpipe import (
    Dataset,
    Reader,
    Recognition,
    Samples,
    Writer,
    extension,
    is_url,
    listed,
    many,
    path_text,
)
from dqpipe_formats.annotated import (
    folder_of,
    left_out,
    refuse_empty,
    refuse_roles,
    split_of_folder,
    write_folder,
)
from dqpipe_formats.curated import media_of
from dqpipe_formats.layouts import ENOUGH, LABELS, MASKS, SPLIT_MASKS, plain
from dqpipe_formats.listing import Listing
from dqpipe_formats.roles import IMAGES
from dqpipe_formats.walking import Walk

OF_MASK = re.compile(
    r"[_.-](mask|masks|seg|segmentation|label|labels|labelids|gt|l|gtfine_\w+|instanceids|color)$",
    re.IGNORECASE,
)
"""How the name of a mask ends, beyond that of its picture."""
OF_PICTURE = re.compile(r"[_.-](leftimg8bit|image|img|rgb|sat)$", re.IGNORECASE)
FIRST = ("labelids", "_mask", "_l")
"""Of several masks of a picture, the one that stands in the column.

By what its name holds, then the shortest.
"""
ABOUT = re.compile(r"(class|label|colou?r|palette)\w*\.(txt|csv|json)", re.IGNORECASE)
"""Files at the top that say what the values of masks mean."""


@extension
class MasksReader(Reader):
    """Pictures with masks of the same names: in `images` and `masks`, in `train` and `trainannot`,
    or as `a.jpg` and `a_mask.png`.

    The picture is the sample's media; the column `mask` has the path of its mask, and a picture
    without one has none. Masks stay with their pictures: they are copied as they are, and go where
    a picture is dropped.
    """

    name = "masks"
    version = 1
    knows = (
        "masks beside images, by folders and names (`images` + `masks`, `train` + `trainannot`, "
        "`a.jpg` + `a_mask.png`)"
    )

    def suits(self, source: object) -> int:
        """A folder where most pictures have a mask."""
        return self.recognise(source).score

    def recognise(self, source: object) -> Recognition:
        """By folders of masks, or names of them, that belong to most of the pictures."""
        listing = None if is_url(source) else Listing.of(source)
        if listing is None:
            return Recognition(0)
        pairs, _ = paired(listing.images)
        found = [(image, masks) for image, masks in pairs.items() if masks]
        if not found or len(found) < ENOUGH * len(pairs):
            return Recognition(0)
        return Recognition(
            80,
            f"pictures have masks of their names, such as {found[0][0]!r} and {found[0][1][0]!r}",
        )

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset. Raises DatasetError: no folder, or no picture with a mask."""
        refuse_roles("a folder of masks", roles)
        root = folder_of(source, "masks beside images are")
        walk = Walk(root).run()
        files = [path_text(file) for file in walk.files]
        pairs, orphans = paired(
            file for file in files if posixpath.splitext(file)[1].lower() in IMAGES
        )
        refuse_empty(
            [image for image, masks in pairs.items() if masks],
            root,
            "picture with a mask of its name",
        )
        images = sorted(pairs)
        splits = [split_of_folder(posixpath.dirname(image)) for image in images]
        columns = {
            "id": images,
            "media": images,
            "mask": [next(iter(pairs[image]), None) for image in images],
        }
        columns |= {"split": splits} if len(set(splits)) > 1 else {}
        bare = [image for image in images if not pairs[image]]
        doubts = (
            [f"{many(len(bare), 'picture')} without a mask ({listed(bare, 3)})"] if bare else []
        )
        doubts += (
            [f"{many(len(orphans), 'mask')} of no picture ({listed(orphans, 3)})"]
            if orphans
            else []
        )
        doubts += left_out(walk.skipped)
        about = [file for file in files if "/" not in file and ABOUT.fullmatch(file)]
        layout = {
            "masks": {image: masks for image, masks in pairs.items() if masks},
            "carried": [*orphans, *about],
            "doubts": doubts,
        }
        return Dataset(
            Samples(
                pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
            ),
            path_text(root),
            self.name,
            layout,
        )


@extension
class MasksWriter(Writer):
    """The same folders, each picture with its masks."""

    name = "masks"
    version = 1

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write the pictures, their masks and manifest.parquet. Raises OutputError."""
        masks = dataset.layout["masks"]
        write_folder(
            dataset,
            folder,
            files,
            [masks.get(path, []) for path in media_of(dataset)],
            dataset.layout["carried"],
        )


def paired(images: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The masks of each picture, and the masks of none."""
    every = list(images)
    pictures: dict[tuple[str, ...], list[str]] = {}
    masks: list[tuple[tuple[str, ...], str]] = []
    suffixed = {posixpath.splitext(image)[0] for image in every}
    for image in every:
        folders, stem = image.split("/")[:-1], posixpath.splitext(posixpath.basename(image))[0]
        if any(_of_masks(folder) for folder in folders) or (
            OF_MASK.search(stem) and posixpath.join(*folders, OF_MASK.sub("", stem)) in suffixed
        ):
            masks.append(((*plain(folders), OF_MASK.sub("", stem)), image))
        else:
            pictures.setdefault((*plain(folders), stem), []).append(image)
    for key, some in list(pictures.items()):
        pictures.setdefault((*key[:-1], OF_PICTURE.sub("", key[-1])), some)
    found: dict[str, list[str]] = {image: [] for some in pictures.values() for image in some}
    orphans = list[str]()
    for key, mask in masks:
        exact = (*key[:-1], posixpath.splitext(posixpath.basename(mask))[0])
        of = pictures.get(exact) or pictures.get(key) or []
        for image in of:
            found[image].append(mask)
        orphans += [] if of else [mask]
    return {image: sorted(every, key=_rank) for image, every in found.items()}, sorted(orphans)


def _of_masks(folder: str) -> bool:
    return folder.lower() in MASKS | LABELS or SPLIT_MASKS.fullmatch(folder) is not None


def _rank(mask: str) -> tuple[int, int, str]:
    stem = posixpath.splitext(posixpath.basename(mask))[0].lower()
    return next((at for at, word in enumerate(FIRST) if word in stem), len(FIRST)), len(mask), mask
