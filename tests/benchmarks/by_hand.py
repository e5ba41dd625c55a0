"""What a practised person writes with CleanVision, cleanlab and albumentations to curate a folder
of labelled images.

    folder/<class>/*.jpg ──▶ CleanVision's issues ─┐
                        └──▶ vectors ──▶ cleanlab's label issues and outliers ─┴▶ issues.csv ──▶
                            curated/ + new images of rare classes

It claims what dqpipe's proposed pipeline claims, as far as these tools can, with dqpipe's embedder,
two processes where a tool can use them, and copies what it keeps. `python -m
tests.benchmarks.by_hand FOLDER OUT`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from pathlib import Path

PROCESSES = 2
DROPPED = (
    "is_exact_duplicates_issue",
    "is_near_duplicates_issue",
    "is_low_information_issue",
    "is_blurry_issue",
    "is_dark_issue",
    "is_light_issue",
)


def vectors_of(paths):
    import cv2
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture

    cv2.setNumThreads(1)
    pixels = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    return PatchBank().embed(
        [Picture(Header("JPEG", p.shape[1], p.shape[0], "RGB"), p) for p in pixels], None
    )


def embedded(paths):
    import numpy as np
    from joblib import Parallel, delayed

    parts = [paths[start : start + 250] for start in range(0, len(paths), 250)]
    return np.concatenate(Parallel(n_jobs=PROCESSES)(delayed(vectors_of)(part) for part in parts))


def quality_of(folder, paths):
    import pandas as pd
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues(n_jobs=PROCESSES, verbose=False)
    flags = lab.issues.filter(like="_issue")
    first = set()
    for kind in ("exact_duplicates", "near_duplicates"):
        for group in lab.info.get(kind, {}).get("sets", []):
            first.add(min(group))
    table = pd.DataFrame(
        flags.loc[[str(path) for path in paths]].to_numpy(),
        columns=flags.columns,
        index=[str(path) for path in paths],
    )
    for kind in ("is_exact_duplicates_issue", "is_near_duplicates_issue"):
        table.loc[table.index.isin(first), kind] = False
    return table


def labels_of(vectors, given):
    from cleanlab.filter import find_label_issues
    from cleanlab.outlier import OutOfDistribution
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    probabilities = cross_val_predict(model, vectors, given, cv=5, method="predict_proba")
    return (
        find_label_issues(given, probabilities, n_jobs=1),
        get_label_quality_scores(given, probabilities),
        probabilities.argmax(axis=1),
        OutOfDistribution().fit_score(features=vectors, verbose=False),
    )


def augmented(kept, counts, out):
    import albumentations as A  # noqa: N812
    import cv2

    flips = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(p=0.5),
            A.Affine(rotate=(-10, 10), scale=(0.9, 1.1), p=0.7),
        ]
    )
    wanted = sorted(counts.values())[len(counts) // 2]
    for name, count in counts.items():
        members = [path for path in kept if path.parent.name == name]
        for copy in range(max(0, wanted - count)):
            path = members[copy % len(members)]
            picture = flips(image=cv2.imread(str(path)))["image"]
            cv2.imwrite(str(out / name / f"{path.stem}.new{copy}.png"), picture)


def curate(folder, out):
    import numpy as np

    paths = sorted(folder.glob("*/*.jpg"))
    names = sorted({path.parent.name for path in paths})
    given = np.array([names.index(path.parent.name) for path in paths])
    table = quality_of(folder, paths)
    vectors = embedded(paths)
    wrong, quality, suggested, typical = labels_of(vectors, given)
    table["label_issue"], table["label_quality"], table["ood"] = wrong, quality, typical
    table["suggested"] = [names[at] for at in suggested]
    table["dropped"] = table[[name for name in DROPPED if name in table]].any(axis=1)
    out.mkdir(parents=True)
    table.to_csv(out / "issues.csv")
    kept = []
    for path, dropped, is_wrong, new in zip(
        paths, table["dropped"], wrong, table["suggested"], strict=True
    ):
        if not dropped:
            target = out / "curated" / (new if is_wrong else path.parent.name) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            kept.append(target)
    augmented(
        kept,
        {
            name: sum(path.parent.name == name for path in kept)
            for name in names
            if (out / "curated" / name).exists()
        },
        out / "curated",
    )
    return len(kept)


def main():
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    kept = curate(folder, out)
    print(json.dumps({"seconds": time.perf_counter() - began, "kept": kept}))


if __name__ == "__main__":
    main()
