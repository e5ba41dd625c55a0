"""Decisions applied: kept samples and new ones become the curated dataset."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data import splits
from dqpipe.data.dataset import Dataset
from dqpipe.data.labels import relabelled
from dqpipe.data.tables import Decisions, Findings, Samples, table_of
from dqpipe.data.wording import many
from dqpipe.errors import OutputError, StageError
from dqpipe.execution.decoding import decode, one_thread, read_bytes
from dqpipe.plugin.stage import Augment, Decide, Decoder, Encoder, Recipe
from dqpipe.review.rulings import Rulings
from dqpipe.storage.checked_files import Within
from dqpipe.storage.fact_store import digest, digest_json
from dqpipe.storage.paths import media_path

UNREADABLE, PRECISION = "media.unreadable", "audits.precision"


def decide(
    policy: Decide,
    samples: Samples,
    findings: Findings,
    readable: np.ndarray,
    rulings: Rulings | None = None,
    certified: Mapping[str, float] | None = None,
) -> Decisions:
    """One decision for each sample: the policy's, unless people ruled.

    One that cannot be read and was kept is queued for review. Raises StageError.

    `certified` is the lower end of the precision of each claim that was audited.
    """
    rulings = rulings or Rulings()
    shown = samples.select([name for name in ("id", "label", "split", "group") if name in samples])
    returned = policy.decide(
        shown, with_precision(rulings.shown(samples, findings), certified or {})
    )
    table = (
        returned.table if isinstance(returned, Decisions) else table_of(Decisions.columns, returned)
    )
    order = pc.index_in(samples.table.column("id"), value_set=table.column("id").combine_chunks())
    if order.null_count or table.num_rows != len(samples):
        raise StageError(
            policy.name,
            "decide",
            (
                f"it returned {many(table.num_rows, 'decision')} for "
                f"{many(len(samples), 'sample')}, one for each is wanted"
            ),
        )
    decided = rulings.applied(
        Decisions(table.take(order).select(list(Decisions.columns)).combine_chunks())
    )
    unread = np.flatnonzero(~readable & np.isin(decided["decision"], ("keep", "relabel")))
    if not len(unread):
        return decided
    decisions = decided.table.to_pydict()
    for row in unread:
        decisions["decision"][row], decisions["because"][row] = (
            "review",
            [*(decisions["because"][row] or []), UNREADABLE],
        )
        decisions["new_label"][row] = None
    return Decisions(
        pa.table(
            {name: pa.array(decisions[name], kind) for name, kind in Decisions.columns.items()}
        )
    )


def with_precision(findings: Findings, certified: Mapping[str, float]) -> Findings:
    """Findings with one more about the whole dataset for each claim that was audited.

    Audits.precision, `part` the claim, `value` its precision.
    """
    rows = [
        {"id": None, "part": code, "code": PRECISION, "severity": "info", "value": low}
        for code, low in sorted(certified.items())
    ]
    return (
        Findings(pa.concat_tables([findings.table, table_of(Findings.columns, rows)]))
        if rows
        else findings
    )


def become(samples: Samples, columns: Mapping[str, pa.Array]) -> Samples:
    """The samples with the columns that facts become.

    A sample for which the fact is null keeps what it has.
    """
    table = samples.table
    for name, values in columns.items():
        if name in table.column_names:
            before = table.column(name).combine_chunks()
            values = pc.coalesce(values, before) if before.type == values.type else values  # noqa: PLW2901
            table = table.drop_columns([name])
        table = table.append_column(name, values)
    return Samples(splits.marked(table)) if "split" in columns else Samples(table)


def kept(dataset: Dataset, decisions: Decisions, *, hold: bool) -> Dataset:
    """The dataset without what was dropped (and what is held for review), with new labels, before
    anything is added.
    """
    gone = {"drop", "review"} if hold else {"drop"}
    decided, new_labels = decisions["decision"], decisions["new_label"]
    rows = np.flatnonzero([decision not in gone for decision in decided])
    table = dataset.samples.table.take(pa.array(rows))
    table = relabelled(
        table, [new_labels[row] if decided[row] == "relabel" else None for row in rows]
    )
    for name in ("parent", "made_by"):
        table = table.append_column(name, pa.nulls(len(rows), pa.string()))
    return replace(dataset, samples=Samples(table))


@dataclass(frozen=True)
class Making:
    """Some new samples to make in a worker: (recipe, parent's media, where to write)."""

    augment: Augment
    encoder: Encoder
    decoders: tuple[Decoder, ...]
    root: str
    items: tuple[tuple[Recipe, str, str], ...]
    within: Within = None


def plan_samples(
    entry_name: str,
    augment: Augment,
    suffix: str,
    dataset: Dataset,
    decisions: Decisions,
    doubted: Collection[str],
    folder: Path,
    seed: int,
) -> tuple[pa.Table, list[tuple[Recipe, str, str]]]:
    """The new samples' rows, and what to make.

    Parents are the training samples that are kept under their own label and not `doubted`.
    """
    fine = {
        i for i, d in zip(decisions["id"], decisions["decision"], strict=True) if d == "keep"
    }.difference(doubted)
    parents = dataset.samples.take(dataset.samples.training())
    sound = np.array([i in fine for i in parents.ids], dtype=bool)
    recipes = augment.plan(parents, sound, _seeds(parents, entry_name, seed)) if sound.any() else []
    rows = {sample: row for row, sample in enumerate(parents.ids) if sound[row]}
    media = parents["media"]
    unknown = [recipe.parent for recipe in recipes if recipe.parent not in rows]
    if unknown:
        raise StageError(
            entry_name,
            "plan",
            f"it names {unknown[0]!r} as a parent, which is no kept, undoubted training sample",
        )
    table = parents.table.take(pa.array([rows[recipe.parent] for recipe in recipes], pa.int64()))
    provenance = dict(augment.provenance())
    made = [{**provenance, "copy": r.copy, "seed": r.seed} for r in recipes]
    ids = _new_ids(recipes, entry_name, suffix, set(dataset.samples.ids))
    paths = [str(folder / f"{digest(sample)}{suffix}") for sample in ids]
    items = [
        (recipe, media[rows[recipe.parent]], path)
        for recipe, path in zip(recipes, paths, strict=True)
    ]
    new = {
        "id": ids,
        "media": paths,
        "content": [None] * len(ids),
        "parent": [r.parent for r in recipes],
        "made_by": [json.dumps(m, sort_keys=True, default=str) for m in made],
    }
    for name, values in new.items():
        table = table.set_column(
            table.column_names.index(name), name, pa.array(values, pa.string())
        )
    return table, items


def doubted(findings: Findings) -> set[str]:
    """The samples with a warning or an error on them, or on a part of them."""
    grave = pc.is_in(findings.table.column("severity"), value_set=pa.array(["warning", "error"]))
    return set(findings.table.column("id").filter(grave).drop_null().to_pylist())


def _seeds(parents: Samples, name: str, seed: int) -> Callable[[str, int], int]:
    contents = dict(zip(parents.ids, parents["content"], strict=True))
    occurrence: dict[str, int] = {}
    seen: dict[str, int] = {}
    for sample in parents.ids:
        occurrence[sample] = seen.get(contents[sample], 0)
        seen[contents[sample]] = occurrence[sample] + 1
    return lambda parent, copy: int(
        digest_json([seed, name, contents[parent], occurrence[parent], copy])[:8], 16
    )


def _new_ids(recipes: Sequence[Recipe], name: str, suffix: str, taken: set[str]) -> list[str]:
    ids = []
    for recipe in recipes:
        stem, dot, _ = recipe.parent.rpartition(".")
        base = stem if dot and "/" not in _ else recipe.parent
        sample = f"{base}.{name}{recipe.copy}{suffix}"
        while sample in taken:
            sample = f"{sample.removesuffix(suffix)}_{suffix}"
        taken.add(sample)
        ids.append(sample)
    return ids


def make_samples(making: Making) -> list[str]:
    """Make some new samples as files.

    Those that were not made, as the encoder writes nothing like their parents. Raises StageError,
    OutputError.
    """
    left_out: list[str] = []
    with one_thread(1, making.decoders):
        for recipe, media, path in making.items:
            try:
                parent = decode(
                    making.decoders,
                    read_bytes(media_path(making.root, media), making.within),
                    "full",
                )
                if not isinstance(parent, making.encoder.encodes):
                    left_out.append(path)
                    continue
                data = making.encoder.encode(making.augment.make(parent, recipe.seed))
            except Exception as error:  # noqa: BLE001 (named, and given back as a StageError)
                raise StageError(
                    making.augment.name,
                    f"copy {recipe.copy} of {recipe.parent}",
                    f"{type(error).__name__}: {error}",
                ) from None
            _write(path, data)
    return left_out


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or os.strerror(error.errno or 0)}"
        ) from None


def version_content(curated: Samples, decisions: Decisions) -> str:
    """The hash that names a curated set, 8 hex digits.

    Its samples, their contents and labels, and every decision.
    """
    state = hashlib.blake2b(digest_size=4)
    columns = [
        curated.table.column(name).to_pylist()
        for name in ("id", "content", "label")
        if name in curated
    ]
    encode = json.JSONEncoder(default=str, ensure_ascii=True).encode
    for row in chain(
        zip(*columns, strict=True),
        zip(decisions["id"], decisions["decision"], decisions["new_label"], strict=True),
    ):
        state.update(encode(row).encode())
    return state.hexdigest()
