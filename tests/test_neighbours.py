"""The index that stages search: exact in small sets, nearly so in large ones, the same twice."""

import numpy as np
import pytest

from dqpipe.data.nearest import EXACT, Index, sums

COUNT = EXACT + 2000


def curved(count, rng):
    """Vectors around a few places in a few directions, as embeddings are."""
    places = rng.normal(size=(20, 64))
    return (
        places[rng.integers(20, size=count)]
        + rng.normal(size=(count, 8)) @ rng.normal(size=(8, 64))
    ).astype(np.float32)


@pytest.fixture(scope="module")
def many():
    return curved(COUNT, np.random.default_rng(0))


def by_hand(vectors, rows, groups, k):
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - units[rows] @ units.T
    distances[groups[rows][:, None] == groups[None]] = np.inf
    return np.argsort(distances, axis=1, kind="stable")[:, :k], np.sort(distances, axis=1)[:, :k]


def test_small_sets_are_searched_exactly():
    vectors = curved(500, np.random.default_rng(1))
    groups = np.arange(500) // 2
    found = Index(vectors, groups).nearest(vectors, 4, groups)
    positions, distances = by_hand(vectors, np.arange(500), groups, 4)
    assert (found.positions == positions).mean() > 0.999
    np.testing.assert_allclose(found.distances, np.maximum(distances, 0), atol=1e-5)


def test_large_sets_are_searched_nearly_exactly_and_no_row_is_its_own_neighbour(many):
    own = np.arange(COUNT)
    found = Index(many, own).nearest(many, 5, own)
    assert (found.positions != own[:, None]).all()
    rows = own[::20]
    positions, distances = by_hand(many, rows, own, 5)
    hit = np.mean(
        [len(set(a) & set(b)) / 5 for a, b in zip(found.positions[rows], positions, strict=True)]
    )
    assert hit > 0.9
    assert found.distances[rows].mean() < 1.02 * distances.mean()


def test_the_same_twice_whatever_was_asked_before(many):
    first = Index(many, seed=3).nearest(many[:50], 7)
    again = Index(many, seed=3)
    again.nearest(many, 1)
    second = again.nearest(many[:50], 7)
    assert np.array_equal(first.positions, second.positions)
    assert np.array_equal(first.distances, second.distances)


def test_fewer_than_asked_for_is_said(many):
    found = Index(many[:3], np.array([0, 0, 1])).nearest(many[:1], 5, np.array([0]))
    assert found.positions.tolist() == [[2, -1, -1, -1, -1]]
    assert np.isinf(found.distances[0, 1:]).all()
    nobody = Index(many[:0]).nearest(many[:2], 2)
    assert (nobody.positions == -1).all()


def test_a_large_group_of_copies_is_looked_past(many):
    """All rows of the cells nearby belong to the query's group.

    The others are found all the same.
    """
    groups = np.where(np.arange(COUNT) < COUNT - 10, 0, np.arange(COUNT))
    found = Index(many, groups).nearest(many[:3], 4, np.zeros(3))
    assert (found.positions >= COUNT - 10).all()


def test_rows_of_zeros_and_equal_rows_do_no_harm():
    vectors = np.zeros((EXACT + 5, 4), dtype=np.float32)
    vectors[:10] = 1
    found = Index(vectors, np.arange(len(vectors))).nearest(vectors[:12], 3, np.arange(12))
    assert np.isfinite(found.distances).all()
    assert found.positions[0].tolist() == [1, 2, 3]


def test_sums_by_cell():
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert sums(rows, np.array([2, 0, 2, 2]), 4).tolist() == [[2, 3], [0, 0], [10, 13], [0, 0]]
