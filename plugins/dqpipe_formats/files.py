"""Claims the files that cannot be read, lack their end or lie elsewhere, and counts the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dqpipe import (
    OUTSIDE,
    Claim,
    Facts,
    Figure,
    Samples,
    Stage,
    claim,
    extension,
    figure,
    labels,
    option,
)
from dqpipe_formats.annotated import PROBLEMS

if TYPE_CHECKING:
    import pandas as pd

Key = str | None


@extension
class Files(Stage):
    """Flag every file that cannot be read, or lacks its end, with the reason, and count samples
    per class and split.
    """

    name = "files"
    version = 4
    default = True
    needs = ("media.ok", "media.error", "media.missing", "label?", "split?", f"{PROBLEMS}?")
    gives = (
        Claim(
            "unreadable",
            "error",
            (
                "the file is missing, broken, or not what its name says: nothing can be learned "
                "from it"
            ),
            title="Unreadable files",
        ),
        Claim(
            "outside",
            "error",
            (
                "a link or a path leads to a file outside the dataset's folder: `dataset: "
                "{outside: allow}` takes such files"
            ),
            title="Files outside of the dataset",
        ),
        Claim(
            "truncated",
            "warning",
            "the file ends early: a small part of what it shows is missing",
            title="Truncated files",
        ),
        Claim(
            "malformed",
            "warning",
            (
                "annotations of the picture cannot be read as they stand: a broken file or line, "
                "no numbers, no such class"
            ),
            title="Malformed annotations",
        ),
        Figure("samples", "number of samples"),
        Figure("unreadable", "share of the samples whose file cannot be read, 0 to 1"),
    )

    truncated: float = option(
        0.0, "claim a file that lacks more than this share of what it shows, 0 to 1", ge=0, le=1
    )

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """One claim per file that could not be read, lacks its end, or was not read since it lies
        elsewhere; the detail is the reason.
        """
        reasons = [
            "" if ok else reason or "the file cannot be read"
            for ok, reason in zip(facts["media.ok"], facts["media.error"], strict=True)
        ]
        outside = np.array([reason.startswith(OUTSIDE) for reason in reasons], dtype=bool)
        broken = np.array([bool(reason) for reason in reasons], dtype=bool)
        found = [
            ("unreadable", broken & ~outside),
            *([("outside", outside)] if outside.any() else []),
        ]
        missing = facts["media.missing"].astype(np.float64)
        cut = missing > self.truncated
        told = [
            f"the file ends early: {share:.2%} of what it shows is missing"
            for share in missing[cut]
        ]
        return [
            *(
                claim(
                    code,
                    samples.ids[rows],
                    confidence=1.0,
                    detail=[reasons[row] for row in np.flatnonzero(rows)],
                )
                for code, rows in found
            ),
            claim(
                "truncated",
                samples.ids[cut],
                value=missing[cut],
                threshold=self.truncated,
                confidence=1.0,
                detail=told,
            ),
            *_malformed(samples),
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """How many samples, and which share of them is unreadable.

        Over all, per class and per split.
        """
        broken = ~facts["media.ok"].astype(bool)
        figures = []
        for scope, keys in _scopes(samples):
            count = Counter(key for row in keys for key in row)
            bad = Counter(
                key for row, lost in zip(keys, broken, strict=True) if lost for key in row
            )
            for key in sorted(count, key=str):
                figures.append(figure("samples", count[key], scope=scope, key=key))
                figures.append(figure("unreadable", bad[key] / count[key], scope=scope, key=key))
        return figures


def _malformed(samples: Samples) -> list[pd.DataFrame]:
    """One claim per picture whose annotations no reader can make sense of.

    The detail names file and line.
    """
    if PROBLEMS not in samples:
        return []
    said = samples[PROBLEMS]
    rows = [row for row, text in enumerate(said) if isinstance(text, str)]
    return [
        claim("malformed", samples.ids[rows], confidence=1.0, detail=[said[row] for row in rows])
    ]


def _scopes(samples: Samples) -> Iterator[tuple[str, list[tuple[Key, ...]]]]:
    """Each scope with the keys that a sample counts for.

    A class for each label of a list, none without a label.
    """
    yield "set", [(None,)] * len(samples)
    if "label" in samples:
        yield "class", _classes(samples)
    if "split" in samples:
        yield "split", [() if split is None else (split,) for split in samples["split"]]


def _classes(samples: Samples) -> list[tuple[Key, ...]]:
    """The classes of each sample, each once."""
    keys: list[dict[Key, None]] = [{} for _ in range(len(samples))]
    found = labels.members(samples)
    for row, name in zip(found.rows.tolist(), found.names.to_pylist(), strict=True):
        if name is not None:
            keys[row][name] = None
    return [tuple(key) for key in keys]
