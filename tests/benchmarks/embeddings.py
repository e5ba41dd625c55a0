"""Vectors without downloads.

Pictures per second through the engine, what a linear probe reads from them, and what that costs.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section, median, peak

TITLE = "Embeddings"
PROCESSES = 2
TRAINED, TESTED = 8_000, 2_000
REGULARISED = 0.01  # C of the probe
CURVE_PICTURES = 4_000  # that the banks of the curve are learned from
LIST = ("patches", "imagenet", "imagenet:96", "imagenet:160", "imagenet:224")
"""The embedders that need no weights of the user's, each at the size it chooses for the pictures,
or at another one.
"""
NOISE = 0.17
"""The share of labels that are wrong where embedders are compared by how well wrong labels are
found.
"""


def report(bench: Bench) -> Section:
    """Speed, accuracy, the curve between them, memory and bits."""
    small = images(bench.scratch, "cifar10_test", 2_000 if bench.quick else 10_000)
    large = images(bench.scratch, "bccd", 500 if bench.quick else 3_000)
    if small is None:
        return Section((), "No CIFAR pictures here: nothing was measured.")
    rows = [*list_rows(bench), *engine_rows(bench, small, "32×32")]
    said = bench.ours("embeddings", "probe", 0, 2 if bench.quick else 5).said
    rows.append(
        Row(
            f"linear probe, {TRAINED:,} trained on, {TESTED:,} tested, mean of {said['splits']} "
            f"splits",
            f"accuracy {said['accuracy']:.3f}",
        )
    )
    rows += engine_rows(bench, large, "640×480") if large else []
    rows += curve(bench, said)
    return Section(rows, text(bench, small, said))


def list_rows(bench: Bench) -> Iterator[Row]:
    """Each embedder: what a probe reads from its vectors, how well wrong labels are found by them,
    and what they cost.
    """
    from dqpipe_images import imagenet

    count, splits = (2_000, 2) if bench.quick else (10_000, 5)
    for name in LIST if imagenet.installed() else LIST[:1]:
        said = bench.ours("embeddings", "embedder", name, count, splits).said
        kind, _, size = name.partition(":")
        yield Row(
            f"`{kind}`{f' at {size} pixels' if size else ''}, {count:,} pictures of 32×32",
            f"probe {said['accuracy']:.3f} ({splits} splits, {said['trained']:,} trained on); "
            f"average precision of the {NOISE:.0%} of labels that look-alikes "
            f"made wrong {said['ap']:.3f}; {said['width']} numbers, {said['ms']:.1f} ms of "
            f"processor time a picture",
        )


def images(scratch: Path, name: str, count: int) -> Path | None:
    """A folder of so many JPEG files, repeated under other names where there are fewer.

    None where the archive is missing.
    """
    archive, folder = SHARED / f"{name}.zip", scratch / f"{name}-{count}"
    if archive.exists() and not folder.exists():
        folder.mkdir()
        with zipfile.ZipFile(archive) as file:
            names = sorted(one for one in file.namelist() if one.endswith(".jpg"))
            picked = [
                names[at]
                for at in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)
            ]
            for at in range(count):  # a byte behind the end, so that no two files have one content
                (folder / f"{at:06d}.jpg").write_bytes(
                    file.read(picked[at % len(picked)]) + str(at).encode()
                )
    return folder if archive.exists() else None


def engine_rows(bench: Bench, folder: Path, size: str) -> Iterator[Row]:
    """A run of the filter bank alone from files to facts, two processes and one."""
    count = sum(1 for _ in folder.iterdir())
    decoding = bench.ours("embeddings", "decode", folder)
    for processes in (PROCESSES, 1):
        ran = [
            bench.ours("embeddings", "run", folder, processes, bench.scratch / "out")
            for _ in range(bench.runs(2))
        ]
        inside = count / (median(ran) * processes)
        yield Row(
            f"{count:,} JPEG files of {size} to vectors by `patches`, the whole run, {processes} "
            f"process{'es' if processes > 1 else ''}",
            f"{count / median(ran):,.0f}/s ({median(ran):.1f} s), {inside:,.0f}/s a process",
            memory=peak(ran),
            limit=f"decoding alone: {count / decoding.seconds * processes:,.0f}/s",
        )


def curve(bench: Bench, shipped: dict) -> Iterator[Row]:
    """Speed and accuracy with fewer filters and directions.

    Banks learned here from fewer pictures than the shipped one.
    """
    for filters in () if bench.quick else (128, 256, 512):
        said = bench.ours("embeddings", "probe", filters, 3).said
        yield Row(
            f"{filters:,} filters",
            f"{said['rate']:,.0f}/s on one core, accuracy {said['accuracy']:.3f}",
        )
    yield Row(
        "the shipped bank",
        f"{shipped['rate']:,.0f}/s on one core, accuracy {shipped['accuracy']:.3f}",
    )


def text(bench: Bench, folder: Path, said: dict) -> str:
    """Bits and memory."""
    apart = [bench.ours("embeddings", "bits", folder, shard).said for shard in (64, 1000)]
    alike = "the same" if apart[0]["hash"] == apart[1]["hash"] else "DIFFERENT"
    less, more = (bench.ours("embeddings", "embed", count) for count in (500, 5_000))
    return (
        f"The probe is scikit-learn's logistic regression (C = {REGULARISED}) on standardised "
        f"vectors, each split stratified. "
        f"The vectors of {apart[0]['count']:,} pictures in shards of 64 and of 1,000 have {alike} "
        f"bits. "
        f"Memory is bounded by the shard: embedding pictures of 640×480 that are made one by one "
        f"needs {less.mib:,.0f} MiB for {less.said['count']:,} and "
        f"{more.mib:,.0f} MiB for {more.said['count']:,} of them. "
        f"The banks of the curve beside the shipped one are learned in this benchmark from "
        f"{CURVE_PICTURES:,} pictures."
    )


def run(folder: Path, processes: int, out: Path) -> None:
    """The embeddings of a folder through the engine."""
    from dqpipe.api import Pipeline

    config = (
        f"dataset: {{path: {folder}}}\nstages: [embeddings: {{embedder: patches}}]\noutputs: "
        f"{{path: {out / f'{folder.name}-{time.time_ns()}'}}}\n"
    )
    Pipeline.from_text(config).check(f"processes:{processes}" if processes > 1 else "serial")


def decode(folder: Path) -> None:
    """Every file decoded once by OpenCV on one core."""
    import cv2

    cv2.setNumThreads(1)
    for path in sorted(folder.iterdir()):
        cv2.imread(str(path))


def pictures(folder: Path, count: int) -> list:
    """Some pictures of a folder, decoded."""
    import cv2
    from dqpipe_images.picture import Header, Picture

    read = [
        cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        for path in sorted(folder.iterdir())[:count]
    ]
    return [Picture(Header("JPEG", one.shape[1], one.shape[0], "RGB"), one) for one in read]


def bits(folder: Path, shard: int) -> dict:
    """The hash of the vectors of some pictures, embedded in shards."""
    from dqpipe_images.patch_bank import PatchBank

    shown = pictures(folder, 1_500)
    found = np.concatenate(
        [
            PatchBank().embed(shown[start : start + shard], None)
            for start in range(0, len(shown), shard)
        ]
    )
    return {"count": len(shown), "hash": hashlib.sha256(found.tobytes()).hexdigest()}


def embed(count: int) -> dict:
    """Embed so many pictures of 640×480, a shard of 100 at a time."""
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture

    rng = np.random.default_rng(0)
    for _ in range(count // 100):
        shown = [
            Picture(Header("JPEG", 640, 480, "RGB"), rng.integers(0, 256, (480, 640, 3), np.uint8))
            for _ in range(100)
        ]
        PatchBank().embed(shown, None)
    return {"count": count}


def probe(filters: int, splits: int) -> dict:
    """Pictures per second on this core, and the accuracy of a linear probe.

    0 filters for the shipped bank.
    """
    from dqpipe_images import make_patch_bank, patch_bank

    from tests.benchmarks.strangers import archived

    tiles, names = archived("cifar10_test")
    if filters:
        patch_bank.FILTERS = filters
        learned_from = make_patch_bank.pictures()
        some = np.sort(
            np.random.default_rng(0).choice(len(learned_from), CURVE_PICTURES, replace=False)
        )
        projection = patch_bank.Projection(
            patch_bank.learn(learned_from[some], make_patch_bank.SEED)
        )
    else:
        projection = patch_bank._shipped()
    projection.vector(tiles[0])
    began = time.perf_counter()
    vectors = np.stack([projection.vector(one) for one in tiles])
    rate = len(tiles) / (time.perf_counter() - began)
    return {
        "rate": rate,
        "accuracy": accuracy(
            vectors, np.unique(names, return_inverse=True)[1], splits, TRAINED, TESTED
        ),
        "splits": splits,
    }


def accuracy(
    vectors: np.ndarray, target: np.ndarray, splits: int, trained: int, tested: int
) -> float:
    """Of a linear probe, mean over stratified splits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    scores = []
    for seed in range(splits):
        train, test = train_test_split(
            np.arange(len(target)),
            train_size=trained,
            test_size=tested,
            stratify=target,
            random_state=seed,
        )
        middle, spread = vectors[train].mean(0), vectors[train].std(0)
        model = LogisticRegression(C=REGULARISED, max_iter=300).fit(
            (vectors[train] - middle) / spread, target[train]
        )
        scores.append(model.score((vectors[test] - middle) / spread, target[test]))
    return float(np.mean(scores))


