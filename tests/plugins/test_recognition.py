"""A format is recognised from what is there, said with why, and where it is in doubt a person is
asked; nothing is guessed in silence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dqpipe.cli.main import app
from dqpipe.config.dataset_source import recognise
from dqpipe.engine.starter_config import pipeline_yaml
from dqpipe.errors import DatasetError
from dqpipe.plugin.registry import Registry, load
from dqpipe.plugin.stage import Reader, Recognition, extension
from tests.faulty import small_files


@pytest.mark.parametrize(
    ("names", "likeness"),
    [
        (["images/1.png", "other/1.png"], "'images'"),
        (["frames/1.png", "gt/2.png"], "'frames', 'gt'"),
        (["data/JPEGImages/1.png", "data/stuff.bin"], "'JPEGImages'"),
        (["cat/1.png", "cat/1.json", "cat/2.png", "cat/2.json"], ".json files of the same name"),
    ],
)
def test_folders_that_are_no_classes_are_refused_with_what_they_look_like(
    registry: Registry, tmp_path: Path, names: list[str], likeness: str
) -> None:
    small_files(tmp_path, *names)
    with pytest.raises(DatasetError) as refused:
        recognise(registry, str(tmp_path))
    assert likeness in str(refused.value)
    assert 'reader: "image_folder"' in str(refused.value)


@pytest.mark.parametrize(
    ("names", "file", "text", "likeness"),
    [
        (
            ["images/a.png"],
            "annotations.xml",
            (
                "<?xml version='1.0'?><annotations><version>1.1</version><image id='0' "
                "name='a.png'/></annotations>"
            ),
            "CVAT XML",
        ),
        (
            ["shots/a.png", "shots/b.png"],
            "shots/a.json",
            '{"shapes": [], "imagePath": "a.png"}',
            "LabelMe",
        ),
    ],
)
def test_formats_that_are_not_read_are_refused_by_their_name(
    registry: Registry, tmp_path: Path, names: list[str], file: str, text: str, likeness: str
) -> None:
    small_files(tmp_path, *names)
    (tmp_path / file).write_text(text)
    with pytest.raises(DatasetError, match=likeness):
        recognise(registry, str(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ["cat/1.png", "dog/2.png"],
        ["train/cat/1.png", "val/cat/2.png"],
        ["1.png"],
        ["masks/1.png", "hats/1.png"],
        ["a/1.png", "README.md"],
    ],
)
def test_folders_of_classes_are_image_folders(
    registry: Registry, tmp_path: Path, names: list[str]
) -> None:
    reading = recognise(registry, str(small_files(tmp_path, *names)))
    assert (reading.reader.name, bool(reading.seen.why)) == ("image_folder", True)


def test_what_a_person_named_is_read_as_they_said(registry: Registry, tmp_path: Path) -> None:
    small_files(tmp_path, "images/1.png", "labels/1.png")
    text = pipeline_yaml(registry, str(tmp_path), {}, reader="image_folder")
    assert yaml.safe_load(text)["dataset"] == {"path": str(tmp_path), "reader": "image_folder"}


@extension
class Twin(Reader):
    """Takes every folder for its own, as surely as that of images."""

    name = "twin"

    def suits(self, source: object) -> int:
        """Any source."""
        return 50

    def recognise(self, source: object) -> Recognition:
        """As sure as another."""
        return Recognition(50, "it looks like a twin")

    def read(self, source: Any, roles: Any) -> Any:
        """Nothing."""
        raise NotImplementedError


class Twins:
    """A plugin that brings the twin."""

    from dqpipe.plugin.hooks import hookimpl

    @hookimpl
    def dqpipe_register(self) -> list[type[Twin]]:
        """The twin."""
        return [Twin]


def test_two_readings_are_a_question_with_the_line_for_each(tmp_path: Path) -> None:
    small_files(tmp_path, "cat/1.png")
    with pytest.raises(DatasetError) as asked:
        recognise(load(extra={"twins": Twins()}), str(tmp_path))
    lines = [
        yaml.safe_load(line)["dataset"]
        for line in str(asked.value).splitlines()
        if line.startswith("  dataset:")
    ]
    assert lines == [
        {"path": str(tmp_path), "reader": "image_folder"},
        {"path": str(tmp_path), "reader": "twin"},
    ]
    assert "it looks like a twin" in str(asked.value)


def test_init_says_what_it_recognised_and_takes_a_format_and_roles(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    small_files(tmp_path / "set", "cat/1.png", "dog/2.png")
    told = CliRunner().invoke(app, ["init", str(tmp_path / "set"), "-o", str(tmp_path / "a.yaml")])
    assert (
        "Recognised as image_folder: folders of pictures as classes ('cat', 'dog')" in told.stdout
    )
    table = tmp_path / "t.csv"
    table.write_text("a,diagnosis\n1,x\n2,y\n")
    done = CliRunner().invoke(
        app,
        [
            "init",
            str(table),
            "-o",
            str(tmp_path / "b.yaml"),
            "--format",
            "table",
            "--role",
            "diagnosis=label",
        ],
    )
    assert done.exit_code == 0, done.output
    assert yaml.safe_load((tmp_path / "b.yaml").read_text())["dataset"] == {
        "path": str(table),
        "reader": "table",
        "roles": {"label": "diagnosis"},
    }
