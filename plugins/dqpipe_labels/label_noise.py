"""Labels that are likely wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dqpipe.errors import StageError
from dqpipe.model import Facts, Samples, claim, figure, label_text
from dqpipe.stages import Claim, Fact, Figure, Pixels, Stage, extension, option
from dqpipe_labels import unclassed
from dqpipe_labels.classes import Classes, classes_of
from dqpipe_labels.columns import vectors_of
from dqpipe_labels.confusion import posterior
from dqpipe_labels.folds import grouped_folds, groups_per_class
from dqpipe_labels.kinds import kind_of
from dqpipe_labels.nearest import nearness
from dqpipe_labels.probabilities import read_probabilities
from dqpipe_labels.probes import NoiseModel, kernel_features, learn, log_features, together

if TYPE_CHECKING:
    import pandas as pd


@extension
class LabelNoise(Stage):
    """Labels that are likely wrong, with the label that is likely right, and how the classes are confused.

    Class probabilities are made here, out of fold, by two classifiers (on the vectors, and on how near each class is) that
    learn the confusion of the labels along with the classes, as confident learning estimates it (Northcutt, Jiang & Chuang
    2021); cleanlab's own verdict on these probabilities stands beside. Or bring those of your own model:

        - label_noise: {probabilities: oof.parquet}             # a column `id` and one for each class
        - label_noise: {probabilities: [p_cat, p_dog, p_frog]}  # columns of the samples

    Labels that are sets of tags (lists) or numbers are judged as well: which tags are wrong or missing, and which numbers lie far
    from what the sample suggests. A table has no embeddings: name the columns that foretell its label.

        - label_noise: {vectors: [carat, cut, color]}
    """

    name = "label_noise"
    version = 2
    default = True
    libraries = ("cleanlab", "scikit-learn", "numpy")
    gives = (
        Fact("confidence", "float64", "probability that the given label is wrong; null where it cannot be judged", "relate", nullable=True),
        Fact("suggested", "string", "the most probable other label", "relate", nullable=True),
        Fact("sureness", "float64", "probability of the suggested label", "relate", nullable=True),
        Fact("self_confidence", "float64", "probability of the given label's class by a model that did not see the label", "relate", nullable=True),
        Fact("margin", "float64", "cleanlab's score of the label, from 0 (wrong for sure) to 1: of a class its normalised margin", "relate", nullable=True),
        Fact("confident_learning", "bool", "whether cleanlab's confident learning takes the label for wrong", "relate", nullable=True),
        Fact("deviation", "float64", "of a number: how far it is from the suggested one, in usual errors of such samples", "relate", nullable=True),
        Claim("likely_wrong", "warning", "The label is likely wrong; another one fits better."),
        Figure("wrong", "estimated share of wrong labels, of the set and of each class; high is what cleanlab's count allows"),
        Figure(
            "confusion", 'estimated number of samples with another true label, key "given→suggested"; of tags "tag→" if it is wrong, "→tag" if it is missing'
        ),
        Figure("error", "of numbers: the median difference between the given and the suggested one"),
        Figure("not_judged", "number of samples that could not be judged: no label, too few of their class, or vectors that do not tell the classes apart"),
    )

    at_least: float = option(0.5, "confidence from which a label is claimed to be wrong", ge=0, le=1)
    agreed: bool = option(default=False, help="claim only what cleanlab's confident learning takes for wrong, too")
    deviates: float = option(8.0, "deviation from which a number is claimed to be wrong", gt=1)
    labels: Literal["auto", "class", "tags", "number"] = option("auto", "what labels are; whole numbers can be classes or measurements", at="relate")
    separator: str = option("", "what stands between the tags of a label that is a text, such as ; in cat;dog", at="relate")
    vectors: tuple[str, ...] | str | None = option(
        "embeddings.vector", "the fact that holds the vectors, or columns of the samples (numbers, categories); null with `probabilities`", at="relate"
    )
    groups: str | None = option(
        "duplicates.group", "the fact that is equal for copies of one thing, which share a fold; beside columns as vectors equal rows are copies", at="relate"
    )
    probabilities: tuple[str, ...] | str | None = option(
        None,
        "your own model's out-of-fold probabilities (for numbers its predictions, one column): columns of the samples (one for each class), "
        "a parquet file (id and a column for each class) or "
        "a .npy file (rows by sorted id, columns by sorted class)",
        at="relate",
    )
    folds: int = option(5, "parts that the samples are cut into; each is judged by a model of the others", at="relate", ge=2, le=50)
    repeats: int = option(2, "how often that is done, with other folds, and averaged", at="relate", ge=1, le=20)
    least: int = option(3, "different things that a class must have to be judged", at="relate", ge=2)
    seed: int = option(0, "what the folds are drawn from", at="relate", ge=0)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The label, and what the probabilities are made of."""
        if isinstance(self.probabilities, tuple):
            return ("label", *self.probabilities)
        if self.probabilities is not None:
            return ("label",)
        return tuple(name for name in ("label", *([self.vectors] if isinstance(self.vectors, str) else self.vectors or ()), self.grouping()) if name)

    def grouping(self) -> str | None:
        """The fact that tells copies; none by default where the vectors are columns, since copies of pictures have no part in it."""
        return None if isinstance(self.vectors, tuple) and self.groups == "duplicates.group" else self.groups

    def kind(self, samples: Samples) -> str:
        """What the labels are."""
        return kind_of(samples["label"], self.separator) if self.labels == "auto" else self.labels

    def artifacts(self) -> Mapping[str, str]:
        """The content of the file of probabilities, if there is one."""
        if not isinstance(self.probabilities, str):
            return {}
        path = Path(self.probabilities)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"}

    def objection(self, samples: Samples) -> str | None:
        """Labels that are no classes, or none at all."""
        if not any(label is not None and label == label for label in samples["label"].tolist()):  # noqa: PLR0124 (NaN)
            return "no sample has a label"
        try:
            if self.kind(samples) == "class":
                classes_of(self.name, samples["label"])
            return unclassed.objection(self, samples)
        except StageError as error:
            return f"{error.reason}. {error.advice}"

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:
        """Each label judged by models that saw neither it nor its copies."""
        if self.vectors is None and self.probabilities is None:
            raise StageError(self.name, "relate", "there is nothing to judge labels by", "Set `vectors` or `probabilities`.")
        if (kind := self.kind(samples)) != "class":
            return unclassed.judge(self, kind, samples, facts)
        classes, groups = classes_of(self.name, samples["label"]), unclassed.groups_of(self, samples, facts)
        rows, given, names = self.judged(classes, groups)
        if len(names) < 2:  # noqa: PLR2004 (one class cannot be confused)
            return verdict(len(samples), rows[:0], np.zeros((0, 0)), np.zeros((0, 0)), given[:0], ())
        models = self.models(samples, facts, classes, rows, given, groups[rows])
        if not all(model.informed(given) for model in models):
            return verdict(len(samples), rows[:0], np.zeros((0, 0)), np.zeros((0, 0)), given[:0], ())
        probabilities = np.mean([model.probabilities for model in models], axis=0)
        after = np.mean([posterior(model.probabilities, model.confusion, given) for model in models], axis=0)
        return verdict(len(samples), rows, probabilities, after, given, names)

    def judged(self, classes: Classes, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """The rows of classes with enough different things, their classes among these [k], and the names of these."""
        labelled = np.flatnonzero(classes.given >= 0)
        things = groups_per_class(groups[labelled], classes.given[labelled], len(classes.names))
        kept = np.flatnonzero(things >= self.least)
        rows = labelled[np.isin(classes.given[labelled], kept)]
        return rows, np.searchsorted(kept, classes.given[rows]), tuple(classes.names[position] for position in kept)

    def models(self, samples: Samples, facts: Facts, classes: Classes, rows: np.ndarray, given: np.ndarray, groups: np.ndarray) -> list[NoiseModel]:
        """One noise model for each repeat."""
        count = int(given.max()) + 1
        if self.probabilities is not None:
            own = read_probabilities(self.name, self.probabilities, samples, classes.names)[rows]
            source = log_features(own)
        else:
            vectors = vectors_of(self.name, self.vectors or (), samples, facts)
            source = vectors if len(rows) == len(samples) else vectors[rows]
        near = None if self.probabilities is not None else nearness(source, given, groups, count)
        models = []
        for seed in range(self.seed * self.repeats, (self.seed + 1) * self.repeats):
            fold = grouped_folds(groups, given, self.folds, seed)
            if near is None:
                models.append(learn(source.copy(), given, fold, count))
                continue
            opinions = learn(kernel_features(source, seed), given, fold, count), learn(near.copy(), given, fold, count)
            models.append(together(*opinions, given))
        return models

    def detect(self, samples: Samples, facts: Facts) -> list[pd.DataFrame]:
        """Labels whose confidence of being wrong is at least the threshold."""
        if np.isfinite(facts["deviation"]).any():
            return unclassed.claims(self, samples, facts)
        confidence = facts["confidence"]
        found = np.nan_to_num(confidence, nan=-1.0) >= self.at_least
        if self.agreed:
            found &= facts["confident_learning"] == True  # noqa: E712 (null is neither)
        rows = np.flatnonzero(found)
        suggested, labels = facts["suggested"][rows], samples["label"][rows]
        detail = [f"given {label_text(plain(old))}, looks like {new}" for old, new in zip(labels, suggested, strict=True)]
        if self.kind(samples) == "tags":
            detail = unclassed.details(self, labels, suggested)
        columns = {"value": confidence[rows], "confidence": confidence[rows], "threshold": self.at_least}
        return [claim("likely_wrong", samples.ids[rows], suggestion=suggested, detail=detail, **columns)]

    def summarise(self, samples: Samples, facts: Facts) -> list[dict[str, Any]]:
        """The share of wrong labels, of the set and by class, and who is taken for whom."""
        if np.isfinite(facts["deviation"]).any():
            return unclassed.figures_of_numbers(samples, facts)
        confidence = facts["confidence"]
        rows = np.flatnonzero(~np.isnan(confidence))
        figures = [figure("not_judged", len(samples) - len(rows))]
        if not len(rows):
            return figures
        wrong, doubted = confidence[rows], facts["confident_learning"][rows].astype(bool)
        labels = np.array([label_text(plain(label)) for label in samples["label"][rows]], dtype=object)
        figures.append(share(wrong, doubted))
        if self.kind(samples) == "tags":
            return figures + unclassed.figures_of_tags(self, samples, facts)
        figures += [share(wrong[labels == name], doubted[labels == name], scope="class", key=name) for name in sorted(set(labels))]
        return figures + confusions(labels, facts["suggested"][rows], wrong)


def plain(label: object) -> object:
    """A label as a Python value."""
    return label.item() if isinstance(label, np.generic) else label


def verdict(count: int, rows: np.ndarray, probabilities: np.ndarray, after: np.ndarray, given: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """The facts of `count` samples, of which `rows` were judged, by p(true class | sample) and by p(true class | sample, given)."""
    facts: dict[str, Any] = {name: np.full(count, np.nan) for name in ("confidence", "sureness", "self_confidence", "margin", "deviation")}
    suggested, doubted = np.full(count, None, dtype=object), np.full(count, None, dtype=object)
    if len(rows):
        here = np.arange(len(rows))
        others = after.copy()
        others[here, given] = -1
        best = others.argmax(axis=1)
        facts["confidence"][rows] = 1 - after[here, given]
        facts["sureness"][rows] = after[here, best]
        facts["self_confidence"][rows] = probabilities[here, given]
        suggested[rows] = np.array(names, dtype=object)[best]
        facts["margin"][rows], doubted[rows] = confident_learning(given, probabilities)
    return facts | {"suggested": suggested, "confident_learning": doubted}


def confident_learning(given: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised margin [n] by cleanlab, and its verdict [n] bool, by both of its ways to prune."""
    import warnings

    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class is predicted for no sample, or flagged in full
        margin = get_label_quality_scores(given, probabilities, method="normalized_margin")
        doubted = find_label_issues(given, probabilities, filter_by="both", n_jobs=1)
    return margin, doubted


def share(wrong: np.ndarray, doubted: np.ndarray, **where: str) -> dict[str, Any]:
    """The expected share of wrong labels, with two standard deviations and a third of it either way for what the model assumes.

    It may be as high as cleanlab's count, which takes hard samples for errors: mistakes that follow what a picture
    looks like cannot be told from hard pictures.
    """
    count, expected = len(wrong), float(wrong.sum())
    around = 2 * float(np.sqrt((wrong * (1 - wrong)).sum())) + expected / 3
    high = max(expected + around, float(doubted.sum()))
    return figure("wrong", expected / count, low=max(0.0, expected - around) / count, high=min(float(count), high) / count, **where)


def confusions(labels: np.ndarray, suggested: np.ndarray, wrong: np.ndarray) -> list[dict[str, Any]]:
    """The expected number of each confusion that amounts to half a sample."""
    totals: dict[tuple[str, str], float] = {}
    for old, new, chance in zip(labels, suggested, wrong, strict=True):
        totals[old, new] = totals.get((old, new), 0.0) + float(chance)
    return [figure("confusion", total, scope="class", key=f"{old}→{new}") for (old, new), total in sorted(totals.items()) if total >= 0.5]  # noqa: PLR2004
