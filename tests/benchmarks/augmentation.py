"""Whether filling rare classes with new pictures teaches a small network more than leaving them as
they are, or than copying them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section

TITLE = "Augmentation"
SETS: Mapping[str, tuple[int, int, int, int]] = {
    "CIFAR-10 test": (32, 300, 30, 200),
    "digits": (16, 50, 5, 70),
    "faces with and without a mask": (32, 100, 10, 40),
}
"""Side in pixels, training pictures of a common class, of a rare one, and held-out ones of each."""
ARCHIVES = {"CIFAR-10 test": "cifar10_test", "faces with and without a mask": "photos_masks"}
WAYS = ("without", "copies", "augmented")
SEEDS, STEPS, BATCH = 5, 400, 64
T_VALUE = {1: 12.71, 4: 2.776}
"""Half a 95 % interval in standard errors, by degrees of freedom."""


def report(bench: Bench) -> Section:
    """A row for each set."""
    there = [
        name for name in SETS if name not in ARCHIVES or (SHARED / f"{ARCHIVES[name]}.zip").exists()
    ]
    seeds, steps = (2, 60) if bench.quick else (SEEDS, STEPS)
    rows = []
    for name in there:
        said = [
            bench.ours("augmentation", "learn", name, seed, steps).said for seed in range(seeds)
        ]
        rows.append(row(name, said))
    missing = sorted({*SETS} - {*there})
    return Section(
        rows,
        TEXT + (f" Left out, as their data are not here: {', '.join(missing)}." if missing else ""),
    )


TEXT = (
    "Every second class is thinned to a tenth; `augment` with its default options fills it to the "
    "median. Accuracy is the mean over classes on held-out "
    f"pictures that are as they were: of a network of three convolutions, trained on each of the "
    f"three sets with equally many steps ({STEPS} of {BATCH} "
    "pictures), the mean of five choices of pictures. The interval is that of the difference "
    "between the same choices (95 %, Student's t). Copies are of "
    "the same parents, as many."
)


def row(name: str, said: Sequence[Mapping[str, Any]]) -> Row:
    """What was learned from one set."""
    found = {way: np.array([one[way] for one in said]) for way in WAYS}
    _, common, rare, _ = SETS[name]
    return Row(
        f"{name}: {common} pictures of a common class, {rare} of a rare one, filled to "
        f"{said[0]['filled']}",
        f"balanced accuracy {found['augmented'].mean():.3f}",
        f"without {found['without'].mean():.3f}; plain copies {found['copies'].mean():.3f}",
        (
            f"{difference(found['augmented'] - found['without'])} on without; "
            f"{difference(found['augmented'] - found['copies'])} on copies"
        ),
    )


def difference(values: np.ndarray) -> str:
    """Mean, and its interval."""
    half = T_VALUE[len(values) - 1] * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


def learn(name: str, seed: int, steps: int) -> dict[str, Any]:
    """Balanced accuracy by what is trained on, and how many a rare class has after it
    was filled.
    """
    pictures, labels = read(name)
    _, common, rare, held = SETS[name]
    rng, train, test = np.random.default_rng(seed), list[int](), list[int]()
    for number in range(labels.max() + 1):
        rows = rng.permutation(np.flatnonzero(labels == number))
        test += rows[:held].tolist()
        train += rows[held : held + (rare if number % 2 else common)].tolist()
    own, of = pictures[train], labels[train]
    parents, made = filled(own, of)
    found: dict[str, Any] = {"filled": int(np.bincount([*of, *of[parents]])[1])}
    for way, extra in zip(WAYS, (own[:0], own[parents], made), strict=True):
        values, classes = (
            np.concatenate([own, extra]),
            np.concatenate([of, of[parents][: len(extra)]]),
        )
        found[way] = accuracy(values, classes, pictures[test], labels[test], seed, steps)
    return found


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, side, side, 3], and the number of each one's class."""
    import cv2

    from tests.benchmarks.strangers import archived, digits

    pictures, names = digits() if name == "digits" else archived(ARCHIVES[name])
    side = SETS[name][0]
    small = [
        one
        if one.shape[0] == one.shape[1] == side
        else cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA)
        for one in pictures
    ]
    return np.stack(small), np.unique(names, return_inverse=True)[1]


def filled(pictures: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that new pictures are made from by the stage's defaults, and these pictures."""
    import pyarrow as pa
    from dqpipe_curation.augment import Augmentation
    from dqpipe_images.picture import Header, Picture

    from dqpipe.data.tables import Samples
    from dqpipe.storage.fact_store import digest_json

    stage, side = Augmentation(), pictures.shape[1]
    samples = Samples(
        pa.table(
            {
                "id": [f"{row:06d}" for row in range(len(pictures))],
                "label": [f"{label:02d}" for label in labels],
            }
        )
    )
    recipes = stage.plan(
        samples,
        np.ones(len(samples), dtype=bool),
        lambda parent, copy: int(digest_json([parent, copy])[:8], 16),
    )
    parents = np.array([int(recipe.parent) for recipe in recipes], dtype=int)
    made = [
        stage.make(
            Picture(Header("PNG", side, side, "RGB"), pictures[int(recipe.parent)]), recipe.seed
        )
        for recipe in recipes
    ]
    return parents, np.stack(made)


def accuracy(
    pictures: np.ndarray,
    labels: np.ndarray,
    held: np.ndarray,
    truth: np.ndarray,
    seed: int,
    steps: int,
) -> float:
    """Balanced accuracy on held-out pictures of a small network trained on some."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 64)):
        layers += [
            nn.Conv2d(before, after, 3, stride=2, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    network = nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, int(labels.max()) + 1),
    )
    optimiser = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng, classes = np.random.default_rng(seed), torch.from_numpy(labels)
    for _ in range(steps):
        rows = rng.integers(0, len(pictures), BATCH)
        loss = nn.functional.cross_entropy(network(tensor(pictures[rows])), classes[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    network.eval()
    with torch.no_grad():
        told = np.concatenate(
            [
                network(tensor(held[start : start + 500])).argmax(1).numpy()
                for start in range(0, len(held), 500)
            ]
        )
    return float(np.mean([np.mean(told[truth == number] == number) for number in np.unique(truth)]))


def tensor(pictures: np.ndarray) -> Any:
    """float32 [n, 3, h, w] around 0."""
    import torch

    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


def main() -> None:
    """A job."""
    import torch

    torch.set_num_threads(1)
    print(json.dumps(learn(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))


if __name__ == "__main__":
    main()
