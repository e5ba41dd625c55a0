"""Whether what is said of labels is so.

On labels that are right, on planted errors, and on labels after a run that changes them.

All of them were looked at while thresholds were chosen; none is held out.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import label_errors
from tests.benchmarks.bench import SHARED, Bench, Row, Section
from tests.benchmarks.plant_noise import outsider, plant

TITLE = "Truth of what is said of labels"
CLEAN = (
    "cifar10:500",
    "cifar10:2000",
    "cifar10:10000",
    "photos",
    "digits",
    "drawn_digits",
    "imagenet:500",
    "imagenet:2000",
    "imagenet:10000",
)
NOISY = ("cifar10:500b", "cifar10:2000b", "photos", "drawn_digits", "imagenet:2000b")
LARGE = ("cifar10:10000", "imagenet:10000")
"""Sets with errors of which only the kinds by class and by look are measured, and few rates."""
KINDS, RATES = ("uniform", "class", "look_alike"), (0.01, 0.03, 0.09, 0.17, 0.4)
SETTINGS: Mapping[str, Mapping[str, float] | None] = {
    "off (the default)": None,
    "{at_least: 0.9}": {"at_least": 0.9},
    "{at_least: 0.9, max_share: 0.5}": {"at_least": 0.9, "max_share": 0.5},
    "{certified: 0.95}": {"certified": 0.95},
}
"""The forms of `policy: {relabel: …}` that the README names."""
CODE, LOOKED = "label_noise.likely_wrong", 80
"""The claim that an audit looks at, and how many of it."""


def report(bench: Bench) -> Section:
    """A row for each clean set, for each set with each kind and rate of planted errors, and for
    each way to change labels.
    """
    folder = bench.scratch
    made = bench.ours("truth", "prepare", folder, threads=2).said["made"]
    clean, noisy = (
        [name for name in CLEAN if source(name) in made],
        [name for name in NOISY if source(name) in made],
    )
    kinds, rates = (KINDS[1:], RATES[2::2]) if bench.quick else (KINDS, RATES)
    if bench.quick:
        clean, noisy = [name for name in clean if "000" not in name], noisy[-1:]
    rows = [clean_row(name, bench.ours("truth", "clean", folder, name).said) for name in clean]
    cells = [
        bench.ours("truth", "noisy", folder, name, kind, rate).said
        for name in noisy
        for kind in kinds
        for rate in rates
    ]
    large = [] if bench.quick else [name for name in LARGE if source(name) in made]
    cells += [
        bench.ours("truth", "noisy", folder, name, kind, rate).said
        for name in large
        for kind in KINDS[1:]
        for rate in RATES[2:]
    ]
    rows += [noisy_row(cell) for cell in cells] + [
        relabelled_row(cell) for cell in cells if cell["rate"] >= RATES[2]
    ]
    missing = "" if "cifar10" in made else " The pictures are not here: digits alone are measured."
    return Section(rows, TEXT + over_all(cells) + missing)


TEXT = (
    "`imagenet` is the CIFAR-10 pictures by the embedder of that name, all other pictures are seen "
    "by `patches`. "
    "Right labels: how many are claimed to be wrong, the share said to be wrong with its interval, "
    "and how well the vectors tell the classes apart, "
    "out of fold. Planted errors: AP is average precision of the ranking, F1 and precision those "
    "of the claims, ECE the calibration error of "
    "confidence; cleanlab is `CleanLearning().find_label_issues` on the same vectors; within reach "
    "is the best F1 of as many of the labels that are ranked "
    "first as are wrong in at least half. Labels changed: the share of right labels after the "
    "run, the number changed, the share of new labels that are right, and (in brackets) the share "
    "that the account says is expected to be right; a "
    f"certificate comes from an audit of {LOOKED} claims answered by the truth. "
    "All sets were looked at while thresholds were chosen: none of the rows with errors is held "
    "out. "
)


def clean_row(name: str, said: Mapping[str, Any]) -> Row:
    """What is claimed of labels that are right."""
    return Row(
        f"{name}, {said['n']:,} labels that are right",
        f"{said['claimed']} claimed ({said['claimed'] / said['n']:.1%}); says {said['said']:.3f} "
        f"are wrong [{said['low']:.3f}, {said['high']:.3f}]; "
        f"{said['changed']} would be changed with `relabel: {{at_least: 0.9}}`; classes told "
        f"apart {said['told_apart']:.2f}",
        f"cleanlab: {said['their_claimed']} claimed ({said['their_claimed'] / said['n']:.1%})",
    )


def noisy_row(cell: Mapping[str, Any]) -> Row:
    """How planted errors are found."""
    return Row(
        f"{cell['name']}, {cell['kind']}, {cell['true']:.0%} of {cell['n']:,} labels wrong",
        f"AP {cell['ap']:.3f}, F1 {cell['f1']:.3f}, precision {cell['precision']:.2f} of "
        f"{cell['claimed']} claims, ECE {cell['ece']:.3f}, "
        f"F1 within reach {cell['reach']:.3f}; says {cell['said']:.3f} [{cell['low']:.3f}, "
        f"{cell['high']:.3f}]",
        (
            f"cleanlab: AP {cell['their_ap']:.3f}, F1 {cell['their_f1']:.3f}, precision "
            f"{cell['their_precision']:.2f}"
        ),
        (
            f"AP {cell['ap'] / cell['their_ap']:.2f}×, F1 "
            f"{cell['f1'] / max(cell['their_f1'], 1e-9):.2f}×"
        ),
    )


def relabelled_row(cell: Mapping[str, Any]) -> Row:
    """What becomes of the labels with each setting."""
    settings = cell["relabel"].items()
    told = "; ".join(
        (
            f"`{name}` {one['after']:.3f} ({one['changed']} changed, {one['right']:.2f} right "
            f"[{one['said']:.2f}])"
        )
        for name, one in settings
    )
    return Row(
        f"{cell['name']}, {cell['kind']}, {cell['true']:.0%} wrong: share of right labels, "
        f"{1 - cell['true']:.3f} before the run",
        told,
    )


def over_all(cells: list[Mapping[str, Any]]) -> str:
    """The calibration of all sets with planted errors together, and where goals are missed."""
    if not cells:
        return ""
    of = lambda test: f"{sum(map(test, cells))} of {len(cells)}"  # noqa: E731
    bins = np.sum([cell["bins"] for cell in cells], axis=0)
    together = float(np.abs(bins[0] - bins[1]).sum() / sum(cell["n"] for cell in cells))
    return (
        f"Over all sets with errors together ECE is {together:.3f}, above 0.1 in "
        f"{of(lambda cell: cell['ece'] > 0.1)}. The claims' precision is "
        f"below 0.5 in {of(lambda cell: cell['claimed'] and cell['precision'] < 0.5)}, F1 below "
        f"cleanlab's in "
        f"{of(lambda cell: cell['f1'] < cell['their_f1'])} (and cleanlab's claims wrong in fewer "
        f"than half in "
        f"{of(lambda cell: cell['f1'] < cell['their_f1'] and cell['their_precision'] < 0.5)}), AP "
        f"in "
        f"{of(lambda cell: cell['ap'] < cell['their_ap'])}; nothing is claimed in "
        f"{of(lambda cell: not cell['claimed'])}. Labels are worse after a run with a setting of "
        f"the above in "
        f"{of(lambda cell: any(one['after'] < 1 - cell['true'] for one in cell['relabel'].values()))}."  # noqa: E501
    )


# jobs ---------------------------------------------------------------------------------------------


def source(name: str) -> str:
    """The file that a set is part of."""
    return name.partition(":")[0]


def prepare(folder: Path) -> list[str]:
    """Vectors, labels and an outsider's probabilities of each source that is here; their names."""
    made = ["digits", "drawn_digits"]
    if label_errors.prepare(10_000, folder / "cifar10.npz"):
        made.append("cifar10")
        made += ["imagenet"] if by_imagenet(folder) else []
    if (SHARED / "photos_masks.zip").exists():
        vectors, labels = photographs()
        keep(folder / "photos.npz", vectors, labels)
        made.append("photos")
    pixels, drawn, labels = digits()
    half = len(labels) // 2
    keep(folder / "digits.npz", pixels[:half], labels[:half])
    keep(folder / "drawn_digits.npz", drawn[half:], labels[half:])
    return made