def embedder(name: str, count: int, splits: int) -> dict:
    """An embedder, at a size if one is named, on so many CIFAR pictures.

    Probe, average precision of planted errors, processor time.
    """
    from dqpipe_images.imagenet import ImageNet
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture
    from sklearn.metrics import average_precision_score

    from dqpipe.execution.decoding import keep_memory
    from tests.benchmarks.label_errors import judged
    from tests.benchmarks.plant_noise import outlines, outsider, plant
    from tests.benchmarks.strangers import archived

    keep_memory()  # as workers do
    tiles, names = archived("cifar10_test", 10_000 // count)
    target, shown = (
        np.unique(names, return_inverse=True)[1],
        [Picture(Header("JPEG", 32, 32, "RGB"), tile) for tile in tiles],
    )
    kind, _, size = name.partition(":")
    made = PatchBank() if kind == "patches" else ImageNet(size=int(size) if size else None)
    made.embed(shown[:1], None)
    began = time.process_time()
    vectors = np.concatenate(
        [made.embed(shown[start : start + 32], None) for start in range(0, len(shown), 32)]
    )
    milliseconds = 1000 * (time.process_time() - began) / len(shown)
    given = plant(
        target, "look_alike", NOISE, 1, chances=outsider(outlines(np.stack(tiles)), target)
    )
    found = average_precision_score(given != target, judged(vectors, given)[0])
    trained = len(target) * TRAINED // (TRAINED + TESTED)
    return {
        "ms": milliseconds,
        "width": vectors.shape[1],
        "trained": trained,
        "ap": float(found),
        "accuracy": accuracy(vectors, target, splits, trained, len(target) - trained),
    }


def main() -> None:
    """A job by its name."""
    job, *given = sys.argv[1:]
    if job in {"run", "decode"}:
        import dqpipe.api  # noqa: F401 (imports are not what is measured)

    began = time.perf_counter()
    said = {
        "run": lambda: run(Path(given[0]), int(given[1]), Path(given[2])),
        "decode": lambda: decode(Path(given[0])),
        "bits": lambda: bits(Path(given[0]), int(given[1])),
        "embed": lambda: embed(int(given[0])),
        "probe": lambda: probe(int(given[0]), int(given[1])),
        "embedder": lambda: embedder(given[0], int(given[1]), int(given[2])),
    }[job]()
    print(json.dumps({"seconds": time.perf_counter() - began} | (said or {})))


if __name__ == "__main__":
    main()
