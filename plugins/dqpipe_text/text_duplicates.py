"""Texts that stand in a dataset more than once, word for word or nearly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dqpipe_images import label_conflicts, leaks, of_others, split_rank

from dqpipe import (
    Claim,
    Fact,
    Facts,
    Figure,
    Pixels,
    Samples,
    Stage,
    claim,
    extension,
    figure,
    option,
)
from dqpipe_text.clusters import held, led
from dqpipe_text.columns import Columns, lacking, text_columns, texts_of
from dqpipe_text.shingles import masked, plain, shingles

if TYPE_CHECKING:
    import pandas as pd


@extension
class TextDuplicates(Stage):
    """Exact, normalised and near duplicates among texts, in clusters with one keeper; texts within
    others, templates, labels that disagree, and leaks between splits.
    """

    name = "text_duplicates"
    version = 1
    default = True
    proposed_as = "duplicates"
    gives = (
        Fact(
            "cluster",
            "string",
            "the smallest id of the texts that say the same; null if there is one only",
            "relate",
            nullable=True,
        ),
        Fact("keeper", "bool", "whether the text is the best of its cluster, or alone", "relate"),
        Fact("match", "string", "the keeper that it is a copy of", "relate", nullable=True),
        Fact(
            "kind",
            "string",
            "exact; normalised: equal but for case, punctuation, spaces, Unicode forms; or near",
            "relate",
            nullable=True,
        ),
        Fact(
            "score",
            "float32",
            "share of all their words in a row (`shingle` of them) that both texts have",
            "relate",
            nullable=True,
        ),
        Fact("words", "int64", "words in plain form", "relate"),
        Fact("numbers", "bool", "whether it differs from its match by numbers alone", "relate"),
        Fact("within", "string", "a longer text that holds it whole", "relate", nullable=True),
        Fact("template", "int64", "texts that are equal but for their numbers", "relate"),
        Fact(
            "group",
            "string",
            "the cluster, or the own id: what must stay together in one fold",
            "relate",
        ),
        Claim("exact", "warning", "The same text as another sample's."),
        Claim(
            "normalised",
            "warning",
            "The same words as another sample's, but for case, punctuation or Unicode forms.",
        ),
        Claim("near", "warning", "Nearly the same words as another sample's."),
        Claim("contained", "info", "It stands whole within a longer text."),
        Claim("template", "info", "Other texts are equal to it but for their numbers."),
        Claim("label_conflict", "warning", "Says the same as a sample with another label."),
        Claim("leak", "error", "Says the same as a sample of another split."),
        Figure("exact", "share of samples that are exact copies of a kept one"),
        Figure("near", "share of samples that are normalised or near copies of a kept one"),
        Figure("clusters", "number of texts that stand more than once"),
        Figure("redundancy", "share of samples that say nothing new"),
    )

    columns: Columns = option(
        ("text",), "the columns that hold the text; several are read as one", at="relate"
    )
    shingle: int = option(
        2, "words in a row that are compared as one: 2 is each word and the next", at="relate", ge=1
    )
    limit: float = option(
        0.6,
        "score from which two texts are put into one cluster, and into one fold",
        at="relate",
        ge=0.3,
        le=1,
    )
    threshold: float = option(
        0.8, "score from which two texts are claimed to be near duplicates, at least `limit`", ge=0
    )
    contained_from: int = option(
        12, "words of a text from which it is looked for within longer ones", at="relate", ge=2
    )
    template_from: int = option(
        5, "texts equal but for their numbers from which they are a template", ge=2
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the text, and what says which copy to keep."""
        return (*self.columns, "label?", "split?", "made.parent")

    @classmethod
    def proposal(cls, samples: Samples) -> Mapping[str, Any] | None:
        """The columns that hold texts."""
        found = text_columns(samples)
        return {"columns": found} if found else None

    def objection(self, samples: Samples) -> str | None:
        """Columns that cannot be read as texts."""
        return lacking(samples, self.columns)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Clusters: equal texts first, then one of each of them among the others."""
        count, ids = len(samples), samples.ids
        texts = texts_of(samples, self.columns)
        words = plain(texts)
        rank = quality(samples, texts)
        blank = pc.equal(words, "").to_numpy()
        own = np.arange(count)
        first = np.where(blank, own, firsts(words, rank))
        same = firsts(pa.chunked_array([pa.array(texts, pa.large_string())]), rank)
        found = shingles(words, self.shingle)
        single = rank[(first == own)[rank] & ~blank[rank]]
        among, score = led(found, single, count, self.limit)
        match = np.where(first == own, among, first)
        score = np.where(match == own, np.nan, np.where(first == own, score, 1.0))
        root = match[match]
        inner, outer = held(words, found, single, self.contained_from)
        within = np.full(count, None, dtype=object)
        within[inner] = ids[outer]
        numbers = coded(masked(words))
        cluster = _smallest(ids, root)
        exact = same == same[match]
        kept = match == own
        kind = np.where(exact, "exact", np.where(first == own, "near", "normalised"))
        return {
            "cluster": cluster,
            "keeper": kept,
            "match": [None if k else ids[m] for k, m in zip(kept, match, strict=True)],
            "kind": [None if k else str(what) for k, what in zip(kept, kind, strict=True)],
            "score": score.astype(np.float32),
            "words": found.words,
            "numbers": (numbers == numbers[match]) & (first != first[match]),
            "within": within,
            "template": _varieties(numbers, single, blank),
            "group": [c or own for c, own in zip(cluster, ids, strict=True)],
        }

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Copies of something kept, at the threshold.

        And in their clusters, labels that disagree and splits that overlap.
        """
        ids, kind, score = samples.ids, facts["kind"], facts["score"].astype(float)
        parent = parents(ids, facts, self.threshold)
        root, chance = parent[parent], certainty(facts)
        pattern = facts["numbers"].astype(bool) & (facts["template"] >= self.template_from)
        alone = np.where(pattern & (kind == "near"), np.arange(len(ids)), parent)
        alone = alone[alone]
        claims = []
        for code, words in (
            ("exact", "the same text as"),
            ("normalised", "but for case, punctuation and spaces the same words as"),
            ("near", "nearly the same words as"),
        ):
            rows = np.flatnonzero((alone != np.arange(len(ids))) & (kind == code))
            shared = [
                f", {score[row]:.0%} of them in a row" if code == "near" else "" for row in rows
            ]
            claims.append(
                claim(
                    code,
                    ids[rows],
                    value=score[rows],
                    threshold=self.threshold if code == "near" else 1.0,
                    match=ids[parent[rows]],
                    confidence=chance[rows],
                    detail=[
                        f"{words} {ids[parent[row]]}{more}"
                        for row, more in zip(rows, shared, strict=True)
                    ],
                )
            )
        weakest = np.where(parent == np.arange(len(ids)), 1.0, score)
        return [
            *claims,
            _contained(ids, facts),
            self._templates(ids, facts),
            _conflicts(samples, alone, chance),
            *leaks(samples, root, weakest, chance, self.threshold, "says the same as"),
        ]

    def _templates(self, ids: np.ndarray, facts: Facts) -> pd.DataFrame:
        times = facts["template"]
        rows = np.flatnonzero(times >= self.template_from)
        detail = [f"{times[row]:,} texts are equal but for their numbers" for row in rows]
        return claim(
            "template",
            ids[rows],
            value=times[rows].astype(float),
            threshold=self.template_from,
            detail=detail,
        )

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Shares of copies, and how many texts have any, at the threshold."""
        parent, made = parents(samples.ids, facts, self.threshold), facts["made.parent"]
        root, kind, total = parent[parent], facts["kind"], max(len(parent), 1)
        copy = of_others(samples.ids, made, root)
        return [
            figure("exact", float((copy & (kind == "exact")).sum()) / total),
            figure("near", float((copy & (kind != "exact")).sum()) / total),
            figure("clusters", float(len(np.unique(root[copy])))),
            figure("redundancy", float(copy.sum()) / total),
        ]


def quality(samples: Samples, texts: list[str]) -> np.ndarray:
    """Rows from the one to keep first.

    Evaluation before training, then labelled ones, the longest, the smallest id.
    """
    unlabelled = (
        pc.is_null(samples.table.column("label")).to_numpy()
        if "label" in samples
        else np.zeros(len(samples), dtype=bool)
    )
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.lexsort((-length, unlabelled, split_rank(samples)))


def coded(texts: pa.ChunkedArray) -> np.ndarray:
    """A number [n] for each text, equal where the texts are."""
    import pandas as pd

    return np.asarray(pd.factorize(np.asarray(texts.to_pylist(), dtype=object))[0], np.int64)


def firsts(texts: pa.ChunkedArray, rank: np.ndarray) -> np.ndarray:
    """For each text the best row [n] of those with an equal one."""
    codes = coded(texts)
    best = np.full(codes.max(initial=-1) + 1, -1)
    best[codes[rank[::-1]]] = rank[::-1]
    return best[codes]


def _smallest(ids: np.ndarray, root: np.ndarray) -> list[str | None]:
    """The smallest id of each row's cluster, None where it is alone; ids are sorted."""
    rows = np.arange(len(ids))
    least = np.full(len(ids), len(ids))
    np.minimum.at(least, root, rows)
    several = np.bincount(root, minlength=len(ids))[root] > 1
    return [ids[at] if many else None for at, many in zip(least[root], several, strict=True)]


