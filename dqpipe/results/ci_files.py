"""What a CI system is told of a run: one line, a badge, the gates as JUnit XML.

    record ──▶ summary: one line      badge: shields.io's endpoint format      junit: a test for
                                      each gate, and for each stage that failed

All of them are written whole, and before the exit code says what failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from dqpipe.config import gate_grammar
from dqpipe.data.wording import many
from dqpipe.errors import DqpipeError, OutputError, printable, readable
from dqpipe.storage import ownership
from dqpipe.storage.whole_files import write_whole

LONG = 60
"""Letters of a badge's message."""


def summary(record: Mapping[str, Any]) -> str:
    """A run in one line: passed or not, the numbers that matter, the gates."""
    told, judged, failed = record["account"], record["gates"], _failed(record)
    parts = ["unchanged"] if record["run"].get("unchanged") else []
    parts += [
        _state(record),
        many(told["samples"], "sample"),
        f"{told['marked']:,} flagged",
        f"{told['dropped']:,} dropped",
        f"{told['relabelled']:,} relabelled",
        f"{told['review']:,} for review",
    ]
    states = [gate_grammar.state(gate) for gate in judged]
    parts += (
        [f"{states.count('passed')} of {many(len(judged), 'gate')} passed"]
        if judged
        else ["no gates"]
    )
    parts += [
        f"{states.count(state)} {word}"
        for state, word in (
            ("unjudged", "unjudged"),
            ("first", "without a version to compare with"),
        )
        if state in states
    ]
    changed = brief(record["run"].get("news") or ())
    parts += [f"since the last version: {changed}"] if changed else []
    parts += [f"failed: {gate['gate']}" for gate in failed]
    return printable(f"dqpipe: {' · '.join(parts)}")


def badge(record: Mapping[str, Any]) -> dict[str, Any]:
    """A badge in the endpoint format of shields.io.

    Green, yellow where a gate could not be judged, orange where samples could not be measured, else
    red.
    """
    told, failed = record["account"], _failed(record)
    message = f"{told['marked']:,} of {told['samples']:,} flagged"
    color = "green"
    if failed:
        message, color = (
            f"failed: {failed[0]['gate']}"
            + (f" and {len(failed) - 1} more" if len(failed) > 1 else ""),
            "red",
        )
    elif record["failures"]["total"]:
        message, color = "some samples could not be measured", "orange"
    elif unjudged := sum(gate_grammar.state(gate) == "unjudged" for gate in record["gates"]):
        message, color = f"{many(unjudged, 'gate')} unjudged, {message}", "yellow"
    message = printable(message)
    message = message if len(message) <= LONG else message[: LONG - 1] + "…"
    return {
        "schemaVersion": 1,
        "label": "data quality",
        "message": message,
        "color": color,
        "isError": bool(failed),
    }


def junit(record: Mapping[str, Any]) -> bytes:
    """A test suite: a test for each gate (skipped where it could not be judged), an error for each
    stage that failed, and the run itself.
    """
    suite = _suite(record["run"].get("seconds") or 0)
    _case(suite, "dqpipe", "run", None, None)
    for row in record["failures"]["rows"]:
        _case(
            suite,
            "dqpipe.stages",
            row["stage"],
            "error",
            f"{many(row['samples'], 'sample')}: {row['reason']}",
        )
    for gate in record["gates"]:
        kind = (
            "failure"
            if not gate["passed"]
            else None
            if gate_grammar.state(gate) == "passed"
            else "skipped"
        )
        _case(suite, "dqpipe.gates", gate["gate"], kind, gate["said"])
    return _xml(suite)


def junit_of_error(error: Exception) -> bytes:
    """A test suite for a run that came to no end."""
    suite = _suite(0)
    _case(suite, "dqpipe", "run", "error", f"{type(error).__name__}: {error}")
    return _xml(suite)


@dataclass(frozen=True)
class Files:
    """Where a CI system looks: None for what is not asked for."""

    badge: Path | None = None
    junit: Path | None = None
    written: list[Path] = field(default_factory=list)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write what is asked for. Raises OutputError."""
        if self.badge is not None:
            self._put(self.badge, json.dumps(badge(record), ensure_ascii=False).encode() + b"\n")
        if self.junit is not None:
            self._put(self.junit, junit(record))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Whatever ends a run before it was told is told instead.

        No file of an earlier run stays in its place.

        Raises OutputError at once where somebody else's file is in the place of one of these.
        """
        for path, like in (
            (self.badge, b'"label": "data quality"'),
            (self.junit, b'<testsuites name="dqpipe"'),
        ):
            if path is not None:
                ownership.refuse_to_replace(path, partial(_holds, like))
        try:
            yield
        except DqpipeError as error:
            if self.badge is not None and self.badge not in self.written:
                said = {
                    "schemaVersion": 1,
                    "label": "data quality",
                    "message": "did not run",
                    "color": "red",
                    "isError": True,
                }
                self._put(self.badge, json.dumps(said).encode() + b"\n")
            if self.junit is not None and self.junit not in self.written:
                self._put(self.junit, junit_of_error(error))
            raise

    def _put(self, path: Path, data: bytes) -> None:
        try:
            write_whole({path: data})
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
        self.written.append(path)


def _holds(like: bytes, beginning: bytes) -> bool:
    return like in beginning


def _failed(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [gate for gate in record["gates"] if not gate["passed"]]


def _state(record: Mapping[str, Any]) -> str:
    return (
        "FAILED"
        if _failed(record)
        else "WAITS FOR APPROVAL"
        if record["run"].get("asks")
        else "INCOMPLETE"
        if record["failures"]["total"]
        else "passed"
    )


def _suite(seconds: float) -> ET.Element:
    return ET.Element("testsuite", name="dqpipe", time=f"{seconds:.3f}")


def _case(suite: ET.Element, of: str, name: str, kind: str | None, said: str | None) -> None:
    case = ET.SubElement(suite, "testcase", classname=of, name=readable(name), time="0")
    if kind is not None:
        found = ET.SubElement(case, kind, message=readable(said or ""))
        if kind != "skipped":
            found.set("type", of.rpartition(".")[2])
    elif said:
        ET.SubElement(case, "system-out").text = readable(said)


def _xml(suite: ET.Element) -> bytes:
    for name, kind in (
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ):
        suite.set(name, str(sum(1 for _ in suite.iter(kind))))
    whole = ET.Element("testsuites", name="dqpipe")
    whole.append(suite)
    return ET.tostring(whole, encoding="utf-8", xml_declaration=True) + b"\n"


def brief(rows: Iterable[Mapping[str, Any]], shown: int = 3) -> str:
    """The first of them in one line, for a message.

    "class cat gone (40 samples), +37 label_noise.likely_wrong (12 → 49)"; empty where nothing
    changed.
    """
    told = [str(row["said"]) for row in rows]
    rest = len(told) - shown
    return ", ".join([*told[:shown], *([f"{rest:,} more"] if rest > 0 else [])])
