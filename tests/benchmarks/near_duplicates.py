"""Copies of photographs found, and look-alikes left alone.

What it costs, from ten thousand pictures to a million.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import sys
import time
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from tests.benchmarks.bench import SHARED, Bench, Ran, Row, Section, median, mib, peak
from tests.benchmarks.copies import CHANGES, Change, changed, cropped, jpeg

TITLE = "Near duplicates"
SETS = {
    "photographs": "scikit-learn's photographs in tiles of 106 pixels",
    "micrographs": "micrographs, 640 by 480",
    "cifar": "CIFAR-10 test images, 32 by 32",
}
COPIED = {"photographs": 48, "micrographs": 60, "cifar": 200}
TO_SEE = 10.0
"""Contrast in grey steps from which a tile has something to see.

Others are plain sky, of which any two are alike.
"""
HOPELESS = 2.0
"""Displacement beyond which nothing is a copy.

The curve of confidence is fitted to what is nearer.
"""
NEAR_BITS = 8
"""Hamming distance of 64 bits of perceptual hash that is often used as a limit."""
STRANGERS = 5_000
MILLION = "DQPIPE_BENCH_MILLION"
"""Environment variable that has a million synthetic thumbnails searched as well.

Some minutes on one core.
"""
SAME_SHOT = "1"
Pair = tuple[str, str]


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


def packed(archive: str, below: str = "") -> dict[str, bytes]:
    """JPEG files of an archive of the shared data by name; none where there is no such archive."""
    if not (SHARED / archive).exists():
        return {}
    with zipfile.ZipFile(SHARED / archive) as files:
        return {
            name.removesuffix(".jpg"): files.read(name)
            for name in sorted(files.namelist())
            if name.endswith(".jpg") and name.startswith(below)
        }


def tiles(side: int = 106) -> dict[str, bytes]:
    """Tiles of both photographs that have something to see and do not overlap."""
    from sklearn.datasets import load_sample_images

    out = {}
    for number, pixels in enumerate(load_sample_images().images):
        height, width = pixels.shape[:2]
        for top, left in itertools.product(
            range(0, height - side + 1, side), range(0, width - side + 1, side)
        ):
            tile = Image.fromarray(pixels[top : top + side, left : left + side])
            if np.asarray(tile.convert("L")).std() >= TO_SEE:
                out[f"{number}/{top}-{left}"] = jpeg(tile)
    return out


@functools.cache
def files(name: str) -> dict[str, bytes]:
    """The originals of one of SETS; of CIFAR a drawn half."""
    if name == "photographs":
        return tiles()
    if name == "micrographs":
        return packed("bccd.zip", "BCCD/JPEGImages/")
    every = packed("cifar10_test.zip")
    return {key: every[key] for key in drawn(sorted(every), STRANGERS)}


def drawn(names: Sequence[str], count: int) -> list[str]:
    """That many names, always the same ones."""
    order = np.random.default_rng(1).permutation(len(names))[:count]
    return [names[at] for at in order]


def copied(name: str, count: int) -> tuple[list[str], list[Image.Image]]:
    """Names and pixels of the originals that copies are made of."""
    chosen = drawn(sorted(files(name)), count)
    return chosen, [Image.open(io.BytesIO(files(name)[one])).convert("RGB") for one in chosen]


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────


def measured(data: dict[str, bytes]) -> tuple[Any, dict[str, Any]]:
    """Samples and measured facts of files, decoded as a run does it."""
    import pyarrow as pa
    from dqpipe_images.decoder import ImageDecoder
    from dqpipe_images.duplicates import Duplicates

    from dqpipe.data.tables import Samples, fact_array
    from dqpipe.plugin.stage import Shard

    stage, decoder, names = Duplicates(), ImageDecoder(), sorted(data)
    samples = Samples(
        pa.table({"id": pa.array(names, pa.string()), "content": pa.array(names, pa.string())})
    )
    parts = []
    for start in range(0, len(names), 256):
        some = names[start : start + 256]
        shown = [decoder.decode(data[one], "picture") for one in some]
        facts = stage.at("measure").measure(Shard(samples.take(np.isin(samples.ids, some)), shown))
        parts.append(
            pa.table(
                {
                    fact.name: fact_array(facts[fact.name], fact.type)
                    for fact in stage.facts_at("measure")
                }
            )
        )
    return samples, {
        name: pa.concat_tables(parts).column(name).combine_chunks()
        for name in parts[0].column_names
    }


def related(samples: Any, facts: dict[str, Any], data: dict[str, bytes]) -> tuple[Any, float]:
    """All facts, and how many seconds it took to relate the pictures."""
    import pyarrow as pa
    from dqpipe_images.decoder import ImageDecoder
    from dqpipe_images.duplicates import Duplicates

    from dqpipe.data.tables import Facts, fact_array

    stage = Duplicates()
    began = time.perf_counter()
    decoder = ImageDecoder()
    found = stage.at("relate").relate(
        samples,
        Facts(pa.table(facts)),
        lambda ids, rendition="full": [decoder.decode(data[one], rendition) for one in ids],
    )
    seconds = time.perf_counter() - began
    return Facts(
        pa.table(
            facts
            | {
                fact.name: fact_array(found[fact.name], fact.type)
                for fact in stage.facts_at("relate")
            }
        )
    ), seconds


def claimed(data: dict[str, bytes]) -> tuple[dict[str, str], list[tuple[str, str, float]], float]:
    """Which picture each leads to; the claims as (id, match, score); seconds of relating them."""
    from dqpipe_images.duplicates import Duplicates, followed, parents

    samples, measures = measured(data)
    facts, seconds = related(samples, measures, data)
    parent = parents(samples.ids, facts, Duplicates().threshold)
    root = dict(zip(samples.ids.tolist(), samples.ids[followed(parent)].tolist(), strict=True))
    at = np.flatnonzero(parent != np.arange(len(parent)))
    score = facts["score"]
    return (
        root,
        [
            (str(samples.ids[row]), str(samples.ids[parent[row]]), round(float(score[row]), 3))
            for row in at
        ],
        seconds,
    )


def job_copies(name: str, count: str) -> dict[str, Any]:
    """Copies of each kind among all originals.

    How many were found, of how many, and new claims between different originals.
    """
    chosen, images = copied(name, int(count))
    known = {
        frozenset(claim[:2]) for claim in claimed(files(name))[1]
    }  # copies that were there before
    out, total = {}, 0.0
    for kind in CHANGES:
        copies = {
            f"copy/{one}": data for one, data in zip(chosen, changed(kind, images), strict=True)
        }
        root, claims, seconds = claimed(files(name) | copies)
        false = [
            claim
            for claim in claims
            if claim[0].removeprefix("copy/") != claim[1].removeprefix("copy/")
        ]
        strange = {
            frozenset((a.removeprefix("copy/"), b.removeprefix("copy/"))) for a, b, _ in false
        } - known
        out[kind] = [
            sum(root[one] == root[f"copy/{one}"] for one in chosen),
            len(chosen),
            len(strange),
        ]
        total += seconds
    return {"seconds": total, "kinds": out}


def job_strangers() -> dict[str, Any]:
    """What is claimed among originals of all sets, of which nobody made copies."""
    every = {f"{name}/{key}": value for name in SETS for key, value in files(name).items()}
    _, claims, seconds = claimed(every)
    return {"seconds": seconds, "claims": claims, "pictures": len(every)}


SURE = 0.9
"""Confidence from which the default policy drops a near duplicate."""
LAYOUT_COPIES: dict[str, Change] = {
    "encoded again": lambda image, _: jpeg(image, 40),
    "resized": lambda image, _: jpeg(
        image.resize(
            (round(image.width * 0.6), round(image.height * 0.6)), Image.Resampling.LANCZOS
        )
    ),
    "brightened": lambda image, _: jpeg(ImageEnhance.Brightness(image).enhance(1.15)),
    "darkened": lambda image, _: jpeg(ImageEnhance.Brightness(image).enhance(0.8)),
    "cropped a little": lambda image, rng: jpeg(cropped(image, 0.06, rng)),
}
"""What happens to copies of pictures that share a layout."""


def job_layouts(count: str, side: str, seed: str, *names: str) -> dict[str, Any]:
    """Of each layout: false claims, how many of them lead to a drop, of how many pictures.

    Copies found, and dropped, of how many; seconds.
    """
    from tests.layouts import LAYOUTS

    return {
        "layouts": {
            name: layout(name, int(count), int(side), int(seed)) for name in names or LAYOUTS
        }
    }


def layout(name: str, count: int, side: int, seed: int) -> list[int]:
    """One layout: see job_layouts."""
    from tests.layouts import drawn as pictures_of

    images = pictures_of(name, count, seed, side)
    data = {f"{at:04d}": jpeg(image) for at, image in enumerate(images)}
    copies = zip(range(count // 4), itertools.cycle(LAYOUT_COPIES))
    data |= {
        f"{at:04d} {kind}": LAYOUT_COPIES[kind](images[at], np.random.default_rng([seed, at]))
        for at, kind in copies
    }
    root, near = judged(data)
    false = [sure for one, match, sure in near if one[:4] != match[:4]]
    made = [one for one in data if " " in one]
    gone = {frozenset((one, match)) for one, match, sure in near if sure >= SURE}
    found = [root[one] == root[one[:4]] for one in made]
    dropped = [frozenset((one, one[:4])) in gone for one in made]
    return [
        len(false),
        sum(sure >= SURE for sure in false),
        len(data),
        sum(found),
        sum(dropped),
        len(made),
    ]


def judged(data: dict[str, bytes]) -> tuple[dict[str, str], list[tuple[str, str, float]]]:
    """Which picture each leads to; the claims of near duplicates as (id, match, confidence)."""
    from dqpipe_images.duplicates import Duplicates, followed, parents

    samples, measures = measured(data)
    facts, _ = related(samples, measures, data)
    stage = Duplicates()
    root = followed(parents(samples.ids, facts, stage.threshold))
    claims = [
        part
        for part in stage.detect(samples, facts)
        if len(part) and part.code.iloc[0] in {"near", "exact"}
    ]
    near = [
        claim
        for part in claims
        for claim in zip(part.id, part["match"], part.confidence, strict=True)
    ]
    return dict(zip(samples.ids.tolist(), samples.ids[root].tolist(), strict=True)), near


def job_same_shots() -> dict[str, Any]:
    """Claims among all CIFAR test images, and which pairs lie in one cluster of those that people
    judged.
    """
    root, claims, seconds = claimed(packed("cifar10_test.zip"))
    judged = judgements()
    together = {kind: [root[a] == root[b] for a, b in pairs] for kind, pairs in judged.items()}
    return {
        "seconds": seconds,
        "claims": claims,
        "found": {kind: [sum(hits), len(hits)] for kind, hits in together.items()},
    }


def judgements() -> dict[str, list[Pair]]:
    """Pairs of CIFAR test images by what people judged: 1 the same shot, 2 very similar."""
    out: dict[str, list[Pair]] = {}
    with (SHARED / "cifar10_test_duplicates.csv").open(newline="") as file:
        for row in csv.reader(file):
            a, b, *_, kind = (cell.removesuffix(".jpg") for cell in row)
            if kind.isdigit():
                out.setdefault(kind, []).append((a, b))
    return out


def job_dense(count: str) -> dict[str, Any]:
    """Micrographs with a copy of each kind.

    Seconds of relating them, and whether the clusters are those of the originals.
    """
    chosen, images = copied("micrographs", int(count))
    data = {f"{one}/original": files("micrographs")[one] for one in chosen}
    for kind in CHANGES:
        data |= {
            f"{one}/{kind}": value for one, value in zip(chosen, changed(kind, images), strict=True)
        }
    root, claims, seconds = claimed(data)
    gone = [one for one in data if root[one].rsplit("/", 1)[0] == one.rsplit("/", 1)[0]]
    return {
        "seconds": seconds,
        "pictures": len(data),
        "keepers": len(set(root.values())),
        "originals": len(chosen),
        "own": len(gone),
        "claims": len(claims),
    }


def job_calibrate() -> dict[str, Any]:
    """The curve of confidence in duplicates.py: logistic in the logarithm of the displacement.

    Copies of each kind against candidates of different originals: photographs, micrographs, CIFAR
    images, and handwritten digits, the hardest look-alikes; each set counts the same. Pairs of
    originals that are claimed before any copies are made are left out.
    """
    from sklearn.linear_model import LogisticRegression

    apart_by, same, weight = [], [], []
    for originals in [dict(list(files(name).items())[:250]) for name in present()] + [digits()]:
        known = {frozenset(claim[:2]) for claim in claimed(originals)[1]}
        names = sorted(originals)
        images = [Image.open(io.BytesIO(originals[one])).convert("RGB") for one in names]
        pairs: list[tuple[float, bool]] = []
        for kind in CHANGES:
            chosen = list(range(0, len(names), max(1, len(names) // 30)))
            copies = changed(kind, [images[at] for at in chosen])
            owner = names + [names[at] for at in chosen]
            found = distances([originals[one] for one in names] + copies)
            pairs += [
                (d, owner[a] == owner[b])
                for (a, b), d in found.items()
                if frozenset((owner[a], owner[b])) not in known
            ]
        apart_by += [one[0] for one in pairs]
        same += [one[1] for one in pairs]
        weight += [1 / len(pairs)] * len(pairs)
    near = np.array(apart_by) < HOPELESS
    fit = LogisticRegression(C=1e6).fit(
        np.log(np.array(apart_by)[near, None]),
        np.array(same)[near],
        np.array(weight)[near] * len(weight),
    )
    return {
        "half_sure": float(np.exp(-fit.intercept_[0] / fit.coef_[0, 0])),
        "steepness": float(-fit.coef_[0, 0]),
        "pairs": int(near.sum()),
    }


def digits(count: int = 250) -> dict[str, bytes]:
    """scikit-learn's handwritten digits, enlarged."""
    from sklearn.datasets import load_digits

    shown = [
        Image.fromarray((one * 255 / 16).astype(np.uint8)).resize(
            (48, 48), Image.Resampling.BICUBIC
        )
        for one in load_digits().images[:count]
    ]
    return {f"digit/{number:04d}": jpeg(image) for number, image in enumerate(shown)}


