"""Strangers mixed into real sets at 1 %, against cleanlab's score of outliers on the same
embeddings; and what it costs.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np

from tests.benchmarks.bench import Bench, Row, Section, median, peak

TITLE = "Outliers"
SHARE = 0.01
FEW = 50
HELD = "a class held out"


def report(bench: Bench) -> Section:
    """A row for each set and kind of stranger, then time and growth."""
    every, seeds = (5, 2) if bench.quick else (1, 5)
    found = bench.ours("outliers", "quality", every, seeds, threads=2).said["cells"]
    rows = [quality_row(cell) for cell in found]
    rows += [
        few_row(cell)
        for name in ("patches", "imagenet")
        for cell in bench.ours("outliers", "few", name, every, min(seeds, 3), threads=2).said[
            "cells"
        ]
    ]
    sizes = (2_000, 10_000) if bench.quick else (5_000, 50_000)
    return Section([*rows, *cost_rows(bench, sizes)], said(found))


def quality_row(cell: Mapping) -> Row:
    """One set and one kind of stranger."""
    return Row(
        f"{cell['strangers']} in {cell['set']}, {SHARE:.0%}",
        (
            f"ROC AUC {cell['ours']:.3f}; {cell['recall']:.0%} claimed, and {cell['false']:.2%} "
            f"of the others"
        ),
        f"cleanlab OOD: {cell['theirs']:.3f}",
        f"{cell['ours'] - cell['theirs']:+.3f}",
    )


def few_row(cell: Mapping) -> Row:
    """Few strangers at low resolution, or none."""
    if cell["strangers"]:
        claimed = (
            f"ROC AUC {cell['ours']:.3f}; {cell['right']:.1f} of them claimed, and "
            f"{cell['wrong']:.1f} others"
        )
        return Row(
            f"{cell['strangers']} photographs of faces at 32×32 in {cell['size']:,} of "
            f"{cell['set']}, `embedder: {cell['embedder']}`",
            claimed,
        )
    return Row(
        f"{cell['set']}, {cell['size']:,} samples without strangers, `embedder: "
        f"{cell['embedder']}`",
        f"{cell['wrong'] / cell['size']:.2%} claimed",
    )


def said(found: list[Mapping]) -> str:
    """What the rows show."""
    if not found:
        return "No real sets here."
    own = [cell for cell in found if cell["strangers"] != HELD]
    reached = sum(cell["ours"] >= 0.95 for cell in own)
    above = sum(cell["ours"] >= cell["theirs"] for cell in found)
    claims = [
        (one, right)
        for cell in found
        for one, right in zip(cell["confidences"], cell["right"], strict=True)
    ]
    wrong = calibration(np.array(claims)) if claims else math.nan
    return (
        "ROC AUC of all samples, the strangers positive, mean over seeds; a stranger in a labelled "
        "set gets a label at random. "
        f"It is at least 0.95 in {reached} of {len(own)} rows without held-out classes, and at "
        f"least cleanlab's in {above} of {len(found)}. "
        "cleanlab's score is low for outliers and is turned round here. A class held out is each "
        "CIFAR class in turn as strangers to the other "
        "nine: photographs of the same kind, which no embedding without labels tells apart. Claims "
        "are those at the default thresholds; "
        f"where a confidence is given, it differs from the share of right claims by {wrong:.2f} "
        f"(expected calibration error, all rows together). "
        "The filter bank of the embedder was learned from scikit-learn's two photographs and its "
        "digits; all other pictures are new to it."
    )


def calibration(claims: np.ndarray) -> float:
    """Expected calibration error of [n, (confidence, right)] in ten bins."""
    bins = np.minimum((claims[:, 0] * 10).astype(int), 9)
    return float(
        sum(
            abs(claims[bins == at].mean(0) @ [1, -1]) * np.mean(bins == at)
            for at in np.unique(bins)
        )
    )


def cost_rows(bench: Bench, sizes: tuple[int, int]) -> Iterator[Row]:
    """Time of the stage at two sizes, and cleanlab's at the smaller."""
    small, large = sizes
    ours, theirs = bench.alternate(
        lambda: bench.ours("outliers", "relate", small, threads=2),
        lambda: bench.ours("outliers", "cleanlab", small, threads=2),
        runs=bench.runs(3),
    )
    work = "× 512 numbers, ten classes, two threads"
    yield Row(
        f"{small:,} {work}",
        f"{median(ours):.2f} s",
        f"cleanlab OOD: {median(theirs):.2f} s",
        f"{median(theirs) / median(ours):.1f}×",
        f"{peak(ours)}; {peak(theirs)}",
    )
    more = [bench.ours("outliers", "relate", large, threads=2) for _ in range(bench.runs(2))]
    exponent = math.log(median(more) / median(ours)) / math.log(large / small)
    yield Row(
        f"{large:,} {work}",
        f"{median(more):.2f} s, growth exponent {exponent:.2f}",
        memory=peak(more),
    )


