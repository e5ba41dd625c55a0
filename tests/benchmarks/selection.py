"""Diversity and selection: is the Vendi score exact, does a chosen part teach a probe more than a
random one, what does it cost?
"""

from __future__ import annotations

import json
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section, peak

TITLE = "Diversity and selection"
SHARES = (0.1, 0.3)
METHODS = ("herding", "facility_location", "k_centre", "density", "semantic")
UNLABELLED = "herding without labels"
WIDTH = 512
CIFAR, BANKING, DIGITS = "CIFAR-10 test", "banking77", "digits"
WRONG = 0.1
STRENGTH = {CIFAR: 0.003, BANKING: 0.1, DIGITS: 0.1}
"""C of the logistic probe: what is best for random choice, tried in thirds of a power of ten."""
T_VALUE = {1: 12.71, 9: 2.262}
"""Half a 95 % interval in standard errors, by degrees of freedom."""
SETS = (
    (DIGITS, 10, 0.0, (*METHODS, UNLABELLED)),
    (CIFAR, 10, 0.0, (*METHODS, UNLABELLED)),
    (CIFAR, 10, WRONG, METHODS[:2]),
    (BANKING, 10, 0.0, METHODS[:2]),
)
"""What to choose from, seeds, share of wrong labels, methods."""


def report(bench: Bench) -> Section:
    """Rows of exactness, of what a probe learns, and of cost."""
    sets = [one for one in SETS if one[0] == DIGITS or SHARED.exists()]
    rows = [
        *_vendi_rows(bench),
        *(row for one in (sets[:1] if bench.quick else sets) for row in _probe_rows(bench, *one)),
        *_cost_rows(bench),
    ]
    missing = [] if SHARED.exists() else [f"{CIFAR} and {BANKING} are not there and left out."]
    return Section(rows, " ".join([TEXT, *missing]))


TEXT = (
    "The probe is a logistic regression on the standardised vectors of the chosen samples; its "
    "accuracy is the mean over classes, on a fifth of "
    "the data that was never there to choose from. Each seed is another split; random choice is "
    "the mean of two draws. The ratio column holds the "
    "mean difference in points, with the 95 % interval (Student's t) of the paired difference over "
    "seeds. Methods know the labels, wrong ones "
    "included, and choose within each class in proportion; without labels, within regions of the "
    "embedding. Wrong labels are drawn evenly from all "
    "classes. Digits stand as pixels, banking77 as 256 components of TF-IDF, CIFAR-10 by dqpipe's "
    "own embedder."
)


def _vendi_rows(bench: Bench) -> list[Row]:
    exact = bench.ours("selection", "exactness", 1500 if bench.quick else 5000)
    rows = [
        Row(
            f"Vendi score of {exact.said['count']:,} × {WIDTH}, against all eigenvalues of the n "
            f"× n similarities (numpy)",
            f"{exact.seconds:.3f} s, relative error {exact.said['error']:.1e}",
            f"{exact.said['reference']:.1f} s",
            f"{exact.said['reference'] / exact.seconds:,.0f}",
        )
    ]
    for case in bench.ours(
        "selection", "estimate", *((600, 500) if bench.quick else (3000, 2500))
    ).said["cases"]:
        said = (
            f"{case['value']:.1f} ({case['low']:.1f} to {case['high']:.1f}), error "
            f"{100 * (case['value'] / case['exact'] - 1):+.2f} %"
        )
        rows.append(
            Row(
                f"Vendi score estimated, as it is beyond 20,000 samples and numbers: "
                f"{case['name']}",
                said,
                f"{case['exact']:.1f} (exact)",
            )
        )
    return rows


def _probe_rows(
    bench: Bench, name: str, seeds: int, wrong: float, methods: tuple[str, ...]
) -> list[Row]:
    seeds = 2 if bench.quick else seeds
    ran = bench.ours(
        "selection",
        "probe",
        name,
        seeds,
        wrong,
        ",".join(methods[:1] if bench.quick else methods),
        bench.scratch,
    )
    of = f"{name}{f', {100 * wrong:.0f} % of labels wrong' if wrong else ''}"
    return [
        Row(
            f"{of}, {100 * case['share']:.0f} % kept by {case['method'].replace('_', ' ')}, "
            f"{seeds} seeds",
            f"{100 * (case['random'] + case['mean']):.1f} %",
            f"{100 * case['random']:.1f} % (random choice)",
            f"{100 * case['mean']:+.1f} ± {100 * case['half']:.1f}",
        )
        for case in ran.said["cases"]
    ]


