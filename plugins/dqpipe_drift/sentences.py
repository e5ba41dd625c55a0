"""Sentences about drift; each ends in an open bracket, to which effect and p value are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqpipe import plural, sentences

SHOWN = 3
"""Categories that a sentence names at most."""
NEARLY = 0.05
"""Difference in the share of missing or infinite values from which a sentence mentions it."""
RARE = {"missing": np.isnan, "infinite": np.isinf}

MILLE, ENDLESS = 1e3, 1e15
"""Numbers between these limits are written in full."""


def of_numbers(name: str, old: np.ndarray, new: np.ndarray, count: int) -> str:
    """How numbers [n] differ from [m].

    Lower or higher, spread differently, or missing or infinite more or less often; NaN is missing.
    """
    told = {
        word: [float(test(values).mean()) if len(values) else 0.0 for values in (new, old)]
        for word, test in RARE.items()
    }
    shown = [values[np.isfinite(values)] for values in (new, old)]
    if not all(map(len, shown)):
        word, (here, there) = max(told.items(), key=lambda item: abs(item[1][0] - item[1][1]))
        return (
            f"in the {_new(count)} {name} is {word} {'more' if here > there else 'less'} often "
            f"than before ({here:.0%} instead of {there:.0%}"
        )
    (low, here, high), (old_low, there, old_high) = (
        np.quantile(values, [0.25, 0.5, 0.75]).tolist() for values in shown
    )
    rest = "".join(
        f"; {word} in {now:.0%} instead of {then:.0%}"
        for word, (now, then) in told.items()
        if abs(now - then) > NEARLY
    )
    if abs(here - there) > 0.25 * min(high - low, old_high - old_low) and _told(here) != _told(
        there
    ):
        word = "lower" if here < there else "higher"
        return (
            f"in the {_new(count)} {name} is {word} than before (median {_told(here)} instead of "
            f"{_told(there)}{rest}"
        )
    between = (
        f"half of them lie between {_told(low)} and {_told(high)} instead of {_told(old_low)} and "
        f"{_told(old_high)}"
    )
    return f"in the {_new(count)} {name} is spread differently than before ({between}{rest}"


def _told(value: float) -> str:
    """A number with three significant digits; whole from a thousand on."""
    return f"{value:,.0f}" if MILLE <= abs(value) < ENDLESS else f"{value:.3g}"


def of_categories(name: str, names: Sequence[str | None], old: np.ndarray, new: np.ndarray) -> str:
    """The categories whose share of the new samples differs most, of counts [k]."""
    here, there = new / max(new.sum(), 1), old / max(old.sum(), 1)
    most = np.argsort(-np.abs(here - there), kind="stable")[:SHOWN]
    told = [
        (
            f"{here[at]:.0%} {sentences.named(names[at]) if name == 'label' else names[at]} "
            f"instead of {there[at]:.0%}"
        )
        for at in most
        if here[at] != there[at]
    ]
    return (
        f"in the {_new(int(new.sum()))} {name} is mixed differently than before "
        f"({sentences.joined(told) or 'no difference'}"
    )


def of_vectors(name: str, count: int, effect: float) -> str:
    """How well new samples can be distinguished from old ones by their vectors."""
    lies = f"the {_new(count)} {plural(count, 'lies')} elsewhere in {name}"
    return (
        f"{lies} than the old ones (a new one is told from an old one {50 + 50 * effect:.0f} times "
        f"in 100"
    )


def _new(count: int) -> str:
    return "new sample" if count == 1 else f"{count:,} new samples"
