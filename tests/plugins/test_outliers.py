"""Strangers are far from their class; members of a wide class are not, and degenerate sets claim nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images.outliers import Outliers, robust_scores

from dqpipe.model import Facts, Samples, fact_array


def judged(vectors: np.ndarray, labels: list[str | None] | None, groups: list[str] | None = None) -> dict[str, str]:
    """id → match of everything claimed; ids are the row numbers."""
    ids = [f"{row:04d}" for row in range(len(vectors))]
    samples = Samples(pa.table({"id": ids, "content": ids, **({} if labels is None else {"label": pa.array(labels, pa.string())})}))
    stage = Outliers()
    needed = {"embeddings.vector": fact_array(vectors.astype(np.float32), "vector[float32]"), "duplicates.group": pa.array(groups or ids)}
    related = stage.at("relate").relate(samples, Facts(pa.table(needed)), None)
    own = {fact.name: fact_array(related[fact.name], fact.type) for fact in stage.facts_at("relate")}
    found = stage.detect(samples, Facts(pa.table({**needed, **own})))
    return dict(zip(found[0]["id"], found[0]["match"], strict=True))


def around(rng: np.random.Generator, centre: int, spread: float, count: int) -> np.ndarray:
    return np.eye(64)[centre] + spread * rng.normal(size=(count, 64)) / 8


def test_a_stranger_is_far_in_a_tight_class_and_in_a_wide_one() -> None:
    rng = np.random.default_rng(0)
    tight, wide = around(rng, 0, 0.3, 60), around(rng, 1, 1.5, 60)
    tight[0], wide[0] = wide[1] * 0 + np.eye(64)[9], around(rng, 0, 0.3, 1)[0]
    found = judged(np.vstack([tight, wide]), ["tight"] * 60 + ["wide"] * 60)
    assert set(found) >= {"0000", "0060"}
    assert len(found) <= 4


def test_strangers_that_are_copies_of_each_other_do_not_vouch_for_each_other() -> None:
    rng = np.random.default_rng(1)
    vectors = around(rng, 0, 0.3, 40)
    vectors[:3] = np.eye(64)[5]
    groups = ["copies"] * 3 + [f"g{row}" for row in range(37)]
    assert set(judged(vectors, ["a"] * 40, groups)) == {"0000", "0001", "0002"}


def test_without_labels_the_whole_set_is_one_class() -> None:
    vectors = around(np.random.default_rng(2), 0, 0.3, 50)
    vectors[7] = np.eye(64)[3]
    assert set(judged(vectors, None)) == {"0007"}


@pytest.mark.parametrize(
    ("vectors", "labels"),
    [
        (np.ones((1, 4)), ["a"]),
        (np.ones((2, 4)), ["a", "b"]),
        (np.ones((30, 4)), ["a"] * 30),
        (np.zeros((30, 4)), [None] * 30),
        (np.eye(4)[[0, 0, 0, 1]], ["a", "a", "b", None]),
    ],
)
def test_degenerate_sets_claim_nothing(vectors: np.ndarray, labels: list[str | None]) -> None:
    assert judged(vectors, labels) == {}


def test_scores_are_in_spreads_of_the_class() -> None:
    distances = np.exp(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]))
    expected = (np.array([0.0, 1.0, 2.0, 3.0, 4.0]) - 2) / 1.4826
    np.testing.assert_allclose(robust_scores(distances, np.array([0, 0, 0, 0, 0, -1]))[:5], expected)
    assert np.isnan(robust_scores(distances, np.array([0, 0, 0, 0, 0, -1]))[5])


def test_a_few_strangers_that_look_alike_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(3)
    vectors = around(rng, 0, 0.3, 400)
    vectors[:8] = around(rng, 5, 0.02, 8)
    assert set(judged(vectors, ["a"] * 400)) >= {f"{row:04d}" for row in range(8)}
