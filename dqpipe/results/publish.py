"""Where a run's output goes: versions beside each other, and one pointer that is switched.

    out/versions/<id>/   curated/  ledger.parquet  facts.parquet  tables/  report.html  report.json
                                                                  card.md  relabel.csv  run.json
    out/version          the id of the published version; replaced in one step
    out/history.jsonl    one line for each finished run and each roll back
    out/.dqpipe.json     says that dqpipe made the folder: without it nothing is written or removed
                         (see `dqpipe.storage.ownership`)
    out/curated, out/report.html, out/ledger.parquet      links to the published version's, on a
                                                          local disk

Whoever follows the pointer sees a whole version, the old or the new one, after a power cut too: a
version is on the disk before it has its name, and has its name before the pointer says so.
Elsewhere (s3://bucket/out) run.json is what comes last.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dqpipe.errors import DatasetError, OutputError
from dqpipe.execution.logs import harmless
from dqpipe.results import verdicts
from dqpipe.results.versions import (
    AUDITS,
    FILES,
    HISTORY,
    POINTER,
    Version,
    files_of,
    history,
    journal,
    published,
    remember,
    standing,
    versions,
    waiting,
)
from dqpipe.storage import no_links, ownership
from dqpipe.storage.fact_store import Store
from dqpipe.storage.location import Place, is_url, named, place, shown, synced
from dqpipe.storage.whole_files import spare_beside

log = logging.getLogger(__name__)
KIND = "output"
LINKS = ("curated", "report.html", "ledger.parquet")
OURS = {"versions", "store", POINTER, HISTORY, *LINKS, verdicts.FILE, AUDITS}
NO_LINKS = (
    ownership.MARKER,
    ownership.LOCK,
    ownership.PUBLISHING,
    "versions",
    POINTER,
    HISTORY,
    verdicts.FILE,
    AUDITS,
)
"""What is written to in an output, and must not lead out of it."""


def refuse(out: str | Path, *, force: bool, source: object) -> None:
    """Raise OutputError where an output must not go.

    Into the dataset, over a file, into somebody's folder, over what is there already.
    """
    if not is_url(out):
        _refuse_folder(Path(out), source)
    where = place(out)
    names = {name for name in where.listed() if name not in ownership.SYSTEM}
    if not ours(where) and ownership.strangers(names):
        raise ownership.foreign(where, KIND, names)
    shown = {name for name in names if not name.startswith(".")}
    if not force and shown & {POINTER} | shown - OURS:
        what = (
            "holds a published version"
            if POINTER in shown
            else f"is not empty (it holds {min(shown - OURS)!r})"
        )
        raise OutputError(
            f"the output {out} {what}: choose another one, or --force to publish beside and then "
            f"switch"
        )


def _refuse_folder(out: Path, source: object) -> None:
    if isinstance(source, (str, Path)) and (real := Path(source).resolve()).is_dir():
        inside = out.resolve().is_relative_to(real)
        if inside or real.is_relative_to(out.resolve() / "versions"):
            raise OutputError(
                f"the output {out} and the dataset {source} lie in each other: choose another "
                f"output folder"
            )
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; the output is a folder")
    for name in NO_LINKS:
        if (out / name).is_symlink():
            raise OutputError(
                f"{out / name} is a link, and dqpipe writes through none in its output: choose "
                f"another output, or take the link away"
            )


# whose it is --------------------------------------------------------------------------------------


def ours(out: Place) -> bool:
    """Whether dqpipe made an output, in this version or an earlier one. Raises OutputError."""
    return ownership.owner(out, KIND) is not None or _of_an_earlier_version(out) is not None


def claim(out: Place) -> str:
    """The id of an output, which is taken now if it is empty or of an earlier version.

    Raises OutputError.
    """
    return ownership.owner(out, KIND) or ownership.take(
        out, KIND, out.listed(), lambda: _of_an_earlier_version(out)
    )


def _of_an_earlier_version(out: Place) -> Mapping[str, Any] | None:
    """What a folder without a marker proves: {"versions": those that an earlier dqpipe made}.

    None if it is not such an output.
    """
    names = [name for name in out.listed() if name not in ownership.SYSTEM]
    if not {"versions", "store", verdicts.FILE} & set(names):
        return None
    made = [version for version in standing(out) if _record(out, version) is not None]
    if made:
        return {"versions": made}
    now = _pointer(out)
    if now and any(
        row.get("version") == now and ownership.RUN.fullmatch(str(row.get("run")))
        for row in journal(out)
    ):
        return {"versions": []}
    alone = not ownership.strangers(
        name for name in names if name not in {"versions", "store", verdicts.FILE, AUDITS}
    )
    empty = not ownership.strangers(out.listed("versions"))
    said = verdicts.FILE in names and bool(
        verdicts.verdicts(out)
    )  # what people said elsewhere, brought to a new output
    fine = (
        alone
        and empty
        and (said or not {verdicts.FILE, AUDITS} & set(names))
        and ("store" not in names or Store(out.at("store")).ours)
    )
    return {"versions": []} if fine else None


def _pointer(out: Place) -> str | None:
    try:
        now = published(out)
    except (OSError, OutputError, ValueError):
        return None
    return now if now and ownership.VERSION.fullmatch(now) else None


def _record(out: Place, version: str) -> Mapping[str, Any] | None:
    """The run.json of a version, if dqpipe wrote it for this version."""
    name = f"versions/{version}/run.json"
    try:
        told = json.loads(
            out.read(name) if out.local is None else no_links.read_below(out.local, name)
        )
    except (OSError, OutputError, ValueError, RecursionError):
        return None
    if (
        not isinstance(told, dict)
        or not {"id", "version", "dqpipe", "config", "stages"} <= told.keys()
    ):
        return None
    run = str(told["id"])
    return (
        told
        if told["version"] == version and ownership.RUN.fullmatch(run) and run[:22] == version[:22]
        else None
    )


def made(out: Place, owner: str, version: str) -> list[str]:
    """The files of a version that dqpipe wrote, run.json first and the list of them last.

    None where nothing proves it. Raises OutputError.
    """
    if not ownership.VERSION.fullmatch(version):
        return []
    files = files_of(out, version, owner) or _made_earlier(out, version)
    return sorted({*files}, key=lambda name: (name != "run.json", name == FILES, name))


def _made_earlier(out: Place, version: str) -> list[str]:
    """The same of a version that was here when the output was taken over from an earlier dqpipe.

    Nothing was added since then.
    """
    adopted, record = (ownership.marker(out, KIND) or {}).get("versions"), _record(out, version)
    if (
        record is None
        or not isinstance(adopted, list)
        or version not in adopted
        or not isinstance(record.get("holds"), dict)
    ):
        return []
    top = f"versions/{version}/"
    if out.local is None:
        sizes = {
            name.removeprefix(top): entry.size
            for name, entry in out.entries(top.rstrip("/")).items()
        }
    else:
        found = [
            path for path in (out.local / top).rglob("*") if path.is_file() or path.is_symlink()
        ]
        sizes = {
            path.relative_to(out.local / top).as_posix(): path.stat().st_size
            if path.exists()
            else 0
            for path in found
        }
    told = {name: size for name, size in sizes.items() if name != "run.json"}
    wanted = record["holds"]
    return (
        list(sizes)
        if (len(told), sum(told.values())) == (wanted.get("count"), wanted.get("bytes"))
        else []
    )


# before a run -------------------------------------------------------------------------------------


def create(out: Place) -> None:
    """Make an output's folder, and see that it can be written. Raises OutputError."""
    with named("write the output", out.url):
        if out.local is not None:
            (out.local / "versions").mkdir(parents=True, exist_ok=True)
            ownership.try_writing(out.below("versions"))
        elif ownership.owner(
            out, KIND
        ):  # else the marker is the first thing that is written, and the proof
            ownership.try_writing(out)
    claim(out)


