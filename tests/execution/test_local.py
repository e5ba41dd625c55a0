"""Worker processes that die: by a file they read, or by a stage."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import ConfigError, StageError
from dqpipe.execution import worker_pool
from dqpipe.execution.by_name import Cluster, executor_named
from dqpipe.execution.executor import Died, Lost, patiently
from dqpipe.execution.local import Processes, Serial, Threads
from dqpipe.plugin import registry
from dqpipe.plugin.kinds import Executor
from dqpipe.results.outcome import Outcome
from dqpipe.results.report import account
from tests.execution import trying
from tests.test_engine import assert_same


def run(
    images: Path,
    out: Path,
    stages: str,
    executor: Executor,
    *,
    shard_size: int = 16,
    force: bool = False,
) -> Outcome:
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [json]}}\nstages: "
        f"[{stages}]\n"
    )
    made = Pipeline.from_text(text, registry=registry.load(extra={"trying": trying}))
    return Run(made.config, made.registry, executor, shard_size=shard_size, force=force).run()


def reasons(ran: Outcome) -> dict[str, str]:
    found = ran.findings.frame()
    return dict(found[found["code"] == "files.unreadable"][["id", "detail"]].to_numpy().tolist())


def test_a_file_that_kills_its_reader_costs_no_more_than_itself(
    images: Path, tmp_path: Path
) -> None:
    for name in ("china/02x.jpg", "china/04x.jpg", "flower/99.jpg"):
        (images / name).write_bytes(b"FRAGILE kill " + name.encode())
    (images / "flower/98.jpg").write_bytes(b"FRAGILE")
    ran = run(images, tmp_path / "out", "files, image_quality", Processes(2))
    found = reasons(ran)
    killing = dict.fromkeys(
        ("china/02x.jpg", "china/04x.jpg", "flower/99.jpg"),
        "decoding it ends the process that does it (SIGSEGV)",
    )
    raising = {
        "flower/98.jpg": "the decoder fragile failed with LookupError: no table of that number"
    }
    assert {name: found[name] for name in killing | raising} == killing | raising
    assert len(found) == 6  # and the two broken ones that are always there
    assert ran.facts.frame()["image_quality.width"].notna().sum() == len(ran.dataset) - 6


def test_a_decoder_that_raises_ends_no_run(images: Path, tmp_path: Path) -> None:
    (images / "flower/98.jpg").write_bytes(b"FRAGILE")
    assert reasons(run(images, tmp_path / "out", "files", Serial()))["flower/98.jpg"].startswith(
        "the decoder fragile failed"
    )


def test_a_sample_that_kills_every_worker_costs_itself(images: Path, tmp_path: Path) -> None:
    ran = run(
        images,
        tmp_path / "out",
        "files, image_quality, {deadly: {samples: [china/05.png]}}",
        Processes(2),
    )
    found = ran.findings.frame()
    assert found[found["code"].str.endswith(".failed")][["id", "code"]].to_numpy().tolist() == [
        ["china/05.png", "deadly.failed"]
    ]
    assert (
        ran.facts.frame()["image_quality.width"].isna().sum() == 2
    )  # the two broken ones that are always there


def test_a_shard_that_kills_three_workers_is_lost_and_nothing_else_is(
    images: Path, tmp_path: Path
) -> None:
    stages = "files, image_quality, {deadly: {samples: [china/05.png, china/06.png, china/07.png]}}"
    ran = run(images, tmp_path / "out", stages, Processes(2))
    found, facts = ran.findings.frame(), ran.facts.frame()
    lost = found[found["code"] == "measure.failed"]
    assert {"china/05.png", "china/06.png", "china/07.png"} <= set(lost["id"])
    assert len(lost) == 16  # their shard
    assert facts["image_quality.width"].isna().sum() == 16 + 2
    assert set(ran.decisions.frame().set_index("id").loc[lost["id"], "decision"]) == {"review"}
    assert [failure["stage"] for failure in ran.record["run"]["failures"]] == ["measure"]
    assert account(ran.record)[0].startswith(
        "Stage measure failed on 16 samples: measure 1/4 · image_quality, deadly: 3 worker "
        "processes died of it (SIGKILL"
    )
    smaller = run(images, tmp_path / "out", stages, Processes(2), shard_size=1, force=True)
    assert smaller.findings.frame().query("code.str.endswith('.failed')")["id"].tolist() == [
        "china/05.png",
        "china/06.png",
        "china/07.png",
    ]


def test_a_worker_that_is_killed_from_outside_costs_nothing(images: Path, tmp_path: Path) -> None:
    stages = f"files, image_quality, {{deadly: {{marker: {tmp_path / 'died'}}}}}"
    ran = run(images, tmp_path / "a", stages, Processes(2))
    assert (tmp_path / "died").exists()
    assert_same(run(images, tmp_path / "b", stages, Serial()), ran)
    assert_same(run(images, tmp_path / "c", stages, Threads(2)), ran)


def test_a_stage_that_kills_every_worker_ends_the_run_and_is_told_of(
    images: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        StageError,
        match=(
            r"measure \d/4 · deadly: the worker processes die \(SIGKILL.*\): 6\d of 6\d samples "
            r"are lost"
        ),
    ):
        run(images, tmp_path / "out", "files, deadly", Processes(2))


def test_work_that_nobody_waits_for_any_more_ends_in_silence() -> None:
    for _ in range(3):
        results = Processes(2).map(str, range(40), [f"try {n}/40" for n in range(40)])
        assert next(results) in {"0", "1"}
        results.close()


def test_workers_that_grow_or_were_idle_or_killed_meanwhile_hang_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_pool, "IDLE", 0.0)
    for _ in range(20):  # they are sent away while more work comes
        assert sorted(Processes(2).map(trying.grown, range(4), list("abcd"))) == [0, 1, 2, 3]
    monkeypatch.setattr(worker_pool, "IDLE", 60.0)
    assert sorted(Processes(2).map(str, range(4), list("abcd"))) == ["0", "1", "2", "3"]
    for worker in worker_pool._idle:
        worker.kill()
    assert sorted(Processes(2).map(str, range(4), list("abcd"))) == ["0", "1", "2", "3"]


def test_what_a_worker_raises_comes_back_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="7 is wrong") as caught:
        list(Processes(2).map(trying.wrong, [7, 7], ["a", "b"]))
    assert "in wrong" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Unpicklable"):
        list(Processes(2).map(trying.unpicklable, [7, 7], ["a", "b"]))


def test_an_innocent_is_not_counted_where_all_are_suspects() -> None:
    """As on a cluster: whatever is running when a worker dies is said to have died."""
    tried: list[int] = []

    def attempt(numbers: Sequence[int]) -> Iterator[tuple[int, int | Died]]:
        for number in numbers:
            tried.append(number)
            yield number, Died("killed", times=4) if number == 3 or len(numbers) > 1 else number

    assert list(patiently(attempt, ["a", "b", "c", "d"])) == [0, 1, 2, Lost(3, "d", "killed")]
    assert tried == [0, 1, 2, 3, 0, 1, 2, 3]


def test_names_of_executors() -> None:
    known = {
        "serial": Serial(),
        "threads:3": Threads(3),
        "processes": Processes(),
        "processes:4": Processes(4),
        "dask": Cluster("dask"),
        "dask:2": Cluster("dask", workers=2),
        "dask:tcp://10.0.0.5:8786": Cluster("dask", "tcp://10.0.0.5:8786"),
        "ray:auto": Cluster("ray", "auto"),
    }
    assert {name: executor_named(name) for name in known} == known
    for wrong in ("dusk", "serial:2", "processes:0", "processes:many", "dask:0", ""):
        with pytest.raises(ConfigError, match="is none of serial"):
            executor_named(wrong)


def test_a_cluster_whose_packages_are_missing_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"distributed": object()}.get)
    with pytest.raises(
        ConfigError, match=r"executor 'dask' needs prefect-dask: pip install 'dqpipe\[dask\]'"
    ):
        executor_named("dask:tcp://127.0.0.1:1")


def test_workers_know_what_was_set_in_the_environment_since_they_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DQPIPE_TRYING", "before")
    assert set(Processes(2).map(os.getenv, ["DQPIPE_TRYING"] * 4, ["try"] * 4)) == {"before"}
    monkeypatch.setenv("DQPIPE_TRYING", "after")
    assert set(Processes(2).map(os.getenv, ["DQPIPE_TRYING"] * 4, ["try"] * 4)) == {"after"}
    monkeypatch.delenv("DQPIPE_TRYING")
    assert set(Processes(2).map(os.getenv, ["DQPIPE_TRYING"] * 4, ["try"] * 4)) == {None}


def test_in_a_daemon_process_the_work_is_done_on_threads_and_that_is_said(tmp_path: Path) -> None:
    """As in a worker of `multiprocessing.Pool`, which may start no processes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=trying.mapped_in_a_daemon, args=(theirs,), daemon=True)
    process.start()
    results, said = ours.recv()
    process.join()
    assert (results, process.exitcode) == (["0", "1", "2", "3"], 0)
    assert [line for line in said if "the work is done on 2 threads" in line]
