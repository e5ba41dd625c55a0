"""Labels that are numbers: which differ from their prediction by more than is usual for similar
samples.

    vectors ──▶ out-of-fold prediction ──▶ without what is far off, again ──▶ error / usual error of
        such samples = deviation

Prices, counts and durations are compared by ratio, other numbers by difference. There is no
confidence: how long the tails of sound errors are cannot be told from the data, and cleanlab's
share of errors swings with the seed. The ranking is stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dqpipe import label_text
from dqpipe_labels.folds import grouped_folds
from dqpipe_labels.ridge import kernel_features, out_of_fold

FAR = 8.0
"""Median errors from which a label is left out when the model is fitted again."""
SMOOTHED, LEAST_SCALE = 0.05, 0.2
"""Share of the median error that is added before a logarithm is taken, and the smallest usual
error, in median ones.
"""
SKEWED = 1.5
"""A distribution whose upper half is so much longer than its lower half is one of ratios."""
CERTAIN = 2.0
LEAST = 20
"""Fewer labelled samples than this are not judged."""
COMPARED = 2000
"""Samples that cleanlab's score compares with each other.

Its cost and memory grow with their square.
"""


@dataclass(frozen=True, eq=False)
class Scale:
    """Numbers as the model sees them.

    As they are, or (`unit` above 0) as asinh(number / unit), the logarithm of large ones.
    """

    unit: float = 0.0

    @classmethod
    def of(cls, numbers: np.ndarray) -> Scale:
        """Logarithmic for numbers that are nearly all above 0 and skewed."""
        low, middle, high = np.quantile(numbers, [0.05, 0.5, 0.95])
        return cls(float(low)) if low > 0 and high - middle > SKEWED * (middle - low) else cls()

    def there(self, numbers: np.ndarray) -> np.ndarray:
        """To the model's scale."""
        return np.arcsinh(numbers / self.unit) if self.unit else numbers

    def back(self, values: np.ndarray) -> np.ndarray:
        """To the user's scale."""
        return np.sinh(values) * self.unit if self.unit else values


