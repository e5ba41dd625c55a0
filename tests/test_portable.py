"""File names that another system refuses, or takes for one another, are said before anybody copies
the set there.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.data.portable_names import REFUSED, doubts
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from tests import faulty

CAFE = "caf\u00e9.png"


@pytest.mark.parametrize(
    "name",
    [
        "a:b.png",
        "dir./x.png",
        "x.png.",
        "x.png ",
        "dir /x.png",
        "aux",
        "AUX.png",
        "a/con.png",
        "NUL",
        "com1.tar.gz",
        "lpt9/x.png",
        "com\u00b2.png",
        'a"b.png',
        "a<b",
        "a|b",
        "a?b",
        "a*b",
        "a\\b.png",
        "a\nb.png",
        "Prn .png",
    ],
)
def test_what_windows_refuses(name: str) -> None:
    assert REFUSED.search(name)


@pytest.mark.parametrize(
    "name",
    [
        "auxiliary.png",
        "a/b.png",
        ".hidden",
        "com.png",
        "com10.png",
        "com0x.png",
        "console/1.png",
        "a..b.png",
        "a b.png",
        "x.aux",
        "x.con.png",
        "nul_1.png",
        CAFE,
    ],
)
def test_what_it_takes(name: str) -> None:
    assert not REFUSED.search(name)
    assert doubts([name], "") == []


def test_only_the_part_of_a_path_that_goes_along_counts() -> None:
    assert (
        doubts(
            [
                "s3://bucket/aux:/a.png",
                "/data/aux/b.png",
                "../c.png",
                "./d.png",
                "/mnt/x:y/set/e.png",
            ],
            "/mnt/x:y/set",
        )
        == []
    )
    assert len(doubts(["/mnt/set/aux/e.png"], "/mnt/set")) == 1


def test_counts_and_five_examples() -> None:
    refused, twins = doubts(
        [
            *(f"{n}:.png" for n in range(8)),
            *(f"{n}.{kind}" for n in range(7) for kind in ("png", "PNG")),
            "1.png",
        ],
        "",
    )
    assert refused.startswith("8 file names are not allowed on Windows (")
    assert "'0:.png', '1:.png', '2:.png', '3:.png', '4:.png' and 3 more" in refused
    assert twins.startswith("14 file names differ only in case")
    assert "('0.PNG' and '0.png'; " in twins
    assert "'4.PNG' and '4.png'; and 2 more such groups)" in twins
    assert doubts(["aux"], "")[0].startswith("1 file name is not allowed")
    assert (
        len(doubts([unicodedata.normalize("NFC", CAFE), unicodedata.normalize("NFD", CAFE)], ""))
        == 1
    )


def test_a_run_says_it_as_a_doubt(registry: Registry, tmp_path: Path) -> None:
    names = ["10:30.png", "con.png", "A.png", "a.png"]
    for number, name in enumerate(names):
        path = tmp_path / "images" / "xy"[number // 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        faulty.picture(path, seed=number)
    if len(list((tmp_path / "images" / "y").iterdir())) < 2:
        pytest.skip("this disk takes no twins")
    text = (
        f"dataset: {{path: {tmp_path / 'images'}}}\nstages: [files]\noutputs: {{path: "
        f"{tmp_path / 'out'}, reports: []}}\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    ran = Run(made.config, registry, Serial()).run()
    said = [
        row["detail"] for row in ran.findings.table.to_pylist() if row["code"] == "dataset.doubt"
    ]
    assert [text.split(" (")[0] for text in said] == [
        "2 file names are not allowed on Windows",
        "2 file names differ only in case or in how accents are written",
    ]
    assert "'x/10:30.png', 'x/con.png'" in said[0]
    assert ran.record["run"]["doubts"] == said
