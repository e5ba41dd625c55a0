"""The ledger: one row for each sample and finding, kept samples and new ones included.

Why each is where it is.

A sample without findings has one row with a null code; a finding about the whole dataset has a null
id. `COLUMNS` says what each column means; the file says so, too: its metadata has
`dqpipe.results.ledger` (the version of this schema) and `dqpipe.columns` (JSON: column → sentence),
each field its `description`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from dqpipe.data.labels import label_text
from dqpipe.data.tables import Decisions, Findings, Samples

VERSION = 1
"""Of the schema: raised when a column changes its meaning or goes; a new one leaves it as it is."""
COLUMNS: Sequence[tuple[str, pa.DataType, str]] = (
    (
        "id",
        pa.string(),
        (
            "The sample: its path in the dataset, or its key; null: the finding is about the "
            "whole dataset."
        ),
    ),
    (
        "content",
        pa.string(),
        "The hash of the sample's bytes, or of its row: equal samples have equal content.",
    ),
    ("label", pa.string(), "The label it came with, as text (lists and numbers as JSON)."),
    ("split", pa.string(), "Its split: train, validation, test."),
    ("group", pa.string(), "Its group."),
    (
        "decision",
        pa.string(),
        (
            "keep, drop, relabel, or review (kept, and queued for a person); null for a finding "
            "about the whole dataset."
        ),
    ),
    ("new_label", pa.string(), "The label it gets, where the decision is relabel."),
    ("because", pa.list_(pa.string()), "The codes that led to the decision, the first one most."),
    ("parent", pa.string(), "Of a new sample: the sample it was made from."),
    ("made_by", pa.string(), "Of a new sample: the stage that made it."),
    (
        "code",
        pa.string(),
        "The issue, as stage.issue; null: the sample has no issue.",
    ),
    ("part", pa.string(), "The part of the sample that has the issue; null: all of it."),
    ("severity", pa.string(), "info, warning or error."),
    (
        "confidence",
        pa.float64(),
        "The probability that a careful person would agree, 0 to 1; null: the stage cannot tell.",
    ),
    ("value", pa.float64(), "The number that the issue rests on."),
    ("threshold", pa.float64(), "What the value was held against."),
    (
        "match",
        pa.string(),
        ("The other sample of the issue: the keeper of a duplicate, the nearest neighbour."),
    ),
    ("suggestion", pa.string(), "The label that is likely right, as text."),
    (
        "suggestion_confidence",
        pa.float64(),
        "The probability that the suggestion is right, 0 to 1; null: the stage cannot tell.",
    ),
    ("detail", pa.string(), "The issue in words, with what else is known."),
    ("stage", pa.string(), "The stage that found it."),
    ("stage_version", pa.int64(), "The version of that stage."),
    ("plugin", pa.string(), "The plugin that brings that stage."),
    (
        "reviewer",
        pa.string(),
        "Who ruled on the sample (several with commas between); null: no reviewer.",
    ),
    ("reviewed", pa.string(), "When, in ISO 8601, UTC: the last time."),
)
"""Name, type and meaning of each column, in their order."""
SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"description": meaning}) for name, kind, meaning in COLUMNS],
    metadata={
        "dqpipe.ledger": str(VERSION),
        "dqpipe.columns": json.dumps({name: meaning for name, _, meaning in COLUMNS}),
    },
)


def ledger(
    samples: Samples,
    added: Samples | None,
    findings: Findings,
    decisions: Decisions,
    stages: Sequence[Mapping[str, Any]],
    people: pd.DataFrame | None = None,
) -> pa.Table:
    """The ledger of a run; `stages` are the plan's records (name, version, plugin), `people` id,
    reviewer, reviewed (ISO time) of verdicts.
    """
    known = _known(samples).merge(decisions.frame(), on="id", how="left", validate="one_to_one")
    if people is not None and len(people):
        known = known.merge(people, on="id", how="left")
    if added is not None and len(added):
        known = pd.concat([known, _known(added).assign(decision="keep")], ignore_index=True)
    found = findings.frame()
    found["stage"] = [code.rpartition(".")[0] for code in found["code"]]
    versions = {s["name"]: s["version"] for s in stages}
    plugins = {s["name"]: s["plugin"] for s in stages}
    found["stage_version"] = pd.array([versions.get(stage) for stage in found["stage"]], "Int64")
    found["plugin"] = [plugins.get(stage) for stage in found["stage"]]
    # A null id would match every other null id in a merge: findings about the whole dataset are
    # appended instead.
    of_samples = known.merge(found[found["id"].notna()], on="id", how="left")
    whole = pd.concat([of_samples, found[found["id"].isna()]], ignore_index=True)
    whole = whole.sort_values(
        ["id", "code", "part", "match"], na_position="last", kind="stable", ignore_index=True
    )
    arrays = {field.name: _column(whole, field) for field in SCHEMA}
    return pa.table(arrays, schema=SCHEMA)


def _known(samples: Samples) -> pd.DataFrame:
    columns = ("id", "content", "split", "group", "parent", "made_by")
    frame = samples.select([name for name in columns if name in samples]).frame()
    frame["label"] = (
        [label_text(v) for v in samples.table.column("label").to_pylist()]
        if "label" in samples
        else None
    )
    return frame


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name not in frame:
        return pa.nulls(len(frame), field.type)
    values = [
        None if (v is None or v is pd.NA or (isinstance(v, float) and v != v)) else v  # noqa: PLR0124
        for v in frame[field.name].tolist()
    ]
    return pa.array(values, field.type)
