"""What another option would decide.

As a run would, from the published facts alone, and nothing is written; options changed on the
command line.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.config import pipeline_file as configs
from dqpipe.errors import ConfigError, DatasetError, DqpipeError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.versions import Version
from dqpipe.testing import small_images

TEXT = """
dataset: {path: images}
stages: [files, image_quality, duplicates, embeddings, {label_noise: {as: labels, folds: 3}}, diversity, augment]
gates: ["files.unreadable > 10"]
outputs: {path: out, reports: [json]}
"""  # noqa: E501


@pytest.fixture(scope="module")
def place(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, pipeline.yaml and the output of a run; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("what if")
    small_images(folder / "images")
    (folder / "pipeline.yaml").write_text(TEXT)
    Pipeline.from_text(TEXT, base=folder, registry=registry).run(Serial())
    return folder


def pipeline(place: Path, registry: Registry, *changes: str) -> Pipeline:
    return Pipeline(configs.load(place / "pipeline.yaml", registry, changes), registry)


def dqpipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["dqpipe", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def written(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("labels.at_least=0.9",),
        ("image_quality.dark=0.5", "image_quality.blurry=0.3", "image_quality.unusual=0.1"),
        ("duplicates.threshold=0.9",),
        ("policy.max_drop=0.02", "policy.rules.duplicates.near=review"),
        ("diversity.thin=0.5", 'policy.rules={"diversity.*": drop}', "gates=[dropped > 1]"),
    ],
)
def test_it_says_what_a_run_would_and_writes_nothing(
    place: Path, registry: Registry, changes: tuple[str, ...]
) -> None:
    expected = pipeline(place, registry, *changes).check(Serial())
    before = written(place)
    made = pipeline(place, registry, *changes).what_if()
    assert written(place) == before
    pd.testing.assert_frame_equal(made.decisions.frame(), expected.decisions)
    pd.testing.assert_frame_equal(made.findings.frame(), expected.findings)
    order = ["figure", "scope", "key"]
    figures = [
        frame.sort_values(order).reset_index(drop=True)
        for frame in (made.figures.frame(), expected.figures)
    ]
    pd.testing.assert_frame_equal(*figures)
    assert made.gates == expected.gates
    assert {**made.record["account"]} == {**expected.record["account"]}


def test_it_needs_neither_the_files_nor_the_store(
    place: Path, registry: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(place, folder, symlinks=True)
    file = folder / "pipeline.yaml"
    file.write_text(TEXT.replace("path: images", f"path: {place / 'images'}"))
    shutil.rmtree(folder / "images")
    shutil.rmtree(folder / "out" / "store")
    made = Pipeline(configs.load(file, registry, ["image_quality.dark=0.9"]), registry).what_if()
    assert made.findings.table.equals(
        pipeline(place, registry, "image_quality.dark=0.9").what_if().findings.table
    )
    with pytest.raises(
        ConfigError, match=r"embeddings\.vector, which the facts store does not hold"
    ):
        Pipeline(configs.load(file, registry, ["diversity.thin=0.5"]), registry).what_if()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("labels.folds=4", "labels.folds changes facts"),
        ("labels.vectors=[image_quality.brightness]", "labels.vectors changes facts"),
        ("augment.target=50", "augment.target is about new samples"),
        ("dataset.limit=10", "dataset.limit is 10; the published version was made with None"),
        ("seed=3", "seed is 3; the published version was made with 0"),
    ],
)
def test_what_would_need_measuring_is_refused_by_name(
    place: Path, registry: Registry, change: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        pipeline(place, registry, change).what_if()
    assert "`dqpipe run --dry-run` with the same options measures" in str(refused.value)


def test_a_new_stage_and_an_output_without_a_version(
    place: Path, registry: Registry, tmp_path: Path
) -> None:
    file = place / "more.yaml"
    file.write_text(TEXT.replace("duplicates, ", "duplicates, {image_quality: {as: again}}, "))
    try:
        with pytest.raises(ConfigError, match="the stage again is new"):
            Pipeline(configs.load(file, registry), registry).what_if()
        file.write_text(TEXT.replace("path: out", f"path: {tmp_path}"))
        with pytest.raises(DatasetError, match="no published version: run the pipeline once"):
            Pipeline(configs.load(file, registry), registry).what_if()
        file.write_text(TEXT.replace("diversity, ", ""))
        gone = Pipeline(configs.load(file, registry), registry).what_if()
        assert not [
            row
            for row in (*gone.findings.table.to_pylist(), *gone.figures.table.to_pylist())
            if "diversity" in str(row)
        ]
    finally:
        file.unlink()


def test_the_command_line_says_the_account_and_the_difference(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    version, before = Version.open("out"), written(place / "out" / "versions")
    options = ["-o", "policy.rules.duplicates.near=keep", "-o", "image_quality.dark=0.9"]
    code, said, _ = dqpipe(capsys, monkeypatch, "run", "--from-facts", *options)
    assert code == 0
    assert f"Beside the published version {version.id}:" in said
    assert "option image_quality.dark: 0.3 → 0.9" in said
    assert said.rstrip().endswith("Nothing was published.")
    told = json.loads(dqpipe(capsys, monkeypatch, "run", "--from-facts", *options, "--json")[1])
    wet = json.loads(
        dqpipe(capsys, monkeypatch, "run", "--dry-run", "--executor", "serial", *options, "--json")[
            1
        ]
    )
    assert told["difference"] == wet["difference"]
    came = {row["id"] for row in told["difference"]["rows"] if "in" in row["kinds"]}
    dropped = version.decisions.frame().query("decision == 'drop'")
    assert came == {
        i
        for i, because in zip(dropped["id"], dropped["because"], strict=True)
        if because[0] == "duplicates.near"
    }
    code, said, _ = dqpipe(capsys, monkeypatch, "run", "--from-facts", "-o", "gates=[dropped > 0]")
    assert (code, "No curated set was published because of this" in said) == (1, False)
    assert "no sample changed" in said
    many = ["-o", "image_quality.dark=1.0", "-o", "image_quality.unusual=1.0"]
    said = dqpipe(capsys, monkeypatch, "run", "--from-facts", *many)[1]
    assert re.search(r"and \d+ more \(--json\)", said)  # an option that `run` has
    assert written(place / "out" / "versions") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "label_noise.at_least=0.9",
            (
                r"-o label_noise.at_least=0.9: no stage of this pipeline is called 'label_noise': "
                r".*labels"
            ),
        ),
        (
            "labels.atleast=0.9",
            r"-o labels.atleast=0.9: unknown option 'atleast': did you mean 'at_least'",
        ),
        (
            "labels.at_least=2",
            r"-o labels.at_least=2: at_least: input should be less than or equal to 1",
        ),
        (
            "policy.maxdrop=0.1",
            r"-o policy.maxdrop=0.1: unknown option 'maxdrop': did you mean 'max_drop'",
        ),
        ("outputs.file=copy", r"-o outputs.file=copy: unknown option 'file': did you mean 'files'"),
        ("seed=-1", r"-o seed=-1: seed is a whole number"),
        ("seed.x=1", r"seed has no options"),
        ("gates=[labels.nonsense > 1]", r"-o gates=\[labels.nonsense > 1\].*"),
        ("policy.rules.labels.nonsense=drop", "labels.nonsense"),
        ("labels=3", "an option of labels is wanted"),
        ("labels.at_least", "NAME.OPTION=VALUE is wanted"),
        ("=3", "NAME.OPTION=VALUE is wanted"),
        ("labels.at_least=[", "not valid YAML"),
        ("labels.folds.x=3", "folds is 3, which has no options"),
    ],
)
def test_a_change_is_checked_like_the_file(
    place: Path, registry: Registry, change: str, words: str
) -> None:
    with pytest.raises(DqpipeError, match=words):
        pipeline(place, registry, change).plan()


def test_a_stage_that_stays_as_it_was_loads_nothing_to_check_its_options(place: Path) -> None:
    code = (
        "import sys; from dqpipe.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print(sorted({'albumentations', 'torch'} & {*sys.modules}))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        str(place / "pipeline.yaml"),
        "--from-facts",
        "-o",
        "labels.at_least=0.9",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_checks_a_stage_is_asked_later(registry: Registry) -> None:
    text = "stages: [augment: {transforms: []}]"
    with pytest.raises(ConfigError, match="line 1: augment: transforms names no transform"):
        configs.parse(text, registry)
    with pytest.raises(ConfigError, match="line 1: augment: transforms names no transform"):
        configs.parse(text, registry, checks=False).augments[0].check()


def test_a_change_is_what_the_file_would_say(place: Path, registry: Registry) -> None:
    changes = [
        "labels.at_least=0.9",
        "files.as=files",
        "policy.rules.duplicates.near=review",
        "policy.max_drop=1e-2",
        "outputs.keep_versions=7",
        "seed=5",
    ]
    changed = pipeline(place, registry, *changes).config
    text = TEXT.replace("folds: 3", "folds: 3, at_least: 0.9").replace(
        "path: out", "path: out, keep_versions: 7"
    )
    text += "policy: {max_drop: 0.01, rules: {duplicates.near: review}}\nseed: 5\n"
    assert (
        changed.record() == Pipeline.from_text(text, base=place, registry=registry).config.record()
    )
    assert pipeline(place, registry).config.record()["seed"] == 0


def test_a_table_with_columns_of_its_own(registry: Registry, tmp_path: Path) -> None:
    rows = [
        {
            "id": f"r{i}",
            "a": i % 9,
            "label": "uvw"[i % 3],
            "split": "test" if i % 5 == 0 else "train",
        }
        for i in range(60)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    asked = (
        "[{expectation: expect_column_values_to_be_between, column: a, min_value: %d, severity: "
        "%s}]"
    )
    stages = f"[duplicate_rows, {{expectations: {{expectations: {asked % (1, 'warning')}}}}}]"
    (tmp_path / "pipeline.yaml").write_text(
        f"dataset: {{path: t.csv, roles: {{id: id}}}}\nstages: {stages}\n"
    )
    pipeline(tmp_path, registry).run(Serial())
    changes = (
        f"expectations.expectations={asked % (4, 'error')}",
        "policy.touch_evaluation=true",
        "policy.rules.expectations.*=drop",
        "policy.max_drop=1",
    )
    expected = pipeline(tmp_path, registry, *changes).check(Serial())
    (tmp_path / "t.csv").unlink()
    made = pipeline(tmp_path, registry, *changes).what_if()
    pd.testing.assert_frame_equal(made.findings.frame(), expected.findings)
    pd.testing.assert_frame_equal(made.decisions.frame(), expected.decisions)
    assert set(expected.decisions["decision"]) == {"keep", "drop"}
