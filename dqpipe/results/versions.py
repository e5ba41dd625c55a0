"""What an output holds: versions with their tables, which of them is published, and the history of
every run.

    out/version                      the id of the published version
    out/history.jsonl                one line for each finished run and each roll back; outlives
                                     versions that are removed
    out/versions/<id>/run.json  ledger.parquet  facts.parquet
                                tables/{samples,curated,findings,decisions,figures,files}.arrow

A version counts once its run was finished: the history names it, or it is the published one or one
before that. `tables/` holds what went into the ledger exactly as it was: labels with their type,
and every finding, decision and figure.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dqpipe.data.dataset import Dataset
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples, Table
from dqpipe.errors import DatasetError, OutputError, nearest
from dqpipe.storage import jsonl, no_links
from dqpipe.storage.location import Place, place

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
POINTER, HISTORY, AUDITS, TABLES, MOVED = (
    "version",
    "history.jsonl",
    "audits.jsonl",
    "tables",
    "moved",
)
FILES = f"{TABLES}/files.arrow"
COLUMNS = ("id", "content", "label", "split", "group")
"""The columns of the raw samples that a version keeps."""
SHOWN, MOST_SHOWN = "shown", 100
"""The table of what a person is shown of each sample, and how many of the user's columns it has."""


@dataclass(frozen=True, eq=False)
class Version:
    """One version of an output; its tables are read when they are asked for.

    They raise DatasetError where a file is missing or broken.
    """

    place: Place
    id: str
    """When it was made, and the hash of its content."""

    @classmethod
    def open(cls, out: str | Path | Place, version: str = "published") -> Version:
        """A version by its id, the "published" one, or the "previous" one: published before it.

        Raises DatasetError.
        """
        where = place(out)
        out, known = where.url, versions(where)
        found = version
        if version in ("published", "previous"):
            found = published(out) or ""
            if not found:
                raise DatasetError(f"{out} has no published version")
        if version == "previous":
            found = cls.open(out).parent or ""
            if not found:
                raise DatasetError(f"{out} has no version before the published one")
        if found not in known:
            gone = any(row.get("version") == found for row in history(out))
            why = (
                "was removed (outputs.keep_versions says how many stay)"
                if gone
                else f"is not there: {nearest(found, known)}"
            )
            raise DatasetError(f"version {found} of {out} {why}")
        return cls(where, found)

    def file(self, name: str) -> Path:
        """A local path of one of its files: itself, or a copy.

        Raises FileNotFoundError, OutputError.
        """
        return self.place.fetch(f"versions/{self.id}/{name}")

    @property
    def parent(self) -> str | None:
        """The version that was the published one when this one was made, or None."""
        return self.record.get("lineage", {}).get("parent")

    @cached_property
    def record(self) -> dict[str, Any]:
        """What its run.json holds."""
        try:
            return dict(json.loads(self.file("run.json").read_text(encoding="utf-8")))
        except (OSError, OutputError, ValueError) as error:
            raise self._broken("run.json", error) from None

    @cached_property
    def samples(self) -> Samples:
        """The raw samples of its run.

        Id, content, label, split, group, as far as the dataset has them.
        """
        return Samples(self.table("samples"))

    @cached_property
    def curated(self) -> Samples:
        """The curated samples, the new ones with their parent: the same columns, and parent."""
        return Samples(self.table("curated"))

    @cached_property
    def facts(self) -> Facts:
        """The scalar facts, with their id."""
        import pyarrow.parquet as pq

        try:
            return Facts(pq.read_table(self.file("facts.parquet")))
        except (OSError, OutputError, pa.ArrowException) as error:
            raise self._broken("facts.parquet", error) from None

    @cached_property
    def findings(self) -> Findings:
        """Everything that was claimed.

        Columns that came later are null in what an earlier dqpipe wrote.
        """
        found = self.table("findings")
        columns = {
            name: found.column(name) if name in found.column_names else pa.nulls(len(found), kind)
            for name, kind in Findings.columns.items()
        }
        return Findings(pa.table(columns))

    @cached_property
    def decisions(self) -> Decisions:
        """What was decided, one row per raw sample."""
        return Decisions(self.table("decisions"))

    @cached_property
    def figures(self) -> Figures:
        """The figures of the raw and of the curated set."""
        return Figures(self.table("figures"))

    @cached_property
    def shown(self) -> pa.Table:
        """What a person is shown of each raw sample: media, and the user's own columns.

        "root" in the schema's metadata is where media start from.
        """
        return self.table(SHOWN)

    @cached_property
    def moved(self) -> dict[tuple[str | None, str | None, str], str]:
        """What verdicts are about → the content that this sample has now.

        Those that followed one that was encoded again; none where it is not known.
        """
        with suppress(DatasetError):
            return {
                (row["content"], row["given"], row["id"]): row["now"]
                for row in self.table(MOVED).to_pylist()
            }
        return {}

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """Why each sample is where it is (see `dqpipe.results.ledger`)."""
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.file("ledger.parquet")).to_pandas()
        except (OSError, OutputError, pa.ArrowException) as error:
            raise self._broken("ledger.parquet", error) from None

    def table(self, name: str) -> pa.Table:
        """A table of its folder `tables`. Raises DatasetError."""
        try:
            with pa.OSFile(str(self.file(f"{TABLES}/{name}.arrow")), "rb") as file:
                return pa.ipc.open_file(file).read_all()
        except (OSError, OutputError, pa.ArrowException) as error:
            raise self._broken(f"{TABLES}/{name}.arrow", error) from None

    def _broken(self, name: str, error: Exception) -> DatasetError:
        why = (
            "an earlier dqpipe wrote this version without it"
            if isinstance(error, FileNotFoundError)
            else str(error)
        )
        return DatasetError(f"{name} of version {self.id} cannot be read: {why}")


