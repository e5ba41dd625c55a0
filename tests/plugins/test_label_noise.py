"""Planted wrong labels are found and put right, sound ones are left alone, and what cannot be
judged is not.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dqpipe_labels import probes
from dqpipe_labels.folds import grouped_folds
from dqpipe_labels.label_noise import LabelNoise
from dqpipe_labels.nearest import nearness, references
from dqpipe_labels.seams import Seams

from dqpipe.data.tables import Facts, Samples, fact_array
from dqpipe.errors import StageError
from tests.benchmarks import plant_noise


class Judged:
    """The facts, claims and figures of a run over some samples; ids are the row numbers."""

    def __init__(
        self,
        labels: list[Any],
        vectors: np.ndarray | None,
        groups: list[str] | None = None,
        columns: Any = None,
        **options: Any,
    ) -> None:
        self.ids = [f"{row:04d}" for row in range(len(labels))]
        samples = Samples(
            pa.table(
                {
                    "id": pa.array(self.ids, pa.string()),
                    "label": pa.array(labels),
                    **(columns or {}),
                }
            )
        )
        stage = LabelNoise(**options)
        given = {"duplicates.group": pa.array(groups or self.ids, pa.string())}
        if vectors is not None:
            given["embeddings.vector"] = fact_array(vectors, "vector[float32]")
        related = stage.at("relate").relate(samples, Facts(pa.table(given)), None)  # type: ignore[arg-type]
        self.facts = Facts(
            pa.table(
                given
                | {
                    fact.name: fact_array(related[fact.name], fact.type)
                    for fact in stage.facts_at("relate")
                }
            )
        )
        self.found = stage.detect(samples, self.facts)
        self.claims = self.found[0]
        self.figures = stage.summarise(samples, self.facts)
        self.claimed = {int(name) for name in self.claims["id"]}

    def claims_of(self, code: str) -> pd.DataFrame:
        return next(
            (frame for frame in self.found if (frame["code"] == code).any()), self.claims[:0]
        )

    def figure(self, name: str, key: str | None = None) -> dict[str, Any]:
        return next(row for row in self.figures if row["figure"] == name and row["key"] == key)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data[:1000].astype(np.float32), data.target[:1000]


def planted(seed: int, share: float = 0.05) -> tuple[list[str], np.ndarray]:
    """Labels of the digits, some of them wrong, and which."""
    rng = np.random.default_rng(seed)
    labels = digits()[1].copy()
    wrong = rng.choice(len(labels), int(share * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return [f"digit_{label}" for label in labels], np.isin(np.arange(len(labels)), wrong)


@functools.cache
def found(seed: int) -> Judged:
    return Judged(planted(seed)[0], digits()[0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_labels_are_found_and_sound_ones_left_alone(seed: int) -> None:
    wrong, claimed = planted(seed)[1], found(seed).claimed
    hits = sum(wrong[row] for row in claimed)
    assert hits >= 0.8 * wrong.sum()
    assert hits >= 0.7 * len(claimed)


def test_the_suggestion_is_the_true_label() -> None:
    wrong, claims = planted(0)[1], found(0).claims
    right = [
        f"digit_{digits()[1][int(name)]}" == new
        for name, new in zip(claims["id"], claims["suggestion"], strict=True)
        if wrong[int(name)]
    ]
    assert np.mean(right) >= 0.9
    first = claims.iloc[0]
    assert (
        first["detail"]
        == f"given {planted(0)[0][int(first['id'])]}, looks like {first['suggestion']}"
    )


def test_the_estimated_number_of_wrong_labels_is_near_the_truth() -> None:
    share = found(0).figure("wrong")
    assert share["low"] <= 0.05 <= share["high"]
    assert share["value"] == pytest.approx(0.05, abs=0.015)


def test_sound_labels_are_not_doubted() -> None:
    judged = Judged(planted(0, 0.0)[0], digits()[0])
    assert len(judged.claimed) <= 10
    assert judged.figure("wrong")["low"] == 0


@pytest.mark.parametrize("count", [10, 30])
def test_a_systematic_confusion_is_seen_as_one(count: int) -> None:
    rng = np.random.default_rng(3)
    labels = digits()[1].copy()
    sevens = rng.permutation(np.flatnonzero(labels == 7))[:count]
    labels[sevens] = 4
    judged = Judged([f"digit_{label}" for label in labels], digits()[0])
    assert len(judged.claimed & set(sevens.tolist())) >= 0.8 * count
    assert judged.figure("confusion", "digit_4→digit_7")["value"] == pytest.approx(count, rel=0.3)


def test_equal_runs_give_equal_bits() -> None:
    again = Judged(planted(0)[0], digits()[0])
    assert again.facts.table.equals(found(0).facts.table)


def test_copies_do_not_confirm_each_others_wrong_label() -> None:
    labels, wrong = planted(0)
    rows = np.flatnonzero(wrong)
    vectors = np.vstack([digits()[0], digits()[0][rows], digits()[0][rows]])
    copied = [*labels, *(labels[row] for row in rows), *(labels[row] for row in rows)]
    groups = [str(row) for row in [*range(len(labels)), *rows, *rows]]
    together = Judged(copied, vectors, groups)
    assert len(together.claimed & set(rows.tolist())) >= 0.8 * len(rows)


def test_folds_keep_groups_whole_and_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    groups, classes = rng.integers(0, 60, 200).astype(str), rng.integers(0, 3, 200)
    fold = grouped_folds(groups, classes, 5, 1)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    order = rng.permutation(200)
    assert (grouped_folds(groups[order], classes[order], 5, 1) == fold[order]).all()


@pytest.mark.parametrize("source", ["columns", "parquet", "npy"])
def test_own_probabilities_are_judged_by(source: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    chances = rng.dirichlet(np.ones(3), 300) * 0.2 + 0.8 * np.eye(3)[true]
    labels = np.array(["cat", "dog", "frog"])[true].tolist()
    labels[:15] = [{"cat": "dog", "dog": "frog", "frog": "cat"}[label] for label in labels[:15]]
    named = {f"p_{name}": chances[:, column] for column, name in enumerate(["cat", "dog", "frog"])}
    if source == "columns":
        judged = Judged(labels, None, columns=named, probabilities=tuple(named))
    elif source == "parquet":
        order = rng.permutation(300)
        pq.write_table(
            pa.table(
                {"id": [f"{row:04d}" for row in order], **{n: v[order] for n, v in named.items()}}
            ),
            tmp_path / "own.parquet",
        )
        judged = Judged(labels, None, probabilities=str(tmp_path / "own.parquet"))
    else:
        np.save(tmp_path / "own.npy", chances)
        judged = Judged(labels, None, probabilities=str(tmp_path / "own.npy"))
    assert judged.claimed == set(range(15))


def test_probabilities_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.full((3, 2), 0.5))
    with pytest.raises(StageError, match=r"wanted \[40, 2\]"):
        Judged(["a", "b"] * 20, None, probabilities=str(tmp_path / "short.npy"))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(StageError, match="cannot be read"):
        Judged(["a", "b"] * 20, None, probabilities=str(tmp_path / "pickled.npy"))
    with pytest.raises(StageError, match="empty or negative"):
        Judged(
            ["a", "b"] * 20,
            None,
            columns={"a": [np.nan] * 40, "b": [0.5] * 40},
            probabilities=("a", "b"),
        )


NOISE = np.random.default_rng(9).normal(size=(60, 4))


@pytest.mark.parametrize(
    ("labels", "vectors"),
    [
        ([], NOISE[:0]),
        (["a"], NOISE[:1]),
        (["a", "b"], NOISE[:2]),
        (["a"] * 20, NOISE[:20]),
        (["a"] * 20 + ["b"], NOISE[:21]),
        (["a"] * 3 + ["b"] * 3, NOISE[:6]),
        (["a", "b"] * 20, np.ones((40, 4))),
        (["a", None, "b"] * 20, NOISE),
        ([1, 2, None] * 20, NOISE),
        ([True, False] * 20, NOISE[:40]),
        ([None] * 5, NOISE[:5]),
        (["a", "b"] * 20, np.repeat(NOISE[:4], 10, axis=0)),
    ],
)
def test_what_cannot_be_judged_is_not_claimed(labels: list[Any], vectors: np.ndarray) -> None:
    assert Judged(labels, vectors).claimed == set()


@pytest.mark.parametrize(
    ("classes", "things", "copies", "features"),
    [
        (10, 600, 1, 16),
        (2, 300, 1, 4),
        (3, 60, 1, 8),
        (10, 200, 3, 64),
        (30, 150, 1, 64),
        (60, 240, 1, 16),
    ],
)
def test_labels_of_pure_noise_are_foretold_as_often_as_by_chance_and_none_is_claimed(
    classes: int, things: int, copies: int, features: int
) -> None:
    hits, expected, spread = 0.0, 0.0, 0.0
    for seed in range(2):
        rng = np.random.default_rng([seed, classes, things])
        given = rng.permutation(np.arange(things) % classes)
        of = np.repeat(np.arange(things), copies)
        vectors = rng.normal(size=(things, features))[of] + 0.01 * rng.normal(
            size=(things * copies, features)
        )
        judged = Judged(
            [f"c{label}" for label in given[of]],
            vectors.astype(np.float32),
            groups=[f"g{thing:04d}" for thing in of],
        )
        assert judged.claimed == set()
        told = judged.figure("told_apart")
        chance = judged.claims_of("unjudged")["threshold"].iloc[0]
        hits, expected, spread = (
            hits + told["value"] * things,
            expected + chance * things,
            spread + things * chance * (1 - chance),
        )
    assert abs(hits - expected) <= 3 * spread**0.5


def test_what_cannot_be_told_apart_is_said_of_the_whole_set() -> None:
    rng = np.random.default_rng(2)
    said = (
        Judged(
            [f"c{label}" for label in rng.integers(0, 10, 200)],
            rng.normal(size=(200, 16)).astype(np.float32),
        )
        .claims_of("unjudged")
        .iloc[0]
    )
    assert said["id"] is None
    assert (
        "the vectors do not tell these classes apart well enough to judge labels: "
        in said["detail"]
    )
    assert "of 200 labels are foretold by models that did not see them" in said["detail"]
    assert not len(found(0).claims_of("unjudged"))
    assert found(0).figure("told_apart")["value"] > 0.85


def test_random_classes_that_share_a_copy_are_not_claimed() -> None:
    rng = np.random.default_rng(0)
    vectors = np.vstack(
        [rng.normal(size=(180, 32)), np.repeat(rng.normal(size=(1, 32)), 60, axis=0)]
    ).astype(np.float32)
    labels = [f"c{row % 60:02d}" for row in range(180)] + [f"c{row:02d}" for row in range(60)]
    groups = [f"{row:04d}" for row in range(180)] + ["the copy"] * 60
    assert Judged(labels, vectors, groups).claimed == set()


def test_one_class_is_not_judged() -> None:
    judged = Judged(["a"] * 20, NOISE[:20])
    assert judged.figure("not_judged")["value"] == 20
    assert left(judged) == {"a": (20, "there is no other class to tell it from")}


def left(judged: Judged) -> dict[str, tuple[int, str]]:
    """The classes that are claimed to be unjudged, with how many samples and why.

    The figures say the same.
    """
    said = {
        row["key"]: (row["value"], row["detail"])
        for row in judged.figures
        if row["figure"] == "not_judged" and row["key"] is not None
    }
    claims = judged.claims_of("unjudged")
    assert {
        row["part"]: (row["value"], row["detail"])
        for row in claims.to_dict("records")
        if row.get("part") is not None
    } == said
    return said


def test_classes_of_too_few_different_samples_are_named_and_the_others_judged() -> None:
    labels, groups = (
        [*planted(0)[0], "rare", "rare", *["copied"] * 9],
        [*(f"{row:04d}" for row in range(1002)), *["one", "other", "one"] * 3],
    )
    vectors = np.vstack([digits()[0], digits()[0][:11]])
    why = "fewer than 3 different samples have it"
    assert left(Judged(labels, vectors, groups)) == {"copied": (9, why), "rare": (2, why)}
    assert left(found(0)) == {}


def test_a_class_beside_which_no_other_can_be_judged_is_named() -> None:
    told = left(Judged(["a"] * 20 + ["b"], NOISE[:21]))
    assert told == {
        "a": (20, "no other class has 3 different samples to tell it from"),
        "b": (1, "fewer than 3 different samples have it"),
    }


def test_a_sample_without_a_label_is_left_out_and_the_others_are_judged() -> None:
    labels: list[str | None] = list(planted(0)[0])
    labels[5] = None
    judged = Judged(labels, digits()[0])
    assert judged.facts["suggested"][5] is None
    assert judged.figure("not_judged")["value"] == 1


def test_labels_that_are_no_names_are_refused() -> None:
    with pytest.raises(StageError, match="label_noise"):
        Judged([{"box": 1}] * 40, NOISE[:40])


def test_a_higher_threshold_claims_less_of_the_same_facts() -> None:
    samples = Samples(pa.table({"id": found(0).ids, "label": planted(0)[0]}))
    few = LabelNoise(at_least=0.99).detect(samples, found(0).facts)[0]
    assert set(few["id"]) < set(found(0).claims["id"])
    agreed = LabelNoise(agreed=True).detect(samples, found(0).facts)[0]
    assert set(agreed["id"]) <= set(found(0).claims["id"])


def looking_alike(rate: float) -> tuple[list[str], np.ndarray]:
    """Labels of the digits, wrong where another model on half of the pixels took them for others,
    and which.
    """
    true = digits()[1]
    noisy = plant_noise.plant(
        true,
        "look_alike",
        rate,
        0,
        chances=plant_noise.outsider(digits()[0][:, ::2], true, "forest"),
    )
    return [f"digit_{label}" for label in noisy], noisy != true


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_wrong_labels_that_follow_what_digits_look_like_are_found(rate: float) -> None:
    labels, wrong = looking_alike(rate)
    judged = Judged(labels, digits()[0])
    hits = sum(wrong[row] for row in judged.claimed)
    assert 2 * hits >= 0.8 * (len(judged.claimed) + wrong.sum())
    assert judged.figure("wrong")["value"] == pytest.approx(rate, rel=0.4)
    assert judged.figure("wrong")["low"] <= rate <= judged.figure("wrong")["high"]


@pytest.mark.parametrize("kind", ["look_alike", "class"])
def test_where_classes_are_clearly_apart_two_wrong_labels_in_five_are_found(kind: str) -> None:
    true = digits()[1]
    given = plant_noise.plant(
        true, kind, 0.4, 0, chances=plant_noise.outsider(digits()[0][:, ::2], true, "forest")
    )
    judged, wrong = Judged([f"digit_{label}" for label in given], digits()[0]), given != true
    hits = sum(wrong[row] for row in judged.claimed)
    assert 2 * hits >= 0.8 * (len(judged.claimed) + wrong.sum())
    assert judged.figure("wrong")["value"] == pytest.approx(wrong.mean(), abs=0.1)


def places(
    count: int = 600, apart: float = 1.0, classes: int = 4, width: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of classes that overlap the more the less they are apart, and these."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, classes, count)
    return (apart * np.eye(classes, width)[true] + rng.normal(size=(count, width))).astype(
        np.float32
    ), true


@pytest.mark.parametrize(
    ("apart", "classes", "width"), [(1.0, 4, 12), (0.6, 4, 12), (2.0, 10, 32), (1.0, 2, 2)]
)
def test_labels_of_classes_that_overlap_differ_no_oftener_than_where_classes_meet_explains(
    apart: float, classes: int, width: int
) -> None:
    vectors, true = places(apart=apart, classes=classes, width=width)
    best = (vectors @ np.eye(classes, width).T).argmax(axis=1)
    assert Seams.of(vectors, np.arange(600).astype(str), classes, 0).excess(best, true).errors < 1


def test_labels_that_are_wrong_differ_oftener_than_where_classes_meet_explains() -> None:
    vectors, true = places(apart=4.0)
    given = np.where(np.arange(600) % 3 == 0, (true + 1) % 4, true)
    excess = Seams.of(vectors, np.arange(600).astype(str), 4, 0).excess(true, given)
    assert excess.errors > 3
    assert 0.2 < excess.beyond <= excess.differs == pytest.approx(1 / 3)


def test_copies_are_no_neighbours_where_classes_meet() -> None:
    vectors, true = places()
    alone, groups = Seams.of(vectors, np.arange(600).astype(str), 4, 0), np.arange(600).astype(str)
    copied = Seams.of(np.repeat(vectors, 2, axis=0), np.repeat(groups, 2), 4, 0)
    assert copied.usual == pytest.approx(alone.usual, abs=0.05)
    assert copied.excess(np.repeat(true, 2), np.repeat(true, 2)).meets == pytest.approx(
        alone.excess(true, true).meets, abs=0.05
    )


def test_samples_that_are_hard_but_right_are_mostly_left_alone() -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(0, 4, 1200)
    vectors = 1.2 * np.eye(4, 12)[true] + rng.normal(size=(1200, 12))
    judged = Judged([f"kind_{label}" for label in true], vectors.astype(np.float32))
    differ = float((judged.facts["margin"] < 0.5).mean())
    assert differ > 0.25, "models are to be in doubt"
    assert len(judged.claimed) < differ * 1200 / 3


def test_confidence_lies_between_the_least_and_the_most_that_the_labels_allow() -> None:
    facts = Judged(looking_alike(0.2)[0], digits()[0]).facts
    assert (facts["confidence_low"].mean() < facts["confidence"].mean()) & (
        facts["confidence"].mean() < facts["confidence_high"].mean()
    )
    assert (facts["confidence"] <= facts["confidence_high"]).all()


def test_what_is_likelier_wrong_than_right_is_claimed_unless_another_limit_is_given() -> None:
    assert found(0).claims["threshold"].eq(0.5).all()
    assert found(0).claims["confidence"].ge(0.5).all()
    samples = Samples(pa.table({"id": found(0).ids, "label": planted(0)[0]}))
    assert LabelNoise(at_least=0.9).detect(samples, found(0).facts)[0]["threshold"].eq(0.9).all()


def test_a_claim_carries_the_chance_that_its_suggestion_is_right() -> None:
    claims = found(0).claims
    assert (claims["suggestion_confidence"] <= claims["confidence"]).all()
    right = np.array(
        [
            f"digit_{digits()[1][int(name)]}" == new
            for name, new in zip(claims["id"], claims["suggestion"], strict=True)
        ]
    )
    assert right[claims["suggestion_confidence"] >= 0.9].mean() >= 0.9


def overlapping(
    seed: int, apart: float, classes: int = 4, count: int = 600
) -> tuple[list[str], np.ndarray]:
    """Labels that are right, of classes that overlap."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, count)
    return [f"kind_{label}" for label in true], (
        apart * np.eye(classes, 12)[true] + rng.normal(size=(count, 12))
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("apart", "classes", "count"), [(0.7, 4, 400), (1.2, 4, 600), (2.0, 10, 500), (3.0, 2, 100)]
)
def test_of_right_labels_one_in_a_hundred_is_claimed_at_most_however_much_classes_overlap(
    apart: float, classes: int, count: int
) -> None:
    judged = [Judged(*overlapping(seed, apart, classes, count)) for seed in range(2)]
    assert sum(len(one.claimed) for one in judged) <= 0.01 * 2 * count
    assert all(
        row["low"] == 0
        for one in judged
        for row in one.figures
        if row["figure"] == "wrong" and row["key"] is None
    )