def quality(every: int, seeds: int) -> list[dict]:
    """AUC of both, and what is claimed, for each set and kind of stranger."""
    from tests.benchmarks.strangers import archived, digits, strangers

    kinds = {kind: embedded(pictures) for kind, pictures in strangers().items()}
    tiles, classes = archived("cifar10_test", every)
    sets = {
        "CIFAR": (tiles, classes),
        "CIFAR without labels": (tiles, None),
        "digits": digits(),
        "micrographs": (archived("bccd")[0], None),
    }
    vectors = {
        name: embedded(pictures)
        for name, (pictures, _) in sets.items()
        if pictures and name != "CIFAR without labels"
    }
    vectors |= {"CIFAR without labels": vectors["CIFAR"]} if tiles else {}
    cells = []
    for name, own in vectors.items():
        labels = None if sets[name][1] is None else np.array(sets[name][1])
        for kind, others in kinds.items():
            if kind.split()[-1] != name.split()[0] and kind != name:
                cells.append(
                    cell(name, kind, [mixed(own, labels, others, seed) for seed in range(seeds)])
                )
        if name == "CIFAR":
            cells.append(
                cell(name, HELD, [held_out(own, labels, one) for one in np.unique(labels)])
            )
    return cells


def few(name: str, every: int, seeds: int) -> list[dict]:
    """What is claimed of sets without strangers, and of CIFAR with `FEW` photographs of faces in
    it, of its size.
    """
    import cv2
    from dqpipe_images.imagenet import installed
    from sklearn.metrics import roc_auc_score

    from tests.benchmarks.strangers import archived, digits

    if name == "imagenet" and not installed():
        return []
    photographs, tiles, classes = archived("photos_masks"), *archived("cifar10_test", 2 * every)
    sets = {
        "digits": digits(),
        "photographs of faces": photographs,
        "micrographs": (archived("bccd")[0], None),
        "CIFAR": (tiles, classes),
    }
    cells = []
    for one, (pictures, labels) in sets.items():
        own = embedded(pictures, name) if pictures else np.zeros((0, 1))
        for known in ([np.array(labels), None] if labels else [None]) if len(own) else []:
            claimed = judged(own, known)[1]
            said = {
                "embedder": name,
                "set": one if known is not None else f"{one} without labels",
                "size": len(own),
            }
            cells.append(said | {"strangers": 0, "wrong": int(claimed.sum())})
            if one == "CIFAR" and photographs[0]:
                faces = embedded(
                    [
                        cv2.resize(whole, (32, 32), interpolation=cv2.INTER_AREA)
                        for whole in photographs[0]
                    ],
                    name,
                )
                tries = []
                for seed in range(seeds):
                    rng = np.random.default_rng(seed)
                    vectors = np.vstack([own, faces[rng.choice(len(faces), FEW, replace=False)]])
                    strange = np.arange(len(vectors)) >= len(own)
                    given = (
                        None
                        if known is None
                        else np.concatenate([known, rng.choice(np.unique(known), FEW)])
                    )
                    score, claimed, _ = judged(vectors, given)
                    tries.append(
                        (
                            roc_auc_score(strange, score),
                            (claimed & strange).sum(),
                            (claimed & ~strange).sum(),
                        )
                    )
                auc, right, wrong = (float(value) for value in np.mean(tries, axis=0))
                cells.append(said | {"strangers": FEW, "ours": auc, "right": right, "wrong": wrong})
    return cells


def embedded(pictures: list[np.ndarray], name: str = "patches") -> np.ndarray:
    """Vectors of one of dqpipe's own embedders."""
    from dqpipe_images.imagenet import ImageNet
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture

    embedder = ImageNet() if name == "imagenet" else PatchBank()
    return embedder.embed(
        [Picture(Header("JPEG", one.shape[1], one.shape[0], "RGB"), one) for one in pictures], None
    )


