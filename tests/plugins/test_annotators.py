"""Several annotators: the consensus is right more often than any of them, and each of them is
judged fairly.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from dqpipe_labels import votes as voting
from dqpipe_labels.annotators import Annotators

import dqpipe
from dqpipe.data.tables import Facts, Samples, fact_array
from dqpipe.errors import PlanError

RIGHT = {"ann": 0.95, "ben": 0.75, "cho": 0.55}


class Judged:
    """The facts, claims and figures of some votes, by column; ids are the row numbers."""

    def __init__(
        self,
        votes: dict[str, Any],
        vectors: np.ndarray | None = None,
        label: Any = None,
        **options: Any,
    ) -> None:
        self.ids = [f"{row:04d}" for row in range(len(next(iter(votes.values()))))]
        given = (
            {"embeddings.vector": fact_array(vectors, "vector[float32]")}
            if vectors is not None
            else {}
        )
        options |= {"vectors": "embeddings.vector"} if vectors is not None else {}
        samples = Samples(
            pa.table({"id": self.ids, **votes, **({"label": label} if label is not None else {})})
        )
        stage = Annotators(columns=tuple(votes), **options)
        related = stage.at("relate").relate(samples, Facts(pa.table(given)), None)  # type: ignore[arg-type]
        self.facts = Facts(
            pa.table(
                {
                    fact.name: fact_array(related[fact.name], fact.type)
                    for fact in stage.facts_at("relate")
                }
            )
        )
        self.disagree, self.unsettled = stage.detect(samples, self.facts)
        self.figures = {
            (row["figure"], row["key"]): row["value"]
            for row in stage.summarise(samples, self.facts)
        }


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data[:800].astype(np.float32), np.array(
        [f"digit_{digit}" for digit in data.target[:800]], dtype=object
    )


@functools.cache
def votes() -> dict[str, list[Any]]:
    """What three people of different quality say, a fifth of it missing."""
    rng = np.random.default_rng(0)
    found = {}
    for name, right in RIGHT.items():
        said = digits()[1].copy()
        wrong = rng.random(800) > right
        said[wrong] = [f"digit_{digit}" for digit in rng.integers(0, 10, wrong.sum())]
        found[name] = [None if rng.random() < 0.2 else text for text in said]
    return found


@functools.cache
def found(*, seen: bool) -> Judged:
    return Judged(votes(), digits()[0] if seen else None)


def share_right(texts: Any) -> float:
    known = np.array([text is not None for text in texts])
    return float((np.asarray(texts, dtype=object)[known] == digits()[1][known]).mean())


def majority() -> np.ndarray:
    table = pd.DataFrame(votes())
    return table.mode(axis=1)[0].to_numpy()


def test_the_consensus_is_better_than_the_majority_and_with_vectors_better_still() -> None:
    blind, seeing = (
        share_right(found(seen=False).facts["consensus"]),
        share_right(found(seen=True).facts["consensus"]),
    )
    assert blind > share_right(majority()) + 0.03
    assert seeing > blind + 0.03


@pytest.mark.parametrize("seen", [False, True])
def test_the_quality_of_a_consensus_is_how_often_it_is_right(seen: bool) -> None:
    facts = found(seen=seen).facts
    known = facts["votes"] > 0
    right = (facts["consensus"] == digits()[1])[known]
    assert facts["quality"][known].mean() == pytest.approx(right.mean(), abs=0.03)
    sure = facts["quality"][known] > 0.9
    assert right[sure].mean() >= 0.95


@pytest.mark.parametrize("seen", [False, True])
def test_each_annotator_is_judged_fairly(seen: bool) -> None:
    for name in RIGHT:
        truth = share_right(votes()[name])
        assert found(seen=seen).figures["quality", name] == pytest.approx(truth, abs=0.04)
        assert found(seen=seen).figures["votes", name] == sum(
            text is not None for text in votes()[name]
        )


def test_a_label_against_a_sure_consensus_is_claimed() -> None:
    labels = digits()[1].copy()
    wrong = np.arange(0, 800, 20)
    labels[wrong] = [f"digit_{(int(text[-1]) + 1) % 10}" for text in labels[wrong]]
    judged = Judged(votes(), digits()[0], label=labels)
    claimed = judged.disagree.set_index("id")
    rows = [int(name) for name in claimed.index]
    assert len(set(rows) & set(wrong.tolist())) >= 0.85 * len(wrong)
    assert len(set(rows) - set(wrong.tolist())) <= 5
    assert (claimed["suggestion"].to_numpy() == digits()[1][rows]).mean() >= 0.95
    assert "annotators say digit_" in claimed["detail"].iloc[0]


def test_samples_that_the_annotators_leave_open_are_said_to_be() -> None:
    few = Judged(
        {"a": ["x", "y", "x", "y"] * 10 + ["x", None], "b": ["x", "y", "x", "y"] * 10 + ["y", None]}
    )
    assert few.unsettled["id"].tolist() == ["0040"]
    assert np.isnan(few.facts["quality"][41])
    assert few.facts["consensus"][41] is None


@pytest.mark.parametrize(
    ("classes", "count", "features"), [(5, 400, 16), (2, 150, 8), (10, 300, 64)]
)
def test_votes_of_pure_noise_are_foretold_as_often_as_by_chance(
    classes: int, count: int, features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        voting,
        "cleanlab_view",
        lambda given, likely: (
            seen.append(likely) or (likely.argmax(axis=1), *np.zeros((2, len(given))))
        ),
    )
    hits, expected, spread = 0.0, 0.0, 0.0
    for seed in range(3):
        rng = np.random.default_rng([seed, classes])
        given = rng.integers(0, classes, (count, 3))
        votes = voting.Votes(tuple(f"c{number}" for number in range(classes)), given)
        voting.consensus(
            votes,
            rng.normal(size=(count, features)).astype(np.float32),
            np.arange(count).astype(str),
            5,
            seed,
        )
        told = seen[-1].argmax(axis=1)
        chance = np.bincount(given.ravel(), minlength=classes)[told] / given.size
        hits, expected, spread = (
            hits + (given == told[:, None]).sum(),
            expected + 3 * chance.sum(),
            spread + 3 * (chance * (1 - chance)).sum(),
        )
    assert abs(hits - expected) <= 3 * spread**0.5


def test_equal_runs_give_equal_bits() -> None:
    assert Judged(votes(), digits()[0]).facts.table.equals(found(seen=True).facts.table)


def test_a_whole_number_is_the_same_label_in_every_column() -> None:
    judged = Judged({"a": [1.0, 2.0, None] * 10, "b": [1, 2, 1] * 10}, label=[1, 2, 1] * 10)
    assert judged.facts["consensus"].tolist() == ["1", "2", "1"] * 10
    assert judged.disagree.empty


@pytest.mark.parametrize(
    "given",
    [
        {"a": ["x"], "b": ["x"]},
        {"a": [None, None], "b": pa.nulls(2, pa.string())},
        {"a": ["x", None, "y"], "b": [None, "x", None]},
        {"a": ["x", "y"] * 20, "b": pa.nulls(40, pa.string())},
        {"a": [1, 2] * 20, "b": [2, 1] * 20},
        {"a": [None] * 20, "b": [None] * 20},
        {"a": ["x"] * 40, "b": ["x"] * 40},
    ],
)
@pytest.mark.parametrize("seen", [False, True])
def test_odd_votes_are_no_trouble(given: dict[str, Any], seen: bool) -> None:
    count = len(given["a"])
    judged = Judged(given, np.random.default_rng(0).normal(size=(count, 3)) if seen else None)
    assert len(judged.facts) == count


def test_a_run_over_a_table_lists_each_annotator(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"x": digits()[0][:, 20], "y": digits()[0][:, 43], "label": digits()[1], **votes()}
    )
    table = table.rename(columns={"ann": "by ann", "ben": "by-ann"})
    table.to_csv(tmp_path / "votes.csv", index=False)
    stage = {"annotators": {"columns": ["by ann", "by-ann", "cho"], "vectors": ["x", "y"]}}
    config = {
        "dataset": {"path": str(tmp_path / "votes.csv")},
        "stages": [stage],
        "outputs": {"path": str(tmp_path / "out")},
        "seed": 0,
    }
    result = dqpipe.Pipeline.from_text(yaml.safe_dump(config)).run()
    quality = result.figures[result.figures["figure"] == "annotators.quality"].query(
        "scope == 'annotator'"
    )
    assert set(quality["key"]) == {"by ann", "by-ann", "cho"}
    assert "by-ann" in (tmp_path / "out" / "report.html").read_text()
    stage["annotators"]["columns"] = ["cho", "cho"]
    with pytest.raises(PlanError, match="named twice"):
        dqpipe.Pipeline.from_text(yaml.safe_dump(config)).run(force=True)
