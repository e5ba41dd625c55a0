"""What a look at a sample is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.results.versions import Version
from dqpipe.review import priority


def test_a_look_at_an_evaluation_sample_is_worth_twice_one_at_a_training_sample(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(
        {
            "key": list("abcdef"),
            "text": ["x", "x", "y", "y", "z", "w"],
            "split": ["train", "train", "val", "val", "test", "train"],
        }
    )
    policy = "policy: {rules: {duplicate_rows.exact: review}}"
    text = (
        f"dataset: {{roles: {{id: key}}}}\nstages: [duplicate_rows]\n{policy}\ngates: []\noutputs: "
        f"{{path: {tmp_path}}}"
    )
    Pipeline.from_text(text).run("serial", source=frame)
    version = Version.open(tmp_path)
    reviewed = version.decisions.frame().query("decision == 'review'").id.tolist()
    values = dict(zip(version.samples.ids, priority.values(version), strict=True))
    assert reviewed == ["b", "d"]
    assert values == pytest.approx({"a": 0, "b": 0.1, "c": 0, "d": 0.2, "e": 0, "f": 0})


def test_a_sample_that_others_are_compared_with_is_worth_more(tmp_path: Path) -> None:
    frame = pd.DataFrame({"key": list("abc"), "text": ["x"] * 3, "label": ["cat", "dog", "dog"]})
    text = (
        f"dataset: {{roles: {{id: key, label: label}}}}\nstages: [duplicate_rows]\ngates: []\n"
        f"outputs: {{path: {tmp_path}}}"
    )
    Pipeline.from_text(text).run("serial", source=frame)
    version = Version.open(tmp_path)
    named = version.findings.frame().match.value_counts()
    values = dict(zip(version.samples.ids, priority.values(version), strict=True))
    assert named.to_dict() == {"a": named["a"], "b": 1}
    assert named["a"] > 1
    looks = {sample: values[sample] / (1 + np.log1p(named.get(sample, 0))) for sample in "abc"}
    assert looks == pytest.approx(dict.fromkeys("abc", 0.1))
