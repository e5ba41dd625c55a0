"""Networks of timm, torchvision and open_clip run from local weights and see their pictures as
their own libraries show them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dqpipe_images.backbones import Recipe, TorchModule
from dqpipe_images.picture import Header, Picture

from dqpipe.errors import PlanError
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Embedder

torch = pytest.importorskip("torch")

DECLARED = torch.library.Library("torchvision", "FRAGMENT")
SHAPES = [(300, 200), (97, 231), (32, 32), (224, 224), (500, 333)]


def library(name: str) -> Any:
    """The package, or the test is skipped: none of them is needed to run dqpipe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        declare_operators()
        return pytest.importorskip(name, exc_type=ImportError)


@functools.cache
def declare_operators() -> None:
    """Let torchvision from PyPI be imported beside a torch that is built otherwise.

    Its own operators do not load there, and none of these tests calls one.
    """
    if importlib.util.find_spec("torchvision") is None or "torchvision" in sys.modules:
        return
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # declared by torchvision itself
            DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def picture(height: int, width: int) -> Picture:
    """Smooth colours with edges and noise."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width] / max(height, width)
    pixels = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(9 * x + 5 * y)], axis=-1) + rng.normal(
        0, 20, (height, width, 3)
    )
    return Picture(Header("PNG", width, height, "RGB"), np.clip(pixels, 0, 255).astype(np.uint8))


PICTURES = [picture(height, width) for height, width in SHAPES]


def image(shown: Picture) -> Any:
    from PIL import Image

    return Image.fromarray(shown.pixels)


def saved(module: Any, path: Path) -> Path:
    """A module's weights as a file of tensors, or of safetensors."""
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors").torch.save_file(module.state_dict(), path)
    else:
        torch.save({"state_dict": module.state_dict()}, path)
    return path


def drawn(make: Any, *arguments: Any, **options: Any) -> Any:
    """A network with random weights, the same in every run."""
    torch.manual_seed(1)
    return make(*arguments, **options).eval()


def tensor(transform: Any, shown: Picture) -> Any:
    return transform(image(shown))[None]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_timm_from_a_file_gives_what_timm_gives(
    suffix: str, registry: Registry, tmp_path: Path
) -> None:
    timm = library("timm")
    whole = drawn(timm.create_model, "resnet10t", pretrained=False)
    embedder = registry.get(Embedder, "timm")(
        model="resnet10t", weights=str(saved(whole, tmp_path / f"net{suffix}")), device="cpu"
    )
    embedder.check()
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(whole), is_training=False
    )
    with torch.inference_mode():
        expected = [
            whole.forward_head(whole.forward_features(tensor(transform, one)), pre_logits=True)[
                0
            ].numpy()
            for one in PICTURES
        ]
    np.testing.assert_allclose(embedder.embed(PICTURES, None), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        embedder.embed(PICTURES, None)[2:3], embedder.embed(PICTURES[2:3], None)
    )


def test_torchvision_from_a_file_gives_what_torchvision_gives(
    registry: Registry, tmp_path: Path
) -> None:
    torchvision = library("torchvision")
    whole = drawn(torchvision.models.get_model, "resnet18", weights=None)
    embedder = registry.get(Embedder, "torchvision")(
        model="resnet18", weights=str(saved(whole, tmp_path / "net.pt")), device="cpu"
    )
    embedder.check()
    transform = torchvision.models.get_model_weights("resnet18").DEFAULT.transforms()
    whole.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = [whole(tensor(transform, one))[0].numpy() for one in PICTURES]
    np.testing.assert_allclose(embedder.embed(PICTURES, None), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_open_clip_from_a_file_gives_what_open_clip_gives(
    suffix: str, registry: Registry, tmp_path: Path, monkeypatch
) -> None:
    open_clip = library("open_clip")
    small = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 64,
            "layers": 2,
            "width": 64,
            "patch_size": 16,
            "head_width": 32,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small-clip", small)
    whole = drawn(open_clip.create_model, "small-clip")
    weights = str(saved(whole, tmp_path / f"clip{suffix}"))
    embedder = registry.get(Embedder, "open_clip")(
        model="small-clip", weights=weights, device="cpu"
    )
    embedder.check()
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(whole)),
        is_train=False,
    )
    with torch.inference_mode():
        expected = [whole.encode_image(tensor(transform, one))[0].numpy() for one in PICTURES]
    found = embedder.embed(PICTURES, None)
    assert found.shape == (len(PICTURES), 16)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    tower = saved(whole.visual, tmp_path / f"tower{suffix}")
    np.testing.assert_array_equal(
        registry.get(Embedder, "open_clip")(
            model="small-clip", weights=str(tower), device="cpu"
        ).embed(PICTURES, None),
        found,
    )


