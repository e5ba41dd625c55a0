"""Verdicts are on disk when they are given, matched by what they were about, and above
every stage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqpipe.api import Pipeline
from dqpipe.data.tables import Samples
from dqpipe.engine.run import Run
from dqpipe.errors import DatasetError, OutputError
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results import verdicts
from dqpipe.results.outcome import Outcome
from dqpipe.results.report import account
from dqpipe.results.verdicts import Agreeing, Verdict, agreement, kappa
from dqpipe.results.versions import Version
from dqpipe.review.explain import explain
from dqpipe.review.rulings import DISAGREED, REFUTED, match
from dqpipe.review.verdict_log import VerdictLog


def verdict(
    sample: str,
    said: str = "keep",
    *,
    content: str | None = None,
    by: str = "ann",
    label: object = None,
    **more,
) -> Verdict:
    return Verdict(
        content=content or f"c-{sample}",
        id=sample,
        given=more.pop("given", "cat"),
        verdict=said,
        label=label,
        reviewer=by,
        **more,
    )


# on disk ------------------------------------------------------------------------------------------


def test_what_is_added_stands_in_order_until_it_is_undone(tmp_path: Path) -> None:
    one = verdicts.add(tmp_path, verdict("a", "drop"))
    two = verdicts.add(tmp_path, verdict("a", "keep"))
    assert verdicts.verdicts(tmp_path) == [one, two]
    verdicts.undo(tmp_path, two)
    assert verdicts.verdicts(tmp_path) == [one]
    lines = (tmp_path / "verdicts.jsonl").read_text().splitlines()
    assert [bool(json.loads(line)["undone"]) for line in lines] == [False, False, True]


def test_a_line_cut_short_costs_that_line_alone(tmp_path: Path) -> None:
    one = verdicts.add(tmp_path, verdict("a"))
    with (tmp_path / "verdicts.jsonl").open("a") as file:
        file.write('{"content": "c", "id": "b", "ver')
    two = verdicts.add(tmp_path, verdict("c"))
    with (tmp_path / "verdicts.jsonl").open("a") as file:
        file.write('{"strange": 1}\n[]\n')
        file.write(
            '{"content": 5, "id": "x", "given": null, "verdict": "keep"}\n{"content": "c", "id": '
            '"x", "given": 1, "verdict": "eat"}\n'
        )
    assert verdicts.verdicts(tmp_path) == [one, two]


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    children = []
    for number in range(4):
        child = os.fork() if hasattr(os, "fork") else pytest.skip("no fork")
        if not child:
            for turn in range(25):
                verdicts.add(tmp_path, verdict(f"{number}-{turn}"))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert {v.id for v in verdicts.verdicts(tmp_path)} == {
        f"{n}-{t}" for n in range(4) for t in range(25)
    }


@pytest.mark.parametrize("wrong", [verdict("a", "maybe"), verdict("a", "relabel")])
def test_what_is_no_verdict_is_refused(wrong: Verdict, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        verdicts.add(tmp_path, wrong)
    assert not (tmp_path / "verdicts.jsonl").exists()


@settings(max_examples=25, deadline=None)
@given(
    st.text(),
    st.one_of(st.none(), st.text(), st.floats(allow_nan=False), st.lists(st.text())),
    st.text(),
)
def test_hostile_names_labels_and_reviewers_come_back(
    sample: str, label: object, name: str
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        told = verdicts.add(
            folder, Verdict("c", sample, verdicts.json_label(label), "keep", reviewer=name)
        )
        assert [v.key for v in verdicts.verdicts(folder)] == [told.key]


# matching -----------------------------------------------------------------------------------------


def samples(*rows: tuple[str, str, str | None]) -> Samples:
    return Samples(
        pa.table(
            dict(zip(("id", "content", "label"), map(list, zip(*rows, strict=True)), strict=True))
        )
    )


def ruled(of: Samples, *said: Verdict) -> dict[str, str | None]:
    told = [
        replace(v, time=v.time or f"2026-01-01T00:00:{number:02d}") for number, v in enumerate(said)
    ]
    return {of.ids[row]: ruling.decision for row, ruling in match(of, told).rows.items()}


def test_content_and_given_label_match_whatever_the_file_is_called_now() -> None:
    renamed = samples(("new", "c-a", "cat"), ("b", "c-b", "cat"))
    assert ruled(renamed, verdict("a", "drop")) == {"new": "drop"}


@pytest.mark.parametrize("now", [("a", "changed", "cat"), ("a", "c-a", "dog"), ("a", "c-a", None)])
def test_other_bytes_or_another_label_do_not_match(now: tuple[str, str, str | None]) -> None:
    assert ruled(samples(now), verdict("a", "drop")) == {}


def test_one_picture_under_two_labels_is_told_apart_by_the_label_and_copies_by_their_id() -> None:
    two = samples(("a", "same", "cat"), ("b", "same", "dog"), ("c", "same", "dog"))
    assert ruled(two, verdict("a", "drop", content="same")) == {"a": "drop"}
    assert ruled(two, verdict("c", "drop", content="same", given="dog", alike=2)) == {"c": "drop"}
    assert ruled(two, verdict("gone", "drop", content="same", given="dog")) == {}


def test_a_verdict_on_one_of_two_copies_does_not_go_over_to_the_one_that_is_left() -> None:
    assert ruled(samples(("a", "same", "cat")), verdict("b", "drop", content="same", alike=2)) == {}


def test_of_one_reviewer_the_last_word_counts_and_of_several_the_majority() -> None:
    one = samples(("a", "c-a", "cat"))
    assert ruled(one, verdict("a", "drop"), verdict("a", "keep"), verdict("a", "skip")) == {
        "a": "keep"
    }
    assert ruled(
        one, verdict("a", "drop"), verdict("a", "keep", by="bob"), verdict("a", "drop", by="cho")
    ) == {"a": "drop"}
    assert ruled(one, verdict("a", "drop"), verdict("a", "keep", by="bob")) == {"a": "review"}
    assert (
        match(one, [verdict("a", "drop"), verdict("a", "keep", by="bob")]).rows[0].because
        == DISAGREED
    )
    both = [verdict("a", "relabel", label="dog"), verdict("a", "relabel", label="cow", by="bob")]
    assert ruled(one, *both) == {"a": "review"}


def test_a_label_that_the_set_cannot_have_is_left_out() -> None:
    numbers = Samples(pa.table({"id": ["a"], "content": ["c-a"], "label": [1]}))
    wrong = [verdict("a", "relabel", given=1, label=label) for label in ("dog", 1.5, [1], None, "")]
    told = match(numbers, [*wrong, verdict("a", "relabel", given=1, label=2, by="bob")])
    assert [(ruling.decision, ruling.label) for ruling in told.rows.values()] == [("relabel", "2")]


# agreement ----------------------------------------------------------------------------------------


def test_kappa_is_that_of_cohens_paper_and_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    table = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa(table) == pytest.approx(0.4)
    assert kappa(table) == pytest.approx(cohen_kappa_score(*zip(*table, strict=True)))
    uneven = (
        [("a", "a")] * 40
        + [("a", "b")] * 9
        + [("b", "a")] * 2
        + [("b", "b")] * 3
        + [("c", "b")] * 4
        + [("a", "c")]
    )
    assert kappa(uneven) == pytest.approx(cohen_kappa_score(*zip(*uneven, strict=True)))
    assert kappa([("yes", "yes")] * 3) is None
    assert kappa([]) is None


def test_agreement_is_told_for_each_two_reviewers_who_saw_the_same() -> None:
    said = [
        verdict("a"),
        verdict("a", by="bob"),
        verdict("b", "drop"),
        verdict("b", by="bob"),
        verdict("c", by="cho"),
    ]
    assert agreement(said) == [
        {"reviewers": ["ann", "bob"], "on": "decisions", "samples": 2, "same": 1, "kappa": 0.0}
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob"]),
            st.sampled_from("abc"),
            st.sampled_from(["keep", "drop", "review"]),
        ),
        max_size=20,
    ),
    st.data(),
)
def test_agreement_after_an_undo_is_that_of_what_stands(
    given_by: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    each = list(
        {(who, sample): verdict(sample, said, by=who) for who, sample, said in given_by}.values()
    )
    undone = data.draw(st.sets(st.sampled_from(range(len(each))))) if each else set()
    agreeing = Agreeing()
    for one in each:
        agreeing.change(None, one)
    for n in sorted(undone):
        agreeing.change(each[n], None)
    assert agreeing.told() == agreement([v for n, v in enumerate(each) if n not in undone])


# in a run -----------------------------------------------------------------------------------------

DROPS = (
    "stages: [files, image_quality, duplicates]\npolicy: {rules: {image_quality.low_information: "
    "drop, duplicates.exact: drop}}\n"
)


def run(registry: Registry, source: Path, out: Path, more: str = DROPS) -> Outcome:
    text = f"dataset: {{path: {source}}}\noutputs: {{path: {out}, reports: [json]}}\n{more}"
    return Run(
        Pipeline.from_text(text, registry=registry).config, registry, Serial(), force=True
    ).run()


def decided(ran: Outcome) -> dict[str, tuple[str, str | None, Sequence[str]]]:
    return {
        row["id"]: (row["decision"], row["new_label"], row["because"])
        for row in ran.decisions.table.to_pylist()
    }


def on(version: Version, sample: str, said: str, **more) -> Verdict:
    row = next(row for row in version.samples.table.to_pylist() if row["id"] == sample)
    return Verdict(
        content=row["content"],
        id=sample,
        given=row["label"],
        verdict=said,
        **{"reviewer": "ann", **more},
    )


def test_people_outrank_every_stage_and_the_account_says_so(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = decided(run(registry, images, out))
    assert before["flower/empty.png"][0] == "drop"
    version = Version.open(out)
    verdicts.add(out, on(version, "flower/empty.png", "keep"))
    verdicts.add(out, on(version, "china/00.png", "drop", reviewer="bob"))
    verdicts.add(out, on(version, "china/01.png", "relabel", label="flower"))
    verdicts.add(out, on(version, "china/truncated.png", "keep"))
    verdicts.add(out, replace(on(version, "china/02.png", "drop"), content="other bytes"))
    ran = run(registry, images, out)
    after = decided(ran)
    assert after["flower/empty.png"] == ("keep", None, ["verdict.keep"])
    assert after["china/00.png"] == ("drop", None, ["verdict.drop"])
    assert after["china/01.png"] == ("relabel", "flower", ["verdict.relabel"])
    assert after["china/truncated.png"][0] == "review"
    assert after["china/02.png"] == before["china/02.png"]
    assert "china/00.png" not in set(ran.curated.samples.ids)
    told = " ".join(account(ran.record))
    assert (
        "5 verdicts of ann (4) and bob (1) outrank every stage: 2 kept, 1 dropped and 1 relabelled."
        in told
    )
    assert (
        "1 verdict counts no more: the sample of that name has other bytes or another label now"
        in told
    )
    assert json.loads((Path(ran.published) / "run.json").read_text())["verdicts"]["matched"] == 4
    ledger = pd.read_parquet(Path(ran.published) / "ledger.parquet").set_index("id")
    assert ledger.loc["china/00.png", "reviewer"] == "bob"
    assert ledger.loc["china/00.png", "reviewed"].startswith("20")
    assert any("as bob said at 20" in line for _, line in explain(out, "china/00.png")["said"])


def test_in_evaluation_splits_a_verdict_counts(registry: Registry, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": list("abcd"),
            "label": ["x", "y", "x", "y"],
            "split": ["train", "test", "train", "test"],
            "v": [1.0, 2.0, 3.0, 4.0],
        }
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    more = "stages: [duplicate_rows]\ngates: []\n"
    out, source = tmp_path / "out", tmp_path / "rows.csv"
    text = (
        f"dataset: {{path: {source}, roles: {{id: key}}}}\noutputs: {{path: {out}, reports: "
        f"[json]}}\n{more}"
    )
    config = Pipeline.from_text(text, registry=registry).config
    Run(config, registry, Serial(), force=True).run()
    verdicts.add(out, on(Version.open(out), "b", "drop"))
    verdicts.add(out, on(Version.open(out), "d", "relabel", label="x"))
    ran = Run(config, registry, Serial(), force=True).run()
    assert {name: row[:2] for name, row in decided(ran).items()} == {
        "a": ("keep", None),
        "b": ("drop", None),
        "c": ("keep", None),
        "d": ("relabel", "x"),
    }


def test_a_refuted_claim_is_hidden_from_the_policy_and_stays_in_the_ledger(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(registry, images, out)
    verdicts.add(
        out,
        on(
            Version.open(out),
            "flower/empty.png",
            "skip",
            code="image_quality.low_information",
            holds=False,
        ),
    )
    more = DROPS.replace(
        "image_quality.low_information: drop",
        "image_quality.*: keep, image_quality.low_information: drop",
    )
    ran = run(registry, images, out, more)
    assert decided(ran)["flower/empty.png"] == ("keep", None, [REFUTED])
    assert (
        "image_quality.low_information"
        in ran.findings.frame().set_index("id").loc[["flower/empty.png"], "code"].tolist()
    )


def test_a_folder_in_the_place_of_the_verdicts_is_said(tmp_path: Path) -> None:
    (tmp_path / "verdicts.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"verdicts\.jsonl: Is a directory"):
        VerdictLog(tmp_path)
