"""Exact intervals for shares that were counted in a sample."""

from __future__ import annotations


def clopper_pearson(hits: int, looked: int, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of Clopper & Pearson (1934) for a share of which `hits` of `looked` were seen; each side errs with (1 - level) / 2."""
    aside = (1 - level) / 2
    return at_least(hits, looked, aside), at_most(hits, looked, aside)


def at_least(hits: int, looked: int, risk: float = 0.05) -> float:
    """The one-sided lower end: below it the share lies with at most this risk."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, looked - hits + 1, risk)) if hits else 0.0


def at_most(hits: int, looked: int, risk: float = 0.05) -> float:
    """The one-sided upper end: above it the share lies with at most this risk."""
    from scipy.special import betaincinv

    return float(betaincinv(hits + 1, looked - hits, 1 - risk)) if hits < looked else 1.0
