"""Faults of the objects of a picture that their geometry and their classes tell."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Samples,
    Shard,
    Stage,
    claim,
    extension,
    figure,
    labels,
    many,
    option,
)
from dqpipe_objects.flat import Flat
from dqpipe_objects.geometry import bounds, crossing, iou, partners

if TYPE_CHECKING:
    import pandas as pd

TURNED = 5
"""From this EXIF orientation on width and height change places."""
LIMIT = 1e8
"""Pixels from which a coordinate is none."""
SLACK = 1.0
"""Pixels that a box may reach beyond its picture: edges are counted from 0 or from 1."""
FEW = 30
"""Objects of a class that a usual size needs."""
MOSTLY = 0.98
"""Share of the annotated pictures with objects from which one without any is an exception."""


@extension
class Objects(Stage):
    """Boxes outside their picture, without area, given twice or under two classes, polygons that
    cross themselves or leave their box, keypoints outside, classes spelled in two ways.

    Each finding names its object (the part). Nothing is changed: where a repair is certain, the box
    cut to the picture or with its corners in order, it is told.
    """

    name = "objects"
    version = 1
    default = True
    media: ClassVar[bool | None] = True
    """Whether it is proposed for datasets with media only, without only, or (None) for both."""
    rendition = "header"
    needs = ("label", "media")
    duplicate: float = option(
        0.9, "overlap (intersection over union) from which two objects are one", gt=0, le=1
    )
    outside: float = option(
        0.01, "claim a box of which more than this share lies outside its picture", ge=0, lt=1
    )
    polygon: float = option(
        0.5, "claim a box whose overlap with its own polygon is below this", ge=0, le=1
    )
    odd_size: float = option(
        6.0, "claim sizes this many robust standard deviations from their class", gt=0
    )
    gives = (
        Fact("width", "float32", "width of the picture as stored, pixels"),
        Fact("height", "float32", "height of the picture as stored, pixels"),
        Fact("turned", "bool", "whether EXIF turns the picture by 90 or 270 degrees"),
        Claim(
            "broken",
            "error",
            "Coordinates that are no numbers, or of a polygon of less than three points.",
            title="Broken coordinates",
        ),
        Claim(
            "inverted",
            "warning",
            "A box with its corners in the wrong order.",
            title="Inverted boxes",
        ),
        Claim("empty", "warning", "A box without area.", title="Boxes without area"),
        Claim(
            "outside",
            "warning",
            "A box that reaches beyond its picture.",
            title="Boxes outside of the picture",
        ),
        Claim(
            "keypoint_outside",
            "warning",
            "A visible keypoint outside of the picture.",
            title="Keypoints outside of the picture",
        ),
        Claim(
            "turned",
            "warning",
            "The boxes fit the picture only before or after EXIF turns it.",
            title="Boxes of a turned picture",
        ),
        Claim("duplicate", "warning", "The same object, given twice.", title="Objects given twice"),
        Claim(
            "two_classes",
            "warning",
            "One place, given under two classes.",
            title="Objects under two classes",
        ),
        Claim(
            "polygon_off",
            "warning",
            "The box and the polygon of an object lie apart.",
            title="Boxes apart from their polygon",
        ),
        Claim(
            "crossing",
            "info",
            "A polygon of which two sides cross.",
            title="Polygons that cross themselves",
        ),
        Claim("no_class", "warning", "An object without a class.", title="Objects without a class"),
        Claim(
            "class_spelling",
            "warning",
            "A class that another one differs from by case or spaces alone.",
            title="Classes spelled in two ways",
        ),
        Claim(
            "odd_size",
            "info",
            "Much larger or smaller than is usual for its class.",
            title="Unusually large or small objects",
        ),
        Claim(
            "none",
            "info",
            "No object, where nearly all annotated pictures have some.",
            title="Pictures without objects",
        ),
        Figure("objects", "objects of the set, of each class, and on the average of a picture"),
    )

    def objection(self, samples: Samples) -> str | None:
        """Why it cannot run on these samples."""
        if labels.kind_in(samples) != "objects":
            return "it looks at objects, and the labels of these samples are none"
        return None

    @classmethod
    def proposal(cls, samples: Samples) -> dict[str, Any] | None:
        """Options for a first pipeline; None where labels are no objects."""
        return {} if "label" in samples and labels.kind_in(samples) == "objects" else None

    def measure(self, shard: Shard) -> dict[str, Any]:
        """The size of each picture as it is stored."""
        turned = [getattr(head, "orientation", 1) >= TURNED for head in shard.headers]
        sizes = [(head.width, head.height) for head in shard.headers]
        stored = [size[::-1] if turn else size for size, turn in zip(sizes, turned, strict=True)]
        return {
            "width": [size[0] for size in stored],
            "height": [size[1] for size in stored],
            "turned": turned,
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """One finding for each object and kind of fault."""
        flat = Flat.of(samples.table.column("label"))
        size = np.stack([facts["width"], facts["height"]], 1).astype(np.float64)
        turned = np.array([value is True or value == 1 for value in facts["turned"]], dtype=bool)
        told = Told(samples, flat)
        sound = self._boxes(told, flat, size)
        self._outside(told, flat, size, turned, sound)
        self._twice(told, flat, sound)
        self._polygons(told, flat, sound)
        self._classes(told, flat)
        self._sizes(told, flat, size, sound)
        self._none(told, samples, flat)
        return told.frames

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, object]]:
        """Objects in all, by class, and for each annotated picture."""
        flat = Flat.of(samples.table.column("label"))
        counts = Counter(name for name in flat.name.tolist() if name is not None)
        return [
            figure("objects", len(flat)),
            *(figure("objects", n, scope="class", key=name) for name, n in sorted(counts.items())),
        ]

    def _boxes(self, told: Told, flat: Flat, size: np.ndarray) -> np.ndarray:
        """Claims on boxes that are none; [m] bool of those that are sound."""
        finite = (np.abs(flat.box) < LIMIT).all(1)  # NaN is not below it, either
        x, y, w, h = np.where(finite[:, None], flat.box, np.nan).T
        lists = flat.polygons
        short = np.zeros(len(flat), dtype=bool)
        short[lists.of[(lists.lengths < 6) | (lists.lengths % 2 == 1)]] = True  # noqa: PLR2004 (3 points)
        odd = ~np.isfinite(lists.numbers)
        short[lists.of[lists.list_of[odd]]] = True
        points = flat.keypoints
        short[points.of[points.lengths % 3 != 0]] = True
        short[points.of[points.list_of[~np.isfinite(points.numbers)]]] = True
        broken = (flat.boxed & ~finite) | short
        told.add("broken", broken, "its coordinates are no numbers, or too few", confidence=1.0)
        inverted = finite & ((w < 0) | (h < 0))
        right = np.stack(
            [np.where(w < 0, x + w, x), np.where(h < 0, y + h, y), np.abs(w), np.abs(h)], 1
        )
        told.add(
            "inverted",
            inverted,
            [
                f"width {a:.6g}, height {b:.6g}; in order it is {_text(box)}"
                for a, b, box in zip(w[inverted], h[inverted], right[inverted], strict=True)
            ],
            confidence=1.0,
        )
        empty = finite & ~inverted & ((w == 0) | (h == 0))
        told.add("empty", empty, "its width or height is 0", confidence=1.0)
        return finite & ~inverted & ~empty

    def _outside(
        self,
        told: Told,
        flat: Flat,
        size: np.ndarray,
        turned: np.ndarray,
        sound: np.ndarray,
    ) -> None:
        """Boxes and keypoints beyond the picture, and pictures whose boxes were drawn otherwise."""
        if not len(flat):
            return
        wide = size[flat.row]
        box = np.where(sound[:, None], flat.box, np.nan)
        area = box[:, 2] * box[:, 3]
        low = np.clip(box[:, :2], 0, None)
        high = np.minimum(box[:, :2] + box[:, 2:], wide)
        inside = np.clip(high - low, 0, None).prod(1)
        beyond = np.maximum(-box[:, :2], box[:, :2] + box[:, 2:] - wide).max(1)
        known = sound & np.isfinite(wide).all(1)
        with np.errstate(all="ignore"):
            share = np.where(known, 1 - inside / np.where(area > 0, area, 1), 0.0)
        out = known & (share > self.outside) & (beyond > SLACK)
        # of a picture that EXIF turns: do the boxes fit the other way round?
        other = np.minimum(box[:, :2] + box[:, 2:], wide[:, ::-1] + SLACK)
        fits = known & (box[:, :2] >= -SLACK).all(1)
        fits &= (other >= box[:, :2] + box[:, 2:]).all(1)
        rows = np.unique(flat.row[out & turned[flat.row]])
        count = np.bincount(flat.row[known], minlength=len(size))
        fitting = np.bincount(flat.row[fits], minlength=len(size))
        wrong = rows[fitting[rows] == count[rows]]
        told.whole(
            "turned", wrong, [f"{many(int(count[r]), 'box')} fit the turned picture" for r in wrong]
        )
        out &= ~np.isin(flat.row, wrong)
        cut = np.concatenate([low, np.clip(high - low, 0, None)], 1)
        told.add(
            "outside",
            out,
            [
                f"{s:.1%} of it, {b:.0f} pixels beyond"
                + (f"; cut to the picture it is {_text(part)}" if part[2:].all() else "")
                for s, b, part in zip(share[out], beyond[out], cut[out], strict=True)
            ],
            value=share[out],
            threshold=self.outside,
            confidence=1.0,
        )
        points = flat.keypoints
        place = np.arange(len(points.numbers)) - points.starts[points.list_of]
        xs = np.flatnonzero((place % 3 == 0) & (place + 2 < points.lengths[points.list_of]))
        owner = points.of[points.list_of[xs]]
        seen = points.numbers[xs + 2] > 0
        limit = size[flat.row[owner]]
        far = (points.numbers[xs] < -SLACK) | (points.numbers[xs] > limit[:, 0] + SLACK)
        far |= (points.numbers[xs + 1] < -SLACK) | (points.numbers[xs + 1] > limit[:, 1] + SLACK)
        hits = np.bincount(owner[seen & far], minlength=len(flat))
        told.add(
            "keypoint_outside",
            hits > 0,
            [f"{many(int(n), 'keypoint')} outside" for n in hits[hits > 0]],
            confidence=1.0,
        )

    def _twice(self, told: Told, flat: Flat, sound: np.ndarray) -> None:
        """Objects of one place: of one class the later one is claimed, of two classes both."""
        use = np.flatnonzero(sound & ~flat.crowd)
        box, found = flat.box[use], np.full((2, len(flat)), -1)
        for kind, near in enumerate(partners(flat.row[use], flat.kind[use], box, self.duplicate)):
            found[kind, use[near >= 0]] = use[near[near >= 0]]
        copy_of, beside = found
        at = np.flatnonzero(copy_of >= 0)
        share = iou(flat.box[at], flat.box[copy_of[at]])
        told.add(
            "duplicate",
            copy_of >= 0,
            [
                f"covers object {name} to {s:.1%}"
                for name, s in zip(flat.id[copy_of[at]], share, strict=True)
            ],
            value=share,
            threshold=self.duplicate,
        )
        at = np.flatnonzero(beside >= 0)
        told.add(
            "two_classes",
            beside >= 0,
            [
                f"object {flat.id[other]} is {flat.name[other]} in the same place"
                for other in beside[at]
            ],
            value=iou(flat.box[at], flat.box[beside[at]]),
            threshold=self.duplicate,
        )

    def _polygons(self, told: Told, flat: Flat, sound: np.ndarray) -> None:
        """Polygons that lie apart from their box, or cross themselves."""
        around = bounds(flat.polygons, len(flat))
        both = sound & np.isfinite(around).all(1) & ~flat.crowd
        share = np.ones(len(flat))
        share[both] = iou(flat.box[both], around[both])
        off = both & (share < self.polygon)
        told.add(
            "polygon_off",
            off,
            [
                f"they overlap by {s:.1%}; around the polygon it is {_text(box)}"
                for s, box in zip(share[off], around[off], strict=True)
            ],
            value=share[off],
            threshold=self.polygon,
        )
        crosses = np.zeros(len(flat), dtype=bool)
        crosses[flat.polygons.of[crossing(flat.polygons)]] = True
        told.add("crossing", crosses, "two of its sides cross")

    def _classes(self, told: Told, flat: Flat) -> None:
        """Objects without a class, and classes that differ by case or spaces alone."""
        told.add(
            "no_class", np.array([name is None for name in flat.name], bool), "no class is named"
        )
        counts = Counter(name for name in flat.name.tolist() if name is not None)
        alike: dict[str, list[str]] = {}
        for name in sorted(counts, key=lambda name: (-counts[name], name)):
            alike.setdefault("".join(c for c in name.casefold() if c.isalnum()) or name, []).append(
                name
            )
        rows = [(name, group[0]) for group in alike.values() for name in group[1:]]
        told.frames.append(
            claim(
                "class_spelling",
                [None] * len(rows),
                part=[name for name, _ in rows],
                detail=[
                    f"{name!r} ({counts[name]:,}) beside {usual!r} ({counts[usual]:,})"
                    for name, usual in rows
                ],
            )
        )

    def _sizes(self, told: Told, flat: Flat, size: np.ndarray, sound: np.ndarray) -> None:
        """Objects much larger or smaller than others of their class, as shares of the picture."""
        with np.errstate(all="ignore"):
            box = np.where(sound[:, None], flat.box, np.nan)
            part = np.log(box[:, 2] * box[:, 3] / size[flat.row].prod(1))
        known = sound & np.isfinite(part)
        score = np.zeros(len(flat))
        order = np.flatnonzero(known)[np.argsort(flat.kind[known], kind="stable")]
        groups = np.split(order, np.flatnonzero(np.diff(flat.kind[order])) + 1)
        for own in (group for group in groups if len(group) >= FEW):
            middle = np.median(part[own])
            spread = 1.4826 * np.median(np.abs(part[own] - middle))
            score[own] = np.abs(part[own] - middle) / max(spread, 0.1)
        odd = score > self.odd_size
        told.add(
            "odd_size",
            odd,
            [f"{np.exp(p):.3g} of the picture, unusual for its class" for p in part[odd]],
            value=score[odd],
            threshold=self.odd_size,
        )

    def _none(self, told: Told, samples: Samples, flat: Flat) -> None:
        """Annotated pictures without objects, where that is the exception."""
        column = samples.table.column("label")
        there = column.is_valid().to_numpy(zero_copy_only=False).astype(bool)
        empty = there & (np.bincount(flat.row, minlength=len(samples)) == 0)
        if there.sum() >= FEW and 0 < empty.sum() <= (1 - MOSTLY) * there.sum():
            rows = np.flatnonzero(empty)
            told.whole("none", rows, ["it is annotated, and no object is in it"] * len(rows))


class Told:
    """The findings so far: frames of claims on objects and on pictures."""

    def __init__(self, samples: Samples, flat: Flat) -> None:
        self.ids, self.flat = samples.ids, flat
        self.frames: list[pd.DataFrame] = []

    def add(self, code: str, mark: np.ndarray, detail: str | list[str], **more: Any) -> None:  # noqa: ANN401
        """Claim objects, given as bool [m]."""
        at = np.flatnonzero(mark)
        self.frames.append(
            claim(
                code,
                self.ids[self.flat.row[at]],
                part=self.flat.id[at].tolist(),
                detail=[detail] * len(at) if isinstance(detail, str) else detail,
                **more,
            )
        )

    def whole(self, code: str, rows: np.ndarray, detail: list[str]) -> None:
        """Claim pictures, given by their rows."""
        self.frames.append(claim(code, self.ids[rows], detail=detail))


def _text(box: np.ndarray) -> str:
    """A box as text: x, y, width, height."""
    return json.dumps([round(float(value), 4) for value in box])
