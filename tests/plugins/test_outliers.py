"""Strangers are far from their class.

Members of a wide class are not, and degenerate sets claim nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_vectors.outlier_scores import REFERENCES, rare, robust_scores, sure
from dqpipe_vectors.outliers import Outliers

from dqpipe.data.tables import Facts, Samples, fact_array


def judged(
    vectors: np.ndarray, labels: list[str | None] | None, groups: list[str] | None = None
) -> dict[str, str]:
    """id → match of everything claimed; ids are the row numbers."""
    found = claims(vectors, labels, groups)
    return dict(zip(found["id"], found["match"], strict=True))


def claims(
    vectors: np.ndarray, labels: list[str | None] | None, groups: list[str] | None = None
) -> pd.DataFrame:
    ids = [f"{row:04d}" for row in range(len(vectors))]
    samples = Samples(
        pa.table(
            {
                "id": ids,
                "content": ids,
                **({} if labels is None else {"label": pa.array(labels, pa.string())}),
            }
        )
    )
    stage = Outliers()
    needed = {
        "embeddings.vector": fact_array(vectors.astype(np.float32), "vector[float32]"),
        "duplicates.group": pa.array(groups or ids),
    }
    related = stage.at("relate").relate(samples, Facts(pa.table(needed)), None)
    own = {
        fact.name: fact_array(related[fact.name], fact.type) for fact in stage.facts_at("relate")
    }
    return stage.detect(samples, Facts(pa.table({**needed, **own})))[0]


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
    np.testing.assert_allclose(
        robust_scores(distances, np.array([0, 0, 0, 0, 0, -1]), 0.05)[:5], expected
    )
    assert np.isnan(robust_scores(distances, np.array([0, 0, 0, 0, 0, -1]), 0.05)[5])


def test_a_few_strangers_that_look_alike_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(3)
    vectors = around(rng, 0, 0.3, 400)
    vectors[:8] = around(rng, 5, 0.02, 8)
    assert set(judged(vectors, ["a"] * 400)) >= {f"{row:04d}" for row in range(8)}


def test_strangers_in_a_direction_in_which_the_class_does_not_vary_are_found() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(500, 64)) * np.where(np.arange(64) < 16, 1.0, 0.02)
    vectors[:5, 40] += 2
    assert set(judged(vectors, ["a"] * 500)) >= {f"{row:04d}" for row in range(5)}


@pytest.mark.parametrize("tails", [np.inf, 6])
def test_a_sound_set_has_few_claims_whatever_its_tails(tails: float) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3000, 32)) * np.arange(1, 33) ** -0.5
    if np.isfinite(tails):
        vectors *= np.sqrt(tails / rng.chisquare(tails, size=(3000, 1)))
    found = claims(vectors, ["abc"[row % 3] for row in range(3000)])
    assert len(found) <= (0.01 if np.isfinite(tails) else 0.005) * 3000


def test_strangers_are_found_in_a_set_of_which_only_a_part_is_compared() -> None:
    rng = np.random.default_rng(6)
    count = REFERENCES + 2000
    vectors = rng.normal(size=(count, 16)) * np.arange(1, 17) ** -0.5 + np.repeat(
        3 * np.eye(16)[:2], count // 2, axis=0
    )
    strange = np.arange(0, count, 500)
    vectors[strange] = 3 * np.eye(16)[8] + 0.1 * rng.normal(size=(len(strange), 16))
    found = claims(vectors, ["one"] * (count // 2) + ["two"] * (count // 2))
    known = found["id"].isin([f"{row:04d}" for row in strange])
    assert known.sum() == len(strange)
    assert (~known).sum() <= 0.005 * count
    assert found["confidence"][known].mean() > 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("labelled", [True, False])
def test_nothing_is_claimed_of_sets_without_strangers(seed: int, labelled: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = (
        rng.normal(size=(2000, 48))
        * np.arange(1, 49) ** -0.5
        * np.sqrt(12 / rng.chisquare(12, size=(2000, 1)))
    )
    vectors += np.repeat(2 * np.eye(48)[:4], 500, axis=0)
    found = claims(vectors, [str(row // 500) for row in range(2000)] if labelled else None)
    assert len(found) <= 0.002 * 2000


def test_claims_by_the_score_have_a_confidence_that_is_worth_a_look() -> None:
    rng = np.random.default_rng(9)
    vectors = rng.normal(size=(3000, 48)) * np.arange(1, 49) ** -0.5
    vectors[:20] = 1.2 * np.eye(48)[rng.integers(30, 48, 20)] + 0.05 * rng.normal(size=(20, 48))
    found = claims(vectors, ["abc"[row % 3] for row in range(3000)])
    right = found["id"].isin([f"{row:04d}" for row in range(20)])
    assert (right.sum() >= 15, (~right).sum() < right.sum()) == (True, True)
    assert found["confidence"].min() >= Outliers().confidence


def test_confidence_says_how_many_claims_are_right() -> None:
    rng = np.random.default_rng(7)
    sound, strange = rng.normal(size=10_000), rng.normal(4, 1, size=100)
    scores = np.concatenate([sound, strange, [np.nan]])
    found = sure(scores)
    assert np.isnan(found[-1])
    claimed = np.flatnonzero(scores > 2.5)
    assert found[claimed].mean() == pytest.approx(np.mean(claimed >= 10_000), abs=0.15)
    assert (np.diff(found[np.argsort(scores[:-1])]) >= 0).all()


def test_the_rarity_of_normal_scores_is_that_of_a_normal_tail() -> None:
    scores = np.random.default_rng(8).normal(size=20_000)
    share = rare(np.append(scores, np.nan))
    assert np.isnan(share[-1])
    for beyond in (2.5, 3.0):
        assert 0.5 < rare(np.append(scores, beyond))[-1] / np.mean(scores > beyond) < 4


def test_crops_of_photographs_are_strange_to_digits() -> None:
    import cv2
    from dqpipe_images.patch_bank import PatchBank
    from dqpipe_images.picture import Header, Picture
    from sklearn.datasets import load_digits, load_sample_images

    data, photo = load_digits(), load_sample_images().images[0]
    grey = [
        cv2.resize((image * 255 / 16).astype(np.uint8), (32, 32)) for image in data.images[:300]
    ]
    shown = [np.repeat(image[..., None], 3, axis=2) for image in grey] + [
        photo[at : at + 90, 2 * at : 2 * at + 90] for at in range(0, 240, 40)
    ]
    vectors = PatchBank().embed(
        [Picture(Header("PNG", one.shape[1], one.shape[0], "RGB"), one) for one in shown], None
    )
    found = judged(vectors, [*data.target[:300].astype(str), *"012345"])
    assert set(found) >= {f"{row:04d}" for row in range(300, 306)}
    assert len(found) <= 6 + 0.01 * 300
