"""What can be seen of each picture by itself: size, light, contrast, sharpness, colour.

And which of it is a fault.

    picture ──statistics──▶ facts ──beyond a fixed limit, and unusual among its peers──▶ claims

A claim needs both: a value beyond the limit of an option, and one that is unusual in its class (in
the whole set where the class is small or there are no labels). Night scenes, X-rays and scanned
digits are what they are; one dark picture among bright ones is a fault. One cause makes one claim:
what is uniform is neither dark nor blurred, and what is dark, light or blurred has little contrast
for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Samples,
    Shard,
    Stage,
    claim,
    extension,
    figure,
    labels,
    option,
)
from dqpipe_images.class_baseline import Peers
from dqpipe_images.picture_statistics import PERCENTILES, statistics

if TYPE_CHECKING:
    import pandas as pd

# of the range 0 to 1: what is closer than this to the median is usual, however small both are
LEAST_STEP = 0.05
VERY_FAR = 6.0  # blur and noise: robust standard deviations, in octaves
LEAST_SOFTER, LEAST_NOISE = (
    0.04,
    0.014,
)  # how much less sharpness is told at least, and how much noise
TINY = 1e-6
LIT, INKED, SPAN = (
    0.7,
    0.5,
    0.6,
)  # a thousandth of the pixels lighter, or darker, than this; or as far from each other
VIVID, DEEP = (
    0.5,
    0.4,
    # a twentieth of the pixels has a channel as light, or as dark: of a colour that is dark or
    # light by itself
)
# of the pixels have one grey level: a thousandth of the others tells how far they are from it
DRAWN = 0.5
FAR, LEAST_OCTAVES = (
    3.0,
    0.1,
)  # sizes and shapes: robust standard deviations that are far, and the smallest, in octaves
# The odds that a claim is right are (limit / value) to this power. On CIFAR-10 and tiles of
# photographs of which a seventh was
# blurred, darkened, washed out or emptied, a logistic fit of log(limit / value) gave 17, 12, 4, 5
# and 40: understated here.
STEEPNESS = {"blurry": 8.0, "dark": 6.0, "light": 4.0, "low_contrast": 4.0, "low_information": 8.0}
CAUSES: dict[str, tuple[str, ...]] = {  # what explains a claim, and is claimed instead of it
    "low_information": (),
    "blurry": ("low_information",),
    "dark": ("low_information",),
    "light": ("low_information",),
    "low_contrast": ("low_information", "blurry", "dark", "light"),
}

FACTS = (
    Fact("width", "int64", "width, EXIF orientation applied, pixels"),
    Fact("height", "int64", "height, EXIF orientation applied, pixels"),
    Fact("aspect", "float64", "longer side by shorter side"),
    Fact("bytes", "int64", "size of the file, bytes"),
    Fact("format", "string", "format of the file, by its first bytes"),
    Fact(
        "mode",
        "string",
        "how the file stores a pixel: L grey, RGB, RGBA, P palette, CMYK, I;16 16-bit grey …",
    ),
    Fact(
        "quality",
        "float64",
        "quality that a JPEG was saved at, 1 to 100; empty for other formats",
        nullable=True,
    ),
    Fact("frames", "int64", "frames of an animation, or pages; only the first is looked at"),
    Fact("brightness", "float64", "mean grey, 0 black to 1 white"),
    *(
        Fact(
            f"brightness_p{p:g}".replace(".", "_"),
            "float64",
            f"{p:g} % of the pixels are this dark or darker, 0 black to 1 white",
        )
        for p in PERCENTILES
    ),
    Fact(
        "contrast",
        "float64",
        (
            "brightness_p99 − brightness_p1, or the same of a channel, or of red − green or blue "  # noqa: RUF001
            "− green, where that is more, 0 to 1"  # noqa: RUF001
        ),
    ),
    Fact("entropy", "float64", "Shannon entropy of the grey levels, 0 to 8 bits"),
    Fact(
        "modal_share",
        "float64",
        "share of the pixels that have the most frequent grey level, 0 to 1",
    ),
    Fact(
        "structure",
        "float64",
        (
            "standard deviation of the means of 8 by 8 cells, or of a texture in them, 0 to 0.5; "
            "about 0 if there is only noise"
        ),
    ),
    Fact(
        "sharpness",
        "float64",
        (
            "share of the gradient's energy that a small blur takes away in sharp parts, 0 to 1; "
            "empty if even or waves"
        ),
        nullable=True,
    ),
    Fact("noise", "float64", "standard deviation of the noise, 0 to 1"),
    Fact(
        "border",
        "float64",
        (
            "share of the picture that is a plain frame around it, 0 to 1: left out of all "
            "numbers of light, sharpness and colour"
        ),
    ),
    Fact("saturation", "float64", "chroma by brightness, 0 grey to 1 pure colour"),
    Fact("lightest_p95", "float64", "95 % of the pixels have no channel that is lighter, 0 to 1"),
    Fact(
        "darkest_p5",
        "float64",
        "5 % of the pixels have a channel that is as dark or darker, 0 to 1",
    ),
)
CLAIMS = (
    Claim(
        "low_information",
        "warning",
        "there is nothing to see: one colour, at most with some noise",
        title="Nothing to see",
    ),
    Claim(
        "dark", "warning", "too dark, and darker than is usual for its class", title="Dark pictures"
    ),
    Claim(
        "light",
        "warning",
        "too light, and lighter than is usual for its class",
        title="Overexposed pictures",
    ),
    Claim(
        "low_contrast",
        "warning",
        "washed out: much less contrast than is usual for its class",
        title="Low contrast",
    ),
    Claim(
        "blurry",
        "warning",
        "blurred: much less fine detail than is usual for its class",
        title="Blurred pictures",
    ),
    Claim("noisy", "info", "noisy: much more than is usual for its class", title="Noisy pictures"),
    Claim(
        "compressed",
        "info",
        "saved as JPEG of low quality, much lower than is usual for its class",
        title="Strong compression",
    ),
    Claim("too_small", "warning", "too few pixels to show anything", title="Tiny pictures"),
    Claim(
        "greyscale",
        "info",
        "grey, where nearly all of its class are in colour",
        title="Grey among colour",
    ),
    Claim(
        "odd_size",
        "info",
        "much larger or smaller than is usual for its class",
        title="Unusual size",
    ),
    Claim(
        "odd_aspect",
        "info",
        "much longer than wide, and more so than is usual for its class",
        title="Unusual shape",
    ),
    Claim(
        "animated",
        "info",
        "several frames or pages, of which only the first is used",
        title="Several frames in a file",
    ),
)
CLASS_FIGURES = ("brightness", "contrast", "sharpness")
SET_FIGURES = ("width", "height", "aspect", *CLASS_FIGURES, "saturation", "entropy")
FIGURES = tuple(
    Figure(name, f"median of {name}; nine tenths of the pictures lie in the interval")
    for name in SET_FIGURES
)


@extension
class ImageQuality(Stage):
    """Measure size, light, contrast, sharpness and colour of each picture, and flag what is faulty
    or unusual for its class.
    """

    name = "image_quality"
    version = 4
    libraries = ("opencv-python-headless", "numpy")
    rendition = "picture"
    default = True
    needs = ("label?",)
    gives = (*FACTS, *CLAIMS, *FIGURES)

    low_information: float = option(
        0.0025,
        "claim below this structure, 0 to 0.5 (0.0025 is 0.6 of 255 grey levels)",
        ge=0,
        le=0.5,
    )
    dark: float = option(
        0.3, "claim if 95 % of the pixels are darker than this, 0 black to 1 white", ge=0, le=1
    )
    light: float = option(
        0.75, "claim if 95 % of the pixels are lighter than this, 0 black to 1 white", ge=0, le=1
    )
    low_contrast: float = option(0.28, "claim below this contrast, 0 to 1", ge=0, le=1)
    blurry: float = option(
        0.145, "claim below this sharpness, 0 to 1, where it is unusual", ge=0, le=1
    )
    blurry_alone: float = option(
        0.1,
        "claim below this sharpness, 0 to 1, where there are too few pictures to compare with",
        ge=0,
        le=1,
    )
    noisy: float = option(
        0.1,
        (
            "claim above this noise, 0 to 1 (0.1 is 25 of 255 grey levels), or less where that is "
            "unusual"
        ),
        ge=0,
        le=1,
    )
    compressed: int = option(
        30, "claim a JPEG saved below this quality, 1 to 100, where it is unusual", ge=0, le=100
    )
    unusual: float = option(
        0.5,
        (
            "a value is unusual below this share of the median of its class, 0 to 1 (of light: "
            "missing to white)"
        ),
        gt=0,
        le=1,
    )
    common: float = option(
        0.25,
        (
            "what more than this share of a class has, 0 to 1, is usual there: told of the class, "
            "not of its pictures"
        ),
        ge=0,
        le=1,
    )
    least: int = option(
        10,
        (
            "compare a picture with its class if it has so many pictures, else with the set if it "
            "has so many"
        ),
        ge=2,
    )
    too_small: int = option(8, "claim below this shorter side, pixels", ge=0)
    greyscale: float = option(
        0.9,
        "claim a grey picture where at least this share of its class, 0 to 1, is in colour",
        ge=0,
        le=1,
    )
    grey: float = option(0.01, "saturation, 0 to 1, up to which a picture is grey", ge=0, le=1)
    odd_size: float = option(
        2.0, "claim from this many times the usual side, or from one such part of it", gt=1
    )
    odd_aspect: float = option(2.5, "claim from this longer by shorter side", ge=1)

    def measure(self, shard: Shard) -> dict[str, Any]:
        """The facts of each picture, from the picture alone."""
        heads = [picture.header for picture in shard.pictures]
        return {
            **{
                name: [getattr(head, name) for head in heads]
                for name in ("width", "height", "format", "mode", "quality", "frames")
            },
            "aspect": [
                max(head.width, head.height) / min(head.width, head.height) for head in heads
            ],
            "bytes": [head.size for head in heads],
            **statistics(shard.pictures),
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Faults of light and sharpness, one for each cause, and what else is odd."""
        known = labels.classes(samples)
        peers = Peers(known.codes, facts["structure"] >= self.low_information, self.least)
        return [
            *self._faults(samples.ids, facts, peers, known.names),
            *self._oddities(samples.ids, facts, peers),
        ]

    def _faults(
        self, ids: np.ndarray, facts: Facts, peers: Peers, names: Sequence[str]
    ) -> Iterator[pd.DataFrame]:
        hits: dict[str, np.ndarray] = {}
        for code, values, limits, detail in self._tests(facts, peers):
            explained = np.any(
                [np.zeros(len(ids), dtype=bool), *(hits[cause] for cause in CAUSES[code])], axis=0
            )
            hit = (values < limits) & ~explained  # NaN is never below
            if code != "low_information":
                share = peers.among(hit.astype(np.float64), lambda known: (float(known.mean()),))[
                    :, 0
                ]
                usual = hit & (share > self.common)
                yield _about_classes(code, share, usual, peers.labels, names)
                hit &= ~usual
            hits[code] = hit
            from_white = (
                code == "light"
            )  # tested by what is missing to white, told by what is there
            shown, thresholds = (
                (1 - values[hit], 1 - limits[hit]) if from_white else (values[hit], limits[hit])
            )
            sure = 1 / (1 + (np.maximum(values[hit], 1e-9) / limits[hit]) ** STEEPNESS[code])
            details = [
                detail.format(value=value, limit=limit)
                for value, limit in zip(shown, thresholds, strict=True)
            ]
            yield claim(
                code, ids[hit], value=shown, threshold=thresholds, confidence=sure, detail=details
            )

    def _tests(
        self, facts: Facts, peers: Peers
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        """Code, values [n], the limits [n] below which they are a fault, and what to say."""

        def limits(values: np.ndarray, fixed: float) -> np.ndarray:
            usual = peers.usual(values)[0]
            return np.where(
                np.isnan(usual),
                fixed,
                np.minimum(fixed, np.minimum(self.unusual * usual, usual - LEAST_STEP)),
            )

        # Lamps in the night and ink on a page are as bright and as dark as things are: nothing is
        # wrong with the exposure.
        lit = (facts["brightness_p99_9"] > LIT) | (facts["lightest_p95"] > VIVID)
        inked = (facts["brightness_p0_1"] < INKED) | (facts["darkest_p5"] < DEEP)
        span = facts["brightness_p99_9"] - facts["brightness_p0_1"]
        spans = span > np.where(facts["modal_share"] > DRAWN, self.low_contrast, SPAN)
        empty, bright, missing = (
            facts["structure"],
            facts["brightness_p95"],
            1 - facts["brightness_p5"],
        )
        contrast, sharp = facts["contrast"], facts["sharpness"]
        yield (
            "low_information",
            empty,
            np.full(len(empty), self.low_information),
            "nothing to see: its parts differ by {value:.2%} of the range",
        )
        yield (
            "blurry",
            sharp,
            self._blurry(sharp, peers),
            "its sharpness is {value:.2f} of 1 (limit {limit:.2f})",
        )
        for code, values, fixed, sound, detail in (
            (
                "dark",
                bright,
                self.dark,
                lit,
                "95 % of its pixels are darker than {value:.2f} (limit {limit:.2f})",
            ),
            (
                "light",
                missing,
                1 - self.light,
                inked,
                "95 % of its pixels are lighter than {value:.2f} (limit {limit:.2f})",
            ),
            (
                "low_contrast",
                contrast,
                self.low_contrast,
                spans,
                "its contrast is {value:.2f} of 1 (limit {limit:.2f})",
            ),
        ):
            yield code, np.where(sound, np.nan, values), limits(values, fixed), detail

    def _blurry(self, sharp: np.ndarray, peers: Peers) -> np.ndarray:
        """The sharpness [n] below which a picture is blurred.

        Half the usual one, or more of it where the others differ little.
        """
        octaves, spread = peers.usual(np.log2(np.maximum(sharp, TINY)), LEAST_OCTAVES)
        usual = 2**octaves
        unusual = np.minimum(
            usual * np.maximum(self.unusual, 2 ** (-VERY_FAR * spread)), usual - LEAST_SOFTER
        )
        return np.where(np.isnan(usual), self.blurry_alone, np.minimum(self.blurry, unusual))

    def _noisy(self, noise: np.ndarray, peers: Peers) -> np.ndarray:
        """The noise [n] above which a picture is noisy.

        Twice the usual one at least, less than the fixed limit where the others differ little.
        """
        octaves, spread = peers.usual(np.log2(np.maximum(noise, LEAST_NOISE / 4)), LEAST_OCTAVES)
        unusual = np.clip(2 ** (octaves + VERY_FAR * spread), LEAST_NOISE, self.noisy)
        return np.where(
            np.isnan(octaves), self.noisy, np.maximum(2**octaves / self.unusual, unusual)
        )

    def _oddities(self, ids: np.ndarray, facts: Facts, peers: Peers) -> Iterator[pd.DataFrame]:
        width, height = facts["width"].astype(np.float64), facts["height"].astype(np.float64)
        shorter = np.minimum(width, height)
        hit = shorter < self.too_small
        details = [
            f"{w:.0f} by {h:.0f} pixels" for w, h in zip(width[hit], height[hit], strict=True)
        ]
        yield claim(
            "too_small",
            ids[hit],
            value=shorter[hit],
            threshold=float(self.too_small),
            detail=details,
        )

        coloured = facts["saturation"] > self.grey
        share = peers.among(coloured.astype(np.float64), lambda known: (float(known.mean()),))[:, 0]
        hit = ~coloured & peers.counted & (share >= self.greyscale)
        details = [f"grey, where {of:.0%} are in colour" for of in share[hit]]
        yield claim(
            "greyscale",
            ids[hit],
            value=facts["saturation"][hit],
            threshold=self.grey,
            detail=details,
        )

        side = np.log2(width * height) / 2
        usual, spread = peers.usual(side, LEAST_OCTAVES)
        away = np.abs(side - usual)
        hit = (away >= np.log2(self.odd_size)) & (away > FAR * spread)
        times = 2 ** (side - usual)[hit]
        details = [f"its side is {of:.2g} times the usual one" for of in times]
        yield claim("odd_size", ids[hit], value=times, threshold=self.odd_size, detail=details)

        aspect = facts["aspect"]
        usual, spread = peers.usual(np.log2(aspect), LEAST_OCTAVES)
        hit = (aspect >= self.odd_aspect) & ~(
            np.log2(aspect) <= usual + FAR * spread
        )  # odd too if there are no peers
        details = [f"{of:.2g} times as long as wide" for of in aspect[hit]]
        yield claim(
            "odd_aspect", ids[hit], value=aspect[hit], threshold=self.odd_aspect, detail=details
        )

        noise, limit = facts["noise"], self._noisy(facts["noise"], peers)
        hit = (noise > limit) & peers.counted
        details = [
            f"noise of {of:.1%} of the range (limit {most:.1%})"
            for of, most in zip(noise[hit], limit[hit], strict=True)
        ]
        yield claim("noisy", ids[hit], value=noise[hit], threshold=limit[hit], detail=details)

        quality = facts["quality"].astype(np.float64)
        usual = peers.usual(quality)[0]
        limit = np.where(
            np.isnan(usual), self.compressed, np.minimum(self.compressed, self.unusual * usual)
        )
        hit = quality < limit
        details = [
            f"saved as JPEG of quality {of:.0f} (limit {least:.0f})"
            for of, least in zip(quality[hit], limit[hit], strict=True)
        ]
        yield claim(
            "compressed", ids[hit], value=quality[hit], threshold=limit[hit], detail=details
        )

        hit = facts["frames"] > 1
        details = [f"{of} frames or pages" for of in facts["frames"][hit]]
        yield claim(
            "animated",
            ids[hit],
            value=facts["frames"][hit].astype(np.float64),
            threshold=1.0,
            detail=details,
        )

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Medians with the interval that holds nine tenths, of the set and of each class."""
        everything = np.ones(len(facts), dtype=bool)
        found = [_median(name, facts[name][everything]) for name in SET_FIGURES]
        known = labels.classes(samples)
        for at, key in enumerate(known.names):
            found += [
                _median(name, facts[name][known.codes == at], scope="class", key=key)
                for name in CLASS_FIGURES
            ]
        return [row for row in found if row is not None]


def _about_classes(
    code: str, share: np.ndarray, usual: np.ndarray, classes: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """Claims about the dataset: a fault that so many of a class have that it is none of its
    pictures.
    """
    found = {
        int(number): float(share[usual & (classes == number)][0])
        for number in np.unique(classes[usual])
    }
    details = [
        (
            f"{of:.0%} of {'the class ' + names[n] if n >= 0 else 'the set'} would be {code}: "
            f"taken for usual there"
        )
        for n, of in found.items()
    ]
    return claim(
        code, [None] * len(found), severity="info", value=list(found.values()), detail=details
    )


def _median(name: str, values: np.ndarray, **where: Any) -> dict[str, Any] | None:  # noqa: ANN401 (scope and key)
    known = values[~np.isnan(values.astype(np.float64))]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return figure(name, float(middle), low=float(low), high=float(high), **where)
