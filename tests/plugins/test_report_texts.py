"""Texts on the page: escaped, what nobody sees named, differences marked."""

from __future__ import annotations

import pandas as pd
import pytest
from dqpipe_reports.texts import compared, named

from dqpipe.api import Pipeline
from dqpipe.execution.local import Serial


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>&", "&lt;script&gt;&amp;"),
        ("a\x00b", 'a<span class="soft">[U+0000]</span>b'),
        ("\u202e<b>", '<span class="soft">[U+202E]</span>&lt;b&gt;'),
        ("שלום", "שלום"),
    ],
)
def test_a_text_commands_nothing(text: str, shown: str) -> None:
    assert named(text) == shown


def test_differing_words_are_marked() -> None:
    one, other = compared("my <b>card is here", "my <b>card was here now")
    assert one == "my &lt;b&gt;card <mark>is</mark> here"
    assert other == "my &lt;b&gt;card <mark>was</mark> here<mark> now</mark>"
    assert compared(None, "x") == ("", "x")


def test_the_report_shows_both_texts(tmp_path) -> None:
    text = "The card that I ordered <img src=x onerror=alert(1)> has not arrived in two weeks"
    rows = [text, text.upper(), *(f"Another question about the account number {n}" for n in "abc")]
    pd.DataFrame({"text": rows, "label": ["a", "b", "a", "a", "b"]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    config = f"""
dataset: {{path: {tmp_path / "t.csv"}}}
stages: [{{text_duplicates: {{as: duplicates}}}}]
outputs: {{path: {tmp_path / "out"}}}
"""
    Pipeline.from_text(config).run(Serial())
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; has" in page or "<mark>has</mark>" in page
    assert 'class="excerpt"' in page
