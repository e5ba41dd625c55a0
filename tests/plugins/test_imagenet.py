"""The network from a package is the network of its paper, in the same bits whatever stands beside a
picture; without the package `auto` takes patches.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from dqpipe_images import imagenet
from dqpipe_images.embeddings import Auto, Embeddings
from dqpipe_images.imagenet import BATCH, READ, STRIDES, ImageNet
from dqpipe_images.patch_bank import PatchBank, shrink
from dqpipe_images.picture import Header, Picture

from dqpipe.api import Pipeline
from dqpipe.config.pipeline_file import parse
from dqpipe.engine.shard import task_of
from dqpipe.errors import ConfigError, PlanError
from dqpipe.plugin.registry import Registry
from dqpipe.results.outcome import Outcome

pytestmark = pytest.mark.imagenet
torch = pytest.importorskip("torch")
MODULE = imagenet.PACKAGE.replace("-", "_")
here = pytest.mark.skipif(not imagenet.installed(), reason=f"{imagenet.PACKAGE} is not installed")


def picture(pixels: np.ndarray) -> Picture:
    return Picture(
        Header("PNG", pixels.shape[1], pixels.shape[0], "RGB"),
        np.ascontiguousarray(pixels, dtype=np.uint8),
    )


@pytest.fixture(scope="module")
def tiles() -> list[Picture]:
    """Of two sizes, which the network sees at two sizes."""
    from sklearn.datasets import load_sample_images

    photo = load_sample_images().images[0]
    small = [
        picture(photo[y : y + 40, x : x + 56]) for y in range(0, 80, 40) for x in range(0, 336, 56)
    ]
    return [*small[:5], picture(photo[:200, :300]), *small[5:], picture(photo[100:300, :300])]


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, MODULE, None)


def means(state: Mapping[str, torch.Tensor], picture: np.ndarray) -> np.ndarray:
    """The means of the maps behind the blocks that are read, by plain convolutions and batch norms
    (table 1 of the paper, without squeeze and excitation).
    """
    from torch.nn import functional

    def convolved(
        maps: torch.Tensor, convolution: str, norm: str, stride: int = 1, *, bounded: bool = True
    ) -> torch.Tensor:
        weight = state[f"{convolution}.weight"]
        before = max(weight.shape[2] - stride, 0) // 2
        after = max(weight.shape[2] - stride, 0) - before
        padded = functional.pad(maps, (before, after, before, after))
        groups = maps.shape[1] // weight.shape[1]
        found = functional.conv2d(padded, weight, None, stride, groups=groups)
        parts = [
            state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        ]
        found = functional.batch_norm(found, *parts, eps=1e-3)
        return functional.relu6(found) if bounded else found

    seen = torch.from_numpy((picture[None].astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    maps, found = convolved(seen, "_conv_stem", "_bn0", 2), []
    for number, stride in enumerate(STRIDES):
        name = f"_blocks.{number}."
        inner = convolved(maps, f"{name}_expand_conv", f"{name}_bn0") if number else maps
        inner = convolved(inner, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        inner = convolved(inner, f"{name}_project_conv", f"{name}_bn2", bounded=False)
        maps = inner + maps if inner.shape == maps.shape else inner
        if number in READ:
            found.append(maps.mean((2, 3))[0].numpy())
    return np.concatenate(found)


@here
@pytest.mark.parametrize("side", [96, 160])
def test_it_is_the_network_of_the_paper(tiles, side: int) -> None:
    path = imagenet._weights()
    state = torch.load(path, weights_only=True)
    network = imagenet._network(*imagenet._stamped(path))
    found = ImageNet(size=side).embed(tiles[:1], None)[0] / network.scale + network.middle
    np.testing.assert_allclose(found, means(state, shrink(tiles[0].pixels, side)), atol=2e-4)


@here
def test_the_bits_depend_on_the_picture_alone(tiles) -> None:
    together = ImageNet().embed(tiles, None)
    assert together.shape == (len(tiles), 512)
    rng, before = np.random.default_rng(0), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for count in (1, 3, BATCH, len(tiles)):
            rows = rng.choice(len(tiles), count, replace=False)
            np.testing.assert_array_equal(
                ImageNet().embed([tiles[row] for row in rows], None), together[rows]
            )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@here
@pytest.mark.parametrize("side", [64, 96, 128, 160])
def test_a_row_of_a_batch_is_the_same_wherever_it_stands_and_whatever_stands_beside_it(
    side: int,
) -> None:
    network = imagenet._network(*imagenet._stamped(imagenet._weights()))
    pictures = np.random.default_rng(side).integers(0, 256, (BATCH + 4, side, side, 3), np.uint8)
    with imagenet.one_thread(), torch.inference_mode():
        together = network.vectors(list(pictures[:BATCH]))
        for turned in (1, 4, 7):
            np.testing.assert_array_equal(
                network.vectors(list(np.roll(pictures[:BATCH], turned, axis=0))),
                np.roll(together, turned, axis=0),
            )
        others = network.vectors([pictures[2], *pictures[BATCH:], pictures[5]])
    np.testing.assert_array_equal(others[[0, -1]], together[[2, 5]])


@here
def test_a_linear_probe_reads_digits_from_the_vectors() -> None:
    import cv2
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    data = load_digits()
    grey = [
        cv2.resize((image * 255 / 16).astype(np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
        for image in data.images[:240]
    ]
    vectors = ImageNet(size=64).embed(
        [picture(np.repeat(image[..., None], 3, axis=2)) for image in grey], None
    )
    assert (
        LogisticRegression(C=100, max_iter=300)
        .fit(vectors[:180], data.target[:180])
        .score(vectors[180:], data.target[180:240])
        >= 0.85
    )


@here
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (31, 33), (1, 10_000)])
def test_pictures_of_any_size_have_a_vector(shape) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3))
    assert np.isfinite(
        ImageNet().embed([picture(pixels), picture(np.full((*shape, 3), 127))], None)
    ).all()


@here
def test_no_pictures_no_vectors() -> None:
    assert ImageNet().embed([], None).shape == (0, 512)


@here
def test_how_large_it_sees_a_picture_is_in_the_key(registry: Registry) -> None:
    usual, larger = (
        task_of("embeddings", Embeddings(embedder=ImageNet(size=size)), (), (), None).key
        for size in (None, 160)
    )
    assert usual != larger
    with pytest.raises(ConfigError, match="multiple of 32"):
        parse("stages: [embeddings: {embedder: {imagenet: {size: 100}}}]", registry)


@here
def test_other_weights_are_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / imagenet.WEIGHTS.name
    other.write_bytes(b"x" + imagenet._weights().read_bytes()[1:])
    monkeypatch.setattr(imagenet, "_weights", lambda: other)
    for refused in (
        ImageNet().artifacts,
        ImageNet().check,
        lambda: ImageNet().embed([], None),
        Auto().settled,
    ):
        with pytest.raises(
            PlanError,
            match=(
                r"is not the file of weights that `imagenet` was made for \(its SHA-256 is "
                r".*install .* anew"
            ),
        ):
            refused()
    with pytest.raises(ConfigError, match=r"line 1: imagenet: .*is not the file of weights"):
        parse("stages: [embeddings: {embedder: imagenet}]", registry)


@here
def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from dqpipe.plugin import registry as plugins\n"
        "from dqpipe.config.pipeline_file import parse, settle; from dqpipe.engine.shard import "
        "task_of;"
        "stage = settle(parse('stages: [embeddings]', plugins.load())).stages[0].extension;"
        "task_of('embeddings', stage, (), (), None); print(stage.embedder.name, 'torch' in "
        "sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "imagenet False\n"
    )


def test_without_the_package_it_is_refused_with_the_pip_line(
    hidden, registry: Registry, images: Path, tmp_path: Path
) -> None:
    config = (
        f"dataset: {{path: {images}}}\nstages: [embeddings: {{embedder: imagenet}}]\noutputs: "
        f"{{path: {tmp_path / 'out'}}}\n"
    )
    with pytest.raises(PlanError, match=f"please install {imagenet.PACKAGE} to use imagenet"):
        Pipeline(parse(config, registry), registry).check()
    with pytest.raises(PlanError, match=r"pip install 'dqpipe\[imagenet\]'"):
        ImageNet().artifacts()


def ran(images: Path, out: Path, registry: Registry, embedder: str = "auto") -> Outcome:
    """A run over a few pictures."""
    config = (
        f"dataset: {{path: {images}, limit: 6}}\nstages: [files, embeddings: {{embedder: "
        f"{embedder}}}]\ngates: []\noutputs: {{path: {out}, reports: []}}\n"
    )
    return Pipeline(parse(config, registry), registry).drive("serial", force=True)


def vectors(run: Outcome) -> np.ndarray:
    known = run.vectors["embeddings.vector"]
    return known.read(np.flatnonzero(known.has))


@here
def test_auto_is_imagenet_where_it_is_installed_and_patches_elsewhere_and_a_store_keeps_both(
    registry: Registry, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ran(images, tmp_path / "out", registry)
    assert json.loads((Path(first.published) / "run.json").read_text())["config"]["stages"][1] == {
        "embeddings": {"embedder": {"imagenet": {"size": None}}}
    }
    assert (
        "embeddings: pictures became vectors by `imagenet`, the best embedder that is installed."
        in first.record["account"]["said"]
    )
    with monkeypatch.context() as without:
        without.setitem(sys.modules, MODULE, None)
        second = ran(images, tmp_path / "out", registry)
    assert json.loads((Path(second.published) / "run.json").read_text())["config"]["stages"][1] == {
        "embeddings": {"embedder": {"patches": {"learn": False}}}
    }
    assert any(
        "vectors by `patches`; pip install 'dqpipe[imagenet]' brings better eyes" in said
        for said in second.record["account"]["said"]
    )
    assert vectors(first).shape == vectors(second).shape
    assert not np.array_equal(vectors(first), vectors(second))
    third = ran(images, tmp_path / "out", registry)
    np.testing.assert_array_equal(vectors(third), vectors(first))
    assert sum(third.measured.values()) == 0


def test_an_embedder_that_is_named_is_nothing_to_be_told(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    assert not any(
        "became vectors by" in said
        for said in ran(images, tmp_path / "out", registry, "patches").record["account"]["said"]
    )


def test_without_the_package_auto_has_the_key_of_patches(hidden) -> None:
    settled = Auto().settled()[0]
    assert settled == PatchBank()
    assert Auto().artifacts() == PatchBank().artifacts()


@here
def test_the_choice_travels_to_workers_that_look_elsewhere() -> None:
    stage = Embeddings(embedder=Auto().settled()[0])
    assert pickle.loads(pickle.dumps(stage)).embedder == ImageNet()
