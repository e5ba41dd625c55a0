"""Cells that break a dependency between columns which nearly all other rows keep.

    pairs of columns ──▶ approximate functional dependencies X → Y (Huhtala et al. 1999: TANE)
    rows that break some ──▶ the cell that explains most broken ones, one after another

A dependency says: rows with equal X have equal Y. Where the rows of a group mostly agree, a row
that does not breaks it; the cell that takes part in most broken dependencies is at fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe_tables.found import Suspect
from dqpipe_tables.profile import Column

SCREENED = 20_000
"""Rows among which pairs of columns are looked through."""
KEPT, LIFT = 0.9, 0.3
"""Share of the rows that keep a dependency, and how much of the disagreement may be left."""
SPLIT = 0.02
"""Share of the groups that have two values, each of them several times: then it is none."""
ALWAYS, SEVERAL = 0.8, 5
"""Share of the rows with one value somewhere that break a dependency, and how many rows, from which
they do so as a rule, and not by mistake."""
AGREE, VOTERS = 0.6, 2
"""Share of a group that agrees on a value, and how many more than one have it."""
WIDEST = 60
"""Columns that are looked at."""


@dataclass(frozen=True, eq=False)
class Dependency:
    """X → Y: of each row [n] the value (code) most of its group has, -1 where there is none.

    `share` [n] of the group that has it, and `votes` [n] how many rows that are.
    """

    x: int
    y: int
    expected: np.ndarray
    share: np.ndarray
    votes: np.ndarray


def broken(columns: Sequence[Column], seed: int) -> Iterator[Suspect]:
    """The cells that explain broken dependencies, with the value that their group has."""
    usable = [
        i
        for i, column in enumerate(columns)
        if 1 < (column.counts > 0).sum() <= len(column) / 2
        and column.missing.mean() < 0.5  # noqa: PLR2004
        and not _measured(column)
    ][:WIDEST]
    found = [
        dependency
        for x in usable
        for y in usable
        if x != y and _holds(columns[x], columns[y], seed)
        if (dependency := _expected(columns, x, y))
    ]
    if not found:
        return
    wrong = np.stack([_wrong(columns, d) for d in found], 1)
    for row in np.flatnonzero(wrong.any(1)):
        yield from _blamed(columns, found, wrong[row], int(row))


def _measured(column: Column) -> bool:
    """Whether a column holds measurements: equal fractions determine nothing."""
    x = column.parsed[np.isfinite(column.parsed)]
    return column.numbers is not None and bool((x != np.floor(x)).any())


def _wrong(columns: Sequence[Column], d: Dependency) -> np.ndarray:
    """[n] bool: rows that break a dependency, but for those that do as a rule."""
    wrong = (d.expected >= 0) & (d.expected != columns[d.y].code)
    rows = np.flatnonzero(wrong)
    usual = np.zeros(len(rows), dtype=bool)
    for z, column in enumerate(columns):
        if z in (d.x, d.y) or not len(rows):
            continue
        code = column.code[rows]
        here = np.bincount(code[code >= 0], minlength=len(column.counts))
        rule = (here >= SEVERAL) & (here >= ALWAYS * column.counts)
        usual |= (code >= 0) & rule[np.maximum(code, 0)]
    wrong[rows[usual]] = False
    return wrong


def _holds(x: Column, y: Column, seed: int) -> bool:
    """Whether X nearly determines Y, and more than chance does, on some of the rows."""
    n = len(x)
    rows = np.arange(n)
    if n > SCREENED:
        # Whole groups: single rows of many groups would say nothing.
        codes = np.unique(x.code)
        keep = np.random.default_rng([seed, len(codes)]).random(int(codes.max()) + 2) < SCREENED / n
        rows = np.flatnonzero(keep[x.code])[: 2 * SCREENED]
    a, b = x.code[rows], y.code[rows]
    there = (a >= 0) & (b >= 0) & ~x.missing[rows]
    a, b = a[there], b[there]
    if len(a) < 10:  # noqa: PLR2004
        return False
    _, group, size = np.unique(a, return_inverse=True, return_counts=True)
    several = size[group] > VOTERS
    if several.sum() < 0.2 * len(a) or (size > VOTERS).sum() < 2:  # noqa: PLR2004
        return False
    pair, counts = np.unique(group[several] * (len(y.texts) + 1) + b[several], return_counts=True)
    most = np.zeros(len(size), np.int64)
    np.maximum.at(most, pair // (len(y.texts) + 1), counts)
    kept = most.sum() / several.sum()
    again = counts[(counts > 1) & (counts < most[pair // (len(y.texts) + 1)])]
    split = len(
        np.unique(
            pair[(counts > 1) & (counts < most[pair // (len(y.texts) + 1)])] // (len(y.texts) + 1)
        )
    )
    if again.size and split > SPLIT * (size > VOTERS).sum():
        return False
    base = np.bincount(b[several]).max() / several.sum()
    return bool(kept >= KEPT and (1 - kept) <= LIFT * (1 - base))


def _expected(columns: Sequence[Column], x: int, y: int) -> Dependency | None:
    """The value of Y that most rows of each group of X have."""
    a, b = columns[x].code, columns[y].code
    there = (a >= 0) & ~columns[x].missing
    width = len(columns[y].texts) + 1
    pair, counts = np.unique(a[there] * width + b[there] + 1, return_counts=True)
    group = pair // width
    order = np.lexsort((pair, -counts, group))
    group, pair, counts = group[order], pair[order], counts[order]
    first = np.r_[True, group[1:] != group[:-1]]
    sizes = np.bincount(a[there], minlength=len(columns[x].texts))
    value = np.full(len(columns[x].texts), -1, np.int64)
    share = np.zeros(len(columns[x].texts))
    best, top = pair[first] % width - 1, counts[first]
    # the row itself has no vote: what is left must agree
    agree = (top > VOTERS - 1) & (top / sizes[group[first]] >= AGREE) & (best >= 0)
    value[group[first][agree]] = best[agree]
    share[group[first][agree]] = (top / sizes[group[first]])[agree]
    expected = np.where(there, value[np.maximum(a, 0)], -1)
    if not (expected >= 0).any():
        return None
    votes = np.zeros(len(value), np.int64)
    votes[group[first]] = top
    return Dependency(x, y, expected, share[np.maximum(a, 0)], votes[np.maximum(a, 0)])


def _blamed(
    columns: Sequence[Column], found: Sequence[Dependency], wrong: np.ndarray, row: int
) -> Iterator[Suspect]:
    """Of one row the cells that explain its broken dependencies, the one with most first."""
    active = [(d.x, d.y) for d in found if d.expected[row] >= 0]
    open_ = {(d.x, d.y): d for d, bad in zip(found, wrong, strict=True) if bad}
    while open_:
        votes: dict[int, int] = {}
        for x, y in open_:
            votes[x], votes[y] = votes.get(x, 0) + 1, votes.get(y, 0) + 1
        degree = {c: sum(c in edge for edge in active) for c in votes}
        as_y = {c: sum(c == y for _, y in open_) for c in votes}
        best = max(votes, key=lambda c: (votes[c], as_y[c], votes[c] / degree[c], -c))
        explains = [edge for edge in open_ if best in edge]
        inward = [open_[edge] for edge in explains if edge[1] == best]
        # dependencies on this column that the row keeps speak for its value
        kept = sum(d.y == best and d.expected[row] == columns[best].code[row] for d in found)
        if kept < votes[best] and votes[best] / max(degree[best], 1) >= 0.5:  # noqa: PLR2004 (most of what it takes part in)
            yield _suspect(columns, best, inward, row, votes[best])
        for edge in explains:
            del open_[edge]


def _suspect(
    columns: Sequence[Column], y: int, inward: Sequence[Dependency], row: int, votes: int
) -> Suspect:
    column = columns[y]
    if not inward:
        why = f"{votes} other columns do not fit this value"
        return Suspect(row, column.name, "dependency", float(votes), None, why)
    best = max(inward, key=lambda d: (d.share[row], -d.x))
    suggestion = str(column.texts[best.expected[row]])
    other = columns[best.x]
    given = str(other.texts[other.code[row]])[:60]
    why = f"{best.votes[row]:,} rows with {other.name} {given!r} have {suggestion[:60]!r}"
    return Suspect(row, column.name, "dependency", float(votes), suggestion, why)