def test_confidence_is_about_the_share_of_claims_that_are_real() -> None:
    right, total, said = 0, 0, 0.0
    for seed in range(3):
        wrong, claims = planted(seed)[1], found(seed).claims
        right += sum(wrong[int(name)] for name in claims["id"])
        total, said = total + len(claims), said + float(claims["confidence"].sum())
    assert said / total == pytest.approx(right / total, abs=0.08)


def test_large_classes_are_represented_by_some_of_theirs() -> None:
    rng = np.random.default_rng(0)
    given = np.repeat([0, 1], [9000, 300])
    vectors = rng.normal(size=(9300, 4)) + 3 * np.eye(2, 4)[given]
    fold = np.arange(9300) % 3
    shown, ends = references(given, fold, 2, 0)
    assert len(shown) < 5000
    assert np.diff(ends[1]).tolist() == [100, 100, 100]
    near = nearness(vectors.astype(np.float32), given, np.arange(9300).astype(str), fold, 2)[0]
    assert ((near[:, 1] > near[:, 0]) == given).mean() > 0.9


def test_sets_too_large_for_all_of_it_are_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LARGE", 500)
    wrong, judged = planted(0)[1], Judged(planted(0)[0], digits()[0])
    assert sum(wrong[row] for row in judged.claimed) >= 0.8 * max(wrong.sum(), len(judged.claimed))
