"""Facts are kept by the decoder that reads a file.

What is installed beside it measures nothing again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.engine.store_pruning import forget_gone
from dqpipe.execution.local import Serial
from dqpipe.plugin import registry
from dqpipe.plugin.cache_key import Decoding, chosen
from dqpipe.plugin.stage import Extension
from dqpipe.results.outcome import Outcome
from dqpipe.storage.fact_store import Store
from tests import decoders
from tests.decoders import Darkened, Mirrored, Raw, Stumbling
from tests.test_store import age

JPEGS, PNGS = 9, 7
STAGES = "[files, image_quality, duplicates]"
TABLES = ("findings", "figures", "decisions")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """JPEG and PNG files of different pictures, and one of a kind that nothing reads."""
    folder, rng = tmp_path / "mixed", np.random.default_rng(3)
    for label in ("one", "two"):
        (folder / label).mkdir(parents=True)
    for number in range(JPEGS + PNGS):
        picture = cv_noise(rng)
        data = decoders.jpeg(picture) if number < JPEGS else decoders.png(picture)
        (
            folder
            / ("one", "two")[number % 2]
            / f"{number:02}.{'jpg' if number < JPEGS else 'png'}"
        ).write_bytes(data)
    (folder / "one" / "x.rawp").write_bytes(decoders.raw(cv_noise(rng, 64)[:, :, 0]))
    age(folder)
    return folder


def cv_noise(rng: np.random.Generator, side: int = 96) -> np.ndarray:
    return np.kron(rng.integers(0, 256, (side // 8, side // 8, 3)), np.ones((8, 8, 1))).astype(
        np.uint8
    )


def pipeline(
    source: Path, out: Path, *kinds: type[Extension], stages: str = STAGES, store: str = "null"
) -> Pipeline:
    text = (
        f"dataset: {{path: {source}}}\nstages: {stages}\ngates: []\noutputs: {{path: {out}, "
        f"reports: [], store: {store}}}\n"
    )
    return Pipeline.from_text(
        text, registry=registry.load(extra={"more": decoders.plugin(*kinds)} if kinds else None)
    )


def run(
    source: Path, out: Path, *kinds: type[Extension], stages: str = STAGES, store: str = "null"
) -> Outcome:
    made = pipeline(source, out, *kinds, stages=stages, store=store)
    return Run(made.config, made.registry, Serial(), force=True).run()


def facts(ran: Outcome) -> pd.DataFrame:
    return ran.facts.frame().set_index("id")


def equal(one: Outcome, other: Outcome) -> None:
    pd.testing.assert_frame_equal(facts(one), facts(other), check_exact=True)
    for name in TABLES:
        pd.testing.assert_frame_equal(
            getattr(one, name).frame(), getattr(other, name).frame(), check_exact=True
        )


def counts(ran: Outcome) -> set[int]:
    return set(ran.measured.values()) or {0}


def relations(ran: Outcome) -> set[str]:
    """The keys of the relations that a run used, as its store keeps them."""
    return set(
        json.loads((Store(ran.config.store).root / "used" / f"{ran.id}.json").read_text())[
            "relations"
        ]
    )


def test_a_decoder_of_another_kind_of_file_measures_nothing_again(
    mixed: Path, tmp_path: Path
) -> None:
    (mixed / "one" / "x.rawp").unlink()
    first = run(mixed, tmp_path / "out")
    second = run(mixed, tmp_path / "out", Raw)
    assert counts(second) == {0}
    assert relations(second) == relations(first)
    equal(first, second)
    equal(second, run(mixed, tmp_path / "fresh", Raw))


def test_another_version_of_a_decoder_measures_what_it_reads_and_nothing_else(
    mixed: Path, tmp_path: Path
) -> None:
    first = run(mixed, tmp_path / "out", Mirrored)
    assert counts(first) == {JPEGS + PNGS}
    second = run(mixed, tmp_path / "out", Darkened)
    assert counts(second) == {JPEGS}
    assert relations(second).isdisjoint(relations(first))
    changed = facts(first).compare(facts(second)).index
    assert set(changed) == {sample for sample in first.samples.ids if sample.endswith(".jpg")}
    equal(second, run(mixed, tmp_path / "fresh", Darkened))


def test_a_decoder_that_takes_over_a_kind_measures_it_again_and_gives_it_back(
    mixed: Path, tmp_path: Path
) -> None:
    first = run(mixed, tmp_path / "out")
    assert counts(run(mixed, tmp_path / "out", Mirrored)) == {JPEGS}
    again = run(mixed, tmp_path / "out")
    assert counts(again) == {0}
    equal(first, again)


def test_what_nobody_could_read_is_tried_again_when_a_decoder_comes(
    mixed: Path, tmp_path: Path
) -> None:
    first = run(mixed, tmp_path / "out")
    assert facts(first).loc["one/x.rawp", "media.ok"] == False  # noqa: E712 (a value of Arrow)
    second = run(mixed, tmp_path / "out", Raw)
    assert counts(second) == {1}
    assert facts(second).loc["one/x.rawp", "media.ok"] == True  # noqa: E712
    equal(second, run(mixed, tmp_path / "fresh", Raw))
    third = run(mixed, tmp_path / "out")
    assert counts(third) == {0}
    equal(first, third)


def test_a_decoder_that_cannot_say_what_it_reads_reads_nothing(mixed: Path, tmp_path: Path) -> None:
    (mixed / "one" / "x.rawp").unlink()
    first = run(mixed, tmp_path / "out")
    second = run(mixed, tmp_path / "out", Stumbling)
    assert counts(second) == {0}
    equal(first, second)


def test_what_a_decoder_gave_that_is_gone_is_pruned_when_asked_and_nothing_else(
    mixed: Path, tmp_path: Path
) -> None:
    (mixed / "one" / "x.rawp").unlink()
    store = Store(tmp_path / "out" / "store")
    run(mixed, tmp_path / "out", Mirrored)
    stages = [path.name for path in (store.root / "facts").iterdir()]
    run(mixed, tmp_path / "out")
    both = {stage: store.keys(stage) for stage in stages}
    assert {path.name for path in (store.root / "facts").iterdir()} == set(stages)
    config = pipeline(mixed, tmp_path / "out").config
    assert forget_gone(store, config, dry_run=False)[0] == JPEGS
    assert {len(both[stage]) - len(store.keys(stage)) for stage in stages} == {JPEGS}
    assert counts(run(mixed, tmp_path / "out")) == {0}


def test_a_store_elsewhere_keeps_facts_by_decoder_too(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = run(mixed, tmp_path / "out", store="memory://by/decoder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert counts(run(mixed, tmp_path / "other", Raw, store="memory://by/decoder")) == {1}
    again = run(mixed, tmp_path / "out", store="memory://by/decoder")
    assert counts(again) == {0}
    equal(first, again)


def test_only_facts_by_another_decoder_are_not_compared(mixed: Path, tmp_path: Path) -> None:
    def apart(*kinds: type[Extension]) -> set[str]:
        ran = run(
            mixed, tmp_path / "out", *kinds, stages="[files, image_quality, drift: {copies: null}]"
        )
        found = ran.findings.frame()
        return set(found.loc[found["code"] == "drift.not_comparable", "detail"])

    (mixed / "one" / "x.rawp").unlink()
    assert apart() == set()
    (mixed / "one" / "y.rawp").write_bytes(decoders.raw(np.full((64, 64), 99, np.uint8)))
    assert apart(Raw) == set()
    assert "image_quality.brightness" in "".join(apart(Raw, Mirrored))
    assert apart(Raw, Mirrored) == set()
    assert len(apart(Raw, Darkened)) == 1
    for path in mixed.rglob("*.jpg"):
        path.unlink()
    assert apart(Raw, Darkened) == set()


def test_one_function_says_which_decoder_reads_what() -> None:
    mine = [cls() for cls in (Mirrored, Raw)]
    assert chosen(mine, decoders.JPEG + b"rest") is mine[0]
    assert chosen(mine, b"RAWP") is mine[1]
    assert chosen(mine, b"text") is None
    both, one = Decoding(mine), Decoding(mine[:1])
    assert both.seen("c", decoders.JPEG) == one.seen("c", decoders.JPEG)
    assert both.seen("c", b"RAWP") != one.seen("c", b"RAWP")
    assert both.seen("c", b"text") != one.seen("c", b"text")
    assert both.mark(decoders.JPEG + bytes(61) + b"RAWP") == both.mark(decoders.JPEG)
    assert (both == Decoding([cls() for cls in (Mirrored, Raw)]), both == one) == (True, False)
