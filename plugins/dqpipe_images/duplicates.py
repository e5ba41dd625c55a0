"""Pictures that stand in a dataset more than once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Pixels,
    Samples,
    Shard,
    Stage,
    claim,
    extension,
    figure,
    listed,
    many,
    option,
)
from dqpipe_images.alignment import compare
from dqpipe_images.candidates import candidates
from dqpipe_images.clusters import STRONG, Links, clustered
from dqpipe_images.copies import equal, label_conflicts, leaks, of_others, split_rank
from dqpipe_images.layouts import Detail, told_apart
from dqpipe_images.pair_selection import spanned
from dqpipe_images.sequences import sequences
from dqpipe_images.thumbnails import SIDE, details, picture_digest, sharpness, thumbnails

if TYPE_CHECKING:
    import pandas as pd

HALF_SURE, STEEPNESS = 0.41, 6.1
"""Displacement at which half of the pairs are copies, and how fast that share falls with its
logarithm: a logistic curve fitted to copies of photographs, micrographs, small pictures and
handwritten digits, made in 23 ways, and to the look-alikes among them (`python -m
tests.benchmarks.near_duplicates calibrate`).
"""
TURNED = 1.4
"""How many times as far apart a mirrored or turned pair counts.

More look-alikes are among these.
"""
UNPROVEN = 0.85
"""The probability that a picture is a copy, at most, where something differs locally that their
encodings do not explain.
"""
STARTS = np.array([(0, 0, size, size) for size in (0, -0.15, 0.15)], np.float32)
"""Warps from which pictures are compared that no guise has brought together.

