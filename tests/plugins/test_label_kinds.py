"""Labels that are sets of tags or numbers.

Planted errors are found and put right, in the type that the labels have.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from dqpipe_labels.columns import equal_rows, vectors_of
from dqpipe_labels.label_noise import LabelNoise

import dqpipe
from dqpipe.data.labels import kind_of
from dqpipe.data.tables import Facts, Samples, fact_array
from dqpipe.errors import PlanError, StageError

TAGS = ("even", "large", "prime", "round")


class Judged:
    """The facts, claims and figures of a run over some samples; ids are the row numbers."""

    def __init__(
        self,
        labels: Any,
        pictures: np.ndarray | None = None,
        columns: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.ids = [f"{row:04d}" for row in range(len(labels))]
        self.samples = Samples(pa.table({"id": self.ids, "label": labels, **(columns or {})}))
        stage = LabelNoise(**options)
        given = {"duplicates.group": pa.array(self.ids)}
        if pictures is not None:
            given["embeddings.vector"] = fact_array(pictures, "vector[float32]")
        related = stage.at("relate").relate(self.samples, Facts(pa.table(given)), None)  # type: ignore[arg-type]
        self.facts = Facts(
            pa.table(
                given
                | {
                    fact.name: fact_array(related[fact.name], fact.type)
                    for fact in stage.facts_at("relate")
                }
            )
        )
        self.claims, *self.more = stage.detect(self.samples, self.facts)
        self.figures = stage.summarise(self.samples, self.facts)
        self.claimed = {int(name) for name in self.claims["id"]}

    def figure(self, name: str, key: str | None = None) -> dict[str, Any]:
        return next(row for row in self.figures if row["figure"] == name and row["key"] == key)


@functools.cache
def digits() -> tuple[np.ndarray, list[list[str]]]:
    """Vectors of digits, and tags that say something of each digit."""
    from sklearn.datasets import load_digits

    data = load_digits()
    said = {
        "even": (0, 2, 4, 6, 8),
        "large": (6, 7, 8, 9),
        "prime": (2, 3, 5, 7),
        "round": (0, 6, 8, 9),
    }
    return data.data[:700].astype(np.float32), [
        [tag for tag in TAGS if digit in said[tag]] for digit in data.target[:700]
    ]


@functools.cache
def planted() -> tuple[list[list[str]], list[int], list[int]]:
    """The tags with some forgotten and some added, and the rows where."""
    rng = np.random.default_rng(0)
    labels = [list(tags) for tags in digits()[1]]
    rows = rng.permutation(len(labels))
    forgotten = [int(row) for row in rows if labels[row]][:30]
    added = [int(row) for row in rows if len(labels[row]) < len(TAGS) and row not in forgotten][:20]
    for row in forgotten:
        labels[row].remove(labels[row][rng.integers(len(labels[row]))])
    for row in added:
        labels[row].append(next(tag for tag in TAGS if tag not in labels[row]))
    return labels, forgotten, added


@functools.cache
def found() -> Judged:
    return Judged(planted()[0], digits()[0])


def test_forgotten_and_added_tags_are_found() -> None:
    _, forgotten, added = planted()
    assert len(found().claimed & set(forgotten)) >= 0.7 * len(forgotten)
    assert len(found().claimed & set(added)) >= 0.7 * len(added)
    assert len(found().claimed - {*forgotten, *added}) <= 0.25 * len(found().claimed)


def test_the_suggestion_is_the_right_set_as_the_column_writes_it() -> None:
    labels, forgotten, added = planted()
    wrong = {*forgotten, *added}
    suggested = {
        int(name): json.loads(text)
        for name, text in zip(found().claims["id"], found().claims["suggestion"], strict=True)
    }
    right = [set(suggested[row]) == set(digits()[1][row]) for row in suggested if row in wrong]
    assert np.mean(right) >= 0.85
    claim = next(row for row in found().claims.to_dict("records") if int(row["id"]) in forgotten)
    missing = set(json.loads(claim["suggestion"])) - set(labels[int(claim["id"])])
    assert claim["detail"] == f"{', '.join(sorted(missing))} looks missing"


def test_the_share_of_wrong_tags_is_near_the_truth() -> None:
    share = found().figure("wrong")
    assert share["low"] <= 50 / 700 <= share["high"]
    assert sum(
        row["value"]
        for row in found().figures
        if row["figure"] == "confusion" and row["key"].startswith("→")
    ) == pytest.approx(30, rel=0.4)


def test_ours_ranks_wrong_sets_of_tags_above_what_cleanlab_does_with_its_usual_model() -> None:
    from cleanlab.multilabel_classification import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import cross_val_predict

    labels, forgotten, added = planted()
    wrong = np.isin(np.arange(len(labels)), [*forgotten, *added])
    hot = np.array([[tag in label for tag in TAGS] for label in labels])
    model = LogisticRegression(max_iter=1000)
    chances = np.stack(
        [
            cross_val_predict(model, digits()[0] / 16, hot[:, k], method="predict_proba")[:, 1]
            for k in range(len(TAGS))
        ],
        axis=1,
    )
    theirs = average_precision_score(
        wrong, -get_label_quality_scores([np.flatnonzero(row).tolist() for row in hot], chances)
    )
    assert average_precision_score(wrong, found().facts["confidence"]) > theirs


def test_tags_in_a_text_are_tags_where_a_separator_says_so() -> None:
    labels = ["; ".join(tags) for tags in planted()[0]]
    judged = Judged(labels, digits()[0], separator="; ")
    assert judged.claimed == found().claimed
    claim = judged.claims.iloc[0]
    assert set(claim["suggestion"].split("; ")) == set(
        json.loads(found().claims.iloc[0]["suggestion"])
    )


def test_own_probabilities_of_tags_are_judged_by() -> None:
    labels = planted()[0]
    rng = np.random.default_rng(1)
    chances = np.clip(
        np.array([[tag in label for tag in TAGS] for label in digits()[1]]) * 0.99
        + rng.uniform(0, 0.01, (700, 4)),
        0,
        1,
    )
    columns = {f"p_{tag}": chances[:, k].copy() for k, tag in enumerate(TAGS)}
    claimed = Judged(labels, columns=columns, probabilities=tuple(columns)).claimed
    assert claimed <= {*planted()[1], *planted()[2]}
    assert len(claimed) >= 45
    columns["p_even"][3] = np.nan
    with pytest.raises(StageError, match="1 sample has none: 0003"):
        Judged(labels, columns=columns, probabilities=tuple(columns))


def homes(count: int = 500) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of homes, prices that follow from it up to some 10 %, and which prices have a digit
    too many or are another home's.
    """
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "rooms": rng.integers(1, 8, count),
            "area": rng.uniform(20, 200, count),
            "town": rng.choice(["A", "B", "C"], count),
        }
    )
    price = (
        900
        * table["area"]
        * table["town"].map({"A": 1.0, "B": 2.5, "C": 5.0})
        * (1 + 0.05 * table["rooms"])
        * np.exp(rng.normal(0, 0.1, count))
    )
    price = price.round().astype(np.int64)
    wrong = rng.choice(count, 20, replace=False)
    price[wrong[:10]] *= 10
    price[wrong[10:]] //= 10
    table.loc[rng.choice(count, 5, replace=False), "area"] = np.nan
    return table.assign(price=price), wrong


