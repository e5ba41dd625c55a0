"""Certified precision of a finding code.

A random sample of its findings, reviewed blind, and the estimates from the answers.

    <out>/audits.jsonl       one JSON line for each audit; the answers are verdicts that name it

Sampling. The samples with a finding of the code, ranked by confidence, are divided into n strata of
equal size (N / n samples, which may be a fraction), and one is drawn from each, independently:
every finding has the probability n / N. Half as many samples without such a finding are mixed in.

Precision. The share of drawn findings that reviewers confirm, with the interval of Clopper &
Pearson (1934) for n draws. Its coverage is at least 95 %: the number of confirmed findings is a sum
of independent draws whose mean probability is the precision, and varies no more than the binomial
for which the interval is exact (Hoeffding 1956). Undecided answers count against the finding at the
lower end, and for it at the upper one. If every finding was reviewed, the share is exact.

Missed. For the samples without a finding, the upper end of the one-sided 95 % interval of the share
where reviewers see the fault.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.intervals import clopper_pearson, upper_bound
from dqpipe.data.tables import Findings, Samples, figure
from dqpipe.errors import DatasetError
from dqpipe.results import verdicts
from dqpipe.results.verdicts import Verdict, most
from dqpipe.results.versions import AUDITS
from dqpipe.review.rulings import as_given
from dqpipe.storage import jsonl
from dqpipe.storage.fact_store import digest, digest_json
from dqpipe.storage.location import Place

log = logging.getLogger(__name__)
FILE = AUDITS
SKETCH = 512
"""Size of the sketch of a code's samples, by which the findings of two runs are compared (min-hash,
Broder 1997).
"""
ALIKE = 0.5
"""Similarity (Jaccard) of the findings of two runs from which a certificate is valid for the later
one.
"""


@dataclass(frozen=True)
class Item:
    """A drawn sample: how often it was drawn, whether it has the finding, and its confidence."""

    id: str
    content: str | None
    given: Any
    alike: int
    claimed: bool
    times: int = 1
    confidence: float | None = None
    match: str | None = None

    @property
    def about(self) -> tuple[str | None, str | None, str]:
        """The sample as verdicts identify it."""
        return self.content, as_given(self.given), self.id


@dataclass(frozen=True)
class Audit:
    """One audit: finding code, version, number of samples with and without the finding, and the
    items in the order shown.
    """

    audit: str
    code: str
    version: str
    time: str
    claims: int
    others: int
    made_by: str
    sketch: tuple[str, ...]
    items: tuple[Item, ...]


def audits(out: str | Path | Place) -> list[Audit]:
    """The audits of an output, the oldest first."""
    import pydantic

    found, kind = [], pydantic.TypeAdapter(Audit)
    for row in jsonl.rows(out, FILE):
        try:
            found.append(kind.validate_json(json.dumps(row), strict=True))
        except (ValueError, RecursionError):
            log.warning("%s: a line that is no draw is left out", FILE)
    return found


def keep(out: str | Path | Place, audit: Audit) -> None:
    """Store an audit. Raises OutputError."""
    jsonl.append(out, FILE, asdict(audit))


# drawing ------------------------------------------------------------------------------------------


def claimed(findings: Findings, code: str) -> dict[str, dict[str, Any]]:
    """The most confident finding of this code of each sample, by id."""
    table = findings.table.filter(
        pc.and_(
            pc.equal(findings.table.column("code"), code), pc.is_valid(findings.table.column("id"))
        )
    )
    found: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        if row["id"] not in found or (row["confidence"] or -1.0) > (
            found[row["id"]]["confidence"] or -1.0
        ):
            found[row["id"]] = row
    return found


def draw(
    version: str,
    samples: Samples,
    findings: Findings,
    code: str,
    made_by: str,
    number: int,
    seed: int,
) -> Audit:
    """An audit of `number` findings and half as many other samples.

    Raises DatasetError where there is no such finding.
    """
    contents = dict(zip(samples.ids, samples["content"], strict=True))
    carriers = {
        sample: row
        for sample, row in claimed(findings, code).items()
        if contents.get(sample) is not None
    }
    if not carriers:
        raise DatasetError(f"nothing to look at: no sample of this version carries {code}")
    rng = np.random.default_rng(int(digest_json([version, code, seed])[:12], 16))
    ranked = sorted(carriers, key=lambda sample: (carriers[sample]["confidence"] or -1.0, sample))
    times = _strata(len(ranked), number, rng)
    labels = (
        dict(zip(samples.ids, samples.table.column("label").to_pylist(), strict=True))
        if "label" in samples
        else {}
    )
    alike: dict[object, int] = defaultdict(int)
    for sample, content in contents.items():
        alike[content, as_given(labels.get(sample))] += 1

    def item(sample: str, **more: Any) -> Item:  # noqa: ANN401
        given = labels.get(sample)
        return Item(
            sample,
            contents[sample],
            verdicts.json_label(given),
            alike[contents[sample], as_given(given)],
            **more,
        )

    chosen = [(ranked[at], n, carriers[ranked[at]]) for at, n in times.items()]
    items = [
        item(sample, claimed=True, times=n, confidence=row["confidence"], match=row["match"])
        for sample, n, row in chosen
    ]
    others = sorted(
        sample
        for sample, content in contents.items()
        if sample not in carriers and content is not None
    )
    some = (
        rng.choice(len(others), min(-(-number // 2), len(others)), replace=False)
        if others
        else np.arange(0)
    )
    items += [item(others[at], claimed=False) for at in some]
    shown = tuple(items[at] for at in rng.permutation(len(items)))
    sketch = _sketch((contents[sample], as_given(labels.get(sample))) for sample in carriers)
    return Audit(
        digest(version, code, str(seed))[:12],
        code,
        version,
        verdicts.now(),
        len(carriers),
        len(others),
        made_by,
        sketch,
        shown,
    )


def _strata(count: int, number: int, rng: np.random.Generator) -> dict[int, int]:
    """Position → how often it was drawn, where one point is drawn from each of `number` equal parts
    of the line from 0 to `count`.
    """
    if number >= count:
        return dict.fromkeys(range(count), 1)
    places = np.floor((np.arange(number) + rng.random(number)) * (count / number)).astype(int)
    at, times = np.unique(np.minimum(places, count - 1), return_counts=True)
    return {int(place): int(n) for place, n in zip(at, times, strict=True)}


def _sketch(keys: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({digest_json(list(key)) for key in keys})[:SKETCH])  # type: ignore[call-overload]


def alike(one: Sequence[str], other: Sequence[str]) -> float:
    """The Jaccard similarity of two sets, estimated from their sketches; exact for small sets."""
    both = sorted({*one, *other})[:SKETCH]
    return len({*one} & {*other} & {*both}) / len(both) if both else 1.0


# what follows -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """The precision of a finding code as an audit estimates it."""

    code: str
    precision: float | None
    low: float
    high: float
    looked: int
    """Reviewed findings, those with undecided answers included."""
    unsure: int
    claims: int
    missed: int
    """Upper limit (95 %) of the samples that should have the finding and lack it."""
    missed_share: float
    sound_looked: int
    audit: str
    version: str
    time: str
    reviewers: tuple[str, ...]
    why: str = ""
    """Why the certificate is not valid for this run; "" if it is."""

    @property
    def said(self) -> str:
        """In words."""
        unsure = f", {self.unsure:,} of them nobody could tell" if self.unsure else ""
        share = "unknown" if self.precision is None else f"{self.precision:.2f}"
        interval = f"[{self.low:.2f}, {self.high:.2f}]"
        missed = (
            f"; at most {self.missed:,} missed ({100 * self.missed_share:.2g} % of the others)"
            if self.sound_looked
            else ""
        )
        return (
            f"precision of {self.code}: {share} {interval}, {self.looked:,} looked "
            f"at{unsure}{missed}"
        )


def answered(audit: Audit, all_verdicts: Sequence[Verdict]) -> list[tuple[Item, bool | None]]:
    """The reviewed items with the majority answer: confirmed, refuted, or undecided (None)."""
    words: dict[object, dict[str, bool | None]] = defaultdict(dict)
    for verdict in all_verdicts:
        if verdict.audit == audit.audit:
            words[verdict.about][verdict.reviewer] = verdict.holds
    return [(item, most(words[item.about].values())) for item in audit.items if item.about in words]


def certify(audit: Audit, all_verdicts: Sequence[Verdict]) -> Certificate | None:
    """The certificate that follows from the answers; None where no finding was reviewed."""
    replies = answered(audit, all_verdicts)
    hits, unsure, looked = counts(
        holds for item, holds in replies if item.claimed for _ in range(item.times)
    )
    if not looked:
        return None
    low, high = clopper_pearson(hits, looked)[0], clopper_pearson(hits + unsure, looked)[1]
    if looked == audit.claims and all(item.times == 1 for item, _ in replies):
        low, high = hits / looked, (hits + unsure) / looked
    wrong, blank, seen = counts(holds for item, holds in replies if not item.claimed)
    share = (
        upper_bound(wrong + blank, seen) if seen < audit.others else (wrong + blank) / max(seen, 1)
    )
    people = tuple(
        sorted({verdict.reviewer for verdict in all_verdicts if verdict.audit == audit.audit})
    )
    precision = hits / (looked - unsure) if looked > unsure else None
    return Certificate(
        audit.code,
        precision,
        low,
        high,
        looked,
        unsure,
        audit.claims,
        int(np.ceil(share * audit.others)),
        share,
        seen,
        audit.audit,
        audit.version,
        audit.time,
        people,
    )


def counts(answers: Iterable[bool | None]) -> tuple[int, int, int]:
    """The number of confirmed, undecided and all answers."""
    every = list(answers)
    return sum(holds is True for holds in every), sum(holds is None for holds in every), len(every)


def certificates(
    out: str | Path | Place,
    all_verdicts: Sequence[Verdict],
    samples: Samples,
    findings: Findings,
    stages: Sequence[Mapping[str, Any]],
) -> list[Certificate]:
    """The newest certificate of each finding code.

    Its `why` says where it is not valid for this run.
    """
    found: dict[str, Certificate] = {}
    for audit in audits(out):
        made = certify(audit, all_verdicts)
        if made is not None:
            found[audit.code] = replace(made, why=_stale(audit, samples, findings, stages))
    return [found[code] for code in sorted(found)]


def _stale(
    audit: Audit, samples: Samples, findings: Findings, stages: Sequence[Mapping[str, Any]]
) -> str:
    now = maker(audit.code, stages)
    if now != audit.made_by:
        return (
            "the stage or its options are other ones now"
            if now
            else "no stage of this run claims it"
        )
    rows = pc.index_in(
        pa.array(list(claimed(findings, audit.code)), pa.string()),
        value_set=samples.table.column("id").combine_chunks(),
    )
    some = samples.table.take(rows)
    labels = some.column("label").to_pylist() if "label" in samples else [None] * len(some)
    share = alike(
        audit.sketch,
        _sketch(zip(some.column("content").to_pylist(), map(as_given, labels), strict=True)),
    )
    return (
        ""
        if share >= ALIKE
        else f"only {100 * share:.0f} % of the claims then and now are the same"
    )


def maker(code: str, stages: Sequence[Mapping[str, Any]]) -> str:
    """Version and options of the stage that makes a finding code, as text.

    "" where no stage does.
    """
    stage = next((one for one in stages if code in one["claims"]), None)
    return (
        "" if stage is None else digest_json([stage["stage"], stage["version"], stage["options"]])
    )


def figures(found: Sequence[Certificate]) -> list[dict[str, Any]]:
    """The valid certificates of a run as figures of the whole set, for gates."""
    rows = []
    for one in found:
        if not one.why and one.precision is not None:
            rows.append(
                figure(
                    f"precision of {one.code}",
                    one.precision,
                    low=one.low,
                    high=one.high,
                    detail=one.said,
                    of="raw",
                )
            )
            rows.append(figure(f"precision_low of {one.code}", one.low, of="raw"))
            if one.sound_looked:
                rows.append(figure(f"missed of {one.code}", one.missed, of="raw"))
    return rows