def write_tables(
    folder: Path,
    samples: Samples,
    curated: Samples,
    findings: Findings,
    decisions: Decisions,
    figures: Figures,
) -> None:
    """Write what `Version` reads back into a version's folder. Raises OSError."""
    raw = samples.select([name for name in COLUMNS if name in samples])
    made = curated.select([name for name in (*COLUMNS, "parent") if name in curated])
    tables: Mapping[str, Table] = {
        "samples": raw,
        "curated": made,
        "findings": findings,
        "decisions": decisions,
        "figures": figures,
    }
    for name, table in tables.items():
        write_table(folder, name, table.table)


def write_moved(folder: Path, moved: Mapping[tuple[str | None, str | None, str], str]) -> None:
    """Write what `Version.moved` reads back. Raises OSError."""
    rows = [
        {"content": content, "given": given, "id": sample, "now": now}
        for (content, given, sample), now in sorted(moved.items(), key=str)
    ]
    write_table(
        folder,
        MOVED,
        pa.Table.from_pylist(
            rows, pa.schema([(name, pa.string()) for name in ("content", "given", "id", "now")])
        ),
    )


def write_shown(folder: Path, dataset: Dataset) -> None:
    """Write what `Version.shown` reads back. Raises OSError."""
    table = dataset.samples.table
    own = [
        field.name
        for field in table.schema
        if field.name not in {*COLUMNS, "media", "parent", "made_by"}
        and not pa.types.is_nested(field.type)
    ]
    names = ["id", *(["media"] if "media" in table.column_names else []), *own[:MOST_SHOWN]]
    write_table(
        folder,
        SHOWN,
        table.select(names).replace_schema_metadata(
            {"root": dataset.root.encode("utf-8", "surrogateescape")}
        ),
    )


def write_table(folder: Path, name: str, table: pa.Table) -> None:
    """Write one table into a version's folder, for `Version.table`. Raises OSError."""
    (folder / TABLES).mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(folder / TABLES / f"{name}.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema, options=options) as writer,
    ):
        writer.write_table(table)


