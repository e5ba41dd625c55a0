"""What is counted in texts, which columns hold them, and what is claimed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dqpipe_text.columns import text_columns, texts_of
from dqpipe_text.counts import COUNTS, counts
from dqpipe_text.reading import language, mojibake
from dqpipe_text.text_quality import TextQuality, _truncated

from dqpipe.api import Pipeline, Result
from dqpipe.data.tables import Facts, Samples
from dqpipe.execution.local import Serial

THINGS = ("kettle", "lamp", "chair", "radio", "carpet", "mirror", "bicycle", "blanket")
DOES = ("arrived", "broke", "was sold", "was returned", "stands in the hall", "looked better")
WHEN = ("on Monday", "after a week", "before the winter", "when nobody was at home", "last year")
SOUND = [
    f"The {thing} {does} {when}, and we were {mood} about the {other}."
    for mood in ("glad", "not sure")
    for thing, other in zip(THINGS, reversed(THINGS), strict=True)
    for does in DOES
    for when in WHEN
]
FAULTS = {
    "empty": " \u200b\n\t",
    "broken_encoding": "The cafÃ© on the corner doesnâ€™t sell the lamp that we saw.",
    "control": "The radio broke\x00 on Monday, and we were glad.",
    "markup": "<p>The chair arrived&nbsp;after a week</p>",
    "boilerplate": "This site uses cookies. Accept all cookies to read about the carpet.",
    "repetitive": "buy the lamp now " * 40,
    "symbols": "==== **** //// ---- ++++ #### %%%% lamp",
    "language": "Der Spiegel ist leider am Montag zerbrochen, und wir waren alle sehr traurig.",
}


def samples(**columns: Any) -> Samples:
    count = len(next(iter(columns.values())))
    return Samples(pa.table({"id": [f"r{n:04}" for n in range(count)], **columns}))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    texts = [*SOUND, *FAULTS.values()]
    frame = pd.DataFrame({"text": texts, "label": (["a", "b"] * len(texts))[: len(texts)]})
    out = tmp_path_factory.mktemp("out")
    pipeline = Pipeline.from_text(f"stages: [text_quality]\noutputs: {{path: {out}}}\n")
    return pipeline.check(Serial(), source=frame)


def test_each_fault_is_claimed_and_nothing_else(result: Result) -> None:
    claims = result.findings[result.findings["severity"] != "info"]
    first = len(SOUND)
    found = {
        (code.split(".")[1], int(i[4:])) for code, i in zip(claims.code, claims.id, strict=True)
    }
    assert {(code, first + n) for n, code in enumerate(FAULTS)} == found


def test_what_many_texts_have_is_no_fault() -> None:
    rows = [counts(f"<b>{text}</b>") for text in SOUND]
    columns = {name: [row[name] for row in rows] for name in COUNTS}
    columns |= {"mojibake": np.zeros(len(rows)), "language": ["en"] * len(rows)}
    facts = Facts(pa.table(columns | {"language_sure": np.ones(len(rows))}))
    claims = pd.concat(TextQuality().detect(samples(text=SOUND), facts))
    assert set(claims[claims.code == "markup"].severity) == {"info"}


def test_texts_of_one_greatest_length_were_cut() -> None:
    texts = [*SOUND[:50], *(" ".join(SOUND[n : n + 9])[:256] for n in range(8))]
    rows = [counts(text) for text in texts]
    facts = Facts(pa.table({name: [row[name] for row in rows] for name in COUNTS}))
    cut = np.concatenate([hits.rows for hits in _truncated(facts)])
    assert (
        {n for n in range(50, 58) if texts[n].rstrip()[-1].isalnum()} == set(cut.tolist()) != set()
    )


@pytest.mark.parametrize(
    ("text", "fact", "value"),
    [
        ("one two  three.", "words", 3),
        ("東京は大きい。", "words", 6),
        ("One. Two! Three?", "sentences", 3),
        ("It costs 3.50 today.", "sentences", 1),
        ("今日は。明日は。", "sentences", 2),
        ("ABC def", "upper", 0.5),
        ("a1b2", "digits", 0.5),
        ("\n a \n\n b \n a\n", "repeated_lines", 1 / 3),
        ("👩‍👩‍👧 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿 and می‌خواهم", "invisible", 0),
        ("pass\u200bword\u202e", "invisible", 2),
        ("a\x00b\x07", "control", 2),
        ("a < b and c > d, <3, x<y>z", "markup", 0),
        ("<DIV class='a'>x</DIV><br/>&amp;", "markup", 4),
        ("ha" * 30, "run", 60),
        ("🙂🙂", "visible", 2),
        ("\u200d\u200b \ufeff", "visible", 0),
        ("", "words", 0),
        ("lost \ufffd", "replaced", 1),
    ],
)
def test_counts(text: str, fact: str, value: float) -> None:
    assert counts(text)[fact] == pytest.approx(value)


def test_repetition_is_counted_as_gopher_does() -> None:
    words = list("abcdefgh")
    found = counts(" ".join(words * 2))
    assert found["top_2gram"] == pytest.approx(4 / 16)
    assert found["repeated_5gram"] == pytest.approx(8 / 16)
    assert counts(" ".join(words))["repeated_5gram"] == 0


def test_a_text_of_any_size_takes_time_in_proportion() -> None:
    for part in ("a", "<", "ab ", "&#", "é", "<p ", "\u200d"):
        assert counts(part * 1_000_000)["characters"] == len(part) * 1_000_000


def test_columns_of_texts_are_told_by_what_they_hold() -> None:
    count = 40
    chat = [[{"role": "user", "content": f"{t} Is that so?"}] for t in SOUND[:count]]
    table = samples(
        review=SOUND[:count],
        town=["New York City Hall Park", "San Juan Capistrano Old Town"] * (count // 2),
        name=[f"Jane {thing}" for thing in (THINGS * 5)],
        when=["2024-01-01 12:00:00"] * count,
        number=list(range(count)),
        chat=chat,
    )
    assert text_columns(table) == ("review", "chat")
    assert text_columns(samples(text=SOUND[:3], review=SOUND[:3])) == ("text",)
    assert text_columns(samples(comment=["ok", None, "fine"])) == ("comment",)
    assert text_columns(samples(text=[1, 2, 3])) == ()
    assert text_columns(samples(label_problems=SOUND[:3], json=SOUND[:3])) == ()


def test_cells_are_flattened_for_measuring() -> None:
    chat = [[{"role": "user", "content": "hi"}, {"role": "bot", "content": "hello"}], None]
    table = samples(a=["x", None], n=pa.array([1, None]), chat=chat)
    assert texts_of(table, ["a", "n", "chat"]) == ["x\n\n1\n\nhi\nhello", ""]
    assert texts_of(samples(t=[["a", "b"], []]), ["t"]) == ["a\nb", ""]


def test_languages_and_encodings() -> None:
    assert language("I am still waiting for my card to arrive")[0] == "en"
    assert language("Ich warte immer noch darauf, dass meine Karte kommt")[0] == "de"
    assert language("ok 123") == (None, None)
    assert mojibake("cafÃ© dâ€™accord") > 0
    assert mojibake("café d'accord, naïve, 東京, Ωμέγα, ñandú") == 0
