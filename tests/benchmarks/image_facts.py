"""Image facts: the speed of decoding and measuring, and how well faults of known amounts are told
from sound pictures.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section, median, peak
from tests.benchmarks.degraded import LEVELS, UNDEGRADED, photographs, write

TITLE = "Image facts"
FAULTS = {"blurry", "dark", "light", "low_contrast", "low_information"}
SOURCE = 400, 0.2
"""Shorter side in pixels, and sharpness, from which sound pictures are made of a photograph."""
THREADS = 2
PASSES = 3
# fault → fact of dqpipe (with a minus: less is worse), score of CleanVision (less is worse)
SCORES = {
    **dict.fromkeys(("Gaussian blur", "defocus", "motion blur"), ("-sharpness", "blurry")),
    "underexposed": ("-brightness_p95", "dark"),
    "overexposed": ("brightness_p5", "light"),
    "low contrast": ("-contrast", "low_information"),
    "noise": ("noise", ""),
    "JPEG quality": ("-quality", ""),
    "nothing to see": ("-structure", "low_information"),
    "grey, stored in colour": ("-saturation", "grayscale"),
}


def report(bench: Bench) -> Section:
    """Rows for one core, for two processes beside CleanVision, and for each fault."""
    folders = {
        kind: bench.scratch / f"facts-{kind}" for kind in ("micrographs", "photographs", "32×32")
    }
    for kind, folder in folders.items():
        bench.ours(
            "image_facts",
            "make",
            kind,
            {"32×32": 1500 if bench.quick else 10_000}.get(kind, 100 if bench.quick else 364),
            folder,
        )
    there = {kind: folder for kind, folder in folders.items() if folder.exists()}
    rows = [row for kind, folder in there.items() for row in one_core(bench, kind, folder)]
    rows += [beside_cleanvision(bench, kind, folder) for kind, folder in there.items()]
    quality, text = judged(bench)
    text += sound_text(bench.ours("image_facts", "sound", 4 if bench.quick else 40).said)
    missing = [kind for kind in folders if kind not in there]
    left_out = f"\n\nLeft out, as their data are not here: {', '.join(missing)}." if missing else ""
    return Section([*rows, *quality], text + left_out)


def one_core(bench: Bench, kind: str, folder: Path) -> list[Row]:
    """Decoding and all facts that image_quality and duplicates measure, beside OpenCV's plain
    decoding of the same bytes.
    """
    ways = ("opencv", "full") if kind == "32×32" else ("opencv", "full", "picture")
    ran = dict(
        zip(
            ways,
            bench.alternate(
                *[
                    lambda way=way: bench.ours("image_facts", "measure", way, folder)
                    for way in ways
                ],
                runs=bench.runs(5),
            ),
            strict=True,
        )
    )
    plain = ran["opencv"][0].said["pictures"] / median(ran["opencv"])
    rows = []
    for way in ways[1:]:
        rate = ran[way][0].said["pictures"] / median(ran[way])
        name = "at full size" if way == "full" else "by the `picture` rendition"
        work = f"{kind}, one core: decode + image_quality + exact and perceptual hashing, {name}"
        alone = ran[way][0].said["pictures"] / np.median([one.said["decoding"] for one in ran[way]])
        limit = f"our decoding alone {alone:,.0f}/s"
        rows.append(
            Row(
                work,
                f"{rate:,.0f}/s",
                f"OpenCV, decoding alone at full size: {plain:,.0f}/s",
                f"{rate / plain:.2f}×",
                peak(ran[way]),
                limit,
            )
        )
    return rows


def beside_cleanvision(bench: Bench, kind: str, folder: Path) -> Row:
    """The same folder through the engine, and through CleanVision's default checks."""
    out = bench.scratch / "facts-out"

    def ours():
        shutil.rmtree(out, ignore_errors=True)
        return bench.ours("image_facts", "check", folder, out)

    mine, theirs = bench.alternate(
        ours, lambda: bench.theirs("image_facts", "cleanvision", folder), runs=bench.runs(3)
    )
    plain = bench.ours("image_facts", "measure", "opencv", folder)
    shutil.rmtree(out, ignore_errors=True)
    count, searching = (
        mine[0].said["pictures"],
        float(np.median([one.said["searching"] for one in mine])),
    )
    ahead = median(mine) - searching
    decoding = THREADS * plain.said["pictures"] / plain.seconds
    read = sum(path.stat().st_size for path in folder.glob("*.jpg"))
    return Row(
        f"{kind}, two processes, {count:,} files: read, decode, all facts, claims",
        (
            f"{count / ahead:,.0f}/s; with near duplicates searched and verified "
            f"{count / median(mine):,.0f}/s"
        ),
        f"CleanVision 0.3.7: {count / median(theirs):,.0f}/s",
        f"{median(theirs) / ahead:.1f}×; {median(theirs) / median(mine):.1f}×",
        f"{peak(mine)}; {peak(theirs)}",
        f"{read / 2**20:,.0f} MiB read; OpenCV's decoding alone on two cores {decoding:,.0f}/s",
    )


