"""An older version published again, one that waits published or not, and the list of
what there is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dqpipe.data.wording import many, plural
from dqpipe.errors import DatasetError, OutputError, listed
from dqpipe.execution.logs import harmless
from dqpipe.results import publish
from dqpipe.results.versions import (
    Version,
    history,
    journal,
    published,
    remember,
    versions,
    waiting,
)
from dqpipe.storage.location import Place, place, shown
from dqpipe.storage.lock import Lock

log = logging.getLogger(__name__)


def listing(out: str | Path) -> list[dict[str, Any]]:
    """The versions of an output, the newest first: version, state, time, samples, curated.

    Raises OutputError.
    """
    where = place(out)
    now, waits, rows = (
        published(where),
        waiting(where),
        {row.get("version"): row for row in history(where)},
    )
    told = []
    for version in reversed(versions(where)):
        row = rows.get(version, {})
        state = (
            "published"
            if version == now
            else "waiting"
            if version == waits
            else ""
            if row.get("published", True)
            else _unpublished(row)
        )
        curated = None if "kept" not in row else row["kept"] + row["added"]
        told.append(
            {
                "version": version,
                "state": state,
                "time": row.get("time"),
                "samples": row.get("samples"),
                "curated": curated,
            }
        )
    return told


def _unpublished(row: Mapping[str, Any]) -> str:
    return "not approved" if row.get("waiting") else "gate failed"


def approve(out: str | Path, version: str, *, by: str = "") -> tuple[str | None, str]:
    """Publish the version that waits for a person.

    (the one that was published, the one that is now).

    Raises DatasetError: it does not wait (a newer one took its place, or it was answered for), or
    is not whole; OutputError: a run is on the output, or it cannot be written.
    """
    where = _output(out, version)
    with Lock(where, "an approval"):
        chosen, was = _waiting(where, version), published(where)
        if reason := unfit(chosen, asked=True):
            raise DatasetError(f"version {chosen.id} cannot be published: {reason}")
        publish.switch(where, chosen.id)
        with harmless(
            f"the approval is not written to the history of {shown(where.url)}, the next run makes "
            f"up for it"
        ):
            remember(
                where,
                {
                    "approved": chosen.id,
                    "from": was,
                    "by": by,
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                },
            )
    log.info("approved %s, published before was %s", chosen.id, was)
    return was, chosen.id


def reject(out: str | Path, version: str, *, by: str = "") -> str:
    """Never publish the version that waits for a person; its report stays for a while.

    Raises as `approve` does.
    """
    where = _output(out, version)
    with Lock(where, "a rejection"):
        chosen = _waiting(where, version)
        remember(
            where,
            {
                "rejected": chosen.id,
                "by": by,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
    return chosen.id


def _output(out: str | Path, version: str) -> Place:
    """The place of an output: in a folder of somebody else's not even a lock is left.

    Raises DatasetError.
    """
    where = place(out)
    if not publish.ours(where):
        raise DatasetError(
            f"version {version} of {shown(where.url)} is not there: dqpipe did not make this folder"
        )
    return where


def _waiting(where: Place, version: str) -> Version:
    """The version, which must be the one that waits. Raises DatasetError."""
    chosen, waits = Version.open(where, version), waiting(where)
    if chosen.id == waits:
        return chosen
    if chosen.id == published(where):
        raise DatasetError(f"version {chosen.id} is the published one already")
    now = f"{waits} does" if waits else "none does"
    raise DatasetError(
        f"version {chosen.id} of {shown(where.url)} does not wait for approval: {now}"
    )


def roll_back(out: str | Path, version: str = "previous") -> tuple[str, str]:
    """Publish an older version again; (the one that was published, the one that is now).

    Raises DatasetError: no such version, one that never passed its gates, or one that is not whole;
    OutputError: a run is on it, or it cannot be written.
    """
    where = place(out)
    was = published(where)
    if was is None or not publish.ours(where):
        raise DatasetError(f"{shown(where.url)} has no published version")
    with Lock(where, "a roll back"):
        chosen = Version.open(where, version)
        reason = unfit(chosen)
        if reason:
            fit = [one for one in versions(where) if one != was and not unfit(Version(where, one))]
            raise DatasetError(
                f"version {chosen.id} cannot be published again: {reason}; versions that can: "
                f"{listed(fit) or 'none'}"
            )
        if chosen.id == was:
            raise DatasetError(
                f"version {chosen.id} is the published one; the versions are "
                f"{listed(versions(where))}"
            )
        publish.switch(where, chosen.id)
        remember(
            where,
            {
                "rolled_back": chosen.id,
                "from": was,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
    log.info("rolled back from %s to %s", was, chosen.id)
    return was, chosen.id


def unfit(version: Version, *, asked: bool = False) -> str:
    """Why a version cannot be published, or an empty text.

    It never passed its gates, nobody was `asked` about it, or files are missing.
    """
    try:
        record = version.record
    except DatasetError as error:
        return str(error)
    if not record.get("passed", False):
        return "it did not pass its gates"
    if (
        record.get("asks")
        and not asked
        and not any(row.get("approved") == version.id for row in journal(version.place))
    ):
        return "nobody approved it"
    try:
        files, size = held(version.place, version.id)
    except (OSError, OutputError) as error:
        return str(error)
    wanted = record.get("holds", {})
    if (files, size) != (wanted.get("count"), wanted.get("bytes")):
        had = f"{wanted.get('count', 0):,} of {wanted.get('bytes', 0):,}"
        return (
            f"it is not whole: {many(files, 'file')} of {many(size, 'byte')}, where there "
            f"{plural(wanted.get('count', 0), 'was')} {had}"
        )
    return ""


def held(out: Place, version: str) -> tuple[int, int]:
    """How many files a version holds beside its run.json, and their bytes.

    Raises OSError, OutputError.
    """
    name = f"versions/{version}"
    sizes = [entry.size for file, entry in out.entries(name).items() if file != f"{name}/run.json"]
    return len(sizes), sum(sizes)
