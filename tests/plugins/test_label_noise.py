"""Wrong labels are found, sound ones left alone, the confidence means what it says, and odd sets claim nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_labels.folds import grouped_folds
from dqpipe_labels.label_noise import LabelNoise

from dqpipe.model import Facts, Samples, fact_array
from dqpipe.pipeline import Pipeline


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """900 handwritten digits as vectors, and their classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data[:900].astype(np.float32), bunch.target[:900]


def planted(share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, labels of which a share is wrong, and which are."""
    vectors, truth = digits()
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < share
    labels = np.where(wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
    return vectors, labels, wrong


def judged(stage: LabelNoise, vectors: np.ndarray, labels: list[object], groups: list[str] | None = None) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """The facts of `relate`, and the claims."""
    ids = [f"{row:04d}" for row in range(len(labels))]
    samples = Samples(pa.table({"id": ids, "content": ids, "label": pa.array(labels)}))
    needed = {"embeddings.vector": fact_array(vectors, "vector[float32]"), "duplicates.group": pa.array(groups or ids)}
    related = stage.at("relate").relate(samples, Facts(pa.table(needed)), None)
    own = {fact.name: fact_array(related[fact.name], fact.type) for fact in stage.facts_at("relate")}
    found = stage.detect(samples, Facts(pa.table({**needed, **own})))
    return related, pd.concat(found)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_planted_errors_are_found_with_the_right_label(share: float) -> None:
    vectors, labels, wrong = planted(share, seed=0)
    _, claims = judged(LabelNoise(), vectors, [str(label) for label in labels])
    hit = np.isin(np.arange(len(labels)), claims["id"].astype(int))
    assert hit[wrong].mean() > 0.9
    assert wrong[hit].mean() > 0.9
    rows = claims["id"].astype(int).to_numpy()
    right = claims["suggestion"].to_numpy() == digits()[1][rows].astype(str)
    assert right[wrong[rows]].mean() > 0.9


def test_the_confidence_is_calibrated_and_the_share_estimated() -> None:
    vectors, labels, wrong = planted(0.1, seed=1)
    related, _ = judged(LabelNoise(), vectors, [str(label) for label in labels])
    confidence = related["confidence"]
    bins = np.clip((confidence * 5).astype(int), 0, 4)
    error = sum(abs(confidence[bins == b].mean() - wrong[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    assert error < 0.08
    assert confidence.mean() == pytest.approx(wrong.mean(), rel=0.25)


def test_sound_labels_are_left_alone() -> None:
    vectors, labels, _ = planted(0, seed=0)
    _, claims = judged(LabelNoise(), vectors, [str(label) for label in labels])
    assert len(claims) < 0.01 * len(labels)


def test_the_same_twice() -> None:
    vectors, labels, _ = planted(0.1, seed=2)
    one, other = (judged(LabelNoise(repeats=1), vectors[:300], [str(label) for label in labels[:300]])[0] for _ in range(2))
    assert np.array_equal(one["confidence"], other["confidence"], equal_nan=True)


def test_copies_share_a_fold_so_that_they_cannot_confirm_each_other() -> None:
    groups = np.array([f"g{row // 3}" for row in range(90)])
    fold = grouped_folds(groups, np.arange(90) % 3, 5, seed=0)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    vectors, labels, _ = planted(0, seed=0)
    copied = np.vstack([vectors, vectors[:3].repeat(4, axis=0)])
    wrong = [str((label + 1) % 10) for label in labels[:3]]
    texts = [*wrong, *(str(label) for label in labels[3:]), *np.repeat(wrong, 4)]
    names = [f"{row}" for row in range(len(vectors))] + [f"{row}" for row in np.repeat(range(3), 4)]
    _, claims = judged(LabelNoise(), copied, texts, names)
    assert {"0000", "0001", "0002"} <= set(claims["id"])


@pytest.mark.parametrize(
    "labels",
    [["a"], ["a", "b"], ["a"] * 12, ["a"] * 11 + ["b"], ["a", "b"] * 6, [None] * 12, ["a", "b", None] * 4, [1, 2] * 6],
)
def test_odd_sets_run_and_claim_nothing(labels: list[object]) -> None:
    _, claims = judged(LabelNoise(), np.ones((len(labels), 4), np.float32), labels)
    assert len(claims) == 0


def test_own_probabilities_of_a_table_without_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    sure = np.clip(0.9 + 0.05 * rng.normal(size=200), 0.6, 0.99)
    labels = np.where(np.arange(200) < 10, 1 - truth, truth)
    frame = pd.DataFrame({"key": [f"k{row:03d}" for row in range(200)], "label": np.array(["cat", "dog"])[labels]})
    frame["p_cat"] = np.where(truth == 0, sure, 1 - sure)
    frame["p_dog"] = 1 - frame["p_cat"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    text = "dataset: {path: t.csv, roles: {id: key}}\nstages:\n  - label_noise: {probabilities: [p_cat, p_dog]}\noutputs: {path: out, reports: []}\n"
    result = Pipeline.from_text(text, base=tmp_path).run("serial")
    assert set(result.findings["id"]) == {f"k{row:03d}" for row in range(10)}
    np.save(tmp_path / "p.npy", frame[["p_cat", "p_dog"]].to_numpy())
    again = Pipeline.from_text(text.replace("[p_cat, p_dog]", str(tmp_path / "p.npy")), base=tmp_path).check("serial")
    pd.testing.assert_frame_equal(again.findings, result.findings)
