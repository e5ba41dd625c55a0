#!/usr/bin/env python
"""Score the ledger of a run over the sample data against truth.csv.

    ledger rows (id, code, severity, match, decision) + truth rows (path, kind, expected, source)
        ──▶ Score: share found of each kind, precision of wrong labels, sound samples flagged,
            dropped, relabelled

A claim counts from the severity warning upwards. A duplicate counts as found when copy and source
stand in one cluster of such claims and either carries the expected code.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from dqpipe.review.explain import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = dict[str, Any]

TRUTH = Path(__file__).with_name("truth.csv")
NEEDED = ("id", "code", "severity", "match", "decision")
OPTIONAL = ("part", "detail")

MIN_FOUND = 0.90  # of each kind
MIN_WRONG_LABELS = 0.80
MIN_PRECISION = 0.70  # of the claims of a wrong label
MAX_FLAGGED = 0.03  # of the sound samples; at most
MAX_CHANGED = 0.01  # of the sound samples, dropped or relabelled; below

WRONG_LABEL = "label_noise.likely_wrong"
WRONGLY_LABELLED = ("wrong_label", "stranger")


@dataclass(frozen=True)
class Kind:
    """How many faults of one kind were planted and found."""

    name: str
    planted: int
    found: int

    @property
    def share(self) -> float:
        """Found of planted."""
        return self.found / self.planted

    @property
    def target(self) -> float:
        """The least share that will do."""
        return MIN_WRONG_LABELS if self.name == "wrong_label" else MIN_FOUND


@dataclass(frozen=True)
class Score:
    """What a run found of what was planted, and what it did to sound samples."""

    kinds: tuple[Kind, ...]
    wrong_label_claims: int
    true_wrong_label_claims: int
    sound: int
    flagged: tuple[str, ...]
    dropped: tuple[str, ...]
    relabelled: tuple[str, ...]

    @property
    def precision(self) -> float:
        """True of all claims of a wrong label; 0 without a claim."""
        return self.true_wrong_label_claims / max(self.wrong_label_claims, 1)

    @property
    def missed(self) -> tuple[str, ...]:
        """The targets that were missed, in words."""
        changed = len({*self.dropped, *self.relabelled})
        checks = [
            (f"{kind.name} {kind.share:.0%} found", kind.share >= kind.target)
            for kind in self.kinds
        ]
        checks += [
            (f"precision of wrong labels {self.precision:.0%}", self.precision >= MIN_PRECISION),
            (
                f"{len(self.flagged)} sound samples flagged",
                len(self.flagged) <= MAX_FLAGGED * self.sound,
            ),
            (f"{changed} sound samples dropped or relabelled", changed < MAX_CHANGED * self.sound),
        ]
        return tuple(words for words, reached in checks if not reached)

    def record(self) -> Row:
        """Return everything as plain values."""
        kinds = [
            {**asdict(kind), "share": kind.share, "target": kind.target} for kind in self.kinds
        ]
        return {**asdict(self), "kinds": kinds, "precision": self.precision, "missed": self.missed}


def score(ledger: Iterable[Row], truth: Iterable[Row]) -> Score:
    """Compare a ledger's rows with the planted faults."""
    ledger, truth = list(ledger), list(truth)
    claims = [row for row in ledger if row["code"] and row["severity"] in ("warning", "error")]
    codes: dict[str, set[str]] = defaultdict(set)
    for row in claims:
        codes[row["id"]].add(row["code"])
    clusters = connected((row["id"], row["match"]) for row in claims if is_pair(row))
    decisions = {
        row["id"]: row["decision"] for row in ledger if row["id"] is not None and row["decision"]
    }

    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for row in truth:
        if row["kind"] != "sound":
            planted[row["kind"]] += 1
            found[row["kind"]] += is_found(row, ledger, codes, clusters)

    sound = [row["path"] for row in truth if row["kind"] == "sound"]
    copies = {row["source"]: row["path"] for row in truth if row["source"]}
    owed = {row["id"] for row in ledger if is_pair(row) and copies.get(row["id"]) == row["match"]}
    flagged = {
        row["id"] for row in claims if not (is_pair(row) and copies.get(row["id"]) == row["match"])
    }
    replaced = {path for path in owed if decisions.get(copies[path]) != "drop"}

    wrong = {row["path"] for row in truth if row["kind"] in WRONGLY_LABELLED}
    claimed = {path for path, its in codes.items() if WRONG_LABEL in its}
    return Score(
        kinds=tuple(Kind(name, planted[name], found[name]) for name in sorted(planted)),
        wrong_label_claims=len(claimed),
        true_wrong_label_claims=len(claimed & wrong),
        sound=len(sound),
        flagged=tuple(path for path in sound if path in flagged),
        dropped=tuple(
            path for path in sound if decisions.get(path) == "drop" and path not in replaced
        ),
        relabelled=tuple(path for path in sound if decisions.get(path) == "relabel"),
    )


