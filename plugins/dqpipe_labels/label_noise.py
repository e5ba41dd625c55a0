"""Labels that are likely wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dqpipe import (
    Claim,
    Classes,
    Fact,
    Facts,
    Figure,
    Pixels,
    Samples,
    Stage,
    StageError,
    claim,
    clopper_pearson,
    extension,
    figure,
    label_text,
    labels,
    option,
)
from dqpipe_labels import number_labels, tag_labels
from dqpipe_labels.columns import vectors_of
from dqpipe_labels.folds import Folds, groups_per_class
from dqpipe_labels.label_sources import groups_of, objection
from dqpipe_labels.nearest import nearness
from dqpipe_labels.noise_posterior import Doubt, doubt
from dqpipe_labels.probabilities import read_probabilities
from dqpipe_labels.probes import LARGE, informed, kernel_features, learn, log_features
from dqpipe_labels.seams import Seams

if TYPE_CHECKING:
    import pandas as pd

OBJECTS = (
    "label_noise judges classes, tags and numbers, and here a label is a mask, a struct or a list "
    "of lists"
)


@extension
class LabelNoise(Stage):
    """Labels that are likely wrong, with the label that is likely right, and how the classes are
    confused.

    Class probabilities are made here, out of fold, by two classifiers (on the vectors, and on how
    near each class is) that learn the confusion of the labels along with the classes, as confident
    learning estimates it (Northcutt, Jiang & Chuang 2021); cleanlab's own verdict on these
    probabilities stands beside. No model sees a label, or a copy's, of what it judges, at any step.
    Wrong labels that follow what things look like can't be told from hard samples for certain:
    confidence lies between what the labels allow at least and at most, and falls to nothing where
    classes that merely overlap explain the labels as well, and labels differ from what is foretold
    no oftener than where classes meet among the vectors. Or bring probabilities of your own model:

        - label_noise: {probabilities: oof.parquet}             # a column `id` and one for each
          class
        - label_noise: {probabilities: [p_cat, p_dog, p_frog]}  # columns of the samples

    Labels that are sets of tags (lists) or numbers are judged as well: which tags are wrong or
    missing, and which numbers lie far from what the sample suggests. A table has no embeddings:
    name the columns that foretell its label.

        - label_noise: {vectors: [carat, cut, color]}
    """

    name = "label_noise"
    version = 8
    default = True
    libraries = ("cleanlab", "scikit-learn", "numpy")
    gives = (
        Fact(
            "confidence",
            "float64",
            "probability that the given label is wrong; null where it cannot be judged",
            "relate",
            nullable=True,
        ),
        Fact(
            "confidence_low",
            "float64",
            "the same if as few labels are wrong as these labels allow",
            "relate",
            nullable=True,
        ),
        Fact(
            "confidence_high",
            "float64",
            "the same if as many labels are wrong as these labels allow",
            "relate",
            nullable=True,
        ),
        Fact("suggested", "string", "the most probable other label", "relate", nullable=True),
        Fact(
            "sureness",
            "float64",
            "probability that the suggested label is right",
            "relate",
            nullable=True,
        ),
        Fact(
            "foretold",
            "string",
            (
                "the likeliest class by models that did not see the label, also where nothing is "
                "judged"
            ),
            "relate",
            nullable=True,
        ),
        Fact(
            "self_confidence",
            "float64",
            "probability of the given label's class by a model that did not see the label",
            "relate",
            nullable=True,
        ),
        Fact(
            "margin",
            "float64",
            (
                "cleanlab's score of the label, from 0 (wrong for sure) to 1: of a class its "
                "normalised margin"
            ),
            "relate",
            nullable=True,
        ),
        Fact(
            "confident_learning",
            "bool",
            "whether cleanlab's confident learning takes the label for wrong",
            "relate",
            nullable=True,
        ),
        Fact(
            "deviation",
            "float64",
            "of a number: how far it is from the suggested one, in usual errors of such samples",
            "relate",
            nullable=True,
        ),
        Claim(
            "likely_wrong",
            "warning",
            "The label is likely wrong; another one fits better.",
            title="Likely wrong labels",
        ),
        Claim(
            "unjudged",
            "info",
            (
                "The labels of a class, or all, are not judged: there are too few, or what they "
                "are judged by does not tell classes apart."
            ),
            title="Labels not judged",
        ),
        Figure(
            "told_apart",
            (
                "share of the labels that models which did not see them foretell, and what it "
                "would be by chance"
            ),
        ),
        Figure(
            "wrong",
            (
                "estimated share of wrong labels, of the set and of each class; high is the share "
                "that differs from the models' choice"
            ),
        ),
        Figure(
            "confusion",
            (
                'estimated number of samples with another true label, key "given→suggested"; of '
                'tags "tag→" if it is wrong, "→tag" if it is missing'
            ),
        ),
        Figure(
            "error", "of numbers: the median difference between the given and the suggested one"
        ),
        Figure(
            "not_judged",
            "number of samples that could not be judged: no label, too few of their class, or "
            "vectors that do not tell the classes apart; and of each class "
            "(or tag) that is not judged for another reason than these vectors",
        ),
    )

    at_least: float = option(
        0.5,
        (
            "confidence from which a label is claimed to be wrong: by default where it is "
            "likelier wrong than right"
        ),
        ge=0,
        le=1,
    )
    agreed: bool = option(
        default=False, help="claim only what cleanlab's confident learning takes for wrong, too"
    )
    deviates: float = option(8.0, "deviation from which a number is claimed to be wrong", gt=1)
    labels: Literal["auto", "class", "tags", "number"] = option(
        "auto", "what labels are; whole numbers can be classes or measurements", at="relate"
    )
    separator: str = option(
        "",
        "what stands between the tags of a label that is a text, such as ; in cat;dog",
        at="relate",
    )
    vectors: tuple[str, ...] | str | None = option(
        "embeddings.vector",
        (
            "the fact that holds the vectors, or columns of the samples (numbers, categories); "
            "null with `probabilities`"
        ),
        at="relate",
    )
    groups: str | None = option(
        "duplicates.group",
        (
            "the fact that is equal for copies of one thing, which share a fold; beside columns "
            "as vectors equal rows are copies"
        ),
        at="relate",
    )
    probabilities: tuple[str, ...] | str | None = option(
        None,
        "your own model's out-of-fold probabilities (for numbers its predictions, one column): "
        "columns of the samples (one for each class), "
        "a parquet file (id and a column for each class) or "
        "a .npy file (rows by sorted id, columns by sorted class)",
        at="relate",
    )
    folds: int = option(
        5,
        "parts that the samples are cut into; each is judged by a model of the others",
        at="relate",
        ge=2,
        le=50,
    )
    repeats: int | None = option(
        None,
        (
            "how often that is done, with other folds, and averaged; null: twice, and once where "
            "there are more than 20,000 samples"
        ),
        at="relate",
        ge=1,
        le=20,
    )
    least: int = option(
        3, "different things that a class must have to be judged", at="relate", ge=2
    )
    seed: int = option(0, "what the folds are drawn from", at="relate", ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """The label column, and the input of the probabilities."""
        if isinstance(self.probabilities, tuple):
            return ("label", *self.probabilities)
        if self.probabilities is not None:
            return ("label",)
        return tuple(
            name
            for name in (
                "label",
                *([self.vectors] if isinstance(self.vectors, str) else self.vectors or ()),
                self.grouping(),
            )
            if name
        )

    def grouping(self) -> str | None:
        """The fact that tells copies.

        None by default where the vectors are columns, since copies of pictures have no part in it.
        """
        of_pictures = isinstance(self.vectors, str) and "." in self.vectors
        return self.groups if of_pictures or self.groups != "duplicates.group" else None

    def kind(self, samples: Samples) -> str:
        """What the labels are."""
        if self.labels != "auto":
            return self.labels
        kind = labels.kind_in(samples)
        return "tags" if kind == "class" and self.separator and labels.is_text(samples) else kind

    def artifacts(self) -> Mapping[str, str]:
        """The content of the file of probabilities, if there is one."""
        if not isinstance(self.probabilities, str):
            return {}
        path = Path(self.probabilities)
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "missing"
        }

    def objection(self, samples: Samples) -> str | None:
        """The reason why these labels cannot be judged, or None."""
        if not any(label is not None and label == label for label in samples["label"].tolist()):  # noqa: PLR0124 (NaN)
            return "no sample has a label"
        if self.vectors is None and self.probabilities is None:
            return "there is nothing to judge labels by: set `vectors` or `probabilities`"
        if self.kind(samples) in ("objects", "mask"):
            return OBJECTS
        if self.labels == "class" and (why := labels.unfit(samples.table.column("label"), "class")):
            return f"labels: class, but {why}"
        try:
            return objection(self, samples)
        except StageError as error:
            return f"{error.reason}. {error.advice}"

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Each label judged by models that saw neither it nor its copies."""
        if self.vectors is None and self.probabilities is None:
            raise StageError(
                self.name,
                "relate",
                "there is nothing to judge labels by",
                "Set `vectors` or `probabilities`.",
            )
        if (kind := self.kind(samples)) in ("objects", "mask"):
            raise StageError(
                self.name,
                "relate",
                OBJECTS,
                (
                    "Leave label_noise out of the pipeline, or give it a column of classes as the "
                    "label."
                ),
            )
        if kind not in ("class", "none"):
            return in_rows(
                len(samples),
                *(tag_labels if kind == "tags" else number_labels).judge(self, samples, facts),
            )
        classes, groups = (
            labels.classes_of(samples.table.column("label")),
            groups_of(self, samples, facts),
        )
        rows, given, names = self.judged(classes, groups)
        if len(names) < 2:  # noqa: PLR2004 (one class cannot be confused)
            return blank(len(samples))
        opinions = self.opinions(samples, facts, classes, rows, given, groups[rows])
        found = doubt(opinions, given, self.seams(samples, facts, rows, groups[rows], len(names)))
        if informed([found.probabilities, *opinions], given, groups[rows]):
            return verdict(len(samples), rows, found, given, names)
        return blank(len(samples)) | foretold(len(samples), rows, found.probabilities, names)

    def judged(
        self, classes: Classes, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """The rows of classes with enough different things, their classes among these [k], and the
        names of these.
        """
        labelled = np.flatnonzero(classes.codes >= 0)
        things = groups_per_class(groups[labelled], classes.codes[labelled], len(classes.names))
        kept = np.flatnonzero(things >= self.least)
        rows = labelled[np.isin(classes.codes[labelled], kept)]
        return (
            rows,
            np.searchsorted(kept, classes.codes[rows]),
            tuple(classes.names[position] for position in kept),
        )

    def opinions(
        self,
        samples: Samples,
        facts: Facts,
        classes: Classes,
        rows: np.ndarray,
        given: np.ndarray,
        groups: np.ndarray,
    ) -> list[np.ndarray]:
        """What models that did not see it say of each sample, float64 [n, c]: one opinion, or two.

        Each the geometric mean over the repeats.
        """
        count = int(given.max()) + 1
        repeats = self.repeats or (2 if len(rows) <= LARGE else 1)
        seeds = range(self.seed * repeats, (self.seed + 1) * repeats)
        folds = [Folds.of(groups, given, self.folds, seed) for seed in seeds]
        if self.probabilities is not None:
            own = log_features(
                read_probabilities(self.name, self.probabilities, samples, classes.names)[rows]
            )
            return [geometric_mean([learn(own.copy(), given, fold, count) for fold in folds])]
        vectors = vectors_of(self.name, self.vectors or (), samples, facts)
        source = vectors if len(rows) == len(samples) else vectors[rows]
        by_kernel = geometric_mean(
            [
                learn(kernel_features(source, seed), given, fold, count)
                for seed, fold in zip(seeds, folds, strict=True)
            ]
        )
        return [
            by_kernel,
            geometric_mean(
                [
                    learn(
                        nearness(source, given, groups, fold.outer, count, self.seed),
                        given,
                        fold,
                        count,
                    )
                    for fold in folds
                ]
            ),
        ]

    def seams(
        self, samples: Samples, facts: Facts, rows: np.ndarray, groups: np.ndarray, classes: int
    ) -> Seams | None:
        """Where the classes meet, if there are vectors to see it by."""
        if self.probabilities is not None:
            return None
        return Seams.of(
            vectors_of(self.name, self.vectors or (), samples, facts)[rows],
            groups,
            classes,
            self.seed,
        )

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Labels that are wrong with at least the threshold's confidence."""
        if np.isfinite(facts["deviation"]).any():
            return number_labels.claims(self, samples, facts)
        confidence = facts["confidence"]
        found = np.nan_to_num(confidence, nan=-1.0) >= self.at_least
        if self.agreed:
            found &= facts["confident_learning"] == True  # noqa: E712 (null is neither)
        rows = np.flatnonzero(found)
        suggested, labels = facts["suggested"][rows], samples["label"][rows]
        detail = [
            f"given {label_text(plain(old))}, looks like {new}"
            for old, new in zip(labels, suggested, strict=True)
        ]
        if self.kind(samples) == "tags":
            detail = tag_labels.details(self, labels, suggested)
        sure = np.minimum(
            facts["sureness"][rows], confidence[rows]
        )  # probabilities that sum to 1 but for rounding
        columns = {
            "value": confidence[rows],
            "confidence": confidence[rows],
            "threshold": self.at_least,
            "suggestion_confidence": sure,
        }
        wrong = claim(
            "likely_wrong", samples.ids[rows], suggestion=suggested, detail=detail, **columns
        )
        left = self.left_out(samples, facts)
        few = {
            "part": list(left),
            "value": [float(len(one)) for one, _ in left.values()],
            "detail": [why for _, why in left.values()],
        }
        return [
            wrong,
            *self.unjudged(samples, facts),
            *([claim("unjudged", [None] * len(left), **few)] if left else []),
        ]

    def left_out(self, samples: Samples, facts: Facts) -> Mapping[str, tuple[np.ndarray, str]]:
        """The classes, or tags, that are not judged whatever the vectors tell.

        The rows of their samples, and why.
        """
        kind = self.kind(samples)
        if kind == "tags":
            return tag_labels.left_out(self, samples, facts)
        if kind != "class":
            return {}
        classes = labels.classes_of(samples.table.column("label"))
        judged = np.array([name is not None for name in facts["foretold"]], dtype=bool)
        gone = sorted(set(range(len(classes.names))) - set(classes.codes[judged].tolist()))
        if not gone:
            return {}
        known = classes.codes >= 0
        things = groups_per_class(
            groups_of(self, samples, facts)[known], classes.codes[known], len(classes.names)
        )
        alone = (
            "there is no other class to tell it from"
            if len(classes.names) == 1
            else f"no other class has {self.least} different samples to tell it from"
        )
        whys = {
            number: f"fewer than {self.least} different samples have it"
            if things[number] < self.least
            else alone
            for number in gone
        }
        return {
            classes.names[number]: (np.flatnonzero(classes.codes == number), why)
            for number, why in whys.items()
        }

    def unjudged(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """A claim that no label is judged, as the models do not separate the classes, with their
        accuracy and that of chance.
        """
        rows = np.flatnonzero([name is not None for name in facts["foretold"]])
        if not len(rows) or np.isfinite(facts["confidence"]).any():
            return []
        hits, chance = agreement(label_texts(samples["label"][rows]), facts["foretold"][rows])
        source = "probabilities do" if self.probabilities is not None else "vectors do"
        told = (
            f"{100 * hits:.0f} % of {len(rows):,} labels are foretold by models that did not see "
            f"them, {100 * chance:.0f} % would be by chance"
        )
        said = f"the {source} not tell these classes apart well enough to judge labels: {told}"
        return [claim("unjudged", [None], value=hits, threshold=chance, detail=said)]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """The share of wrong labels of the set and of each class, and the most frequent
        confusions.
        """
        if np.isfinite(facts["deviation"]).any():
            return number_labels.figures(samples, facts)
        confidence = facts["confidence"]
        rows = np.flatnonzero(~np.isnan(confidence))
        left = [
            figure("not_judged", len(one), scope="class", key=name, detail=why)
            for name, (one, why) in self.left_out(samples, facts).items()
        ]
        figures = [
            figure("not_judged", len(samples) - len(rows)),
            *left,
            *told_apart(samples, facts),
        ]
        if not len(rows):
            return figures
        wrong, differs = confidence[rows], facts["margin"][rows] < 0.5  # noqa: PLR2004 (another class is more probable)
        labels = label_texts(samples["label"][rows])
        least, most = (
            np.where(np.isnan(facts[name][rows]), wrong, facts[name][rows])
            for name in ("confidence_low", "confidence_high")
        )
        figures.append(share(wrong, least, most, differs))
        if self.kind(samples) == "tags":
            return figures + tag_labels.figures(self, samples, facts)
        columns = (wrong, least, most, differs)
        figures += [
            share(*(values[labels == name] for values in columns), scope="class", key=name)
            for name in sorted(set(labels))
        ]
        return figures + confusions(labels, facts["suggested"][rows], wrong)


def plain(label: object) -> object:
    """A label as a Python value."""
    return label.item() if isinstance(label, np.generic) else label


def geometric_mean(opinions: Sequence[np.ndarray]) -> np.ndarray:
    """Of class probabilities [n, c], up to a factor for each sample."""
    mean = np.exp(np.mean([np.log(np.maximum(opinion, 1e-9)) for opinion in opinions], axis=0))
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def blank(count: int) -> dict[str, Any]:
    """The facts of samples that are not judged."""
    numbers = (
        "confidence",
        "confidence_low",
        "confidence_high",
        "sureness",
        "self_confidence",
        "margin",
        "deviation",
    )
    facts: dict[str, Any] = {name: np.full(count, np.nan) for name in numbers}
    return facts | {
        name: np.full(count, None, dtype=object)
        for name in ("suggested", "foretold", "confident_learning")
    }


def in_rows(count: int, rows: np.ndarray, judged: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The facts of `count` samples, of which `rows` were judged with these values."""
    facts = blank(count)
    for name, values in judged.items():
        facts[name][rows] = values
    return facts


def verdict(
    count: int, rows: np.ndarray, found: Doubt, given: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    """The facts of `count` samples, of which `rows` were judged."""
    facts = blank(count) | foretold(count, rows, found.probabilities, names)
    here = np.arange(len(rows))
    others = found.after.copy()
    others[here, given] = -1
    best = others.argmax(axis=1)
    facts["confidence"][rows] = wrong = 1 - found.after[here, given]
    facts["confidence_low"][rows], facts["confidence_high"][rows] = (
        np.minimum(found.least, wrong),
        np.maximum(found.most, wrong),
    )
    facts["sureness"][rows] = found.after[here, best]
    facts["self_confidence"][rows] = found.probabilities[here, given]
    facts["suggested"][rows] = np.array(names, dtype=object)[best]
    facts["margin"][rows], facts["confident_learning"][rows] = confident_learning(
        given, found.probabilities
    )
    return facts


def foretold(
    count: int, rows: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The fact of that name, of `count` samples, from the probabilities [n, c] of those
    in `rows`.
    """
    told = np.full(count, None, dtype=object)
    told[rows] = np.array(names, dtype=object)[probabilities.argmax(axis=1)]
    return {"foretold": told}


def label_texts(labels: np.ndarray) -> np.ndarray:
    """Labels [n] as texts."""
    return np.array([label_text(plain(label)) for label in labels], dtype=object)


def agreement(labels: np.ndarray, told: np.ndarray) -> tuple[float, float]:
    """The share of label texts [n] that equal what was foretold [n], and the share that would by
    chance.
    """
    names, codes = np.unique(np.concatenate([labels, told]).astype(str), return_inverse=True)
    given, said = (
        np.bincount(part, minlength=len(names)) / len(labels) for part in np.split(codes, 2)
    )
    return float((labels == told).mean()), float(given @ said)


def told_apart(samples: Samples, facts: Facts) -> list[dict[str, Any]]:
    """How well the classes are told apart, with an interval of 95 %."""
    rows = np.flatnonzero([name is not None for name in facts["foretold"]])
    if not len(rows):
        return []
    hits, chance = agreement(label_texts(samples["label"][rows]), facts["foretold"][rows])
    low, high = clopper_pearson(round(hits * len(rows)), len(rows))
    return [
        figure("told_apart", hits, low=low, high=high, detail=f"{100 * chance:.0f} % by chance")
    ]


def confident_learning(
    given: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised margin [n] by cleanlab, and its verdict [n] bool, by both of its ways to prune."""
    import warnings

    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that a class is predicted for no sample, or flagged in full
        margin = get_label_quality_scores(given, probabilities, method="normalized_margin")
        doubted = find_label_issues(given, probabilities, filter_by="both", n_jobs=1)
    return margin, doubted


def share(
    wrong: np.ndarray, least: np.ndarray, most: np.ndarray, differs: np.ndarray, **where: str
) -> dict[str, Any]:
    """The expected share of wrong labels.

    Low is the least that the labels allow, with two standard deviations and a quarter for what is
    assumed.

    It may be as high as the share of labels that differ from the models' choice (bool [n]):
    mistakes that follow what things look like cannot be told from samples that are hard.
    """
    count, expected = len(wrong), float(wrong.sum())
    around = 2 * float(np.sqrt((wrong * (1 - wrong)).sum()))
    low = 0.75 * min(expected, float(least.sum())) - around
    high = max(1.25 * max(expected, float(most.sum())) + around, float(differs.sum()))
    return figure(
        "wrong",
        expected / count,
        low=max(0.0, low) / count,
        high=min(float(count), high) / count,
        **where,
    )


def confusions(
    labels: np.ndarray, suggested: np.ndarray, wrong: np.ndarray
) -> list[dict[str, Any]]:
    """The expected number of each confusion that amounts to half a sample."""
    totals: dict[tuple[str, str], float] = {}
    for old, new, chance in zip(labels, suggested, wrong, strict=True):
        totals[old, new] = totals.get((old, new), 0.0) + float(chance)
    return [
        figure("confusion", total, scope="class", key=f"{old}→{new}")
        for (old, new), total in sorted(totals.items())
        if total >= 0.5  # noqa: PLR2004
    ]
