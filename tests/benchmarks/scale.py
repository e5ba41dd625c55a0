"""What a run costs beside the work itself.

A million rows, the engine over bare loops, Prefect over processes, two cores over one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqpipe.plugin.hooks import hookimpl
from tests.benchmarks.bench import Bench, Ran, Row, Section, peak
from tests.benchmarks.embeddings import images

if TYPE_CHECKING:
    from dqpipe.api import Pipeline
from dqpipe.results.outcome import Outcome

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
"""  # noqa: E501


PICTURES = """
dataset: {{path: {source}}}
outputs: {{path: {out}, files: manifest, reports: []}}
stages: [files{more}]
"""
MEASURING = ", image_quality, duplicates, embeddings"


def report(bench: Bench) -> Section:
    """Growth from ten thousand rows, what each step does of it, and what engine, Prefect and
    processes cost.
    """
    million = () if bench.quick or os.environ.get("DQPIPE_BENCH_MILLION") != "1" else (MILLION,)
    rows, text = growth(bench, (*(QUICK if bench.quick else SIZES), *million))
    for name, kind, count in (
        ("bccd", "640×480", 300 if bench.quick else 1500),
        ("cifar10_test", "32×32", 1000 if bench.quick else 6000),
    ):
        folder = images(bench.scratch, name, count)
        if folder is not None:
            rows += overheads(bench, folder, f"{count:,} JPEG files of {kind}", count)
            shutil.rmtree(folder)
    rows.append(per_file(bench, *((2_000, 10_000) if bench.quick else (20_000, 120_000))))
    return Section(rows, text)


def per_file(bench: Bench, few: int, many: int) -> Row:
    """What the driver holds of each file, from two sizes.

    Names of one small picture, so that measuring is next to nothing.
    """
    ran = []
    for count in (few, many):
        bench.ours("scale", "links", count, bench.scratch / "links")
        ran.append(bench.ours("scale", "files", bench.scratch / "links", bench.scratch / "out"))
        shutil.rmtree(bench.scratch / "links")
    held = (ran[1].said["peak"] - ran[0].said["peak"]) * 2**20 / (many - few)
    spent = (ran[1].said["cpu"] - ran[0].said["cpu"]) / (many - few)
    return Row(
        f"what a file costs the driver, from {few:,} and {many:,} of them",
        f"{spent * 1e6:,.0f} µs of the processor",
        memory=f"{held:,.0f} bytes",
        limit=f"store {ran[1].said['store'] / many:,.0f} bytes a file (its index alone)",
    )


def overheads(bench: Bench, folder: Path, what: str, count: int) -> Iterator[Row]:
    """The engine over bare loops, two processes over one, Prefect over processes; all in turn."""
    ways = [
        partial(bench.ours, "scale", *way, folder, bench.scratch / "out")
        for way in (["bare"], ["run", 1], ["run", 2], ["flow", 2])
    ]
    bare, one, two, flow = bench.alternate(*ways, runs=bench.runs(3))
    best = {
        name: min(ran, key=lambda run: run.seconds).said
        for name, ran in (("bare", bare), ("one", one), ("two", two), ("flow", flow))
    }
    wrapped = best["bare"]["seconds"] + best["one"]["called"]
    cpu = best["bare"]["cpu"] + best["one"]["called_cpu"]
    yield Row(
        f"{what}, engine, ledger and store over the bare loops, one process",
        (
            f"{best['one']['seconds']:.2f} s, of the processor {best['one']['cpu']:.2f} s; store "
            f"{best['one']['store'] / count:,.0f} bytes a picture"
        ),
        (
            f"read, hash, decode, the stages' calls: {wrapped:.2f} s "
            f"({best['bare']['seconds']:.2f} s measuring), of the processor {cpu:.2f} s"
        ),
        (
            f"{best['one']['seconds'] / wrapped - 1:+.0%}; processor "
            f"{best['one']['cpu'] / cpu - 1:+.0%}"
        ),
        peak(one),
        "+10 %",
    )
    yield Row(
        f"{what}, measuring on two processes over one",
        f"{best['two']['measure']:.2f} s, {count / best['two']['measure']:,.0f}/s",
        f"one: {best['one']['measure']:.2f} s",
        f"{best['one']['measure'] / best['two']['measure']:.2f}×",
        f"driver {best['two']['driver']:,.0f} MiB, a worker {best['two']['workers']:,.0f} MiB",
        "1.7×",
    )
    yield Row(
        f"{what}, as a flow on a running server over `Processes`, two processes",
        (
            f"{best['flow']['seconds']:.2f} s, and {best['flow']['start']:.1f} s to start (import "
            f"Prefect, reach the server, begin the flow)"
        ),
        f"{best['two']['seconds']:.2f} s",
        f"{best['flow']['seconds'] / best['two']['seconds'] - 1:+.0%}",
        peak(flow),
        "+10 %",
    )


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
    processor = math.log(ran[-1].said["cpu"] / ran[0].said["cpu"]) / spread
    held = (ran[-1].said["driver"] - ran[-2].said["driver"]) * 2**20 / (sizes[-1] - sizes[-2])
    rows.append(
        Row(
            f"growth from {sizes[0]:,} to {sizes[-1]:,} rows",
            f"exponent {exponent:.2f}; of processor seconds {processor:.2f}",
            memory=f"driver {held:,.0f} bytes a row",
            limit="1.15",
        )
    )
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
        f"{ran.seconds:.1f} s ({said['cpu']:.1f} s of the processor), {count / ran.seconds:,.0f} "
        f"rows/s; "
        f"{said['found']:,} findings; report.html {said['page'] / 1e3:,.0f} kB",
        memory=f"driver {said['driver']:,.0f} MiB, a worker {said['workers']:,.0f} MiB",
        limit=(
            f"store {said['store'] / count:,.0f} bytes a row, version "
            f"{said['version'] / count:,.0f}"
        ),
    )


