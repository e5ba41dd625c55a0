"""A run's account on disk: ledger, facts, relabel queue, run.json, and what the report plugins make
of the record.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dqpipe.config.plan import DOUBT
from dqpipe.data import labels
from dqpipe.data.dataset import Dataset
from dqpipe.data.labels import label_text
from dqpipe.data.tables import Decisions, Findings, Samples
from dqpipe.data.version_comparison import beside
from dqpipe.errors import OUTSIDE, DatasetError
from dqpipe.execution import decoding
from dqpipe.plugin.cache_key import version_of
from dqpipe.plugin.registry import GROUP
from dqpipe.plugin.stage import Figure, Section, View
from dqpipe.results import data_card, diff, publish, report, unseen, versions
from dqpipe.results.ledger import ledger
from dqpipe.results.outcome import Outcome
from dqpipe.results.report.embedding import Embedding
from dqpipe.results.versions import Version
from dqpipe.storage import no_links, spreadsheet
from dqpipe.storage.fact_store import digest, digest_json
from dqpipe.storage.location import place
from dqpipe.version import __version__

LIBRARIES = (
    "albumentations",
    "cleanlab",
    "great-expectations",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "prefect",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "umap-learn",
)
"""Libraries whose version may show in a result."""


def of_run(run: Outcome) -> dict[str, Any]:
    """The record of a run whose decisions are made.

    Everything that reports and machines are told.
    """
    with decoding.one_thread():
        return report.record(
            samples=run.samples,
            facts=run.facts,
            findings=run.findings,
            figures=run.figures,
            decisions=run.decisions,
            curated=run.curated.samples if run.writes else None,
            gates=run.gates,
            run=run_record(run),
            embedding=embedding(run),
        )


def embedding(run: Outcome) -> Embedding | None:
    """The vectors that most stages look at, of those that hold fractions.

    None where no stage gives any.
    """
    vectors = [one for _, one in sorted(run.vectors.items()) if one.has.any()]
    vectors = [one for one in vectors if one.read(np.flatnonzero(one.has)[:1]).dtype.kind == "f"]
    if not vectors:
        return None
    return max(
        vectors, key=lambda one: sum(one.fact in planned.facts for planned in run.plan.stages)
    )


def run_record(run: Outcome) -> dict[str, Any]:
    """What run.json holds: config, stages, versions, seed, timings, failures."""
    described = run.plan.record()
    reasons: dict[tuple[str, str], list[str]] = {}
    for (_, stage), why in sorted(
        run.failures.items(), key=lambda one: (one[0][1] != "measure", one)
    ):
        reasons.setdefault((stage, why if stage == "measure" else ""), []).append(
            why
        )  # each lost shard by itself, and first
    return {
        "id": run.id,
        "version": run.version,
        "out": str(run.config.out) if run.writes else None,
        "dqpipe": __version__,
        "seed": run.config.seed,
        "lineage": lineage(run),
        "since": since(run),
        "diff": changes(run, described),
        "before": before(run),
        "unchanged": run.unchanged,
        "unseen": unseen.unseen(run),
        "news": list(run.beside.news),
        "of_new": list(run.beside.of_new),
        "passed": run.passed,
        "asks": list(run.asks) if run.waits else [],
        "in_the_way": publish.in_the_way(place(run.config.out))
        if run.writes and run.config.outputs.links
        else [],
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - run.started, 3),
        "config": described["config"],
        "stages": described["stages"],
        "versions": library_versions(),
        "timings": beside_first(run),
        "stage_seconds": {
            name: round(seconds, 4) for name, seconds in sorted(run.usage.stage_seconds.items())
        },
        "stage_use": stage_use(run),
        "measured": dict(run.measured),
        "rereads": run.usage.rereads,
        "idle_rules": list(run.config.policy.extension.idle(run.findings)),
        "policy_reasons": dict(run.config.policy.extension.reasons),
        "verdicts": run.people.verdicts,
        "audits": [dict(one) for one in run.people.audits],
        "failures": [
            {"stage": stage, "samples": len(why), "reason": why[0]}
            for (stage, _), why in reasons.items()
        ],
        "plugins_broken": dict(run.registry.broken),
        "recognised": run.dataset.layout.get("recognised", ""),
        "doubts": [row["detail"] for row in run.findings.table.to_pylist() if row["code"] == DOUBT],
        "skipped": dict(run.dataset.layout.get("skipped", {})),
        "outside": outside(run),
    }


def outside(run: Outcome) -> int:
    """How many media were left alone since they lie outside the dataset's folder."""
    if "media.error" not in run.facts:
        return 0
    reasons = run.facts.table.column("media.error").drop_null().to_pylist()
    return sum(reason.startswith(OUTSIDE) for reason in reasons)


