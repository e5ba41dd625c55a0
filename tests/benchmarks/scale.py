"""What a run costs beside the work itself: a million rows, the engine over bare loops, Prefect over processes, two cores over one."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path

from tests.benchmarks.bench import Bench, Ran, Row, Section

TITLE = "Scale"
SIZES = (10_000, 30_000, 100_000, 300_000)
QUICK = (3_000, 10_000)
MILLION = 1_000_000
PIPELINE = """
dataset: {{path: {source}}}
outputs: {{path: {out}}}
stages:
  - expectations:
      expectations:
        - {{expectation: expect_column_values_to_not_be_null, column: x0}}
        - {{expectation: expect_column_values_to_be_between, column: x1, min_value: -6, max_value: 7}}
        - {{expectation: expect_column_values_to_be_in_set, column: split, value_set: [train, test]}}
  - duplicate_rows
  - sketch
  - diversity: {{vectors: null}}
policy: {{rules: {{sketch.far: relabel}}}}
gates: ["dropped > 50%"]
"""


def report(bench: Bench) -> Section:
    """Growth from ten thousand rows, and what each step does of it."""
    million = () if bench.quick or os.environ.get("DQPIPE_BENCH_MILLION") != "1" else (MILLION,)
    rows, text = growth(bench, (*(QUICK if bench.quick else SIZES), *million))
    return Section(rows, text)


def growth(bench: Bench, sizes: tuple[int, ...]) -> tuple[list[Row], str]:
    """A row per size, the exponent, and the steps of the largest."""
    ran: list[Ran] = []
    for count in sizes:
        source, out = bench.scratch / f"rows-{count}.parquet", bench.scratch / "out"
        bench.ours("scale", "make", count, source)
        shutil.rmtree(out, ignore_errors=True)
        ran.append(bench.ours("scale", "rows", source, out, threads=2))
        source.unlink()
    shutil.rmtree(bench.scratch / "out", ignore_errors=True)
    rows = [sized(count, one) for count, one in zip(sizes, ran, strict=True)]
    spread = math.log(sizes[-1] / sizes[0])
    exponent = math.log(ran[-1].seconds / ran[0].seconds) / spread
    rows.append(Row(f"growth from {sizes[0]:,} to {sizes[-1]:,} rows", f"exponent {exponent:.2f}", limit="1.15"))
    steps = []
    for early, late in zip(ran[0].said["steps"], ran[-1].said["steps"], strict=True):
        if late["seconds"] > 0.01 * ran[-1].seconds:
            grows = math.log(max(late["seconds"], 0.01) / max(early["seconds"], 0.01)) / spread
            steps.append(f"{late['step']} {late['seconds']:.1f} s (exponent {grows:.2f})")
    return rows, f"Steps of the run over {sizes[-1]:,} rows: {', '.join(steps)}."


def sized(count: int, ran: Ran) -> Row:
    """The row of one size."""
    said = ran.said
    return Row(
        f"{count:,} rows of a table, the whole run, two processes",
        f"{ran.seconds:.1f} s, {count / ran.seconds:,.0f} rows/s; {said['found']:,} findings; report.html {said['page'] / 1e3:,.0f} kB",
        memory=f"driver {said['driver']:,.0f} MiB, a worker {said['workers']:,.0f} MiB",
        limit=f"store {said['store'] / count:,.0f} bytes a row, version {said['version'] / count:,.0f}",
    )


def rows(source: Path, out: Path) -> dict:
    """One run of the pipeline, imports and planning included."""
    from dqpipe import plugins
    from dqpipe.engine import Run
    from dqpipe.execution.local import Processes
    from dqpipe.pipeline import Pipeline
    from tests.benchmarks import synthetic

    made = Pipeline.from_text(PIPELINE.format(source=source, out=out), registry=plugins.load(extra={"synthetic": synthetic}))
    ran = Run(made.config, made.registry, Processes(2)).run()
    driver = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert ran.published is not None
    return {
        "driver": driver,
        "workers": workers(),
        "steps": ran.record["run"]["timings"],
        "found": len(ran.findings),
        "page": (ran.published / "report.html").stat().st_size,
        "store": size(out / "store"),
        "version": size(ran.published),
    }


def workers() -> float:
    """MiB of the largest worker process; they end here."""
    from dqpipe.execution.local import worker_pool

    worker_pool(2).shutdown(wait=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """A job: make or rows."""
    began = time.perf_counter()
    if sys.argv[1] == "make":
        from tests.benchmarks.synthetic import make

        make(int(sys.argv[2]), Path(sys.argv[3]))
        said = {}
    else:
        said = rows(Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps({"seconds": time.perf_counter() - began} | said))


if __name__ == "__main__":
    main()
