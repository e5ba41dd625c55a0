"""For plugin authors: `check_stage`, the contract as a test, and a small dataset with known faults
to run it on.
"""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqpipe.config.pipeline_file import Config, Entry, OutputsSection
from dqpipe.data.tables import SEVERITIES, VECTOR_TYPES, arrow_type
from dqpipe.engine.run import Run
from dqpipe.execution.local import Serial
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import PHASES, Claim, Decide, Decoder, Fact, Figure, Stage
from dqpipe.results.outcome import Outcome


class ContractError(AssertionError):
    """A stage that does not keep the contract; the message says what and why it matters."""


def small_images(folder: Path, registry: Registry | None = None) -> dict[str, str]:
    """Write the example of the decoder of images: 60 tiles in two class folders, with known faults.

    Returns fault → relative path.

    The faults: `copy` (equal bytes), `truncated` (half the bytes), `text` (a text named .png),
    `empty` (one colour).
    """
    return dict((registry or plugins.load()).get(Decoder, "image")().example(folder))


def check_stage(
    stage: Stage,
    *,
    after: Sequence[Stage] = (),
    source: Any = None,  # noqa: ANN401
    registry: Registry | None = None,
) -> Outcome:
    """Run a stage (behind the stages in `after` whose facts it needs) and raise ContractError where
    it breaks the contract.

    `source` is anything a reader takes; by default small images with faults. What is checked: its
    declaration; that it pickles; that measuring reads measuring options only; that facts, findings
    and figures are as declared, and the same whatever the shards, the order of runs, and a second
    time. Returns what the last run came to, for tests of your own (its vector facts went with its
    store).
    """
    _check_declaration(stage)
    registry = registry or plugins.load()
    with tempfile.TemporaryDirectory(prefix="dqpipe-check-") as folder:
        if source is None:
            source = str(Path(folder) / "images")
            small_images(Path(source), registry)
        runs = [
            _run(stage, after, source, registry, Path(folder) / f"store-{size}", size)
            for size in (7, 1000)
        ]
        again = _run(stage, after, source, registry, Path(folder) / "store-7", 1000)
        first = runs[0]
        if first.failures:
            (sample, name), why = next(iter(first.failures.items()))
            raise ContractError(f"{name} could not measure {sample!r}: {why}")
        if again.measured and any(again.measured.values()):
            raise ContractError(
                f"a second run measured again: {again.measured}; what `measure` depends on must be "
                f"in its options, needs and version"
            )
        for other, what in ((runs[1], "with other shards"), (again, "a second time")):
            for table in ("facts", "findings", "figures"):
                _same(
                    _frame(first, table),
                    _frame(other, table),
                    f"{stage.name}: {table} differ {what}",
                )
            for name, vectors in first.vectors.items():
                rows = np.flatnonzero(vectors.has)
                if not np.array_equal(
                    vectors.read(rows), other.vectors[name].read(rows), equal_nan=True
                ):
                    raise ContractError(
                        f"{name} differs {what}: a row of `measure` may depend on its own sample "
                        f"only, to the bit"
                    )
    return again


def _run(
    stage: Stage,
    after: Sequence[Stage],
    source: Any,  # noqa: ANN401
    registry: Registry,
    store: Path,
    size: int,  # noqa: ANN401, RUF100
) -> Outcome:
    entries = tuple(Entry(s.name, s, "check_stage") for s in (*after, stage))
    policy = Entry("policy", registry.get(Decide, "policy")())
    outputs = OutputsSection(path=str(store.parent / "out"), store=str(store))
    config = Config(entries, policy, source=source, outputs=outputs)
    return Run(config, registry, Serial(), shard_size=size, writes=False).run()


def _frame(run: Outcome, table: str) -> pd.DataFrame:
    tables = {"facts": run.facts, "findings": run.findings, "figures": run.figures}
    return tables[table].frame()


def _same(one: pd.DataFrame, other: pd.DataFrame, message: str) -> None:
    try:
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    except AssertionError as error:
        raise ContractError(f"{message}: {error}") from None


def _check_declaration(stage: Stage) -> None:
    name = type(stage).__name__
    if not stage.name.replace("_", "").isalnum() or stage.name != stage.name.lower():
        raise ContractError(f"{name}: name {stage.name!r} is lower case letters, digits and _")
    if not stage.summary():
        raise ContractError(f"{name}: its docstring's first line says what it does")
    if pickle.loads(pickle.dumps(stage)) != stage:  # noqa: S301 (made the line before)
        raise ContractError(
            f"{name} does not pickle to an equal stage: workers would get another one"
        )
    _check_limits(stage)
    for f in dataclasses.fields(stage):  # type: ignore[arg-type]
        if not f.metadata.get("description"):
            raise ContractError(
                f"{name}: option {f.name} has no help; make it with option(default, help)"
            )
        if f.metadata["json_schema_extra"]["at"] not in PHASES:
            raise ContractError(f"{name}: option {f.name} is read at one of {PHASES}")
    for gift in stage.gives:
        _check_gift(name, gift)
    counts = {"measure": len(stage.facts_at("measure")), "relate": len(stage.facts_at("relate"))}
    counts |= {
        "detect": sum(isinstance(g, Claim) for g in stage.gives),
        "summarise": sum(isinstance(g, Figure) for g in stage.gives),
    }
    for method, count in counts.items():
        has = stage.does(method)
        if has != bool(count) and not (
            method in ("detect", "summarise") and stage.does("compare") and count
        ):
            raise ContractError(
                f"{name}: it {'has' if has else 'lacks'} {method}, and declares {count} of what "
                f"that gives"
            )


def _check_limits(stage: Stage) -> None:
    name = type(stage).__name__
    if stage.timeout is not None and not stage.timeout > 0:
        raise ContractError(
            f"{name}: timeout is a number of seconds above 0, or None for no limit, not "
            f"{stage.timeout!r}"
        )
    if not isinstance(stage.retries, int) or stage.retries < 0:
        raise ContractError(
            f"{name}: retries is how many more times it is tried, 0 or more, not {stage.retries!r}"
        )


def _check_gift(name: str, gift: Fact | Claim | Figure) -> None:
    if not gift.help:
        raise ContractError(f"{name}: {gift} has no help")
    if isinstance(gift, Claim) and gift.severity not in SEVERITIES:
        raise ContractError(f"{name}: severity of {gift.code} is one of {SEVERITIES}")
    if isinstance(gift, Fact) and gift.becomes and gift.at != "relate":
        raise ContractError(f"{name}: {gift.name} becomes a column, so `relate` gives it")
    if isinstance(gift, Fact) and gift.type not in VECTOR_TYPES:
        arrow_type(gift.type)
