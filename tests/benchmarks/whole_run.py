"""The whole of a run: dqpipe's proposed pipeline against a script of the tools people use
(by_hand.py), and how it grows.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

from tests.benchmarks.bench import Bench, Row, Section, median, peak

TITLE = "The whole run"
THREADS = 2


def report(bench: Bench) -> Section:
    """Rows for 640×480 and 32×32 against the script, for growth, and where the time goes."""
    rows, texts = [], []
    for kind, count, copies in (
        ("640×480", 1000 if bench.quick else 10_000, 28),
        ("32×32", 2000 if bench.quick else 10_000, 1),
    ):
        folder = bench.scratch / f"{kind}-{count}"
        if not bench.ours("whole_run", "make", kind, count, copies, folder).said["made"]:
            texts.append(f"No {kind} pictures here: that row is left out.")
            continue
        row, text = against_script(bench, kind, count, folder)
        rows.append(row)
        texts.append(text)
    grown = growth(bench)
    rows += [grown] if grown else []
    return Section(rows, "\n\n".join(texts))


def against_script(bench: Bench, kind: str, count: int, folder: Path) -> tuple[Row, str]:
    """One row, and where the time of our last run went."""
    out = bench.scratch / "out"

    def fresh(run):
        shutil.rmtree(out, ignore_errors=True)
        return run()

    ours, theirs = bench.alternate(
        lambda: fresh(lambda: bench.ours("whole_run", "run", folder, out, threads=THREADS)),
        lambda: fresh(lambda: bench.theirs("by_hand", folder, out, threads=THREADS)),
        runs=bench.runs(3 if kind == "32×32" else 2),
    )
    shutil.rmtree(out, ignore_errors=True)
    bytes_read, decoded = ours[-1].said["bytes"], bench.ours("whole_run", "decode", folder).seconds
    row = Row(
        f"{count:,} images of {kind}, two processes, to a curated folder",
        f"{median(ours):.1f} s, {ours[-1].said['kept']:,} kept",
        (
            f"CleanVision + cleanlab + albumentations by hand: {median(theirs):.1f} s, "
            f"{theirs[-1].said['kept']:,} kept"
        ),
        f"{median(theirs) / median(ours):.1f}×",
        f"{peak(ours)}; {peak(theirs)}",
        (
            f"decoding alone (OpenCV, both cores): {decoded / THREADS:.1f} s; "
            f"{bytes_read / 2**20:,.0f} MiB read"
        ),
    )
    return row, where_time_goes(kind, ours[-1].said["steps"], decoded / THREADS)


def where_time_goes(kind: str, steps: list[dict], limit: float) -> str:
    """The steps that took the most, as a list."""
    total = sum(step["seconds"] for step in steps)
    said = [
        f"{step['step']} {step['seconds']:.1f} s ({step['seconds'] / total:.0%})"
        for step in sorted(steps, key=lambda s: -s["seconds"])[:10]
    ]
    return (
        f"Where the time goes at {kind} (of {total:.1f} s; the pictures must at least be decoded "
        f"once, {limit:.1f} s): {', '.join(said)}."
    )


def growth(bench: Bench) -> Row | None:
    """The exponent between two sizes."""
    small, large = (1000, 4000) if bench.quick else (5000, 50_000)
    ran = []
    for count in (small, large):
        folder, out = bench.scratch / f"growth-{count}", bench.scratch / "out"
        if not bench.ours("whole_run", "make", "32×32", count, 5, folder).said["made"]:
            return None
        shutil.rmtree(out, ignore_errors=True)
        ran.append(bench.ours("whole_run", "run", folder, out, threads=THREADS))
        shutil.rmtree(folder)
    shutil.rmtree(out, ignore_errors=True)
    exponent = math.log(ran[1].seconds / ran[0].seconds) / math.log(large / small)
    slowest = [
        (
            f"{late['step']} "
            f"{math.log(max(late['seconds'], 0.01) / max(early['seconds'], 0.01)) / math.log(large / small):.2f}"  # noqa: E501
        )
        for early, late in zip(ran[0].said["steps"], ran[1].said["steps"], strict=True)
        if late["seconds"] > 0.05 * ran[1].seconds
    ]
    return Row(
        f"growth of the whole from {small:,} to {large:,} images of 32×32",
        (
            f"{ran[0].seconds:.1f} s → {ran[1].seconds:.1f} s, exponent {exponent:.2f} "
            f"({', '.join(slowest)})"
        ),
        memory=f"{ran[0].mib:,.0f} → {ran[1].mib:,.0f} MiB",
    )


def make(kind: str, count: int, copies: int, folder: Path) -> bool:
    """`count` JPEG files in folders of classes, `copies` from each source.

    Whether there is anything to make them from.
    """
    from joblib import Parallel, delayed

    sources = micrographs(folder) if kind == "640×480" else tiles(folder)
    if sources and not folder.exists():
        picked = [
            sources[at] for at in np.linspace(0, len(sources) - 1, -(-count // copies)).astype(int)
        ]
        jobs = [(source, name, copy, folder) for source, name in picked for copy in range(copies)][
            :count
        ]
        Parallel(n_jobs=THREADS, batch_size=100)(delayed(transformed)(*job) for job in jobs)
    return bool(sources)


def unpacked(name: str, folder: Path) -> Path | None:
    """A folder of the shared data, or None where it is missing."""
    from tests.benchmarks.bench import SHARED

    archive = SHARED / f"{name}.zip"
    target = folder.parent / name
    if not archive.exists():
        return None
    if not target.exists():
        zipfile.ZipFile(archive).extractall(target)
    return target


def micrographs(folder: Path) -> list[tuple[Path, str]]:
    """Micrographs, classed by whether their annotation counts platelets."""
    root = unpacked("bccd", folder)
    if root is None:
        return []
    found = sorted(root.rglob("*.jpg"))
    notes = {path.stem: path.read_text() for path in root.rglob("*.xml")}
    return [
        (path, "platelets" if "Platelets" in notes.get(path.stem, "") else "none") for path in found
    ]


def tiles(folder: Path) -> list[tuple[Path, str]]:
    """Small pictures and their classes."""
    root = unpacked("cifar10_test", folder)
    return (
        [] if root is None else [(path, path.parent.name) for path in sorted(root.glob("*/*.jpg"))]
    )


def transformed(source: Path, name: str, copy: int, folder: Path) -> None:
    """Write the source as it is (copy 0), or turned, cropped, lit and blurred anew."""
    import cv2

    target = folder / name / f"{source.stem}-{copy}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy == 0:
        shutil.copyfile(source, target)
        return
    rng = np.random.default_rng([copy, *source.stem.encode()])
    picture = cv2.imread(str(source))
    height, width = picture.shape[:2]
    scale, angle = (
        rng.uniform(1.1, 1.8),
        rng.uniform(-25, 25) if height > 100 else rng.uniform(-8, 8),
    )
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    turn[:, 2] += rng.uniform(-0.12, 0.12, 2) * (width, height)
    picture = cv2.warpAffine(
        picture, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    picture = cv2.convertScaleAbs(picture, alpha=rng.uniform(0.75, 1.25), beta=rng.uniform(-25, 25))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    cv2.imwrite(str(target), picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])


def run(folder: Path, out: Path) -> dict:
    """dqpipe's proposed pipeline, from the folder to the published version, imports and planning
    included.
    """
    import dqpipe

    result = dqpipe.curate(folder, out, executor=f"processes:{THREADS}")
    said = result.record["run"]
    size = sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    return {
        "kept": int((result.decisions["decision"] != "drop").sum()),
        "steps": said["timings"],
        "bytes": size,
    }


def decode(folder: Path) -> dict:
    """Every picture decoded once by OpenCV on one core."""
    import cv2

    cv2.setNumThreads(1)
    return {"pixels": sum(cv2.imread(str(path)).size for path in sorted(folder.rglob("*.jpg")))}


def main() -> None:
    """A job: make, run or decode."""
    began = time.perf_counter()
    if sys.argv[1] == "make":
        said = {"made": make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))}
    elif sys.argv[1] == "run":
        said = run(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        said = decode(Path(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - began} | said))


if __name__ == "__main__":
    main()
