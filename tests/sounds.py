"""A modality of its own, as a stranger's plugin would bring it.

Sound from WAV files, by the standard library.

    bytes ──Wav──▶ Sound ──Spectrum──▶ vectors ──SameSound──▶ groups of copies, a claim for each
        later one
                     └──Wave──▶ the line of its loudness, for pages
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqpipe.data.nearest import Index
from dqpipe.data.tables import Facts, Samples, claim
from dqpipe.errors import MediaError
from dqpipe.plugin.hooks import hookimpl
from dqpipe.plugin.stage import (
    Claim,
    Decoder,
    Embedder,
    Extension,
    Fact,
    Pixels,
    Preview,
    Stage,
    View,
    extension,
    option,
)

RATE, SECONDS, BANDS, WINDOW = 8000, 0.5, 32, 512
CLASSES = {"hum": (150, 400), "whistle": (1500, 2500)}
"""Hertz that the tones of a class lie between."""


@dataclass(frozen=True)
class SoundHeader:
    """What a WAV file says of itself."""

    rate: int
    frames: int
    missing: float = 0.0


@dataclass(frozen=True, eq=False)
class Sound:
    """A decoded sound: float32 [frames], -1 to 1, its channels' mean."""

    header: SoundHeader
    samples: np.ndarray
    reduction: int = 1


@extension
class Wav(Decoder):
    """Reads WAV files of 16 bits."""

    name = "wav"
    modality = "audio"

    def suits(self, head: bytes) -> bool:
        return head[:4] == b"RIFF" and head[8:12] == b"WAVE"

    def decode(self, data: bytes, rendition: str) -> Any:
        try:
            with wave.open(io.BytesIO(data)) as file:
                rate, channels, wanted = file.getframerate(), file.getnchannels(), file.getnframes()
                values = np.frombuffer(file.readframes(wanted), "<i2").reshape(-1, channels)
        except (wave.Error, EOFError, ValueError) as error:
            raise MediaError(f"it is no WAV file: {error}") from None
        header = SoundHeader(rate, len(values), 1 - len(values) / max(wanted, 1))
        return (
            header
            if rendition == "header"
            else Sound(header, (values.mean(axis=1) / 32768).astype(np.float32))
        )


@extension
class Spectrum(Embedder):
    """The mean power of a sound in bands of frequency, in decibels around their mean."""

    name = "spectrum"

    def embed(
        self, pictures: Sequence[Sound], artifact: Mapping[str, np.ndarray] | None
    ) -> np.ndarray:
        return np.stack([self._bands(sound.samples) for sound in pictures])

    def _bands(self, samples: np.ndarray) -> np.ndarray:
        frames = np.resize(samples, (max(len(samples) // WINDOW, 1), WINDOW)) * np.hanning(WINDOW)
        power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)[1:]
        bands = np.log(np.array([part.mean() for part in np.array_split(power, BANDS)]) + 1e-9)
        return (bands - bands.mean()).astype(np.float32)


@extension
class SameSound(Stage):
    """Sounds whose vectors are nearly the same: the later one, by id, is a copy."""

    name = "same_sound"
    needs = ("embeddings.vector",)
    gives = (
        Fact("group", "string", "the id of the first sound of its group", "relate"),
        Fact("distance", "float64", "cosine distance to the nearest other sound", "relate"),
        Claim("copy", "warning", "Another sound is nearly the same."),
    )
    within: float = option(
        1e-4, "cosine distance below which two sounds are the same", at="relate", gt=0
    )

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> dict[str, Any]:
        rows = np.arange(len(samples))
        found = Index(facts["embeddings.vector"], rows).nearest(facts["embeddings.vector"], 1, rows)
        distance, nearest = found.distances[:, 0].astype(np.float64), found.positions[:, 0]
        first = np.where(distance < self.within, np.minimum(rows, nearest), rows)
        return {"group": samples.ids[first], "distance": distance}

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        rows = np.flatnonzero(facts["group"] != samples.ids)
        return [
            claim(
                "copy",
                samples.ids[rows],
                value=facts["distance"][rows],
                threshold=self.within,
                match=facts["group"][rows],
                confidence=0.95,
            )
        ]


@extension
class Wave(View):
    """The line of a sound's loudness."""

    name = "wave"
    shows = (Sound,)

    def preview(self, item: Sound, side: int, quality: int, *, enlarge: bool = True) -> Preview:
        loud = np.array(
            [np.abs(part).max(initial=0) for part in np.array_split(item.samples, side)]
        )
        line = " ".join(f"{x},{round(side / 2 * (1 - value))}" for x, value in enumerate(loud))
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" '
            f'height="{side // 2}"><polyline points="{line}" fill="none" stroke="black"/></svg>'
        )
        return Preview(text.encode(), "image/svg+xml")


@hookimpl
def dqpipe_register() -> Iterable[type[Extension]]:
    """What the plugin brings."""
    return [Wav, Spectrum, SameSound, Wave]


def recorded(path: Path, hertz: float, seed: int, loud: float = 0.5) -> None:
    """Write a tone with some noise as a WAV file."""
    rng, time = np.random.default_rng(seed), np.arange(int(RATE * SECONDS)) / RATE
    heard = loud * (np.sin(2 * np.pi * hertz * time) + 0.1 * rng.normal(size=len(time)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((heard.clip(-1, 1) * 32767).astype("<i2").tobytes())