def judged(bench: Bench) -> tuple[list[Row], str]:
    """ROC AUC of each fault, the mean and the lowest over kinds of pictures, and what is claimed of
    sound pictures.
    """
    folder = bench.scratch / "degraded"
    write(folder, 8 if bench.quick else 32)
    both = bench.theirs("image_facts", "scores", folder).said
    rows = []
    for fault, (fact, score) in SCORES.items():
        found = [
            (aucs(both["dqpipe"], fault, level), aucs(both["cleanvision"], fault, level))
            for level in range(len(LEVELS[fault]))
        ]
        mine, theirs = (" · ".join(summary(one[side]) for one in found) for side in (0, 1))
        against = f"CleanVision's {score}: {theirs}" if score else "CleanVision has no claim"
        rows.append(
            Row(
                f"ROC AUC of {fault}, {len(found)} levels "
                f"({', '.join(f'{level:.2g}' for level in LEVELS[fault])})",
                f"{fact.lstrip('-')}: {mine}",
                against,
            )
        )
    text = (
        "ROC AUC is that of sound against degraded pictures of one kind (photographs, micrographs, "
        "32×32, drawings and text): the mean "
        "over the kinds, and the lowest. Blur is in parts of the shorter side, noise in grey "
        "levels, exposure and contrast as a share of what they were."
    )
    for kind in (*UNDEGRADED, "photographs", "micrographs", "32×32", "drawings"):
        counts = [both["claimed"][tool].get(kind, [0, 0]) for tool in ("dqpipe", "cleanvision")]
        if counts[0][1]:
            text += (
                f" Of {counts[0][1]} sound pictures of the kind {kind}, dqpipe calls "
                f"{counts[0][0]} blurry, CleanVision {counts[1][0]}."
            )
    return rows, text


def sound_text(said: Mapping[str, Any]) -> str:
    """What is claimed of sound pictures that are unlike a photograph that fills its frame."""
    of_each = (
        ", ".join(
            f"{kind.replace('_', ' ')} {count}" for kind, count in said["claimed"].items() if count
        )
        or "none"
    )
    return (
        f" Of {said['pictures']} sound pictures of {len(said['claimed'])} other kinds "
        f"(`tests/sound_pictures.py`, from {said['source']}), each kind among "
        f"{said['usual']} photographs, {sum(said['claimed'].values())} are called blurry, dark, "
        f"light, low in contrast or in information: {of_each}."
    )


def summary(found: list[float]) -> str:
    """Mean and smallest."""
    return f"{np.mean(found):.3f} (≥ {min(found):.3f})" if found else "–"


def aucs(scores: dict, fault: str, level: int) -> list[float]:
    """One for each kind of pictures; what was not measured counts as sound."""
    from sklearn.metrics import roc_auc_score

    clean, faulty = scores["clean"].get(fault, {}), scores[f"level-{level}"].get(fault, {})
    found = []
    for kind in sorted(faulty):
        values = np.array([*clean[kind], *faulty[kind]], dtype=float)
        values = np.where(
            np.isnan(values), -np.inf if np.isnan(values).all() else np.nanmin(values) - 1, values
        )
        found.append(float(roc_auc_score([0] * len(clean[kind]) + [1] * len(faulty[kind]), values)))
    return found


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


