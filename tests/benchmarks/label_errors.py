"""Wrong labels planted in real pictures.

Dqpipe's `label_noise` beside cleanlab's default, on the same embeddings.
"""

from __future__ import annotations

import json
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section
from tests.benchmarks.plant_noise import outlines, outsider, plant

if TYPE_CHECKING:
    import pandas as pd

    from dqpipe.data.tables import Facts, Samples
    from dqpipe.plugin.stage import Embedder

TITLE = "Label errors"
KINDS, NOT_TUNED_ON, RATES = (
    ("uniform", "class", "look_alike"),
    ("pairs", "clustered"),
    (0.05, 0.1, 0.2, 0.4),
)
SAMPLES = 4000
"""Pictures that noise is planted in."""


def report(bench: Bench) -> Section:
    """A row for each kind and rate of noise, for labels as they are, for the human votes, and for
    cost.
    """
    rows = [as_they_are("digits as pixels", bench.ours("label_errors", "as_they_are").said)]
    inputs, missing = bench.scratch / "labels.npz", ""
    if bench.ours(
        "label_errors", "prepare", 1500 if bench.quick else 10_000, inputs, threads=2
    ).said["made"]:
        plan = [
            (kind, rate, bench.runs(5, 1))
            for kind in KINDS
            for rate in ((0.1, 0.4) if bench.quick else RATES)
        ]
        plan += (
            [] if bench.quick else [(kind, rate, 2) for kind in NOT_TUNED_ON for rate in (0.1, 0.2)]
        )
        tasks = [(kind, rate, seed) for kind, rate, seeds in plan for seed in range(seeds)]
        with ThreadPoolExecutor(2) as two:
            found = list(
                two.map(
                    lambda task: (task[:2], bench.ours("label_errors", "cell", inputs, *task).said),
                    tasks,
                )
            )
        rows += [
            row_of(kind, rate, [cell for key, cell in found if key == (kind, rate)])
            for kind, rate, _ in plan
        ]
        rows += [] if bench.quick else votes(bench, inputs)
    else:
        missing = " The pictures are not here: digits and cost alone are measured."
    if not bench.quick:
        rows += cost(bench)
    return Section(rows, TEXT + missing)


TEXT = (
    "AP is average precision of the ranking, F1 that of the flagged labels, both of the planted "
    "errors; ± is a 95 % bootstrap interval of the paired "
    "difference over seeds. ECE is the calibration error of our confidence. `look_alike` flips "
    "labels by the doubt of another model, on other features. "
    "`pairs` and `clustered` are kinds that nothing was tuned on. At high rates of `look_alike` "
    "the flipped labels look like hard samples that are right: "
    "if the one who flips sees what the models see, the labels are as probable as before, so that "
    "their number cannot be known, and labels that are "
    "hard and right would have to be flagged to flag them."
)


