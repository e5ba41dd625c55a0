"""Where a run's output goes: versions beside each other, and one pointer that is switched.

    out/versions/<id>/   curated/  ledger.parquet  report.html  report.json  relabel.csv  run.json
    out/version          the id of the published version; replaced in one step
    out/history.jsonl    one line for each finished run
    out/curated, out/report.html      links to the published version's

Whoever follows the pointer sees a whole version, the old or the new one.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path

from dqpipe.errors import OutputError
from dqpipe.store import KILLED_AFTER
from dqpipe.versions import HISTORY, POINTER, published

OURS = {"versions", "store", POINTER, HISTORY, "curated", "report.html"}


def refuse(out: Path, *, force: bool, source: object) -> None:
    """Raise OutputError where an output must not go: into the dataset, over a file, over what is there already."""
    if isinstance(source, (str, Path)) and (real := Path(source).resolve()).is_dir():
        inside = out.resolve().is_relative_to(real)
        if inside or real.is_relative_to(out.resolve() / "versions"):
            raise OutputError(f"the output {out} and the dataset {source} lie in each other: choose another output folder")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; the output is a folder")
    try:
        names = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.exists() else set()
    except OSError as error:
        raise OutputError(f"cannot read the output {out}: {error.strerror or error}") from None
    if not force and (published(out) or names - OURS):
        what = "holds a published version" if published(out) else f"is not empty (it holds {min(names - OURS)!r})"
        raise OutputError(f"the output {out} {what}: choose another one, or --force to publish beside and then switch")


def create(out: Path) -> None:
    """Make an output's folder, see that it can be written, and clear away what runs that were killed a day ago left. Raises OutputError."""
    try:
        (out / "versions").mkdir(parents=True, exist_ok=True)
        probe = out / "versions" / f".probe-{uuid.uuid4().hex[:8]}"
        probe.mkdir()
        probe.rmdir()
        for left in (out / "versions").glob(".*"):
            if time.time() - left.stat().st_mtime > KILLED_AFTER:
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write the output {out}: {error.strerror or error}") from None


def switch(out: Path, version: str, keep: int) -> None:
    """Make a version the published one, in one step, and forget all but the newest `keep`."""
    _replace(out / POINTER, version + "\n")
    for name in ("curated", "report.html"):
        link(out, name, version)
    stand = sorted((p for p in (out / "versions").iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    for old in stand[:-keep]:
        if old.name != version:
            shutil.rmtree(old, ignore_errors=True)


def link(out: Path, name: str, version: str) -> None:
    """A relative link out/name → versions/<version>/name, switched in one step; a real file in its place is left."""
    place = out / name
    if place.exists() and not place.is_symlink():
        return
    spare = out / f".{name}.{uuid.uuid4().hex[:8]}"
    try:
        spare.symlink_to(Path("versions") / version / name)
        os.replace(spare, place)  # noqa: PTH105
    except OSError:
        spare.unlink(missing_ok=True)  # a file system without links: the pointer file is what counts


def _replace(path: Path, text: str) -> None:
    spare = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with spare.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    spare.replace(path)