def make(kind: str, count: int, folder: Path) -> dict:
    """JPEG files as they are, or parts of scikit-learn's photographs at 640×480.

    Nothing where the data are missing.
    """
    import zipfile

    name = {"micrographs": "bccd", "32×32": "cifar10_test"}.get(kind)
    if name and not (SHARED / f"{name}.zip").exists():
        return {}
    folder.mkdir(parents=True)
    if name:
        with zipfile.ZipFile(SHARED / f"{name}.zip") as file:
            chosen = sorted(one for one in file.namelist() if one.endswith(".jpg"))
            for number in np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int):
                (folder / chosen[number].replace("/", "-")).write_bytes(file.read(chosen[number]))
        return {}
    import cv2

    rng = np.random.default_rng(0)
    for number in range(count):
        part = cv2.resize(photographs(1, rng)[0], (640, 640), interpolation=cv2.INTER_CUBIC)[80:560]
        cv2.imwrite(
            str(folder / f"{number:04d}.jpg"), part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90]
        )
    return {}


def measure(way: str, folder: Path) -> dict:
    """Seconds of a pass over files in memory.

    Decoded by OpenCV, or decoded and measured as the engine does it, 32 at a time.
    """
    import cv2
    import pyarrow as pa
    from dqpipe_images.decoder import ImageDecoder
    from dqpipe_images.duplicates import Duplicates
    from dqpipe_images.image_quality import ImageQuality

    from dqpipe.data.tables import Samples
    from dqpipe.execution.decoding import keep_memory, one_thread
    from dqpipe.plugin.stage import Shard

    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))][:1500]
    arrays = [np.frombuffer(data, np.uint8) for data in files]
    decoder, stages = ImageDecoder(), [ImageQuality().at("measure"), Duplicates().at("measure")]
    nobody = Samples(pa.table({"id": pa.array([], pa.string())}))
    whole, decoding = [], []
    keep_memory()
    with one_thread():
        for _ in range(PASSES + 1):
            began, within = time.perf_counter(), 0.0
            if way == "opencv":
                for array in arrays:
                    cv2.imdecode(array, cv2.IMREAD_COLOR)
            for start in range(0, len(files) if way != "opencv" else 0, 32):
                before = time.perf_counter()
                pictures = tuple(decoder.decode(data, way) for data in files[start : start + 32])
                within += time.perf_counter() - before
                for stage in stages:
                    stage.measure(Shard(nobody, pictures))
            whole.append(time.perf_counter() - began)
            decoding.append(within)
    return {"seconds": min(whole[1:]), "decoding": min(decoding[1:]), "pictures": len(files)}


def check(folder: Path, out: Path) -> dict:
    """A run of the engine with image_quality and duplicates, nothing kept from before."""
    from dqpipe import Pipeline

    pipeline = Pipeline.from_text(
        json.dumps(
            {
                "dataset": {"path": str(folder)},
                "stages": ["image_quality", "duplicates"],
                "outputs": {"path": str(out)},
            }
        )
    )
    began = time.perf_counter()
    result = pipeline.check(f"processes:{THREADS}")
    seconds = time.perf_counter() - began
    timings = result.record["run"]["timings"]
    searching = sum(step["seconds"] for step in timings if "relate" in step["step"])
    return {"seconds": seconds, "searching": searching, "pictures": len(result.samples)}


def cleanvision(folder: Path) -> dict:
    """CleanVision's default checks of a folder."""
    from cleanvision import Imagelab

    began = time.perf_counter()
    lab = Imagelab(data_path=str(folder), verbose=False)
    lab.find_issues(n_jobs=THREADS, verbose=False)
    return {"seconds": time.perf_counter() - began, "pictures": len(lab.issues)}


