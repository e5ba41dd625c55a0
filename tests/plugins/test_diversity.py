"""The Vendi score is exact, regions and balance are told, rare classes are claimed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_vectors.diversity import Diversity, evenness
from dqpipe_vectors.regions import regions
from dqpipe_vectors.vendi import vendi_score

from dqpipe.data.nearest import unit
from dqpipe.data.tables import Facts, Samples, fact_array


def by_definition(units: np.ndarray) -> float:
    values = np.linalg.eigvalsh(
        (units.astype(np.float64) @ units.T.astype(np.float64)) / len(units)
    )
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


@pytest.mark.parametrize("shape", [(30, 5), (5, 30), (900, 64)])
def test_the_vendi_score_is_that_of_the_definition(shape: tuple[int, int]) -> None:
    units = unit(np.random.default_rng(0).normal(size=shape))
    assert vendi_score(units).value == pytest.approx(by_definition(units), rel=1e-6)
    assert vendi_score(units).interval() == {"value": vendi_score(units).value}


def test_the_vendi_score_counts_what_differs() -> None:
    assert vendi_score(np.eye(7, dtype=np.float32)).value == pytest.approx(7)
    assert vendi_score(np.eye(7, dtype=np.float32)[[0] * 20]).value == pytest.approx(1)
    assert vendi_score(np.eye(7, dtype=np.float32)[[0, 1] * 10]).value == pytest.approx(2)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(700, 500), (500, 700)])
def test_the_approximation_is_near_and_says_how_near(decay: float, shape: tuple[int, int]) -> None:
    units = unit(np.random.default_rng(1).normal(size=shape) * np.arange(1, shape[1] + 1) ** -decay)
    near = vendi_score(units, exact=100)
    assert near.value == pytest.approx(by_definition(units), rel=0.02)
    assert near.low < near.value < near.high
    assert abs(near.value - by_definition(units)) < 2 * (near.high - near.low)
    assert near.interval()["detail"].startswith("approximated")


def test_regions_are_the_groups_that_are_there_and_the_same_twice() -> None:
    rng = np.random.default_rng(0)
    units = unit(np.repeat(np.eye(16)[:3], [30, 20, 10], axis=0) + 0.02 * rng.normal(size=(60, 16)))
    found = regions(units, 3, seed=4)
    assert found.tolist() == [0] * 30 + [1] * 20 + [2] * 10
    assert regions(units, 3, seed=4).tolist() == found.tolist()


def test_evenness() -> None:
    assert evenness(np.array([5, 5, 5])) == pytest.approx(1)
    assert evenness(np.array([9])) == 1
    assert evenness(np.array([98, 1, 1])) < 0.2


def told(
    labels: list[str | None], vectors: np.ndarray | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Claims (part → value) and figures of the set."""
    ids = [f"{row:04d}" for row in range(len(labels))]
    samples = Samples(pa.table({"id": ids, "content": ids, "label": pa.array(labels, pa.string())}))
    stage = Diversity(vectors=None if vectors is None else "v.v")
    columns: dict[str, pa.Array] = {"id": pa.array(ids)}
    if vectors is not None:
        columns = {"v.v": fact_array(vectors, "vector[float32]")}
        related = stage.at("relate").relate(samples, Facts(pa.table(columns)), None)
        columns |= {
            fact.name: fact_array(related[fact.name], fact.type)
            for fact in stage.facts_at("relate")
        }
    facts = Facts(pa.table(columns))
    claims = {
        part: value
        for frame in stage.detect(samples, facts)
        for part, value in zip(frame["part"], frame["value"], strict=True)
    }
    return claims, {
        row["figure"]: row["value"]
        for row in stage.summarise(samples, facts)
        if row["scope"] == "set"
    }


def test_a_rare_class_is_claimed_with_its_count_also_without_vectors() -> None:
    claims, figures = told(["a"] * 40 + ["b"] * 40 + ["c"] * 4, None)
    assert claims == {"c": 4.0}
    assert figures["imbalance"] == 10


def test_a_thin_region_is_claimed() -> None:
    vectors = np.repeat(
        np.eye(8), [40, 40, 40, 1, 1, 40, 40, 40], axis=0
    ) + 0.01 * np.random.default_rng(0).normal(size=(242, 8))
    claims, figures = told(["a"] * 242, vectors)
    assert sorted(claims.values())[:2] == [1.0, 1.0]
    assert figures["redundancy"] > 0.9


@pytest.mark.parametrize("count", [1, 2, 12])
def test_degenerate_sets_are_told_without_a_warning(count: int) -> None:
    _, figures = told([None] * count, np.ones((count, 4)))
    assert figures["vendi"] == pytest.approx(1)
