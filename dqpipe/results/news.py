"""What a person must know of a run since the version published last.

A short list, as data and in a line.

Tables now, Tables last ──▶ news: [{"kind", "name", "before", "after", "said"}], the gravest first
                        └─▶ of_new: each code with how many of the new and replaced samples carry
                        it, beside the share that the last version had
"""

from __future__ import annotations

from typing import Any

from dqpipe.config.gate_grammar import Subject
from dqpipe.data.intervals import chance
from dqpipe.data.wording import many
from dqpipe.results.run_tables import Tables

POINTS = 1.0
"""Percentage points from which a share that changed is news."""
MOST = 50
"""Entries that a run keeps of either list."""
News = dict[str, Any]


def news(now: Tables, last: Tables) -> list[News]:
    """What changed: classes that went and came, labels, bytes, shares that are dropped, kept,
    unreadable, and each finding; `before` and `after` are counts.
    """
    found = [
        *_classes(now, last),
        *_beside(now, last),
        *_shares(now, last),
        *_findings(now, last),
        *_samples(now, last),
    ]
    return found[:MOST]


def of_new(now: Tables, last: Tables) -> list[News]:
    """Each warning and error among new and replaced samples.

    Code, samples, of, share, before (its share in the last version), p; those above it first.
    """
    new = now.beside(last, "fresh")
    n, m = int(new.sum()), len(last.samples)
    found: list[News] = []
    for code in now.carried if n else ():
        count, was = int((now.carries(code) & new).sum()), int(last.carries(code).sum())
        p = chance(count, n, was, m) if now.same(code, last) and count * m > was * n else None
        before = was / max(m, 1) if now.same(code, last) else None
        if count:
            found.append(
                {
                    "code": code,
                    "samples": count,
                    "of": n,
                    "share": count / n,
                    "before": before,
                    "p": p,
                }
            )
    return sorted(
        found, key=lambda row: (1.0 if row["p"] is None else row["p"], -row["samples"], row["code"])
    )[:MOST]


def _row(kind: str, name: str | None, before: int, after: int, said: str) -> News:
    return {"kind": kind, "name": name, "before": before, "after": after, "said": said}


def _classes(now: Tables, last: Tables) -> list[News]:
    if "label" not in now.samples or "label" not in last.samples:
        return []
    old, new = last.sizes("class"), now.sizes("class")
    gone = sorted((-count, str(name)) for name, count in old.items() if name not in new)
    came = sorted((-count, str(name)) for name, count in new.items() if name not in old)
    rows = [
        _row("class_gone", name, -count, 0, f"class {name} gone ({many(-count, 'sample')})")
        for count, name in gone
    ]
    return rows + [
        _row("class_new", name, 0, -count, f"class {name} new ({many(-count, 'sample')})")
        for count, name in came
    ]


def _beside(now: Tables, last: Tables) -> list[News]:
    counts = {name: int(now.beside(last, name).sum()) for name in ("switched", "replaced")}
    words = {
        "switched": "under another label than before",
        "replaced": "with other content than before",
    }
    return [
        _row(name, None, 0, count, f"{many(count, 'sample')} {words[name]}")
        for name, count in counts.items()
        if count
    ]


def _shares(now: Tables, last: Tables) -> list[News]:
    found = []
    for name in ("unreadable", "dropped", "relabelled", "review"):
        subject = Subject("count" if name == "unreadable" else "decision", name)
        (after, n), (before, m) = (
            (int(tables.hits(subject)[1].sum()), len(tables.samples)) for tables in (now, last)
        )
        here, there = 100 * after / max(n, 1), 100 * before / max(m, 1)
        if abs(here - there) >= POINTS:
            ruled = (
                int((now.joined.ruled() & now.hits(subject)[1]).sum())
                if subject.kind == "decision"
                else 0
            )
            people = f", {ruled:,} by people's verdicts" if ruled else ""
            found.append(
                _row(
                    name,
                    None,
                    before,
                    after,
                    f"{name} {there:.3g}% → {here:.3g}% ({after:,} of {n:,}{people})",
                )
            )
    return sorted(
        found,
        key=lambda row: (
            -abs(
                row["after"] / max(len(now.samples), 1) - row["before"] / max(len(last.samples), 1)
            )
        ),
    )


def _findings(now: Tables, last: Tables) -> list[News]:
    found = []
    for code in sorted({*now.carried, *last.carried}):
        before, after = int(last.carries(code).sum()), int(now.carries(code).sum())
        how = "" if now.same(code, last) else ", its stage changed"
        if before != after:
            found.append(
                _row(
                    "finding",
                    code,
                    before,
                    after,
                    f"{after - before:+,} {code} ({before:,} → {after:,}{how})",
                )
            )
    return sorted(found, key=lambda row: (-abs(row["after"] - row["before"]), row["name"]))


def _samples(now: Tables, last: Tables) -> list[News]:
    """How many samples are new, and how many are gone."""
    new = int(now.beside(last, "new").sum())
    gone = int(last.beside(now, "new").sum())
    after, before = len(now.samples), len(last.samples)
    told = [
        ("samples_new", new, f"{many(new, 'new sample')}"),
        ("samples_gone", gone, f"{many(gone, 'sample')} gone"),
    ]
    return [_row(kind, None, before, after, said) for kind, count, said in told if count > 0]
