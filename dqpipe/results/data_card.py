"""The data card of a version.

Markdown with a YAML head, as the Hugging Face Hub reads it from a dataset's README.md, made from
the account.

    record (numbers, sentences, classes, gates) + the curated samples (features, splits) ──▶ card.md

What only people know is left to them, and named: the licence, where the data comes from, who is in
it. Whatever comes from the data is escaped: it is neither markup nor a link.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from dqpipe.config import gate_grammar
from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.data.labels import label_text
from dqpipe.data.tables import Samples
from dqpipe.data.wording import many
from dqpipe.errors import printable

MOST_CLASSES, MOST_COLUMNS, ROWS, CHANGES = 1000, 100, 50, 10
"""Names of classes and columns in the head, rows of a table, changes since the last version."""
HUB_TYPES = {"image", "audio", "video"}
"""Modalities that are types of a column, too."""
OURS = {"id", "media", "label", "split", "content", "parent", "made_by"}
_MARKS = re.compile(r"([\\`*_\[\]#|~$])")


def card(record: Mapping[str, Any], dataset: Dataset, modality: str) -> str:
    """The card of a version: `dataset` is the curated one, `modality` "tabular" where it has no
    media, "image", "audio" and the like, or "" where that is not known.
    """
    told, run = record["account"], record["run"]
    name = _name(run)
    lines = [
        "---",
        _head(name, dataset, modality).rstrip(),
        "---",
        "",
        f"# Dataset card of {text(name)}",
        "",
        (
            "*Written by dqpipe from the account of its run. To publish the set, put this file "
            "into it as README.md.*"
        ),
        "",
        "## Summary",
        "",
        *(f"- {text(sentence)}" for sentence in (*told["alerts"], *told["said"])),
        "",
        "## Structure",
        "",
        *_splits(dataset.samples),
        *_classes(record),
        "",
        "## How it was made",
        "",
        *_made(record),
        "",
        "## What was found",
        "",
        *_found(record),
        *_gates(record),
        "",
        "## Known limits",
        "",
        *_limits(record),
        "",
        "## Licence, source, people",
        "",
        (
            "Not known to dqpipe; state before you share the set: the licence of the data "
            "(`license` in the head), where it comes from, who labelled it and how,"
        ),
        (
            "whether it shows or describes people and what they agreed to, and what the set must "
            "not be used for."
        ),
    ]
    return "\n".join(lines) + "\n"


def text(value: object) -> str:
    """A text in Markdown as it is: no markup, no link, no mention, one line."""
    plain = _MARKS.sub(r"\\\1", printable(str(value)))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def _name(run: Mapping[str, Any]) -> str:
    """What a folder or file is called; a table in memory has no name."""
    path = str(run["config"]["dataset"]["path"]).replace("\\", "/").rstrip("/")
    return (PurePosixPath(path).stem if "/" in path else "") or "dataset"


def _head(name: str, dataset: Dataset, modality: str) -> str:
    """The YAML head."""
    samples = dataset.samples
    category, kinds = _task(dataset, modality)
    head: dict[str, Any] = {"pretty_name": printable(name)}
    head |= {
        "size_categories": [size(len(samples))],
        "task_categories": [category],
        **({"task_ids": kinds} if kinds else {}),
        "tags": ["dqpipe"],
    }
    splits = [{"name": split, "num_examples": count} for split, count in _counted(samples).items()]
    head["dataset_info"] = {"features": _features(dataset, modality), "splits": splits}
    stated = "# license: state it before you share the set, such as cc-by-4.0\n"
    return stated + str(yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000))


def size(count: int) -> str:
    """The Hub's category of a number of samples."""
    names = ["1", "1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    above = next(
        (number for number in range(1, len(names)) if count < 100 * 10**number), len(names)
    )
    if above == len(names):
        return "n>1T"
    return "n<1K" if above == 1 else f"{names[above - 1]}<n<{names[above]}"


def _task(dataset: Dataset, modality: str) -> tuple[str, list[str]]:
    """The Hub's task category and ids that the kind of label speaks for."""
    kind = labels.kind_in(dataset.samples)
    if kind in ("none", "objects", "mask") or not modality:
        return "other", []
    if kind == "number":
        return ("tabular-regression", []) if modality == "tabular" else ("other", [])
    ids = {
        "image": "multi-label-image-classification"
        if kind == "tags"
        else "multi-class-image-classification"
    }
    return f"{modality}-classification", [ids[modality]] if modality in ids else []


def _features(dataset: Dataset, modality: str) -> list[dict[str, Any]]:
    """The columns as the Hub describes them, by the names that they have in the data."""
    samples, layout = dataset.samples, dataset.layout
    names = {**layout.get("own", {}), **layout.get("roles", {})}
    found: list[dict[str, Any]] = []
    if dataset.has_media:
        medium = modality if modality in HUB_TYPES else "string"
        found.append({"name": printable(names.get("media", modality or "file")), "dtype": medium})
    if "label" in samples:
        found.append({"name": printable(names.get("label", "label")), **_label(samples)})
    own = [
        field
        for field in samples.table.schema
        if field.name not in OURS or (field.name == "id" and "id" in names)
    ]
    found += [
        {"name": printable(names.get(field.name, field.name)), **_dtype(field.type)}
        for field in own[:MOST_COLUMNS]
    ]
    return found


