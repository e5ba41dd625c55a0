"""Labels that are sets of tags or numbers, and several annotators.

Planted errors, beside cleanlab as its tutorials use it.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.benchmarks.bench import SHARED, Bench, Row, Section

TITLE = "Labels that are sets, numbers, or votes"
DIAMONDS = SHARED / "diamonds.csv"
TAGS = {
    "even": (0, 2, 4, 6, 8),
    "large": (6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "round": (0, 6, 8, 9),
}


def report(bench: Bench) -> Section:
    """A row for each kind of label and error."""
    cells = [
        cell
        for work in ("tags", "numbers", "votes")
        for cell in bench.ours("label_kinds", work, bench.runs(2)).said["cells"]
    ]
    return Section([row(cell) for cell in cells], said(cells))


def row(cell: Mapping) -> Row:
    """One kind of label with one kind of error."""
    name, value, other = cell["measure"], cell["ours"], cell["theirs"]
    seconds = f"; {cell['seconds']:.1f} s" if cell["seconds"] else ""
    theirs = f"; {cell['their_seconds']:.1f} s" if cell["seconds"] else ""
    return Row(
        cell["work"],
        f"{name} {value:.3f}{cell['more']}{seconds}",
        f"cleanlab: {name} {other:.3f}{cell['their_more']}{theirs}",
        f"{value - other:+.3f}",
    )


def said(cells: list[Mapping]) -> str:
    """What the rows show, and what is missing."""
    above = sum(cell["ours"] >= cell["theirs"] for cell in cells)
    missing = (
        "" if DIAMONDS.exists() else " The table of diamonds is not here: its rows are left out."
    )
    return (
        "AP is the average precision of the ranking of wrong labels, mean over seeds; precision "
        "and recall are those of the claims at the default "
        "thresholds. cleanlab works as in its tutorials: for tags one logistic regression each, "
        "for numbers `CleanLearning` around gradient boosting, for "
        "votes CROWDLAB on a logistic regression that learned the majority's labels, all on the "
        "same vectors. "
        f"dqpipe is at least as good in {above} of {len(cells)} rows.{missing}"
    )


def judged(
    stage: Any, columns: Mapping[str, Any], vectors: np.ndarray | None = None
) -> Mapping[str, Any]:
    """What a stage of ours says of a table."""
    import pyarrow as pa

    from dqpipe.data.tables import Facts, Samples, fact_array

    ids = [f"{row:06d}" for row in range(len(next(iter(columns.values()))))]
    given = {"duplicates.group": pa.array(ids)}
    if vectors is not None:
        given["embeddings.vector"] = fact_array(vectors, "vector[float32]")
    return stage.at("relate").relate(
        Samples(pa.table({"id": ids, **columns})), Facts(pa.table(given)), None
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the seconds that it took."""
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [1797, 64] of scikit-learn's digits, and what they show."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data.astype(np.float32), data.target


def cell(
    work: str, measure: str, runs: list[tuple[float, ...]], more: str = "", their_more: str = ""
) -> dict[str, Any]:
    """The means of runs of (ours, theirs, seconds, their seconds)."""
    ours, theirs, seconds, their_seconds = np.mean(runs, axis=0).tolist()
    return {
        "work": work,
        "measure": measure,
        "ours": ours,
        "theirs": theirs,
        "seconds": seconds,
        "their_seconds": their_seconds,
        "more": more,
        "their_more": their_more,
    }


def claimed(flagged: list[np.ndarray], wrong: list[np.ndarray]) -> str:
    """Precision and recall of claims over several runs."""
    flags, truth = np.concatenate(flagged), np.concatenate(wrong)
    return (
        f", precision {truth[flags].mean() if flags.any() else 1:.2f}, recall "
        f"{flags[truth].mean():.2f}"
    )