def _cost_rows(bench: Bench) -> list[Row]:
    rows = []
    small, large = (1_000, 5_000) if bench.quick else (5_000, 50_000)
    for what in ("diversity", *(METHODS[:1] if bench.quick else METHODS)):
        few, many = (
            bench.ours("selection", "cost", what, count, threads=2) for count in (small, large)
        )
        exponent = np.log(many.seconds / few.seconds) / np.log(large / small)
        name = (
            "diversity, all of it" if what == "diversity" else f"select by {what.replace('_', ' ')}"
        )
        work = (
            f"{name}: {large:,} × {WIDTH}, 10 classes, 2 threads (at {small:,}: {few.seconds:.2f} "
            f"s, growth exponent {exponent:.2f})"
        )
        rows.append(Row(work, f"{many.seconds:.1f} s", memory=peak([many])))
    return rows


# jobs ---------------------------------------------------------------------------------------------


def exactness(count: int) -> dict[str, Any]:
    """Seconds and error of the Vendi score, and seconds of the definition."""
    from dqpipe_vectors.vendi import vendi_score

    units = _curved(count)[0]
    began = time.perf_counter()
    found = vendi_score(units).value
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    similar = units.astype(np.float64) @ units.T.astype(np.float64) / count
    values = np.linalg.eigvalsh(similar)
    values = values[values > 1e-12]
    wanted = float(np.exp(-(values * np.log(values)).sum()))
    return {
        "seconds": seconds,
        "reference": time.perf_counter() - began,
        "error": abs(found / wanted - 1),
        "count": count,
    }


def estimate(count: int, width: int) -> dict[str, Any]:
    """The estimate beside the exact score, for spectra that fall slowly and fast."""
    from dqpipe_vectors.vendi import vendi_score

    from dqpipe.data.nearest import unit

    cases = []
    for decay in (0.0, 0.5, 1.0):
        units = unit(
            np.random.default_rng(0).normal(size=(count, width)) * np.arange(1, width + 1) ** -decay
        )
        near = vendi_score(units, exact=0)
        name = (
            f"{count:,} × {width:,}, "
            f"{'no direction larger than another' if not decay else f'directions as their number to the power of -{decay}'}"  # noqa: E501
        )
        cases.append(
            {
                "name": name,
                "value": near.value,
                "low": near.low,
                "high": near.high,
                "exact": vendi_score(units).value,
            }
        )
    return {"cases": cases}


