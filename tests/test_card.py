"""The data card: a head that the Hub reads, numbers of the account, and nothing from the data that
is markup.
"""

from __future__ import annotations

import contextlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from markdown_it import MarkdownIt

from dqpipe.api import Pipeline
from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Samples
from dqpipe.errors import GateError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import data_card

HOSTILE = (
    "<script>alert(1)</script> [x](https://evil.example) www.evil.example\n---\n# | a@b.example "
    "\x1b[2J &lt;b&gt; `x` *y*"
)


def written(registry: Registry, table: pd.DataFrame, out: Path, more: str = "") -> str:
    text = f"stages: [duplicate_rows]\noutputs: {{path: {str(out)!r}, reports: []}}\n{more}"
    pipeline = Pipeline.from_text(text, registry=registry)
    with contextlib.suppress(GateError):
        pipeline.run(Serial(), source=table)
    return (next((out / "versions").iterdir()) / "card.md").read_text(encoding="utf-8")


def head(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    return dict(yaml.safe_load(text.split("\n---\n", 1)[0].removeprefix("---\n")))


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        assert not attrs or tag in {"th", "td"}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_head_is_what_the_hub_reads(registry: Registry, tmp_path: Path) -> None:
    split = ["train"] * 40 + ["validation"] * 20
    table = pd.DataFrame(
        {
            "x": [i * 0.5 for i in range(60)],
            "n": range(60),
            "tags": [["a"]] * 60,
            "species": ["cat", "dog", None] * 20,
            "split": split,
        }
    )
    told = head(written(registry, table, tmp_path / "out", "dataset: {roles: {label: species}}\n"))
    assert told == {
        "pretty_name": "dataset",
        "size_categories": ["n<1K"],
        "task_categories": ["tabular-classification"],
        "tags": ["dqpipe"],
        "dataset_info": {
            "features": [
                {"name": "species", "dtype": {"class_label": {"names": {"0": "cat", "1": "dog"}}}},
                {"name": "x", "dtype": "float64"},
                {"name": "n", "dtype": "int64"},
                {"name": "tags", "sequence": "string"},
            ],
            "splits": [
                {"name": "train", "num_examples": 40},
                {"name": "validation", "num_examples": 20},
            ],
        },
    }
    assert "license" not in told


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([1.5, 2.5], "tabular-regression"),
        ([["a"], ["b"]], "tabular-classification"),
        (None, "other"),
    ],
)
def test_the_task_follows_the_kind_of_label(labels: list[Any] | None, task: str) -> None:
    columns = {
        "id": ["a", "b"],
        "content": ["a", "b"],
        **({} if labels is None else {"label": labels}),
    }
    assert data_card._task(Dataset(Samples(pa.table(columns))), "tabular")[0] == task


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (999_999, "100K<n<1M"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_are_the_categories_of_the_hub(count: int, size: str) -> None:
    assert data_card.size(count) == size


def test_names_from_the_data_are_text(registry: Registry, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            HOSTILE: [1, 1, *range(58)],
            "label": [HOSTILE, "other"] * 30,
            "split": [HOSTILE, "train"] * 30,
        }
    )
    gate = 'gates: ["duplicate_rows.exact < 1000", "change of dropped > 1"]\n'
    text = written(registry, table, tmp_path / "out", gate)
    told = head(text)
    assert told["dataset_info"]["features"][0]["dtype"]["class_label"]["names"]["0"].startswith(
        "<script>alert(1)</script> [x]"
    )
    assert all(split["name"].isidentifier() for split in told["dataset_info"]["splits"])
    body = text.split("\n---\n", 1)[1]
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    tags = Tags(page)
    assert tags.names <= {
        "h1",
        "h2",
        "p",
        "em",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
    }
    assert any(
        (
            "<script>alert(1)</script> [x](https://evil.example) www.evil.example\\n---\\n# | "
            "a@b.example \\x1b[2J &lt;b&gt; `x` *y*"
        )
        in one
        for one in ["".join(tags.texts)]
    )
    assert not {"https://", "www.", "a@b"} & {
        part for part in ("https://", "www.", "a@b") if part in body
    }  # nothing that a page makes a link of
    assert "gate FAILED: duplicate" in body
    assert page.count("<table>") == 2
