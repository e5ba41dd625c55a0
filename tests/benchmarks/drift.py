"""Drift: how often a delivery like all before is called different, and how often one that is
different is noticed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.bench import SHARED, Bench, Row, Section

TITLE = "Drift"
TABLES = ("taxis", "diamonds")
PART = 1500
"""Pictures of which there are changed ones as well."""


def report(bench: Bench) -> Section:
    """False alarms on random halves and random deliveries, then what is noticed of deliveries that
    are different.
    """
    if not SHARED.exists():
        return Section([], "The shared data are not there.")
    splits, seeds, every = (5, 3, 5) if bench.quick else (100, 20, 1)
    rows = []
    for name in ("cifar", *TABLES):
        for size in ("half", "1%"):
            cell = bench.ours("drift", "alarms", name, size, splits, every, threads=2).said
            said = (
                f"{cell['below']} of {splits} splits with any corrected p below 0.05, "
                f"{cell['claimed']} with a claim"
            )
            rows.append(
                Row(
                    f"{cell['name']}: {cell['new']:,} new beside {cell['old']:,}, {cell['facts']} "
                    f"facts, of one source",
                    said,
                )
            )
    for cell in bench.ours("drift", "power", seeds, every, threads=2).said["cells"]:
        said = (
            f"{cell['claimed']} of {seeds} told; {cell['fact']} in {cell['own']} (median effect "
            f"{cell['effect']:.2f}), "
        )
        said += f"embedding in {cell['vectors']} ({cell['vector_effect']:.2f})"
        rows.append(Row(f"CIFAR: {cell['new']} new beside {cell['old']:,}, {cell['name']}", said))
    text = (
        "New ones are drawn at random without replacement, the others are the last version. Claims "
        "are those at the default thresholds "
        "(corrected p below 0.01, effect 0.2 or more). The embedder's filter bank never saw these "
        "pictures."
    )
    return Section(rows, text)


def compared(before, now, new) -> tuple[Mapping[str, tuple[float, float]], int]:
    """Effect and corrected p value of each fact, and the number of claims of a shift."""
    from dqpipe_drift.drift import Drift

    from dqpipe.data.tables import Facts
    from dqpipe.data.version_comparison import Since
    from dqpipe.execution.decoding import one_thread

    with one_thread(2):
        rows, claims = Drift(copies=None).compare(
            now.samples, Facts(now.samples.table), Since("before", before, now, new)
        )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["key"], {})[row["figure"]] = row["value"]
    facts = {
        name: (cell["effect"], cell["p_adjusted"])
        for name, cell in found.items()
        if name is not None and "effect" in cell
    }
    return facts, sum((claim["code"] == "shifted").sum() for claim in claims)


def measured(source: str, folder: Path, *stages: str):
    """What the engine measured of a source: its evidence."""
    from dqpipe.api import Pipeline
    from dqpipe.engine.run import Run
    from dqpipe.execution.local import Processes

    roles = ", roles: {label: cut}" if "diamonds" in source else ""
    text = (
        f"dataset: {{path: {source}{roles}}}\nstages: [{', '.join(stages)}]\noutputs: {{path: "
        f"{folder / 'out'}}}"
    )
    pipeline = Pipeline.from_text(text)
    run = Run(pipeline.config, pipeline.registry, Processes(2), writes=False)
    run.run()
    return run._raw


def pictures(folder: Path, every: int, kinds: Mapping[str, Callable]):
    """CIFAR-10's test pictures as they are, and PART of them changed in each of the ways.

    Evidence, and the way of each row.
    """
    import cv2

    from tests.benchmarks.strangers import archived

    tiles, labels = archived("cifar10_test", every)
    for way, change in {"": lambda tile: tile, **kinds}.items():
        for number, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
            if not way or number % max(1, len(tiles) // PART) == 0:
                (folder / "data" / label).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(
                    str(folder / "data" / label / f"{way}{number:05}.png"), change(tile)[..., ::-1]
                )
    evidence = measured(str(folder / "data"), folder, "image_quality", "embeddings")
    return evidence, np.array([Path(sample).stem[:-5] for sample in evidence.samples.ids])


def alarms(name: str, size: str, splits: int, every: int, folder: Path) -> dict:
    """How often the same source is called different."""
    from dqpipe.engine.comparison import snapshot

    evidence = (
        pictures(folder, every, {})[0]
        if name == "cifar"
        else measured(str(SHARED / f"{name}.csv"), folder, "drift: {copies: null}")
    )
    count = min(len(evidence.samples), 10_000)
    new = count // 2 if size == "half" else count // 100
    below = claimed = 0
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(evidence.samples))[:count]
        parts = [snapshot(evidence, np.sort(rows)) for rows in (order[new:], order, order[:new])]
        facts, claims = compared(*parts)
        below += bool(min(p for _, p in facts.values()) < 0.05)
        claimed += bool(claims)
    return {
        "name": name,
        "new": new,
        "old": count - new,
        "facts": len(facts),
        "below": below,
        "claimed": claimed,
    }


def power(seeds: int, every: int, folder: Path) -> list[dict]:
    """How often a delivery that is different is noticed, and by what."""
    import cv2

    from dqpipe.engine.comparison import snapshot

    kinds = {
        "darker by 30 %": (lambda tile: (tile * 0.7).astype(np.uint8), "image_quality.brightness"),
        "darker by 10 %": (lambda tile: (tile * 0.9).astype(np.uint8), "image_quality.brightness"),
        "blurred (sigma 0.7 pixels)": (
            lambda tile: cv2.GaussianBlur(tile, (0, 0), 0.7),
            "image_quality.sharpness",
        ),
        "noisy (sigma 8 of 255)": (noisy, "image_quality.noise"),
    }
    evidence, way = pictures(folder, every, {name: change for name, (change, _) in kinds.items()})
    label = pd.Series(evidence.samples["label"])
    plain = np.flatnonzero(way == "")
    cells = []
    deliveries = [(name, np.flatnonzero(way == name), fact) for name, (_, fact) in kinds.items()]
    deliveries.append(("half of them of two classes", None, "label"))
    deliveries.append(
        ("of two classes only", plain[label[plain].isin(["ship", "airplane"])], "label")
    )
    for size in (100, 30):
        for name, rows, fact in deliveries:
            cells.append(cell_of(evidence, plain, name, rows, fact, label, seeds, size, snapshot))
    return cells


def noisy(tile: np.ndarray) -> np.ndarray:
    """A picture with noise."""
    rng = np.random.default_rng(int(tile.sum()))
    return np.clip(tile + rng.normal(0, 8, tile.shape), 0, 255).astype(np.uint8)


def cell_of(evidence, plain, name, rows, fact, label, seeds, size, snapshot) -> dict:
    """One kind of delivery, over the seeds."""
    own, vectors, claimed, found_effects, vector_effects = 0, 0, 0, [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        if rows is None:
            two = plain[label[plain].isin(["ship", "airplane"])]
            new = np.concatenate(
                [
                    rng.choice(two, size // 2, replace=False),
                    rng.choice(np.setdiff1d(plain, two), size - size // 2, replace=False),
                ]
            )
        else:
            new = rng.choice(rows, size, replace=False)
        old = np.setdiff1d(plain, new)
        facts, claims = compared(
            snapshot(evidence, old),
            snapshot(evidence, np.union1d(old, new)),
            snapshot(evidence, np.sort(new)),
        )
        own += bool(facts[fact][1] < 0.01)
        vectors += bool(facts["embeddings.vector"][1] < 0.01)
        claimed += bool(claims)
        found_effects.append(facts[fact][0])
        vector_effects.append(facts["embeddings.vector"][0])
    return {
        "name": name,
        "fact": fact,
        "old": len(old),
        "new": size,
        "claimed": claimed,
        "own": own,
        "effect": float(np.median(found_effects)),
        "vectors": vectors,
        "vector_effect": float(np.median(vector_effects)),
    }


def main() -> None:
    """A job: alarms or power."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dqpipe-drift-") as folder:
        if sys.argv[1] == "alarms":
            said = alarms(
                sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), Path(folder)
            )
        else:
            said = {"cells": power(int(sys.argv[2]), int(sys.argv[3]), Path(folder))}
    print(json.dumps({"seconds": time.perf_counter() - began, **said}))


if __name__ == "__main__":
    main()