def _varieties(numbers: np.ndarray, single: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """How many different texts [n] are equal but for their numbers; 1 where there are no others."""
    times = np.bincount(numbers[single], minlength=numbers.max(initial=-1) + 1)
    return np.where(blank, 0, times[numbers])


def parents(ids: np.ndarray, facts: Facts, threshold: float) -> np.ndarray:
    """The row [n] of each one's match, itself if it has none whose score reaches the threshold."""
    position = {text: row for row, text in enumerate(ids)}
    parent = np.arange(len(ids))
    for row, (match, score) in enumerate(zip(facts["match"], facts["score"], strict=True)):
        if match is not None and score >= np.float32(threshold):
            parent[row] = position.get(match, row)
    return parent


def certainty(facts: Facts) -> np.ndarray:
    """The probability [n] that each text is a copy of its match: 1 where the two are equal.

    How often people call normalised and near ones copies was not measured on texts that are kept
    apart: of them it is not known (NaN), so that the policy sends them to review.
    """
    return np.where(facts["kind"] == "exact", 1.0, np.nan)


def _contained(ids: np.ndarray, facts: Facts) -> pd.DataFrame:
    rows = np.flatnonzero(facts["within"].astype(bool))
    match = facts["within"][rows]
    detail = [f"all of it stands within {other}" for other in match]
    return claim("contained", ids[rows], match=match, confidence=1.0, detail=detail)


def _conflicts(samples: Samples, root: np.ndarray, chance: np.ndarray) -> pd.DataFrame:
    """Label conflicts, each as sure as the less sure of its two copies; null where one is not."""
    unknown = np.isnan(chance) & (root != np.arange(len(root)))
    claims = label_conflicts(samples, root, np.where(unknown, -1.0, chance))
    claims["confidence"] = claims["confidence"].where(claims["confidence"] >= 0)
    return claims
