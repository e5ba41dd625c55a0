"""Drift: how new samples differ from those of the last published version."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dqpipe import (
    Claim,
    Facts,
    Figure,
    Samples,
    Since,
    Stage,
    claim,
    extension,
    figure,
    label_text,
    labels,
    many,
    option,
    plural,
    sentences,
)
from dqpipe_drift import two_samples
from dqpipe_drift.sentences import of_categories, of_numbers, of_vectors
from dqpipe_drift.two_samples import Compared

CATEGORIES = 200
"""A column with more different texts than this, or more than half as many as it has rows, names
things, and is not compared; whole numbers as labels are then quantities.
"""
KEYS = 50
"""Whole numbers that are all different, in at least so many samples, are keys, and are not
compared.
"""
TYPO = 0.8
"""Similarity of names from which a new label may be an old one misspelt."""
ROLES = ("label", "split", "group")
IT = ("it", "they")


@dataclass(frozen=True)
class Shift:
    """One fact of the new samples compared with that of the old ones.

    Without a test where there are too few.
    """

    name: str
    tested: Compared | None
    whole: float | None
    said: str


@extension
class Drift(Stage):
    """Compares new samples with the last published version: drift of every fact and of the
    embedding, new and vanished labels, copies of old samples.
    """

    name = "drift"
    version = 4
    default = True
    order = 900
    fallback: ClassVar[Mapping[str, Any]] = {"copies": None}
    gives = (
        Figure(
            "p",
            (
                "how probable a difference as large is by chance, for each fact of the new "
                "samples beside that of the last version's"
            ),
        ),
        Figure(
            "p_adjusted", "the same, corrected for the number of facts (Benjamini and Hochberg)"
        ),
        Figure(
            "effect",
            (
                "how far the new samples are from the last version's, beyond what chance gives: 0 "
                "is alike, 1 no overlap"
            ),
        ),
        Figure(
            "whole",
            (
                "how far the whole set is from the whole last version: the largest difference in "
                "the share of any range or group of values"
            ),
        ),
        Figure(
            "new",
            (
                "number of samples whose content the last version did not have: new ones, and "
                "replaced ones"
            ),
        ),
        Figure(
            "pooled",
            (
                "number of samples that were compared as new, where those of the versions before "
                "were taken along since there were too few"
            ),
            role="pooled_samples",
        ),
        Figure(
            "nights",
            "number of versions whose new samples were taken along",
            role="pooled_versions",
        ),
        Claim(
            "shifted",
            "warning",
            (
                "The new samples differ from those of the last version, by more than chance and "
                "by enough to matter."
            ),
            title="Shifted distributions",
        ),
        Claim(
            "new_label",
            "warning",
            "A class that the last version did not have.",
            title="New classes",
        ),
        Claim(
            "vanished_label",
            "warning",
            "A class of the last version that is not there any more.",
            title="Vanished classes",
        ),
        Claim(
            "not_comparable",
            "warning",
            (
                "A fact is measured in another way than in the last version, so that the two "
                "cannot be compared."
            ),
            title="Not comparable with the last version",
        ),
        Claim(
            "columns",
            "warning",
            "Columns came, went, or hold nothing any more since the last version.",
            title="Changed columns",
        ),
        Claim(
            "duplicate_of_old",
            "info",
            "A new sample that shows the same as one that the last version had.",
            title="Copies of old samples",
        ),
    )

    alpha: float = option(0.01, "claim a shift below this corrected p value", gt=0, lt=1)
    effect: float = option(0.2, "and from this effect on: 0 is alike, 1 no overlap", ge=0, le=1)
    least: int = option(
        30,
        (
            "new samples that there must be for anything to be tested; those of the last versions "
            "are taken along where there are fewer"
        ),
        ge=5,
    )
    leave: tuple[str, ...] = option(
        ("duplicates.thumbnail",),
        (
            "facts, columns of the samples, or globs of them that are not compared, such as a "
            "date that always moves on"
        ),
    )
    copies: str | None = option(
        "duplicates.group",
        "the fact that is equal for copies of one thing; null: equal contents are",
    )
    seed: int = option(0, "what permutations and folds are drawn from", ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """What tells copies; all other facts come with the comparison."""
        return (self.copies,) if self.copies else ()

    def compare(self, samples: Samples, facts: Facts, since: Since) -> tuple[list[Any], list[Any]]:
        """Each fact of the new samples compared with that of the last version's."""
        wide, nights = since.pooled(self.least)
        shifts = list(self._shifts(wide))
        tested = [(shift, shift.tested) for shift in shifts if shift.tested is not None]
        adjusted = two_samples.adjusted(np.array([found.p for _, found in tested]))
        rows = [figure("new", float(len(since.new.samples)))]
        if nights:
            rows += [
                figure("pooled", float(len(wide.new.samples))),
                figure("nights", float(len(nights))),
            ]
        apart = sorted(
            name
            for name in since.before.keys
            if name in since.now.keys and not since.comparable(name) and not self._left(name)
        )
        rows += [
            figure(
                "effect",
                math.nan,
                scope="fact",
                key=name,
                detail="measured in another way than in the last version",
            )
            for name in apart
        ]
        rows += [
            figure("whole", shift.whole, scope="fact", key=shift.name)
            for shift in shifts
            if shift.whole is not None
        ]
        claims = []
        for (shift, found), corrected in zip(tested, adjusted.tolist(), strict=True):
            shifted = corrected < self.alpha and found.effect >= self.effect
            said = (
                f"{shift.said}; effect {found.effect:.2g}, {probability(corrected)})"
                if shifted
                else None
            )
            rows += [
                figure("p", found.p, scope="fact", key=shift.name),
                figure("p_adjusted", corrected, scope="fact", key=shift.name),
                figure("effect", found.effect, scope="fact", key=shift.name, detail=said),
            ]
            if shifted:
                claims.append(
                    claim(
                        "shifted",
                        [None],
                        part=shift.name,
                        value=found.effect,
                        threshold=self.effect,
                        confidence=1 - corrected,
                        detail=said,
                    )
                )
        return rows, [
            *claims,
            *self._labels(since),
            *self._not_comparable(since),
            *self._columns(since),
            self._copies(samples, facts, since),
        ]

    def _left(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.leave)

    def _shifts(self, since: Since) -> Iterator[Shift]:
        """The facts that can be compared, by name; each draws from a generator of its own."""
        before, now, new = since.before, since.now, since.new
        enough = min(len(new.samples), len(before.samples)) >= self.least
        for name in [
            *(role for role in ROLES if role in before.samples and role in now.samples),
            *sorted(before.keys),
        ]:
            rng = np.random.default_rng([self.seed, *name.encode("utf-8", "surrogatepass")])
            if self._left(name) or (name not in ROLES and not since.comparable(name)):
                continue
            if name in now.vectors:
                old, fresh = before.vectors[name], new.vectors[name]
                if enough and min(len(old), len(fresh)) >= self.least:
                    found = two_samples.vectors(old, fresh, rng)
                    yield Shift(name, found, None, of_vectors(name, len(new.samples), found.effect))
                continue
            tables = [(s.samples if name in ROLES else s.facts) for s in (before, now, new)]
            if any(name not in table for table in tables):
                continue
            columns = [table.table.column(name).filter(readable(table, name)) for table in tables]
            labelled = [s.samples for s in (before, now, new)] if name == "label" else []
            kinds = label_kinds(since) if labelled else {kind_of(column) for column in columns[:2]}
            if kinds == {"number"}:
                numbers = [labels.numbers(samples) for samples in labelled] or [
                    column.to_numpy().astype(np.float64) for column in columns
                ]
                yield from _numbers(name, numbers, enough, len(new.samples))
            elif kinds == {"category"}:
                counts = [classes(samples) for samples in labelled] or [
                    counted(column) for column in columns
                ]
                yield from _categories(name, counts, enough, rng)

    def _labels(self, since: Since) -> Iterator[Any]:
        """Claims about new and vanished classes."""
        if label_kinds(since) != {"category"}:
            return
        old, now = (classes(s.samples) for s in (since.before, since.now))
        for name in sorted(name for name in now if name is not None and name not in old):
            near = misspelt(name, [other for other in old if other is not None])
            like = f", which looks like {near}" if near else ""
            said = (
                f"{many(now[name], 'sample')} of a class that the last version did not have: "
                f"{name}{like}"
            )
            yield claim(
                "new_label", [None], part=name, value=float(now[name]), suggestion=near, detail=said
            )
        for name in sorted(name for name in old if name is not None and name not in now):
            said = (
                f"the class {name} is gone: the last version had {many(old[name], 'sample')} of it"
            )
            yield claim("vanished_label", [None], part=name, value=float(old[name]), detail=said)

    def _not_comparable(self, since: Since) -> Iterator[Any]:
        names = sorted(
            name
            for name in since.before.keys
            if name in since.now.keys and not since.comparable(name) and not self._left(name)
        )
        if names:
            what = since.now.columns if all(name in since.now.columns for name in names) else ()
            why = (
                "held values of another type"
                if what
                else f"{plural(len(names), 'was')} measured in another way"
            )
            told = (
                f"{plural(len(names), 'column' if what else 'fact')} "
                f"{sentences.some(names, 'fact')}"
            )
            said = f"{told} cannot be compared with the last version: {IT[len(names) > 1]} {why}"
            yield claim("not_comparable", [None], value=float(len(names)), detail=said)

    def _columns(self, since: Since) -> Iterator[Any]:
        """One claim about the user's columns that vanished or became empty, and one about new
        columns.
        """
        before, now = (
            sorted(name for name in of.columns if not self._left(name))
            for of in (since.before, since.now)
        )
        gone, came = (
            [name for name in before if name not in now],
            [name for name in now if name not in before],
        )
        for names, said in (
            (gone, "gone, or without any value now"),
            (came, "new, or the last version kept no value of it"),
        ):
            if names:
                told = (
                    f"{plural(len(names), 'column')} {sentences.some(names, 'column')} "
                    f"{plural(len(names), 'is')} {said}"
                )
                yield claim("columns", [None], value=float(len(names)), detail=told)

    def _copies(self, samples: Samples, facts: Facts, since: Since) -> Any:  # noqa: ANN401 (a DataFrame)
        """New samples that are copies of old ones.

        The match is the old copy with the smallest id.
        """
        fresh = set(since.new.samples.ids)
        groups = (
            (facts[self.copies] if self.copies else samples["content"])
            if fresh
            else np.array([None] * len(samples), dtype=object)
        )
        old: dict[str, str] = {}
        for sample, group in zip(samples.ids, groups, strict=True):
            if sample not in fresh and group is not None:
                old.setdefault(group, sample)
        found = [
            (sample, old[group])
            for sample, group in zip(samples.ids, groups, strict=True)
            if sample in fresh and group in old
        ]
        said = [
            f"new, and shows the same as {match}, which the last version had" for _, match in found
        ]
        return claim(
            "duplicate_of_old",
            [sample for sample, _ in found],
            match=[match for _, match in found],
            detail=said,
        )


