"""What each column of a table is, and what is wrong with it as a whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dqpipe import (
    EVERY,
    Claim,
    Facts,
    Figure,
    Samples,
    Stage,
    claim,
    extension,
    figure,
    label_text,
    listed,
    many,
    option,
)
from dqpipe_tables import kinds, leaking
from dqpipe_tables.columns_of import Column, column, own_columns, words
from dqpipe_tables.kinds import Kind

if TYPE_CHECKING:
    import pandas as pd

AN = ("e-mail",)
MIXED = 0.02
"""The largest share of values of another kind that are a fault; beyond, the column is text."""
FIXED = 0.8
"""The share of whole numbers of one length, beside shorter ones, that had leading zeros."""
CODES = frozenset({"zip", "zipcode", "postcode", "postal", "plz", "phone", "isbn", "ean", "upc"})


@dataclass(frozen=True)
class Remark:
    """One claim about one column."""

    code: str
    part: str
    detail: str
    value: float | None = None
    confidence: float | None = None
    severity: str | None = None


@extension
class Columns(Stage):
    """What each column of a table is, and what is wrong with it as a whole: missing values under
    other names, several types, units or date orders, leading zeros lost, copies of other columns,
    columns that give the label away.
    """

    name = "columns"
    version = 1
    default = True
    media: ClassVar[bool | None] = False
    order: ClassVar[int] = 200
    """Before what works on the columns."""
    needs = ("label?", "split?", EVERY)
    gives = (
        Claim("kind", "info", "What the column holds.", title="What the columns are"),
        Claim("missing", "info", "Cells of the column are empty.", title="Missing values"),
        Claim(
            "missing_spelt",
            "warning",
            "Missing values are written as text (NA, -, ?, unknown), which a model takes for a "
            "value.",
            title="Missing values written as text",
        ),
        Claim(
            "missing_code",
            "warning",
            "A number is a code (0, 999, -1, often for a missing value), which a model takes for a "
            "quantity.",
            title="Numbers that stand for missing values",
        ),
        Claim("mixed_types", "warning", "Some values are of another type than nearly all."),
        Claim(
            "mixed_units", "warning", "Numbers are written with several units, or with and without."
        ),
        Claim("mixed_dates", "warning", "Dates are written day first and month first."),
        Claim("lost_zeros", "warning", "Codes of one length have lost their leading zeros."),
        Claim("constant", "info", "All cells hold the same value."),
        Claim(
            "same",
            "info",
            "The column says the same as another one.",
            title="Columns that say the same",
        ),
        Claim(
            "leak", "warning", "The column alone gives the label away.", title="Leaks of the label"
        ),
        Claim(
            "names_rows",
            "info",
            "Nearly all values differ: as a feature it can only be learned by heart.",
            title="Columns that name the rows",
        ),
        Figure("columns", "columns that were looked at"),
        Figure("missing", "share of the cells that are empty or stand for a missing value"),
    )

    leaks: bool = option(True, "whether columns that give the label away are looked for")

    @classmethod
    def proposal(cls, samples: Samples) -> Mapping[str, object] | None:
        """Nothing to set; None where the table has no columns of its own."""
        return {} if own_columns(samples) else None

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Claims about the dataset, each with the column as its part."""
        usual = {gift.code: gift.severity for gift in self.gives if isinstance(gift, Claim)}
        remarks = list(self._remarks(samples))
        return [
            claim(
                code,
                [None] * len(found),
                part=[remark.part for remark in found],
                severity=[remark.severity or usual[code] for remark in found],
                value=[remark.value for remark in found],
                confidence=[remark.confidence for remark in found],
                detail=[remark.detail for remark in found],
            )
            for code in usual
            if (found := [remark for remark in remarks if remark.code == code])
        ]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, object]]:
        """How many columns there are, and how much of them is missing."""
        names = own_columns(samples)
        if not names or not len(samples):
            return []
        empty = 0
        for name in names:
            of = column(samples, name)
            empty += len(samples) - of.present + int(of.counts[of.blanks].sum())
        return [
            figure("columns", float(len(names))),
            figure("missing", empty / (len(names) * len(samples))),
        ]

    def _remarks(self, samples: Samples) -> Iterator[Remark]:
        labels = _labels(samples) if self.leaks else None
        some = leaking.drawn(samples.ids) if labels is not None else None
        seen: dict[bytes, str] = {}
        for name in own_columns(samples) if len(samples) else []:
            of = column(samples, name)
            kind = kinds.kind_of(of)
            yield Remark("kind", name, _told(of, kind), float(len(of.values)))
            yield from _missing(of)
            yield from _writing(of, kind)
            yield from _as_feature(of, kind, seen)
            if (
                labels is not None
                and some is not None
                and (found := leaking.leak(of, labels, some))
            ):
                yield Remark(
                    "leak",
                    name,
                    f"alone it tells {found[0]:.1%} of held-out labels right, where the most "
                    f"frequent label is right in {found[1]:.1%}",
                    found[0],
                    0.8,
                )


def _told(of: Column, kind: Kind) -> str:
    """What a column is, in words."""
    what = (
        kind.word
        if kind.word in ("money", "text", "empty")
        else (f"{'an' if kind.word in AN else 'a'} {kind.word}")
    )
    values = many(len(of.values), "different value")
    if kind.word in ("category", "boolean") and of.present:
        first = np.argsort(-of.counts, kind="stable")[:3]
        return f"{what}: {values}, most often {listed(of.texts(first), 3)}"
    if of.is_number and of.present:
        low, high = of.texts(np.array([0, len(of.values) - 1]))
        return f"{what}: {values} from {low} to {high}"
    return f"{what}: {values}" if of.present else what