def tags(seeds: int) -> list[dict[str, Any]]:
    """Digits with tags of which 10 % of the samples lack one, or have one too many."""
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues
    from dqpipe_labels.label_noise import LabelNoise
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import cross_val_predict

    vectors, shown = digits()
    truth = np.stack([np.isin(shown, some) for some in TAGS.values()], axis=1)
    cells = []
    for kind in ("forgotten", "added"):
        runs, flags, their_flags, wrongs = [], [], [], []
        for seed in range(seeds):
            given, wrong = spoiled(truth, kind, seed)
            names = [[tag for tag, has in zip(TAGS, row, strict=True) if has] for row in given]
            facts, seconds = timed(
                lambda names=names: judged(LabelNoise(), {"label": names}, vectors)
            )
            lists, began = [np.flatnonzero(row).tolist() for row in given], time.perf_counter()
            model = LogisticRegression(max_iter=1000)
            chances = np.stack(
                [
                    cross_val_predict(model, vectors / 16, column, cv=5, method="predict_proba")[
                        :, 1
                    ]
                    for column in given.T
                ],
                axis=1,
            )
            scores, issues = (
                get_label_quality_scores(lists, chances),
                find_label_issues(lists, chances, n_jobs=1),
            )
            confidence = np.asarray(facts["confidence"])
            ours, theirs = (
                average_precision_score(wrong, confidence),
                average_precision_score(wrong, -scores),
            )
            runs.append((ours, theirs, seconds, time.perf_counter() - began))
            flags, their_flags, wrongs = (
                [*flags, confidence >= 0.5],
                [*their_flags, issues],
                [*wrongs, wrong],
            )
        cells.append(
            cell(
                f"tags of digits, 10 % {kind}",
                "AP",
                runs,
                claimed(flags, wrongs),
                claimed(their_flags, wrongs),
            )
        )
    return cells