COLUMNS = ("rooms", "area", "town")


@functools.cache
def priced() -> Judged:
    return _priced(homes()[0])


def _priced(table: pd.DataFrame, **options: Any) -> Judged:
    columns = {name: pa.array(table[name], from_pandas=True) for name in COLUMNS}
    return Judged(table["price"].tolist(), columns=columns, **{"vectors": COLUMNS, **options})


def test_wrong_numbers_are_found_with_nearly_the_right_one_beside() -> None:
    table, wrong = homes()
    assert set(wrong.tolist()) <= priced().claimed
    assert len(priced().claimed) <= 1.2 * len(wrong)
    truth = table["price"].to_numpy().astype(float)
    truth[wrong[:10]] /= 10
    truth[wrong[10:]] *= 10
    suggested = np.array([json.loads(text) for text in priced().facts["suggested"]])
    assert all(isinstance(value, int) for value in suggested.tolist())
    assert np.median(np.abs(suggested / truth - 1)[wrong]) < 0.15


def test_of_numbers_there_is_no_confidence_but_a_deviation() -> None:
    assert np.isnan(priced().facts["confidence"]).all()
    assert priced().claims["confidence"].isna().all() if "confidence" in priced().claims else True
    claim = priced().claims.iloc[0]
    assert claim["value"] >= claim["threshold"] == 8.0
    assert claim["detail"].endswith("times the usual error")
    assert np.median(priced().facts["deviation"]) == pytest.approx(1.0)
    assert len(_priced(homes()[0], deviates=1e6).claimed) == 0