@dataclass(frozen=True, eq=False)
class Learned:
    """What predictions are learned from, out of fold: vectors [n, d] and the folds int [n].

    By ridge regression on kernel features, and where the vectors are `columns` of a table by its
    mean with boosted trees (Friedman 2001).
    """

    vectors: np.ndarray
    fold: np.ndarray
    columns: bool
    seed: int

    def foretold(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions [n] of values [n], learned without those that lie far off, and the usual
        error for such samples [n].
        """
        features = kernel_features(self.vectors, self.seed)
        near = np.ones(len(values), dtype=bool)
        error = np.abs(values - self._predicted(features, values, near))
        near = error <= FAR * np.median(error)
        predicted = self._predicted(features, values, near)
        error = np.abs(values - predicted)
        logs = np.log(error + SMOOTHED * typical(error))
        return predicted, usual(self._predicted(features, logs, near), logs, near)

    def _predicted(self, features: np.ndarray, targets: np.ndarray, near: np.ndarray) -> np.ndarray:
        smooth = out_of_fold(features, targets[:, None], self.fold, near)[:, 0]
        return (
            (smooth + boosted(self.vectors, targets, self.fold, near)) / 2
            if self.columns
            else smooth
        )


def boosted(
    vectors: np.ndarray, targets: np.ndarray, fold: np.ndarray, learned: np.ndarray
) -> np.ndarray:
    """Out-of-fold predictions [n] by histogram gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    found = np.empty(len(targets))
    with threadpool_limits(
        1
        # its threads wait for each other actively: on a busy machine two are many times slower than
        # one
    ):
        for number in range(int(fold.max()) + 1):
            rows = np.flatnonzero((fold != number) & learned)
            model = HistGradientBoostingRegressor(early_stopping=False, random_state=0)
            found[fold == number] = model.fit(vectors[rows], targets[rows]).predict(
                vectors[fold == number]
            )
    return found


def typical(error: np.ndarray) -> float:
    """The median of errors [n], above 0."""
    return float(np.median(error)) or float(error.mean()) or 1.0


def informed(values: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether predictions [n] are nearer to the values [n] than their median is, for certain.

    A few wild values do not decide.
    """
    gain = np.abs(values - np.median(values)) - np.abs(values - predicted)
    low, high = np.quantile(gain, [0.01, 0.99])
    gain = np.clip(gain, low, high)
    return bool(gain.mean() > CERTAIN * gain.std() / np.sqrt(len(gain)))


def usual(foretold: np.ndarray, logs: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The usual error for each sample [n], from predictions [n] of the logarithms [n] of the
    errors.

    As much of the predicted differences is believed as shows out of fold: nothing where errors are
    the same everywhere.
    """
    x, y = foretold[near] - foretold[near].mean(), logs[near] - logs[near].mean()
    slope = float(np.clip((x @ y) / max(float(x @ x), 1e-12), 0, 1))
    return np.exp(np.maximum(slope * (foretold - np.median(foretold)), np.log(LEAST_SCALE)))


def cleanlab_quality(
    values: np.ndarray, predicted: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    """The label quality (OUTRE) [n] that cleanlab gives, from 0 (doubtful) to 1, in blocks of the
    samples drawn by a seeded hash.
    """
    from cleanlab.regression.rank import get_label_quality_scores

    blocks = max(1, round(len(values) / COMPARED))
    block = grouped_folds(groups, np.zeros(len(values), dtype=np.int64), blocks, seed)
    found = np.empty(len(values))
    for number in range(blocks):
        rows = np.flatnonzero(block == number)
        found[rows] = get_label_quality_scores(values[rows], predicted[rows])
    return found


def folds_of(numbers: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Folds int [n] in which small and large numbers are spread evenly, and copies (`groups` [n]
    str) stay together.
    """
    tenth = (
        np.searchsorted(np.quantile(numbers, np.arange(1, 10) / 10), numbers)
        if len(numbers)
        else np.zeros(0, dtype=np.int64)
    )
    return grouped_folds(groups, tenth, count, seed)


def judged_numbers(
    numbers: np.ndarray, groups: np.ndarray, source: Learned | np.ndarray, *, whole: bool, seed: int
) -> dict[str, Any]:
    """The facts suggested (objects of str), deviation and margin of finite numbers [n].

    {} where they cannot be judged.

    `source` are the user's own out-of-fold predictions [n], or what to learn from. `groups` [n] str
    are equal for copies of one thing, `whole` says that the labels are whole numbers.
    """
    if len(numbers) < LEAST or (isinstance(source, Learned) and len(np.unique(source.fold)) < 2):  # noqa: PLR2004 (nothing to learn from)
        return {}
    scale = Scale.of(numbers)
    values = scale.there(numbers)
    predicted, expected = (
        source.foretold(values)
        if isinstance(source, Learned)
        else (scale.there(source), np.ones(len(values)))
    )
    if not informed(values, predicted):
        return {}
    deviation = np.abs(values - predicted) / expected
    likely = np.clip(scale.back(predicted), numbers.min(), numbers.max())
    margin = cleanlab_quality(values, predicted, groups, seed)
    return {
        "suggested": as_texts(likely, numbers, whole=whole),
        "deviation": deviation / typical(deviation),
        "margin": margin,
    }


def as_texts(numbers: np.ndarray, like: np.ndarray, *, whole: bool) -> np.ndarray:
    """Numbers [n] as label texts, with as many decimals as those of `like` have, at most six.

    Whole numbers without any.
    """
    some = like[:: max(1, len(like) // 1000)]
    decimals = next(
        (
            count
            for count in range(6)
            if np.abs(some - np.round(some, count)).max() < 10.0 ** -(count + 3)
        ),
        6,
    )
    texts = np.empty(len(numbers), dtype=object)
    texts[:] = [
        label_text(int(number) if whole else float(number))
        for number in np.round(numbers, 0 if whole else decimals)
    ]
    return texts
