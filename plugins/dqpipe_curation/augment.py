"""Augmentation: new pictures of small classes, made with albumentations, which only this module
imports.

    training samples ──class sizes──▶ what each lacks ──spread over the sound ones──▶ recipes
        (parent, copy, seed) ──make──▶ pictures

The pipeline stands in the config in albumentations' own serialised form, `{__class_fullname__:
HorizontalFlip, p: 0.5}`, or shorter, `{HorizontalFlip: {p: 0.5}}`. The one given by default suits
digits and photographs alike: small moves, light, a little blur or noise. It neither mirrors nor
rotates, since a mirrored 2 or a rotated 6 is another digit; add HorizontalFlip where that does no
harm.

A run writes the pipeline to augment.json, to be used while training:

    import json
    import albumentations as A

    with open("augment.json") as file:
        pipeline = A.from_dict(json.load(file)["pipeline"])
    picture = pipeline(image=picture)["image"]  # uint8 [height, width, 3], RGB
"""

from __future__ import annotations

import inspect
import json
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqpipe import Augment, ConfigError, Recipe, Samples, extension, labels, nearest, option

if TYPE_CHECKING:
    from dqpipe_images import Picture

Spec = Mapping[str, Any]
MILD: tuple[Spec, ...] = (
    # border_mode 4 is OpenCV's BORDER_REFLECT_101: no black edges that a model could learn as a
    # sign of augmentation.
    {
        "Affine": {
            "rotate": [-8, 8],
            "scale": [0.92, 1.08],
            "translate_percent": [-0.06, 0.06],
            "border_mode": 4,
            "p": 1.0,
        }
    },
    {
        "RandomBrightnessContrast": {
            "brightness_limit": [-0.15, 0.15],
            "contrast_limit": [-0.15, 0.15],
            "brightness_by_max": False,
            "p": 0.7,
        }
    },
    {
        "OneOf": {
            "transforms": [
                {"GaussianBlur": {"blur_limit": 0, "sigma_limit": [0.3, 0.7], "p": 1.0}},
                {"GaussNoise": {"std_range": [0.01, 0.03], "per_channel": False, "p": 1.0}},
            ],
            "p": 0.4,
        }
    },
)
TARGETS = ("largest", "median")
_own = threading.local()


@extension
class Augmentation(Augment):
    """New samples of the classes that have too few, made from their kept training samples with
    albumentations.
    """

    name = "augment"
    encoder = "png"
    version = 2
    requires = ("albumentations",)
    libraries = ("albumentations", "opencv-python-headless")
    default: ClassVar[bool] = True

    transforms: list[dict[str, Any]] = option(
        help="the pipeline, in the form of albumentations.to_dict or as {Name: {argument: value}}",
        factory=lambda: [dict(spec) for spec in MILD],
    )
    target: int | str = option(
        "median",
        (
            "samples that each class should have: a number, or the size of the `median` or "
            "`largest` class"
        ),
    )
    tolerance: float = option(
        0.1,
        (
            "a class that lacks no more than this share of the `median` or `largest` class is "
            "large enough"
        ),
        ge=0,
        lt=1,
    )
    max_copies: int = option(
        5, "most new samples from one parent; a class may stay below the target for it", ge=1
    )

    def check(self) -> None:
        """Raise ConfigError for an unknown transform or argument, a bad value, a transform that
        makes no picture.
        """
        if self.target not in TARGETS and (isinstance(self.target, (str, bool)) or self.target < 1):
            raise ConfigError(
                f"target is a number from 1, or one of {', '.join(TARGETS)}, not {self.target!r}"
            )
        if not self.transforms:
            raise ConfigError(
                "transforms names no transform, so that every new sample would equal its parent"
            )
        for spec in self.transforms:
            for leaf in _leaves(_serialised(spec)):
                _try(leaf)
        _pipeline(self.transforms)

    def objection(self, samples: Samples) -> str | None:
        """Labels must be classes."""
        kind = labels.kind_in(samples)
        if kind != "class":
            what = (
                "there is no label column, or it is empty"
                if kind == "none"
                else f"these labels are {kind}s"
            )
            return (
                f"it fills classes up to a target, and {what}: leave {self.name} out of the stages"
            )
        return None

    def plan(
        self, samples: Samples, sound: np.ndarray, seeds: Callable[[str, int], int]
    ) -> list[Recipe]:
        """The deficit of each class in recipes, spread over its sound samples as evenly as can be.

        Sorted by parent and copy.

        Samples without a label get no copies.
        """
        codes, ids = labels.classes(samples).codes, samples.ids
        sizes = np.bincount(codes[codes >= 0])
        wanted = self._target(sizes[sizes > 0].tolist())
        least = wanted if isinstance(self.target, int) else (1 - self.tolerance) * wanted
        short = [code for code, size in enumerate(sizes.tolist()) if 0 < size < least]
        recipes = [
            recipe
            for code in short
            for recipe in self._copies(
                list(ids[sound & (codes == code)]), wanted - int(sizes[code]), seeds
            )
        ]
        return sorted(recipes, key=lambda recipe: (recipe.parent, recipe.copy))

    def _target(self, sizes: list[int]) -> int:
        if isinstance(self.target, int) or not sizes:
            return int(self.target) if isinstance(self.target, int) else 0
        return max(sizes) if self.target == "largest" else int(np.ceil(np.median(sizes)))

    def _copies(
        self, parents: list[str], deficit: int, seeds: Callable[[str, int], int]
    ) -> Iterator[Recipe]:
        """Recipes for a class, in rounds of one copy of each parent.

        The parents of the last round are drawn at random.
        """
        left = max(deficit, 0)
        for copy in range(1, self.max_copies + 1):
            drawn = sorted((seeds(parent, copy), parent) for parent in parents) if left else []
            for seed, parent in drawn[:left]:
                yield Recipe(parent, copy, seed)
            left -= min(left, len(parents))

    def make(self, picture: Picture, seed: int) -> np.ndarray:
        """The picture through the pipeline, of its own size; one channel if its file has one."""
        import cv2

        pipeline = _pipeline(self.transforms)
        # Compose(seed=…) would give every transform the same numbers; these two are shared, and so
        # go on from one to the next.
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311
        made = pipeline(image=picture.pixels.copy())["image"]
        height, width = picture.pixels.shape[:2]
        if made.shape[:2] != (height, width):
            made = cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA)
        return (
            cv2.cvtColor(made, cv2.COLOR_RGB2GRAY)
            if picture.header.grey
            else np.ascontiguousarray(made)
        )

    def provenance(self) -> Mapping[str, Any]:
        """The name of the stage, and the pipeline with the library's version, as
        albumentations.from_dict reads it.
        """
        made = _albumentations().to_dict(_pipeline(self.transforms))
        return {
            "made_by": self.name,
            "version": self.version,
            "pipeline": json.loads(json.dumps(made, default=lambda item: item.value)),
        }