def sweep(out: Place, owner: str) -> None:
    """Clear away what killed runs left, and finish what one may have left undone.

    For whoever holds the lock.
    """
    try:
        _sweep_spares(out, owner)
        _settle_last(out, owner)
        for name in out.listed("versions"):
            if ownership.VERSION.fullmatch(name) and not out.exists(f"versions/{name}/run.json"):
                _remove(out, name, files_of(out, name, owner))
    except OSError as error:
        log.warning("what killed runs left in %s could not be cleared away: %s", out.url, error)
    version = published(out)
    if version is None or version not in versions(out):
        return
    if any(
        row.get("version") == version and row.get("waiting") and not row.get("published")
        for row in history(out)
    ):
        remember(
            out, {"approved": version, "from": None, "by": "", "time": None}
        )  # it was switched to, and its approval not yet written
    if all(row.get("version") != version for row in journal(out)):
        row = Version(out, version).record.get("history")
        if row:
            remember(out, row)
    _links(out, version)


def _sweep_spares(out: Place, owner: str) -> None:
    if out.local is None:
        out.remove(*(name for name in out.listed() if ownership.PROBE.fullmatch(name)))
        spares = Path(tempfile.gettempdir())
        for path in spares.glob("dqpipe-*"):
            found = ownership.STAGED_ELSEWHERE.fullmatch(path.name)
            if found and found[1] == owner and not path.is_symlink():
                (no_links.remove_tree if path.is_dir() else no_links.remove_file)(spares, path.name)
        return
    ownership.sweep_spares(out.local, POINTER, LINKS)
    for name in out.listed("versions"):
        found = ownership.STAGING.fullmatch(name)
        if found and found[1] == owner:
            no_links.remove_tree(out.local, f"versions/{name}")


