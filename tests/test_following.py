"""Verdicts follow what was only encoded again.

Another picture under the same name leaves them behind, and that is said.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import verdicts
from dqpipe.results.outcome import Outcome
from dqpipe.results.report import account
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version
from dqpipe.review.exchange.queue import Seen
from dqpipe.review.explain import explain
from dqpipe.review.review_queue import ReviewQueue
from dqpipe.review.sample_view import SampleView

DROPPED = [f"a/{number:02}.jpg" for number in range(11)]
CONFIG = (
    "dataset: {path: set}\nstages: [files, image_quality, duplicates]\noutputs: {path: out, "
    "reports: [json]}\n"
)


def picture(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return cv2.resize(
        rng.integers(40, 220, (6, 6, 3), dtype=np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC
    )


def encode(home: Path, quality: int, first: int = 0) -> None:
    """Thirty pictures; from another `first` on, other ones under the same names."""
    (home / "set/a").mkdir(parents=True, exist_ok=True)
    for number in range(30):
        cv2.imwrite(
            str(home / f"set/a/{number:02}.jpg"),
            picture(first + number),
            [cv2.IMWRITE_JPEG_QUALITY, quality],
        )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A published version, and verdicts on it: eleven samples of it are dropped, one is kept."""
    home = tmp_path_factory.mktemp("judged")
    encode(home, 95)
    (home / "pipeline.yaml").write_text(CONFIG)
    Pipeline.from_yaml(home / "pipeline.yaml").drive(Serial())
    seen = {row["id"]: row for row in Version.open(home / "out").samples.table.to_pylist()}
    told = [Verdict(seen[name]["content"], name, "a", "drop", reviewer="ann") for name in DROPPED]
    verdicts.add_all(
        home / "out",
        [*told, Verdict(seen["a/20.jpg"]["content"], "a/20.jpg", "a", "keep", reviewer="bob")],
    )
    return home


