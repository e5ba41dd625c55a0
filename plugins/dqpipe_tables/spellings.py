"""Rare values that are a misspelling of a frequent one, and rare forms in a column of few forms.

A misspelling differs from a value that occurs many times as often by one letter that is changed,
missing, too much or swapped with its neighbour (Damerau 1964), or by several single letters. Digits
that differ from digits make another value, not a misspelling.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from dqpipe_tables.found import Suspect
from dqpipe_tables.profile import LONGEST, WITH_UNIT, Column

OFTEN = 5
"""Occurrences from which a value is frequent."""
RATIOS = {1: np.inf, 2: 50.0, 3: 50.0, 4: 20.0}
RATIO = 8.0
"""How many times as often the right value occurs, by the length of the rare one."""
DENSE = 0.2
"""Share of frequent values with a frequent neighbour from which neighbours mean nothing (codes)."""
SINGLE, WORD = 0.3, 0.35
"""Share of the letters that may differ one by one, of all and of each word."""
ROMAN = re.compile(r"[IVXivx]+")
MOST = 3_000
"""Frequent values, and 20 times as many rare ones, that are compared."""
COMMON = 4
"""Values that a word stands in from which it is a word of the column."""
FORMS, COVERED, RARE = 6, 0.9, 0.01
"""Forms that a column of few forms has at most, the share of rows they cover, and a rare form."""
SOME = 0.05
"""Share of the values from which a unit, or numbers without one, are no accident."""


def misspelt(column: Column) -> Iterator[Suspect]:
    """Rare values near a frequent one, with that as the suggestion."""
    if column.typed is not None:
        return  # of numbers each is its own
    text = ~column.blank & np.array([1 < len(v) <= LONGEST for v in column.texts], dtype=bool)
    frequent = np.flatnonzero(text & (column.counts >= OFTEN))
    if not len(frequent) or len(frequent) > MOST:
        return
    frequent = frequent[np.lexsort((frequent, -column.counts[frequent]))]
    near = Neighbours([column.texts[i] for i in frequent])
    if len(frequent) > OFTEN and _crowded(column, frequent, near) > DENSE:
        return
    most, words = column.counts[frequent[0]], Words(column.texts[text])
    rare = np.flatnonzero(text & (column.counts * RATIO <= most))[: 20 * MOST]
    for i in rare:
        value, count = column.texts[i], column.counts[i]
        wanted = RATIOS.get(len(value), RATIO) * count
        found = [j for j in near.of(value) if column.counts[frequent[j]] >= wanted]
        if not found:
            continue
        best = frequent[min(found)]
        if words.common(value, column.texts[best]):
            continue
        ratio = column.counts[best] / count
        why = f"{column.texts[best]!r} occurs {column.counts[best]:,} times, this {count:,}"
        for row in column.rows_of(i):
            yield Suspect(int(row), column.name, "misspelt", ratio, column.texts[best], why)


def _crowded(column: Column, frequent: np.ndarray, near: Neighbours) -> float:
    """The share of frequent values beside one that is about as frequent.

    A much rarer one is a misspelling that recurs, as it does in many rows, and is not counted.
    """
    own = beside = 0
    for i in frequent:
        counts = column.counts[frequent[near.of(column.texts[i])]]
        if not (counts >= RATIO * column.counts[i]).any():
            own += 1
            beside += bool((counts * RATIO > column.counts[i]).any())
    return beside / max(own, 1)


class Words:
    """The words of the values of a column, and in how many of them each stands."""

    def __init__(self, values: np.ndarray) -> None:
        self.counts = Counter(word for value in values for word in set(_words(value)))

    def common(self, value: str, other: str) -> bool:
        """Whether the words by which a value differs stand in several values: no misspelling."""
        own = [word for word in _words(value) if word not in _words(other)]
        return bool(own) and all(self.counts[word] >= COMMON for word in own)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


class Neighbours:
    """The values of a list that another value may be a misspelling of."""

    def __init__(self, values: list[str]) -> None:
        self.values = values
        self.places = {value: j for j, value in enumerate(values)}
        self.without: dict[str, set[int]] = defaultdict(set)
        self.lengths: dict[int, list[int]] = defaultdict(list)
        for j, value in enumerate(values):
            self.lengths[len(value)].append(j)
            self.without[value].add(j)
            for k in range(len(value)):
                self.without[value[:k] + value[k + 1 :]].add(j)
        self.letters = {
            length: np.array([[ord(letter) for letter in values[j]] for j in places], np.uint32)
            for length, places in self.lengths.items()
        }

    def of(self, value: str) -> list[int]:
        """Positions of the values that are near, without itself."""
        near = set(self.without.get(value, ()))
        for k in range(len(value)):
            near |= self.without.get(value[:k] + value[k + 1 :], set())
        near = {j for j in near if _one_letter(value, self.values[j])}
        places = self.lengths.get(len(value), [])
        if places and len(value) > 3:  # noqa: PLR2004 (of short ones one letter is enough)
            differ = self.letters[len(value)] != np.array([ord(c) for c in value], np.uint32)
            few = differ.sum(1) <= SINGLE * len(value)
            alone = ~(differ[:, 1:] & differ[:, :-1]).any(1)
            near |= {
                places[k]
                for k in np.flatnonzero(few & alone)
                if _letters(value, self.values[places[k]])
            }
        near.discard(self.places.get(value, -1))
        return sorted(near)


def _one_letter(value: str, other: str) -> bool:
    """Whether two texts that share a text with one letter less are one mistake apart."""
    if value == other:
        return False
    start = 0
    while start < min(len(value), len(other)) and value[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(value), len(other)) - start and value[-1 - end] == other[-1 - end]:
        end += 1
    a, b = value[start : len(value) - end], other[start : len(other) - end]
    own, right = _around(value, start, end), _around(other, start, end)
    if min(len(own), len(right)) <= 1 or (ROMAN.fullmatch(own) and ROMAN.fullmatch(right)):
        return False  # ward A and ward B, type II and type III
    if len(a) <= 1 and len(b) <= 1:
        return not ((a + b).isdigit() or (not a and not b))
    return len(a) == len(b) == 2 and a == b[::-1] and not a.isdigit()  # noqa: PLR2004


def _letters(value: str, other: str) -> bool:
    """Whether texts of one length differ somewhere, and nowhere by digits alone."""
    pairs = [(a, b) for a, b in zip(value, other, strict=True) if a != b]
    if not pairs or any(a.isdigit() and b.isdigit() for a, b in pairs):
        return False
    return all(  # north and south are two words
        sum(value[k] != other[k] for k in range(*word.span())) <= WORD * len(word[0])
        for word in re.finditer(r"[^\W_]+", other)
    )


def _around(text: str, start: int, end: int) -> str:
    """The word around the letters between `start` and `end` (counted from the back)."""
    before = re.search(r"\w*$", text[:start])
    behind = re.match(r"\w*", text[len(text) - end :])
    assert before is not None
    assert behind is not None
    return before[0] + text[start : len(text) - end] + behind[0]


def form(text: str) -> str:
    """The form of a text: runs of digits as 9, of letters as a; all else as it is."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text))