def test_numbers_that_nothing_foretells_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    judged = Judged(rng.normal(size=300), rng.normal(size=(300, 5)))
    assert judged.claimed == set()
    assert judged.figure("not_judged")["value"] == 300


def test_own_predictions_are_judged_by() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 2, 200)
    given = truth + rng.normal(0, 0.01, 200)
    given[7] += 1
    assert Judged(
        given, columns={"predicted": truth}, probabilities=("predicted",), deviates=20.0
    ).claimed == {7}


@pytest.mark.parametrize(
    ("labels", "vectors"),
    [
        ([0.5], np.ones((1, 2))),
        ([0.5, None, 1.5] * 10, np.ones((30, 2))),
        ([1.25] * 40, np.arange(80.0).reshape(40, 2)),
        ([0.5, float("inf")] * 20, np.arange(80.0).reshape(40, 2)),
        ([[]] * 30, np.arange(60.0).reshape(30, 2)),
        ([["a"], None, ["a", "b"]] * 10, np.ones((30, 2))),
        ([["a"]], np.ones((1, 2))),
        ([["a", "a"], ["b"]] * 2, np.arange(8.0).reshape(4, 2)),
    ],
)
def test_what_cannot_be_judged_is_not_claimed(labels: list[Any], vectors: np.ndarray) -> None:
    assert Judged(labels, vectors.astype(np.float32)).claimed == set()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", None], "class"),
        ([True, False], "class"),
        ([0, 1, 2, None] * 5, "class"),
        ([0.0, 1.0, np.nan] * 5, "class"),
        ([4, 7] * 10, "class"),
        ([1990, 2001, 2020, 1985], "number"),
        ([0.5, 1.5] * 20, "number"),
        ([["a"], None], "tags"),
        ([], "none"),
    ],
)
def test_the_kind_of_a_label_shows(labels: list[Any], kind: str) -> None:
    assert kind_of(pa.array(labels)) == kind


def test_a_separator_makes_tags_of_texts() -> None:
    samples = Samples(pa.table({"id": ["a", "b"], "label": ["a;b", "c"]}))
    assert (LabelNoise(separator=";").kind(samples), LabelNoise().kind(samples)) == (
        "tags",
        "class",
    )


def test_columns_are_vectors_with_what_is_empty_said() -> None:
    table = {
        "n": [1.0, None, 3.0],
        "t": ["x", "y", None],
        "b": [True, False, True],
        "w": pa.array([1, 2, 3], pa.timestamp("s")),
    }
    vectors = vectors_of(
        "label_noise",
        tuple(table),
        Samples(pa.table({"id": ["a", "b", "c"], **table})),
        Facts(pa.table({})),
    )
    assert vectors.shape == (3, 7)
    assert np.isfinite(vectors).all()
    assert equal_rows(
        np.array([[0.0], [1.0], [-0.0]], dtype=np.float32), np.array(["a", "b", "c"])
    ).tolist() == ["a", "b", "a"]
    texts = Samples(
        pa.table({"id": [f"{i:03d}" for i in range(200)], "t": [str(i) for i in range(200)]})
    )
    with pytest.raises(StageError, match="200 different texts"):
        vectors_of("label_noise", ("t",), texts, Facts(pa.table({})))


