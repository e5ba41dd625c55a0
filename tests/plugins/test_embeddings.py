"""Alike pictures get alike vectors, the same bits whatever the shard.

Networks run from local weights and nothing else.
"""

from __future__ import annotations

import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images import backbones, patch_bank
from dqpipe_images.backbones import Recipe, TorchModule
from dqpipe_images.embeddings import Embeddings
from dqpipe_images.patch_bank import PatchBank
from dqpipe_images.picture import Header, Picture

from dqpipe.config import plan
from dqpipe.data.tables import Samples
from dqpipe.errors import PlanError
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Embedder, Shard

torch = pytest.importorskip("torch")


def picture(pixels: np.ndarray) -> Picture:
    return Picture(
        Header("PNG", pixels.shape[1], pixels.shape[0], "RGB"),
        np.ascontiguousarray(pixels, dtype=np.uint8),
    )


@pytest.fixture(scope="module")
def digits() -> tuple[list[Picture], np.ndarray]:
    """600 handwritten digits, enlarged to 48×48."""
    import cv2
    from sklearn.datasets import load_digits

    data = load_digits()
    enlarged = [
        cv2.resize((image * 255 / 16).astype(np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
        for image in data.images[:600]
    ]
    return [picture(np.repeat(image[..., None], 3, axis=2)) for image in enlarged], data.target[
        :600
    ]


@pytest.fixture(scope="module")
def tiles() -> list[Picture]:
    from sklearn.datasets import load_sample_images

    photo = load_sample_images().images[0]
    return [
        picture(photo[y : y + 40, x : x + 56]) for y in range(0, 160, 40) for x in range(0, 560, 56)
    ]


def small_net(width: int = 8, bins: int = 4) -> torch.nn.Module:
    """What a user's own factory might return."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 3, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(bins),
        torch.nn.Flatten(),
    )


def slow_net() -> torch.nn.Module:
    """Draws one layer, and later another."""
    first = torch.nn.Conv2d(3, 8, 3)
    time.sleep(0.02)
    return torch.nn.Sequential(first, torch.nn.Conv2d(8, 8, 3))


def maps() -> torch.nn.Module:
    return torch.nn.Conv2d(3, 5, 3)


HERE = f"{__name__}:small_net"


def test_a_linear_probe_reads_digits_from_the_vectors(digits) -> None:
    from sklearn.linear_model import LogisticRegression

    pictures, target = digits
    vectors = PatchBank().embed(pictures, None)
    assert vectors.shape == (600, 512)
    probe = LogisticRegression(C=1.0, max_iter=300).fit(vectors[:450], target[:450])
    assert probe.score(vectors[450:], target[450:]) >= 0.93


def test_the_bits_depend_on_the_picture_alone(tiles) -> None:
    together = PatchBank().embed(tiles, None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        apart = np.concatenate(
            [PatchBank().embed(part, None) for part in (tiles[:1], tiles[1:8], tiles[8:])]
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 200), (31, 33), (640, 480), (1, 10_000), (10_000, 1)]
)
def test_pictures_of_any_size_have_a_vector(shape) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3))
    assert np.isfinite(
        PatchBank().embed([picture(pixels), picture(np.full((*shape, 3), 127))], None)
    ).all()


def test_no_pictures_no_vectors() -> None:
    assert PatchBank().embed([], None).shape == (0, 512)


def test_threads_at_the_same_time_give_the_same_bits(tiles) -> None:
    pictures, embedder = tiles[:64], PatchBank()
    wanted = embedder.embed(pictures, None)
    with ThreadPoolExecutor(4) as threads:
        for made in threads.map(lambda _: embedder.embed(pictures, None), range(12)):
            np.testing.assert_array_equal(made, wanted)


def test_a_copy_is_nearer_than_anything_else(tiles) -> None:
    import cv2

    smaller = [
        picture(cv2.resize(tile.pixels, (28, 20), interpolation=cv2.INTER_AREA)) for tile in tiles
    ]
    one, other = (
        patch / np.linalg.norm(patch, axis=1, keepdims=True)
        for patch in (PatchBank().embed(tiles, None), PatchBank().embed(smaller, None))
    )
    assert (np.argmax(other @ one.T, axis=1) == np.arange(len(tiles))).mean() >= 0.95


def test_the_shipped_bank_is_small_and_part_of_the_key() -> None:
    assert patch_bank.BANK.stat().st_size < 1_000_000
    assert re.fullmatch("[0-9a-f]{64}", PatchBank().artifacts()["patch_bank.npz"])
    assert PatchBank(learn=True).artifacts() == {}


def test_a_bank_can_be_learned_from_the_dataset_itself(tiles, monkeypatch) -> None:
    monkeypatch.setattr(patch_bank, "PATCHES", 5_000)
    monkeypatch.setattr(patch_bank, "FILTERS", 128)
    stage = Embeddings(embedder=PatchBank(learn=True))
    samples = Samples(pa.table({"id": [f"{row:03d}" for row in range(len(tiles))]}))
    assert stage.learns
    learned = stage.fit(samples, lambda ids, rendition: tiles)
    again = stage.fit(samples, lambda ids, rendition: tiles)
    assert {name: array.tobytes() for name, array in learned.items()} == {
        name: array.tobytes() for name, array in again.items()
    }
    vectors = stage.measure(Shard(samples, tiles, learned))["vector"]
    assert vectors.shape == (len(tiles), 512)
    assert np.isfinite(vectors).all()
    assert np.square(vectors).sum(1).mean() == pytest.approx(1, rel=0.05)
    assert not np.array_equal(vectors, PatchBank().embed(tiles, None))
    with pytest.raises(ValueError, match="not fitted"):
        PatchBank(learn=True).embed(tiles, None)


def test_a_set_of_equal_pictures_can_be_learned_from(monkeypatch) -> None:
    monkeypatch.setattr(patch_bank, "PATCHES", 2_000)
    monkeypatch.setattr(patch_bank, "FILTERS", 128)
    equal = [picture(np.full((32, 32, 3), 90))] * 4
    learned = PatchBank(learn=True).fit(equal, 0)
    assert np.isfinite(PatchBank(learn=True).embed(equal, learned)).all()


def test_a_module_of_the_users_own_with_its_weights(tiles, tmp_path: Path) -> None:
    module = small_net()
    weights = tmp_path / "net.pt"
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in module.state_dict().items()}},
        weights,
    )
    embedder = TorchModule(factory=HERE, weights=str(weights), size=32, device="cpu")
    embedder.check()
    found = embedder.embed(tiles, None)
    batch = torch.from_numpy(np.stack([Recipe(size=32).prepare(tile) for tile in tiles]))
    np.testing.assert_allclose(found, module(batch).detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[7:9], embedder.embed(tiles[7:9], None))
    assert set(embedder.artifacts()) == {"device", "net.pt"}
    assert embedder.rendition == "picture"
    assert pickle.loads(pickle.dumps(Embeddings(embedder=embedder))).embedder == embedder


def test_a_module_without_weights_is_drawn_from_one_seed_and_maps_are_averaged(tiles) -> None:
    embedder = TorchModule(factory=f"{__name__}:maps", size=16, arguments={}, device="cpu")
    assert embedder.embed(tiles[:2], None).shape == (2, 5)
    np.testing.assert_array_equal(embedder.embed(tiles[:2], None), embedder.embed(tiles[:2], None))


def test_threads_that_load_a_network_at_the_same_time_draw_the_same_weights(tiles) -> None:
    embedder = TorchModule(factory=f"{__name__}:slow_net", size=16, device="cpu")
    wanted = embedder.embed(tiles[:2], None)
    for _ in range(5):
        backbones._loaded.cache_clear()
        with ThreadPoolExecutor(4) as threads:
            for made in threads.map(lambda _: embedder.embed(tiles[:2], None), range(4)):
                np.testing.assert_array_equal(made, wanted)


def test_pictures_are_prepared_as_networks_want_them() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 20:60] = 255
    ready = Recipe(size=20, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).prepare(picture(pixels))
    assert ready.shape == (3, 20, 20)
    np.testing.assert_allclose(ready[:, :, 1:-1], 1, atol=0.02)


def test_what_cannot_work_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="there is no file"):
        TorchModule(factory=HERE, weights=str(tmp_path / "none.pt")).check()
    with pytest.raises(PlanError, match=r"package\.module:name"):
        TorchModule(factory="nowhere.at_all:net").check()
    wrong = tmp_path / "wrong.pt"
    torch.save(small_net(width=8).state_dict() | {"more": torch.zeros(1)}, wrong)
    with pytest.raises(PlanError, match="not known more"):
        TorchModule(factory=HERE, weights=str(wrong), size=16).embed(
            [picture(np.zeros((16, 16, 3)))], None
        )
    for name in ("timm", "torchvision", "open_clip"):
        cls = registry.get(Embedder, name)
        with pytest.raises(PlanError, match="weights"):
            cls(model="resnet18").check()


def test_weights_that_run_code_are_not_loaded(tmp_path: Path) -> None:
    evil = tmp_path / "evil.pt"
    torch.save({"a": Path}, evil)
    with pytest.raises(pickle.UnpicklingError):
        TorchModule(factory=HERE, weights=str(evil), size=16).embed(
            [picture(np.zeros((16, 16, 3)))], None
        )


@pytest.mark.parametrize(
    ("name", "package"),
    [("timm", "timm"), ("torchvision", "torchvision"), ("open_clip", "open_clip_torch")],
)
def test_a_missing_package_is_named_with_the_pip_line(
    name: str, package: str, registry: Registry, monkeypatch
) -> None:
    import importlib.metadata
    import importlib.util

    def absent(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    embedder = registry.get(Embedder, name)(model="resnet18", weights="w.pt")
    assert plan.missing_packages(Embeddings(embedder=embedder)) == [
        f"please install {package} to use {name} (pip install {package})"
    ]