def probe(name: str, seeds: int, wrong: float, methods: str, scratch: Path) -> dict[str, Any]:
    """For each method and share.

    The mean accuracy of random choice, and the mean and half interval of the difference.
    """
    vectors, true = _cached(name, scratch)
    chance: dict[float, list[float]] = {share: [] for share in SHARES}
    better: dict[tuple[str, float], list[float]] = {
        (method, share): [] for method in methods.split(",") for share in SHARES
    }
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(true))
        test, train = shuffled[: len(true) // 5], np.sort(shuffled[len(true) // 5 :])
        given = np.where(
            rng.random(len(true)) < wrong, rng.integers(0, true.max() + 1, len(true)), true
        )
        draws = [rng.permutation(train) for _ in range(2)]
        for share in SHARES:
            count = round(share * len(train))
            chance[share].append(
                float(
                    np.mean(
                        [
                            _accuracy(vectors, given, true, draw[:count], test, STRENGTH[name])
                            for draw in draws
                        ]
                    )
                )
            )
        for method in methods.split(","):
            order = train[_order(vectors[train], given[train], method, seed)]
            for share in SHARES:
                reached = _accuracy(
                    vectors, given, true, order[: round(share * len(train))], test, STRENGTH[name]
                )
                better[method, share].append(reached - chance[share][-1])
    half = T_VALUE[seeds - 1] / np.sqrt(seeds)
    return {
        "cases": [
            {
                "method": method,
                "share": share,
                "random": np.mean(chance[share]),
                "mean": np.mean(gains),
                "half": half * np.std(gains, ddof=1),
            }
            for (method, share), gains in better.items()
        ]
    }


def cost(what: str, count: int) -> dict[str, Any]:
    """Seconds of relate and summarise of diversity, or of select's order."""
    import pyarrow as pa
    from dqpipe_vectors.diversity import Diversity

    from dqpipe.data.tables import Facts, Samples, fact_array

    units, labels = _curved(count)
    if what != "diversity":
        began = time.perf_counter()
        _order(units, labels, what, 0)
        return {"seconds": time.perf_counter() - began}
    ids = [f"{row:07d}" for row in range(count)]
    samples = Samples(
        pa.table({"id": ids, "content": ids, "label": [str(label) for label in labels]})
    )
    vectors, stage = {"v.v": fact_array(units, "vector[float32]")}, Diversity(vectors="v.v")
    began = time.perf_counter()
    related = stage.relate(samples, Facts(pa.table(vectors)), None)  # type: ignore[arg-type]
    facts = Facts(
        pa.table(
            vectors
            | {
                fact.name: fact_array(related[fact.name], fact.type)
                for fact in stage.facts_at("relate")
            }
        )
    )
    stage.summarise(samples, facts)
    return {"seconds": time.perf_counter() - began}


def _order(vectors: np.ndarray, labels: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Rows in the order in which the stage chooses them."""
    import pyarrow as pa
    from dqpipe_vectors.select import Select

    from dqpipe.data.tables import Facts, Samples, fact_array

    ids = [f"{row:07d}" for row in range(len(vectors))]
    label = {} if method == UNLABELLED else {"label": [f"{label:03d}" for label in labels]}
    samples = Samples(pa.table({"id": ids, "content": ids, **label}))
    stage = Select(vectors="v.v", copies=None, method=method.split(maxsplit=1)[0], seed=seed)
    ranks = stage.relate(
        samples, Facts(pa.table({"v.v": fact_array(vectors, "vector[float32]")})), None
    )["rank"]  # type: ignore[arg-type]
    return np.argsort(np.asarray(ranks, dtype=np.int64))


def _accuracy(
    vectors: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
    rows: np.ndarray,
    test: np.ndarray,
    strength: float,
) -> float:
    """Mean over classes of the share of the test samples that a probe trained on `rows`
    gets right.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(vectors[rows])
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(
        scaler.transform(vectors[rows]), given[rows]
    )
    right = model.predict(scaler.transform(vectors[test])) == true[test]
    return float(np.mean([right[true[test] == number].mean() for number in np.unique(true[test])]))


# data ---------------------------------------------------------------------------------------------


def _cached(name: str, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and labels, made once for all the jobs of a run."""
    kept = scratch / f"{name.replace(' ', '_')}.npz"
    if not kept.exists():
        vectors, labels = {DIGITS: _digits, CIFAR: _cifar, BANKING: _banking}[name]()
        np.savez(kept, vectors=vectors, labels=labels)
    with np.load(kept) as held:
        return held["vectors"], held["labels"]


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data.astype(np.float32), digits.target


def _banking() -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = pd.read_csv(SHARED / "banking77_train.csv")
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(
        table["text"]
    )
    return TruncatedSVD(256, random_state=0).fit_transform(words).astype(np.float32), pd.factorize(
        table["category"], sort=True
    )[0]


def _cifar() -> tuple[np.ndarray, np.ndarray]:
    import cv2
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture

    with zipfile.ZipFile(SHARED / "cifar10_test.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pixels = [
            cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            for name in names
        ]
    pictures = [
        Picture(Header("JPEG", one.shape[1], one.shape[0], "RGB"), np.ascontiguousarray(one))
        for one in pixels
    ]
    return PatchBank().embed(pictures, None), np.unique(
        [name.split("/")[0] for name in names], return_inverse=True
    )[1]


def _curved(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [count, 512] of ten classes, each around forty points, with directions that fall
    off; and their classes.
    """
    from dqpipe.data.nearest import unit

    rng = np.random.default_rng(0)
    fall = np.arange(1, WIDTH + 1) ** -0.4
    at = rng.integers(0, 400, count)
    return unit(
        (rng.normal(size=(400, WIDTH)) * 0.7)[at] * fall + rng.normal(size=(count, WIDTH)) * fall
    ), at % 10


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    jobs = {
        "exactness": (exactness, int),
        "estimate": (estimate, int, int),
        "probe": (probe, str, int, float, str, Path),
        "cost": (cost, str, int),
    }
    call, *kinds = jobs[job]
    print(
        json.dumps(
            call(*(kind(argument) for kind, argument in zip(kinds, arguments, strict=True))),
            default=float,
        )
    )
