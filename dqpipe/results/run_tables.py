"""The tables of a run, or of a version, joined and counted: what gates and news look at."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.config.gate_grammar import BY_POLICY, COMPARED, DECISIONS, VERDICTS, Subject
from dqpipe.data.labels import label_text
from dqpipe.data.tables import DECISIONS as DECIDED
from dqpipe.data.tables import SEVERITIES, Decisions, Facts, Figures, Findings, Samples
from dqpipe.data.version_comparison import beside
from dqpipe.results.report import counts as tally

Key = str | None


class Tables:
    """What a run came to, as far as gates look at it.

    `unread` [n] bool are the samples whose media cannot be read; `made_by` says for each stage how
    it came to its findings: where that text is another one than in the last version, the two cannot
    be compared. `verdicts` is what run.json says of them.
    """

    def __init__(
        self,
        samples: Samples,
        findings: Findings,
        decisions: Decisions,
        curated: Samples | None,
        figures: Figures,
        *,
        unread: np.ndarray | None = None,
        made_by: Mapping[str, str] | None = None,
        verdicts: Mapping[str, Any] | None = None,
    ) -> None:
        self.verdicts = verdicts or {}
        self.samples, self.figures, self.made_by = samples, figures, made_by or {}
        self._parts, self._unread = (findings, decisions, curated), unread
        self._beside: tuple[Tables, dict[str, np.ndarray]] | None = None

    def beside(self, last: Tables, what: str) -> np.ndarray:
        """[n] bool: samples that are "new", hold other bytes ("replaced"), are either ("fresh"), or
        have another label ("switched"), since the last version.
        """
        if self._beside is None or self._beside[0] is not last:
            self._beside = last, _beside(self.samples, last.samples)
        return self._beside[1][what]

    def same(self, code: str, last: Tables) -> bool:
        """Whether the stage of a code came to its findings as it did in the last version."""
        stage = code.rpartition(".")[0]
        return not (self.made_by and last.made_by) or self.made_by.get(stage) == last.made_by.get(
            stage
        )

    @cached_property
    def carried(self) -> list[str]:
        """The codes under which a warning or an error was claimed of a sample."""
        joined = self.joined
        return [
            joined.codes[number]
            for number in np.unique(joined.code[(joined.at >= 0) & (joined.severity > 0)]).tolist()
        ]

    @cached_property
    def joined(self) -> tally.Joined:
        """The tables joined on the sample."""
        return tally.Joined.of(self.samples, *self._parts)

    @cached_property
    def stated(self) -> dict[tuple[str, str, str], dict[Key, float | None]]:
        """Figures: (name, scope, raw or curated) → key → value."""
        found: dict[tuple[str, str, str], dict[Key, float | None]] = {}
        for row in self.figures.table.to_pylist():
            number = row["value"]
            fine = number is not None and math.isfinite(number)
            found.setdefault((row["figure"], row["scope"], row["of"] or "raw"), {})[row["key"]] = (
                number if fine else None
            )
        return found

    def members(self, samples: Samples, scope: str | None) -> tuple[np.ndarray, pa.Array]:
        """Which rows stand in which class: positions and names.

        All of them in one without a name where there is no scope.
        """
        if scope is None:
            return np.arange(len(samples)), pa.nulls(len(samples), pa.string())
        rows, values, _ = tally.members(samples, "label" if scope == "class" else scope)
        known = pc.is_valid(values).to_numpy(zero_copy_only=False)
        return rows[known], values.filter(pa.array(known))

    def counted(self, samples: Samples, hit: np.ndarray, scope: str | None) -> dict[Key, int]:
        """Samples that are hit, by class."""
        rows, values = self.members(samples, scope)
        counts = pc.value_counts(values.filter(pa.array(hit[rows]))).to_pylist()
        return {row["values"]: int(row["counts"]) for row in counts}

    def carries(self, code: str) -> np.ndarray:
        """[n] bool: the samples of which a warning or an error is claimed under a code."""
        joined, hit = self.joined, np.zeros(len(self.samples), dtype=bool)
        at = joined.codes.index(code) if code in joined.codes else -1
        hit[joined.at[(joined.code == at) & (joined.at >= 0) & (joined.severity > 0)]] = True
        return hit

    def hits(self, subject: Subject, last: Tables | None = None) -> tuple[Samples, np.ndarray]:
        """The samples and which of them count; `last` is what they are beside."""
        joined, every = self.joined, np.ones(len(self.samples), dtype=bool)
        if subject.kind == "code":
            codes = [
                number
                for number, code in enumerate(joined.codes)
                if fnmatch.fnmatchcase(code, subject.name)
            ]
            at = joined.at[np.isin(joined.code, codes) & (joined.at >= 0)]
            hit = ~every
            hit[at] = True
            return self.samples, hit
        if subject.kind == "decision" or subject.name == BY_POLICY:
            hit = joined.decision == DECIDED.index(DECISIONS.get(subject.name, "drop"))
            return self.samples, hit & ~joined.ruled() if subject.name == BY_POLICY else hit
        if subject.name in ("curated", "added"):
            return joined.curated, np.ones(
                len(joined.origin), dtype=bool
            ) if subject.name == "curated" else joined.origin < 0
        if subject.name in COMPARED:
            return self.samples, ~every if last is None else self.beside(last, subject.name)
        if subject.name == "unreadable":
            return self.samples, ~every if self._unread is None else self._unread
        marks = {"marked": joined.marked, "held": joined.held}
        return self.samples, marks[subject.name]() if subject.name in marks else every

    def about_all(self, name: str) -> list[str]:
        """The findings about the whole dataset in words: errors, or (whole) warnings too."""
        least = SEVERITIES.index("error" if name == "errors" else "warning")
        rows = np.flatnonzero((self.joined.at < 0) & (self.joined.severity >= least))
        told = self._parts[0].table.select(["code", "detail"]).take(rows).to_pylist()
        return [
            f"{row['code']} ({row['detail']})" if row["detail"] else row["code"] for row in told
        ]

    def number(self, name: str) -> int:
        """A count that is not of samples."""
        if name in VERDICTS:
            return int(
                self.verdicts.get(VERDICTS[name], self.verdicts.get("unmatched", 0))
            )  # an earlier dqpipe told less
        samples, column = (
            (self.joined.curated if name == "classes_after" else self.samples),
            "split" if name == "splits" else "label",
        )
        values = tally.members(samples, column).values
        return int(pc.count_distinct(values).as_py())

    def sizes(self, scope: str | None, among: np.ndarray | None = None) -> dict[Key, int]:
        """Samples, or those among some [n] bool, by class."""
        return self.counted(
            self.samples, np.ones(len(self.samples), dtype=bool) if among is None else among, scope
        )


def _beside(now: Samples, last: Samples) -> dict[str, np.ndarray]:
    """How samples [n] are beside those of the last version.

    New, replaced, either of them ("fresh"), switched; each bool [n].
    """
    return {**beside(now, last), "switched": _switched(now, last)}


def _switched(now: Samples, last: Samples) -> np.ndarray:
    """[n] bool: samples whose content stood in the last version, but not under the label that it
    has now.
    """
    if "label" not in now or "label" not in last:
        return np.zeros(len(now), dtype=bool)
    old: dict[str, set[str | None]] = {}
    for content, label in zip(
        last.table.column("content").to_pylist(),
        last.table.column("label").to_pylist(),
        strict=True,
    ):
        old.setdefault(content, set()).add(label_text(label))
    rows = zip(
        now.table.column("content").to_pylist(), now.table.column("label").to_pylist(), strict=True
    )
    return np.array(
        [content in old and label_text(label) not in old[content] for content, label in rows],
        dtype=bool,
    )


def unreadable(facts: Facts) -> np.ndarray | None:
    """[n] bool: the samples whose media cannot be read; None where there are no media."""
    if "media.ok" not in facts:
        return None
    ok = facts.table.column("media.ok").combine_chunks()
    return pc.invert(pc.fill_null(ok, False)).to_numpy(zero_copy_only=False)
