"""A finished run as one record of JSON values: the account.

The plugins render it, machines read it.

    Samples, Facts, Findings, Figures, Decisions, curated Samples, gates, run
        ──▶ {"schema", "account", "counts", "classes", "groups", "splits", "decisions",
            "suggestions", "examples", "peers",
             "added", "figures", "distributions", "sure", "map", "gates", "run", "failures"}

Its size is bounded by the plan, not by the dataset. The same input gives the same record.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.tables import DECISIONS, SEVERITIES, Decisions, Facts, Figures, Findings, Samples
from dqpipe.results.report import counts as tally
from dqpipe.results.report import embedding_map, examples, sentences
from dqpipe.results.report.confidence import sure
from dqpipe.results.report.embedding import Embedding

SCHEMA = "dqpipe.report/1"
KEYS = 100
"""How many keys (classes, groups …) of one figure are listed: those that changed most."""
MOST_ITEMS, MOST_LETTERS, MOST_FAILURES, MOST_IDS = 1000, 2000, 50, 5


def record(
    *,
    samples: Samples,
    facts: Facts,
    findings: Findings,
    figures: Figures,
    decisions: Decisions,
    curated: Samples | None,
    gates: Sequence[Mapping[str, Any]] = (),
    run: Mapping[str, Any],
    embedding: Embedding | None = None,
) -> dict[str, Any]:
    """The account of a run as JSON values.

    `facts` are one row per sample, in the samples' order or with an id column; `figures` have `of`
    (raw or curated); `curated` has the kept samples and the new ones (with `parent`), None where no
    curated set was made; of `because` in `decisions` the first code is the one that led there.
    `gates` have gate, passed, value, said; `run` is what run.json holds: id, started, finished,
    seconds, config, stages, versions, seed, timings, failures, and perhaps out (the output folder).
    `embedding` is what the map shows.
    """
    joined = tally.Joined.of(samples, findings, decisions, curated)
    facts, new_label = _aligned(facts, samples), _new_labels(decisions, samples)
    shown = examples.strongest(joined, new_label, facts)
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "account": {},
        "counts": _counts(joined, run.get("stages", [])),
        "classes": tally.by_class(joined, "label"),
        "groups": tally.by_class(joined, "group"),
        "splits": tally.by_class(joined, "split"),
        "decisions": _decided(joined, new_label),
        "suggestions": examples.suggestions(joined),
        "examples": shown,
        "peers": examples.peers(joined, shown, embedding),
        "added": examples.added(joined),
        "figures": _figures(figures),
        "distributions": examples.distributions(joined, facts),
        "sure": sure(joined),
        "map": None,
        "gates": list(gates),
        "run": run,
        "failures": _failures(run.get("failures", [])),
    }
    told["account"] = _numbers(
        joined, told, made=curated is not None and all(gate["passed"] for gate in gates)
    )
    told["account"] |= {
        "alerts": sentences.alerts(told),
        "said": sentences.said(told),
        "next": sentences.steps(told),
    }
    # Bounded by itself, and longer than what `plain` lets through.
    return dict(plain(told)) | {
        "map": embedding_map.laid(joined, embedding, int(run.get("seed") or 0))
    }


def account(record: Mapping[str, Any]) -> list[str]:
    """The account in plain sentences.

    What failed, what was found and done and why, what to do next.
    """
    told = record["account"]
    return [*told["alerts"], *told["said"], *told["next"]]


def _aligned(facts: Facts, samples: Samples) -> Facts:
    """The facts in the order of the samples."""
    if "id" not in facts:
        return facts
    rows = pc.index_in(
        samples.table.column("id"), value_set=facts.table.column("id").combine_chunks()
    )
    return Facts(facts.table.take(rows).drop_columns(["id"]))


def _new_labels(decisions: Decisions, samples: Samples) -> pa.Array:
    """The new labels in the order of the samples."""
    if "new_label" not in decisions:
        return pa.nulls(len(samples), pa.string())
    rows = pc.index_in(
        samples.table.column("id"), value_set=decisions.table.column("id").combine_chunks()
    )
    return decisions.table.column("new_label").take(rows).combine_chunks()


def _counts(joined: tally.Joined, stages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Findings per stage and code, the codes that a stage looked for and did not find included."""
    found = {row["code"]: row for row in tally.by_code(joined)}
    n = np.bincount(joined.severity, minlength=3).tolist()
    told, left = [], dict(found)
    for stage in stages:
        claims = {
            _full(stage["name"], code): claim for code, claim in stage.get("claims", {}).items()
        }
        own = [
            *claims,
            *(
                code
                for code in found
                if code.partition(".")[0] == stage["name"] and code not in claims
            ),
        ]
        codes = [_row(code, claims.get(code, {}), left.pop(code, None)) for code in own]
        if codes:
            told.append(
                {"stage": stage["name"], "summary": stage.get("summary", ""), "codes": codes}
            )
    others = {
        name: [_row(c, {}, row) for c, row in left.items() if c.partition(".")[0] == name]
        for name in (code.partition(".")[0] for code in left)
    }
    told += [{"stage": name, "summary": "", "codes": codes} for name, codes in others.items()]
    return {
        "stages": told,
        "severities": dict(zip(SEVERITIES, n, strict=True)),
        "findings": len(joined.findings),
    }