def rows(source: Path, out: Path) -> dict:
    """One run of the pipeline, imports and planning included."""
    from dqpipe.api import Pipeline
    from dqpipe.engine.run import Run
    from dqpipe.execution import usage
    from dqpipe.execution.local import Processes
    from dqpipe.plugin import registry
    from tests.benchmarks import synthetic

    made = Pipeline.from_text(
        PIPELINE.format(source=source, out=out),
        registry=registry.load(extra={"synthetic": synthetic}),
    )
    ran = Run(made.config, made.registry, Processes(2)).run()
    assert ran.published is not None
    steps = ran.record["run"]["timings"]
    return {
        "driver": usage.peak_mib(),
        "workers": max(row["workers_peak_mib"] or 0 for row in steps),
        "steps": steps,
        "cpu": sum(row["cpu_seconds"] + row["workers_cpu_seconds"] for row in steps),
        "found": len(ran.findings),
        "page": (ran.published / "report.html").stat().st_size,
        "store": size(out / "store"),
        "version": size(ran.published),
    }


def made(folder: Path, out: Path, more: str = MEASURING) -> Pipeline:
    """The pipeline of pictures, its output empty."""
    from dqpipe.api import Pipeline

    shutil.rmtree(out, ignore_errors=True)
    return Pipeline.from_text(PICTURES.format(source=folder, out=out, more=more))


def bare(folder: Path, out: Path) -> dict:
    """What a script would do: read, hash and decode each file, call each stage's measure on 32 at a
    time.
    """
    from dqpipe.data.tables import Samples
    from dqpipe.execution.decoding import decode, keep_memory, one_thread, read_bytes
    from dqpipe.plugin.stage import Shard

    pipeline = made(folder, out)
    plan = pipeline.plan()
    stages = [planned.stage.at("measure") for planned in plan.doing("measure")]
    table = pipeline.dataset().samples.table.select(["id", "content", "media"])
    paths = [str(folder / media) for media in table.column("media").to_pylist()]
    keep_memory()
    began, cpu = 0.0, 0.0
    with one_thread():
        for start in (0, *range(0, len(paths), 32)):
            began, cpu = (
                (began, cpu) if start else (time.perf_counter(), time.process_time())
            )  # the first ones twice: libraries are imported
            data = [read_bytes(path) for path in paths[start : start + 32]]
            contents = [hashlib.blake2b(one, digest_size=16).hexdigest() for one in data]
            assert len(contents) == len(data)
            pictures = [decode(plan.decoders, one, "picture") for one in data]
            samples = Samples(table.slice(start, 32))
            for stage in stages:
                shown = (
                    [picture.header for picture in pictures]
                    if stage.rendition == "header"
                    else pictures
                )
                stage.measure(Shard(samples, tuple(shown)))
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def run(folder: Path, out: Path, processes: int) -> dict:
    """The engine from reading to publishing.

    `called` are the seconds of relating, detecting and summarising.
    """
    from dqpipe.engine.run import Run
    from dqpipe.execution.local import Processes, Serial

    pipeline = made(folder, out)
    began = time.perf_counter()
    ran = Run(
        pipeline.config, pipeline.registry, Processes(processes) if processes > 1 else Serial()
    ).run()
    return spent(ran, time.perf_counter() - began)


