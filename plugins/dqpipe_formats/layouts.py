"""What a folder that is no image folder looks like.

Names of folders that are no classes, and the formats that use them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from dqpipe import listed, splits
from dqpipe_formats.listing import Listing, stems

PICTURES = frozenset(
    {"image", "images", "img", "imgs", "jpegimages", "pictures", "photos", "frames", "leftimg8bit"}
)
"""Folders that hold the pictures of all classes."""
LABELS = frozenset(
    {
        "label",
        "labels",
        "annotation",
        "annotations",
        "annot",
        "annots",
        "ann",
        "anns",
        "bbox",
        "bboxes",
        "boxes",
        "keypoints",
        "landmarks",
    }
    | {
        "xml",
        "xmls",
        "json",
        "jsons",
        "gt",
        "groundtruth",
        "ground_truth",
        "gtfine",
        "imagesets",
        "captions",
        "metadata",
    }
)
MASKS = frozenset(
    {
        "mask",
        "masks",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "segmentationobject",
        "segmaps",
        "labelmaps",
    }
)
SPLIT_MASKS = re.compile(
    r"(train|val|valid|validation|test)[ _-]?(annot|annots|annotations|labels?|masks?|gt)",
    re.IGNORECASE,
)
"""As camvid's trainannot beside train."""
ENOUGH = 0.5
"""So many of the pictures in class folders with a file of the same name beside them are annotated
pictures.
"""


def plain(folders: Iterable[str]) -> tuple[str, ...]:
    """Folders without those that only say whether pictures, masks or labels are in them."""
    found = []
    for folder in folders:
        if match := SPLIT_MASKS.fullmatch(folder):
            found.append(match[1].lower())
        elif folder.lower() not in PICTURES | MASKS | LABELS:
            found.append(folder.lower() if splits.kind_of(folder) else folder)
    return tuple(found)


def refusal(listing: Listing) -> str:
    """Why a folder is no image folder, and what it looks like; "" where it may be one."""
    names = {
        part.lower(): part
        for file in listing.files
        for part in posixpath.dirname(file).split("/")
        if part
    }
    apart = sorted(
        shown
        for name, shown in names.items()
        if name in PICTURES | LABELS or SPLIT_MASKS.fullmatch(name)
    )
    masks = sorted(shown for name, shown in names.items() if name in MASKS)
    only_masks = masks and not set(names) - MASKS - PICTURES - LABELS
    if apart or only_masks:
        told = (
            f"{_quoted([*apart, *masks])} "
            f"{'is no class' if len(apart) + len(masks) == 1 else 'are no classes'}"
        )
        return f"this is no image folder, whose folders are classes: {told}. {looks_like(listing)}"
    beside = annotated(listing)
    if beside:
        return (
            f"this is no image folder, whose folders are classes: pictures have {beside} files of "
            f"the same name beside them. {looks_like(listing)}"
        )
    shards = listing.ending(".tar", ".arrow")
    if shards and not listing.images:
        return (
            f"this folder holds no pictures but {listed(map(repr, shards), 3)}. "
            f"{looks_like(listing)}"
        )
    return ""


def annotated(listing: Listing) -> str:
    """The extension of the files of the same name that most pictures have beside them, "" if there
    are none.
    """
    images = {posixpath.splitext(file)[0] for file in listing.images}
    for ending in (".txt", ".xml", ".json"):
        beside = {posixpath.splitext(file)[0] for file in listing.ending(ending)}
        if images and len(images & beside) >= ENOUGH * len(images):
            return ending
    return ""


def looks_like(listing: Listing) -> str:
    """What a layout that no reader takes for its own looks like, and what to do."""
    names = {
        part.lower()
        for file in listing.files
        for part in posixpath.dirname(file).split("/")
        if part
    }
    found = [text for text, there in _likenesses(listing, names) if there]
    lead = (
        f"It looks like {' or '.join(found)}"
        if found
        else "It looks like pictures with their labels in another place"
    )
    table = next(iter(listing.ending(".csv", ".tsv", ".jsonl", ".parquet")), None)
    more = f"; `dqpipe init` reads {table!r} if that names the pictures" if table else ""
    return (
        f"{lead}, in a layout that is not known{more}. A table with a column of the pictures' "
        f"paths and one of labels is read as a manifest."
    )


def _likenesses(listing: Listing, names: set[str]) -> Iterable[tuple[str, bool]]:
    xml = [listing.head(file)[:4096] for file in listing.ending(".xml")[:5]]
    json_ = [listing.head(file)[:4096] for file in listing.ending(".json")[:5]]
    images, texts = stems(listing.images), stems(listing.ending(".txt"))
    yield "CVAT XML", any(b"<image " in head or b"<annotations>" in head for head in xml)
    yield (
        "Pascal VOC (XML files with <annotation>)",
        any(b"<annotation" in head and b"<annotations>" not in head for head in xml),
    )
    yield "LabelMe (a JSON file for each picture)", any(b'"shapes"' in head for head in json_)
    yield (
        "COCO (a JSON file with images and annotations)",
        any(b'"images"' in head or b'"annotations"' in head for head in json_),
    )
    yield "YOLO (a text file for each picture)", bool(images & texts)
    yield "masks beside images", bool(names & MASKS) or any(map(SPLIT_MASKS.fullmatch, names))
    yield "WebDataset (tar shards)", bool(listing.ending(".tar"))
    yield "a dataset of Hugging Face's `save_to_disk`", bool(listing.ending(".arrow"))


def _quoted(names: list[str]) -> str:
    return listed(map(repr, names), 5)