@pytest.fixture
def home(judged: Path, tmp_path: Path) -> Path:
    shutil.copytree(judged, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def night(home: Path, *changes: str) -> Outcome:
    return Pipeline.from_yaml(home / "pipeline.yaml", changes=["gates=[]", *changes]).drive(
        Serial(), force=True
    )


def dropped(run: Outcome) -> list[str]:
    table = run.decisions.frame()
    return sorted(table.loc[table["decision"] == "drop", "id"])


def told(run: Outcome) -> tuple[int, int, int]:
    return tuple(
        run.record["run"]["verdicts"][name] for name in ("followed", "stranded", "unmatched")
    )


def test_what_people_dropped_stays_dropped_when_everything_is_encoded_again(home: Path) -> None:
    assert dropped(night(home)) == DROPPED
    encode(home, 70)
    run = night(home)
    assert dropped(run) == DROPPED
    assert told(run) == (12, 0, 0)
    assert "12 verdicts follow a sample that has other bytes now and shows the same." in account(
        run.record
    )
    assert "of other bytes that showed the same: it counts" in str(
        explain(home / "out", "a/00.jpg")["said"]
    )
    again = night(home)
    assert dropped(again) == DROPPED
    assert told(again) == (0, 0, 0)
    encode(home, 50)
    assert dropped(night(home)) == DROPPED


@pytest.mark.parametrize("lost", ["store", "snapshot"])
def test_the_store_or_the_last_version_alone_knows_what_the_samples_showed(
    home: Path, lost: str
) -> None:
    if lost == "store":
        shutil.rmtree(home / "out/store")
    else:
        next((home / "out/versions").glob("*/tables/snapshot.arrow")).unlink()
    encode(home, 70)
    assert dropped(night(home)) == DROPPED


def test_another_picture_under_the_name_is_not_dropped_and_that_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encode(home, 95, first=100)
    run = night(home)
    assert dropped(run) == []
    assert told(run) == (0, 12, 12)
    version = Version.open(home / "out")
    desk = ReviewQueue(home / "out", SampleView(version, ()))
    assert {version.samples.ids[row] for row in desk.order[:12]} == {*DROPPED, "a/20.jpg"}
    said = (
        "12 verdicts count no more: the sample of that name has other bytes or another label now "
        "(dqpipe why NAME says it, dqpipe review asks again)."
    )
    assert said in account(run.record)
    monkeypatch.setattr(sys, "argv", ["dqpipe", "why", "a/00.jpg", "-o", str(home / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert (
        "(drop) is of other bytes, or of another label, under this name: it does not count"
        in " ".join(capsys.readouterr().out.split())
    )


def test_pictures_that_changed_places_keep_their_verdicts_with_them(home: Path) -> None:
    one, other = home / "set/a/00.jpg", home / "set/a/25.jpg"
    one.rename(home / "x"), other.rename(one), (home / "x").rename(other)
    assert dropped(night(home)) == sorted([*DROPPED[1:], "a/25.jpg"])


def test_a_default_gate_stops_the_night_that_leaves_verdicts_behind(home: Path) -> None:
    encode(home, 95, first=100)
    run = Pipeline.from_yaml(home / "pipeline.yaml").drive(Serial(), force=True)
    states = {gate["gate"]: (gate["state"], gate["said"]) for gate in run.gates}
    assert states["change of verdicts_stranded > 5"] == (
        "failed",
        "verdicts_stranded is 12 and was 0: a change of +12; it must not be > 5",
    )
    encode(home, 70)
    run = night(home, "gates=['verdicts_unmatched > 0', 'verdicts_followed > 11']")
    assert [gate["state"] for gate in run.gates] == ["passed", "failed"]


def test_rows_without_vectors_leave_verdicts_behind(tmp_path: Path, registry: Registry) -> None:
    frame = pd.DataFrame(
        {"key": list("abcdef"), "label": ["x", "y"] * 3, "v": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    text = (
        f"dataset: {{path: {tmp_path / 'rows.csv'}, roles: {{id: key}}}}\nstages: "
        f"[duplicate_rows]\noutputs: {{path: {tmp_path / 'out'}, reports: [json]}}\n"
    )
    pipeline = Pipeline.from_text(text, registry=registry)
    pipeline.drive(Serial())
    seen = {row["id"]: row for row in Version.open(tmp_path / "out").samples.table.to_pylist()}
    verdicts.add_all(
        tmp_path / "out",
        [
            Verdict(seen[name]["content"], name, seen[name]["label"], "drop", reviewer="ann")
            for name in "ab"
        ],
    )
    frame.assign(v=[1.0001, *frame["v"][1:]]).to_csv(tmp_path / "rows.csv", index=False)
    run = pipeline.drive(Serial(), force=True)
    assert dropped(run) == ["b"]
    assert told(run) == (0, 1, 1)


def test_the_review_page_and_exports_know_what_followed(home: Path) -> None:
    encode(home, 70)
    night(home)
    version = Version.open(home / "out")
    items = {item.id: item for item in Seen(version).items(verdicts.verdicts(home / "out"))}
    assert [verdict.verdict for verdict in items["a/00.jpg"].said] == ["drop"]
    assert len(ReviewQueue(home / "out", SampleView(version, ())).words) == 12


def test_new_and_replaced_samples_are_told_apart_and_alike_everywhere(home: Path) -> None:
    encode(home, 70)
    cv2.imwrite(str(home / "set/a/new.jpg"), picture(500))
    (home / "set/a/29.jpg").unlink()
    (home / "pipeline.yaml").write_text(CONFIG.replace("duplicates]", "duplicates, drift]"))
    run = night(home)
    counts = run.record["run"]["diff"]["counts"]
    since = run.record["run"]["since"]
    assert (counts["new"], counts["replaced"], counts["gone"]) == (1, 29, 1)
    assert (since["new"], since["replaced"], since["gone"]) == (1, 29, 1)
    rows = {
        row["kind"]: row["after"] if row["kind"] == "replaced" else row["said"]
        for row in run.beside.news
    }
    assert (rows["samples_new"], rows["samples_gone"], rows["replaced"]) == (
        "1 new sample",
        "1 sample gone",
        29,
    )
    assert (
        ": 1 new sample, 29 samples replaced by other content under the same name, 1 sample gone."
        in " ".join(account(run.record))
    )
