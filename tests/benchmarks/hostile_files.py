"""A folder of broken, hostile and unusual files (tests/hostile_files.py).

Who gets through it, and what is said of each file.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.bench import Bench, Row, Section

TITLE = "Hostile files"
PATIENCE = 30
"""Seconds that CleanVision is given for a folder, which takes it a few where it gets through.

A pipe makes it wait for ever.
"""
ALONE = 5
"""Seconds for one file."""


def report(bench: Bench) -> Section:
    """One row: the default pipeline over the corpus, and CleanVision over the same folder."""
    folder, out = bench.scratch / "hostile", bench.scratch / "hostile-out"
    bench.ours("hostile_files", "make", folder)
    ours = bench.ours("hostile_files", "run", folder, out)
    counts = ours.said
    done = (
        f"{counts['crashes']} crashes; unreadable named with a reason: {counts['named']} of "
        f"{counts['unreadable']}; readable measured: {counts['measured']} of "
        f"{counts['readable']}; every one of {counts['files']} in the ledger once: "
        f"{'yes' if counts['once'] else 'no'}"
    )
    peer, text = "", "The peers' environment is missing: CleanVision was not asked."
    if bench.peers is not None:
        theirs = bench.theirs("hostile_files", "cleanvision", folder, 8 if bench.quick else 1)
        peer, text = told(theirs.said)
    names = (
        f"{counts['files']} broken, hostile and unusual files (of {counts['either']} nobody can "
        f"tell whether they are sound), default pipeline, two processes"
    )
    return Section(
        [Row(names, f"{done}; {ours.seconds:.1f} s", peer, "", f"{ours.mib:,.0f} MiB")], text
    )


def told(said: dict) -> tuple[str, str]:
    """CleanVision's cell of the table, and the text below it."""
    alone = said["alone"]
    crashes = ", ".join(
        f"{kind} {count}"
        for kind, count in sorted(alone["crashes"].items(), key=lambda item: -item[1])
    )
    peer = (
        f"CleanVision: on the folder {said['folder']}; on its plain files with plain names "
        f"{said['plain']}"
    )
    text = (
        f"By their extension CleanVision takes {alone['files']:,} of the plain files for images, "
        f"and leaves out the others without a word. "
        f"The first that ends it is number {alone['first']}, `{alone['name']}`. Asked for each "
        f"file by itself (1 in {alone['step']}), "
        f"it measures {alone['measured']} of {alone['readable']} readable ones, and ends with an "
        f"exception on {alone['ended']} of {alone['asked']} ({crashes})."
    )
    return peer, text


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


def make(folder: Path) -> dict:
    """The corpus, and its truths in a file beside it."""
    from tests.hostile_files import make as corpus

    truths = corpus(folder)
    told_ = {os.fsencode(name).hex(): asdict(truth) for name, truth in truths.items()}
    truth_file(folder).write_text(json.dumps(told_))
    return {"files": len(truths)}


def truth_file(folder: Path) -> Path:
    """Where the truths are kept: file name in hexadecimal → truth."""
    return folder.with_suffix(".json")


def truths_of(folder: Path) -> dict[str, dict]:
    """Name below the folder, as the system gives it → truth."""
    return {
        os.fsdecode(bytes.fromhex(name)): truth
        for name, truth in json.loads(truth_file(folder).read_text()).items()
    }


