"""What is different from the last published version, over real runs and real data."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from dqpipe_drift import two_samples
from dqpipe_drift.drift import misspelt
from dqpipe_drift.sentences import of_numbers
from dqpipe_images.patch_bank import PatchBank
from sklearn.datasets import load_digits

from dqpipe.api import Pipeline, Result

DIGITS = load_digits()


def numbers(count: int, seed: int, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = {
        "key": [f"{seed}-{n:04}" for n in range(count)],
        "size": rng.normal(size=count),
        "colour": rng.choice(["red", "green"], count),
    }
    return pd.DataFrame({**rows, "label": rng.choice(["cat", "dog"], count), **columns})


def run(out: Path, source: object, *stages: str) -> Result:
    roles = "" if isinstance(source, str) else "dataset: {roles: {id: key}}\n"
    text = (
        f"{roles}stages: [{', '.join(stages)}]\ngates: []\noutputs: {{path: {out}, files: "
        f"manifest}}"
    )
    return Pipeline.from_text(text).run("serial", source=source, force=True)


def table(out: Path, frame: pd.DataFrame, *options: str) -> Result:
    return run(out, frame, f"drift: {{{', '.join(['copies: null', *options])}}}")


def drifted(result: Result, name: str = "effect") -> pd.Series:
    rows = result.figures[
        (result.figures["figure"] == f"drift.{name}") & (result.figures["scope"] == "fact")
    ]
    return rows.set_index("key")["value"]


def claims(result: Result, code: str) -> pd.DataFrame:
    return result.findings[result.findings["code"] == f"drift.{code}"]


def test_without_a_last_version_nothing_is_compared(tmp_path: Path) -> None:
    result = table(tmp_path / "out", numbers(100, 0))
    assert not result.figures["figure"].str.startswith("drift.").any()
    assert result.record["run"]["since"] is None


def test_new_rows_that_differ_are_told_in_plain_words(tmp_path: Path) -> None:
    first, more = numbers(300, 0), numbers(60, 1)
    table(tmp_path / "out", first)
    result = table(
        tmp_path / "out",
        pd.concat([first, more.assign(size=more["size"] - 2, colour="blue")], ignore_index=True),
    )
    effect, p = drifted(result), drifted(result, "p_adjusted")
    assert effect["size"] > 0.5
    assert effect["colour"] > 0.9
    assert effect["label"] < 0.15
    assert p["size"] < 0.001
    assert p["label"] > 0.01
    assert set(claims(result, "shifted")["part"]) == {"size", "colour"}
    said = next(text for text in result.account if "size is lower than before" in text)
    assert said.startswith(
        "In the 60 new samples size is lower than before (median -1.98 instead of -0.0765"
    )
    assert "p < 0.001" in said
    assert "60 new samples" in next(
        text for text in result.account if text.startswith("Since version")
    )


def test_gates_speak_of_columns_and_a_quiet_night_passes_them(tmp_path: Path) -> None:
    first = numbers(300, 0)
    text = (
        f"dataset: {{roles: {{id: key}}}}\nstages: [drift: {{copies: null}}]\ngates: ['size drift "
        f"effect > 0.2']\noutputs: {{path: {tmp_path / 'out'}}}"
    )
    pipeline = Pipeline.from_text(text)
    assert pipeline.run("serial", source=first, force=True).passed
    assert pipeline.run("serial", source=first, force=True).passed
    darker = numbers(60, 1).assign(size=3.0)
    assert not pipeline.check("serial", source=pd.concat([first, darker], ignore_index=True)).passed


def test_rows_like_the_old_ones_are_no_drift(tmp_path: Path) -> None:
    first = numbers(300, 0)
    table(tmp_path / "out", first)
    result = table(tmp_path / "out", pd.concat([first, numbers(60, 1)], ignore_index=True))
    assert claims(result, "shifted").empty
    assert (drifted(result) < 0.2).all()


def test_classes_that_come_and_go_and_what_looks_misspelt(tmp_path: Path) -> None:
    first = numbers(300, 0).assign(label=["cat", "dog", "house mouse"] * 100)
    table(tmp_path / "out", first)
    new = first[first["label"] != "dog"].copy()
    new.iloc[:2, new.columns.get_loc("label")] = ["Cat", "zebra"]
    result = table(tmp_path / "out", new)
    come = claims(result, "new_label").set_index("part")
    assert list(come.index) == ["Cat", "zebra"]
    assert come.loc["Cat", "suggestion"] == "cat"
    assert pd.isna(come.loc["zebra", "suggestion"])
    assert list(claims(result, "vanished_label")["part"]) == ["dog"]
    assert misspelt("house_mouse", ["cat", "house mouse"]) == "house mouse"


def test_too_few_new_rows_are_not_tested_and_what_left_shows_in_the_whole(tmp_path: Path) -> None:
    first = numbers(300, 0)
    table(tmp_path / "out", first)
    result = table(tmp_path / "out", first[first["size"] < 0])
    assert drifted(result).empty
    assert drifted(result, "whole")["size"] > 0.4
    renamed = first[first["size"] < 0].assign(key=lambda rows: "z" + rows["key"])
    assert table(tmp_path / "out", renamed).record["run"]["since"]["new"] == 0


def test_a_new_row_equal_to_an_old_one_is_told_which_is_which(tmp_path: Path) -> None:
    first = numbers(100, 0)
    table(tmp_path / "out", first)
    copies = first.iloc[:3].assign(key=["0-0000b", "copy", "z"])
    found = claims(
        table(tmp_path / "out", pd.concat([first, copies], ignore_index=True)), "duplicate_of_old"
    )
    assert dict(zip(found["id"], found["match"], strict=True)) == {
        "0-0000b": "0-0000",
        "copy": "0-0001",
        "z": "0-0002",
    }


def test_a_version_of_an_earlier_dqpipe_is_no_reason_to_fail(tmp_path: Path) -> None:
    table(tmp_path / "out", numbers(100, 0))
    version = (tmp_path / "out" / "version").read_text().strip()
    shutil.rmtree(tmp_path / "out" / "versions" / version / "tables")
    result = table(tmp_path / "out", numbers(100, 1))
    assert "Nothing was compared with the last version" in " ".join(result.account)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """300 handwritten digits in a folder for each of them."""
    put(tmp_path / "digits", range(300))
    return tmp_path / "digits"


def put(folder: Path, rows, change=lambda picture: picture) -> None:
    for row in rows:
        (folder / str(DIGITS.target[row])).mkdir(parents=True, exist_ok=True)
        picture = cv2.resize(
            (DIGITS.images[row] * 15).astype(np.uint8), (24, 24), interpolation=cv2.INTER_CUBIC
        )
        cv2.imwrite(str(folder / str(DIGITS.target[row]) / f"{row:04}.png"), change(picture))


STAGES = ("image_quality", "embeddings", "drift: {copies: null}")


def test_pictures_drift_in_their_facts_and_in_embedding_space(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    run(out, str(digits), *STAGES)
    shutil.rmtree(out / "store")  # the version remembers what it needs
    put(digits, range(300, 360), lambda picture: picture // 2)
    dark = run(out, str(digits), *STAGES)
    effect = drifted(dark)
    assert effect["image_quality.brightness_p99"] > 0.8
    assert effect["embeddings.vector"] > 0.3
    assert effect["label"] < 0.2
    assert "embeddings.vector" in set(claims(dark, "shifted")["part"])
    page = (dark.path / "report.html").read_text()
    assert "Since the last version" in page
    assert "lie elsewhere in embeddings.vector" in page


def test_the_same_whatever_the_store_holds_and_a_changed_embedder_is_not_compared(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(out, str(digits), *STAGES)
    put(digits, range(300, 340))
    shutil.copytree(out, tmp_path / "again", symlinks=True, ignore=shutil.ignore_patterns("store"))
    shutil.copytree(out, tmp_path / "other", symlinks=True)
    cached, fresh = run(out, str(digits), *STAGES), run(tmp_path / "again", str(digits), *STAGES)
    pd.testing.assert_frame_equal(cached.figures, fresh.figures, check_exact=True)
    pd.testing.assert_frame_equal(cached.findings, fresh.findings, check_exact=True)
    monkeypatch.setattr(PatchBank, "version", 1 + PatchBank.version)
    other = run(tmp_path / "other", str(digits), *STAGES)
    assert (
        "embeddings.vector cannot be compared" in claims(other, "not_comparable")["detail"].item()
    )
    assert pd.isna(
        drifted(other)["embeddings.vector"]
    )  # stated without a value: a gate on any drift is unjudged, not passed
    assert "image_quality.brightness" in drifted(other)


@pytest.mark.parametrize("test", ["numbers", "categories", "vectors"])
def test_chance_is_not_called_drift(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """p values of random halves of real data are below 0.1 in about a tenth of the draws, and
    effects are near 0.
    """
    monkeypatch.setattr(two_samples, "PERMUTATIONS", 199)
    monkeypatch.setattr(two_samples, "VECTORS", 150)
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(DIGITS.data))
        old, new = order[:150], order[150:210]
        if test == "numbers":
            mean = DIGITS.data.mean(axis=1)
            found.append(two_samples.numbers(mean[old], mean[new]))
        elif test == "categories":
            found.append(
                two_samples.categories(
                    *(np.bincount(DIGITS.target[rows], minlength=10) for rows in (old, new)), rng
                )
            )
        else:
            found.append(two_samples.vectors(DIGITS.data[old], DIGITS.data[new], rng))
    assert np.mean([one.p < 0.1 for one in found]) < 0.2
    assert np.mean([one.p < 0.5 for one in found]) > 0.3
    assert np.mean([one.effect for one in found]) < 0.08


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg() -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(two_samples.adjusted(p), false_discovery_control(p))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            [1.0, 2.0, 3.0, 4.0],
            [2.0, 3.0, np.inf, np.inf],
            (
                "(half of them lie between 2.25 and 2.75 instead of 1.75 and 3.25; infinite in "
                "50% instead of 0%"
            ),
        ),
        ([1.0, 2.0], [np.inf, -np.inf], "x is infinite more often than before (100% instead of 0%"),
        ([1500.0] * 4, [3026.0] * 4, "is higher than before (median 3,026 instead of 1,500"),
        ([1.0] * 4, [np.nan] * 4, "x is missing more often than before (100% instead of 0%"),
        ([np.nan] * 4, [1.0] * 4, "x is missing less often than before (0% instead of 100%"),
    ],
)
def test_numbers_are_told_as_a_person_would(old: list[float], new: list[float], said: str) -> None:
    assert said in of_numbers("x", np.array(old), np.array(new), 4)
