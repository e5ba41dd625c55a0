"""Worker processes that die: by a file they read, or by a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from dqpipe import plugins
from dqpipe.engine import Run
from dqpipe.errors import StageError
from dqpipe.execution.local import Processes, Serial
from dqpipe.pipeline import Pipeline
from tests.execution import trying


def run(images: Path, out: Path, stages: str, executor: Processes | Serial) -> Run:
    text = f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [json]}}\nstages: [{stages}]\n"
    made = Pipeline.from_text(text, registry=plugins.load(extra={"trying": trying}))
    return Run(made.config, made.registry, executor, shard_size=16).run()


def reasons(ran: Run) -> dict[str, str]:
    found = ran.findings.frame()
    return dict(found[found["code"] == "files.unreadable"][["id", "detail"]].to_numpy().tolist())


def test_a_file_that_kills_its_reader_costs_no_more_than_itself(images: Path, tmp_path: Path) -> None:
    for name in ("china/02x.jpg", "china/04x.jpg", "flower/99.jpg"):
        (images / name).write_bytes(b"FRAGILE kill " + name.encode())
    (images / "flower/98.jpg").write_bytes(b"FRAGILE")
    ran = run(images, tmp_path / "out", "files, image_quality", Processes(2))
    found = reasons(ran)
    killing = dict.fromkeys(("china/02x.jpg", "china/04x.jpg", "flower/99.jpg"), "decoding it ends the process that does it (SIGSEGV)")
    raising = {"flower/98.jpg": "the decoder fragile failed with LookupError: no table of that number"}
    assert {name: found[name] for name in killing | raising} == killing | raising
    assert len(found) == 6  # and the two broken ones that are always there
    assert ran.raw.facts().frame()["image_quality.width"].notna().sum() == len(ran.raw.dataset) - 6


def test_a_decoder_that_raises_ends_no_run(images: Path, tmp_path: Path) -> None:
    (images / "flower/98.jpg").write_bytes(b"FRAGILE")
    assert reasons(run(images, tmp_path / "out", "files", Serial()))["flower/98.jpg"].startswith("the decoder fragile failed")


def test_a_stage_that_always_kills_its_worker_ends_the_run_and_is_told_of(images: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"a worker process \(measure \d/\d · files, deadly\)|a worker process \(measure 1/4 · deadly\)"):
        run(images, tmp_path / "out", "files, deadly", Processes(2))


def test_work_that_nobody_waits_for_any_more_ends_in_silence() -> None:
    for _ in range(3):
        results = Processes(2).map(str, range(40), [f"try {n}/40" for n in range(40)])
        assert next(results) in {"0", "1"}
        results.close()  # an exception in loky's thread would be a warning, and warnings are errors