def _numbers(name: str, columns: list[np.ndarray], enough: bool, count: int) -> Iterator[Shift]:
    old, now, new = columns
    if len(old) and len(now) and (len(np.unique(np.concatenate([old, now]))) > 1):
        tested = two_samples.numbers(old, new) if enough and len(new) else None
        yield Shift(
            name, tested, two_samples.numbers(old, now).distance, of_numbers(name, old, new, count)
        )


def _categories(
    name: str, counts: list[Counter[str | None]], enough: bool, rng: np.random.Generator
) -> Iterator[Shift]:
    names = sorted(counts[0] | counts[1], key=str)
    old, now, new = (np.array([count[one] for one in names], dtype=np.int64) for count in counts)
    if len(names) > 1 and len(names) <= min(CATEGORIES, old.sum() / 2) and now.sum():
        whole = float(np.abs(old / old.sum() - now / now.sum()).sum() / 2)
        tested = two_samples.categories(old, new, rng) if enough and new.sum() else None
        yield Shift(name, tested, whole, of_categories(name, names, old, new))


def readable(table: Samples | Facts, name: str) -> pa.Array:
    """[n] bool: what counts for a fact.

    A file that cannot be read has none; that there are more of these is told by media.ok.
    """
    import pyarrow.compute as pc

    every = pa.array(np.ones(len(table), dtype=bool))
    return (
        pc.fill_null(table.table.column("media.ok"), False)
        if "." in name and name != "media.ok" and "media.ok" in table
        else every
    )


