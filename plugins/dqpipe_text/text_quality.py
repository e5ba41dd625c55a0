"""Texts that are empty, broken, repetitive, left-over markup, cut, or in another language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    many,
    option,
)
from dqpipe_text.columns import Columns, lacking, text_columns, texts_of
from dqpipe_text.counts import COUNTS, counts
from dqpipe_text.reading import PACKAGES, has, language, mojibake, versions

if TYPE_CHECKING:
    import pandas as pd

REPEATED = {
    "repeated_lines": 0.30,
    "repeated_line_characters": 0.20,
    "top_2gram": 0.20,
    "top_3gram": 0.18,
    "top_4gram": 0.16,
    "repeated_5gram": 0.15,
    "repeated_6gram": 0.14,
    "repeated_7gram": 0.13,
    "repeated_8gram": 0.12,
    "repeated_9gram": 0.11,
    "repeated_10gram": 0.10,
}
"""Gopher's limits (Rae et al. 2021, table A1)."""
REPEATED_WORDS = {
    "repeated_lines": "lines that repeat an earlier one",
    "repeated_line_characters": "characters in lines that repeat an earlier one",
}
LETTERED, MARKS = 0.8, 0.1
"""Gopher: words with a letter, at least, and # and … for each word, at most."""
CAP = 5
"""Texts of exactly the greatest length from which it is taken for a limit of the source."""
IN_FEWER = 0.05
"""Share of the set up to which what is found in texts is an exception: a warning, not an info."""
SPREAD = 0.25
"""Least spread of the logarithm of lengths: what is closer to the median is usual."""


@dataclass(frozen=True)
class Hits:
    """Rows with one fault: what was measured, the limit, and what is said of each."""

    code: str
    rows: np.ndarray
    value: np.ndarray
    threshold: float
    detail: list[str]
    confidence: float | None = None