def is_found(
    row: Row, ledger: list[Row], codes: dict[str, set[str]], clusters: dict[str, str]
) -> bool:
    """Say whether the expected code stands on a planted fault, or on its pair, or on the dataset
    for a class.
    """
    expected = set(row["expected"].split("|"))
    if not row["path"]:
        return any(
            claim["id"] is None and claim["code"] in expected and names(claim, row["label"])
            for claim in ledger
        )
    if row["source"]:
        path, source = row["path"], row["source"]
        together = path in clusters and clusters[path] == clusters.get(source)
        return together and bool(expected & (codes[path] | codes[source]))
    return bool(expected & codes[row["path"]])


def names(claim: Row, label: str) -> bool:
    """Say whether a claim about the dataset names a class."""
    return claim.get("part") == label or label in str(claim.get("detail") or "")


def is_pair(row: Row) -> bool:
    """Say whether a row claims that two samples show the same."""
    return bool(row["match"]) and str(row["code"]).startswith("duplicates.")


def connected(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return, for each member of a pair, one representative of all that hang together with it."""
    parents: dict[str, str] = {}

    def root(member: str) -> str:
        while parents.setdefault(member, member) != member:
            member = parents[member]
        return member

    for one, other in pairs:
        parents[root(one)] = root(other)
    return {member: root(member) for member in list(parents)}


def read_ledger(path: Path) -> list[Row]:
    """Read the columns of a ledger that are scored."""
    columns = pq.read_schema(path).names
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        message = f"{path} has no column {', '.join(absent)}; it has {', '.join(columns[:12])}"
        raise ValueError(message)
    wanted = [name for name in (*NEEDED, *OPTIONAL) if name in columns]
    rows: list[Row] = pq.read_table(path, columns=wanted).to_pylist()
    return rows


def read_truth(path: Path) -> list[Row]:
    """Read truth.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(result: Score) -> Table:
    """Lay a score out for the terminal."""
    shown = Table(title="planted faults", footer_style="")
    for name in ("kind", "planted", "found", "share", "target"):
        shown.add_column(name, justify="left" if name == "kind" else "right")
    for kind in result.kinds:
        style = "red" if kind.share < kind.target else None
        cells = (str(kind.planted), str(kind.found), f"{kind.share:.0%}", f"≥ {kind.target:.0%}")
        shown.add_row(kind.name, *cells, style=style)
    shown.add_section()
    shown.add_row(
        "wrong labels: precision",
        str(result.wrong_label_claims),
        str(result.true_wrong_label_claims),
        f"{result.precision:.0%}",
        f"≥ {MIN_PRECISION:.0%}",
    )
    for name, paths, target in (
        ("sound: flagged", result.flagged, f"≤ {MAX_FLAGGED:.0%}"),
        ("sound: dropped", result.dropped, f"< {MAX_CHANGED:.0%}"),
        ("sound: relabelled", result.relabelled, f"< {MAX_CHANGED:.0%}"),
    ):
        shown.add_row(
            name,
            str(result.sound),
            str(len(paths)),
            f"{len(paths) / max(result.sound, 1):.1%}",
            target,
        )
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, print the score, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="a run's output, with ledger.parquet")
    parser.add_argument(
        "truth", type=Path, nargs="?", default=TRUTH, help="default: the one beside this script"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args(arguments)
    ledger = Path(options.out) / "ledger.parquet"
    result = score(
        read_ledger(ledger if ledger.exists() else version_of(options.out).file("ledger.parquet")),
        read_truth(options.truth),
    )
    if options.json:
        sys.stdout.write(json.dumps(result.record(), indent=2) + "\n")
    else:
        console = Console()
        console.print(table(result))
        for words in result.missed:
            console.print(f"missed: {words}", style="red")
    return 1 if result.missed else 0


if __name__ == "__main__":
    sys.exit(main())
