"""Every mistake in pipeline.yaml is refused with its line, the nearest right name and what is
allowed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dqpipe.config import json_schema as schemas
from dqpipe.config import pipeline_file
from dqpipe.errors import ConfigError
from dqpipe.plugin.registry import Registry


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("stages: [files\n", 2, "not valid YAML"),
        ("- files\n", 1, "a mapping"),
        ("stages: [files]\nstage: 3\n", 2, "did you mean 'stages'"),
        ("stages: [files]\nstages: [files]\n", 2, "stands twice"),
        ("stages:\n  - files\n  - image_qualty\n", 3, "did you mean 'image_quality'"),
        ("stages:\n  - files\n  - files\n", 3, "as: other_name"),
        ("stages:\n  - files:\n      spee: 3\n", 3, "unknown option 'spee'"),
        ("stages:\n  - duplicate_rows:\n      as: 'a b'\n", 2, "letters, digits"),
        ("stages: []\n", 1, "at least one"),
        ("stages: [files]\nseed: -1\n", 2, "whole number"),
        ("stages: [files]\nseed: true\n", 2, "whole number"),
        ("stages: [files]\ngates: files.unreadable\n", 2, "list of conditions"),
        ("stages: [files]\nfail_on:\n  - 5\n", 2, "fail_on is a list of conditions"),
        ("stages: [files]\ngates: []\nfail_on: []\n", 3, "under one of them"),
        ("stages: [files]\noutputs:\n  files: link\n", 3, "'copy'"),
        ("stages: [files]\noutputs:\n  reports: [htm]\n", 3, "did you mean 'html'"),
        ("stages: [files]\ndataset:\n  reader: folder\n", 3, "image_folder"),
        ("stages: [files]\ndataset:\n  pth: x\n", 3, "did you mean 'path'"),
        ("stages: [files]\npolicy:\n  rulez: {}\n", 3, "did you mean 'rules'"),
        ("stages: [files]\nseed: 4294967296\n", 2, "whole number"),
        ("stages: &all\n  - *all\n", 1, "an alias refers to what it stands in"),
        ("stages: [files]\n? [a]\n: b\n", 2, "a key is a name"),
        ("stages: [files]\npolicy:\n  use: [x]\n", 3, "the name of a policy"),
        ("stages:\n  - {files: {}, image_quality: {}}\n", 2, "one name with its options"),
    ],
)
def test_a_mistake_is_refused_with_its_line(
    text: str, line: int, words: str, registry: Registry
) -> None:
    with pytest.raises(ConfigError) as refused:
        pipeline_file.parse(text, registry, name="pipeline.yaml")
    assert f"line {line}" in refused.value.where
    assert words in str(refused.value)


def test_an_option_out_of_bounds_names_the_option(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"max_drop.*less than or equal to 1.*not 2"):
        pipeline_file.parse("stages: [files]\npolicy:\n  max_drop: 2\n", registry)


def test_a_date_that_is_none_and_a_python_object_are_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="not valid YAML: month must be"):
        pipeline_file.parse("stages: [files]\nseed: 2020-13-41\n", registry)
    with pytest.raises(ConfigError, match="not valid YAML"):
        pipeline_file.parse("stages: [files]\nseed: !!python/object/apply:os.getcwd []\n", registry)


def test_the_seed_reaches_the_stages_that_have_one(registry: Registry) -> None:
    built = pipeline_file.parse(
        "stages:\n  - label_noise\n  - label_noise: {as: mine, seed: 3}\nseed: 7\n", registry
    )
    assert [entry.extension.seed for entry in built.stages] == [7, 3]


def test_a_stage_goes_by_its_other_name(registry: Registry) -> None:
    built = pipeline_file.parse("stages:\n  - files\n  - files: {as: again}\n", registry)
    assert [entry.name for entry in built.stages] == ["files", "again"]


@pytest.mark.parametrize(
    "written",
    [
        "gates: [files.unreadable > 1]",
        "fail_on: [files.unreadable > 1]",
        "fail_on: files.unreadable > 1",
    ],
)
def test_gates_go_by_either_name(written: str, registry: Registry) -> None:
    import jsonschema
    import yaml

    text = f"stages: [files]\n{written}\n"
    assert pipeline_file.parse(text, registry, name="p.yaml").gates == (
        ("files.unreadable > 1", "p.yaml, line 2"),
    )
    jsonschema.validate(yaml.safe_load(text), schemas.schema(registry))


def test_the_schema_is_a_json_schema_that_accepts_the_sample_and_refuses_mistakes(
    registry: Registry,
) -> None:
    import jsonschema
    import yaml

    schema = schemas.schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    sample = yaml.safe_load(Path("sample_data/pipeline.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(sample)] == []
    assert not validator.is_valid({"stages": ["no_such_stage"]})
    assert not validator.is_valid({"stages": [{"files": {"no_such_option": 1}}]})
