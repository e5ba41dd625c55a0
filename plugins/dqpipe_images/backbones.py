"""Embedders made of neural networks with local weights.

Any torch module, models of timm, torchvision and open_clip.

    picture ─▶ resized as the network was trained (`fit`), centre cut ─▶ (value − mean) / std ─▶
        module ─▶ [d]

Nothing is downloaded: weights are a file of tensors (`torch.load` with `weights_only=True`, or
safetensors).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dqpipe import Embedder, PlanError, extension, listed, option
from dqpipe_images.picture import SHORTER_SIDE

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dqpipe import Rendition
    from dqpipe_images.picture import Picture

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LONG = 8  # times the shorter side: what lies beyond is cut before a picture is resized
GPU_BATCH = 64  # pictures, the last batch padded to as many
WRAPPERS = ("state_dict", "model", "model_state_dict")  # what training scripts put the weights into
TIMM_FITS = {"squash": "squash", "border": "longest"}
_DRAWING = threading.Lock()
HEADS = ("head", "heads", "fc", "classifier")  # where torchvision's models keep their classifier


@dataclass(frozen=True)
class Recipe:
    """How a network wants its pictures.

    Side in pixels, share of it that is kept, mean and deviation of 0 … 1.

    `fit`: the `shortest` side is brought to size / crop and the centre cut, the `longest` is and
    the rest is filled (with grey levels `fill`), or both are (`squash`). The pixels are those of
    timm's, torchvision's and open_clip's own transforms.
    """

    size: int = 224
    crop: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    fit: str = "shortest"
    fill: tuple[int, int, int] = (0, 0, 0)

    def prepare(self, picture: Picture) -> np.ndarray:
        """float32 [3, size, size]; resized by Pillow, whose filters widen when shrinking, as the
        networks were trained.
        """
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(picture.pixels))
        if self.fit == "shortest":
            image = _without_far_ends(image)
        image = image.resize(
            self._resized(*image.size), Image.Resampling[self.interpolation.upper()]
        )
        pixels = np.asarray(self._centre(image), np.float32) / 255
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return ((pixels - mean) / std).transpose(2, 0, 1)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the centre is cut; rounded as torchvision and timm round."""
        wide = int(self.size / self.crop + 1e-6)
        if self.fit == "squash":
            return wide, wide
        if self.fit == "longest":
            longest = max(width, height)
            return max(round(width * wide / longest), 1), max(round(height * wide / longest), 1)
        return (wide, wide * height // width) if width <= height else (wide * width // height, wide)

    def _centre(self, image: Image.Image) -> Image.Image:
        """The square in the middle, filled up where the picture is smaller."""
        from PIL import Image

        left, top = (
            (self.size - side) // 2 if side < self.size else -round((side - self.size) / 2)
            for side in image.size
        )
        ground = Image.new("RGB", (self.size, self.size), self.fill)
        ground.paste(image, (left, top))
        return ground


@extension
class Backbone(Embedder):
    """A neural network without its classifier; what its kinds share."""

    weights: str = option("", "file of the network's weights, on this machine", at="measure")
    size: int | None = option(
        None,
        "side of the square the network sees, in pixels; default: the network's own",
        at="measure",
        ge=8,
    )
    crop: float | None = option(
        None,
        "share of the shorter side that is kept; default: the network's own",
        at="measure",
        gt=0,
        le=1,
    )
    mean: tuple[float, float, float] | None = option(
        None, "mean of each colour, of 1; default: the network's own", at="measure"
    )
    std: tuple[float, float, float] | None = option(
        None, "deviation of each colour, of 1; default: the network's own", at="measure"
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "where the network runs; auto: on a GPU if there is one", at="measure"
    )
    mixed: bool = option(
        False,
        (
            "bfloat16 where it is safe: faster on a GPU and on newer processors, equal to about "
            "two digits"
        ),
        at="measure",
    )

    @property
    def rendition(self) -> Rendition:
        """`picture` where it is large enough for the network, else the full size."""
        return (
            "picture"
            if self.size is not None and self.size <= SHORTER_SIDE * (self.crop or 1)
            else "full"
        )

    def artifacts(self) -> Mapping[str, str]:
        """The hash of the weights, and the device: another one gives other bits."""
        return {"device": _device(self.device)} | (
            {Path(self.weights).name: _hash(self.weights)} if self.weights else {}
        )

    def check(self) -> None:
        """Refuse weights that are not there. Raises PlanError."""
        if self.weights and not Path(self.weights).is_file():
            raise PlanError(
                f"there is no file {self.weights}; weights are a local file, nothing is downloaded"
            )

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The network with its weights, and how it wants its pictures."""
        raise NotImplementedError

    def embed(
        self, pictures: Sequence[Picture], artifact: Mapping[str, np.ndarray] | None
    ) -> np.ndarray:
        """float32 [n, d].

        On the CPU one by one, so that the bits depend on nothing else; on a GPU in padded batches.
        """
        import torch

        module, recipe = _loaded(type(self), json.dumps(self.options()), _stamp(self.weights))  # type: ignore[arg-type]
        device = _device(self.device)
        batch = GPU_BATCH if device == "cuda" else 1
        found = []
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.mixed):
            for start in range(0, len(pictures), batch):
                ready = [recipe.prepare(picture) for picture in pictures[start : start + batch]]
                padded = np.stack(ready + [ready[-1]] * (batch - len(ready)))
                found.append(
                    _rows(module(torch.from_numpy(padded).to(device)))[: len(ready)].cpu().numpy()
                )
        return np.concatenate(found) if found else np.empty((0, 0), np.float32)

    def changed(self, recipe: Recipe) -> Recipe:
        """The network's own recipe with the options that are set."""
        own = {name: getattr(self, name) for name in ("size", "crop", "mean", "std")}
        return replace(recipe, **{name: value for name, value in own.items() if value is not None})


@extension
class TorchModule(Backbone):
    """Any torch module by its import path; ImageNet's mean and deviation unless told otherwise."""

    name = "torch_module"
    libraries = ("torch", "numpy", "pillow")

    factory: str = option(
        help="import path of what makes the module, as `package.module:name`", at="measure"
    )
    arguments: dict[str, Any] = option(
        factory=dict, help="keyword arguments for the factory", at="measure"
    )

    def check(self) -> None:
        """Refuse what cannot be imported. Raises PlanError."""
        Backbone.check(self)
        _imported(self.factory)

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """What the factory makes, with the weights if a file is named."""
        module = _imported(self.factory)(**self.arguments)
        if self.weights:
            _fill(module, self.weights, extra=False)
        return module, self.changed(Recipe())


@extension
class Timm(Backbone):
    """A model of timm, with weights from a local file."""

    name = "timm"
    requires = ("timm",)
    libraries = ("torch", "numpy", "pillow", "timm")

    model: str = option(
        help="timm's name of the model, such as vit_small_patch14_dinov2", at="measure"
    )

    def check(self) -> None:
        """Refuse a model without weights. Raises PlanError."""
        _wants_weights(self)

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The model without its classifier, and the preprocessing that timm knows for it."""
        import timm

        module = timm.create_model(self.model, pretrained=False, num_classes=0)
        _fill(module, self.weights, extra=True)
        own = timm.data.resolve_model_data_config(module)
        fit = TIMM_FITS.get(own["crop_mode"], "shortest")
        red, green, blue = (round(255 * value) for value in own["mean"])
        return module, self.changed(
            Recipe(
                own["input_size"][-1],
                own["crop_pct"],
                own["mean"],
                own["std"],
                own["interpolation"],
                fit,
                (red, green, blue),
            )
        )


@extension
class Torchvision(Backbone):
    """A model of torchvision, with weights from a local file."""

    name = "torchvision"
    requires = ("torchvision",)
    libraries = ("torch", "numpy", "pillow", "torchvision")

    model: str = option(help="torchvision's name of the model, such as resnet50", at="measure")

    def check(self) -> None:
        """Refuse a model without weights. Raises PlanError."""
        _wants_weights(self)

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The model without its classifier, and the preprocessing of torchvision's default weights
        for it.
        """
        import torch
        import torchvision

        module = torchvision.models.get_model(self.model, weights=None)
        head = next((name for name in HEADS if hasattr(module, name)), None)
        if head is None:
            raise PlanError(
                f"{self.model} has no classifier at {listed(HEADS)}: use torch_module with a "
                f"factory of your own"
            )
        setattr(module, head, torch.nn.Identity())
        _fill(module, self.weights, extra=True)
        own = torchvision.models.get_model_weights(self.model).DEFAULT.transforms()
        size, wide = own.crop_size[0], own.resize_size[0]
        recipe = Recipe(
            size, min(size / wide, 1.0), tuple(own.mean), tuple(own.std), own.interpolation.value
        )
        return module, self.changed(recipe)


@extension
class OpenClip(Backbone):
    """The picture tower of a model of open_clip, with weights from a local file."""

    name = "open_clip"
    requires = ("open_clip_torch",)
    libraries = ("torch", "numpy", "pillow", "open_clip_torch")

    model: str = option(help="open_clip's name of the model, such as ViT-B-32", at="measure")
    tag: str = option(
        "",
        (
            "open_clip's name of these weights, such as laion2b_s34b_b79k: it tells how they want "
            "their pictures"
        ),
        at="measure",
    )

    def check(self) -> None:
        """Refuse a model without weights, and one that open_clip would download.

        Raises PlanError.
        """
        if ":" in self.model:
            raise PlanError(
                f"model {self.model!r} names a place to load from: give open_clip's name of the "
                f"model and the file as weights"
            )
        _wants_weights(self)

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The picture tower, and the preprocessing that open_clip knows for the model and the
        weights.
        """
        import open_clip

        wanted = clip_preprocessing(self.model, self.tag)
        whole = open_clip.create_model(
            self.model, load_weights=False, pretrained_image=False, pretrained_text=False
        )
        _fill(whole.visual, self.weights, extra=False, part="visual.")
        own = open_clip.get_model_preprocess_cfg(whole) | wanted
        size = own["size"][0] if isinstance(own["size"], (tuple, list)) else own["size"]
        fill = (int(own["fill_color"]),) * 3
        return whole.visual, self.changed(
            Recipe(
                size, 1.0, own["mean"], own["std"], own["interpolation"], own["resize_mode"], fill
            )
        )


def clip_preprocessing(model: str, tag: str) -> dict[str, Any]:
    """What open_clip says of published weights: mean, std, interpolation, resize_mode.

    Raises PlanError.

    Without a tag, that of all published weights that fit the model's activation, if they agree;
    nothing where there are none.
    """
    from open_clip import get_model_config, pretrained

    config = get_model_config(model)
    if config is None:
        raise PlanError(f"open_clip knows no model {model!r}")
    activation = bool(config.get("quick_gelu"))
    published = {
        name: pretrained.get_pretrained_cfg(model, name)
        for name in pretrained.list_pretrained_tags_by_model(model)
    }
    if tag and tag not in published:
        raise PlanError(
            f"open_clip knows no weights {tag!r} of {model}; it knows {listed(published) or 'none'}"
        )
    if tag and bool(published[tag].get("quick_gelu")) != activation:
        raise PlanError(
            f"the weights {tag} were trained with the other GELU than {model}: use "
            f"{_other_gelu(model)}"
        )
    fitting = {
        name: own
        for name, own in published.items()
        if (name == tag if tag else bool(own.get("quick_gelu")) == activation)
    }
    ways = {
        name: {
            key: own[key] for key in ("mean", "std", "interpolation", "resize_mode") if own.get(key)
        }
        for name, own in fitting.items()
    }
    first = next(iter(ways.values()), {})
    if any(way != first for way in ways.values()):
        raise PlanError(
            f"weights of {model} differ in how they want their pictures: say which these are by "
            f"tag, one of {listed(ways)}"
        )
    return first


def _other_gelu(model: str) -> str:
    quick = "-quickgelu"
    return model.removesuffix(quick) if model.endswith(quick) else model + quick


def _without_far_ends(image: Image.Image) -> Image.Image:
    """A picture whose long side is at most eight times the short one.

    Of a line only the middle is seen, and memory is bounded.
    """
    width, height = image.size
    across, down = max((width - LONG * height) // 2, 0), max((height - LONG * width) // 2, 0)
    return image.crop((across, down, width - across, height - down)) if across or down else image


@functools.lru_cache(maxsize=2)
def _loaded(
    cls: type[Backbone],
    options: str,
    stamp: tuple[int, int],  # noqa: ARG001
) -> tuple[torch.nn.Module, Recipe]:
    """A network ready to run, kept in this process.

    What it draws at random it draws from one seed.
    """
    import torch

    embedder = cls(**json.loads(options))
    with (
        _DRAWING,
        torch.random.fork_rng(devices=[]),
    ):  # torch draws for all threads from one generator
        torch.manual_seed(0)
        module, recipe = embedder.build()
    return module.eval().requires_grad_(False).to(_device(embedder.device)), recipe


def _device(wanted: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise PlanError("device: cuda is asked for and torch sees none; use device: auto")
    return "cuda" if available and wanted != "cpu" else "cpu"


def _imported(path: str) -> Any:  # noqa: ANN401 (any callable)
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PlanError(
            f"factory {path!r} cannot be imported ({error}); write it as package.module:name"
        ) from None


def _fill(module: torch.nn.Module, path: str, *, extra: bool, part: str = "") -> None:
    """Load weights into a module, of names that begin with `part`.

    Every one it has must be in the file, and unless `extra` no others.
    """
    state = _state(path)
    if part and any(name.startswith(part) for name in state):
        state = {
            name.removeprefix(part): value for name, value in state.items() if name.startswith(part)
        }
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # other shapes
        raise PlanError(
            f"{path} does not fit the module: {str(error).splitlines()[-1].strip()}"
        ) from None
    if missing or (unexpected and not extra):
        raise PlanError(
            f"{path} does not fit the module: missing {listed(missing, 5) or 'none'}; not known "
            f"{listed(unexpected, 5) or 'none'}"
        )


def _state(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a file, without what training scripts wrap them into."""
    if path.endswith(".safetensors"):
        state: Any = _safetensors().load_file(path)
    else:
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in WRAPPERS:
        state = state[wrapper] if isinstance(state.get(wrapper), Mapping) else state
    return {name.removeprefix("module."): value for name, value in state.items()}


def _safetensors() -> Any:  # noqa: ANN401 (a module)
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError:
        raise PlanError(
            "please install safetensors to read these weights (pip install safetensors)"
        ) from None


def _rows(output: Any) -> torch.Tensor:  # noqa: ANN401
    """[n, d] of what a module returns: maps [n, d, height, width] are averaged."""
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) not in {2, 4}:
        raise PlanError(
            f"the module returns {type(output).__name__} of shape {shape}; a tensor [n, d] or [n, "
            f"d, height, width] is wanted"
        )
    return (output.mean((2, 3)) if len(shape) == 4 else output).float()  # noqa: PLR2004


def _wants_weights(embedder: Backbone) -> None:
    if not embedder.weights:
        raise PlanError(
            "weights is the path of a local file: without one the model would be random, and "
            "nothing is downloaded"
        )
    Backbone.check(embedder)


def _stamp(path: str) -> tuple[int, int]:
    if not path:
        return 0, 0
    stat = Path(path).stat()
    return stat.st_size, stat.st_mtime_ns


def _hash(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
