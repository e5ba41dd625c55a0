"""Explanation of one sample, in words.

Facts, findings and decision, from the files of a version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError, nearest
from dqpipe.results import versions
from dqpipe.results.verdicts import verdicts
from dqpipe.results.versions import Version
from dqpipe.review.rulings import places, says, stranded
from dqpipe.storage.location import is_url, place
from dqpipe.storage.paths import path_text

WORDS = {
    "keep": "is kept",
    "drop": "is dropped",
    "relabel": "gets another label",
    "review": "is kept and queued for review",
    None: "was not decided on",
}


def explain(out: str | Path, sample: str) -> dict[str, Any]:
    """Facts, findings and decision of one sample as JSON values, and as lines of (style, text) in
    `said`. Raises DatasetError.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    version = version_of(out)
    sample = sample if _encodable(sample) else path_text(sample)
    ledger = pq.read_table(version.file("ledger.parquet"))
    rows = ledger.filter(pc.equal(ledger.column("id"), sample)).to_pylist()
    if not rows:
        ids = pc.unique(ledger.column("id").drop_null()).to_pylist()
        ending = [i for i in ids if sample and (i.endswith(sample) or sample.endswith(f"/{i}"))]
        raise DatasetError(
            f"no sample is called {sample!r} in version {version.id} of {out}: "
            f"{nearest(sample, ending or ids)}"
        )
    table = pq.read_table(version.file("facts.parquet"), filters=[("id", "=", sample)])
    facts = {
        name: value
        for name, value in (table.to_pylist() or [{}])[0].items()
        if name != "id" and value is not None
    }
    claims = version.record["stages"]
    helps = {code: c["help"] for stage in claims for code, c in stage["claims"].items()}
    findings = [row for row in rows if row["code"] is not None]
    known = {
        "id": sample,
        "decision": rows[0]["decision"],
        "new_label": rows[0]["new_label"],
        "because": rows[0]["because"] or [],
        "label": rows[0]["label"],
        "parent": rows[0]["parent"],
        "reviewer": rows[0].get("reviewer"),
        "reviewed": rows[0].get("reviewed"),
        "made_by": rows[0]["made_by"],
        "findings": findings,
        "facts": facts,
        "verdicts": _verdicts(version, sample),
    }
    return {**known, "said": _said(known, helps)}


def _verdicts(version: Version, sample: str) -> list[str]:
    """Whether verdicts count whose sample has changed its content or label since."""
    about = [
        verdict for verdict in verdicts(version.place) if verdict.id == sample and says(verdict)
    ]
    where = places(version.samples, about, version.moved)
    followed = [
        verdict for verdict in about if verdict.about in where and verdict.about in version.moved
    ]
    left = stranded(
        version.samples,
        [verdict for verdict in about if verdict.about not in where],
        {verdict.id for verdict in about if verdict.about in where},
    )
    notes = [(verdict, "is of other bytes that showed the same: it counts") for verdict in followed]
    notes += [
        (verdict, "is of other bytes, or of another label, under this name: it does not count")
        for verdict in left
    ]
    return [
        (
            f"the verdict of {verdict.reviewer or 'nobody named'} at {verdict.time} "
            f"({verdict.verdict}) {what}"
        )
        for verdict, what in notes
    ]


def version_of(out: str | Path) -> Version:
    """The version whose folder `out` is, else the published version of that output, else its
    newest. Raises DatasetError.
    """
    if (
        not is_url(out)
        and (Path(out) / "ledger.parquet").is_file()
        and (Path(out) / "run.json").is_file()
    ):
        folder = Path(out).resolve()
        return Version(place(folder.parent.parent), folder.name)
    known = versions.versions(out)
    if not known:
        raise DatasetError(
            f"{out} holds no run of dqpipe (no version with a run.json): give its output folder "
            f"with --out"
        )
    return Version.open(out, versions.published(out) or known[-1])


def _said(known: dict[str, Any], helps: dict[str, str]) -> list[tuple[str, str]]:
    label = f" (label {known['label']})" if known["label"] is not None else ""
    to = f": {known['label']} → {known['new_label']}" if known["new_label"] else ""
    lines = [("bold", f"{known['id']}{label} {WORDS[known['decision']]}{to}")]
    if known["because"]:
        lines.append(("", f"because of {', '.join(known['because'])}"))
    if known["reviewer"]:
        lines.append(("", f"as {known['reviewer']} said at {known['reviewed']}"))
    lines += [("", text) for text in known["verdicts"]]
    if known["parent"]:
        lines.append(("", f"made from {known['parent']} by {known['made_by']}"))
    lines += [("", ""), ("bold", "findings" if known["findings"] else "no findings")]
    styles = {"error": "red", "warning": "yellow", "info": "cyan"}
    for row in known["findings"]:
        by = f"stage {row['stage']} version {row['stage_version']}, plugin {row['plugin']}"
        lines.append((styles[row["severity"]], f"  {row['severity']}: {row['code']} ({by})"))
        lines += [("", f"      {text}") for text in _evidence(row, helps.get(row["code"], ""))]
    if known["facts"]:
        lines += [("", ""), ("bold", "facts")]
        lines += [
            ("", f"  {name} = {_number(value)}") for name, value in sorted(known["facts"].items())
        ]
    return lines


def _evidence(row: dict[str, Any], meaning: str) -> list[str]:
    lines = [row["detail"] or meaning]
    numbers = [
        f"{name} {_number(row[name])}"
        for name in ("value", "threshold", "confidence")
        if row[name] is not None
    ]
    named = [
        f"{name} {row[name]}" for name in ("match", "suggestion", "part") if row[name] is not None
    ]
    return [line for line in (*lines, ", ".join(numbers + named)) if line]


def _encodable(text: str) -> bool:
    """Whether a text is valid Unicode; a name typed in a terminal may hold bytes that are not."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
