"""The demo's table, on the committed sample and on samples cut from other seeds.

And it fails where nobody looks.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Processes
from dqpipe.plugin.registry import Registry
from dqpipe.results.run_record import ledger_of
from sample_data import make, score

ROOT = Path(__file__).parents[2]


def scored(
    registry: Registry, sample: Path, out: Path, stages: str | None = None, *, writes: bool = True
) -> score.Score:
    """The demo's pipeline on a sample folder, scored against its truth.

    Without `writes` no curated set is made and measured.
    """
    text = (
        (ROOT / "sample_data" / "pipeline.yaml")
        .read_text(encoding="utf-8")
        .replace("path: ../out", f"path: {out}")
    )
    if stages is not None:
        head, _, rest = text.partition("stages:")
        text = f"{head}stages: {stages}\n\npolicy:{rest.partition('policy:')[2]}"
    pipeline = Pipeline.from_text(text, base=sample, registry=registry)
    run = Run(pipeline.config, registry, Processes(2), writes=writes).run()
    if run.published is None:
        out.mkdir(exist_ok=True)  # the store lies there
        pq.write_table(ledger_of(run), out / "ledger.parquet")
    return score.score(
        score.read_ledger(out / "ledger.parquet"), score.read_truth(sample / "truth.csv")
    )


@pytest.mark.parametrize("seed", [make.SEED, 1, 2, 3])
def test_every_planted_fault_is_found_and_sound_samples_are_left_alone(
    registry: Registry, tmp_path: Path, seed: int
) -> None:
    sample = ROOT / "sample_data"
    if seed != make.SEED:
        sample = tmp_path / "sample"
        make.main(["--seed", str(seed), "--out", str(sample)])
    assert scored(registry, sample, tmp_path / "out", writes=seed == make.SEED).missed == ()


def test_a_plan_without_detectors_fails_the_table(registry: Registry, tmp_path: Path) -> None:
    result = scored(
        registry, ROOT / "sample_data", tmp_path / "out", stages="[files]", writes=False
    )
    assert len(result.missed) > 10