def _full(stage: str, code: str) -> str:
    return code if code.startswith(f"{stage}.") else f"{stage}.{code}"


def _row(code: str, claim: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Any]:
    none = {
        "findings": 0,
        "samples": 0,
        "dataset": 0,
        "severities": dict.fromkeys(SEVERITIES, 0),
        "decisions": dict.fromkeys(DECISIONS, 0),
    }
    severity = _gravest(found["severities"]) if found else claim.get("severity", "info")
    return {
        **none,
        **(found or {}),
        "code": code,
        "title": claim.get("title")
        or code.partition(".")[2].replace("_", " ").capitalize()
        or code,
        "help": claim.get("help", ""),
        "severity": severity,
    }


def _gravest(severities: Mapping[str, int]) -> str:
    return next((name for name in reversed(SEVERITIES) if severities[name]), "info")


def _decided(joined: tally.Joined, new_label: pa.Array) -> dict[str, Any]:
    n = np.bincount(joined.decision, minlength=4).tolist()
    counts = dict(zip(DECISIONS, n, strict=True))
    return {
        "counts": counts,
        "because": tally.reasons(joined),
        "marks": tally.marks(joined),
        "relabels": examples.relabels(joined, new_label),
        "suggested": examples.suggested(joined),
    }


def _numbers(joined: tally.Joined, told: Mapping[str, Any], *, made: bool) -> dict[str, Any]:
    """The numbers that the sentences are made of; kept includes relabelled and reviewed samples."""
    counts, new = told["decisions"]["counts"], int((joined.origin < 0).sum())
    severe = joined.severity[joined.at < 0] > 0
    media = "media" in joined.samples and joined.samples.table.column("media").null_count < len(
        joined.samples
    )
    return {
        "samples": len(joined.samples),
        "classes": told["classes"]["before"],
        "splits": told["splits"]["before"],
        "marked": int(joined.marked().sum()),
        "whole": int(severe.sum()),
        "dropped": counts["drop"],
        "relabelled": counts["relabel"],
        "review": counts["review"],
        "held": int(joined.held().sum()),
        "kept": int((joined.origin >= 0).sum()),
        "added": new,
        "curated": len(joined.origin),
        "classes_after": sum(1 for _ in _classes_after(told))
        if told["classes"]["others"] is None
        else None,
        "made": made,
        "media": media,
    }


def _classes_after(told: Mapping[str, Any]) -> Iterable[str]:
    return (
        row["name"] for row in told["classes"]["rows"] if row["name"] is not None and row["after"]
    )


def _figures(figures: Figures) -> list[dict[str, Any]]:
    """Figures by name and scope.

    Of each key the raw and the curated value; at most KEYS keys, those that changed most.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in figures.table.to_pylist():
        keys = found.setdefault((row["figure"], row["scope"]), {})
        told = {name: row[name] for name in ("value", "low", "high", "detail") if name in row}
        keys.setdefault(row.get("key") or "", {})[row.get("of") or "raw"] = plain(told)
    return [
        {
            "figure": name,
            "scope": scope,
            "total": len(keys),
            "rows": [_keyed(key, keys[key]) for key in _most_changed(keys)],
        }
        for (name, scope), keys in sorted(found.items())
    ]


def _keyed(key: str, of: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": key or None, "raw": of.get("raw"), "curated": of.get("curated")}


def _most_changed(keys: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The keys to list, sorted: those whose curated value is farthest from the raw one."""

    def change(key: str) -> float:
        values = [keys[key].get(of, {}).get("value") for of in ("raw", "curated")]
        return 0.0 if None in values else abs(values[1] - values[0])

    return sorted(sorted(keys, key=lambda key: (-change(key), key))[:KEYS])


def _failures(failures: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What failed: how many samples of which stage and why, with a few ids.

    `samples` may be a number or a list of ids.
    """
    told = []
    for failure in failures:
        ids = failure.get("samples", 0)
        listed = [] if isinstance(ids, int) else list(ids)
        told.append(
            {
                **failure,
                "samples": len(listed) or (ids if isinstance(ids, int) else 0),
                "examples": listed[:MOST_IDS],
            }
        )
    return {"total": len(told), "rows": told[:MOST_FAILURES]}


def plain(value: Any) -> Any:  # noqa: ANN401 (anything in, JSON values out)
    """A value as JSON values: NaN and infinity become null, long lists and texts are cut, what is
    unknown becomes text.
    """
    if isinstance(value, np.generic | enum.Enum):
        return plain(value.item() if isinstance(value, np.generic) else value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)
        return [plain(item) for item in items[:MOST_ITEMS]]
    return _scalar(value)


def _scalar(value: Any) -> str | float | bool | None:  # noqa: ANN401
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = value.isoformat() if isinstance(value, dt.datetime | dt.date) else str(value)
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + "…"
