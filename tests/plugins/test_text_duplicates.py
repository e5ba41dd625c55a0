"""Copies of texts: which are found, which is kept, what disagrees, what leaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_text.shingles import _by_classes, jaccard, plain, shingles
from dqpipe_text.text_duplicates import TextDuplicates

import dqpipe
from dqpipe.data.tables import Facts, Samples

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ado", "emi", "ilu", "oro", "upa", "yne")]


def prose(seed: int, words: int = 60) -> list[str]:
    return [WORDS[n] for n in np.random.default_rng(seed).integers(0, len(WORDS), words)]


def found(texts: Sequence[str | None], **columns: Any) -> tuple[pd.DataFrame, Facts]:
    """The claims on texts named t0, t1, …, and their facts."""
    ids = [f"t{n:06}" for n in range(len(texts))]
    table = {"id": ids, "content": ids, "text": pa.array(texts, pa.string()), **columns}
    samples, stage = Samples(pa.table(table)), TextDuplicates()
    made = {"made.parent": pa.nulls(len(texts), pa.string())}
    given = stage.relate(samples, Facts(pa.table(made)), list)
    facts = Facts(pa.table({name: pa.array(v) for name, v in given.items()} | made))
    claims = pd.concat(stage.detect(samples, facts)).reset_index(drop=True)
    claims["id"] = [int(i[1:]) for i in claims["id"]]
    claims["match"] = [int(i[1:]) if isinstance(i, str) else -1 for i in claims["match"]]
    return claims, facts


def pairs(claims: pd.DataFrame, code: str) -> set[tuple[int, int]]:
    some = claims[claims.code == code]
    return set(zip(some["id"], some["match"], strict=True))


def test_each_kind_of_copy_is_found_and_others_are_not() -> None:
    base = [" ".join(prose(seed)) for seed in range(40)]
    words = prose(3)
    changed = [*words[:20], "another", *words[21:], "end"]
    more = [
        base[0],
        base[1].upper().replace(" ", ",  ") + "!",
        " ".join(changed),
        " ".join(prose(4)[10:40]),
    ]
    claims, _ = found([*base, *more])
    assert pairs(claims, "exact") == {(40, 0)}
    assert pairs(claims, "normalised") == {(1, 41)}  # the longer one is kept
    assert pairs(claims, "near") == {(3, 42)}
    assert pairs(claims, "contained") == {(43, 4)}
    assert len(claims) == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Straße — café", "STRASSE  cafe\u0301!", True),
        ("ﬁne ①", "fine 1", True),
        ("it costs €1", "it costs £1", False),
        ("great 😀", "great 😡", False),
        ("2 + 2", "2 - 2", False),
        ("今日は、晴れ", "今日は晴れ。", True),
        ("!!!", "???", False),
        ("كتاب", "كتاب ", True),
    ],
)
def test_plain_form(one: str, other: str, same: bool) -> None:
    left, right = plain([one, other]).to_pylist()
    assert (left == right) is same


def test_both_ways_to_the_plain_form_agree() -> None:
    rng = np.random.default_rng(0)
    letters = [chr(code) for code in range(128) if chr(code) not in "$+<=>|~"]
    texts = ["".join(rng.choice(letters, rng.integers(0, 30))) for _ in range(2000)]
    assert plain(texts).to_pylist() == _by_classes(texts).to_pylist()


def test_the_score_is_the_share_of_words_in_a_row() -> None:
    texts = [["a", "b", "c", "d"], ["a", "b", "c", "e"], ["x"], [], ["x"], ["a", "b"] * 9]
    some = shingles(plain([" ".join(words) for words in texts]), 2)
    chosen = [(0, 1), (0, 2), (2, 4), (3, 3), (0, 5)]
    expected = []
    for one, other in chosen:
        sets = [set(zip(texts[t], texts[t][1:], strict=False)) or {*texts[t]} for t in (one, other)]
        expected.append(len(sets[0] & sets[1]) / max(len(sets[0] | sets[1]), 1))
    assert jaccard(some, np.array(chosen)).tolist() == pytest.approx(expected)
    assert some.words.tolist() == [4, 4, 1, 0, 1, 18]


def test_empty_texts_are_no_copies_of_each_other() -> None:
    claims, facts = found([None, "", " ", "\n"])
    assert len(claims) == 0
    assert set(facts["group"]) == {"t000000", "t000001", "t000002", "t000003"}


def test_labels_that_disagree_and_splits_that_overlap() -> None:
    text = " ".join(prose(1))
    split = pa.array(["train", "test", "train", "train"])
    claims, _ = found(
        [text, text, text, " ".join(prose(2))], label=pa.array(["a", "a", "b", "a"]), split=split
    )
    assert pairs(claims, "leak") == {(0, 1), (2, 1)}
    assert set(claims[claims.code == "leak"].severity) == {"error"}
    assert pairs(claims, "label_conflict") == {(0, 2), (1, 2), (2, 0)}


def test_a_template_is_told_and_takes_no_time_of_its_own() -> None:
    texts = [f"Dear customer, your parcel {n} was sent on day {n % 99}" for n in range(20_000)]
    claims, _ = found(texts)
    assert set(claims.code) == {"template"}
    assert len(claims) == len(texts)


def test_many_equal_texts_with_one_label_apart() -> None:
    claims, _ = found(["the same again"] * 20_000, label=pa.array(["a"] * 19_999 + ["b"]))
    assert claims.code.value_counts().to_dict() == {"label_conflict": 20_000, "exact": 19_999}


def test_a_cluster_holds_what_is_near_its_keeper() -> None:
    words = prose(5, 100)
    chain = []
    for step in range(6):
        words = [*words[: step * 15], *prose(100 + step, 12), *words[step * 15 + 12 :]]
        chain.append(" ".join(words))
    claims, facts = found(chain)
    some = shingles(plain(chain), 2)
    rows = [(int(m[1:]), n) for n, m in enumerate(facts["match"]) if m]
    assert rows
    assert (jaccard(some, np.array(rows)) >= 0.6).all()
    assert all(score >= 0.8 for score in claims[claims.code == "near"].value)


def test_the_order_of_rows_changes_nothing_but_names() -> None:
    texts = [" ".join(prose(n % 30)[: 50 + n % 7]) for n in range(90)]
    claims, facts = found(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    mixed, _ = found([texts[n] for n in order])

    def by_text(of: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
        return sorted((code, names[i]) for code, i in zip(of.code, of.id, strict=True))

    assert by_text(claims, texts) == by_text(mixed, [texts[n] for n in order])
    assert len(set(facts["cluster"]) - {None}) == 30


def test_only_of_equal_texts_a_confidence_is_stated(tmp_path: Path) -> None:
    long = (
        "The kettle arrived after two weeks and we were very glad of it because the old one broke"
    )
    other = "Something else altogether was said of the lamp that they had sent back unopened"
    texts = [long, long.upper() + "!", f"{long} on a Monday", other, other, "All is well, yes"]
    pd.DataFrame({"text": texts, "label": "a"}).to_csv(tmp_path / "texts.csv", index=False)
    result = dqpipe.check(
        tmp_path / "texts.csv",
        stages=[{"text_duplicates": {"as": "duplicates", "columns": ["text"]}}],
        gates=[],
    )
    told = {code: rows["confidence"] for code, rows in result.findings.groupby("code")}
    assert set(told) == {
        f"duplicates.{name}" for name in ("contained", "exact", "near", "normalised")
    }
    assert (told["duplicates.exact"] == 1).all()
    assert told["duplicates.normalised"].isna().all()
    assert told["duplicates.near"].isna().all()
    assert set(result.decisions["decision"]) == {"keep", "drop", "review"}
