"""Splits: balance beside scikit-learn's StratifiedGroupKFold, what a million samples cost, and real
leaks found and repaired.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section

TITLE = "Splits"
CASES = {
    "even groups": (5, 0.5),
    "few large groups": (60, 1.0),
    "one class in most groups": (10, 0.1),
    "many classes": (10, 0.5),
}
"""Samples in a group on average, and how mixed its classes are (the parameter of a Dirichlet
distribution).
"""
VIDEO = "/([0-9A-Za-z]+)_f?[0-9]+[.]png"
"""What the frames of one drive of CamVid have in common."""


def report(bench: Bench) -> Section:
    """Balance of five folds, seconds of a million samples, and camvid's neighbouring frames."""
    rows = []
    seeds, count = (2, 2_000) if bench.quick else (10, 5_000)
    for name in CASES:
        cell = bench.ours("splits", "balance", name, seeds, count).said
        ours, theirs = (
            f"size {100 * cell[who][0]:.2f} %, classes {100 * cell[who][1]:.2f} %"
            for who in ("ours", "theirs")
        )
        rows.append(
            Row(
                f"{name}: five folds of {count:,}, off by",
                ours,
                theirs,
                f"{cell['theirs'][1] / max(cell['ours'][1], 1e-9):.1f}",
            )
        )
    size = 100_000 if bench.quick else 1_000_000
    for per in (1, 5):
        ran = bench.ours("splits", "large", size, per)
        rows.append(
            Row(
                f"{size:,} samples, {per} in a group, 100 classes",
                f"{ran.said['cpu']:.1f} s of CPU",
                memory=f"{ran.mib:.0f} MiB",
                limit="60 s",
            )
        )
    if (SHARED / "camvid_part.zip").exists():
        cell = bench.ours("splits", "camvid").said
        said = (
            f"{cell['leaks']} of {cell['samples']} frames leak, {cell['moved']} moved, "
            f"{cell['left']} leak then"
        )
        rows.append(Row("CamVid's own splits, drives by the names of frames", said))
        said = (
            f"{cell['chain_leaks']} frames leak, {cell['chain_moved']} moved, {cell['chain_left']} "
            f"leak then"
        )
        rows.append(Row("CamVid's own splits, frames up to 400 numbers apart in chains", said))
    text = (
        "Off by: the largest difference of a fold's share of the samples from a fifth, and the "
        "mean difference of a fold's share of a class from a fifth; "
        "means over seeds. The ratio is that of the classes."
    )
    return Section(rows, text)


def balance(name: str, seeds: int, count: int) -> dict[str, list[float]]:
    """How far five folds are off, dqpipe's and scikit-learn's."""
    import pyarrow as pa
    from dqpipe_splits import assignment, links, strata
    from sklearn.model_selection import StratifiedGroupKFold

    from dqpipe.data.tables import Samples

    per, mixed = CASES[name]
    classes = 50 if name == "many classes" else 8
    off: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        groups = np.unique(rng.integers(0, count // per, count), return_inverse=True)[1]
        label = (
            rng.dirichlet(np.full(classes, mixed), groups.max() + 1)[groups].cumsum(1)
            > rng.random(count)[:, None]
        ).argmax(1)
        ids = np.array([f"{number:07}" for number in range(count)], dtype=object)
        by = strata.of_label(
            Samples(pa.table({"id": ids, "label": [str(one) for one in label]})), 10
        )
        component = links.components(count, [links.Link("group", groups)])
        ours = (
            np.array(
                assignment.folds(ids, component, by, np.ones(count, bool), (5, 1, 0), {}, seed)[
                    "fold"
                ]
            )
            - 1
        )
        theirs = np.zeros(count, int)
        for number, (_, rows) in enumerate(
            StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(label, label, groups)
        ):
            theirs[rows] = number
        for who, fold in (("ours", ours), ("theirs", theirs)):
            table = np.array(
                [np.bincount(label[fold == one], minlength=classes) for one in range(5)]
            )
            there = table.sum(axis=0) > 0
            off[who].append(
                (
                    abs(table.sum(axis=1) / count - 0.2).max(),
                    abs(table[:, there] / table[:, there].sum(axis=0) - 0.2).mean(),
                )
            )
    return {who: np.mean(values, axis=0).tolist() for who, values in off.items()}


def large(count: int, per: int) -> dict[str, float]:
    """CPU seconds of relating, detecting and summarising so many samples."""
    import pyarrow as pa
    from dqpipe_splits.split import Split

    from dqpipe.data.tables import Facts, Samples

    rng = np.random.default_rng(0)
    ids, labels = (
        [f"{number:08}" for number in range(count)],
        rng.integers(0, 100, count).astype(str),
    )
    columns = {"id": ids, "label": labels, "patient": rng.integers(0, count // per, count)}
    samples, stage = (
        Samples(pa.table(columns)),
        Split(copies=None, groups=("patient",) if per > 1 else ()),
    )
    none = pa.nulls(count, pa.string())
    began = time.process_time()
    found = stage.relate(samples, Facts(pa.table({"last.assigned": none})), None)  # type: ignore[arg-type]
    facts = Facts(
        pa.table(
            {
                name: pa.array(values) if name == "given" else pa.array(values, pa.string())
                for name, values in found.items()
            }
        )
    )
    stage.detect(samples, facts)
    rows = {(row["figure"], row["key"]): row["value"] for row in stage.summarise(samples, facts)}
    cpu = time.process_time() - began
    assert rows[("crossing", None)] == 0
    return {"cpu": cpu, "size": rows[("size", "test")]}


def camvid() -> dict[str, int]:
    """Frames that leak between CamVid's own splits, how many are moved, and how many leak then."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(SHARED / "camvid_part.zip") as packed,
    ):
        packed.extractall(folder)
        told: dict[str, int] = {}
        for prefix, options in (("", f"pattern: '{VIDEO}'"), ("chain_", "frames: 400")):
            for step, existing in enumerate(("keep", "repair")):
                found = _camvid(
                    Path(folder), f"{options}, existing: {existing}", f"{prefix}{existing}"
                )
                leaks = int((found.findings["code"] == "split.leak").sum())
                told[prefix + ("left" if step else "leaks")] = leaks
                told[f"{prefix}moved"] = int((found.findings["code"] == "split.moved").sum())
                told["samples"] = len(found.facts)
    return told


def _camvid(folder: Path, options: str, name: str):
    import pandas as pd

    from dqpipe.api import Pipeline

    rows = [
        (str(path.relative_to(folder)), path.parent.name)
        for path in sorted(folder.glob("camvid/*/*.png"))
        if not path.parent.name.endswith("annot")
    ]
    pd.DataFrame(rows, columns=["image", "split"]).to_csv(folder / "frames.csv", index=False)
    text = (
        f"dataset: {{path: {folder / 'frames.csv'}}}\nstages: [duplicates, {{split: "
        f"{{{options}}}}}]\ngates: []\n"
    )
    return Pipeline.from_text(
        text + f"outputs: {{path: {folder / name}, store: {folder / 'store'}, files: manifest}}"
    ).run("serial")


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    numbers = [int(one) if one.isdigit() else one for one in arguments]
    print(json.dumps({"balance": balance, "large": large, "camvid": camvid}[job](*numbers)))
