"""The account in plain sentences.

What failed, what was found, what was done and why, what to do next.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from dqpipe.config.gate_grammar import state
from dqpipe.config.plan import NOT_JUDGED
from dqpipe.data.wording import many, plural

FEW, LONG = 5, 100
UNLIKELY = 0.001
"""The p value below which more of the new samples carry a finding than chance explains."""


def joined(parts: Iterable[str]) -> str:
    """Parts with commas and a final "and"."""
    every = list(parts)
    return (
        every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}" if every else ""
    )


def some(parts: Iterable[str], word: str, limit: int = FEW) -> str:
    """Up to `limit` parts and a count of the others."""
    every = list(parts)
    rest = len(every) - limit
    return joined([*every[:limit], *([f"{rest:,} more {plural(rest, word)}"] if rest > 0 else [])])


def named(name: str | None) -> str:
    """The name of a class, or what to call the samples that have none."""
    return "no label" if name is None else name


def alerts(record: Mapping[str, Any]) -> list[str]:
    """What must be known before anything else: stages that failed, gates that failed."""
    told = [f"In doubt: {sentence(text)}" for text in record["run"].get("doubts", ())[:FEW]]
    for row in record["failures"]["rows"][:FEW]:
        where = f" on {many(row['samples'], 'sample')}" if row["samples"] else ""
        lead = (
            f" (for example {', '.join(map(str, row['examples'][:2]))})"
            if row.get("examples")
            else ""
        )
        told.append(
            f"Stage {row['stage']} failed{where}{lead}: {str(row.get('reason', '')).rstrip('.')}."
        )
    rest = record["failures"]["total"] - FEW
    if rest > 0:
        told.append(
            f"{rest:,} more {plural(rest, 'failure')} {plural(rest, 'is')} listed in run.json."
        )
    told += [
        f"Plugin {name} could not be loaded and took no part: {why}."
        for name, why in record["run"].get("plugins_broken", {}).items()
    ]
    if n := record["run"].get("outside", 0):
        lies = (
            f"{plural(n, 'lies')} outside the dataset's folder and {plural(n, 'was')} left alone, "
            f"neither read nor copied"
        )
        told.append(
            f"{many(n, 'file')} {lies}: `dataset: {{outside: allow}}` takes "
            f"{'it' if n == 1 else 'them'}."
        )
    failed = [gate for gate in record["gates"] if not gate["passed"]]
    told += [
        f"Gate failed: {gate['gate']}. {sentence(gate.get('said', ''))}".strip() for gate in failed
    ]
    unjudged = [gate for gate in record["gates"] if gate["passed"] and state(gate) == "unjudged"]
    told += [
        f"Gate not judged: {gate['gate']}. {sentence(gate.get('said', ''))}".strip()
        for gate in unjudged
    ]
    if asks := record["run"].get("asks"):
        out, version = shlex.quote(str(record["run"].get("out"))), record["run"].get("version")
        told.append(
            f"Nothing is published until a person agrees: {sentence('; '.join(asks))} dqpipe "
            f"approve {out} {version}"
        )
    if real := record["run"].get("in_the_way"):
        n = len(real)
        lead = (
            f"{joined(real)} in the output {plural(n, 'is')} no {plural(n, 'link')} of dqpipe and "
            f"{plural(n, 'stays')} as before"
        )
        told.append(
            f"{lead}, whatever is published: read versions/, or move {'it' if n == 1 else 'them'} "
            f"away."
        )
    if failed and record["run"].get("out", True):  # nothing is written by a check
        told.append(
            "No curated set was published because of this; report, ledger and run.json were "
            "written."
        )
    return told


def said(record: Mapping[str, Any]) -> list[str]:
    """What was read, found, decided and made."""
    numbers = record["account"]
    decided = [
        _dropped(record),
        _relabelled(record),
        _review(record),
        *_verdicts(record),
        *_audits(record),
        _marks(record),
        _idle(record),
    ]
    before = [
        not_looked_at(record),
        *_unjudged(record),
        _read(record),
        _recognised(record),
        *_settled(record),
    ]
    sentences = [*before, *_since(record), _found(record), *decided, _added(record)]
    return [
        told for told in [*sentences, _result(numbers), *_classes(record), _gates(record)] if told
    ]


def not_looked_at(record: Mapping[str, Any], shown: int = FEW) -> str:
    """What the run did not look at, and why; empty where that is nothing, or not known."""
    rows = record["run"].get("unseen") or ()
    rest = len(rows) - shown
    told = [f"{row['what']} ({row['why']})" for row in rows[:shown]]
    return (
        (
            f"Not looked at: "
            f"{'; '.join([*told, *([f'{rest:,} more in run.json'] if rest > 0 else [])])}."
        )
        if rows
        else ""
    )


def sentence(text: str) -> str:
    """A text with a capital at the start, unless that is the name of a file, and a full stop."""
    first = text.partition(" ")[0].rstrip(",;")
    start = text[:1].upper() if first.replace("-", "").isalpha() else text[:1]
    return f"{start}{text[1:].rstrip('.')}." if text else ""


def _read(record: Mapping[str, Any]) -> str:
    numbers = record["account"]
    n, marked = numbers["samples"], numbers["marked"]
    classes = f" in {many(numbers['classes'], 'class')}" if numbers["classes"] else ""
    splits = f" and {many(numbers['splits'], 'split')}" if numbers["splits"] > 1 and classes else ""
    carry = f"{marked:,} {plural(marked, 'carries')}" if marked else "none carries"
    by = [
        stage["name"]
        for stage in record["run"].get("stages", ())
        if any(claim["severity"] != "info" for claim in stage.get("claims", {}).values())
    ]
    of = (
        ""
        if marked or not by
        else f" that {some(by, 'stage')} {'looks' if len(by) == 1 else 'look'} for"
    )
    bare = next((row["before"] for row in record["classes"]["rows"] if row["name"] is None), 0)
    without = f" {many(bare, 'sample')} {plural(bare, 'has')} no label." if bare and classes else ""
    return (
        f"{many(n, 'sample')}{classes}{splits} {plural(n, 'was')} read; {carry} a warning or an "
        f"error{of}.{without}"
    )


def _recognised(record: Mapping[str, Any]) -> str:
    """As what format the data were recognised and why, where nobody named it."""
    said = record["run"].get("recognised", "")
    return f"The data were recognised as {said}." if ": " in said else ""


def _unjudged(record: Mapping[str, Any]) -> list[str]:
    """What stages say that they could not judge of the whole set: their claims named `unjudged`."""
    rows = [
        (code, row)
        for code, rows in sorted(record["examples"].items())
        for row in rows
        if code.endswith(NOT_JUDGED) and row["id"] is row["part"] is None
    ]
    return [
        f"{code.rpartition('.')[0]}: {str(row['detail'] or '').rstrip('.')}."
        for code, row in rows[:FEW]
    ]


def _settled(record: Mapping[str, Any]) -> list[str]:
    """What was chosen for a stage in this environment."""
    return [
        f"{stage['name']}: {stage['settled'].rstrip('.')}."
        for stage in record["run"].get("stages", ())
        if stage.get("settled")
    ]


def _since(record: Mapping[str, Any]) -> list[str]:
    """What is new since the last published version, and how it differs."""
    since = record["run"].get("since")
    if not since:
        return []
    if "why" in since:
        return [f"Nothing was compared with the last version: {since['why'].rstrip('.')}."]
    new, gone, told = since["new"], since["gone"], [sentence(text) for text in since["said"]]
    lead = (
        f"Since version {since['version']}: {many(new, 'new sample') if new else 'no new sample'}"
    )
    replaced = since.get("replaced", 0)
    lead += (
        f", {many(replaced, 'sample')} replaced by other content under the same name"
        if replaced
        else ""
    )
    lead += f", {many(gone, 'sample')} gone." if gone else "."
    if since.get("pooled"):
        n = since["pooled"]
        lead += (
            f" Too few to be compared by themselves: {many(n, 'sample')} {plural(n, 'was')} "
            f"compared together, with those of the "
        )
        lead += (
            "version before." if since["nights"] == 1 else f"{since['nights']:,} versions before."
        )
    rest = len(told) - FEW
    return [
        lead,
        *told[:FEW],
        *(
            [f"{rest:,} more {plural(rest, 'difference')} {plural(rest, 'stands')} in the report."]
            if rest > 0
            else []
        ),
        *_of_new(record),
    ]


def _of_new(record: Mapping[str, Any]) -> list[str]:
    """What more of the new samples carry than chance explains."""
    rows = [
        row
        for row in record["run"].get("of_new") or ()
        if row["p"] is not None and row["p"] < UNLIKELY
    ]
    what = (
        "new or replaced sample"
        if (record["run"].get("since") or {}).get("replaced")
        else "new sample"
    )
    return [
        f"{row['samples']:,} of {many(row['of'], what)} {plural(row['samples'], 'carries')} "
        f"{row['code']} ({row['share']:.0%}); "
        f"of the last version it was {row['before']:.1%}."
        for row in rows[:FEW]
    ]


def _found(record: Mapping[str, Any]) -> str:
    """The warnings and errors found most often; the codes overlap, a sample can carry several."""
    rows = [
        row
        for stage in record["counts"]["stages"]
        for row in stage["codes"]
        if row["severity"] != "info" and row["samples"]
    ]
    ranked = sorted(rows, key=lambda row: (-row["samples"], row["code"]))
    whole = record["account"]["whole"]
    dataset = (
        f" {many(whole, 'warning')} {plural(whole, 'concerns')} the dataset as a whole."
        if whole
        else ""
    )
    if not ranked:
        return dataset.strip()
    lead = "Found most often" if len(ranked) > 1 else "Found"
    kinds = [
        f"{_title(record, row['code'])} ({row['code']}) on {row['samples']:,}" for row in ranked
    ]
    return f"{lead}: {some(kinds, 'kind')}.{dataset}"


def _title(record: Mapping[str, Any], code: str) -> str:
    """What samples under a code are, within a sentence; without a title the code."""
    title = next(
        (
            row["title"]
            for stage in record["counts"]["stages"]
            for row in stage["codes"]
            if row["code"] == code and row.get("title")
        ),
        "",
    )
    return f"{title[:1].lower()}{title[1:]}" if title else code


def _because(record: Mapping[str, Any], decision: str) -> str:
    reasons = record["decisions"]["because"][decision]
    if list(reasons) == [""] or not reasons:
        return ""
    total = sum(reasons.values())
    if len(reasons) == 1:
        return f" for {_title(record, next(iter(reasons)))}"
    top = list(reasons.items())[:FEW]
    rest = total - sum(n for _, n in top)
    told = [
        f"{n:,} for {_title(record, code)}" if code else f"{n:,} without a stated reason"
        for code, n in top
    ]
    return ": " + joined([*told, *([f"{rest:,} for other reasons"] if rest else [])])


def _dropped(record: Mapping[str, Any]) -> str:
    n = record["account"]["dropped"]
    return (
        f"{many(n, 'sample')} {plural(n, 'was')} dropped{_because(record, 'drop')}."
        if n
        else "No sample was dropped."
    )


def _relabelled(record: Mapping[str, Any]) -> str:
    n, told = record["account"]["relabelled"], record["decisions"]["suggested"]
    pairs = record["decisions"]["relabels"]["pairs"]
    if not n:
        return _could_be_relabelled(told)
    most = (
        f", most often from {named(pairs[0]['from'])} to {pairs[0]['to']} ({pairs[0]['samples']:,})"
        if pairs and n > 1 and pairs[0]["samples"] > 1
        else ""
    )
    right = (
        ""
        if told["relabelled"] is None
        else (
            f" {expected(told['relabelled'])} of the new labels that a stage suggested are "
            f"expected to be right."
        )
    )
    return (
        f"{many(n, 'sample')} {plural(n, 'was')} "
        f"relabelled{_because(record, 'relabel')}{most}.{right}"
    )


def _could_be_relabelled(told: Mapping[str, Any]) -> str:
    n = told["samples"]
    if not n:
        return ""
    change = (
        f"policy: {{relabel: {{at_least: {told['at_least']}}}}} would change {n:,} of those under "
        f"review"
    )
    return (
        f"No label was changed; {change}, {expected(told['expected'])} of them are expected to be "
        f"right then."
    )


def expected(share: float) -> str:
    """A share that is expected, never called certain by rounding."""
    return f"{min(max(100 * share, 1), 99) if 0 < share < 1 else 100 * share:.0f} %"


def _review(record: Mapping[str, Any]) -> str:
    n, held = record["account"]["review"], record["account"]["held"]
    if not n:
        return ""
    out = f"; {held:,} of them {plural(held, 'is')} held back until then" if held else ""
    return (
        f"{many(n, 'sample')} {'needs' if n == 1 else 'need'} review"
        f"{_because(record, 'review')}{out}."
    )


def _verdicts(record: Mapping[str, Any]) -> list[str]:
    """What people said, of how many samples, and how far they agree."""
    told = record["run"].get("verdicts")
    if not told:
        return []
    people = some(
        [f"{name or 'nobody named'} ({n:,})" for name, n in told["reviewers"].items()], "reviewer"
    )
    words = {
        "kept": "kept",
        "dropped": "dropped",
        "relabelled": "relabelled",
        "disagreed": "under review since reviewers disagree",
    }
    done = joined(f"{told[name]:,} {word}" for name, word in words.items() if told[name])
    refuted = (
        f"{'; ' if done else ''}{many(told['refuted'], 'claim')} refuted" if told["refuted"] else ""
    )
    lead = (
        f"{many(told['verdicts'], 'verdict')} of {people} {plural(told['verdicts'], 'outranks')} "
        f"every stage"
    )
    said = [f"{lead}: {done}{refuted}." if done or refuted else f"{lead}."]
    if n := told.get("followed"):
        said.append(
            f"{many(n, 'verdict')} {plural(n, 'follows')} a sample that has other bytes now and "
            f"shows the same."
        )
    if n := told.get("stranded"):
        said.append(
            f"{many(n, 'verdict')} {plural(n, 'counts')} no more: the sample of that name has "
            f"other bytes or another label now "
            f"(dqpipe why NAME says it, dqpipe review asks again)."
        )
    if n := told["unmatched"] - told.get("stranded", 0):
        said.append(f"{many(n, 'verdict')} {plural(n, 'matches')} no sample any more.")
    return said + [_agreement(row) for row in told["agreement"][:FEW]]


def _audits(record: Mapping[str, Any]) -> list[str]:
    """The claims whose precision was looked at."""
    told = record["run"].get("audits") or ()
    return [
        sentence(
            row["said"]
            if not row["why"]
            else f"{row['said']}, but {row['why']} (it is of version {row['version']})"
        )
        for row in told
    ]


def _agreement(row: Mapping[str, Any]) -> str:
    one, other = (name or "nobody named" for name in row["reviewers"])
    kappa = "" if row["kappa"] is None else f" (Cohen's kappa {row['kappa']:.2f})"
    on = "" if row["on"] == "decisions" else f" on {row['on']}"
    return (
        f"{one} and {other} agree{on} on {row['same']:,} of "
        f"{many(row['samples'], 'sample')}{kappa}."
    )


def _marks(record: Mapping[str, Any]) -> str:
    marks, reasons = record["decisions"]["marks"], record["run"].get("policy_reasons") or {}
    told = joined(
        f"on {many(n, 'sample')}{f' since {reasons[code]}' if code in reasons else ''} ({code})"
        for code, n in marks.items()
    )
    return f"The policy did less than the issues asked for: {told}." if marks else ""


def _idle(record: Mapping[str, Any]) -> str:
    """The rules of the policy that judged nothing."""
    rules = record["run"].get("idle_rules") or ()
    return (
        f"{many(len(rules), 'rule')} of the policy judged nothing: {some(rules, 'rule')}."
        if rules
        else ""
    )


def _added(record: Mapping[str, Any]) -> str:
    n = record["account"]["added"]
    if not n:
        return ""
    rows = sorted(
        (row for row in record["classes"]["rows"] if row["added"]),
        key=lambda row: (-row["added"], str(row["name"])),
    )
    classes = [f"{named(row['name'])} ({row['added']:,})" for row in rows]
    where = f" for {some(classes, 'class')}" if rows else ""
    return f"{many(n, 'new sample')} {plural(n, 'was')} made by augmentation{where}."


def _result(numbers: Mapping[str, Any]) -> str:
    n, added = numbers["curated"], numbers["added"]
    classes = f" in {many(numbers['classes_after'], 'class')}" if numbers["classes_after"] else ""
    parts = f": {numbers['kept']:,} of the originals and {added:,} new" if added else ""
    lead = "The curated set holds" if numbers["made"] else "A curated set would hold"
    return f"{lead} {many(n, 'sample')}{classes}{parts}."


def _classes(record: Mapping[str, Any]) -> list[str]:
    """Whether cleaning hurt a class."""
    emptied, hardest = record["classes"]["emptied"], record["classes"]["hardest"]
    told = []
    if emptied["total"]:
        n = emptied["total"]
        names = joined(
            [
                *map(str, emptied["names"]),
                *([f"{n - len(emptied['names']):,} more"] if n > len(emptied["names"]) else []),
            ]
        )
        told.append(f"{many(n, 'class')} {plural(n, 'has')} no sample left: {names}.")
    if hardest and hardest["dropped"] and record["account"]["classes"] > 1:
        share = hardest["dropped"] / hardest["before"]
        told.append(
            f"The class that lost the largest share is {hardest['name']}: {hardest['dropped']:,} "
            f"of {hardest['before']:,} ({100 * share:.0f} %)."
        )
    return told


def _gates(record: Mapping[str, Any]) -> str:
    states = [state(gate) for gate in record["gates"]]
    if not states:
        return (
            "There are no gates: whatever comes out is published."
            if record["run"].get("out")
            else ""
        )
    passed, first, shut = (states.count(name) for name in ("passed", "first", "unjudged"))
    of = many(len(states), "gate")
    told = (
        "The gate passed"
        if len(states) == passed == 1
        else f"All {of} passed"
        if passed == len(states)
        else f"{passed} of {of} passed"
    )
    waits = (
        (
            f"{many(first, 'gate')} {plural(first, 'compares')} with a version published before, "
            f"and there was none"
        )
        if first
        else ""
    )
    open_ = f"{many(shut, 'gate')} could not be judged" if shut else ""
    return (
        ""
        if "failed" in states
        else sentence("; ".join(part for part in (told, open_, waits) if part))
    )


def steps(record: Mapping[str, Any]) -> list[str]:
    """What a person could do next."""
    numbers, told = record["account"], []
    written = record["run"].get("out", "") is not None  # a check writes nothing to look into
    if record["failures"]["total"]:
        told.append(
            "Read the failures first: a sample that a stage failed on was not judged by it."
        )
    if any(not gate["passed"] for gate in record["gates"]):
        told.append(
            "Look at what the failed gates count, then change the data, the policy or the gate and "
            "run again: nothing is measured twice."
        )
    if n := numbers["review"]:
        where = (
            "report.html shows the strongest findings, ledger.parquet has all."
            if written
            else "a run writes the report that shows them."
        )
        if out := record["run"].get("out"):
            where = f"dqpipe review {shlex.quote(str(out))}"
        told.append(
            f"Look at {_these(n, 'sample')} that {'needs' if n == 1 else 'need'} review: {where}"
        )
    if n := numbers["relabelled"]:
        checked = "the new label" if n == 1 else f"some of {_these(n, 'new label')}"
        told.append(f"Check {checked} before you train: a suggestion can be wrong.")
    if n := record["classes"]["emptied"]["total"]:
        told.append(
            f"Decide whether the {plural(n, 'class')} without samples should go, or "
            f"{plural(n, 'needs')} new data."
        )
    if (one := _one(record)) and written:
        out = record["run"].get("out")
        where = f" --out {shlex.quote(str(out))}" if out else ""
        told.append(f"Ask why a sample is where it is: dqpipe why {shlex.quote(one)}{where}")
    return told


def _these(number: int, word: str) -> str:
    return f"the {word}" if number == 1 else f"the {many(number, word)}"


def _one(record: Mapping[str, Any]) -> str:
    """A sample worth asking about: the strongest one that was not simply kept."""
    rows = [
        row
        for rows in record["examples"].values()
        for row in rows
        if row["id"] and row["decision"] not in (None, "keep")
    ]
    return next(
        (
            row["id"]
            for row in rows
            if row["id"].isprintable() and not row["id"].startswith("-") and len(row["id"]) < LONG
        ),
        "",
    )
