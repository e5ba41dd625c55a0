"""What a column holds, as a person would say it, and what of it is written differently.

by its type and values    yes or no, number, count, share, year, date, key
by how texts are written  e-mail, URL, phone, date, time, duration, money, share, quantity
by its name               money, share, key, place, phone, where the values allow it
by how often they repeat  category, else text
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dqpipe_tables.columns_of import Column, words

NEARLY = 0.95
"""The share of the different values that makes a kind."""
FEW_ROWS = 20
"""Rows below which nothing is told from how often values repeat."""
LONGEST = 200
"""Characters of a value that its form is told by."""
FORMS = {
    "e-mail": r"[\w.+'-]+@[\w-]+(\.[\w-]+)+",
    "URL": r"(https?|ftp)://\S+|www\.\S+\.\S+",
    "date": (
        r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?"
        r"|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})([T ]\d{1,2}:\d{2}(:\d{2})?)?"
        r"|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+(\d{4}|\d{2})|[A-Za-z]{3,9} \d{1,2},? \d{4}"
    ),
    "time": r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[aApP]\.?[mM]\.?)?",
    "duration": r"P(\d+[YMWD])*(T(\d+[HMS])+)?|(\d+ ?(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?) ?)+",  # noqa: E501
    "phone": r"\+?\(?\d{1,4}\)?([ ./-]?\(?\d{2,5}\)?){2,5}( ?(x|ext\.?) ?\d+)?",
    "money": r"-?[$€£¥] ?-?\d[\d.,]*|-?\d[\d.,]* ?([$€£¥]|USD|EUR|GBP|CHF)",
    "share": r"-?\d+([.,]\d+)? ?%",
}
"""How whole values are written."""
MONEY = frozenset(
    {
        *("price", "fare", "cost", "amount", "tip", "tips", "toll"),
        *("tolls", "salary", "income", "revenue", "fee", "pay"),
    }
)
PLACES = frozenset(
    {
        *("city", "town", "state", "country", "county", "zone", "borough"),
        *("region", "province", "place", "address", "street"),
    }
)
KEYS = frozenset(
    {
        *("id", "ids", "uuid", "guid", "key", "index", "idx"),
        *("code", "number", "nr", "no"),
    }
)
MISSING_CODES = frozenset(
    sign * float("9" * digits) for digits in range(2, 7) for sign in (1, -1)
) | {-1.0}
UNIT = re.compile(r"\s*(-?(?:\d+(?:[.,]\d+)*|\.\d+))\s*([^\d\s.,-][^\d]{0,15}?|%)?\s*")
"""A number and its unit, if it has one."""


@dataclass(frozen=True)
class Kind:
    """The word for a kind, and the share of the values that are of it."""

    word: str
    share: float = 1.0


def kind_of(column: Column) -> Kind:
    """What the column holds."""
    if not column.present:
        return Kind("empty")
    if column.is_time:
        return Kind("date")
    if not column.is_text and not column.is_number:
        return Kind("boolean")
    return _of_numbers(column) if column.is_number else _of_texts(column)


def _of_numbers(column: Column) -> Kind:  # noqa: PLR0911 (one for each kind)
    name, values = words(column.name), column.numbers
    whole = bool(np.all(values == np.floor(values)))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if whole and set(values) <= {0.0, 1.0}:
        return Kind("boolean")
    keyed = bool(name) and name[-1] in KEYS
    if whole and len(values) == column.present >= FEW_ROWS and (keyed or _gapless(values)):
        return Kind("key")
    if whole and keyed:
        return Kind("category")
    if whole and 1500 <= low <= high <= 2200 and (high > 1900 or "year" in name):  # noqa: PLR2004
        return Kind("year")
    if MONEY & set(name):
        return Kind("money")
    if whole:
        return Kind("count" if low >= 0 else "number")
    if 0 <= low <= high <= 1:
        return Kind("share")
    return Kind("number")


def _gapless(values: np.ndarray) -> bool:
    return float(values.max() - values.min()) == len(values) - 1


def _of_texts(column: Column) -> Kind:  # noqa: PLR0911 (one for each kind)
    places, texts = column.some
    sound = [
        text[:LONGEST]
        for text, blank in zip(texts, column.blanks[places], strict=True)
        if not blank
    ]
    if not sound:
        return Kind("empty")
    if {text.strip().lower() for text in sound} <= {
        "yes",
        "no",
        "y",
        "n",
        "true",
        "false",
        "t",
        "f",
    }:
        return Kind("boolean")
    name = words(column.name)
    for word, pattern in FORMS.items():
        form = re.compile(pattern)
        share = sum(form.fullmatch(text.strip()) is not None for text in sound) / len(sound)
        if share >= NEARLY and (word != "phone" or "phone" in name or _spaced(sound)):
            return Kind(word, share)
    found = [UNIT.fullmatch(text) for text in sound]
    numbers = sum(match is not None for match in found) / len(sound)
    if numbers >= NEARLY and any(match is not None and match[2] for match in found):
        return Kind("quantity", numbers)
    repeats = column.present / max(len(column.values), 1)
    if len(column.values) == column.present >= FEW_ROWS and all(" " not in text for text in sound):
        return Kind("key")
    if name and name[-1] in PLACES:
        return Kind("place")
    if repeats >= 2 or column.present < FEW_ROWS:  # noqa: PLR2004 (twice in the mean)
        return Kind("category")
    return Kind("text")


def _spaced(texts: list[str]) -> bool:
    """Whether most are written with a plus, brackets or blanks, as telephone numbers are."""
    return sum(bool(re.search(r"[+() ]|\d-\d", text)) for text in texts) > len(texts) / 2


def units(column: Column) -> tuple[list[str], np.ndarray, np.ndarray]:
    """How numbers that are written as text name their units.

    The spellings ("" for none), for each value the place of its own or -1 if it is no number, and
    the numbers.
    """
    texts = column.texts(np.arange(len(column.values)))
    found = [UNIT.fullmatch(text) for text in texts]
    spelt = [None if match is None else (match[2] or "").strip() for match in found]
    names = sorted({unit for unit in spelt if unit is not None})
    place = {unit: number for number, unit in enumerate(names)}
    numbers = np.array([np.nan if match is None else _read(match[1]) for match in found])
    return names, np.array([-1 if unit is None else place[unit] for unit in spelt]), numbers


def _read(text: str) -> float:
    """A number, its last comma or point followed by other than three digits a decimal one."""
    plain = text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text) else text
    try:
        return float(plain.replace(",", "."))
    except ValueError:
        return float("nan")


def date_orders(texts: list[str]) -> Counter[str]:
    """How many dates can only be day before month, and how many only month before day."""
    found: Counter[str] = Counter()
    for text in texts:
        match = re.match(r"(\d{1,2})[-/.](\d{1,2})[-/.]\d{2,4}\b", text.strip())
        if match:
            one, two = int(match[1]), int(match[2])
            if one > 12 >= two:  # noqa: PLR2004 (months)
                found["day first"] += 1
            elif two > 12 >= one:  # noqa: PLR2004
                found["month first"] += 1
    return found


def zeros(column: Column) -> bool:
    """Whether zeros are few (at most 2 %) in a column of positive values, and stand apart.

    Counts: one is far more frequent than none. Other numbers: nothing is near 0, or the zeros are
    far more frequent than any of the smallest values beside them.
    """
    values, counts = column.numbers, column.counts
    at = np.flatnonzero(values == 0)
    share = counts[at].sum() / max(column.present, 1)
    rest = values != 0
    if not len(at) or not 0 < share <= 0.02 or np.nanmin(values) < 0 or rest.sum() < 3:  # noqa: PLR2004
        return False
    zero, least = int(counts[at].sum()), float(np.nanmin(values[rest]))
    order = np.flatnonzero(rest)
    reached = np.cumsum(counts[order]) / counts[order].sum()
    low, middle = values[order][np.searchsorted(reached, (0.01, 0.5))]
    if bool(np.all(values == np.floor(values))) and least == 1:
        return zero <= 0.05 * int(counts[values == 1].sum())
    near = order[values[order] <= max(low, least)]
    return least > 0.2 * middle or (share <= 0.01 and zero >= max(10, 3 * counts[near].max()))  # noqa: PLR2004


def missing_codes(column: Column) -> np.ndarray:
    """Which values are codes for a missing one: 99, 999, -1 …, frequent and beyond all others."""
    values, counts = column.numbers, column.counts
    marked = np.zeros(len(values), bool)
    if len(values) < 5 or not column.is_number:  # noqa: PLR2004 (too few to tell)
        return marked
    for place, inner in ((len(values) - 1, len(values) - 2), (0, 1)):
        value, beside = values[place], values[inner]
        others = np.delete(values, place)
        wide = float(np.nanmax(others) - np.nanmin(others))
        far = abs(value - beside) > 0.5 * wide if abs(value) > 1 else beside >= 0
        beyond = counts[-6:-1] if place else counts[1:6]
        often = counts[place] >= max(3, 3 * int(np.median(beyond)))
        marked[place] = value in MISSING_CODES and bool(far) and bool(often)
    return marked
