"""A ledger's score: what counts as found, as a false claim, and as harm to a sound sample."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sample_data import score

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


def claim(path: str | None, code: str, match: str | None = None, **other: str) -> Row:
    row = {
        "id": path,
        "code": code,
        "severity": "warning",
        "match": match,
        "decision": "keep",
        "part": None,
    }
    return row | {"suggestion": None, "new_label": None} | other


def untouched(path: str) -> Row:
    return claim(path, "") | {"code": None, "severity": None}


def perfect(truth: list[Row]) -> list[Row]:
    """Every fault claimed with its first code, everything else kept."""
    rows = []
    for row in truth:
        code = row["expected"].split("|")[0]
        if not row["path"]:
            rows.append(claim(None, code, part=row["label"]) | {"decision": None})
        elif row["source"]:
            rows.append(claim(row["path"], code, row["source"], decision="drop"))
        else:
            rows.append(claim(row["path"], code) if code else untouched(row["path"]))
    return rows


@pytest.fixture(scope="module")
def truth() -> list[Row]:
    return score.read_truth(score.TRUTH)


def planted(kind: str, path: str, expected: str, source: str = "") -> Row:
    return {"path": path, "label": "a", "kind": kind, "expected": expected, "source": source}


def sound(count: int) -> list[Row]:
    return [planted("sound", f"s{i}", "") for i in range(count)]


def share(result: score.Score, name: str) -> float:
    return next(kind.share for kind in result.kinds if kind.name == name)


def test_a_perfect_ledger_reaches_every_target(truth: list[Row]) -> None:
    result = score.score(perfect(truth), truth)
    assert result.missed == ()
    assert {kind.share for kind in result.kinds} == {1.0}
    assert result.precision == 1.0


def test_an_empty_ledger_and_one_without_findings_miss_every_kind(truth: list[Row]) -> None:
    for ledger in ([], [untouched(row["path"]) for row in truth if row["path"]]):
        result = score.score(ledger, truth)
        assert {kind.found for kind in result.kinds} == {0}
        assert len(result.missed) == len(result.kinds) + 1  # and the precision
        assert result.flagged == ()


def test_claiming_everything_of_everyone_is_no_way_out(truth: list[Row]) -> None:
    every = {code for row in truth for code in row["expected"].split("|") if code}
    ledger = [claim(row["path"], code) for row in truth if row["path"] for code in every]
    result = score.score(perfect(truth) + ledger, truth)
    assert len(result.flagged) == result.sound
    assert any("flagged" in words for words in result.missed)
    assert any("precision" in words for words in result.missed)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (claim("x", "image_quality.light"), 1),
        (claim("x", "image_quality.low_contrast", severity="error"), 1),
        (claim("x", "image_quality.low_contrast", severity="info"), 0),
        (claim("x", "image_quality.dark"), 0),
        (claim("y", "image_quality.light"), 0),
    ],
)
def test_a_fault_is_found_by_the_right_code_on_the_right_sample(row: Row, found: int) -> None:
    truth = [planted("washed_out", "x", "image_quality.low_contrast|image_quality.light")]
    assert share(score.score([row], truth), "washed_out") == found


@pytest.mark.parametrize(
    ("ledger", "found"),
    [
        ([claim("copy", "duplicates.near", "s0")], 1),
        ([claim("s0", "duplicates.near", "copy")], 1),
        ([claim("s0", "duplicates.near", "s1"), claim("copy", "duplicates.near", "s1")], 1),
        ([claim("copy", "duplicates.near", "s1")], 0),
        ([claim("copy", "duplicates.near")], 0),
        ([claim("copy", "duplicates.exact", "s0")], 0),
        ([claim("copy", "outliers.far", "s0")], 0),
        ([claim("copy", "duplicates.near", "s0", severity="info")], 0),
    ],
)
def test_a_duplicate_is_found_when_it_hangs_together_with_its_source(
    ledger: list[Row], found: int
) -> None:
    truth = [*sound(2), planted("resized", "copy", "duplicates.near", "s0")]
    assert share(score.score(ledger, truth), "resized") == found


def test_a_rare_class_is_found_on_the_dataset_by_its_name() -> None:
    truth = [planted("rare_class", "", "diversity.rare_class")]
    for row, found in (
        (claim(None, "diversity.rare_class", part="a"), 1),
        (claim(None, "diversity.rare_class", detail="a: 18 of 1173", severity="info"), 1),
        (claim(None, "diversity.rare_class", part="b"), 0),
        (claim("a/1.png", "diversity.rare_class", part="a"), 0),
    ):
        assert share(score.score([row], truth), "rare_class") == found


def test_the_claim_of_a_planted_pair_flags_no_sound_source() -> None:
    truth = [*sound(3), planted("resized", "copy", "duplicates.near", "s0")]
    pair = claim("s0", "duplicates.near", "copy", decision="drop")
    result = score.score([pair, claim("s1", "duplicates.near", "s2")], truth)
    assert result.flagged == ("s1",)
    assert result.dropped == ()


def test_a_source_dropped_with_its_copy_or_for_nothing_counts() -> None:
    truth = [*sound(3), planted("resized", "copy", "duplicates.near", "s0")]
    pair = claim("s0", "duplicates.near", "copy", decision="drop")
    both = [pair, claim("copy", "duplicates.near", "s0", decision="drop")]
    assert score.score(both, truth).dropped == ("s0",)
    assert score.score([untouched("s0") | {"decision": "drop"}], truth).dropped == ("s0",)


def test_harm_to_sound_samples_is_measured_against_its_targets() -> None:
    truth = sound(100)
    flags = [claim(f"s{i}", "outliers.far") for i in range(3)]
    assert not any("flagged" in words for words in score.score(flags, truth).missed)
    flags.append(claim("s3", "outliers.far"))
    assert "4 sound samples flagged" in score.score(flags, truth).missed
    result = score.score([untouched("s0") | {"decision": "relabel"}], truth)
    assert result.relabelled == ("s0",)
    assert "1 sound samples dropped or relabelled" in result.missed


def test_a_wrong_label_claimed_of_a_stranger_is_true() -> None:
    code = score.WRONG_LABEL
    truth = [
        *sound(2),
        planted("wrong_label", "w", code),
        planted("stranger", "x", f"outliers.far|{code}"),
    ]
    ledger = [claim(path, code) for path in ("w", "x", "s0")] + [claim("s1", code, severity="info")]
    result = score.score(ledger, truth)
    assert (result.true_wrong_label_claims, result.wrong_label_claims) == (2, 3)
    assert any("precision of wrong labels 67%" in words for words in result.missed)


def write(folder: Path, rows: list[Row]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / "ledger.parquet")
    return str(folder)


def test_the_command_prints_a_table_and_exits_with_the_verdict(
    tmp_path: Path, truth: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.main([write(tmp_path, perfect(truth))]) == 0
    assert "wrong_label" in capsys.readouterr().out
    bare = [untouched(row["path"]) for row in truth if row["path"]]
    assert score.main([write(tmp_path, bare)]) == 1
    assert "missed: blurred 0% found" in capsys.readouterr().out


def test_the_command_prints_json(
    tmp_path: Path, truth: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.main([write(tmp_path, perfect(truth)), str(score.TRUTH), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["missed"] == []
    assert printed["precision"] == 1.0
    assert {kind["name"] for kind in printed["kinds"]} >= {"blurred", "rare_class", "text"}


def test_a_ledger_without_a_needed_column_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, [{"id": "a", "code": None}])
    with pytest.raises(
        ValueError, match="has no column severity, match, decision; it has id, code"
    ):
        score.main([folder])