def run(folder: Path, out: Path) -> dict:
    """The pipeline that dqpipe proposes, and what it said of the files."""
    from dqpipe.api import Pipeline
    from dqpipe.storage.paths import path_text

    truths = {
        path_text(name): truth
        for name, truth in truths_of(folder).items()
        if not truth["left_out"] and not truth["hidden"]
    }
    began = time.perf_counter()
    try:
        result = Pipeline.proposed(str(folder), path=str(out)).run("processes:2", shard_size=128)
    except Exception as error:  # noqa: BLE001 (this is what is counted)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return {"crashes": 1, "seconds": time.perf_counter() - began} | dict.fromkeys(
            ("files", "once", "named", "unreadable", "measured", "readable", "either"), 0
        )
    seconds = time.perf_counter() - began
    facts, findings, decided = (
        frame.set_index("id") for frame in (result.facts, result.findings, result.decisions)
    )
    named = set(
        findings.index[
            (findings["code"] == "files.unreadable") & (findings["detail"].str.len() > 10)
        ]
    )
    measured = set(
        facts.index[facts["image_quality.width"].notna() & facts["duplicates.exact"].notna()]
    )
    readable, broken, either = (
        {name for name, truth in truths.items() if truth["readable"] is state}
        for state in (True, False, None)
    )
    return {
        "crashes": 0,
        "seconds": seconds,
        "files": len(truths),
        "once": sorted(decided.index) == sorted(truths),
        "named": len(named & broken),
        "unreadable": len(broken),
        "measured": len(measured & readable),
        "readable": len(readable),
        "either": len(either),
    }


def cleanvision(folder: Path, step: int) -> dict:
    """CleanVision on the folder, on its plain files, and on each of these (or every so many) by
    itself.
    """
    truths = truths_of(folder)
    endings = (".jpg", ".jpeg", ".gif", ".jp2", ".tif", ".tiff", ".webp", ".png", ".bmp")
    plain = sorted(
        name
        for name in truths
        if (folder / name).is_file()
        and (folder / name).stat().st_size < 2**30
        and name.lower().endswith(endings)
    )
    asked = plain[::step]
    ends = {name: attempt([str(folder / name)]) for name in asked}
    first = next((name for name in asked if ends[name] is not None), "")
    crashes = collections.Counter(end.split(":")[0] for end in ends.values() if end is not None)
    readable = [name for name in asked if truths[name]["readable"]]
    alone = {
        "files": len(plain),
        "first": plain.index(first) + 1 if first else 0,
        "name": first.encode("unicode_escape").decode(),
        "step": step,
        "asked": len(asked),
        "readable": len(readable),
        "measured": sum(ends[name] is None for name in readable),
        "ended": sum(crashes.values()),
        "crashes": dict(crashes),
    }
    tame = [name for name in plain if name.isprintable() and not name.startswith("names/")]
    return {
        "folder": outcome(str(folder)),
        "plain": outcome(*(str(folder / name) for name in tame)),
        "alone": alone,
    }


def outcome(*where: str) -> str:
    """How CleanVision fares with a folder or a list of files, in a process that may be ended."""
    command = [sys.executable, "-m", "tests.benchmarks.hostile_files", "attempt"]
    try:
        done = subprocess.run(
            command,
            input="\0".join(where),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            errors="surrogateescape",
        )
    except subprocess.TimeoutExpired:
        return f"waits for a pipe or a device (ended after {PATIENCE} s)"
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return f"dies with exit code {done.returncode}"
    end = json.loads(lines[-1])["end"]
    return f"ends with {end}" if end else "gets through"


def attempt(where: list[str]) -> str | None:
    """The exception that ends CleanVision on these files, or on the folder if it is one.

    None if there is none.
    """
    import contextlib
    import io
    import signal
    import warnings

    from cleanvision import Imagelab

    def give_up(*_: object) -> None:
        raise TimeoutError(f"nothing within {ALONE} s")

    folder = len(where) == 1 and Path(where[0]).is_dir()
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(0 if folder or len(where) > 1 else ALONE)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            lab = Imagelab(data_path=where[0]) if folder else Imagelab(filepaths=where)
            lab.find_issues(n_jobs=1, verbose=False)
        except Exception as error:  # noqa: BLE001 (this is what is counted)
            return f"{type(error).__name__}: {textwrap.shorten(str(error), 60, placeholder=' …')}"
        finally:
            signal.alarm(0)
    return None


def main() -> None:
    """Run a job, and print what it found as JSON."""
    job, *given = sys.argv[1:]
    if job == "attempt":
        said = {"end": attempt(os.fsdecode(sys.stdin.buffer.read()).split("\0"))}
    else:
        said = {
            "make": lambda: make(Path(given[0])),
            "run": lambda: run(Path(given[0]), Path(given[1])),
            "cleanvision": lambda: cleanvision(Path(given[0]), int(given[1])),
        }[job]()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