def _settle_last(out: Place, owner: str) -> None:
    """Finish or remove the version of a run that was killed between giving it its place and saying
    so.
    """
    try:
        version = json.loads(out.read(ownership.PUBLISHING))["version"]
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError, RecursionError):
        version = ""
    known = {published(out), *(row.get("version") for row in journal(out))}
    if version in known or not ownership.VERSION.fullmatch(str(version)):
        pass
    elif out.local is None and not files_of(out, version, owner):
        out.remove(
            f"versions/{version}/{FILES}"
        )  # the first of its objects, and cut off: the others come after it
    elif version in standing(out):
        record = _record(out, version)
        row = (record or {}).get("history") or {}
        if row.get("published") or (
            record is None and out.local is None
        ):  # it was to be, and never was; or its last object was cut off
            _remove(out, version, made(out, owner, version))
        elif row:
            remember(out, row)
            show(out, version)
    out.remove(ownership.PUBLISHING)


def stage(out: Place, owner: str, run: str) -> Path:
    """A new local folder to build a version in. Raises OutputError."""
    with named("write", f"{out.url}/versions"):
        if out.local is None:
            return Path(tempfile.mkdtemp(prefix=f"dqpipe-{run}.{owner}-"))
        folder = out.local / "versions" / f".{run}.{owner}"
        folder.mkdir(parents=True)
        return folder


def unstage(staging: Path) -> None:
    """Remove a staging folder, if it is still there."""
    try:
        no_links.remove_tree(staging.parent, staging.name)
    except OSError as error:
        log.warning("%s could not be removed: %s", staging, error)


# publishing ---------------------------------------------------------------------------------------


def bring(out: Place, staging: Path, version: str) -> None:
    """Give a version that was built in a staging folder its place: whole, or not at all.

    `done` ends it. Raises OSError, OutputError.
    """
    name = f"versions/{version}"
    out.write(ownership.PUBLISHING, json.dumps({"version": version}).encode())
    if out.local is not None:
        settle(staging)
        staging.rename(out.local / name)
        synced(out.local / "versions")
        return
    last = staging / "run.json"
    kept = last.rename(staging.with_name(f"{staging.name}.json"))
    try:
        out.put({f"{name}/{FILES}": staging / FILES})  # what a killed run leaves is known by it
        out.upload(staging, name)
        out.put({f"{name}/run.json": kept})
    except BaseException:
        out.remove(*(f"{name}/{file}" for file in (*place(staging).names(), "run.json")))
        raise
    finally:
        kept.unlink(missing_ok=True)


def done(out: Place) -> None:
    """Say that the version brought last is finished. Raises OutputError."""
    out.remove(ownership.PUBLISHING)


