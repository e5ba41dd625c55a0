"""The ledger of an output, asked.

Some of its rows, how many samples they are, and a table for a spreadsheet.

    ledger.parquet ──Question──▶ rows ──▶ JSON | CSV | counts

What several options ask for holds together; of several values of one option, any.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data import labels
from dqpipe.data.tables import DECISIONS
from dqpipe.errors import ConfigError, DatasetError, OutputError, nearest
from dqpipe.results.ledger import SCHEMA
from dqpipe.results.versions import Version
from dqpipe.storage import spreadsheet

AT_A_TIME = 1 << 14
"""Rows."""
TAG = "tag"


@dataclass(frozen=True)
class Question:
    """Which rows are meant: of several values any, of several questions all.

    Codes may be globs (image_quality.*).
    """

    codes: Sequence[str] = ()
    classes: Sequence[str] = ()
    splits: Sequence[str] = ()
    groups: Sequence[str] = ()
    decisions: Sequence[str] = ()
    severities: Sequence[str] = ()


def rows(version: Version, question: Question) -> pa.Table:
    """The rows of a version's ledger that are meant, in its order.

    Raises ConfigError for a value that nothing has, DatasetError.
    """
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(version.file("ledger.parquet"))
    except (OSError, OutputError, pa.ArrowException) as error:
        raise DatasetError(
            f"ledger.parquet of version {version.id} cannot be read: {error}"
        ) from None
    mask = None
    claimable = [
        code for stage in version.record.get("stages", ()) for code in stage.get("claims", ())
    ]
    asked = (
        ("code", question.codes, claimable),
        ("label", question.classes, ()),
        ("split", question.splits, ()),
        ("group", question.groups, ()),
        ("decision", question.decisions, DECISIONS),
        ("severity", question.severities, ("info", "warning", "error")),
    )
    for name, wanted, known in asked:
        if wanted:
            hit = _hit(
                table.column(name),
                TAG if name == "label" and _tagged(version) else name,
                wanted,
                known,
            )
            mask = hit if mask is None else pc.and_(mask, hit)
    return table if mask is None else table.filter(mask)


def _tagged(version: Version) -> bool:
    """Whether the labels of a version are sets of tags."""
    try:
        return labels.kind_in(version.samples) == "tags"
    except (
        DatasetError
    ):  # a version that keeps no samples: a text that reads as a set of tags is one
        return True


def _hit(column: pa.ChunkedArray, name: str, wanted: Sequence[str], known: Sequence[str]) -> Any:  # noqa: ANN401 (a boolean array)
    values = pc.unique(column.drop_null()).to_pylist()
    chosen: set[str] = set()
    for one in wanted:
        found = [value for value in values if _is(value, one, name)]
        if not found and not any(_is(value, one, name) for value in known):
            what = {"label": "class", TAG: "class"}.get(name, name)
            raise ConfigError(
                f"no {what} of this ledger is {one!r}: {nearest(one, {*values, *known})}"
            )
        chosen.update(found)
    return pc.is_in(column, value_set=pa.array(sorted(chosen), pa.string()))


def _is(value: str, wanted: str, name: str) -> bool:
    """Whether a value is meant; a set of tags where one of them is."""
    if name == "code":
        return fnmatch.fnmatchcase(value, wanted)
    return value == wanted or (name == TAG and wanted in labels.tags_in(value))


def samples(table: pa.Table) -> int:
    """How many samples some rows are about."""
    return int(pc.count_distinct(table.column("id")).as_py())


def counts(table: pa.Table) -> list[dict[str, Any]]:
    """Rows and samples by code and decision, the most samples first."""
    by = (
        table.select(["code", "decision", "id"])
        .group_by(["code", "decision"])
        .aggregate([("id", "count_distinct"), ([], "count_all")])
    )
    told = [
        {
            "code": r["code"],
            "decision": r["decision"],
            "samples": r["id_count_distinct"],
            "rows": r["count_all"],
        }
        for r in by.to_pylist()
    ]
    return sorted(told, key=lambda row: (-row["samples"], row["code"] or "", row["decision"] or ""))


def as_json(table: pa.Table) -> Iterator[str]:
    """The rows as a JSON array, piece by piece."""
    lead = "[\n"
    for batch in table.to_batches(AT_A_TIME):
        for row in batch.to_pylist():
            yield lead + json.dumps(row, ensure_ascii=False, default=str)
            lead = ",\n"
    yield "[]\n" if lead == "[\n" else "\n]\n"


def write_csv(table: pa.Table, file: Path | IO[bytes]) -> None:
    """The rows as CSV, which no spreadsheet runs. Raises OSError."""
    spreadsheet.write(
        table.select([name for name in SCHEMA.names if name in table.column_names]), file
    )