def row_of(kind: str, rate: float, cells: list[dict]) -> Row:
    """The means over seeds."""
    mean = {name: float(np.mean([cell[name] for cell in cells])) for name in cells[0]}
    gain = np.array([cell["ap"] - cell["their_ap"] for cell in cells])
    drawn = np.random.default_rng(0).choice(gain, (2000, len(gain))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Row(
        f"{kind}, {rate:.0%} of {int(mean['n']):,} labels wrong, {len(cells)} seeds",
        f"AP {mean['ap']:.3f}, F1 {mean['f1']:.3f}, ECE {mean['ece']:.3f}, suggestion right "
        f"{mean['suggested']:.2f}; says {mean['said']:.3f} are wrong, "
        f"{mean['true']:.3f} are; interval holds in {sum(cell['held'] for cell in cells)} of "
        f"{len(cells)}",
        (
            f"cleanlab: AP {mean['their_ap']:.3f}, F1 {mean['their_f1']:.3f}, suggestion right "
            f"{mean['their_suggested']:.2f}"
        ),
        (
            f"AP {mean['ap'] / mean['their_ap']:.2f}× ({low:+.3f} to {high:+.3f}), F1 "
            f"{mean['f1'] / mean['their_f1']:.2f}×"
        ),
    )


def as_they_are(name: str, said: dict) -> Row:
    """What is flagged among labels that are right."""
    return Row(
        f"{name}, {said['n']:,} labels as they are: flagged",
        f"{said['flagged']}, says {said['said']:.3f} are wrong",
        f"cleanlab: {said['their_flagged']}",
    )


def cost(bench: Bench) -> list[Row]:
    """50,000 × 512, 10 classes, beside scikit-learn's cross-validated logistic regression.

    And how it grows.
    """
    less, ours = (bench.ours("label_errors", "cost", "ours", count) for count in (25_000, 50_000))
    theirs = bench.ours("label_errors", "cost", "theirs", 50_000)
    growth = np.log2(ours.seconds / less.seconds)
    return [
        Row(
            "50,000 samples × 512 correlated numbers × 10 classes, end to end, one thread",
            f"{ours.seconds:.0f} s; from half as many: n^{growth:.2f}",
            (
                f"5-fold LogisticRegression(C=1, max_iter=200) of scikit-learn alone: "
                f"{theirs.seconds:.0f} s"
            ),
            f"{theirs.seconds / ours.seconds:.2f}×",
            f"{ours.mib:,.0f} MiB; {theirs.mib:,.0f} MiB",
        )
    ]


def votes(bench: Bench, inputs: Path) -> list[Row]:
    """The labels as they are, against what five people said of those that a model had doubted."""
    if not (SHARED / "cifar10_test_human_votes.csv").exists():
        return []
    said = bench.ours("label_errors", "votes", inputs, threads=2).said
    return [
        Row(
            f"the labels as they are, {said['wrong']} of which most people reject ({said['seen']} "
            f"were looked at)",
            (
                f"AP {said['ap']:.3f} [{said['low']:.3f}, {said['high']:.3f}], {said['flagged']} "
                f"flagged"
            ),
            (
                f"cleanlab: AP {said['their_ap']:.3f} [{said['their_low']:.3f}, "
                f"{said['their_high']:.3f}], {said['their_flagged']} flagged"
            ),
            f"{said['ap'] / said['their_ap']:.2f}×",
        )
    ]


# jobs ---------------------------------------------------------------------------------------------


def prepare(count: int, target: Path) -> bool:
    """Vectors, labels, an outsider's probabilities and names of the same number of pictures of each
    class.
    """
    from dqpipe_images.patch_bank import PatchBank

    shown = pictures(count)
    if shown is None:
        return False
    tiles, given, names, classes = shown
    np.savez(
        target,
        vectors=embedded(PatchBank(), tiles),
        labels=given,
        chances=outsider(outlines(np.stack(tiles)), given),
        names=names,
        classes=classes,
    )
    return True


def pictures(count: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray] | None:
    """The same number of pictures of each class, uint8 [32, 32, 3], their labels, names, and the
    classes; None where they are not here.
    """
    import cv2

    archive = SHARED / "cifar10_test.zip"
    if not archive.exists():
        return None
    tiles, labels, names = [], [], []
    with zipfile.ZipFile(archive) as files:
        found = sorted(name for name in files.namelist() if name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in found})
        for number, kind in enumerate(classes):
            for name in [name for name in found if name.split("/")[-2] == kind][
                : count // len(classes)
            ]:
                tiles.append(
                    cv2.cvtColor(
                        cv2.imdecode(np.frombuffer(files.read(name), np.uint8), cv2.IMREAD_COLOR),
                        cv2.COLOR_BGR2RGB,
                    )
                )
                labels.append(number)
                names.append("/".join(name.split("/")[-2:]))
    return tiles, np.array(labels), np.array(names), np.array(classes)


def embedded(embedder: Embedder, tiles: list[np.ndarray]) -> np.ndarray:
    """Vectors [n, d] of pictures uint8 [height, width, 3]."""
    from dqpipe_images.picture import Header, Picture

    return np.asarray(
        embedder.embed(
            [Picture(Header("JPEG", tile.shape[1], tile.shape[0], "RGB"), tile) for tile in tiles],
            None,
        )
    )