def mixed(
    own: np.ndarray, labels: np.ndarray | None, others: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Vectors, labels and which are strangers."""
    rng = np.random.default_rng(seed)
    count = max(round(SHARE * len(own)), 3)
    picked = others[rng.choice(len(others), min(count, len(others)), replace=False)]
    label = (
        None
        if labels is None
        else np.concatenate([labels, rng.choice(np.unique(labels), len(picked))])
    )
    return np.vstack([own, picked]), label, np.arange(len(own) + len(picked)) >= len(own)


def held_out(
    own: np.ndarray, labels: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The other classes, with a few of this one among them."""
    rest, rng = labels != name, np.random.default_rng(0)
    return mixed(own[rest], labels[rest], own[~rest], int(rng.integers(1000)))


def cell(
    name: str, kind: str, tries: list[tuple[np.ndarray, np.ndarray | None, np.ndarray]]
) -> dict:
    """Means over some mixtures."""
    from cleanlab.outlier import OutOfDistribution
    from sklearn.metrics import roc_auc_score

    kept: dict[str, list] = {key: [] for key in ("ours", "theirs", "recall", "false")}
    confidences: list[float] = []
    right: list[bool] = []
    for vectors, labels, strange in tries:
        score, claimed, confidence = judged(vectors, labels)
        kept["ours"].append(roc_auc_score(strange, score))
        kept["theirs"].append(
            roc_auc_score(strange, -OutOfDistribution().fit_score(features=vectors, verbose=False))
        )
        kept["recall"].append(float(np.mean(claimed[strange])))
        kept["false"].append(float(np.mean(claimed[~strange])))
        told = claimed & np.isfinite(confidence)
        confidences += confidence[told].tolist()
        right += strange[told].tolist()
    return {"set": name, "strangers": kind, "confidences": confidences, "right": right} | {
        key: float(np.mean(values)) for key, values in kept.items()
    }


def judged(
    vectors: np.ndarray, labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, whether claimed, and the claim's confidence, of each sample, by the stage as the
    pipeline runs it.
    """
    import pyarrow as pa
    from dqpipe_vectors.outliers import Outliers

    from dqpipe.data.tables import Facts, Samples, fact_array

    ids = [f"{row:06d}" for row in range(len(vectors))]
    samples = Samples(
        pa.table(
            {"id": ids, "content": ids, **({} if labels is None else {"label": labels.tolist()})}
        )
    )
    stage = Outliers()
    needed = {
        "embeddings.vector": fact_array(vectors, "vector[float32]"),
        "duplicates.group": pa.array(ids),
    }
    related = stage.at("relate").relate(samples, Facts(pa.table(needed)), None)
    own = {
        fact.name: fact_array(related[fact.name], fact.type) for fact in stage.facts_at("relate")
    }
    claims = stage.detect(samples, Facts(pa.table({**needed, **own})))[0]
    rows = np.array([int(one) for one in claims["id"]], dtype=int)
    claimed, confidence = np.zeros(len(ids), dtype=bool), np.zeros(len(ids))
    claimed[rows], confidence[rows] = True, claims["confidence"]
    return np.asarray(related["score"]), claimed, confidence


def synthetic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [n, 512] of ten classes on curved sheets with thinning directions, as embeddings are,
    and their labels.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    hidden = rng.normal(size=(count, 24)) + rng.normal(size=(10, 24))[labels]
    curved = np.tanh(hidden @ rng.normal(size=(24, 512)) / 4) * np.arange(1, 513) ** -0.5
    return (curved + 0.01 * rng.normal(size=(count, 512))).astype(np.float32), labels.astype(str)


def main() -> None:
    """A job: quality, few, relate or cleanlab."""
    if sys.argv[1] == "few":
        print(json.dumps({"cells": few(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))}))
        return
    if sys.argv[1] == "quality":
        print(json.dumps({"cells": quality(int(sys.argv[2]), int(sys.argv[3]))}))
        return
    from threadpoolctl import threadpool_limits

    vectors, labels = synthetic(int(sys.argv[2]))
    judged(vectors[:100], labels[:100])
    began = time.perf_counter()
    with threadpool_limits(2):
        if sys.argv[1] == "relate":
            judged(vectors, labels)
        else:
            from cleanlab.outlier import OutOfDistribution

            OutOfDistribution().fit_score(features=vectors, verbose=False)
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
