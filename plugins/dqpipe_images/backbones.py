"""Embedders made of neural networks with local weights: any torch module, timm's and torchvision's models.

    picture ─▶ shorter side to size / crop, centre cut ─▶ (value − mean) / std ─▶ module ─▶ [d]

Nothing is downloaded: weights are a file of tensors (`torch.load` with `weights_only=True`, or safetensors).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dqpipe.errors import PlanError, listed
from dqpipe.media import SHORTER_SIDE
from dqpipe.stages import Embedder, extension, option

if TYPE_CHECKING:
    import torch

    from dqpipe.media import Picture, Rendition

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GPU_BATCH = 64  # pictures, the last batch padded to as many
WRAPPERS = ("state_dict", "model", "model_state_dict")  # what training scripts put the weights into
HEADS = ("head", "heads", "fc", "classifier")  # where torchvision's models keep their classifier


@dataclass(frozen=True)
class Recipe:
    """How a network wants its pictures: side in pixels, share of the shorter side kept, mean and deviation of 0 … 1."""

    size: int = 224
    crop: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"

    def prepare(self, picture: Picture) -> np.ndarray:
        """float32 [3, size, size]; resized by Pillow, whose filters widen when shrinking, as the networks were trained."""
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(picture.pixels))
        scale = self.size / self.crop / min(image.size)
        width, height = (max(round(side * scale), self.size) for side in image.size)
        image = image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        left, top = (width - self.size) // 2, (height - self.size) // 2
        pixels = np.asarray(image.crop((left, top, left + self.size, top + self.size)), np.float32) / 255
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return ((pixels - mean) / std).transpose(2, 0, 1)


@extension
class Backbone(Embedder):
    """A neural network without its classifier; what its kinds share."""

    weights: str = option("", "file of the network's weights, on this machine", at="measure")
    size: int | None = option(None, "side of the square the network sees, in pixels; default: the network's own", at="measure", ge=8)
    crop: float | None = option(None, "share of the shorter side that is kept; default: the network's own", at="measure", gt=0, le=1)
    mean: tuple[float, float, float] | None = option(None, "mean of each colour, of 1; default: the network's own", at="measure")
    std: tuple[float, float, float] | None = option(None, "deviation of each colour, of 1; default: the network's own", at="measure")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "where the network runs; auto: on a GPU if there is one", at="measure")
    mixed: bool = option(False, "bfloat16 where it is safe, on a GPU: faster, equal to about two digits", at="measure")

    @property
    def rendition(self) -> Rendition:  # type: ignore[override]
        """`picture` where it is large enough for the network, else the full size."""
        return "picture" if self.size is not None and self.size <= SHORTER_SIDE * (self.crop or 1) else "full"

    def artifacts(self) -> Mapping[str, str]:
        """The hash of the weights, and the device: another one gives other bits."""
        return {"device": _device(self.device)} | ({Path(self.weights).name: _hash(self.weights)} if self.weights else {})

    def check(self) -> None:
        """Refuse weights that are not there. Raises PlanError."""
        if self.weights and not Path(self.weights).is_file():
            raise PlanError(f"there is no file {self.weights}; weights are a local file, nothing is downloaded")

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The network with its weights, and how it wants its pictures."""
        raise NotImplementedError

    def embed(self, pictures: Sequence[Picture], artifact: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """float32 [n, d]. On the CPU one by one, so that the bits depend on nothing else; on a GPU in padded batches."""
        import torch

        module, recipe = _loaded(type(self), json.dumps(self.options()), _stamp(self.weights))  # type: ignore[arg-type]
        device = _device(self.device)
        batch = GPU_BATCH if device == "cuda" else 1
        found = []
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.mixed and device == "cuda"):
            for start in range(0, len(pictures), batch):
                ready = [recipe.prepare(picture) for picture in pictures[start : start + batch]]
                padded = np.stack(ready + [ready[-1]] * (batch - len(ready)))
                found.append(_rows(module(torch.from_numpy(padded).to(device)))[: len(ready)].cpu().numpy())
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

    factory: str = option(help="import path of what makes the module, as `package.module:name`", at="measure")
    arguments: dict[str, Any] = option(factory=dict, help="keyword arguments for the factory", at="measure")

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

    model: str = option(help="timm's name of the model, such as vit_small_patch14_dinov2", at="measure")

    def check(self) -> None:
        """Refuse a model without weights. Raises PlanError."""
        _wants_weights(self)

    def build(self) -> tuple[torch.nn.Module, Recipe]:
        """The model without its classifier, and the preprocessing that timm knows for it."""
        import timm

        module = timm.create_model(self.model, pretrained=False, num_classes=0)
        _fill(module, self.weights, extra=True)
        own = timm.data.resolve_model_data_config(module)
        recipe = Recipe(own["input_size"][-1], own["crop_pct"], tuple(own["mean"]), tuple(own["std"]), own["interpolation"])
        return module, self.changed(recipe)


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
        """The model without its classifier, and the preprocessing of torchvision's default weights for it."""
        import torch
        import torchvision

        module = torchvision.models.get_model(self.model, weights=None)
        head = next((name for name in HEADS if hasattr(module, name)), None)
        if head is None:
            raise PlanError(f"{self.model} has no classifier at {listed(HEADS)}: use torch_module with a factory of your own")
        setattr(module, head, torch.nn.Identity())
        _fill(module, self.weights, extra=True)
        own = torchvision.models.get_model_weights(self.model).DEFAULT.transforms()
        size, wide = own.crop_size[0], own.resize_size[0]
        recipe = Recipe(size, min(size / wide, 1.0), tuple(own.mean), tuple(own.std), own.interpolation.value)
        return module, self.changed(recipe)


