"""Nights: how often the default gates stop an ordinary delivery of CIFAR-10 pictures, and which bad
deliveries they stop.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section

TITLE = "Nights"
ARCHIVE = SHARED / "cifar10_test.zip"
FIRST, LEAST, MOST = 400, 20, 200
"""Pictures of the first night, and the fewest and most that a later night brings."""


def report(bench: Bench) -> Section:
    """Series of ordinary nights from different draws, and after the first series each bad night by
    itself.
    """
    if not ARCHIVE.exists():
        return Section([], "The shared data are not there.")
    series, nights = (1, 3) if bench.quick else (3, 12)
    told = [
        bench.ours("nights", seed, nights, int(seed == 0), threads=2).said for seed in range(series)
    ]
    failed = [gate for one in told for gate in one["failed"]]
    said = f"{len(failed)} failed" + (
        f": {', '.join(sorted({text for gates in failed for text in gates}))}" if failed else ""
    )
    rows = [
        Row(
            f"{series * nights} ordinary nights: {LEAST} to {MOST} new pictures beside {FIRST} "
            f"and those of the nights before",
            said,
        )
    ]
    for name, gates in told[0]["bad"].items():
        rows.append(
            Row(
                f"{told[0]['new']} new pictures, {name}",
                f"stopped by {', '.join(f'`{text}`' for text in gates)}" if gates else "published",
            )
        )
    first = sum(one["first"] for one in told)
    text = (
        "What `dqpipe init` writes for a folder of pictures in classes, each night into one "
        "output. Pictures are drawn at random without replacement, "
        f"the number of new ones evenly on a logarithmic scale. The first night (not counted) "
        f"passed its gates in {first} of {series} series."
    )
    return Section(rows, text)


def series(seed: int, nights: int, home: Path) -> dict:
    """One series of ordinary nights.

    Whether the first passed, and the gates that failed in each of the nights that did not.
    """
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(ARCHIVE) as file:
        pictures = rng.permutation(
            sorted(name for name in file.namelist() if name.endswith(".jpg"))
        ).tolist()
        sizes = [
            FIRST,
            *np.exp(rng.uniform(np.log(LEAST), np.log(MOST), nights)).round().astype(int).tolist(),
        ]
        failed, at = [], 0
        for size in sizes:
            put(file, pictures[at : at + size], home / "set")
            at += size
            failed.append(night(home))
        return {
            "first": not failed[0],
            "failed": [gates for gates in failed[1:] if gates],
            "left": pictures[at:],
        }


def put(file: zipfile.ZipFile, names: list[str], folder: Path) -> list[Path]:
    """Pictures of the archive, in a folder for each class."""
    paths = [folder / name.split("/")[-2] / name.split("/")[-1] for name in names]
    for name, path in zip(names, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read(name))
    return paths


def night(home: Path) -> list[str]:
    """One night of the pipeline that `dqpipe init` writes: the gates that failed."""
    from dqpipe.api import Pipeline
    from dqpipe.engine.starter_config import pipeline_yaml
    from dqpipe.execution.local import Processes
    from dqpipe.plugin import registry

    config = home / "pipeline.yaml"
    if not config.exists():
        config.write_text(pipeline_yaml(registry.load(), home / "set", {}))
    run = Pipeline.from_yaml(config, changes=[f"dataset.path={home / 'set'}"]).drive(
        Processes(2), force=True
    )
    return [gate["gate"] for gate in run.gates if not gate["passed"]]


def bad(home: Path, left: list[str], count: int = 60) -> dict[str, list[str]]:
    """The gates that each bad delivery fails, from the state that the ordinary nights left."""
    found = {}
    for name, spoil in BAD.items():
        with (
            tempfile.TemporaryDirectory(prefix="dqpipe-bad-night-") as folder,
            zipfile.ZipFile(ARCHIVE) as file,
        ):
            copy = Path(folder) / "home"
            shutil.copytree(home, copy, symlinks=True)
            spoil(put(file, left[:count], copy / "set"), copy / "set")
            found[name] = night(copy)
    return found


def repainted(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Path], Path], None]:
    """New pictures, each changed and encoded again."""
    import cv2

    def spoil(new: list[Path], _: Path) -> None:
        for path in new:
            cv2.imwrite(str(path), change(cv2.imread(str(path))))

    return spoil


def cut(new: list[Path], _: Path) -> None:
    """A fifth of the new files end too early."""
    for path in new[::5]:
        path.write_bytes(path.read_bytes()[:200])


def seen(new: list[Path], folder: Path) -> None:
    """What comes was delivered before, under other names."""
    old = sorted(set(folder.rglob("*.jpg")) - set(new))
    for path, before in zip(new, old, strict=False):
        shutil.copy(before, path)


def swapped(_: list[Path], folder: Path) -> None:
    """Two classes have changed their names."""
    for name, to in (("cat", "swap"), ("ship", "cat"), ("swap", "ship")):
        (folder / name).rename(folder / to)


def gone(_: list[Path], folder: Path) -> None:
    """A class is not there."""
    shutil.rmtree(folder / "ship")


def encoded(_: list[Path], folder: Path) -> None:
    """Every file was encoded again, under its own name."""
    repainted(lambda tile: tile)(sorted(folder.rglob("*.jpg")), folder)


def emptied(_: list[Path], folder: Path) -> None:
    """Every file is empty."""
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")


BAD: dict[str, Callable[[list[Path], Path], None]] = {
    "darker by 60 %": repainted(lambda tile: (tile * 0.4).astype(np.uint8)),
    "all of one grey": repainted(lambda tile: np.full_like(tile, 128)),
    "a fifth cut off": cut,
    "all delivered before": seen,
    "and two classes swapped": swapped,
    "and a class gone": gone,
    "and all files encoded again": encoded,
    "and all files empty": emptied,
}


def main() -> None:
    """A job: a series from a seed of so many nights, and with 1 the bad nights after it."""
    began, seed, nights = time.perf_counter(), int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="dqpipe-nights-") as folder:
        told = series(seed, nights, Path(folder))
        left = told.pop("left")
        said = {
            **told,
            "new": min(60, len(left)),
            "bad": bad(Path(folder), left) if sys.argv[3] == "1" else {},
        }
    print(json.dumps({"seconds": time.perf_counter() - began, **said}))


if __name__ == "__main__":
    main()
