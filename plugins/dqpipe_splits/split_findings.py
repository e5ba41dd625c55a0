"""Findings and metrics of splits.

Findings say what links samples of two splits, what was moved, and which requested split could not
be made, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dqpipe import Facts, Samples, claim, figure, many
from dqpipe import splits as split_kinds
from dqpipe_splits import timeline
from dqpipe_splits.assignment import Wanted
from dqpipe_splits.links import Link, chained, crossings
from dqpipe_splits.strata import Strata

if TYPE_CHECKING:
    import pandas as pd

CHAIN = "a chain of such links"
"""The link of samples that only others link to a sample of another split."""
UNUSED = "unused"
"""The split of samples that no other may have, for the sake of time."""
SHOWN = 5
"""Classes that a sentence names at most."""
MOST_CLASSES = 50
"""Classes of which the share in each split is a figure, at most."""


def linked(
    ids: np.ndarray, links: Sequence[Link], component: np.ndarray, ranks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By row [n] the name of what links it to a sample of a later split (`ranks` [n], -1 for none),
    and that sample; else None.
    """
    found = crossings(links, ranks)
    indirect, first = chained(component, ranks)
    names = np.array([*(link.name for link in links), None], dtype=object)[found.link]
    names[indirect & (found.link < 0)] = CHAIN
    at = np.where(found.match >= 0, found.match, first)
    return names, chosen(at >= 0, ids[at])