def distances(data: Sequence[bytes]) -> dict[tuple[int, int], float]:
    """The displacement of all candidates among some files, by their positions."""
    from dqpipe_images.alignment import compare
    from dqpipe_images.candidates import candidates
    from dqpipe_images.decoder import ImageDecoder
    from dqpipe_images.thumbnails import SIDE, thumbnails

    decoder = ImageDecoder()
    values, contrast = thumbnails([decoder.decode(one, "picture") for one in data])
    shown = values.reshape(-1, SIDE, SIDE)
    found = candidates(shown, list(range(8)), 6, 0.8)
    out: dict[tuple[int, int], float] = {}
    for pair, distance in zip(
        np.sort(found.pairs, axis=1).tolist(),
        compare(shown, contrast, found.pairs, found.turns, found.warps, found.trusted)[0],
        strict=True,
    ):
        out[pair[0], pair[1]] = min(out.get((pair[0], pair[1]), np.inf), float(distance))
    return out


def job_grows(count: str) -> dict[str, Any]:
    """Candidates among synthetic thumbnails, of which every hundredth is a noisy copy
    of another.
    """
    from dqpipe_images.candidates import candidates

    thumbnails, copies = synthetic(int(count))
    held, began = mib(), time.perf_counter()
    found = candidates(thumbnails, list(range(8)), 6, 0.8)
    seconds = time.perf_counter() - began
    pairs = set(map(tuple, np.sort(found.pairs, axis=1).tolist()))
    return {
        "seconds": seconds,
        "pairs": len(pairs),
        "held": held,
        "peak": mib(),
        "recall": float(np.mean([(at - 50, at) in pairs for at in copies.tolist()])),
    }