@dataclass(frozen=True, eq=False)
class Judgement:
    """What `label_noise` says of labels: the samples, its facts, claims and figures."""

    samples: Samples
    facts: Facts
    claims: pd.DataFrame
    figures: list[dict]

    def figure(self, name: str) -> dict:
        """A figure of the set; nothing is known of one that is not there."""
        rows = (row for row in self.figures if row["figure"] == name and row["scope"] == "set")
        return next(rows, {"value": 0.0, "low": 0.0, "high": 1.0})


def judgement(vectors: np.ndarray, given: np.ndarray) -> Judgement:
    """The default stage on vectors [n, d] and labels int [n].

    A label text is the number in three digits.
    """
    import pyarrow as pa
    from dqpipe_labels.label_noise import LabelNoise

    from dqpipe.data.tables import Facts, Samples, fact_array

    ids = [f"{at:06d}" for at in range(len(given))]
    samples = Samples(
        pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "label": pa.array([f"{label:03d}" for label in given]),
            }
        )
    )
    stage = LabelNoise(groups=None)
    columns = {"embeddings.vector": fact_array(vectors, "vector[float32]")}
    related = stage.at("relate").relate(samples, Facts(pa.table(columns)), None)
    kinds = {fact.name: fact.type for fact in stage.facts_at("relate")}
    facts = Facts(
        pa.table(
            columns | {name: fact_array(values, kinds[name]) for name, values in related.items()}
        )
    )
    return Judgement(
        samples, facts, stage.detect(samples, facts)[0], stage.summarise(samples, facts)
    )


