"""Real sets, and pictures that do not belong into them: what the benchmark of outliers mixes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np

from tests.benchmarks.bench import SHARED

SMALL = 64  # pixels along a drawn picture
EMBEDDED = 500  # strangers of each kind


def archived(name: str, every: int = 1) -> tuple[list[np.ndarray], list[str]]:
    """Every so many pictures of an archive of the shared data as RGB, and the folder each lies in.

    Nothing where it is missing.
    """
    from PIL import Image

    path = SHARED / f"{name}.zip"
    if not path.exists():
        return [], []
    with zipfile.ZipFile(path) as file:
        names = sorted(one for one in file.namelist() if one.endswith(".jpg"))[::every]
        return [
            np.asarray(Image.open(io.BytesIO(file.read(one))).convert("RGB")) for one in names
        ], [one.split("/")[-2] for one in names]


def digits() -> tuple[list[np.ndarray], list[str]]:
    """scikit-learn's handwritten digits, enlarged to 32×32."""
    import cv2
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = [
        cv2.resize((image * 255 / 16).astype(np.uint8), (32, 32), interpolation=cv2.INTER_CUBIC)
        for image in data.images
    ]
    return [np.repeat(image[..., None], 3, axis=2) for image in grey], data.target.astype(
        str
    ).tolist()


def crops(
    pictures: Sequence[np.ndarray], count: int, smallest: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Squares cut from pictures at random, of many sizes."""
    found = []
    for _ in range(count):
        whole = pictures[rng.integers(len(pictures))]
        side = int(rng.integers(smallest, min(whole.shape[:2]) * 2 // 3))
        top, left = rng.integers(whole.shape[0] - side + 1), rng.integers(whole.shape[1] - side + 1)
        found.append(whole[top : top + side, left : left + side])
    return found


def texture(rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks or waves of two colours."""
    rows, columns = np.mgrid[:SMALL, :SMALL]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(0.08, 1.2)
    along, across = (
        columns * np.cos(angle) + rows * np.sin(angle),
        rows * np.cos(angle) - columns * np.sin(angle),
    )
    wave = np.sin(along * pitch) * (np.sin(across * pitch) if rng.random() < 1 / 3 else 1)
    share = ((np.sign(wave) if rng.random() < 2 / 3 else wave)[..., None] + 1) / 2
    one, other = rng.integers(0, 256, (2, 3))
    return (one * share + other * (1 - share)).astype(np.uint8)


def noise(rng: np.random.Generator) -> np.ndarray:
    """Independent pixels, coloured or grey."""
    values = rng.integers(0, 256, (32, 32, 3 if rng.random() < 1 / 2 else 1))
    return np.broadcast_to(values, (32, 32, 3)).astype(np.uint8)


def strangers(seed: int = 11) -> dict[str, list[np.ndarray]]:
    """Pictures of each kind; kinds whose source is missing are left out."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    cells = archived("bccd")[0]
    found = {
        "digits": digits()[0],
        "micrographs": cells,
        "crops of micrographs": crops(cells, EMBEDDED, 80, rng) if cells else [],
        "drawn textures": [texture(rng) for _ in range(EMBEDDED)],
        "crops of photographs": crops(load_sample_images().images, EMBEDDED, 48, rng),
        "noise": [noise(rng) for _ in range(EMBEDDED)],
        "CIFAR": archived("cifar10_test", 20)[0],
    }
    return {kind: pictures for kind, pictures in found.items() if pictures}
