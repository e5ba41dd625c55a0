"""The precision of a claim: exact intervals, draws that are fair, coverage by simulation, and what
a run says of it.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_curation.policy import Policy
from dqpipe_curation.rules import precisions

from dqpipe.api import Pipeline
from dqpipe.data.intervals import clopper_pearson, lower_bound, upper_bound
from dqpipe.data.tables import Findings, Samples, claim, table_of
from dqpipe.errors import ConfigError, DatasetError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import verdicts
from dqpipe.results.outcome import Outcome
from dqpipe.results.report import account
from dqpipe.results.verdicts import Verdict
from dqpipe.results.versions import Version
from dqpipe.review import audits, threshold_fit
from dqpipe.review.audits import Audit


def below(hits: int, looked: int, p: float) -> float:
    """P(at most so many hits), exactly."""
    q = Fraction(p)
    return float(sum(comb(looked, k) * q**k * (1 - q) ** (looked - k) for k in range(hits + 1)))


@pytest.mark.parametrize(("hits", "looked"), [(73, 80), (1, 10), (40, 80), (79, 80), (2, 3)])
def test_the_interval_is_where_either_tail_has_its_risk_exactly(hits: int, looked: int) -> None:
    low, high = clopper_pearson(hits, looked)
    assert below(hits, looked, high) == pytest.approx(0.025, rel=1e-9)
    assert 1 - below(hits - 1, looked, low) == pytest.approx(0.025, rel=1e-9)


def test_the_interval_at_its_ends_is_the_closed_form() -> None:
    assert clopper_pearson(0, 80) == pytest.approx((0.0, 1 - 0.025 ** (1 / 80)))
    assert clopper_pearson(80, 80) == pytest.approx((0.025 ** (1 / 80), 1.0))
    assert upper_bound(0, 40) == pytest.approx(1 - 0.05 ** (1 / 40))
    assert lower_bound(59, 59) == pytest.approx(0.05 ** (1 / 59))
    assert (upper_bound(0, 0), lower_bound(0, 0)) == (1.0, 0.0)


# drawing and estimating ---------------------------------------------------------------------------


def claims(confidences: np.ndarray, others: int = 0) -> tuple[Samples, Findings]:
    names = [f"s{n:05d}" for n in range(len(confidences) + others)]
    samples = Samples(
        pa.table({"id": names, "content": [f"c-{n}" for n in names], "label": ["cat"] * len(names)})
    )
    found = claim(
        "x.wrong", names[: len(confidences)], severity="warning", confidence=list(confidences)
    )
    return samples, Findings(table_of(Findings.columns, [found]))


def looked(
    audit: Audit, right: set[str], *, by: str = "ann", blank: frozenset[str] = frozenset()
) -> list[Verdict]:
    return [
        Verdict(
            i.content,
            i.id,
            i.given,
            "skip",
            code=audit.code,
            reviewer=by,
            time=f"t{n}",
            audit=audit.audit,
            holds=None if i.id in blank else i.id in right,
        )
        for n, i in enumerate(audit.items)
    ]


def drawn(samples: Samples, findings: Findings, number: int, seed: int = 0) -> Audit:
    return audits.draw("v", samples, findings, "x.wrong", "m", number, seed)


def test_every_level_of_confidence_has_its_share_and_sound_ones_are_mixed_in() -> None:
    samples, findings = claims(np.linspace(0, 1, 1000), others=500)
    audit = drawn(samples, findings, 50)
    ranks = sorted(
        int(item.id[1:]) for item in audit.items if item.claimed for _ in range(item.times)
    )
    assert [rank // 20 for rank in ranks] == list(range(50))
    assert sum(not item.claimed for item in audit.items) == 25
    runs = np.diff(np.flatnonzero(np.diff([item.claimed for item in audit.items])))
    assert runs.max() < 15  # mixed, not one after the other
    assert drawn(samples, findings, 50).items == audit.items
    assert drawn(samples, findings, 50, seed=1).items != audit.items


@pytest.mark.parametrize("number", [7, 40, 299])
def test_every_claim_has_the_same_chance(number: int) -> None:
    rng = np.random.default_rng(0)
    times = np.zeros(300)
    for _ in range(2000):
        for at, n in audits._strata(300, number, rng).items():
            times[at] += n
    share = times / 2000
    assert share.sum() == pytest.approx(number)
    assert np.abs(share - number / 300).max() < 5 * np.sqrt(number / 300 / 2000)


@pytest.mark.parametrize("wrong", ["spread", "doubtful", "few"])
@pytest.mark.parametrize("number", [20, 80])
def test_the_interval_covers_the_truth_in_95_of_100_draws(wrong: str, number: int) -> None:
    samples, findings = claims(np.linspace(0.3, 1, 317))
    rng = np.random.default_rng(3)
    chance = {
        "spread": np.full(317, 0.8),
        "doubtful": np.linspace(0.3, 1.0, 317),
        "few": np.full(317, 0.98),
    }[wrong]
    right = {
        sample for sample, holds in zip(samples.ids, rng.random(317) < chance, strict=True) if holds
    }
    truth, covered = len(right) / 317, 0
    rates = np.array([sample in right for sample in samples.ids], dtype=float)
    for _ in range(1000):
        times = audits._strata(317, number, rng)
        hits = int(sum(rates[at] * n for at, n in times.items()))
        low, high = clopper_pearson(hits, number)
        covered += low <= truth <= high
    assert covered >= 950
    made = audits.certify(audit := drawn(samples, findings, number), looked(audit, right))
    assert made is not None
    assert (made.low, made.high) == clopper_pearson(round((made.precision or 0) * number), number)


def test_what_nobody_can_tell_counts_against_the_claim_below_and_for_it_above() -> None:
    samples, findings = claims(np.linspace(0, 1, 1000), others=100)
    audit = drawn(samples, findings, 20)
    names = [item.id for item in audit.items if item.claimed]
    made = audits.certify(audit, looked(audit, set(names[2:]), blank=frozenset(names[:2])))
    assert made is not None
    assert (made.precision, made.unsure, made.looked) == (1.0, 2, 20)
    assert (made.low, made.high) == (clopper_pearson(18, 20)[0], clopper_pearson(20, 20)[1])


def test_when_every_claim_was_looked_at_nothing_is_estimated() -> None:
    samples, findings = claims(np.linspace(0, 1, 10), others=4)
    audit = drawn(samples, findings, 80)
    made = audits.certify(audit, looked(audit, {f"s{n:05d}" for n in range(9)}))
    assert made is not None
    assert (made.precision, made.low, made.high) == (0.9, 0.9, 0.9)
    assert (made.missed, made.sound_looked) == (0, 4)


def test_what_was_missed_is_bounded_and_covers() -> None:
    rng, missed, covered = np.random.default_rng(1), 30, 0
    for _ in range(1000):
        seen = int(rng.hypergeometric(missed, 970, 40))
        covered += upper_bound(seen, 40) * 1000 >= missed
    assert covered >= 950
    samples, findings = claims(np.linspace(0, 1, 200), others=1000)
    audit = drawn(samples, findings, 80)
    made = audits.certify(audit, looked(audit, {item.id for item in audit.items if item.claimed}))
    assert made is not None
    assert (made.missed, made.sound_looked) == (73, 40)  # 1000 (1 - 0.05^(1/40)) = 72.2
    assert "precision of x.wrong: 1.00 [0.95, 1.00], 80 looked at; at most 73 missed" in made.said


def test_several_reviewers_the_majority_counts_and_a_tie_is_unsure() -> None:
    samples, findings = claims(np.linspace(0, 1, 100))
    audit = drawn(samples, findings, 10)
    every = {item.id for item in audit.items}
    assert audits.certify(audit, looked(audit, every) + looked(audit, set(), by="bob")).unsure == 10  # type: ignore[union-attr]
    three = looked(audit, every) + looked(audit, set(), by="bob") + looked(audit, every, by="cho")
    assert audits.certify(audit, three).precision == 1.0  # type: ignore[union-attr]
    assert audits.certify(audit, []) is None


def test_nothing_claimed_nothing_drawn() -> None:
    samples, findings = claims(np.zeros(0), others=3)
    with pytest.raises(DatasetError, match="nothing to look at"):
        drawn(samples, findings, 10)


# thresholds ---------------------------------------------------------------------------------------


def test_a_threshold_keeps_the_precision_and_says_what_it_costs() -> None:
    samples, findings = claims(np.linspace(0, 0.999, 1000))
    audit = drawn(samples, findings, 100)
    right = {
        item.id for item in audit.items if (item.confidence or 0) >= 0.4 or int(item.id[1:]) % 2
    }
    found = threshold_fit.fit(audit, looked(audit, right), 0.95)
    assert found is not None
    told = [(item.confidence, item.id in right) for item in audit.items]
    above = [holds for confidence, holds in told if confidence >= found.at_least]
    lower = [
        sum(h for c, h in told if c >= t) / sum(c >= t for c, _ in told)
        for t, _ in told
        if t < found.at_least
    ]
    assert found.precision == sum(above) / len(above) >= 0.95
    assert all(share < 0.95 for share in lower)
    assert found.recall == sum(above) / len(right)
    assert threshold_fit.fit(audit, looked(audit, set()), 0.5) is None


def test_a_sure_threshold_is_wrong_in_at_most_5_of_100_draws() -> None:
    rng, wrong, given = np.random.default_rng(5), 0, 0
    samples, findings = claims(np.linspace(0, 0.999, 400))
    chance = np.linspace(0.75, 1.0, 400)
    for seed in range(200):
        audit = drawn(samples, findings, 150, seed)
        holds = rng.random(400) < chance
        found = threshold_fit.sure(audit, looked(audit, set(samples.ids[holds])), 0.85)
        if found is not None:
            given += 1
            first = int(np.ceil(found.at_least * 400 / 0.999 * 0.999))
            wrong += holds[first:].mean() < 0.85
    assert given > 100
    assert wrong <= 10


# in a run -----------------------------------------------------------------------------------------

CODE = "image_quality.low_contrast"


def run(registry: Registry, source: Path, out: Path, gate: str, contrast: float = 0.2) -> Outcome:
    stages = f"[files, {{image_quality: {{low_contrast: {contrast}}}}}]"
    text = (
        f"dataset: {{path: {source}}}\noutputs: {{path: {out}, reports: [json]}}\nstages: "
        f"{stages}\ngates: ['{gate}']\n"
    )
    return Pipeline.from_text(text, registry=registry).drive(Serial(), force=True)


def test_a_gate_asks_for_certified_precision_and_the_run_says_it(
    registry: Registry, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = tmp_path / "out", []
    decide = Policy.decide
    monkeypatch.setattr(
        Policy,
        "decide",
        lambda policy, samples, findings: (
            told.append(precisions(findings)) or decide(policy, samples, findings)
        ),
    )
    gate = f"precision of {CODE} < 80%"
    first = run(registry, images, out, gate)
    assert "nobody looked at these claims yet, or not since it changed" in first.gates[0]["said"]
    assert not first.gates[0]["passed"]
    (name,) = [path.name for path in (out / "versions").glob("2*")]
    version = Version.open(out, name)
    audit = audits.draw(
        name,
        version.samples,
        version.findings,
        CODE,
        audits.maker(CODE, version.record["stages"]),
        80,
        0,
    )
    audits.keep(out, audit)
    for verdict in looked(audit, {item.id for item in audit.items if item.claimed}):
        verdicts.add(out, verdict)
    second = run(registry, images, out, gate)
    assert second.gates[0]["passed"]
    assert told == [{}, {CODE: 1.0}], "the policy is told what was certified"
    record = json.loads((Path(second.published) / "run.json").read_text())
    n = audit.claims
    assert [row["said"].partition(";")[0] for row in record["audits"]] == [
        f"precision of {CODE}: 1.00 [1.00, 1.00], {n} looked at"
    ]
    assert any(
        line.startswith(f"Precision of {CODE}: 1.00 [1.00, 1.00], {n} looked at")
        for line in account(second.record)
    )
    third = run(registry, images, out, gate, contrast=0.25)  # other options: other claims
    assert not third.gates[0]["passed"]
    assert any(
        "the stage or its options are other ones now" in line for line in account(third.record)
    )


def test_refuted_claims_are_hidden_and_unclaimed_answers_change_nothing(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = run(registry, images, out, "samples < 1")
    version = Version.open(out)
    audit = audits.draw(
        version.id,
        version.samples,
        version.findings,
        CODE,
        audits.maker(CODE, version.record["stages"]),
        80,
        0,
    )
    audits.keep(out, audit)
    for verdict in looked(audit, set()):
        verdicts.add(out, verdict)
    after = run(registry, images, out, "samples < 1")
    refuted = {item.id for item in audit.items if item.claimed}
    changed = {
        row["id"]
        for row, old in zip(
            after.decisions.table.to_pylist(), before.decisions.table.to_pylist(), strict=True
        )
        if row != old
    }
    assert changed <= refuted
    assert after.people.verdicts is not None
    assert after.people.verdicts["refuted"] == len(refuted)
    assert len(after.findings) == len(before.findings)


@pytest.mark.parametrize(
    "gate", ["precision of nothing.here < 1", "precision of < 1", "missed of 3 < 1"]
)
def test_a_gate_on_no_claim_is_refused(
    registry: Registry, images: Path, tmp_path: Path, gate: str
) -> None:
    with pytest.raises(ConfigError, match="one code is expected"):
        run(registry, images, tmp_path / "out", gate)