def beside_first(run: Outcome) -> list[Mapping[str, Any]]:
    """The timings of a run; what needs all samples (relate) with what it cost the first time.

    Seconds, samples.
    """
    first: dict[str, Any] = {}
    if run.beside.last is not None:
        with contextlib.suppress(DatasetError):
            for row in run.beside.last.record.get("timings", []):
                first[row["step"]] = row.get("first") or {
                    "seconds": row["seconds"],
                    "samples": row["samples"],
                }
    every = [step for step in run.usage.timings if step["step"].startswith("relate ")]
    return [
        {**row, "first": first[row["step"]]} if row in every and row["step"] in first else row
        for row in run.usage.timings
    ]


def since(run: Outcome) -> dict[str, Any] | None:
    """What is different from the last published version.

    Samples new, replaced and gone, and what was claimed of the whole; None where nothing was
    compared.
    """
    last, found = run.beside.version, run.beside.since
    if last is None:
        return None
    if found is None:
        return {"version": last, "why": run.beside.why_not} if run.beside.why_not else None
    asked = {planned.name for planned in run.plan.doing("compare")}
    claims = [
        row
        for row in run.findings.table.to_pylist()
        if row["id"] is None and row["severity"] != "info" and row["code"].split(".")[0] in asked
    ]
    claims.sort(key=lambda row: (-(row["value"] or 0), row["code"], row["part"] or ""))
    changed = {
        name: int(rows.sum())
        for name, rows in beside(found.now.samples, found.before.samples).items()
        if name != "fresh"
    }
    gone = len(found.before.samples) + changed["new"] - len(found.now.samples)
    said = [row["detail"] for row in claims if row["detail"]]
    stated = {
        (row["figure"], row["of"]): row["value"]
        for row in run.figures.table.to_pylist()
        if row["scope"] == "set"
    }
    pooled: dict[str, int] = {}
    for planned in run.plan.doing("compare"):
        by_role = {
            gift.role: stated.get((f"{planned.name}.{gift.name}", "raw"))
            for gift in planned.stage.gives
            if isinstance(gift, Figure)
        }
        samples, versions_before = by_role.get("pooled_samples"), by_role.get("pooled_versions")
        if samples and versions_before:
            pooled = {"pooled": int(samples), "nights": int(versions_before)}
    return {"version": last, **changed, "gone": gone, "said": said, **pooled}


def stage_use(run: Outcome) -> dict[str, dict[str, Any]]:
    """Per stage: seconds of measuring (summed over workers), relating and detecting, samples
    measured anew, and how many a second of one worker.
    """
    used: dict[str, dict[str, Any]] = {planned.name: {} for planned in run.plan.stages}
    for row in run.usage.timings:
        kind, _, name = row["step"].partition(" ")
        if kind == "relate" and name in used:
            used[name] |= {
                "relate_seconds": row["seconds"],
                "relate_cpu_seconds": row["cpu_seconds"],
                "peak_mib_after_relate": row["peak_mib"],
            }
    for name, told in used.items():
        seconds, samples = run.usage.stage_seconds.get(name, 0.0), run.measured.get(name, 0)
        if samples:
            told |= {
                "measure_seconds": round(seconds, 4),
                "samples": samples,
                "samples_per_second": round(samples / max(seconds, 1e-6), 1),
            }
        if f"{name} detect" in run.usage.stage_seconds:
            told["detect_seconds"] = round(run.usage.stage_seconds[f"{name} detect"], 4)
    return {name: told for name, told in used.items() if told}


def before(run: Outcome) -> dict[str, Any] | None:
    """The main counts of the version published last; None where there is none to be read."""
    last = run.beside.last
    if last is None:
        return None
    try:
        rows = pc.value_counts(last.decisions.table.column("decision")).to_pylist()
        curated = last.curated
    except DatasetError:
        return None
    decided = {row["values"]: row["counts"] for row in rows}
    added = len(curated) - curated.table.column("parent").null_count if "parent" in curated else 0
    return {
        "version": last.id,
        "samples": len(last.samples),
        "dropped": decided.get("drop", 0),
        "relabelled": decided.get("relabel", 0),
        "review": decided.get("review", 0),
        "kept": len(curated) - added,
        "added": added,
        "curated": len(curated),
    }


