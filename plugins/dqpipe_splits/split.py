"""Training, validation and test splits, and folds, that no copy, group or moment crosses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from dqpipe import (
    Claim,
    ConfigError,
    Fact,
    Facts,
    Figure,
    Pixels,
    Samples,
    Stage,
    extension,
    option,
)
from dqpipe import splits as split_kinds
from dqpipe_splits import assignment, links, split_findings, strata, timeline
from dqpipe_splits.links import Link
from dqpipe_splits.split_findings import UNUSED

if TYPE_CHECKING:
    import pandas as pd


@extension
class Split(Stage):
    """Train, validation and test splits, and folds, that no copy, group or time crosses:
    stratified, seeded, and stable as the data grow.
    """

    name = "split"
    version = 2
    order = 800

    splits: dict[str, float] = option(
        help=(
            "the share of each split, which sum to 1; one is named for training. Not used where "
            "the dataset has splits, unless `existing: replace`"
        ),
        at="relate",
        factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1},
    )
    folds: int = option(
        0,
        "make so many folds of the training samples, in the column `fold` (1, 2 …); 0: none",
        at="relate",
        ge=0,
        le=100,
    )
    repeats: int = option(
        1,
        "make the folds so many times, drawn anew each time, in the columns `fold_1`, `fold_2` …",
        at="relate",
        ge=1,
        le=100,
    )
    inner: int = option(
        0,
        (
            "of what each fold leaves for training, make so many folds again, in the columns "
            "`fold_inner_1` …"
        ),
        at="relate",
        ge=0,
        le=100,
    )
    copies: str | None = option(
        "duplicates.cluster",
        (
            "the fact or column that is equal for copies of one thing, such as "
            "duplicate_rows.group or content; null: none"
        ),
        at="relate",
    )
    groups: tuple[str, ...] = option(
        (),
        (
            "columns of what belongs together: patient, site, video, author; the role `group` "
            "always counts"
        ),
        at="relate",
    )
    pattern: str = option(
        "",
        "a regular expression: samples in whose id its groups find the same belong together",
        at="relate",
    )
    frames: int | None = option(
        None,
        (
            "frames of one video, known by the number at the end of their names, belong together "
            "in chains of steps of so many numbers at most"
        ),
        at="relate",
        ge=1,
    )
    similar: float | None = option(
        None,
        (
            "cosine similarity of embeddings.vector from which nearest neighbours belong "
            "together, in chains"
        ),
        at="relate",
        gt=0,
        le=1,
    )
    stratify: tuple[str, ...] = option(
        ("label",),
        (
            "columns whose values each split gets in equal shares: classes and tags each, numbers "
            "by quantile"
        ),
        at="relate",
    )
    bins: int = option(
        10, "quantiles of a number that is stratified by", at="relate", ge=2, le=1000
    )
    time: str | None = option(
        None,
        (
            "column of a time: training samples are earlier than validation, and these than test; "
            "nothing is stratified then"
        ),
        at="relate",
    )
    gap: float | str = option(
        0.0,
        (
            "the time that lies between splits: 7d, 90min, or a number in the column's unit; "
            "samples in it are `unused`"
        ),
        at="relate",
    )
    existing: Literal["keep", "repair", "replace"] = option(
        "keep",
        (
            "splits that the dataset has are kept, and what leaks is claimed; or repaired by the "
            "fewest moves; or made anew"
        ),
        at="relate",
    )
    remember: bool = option(
        default=True,
        help="whether samples stay where the last published version has them",
        at="relate",
    )
    tolerance: float = option(
        0.01,
        "how far the share of a split may be from what is wanted before it is claimed",
        ge=0,
        le=1,
    )
    seed: int = option(0, "what decides between equal samples", at="relate", ge=0)

    @property
    def gives(self) -> tuple[Fact | Claim | Figure, ...]:
        """Facts for the splits and for each column of folds."""
        fold = "which fold of its column it is in, from 1; null where it is in none"
        return (
            Fact("assigned", "string", "the split that it is in", "relate", becomes="split"),
            Fact(
                "component",
                "string",
                "the smallest id of those that belong together; null if it is alone",
                "relate",
                nullable=True,
            ),
            Fact(
                "given", "bool", "whether the dataset or the last version gave its split", "relate"
            ),
            Fact("moved", "string", "the split that it was moved from", "relate", nullable=True),
            Fact(
                "link",
                "string",
                "what it shares with a sample of a later split",
                "relate",
                nullable=True,
            ),
            Fact("match", "string", "that sample", "relate", nullable=True),
            *(
                Fact(name, "int64", fold, "relate", nullable=True, becomes=name)
                for name in assignment.fold_columns(self.folds, self.repeats, self.inner)
            ),
            Claim(
                "leak",
                "error",
                "Belongs together with a sample of a later split.",
                title="Leaks between splits",
            ),
            Claim(
                "moved",
                "info",
                "Moved to the split of what it belongs together with.",
                title="Moved to another split",
            ),
            Claim(
                "off_target",
                "warning",
                "A split is larger or smaller than wanted.",
                title="Split sizes off target",
            ),
            Claim(
                "absent",
                "warning",
                "A split has no sample of some classes.",
                title="Classes absent from a split",
            ),
            Claim(
                "order",
                "warning",
                "Samples of a split are not later than those of the one before.",
                title="Splits out of time order",
            ),
            Claim(
                "unused",
                "info",
                "Samples that are in no split, since time allows none.",
                title="Samples in no split",
            ),
            Figure(
                "size",
                "share of the samples in each split, and in each fold of the training samples",
            ),
            Figure(
                "imbalance",
                (
                    "largest difference between a split's share of any class, tag or range of "
                    "values, and the whole set's"
                ),
            ),
            Figure("class_share", "share of a split's samples that have a class, as split: class"),
            Figure(
                "components", "number of components: samples that belong together, or one alone"
            ),
            Figure("largest", "share of the samples in the largest component"),
            Figure(
                "crossing", "share of the samples that belong together with one of another split"
            ),
            Figure(
                "moves", "number of samples that were moved to another split, so that nothing leaks"
            ),
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns and facts that its options name."""
        named = [
            self.copies,
            *self.groups,
            self.time,
            *(f"{name}?" if name == "label" else name for name in self.stratify),
        ]
        vectors = ["embeddings.vector"] if self.similar is not None else []
        return tuple(
            dict.fromkeys(
                [
                    "split?",
                    "group?",
                    *(name for name in named if name and name not in ("id", "content", "group")),
                    *vectors,
                ]
            )
        )

    @property
    def remembers(self) -> tuple[str, ...]:
        """Splits and folds stay."""
        return (
            ("assigned", *assignment.fold_columns(self.folds, self.repeats, self.inner))
            if self.remember
            else ()
        )

    def check(self) -> None:
        """Raise ConfigError for shares, folds or patterns that cannot be meant."""
        if (
            not self.splits
            or any(not 0 < share <= 1 for share in self.splits.values())
            or abs(sum(self.splits.values()) - 1) > 1e-6  # noqa: PLR2004
        ):
            raise ConfigError(
                f"the shares of splits are above 0 and sum to 1, not to "
                f"{sum(self.splits.values()):g}"
            )
        if (
            not any(split_kinds.kind_of(name) == "training" for name in self.splits)
            or UNUSED in self.splits
        ):
            raise ConfigError(
                (
                    f"one of the splits is called train, and none {UNUSED}; not "
                    f"{', '.join(self.splits)}"
                )[:300]
            )
        if 1 in (self.folds, self.inner) or (self.inner or self.repeats > 1) > self.folds:
            raise ConfigError(
                "there are at least 2 folds, and repeated or inner ones only where there are "
                "`folds`"
            )
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"pattern {self.pattern!r} is no regular expression: {error}"
            ) from None
        timeline.duration(self.gap)

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """What belongs together, and the split and the folds of each."""
        every = self.links(samples, facts)
        given, own = self.given(samples, facts)
        wanted = self.wanted(samples, given, own=own)
        strata_ = self.strata(samples)
        time = (
            None
            if self.time is None or own
            else timeline.seconds(self.time, samples.table.column(self.time))
        )
        base = np.array([wanted.number.get(name, -1) for name in given], dtype=np.int64)
        made = assignment.made(
            samples.ids,
            every,
            strata_,
            base,
            wanted,
            seed=self.seed,
            repair=self.existing == "repair",
            time=time,
            gap=timeline.duration(self.gap),
        )
        names = np.array([*wanted.names, UNUSED], dtype=object)
        assigned = names[made.split]  # -1 is the last
        moved = (base >= 0) & (made.split != base)
        link, match = split_findings.linked(
            samples.ids,
            every,
            made.component,
            np.where(made.split < 0, -1, wanted.ranks[made.split]),
        )
        if moved.any():
            whole = np.isin(made.component, made.component[moved])
            by, other = split_findings.linked(
                samples.ids, every, made.component, np.where(whole, np.where(moved, 0, 1), -1)
            )
            link, match = (
                split_findings.chosen(moved, by, link),
                split_findings.chosen(moved, other, match),
            )
        before = (
            {name: facts[f"last.{name}"] for name in self.remembers if name != "assigned"}
            if self.remember
            else {}
        )
        pool = np.array(wanted.kinds_of(made.split)) == "training"
        folds = assignment.folds(
            samples.ids,
            made.component,
            strata_,
            pool,
            (self.folds, self.repeats, self.inner),
            before,
            self.seed,
        )
        several = np.bincount(made.component)[made.component] > 1
        first = samples.ids[np.unique(made.component, return_index=True)[1]]
        return {
            "assigned": assigned,
            "component": split_findings.chosen(several, first[made.component]),
            "given": base >= 0,
            "moved": split_findings.chosen(moved, names[base]),
            "link": link,
            "match": match,
            **folds,
        }

    def links(self, samples: Samples, facts: Facts) -> list[Link]:
        """What joins samples: groups first, copies last."""
        found = [
            links.by_values(name, samples.table.column(name))
            for name in dict.fromkeys(("group", *self.groups))
            if name in samples
        ]
        if self.pattern:
            found.append(links.by_pattern("part of the name", samples.ids, self.pattern))
        if self.frames is not None:
            split = samples["split"].tolist() if "split" in samples else [None] * len(samples)
            found.append(links.by_frames("video", samples.ids.tolist(), split, self.frames))
        if self.similar is not None:
            found.append(
                links.by_vectors("look", facts["embeddings.vector"], self.similar, self.seed)
            )
        if self.copies is not None:
            table = facts.table if self.copies in facts else samples.table
            found.append(links.by_values(self.copies, table.column(self.copies)))
        return found

    def given(self, samples: Samples, facts: Facts) -> tuple[np.ndarray, bool]:
        """The split [n] that each sample has already, None without one, and whether the dataset's
        own splits count.
        """
        nobody = np.full(len(samples), None, dtype=object)
        last = facts["last.assigned"] if self.remember else nobody
        last = split_findings.chosen(last != UNUSED, last)
        own = samples["split"] if "split" in samples and self.existing != "replace" else nobody
        if not own.astype(bool).any():
            return last, False
        return (
            own if self.existing == "keep" else split_findings.chosen(last.astype(bool), last, own)
        ), True

    def wanted(self, samples: Samples, given: np.ndarray, *, own: bool) -> assignment.Wanted:
        """The splits there shall be, with their shares.

        Those of the dataset where its own count.
        """
        if not own:
            return assignment.Wanted.of(
                self.splits, split_kinds.kinds(pa.array(list(self.splits), pa.string()))
            )
        names, counts = np.unique(given[given.astype(bool)].astype(str), return_counts=True)
        shares = dict(zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True))
        return assignment.Wanted.of(shares, split_kinds.kinds_in(samples.table))

    def strata(self, samples: Samples) -> strata.Strata:
        """What splits are balanced by."""
        found = strata.NONE
        for name in dict.fromkeys(self.stratify):
            if name == "label" and "label" in samples:
                found = found.with_(strata.of_label(samples, self.bins))
            elif name != "label":
                found = found.with_(strata.of_column(name, samples.table.column(name), self.bins))
        return found

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """What leaks, what was moved, and what could not be had, with why."""
        own = (
            self.existing != "replace"
            and "split" in samples
            and samples["split"].astype(bool).any()
        )
        copies = self.copies if own and self.copies and self.copies in facts else None
        wanted = {} if own else self.splits
        time = (
            None
            if self.time is None
            else timeline.seconds(self.time, samples.table.column(self.time))
        )
        found = [
            *split_findings.leaks(samples, facts, copies),
            *split_findings.moved(samples, facts),
            *split_findings.sizes(facts, wanted, self.tolerance, timed=time is not None),
        ]
        if time is not None:
            found += split_findings.order(samples, facts, time, timeline.duration(self.gap), wanted)
        return [*found, *split_findings.absent(facts, self.strata(samples))]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """Sizes, balance, and whether anything crosses."""
        columns = [
            name for name in assignment.fold_columns(self.folds, self.repeats, 0) if name in facts
        ]
        return split_findings.figures(samples, facts, self.strata(samples), columns)