def scores(folder: Path) -> dict:
    """What both tools say of the clean pictures and of each level of each fault, higher for worse.

    {tool: {set: {fault: {kind: [scores]}}}}.
    """
    from cleanvision import Imagelab

    from dqpipe import Pipeline

    found: dict = {"dqpipe": {}, "cleanvision": {}, "claimed": {"dqpipe": {}, "cleanvision": {}}}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        lab = Imagelab(data_path=str(part), verbose=False)
        lab.find_issues(n_jobs=THREADS, verbose=False)
        out = folder.parent / f"scores-{part.name}"
        config = {
            "dataset": {"path": str(part)},
            "stages": ["image_quality"],
            "outputs": {"path": str(out)},
        }
        result = Pipeline.from_text(json.dumps(config)).check(f"processes:{THREADS}")
        shutil.rmtree(out, ignore_errors=True)
        facts, blurry = (
            result.facts.set_index("id"),
            set(result.findings.loc[result.findings["code"] == "image_quality.blurry", "id"]),
        )
        for path in sorted(part.rglob("*.jpg")):
            own, kind = path.relative_to(part).as_posix(), path.stem.rpartition("-")[0]
            issues = lab.issues.loc[str(path)]
            for fault, (fact, score) in SCORES.items():
                if part.name != "clean" and path.parent.name != fault:
                    continue
                value = float(facts.at[own, f"image_quality.{fact.lstrip('-')}"])
                pairs = {
                    "dqpipe": -value if fact.startswith("-") else value,
                    "cleanvision": -float(issues[f"{score}_score"]) if score else None,
                }
                for tool, one in pairs.items():
                    if one is not None:
                        found[tool].setdefault(part.name, {}).setdefault(fault, {}).setdefault(
                            kind, []
                        ).append(one)
            if part.name == "clean":
                for tool, claimed in (
                    ("dqpipe", own in blurry),
                    ("cleanvision", bool(issues["is_blurry_issue"])),
                ):
                    counts = found["claimed"][tool].setdefault(kind, [0, 0])
                    counts[0] += claimed
                    counts[1] += 1
    return found


def sound(each: int) -> dict:
    """How many sound pictures of each kind are claimed, among photographs.

    Made from photographs that are sharp and large enough.
    """
    from PIL import Image

    from tests.benchmarks.strangers import archived
    from tests.sound_pictures import sound_pictures

    usual = [one for one in archived("photos_masks")[0] if min(one.shape[:2]) >= SOURCE[0] / 2]
    for at, one in enumerate(usual):
        usual[at] = np.asarray(
            Image.fromarray(one).resize(
                [round(side * min(1, 600 / max(one.shape[:2]))) for side in one.shape[1::-1]]
            )
        )
    sharp, source = image_quality(usual)[0] if usual else np.zeros(0), "photos_masks"
    sources = [
        one
        for one, value in zip(usual, sharp, strict=True)
        if min(one.shape[:2]) >= SOURCE[0] and value > SOURCE[1]
    ]
    if not sources:
        usual = sources = photographs(60, np.random.default_rng(2))
        source = "scikit-learn's photographs"
    usual = usual[:150]
    claimed = {}
    for kind, images in sound_pictures([Image.fromarray(one) for one in sources], each).items():
        codes = image_quality([*usual, *(np.asarray(image.convert("RGB")) for image in images)])[1]
        claimed[kind] = sum(bool(found & FAULTS) for found in codes[len(usual) :])
    return {
        "claimed": claimed,
        "pictures": each * len(claimed),
        "usual": len(usual),
        "source": source,
    }


def image_quality(pictures: list[np.ndarray]) -> tuple[np.ndarray, list[set[str]]]:
    """Sharpness of each picture, and the codes that are claimed of it among the others."""
    import pyarrow as pa
    from dqpipe_images.image_quality import FACTS, ImageQuality
    from dqpipe_images.picture import Header, Picture

    from dqpipe.data.tables import Facts, Findings, Samples, fact_array, table_of
    from dqpipe.plugin.stage import Shard

    samples = Samples(
        pa.table({"id": pa.array([f"{row:06d}" for row in range(len(pictures))], pa.string())})
    )
    shown = tuple(
        Picture(Header("PNG", one.shape[1], one.shape[0], "RGB"), one) for one in pictures
    )
    values = ImageQuality().at("measure").measure(Shard(samples, shown))
    facts = Facts(pa.table({fact.name: fact_array(values[fact.name], fact.type) for fact in FACTS}))
    codes: list[set[str]] = [set() for _ in pictures]
    for row in table_of(Findings.columns, ImageQuality().detect(samples, facts)).to_pylist():
        if row["id"] is not None:
            codes[int(row["id"])].add(row["code"])
    return np.asarray(values["sharpness"], dtype=float), codes


def main() -> None:
    """A job."""
    given = sys.argv[2:]
    jobs = {
        "make": lambda: make(given[0], int(given[1]), Path(given[2])),
        "measure": lambda: measure(given[0], Path(given[1])),
        "check": lambda: check(Path(given[0]), Path(given[1])),
        "cleanvision": lambda: cleanvision(Path(given[0])),
        "sound": lambda: sound(int(given[0])),
        "scores": lambda: scores(Path(given[0])),
    }
    print(json.dumps(jobs[sys.argv[1]]()))


if __name__ == "__main__":
    main()
