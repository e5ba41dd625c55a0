"""An embedder of whitened patch filters, after Coates, Lee & Ng (AISTATS 2011) and Coates & Ng
(ICML 2011).

    picture ─▶ 32×32 ─▶ every 6×6 patch, contrast-normalised ─▶ whitened, 48 directions ─▶ filters
        ─▶ two-sided soft threshold
            ─▶ mean over 3×3 cells ─▶ square root ─▶ DCT over the cells ─▶ principal components ─▶
                vector [512]
            ├▶ mean colours of 3×3 cells ─────────────────────────────────────────────────────────┤
            └▶ how much of the patches lies in none of the directions (noise does, drawings do) ───┘

The filters are real patches (a random dictionary does as well as a learned one with this encoder,
Coates & Ng 2011), the whitening and the components come from the same pictures. The shipped bank is
made by `make_patch_bank.py`.
"""

from __future__ import annotations

import functools
import hashlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import Embedder, extension, option

if TYPE_CHECKING:
    import torch

    from dqpipe_images.picture import Picture

Arrays = Mapping[str, np.ndarray]

BANK = Path(__file__).with_name("patch_bank.npz")
SIDE = 32  # pixels: pictures are brought to this square
PATCH = 6  # pixels
CELLS = 3  # along a side: 27 patch positions make three cells of nine
FILTERS = 1024
# of 108: what patches vary in; the others hold half a percent and cost more than half of the time
DIRECTIONS = 48
OFFSET = 0.5  # of the soft threshold, in units of a whitened patch's response
MEAN_PARTS, DETAIL_PARTS = (
    100,
    48,
)  # components of the mean over the cells, and of each of the eight other DCT terms
CONTRAST_FLOOR = 10.0  # grey steps²: added to a patch's variance, so that flat ones stay small
WHITENING_FLOOR = 0.1  # added to the eigenvalues of normalised patches
LEVELS = 48  # components are stored as whole numbers up to this
PATCHES = 100_000
# components are divided by their deviation to this power: 0 keeps them as they are, 1 whitens
EVENING = 0.6
COLOUR_SHARE, FINE_SHARE = 0.06, 0.03  # of the squared norm of a vector, on average
FINEST = 0.01  # of a patch's variance: differences of its finest share far below this do not count

_POSITIONS = SIDE - PATCH + 1
_REACH = _POSITIONS // CELLS  # positions along a cell's side
_PIXELS = 3 * PATCH * PATCH
_own = threading.local()


@extension
class PatchBank(Embedder):
    """512 numbers from a bank of whitened patch filters, shipped with dqpipe or learned from the
    dataset.
    """

    name = "patches"
    version = 3  # what version 2 measured on threads may be wrong: they shared its buffers
    libraries = ("torch", "numpy", "opencv-python-headless")

    learn: bool = option(
        False,
        (
            "learn the filters and components from a subset of this dataset in place of the "
            "shipped bank"
        ),
        at="measure",
    )

    @property
    def learns(self) -> bool:
        """Whether `fit` is needed before the first picture is embedded."""
        return self.learn

    def artifacts(self) -> Mapping[str, str]:
        """The hash of the shipped bank, where it is used."""
        return {} if self.learn else {BANK.name: hashlib.sha256(_bytes()).hexdigest()}

    def fit(self, pictures: Sequence[Picture], seed: int) -> Arrays | None:
        """A bank learned from some pictures."""
        return (
            learn(np.stack([shrink(picture.pixels) for picture in pictures]), seed)
            if self.learn
            else None
        )

    def embed(self, pictures: Sequence[Picture], artifact: Arrays | None) -> np.ndarray:
        """float32 [n, 512]; each picture by itself and on one thread, so that its bits depend on
        nothing else.
        """
        if self.learn and artifact is None:
            raise ValueError("the embedder `patches` is told to learn and was not fitted")
        with one_thread():
            projection = Projection(artifact) if artifact is not None else _shipped()
            rows = [projection.vector(shrink(picture.pixels)) for picture in pictures]
        return np.stack(rows) if rows else np.empty((0, projection.width), np.float32)


