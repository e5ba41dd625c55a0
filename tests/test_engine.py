"""One result, whatever the executor, the shards and what was measured before.

And nothing measured twice.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import GateError, OutputError, PlanError, StageError
from dqpipe.execution.local import Processes, Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.outcome import Outcome
from tests import faulty

STAGES = (
    "stages: [files, image_quality, duplicates, embeddings, outliers, label_noise, diversity, "
    "augment]\n"
)


def pipeline(
    registry: Registry, images: Path, out: Path, stages: str = STAGES, more: str = ""
) -> Pipeline:
    text = f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [json]}}\n{stages}{more}"
    return Pipeline.from_text(text, registry=registry)


def run(registry: Registry, images: Path, out: Path, **options: object) -> Outcome:
    made = pipeline(
        registry, images, out, str(options.pop("stages", STAGES)), str(options.pop("more", ""))
    )
    return Run(made.config, made.registry, options.pop("executor", Serial()), **options).run()  # type: ignore[arg-type]


def tables(ran: Outcome) -> dict[str, pd.DataFrame]:
    vectors = {
        name: pd.DataFrame(vectors.read(np.flatnonzero(vectors.has)))
        for name, vectors in ran.vectors.items()
    }
    made = ran.curated.samples.frame().drop(columns="media")
    return {
        "facts": ran.facts.frame(),
        "findings": ran.findings.frame(),
        "figures": ran.figures.frame(),
        "decisions": ran.decisions.frame(),
        "curated": made,
        **vectors,
    }


def assert_same(one: Outcome, other: Outcome) -> None:
    first, second = tables(one), tables(other)
    assert first.keys() == second.keys()
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, second[name], check_exact=True, obj=name)


def test_the_same_result_from_every_executor_and_shard_size(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    reference = run(registry, images, tmp_path / "a", shard_size=1000)
    assert_same(reference, run(registry, images, tmp_path / "b", shard_size=7))
    assert_same(
        reference, run(registry, images, tmp_path / "c", executor=Processes(2), shard_size=16)
    )


@pytest.mark.parametrize("count", [1, 256, 64_001, 1_000_000, 100_000_000])
def test_a_run_has_at_most_some_five_hundred_tasks_whatever_the_size(
    registry: Registry, images: Path, tmp_path: Path, count: int
) -> None:
    made = pipeline(registry, images, tmp_path / "out")
    chosen = Run(made.config, registry, Serial())
    shards = [
        -(-count // chosen._size(count, new=new)) for new in (False, True, True)
    ]  # measured, made, measured again
    assert sum(shards) <= 450
    assert chosen._size(count, new=False) >= 256
    assert Run(made.config, registry, Serial(), shard_size=7)._size(count, new=False) == 7


def test_the_chosen_shards_give_the_same_result(
    registry: Registry, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = run(registry, images, tmp_path / "a", shard_size=1000)
    for name, value in (
        ("dqpipe.engine.run.SHARD", 2),
        ("dqpipe.engine.run.MOST_SHARDS", 5),
        ("dqpipe.engine.run.MOST_NEW_SHARDS", 3),
    ):
        monkeypatch.setattr(name, value)
    shards: list[str] = []

    class Counted(Serial):
        def map(self, function, items, names):  # type: ignore[no-untyped-def]
            shards.extend(names)
            return super().map(function, items, names)

    assert_same(reference, run(registry, images, tmp_path / "b", executor=Counted()))
    assert [name.split(" · ")[0] for name in shards if name.startswith("measure")][:5] == [
        f"measure {n}/5" for n in range(1, 6)
    ]


def test_what_a_large_shard_measured_is_written_as_it_goes(
    registry: Registry, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = run(registry, images, tmp_path / "a", shard_size=1000)
    monkeypatch.setattr("dqpipe.engine.shard.MICRO_BATCH", 8)
    monkeypatch.setattr("dqpipe.engine.shard.WRITTEN_EVERY", 24)
    assert_same(reference, run(registry, images, tmp_path / "b", shard_size=1000))
    monkeypatch.setattr(
        "dqpipe.engine.shard._Work.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        run(registry, images, tmp_path / "c", shard_size=1000)
    monkeypatch.undo()
    resumed = run(registry, images, tmp_path / "c", shard_size=1000)
    assert 0 < resumed.measured["image_quality"] <= 24
    assert_same(reference, resumed)


def test_a_second_run_measures_nothing_again_and_says_the_same(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    first = run(registry, images, tmp_path / "out")
    second = run(registry, images, tmp_path / "out", force=True)
    assert sum(first.measured.values()) > 0
    assert sum(second.measured.values()) == 0
    assert_same(first, second)


def test_a_new_file_alone_is_measured_and_a_renamed_one_is_not(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    run(registry, images, tmp_path / "out", stages="stages: [files, image_quality]\n")
    (images / "china" / "00.png").rename(images / "china" / "renamed.png")
    second = run(
        registry, images, tmp_path / "out", stages="stages: [files, image_quality]\n", force=True
    )
    assert second.measured["image_quality"] == 0
    faulty.picture(images / "china" / "new.png", seed=1)
    third = run(
        registry, images, tmp_path / "out", stages="stages: [files, image_quality]\n", force=True
    )
    assert third.measured["image_quality"] == 1


def test_a_changed_file_is_measured_again(registry: Registry, images: Path, tmp_path: Path) -> None:
    stages = "stages: [files, image_quality]\n"
    first = run(registry, images, tmp_path / "out", stages=stages)
    faulty.picture(images / "china" / "05.png", seed=2)
    second = run(registry, images, tmp_path / "out", stages=stages, force=True)
    changed = first.facts.frame().set_index("id").compare(second.facts.frame().set_index("id"))
    assert list(changed.index) == ["china/05.png"]


def test_a_detecting_option_measures_nothing_again_a_measuring_one_does(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(registry, images, out, stages="stages: [files, duplicates, embeddings, outliers]\n")
    changed = run(
        registry,
        images,
        out,
        stages="stages: [files, duplicates, embeddings, {outliers: {far: 4.5}}]\n",
        force=True,
    )
    assert sum(changed.measured.values()) == 0


def test_adding_a_stage_changes_no_fact_of_the_others(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    few = run(
        registry, images, tmp_path / "a", stages="stages: [files, duplicates, embeddings]\n"
    ).facts.frame()
    more = run(
        registry,
        images,
        tmp_path / "b",
        stages="stages: [image_quality, files, duplicates, embeddings, outliers]\n",
    ).facts.frame()
    pd.testing.assert_frame_equal(few, more[few.columns], check_exact=True)


def test_source_files_are_never_changed(registry: Registry, images: Path, tmp_path: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in images.rglob("*") if p.is_file()}
    run(registry, images, tmp_path / "out")
    assert {
        p: (p.read_bytes(), p.stat().st_mtime_ns) for p in images.rglob("*") if p.is_file()
    } == before


def test_every_sample_stands_in_the_ledger(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    ran = run(registry, images, tmp_path / "out")
    assert ran.published is not None
    ledger = pd.read_parquet(ran.published / "ledger.parquet")
    on_disk = {p.relative_to(images).as_posix() for p in images.rglob("*") if p.is_file()}
    assert set(ledger.loc[ledger["parent"].isna(), "id"].dropna()) == on_disk
    assert ledger.loc[
        ledger["id"] == "flower/text.png", ["decision", "code"]
    ].to_numpy().tolist() == [["drop", "files.unreadable"]]


def test_a_failed_gate_publishes_the_report_and_no_curated_set(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    good = run(registry, images, tmp_path / "out", stages="stages: [files]\n")
    made = pipeline(
        registry, images, tmp_path / "out", "stages: [files]\n", "gates: ['files.unreadable > 0']\n"
    )
    ran = Run(made.config, registry, Serial(), force=True)
    with pytest.raises(GateError, match=r"files.unreadable is 2; it must not be > 0"):
        ran.run()
    assert ran.outcome.published is not None
    looked_for = ("curated", "ledger.parquet", "report.json", "run.json")
    assert [name for name in looked_for if (ran.outcome.published / name).exists()] == [
        "ledger.parquet",
        "report.json",
        "run.json",
    ]
    assert (tmp_path / "out" / "version").read_text().strip() == good.version


def test_an_output_that_exists_is_refused_unless_forced(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    run(registry, images, tmp_path / "out", stages="stages: [files]\n")
    with pytest.raises(OutputError, match="--force"):
        run(registry, images, tmp_path / "out", stages="stages: [files]\n")
    run(registry, images, tmp_path / "out", stages="stages: [files]\n", force=True)


def test_an_output_with_foreign_files_is_refused(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        run(registry, images, tmp_path / "out", stages="stages: [files]\n")


def test_an_output_inside_the_dataset_is_refused(registry: Registry, images: Path) -> None:
    with pytest.raises(OutputError, match="lie in each other"):
        run(registry, images, images / "out", stages="stages: [files]\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_a_file_is_refused(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        run(registry, images, tmp_path / "out", stages="stages: [files]\n")


def test_an_interrupted_run_keeps_what_was_measured_and_leaves_nothing_half_written(
    registry: Registry, images: Path, tmp_path: Path
) -> None:
    class Interrupted(Serial):
        def map(self, function, items, names):  # type: ignore[no-untyped-def]
            for number, item in enumerate(items):
                if number == 2:
                    raise KeyboardInterrupt
                yield function(item)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(
            registry,
            images,
            out,
            stages="stages: [files, image_quality]\n",
            executor=Interrupted(),
            shard_size=16,
        )
    assert list((out / "versions").iterdir()) == []
    resumed = run(registry, images, out, stages="stages: [files, image_quality]\n", shard_size=16)
    assert 0 < resumed.measured["image_quality"] <= 32


def test_a_stage_that_cannot_measure_a_sample_is_a_finding_and_the_run_goes_on(
    images: Path, tmp_path: Path
) -> None:
    registry = faulty.registry()
    ran = run(
        registry,
        images,
        tmp_path / "out",
        stages="stages: [files, {choosy: {chokes_on: china/04.png}}]\n",
    )
    failed = ran.findings.frame().query("code == 'choosy.failed'")
    assert failed[["id", "severity"]].to_numpy().tolist() == [["china/04.png", "error"]]
    assert "ValueError: cannot stomach it" in failed["detail"].iloc[0]
    decisions = ran.decisions.frame().set_index("id")
    assert decisions.loc["china/04.png", "decision"] == "review"
    assert (
        ran.measured["choosy"] == 64 - 2 - 1 - 1
    )  # unreadable, equal bytes, and the one it choked on


def test_a_stage_that_fails_on_too_many_ends_the_run(images: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"stage choosy failed .* cannot stomach it"):
        run(
            faulty.registry(),
            images,
            tmp_path / "out",
            stages="stages: [files, {choosy: {chokes_on: '*'}}]\n",
        )


def test_samples_of_equal_content_fail_together(images: Path, tmp_path: Path) -> None:
    registry = faulty.registry()
    for number in range(
        8
    ):  # what fails in a second run are these alone, and they are few among all
        (images / "china" / f"04-{number}.png").write_bytes(
            (images / "china" / "04.png").read_bytes()
        )
    stages = "stages: [files, {choosy: {chokes_on: china/04-0.png}}]\n"
    first = run(registry, images, tmp_path / "out", stages=stages)
    failed = set(first.findings.frame().query("code == 'choosy.failed'")["id"])
    assert failed == {"china/04.png", *(f"china/04-{number}.png" for number in range(8))}
    second = run(registry, images, tmp_path / "out", stages=stages, force=True)
    assert set(second.findings.frame().query("code == 'choosy.failed'")["id"]) == failed


def test_two_thousand_equal_files_are_measured_once(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    faulty.picture(tmp_path / "in" / "a" / "0.png", seed=1)
    for number in range(1, 2000):
        os.link(tmp_path / "in" / "a" / "0.png", tmp_path / "in" / "a" / f"{number}.png")
    ran = run(
        registry,
        tmp_path / "in",
        tmp_path / "out",
        stages="stages: [files, duplicates]\n",
        shard_size=2000,
    )
    assert ran.measured == {"duplicates": 1}
    assert len(ran.findings.frame().query("code == 'duplicates.exact'")) == 1999


def test_measure_may_read_its_measuring_options_only(images: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"declare it with at='measure'"):
        run(faulty.registry(), images, tmp_path / "out", stages="stages: [peeking]\n")


def test_a_stage_gets_what_it_declared_and_no_more(images: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no column 'label'"):
        run(faulty.registry(), images, tmp_path / "out", stages="stages: [greedy]\n")


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("stages: [label_noise, files]\n", "add the stage embeddings before it"),
        ("stages: [outliers, duplicates, embeddings]\n", "move embeddings before outliers"),
        (
            "stages: [files]\npolicy: {rules: {files.unreadible: drop}}\n",
            "did you mean 'files.unreadable'",
        ),
        (
            (
                "stages: [{expectations: {expectations: [{expectation: "
                "expect_column_values_to_not_be_null, column: lable}]}}]\n"
            ),
            "did you mean 'label'",
        ),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_runs(
    registry: Registry, images: Path, tmp_path: Path, stages: str, words: str
) -> None:
    with pytest.raises(PlanError, match=words) as refused:
        run(registry, images, tmp_path / "out", stages=stages)
    assert "line" in str(refused.value)
    assert not (tmp_path / "out" / "store").exists()


def test_a_stage_that_needs_pixels_is_refused_on_a_table(
    registry: Registry, tmp_path: Path
) -> None:
    pd.DataFrame({"label": ["a", "b"], "x": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(PlanError, match="image_quality looks at media"):
        run(registry, tmp_path / "t.csv", tmp_path / "out", stages="stages: [image_quality]\n")


def test_two_uses_of_one_stage_keep_apart(registry: Registry, images: Path, tmp_path: Path) -> None:
    ran = run(
        registry,
        images,
        tmp_path / "out",
        stages="stages: [image_quality, {image_quality: {as: again}}]\n",
    )
    facts = ran.facts.frame()
    pd.testing.assert_series_equal(
        facts["image_quality.brightness"], facts["again.brightness"], check_names=False
    )
    assert (
        sum(count for name, count in ran.measured.items())
        == ran.measured["image_quality"] + ran.measured["again"]
    )


def test_hardlinks_double_nothing(registry: Registry, images: Path, tmp_path: Path) -> None:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {tmp_path / 'out'}, files: hardlink, "
        f"reports: []}}\nstages: [files]\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    ran = Run(made.config, registry, Serial()).run()
    assert ran.published is not None
    assert (ran.published / "curated" / "china" / "00.png").samefile(images / "china" / "00.png")