def test_open_clip_prepares_pictures_as_the_published_weights_want_them() -> None:
    library("open_clip")
    from dqpipe_images.backbones import clip_preprocessing

    siglip = clip_preprocessing("ViT-B-16-SigLIP", "")
    assert siglip["mean"] == (0.5, 0.5, 0.5)
    assert siglip["resize_mode"] == "squash"
    assert clip_preprocessing("ViT-B-32", "")["mean"][0] == pytest.approx(0.48145466)
    assert clip_preprocessing("ViT-L-14", "laion2b_s32b_b82k")["mean"] == (0.5, 0.5, 0.5)
    with pytest.raises(PlanError, match=r"say which these are by tag, one of .*laion2b_s32b_b82k"):
        clip_preprocessing("ViT-L-14", "")
    with pytest.raises(PlanError, match="use ViT-B-32-quickgelu"):
        clip_preprocessing("ViT-B-32", "openai")
    with pytest.raises(PlanError, match=r"knows no weights 'mine' of ViT-B-32; it knows .*openai"):
        clip_preprocessing("ViT-B-32", "mine")
    with pytest.raises(PlanError, match="knows no model 'ViT-B-31'"):
        clip_preprocessing("ViT-B-31", "")


@pytest.mark.parametrize(
    ("crop_mode", "fit"), [("center", "shortest"), ("squash", "squash"), ("border", "longest")]
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.95])
def test_a_recipe_shows_what_timm_shows(
    crop_mode: str, fit: str, interpolation: str, crop: float
) -> None:
    timm = library("timm")
    mean = (0.5, 0.4, 0.3)
    shown = timm.data.create_transform(
        (3, 96, 96),
        is_training=False,
        crop_pct=crop,
        crop_mode=crop_mode,
        interpolation=interpolation,
        mean=mean,
    )
    recipe = Recipe(
        96,
        crop,
        mean,
        interpolation=interpolation,
        fit=fit,
        fill=tuple(round(255 * value) for value in mean),
    )
    for one in PICTURES:
        np.testing.assert_allclose(recipe.prepare(one), shown(image(one)).numpy(), atol=1e-5)


@pytest.mark.parametrize("fit", ["shortest", "squash", "longest"])
def test_a_recipe_shows_what_open_clip_shows(fit: str) -> None:
    open_clip = library("open_clip")
    shown = open_clip.image_transform(96, is_train=False, resize_mode=fit, interpolation="bicubic")
    recipe = Recipe(
        96, 1.0, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "bicubic", fit
    )
    for one in PICTURES:
        np.testing.assert_allclose(recipe.prepare(one), shown(image(one)).numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["timm", "torchvision", "open_clip"])
def test_weights_of_another_network_are_refused(
    name: str, registry: Registry, tmp_path: Path
) -> None:
    library(name)
    model = {"timm": "resnet10t", "torchvision": "resnet18", "open_clip": "RN50-quickgelu"}[name]
    path = tmp_path / "other.pt"
    torch.save({"some.weight": torch.zeros(2)}, path)
    with pytest.raises(PlanError, match="does not fit the module: missing"):
        registry.get(Embedder, name)(model=model, weights=str(path), device="cpu").embed(
            PICTURES[:1], None
        )


