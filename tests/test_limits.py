"""What does not come back in time is interrupted, narrowed to the sample, and told.

A run never hangs on it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.errors import StageError
from dqpipe.execution.local import Processes, Serial
from dqpipe.execution.timeouts import TimedOut, within
from dqpipe.plugin import registry as plugins
from dqpipe.results.outcome import Outcome
from dqpipe.storage.fact_store import Store
from dqpipe.testing import ContractError, check_stage
from tests import hanging


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.mark.parametrize("wait", [spin, time.sleep])
def test_what_takes_too_long_is_interrupted_also_while_it_waits(
    wait: Callable[[float], None],
) -> None:
    with pytest.raises(TimedOut, match=r"longer than 0\.2 s"), within(0.2):
        wait(30)


def test_a_limit_inside_another_leaves_the_outer_one_standing() -> None:
    def one_in_the_other() -> None:
        with within(0.3):
            with within(20):
                pass
            time.sleep(30)

    with pytest.raises(TimedOut, match=r"longer than 0\.3 s"):
        one_in_the_other()


def test_a_limit_that_was_swallowed_comes_again() -> None:
    def as_plugins_do() -> None:
        with contextlib.suppress(Exception):
            time.sleep(30)
        time.sleep(30)

    with pytest.raises(TimedOut), within(0.2):
        as_plugins_do()


def test_in_another_thread_python_is_interrupted_and_nothing_after_the_block() -> None:
    said: list[str] = []

    def work() -> None:
        try:
            with within(0.2):
                spin(30)
        except TimedOut as error:
            said.append(str(error))
        with within(0.2):
            said.append("in time")
        spin(0.3)
        said.append("to the end")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["longer than 0.2 s", "in time", "to the end"]


@pytest.mark.parametrize(
    ("name", "value", "words"), [("timeout", 0.0, "above 0"), ("retries", -1, "0 or more")]
)
def test_a_limit_that_cannot_be_meant_breaks_the_contract(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float, words: str
) -> None:
    monkeypatch.setattr(hanging.Pondering, name, value)
    with pytest.raises(ContractError, match=words):
        check_stage(hanging.Pondering())


def run(images: Path, out: Path, stages: str, executor: object) -> Outcome:
    registry = plugins.load(extra={"hanging": hanging})
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: []}}\nstages: [{stages}]\n"
    )
    made = Pipeline.from_text(text, registry=registry)
    return Run(made.config, registry, executor, shard_size=16).run()  # type: ignore[arg-type]


def failed(ran: Outcome) -> dict[str, str]:
    found = ran.findings.frame().query("code.str.endswith('.failed')")
    return dict(zip(found["id"], found["detail"], strict=True))


@pytest.mark.parametrize("executor", [Serial(), Processes(2)])
def test_a_measure_that_hangs_is_a_finding_of_its_sample(
    images: Path, tmp_path: Path, executor: object
) -> None:
    ran = run(images, tmp_path / "out", "files, {dozing: {over: china/04.png}}", executor)
    assert failed(ran) == {"china/04.png": "TimedOut: longer than 0.2 s"}


def test_a_measure_that_hangs_in_c_ends_its_worker_and_is_a_finding_of_its_sample(
    images: Path, tmp_path: Path
) -> None:
    ran = run(
        images,
        tmp_path / "out",
        "files, {dozing: {over: china/04.png, deeply: true}}",
        Processes(2),
    )
    assert failed(ran) == {
        "china/04.png": "measuring it ends the process that does it: it crashes, or hangs and was ended"  # noqa: E501
    }
    assert ran.decisions.frame().set_index("id").loc["china/04.png", "decision"] == "review"


def test_a_relate_that_hangs_ends_the_run(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=r"stage pondering failed in relate: TimedOut: longer than 0\.2 s"
    ):
        run(images, tmp_path / "out", "files, pondering", Serial())


def test_a_stage_is_tried_again_as_often_as_it_declares(images: Path, tmp_path: Path) -> None:
    ran = run(
        images, tmp_path / "out", f"files, {{wavering: {{notes: {tmp_path / 'notes'}}}}}", Serial()
    )
    assert failed(ran) == {}
    assert (tmp_path / "notes").read_text() == "xxx"


def test_a_decode_that_hangs_is_an_unreadable_file_of_this_run_alone(
    images: Path, tmp_path: Path
) -> None:
    (images / "china" / "slow.png").write_bytes(b"SLOW" + b"0" * 60)
    ran = run(images, tmp_path / "out", "files", Processes(2))
    said = ran.findings.frame().set_index("id").loc["china/slow.png"]
    assert (said["code"], said["detail"]) == (
        "files.unreadable",
        "decoding it takes longer than 0.2 s",
    )
    store = Store(ran.config.store)
    assert (
        run(images, tmp_path / "other", "files", Processes(2))
        .facts["media.ok"]
        .tolist()
        .count(False)
        == 3
    )
    (images / "china" / "slow.png").unlink()
    assert store.root.exists()
