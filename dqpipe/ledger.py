"""The ledger: one row for each sample and finding, kept samples and new ones included; why each is where it is.

Columns: id, content, label, split, group, decision, new_label, because, parent, made_by · code, part, severity,
confidence, value, threshold, match, suggestion, detail · stage, stage_version, plugin · reviewer, reviewed. A sample without findings has one
row with a null code; a finding about the whole dataset has a null id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from dqpipe.model import Decisions, Findings, Samples, label_text

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "content", "label", "split", "group", "decision", "new_label")),
        ("because", pa.list_(pa.string())),
        ("parent", pa.string()),
        ("made_by", pa.string()),
        ("code", pa.string()),
        ("part", pa.string()),
        ("severity", pa.string()),
        *((name, pa.float64()) for name in ("confidence", "value", "threshold")),
        *((name, pa.string()) for name in ("match", "suggestion", "detail", "stage")),
        ("stage_version", pa.int64()),
        ("plugin", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed", pa.string()),
    ],
    metadata={"dqpipe.ledger": "1"},
)


def ledger(
    samples: Samples, added: Samples | None, findings: Findings, decisions: Decisions, stages: Sequence[Mapping[str, Any]],
    people: pd.DataFrame | None = None,
) -> pa.Table:  # fmt: skip
    """The ledger of a run; `stages` are the plan's records (name, version, plugin), `people` id, reviewer, reviewed (ISO time) of verdicts."""
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
    # A null id would match every other null id in a merge: findings about the whole dataset are appended instead.
    of_samples = known.merge(found[found["id"].notna()], on="id", how="left")
    whole = pd.concat([of_samples, found[found["id"].isna()]], ignore_index=True)
    whole = whole.sort_values(["id", "code", "part", "match"], na_position="last", kind="stable", ignore_index=True)
    arrays = {field.name: _column(whole, field) for field in SCHEMA}
    return pa.table(arrays, schema=SCHEMA)


def _known(samples: Samples) -> pd.DataFrame:
    columns = ("id", "content", "split", "group", "parent", "made_by")
    frame = samples.select([name for name in columns if name in samples]).frame()
    frame["label"] = [label_text(v) for v in samples.table.column("label").to_pylist()] if "label" in samples else None
    return frame


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name not in frame:
        return pa.nulls(len(frame), field.type)
    values = [None if (v is None or v is pd.NA or (isinstance(v, float) and v != v)) else v for v in frame[field.name].tolist()]  # noqa: PLR0124
    return pa.array(values, field.type)