def lineage(run: Outcome) -> dict[str, Any]:
    """What a version was made from and by.

    Input, plan, code, seed, and the version published before it.
    """
    described = run.plan.record()
    read = described["config"]["dataset"]
    shown = {name: described["config"][name] for name in ("stages", "policy", "gates")}
    made_by = [(stage["name"], stage["stage"], stage["version"]) for stage in described["stages"]]
    entries = {entry.name: entry.dist for entry in importlib.metadata.entry_points(group=GROUP)}
    known = {plugin: entries.get(plugin) for plugin in sorted({*run.plan.origin.values()})}
    return {
        "parent": run.parent,
        "input": {
            "path": read["path"],
            "samples": len(run.samples),
            "content": content_of(run.samples),
        },
        "plan": digest_json(
            [shown, made_by, read["limit"], *([read["labels"]] if "labels" in read else [])]
        ),
        "dqpipe": __version__,
        "plugins": {
            plugin: None if dist is None else f"{dist.name} {dist.version}"
            for plugin, dist in known.items()
        },
        "seed": run.config.seed,
    }


def content_of(samples: Samples) -> str:
    """The hash of a dataset, 32 hex digits.

    Of every sample its id, content, label, split and group.
    """
    columns = [
        samples.table.column(name).to_pylist()
        for name in ("id", "content", "label", "split", "group")
        if name in samples
    ]
    return digest(*(json.dumps(column, default=str, ensure_ascii=True) for column in columns))


