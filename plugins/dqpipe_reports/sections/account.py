"""The first screen: verdict, main numbers, the way from raw to curated, top issues, next steps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from dqpipe import Section, extension
from dqpipe_reports.page import known_codes, many, render
from dqpipe_reports.way import way

CARDS = 6
"""Issues that stand on the first screen."""
PICTURES = 3
"""Thumbnails of each."""
UNSEEN = 6
"""Things that were not checked, listed one by one."""
GRAVE = {"error": 0, "warning": 1, "info": 2}


@extension
class Account(Section):
    """Whether it was published, the main numbers, the top issues, and what to do next."""

    name = "account"
    order = 100
    title = "Overview"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """The first screen, and below it the gates and the whole summary in words, folded."""
        account = record["account"]
        unseen = record["run"].get("unseen") or []
        return render(
            "account.html",
            account=account,
            codes=known_codes(record),
            verdict=verdict(record),
            numbers=numbers(record),
            way=way(record),
            cards=cards(record, thumbnail),
            unseen=unseen[:UNSEEN],
            unseen_more=max(len(unseen) - UNSEEN, 0),
            gates=record["gates"],
            gates_said=gates_said(record["gates"]),
            out=record["run"].get("out") or "",
        )


def verdict(record: Mapping[str, Any]) -> dict[str, str]:
    """The state of the run as a word, a colour (passed, warning, error) and a sentence."""
    account, run, gates = record["account"], record["run"], record["gates"]
    failed = sum(not gate["passed"] for gate in gates)
    said = gates_said(gates)
    wrote = bool(run.get("out", True))
    if failed:
        word = "Not published" if wrote else "Failed"
        return {"word": word, "kind": "error", "said": f"{said}."}
    if run.get("asks"):
        return {"word": "Waiting for approval", "kind": "warning", "said": f"{said}."}
    marked, samples = account["marked"], account["samples"]
    carry = f"{marked:,} of {many(samples, 'sample')} carry an issue; {said}."
    if record["failures"]["total"]:
        return {"word": "Published with failures", "kind": "warning", "said": carry}
    return {"word": "Published" if wrote else "Passed", "kind": "passed", "said": carry}


def gates_said(gates: list[Mapping[str, Any]]) -> str:
    """How the gates came out, in a few words."""
    if not gates:
        return "no gate is set"
    failed = sum(not gate["passed"] for gate in gates)
    unjudged = sum(gate["passed"] and not gate.get("judged", True) for gate in gates)
    passed = len(gates) - failed - unjudged
    parts = [
        f"{count:,} {word}"
        for count, word in ((failed, "failed"), (passed, "passed"), (unjudged, "not judged"))
        if count
    ]
    return f"{many(len(gates), 'gate')}: {', '.join(parts)}"


def numbers(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The six main counts, each with its change since the version published last."""
    account, before = record["account"], record["run"].get("before") or {}
    every = [
        ("samples", "read", "sum"),
        ("kept", "kept", "keep"),
        ("dropped", "dropped", "drop"),
        ("relabelled", "relabelled", "relabel"),
        ("review", "need review", "review"),
        ("added", "added", "added"),
    ]
    return [
        {
            "word": word,
            "kind": kind,
            "count": account[key],
            "change": account[key] - before[key] if key in before else None,
        }
        for key, word, kind in every
    ]


def cards(record: Mapping[str, Any], thumbnail: Callable[..., str]) -> list[dict[str, Any]]:
    """The gravest and most frequent issues, each with examples and a command."""
    rows = [
        row
        for stage in record["counts"]["stages"]
        for row in stage["codes"]
        if row["severity"] != "info" and row["samples"]
    ]
    rows.sort(key=lambda row: (GRAVE[row["severity"]], -row["samples"], row["code"]))
    return [card(record, row, thumbnail) for row in rows[:CARDS]]


def _shown(thumbnail: Callable[..., str], example: Mapping[str, Any]) -> str:
    part = example.get("part")
    return thumbnail(example["id"], part=part) if part else thumbnail(example["id"])


def says(example: Mapping[str, Any]) -> str:
    """What stands below a thumbnail: its label, and the one that is likely right."""
    given, better = example["label"], example["suggestion"]
    return f"{given} → {better}" if given and better else given or ""


def card(
    record: Mapping[str, Any], row: Mapping[str, Any], thumbnail: Callable[..., str]
) -> dict[str, Any]:
    """An issue: how many samples, how certain, what became of them, examples, a command."""
    sure = record["sure"].get(row["code"]) or {}
    examples = [example for example in record["examples"].get(row["code"], ()) if example["id"]]
    out = record["run"].get("out")
    command = f"dqpipe review {shlex.quote(str(out))} --code {shlex.quote(row['code'])}"
    words = {"drop": "dropped", "relabel": "relabelled", "review": "to review", "keep": "kept"}
    became = [f"{row['decisions'][key]:,} {word}" for key, word in words.items()]
    return {
        **row,
        "share": row["samples"] / max(record["account"]["samples"], 1),
        "hold": sure["hold"] / sure["stated"] if sure.get("stated") else None,
        "became": [text for text in became if not text.startswith("0 ")],
        "shots": [
            {"id": example["id"], "url": url, "says": says(example)}
            for example in (examples[:PICTURES] if record["account"]["media"] else ())
            if (url := _shown(thumbnail, example))
        ],
        "words": [str(example["detail"] or "") for example in examples[:2]],
        "command": command if out else "",
    }