def synthetic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails uint8 [count, 32, 32] with the falling spectrum of photographs, and the rows that
    copy the one 50 before them.
    """
    rng = np.random.default_rng(0)
    spread = (1 / np.maximum(np.hypot(*np.mgrid[:16, :16]), 0.5) ** 1.5).astype(np.float32)
    basis = np.cos(np.pi * np.arange(16)[:, None] * (2 * np.arange(32) + 1) / 64).astype(np.float32)
    out, copies = np.empty((count, 32, 32), np.uint8), np.arange(50, count, 100)
    for start in range(0, count, 4096):
        drawn_ones = (
            basis.T
            @ (rng.standard_normal((min(4096, count - start), 16, 16), np.float32) * spread)
            @ basis
        )
        low, high = drawn_ones.min((1, 2), keepdims=True), drawn_ones.max((1, 2), keepdims=True)
        out[start : start + 4096] = (drawn_ones - low) * (255 / (high - low))
    for start in range(0, len(copies), 4096):
        some = copies[start : start + 4096]
        out[some] = np.clip(out[some - 50] + rng.normal(0, 10, (len(some), 32, 32)), 0, 255)
    return out, copies


# ── theirs ───────────────────────────────────────────────────────────────────────────────────────


def hashed(data: Sequence[bytes]) -> np.ndarray:
    """ImageHash's perceptual hashes, uint64 [n].

    What CleanVision calls near duplicates have an equal one.
    """
    import imagehash

    bits = [imagehash.phash(Image.open(io.BytesIO(one))).hash.reshape(-1) for one in data]
    return np.packbits(np.array(bits), axis=1).view(">u8")[:, 0].astype(np.uint64)


def job_copies_by_hash(name: str, count: str) -> dict[str, Any]:
    """Of each kind (found equal, found near, of how many).

    And pairs of different originals that are equal, and near.
    """
    chosen, images = copied(name, int(count))
    began = time.perf_counter()
    names = sorted(files(name))
    originals = hashed([files(name)[one] for one in names])
    own = originals[[names.index(one) for one in chosen]]
    kinds = {}
    for kind in CHANGES:
        differ = np.bitwise_count(own ^ hashed(changed(kind, images)))
        kinds[kind] = [int((differ == 0).sum()), int((differ <= NEAR_BITS).sum()), len(chosen)]
    bits = [np.bitwise_count(one ^ originals[at + 1 :]) for at, one in enumerate(originals)]
    pairs = [int(sum((one <= limit).sum() for one in bits)) for limit in (0, NEAR_BITS)]
    return {"seconds": time.perf_counter() - began, "kinds": kinds, "pairs": pairs}


def job_same_shots_by_hash() -> dict[str, Any]:
    """How many of the judged pairs are equal, and near; and how many pairs are in all."""
    data = packed("cifar10_test.zip")
    names = sorted(data)
    began = time.perf_counter()
    values = hashed([data[one] for one in names])
    seconds = time.perf_counter() - began
    at = {one: number for number, one in enumerate(names)}
    bits = {
        kind: [int(np.bitwise_count(values[at[a]] ^ values[at[b]])) for a, b in pairs]
        for kind, pairs in judgements().items()
    }
    counts = [0, 0]
    for start in range(len(names)):
        row = np.bitwise_count(values[start] ^ values[start + 1 :])
        counts = [counts[0] + int((row == 0).sum()), counts[1] + int((row <= NEAR_BITS).sum())]
    return {"seconds": seconds, "bits": bits, "pairs": counts}


# ── the section ──────────────────────────────────────────────────────────────────────────────────


def present() -> list[str]:
    """The sets whose data is here."""
    return [name for name in SETS if files(name)]


def report(bench: Bench) -> Section:
    """Recall of each kind of copy, look-alikes, the pairs that people judged, and the cost."""
    rows: list[Row] = []
    text: list[str] = []
    for name in present()[: 1 if bench.quick else None]:
        more, said = copies_section(bench, name)
        rows += more
        text.append(said)
    if not bench.quick:
        text += [strangers_section(bench), layouts_section(bench)]
        if packed("cifar10_test.zip"):
            more, said = judged_section(bench)
            rows += more
            text.append(said)
        if files("micrographs"):
            rows.append(dense_row(bench))
    more, said = growth(bench)
    missing = [words for name, words in SETS.items() if name not in present()]
    left_out = f"\n\nNot here, and left out: {'; '.join(missing)}." if missing else ""
    return Section([*rows, *more], "\n\n".join([*text, said]) + left_out)


def copies_section(bench: Bench, name: str) -> tuple[list[Row], str]:
    """A row for the set as a whole, and a table of its kinds."""
    ours = bench.ours("near_duplicates", "copies", name, COPIED[name])
    theirs = (
        bench.theirs("near_duplicates", "copies_by_hash", name, COPIED[name])
        if bench.peers
        else None
    )
    kinds = ours.said["kinds"]
    worst = min(kinds, key=lambda kind: kinds[kind][0] / kinds[kind][1])
    false = max(values[2] for values in kinds.values())
    peer, ratio = "", ""
    if theirs is not None:
        equal, near = (sum(values[at] for values in theirs.said["kinds"].values()) for at in (0, 1))
        every = sum(values[2] for values in theirs.said["kinds"].values())
        peer = f"equal pHash {equal / every:.3f}; distance ≤ {NEAR_BITS} {near / every:.3f}"
        ratio = f"{sum(v[0] for v in kinds.values()) / max(sum(v[1] for v in kinds.values()) * near / every, 1):.2f}"  # noqa: E501
    mean = sum(v[0] for v in kinds.values()) / sum(v[1] for v in kinds.values())
    row = Row(
        f"recall of copies, {SETS[name]}",
        (
            f"{mean:.3f}; worst {kinds[worst][0] / kinds[worst][1]:.3f} ({worst}); {false} false "
            f"at most"
        ),
        peer,
        ratio,
        peak([ours]),
    )
    return (
        [row],
        (
            f"**{SETS[name]}**: {len(files(name)):,} originals, copies of {COPIED[name]} at most, "
            f"each kind alone.\n\n"
        )
        + kinds_table(kinds, theirs),
    )


def kinds_table(kinds: dict[str, list[int]], theirs: Ran | None) -> str:
    """Found copies of each kind, as a Markdown table."""
    lines = [
        "| kind | dqpipe | false pairs | equal pHash (CleanVision) | pHash distance ≤ 8 |",
        "|---|---|---|---|---|",
    ]
    for kind, (found, count, false) in kinds.items():
        equal, near, every = theirs.said["kinds"][kind] if theirs else (0, 0, 0)
        peer = f"{equal / every:.3f} | {near / every:.3f}" if every else " | "
        lines.append(f"| {kind} | {found / count:.3f} | {false} | {peer} |")
    if theirs:
        equal_pairs, near_pairs = theirs.said["pairs"]
        lines += [
            "",
            (
                f"Among the originals themselves the hashes call {equal_pairs} pairs equal and "
                f"{near_pairs} near."
            ),
        ]
    return "\n".join(lines)


def strangers_section(bench: Bench) -> str:
    """What is claimed where nobody made copies."""
    ran = bench.ours("near_duplicates", "strangers")
    count = ran.said["pictures"]
    claims = ran.said["claims"]
    listed = "; ".join(
        f"{a} = {b} ({score})" for a, b, score in sorted(claims, key=lambda claim: claim[2])[:12]
    )
    return (
        f"**Look-alikes**: all {count:,} originals of {len(present())} sets together, "
        f"{count * (count - 1) / 2e6:,.1f} million pairs, {len(claims)} claims, "
        f"{sum('cifar' not in a for a, _, _ in claims)} of them outside CIFAR. To be looked at, "
        f"the least sure ones: {listed}."
    )


def layouts_section(bench: Bench) -> str:
    """What is claimed and dropped among different pictures of one layout, and which copies among
    them are found.
    """
    sums: dict[str, np.ndarray] = {}
    for side, seed in itertools.product((64, 128, 256, 640), (0, 1)):
        for name, values in (
            bench.ours("near_duplicates", "layouts", 60, side, seed).said["layouts"].items()
        ):
            sums[name] = sums.get(name, np.zeros(6, dtype=int)) + np.array(values)
    lines = [
        "| layout | false claims | of these dropped | of pictures | copies found | and dropped |",
        "|---|---|---|---|---|---|",
    ]
    sums["all"] = np.sum(list(sums.values()), axis=0)
    for name, (claims, dropped, count, found, gone, made) in sums.items():
        lines.append(
            f"| {name.replace('_', ' ')} | {claims} | {dropped} | {count:,} | {found} of {made} | "
            f"{gone} |"
        )
    said = (
        "**Layouts**: different pictures that share a layout, drawn by script at 64, 128, 256 and "
        "640 pixels, 60 at a time and copies of 15 of them."
    )
    return "\n".join([said, "", *lines])


def judged_section(bench: Bench) -> tuple[list[Row], str]:
    """The pairs of CIFAR test images that people judged."""
    ours = bench.ours("near_duplicates", "same_shots")
    found, count = ours.said["found"][SAME_SHOT]
    others = "; ".join(
        f"judged {kind}: {hits} of {every}"
        for kind, (hits, every) in sorted(ours.said["found"].items())
        if kind != SAME_SHOT
    )
    peer = ""
    if bench.peers:
        theirs = bench.theirs("near_duplicates", "same_shots_by_hash").said
        bits = theirs["bits"][SAME_SHOT]
        equal, near = sum(one == 0 for one in bits), sum(one <= NEAR_BITS for one in bits)
        peer = (
            f"equal pHash {equal} of {theirs['pairs'][0]:,} pairs; distance ≤ {NEAR_BITS} {near} "
            f"of {theirs['pairs'][1]:,} pairs"
        )
    row = Row(
        "same-shot pairs of CIFAR's test set (ciFAIR)",
        f"{found} of {count}, {len(ours.said['claims'])} claims",
        peer,
        "",
        peak([ours]),
    )
    return (
        [row],
        (
            f"**Judged by people**: {found} of {count} pairs of the same shot lie in one cluster; "
            f"{others}. Relating 10,000 pictures took {ours.seconds:.1f} s."
        ),
    )


def dense_row(bench: Bench) -> Row:
    """A set that is nearly all copies."""
    ran = bench.ours("near_duplicates", "dense", 120, threads=2)
    said = ran.said
    work = f"relate {said['pictures']:,} micrographs and copies of {said['originals']}"
    return Row(
        work,
        (
            f"{ran.seconds:.1f} s; {said['keepers']} kept, {said['own'] / said['pictures']:.4f} "
            f"with their own"
        ),
        "",
        "",
        peak([ran]),
    )


def growth(bench: Bench) -> tuple[list[Row], str]:
    """Candidates of synthetic thumbnails, larger and larger."""
    sizes = (5_000, 20_000) if bench.quick else (10_000, 40_000, 160_000)
    sizes += (1_000_000,) if MILLION in os.environ and not bench.quick else ()
    ran = {
        size: [
            bench.ours("near_duplicates", "grows", size)
            for _ in range(bench.runs(3) if size < 100_000 else 1)
        ]
        for size in sizes
    }
    seconds = {size: median(ran[size]) for size in sizes}
    rows = [
        Row(
            f"candidates among {size:,}",
            f"{seconds[size]:.1f} s, {ran[size][0].said['recall']:.3f} of planted copies",
            memory=peak(ran[size]),
        )
        for size in sizes
    ]
    steps = [np.log(seconds[b] / seconds[a]) / np.log(b / a) for a, b in itertools.pairwise(sizes)]
    whole = np.log(seconds[sizes[-1]] / seconds[sizes[0]]) / np.log(sizes[-1] / sizes[0])
    said = ", ".join(f"{step:.2f}" for step in steps)
    return (
        rows,
        (
            f"**Growth** of the search for candidates from {sizes[0]:,} to {sizes[-1]:,}, on one "
            f"thread: exponent {whole:.2f} (step by step {said})."
        ),
    )


if __name__ == "__main__":
    print(json.dumps(globals()[f"job_{sys.argv[1]}"](*sys.argv[2:])))