@extension
class TextQuality(Stage):
    """Measure size, characters, repetition, encoding and language of each text, and flag what is
    faulty or unusual for the set.
    """

    name = "text_quality"
    version = 1
    default = True
    gives = (
        *(Fact(name, kind, what) for name, (kind, what) in COUNTS.items()),
        Fact(
            "mojibake",
            "float32",
            "places where one encoding was read as another, by ftfy; null where it is missing",
            nullable=True,
        ),
        Fact("language", "string", "ISO 639-1 code, by py3langid", nullable=True),
        Fact("language_sure", "float32", "the model's probability of it", nullable=True),
        Claim("empty", "warning", "Nothing in it can be seen."),
        Claim("broken_encoding", "warning", "Characters were read in the wrong encoding, or lost."),
        Claim("control", "warning", "It holds control characters or ones that are none."),
        Claim("invisible", "info", "It holds characters that nobody sees."),
        Claim("markup", "warning", "Tags or entities of HTML were left in it."),
        Claim("boilerplate", "warning", "It holds phrases of pages or machines."),
        Claim("repetitive", "warning", "It says the same again and again."),
        Claim("symbols", "warning", "Most of it is neither words nor numbers."),
        Claim("truncated", "warning", "It ends within a sentence, where the set's texts do not."),
        Claim("language", "warning", "It is in another language than nearly all of the set."),
        Claim("length", "info", "It is far shorter or longer than the set's texts."),
        Claim("upper_case", "info", "It is all upper case, where the set's texts are not."),
        Claim("unjudged", "info", "What could not be looked at."),
        Figure("empty", "share of texts in which nothing can be seen"),
        Figure("words", "median number of words"),
        Figure("language", "share of the most frequent language"),
    )

    columns: Columns = option(
        ("text",), "the columns that hold the text; several are read as one", at="measure"
    )
    repeated_from: int = option(
        50, "words from which repetition is claimed; shorter texts by chance repeat more", ge=1
    )
    symbols: float = option(
        0.5, "claim above this share of what is neither letter nor digit", gt=0, le=1
    )
    language_sure: float = option(
        0.9, "probability of another language from which it is claimed", gt=0, le=1
    )
    language_from: int = option(5, "words from which a language is claimed", ge=1)
    one_language: float = option(
        0.8, "share of the set in one language from which others are claimed", gt=0.5, le=1
    )
    unusual: float = option(
        6.0, "robust deviations of the logarithm of its length from which it is unusual", gt=0
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the text."""
        return self.columns

    def artifacts(self) -> Mapping[str, str]:
        """The versions of the optional libraries that measure, or that they are missing."""
        return versions()

    @classmethod
    def proposal(cls, samples: Samples) -> Mapping[str, Any] | None:
        """The columns that hold texts."""
        found = text_columns(samples)
        return {"columns": found} if found else None

    def objection(self, samples: Samples) -> str | None:
        """Columns that cannot be read as texts."""
        return lacking(samples, self.columns)

    def measure(self, shard: Shard) -> Mapping[str, Any]:
        """The counts of each text, its broken encodings and its language."""
        texts = texts_of(shard.samples, self.columns)
        rows = [counts(text) for text in texts]
        found: dict[str, Any] = {name: [row[name] for row in rows] for name in COUNTS}
        found["mojibake"] = [mojibake(text) for text in texts]
        found["language"], found["language_sure"] = zip(*map(language, texts), strict=True)
        return found

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Every fault at its threshold; what many texts have is a trait of the set: an info."""
        claims = []
        for hits in self._hits(facts):
            rare = len(hits.rows) <= max(IN_FEWER * len(samples), 1)
            usual = {gift.code: gift.severity for gift in self.gives if isinstance(gift, Claim)}
            of_all = hits.confidence == 1
            claims.append(
                claim(
                    hits.code,
                    samples.ids[hits.rows],
                    severity=usual[hits.code] if rare or of_all else "info",
                    value=hits.value[hits.rows].astype(float),
                    threshold=hits.threshold,
                    confidence=hits.confidence,
                    detail=hits.detail,
                )
            )
        missing = [name for name in PACKAGES if not has(name)]
        return [
            *claims,
            claim(
                "unjudged",
                [None] * len(missing),
                detail=[
                    f"{PACKAGES[name]} were not looked at: pip install 'dqpipe[text]' brings {name}"
                    for name in missing
                ],
            ),
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """How many are empty, how long they are, and whether they are in one language."""
        if not len(samples):
            return []
        known = Counter(name for name in facts["language"] if name)
        return [
            figure("empty", float((facts["visible"] == 0).mean())),
            figure("words", float(np.median(facts["words"]))),
            *([figure("language", known.most_common(1)[0][1] / known.total())] if known else []),
        ]

    def _hits(self, facts: Facts) -> Iterator[Hits]:
        empty = facts["visible"] == 0
        yield _counted("empty", empty, facts["visible"], 0, "{} visible characters", 1.0)
        broken = np.nan_to_num(facts["mojibake"].astype(float)) + facts["replaced"]
        yield _counted("broken_encoding", broken > 0, broken, 0, "{} places of a broken encoding")
        for code, words, sure in (
            ("control", "{} control characters or ones that are none", 1.0),
            ("invisible", "{} characters that nobody sees", 1.0),
            ("markup", "{} tags or entities of HTML", None),
            ("boilerplate", "{} phrases of pages or machines", None),
        ):
            yield _counted(code, (facts[code] > 0) & ~empty, facts[code], 0, words, sure)
        yield from self._repeated(facts)
        yield self._symbols(facts)
        yield from _truncated(facts)
        yield from self._foreign(facts)
        yield self._lengths(facts)
        yield _shouted(facts)

    def _repeated(self, facts: Facts) -> Iterator[Hits]:
        """The rule that is broken most, of each text; runs of one character whatever its length."""
        names = list(REPEATED)
        over = np.stack([facts[name] / limit for name, limit in REPEATED.items()])
        worst = over.argmax(axis=0)
        run = facts["run"] / np.maximum(facts["visible"], 1)
        runs = (run >= 0.5) & (facts["visible"] > 0)  # noqa: PLR2004 (half of the text)
        yield _counted(
            "repetitive",
            runs,
            run,
            0.5,
            "{} of it is one character, or a few, again and again",
        )
        long = (facts["words"] >= self.repeated_from) & ~runs
        for number, (name, limit) in enumerate(REPEATED.items()):
            rows = np.flatnonzero(long & (worst == number) & (over[number] > 1))
            n = name.removeprefix("top_").removeprefix("repeated_").removesuffix("gram")
            what = REPEATED_WORDS.get(
                name,
                f"characters in the most frequent {n} words in a row"
                if name.startswith("top")
                else f"characters in {n} words in a row that stand twice",
            )
            detail = [f"{facts[names[number]][row]:.0%} of its {what}" for row in rows]
            yield Hits("repetitive", rows, facts[name], limit, detail)

    def _symbols(self, facts: Facts) -> Hits:
        """What is neither letter nor digit, of texts of some length."""
        share = facts["symbols"]
        hit = (share > self.symbols) & (facts["visible"] >= 20)  # noqa: PLR2004 (fewer tell nothing)
        return _counted(
            "symbols", hit, share, self.symbols, "{} of it is neither words nor numbers"
        )

    def _foreign(self, facts: Facts) -> Iterator[Hits]:
        """Texts of another language than nearly all; none where the set has several."""
        name = facts["language"]
        sure = np.nan_to_num(facts["language_sure"].astype(float))
        told = (sure >= self.language_sure) & (facts["words"] >= self.language_from)
        known = Counter(name[told].tolist())
        if not known:
            return
        usual, times = known.most_common(1)[0]
        if times < self.one_language * known.total():
            return
        rows = np.flatnonzero(told & (name != usual))
        detail = [f"{name[row]}, where {times / known.total():.1%} are {usual}" for row in rows]
        yield Hits("language", rows, sure, self.language_sure, detail)

    def _lengths(self, facts: Facts) -> Hits:
        """Lengths whose logarithm is far from the median, by the middle half's spread."""
        length = np.log(np.maximum(facts["visible"], 1).astype(float))
        seen = facts["visible"] > 0
        low, middle, high = (
            np.percentile(length[seen], [25, 50, 75]) if seen.any() else (0.0, 0.0, 0.0)
        )
        away = np.abs(length - middle) / max((high - low) / 1.349, SPREAD)
        rows = np.flatnonzero(seen & (away > self.unusual))
        detail = [
            f"{many(int(facts['visible'][row]), 'character')}, where half have between "
            f"{np.exp(low):,.0f} and {np.exp(high):,.0f}"
            for row in rows
        ]
        return Hits("length", rows, away, self.unusual, detail)


def _counted(
    code: str,
    hit: np.ndarray,
    value: np.ndarray,
    threshold: float,
    words: str,
    confidence: float | None = None,
) -> Hits:
    rows = np.flatnonzero(hit)
    shown = "{:.0%}" if np.issubdtype(value.dtype, np.floating) and threshold else "{:,.0f}"
    detail = [words.format(shown.format(value[row])) for row in rows]
    return Hits(code, rows, value, threshold, detail, confidence)


def _truncated(facts: Facts) -> Iterator[Hits]:
    """Texts of the greatest length, where several have it and end within a sentence; and long ones
    that end so where hardly any of the set's do.
    """
    length, ended = facts["characters"], facts["ended"].astype(bool)
    top = int(length.max(initial=0))
    at_top = (length == top) & (facts["words"] > 1)
    capped = at_top & ~ended
    if at_top.sum() < CAP or capped.sum() < at_top.sum() / 2:
        capped = np.zeros(len(length), dtype=bool)
    rows = np.flatnonzero(capped)
    detail = [f"{int(at_top.sum()):,} texts end at exactly {top:,} characters"] * len(rows)
    yield Hits("truncated", rows, length, top, detail)
    long = (facts["words"] >= 50) & (facts["ended_lines"] > 0)  # noqa: PLR2004 (prose, with ends)
    share = float(ended[long].mean()) if long.any() else 0.0
    rows = np.flatnonzero(long & ~ended & ~capped) if share >= 1 - IN_FEWER else rows[:0]
    detail = [f"it ends within a sentence, where {share:.1%} of the long texts do not"] * len(rows)
    yield Hits("truncated", rows, length, 50, detail)


def _shouted(facts: Facts) -> Hits:
    upper = facts["upper"]
    hit = (upper > 0.9) & (facts["words"] >= 5) & (facts["letters"] > 0.5)  # noqa: PLR2004
    usual = hit.sum() > IN_FEWER * len(hit)
    return _counted("upper_case", hit & (not usual), upper, 0.9, "{} of its letters are upper case")
