"""What a large table asks of a run, on a small one.

In pieces, measured once, an account that does not grow with it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dqpipe.api import Pipeline
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin import registry
from dqpipe.results.outcome import Outcome
from tests.benchmarks import scale, synthetic


def run(source: Path, out: Path, **options: int) -> Outcome:
    made = Pipeline.from_text(
        scale.PIPELINE.format(source=source, out=out),
        registry=registry.load(extra={"synthetic": synthetic}),
    )
    return Run(made.config, made.registry, Serial(), **options).run()  # type: ignore[arg-type]


def tables(ran: Outcome) -> dict[str, pd.DataFrame]:
    assert ran.published is not None
    ledger = pd.read_parquet(ran.published / "ledger.parquet")
    return {
        "facts": ran.facts.frame(),
        "findings": ran.findings.frame(),
        "decisions": ran.decisions.frame(),
        "ledger": ledger,
    }


def test_in_pieces_it_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.make(300, tmp_path / "rows.parquet")
    whole = run(tmp_path / "rows.parquet", tmp_path / "a")
    monkeypatch.setattr("dqpipe.data.row_content.AT_A_TIME", 7)
    monkeypatch.setattr("dqpipe.engine.shard.WRITTEN_EVERY", 32)
    pieces = run(tmp_path / "rows.parquet", tmp_path / "b", shard_size=100)
    assert whole.version.rpartition("-")[2] == pieces.version.rpartition("-")[2]
    for name, frame in tables(whole).items():
        pd.testing.assert_frame_equal(frame, tables(pieces)[name], check_exact=True, obj=name)


def test_a_kept_row_is_not_measured_again(tmp_path: Path) -> None:
    synthetic.make(300, tmp_path / "rows.parquet")
    ran = run(tmp_path / "rows.parquet", tmp_path / "out")
    relabelled = int((ran.decisions["decision"] == "relabel").sum())
    again = next(row["measured"] for row in ran.usage.timings if row["step"] == "measure curated")
    assert again == relabelled  # the label is among what the stage reads


def test_the_report_does_not_grow_with_the_data(tmp_path: Path) -> None:
    sizes = []
    for count in (500, 5000):
        synthetic.make(count, tmp_path / f"{count}.parquet")
        ran = run(tmp_path / f"{count}.parquet", tmp_path / str(count))
        assert ran.published is not None
        sizes.append((ran.published / "report.html").stat().st_size)
    assert sizes[1] < 1.5 * sizes[0]
