"""Each order is a good one from its beginning, budgets are met, evaluation samples are
left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_vectors.coresets import METHODS, Order, facility_location, herding, k_centre, semantic
from dqpipe_vectors.select import Select, merged

from dqpipe.api import Pipeline
from dqpipe.data.nearest import unit
from dqpipe.data.tables import Facts, Samples, fact_array
from dqpipe.errors import ConfigError


def blobs(sizes: list[int], spread: float = 0.05, width: int = 16) -> np.ndarray:
    """Unit vectors around as many different directions, in this order."""
    centres = np.repeat(np.eye(width)[: len(sizes)], sizes, axis=0)
    return unit(centres + spread * np.random.default_rng(0).normal(size=centres.shape))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 40, 2600])
def test_every_order_holds_every_row_once_and_is_the_same_twice(method: str, count: int) -> None:
    units = unit(np.random.default_rng(1).normal(size=(count, 8)))
    first, again = METHODS[method](units, 3), METHODS[method](units, 3)
    assert sorted(first.rows) == list(range(count))
    assert first.rows.tolist() == again.rows.tolist()
    assert first.gain.tolist() == again.gain.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_are_no_trouble(method: str) -> None:
    assert sorted(METHODS[method](np.ones((50, 4), np.float32) / 2, 0).rows) == list(range(50))


def test_herding_keeps_the_mean_and_leaves_strangers_to_the_end() -> None:
    rng = np.random.default_rng(0)
    units = unit(np.concatenate([1 + rng.normal(size=(1500, 32)), -2 + rng.normal(size=(15, 32))]))
    order = herding(units, 0).rows
    off = [np.linalg.norm(units[order[:k]].mean(0) - units.mean(0)) for k in (50, 300)]
    by_chance = [
        np.linalg.norm(units[rng.permutation(len(units))[:k]].mean(0) - units.mean(0))
        for k in (50, 300)
    ]
    assert off[0] < by_chance[0] / 3
    assert off[1] < by_chance[1] / 3
    assert (order[:500] >= 1500).mean() < 0.02


@pytest.mark.parametrize("count", [300, 3000])
def test_k_centre_is_within_twice_the_least_radius(count: int) -> None:
    units = blobs([count // 10] * 10, 0.02)
    order = k_centre(units, 0)
    assert len({row * 10 // count for row in order.rows[:10]}) == 10, (
        "one of each group before a second of any"
    )
    assert (np.diff(order.gain) <= 0).all()


def test_facility_location_serves_the_largest_groups_first() -> None:
    units = blobs([200, 100, 50, 5])
    starts = np.searchsorted(
        np.cumsum([200, 100, 50, 5]), facility_location(units, 0).rows[:3], side="right"
    )
    assert 0 in starts
    assert 3 not in starts


def test_what_repeats_another_sample_goes_last_by_semantic_deduplication() -> None:
    units = unit(np.random.default_rng(0).normal(size=(100, 32)))
    units[50:60] = units[:10]
    order = semantic(units, 0)
    assert {row % 50 for row in order.rows[-10:]} == set(range(10))
    assert {row % 50 for row in order.twin[-10:]} == set(range(10))
    assert order.gain[-10:] == pytest.approx(0, abs=1e-6)


def test_classes_are_taken_in_proportion_or_evenly() -> None:
    orders = [Order.of(np.arange(0, 30), np.zeros(30)), Order.of(np.arange(30, 40), np.zeros(10))]
    assert np.bincount(merged(orders, even=False).rows[:20] // 30).tolist() == [15, 5]
    assert np.bincount(merged(orders, even=True).rows[:10] // 30).tolist() == [5, 5]
    assert sorted(merged(orders, even=True).rows) == list(range(40))


def test_the_default_beats_random_choice_on_digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits = load_digits()
    gains = []
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(len(digits.data))
        test, train = shuffled[:400], shuffled[400:]
        found = ranked(
            digits.data[train], [str(label) for label in digits.target[train]], seed=seed
        )["rank"]
        chosen = train[np.argsort(found)[: len(train) // 10]]
        right = []
        for rows in (chosen, train[: len(chosen)]):
            probe = LogisticRegression(C=0.1, max_iter=300).fit(
                digits.data[rows] / 16, digits.target[rows]
            )
            right.append(probe.score(digits.data[test] / 16, digits.target[test]))
        gains.append(right[0] - right[1])
    assert np.mean(gains) > 0.01


def given(
    vectors: np.ndarray, labels: list[str | None] | None = None, **columns: Any
) -> tuple[Samples, dict[str, Any]]:
    ids = [f"{row:05d}" for row in range(len(vectors))]
    label = {} if labels is None else {"label": pa.array(labels, pa.string())}
    return Samples(pa.table({"id": ids, "content": ids, **label, **columns})), {
        "v.v": fact_array(vectors, "vector[float32]")
    }


def ranked(
    vectors: np.ndarray,
    labels: list[str | None] | None = None,
    *,
    copies: list[str | None] | None = None,
    split: Any = None,
    **options: Any,
) -> Any:
    samples, columns = given(vectors, labels, **({} if split is None else {"split": split}))
    if copies is not None:
        columns["d.match"] = pa.array(copies, pa.string())
    stage = Select(vectors="v.v", copies=None if copies is None else "d.match", **options)
    return stage.at("relate").relate(
        samples, Facts(pa.table(columns)), None
    )  # what reads the budget here would raise


def judged(vectors: np.ndarray, **options: Any) -> tuple[list[str], dict[str, float]]:
    """The ids that are claimed, and the figures."""
    samples, columns = given(vectors)
    related = ranked(
        vectors,
        **{name: value for name, value in options.items() if name not in ("keep", "within")},
    )
    stage = Select(vectors="v.v", copies=None, **options)
    columns |= {
        fact.name: fact_array(related[fact.name], fact.type) for fact in stage.facts_at("relate")
    }
    facts = Facts(pa.table(columns))
    claims = pd.concat(stage.detect(samples, facts))
    return claims["id"].tolist(), {
        row["figure"]: row["value"] for row in stage.summarise(samples, facts)
    }


@pytest.mark.parametrize(("keep", "left"), [(0.3, 30), (1, 100), (17, 17), (500, 100), (0.001, 1)])
def test_a_budget_is_a_share_or_a_number(keep: float, left: int) -> None:
    claimed, figures = judged(np.random.default_rng(0).normal(size=(100, 8)), keep=keep)
    assert len(claimed) == 100 - left
    assert figures["chosen"] == left
    assert figures["vendi"] <= figures["vendi_of_all"] + 1 or left < 100


def test_what_is_chosen_covers_the_more_the_more_of_it_there_is() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 8))
    distances = [
        judged(vectors, keep=keep, method="facility_location")[1]["distance"]
        for keep in (0.05, 0.3, 1)
    ]
    assert distances[0] > distances[1] > distances[2] == pytest.approx(0, abs=1e-6)


def test_classes_of_one_are_not_forgotten_by_a_small_budget() -> None:
    found = ranked(
        np.random.default_rng(0).normal(size=(100, 8)),
        ["a"] * 50 + [f"b{row}" for row in range(50)],
    )["rank"]
    assert sum(rank < 20 for rank in found[50:]) == 10


def test_without_a_budget_semantic_deduplication_takes_a_distance() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 16))
    vectors[30:33] = vectors[:3] + 1e-4
    assert {int(i) % 30 for i in judged(vectors, method="semantic", within=0.01)[0]} == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "why"), [({"keep": 2.5}, "whole number"), ({"within": 0.1}, "semantic")]
)
def test_a_budget_that_cannot_be_meant_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Select(**options).check()


def test_evaluation_samples_have_no_rank_and_copies_come_last() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 8))
    split = ["test"] * 10 + ["train"] * 30
    found = ranked(
        vectors, ["a", "b"] * 20, split=split, copies=[None] * 20 + ["00000"] * 5 + [None] * 15
    )["rank"]
    assert list(found[:10]) == [None] * 10
    assert sorted(found[10:]) == list(range(30))
    assert sorted(found[20:25]) == [25, 26, 27, 28, 29]


@pytest.mark.parametrize("policy", ["", "hold: true"])
def test_the_curated_set_has_the_size_that_was_asked_for_whatever_else_is_dropped(
    images: Path, tmp_path: Path, policy: str
) -> None:
    text = f"""
dataset: {{path: {images}}}
outputs: {{path: {tmp_path / "out"}, reports: [json]}}
stages:
  - files
  - image_quality
  - duplicates
  - embeddings
  - select: {{keep: 20, copies: null, classes: ignored}}
policy: {{rules: {{image_quality.*: {{decision: drop, severity: info}}}}, max_drop: 0.1, {policy}}}
"""
    result = Pipeline.from_text(text).run()
    assert len(result.curated) == 20
    assert set(result.figures.loc[result.figures["figure"].str.startswith("select."), "of"]) == {
        "raw"
    }