def changes(run: Outcome, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """What changed since the version published before: counts, the plan, some samples of each kind.

    None if there is none, or why it cannot be told.
    """
    if run.parent is None or not run.writes:
        return None
    now = {
        **described,
        "seed": run.config.seed,
        "dqpipe": __version__,
        "versions": library_versions(),
    }
    try:
        before = diff.Side.of(Version.open(run.config.out, run.parent))
        found = diff.compare(
            before,
            diff.Side(
                run.samples, run.curated.samples, run.decisions, {**now, "lineage": lineage(run)}
            ),
        )
    except DatasetError as error:
        return {"before": run.parent, "why": str(error)}
    return {"before": run.parent, "said": diff.summary(found.counts), **found.record()}


def write(run: Outcome, folder: Path, row: Mapping[str, Any], owner: str) -> None:
    """Write everything but the curated set into a folder, run.json (with the history's row) last.

    Raises OSError, OutputError.

    `owner` is the id of the output that the folder goes to.
    """
    pq.write_table(ledger_of(run), folder / "ledger.parquet", compression="zstd")
    pq.write_table(run.facts.table, folder / "facts.parquet", compression="zstd")
    versions.write_tables(
        folder, run.samples, run.curated.samples, run.findings, run.decisions, run.figures
    )
    versions.write_shown(folder, run.dataset)
    versions.write_moved(folder, run.people.moved)
    queue = relabel_queue(run.samples, run.findings, run.decisions)
    spreadsheet.write(pa.Table.from_pandas(queue, preserve_index=False), folder / "relabel.csv")
    modality = run.modality if run.curated.has_media else "tabular"
    card = data_card.card(run.record, run.curated, modality)
    (folder / "card.md").write_text(card, encoding="utf-8")
    for entry in run.config.augments:
        _write_json(folder / f"{entry.name}.json", dict(entry.extension.provenance()))
    sections = sorted(
        (cls() for cls in run.registry.all(Section)),
        key=lambda section: (section.order, section.name),
    )
    media, views = _media(run), run.registry.instances(View)
    for one in run.config.reports:
        pixels = (
            decoding.Rereader(media, run.plan.decoders, run.usage.rereads, one.name, views=views)
            if media is not None
            else NoPixels()
        )
        one.write(run.record, folder, sections, pixels)
    no_links.remove_tree(folder, "added")
    versions.write_files(folder, owner)
    _write_json(folder / "run.json", {**run.record["run"], "history": row, "holds": holds(folder)})


def holds(folder: Path) -> dict[str, int]:
    """How many files, and bytes, a version's folder holds beside its run.json.

    What is missing later shows.
    """
    sizes = [entry.size for name, entry in place(folder).entries().items() if name != "run.json"]
    return {"count": len(sizes), "bytes": sum(sizes)}


def ledger_of(run: Outcome) -> pa.Table:
    """The ledger of a finished run."""
    return ledger(
        run.samples,
        run.added,
        run.findings,
        run.decisions,
        run.record["run"]["stages"],
        run.people.ledger,
    )


def history_row(run: Outcome, *, published: bool) -> dict[str, Any]:
    """The run's line of the output's history (see `versions.history`)."""
    told, figures = (
        run.record["account"],
        [row for row in run.figures.table.to_pylist() if row["of"] == "raw"],
    )
    codes = [code for stage in run.record["counts"]["stages"] for code in stage["codes"]]
    drift: dict[str, dict[str, float]] = {}
    for row in figures:
        if row["scope"] == "fact":
            drift.setdefault(row["key"], {})[row["figure"].rpartition(".")[2]] = row["value"]
    row = {
        "run": run.id,
        "version": run.version,
        "published": published,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **{
            name: told[name]
            for name in ("samples", "kept", "dropped", "relabelled", "review", "added")
        },
        "findings": {
            code["code"]: {
                "samples": code["samples"],
                "share": code["samples"] / max(told["samples"], 1),
            }
            for code in codes
        },
        "figures": {row["figure"]: row["value"] for row in figures if row["scope"] == "set"},
        "drift": drift,
        "gates": [
            {name: gate[name] for name in ("gate", "state", "passed", "said")} for gate in run.gates
        ],
        "of_new": {
            row["code"]: {"samples": row["samples"], "of": row["of"]} for row in run.beside.of_new
        },
        **({"waiting": True} if run.waits else {}),
        "seconds": round(time.time() - run.started, 3),
    }
    return dict(report.plain(row))


def _write_json(path: Path, values: Any) -> None:  # noqa: ANN401
    path.write_text(
        json.dumps(values, indent=2, default=str, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _media(run: Outcome) -> Dataset | None:
    """The samples a report may show, raw and new ones."""
    if not run.dataset.has_media:
        return None
    names = ["id", "media"]
    if "label" in run.samples and labels.kind_in(run.samples) == "objects":
        names.append("label")  # they are drawn
    both = pa.concat_tables(
        [
            samples.table.select([name for name in names if name in samples])
            for samples in (run.samples, run.added)
        ],
        promote_options="default",
    )
    return replace(run.curated, samples=Samples(both))


def relabel_queue(samples: Samples, findings: Findings, decisions: Decisions) -> pd.DataFrame:
    """The samples whose label was changed or is in question.

    Id, label, suggestion, confidence, code, decision.
    """
    found = findings.frame()
    found = found[found["suggestion"].notna() & found["id"].notna()][
        ["id", "suggestion", "confidence", "code"]
    ]
    labels = (
        [label_text(v) for v in samples.table.column("label").to_pylist()]
        if "label" in samples
        else [None] * len(samples)
    )
    known = pd.DataFrame({"id": samples.ids, "label": labels}).merge(
        decisions.frame()[["id", "decision"]], on="id"
    )
    queue = known.merge(found, on="id").sort_values(
        ["confidence", "id"], ascending=[False, True], kind="stable"
    )
    return queue[["id", "label", "suggestion", "confidence", "code", "decision"]]


class NoPixels:
    """The `pixels` of a dataset without media: they raise DatasetError."""

    def __call__(self, ids: Sequence[str], rendition: str = "full") -> list[Any]:
        """Raises DatasetError."""
        raise DatasetError("this dataset has no media")

    def preview(self, sample: str, side: int, quality: int, *, parts: Collection[str] = ()) -> None:
        """Nothing."""

    def difference(self, sample: str, match: str, side: int, quality: int) -> None:
        """Nothing."""

    def strip(self, ids: Sequence[str], side: int) -> None:
        """Nothing."""

    def cached_per_content(
        self,
        ids: Sequence[str],
        told: Any,  # noqa: ANN401
        rendition: str = "full",  # noqa: ANN401, RUF100
    ) -> list[str]:
        """Raises DatasetError."""
        raise DatasetError("this dataset has no media")


def library_versions() -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version_of(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