def label_kinds(since: Since) -> set[str | None]:
    """The type by which old and new labels are compared."""
    return {
        {"class": "category", "tags": "category", "number": "number"}.get(
            labels.kind_in(of.samples)
        )
        for of in (since.before, since.now)
    }


def kind_of(column: pa.ChunkedArray) -> str | None:
    """The type by which a column other than the label is compared.

    "number", "category", or None.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_integer(kind):
        return None if len(column.unique()) == len(column) >= KEYS else "number"
    if pa.types.is_nested(kind) or len(column.unique()) > CATEGORIES:
        return None
    return (
        "category"
        if pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_dictionary(kind)
        else None
    )


def classes(samples: Samples) -> Counter[str | None]:
    """The number of samples of each class or tag."""
    return Counter(labels.members(samples).names.to_pylist())


def counted(column: pa.ChunkedArray) -> Counter[str | None]:
    """The count of each value of a column."""
    return Counter(
        {label_text(row["values"]): row["counts"] for row in column.value_counts().to_pylist()}
    )


def misspelt(name: str, known: list[str]) -> str | None:
    """A known name that this one may misspell: equal up to case, spaces and dashes, or similar."""

    def plain(text: str) -> str:
        return "".join(letter for letter in text.casefold() if letter.isalnum())

    same = sorted(other for other in known if plain(other) == plain(name) != "")
    return next(iter(same or difflib.get_close_matches(name, sorted(known), 1, TYPO)), None)


def probability(p: float) -> str:
    """A p value in words: p = 0.02, p < 0.001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.1g}"  # noqa: PLR2004