def links(count: int, folder: Path) -> None:
    """So many names of one small picture, in folders of a thousand."""
    import cv2
    import numpy as np

    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.arange(64, dtype=np.uint8).reshape(8, 8))
    for number in range(1, count):
        place = folder / f"{number // 1000:06d}"
        place.mkdir(exist_ok=True)
        os.link(folder / "0.png", place / f"picture-{number:09d}.png")


def files(folder: Path, out: Path) -> dict:
    """A run that measures next to nothing of each file."""
    from dqpipe.engine.run import Run
    from dqpipe.execution import usage
    from dqpipe.execution.local import Processes

    pipeline = made(folder, out, more="")
    ran = Run(pipeline.config, pipeline.registry, Processes(2)).run()
    return spent(ran, 0) | {"peak": usage.peak_mib()}


def spent(ran: Outcome, seconds: float) -> dict:
    """Where the seconds of a run went."""
    from dqpipe.storage.fact_store import Store

    steps = {row["step"]: row for row in ran.record["run"]["timings"]}
    called = [
        row for name, row in steps.items() if name.startswith(("relate", "detect", "summarise"))
    ]
    cpu = {
        "cpu": sum(row["cpu_seconds"] for row in steps.values()),
        "called_cpu": sum(row["cpu_seconds"] for row in called),
    }
    told: dict[str, Any] = {
        "measure": steps["measure"]["seconds"],
        "driver": steps["measure"]["peak_mib"],
        "workers": steps["measure"]["workers_peak_mib"],
    }
    return {
        "seconds": seconds,
        "called": sum(row["seconds"] for row in called),
        **cpu,
        "store": size(Store(ran.config.store).root),
        **told,
    }


def flow(folder: Path, out: Path, processes: int) -> dict:
    """The same as a flow, on a server that runs already.

    `start` is what passes before the first step.
    """
    from dqpipe.execution.prefect.server import embedded, wait_until_ready

    with embedded() as server:
        wait_until_ready(server)
        os.environ |= {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": server.secret}
        os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_HOME": str(server.home)}
        pipeline = made(folder, out)
        began = time.perf_counter()
        from dqpipe.execution.local import Processes
        from dqpipe.flow import run_flow

        first: list[float] = []
        pipeline.registry.watch("clock", Clock(first))
        ran = run_flow(pipeline, executor=Processes(processes))
        ended = time.perf_counter()
    return spent(ran, ended - first[0]) | {"start": first[0] - began}


class Clock:
    """Notes when the first step is over, less what it took."""

    def __init__(self, first: list[float]) -> None:
        self.first = first

    @hookimpl
    def dqpipe_stage_finished(self, stage: Mapping[str, Any]) -> None:
        """Remember the first one."""
        if not self.first:
            self.first.append(time.perf_counter() - stage["seconds"])


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """A job: make or rows."""
    began = time.perf_counter()
    job, *arguments = sys.argv[1:]
    said = {}
    if job == "make":
        from tests.benchmarks.synthetic import make

        make(int(arguments[0]), Path(arguments[1]))
    elif job == "rows":
        said = rows(*map(Path, arguments))
    elif job == "links":
        links(int(arguments[0]), Path(arguments[1]))
    elif job in ("bare", "files"):
        said = {"bare": bare, "files": files}[job](*map(Path, arguments))
    else:
        said = {"run": run, "flow": flow}[job](*map(Path, arguments[1:]), int(arguments[0]))
    print(json.dumps({"seconds": time.perf_counter() - began} | said))


if __name__ == "__main__":
    main()
