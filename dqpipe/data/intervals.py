"""Exact intervals for shares that were counted in a sample, and an exact test of shares against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence

RISK = 0.01
"""The probability that `more_than_others` names any group at all where chance alone is at work."""
TIMES, APART = 1.5, 0.02
"""How many times the share of all others a group's share must be, and how far above it,
to matter.
"""


def clopper_pearson(hits: int, looked: int, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of Clopper & Pearson (1934) for a share of which `hits` of `looked`
    were seen; each side errs with (1 - level) / 2.
    """
    aside = (1 - level) / 2
    return lower_bound(hits, looked, aside), upper_bound(hits, looked, aside)


def lower_bound(hits: int, looked: int, risk: float = 0.05) -> float:
    """The one-sided lower confidence bound.

    The share is below it with a probability of at most `risk`.
    """
    from scipy.special import betaincinv

    return float(betaincinv(hits, looked - hits + 1, risk)) if hits else 0.0


def upper_bound(hits: int, looked: int, risk: float = 0.05) -> float:
    """The one-sided upper confidence bound.

    The share is above it with a probability of at most `risk`.
    """
    from scipy.special import betaincinv

    return float(betaincinv(hits + 1, looked - hits, 1 - risk)) if hits < looked else 1.0


def more_than_others(hits: Sequence[int], counts: Sequence[int]) -> list[bool]:
    """Which groups were hit more than chance explains (Fisher's exact test, Holm's correction for
    the number of groups), and by enough to matter.
    """
    from scipy.stats import hypergeom

    every, total = sum(hits), sum(counts)
    p = [
        float(hypergeom.sf(hit - 1, total, every, count))
        for hit, count in zip(hits, counts, strict=True)
    ]
    sure = [False] * len(p)
    for rank, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        if p[at] * (len(p) - rank) >= RISK:
            break
        share, rest = hits[at] / counts[at], (every - hits[at]) / max(total - counts[at], 1)
        sure[at] = share >= TIMES * rest and share - rest >= APART
    return sure


def chance(count: int, n: int, was: int, m: int) -> float:
    """The probability that chance alone moves a share so far from `was` of `m` to `count` of `n`,
    in that direction (Fisher's exact test, one-sided).
    """
    from scipy.stats import hypergeom

    spread = hypergeom(n + m, count + was, n)
    return float(spread.sf(count - 1) if count * m >= was * n else spread.cdf(count))