def test_classes_of_a_table_are_judged_by_its_columns() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 400)
    columns = {
        "x": true + rng.normal(0, 0.15, 400),
        "y": 100.0 * (true == 1) + rng.normal(0, 5, 400),
    }
    labels = np.array(["a", "b", "c"])[true].tolist()
    labels[:12] = ["b" if label != "b" else "c" for label in labels[:12]]
    judged = Judged(labels, columns=columns, vectors=("x", "y"))
    assert set(range(12)) <= judged.claimed
    assert len(judged.claimed) <= 16


def piped(config: dict[str, Any]) -> dqpipe.Pipeline:
    return dqpipe.Pipeline.from_text(yaml.safe_dump(config))


def test_a_run_over_a_table_puts_numbers_right_in_its_own_type(tmp_path: Path) -> None:
    table, wrong = homes()
    table.to_csv(tmp_path / "homes.csv", index=False)
    stages = [{"label_noise": {"vectors": list(COLUMNS)}}]
    config = {
        "dataset": {"path": str(tmp_path / "homes.csv"), "roles": {"label": "price"}},
        "stages": stages,
        "outputs": {"path": str(tmp_path / "out")},
    }
    reviewed = piped(config).run()
    assert (reviewed.decisions.set_index("id")["decision"] == "review").sum() >= len(wrong)
    config["policy"] = {"rules": {"label_noise.likely_wrong": "relabel"}}
    piped(config).run(force=True)
    again = pd.read_csv(tmp_path / "out" / "curated" / "homes.csv")
    assert again["price"].dtype == np.int64
    assert (again["price"].to_numpy()[wrong] != table["price"].to_numpy()[wrong]).all()
    assert list(again.columns) == list(table.columns)


def test_a_run_over_lists_puts_sets_right_as_lists(tmp_path: Path) -> None:
    labels = planted()[0]
    pixels = {f"p{k}": digits()[0][:, k] for k in range(64)}
    pq.write_table(pa.table({**pixels, "label": labels}), tmp_path / "tags.parquet")
    stages = [{"label_noise": {"vectors": list(pixels)}}]
    config = {
        "dataset": {"path": str(tmp_path / "tags.parquet")},
        "stages": stages,
        "outputs": {"path": str(tmp_path / "out")},
    }
    config["policy"] = {"relabel": {"at_least": 0.8, "max_share": 1.0}}
    result = piped(config).run()
    changed = result.decisions[result.decisions["decision"] == "relabel"]
    assert len(changed)
    curated = pq.read_table(tmp_path / "out" / "curated" / "tags.parquet")
    assert curated.schema.field("label").type == pa.list_(pa.string())
    rows = [int(name.removeprefix("row-")) for name in changed["id"]]
    right = [set(curated.column("label")[row].as_py()) == set(digits()[1][row]) for row in rows]
    assert np.mean(right) >= 0.8
    assert "looks missing" in (tmp_path / "out" / "report.html").read_text()
    queue = pd.read_csv(
        next((tmp_path / "out" / "versions").glob("*/relabel.csv")), keep_default_na=False
    )
    assert set(json.loads(queue["suggestion"][0])) <= set(TAGS)


def test_the_label_is_not_judged_by_itself(tmp_path: Path) -> None:
    homes()[0].rename(columns={"price": "label"}).to_csv(tmp_path / "homes.csv", index=False)
    config = {
        "dataset": {"path": str(tmp_path / "homes.csv")},
        "stages": [{"label_noise": {"vectors": ["rooms", "label"]}}],
    }
    with pytest.raises(PlanError, match="leave it out of `vectors`"):
        piped(config | {"outputs": {"path": str(tmp_path / "out")}}).run()


def test_a_tag_that_is_not_judged_is_named() -> None:
    labels = [
        [*tags, *(["rare"] if row < 2 else []), *(["usual"] if row else [])]
        for row, tags in enumerate(digits()[1])
    ]
    judged = Judged(labels, digits()[0])
    claims = {
        row["part"]: row["detail"] for frame in judged.more for row in frame.to_dict("records")
    }
    assert claims == {
        "rare": "fewer than 3 different samples have it",
        "usual": "fewer than 3 different samples lack it",
    }
    assert judged.figure("not_judged", "rare")["value"] == 2
    assert judged.figure("not_judged")["value"] == 0
