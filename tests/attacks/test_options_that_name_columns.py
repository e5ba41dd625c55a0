"""Options that name columns which cannot serve are refused while planning, in words
that are true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import dqpipe
from dqpipe.errors import ConfigError, PlanError


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "x": rng.normal(size=120),
        "emb": list(rng.normal(size=(120, 3))),
        "text": [f"text {row}" for row in range(120)],
    }
    return pd.DataFrame(columns | {"label": rng.choice(["a", "b"], 120)})


@pytest.mark.parametrize(
    ("stage", "said", "unsaid"),
    [
        ({"label_noise": {"vectors": ["emb"]}}, "column 'emb' holds list", "numpy"),
        (
            {"label_noise": {"vectors": ["x", "text"]}},
            "column 'text' holds 120 different texts",
            "relate",
        ),
        ({"label_noise": {"vectors": "emb"}}, "column 'emb' holds list", "duplicates"),
        (
            {"label_noise": {"vectors": "x"}},
            r"columns are given as a list, `vectors: \[x\]`",
            "duplicates",
        ),
        ({"label_noise": {"vectors": []}}, "names no column", "stack"),
        ({"label_noise": {"vectors": None}}, "nothing to judge labels by", "duplicates"),
        (
            {"label_noise": {}},
            "which embeddings sees in media, and this dataset has none",
            "add the stage",
        ),
        (
            {"annotators": {"columns": ["text", "x"]}},
            "it judges class labels, and here a label is the number",
            "label_noise",
        ),
        ({"diversity": {"vectors": "emb"}}, "`vectors: emb` is no fact", "Error"),
    ],
)
def test_vectors_that_cannot_be_are_refused_while_planning(
    stage: dict[str, Any], said: str, unsaid: str, tmp_path: Path
) -> None:
    frame().to_parquet(tmp_path / "t.parquet")
    pipeline = dqpipe.Pipeline.from_text(
        yaml.safe_dump({"dataset": {"path": str(tmp_path / "t.parquet")}, "stages": [stage]})
    )
    with pytest.raises(PlanError, match=said) as refused:
        pipeline.check()
    assert unsaid not in str(refused.value)


def test_a_role_that_there_is_not_is_called_by_its_name() -> None:
    with pytest.raises(
        ConfigError, match="roles: there is no 'image': allowed: group, id, label, media, split"
    ):
        dqpipe.Pipeline.from_text("stages: [diversity]\ndataset: {path: t.csv, roles: {image: a}}")