def shrink(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 [side, side, 3] of any RGB picture.

    Area means where it is larger, linear between pixels where smaller.
    """
    import cv2

    height, width = pixels.shape[:2]
    if (height, width) == (side, side):
        return pixels
    how = cv2.INTER_AREA if min(height, width) >= side else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), (side, side), interpolation=how)


class Filters:
    """Pooled filter responses of one picture after another, in buffers made once."""

    def __init__(self, bank: Arrays) -> None:
        """A bank: `whitening` float [109, r], weights of 6×6×3 pixels (rows, columns, colours),
        then a bias; `filters` float [r, k].

        `energy` float [r] is what a squared whitened value stands for in pixels.
        """
        import torch

        whitening, self.energy, self.filters = (
            torch.from_numpy(bank[name].astype(np.float32))
            for name in ("whitening", "energy", "filters")
        )
        self.whitening, self.bias = whitening[:_PIXELS].contiguous(), whitening[_PIXELS]
        self.patches = torch.empty(_POSITIONS**2, _PIXELS)
        self.windows = self.patches.view(CELLS, CELLS, _REACH, _REACH, PATCH, 3 * PATCH)
        self.white, self.responses = (
            torch.empty(_POSITIONS**2, of.shape[1]) for of in (self.whitening, self.filters)
        )
        self.pixel_mean = torch.full((_PIXELS,), 1 / _PIXELS)
        self.cell_mean = torch.full((CELLS**2, 1, _REACH**2), 1 / _REACH**2)
        self.dct = torch.from_numpy(_dct())

    def pooled(self, picture: np.ndarray) -> tuple[torch.Tensor, float]:
        """float32 [9, 2k]: square roots of the mean positive and negative responses beyond the
        threshold, in DCT terms.

        Then the log of the share of the patches' variance that the whitened directions do not hold.
        """
        import torch

        rows = torch.from_numpy(picture.astype(np.float32)).reshape(SIDE, 3 * SIDE)
        down, right = 3 * SIDE, 3
        self.windows.copy_(
            rows.as_strided(
                self.windows.shape, (_REACH * down, _REACH * right, down, right, down, 1)
            )
        )
        values = self.patches
        values.sub_((values @ self.pixel_mean)[:, None])
        variance = values.square() @ self.pixel_mean
        values.mul_(variance.add_(CONTRAST_FLOOR).rsqrt_()[:, None])
        torch.addmm(self.bias, values, self.whitening, out=self.white)
        fine = (
            values.square().sum() - ((self.white - self.bias).square() @ self.energy).sum()
        ) / values.numel()
        torch.mm(self.white, self.filters, out=self.responses)
        torch.ops.aten.softshrink.out(self.responses, OFFSET, out=self.responses)
        beyond = self.responses.view(CELLS**2, _REACH**2, -1)
        both = torch.bmm(self.cell_mean, beyond)[:, 0]
        size = torch.bmm(self.cell_mean, beyond.abs_())[:, 0]
        terms = self.dct @ torch.cat([size + both, size - both], 1).clamp_min_(0).mul_(0.5).sqrt_()
        return terms, float(np.log(max(float(fine), 0.0) + FINEST))


class Components:
    """A picture's principal components, after the filters."""

    def __init__(self, bank: Arrays) -> None:
        import torch

        self.filters = Filters(bank)
        self.mean_parts = torch.from_numpy(bank["mean_parts"].astype(np.float32))
        self.detail_parts = torch.from_numpy(bank["detail_parts"].astype(np.float32))

    def raw(self, picture: np.ndarray) -> np.ndarray:
        """float32 [width]: components, fineness and colours of a 32×32 picture, before they are
        centred and scaled.
        """
        import torch

        pooled, fine = self.filters.pooled(picture)
        parts = torch.cat(
            [
                (pooled[:1] @ self.mean_parts).ravel(),
                torch.bmm(pooled[1:, None], self.detail_parts).ravel(),
            ]
        )
        return np.concatenate(
            [
                parts.numpy(),
                np.array([fine], np.float32),
                shrink(picture, CELLS).ravel().astype(np.float32),
            ]
        )


class Projection:
    """A bank that is ready to use: pictures to vectors."""

    def __init__(self, bank: Arrays) -> None:
        self.components = Components(bank)
        self.scale, self.shift = bank["scale"], bank["shift"]
        self.width = len(self.scale)
        self.rows, self.columns = _hadamard(16), _hadamard(self.width // 16)

    def vector(self, picture: np.ndarray) -> np.ndarray:
        """float32 [width] of a 32×32 picture.

        Over the pictures of the bank its mean is 0 and its mean squared norm 1.

        Turned so that each number holds a like share of all components: a probe that standardises
        its columns then leaves distances as they are, and does not blow the smallest components up
        (0.635 → 0.645 on CIFAR-10).
        """
        evened = (self.components.raw(picture) - self.shift) * self.scale
        return (self.rows @ evened.reshape(16, -1) @ self.columns).ravel()


def learn(pictures: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """A bank from uint8 [n, 32, 32, 3].

    Filters, components as bytes, and what centres and scales them.
    """
    with one_thread():
        bank: dict[str, Any] = _filters(pictures, np.random.default_rng(seed))
        filters = Filters(bank)
        pooled = np.stack([filters.pooled(picture)[0].numpy() for picture in pictures])
        parts = [
            _components(pooled[:, term], MEAN_PARTS if term == 0 else DETAIL_PARTS)
            for term in range(CELLS**2)
        ]
        bank |= {"mean_parts": parts[0], "detail_parts": np.stack(parts[1:])}
        raw = Components(bank).raw
        values = np.stack([raw(picture) for picture in pictures]).astype(np.float64)
    return bank | {
        "shift": values.mean(0).astype(np.float32),
        "scale": _scale(values.std(0)).astype(np.float32),
    }


def _filters(pictures: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What `Filters` takes: principal directions of patches, evened out, with the bias that their
    mean makes; and a dictionary.
    """
    count, (rows, columns) = len(pictures), rng.integers(0, _POSITIONS, (2, PATCHES))
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(1, 2))
    patches = (
        windows[rng.integers(0, count, PATCHES), rows, columns]
        .transpose(0, 2, 3, 1)
        .reshape(PATCHES, -1)
        .astype(np.float64)
    )
    patches -= patches.mean(1, keepdims=True)
    patches /= np.sqrt(patches.var(1, keepdims=True) + CONTRAST_FLOOR)
    mean = patches.mean(0)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    largest = slice(None, -DIRECTIONS - 1, -1)
    energy = np.maximum(values[largest], 0) + WHITENING_FLOOR
    whitening = vectors[:, largest] / np.sqrt(energy)
    atoms = (patches[rng.choice(PATCHES, FILTERS, replace=False)] - mean) @ whitening
    atoms /= np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-9)
    bias = -mean @ whitening
    return {
        "whitening": np.vstack([whitening, bias]).astype(np.float32),
        "energy": energy.astype(np.float32),
        "filters": atoms.T.astype(np.float16),
    }


def _components(values: np.ndarray, count: int) -> np.ndarray:
    """int8 [d, count]: the first principal directions of [n, d], each with its largest entry at
    ±48.

    Rounding turns a direction by about a degree, and the deviation along it is measured afterwards.
    """
    import scipy.linalg

    d = values.shape[1]
    _, vectors = scipy.linalg.eigh(
        np.cov(values.T.astype(np.float64)), subset_by_index=[d - count, d - 1]
    )
    vectors = vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(0), np.arange(count)]
    return np.rint(vectors / largest * LEVELS).astype(np.int8)


def _scale(deviation: np.ndarray) -> np.ndarray:
    """What evens out the components (partly), the fineness and the colours, and makes the mean
    squared norm 1.
    """
    patches, fine, colours = np.split(deviation, [-1 - 3 * CELLS**2, -3 * CELLS**2])
    wide = np.maximum(
        patches, 1e-3 * max(float(patches.max()), 1e-9)
    )  # a component without any spread is not blown up
    power = float(np.square(wide**-EVENING * patches).sum())
    shares = np.sqrt([(1 - COLOUR_SHARE - FINE_SHARE) / max(power, 1e-9), FINE_SHARE, COLOUR_SHARE])
    alike = [
        np.full(len(one), 1 / max(float(np.linalg.norm(one)), 1e-2)) for one in (fine, colours)
    ]
    return np.concatenate(
        [share * part for share, part in zip(shares, (wide**-EVENING, *alike), strict=True)]
    )


def _dct() -> np.ndarray:
    """float32 [9, 9]: the orthonormal two-dimensional DCT-II of 3×3 cells, the mean first."""
    cosines = np.cos(np.pi * np.arange(CELLS)[:, None] * (np.arange(CELLS) + 0.5) / CELLS)
    cosines /= np.linalg.norm(cosines, axis=1, keepdims=True)
    return np.kron(cosines, cosines).astype(np.float32)


def _hadamard(width: int) -> np.ndarray:
    """float32 [width, width]: an orthogonal matrix whose entries are all of one size.

    Two of them turn rows and columns as a larger one.
    """
    import scipy.linalg

    return (scipy.linalg.hadamard(width) / np.sqrt(width)).astype(np.float32)


@functools.cache
def _bytes() -> bytes:
    return BANK.read_bytes()


def _shipped() -> Projection:
    """The shipped bank, one for each thread: its buffers hold the picture under way."""
    if not hasattr(_own, "projection"):
        with np.load(io.BytesIO(_bytes()), allow_pickle=False) as bank:
            _own.projection = Projection(dict(bank))
    made: Projection = _own.projection
    return made


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch and BLAS thread: sums in another order would be other bits."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