@functools.lru_cache(maxsize=2)
def _loaded(cls: type[Backbone], options: str, stamp: tuple[int, int]) -> tuple[torch.nn.Module, Recipe]:  # noqa: ARG001 (a changed file is loaded anew)
    """A network ready to run, kept in this process; what it draws at random it draws from one seed."""
    import torch

    embedder = cls(**json.loads(options))
    with torch.random.fork_rng(devices=[]):
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
        raise PlanError(f"factory {path!r} cannot be imported ({error}); write it as package.module:name") from None


def _fill(module: torch.nn.Module, path: str, *, extra: bool) -> None:
    """Load weights into a module; every one it has must be in the file, and unless `extra` no others."""
    if path.endswith(".safetensors"):
        state: Any = _safetensors().load_file(path)
    else:
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in WRAPPERS:
        state = state[wrapper] if isinstance(state.get(wrapper), Mapping) else state
    state = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    if missing or (unexpected and not extra):
        raise PlanError(f"{path} does not fit the module: missing {listed(missing, 5) or 'none'}; not known {listed(unexpected, 5) or 'none'}")


def _safetensors() -> Any:  # noqa: ANN401 (a module)
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError:
        raise PlanError("please install safetensors to read these weights (pip install safetensors)") from None


def _rows(output: Any) -> torch.Tensor:  # noqa: ANN401
    """[n, d] of what a module returns: maps [n, d, height, width] are averaged."""
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) not in {2, 4}:
        raise PlanError(f"the module returns {type(output).__name__} of shape {shape}; a tensor [n, d] or [n, d, height, width] is wanted")
    return (output.mean((2, 3)) if len(shape) == 4 else output).float()  # noqa: PLR2004


def _wants_weights(embedder: Backbone) -> None:
    if not embedder.weights:
        raise PlanError("weights is the path of a local file: without one the model would be random, and nothing is downloaded")
    Backbone.check(embedder)


def _stamp(path: str) -> tuple[int, int]:
    if not path:
        return 0, 0
    stat = Path(path).stat()
    return stat.st_size, stat.st_mtime_ns


def _hash(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
