"""What scripts do from Python: stages, policy, gates and options of their own, and a file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dqpipe
from dqpipe.errors import ConfigError, DatasetError, OutputError
from dqpipe.testing import small_images


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    small_images(folder)
    return folder


def test_stages_policy_gates_and_options_take_the_place_of_the_proposed(
    photos: Path, tmp_path: Path
) -> None:
    result = dqpipe.curate(
        photos,
        tmp_path / "out",
        stages=["files", dqpipe.stages.Duplicates(threshold=0.7), {"image_quality": {}}],
        policy={"rules": {"duplicates.exact": "keep"}},
        gates="samples < 1",
        options={"duplicates.turns": False, "outputs.reports": ["json"]},
    )
    config = result.record["run"]["config"]
    assert [next(iter(stage)) for stage in config["stages"]] == [
        "files",
        "duplicates",
        "image_quality",
    ]
    duplicates = config["stages"][1]["duplicates"]
    assert (duplicates["threshold"], duplicates["turns"]) == (0.7, False)
    assert config["gates"] == ["samples < 1"]
    near = result.findings.loc[result.findings["code"] == "duplicates.exact", "id"]
    assert len(near)
    kept = result.decisions.set_index("id").loc[near]
    assert not kept["because"].map(lambda codes: "duplicates.exact" in codes).any()
    assert not (tmp_path / "out" / "report.html").exists()


def test_without_gates_of_their_own_stages_get_the_default_ones_that_fit(photos: Path) -> None:
    result = dqpipe.check(photos, stages=["files"])
    assert "curated samples < 1" in [gate["gate"] for gate in result.gates]
    assert not any("drift" in gate["gate"] for gate in result.gates)


def test_a_check_keeps_its_facts_where_it_is_told_to(photos: Path, tmp_path: Path) -> None:
    stages = ["files", "image_quality"]
    first = dqpipe.check(photos, stages=stages, store=tmp_path / "store")
    again = dqpipe.check(photos, stages=stages, store=tmp_path / "store")
    assert first.record["run"]["measured"]["image_quality"] > 0
    assert not any(again.record["run"]["measured"].values())
    pd.testing.assert_frame_equal(first.findings, again.findings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stages": ["fils"]}, "files"),
        ({"options": {"image_quality.darkk": 1}}, "dark"),
        ({"options": {"nothing.at_least": 1}}, "no stage of this pipeline is called 'nothing'"),
        ({"policy": {"max_dropp": 0.1}}, "max_drop"),
        ({"stages": [dqpipe.stages.ImageQuality(dark=7)]}, "dark"),
    ],
)
def test_a_mistake_is_refused_with_the_nearest_right_name(
    photos: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dqpipe.check(photos, **given)


def test_a_stage_that_no_plugin_brings_is_named_with_the_nearest() -> None:
    assert "LabelNoise" in dir(dqpipe.stages)
    with pytest.raises(AttributeError, match="LabelNoise"):
        _ = dqpipe.stages.LabelNoize


def test_a_pipeline_written_as_yaml_is_the_same_pipeline(photos: Path, tmp_path: Path) -> None:
    stages = ["files", {"duplicates": {"as": "copies", "mirror": False}}, "embeddings"]
    for given in ({}, {"stages": stages, "policy": {"max_drop": 0.1}}):
        made = dqpipe.Pipeline.proposed(photos, path=str(tmp_path / "out"), **given)
        (tmp_path / "pipeline.yaml").write_text(made.to_yaml())
        read = dqpipe.Pipeline.from_yaml(tmp_path / "pipeline.yaml")
        assert read.config.record() == made.config.record()
        assert [entry.name for entry in read.config.stages] == [e.name for e in made.config.stages]


def test_a_frame_is_no_path_of_the_yaml(photos: Path) -> None:
    frame = pd.DataFrame({"image": [str(p) for p in sorted(photos.rglob("*.png"))], "label": "a"})
    text = dqpipe.Pipeline.proposed(frame, path="out", stages=["files"]).to_yaml()
    assert "DataFrame" not in text


def hugging_face() -> Any:
    """Pictures of two classes in two splits, two of them copies, as their library holds them."""
    datasets = pytest.importorskip("datasets")
    chance = np.random.default_rng(0)
    pictures = [Image.fromarray(chance.integers(0, 255, (40, 40, 3), np.uint8)) for _ in range(12)]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "note": datasets.Value("string"),
        }
    )

    def part(images: list[Image.Image]) -> Any:
        rows = {"image": images, "label": [0, 1] * (len(images) // 2), "note": ["x"] * len(images)}
        return datasets.Dataset.from_dict(rows, features=features)

    return datasets.DatasetDict(train=part([*pictures[:8], *pictures[:2]]), test=part(pictures[8:]))


def test_a_dataset_of_hugging_face_goes_in_and_comes_back(tmp_path: Path) -> None:
    given = hugging_face()
    out = tmp_path / "out"
    result = dqpipe.curate(given, out, stages=["files", "duplicates"], gates=[])
    back = result.to_hf()
    assert {name: len(part) for name, part in back.items()} == {"train": 8, "test": 4}
    assert back["train"].features == given["train"].features
    assert (np.asarray(back["test"][0]["image"]) == np.asarray(given["test"][0]["image"])).all()
    again = dqpipe.curate(given, out, stages=["files"], gates=[], force=True)
    assert {name: len(part) for name, part in again.to_hf().items()} == {"train": 10, "test": 4}
    assert len(dqpipe.check(given["train"], stages=["files"], gates=[]).samples) == 10


def test_what_lies_where_a_dataset_is_saved_stays(tmp_path: Path, photos: Path) -> None:
    mine = tmp_path / "out-source"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        dqpipe.curate(hugging_face(), tmp_path / "out")
    assert (mine / "thesis.txt").read_text() == "mine"
    other = dqpipe.check(photos, stages=["files"], gates=[])
    with pytest.raises(DatasetError, match="to_hf"):
        other.to_hf()
