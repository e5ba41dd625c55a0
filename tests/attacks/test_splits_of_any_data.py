"""Splits of data as people have them: sizes hold, odd values are values or one clear error."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_splits import links, strata, timeline
from dqpipe_splits.assignment import Wanted, made
from dqpipe_splits.split import Split
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.data.tables import Facts, Samples
from dqpipe.errors import PlanError


def samples(count: int, **columns: Any) -> Samples:
    """Samples with these columns."""
    ids = pa.array([f"{number:06}" for number in range(count)], pa.string())
    return Samples(pa.table({"id": ids, **columns}))


def assigned(of: Samples, **options: Any) -> list[str]:
    """The split of each sample."""
    stage = Split(copies=None, remember=False, **options)
    nothing = Facts(of.table.select(["id"]))
    return list(stage.relate(of, nothing, None)["assigned"])  # type: ignore[arg-type]


def shares(found: list[str]) -> dict[str, float]:
    """The share of each split."""
    return {name: found.count(name) / len(found) for name in ("train", "validation", "test")}


@pytest.mark.parametrize(
    ("classes", "each"), [(200, 1), (2000, 1), (500, 2), (1000, 3), (300, 5), (5000, 2)]
)
def test_classes_of_few_samples_take_no_size_from_a_split(classes: int, each: int) -> None:
    labels = [f"{number:05}" for number in range(classes) for _ in range(each)]
    found = assigned(samples(len(labels), label=labels))
    for name, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items():
        assert shares(found)[name] == pytest.approx(share, abs=0.01)
    apart = {(label, split) for label, split in zip(labels, found, strict=True)}
    if each > 1:  # a class is in training before it is in another split twice
        assert len({label for label, split in apart if split == "train"}) >= 0.8 * classes


@pytest.mark.parametrize(
    "values",
    [
        pa.array([float("nan")] * 50 + [1.0, 2.0] * 25, from_pandas=False),
        pa.array([""] * 50 + ["a", "b"] * 25),
        pa.array([" "] * 50 + [None] * 50),
        pa.nulls(100),
    ],
)
def test_what_is_empty_belongs_to_nobody(values: pa.Array) -> None:
    codes = links.by_values("g", values).codes
    assert (codes[:50] == -1).all()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2]] * 50),
        pa.array([{"a": 1}, None] * 50),
        pa.array(range(100), pa.timestamp("ns")),
        pa.array(range(100), pa.duration("ns")),
        pa.array(range(100), pa.time32("s")),
        pa.array(range(100), pa.date32()),
        pa.array([2**63 - 1 - number for number in range(100)]),
        pa.array([float("nan"), float("inf")] * 50, from_pandas=False),
        pa.array([b"a", b"\xff"] * 50),
        pa.array([True, None] * 50),
        pa.array(["a", None] * 50).dictionary_encode(),
    ],
)
def test_columns_of_any_kind_are_strata(values: pa.Array) -> None:
    found = shares(assigned(samples(100, c=values), stratify=("c",)))
    assert found == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1})


def test_times_far_away_in_other_zones_and_without_end_are_times_or_none() -> None:
    def seconds(values: pa.Array) -> list[float]:
        return timeline.seconds("t", pa.chunked_array([values])).tolist()

    texts = ["0001-01-01", "9999-12-31", "2026-01-01T00:00:00+02:00", "2025-12-31T22:00:00Z"]
    first, last, here, there = seconds(pa.array(texts))
    assert (first, last, here) == (-62135596800.0, 253402214400.0, there)
    assert np.isnan(seconds(pa.array([float("inf"), float("-inf"), None]))).all()
    assert np.isnan(seconds(pa.nulls(2))).all()


@pytest.mark.parametrize("gap", [-1, float("nan"), float("inf"), "-7d", "7 days", ""])
def test_a_gap_is_a_time_of_at_least_nothing(gap: float | str) -> None:
    with pytest.raises(PlanError, match="gap is"):
        timeline.duration(gap)


NAMES = ("train", "trainval", "validation", "test")
KINDS = {"train": "training", "trainval": "training", "validation": "validation", "test": "test"}
WANTED = Wanted.of(dict.fromkeys(NAMES, 0.25), KINDS)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6),
    st.integers(0, 1000),
)
def test_a_repair_makes_the_fewest_moves_there_are(rows: list[tuple[int, int]], seed: int) -> None:
    base, groups = np.array([split for split, _ in rows]), [group for _, group in rows]
    ids = np.array([f"{number}" for number in range(len(rows))], dtype=object)
    link = links.by_values("g", pa.array(groups))
    found = made(ids, [link], strata.NONE, base, WANTED, seed=seed, repair=True).split
    ranks = WANTED.ranks

    def crosses(split: tuple[int, ...] | np.ndarray) -> bool:
        sides: dict[int, set[int]] = {}
        for group, where in zip(groups, split, strict=True):
            sides.setdefault(group, set()).add(int(ranks[where]))
        return any(len(side) > 1 for side in sides.values())

    least = min(
        sum(new != old for new, old in zip(tried, base, strict=True))
        for tried in itertools.product(range(len(NAMES)), repeat=len(rows))
        if not crosses(tried)
    )
    assert not crosses(found)
    assert int((found != base).sum()) == least