def by_imagenet(folder: Path) -> bool:
    """The same pictures and labels, seen by the `imagenet` embedder, if its weights are
    installed.
    """
    from dqpipe_images.imagenet import ImageNet, installed

    shown = label_errors.pictures(10_000) if installed() else None
    if shown is not None:
        chances = np.load(folder / "cifar10.npz")["chances"]
        np.savez(
            folder / "imagenet.npz",
            vectors=label_errors.embedded(ImageNet(), shown[0]),
            labels=shown[1],
            chances=chances,
        )
    return shown is not None


def keep(target: Path, vectors: np.ndarray, labels: np.ndarray) -> None:
    """With the probabilities of a forest that sees every third number of the vectors."""
    np.savez(
        target, vectors=vectors, labels=labels, chances=outsider(vectors[:, ::3], labels, "forest")
    )


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits as pixels [n, 64], as the built-in embedder sees them drawn at 32 × 32,
    and their labels.
    """
    import cv2
    from dqpipe_images.patch_bank import PatchBank
    from sklearn.datasets import load_digits

    data = load_digits()
    drawn = [
        cv2.resize((image / 16 * 255).astype(np.float32), (32, 32), interpolation=cv2.INTER_CUBIC)
        .clip(0, 255)
        .astype(np.uint8)
        for image in data.images
    ]
    tiles = [np.repeat(image[:, :, None], 3, axis=2) for image in drawn]
    return data.data.astype(np.float32), label_errors.embedded(PatchBank(), tiles), data.target


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Those of two classes, at a shorter side of 256, as the built-in embedder sees them, and their
    labels.
    """
    import cv2
    from dqpipe_images.patch_bank import PatchBank

    pictures, kinds = [], []
    with zipfile.ZipFile(SHARED / "photos_masks.zip") as files:
        for name in sorted(
            name for name in files.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))
        ):
            picture = cv2.cvtColor(
                cv2.imdecode(np.frombuffer(files.read(name), np.uint8), cv2.IMREAD_COLOR),
                cv2.COLOR_BGR2RGB,
            )
            scale = min(1.0, 256 / min(picture.shape[:2]))
            pictures.append(
                cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            )
            kinds.append(name.split("/")[-2])
    return label_errors.embedded(PatchBank(), pictures), np.unique(kinds, return_inverse=True)[1]