def published(out: str | Path | Place) -> str | None:
    """The id of the published version, or None."""
    try:
        return place(out).read(POINTER).decode().strip() or None
    except FileNotFoundError:
        return None


def versions(out: str | Path | Place) -> list[str]:
    """The ids of the versions that stand, the oldest first.

    Also of runs whose gates failed, not of runs that were killed. Raises OutputError.
    """
    where = place(out)
    stand, now = standing(where), published(where)
    finished = {now, *(row.get("version") for row in journal(where))}
    before = now
    while before in stand and not finished >= set(
        stand
    ):  # a history that somebody lost: each published version knows the one before
        try:
            before = Version(where, before).parent
        except DatasetError:
            break
        if before in finished:
            break
        finished.add(before)
    return [version for version in stand if version in finished]


def standing(where: Place) -> list[str]:
    """The ids of all versions that are there, whole or not known to be, the oldest first.

    Raises OutputError.
    """
    return [
        name
        for name in where.listed("versions")
        if name[:1].isdigit() and where.exists(f"versions/{name}/run.json")
    ]


def write_files(folder: Path, owner: str) -> None:
    """Write down which files a version's folder holds, itself and run.json among them, and whose
    output it is in. Raises OSError.
    """
    inside = [
        f"{root[len(str(folder)) + 1 :]}/{name}".lstrip("/")
        for root, _, names in os.walk(folder)
        for name in names
    ]
    names = sorted({*map(os.fsencode, inside), FILES.encode(), b"run.json"})
    write_table(
        folder,
        Path(FILES).stem,
        pa.table({"name": pa.array(names, pa.binary())}).replace_schema_metadata({"owner": owner}),
    )


def files_of(where: Place, version: str, owner: str) -> list[str]:
    """The files of a version that dqpipe wrote into this output, as it wrote them down.

    None if nothing proves it. Raises OutputError.
    """
    name = f"versions/{version}/{FILES}"
    try:
        data = where.read(name) if where.local is None else no_links.read_below(where.local, name)
        table = pa.ipc.open_file(data).read_all()
    except (OSError, pa.ArrowException):
        return []
    if (table.schema.metadata or {}).get(b"owner") != owner.encode() or table.column_names != [
        "name"
    ]:
        return []
    return [os.fsdecode(one) for one in table.column("name").to_pylist()]


def history(out: str | Path | Place) -> list[dict[str, Any]]:
    """One record for each finished run, the oldest first.

    Also for runs whose gates failed and versions that were removed.

    run, version, published, time, samples, kept, dropped, relabelled, review, added, findings
    {code: {samples, share}}, figures {name: value} of the whole raw set, drift {fact: {p, effect}},
    gates [{gate, passed, said}], seconds; waiting, where it passed its gates and a person was asked
    (published, once approved).
    """
    rows = journal(out)
    approved = {row["approved"] for row in rows if "approved" in row}
    return [
        row | {"published": True} if row.get("version") in approved else row
        for row in rows
        if "run" in row
    ]


def waiting(out: str | Path | Place) -> str | None:
    """The version that waits for a person.

    Whole, asked about, and neither answered for nor followed by one that passed its gates.
    """
    found: str | None = None
    for row in journal(out):
        if "run" in row and (row.get("waiting") or row.get("published")):
            found = row.get("version") if row.get("waiting") else None
        elif found is not None and found in (row.get("approved"), row.get("rejected")):
            found = None
    return (
        found if found is not None and found in versions(out) and found != published(out) else None
    )


def journal(out: str | Path | Place) -> list[dict[str, Any]]:
    """Every line of the history.

    Runs, and {"rolled_back", "approved" or "rejected", "from", "by", "time"}. A line that a crash
    cut short is left out.
    """
    return list(jsonl.rows(out, HISTORY))


def remember(out: str | Path | Place, row: Mapping[str, Any]) -> None:
    """Add a line to the history; it is on disk when this returns. Raises OutputError."""
    jsonl.append(out, HISTORY, row)