def judged(
    vectors: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
    """By `label_noise`: confidence [n], flagged [n] bool, suggestion [n], and the figures."""
    found = judgement(vectors, given)
    flagged = np.isin(found.samples.ids, found.claims["id"].to_numpy())
    suggested = np.array([-1 if name is None else int(name) for name in found.facts["suggested"]])
    return np.nan_to_num(found.facts["confidence"]), flagged, suggested, found.figures


def by_cleanlab(
    vectors: np.ndarray, given: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By cleanlab's default: badness [n], flagged [n] bool, suggestion [n]."""
    import warnings

    from cleanlab.classification import CleanLearning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CleanLearning(seed=seed).find_label_issues(vectors, given)
    return (
        1 - found["label_quality"].to_numpy(),
        found["is_label_issue"].to_numpy(),
        found["predicted_label"].to_numpy(),
    )


def f1(flagged: np.ndarray, wrong: np.ndarray) -> float:
    """Of the flagged labels."""
    return 2 * float((flagged & wrong).sum()) / max(1, int(flagged.sum() + wrong.sum()))


def calibration(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error over ten bins (Naeini, Cooper & Hauskrecht 2015)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(
        sum(abs(confidence[bins == at].sum() - wrong[bins == at].sum()) for at in range(10))
        / len(wrong)
    )


def cell(vectors: np.ndarray, labels: np.ndarray, given: np.ndarray, seed: int) -> dict:
    """Both tools on one set of planted errors."""
    from sklearn.metrics import average_precision_score

    wrong = given != labels
    confidence, flagged, suggested, figures = judged(vectors, given)
    badness, their_flagged, their_suggested = by_cleanlab(vectors, given, seed)
    said = next(
        row for row in figures if row["figure"] == "wrong" and row.get("scope", "set") == "set"
    )
    hit, their_hit = flagged & wrong, their_flagged & wrong
    return {
        "n": len(given),
        "ap": average_precision_score(wrong, confidence),
        "their_ap": average_precision_score(wrong, badness),
        "f1": f1(flagged, wrong),
        "their_f1": f1(their_flagged, wrong),
        "ece": calibration(confidence, wrong),
        "suggested": float((suggested == labels)[hit].mean()) if hit.any() else 0.0,
        "their_suggested": float((their_suggested == labels)[their_hit].mean())
        if their_hit.any()
        else 0.0,
        "said": float(said["value"]),
        "true": float(wrong.mean()),
        "held": bool(said["low"] <= wrong.mean() <= said["high"]),
    }


def planted(inputs: Path, kind: str, rate: float, seed: int) -> dict:
    """One kind and rate of noise in some of the pictures."""
    data = np.load(inputs)
    rows = slice(None, None, max(1, len(data["labels"]) // SAMPLES))
    vectors, labels, chances = (data[name][rows] for name in ("vectors", "labels", "chances"))
    return cell(
        vectors, labels, plant(labels, kind, rate, seed, features=vectors, chances=chances), seed
    )


def sound() -> dict:
    """Both tools on digits whose labels are right."""
    from sklearn.datasets import load_digits

    data = load_digits()
    _, flagged, _, figures = judged(data.data.astype(np.float32), data.target)
    _, their_flagged, _ = by_cleanlab(data.data, data.target, 0)
    said = next(row for row in figures if row["figure"] == "wrong")
    return {
        "n": len(flagged),
        "flagged": int(flagged.sum()),
        "their_flagged": int(their_flagged.sum()),
        "said": float(said["value"]),
    }


def cost_of(whose: str, count: int) -> dict:
    """Vectors as embeddings are (variances that fall off, classes that overlap), a tenth of the
    labels wrong; without the time to make them.
    """
    rng = np.random.default_rng(0)
    width, classes = 512, 10
    scales = np.logspace(0, -2, width).astype(np.float32)
    inner = rng.normal(size=(count, width)).astype(np.float32)
    labels = (inner[:, :classes] + rng.gumbel(size=(count, classes)) * 0.5).argmax(axis=1)
    vectors = (inner * scales) @ np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
    given = plant(labels, "uniform", 0.1, 0)
    began = time.perf_counter()
    if whose == "ours":
        judged(vectors, given)
    else:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_predict
        from sklearn.preprocessing import StandardScaler

        cross_val_predict(
            LogisticRegression(C=1, max_iter=200),
            StandardScaler().fit_transform(vectors),
            given,
            cv=5,
            method="predict_proba",
        )
    return {"seconds": time.perf_counter() - began}


def voted(inputs: Path) -> dict:
    """Average precision against the votes, among all samples.

    What nobody looked at counts as right.
    """
    import pandas as pd
    from sklearn.metrics import average_precision_score

    data = np.load(inputs)
    table = pd.read_csv(SHARED / "cifar10_test_human_votes.csv")
    place = {name: at for at, name in enumerate(data["names"].tolist())}
    wrong = np.zeros(len(data["labels"]), dtype=bool)
    for row in table.to_dict("records"):
        wrong[place[row["file"]]] = row["votes_given"] + row.get("votes_both", 0) < 3
    confidence, flagged, _, _ = judged(data["vectors"], data["labels"])
    badness, their_flagged, _ = by_cleanlab(data["vectors"], data["labels"], 0)
    rng, said = np.random.default_rng(0), {"wrong": int(wrong.sum()), "seen": len(table)}
    said |= {"flagged": int(flagged.sum()), "their_flagged": int(their_flagged.sum())}
    for name, score in (("", confidence), ("their_", badness)):
        drawn = [
            average_precision_score(wrong[at], score[at])
            for at in (rng.integers(len(wrong), size=len(wrong)) for _ in range(500))
        ]
        low, high = np.percentile(drawn, [2.5, 97.5])
        said |= {
            f"{name}ap": average_precision_score(wrong, score),
            f"{name}low": float(low),
            f"{name}high": float(high),
        }
    return said


def main() -> None:
    """A job."""
    job, *given = sys.argv[1:]
    jobs = {
        "prepare": lambda: {"made": prepare(int(given[0]), Path(given[1]))},
        "cell": lambda: planted(Path(given[0]), given[1], float(given[2]), int(given[3])),
        "as_they_are": sound,
        "cost": lambda: cost_of(given[0], int(given[1])),
        "votes": lambda: voted(Path(given[0])),
    }
    said = jobs[job]()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
