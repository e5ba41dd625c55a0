"""A small dataset of images with known faults, to try stages on."""

from __future__ import annotations

from pathlib import Path

TILE = 64


def write(folder: Path) -> dict[str, str]:
    """Write 60 photograph tiles in two class folders, with known faults.

    Returns fault → relative path.

    The faults: `copy` (equal bytes), `truncated` (half the bytes), `text` (a text named .png),
    `empty` (one colour).
    """
    import cv2
    import numpy as np
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    for name, photo in zip(("china", "flower"), photos, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        places = [
            (y, x)
            for y in range(0, photo.shape[0] - TILE, TILE)
            for x in range(0, photo.shape[1] - TILE, TILE)
        ][:30]
        for number, (y, x) in enumerate(places):
            cv2.imwrite(
                str(folder / name / f"{number:02d}.png"),
                cv2.cvtColor(photo[y : y + TILE, x : x + TILE], cv2.COLOR_RGB2BGR),
            )
    source = (folder / "china" / "03.png").read_bytes()
    (folder / "china" / "copy.png").write_bytes(source)
    (folder / "china" / "truncated.png").write_bytes(source[: len(source) // 2])
    (folder / "flower" / "text.png").write_text("not a picture\n")
    cv2.imwrite(str(folder / "flower" / "empty.png"), np.full((TILE, TILE, 3), 127, np.uint8))
    return {
        "copy": "china/copy.png",
        "truncated": "china/truncated.png",
        "text": "flower/text.png",
        "empty": "flower/empty.png",
    }
