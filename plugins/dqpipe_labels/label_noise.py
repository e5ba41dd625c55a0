"""Wrong labels: found without a model of the user's, from embeddings, or with the user's own probabilities.

    vectors ──kernel probe, nearest of each class; out of fold──▶ p(true class | sample), confusion
            ──tempered──▶ p(the given label is wrong) = confidence
    user's probabilities ──cleanlab's confusion──────────────────────────▶

With probabilities of your own, one column for each class in sorted order:

    label_noise:
      probabilities: predictions.npy          # float [n, classes], rows in the order of the samples' ids
      # probabilities: [p_cat, p_dog]         # or columns of the dataset
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dqpipe.errors import PlanError, StageError
from dqpipe.model import Facts, Samples, claim, figure, label_text
from dqpipe.stages import Claim, Fact, Figure, Pixels, Stage, extension, option
from dqpipe_labels.calibration import tempered
from dqpipe_labels.confusion import posterior
from dqpipe_labels.folds import grouped_folds, groups_per_class
from dqpipe_labels.nearest import nearness
from dqpipe_labels.probes import kernel_features, learn

BOOTSTRAPS = 200
FEWEST = 3
"""Pictures (copies counted once) that a class needs to be judged out of fold."""


@extension
class LabelNoise(Stage):
    """Labels that are probably wrong, with the likely right one, by confident learning on out-of-fold probabilities."""

    name = "label_noise"
    version = 1
    default = True
    libraries = ("cleanlab", "numpy", "scipy")
    gives = (
        Fact("confidence", "float64", "probability that the given label is wrong", at="relate", nullable=True),
        Fact("suggested", "string", "the most likely other label", at="relate", nullable=True),
        Fact("self_confidence", "float64", "out-of-fold probability of the given label, noise not modelled", at="relate", nullable=True),
        Fact("confident_learning", "bool", "whether cleanlab's confident learning calls it an issue", at="relate", nullable=True),
        Claim("likely_wrong", "warning", "The label is probably wrong."),
        Figure("share", "estimated share of wrong labels, with a 90 % bootstrap interval"),
        Figure("confusion", "estimated share of a given label's samples that truly are of another class, as given→true"),
    )

    vectors: str | None = option("embeddings.vector", "the vectors that classes are told by; not used with probabilities", at="relate")
    groups: str | None = option("duplicates.group", "a fact that is equal for copies of one thing: they never confirm each other's label; null for none", at="relate")
    probabilities: str | list[str] | None = option(None, "class probabilities of your own: columns, or a .npy or .parquet file of [n, classes]", at="relate")
    folds: int = option(5, "parts that are judged by models of the others", at="relate", ge=2, le=20)
    repeats: int = option(2, "how often that is done, with other folds, and averaged", at="relate", ge=1, le=20)
    seed: int = option(0, "of folds and landmarks", at="relate", ge=0)
    at_least: float = option(0.5, "claim from this confidence", gt=0, le=1)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The label, and the vectors or the user's columns."""
        given = [] if isinstance(self.probabilities, str) else list(self.probabilities or [])
        facts = [] if self.probabilities is not None else [name for name in (self.vectors, self.groups) if name]
        return ("label", *given, *facts)

    def check(self) -> None:
        """Raise PlanError where there is nothing to tell classes by."""
        if self.probabilities is None and self.vectors is None:
            raise PlanError("give `vectors` (a fact such as embeddings.vector) or `probabilities`")

    def relate(self, samples: Samples, facts: Facts, pixels: Pixels) -> Mapping[str, Any]:  # noqa: ARG002
        """How likely each label is wrong, null where its class is too small to be judged."""
        given, names = classes_of(samples)
        groups = facts[self.groups] if self.groups and self.probabilities is None else samples.ids
        enough = groups_per_class(groups, given[given >= 0], len(names)) if (given >= 0).all() else groups_per_class(groups[given >= 0], given[given >= 0], len(names))
        judged = np.flatnonzero((given >= 0) & (enough[given] >= FEWEST)) if self.probabilities is None else np.flatnonzero(given >= 0)
        kept, dense = np.unique(given[judged], return_inverse=True)
        if len(kept) < 2 and self.probabilities is None:  # noqa: PLR2004 (one class cannot be confused)
            return self._answer(len(samples), judged[:0], np.zeros((0, 1)), np.zeros((0, 1)), dense[:0], names)
        if self.probabilities is None:
            wrong, as_given = self._out_of_fold(facts[self.vectors][judged], dense, groups[judged], len(kept))
            return self._answer(len(samples), judged, wrong, as_given, dense, [names[at] for at in kept])
        chances = self._given_probabilities(samples, len(names))[judged]
        return self._answer(len(samples), judged, self._by_cleanlab(chances, given[judged]), chances, given[judged], names)

    def _out_of_fold(self, vectors: np.ndarray, given: np.ndarray, groups: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """p(true class | sample, label) and p(given class | sample), [n, classes], averaged over the repeats."""
        truths, chances = [], []
        near = nearness(vectors, given, groups, classes)
        smallest = int(groups_per_class(groups, given, classes).min())
        for repeat in range(self.repeats):
            seed = self.seed * 1000 + repeat
            fold = grouped_folds(groups, given, max(2, min(self.folds, smallest)), seed)
            first = learn(kernel_features(vectors, seed), given, fold, classes)
            second = learn(near.copy(), given, fold, classes)
            probabilities, confusion = tempered(together(first.probabilities, second.probabilities), (first.confusion + second.confusion) / 2, given)
            truths.append(posterior(probabilities, confusion, given))
            chances.append(together(first.as_given, second.as_given))
        return np.mean(truths, axis=0), np.mean(chances, axis=0)

    def _by_cleanlab(self, chances: np.ndarray, given: np.ndarray) -> np.ndarray:
        """p(true class | sample, label) from the user's probabilities and cleanlab's estimate of the confusion."""
        from cleanlab.count import compute_confident_joint

        joint = compute_confident_joint(given, chances) + 1e-3
        return posterior(chances, np.asarray(joint.T / joint.T.sum(axis=1, keepdims=True)), given)

    def _given_probabilities(self, samples: Samples, classes: int) -> np.ndarray:
        if isinstance(self.probabilities, list):
            matrix = np.column_stack([samples[name].astype(float) for name in self.probabilities])
        else:
            matrix = _load(Path(str(self.probabilities)))
        if matrix.shape != (len(samples), classes):
            raise StageError(self.name, "relate", f"probabilities are {list(matrix.shape)}, wanted [{len(samples)} samples, {classes} classes]")
        if not np.isfinite(matrix).all() or (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1, atol=1e-2):
            raise StageError(self.name, "relate", "probabilities are not: each row is to be finite, not negative, and sum to 1")
        return matrix

    def _answer(self, count: int, rows: np.ndarray, truths: np.ndarray, chances: np.ndarray, given: np.ndarray, names: list[str]) -> dict[str, Any]:
        at = np.arange(len(rows))
        wrong, sure = np.full(count, np.nan), np.full(count, np.nan)
        suggested: np.ndarray = np.full(count, None, dtype=object)
        issue: np.ndarray = np.full(count, None, dtype=object)
        if len(rows):
            wrong[rows] = np.clip(1 - truths[at, given], 0, 1)
            sure[rows] = chances[at, given]
            others = truths.copy()
            others[at, given] = -1
            suggested[rows] = np.array(names, dtype=object)[others.argmax(axis=1)]
            issue[rows] = list(confident_learning(given, chances))
        return {"confidence": wrong, "suggested": suggested, "self_confidence": sure, "confident_learning": issue}

    def detect(self, samples: Samples, facts: Facts) -> list[Any]:
        """`likely_wrong` from the confidence up."""
        confidence = facts["confidence"]
        rows = np.flatnonzero(np.nan_to_num(confidence, nan=0.0) >= self.at_least)
        suggested = facts["suggested"][rows]
        labels = samples["label"][rows]
        said = [f"given {label_text(label)}, looks like {other}" for label, other in zip(labels, suggested, strict=True)]
        return [claim("likely_wrong", samples.ids[rows], confidence=confidence[rows], value=confidence[rows], threshold=self.at_least, suggestion=suggested, detail=said)]

    def summarise(self, samples: Samples, facts: Facts) -> list[Any]:
        """The estimated share of wrong labels, overall and per class, and where they belong."""
        confidence = facts["confidence"]
        judged = np.isfinite(confidence)
        if not judged.any():
            return []
        given = np.array([label_text(label) for label in samples["label"]], dtype=object)
        rows = [_share(confidence[judged], self.seed)]
        for name in sorted(set(given[judged])):
            of = judged & (given == name)
            rows.append(_share(confidence[of], self.seed, scope="class", key=name))
            for other in sorted({s for s in facts["suggested"][of] if s is not None}):
                share = float(confidence[of & (facts["suggested"] == other)].sum() / of.sum())
                if share >= 0.005:  # noqa: PLR2004 (below half a per cent is nothing to read)
                    rows.append(figure("confusion", share, scope="class", key=f"{name}→{other}"))
        return rows


def together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two opinions [n, classes] as one: their geometric mean, which is sure only where both are (Hinton 2002)."""
    product = np.sqrt(one * other)
    return product / product.sum(axis=1, keepdims=True)


def classes_of(samples: Samples) -> tuple[np.ndarray, list[str]]:
    """The number of each label, -1 where it is absent, and the classes' names. Raises StageError if labels are no classes."""
    import pyarrow as pa

    column = samples.table.column("label")
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        raise StageError("label_noise", "relate", f"labels of type {column.type} are no classes", "leave label_noise out of stages for such labels")
    texts = [label_text(label) for label in column.to_pylist()]
    names = sorted({text for text in texts if text is not None})
    number = {name: at for at, name in enumerate(names)}
    return np.array([-1 if text is None else number[text] for text in texts], dtype=np.int64), names


def confident_learning(given: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """[n] bool: cleanlab's issues (Northcutt, Jiang & Chuang 2021, pruned by noise rate)."""
    from cleanlab.filter import find_label_issues

    if len(np.unique(given)) < 2 or chances.shape[1] < 2:  # noqa: PLR2004
        return np.zeros(len(given), dtype=bool)
    return np.asarray(find_label_issues(given, chances, n_jobs=1), dtype=bool)


def _share(confidence: np.ndarray, seed: int, **where: Any) -> dict[str, Any]:  # noqa: ANN401
    """The mean of the confidences, and the 5th to 95th percentile over bootstraps of samples and of their truth."""
    rng = np.random.default_rng(seed)
    drawn = confidence[rng.integers(len(confidence), size=(BOOTSTRAPS, min(len(confidence), 20_000)))]
    shares = (rng.random(drawn.shape) < drawn).mean(axis=1)
    low, high = np.percentile(shares, [5, 95])
    return figure("share", float(confidence.mean()), low=float(low), high=float(high), **where)


def _load(path: Path) -> np.ndarray:
    """Probabilities of a .npy (never a pickle) or .parquet file. Raises StageError."""
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), dtype=float)
        import pyarrow.parquet as pq

        return np.column_stack([column.to_numpy() for column in pq.read_table(path).columns]).astype(float)
    except (OSError, ValueError) as error:
        raise StageError("label_noise", "relate", f"probabilities {path} cannot be read: {error}") from None