def spoiled(truth: np.ndarray, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tags bool [n, k] of which a tenth of the samples lack one or have one too many, and which,
    bool [n].
    """
    rng, given = np.random.default_rng(seed), truth.copy()
    able = np.flatnonzero(truth.any(axis=1) if kind == "forgotten" else ~truth.all(axis=1))
    for row in rng.choice(able, len(truth) // 10, replace=False):
        given[row, rng.choice(np.flatnonzero(truth[row] == (kind == "forgotten")))] ^= True
    return given, (given != truth).any(axis=1)


def numbers(seeds: int) -> list[dict[str, Any]]:
    """Prices of diamonds of which 4 % are wrong.

    Half have a digit too many or too few, half are another diamond's. One run: cleanlab's is slow.
    """
    import pandas as pd
    from dqpipe_labels.label_noise import LabelNoise
    from sklearn.metrics import average_precision_score

    if not DIAMONDS.exists():
        return []
    table, rng = (
        pd.read_csv(DIAMONDS).sample(2000, random_state=0).reset_index(drop=True),
        np.random.default_rng(0),
    )
    price = table.pop("price").to_numpy()
    given, (shifted, swapped) = price.copy(), rng.choice(len(price), (2, 40), replace=False)
    given[shifted] = np.where(rng.random(40) < 0.5, price[shifted] * 10, price[shifted] // 10)
    given[swapped] = price[rng.permutation(swapped)]
    wrong = given != price
    facts, seconds = timed(
        lambda: judged(
            LabelNoise(vectors=tuple(table)),
            {"label": given, **{name: table[name].tolist() for name in table}},
        )
    )
    quality, their_seconds = timed(lambda: clean_learning(table, given))
    deviation = np.asarray(facts["deviation"])
    run = (
        average_precision_score(wrong, deviation),
        average_precision_score(wrong, -quality),
        seconds,
        their_seconds,
    )
    return [
        cell("2,000 prices of diamonds, 4 % wrong", "AP", [run], claimed([deviation >= 8], [wrong]))
    ]


def clean_learning(table: Any, given: np.ndarray) -> np.ndarray:
    """The label quality [n] by cleanlab's CleanLearning around histogram gradient boosting."""
    import pandas as pd
    from cleanlab.regression.learn import CleanLearning
    from sklearn.ensemble import HistGradientBoostingRegressor

    np.random.seed(0)  # noqa: NPY002 (cleanlab draws from it)
    found = CleanLearning(
        HistGradientBoostingRegressor(random_state=0), n_boot=2, seed=0
    ).find_label_issues(pd.get_dummies(table).to_numpy(np.float32), given.astype(float))
    return found["label_quality"].to_numpy()


def votes(seeds: int) -> list[dict[str, Any]]:
    """Digits labelled by three people of different quality, a fifth of the votes missing.

    Careless errors, and hard samples that many get wrong.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator, get_majority_vote_label
    from dqpipe_labels.annotators import Annotators
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    vectors, shown = digits()
    cells = []
    for kind, hard in (("careless errors", 0.0), ("15 % hard samples", 0.15)):
        runs, errors = [], []
        for seed in range(seeds):
            given = said_by(shown, (0.95, 0.75, 0.55), hard, seed)
            columns = {
                f"person_{number}": [None if vote < 0 else int(vote) for vote in column]
                for number, column in enumerate(given.T)
            }
            facts, seconds = timed(
                lambda columns=columns: judged(
                    Annotators(columns=tuple(columns), vectors="embeddings.vector"),
                    columns,
                    vectors,
                )
            )
            began, table = time.perf_counter(), np.where(given >= 0, given, np.nan).astype(float)
            majority = get_majority_vote_label(table, verbose=False)
            chances = cross_val_predict(
                LogisticRegression(max_iter=1000),
                vectors / 16,
                majority,
                cv=5,
                method="predict_proba",
            )
            theirs = get_label_quality_multiannotator(table, chances, verbose=False)
            their_seconds, told = time.perf_counter() - began, theirs["label_quality"]
            right = np.array(
                [text == str(label) for text, label in zip(facts["consensus"], shown, strict=True)]
            )
            their_right = told["consensus_label"].to_numpy() == shown
            runs.append((right.mean(), their_right.mean(), seconds, their_seconds))
            known = given >= 0
            truth = np.array(
                [
                    (column == shown)[seen].mean()
                    for column, seen in zip(given.T, known.T, strict=True)
                ]
            )
            own = np.array([np.nanmean(facts[f"right_{name}"]) for name in columns])
            their_own = theirs["annotator_stats"].sort_index()["annotator_quality"].to_numpy()
            errors.append(
                (
                    abs(np.mean(facts["quality"]) - right.mean()),
                    abs(told["consensus_quality_score"].mean() - their_right.mean()),
                    np.abs(own - truth).max(),
                    np.abs(their_own - truth).max(),
                )
            )
        off, their_off, people, their_people = np.mean(errors, axis=0)
        text = ", its stated quality off by {:.3f}, that of a person by up to {:.2f}"
        work = f"consensus of three people on digits, {kind}"
        cells.append(
            cell(
                work,
                "share right",
                runs,
                text.format(off, people),
                text.format(their_off, their_people),
            )
        )
    return cells


def said_by(shown: np.ndarray, right: tuple[float, ...], hard: float, seed: int) -> np.ndarray:
    """Votes int [n, m] on what is shown [n], -1 where there is none.

    On hard samples people fall for one and the same other class.
    """
    rng, count = np.random.default_rng(seed), len(shown)
    other, is_hard = (shown + rng.integers(1, 10, count)) % 10, rng.random(count) < hard
    given = np.empty((count, len(right)), dtype=np.int64)
    for number, share in enumerate(right):
        vote = np.where(rng.random(count) < share, shown, (shown + rng.integers(1, 10, count)) % 10)
        given[:, number] = np.where(is_hard & (rng.random(count) < 0.5), other, vote)
    hidden = rng.random(given.shape) < 0.2
    hidden[np.arange(count), rng.integers(0, len(right), count)] = False
    given[hidden] = -1
    return given


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(
        json.dumps(
            {
                "cells": {"tags": tags, "numbers": numbers, "votes": votes}[sys.argv[1]](
                    int(sys.argv[2])
                )
            }
        )
    )