def part(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, labels and the outsider's probabilities of a set.

    `cifar10:500` is every twentieth picture, with `b` behind the ones after these.
    """
    data = np.load(folder / f"{source(name)}.npz")
    vectors, labels, chances = (data[key] for key in ("vectors", "labels", "chances"))
    number = name.partition(":")[2]
    rows = (
        slice(int(number.endswith("b")), None, len(labels) // int(number.rstrip("b")))
        if number
        else slice(None)
    )
    return vectors[rows], labels[rows], chances[rows]


def clean(folder: Path, name: str) -> dict[str, Any]:
    """What both tools claim of labels that are right."""
    vectors, labels, _ = part(folder, name)
    found = label_errors.judgement(vectors, labels)
    _, their_claimed, _ = label_errors.by_cleanlab(vectors, labels, 0)
    said = found.figure("wrong")
    return {
        "n": len(labels),
        "claimed": int(found.claims["id"].notna().sum()),
        "said": said["value"],
        "low": said["low"],
        "high": said["high"],
        "told_apart": found.figure("told_apart")["value"],
        "their_claimed": int(their_claimed.sum()),
        "changed": relabelled(found, labels, labels, SETTINGS["{at_least: 0.9}"])["changed"],
    }


def noisy(folder: Path, name: str, kind: str, rate: float) -> dict[str, Any]:
    """Both tools on planted errors, and the labels after each way to change them."""
    vectors, labels, chances = part(folder, name)
    given = plant(labels, kind, rate, 1, features=vectors, chances=chances)
    return {"name": name, "kind": kind, "rate": rate} | scored(vectors, labels, given)


def scored(vectors: np.ndarray, labels: np.ndarray, given: np.ndarray) -> dict[str, Any]:
    """What both tools find of the labels given int [n], where the true ones are known."""
    from sklearn.metrics import average_precision_score

    wrong = given != labels
    found = label_errors.judgement(vectors, given)
    confidence = np.nan_to_num(found.facts["confidence"])
    claimed = np.isin(found.samples.ids, found.claims["id"].dropna().to_numpy())
    badness, their_claimed, _ = label_errors.by_cleanlab(vectors, given, 0)
    said = found.figure("wrong")
    bins = np.minimum((confidence * 10).astype(int), 9)
    return {
        "n": len(given),
        "true": float(wrong.mean()),
        "claimed": int(claimed.sum()),
        "ap": float(average_precision_score(wrong, confidence)),
        "their_ap": float(average_precision_score(wrong, badness)),
        "f1": label_errors.f1(claimed, wrong),
        "their_f1": label_errors.f1(their_claimed, wrong),
        "reach": within_reach(confidence, wrong),
        "precision": share(wrong[claimed]),
        "their_precision": share(wrong[their_claimed]),
        "ece": label_errors.calibration(confidence, wrong),
        "bins": [[float(of[bins == at].sum()) for at in range(10)] for of in (confidence, wrong)],
        "said": said["value"],
        "low": said["low"],
        "high": said["high"],
        "relabel": {
            title: relabelled(found, given, labels, setting) for title, setting in SETTINGS.items()
        },
    }


def within_reach(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """The best F1 of the labels [n] that are ranked first, of any number of which at least half are
    wrong.
    """
    hits = np.cumsum(wrong[np.argsort(-confidence, kind="stable")])
    count = np.arange(1, len(wrong) + 1)
    return float(max((2 * hits / (count + wrong.sum()))[2 * hits >= count], default=0.0))


def share(hits: np.ndarray) -> float:
    """The share of true values, 0 of none."""
    return float(hits.mean()) if len(hits) else 0.0


def relabelled(
    found: label_errors.Judgement,
    given: np.ndarray,
    labels: np.ndarray,
    setting: Mapping[str, float] | None,
) -> dict[str, Any]:
    """What becomes of the labels int [n] by the policy.

    The share that is right afterwards, how many are changed, and how many of these right.
    """
    from dqpipe_curation.policy import Policy

    from dqpipe.data.intervals import clopper_pearson
    from dqpipe.data.tables import Findings, table_of
    from dqpipe.engine.curation import with_precision

    findings = Findings(
        table_of(Findings.columns, [found.claims.assign(code=CODE, severity="warning")])
    )
    rows = np.flatnonzero(np.isin(found.samples.ids, found.claims["id"].dropna().to_numpy()))
    looked = np.random.default_rng(0).permutation(rows)[:LOOKED]
    certified = {}
    if len(looked):
        hits = int((given != labels)[looked].sum())
        certified[CODE] = (
            hits / len(looked)
            if len(looked) == len(rows)
            else clopper_pearson(hits, len(looked))[0]
        )
    decided = (
        Policy(relabel=None if setting is None else dict(setting))
        .decide(found.samples, with_precision(findings, certified))
        .frame()
    )
    after = given.copy()
    changed = (decided["decision"] == "relabel").to_numpy()
    after[changed] = decided["new_label"][changed].astype(int)
    chance = (
        found.claims.dropna(subset="id")
        .set_index("id")["suggestion_confidence"]
        .reindex(found.samples.ids[changed])
    )
    said = float(chance.mean()) if changed.any() else 0.0
    return {
        "after": float((after == labels).mean()),
        "changed": int(changed.sum()),
        "right": share((after == labels)[changed]),
        "said": said,
    }


def main() -> None:
    """A job."""
    job, folder, *given = sys.argv[1:]
    jobs = {
        "prepare": lambda: {"made": prepare(Path(folder))},
        "clean": lambda: clean(Path(folder), given[0]),
        "noisy": lambda: noisy(Path(folder), given[0], given[1], float(given[2])),
    }
    print(json.dumps(jobs[job]()))


if __name__ == "__main__":
    main()