def _missing(of: Column) -> Iterator[Remark]:
    rows = len(of.codes)
    if empty := rows - of.present:
        yield Remark("missing", of.name, f"{empty:,} of {rows:,} cells are empty", empty / rows)
    blank = np.flatnonzero(of.blanks)
    if len(blank) and len(blank) < len(of.values):
        found = [
            f"{text!r} ({of.counts[place]:,})"
            for place, text in zip(blank, of.texts(blank), strict=True)
        ]
        count = int(of.counts[blank].sum())
        yield Remark(
            "missing_spelt",
            of.name,
            f"{count:,} of {rows:,} cells stand for no value: {listed(found, 5)}",
            count / rows,
            0.9,
        )
    if not of.is_number:
        return
    coded = kinds.missing_codes(of)
    zero = kinds.zeros(of)
    if zero:
        coded |= of.numbers == 0
    for place in np.flatnonzero(coded):
        text, count = of.texts(np.array([place]))[0], int(of.counts[place])
        why = "zeros stand apart from the rest" if text == "0" else "it is beyond all other values"
        yield Remark(
            "missing_code",
            of.name,
            f"{count:,} cells are {text}, which seems to be a code and no quantity: {why}",
            count / rows,
            0.7,
        )


def _writing(of: Column, kind: Kind) -> Iterator[Remark]:
    """What texts, or numbers, are written like in several ways."""
    if of.is_number:
        yield from _lost_zeros(of)
        return
    if not of.is_text or len(of.values) < 2:  # noqa: PLR2004
        return
    places, texts = of.some
    if kind.word == "date" and len(orders := kinds.date_orders(texts)) > 1:
        told = " and ".join(f"{count:,} {order}" for order, count in sorted(orders.items()))
        yield Remark("mixed_dates", of.name, f"of the different dates {told}", None, 0.9)
    if kind.word == "quantity" or kind.word in ("share", "money"):
        names, unit, _ = kinds.units(of)
        counts = np.bincount(unit[unit >= 0], of.counts[unit >= 0], len(names))
        if len(names) > 1:
            found = [
                f"{names[n] or 'none'!r} ({int(counts[n]):,})"
                for n in np.argsort(-counts, kind="stable")
            ]
            yield Remark("mixed_units", of.name, f"units: {listed(found, 5)}", None, 0.9)
        return
    sound = ~of.blanks[places]
    numbers = np.array([re.fullmatch(r"\s*-?\d+([.,]\d+)*\s*", text) is not None for text in texts])
    rows = of.counts[places] * sound
    share = float(rows[numbers].sum() / max(rows.sum(), 1))
    if (
        min(share, 1 - share) > 0
        and min(share, 1 - share) <= MIXED
        and sound.sum() >= kinds.FEW_ROWS
    ):
        rare = sound & (numbers != (share > 0.5))  # noqa: PLR2004 (most of them)
        some = [repr(text[:40]) for text, is_rare in zip(texts, rare, strict=True) if is_rare]
        what, other = ("numbers", "text") if share > 0.5 else ("text", "numbers")  # noqa: PLR2004
        yield Remark(
            "mixed_types",
            of.name,
            f"nearly all values are {what}, and some {other}: {listed(some, 5)}",
            min(share, 1 - share),
            0.8 if share > 0.5 else 0.4,  # noqa: PLR2004
            None if share > 0.5 else "info",  # noqa: PLR2004
        )


def _lost_zeros(of: Column) -> Iterator[Remark]:
    values = of.numbers
    if not CODES & set(words(of.name)) or not len(values) or np.nanmin(values) < 0:
        return
    texts = of.texts(np.arange(len(values)))
    lengths = np.array([len(text) for text in texts])
    rows = np.bincount(lengths, of.counts)
    usual = int(rows.argmax())
    short = int(rows[:usual].sum())
    if usual >= 4 and rows[usual] >= FIXED * of.present and short and "." not in "".join(texts):  # noqa: PLR2004
        first = [text for text in texts if len(text) < usual]
        yield Remark(
            "lost_zeros",
            of.name,
            f"{short:,} cells have fewer than {usual} digits: {listed(first, 5)}",
            short / of.present,
            0.8,
        )


def _as_feature(of: Column, kind: Kind, seen: dict[bytes, str]) -> Iterator[Remark]:
    """What the column is worth as a feature."""
    if of.present and len(of.values) == 1:
        only = of.texts(np.array([0]))[0]
        cells = "all" if of.present == len(of.codes) else f"{of.present:,}"
        yield Remark("constant", of.name, f"{cells} cells hold {only[:60]!r}")
        return
    if kind.word == "key":
        yield Remark("names_rows", of.name, f"{len(of.values):,} different values", 1.0)
    mark = _partition(of.codes)
    if len(of.values) > 1 and mark in seen:
        yield Remark(
            "same",
            of.name,
            f"each of its values stands for one of {seen[mark]!r}, and the reverse",
            None,
            1.0,
        )
    else:
        seen[mark] = of.name


def _partition(codes: np.ndarray) -> bytes:
    """A hash of which rows hold equal values, whatever the values are."""
    first = np.full(int(codes.max(initial=0)) + 2, len(codes), np.int64)
    np.minimum.at(first, codes + 1, np.arange(len(codes)))
    same = first[codes + 1]
    same[codes < 0] = -1
    return hashlib.blake2b(same.tobytes(), digest_size=16).digest()


def _labels(samples: Samples) -> np.ndarray | None:
    """The labels as codes, -1 for none; None where they are none that repeat."""
    import pandas as pd

    if "label" not in samples:
        return None
    codes, values = pd.factorize(
        pd.Series([label_text(label) for label in samples["label"]], dtype=object), sort=True
    )
    return codes if 2 <= len(values) <= len(codes) / 5 else None  # noqa: PLR2004