def _albumentations() -> Any:  # noqa: ANN401 (the module)
    """The library, imported without its check for updates on the network."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations


def _serialised(spec: Spec) -> dict[str, Any]:
    """A transform in albumentations' own form, whichever form it was given in.

    Raises ConfigError.
    """
    if isinstance(spec, Mapping) and "transform" in spec:
        spec = spec["transform"]
    if not isinstance(spec, Mapping) or ("__class_fullname__" not in spec and len(spec) != 1):
        raise ConfigError(f"a transform is {{Name: {{argument: value}}}}, not {spec!r}")
    if "__class_fullname__" not in spec:
        name, arguments = next(iter(spec.items()))
        if not isinstance(arguments or {}, Mapping):
            raise ConfigError(f"the arguments of {name} are a mapping, not {arguments!r}")
        spec = {"__class_fullname__": name, **(arguments or {})}
    found = {
        **spec,
        "__class_fullname__": str(spec["__class_fullname__"])
        .removeprefix("albumentations.")
        .rpartition(".")[2],
    }
    if "transforms" in found:
        found["transforms"] = [_serialised(inner) for inner in found["transforms"]]
    return found


def _leaves(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "transforms" not in spec:
        yield spec
    for inner in spec.get("transforms", ()):
        yield from _leaves(inner)


def _build(spec: dict[str, Any]) -> Any:  # noqa: ANN401 (a transform)
    """A transform from albumentations' form.

    What albumentations only warns of is a ConfigError here.
    """
    library = _albumentations()
    known = library.core.serialization.SERIALIZABLE_REGISTRY
    kinds = (library.BasicTransform, library.BaseCompose)
    name = spec["__class_fullname__"]
    if name not in known or not issubclass(known[name], kinds):
        names = [n for n, cls in known.items() if "." not in n and issubclass(cls, kinds)]
        raise ConfigError(
            f"albumentations {library.__version__} has no transform {name!r}: "
            f"{nearest(name, names)}"
        )
    parameters = _parameters(known[name])
    for argument in spec:
        if argument not in {*parameters, "__class_fullname__"}:
            raise ConfigError(
                f"{name} has no argument {argument!r}: {nearest(argument, parameters)}"
            )
    arguments = {key: value for key, value in spec.items() if key != "__class_fullname__"}
    if "transforms" in arguments:
        arguments["transforms"] = [_build(inner) for inner in arguments["transforms"]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return known[name](**arguments)
    except (ValueError, TypeError, UserWarning) as error:
        lines = [
            line.strip() for line in str(error).splitlines() if "further information" not in line
        ]
        raise ConfigError(f"{name}: {' '.join(lines)}") from None


def _parameters(cls: type[Any]) -> list[str]:
    return [
        name
        for name in inspect.signature(cls.__init__).parameters
        if name not in {"self", "args", "kwargs"}
    ]


def _pipeline(specs: list[dict[str, Any]]) -> Any:  # noqa: ANN401 (an albumentations.Compose)
    """The pipeline of this thread; a pipeline shared by threads gives wrong random numbers."""
    key = json.dumps(specs, sort_keys=True, default=str)
    if getattr(_own, "key", None) != key:
        _own.key, _own.pipeline = (
            key,
            _albumentations().Compose([_build(_serialised(spec)) for spec in specs]),
        )
    return _own.pipeline


def _try(spec: dict[str, Any]) -> None:
    """Apply one transform to a picture of a colour gradient.

    Raises ConfigError unless another picture comes out.
    """
    side = np.linspace(0, 255, 256, dtype=np.uint8)
    picture = np.dstack(np.broadcast_arrays(side[:, None], side[None, :], side[::-1, None]))
    name = spec["__class_fullname__"]
    transform = _build({**spec, "p": 1.0})
    transform.set_random_state(np.random.default_rng(0), random.Random(0))  # noqa: S311
    try:
        made = transform(image=np.ascontiguousarray(picture))["image"]
    except Exception as error:  # noqa: BLE001 (a transform may raise anything; it is named with what it said)
        raise ConfigError(
            f"{name} cannot be applied to a picture of 256 x 256 pixels: {type(error).__name__}: "
            f"{error}"
        ) from None
    if (
        not isinstance(made, np.ndarray)
        or made.dtype != np.uint8
        or made.shape[2:] != picture.shape[2:]
    ):
        kind = (
            f"{made.dtype} of shape {tuple(made.shape)}"
            if hasattr(made, "dtype")
            else type(made).__name__
        )
        raise ConfigError(
            f"{name} makes {kind} and no picture (uint8, 3 channels): leave it to the training code"
        )