def _label(samples: Samples) -> dict[str, Any]:
    classes = labels.classes(samples).names
    if not labels.is_text(samples) or labels.kind_in(samples) == "tags":
        return _dtype(samples.table.schema.field("label").type)
    if not classes or len(classes) > MOST_CLASSES:
        return {"dtype": "string"}
    return {
        "dtype": {
            "class_label": {
                "names": {str(number): printable(name) for number, name in enumerate(classes)}
            }
        }
    }


def _dtype(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_dictionary(kind):
        return _dtype(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return {"sequence": _dtype(kind.value_type).get("dtype", "string")}
    if pa.types.is_boolean(kind):
        return {"dtype": "bool"}
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        return {"dtype": str(kind)}
    if pa.types.is_floating(kind):
        return {"dtype": {16: "float16", 32: "float32", 64: "float64"}[kind.bit_width]}
    return {"dtype": "string"}


def _counted(samples: Samples) -> dict[str, int]:
    """Samples by split, by names that the Hub takes; all are train where there are none."""
    if "split" not in samples:
        return {"train": len(samples)}
    found: dict[str, int] = {}
    for row in pc.value_counts(samples.table.column("split")).to_pylist():
        name = re.sub(r"\W+", "_", label_text(row["values"]) or "train", flags=re.ASCII) or "_"
        found[name] = found.get(name, 0) + row["counts"]
    return dict(sorted(found.items()))


def _splits(samples: Samples) -> list[str]:
    counted = ", ".join(f"{text(split)} ({count:,})" for split, count in _counted(samples).items())
    new = len(samples) - samples.table.column("parent").null_count if "parent" in samples else 0
    return [
        f"{many(len(samples), 'sample')}, of them {new:,} made by augmentation; splits: {counted}.",
        "",
    ]


def _classes(record: Mapping[str, Any]) -> list[str]:
    rows = record["classes"]["rows"]
    if not rows or record["classes"]["total"] == 0:
        return []
    names = ("before", "dropped", "review", "added", "after")
    lines = [f"| class | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for row in rows[:ROWS]:
        name = "*no label*" if row["name"] is None else text(row["name"])
        lines.append(f"| {name} | {' | '.join(format(row[column], ',') for column in names)} |")
    left = record["classes"]["total"] - min(len(rows), ROWS)
    return [*lines, *([f"| *{left:,} more* |{' |' * len(names)}"] if left > 0 else [])]


def _made(record: Mapping[str, Any]) -> list[str]:
    run = record["run"]
    stages = [f"{stage['name']} (version {stage['version']})" for stage in run["stages"]]
    lines = [
        (
            f"- dqpipe {text(run['dqpipe'])}, version `{run['version']}`, {text(run['finished'])}, "
            f"seed {run['seed']}"
        )
    ]
    lines.append(f"- stages: {text(', '.join(stages))}")
    if lineage := run.get("lineage"):
        given = lineage["input"]
        lines.append(
            f"- input: {many(given['samples'], 'sample')}, content {text(given['content'])}; plan "
            f"{text(lineage['plan'])}"
        )
        lines.append(f"- after version: {text(lineage['parent'] or 'none')}")
    lines += [f"- since then: {text(row['said'])}" for row in (run.get("news") or ())[:CHANGES]]
    return [
        *lines,
        (
            "- the same input, plan and versions make the same set; `ledger.parquet` says for "
            "each sample what was claimed and decided, and why"
        ),
    ]


def _found(record: Mapping[str, Any]) -> list[str]:
    codes = [
        code
        for stage in record["counts"]["stages"]
        for code in stage["codes"]
        if code["samples"] or code["dataset"]
    ]
    if not codes:
        return ["Nothing was found."]
    lines = [
        "| code | samples | dropped | relabelled | for review | meaning |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for code in codes[:ROWS]:
        of = code["decisions"]
        lines.append(
            f"| {text(code['code'])} | {code['samples']:,} | {of['drop']:,} | {of['relabel']:,} | "
            f"{of['review']:,} | {text(code['help'])} |"
        )
    return lines


def _gates(record: Mapping[str, Any]) -> list[str]:
    if not record["gates"]:
        return ["", "- there are no gates"]
    words = {"failed": "FAILED", "first": "waits for a version to compare with"}
    told = [(gate_grammar.state(gate), gate) for gate in record["gates"]]
    return [
        "",
        *(
            (
                f"- gate {words.get(state, state) if gate['passed'] else 'FAILED'}: "
                f"{text(gate['gate'])}: {text(gate['said'])}"
            )
            for state, gate in told
        ),
    ]


def _limits(record: Mapping[str, Any]) -> list[str]:
    told, worst = record["account"], record["classes"]["hardest"]
    held = "left out until then" if told["held"] else "kept as they are"
    lines = (
        [f"- Put up for review, and {held}: {told['review']:,} of the samples."]
        if told["review"]
        else []
    )
    if worst and worst["name"] is not None:
        lines.append(
            f"- The class that lost the largest share is {text(worst['name'])}: "
            f"{worst['dropped']:,} of {worst['before']:,}."
        )
    if emptied := record["classes"]["emptied"]["total"]:
        lines.append(f"- Classes that have no samples any more: {emptied:,}.")
    audits = [audit["said"] for audit in record["run"].get("audits") or () if audit.get("said")]
    lines += [f"- {text(said)}" for said in audits]
    lines += (
        []
        if audits
        else [
            (
                "- How precise the claims are on this set was not certified by people (`dqpipe "
                "review --audit`)."
            )
        ]
    )
    return [
        *lines,
        (
            "- What no stage looks for is not found: fairness, consent, and whether the classes "
            "are the right ones are for people to judge."
        ),
    ]