def odd_forms(column: Column) -> Iterator[Suspect]:
    """Values of a rare form in a column of few forms (codes, dates, phone numbers)."""
    there = ~column.blank
    total = column.counts[there].sum()
    if column.typed is not None or not total:
        return
    forms: dict[str, int] = defaultdict(int)
    every = [form(value) if ok else "" for value, ok in zip(column.texts, there, strict=True)]
    for name, count, ok in zip(every, column.counts, there, strict=True):
        if ok:
            forms[name] += int(count)
    usual = {name for name, count in forms.items() if count >= SOME * total}
    if not usual or len(usual) > FORMS or sum(forms[n] for n in usual) < COVERED * total:
        return
    if not any(re.search(r"[^a\W]|[^\w\s]", name) for name in usual):
        return  # words: any other form may be a name
    shown = max(usual, key=lambda name: (forms[name], name))
    like = next(v for v, n in zip(column.texts, every, strict=True) if n == shown)
    numbers = column.numbers is not None
    for i, name in enumerate(every):
        if numbers and np.isfinite(column.parsed[i]):
            continue  # 16.9 among whole numbers is no other form
        if (
            there[i]
            and name not in usual
            and forms[name] <= RARE * total
            and column.counts[i] < OFTEN
        ):
            why = f"another form than the other values, such as {like!r}"
            for row in column.rows_of(i):
                yield Suspect(int(row), column.name, "form", total / forms[name], None, why)


def units(column: Column) -> Iterator[Suspect]:
    """Numbers with a unit where others have none, or with a unit written in several ways."""
    there = ~column.blank
    total = column.counts[there].sum()
    if column.typed is not None or not total:
        return
    split = [
        WITH_UNIT.fullmatch(v.strip()) if ok else None
        for v, ok in zip(column.texts, there, strict=True)
    ]
    plain = column.counts[there & np.isfinite(column.parsed)].sum() / total
    with_unit: dict[str, int] = defaultdict(int)
    for found, count in zip(split, column.counts, strict=True):
        if found:
            with_unit[found[2].strip()] += int(count)
    share = sum(with_unit.values()) / total
    if plain + share < COVERED:
        return
    written = sorted(unit for unit, count in with_unit.items() if count >= SOME * total)
    mixed = plain >= SOME and share > 0
    if not (mixed and share < plain) and len(written) < 2:  # noqa: PLR2004 (two ways of writing it)
        return
    ways = (
        f"{len(written)} ways of writing it: {', '.join(written[:5])}" if len(written) > 1 else ""
    )
    for i, found in enumerate(split):
        if found:
            why = f"a number with a unit, {ways or 'where most have none'}"
            for row in column.rows_of(i):
                yield Suspect(int(row), column.name, "unit", 1 / max(share, 1e-9), found[1], why)
