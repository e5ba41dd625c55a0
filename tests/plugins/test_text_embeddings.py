"""Texts as vectors: what is alike is near, and what is judged by vectors judges texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from dqpipe_text.tfidf import learned, vectors

from dqpipe.api import Pipeline, Result
from dqpipe.execution.local import Serial

TOPICS = {
    "weather": "rain storm sunny cloud wind snow frost warm cold forecast thunder fog".split(),  # noqa: SIM905
    "kitchen": "oven pan butter flour onion knife plate soup salt bake boil dish".split(),  # noqa: SIM905
    "football": "goal match referee penalty striker league coach pass ball foul".split(),  # noqa: SIM905
}
OTHERS = "the a was very there and then we it saw had today again with our".split()  # noqa: SIM905
EACH, WRONG = 60, (3, 70, 130)


def texts() -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    made = [
        (" ".join(rng.permutation([*rng.choice(words, 5), *rng.choice(OTHERS, 6)])), topic)
        for topic, words in TOPICS.items()
        for _ in range(EACH)
    ]
    return [text for text, _ in made], [topic for _, topic in made]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("texts")
    some, topics = texts()
    names = list(TOPICS)
    given = [
        names[(names.index(topic) + 1) % 3] if row in WRONG else topic
        for row, topic in enumerate(topics)
    ]
    more = [some[0].upper() + "!", None, "🙂", 7]
    frame = pd.DataFrame(
        {"sentence": [*some, *map(str, more[:3]), "7"], "label": [*given, *given[:4]]}
    )
    frame.loc[len(some) + 1, "sentence"] = None
    frame.to_csv(folder / "texts.csv", index=False)
    pipeline = Pipeline.proposed(str(folder / "texts.csv"), path=str(folder / "out"))
    return pipeline.run(Serial())


def test_what_is_proposed_stands_where_others_look(result: Result) -> None:
    assert {"duplicates", "embeddings", "text_quality", "label_noise", "outliers"} <= {
        stage["name"] for stage in result.record["run"]["stages"]
    }


def test_wrong_labels_and_copies_of_texts_are_claimed(result: Result) -> None:
    claims = result.findings
    wrong = claims[claims.code == "label_noise.likely_wrong"]
    assert {f"row-{n:07}" for n in WRONG} <= set(wrong.id)
    copies = claims[claims.code == "duplicates.normalised"]
    assert list(zip(copies.id, copies.match, strict=True)) == [("row-0000000", "row-0000180")]
    assert set(claims[claims.code == "text_quality.empty"].id) == {"row-0000181"}


def test_a_vector_depends_on_its_own_text_alone() -> None:
    some, _ = texts()
    known = learned(some, 16, 0)
    together = vectors(some, known)
    alone = np.concatenate([vectors([text], known) for text in some])
    assert np.array_equal(together, alone)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_texts_of_one_topic_are_near_each_other() -> None:
    some, topics = texts()
    found = vectors(some, learned(some, 16, 0))
    near = found @ found.T
    np.fill_diagonal(near, -1)
    same = np.array(topics)[near.argmax(axis=1)] == np.array(topics)
    assert same.mean() > 0.95


def test_hostile_texts_have_vectors() -> None:
    hostile = ["", "\x00", "🙂" * 50, "\u0301" * 100, "a" * 100_000, "x"]
    for fitted in (["", ""], ["a"], hostile):
        found = vectors(hostile, learned(fitted, 8, 0))
        assert found.shape[0] == len(hostile)
        assert np.isfinite(found).all()