def settle(folder: Path) -> None:
    """Wait until all below a folder is on the disk. Raises OSError.

    One call for its whole file system (Linux): 10,000 files in 0.2 s, where fsync on each took 16
    s.
    """
    syncfs = (
        getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if os.name == "posix" else None
    )
    if syncfs is None:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                synced(path)
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(handle):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(handle)


def switch(out: Place, version: str) -> None:
    """Make a version the published one, in one step. Raises OutputError."""
    out.write(POINTER, f"{version}\n".encode())
    with harmless(f"the links in {shown(out.url)} are not switched"):
        _links(out, version)


def show(out: Place, version: str) -> None:
    """Link the report of a version that is not published."""
    if out.local is not None and _linked(out, version):
        _link(out.local, "report.html", version)


def _links(out: Place, version: str) -> None:
    if out.local is None:
        return
    for name in LINKS:
        if _linked(out, version):
            _link(out.local, name, version)
        elif _ours(out.local / name):
            no_links.remove_file(out.local, name)


def _linked(out: Place, version: str) -> bool:
    """Whether a version was made with `outputs.links`, as all were before there was a choice."""
    try:
        outputs = Version(out, version).record.get("config", {}).get("outputs", {})
    except DatasetError:
        return True
    return bool(outputs.get("links", True))


def _ours(where: Path) -> bool:
    """Whether this is a link into versions/, as dqpipe makes them."""
    return ownership.link_to_version(where, where.name)


def _taken(where: Path) -> bool:
    """Whether something else is where a link would be."""
    return (where.exists() or where.is_symlink()) and not _ours(where)


def in_the_way(out: Place) -> list[str]:
    """The names that would be links, and are something else (`dvc add` puts files in their place).

    They stay as they are.
    """
    return [] if out.local is None else [name for name in LINKS if _taken(out.local / name)]


def prune(out: Place, owner: str, keep: int) -> None:
    """Forget all but the newest `keep` versions that were published, and as many that failed their
    gates.

    The published version stays, and so do the one that was rolled back to last, and the one that
    waits for a person.
    """
    rows = journal(out)
    failed = {row.get("version") for row in history(out) if row.get("published") is False}
    back = [row["rolled_back"] for row in rows if "rolled_back" in row]
    stand = versions(out)
    stays = {published(out), waiting(out), *back[-1:]}
    for some in ([v for v in stand if v not in failed], [v for v in stand if v in failed]):
        for old in some[:-keep]:
            if old not in stays:
                _forget(out, owner, old)


def _forget(out: Place, owner: str, version: str) -> None:
    try:
        files = made(out, owner, version)
        if not files:
            log.warning(
                "the old version %s stays: nothing proves that dqpipe wrote all that is in it; "
                "remove it yourself",
                version,
            )
        _remove(out, version, files)
    except (OSError, OutputError) as error:
        log.warning("the old version %s could not be removed: %s", version, error)


def _remove(out: Place, version: str, files: Collection[str]) -> None:
    """Remove these files of a version, in this order, and the folders that are empty then.

    Raises OSError, OutputError.
    """
    name = f"versions/{version}"
    if out.local is None:
        first = [f"{name}/{file}" for file in files if file == "run.json"]
        out.remove(*first)  # what has none is no version
        out.remove(*(f"{name}/{file}" for file in files if file not in {"run.json", FILES}))
        out.remove(*(f"{name}/{file}" for file in files if file == FILES))
    elif files and not no_links.remove_listed(out.local, name, files):
        log.warning("%s holds files that dqpipe did not write: they stay", out.local / name)


def _link(out: Path, name: str, version: str) -> None:
    """A relative link out/name → versions/<version>/name, switched in one step.

    What is in its place and not of dqpipe is left.
    """
    where = out / name
    if _taken(where):
        log.warning(
            "%s is no link of dqpipe: it stays as it is, and does not show version %s",
            where,
            version,
        )
        return
    with (
        contextlib.suppress(OSError),
        spare_beside(where) as spare,
    ):  # a file system without links: the pointer file is what counts
        spare.symlink_to(Path("versions") / version / name)
        spare.replace(where)