@pytest.mark.parametrize("fit", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (640, 480)])
def test_pictures_of_any_shape_are_prepared(shape: tuple[int, int], fit: str) -> None:
    ready = Recipe(size=32, crop=0.875, fit=fit).prepare(picture(*shape))
    assert ready.shape == (3, 32, 32)
    assert np.isfinite(ready).all()


def test_of_a_line_the_middle_is_seen() -> None:
    pixels = np.zeros((2, 999, 3), np.uint8)
    pixels[:, 495:504] = 255
    ready = Recipe(size=16, mean=(0, 0, 0), std=(1, 1, 1)).prepare(
        Picture(Header("PNG", 999, 2, "RGB"), pixels)
    )
    np.testing.assert_array_equal(ready, 1)


def test_open_clip_is_given_a_name_and_a_file(registry: Registry, tmp_path: Path) -> None:
    cls = registry.get(Embedder, "open_clip")
    with pytest.raises(PlanError, match="names a place to load from"):
        cls(model="hf-hub:laion/CLIP", weights=str(tmp_path)).check()
    with pytest.raises(PlanError, match="nothing is downloaded"):
        cls(model="ViT-B-32").check()


@pytest.mark.parametrize("name", ["imagenet", "timm", "torchvision", "open_clip"])
def test_the_extra_that_installs_a_library_has_the_name_of_its_embedder(name: str) -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert extras[name]


def small_net() -> Any:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(3),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 24),
    )


def small(device: str, *, mixed: bool = False) -> TorchModule:
    return TorchModule(factory=f"{__name__}:small_net", size=32, device=device, mixed=mixed)


def maps_net() -> Any:
    return torch.nn.Conv2d(3, 4, 5, 2)


def test_a_network_without_weights_is_drawn_from_seed_0_and_leaves_other_draws_alone() -> None:
    torch.manual_seed(7)
    following = torch.rand(3)
    torch.manual_seed(7)
    found = small("cpu").embed(PICTURES[:1], None)[0]
    assert torch.equal(torch.rand(3), following)
    torch.manual_seed(0)
    net = small_net().eval()
    with torch.inference_mode():
        expected = net(torch.from_numpy(Recipe(size=32).prepare(PICTURES[0])[None]))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_maps_of_a_network_are_averaged() -> None:
    torch.manual_seed(0)
    net = maps_net().eval()
    with torch.inference_mode():
        expected = (
            net(torch.from_numpy(Recipe(size=32).prepare(PICTURES[0])[None]))[0]
            .numpy()
            .mean((1, 2))
        )
    embedder = TorchModule(factory=f"{__name__}:maps_net", size=32, device="cpu")
    np.testing.assert_allclose(embedder.embed(PICTURES[:1], None)[0], expected, atol=1e-5)


def test_mixed_precision_gives_vectors_that_are_nearly_equal() -> None:
    exact, mixed = (
        small("cpu").embed(PICTURES, None),
        small("cpu", mixed=True).embed(PICTURES, None),
    )
    assert mixed.dtype == np.float32
    assert not np.array_equal(mixed, exact)
    np.testing.assert_allclose(mixed, exact, atol=0.02 * np.abs(exact).max())


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    there = torch.cuda.is_available()
    assert small("auto").artifacts()["device"] == ("cuda" if there else "cpu")
    np.testing.assert_array_equal(
        small("auto").embed(PICTURES, None), small("cuda" if there else "cpu").embed(PICTURES, None)
    )
    if not there:
        with pytest.raises(PlanError, match="torch sees none"):
            small("cuda").embed(PICTURES, None)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_gpu_gives_nearly_the_same_vectors(mixed: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    exact = small("cpu").embed(PICTURES, None)
    np.testing.assert_allclose(
        small("cuda", mixed=mixed).embed(PICTURES, None),
        exact,
        atol=(0.02 if mixed else 0.002) * np.abs(exact).max(),
    )