def chosen(where: np.ndarray, values: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Of each row [n] the value, or the other one (None where there are none), as objects."""
    found = np.full(len(where), None, dtype=object) if others is None else others.astype(object)
    found[where] = values[where]
    return found


def leaks(samples: Samples, facts: Facts, told: str | None) -> Iterator[pd.DataFrame]:
    """Claims on samples that share something with a sample of a later split.

    Of the link `told` its own stage tells.
    """
    link, assigned = facts["link"], facts["assigned"]
    here = np.array([one is not None and one != told for one in link]) & ~facts["moved"].astype(
        bool
    )
    if not here.any():
        return
    place = {sample: row for row, sample in enumerate(samples.ids.tolist())}
    kinds = _kinds(samples, assigned)
    training = np.array([kinds.get(name) == "training" for name in assigned], dtype=bool)
    severities = np.where(training & (link != CHAIN), "error", "warning")
    for severity in ("error", "warning"):
        rows = np.flatnonzero(here & (severities == severity))
        match = facts["match"][rows]
        detail = [
            f"shares {link[row]} with {other}" + _of_split(assigned, place, other)
            for row, other in zip(rows, match, strict=True)
        ]
        yield claim(
            "leak",
            samples.ids[rows],
            severity=severity,
            match=list(match),
            confidence=1.0,
            detail=detail,
        )


def moved(samples: Samples, facts: Facts) -> Iterator[pd.DataFrame]:
    """Claims on samples that were moved, with where from and why."""
    rows = np.flatnonzero(facts["moved"].astype(bool))
    old, new, link, match = (facts[name][rows] for name in ("moved", "assigned", "link", "match"))
    detail = [
        f"moved from {one} to {two}: shares {by} with {other}"
        for one, two, by, other in zip(old, new, link, match, strict=True)
    ]
    yield claim("moved", samples.ids[rows], match=list(match), detail=detail)


def sizes(
    facts: Facts, wanted: Mapping[str, float], tolerance: float, *, timed: bool
) -> Iterator[pd.DataFrame]:
    """A claim for each split that is not of the size that is `wanted`, with why.

    And one for samples in none.
    """
    assigned, count = facts["assigned"], max(len(facts), 1)
    largest = _component_sizes(facts).max(initial=1) / count
    given = float(facts["given"].astype(bool).mean()) if len(facts) else 0.0
    reasons = [
        "time decides where a cut can be" if timed else "",
        f"{given:.3g} of the samples stay where they were" if given > tolerance else "",
        f"the largest of what belongs together has {largest:.3g} of the samples"
        if largest > tolerance / 2
        else "",
    ]
    why = (
        "; ".join(filter(None, reasons))
        or f"{many(len(facts), 'sample')} in so few groups cannot be shared out more evenly"
    )
    for name, share in wanted.items():
        has = float((assigned == name).mean()) if len(facts) else 0.0
        if abs(has - share) > tolerance:
            detail = (
                f"{name} has a share of {has:.3g} of the samples where {share:g} is wanted, "
                f"{abs(has - share):.2g} off: {why}"
            )
            yield claim("off_target", [None], part=name, value=has, threshold=share, detail=detail)
    left = int((assigned == UNUSED).sum())
    if left:
        detail = (
            f"{many(left, 'sample')} in no split: they lie in a gap, have no time, or belong to "
            f"what spans a cut"
        )
        yield claim("unused", [None], value=left / count, detail=detail)


def order(
    samples: Samples, facts: Facts, time: np.ndarray, gap: float, wanted: Mapping[str, float]
) -> Iterator[pd.DataFrame]:
    """A claim for each split with samples that are not later than all of those before it, and the
    gap.
    """
    assigned = facts["assigned"]
    names = wanted or dict.fromkeys(
        sorted({name for name in assigned if name is not None and name != UNUSED}), 1.0
    )
    known = Wanted.of(names, _kinds(samples, assigned))
    split = np.array([known.number.get(name, -1) for name in assigned], dtype=np.int64)
    early = timeline.out_of_order(time, split, len(known.names), gap)
    for number, name in enumerate(known.names):
        if count := int((early & (split == number)).sum()):
            detail = (
                f"{many(count, 'sample')} of {name} not later than all of the splits before"
                + (" and the gap" if gap else "")
            )
            yield claim("order", [None], part=name, value=float(count), detail=detail)


def absent(facts: Facts, strata: Strata) -> Iterator[pd.DataFrame]:
    """A claim for each split that has no sample of some class, with how often these are there."""
    table, names = _table(facts["assigned"], strata)
    components = _groups_of(facts, strata)
    for row, name in enumerate(names):
        lacks = [
            code
            for code in np.flatnonzero((table[row] == 0) & (table.sum(axis=0) > 0)).tolist()
            if strata.names[code] != "without"
        ]
        if lacks and name != UNUSED:
            few = sum(components[code] < len(names) for code in lacks)
            shown = ", ".join(strata.names[code] for code in lacks[:SHOWN]) + (
                " …" if len(lacks) > SHOWN else ""
            )
            why = f"; {few} of them in fewer groups than there are splits" if few else ""
            detail = (
                f"{name} has no sample of {len(lacks)} of {len(strata.names)} classes or ranges: "
                f"{shown}{why}"
            )
            yield claim("absent", [None], part=name, value=float(len(lacks)), detail=detail)


def figures(
    samples: Samples, facts: Facts, strata: Strata, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Sizes, balance and class shares of each split, sizes and balance of each fold, and what
    belongs together.
    """
    assigned, count = facts["assigned"], max(len(facts), 1)
    rows = _balance(assigned, strata, "")
    table, names = _table(assigned, strata)
    if len(strata.names) <= MOST_CLASSES:
        for split, of in zip(
            names,
            table / np.maximum([[(assigned == name).sum()] for name in names], 1),
            strict=True,
        ):
            shares = zip(strata.names, of.tolist(), strict=True)
            rows += [
                figure("class_share", share, scope="split", key=f"{split}: {name}")
                for name, share in shares
                if name != "without" or share
            ]
    for column in columns:
        numbers = [
            None if one is None or one != one else f"{column} {int(one)}"  # noqa: PLR0124
            for one in facts[column]  # noqa: PLR0124, RUF100
        ]
        rows += _balance(
            np.array(numbers, dtype=object), strata, f"of the samples that have a {column}"
        )
    _, component = np.unique(
        [one or own for one, own in zip(facts["component"], samples.ids, strict=True)],
        return_inverse=True,
    )
    kinds = _kinds(samples, assigned)
    sides = {
        name: 0 if kinds.get(name) == "training" else number + 1
        for number, name in enumerate(names)
    }
    ranks = np.array(
        [sides[name] if name in sides and name != UNUSED else -1 for name in assigned],
        dtype=np.int64,
    )
    up, down = (
        chained(component, ranks)[0],
        chained(component, np.where(ranks >= 0, len(names) + 1 - ranks, -1))[0],
    )
    number = int(component.max(initial=-1)) + 1
    return [
        *rows,
        figure("components", float(number)),
        figure("largest", float(np.bincount(component).max(initial=0)) / count),
        figure("crossing", float((up | down).sum()) / count),
        figure("moves", float(facts["moved"].astype(bool).sum())),
    ]


def _balance(of: np.ndarray, strata: Strata, detail: str) -> list[dict[str, Any]]:
    """Size and imbalance of the parts that the samples [n] are in, None for none."""
    there = of.astype(bool)
    table, names = _table(of, strata)
    sizes = np.array([(of == name).sum() for name in names], dtype=float)
    whole = table.sum(axis=0) / max(there.sum(), 1)
    rows = []
    for name, size, held in zip(names, sizes, table, strict=True):
        rows.append(
            figure(
                "size",
                size / max(there.sum(), 1),
                scope="split",
                key=name,
                detail=detail or many(int(size), "sample"),
            )
        )
        if len(whole) and size:
            away = np.abs(held / size - whole)
            rows.append(
                figure(
                    "imbalance",
                    float(away.max()),
                    scope="split",
                    key=name,
                    detail=f"most of all {strata.names[int(away.argmax())]}",
                )
            )
    return rows


def _table(of: np.ndarray, strata: Strata) -> tuple[np.ndarray, list[str]]:
    """How many samples of each stratum are in each part [parts, strata], and the parts' names in
    order.
    """
    names, code = np.unique(
        np.array(["" if one is None else one for one in of], dtype=object).astype(str),
        return_inverse=True,
    )
    flat = code[strata.rows] * len(strata.names) + strata.codes
    table = np.bincount(flat, minlength=len(names) * len(strata.names)).reshape(len(names), -1)
    keep = names != ""
    return table[keep], names[keep].tolist()


def _groups_of(facts: Facts, strata: Strata) -> np.ndarray:
    """How many components have a sample of each stratum."""
    import pandas as pd

    own = np.array([one or f"\0{row}" for row, one in enumerate(facts["component"])], dtype=object)
    pairs = pd.DataFrame({"stratum": strata.codes, "component": own[strata.rows]}).drop_duplicates()
    return np.bincount(pairs["stratum"].to_numpy(), minlength=len(strata.names))


def _component_sizes(facts: Facts) -> np.ndarray:
    import pandas as pd

    return pd.Series(facts["component"]).dropna().value_counts().to_numpy()


def _kinds(samples: Samples, assigned: np.ndarray) -> dict[str, str]:
    """What each split is for: as the dataset says, where it has these."""
    known: dict[str, str] = dict(split_kinds.kinds_in(samples.table))
    return {**split_kinds.kinds(pa.array(assigned, pa.string())), **known}


def _of_split(assigned: np.ndarray, place: Mapping[str, int], sample: str) -> str:
    return f" of the split {assigned[place[sample]]}" if sample in place else ""