As they are, and one of them cropped.
"""
TRANSFORMS = (
    None,
    "mirrored",
    "flipped upside down",
    "turned by 180 degrees",
    "mirrored and turned by 90 degrees",
    "turned by 90 degrees",
    "turned by 270 degrees",
    "mirrored and turned by 270 degrees",
)


@extension
class Duplicates(Stage):
    """Exact and near duplicates among pictures, in clusters with one keeper; labels that disagree,
    and leaks between splits.
    """

    name = "duplicates"
    version = 8
    rendition = "picture"
    default = True
    rereads = True
    libraries = ("opencv-python-headless", "numpy")
    needs = ("label?", "split?", "last.kept", "made.parent")
    gives = (
        Fact(
            "exact",
            "string",
            (
                "digest of the decoded pixels (if reduced, of their grey values), their shape and "
                "mode, EXIF orientation applied"
            ),
        ),
        Fact("reduced", "bool", "whether the pixels of the digest were decoded at a reduced size"),
        Fact(
            "thumbnail",
            "vector[uint8]",
            f"grey picture of {SIDE} by {SIDE} pixels, stretched to 0 … 255",
        ),
        Fact(
            "contrast",
            "float32",
            "standard deviation of the thumbnail before it was stretched, in grey steps",
        ),
        Fact("pixels", "int64", "width times height of the full picture"),
        Fact("bytes", "int64", "size of the file"),
        Fact(
            "sharpness",
            "float32",
            "mean absolute difference of neighbours in the middle of the picture, in grey steps",
        ),
        Fact(
            "cluster",
            "string",
            "the smallest id of the pictures that show the same; null if there is one only",
            "relate",
            nullable=True,
        ),
        Fact(
            "keeper",
            "bool",
            "whether the picture is the best of its cluster, or has none",
            "relate",
        ),
        Fact(
            "match",
            "string",
            "the picture that it is a copy of; null for a keeper",
            "relate",
            nullable=True,
        ),
        Fact("kind", "string", "exact, or near; null for a keeper", "relate", nullable=True),
        Fact(
            "score",
            "float32",
            "1 less the displacement that explains what differs once aligned",
            "relate",
            nullable=True,
        ),
        Fact(
            "transform",
            "string",
            "how the match was turned or mirrored to give this picture",
            "relate",
            nullable=True,
        ),
        Fact(
            "proven",
            "bool",
            "whether nothing differs from the match, anywhere, beyond what their encodings explain",
            "relate",
        ),
        Fact(
            "sequence",
            "string",
            "the first of the frames of one video that the picture is one of; null if it is none",
            "relate",
            nullable=True,
        ),
        Fact(
            "group",
            "string",
            "the cluster, or the own id: what must stay together in one fold",
            "relate",
        ),
        Claim("exact", "warning", "The same pixels as another sample.", title="Exact duplicates"),
        Claim(
            "near",
            "warning",
            (
                "Shows the same as another sample, changed in size, crop, light, orientation or "
                "encoding."
            ),
            title="Near duplicates",
        ),
        Claim(
            "label_conflict",
            "warning",
            "Shows the same as a sample with another label.",
            title="Copies with different labels",
        ),
        Claim(
            "leak",
            "error",
            "Shows the same as a sample of another split.",
            title="Copies across splits",
        ),
        Claim(
            "sequence",
            "info",
            (
                "A frame of a video: near its neighbours in the order of their numbers, and "
                "drifting on; no copy."
            ),
            title="Frames of a sequence",
        ),
        Figure("exact", "share of samples that are exact copies of a kept one"),
        Figure("near", "share of samples that are near copies of a kept one"),
        Figure("clusters", "number of pictures that stand more than once"),
        Figure("redundancy", "share of samples that show nothing new"),
    )

    threshold: float = option(
        0.6,
        "score from which two pictures are claimed to be near duplicates, at least `limit`",
        ge=0,
        le=1,
    )
    limit: float = option(
        0.5,
        "score from which two pictures are put into one cluster, and into one fold",
        at="relate",
        ge=0,
        le=1,
    )
    mirror: bool = option(default=True, help="find mirrored copies", at="relate")
    turns: bool = option(
        default=True, help="find copies turned by 90, 180 and 270 degrees", at="relate"
    )
    contrast: float = option(
        2.0,
        "contrast in grey steps below which a picture is uniform and has exact copies only",
        at="relate",
        ge=0,
    )
    neighbours: int = option(
        6, "how many of its nearest pictures each one is compared with", at="relate", ge=1, le=64
    )
    similarity: float = option(
        0.8,
        "cosine similarity from which two descriptors are worth a closer look",
        at="relate",
        ge=0,
        le=1,
    )

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        """Digest, thumbnail and quality of each picture."""
        pictures = shard.pictures
        thumbnail, contrast = thumbnails(pictures)
        return {
            "exact": [picture_digest(picture) for picture in pictures],
            "reduced": [picture.reduction > 1 for picture in pictures],
            "thumbnail": thumbnail,
            "contrast": contrast,
            "pixels": [picture.header.width * picture.header.height for picture in pictures],
            "bytes": [picture.header.size for picture in pictures],
            "sharpness": np.array([sharpness(picture) for picture in pictures], dtype=np.float32),
        }

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Clusters: equal pictures first, then one of each of them among the others."""
        count = len(samples)
        rank = quality(samples, facts)
        first = equal(exact_keys(samples, facts, pixels), rank)
        single = np.flatnonzero((first == np.arange(count)) & (facts["contrast"] >= self.contrast))

        def detail(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return details(samples.ids[single[rows]], pixels)

        keeper, links, certain = self.near(
            single, facts, np.argsort(np.argsort(rank)[single], kind="stable"), detail
        )
        match, score, turn = (
            np.arange(count),
            np.full(count, np.nan, np.float32),
            np.zeros(count, np.int64),
        )
        copies = np.flatnonzero(first != np.arange(count))
        match[copies], score[copies] = first[copies], 1
        follows = np.flatnonzero(keeper != np.arange(len(single)))
        distance, turn[single[follows]] = links.between(follows, keeper[follows])
        match[single[follows]], score[single[follows]] = single[keeper[follows]], 1 - distance
        proven = first != np.arange(count)
        proven[single] = certain
        video = self.videos(samples, single, facts)
        return related(samples.ids, match, score, turn, first, video) | {"proven": proven}

    def videos(self, samples: Samples, single: np.ndarray, facts: Facts) -> np.ndarray:
        """The first frame [n] of the sequence that each row is of, -1 for none.

        Looked for among the rows `single`.
        """
        pictures, contrast = (
            facts["thumbnail"][single].reshape(-1, SIDE, SIDE),
            facts["contrast"][single],
        )
        split = (
            samples["split"] if "split" in samples else np.full(len(samples), None, dtype=object)
        )

        def apart(pairs: np.ndarray) -> np.ndarray:
            return aligned(pictures, contrast, pairs, np.zeros(len(pairs), dtype=np.int64))[0]

        found = sequences(samples.ids[single], split[single], pictures, apart, 1 - self.limit)
        first = np.full(len(samples), -1)
        first[single] = np.where(found >= 0, single[found], -1)
        return first

    def near(
        self, single: np.ndarray, facts: Facts, rank: np.ndarray, detail: Detail
    ) -> tuple[np.ndarray, Links, np.ndarray]:
        """The keeper [n] of each of the rows `single`, as a position in it, the verified links, and
        which [n] are proven copies.
        """
        pictures, contrast = (
            facts["thumbnail"][single].reshape(-1, SIDE, SIDE),
            facts["contrast"][single],
        )
        turns = [turn for turn in range(len(TRANSFORMS)) if self.allowed(turn)]

        found = candidates(pictures, turns, self.neighbours, self.similarity)

        def verified(
            pairs: np.ndarray, turn: np.ndarray, warps: np.ndarray, trusted: np.ndarray
        ) -> Links:
            distance, _ = compare(pictures, contrast, pairs, turn, warps, trusted)
            good = distance <= 1 - self.limit
            return Links.of(pairs[good], distance[good], turn[good])

        def chosen(at: np.ndarray) -> Links:
            return verified(found.pairs[at], found.turns[at], found.warps[at], found.trusted[at])

        whole = np.array([[0, 1]], np.float32)

        def asked(pairs: np.ndarray, turn: np.ndarray) -> Links:
            count, tries = len(pairs), len(STARTS)
            return verified(
                np.tile(pairs, (tries, 1)),
                np.tile(turn, tries),
                np.repeat(STARTS, count, axis=0),
                np.tile(whole, (count * tries, 1)),
            )

        def align(pairs: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return aligned(pictures, contrast, pairs, turn)

        keeper, links = clustered(
            len(single), rank, spanned(len(single), rank, found, chosen), asked
        )
        return told_apart(rank, keeper, links, found, detail, align)

    def allowed(self, turn: int) -> bool:
        """Whether the options allow one of the eight orientations.

        Bit 2 swaps the axes, the parity of the bits mirrors.
        """
        mirrored, quarter = bool(turn.bit_count() % 2), bool(turn & 4)
        if turn == 0:
            return True
        return (self.mirror or not mirrored) and (self.turns or (mirrored and not quarter))

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Copies of something kept, at the threshold.

        And in their clusters, labels that disagree and splits that overlap.
        """
        ids, parent = samples.ids, parents(samples.ids, facts, self.threshold)
        kind, score, transform = facts["kind"], facts["score"].astype(float), facts["transform"]
        swapped = (
            stayed(samples, parent, facts["last.kept"].astype(bool)) if "last.kept" in facts else {}
        )
        new, old = np.array(list(swapped.items()), dtype=np.int64).reshape(-1, 2).T
        kind[new], score[new], transform[new] = "exact", 1.0, None
        parent = np.where(
            np.isin(parent, new),
            np.array([swapped.get(row, row) for row in parent.tolist()], dtype=np.int64),
            parent,
        )
        parent[old] = old
        root, match = followed(parent), ids[parent]
        chance = certainty(np.where(transform.astype(bool), 1 - TURNED * (1 - score), score))
        frame = frames(parent, facts)
        chance = np.where(
            (kind == "near") & (frame | ~facts["proven"].astype(bool)),
            np.minimum(chance, UNPROVEN),
            chance,
        )
        alone = followed(np.where(frame, np.arange(len(ids)), parent))
        copies = np.flatnonzero(alone != np.arange(len(ids)))
        claims = []
        for code, words in (("exact", "the same pixels as"), ("near", "shows the same as")):
            rows = [row for row in copies if kind[row] == code]
            detail = [
                f"{words} {match[row]}" + (f", {transform[row]}" if transform[row] else "")
                for row in rows
            ]
            limit = 1.0 if code == "exact" else self.threshold
            evidence = {
                "value": score[rows],
                "threshold": limit,
                "match": match[rows],
                "confidence": chance[rows],
                "detail": detail,
            }
            claims.append(claim(code, ids[rows], **evidence))
        claims.append(label_conflicts(samples, alone, chance))
        claims.extend(
            leaks(samples, root, weakest(parent, score), weakest(parent, chance), self.threshold)
        )
        claims.append(shown_as_frames(samples, facts))
        return claims

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Shares of copies, and how many pictures have any, at the threshold.

        What was made from a picture is no copy of it.
        """
        parent = parents(samples.ids, facts, self.threshold)
        root = followed(np.where(frames(parent, facts), np.arange(len(parent)), parent))
        made = (
            facts["made.parent"]
            if "made.parent" in facts
            else np.full(len(root), None, dtype=object)
        )
        copy, kind, total = of_others(samples.ids, made, root), facts["kind"], max(len(root), 1)
        return [
            figure("exact", float((copy & (kind == "exact")).sum()) / total),
            figure("near", float((copy & (kind == "near")).sum()) / total),
            figure("clusters", float(len(np.unique(root[copy])))),
            figure("redundancy", float(copy.sum()) / total),
        ]


def aligned(
    pictures: np.ndarray, contrast: np.ndarray, pairs: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far apart pairs [n, 2] of pictures are, the second turned, and the warps [n, 4] that lay
    them on each other, from STARTS.
    """
    whole = np.array([[0, 1]], np.float32)
    distance, warps = compare(
        pictures,
        contrast,
        pairs,
        turn,
        np.tile(STARTS[0], (len(pairs), 1)),
        np.tile(whole, (len(pairs), 1)),
    )
    for start in STARTS[1:]:
        far = np.flatnonzero(distance > STRONG)
        again, other = compare(
            pictures,
            contrast,
            pairs[far],
            turn[far],
            np.tile(start, (len(far), 1)),
            np.tile(whole, (len(far), 1)),
        )
        nearer = again < distance[far]
        distance[far[nearer]], warps[far[nearer]] = again[nearer], other[nearer]
    return distance, warps


def quality(samples: Samples, facts: Facts) -> np.ndarray:
    """Rows from the one to keep first.

    Evaluation before training, then most pixels, most bytes, sharpest, smallest id.
    """
    return np.lexsort((-facts["sharpness"], -facts["bytes"], -facts["pixels"], split_rank(samples)))


def exact_keys(samples: Samples, facts: Facts, pixels: Pixels) -> np.ndarray:
    """What is equal for equal pictures, [n].

    Equal reduced ones of different files are decoded again, in full.
    """
    keys, content = facts["exact"].astype(object), samples["content"]
    reduced = np.flatnonzero(facts["reduced"].astype(bool)).tolist()
    files: dict[str, dict[str, int]] = {}
    for row in reduced:
        files.setdefault(keys[row], {}).setdefault(content[row], row)
    full: dict[tuple[str, str], str] = {}
    for key, firsts in files.items():
        if len(firsts) > 1:
            whole = pixels.cached_per_content(
                [samples.ids[row] for row in firsts.values()], picture_digest
            )
            full.update(zip([(key, text) for text in firsts], whole, strict=True))
    for row in reduced:
        keys[row] = full.get((keys[row], content[row]), keys[row])
    return keys


def related(
    ids: np.ndarray,
    match: np.ndarray,
    score: np.ndarray,
    turn: np.ndarray,
    first: np.ndarray,
    video: np.ndarray,
) -> dict[str, Any]:
    """The facts of `relate` from the match [n] of each row, itself if it has none.

    A match leads to its keeper in three steps at most.
    """
    rows = np.arange(len(ids))
    root = followed(match)
    smallest: dict[int, str] = {}
    for row in rows[::-1].tolist():  # ids are sorted: the last one set is the smallest
        smallest[int(root[row])] = ids[row]
    several = np.bincount(root, minlength=len(ids))[root] > 1
    cluster = [smallest[int(r)] if many else None for r, many in zip(root, several, strict=True)]
    kept = match == rows
    return {
        "cluster": cluster,
        "keeper": kept,
        "match": [None if k else ids[m] for k, m in zip(kept, match, strict=True)],
        "kind": [
            None if k else "exact" if f != row else "near"
            for row, k, f in zip(rows, kept, first, strict=True)
        ],
        "score": score,
        "transform": [TRANSFORMS[t] for t in turn],
        "sequence": [None if v < 0 else ids[v] for v in video],
        "group": [c or own for c, own in zip(cluster, ids, strict=True)],
    }


def parents(ids: np.ndarray, facts: Facts, threshold: float) -> np.ndarray:
    """The row [n] of each one's match, itself if it has none whose score reaches the threshold."""
    position = {text: row for row, text in enumerate(ids)}
    parent = np.arange(len(ids))
    for row, (match, score) in enumerate(zip(facts["match"], facts["score"], strict=True)):
        if match is not None and score >= np.float32(threshold):
            parent[row] = position.get(match, row)
    return parent


def frames(parent: np.ndarray, facts: Facts) -> np.ndarray:
    """Rows [n] that are like their parent since both are frames of one video."""
    sequence = facts["sequence"]
    return np.asarray(
        (facts["kind"] == "near") & sequence.astype(bool) & (sequence == sequence[parent])
    )


def shown_as_frames(samples: Samples, facts: Facts) -> pd.DataFrame:
    """A claim on every frame of a sequence: of how many, and in which splits they lie."""
    members: dict[str, list[int]] = {}
    for row in np.flatnonzero(facts["sequence"].astype(bool)).tolist():
        members.setdefault(facts["sequence"][row], []).append(row)
    detail: list[str] = []
    for first, rows in members.items():
        split = sorted({str(samples["split"][row]) for row in rows}) if "split" in samples else []
        apart = f", and lies in several splits: {listed(split)}" if len(split) > 1 else ""
        detail += [
            f"one of {many(len(rows), 'frame')} of a sequence that begins with {first}{apart}"
        ] * len(rows)
    return claim(
        "sequence", samples.ids[[row for rows in members.values() for row in rows]], detail=detail
    )


def stayed(samples: Samples, parent: np.ndarray, kept: np.ndarray) -> dict[int, int]:
    """Keepers whose place is taken by an equal file of the same split that the last version kept,
    where it did not keep them: row to row.
    """
    found: dict[int, int] = {}
    content, rank = samples["content"], split_rank(samples)
    for row in np.flatnonzero(kept & (parent != np.arange(len(parent)))).tolist():
        head = int(parent[row])
        if (
            parent[head] == head
            and not kept[head]
            and content[row] == content[head]
            and rank[row] == rank[head]
        ):
            found.setdefault(head, row)
    return found


def followed(parent: np.ndarray) -> np.ndarray:
    """Where the parents [n] of rows lead in the end.

    An equal picture, then a strong link, then a weak one.
    """
    for _ in range(2):
        parent = parent[parent]
    return parent


def weakest(parent: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The lowest score [n] on the way from each row to where it leads; 1 where it stays."""
    step = np.where(parent == np.arange(len(parent)), 1.0, score)
    return np.minimum(np.minimum(step, step[parent]), step[parent[parent]])


def certainty(score: np.ndarray) -> np.ndarray:
    """The probability [n] that a pair with this score shows the same."""
    with np.errstate(divide="ignore"):
        return 1 / (1 + np.exp(STEEPNESS * (np.log(np.maximum(1 - score, 0)) - np.log(HALF_SURE))))
