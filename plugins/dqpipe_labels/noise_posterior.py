"""The probability that each label is wrong, from out-of-fold class probabilities.

    p(true | sample) at a temperature ──▶ two kinds of wrong labels ──▶ p(true | sample, given)
        one account (noise model) per temperature
                                          by class: p(given | true), as `confusion` estimates it
                                          by look: a class that the sample resembles, more often
                                              where classes are hard to separate

Labels that were confused because samples look alike can hardly be told from hard samples with right
labels. So several noise models ("accounts") are fitted: the softer the probabilities are taken to
be, the fewer labels are wrong. Those are kept under which the given labels are about as likely as
under the best one, and the confidence lies between the likeliest of these and the next noisier one.

Where the labels are about as likely under a model without wrong labels, in which classes merely
overlap, most of the confidence is taken back, as overlap cannot be told from noise. The exception:
labels differ from the predictions more often than overlap explains, as measured at the borders
between classes (`seams`). Then some labels are wrong, and if the likeliest account has too few, a
noisier one is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dqpipe_labels.confusion import estimated_confusion, expected_counts, starting_confusion
from dqpipe_labels.kernel import softmax
from dqpipe_labels.seams import Excess, Seams

TEMPERATURES = (1.2, 1.0, 0.85, 0.72, 0.61, 0.52, 0.44)
"""Of the pooled opinions' log probabilities, from soft (few labels are wrong) to sharp."""
POOLS, BETTER = (0.5, 0.3, 0.7, 0.15, 0.85, 1.0), 1.4
"""Shares of the first opinion in the pool that are tried, the first one unless another is better
for certain; and by how many standard errors more of the first opinion is to be better.
"""
TURNS = 16
"""Rounds of expectation-maximisation for each temperature."""
OVERLAPS = (3.0, 2.5, 2.0, 1.7, 1.4, 1.2, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
"""Temperatures of the account in which no label is wrong: whatever fits best."""
HALF_SHOWN, SHOWN, SURELY_SHOWN, DEARER = 0.75, 0.2, 4.0, 2.2
"""Standard errors by which noise must explain the labels better than overlap for half the doubt to
stand, how many more take it from a half to 84 %, how many rule out that no label is wrong, and how
many more are needed, for half of it, in proportion to the share that would be wrong.
"""
SEEN, WELL_SEEN, SEEN_TOO, SELDOM = (1.3, 0.3), (1.6, 0.15), 0.33, 0.1
"""The same, of the labels that differ more often than where classes meet explains, for the doubt to
stand, and for an account of more noise; what one of these counts beside those; and the share of
wrong labels below which it counts less that there is none.
"""
APART, CLEARLY, NOTICEABLE = (0.45, 0.2), (0.55, 0.15), 0.03
"""How often neighbours are foretold different classes, in proportion to any split, from where on
classes overlap, and below which they are clearly apart, each with how much more or less it takes to
count in full; and the share of wrong labels from which the latter does.
"""
SOME_LOOK, SURE_LOOK = (-2.3, 0.4), (3.5, 0.3)
"""Standard errors by which labels differ more often than where classes meet explains, and by which
noise explains them better than overlap, at which half of what is confused by look is believed, and
how many more take it to 84 %.
"""
SHARPEST, LEAST_TOLD = 0.37, 0.01
"""Temperature of the account that is told where the likeliest has too few labels wrong, and the
share of it below which it is not told at all.
"""
HALF_FEW, FEWER = 0.55, 0.15
"""Times of the wrong labels of the likeliest account that overlap does not explain, for half of
that, and how much more in logs takes it to 84 %.
"""
STEEPNESS = 1.5
"""How much oftener the sample that is hardest to tell is confused by look than the easiest, less
one.
"""
BLUR = 0.5
"""Power of the probabilities in proportion to which a label confused by look is drawn.

Who confused them saw other things than the models.
"""
USUAL, WEIGHT = 0.2, 0.15
"""Share of labels confused by look that the account of most noise expects beforehand, and how much
that counts beside the labels.
"""
CONCENTRATED = 1 / 3
"""Share of the labels confused by class that go to the first choice of their class, from which
pairs of classes are told apart.
"""
BELIEVED = 2.0
"""Standard errors of the log-likelihood by which an account may fall short of the best one."""
ENOUGH = 5000
"""Samples beyond which more of them exclude no more accounts.

The form of the noise is a guess, whatever their number.
"""
FEW = 500
"""Samples with which half the weight moves from the account of least noise to those of more."""
FITTED = 10_000
"""Samples that the accounts are fitted to, at most, and no fewer than PER_CLASS for each class."""
PER_CLASS = 200


@dataclass(frozen=True, eq=False)
class Account:
    """One way in which the labels may have come about.

    A temperature, p(given | true) [c, c], the share confused by look beforehand, and then: log
    p(given | sample) of the samples it was fitted to [n], their shares wrong by look and in all,
    and whether each pair of classes has a rate of its own.
    """

    temperature: float
    matrix: np.ndarray
    rate: float
    likelihood: np.ndarray
    by_look: float
    wrong: float
    by_pairs: bool


@dataclass(frozen=True, eq=False)
class Doubt:
    """p(true | sample) and p(true | sample, given), float64 [n, c].

    The probability that a label is wrong by the accounts of least and of most noise [n].
    """

    probabilities: np.ndarray
    after: np.ndarray
    least: np.ndarray
    most: np.ndarray


@dataclass(frozen=True, eq=False)
class Seen:
    """What accounts are fitted to.

    Log probabilities [n, c], given labels int [n], and p(given | not this true class, confused by
    look) [n, c].
    """

    logs: np.ndarray
    given: np.ndarray
    confused: np.ndarray
    often: np.ndarray
    """How often each sample is confused by look, relative to the average [n]."""

    def part(self, rows: slice) -> Seen:
        """Some of the samples."""
        return Seen(self.logs[rows], self.given[rows], self.confused[rows], self.often[rows])

    def judged(
        self, chances: np.ndarray, matrix: np.ndarray, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """p(true, by class | sample, given) and p(true, by look | sample, given), both [n, c], and
        log p(given | sample) [n].

        From p(true | sample) [n, c], p(given | true) by class [c, c] and the share that is confused
        by look.
        """
        rates = np.minimum(rate * self.often, 0.9)[:, None]
        by_class, by_look = matrix.T[self.given], self.confused * rates
        by_class *= chances
        by_class *= 1 - rates
        by_look *= chances
        total = np.maximum(by_class.sum(axis=1) + by_look.sum(axis=1), 1e-12)
        by_class /= total[:, None]
        by_look /= total[:, None]
        return by_class, by_look, np.log(total)

    def after(self, account: Account) -> np.ndarray:
        """p(true | sample, given) by an account [n, c]."""
        by_class, by_look, _ = self.judged(
            softened(self.logs, account.temperature), account.matrix, account.rate
        )
        return by_class + by_look


def doubt(opinions: Sequence[np.ndarray], given: np.ndarray, seams: Seams | None = None) -> Doubt:
    """What one opinion, or two, out of fold [n, c], say of the given labels int [n].

    `seams` is where classes meet, None where that is not known.
    """
    step = max(1, len(given) // max(FITTED, PER_CLASS * opinions[0].shape[1]))
    logs = [np.log(np.maximum(opinion, 1e-9)) for opinion in opinions]
    seen = observed(pooled(logs, given, step), given)
    some = seen.part(slice(None, None, step))
    excess = None if seams is None else seams.excess(seen.logs.argmax(axis=1), given)
    every, expecting = every_account(some), every_account(some, expected=WEIGHT)
    fewer = believed(every)
    more = expecting[min(expecting.index(believed(expecting)[-1]) + 1, len(expecting) - 1)]
    here = np.arange(len(given))
    likely, last = (
        max(fewer, key=likelihood),
        max(more, fewer[-1], key=lambda account: account.wrong),
    )
    noise = standard_errors(likely.likelihood - overlapping(some))
    stands = standing(noise, likely.wrong, excess)
    least, most = seen.after(fewer[0]), seen.after(last)
    after = likeliest(seen, every, fewer, likely, excess)
    place = (
        stands * by_look(fewer[-1]) * len(given) / (len(given) + FEW) * shown_by_look(noise, excess)
    )
    after = after * (1 - place) + most * place
    if excess and (beyond := too_few(excess, likely)) > LEAST_TOLD:
        sharp = suggesting(
            seen.after(every_account(some, (SHARPEST,), expected=WEIGHT)[0]),
            seen.after(likely),
            given,
            clearly(excess),
        )
        after = after * (1 - beyond) + sharp * beyond
        most = np.where((most[here, given] < sharp[here, given])[:, None], most, sharp)
    after *= stands
    after[here, given] += 1 - stands
    low = 1 - least[here, given] if noise > SURELY_SHOWN else np.zeros(len(given))
    return Doubt(softened(seen.logs, 1.0), after, low, 1 - most[here, given])


def suggesting(wrong: np.ndarray, told: np.ndarray, given: np.ndarray, clear: float) -> np.ndarray:
    """p(true | sample, given) [n, c].

    That a label is wrong by one account, which other is right then by another, unless classes are
    `clear`, 0 to 1.

    An account may be sharp since it has more labels wrong; where classes overlap the models tell no
    more surely for that which class it is instead.
    """
    here = np.arange(len(given))
    others = told.copy()
    others[here, given] = 0
    others *= ((1 - wrong[here, given]) / np.maximum(others.sum(axis=1), 1e-12))[:, None]
    others[here, given] = wrong[here, given]
    return clear * wrong + (1 - clear) * others


def clearly(excess: Excess) -> float:
    """How clearly classes are apart, 0 to 1."""
    return float(np.clip((CLEARLY[0] - excess.meets) / CLEARLY[1], 0, 1))


def standing(noise: float, wrong: float, excess: Excess | None) -> float:
    """How much of the doubt stands, 0 to 1.

    By the standard errors by which noise explains the labels better than overlap, more of them
    where the likeliest account has a larger share of them wrong, and by how much oftener labels
    differ than where classes meet explains.
    """
    if excess is None:
        return rising(noise, HALF_SHOWN + DEARER * wrong, SHOWN)
    seldom = (
        1.0 if excess.errors > 0 else min(1.0, wrong / SELDOM)
    )  # few wrong labels leave no trace where classes meet
    both = noise + SEEN_TOO * seldom * float(np.clip(excess.errors, -1.0, 1.5))
    return max(rising(both, HALF_SHOWN + DEARER * wrong, SHOWN), rising(excess.errors, *SEEN))


def shown_by_look(noise: float, excess: Excess | None) -> float:
    """How far it is believed, 0 to 1, that labels were confused by look beside those of the
    likeliest account, by the same as whether doubt stands.
    """
    return (
        1.0 if excess is None else max(rising(excess.errors, *SOME_LOOK), rising(noise, *SURE_LOOK))
    )


def likeliest(
    seen: Seen,
    every: Sequence[Account],
    fewer: Sequence[Account],
    likely: Account,
    excess: Excess | None,
) -> np.ndarray:
    """p(true | sample, given) by the likeliest account [n, c].

    Half of the next softer one goes with it where classes overlap much, since the likeliest one
    takes some of their overlap for noise; in its place comes that of most noise where they are
    clearly apart, since there models are unsure because of the noise alone.
    """
    told = seen.after(likely)
    if excess is None:
        return told
    overlap = (
        0.0 if likely.by_pairs else float(np.clip((excess.meets - APART[0]) / APART[1], 0, 1)) / 2
    )
    clear = clearly(excess) * min(1.0, likely.wrong / NOTICEABLE)
    softer = every[max(every.index(likely) - 1, 0)]
    return (
        told * (1 - overlap - clear) + seen.after(softer) * overlap + seen.after(fewer[-1]) * clear
    )


def rising(value: float, half: float, spread: float) -> float:
    """From 0 to 1 as a value rises: the normal distribution's share below it."""
    from scipy.stats import norm

    return float(norm.cdf((value - half) / spread))


def too_few(excess: Excess, likely: Account) -> float:
    """How far, 0 to 1, the likeliest account is left for one of more noise, since it has too few
    wrong labels for what overlap does not explain.
    """
    share = max(excess.beyond, 1e-9) / max(likely.wrong, 1e-9)
    return rising(excess.errors, *WELL_SEEN) * rising(
        float(np.log(share)), float(np.log(HALF_FEW)), FEWER
    )


def overlapping(seen: Seen) -> np.ndarray:
    """Log p(given | sample) [n] if no label is wrong, and classes overlap as much as the labels
    say.
    """
    here = np.arange(len(seen.given))
    return max(
        (
            np.log(softened(seen.logs, temperature)[here, seen.given] + 1e-12)
            for temperature in OVERLAPS
        ),
        key=np.sum,
    )


def likelihood(account: Account) -> float:
    """Log p(given labels | samples)."""
    return float(account.likelihood.sum())


def observed(logs: np.ndarray, given: np.ndarray) -> Seen:
    """What is needed of log probabilities [n, c] and given labels int [n]."""
    here = np.arange(len(given))
    alike = softened(logs, 1 / BLUR)
    confused = alike[here, given][:, None] / np.maximum(1 - alike, 1e-9)
    confused[here, given] = 0
    return Seen(logs, given, confused, hardness(logs))


def softened(logs: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of log probabilities [n, c] at a temperature."""
    return softmax(logs / temperature)


def hardness(logs: np.ndarray) -> np.ndarray:
    """Falls with the rank of a sample's margin between its two most likely classes, from 1 +
    STEEPNESS to 1; divided by its mean [n].
    """
    two = np.partition(logs, -2, axis=1)[:, -2:]
    order = np.argsort(two[:, 0] - two[:, 1], kind="stable")
    often = np.empty(len(logs))
    often[order] = 1 + STEEPNESS * (np.arange(len(logs)) + 0.5) / len(logs)
    return often / often.mean()


def pooled(logs: Sequence[np.ndarray], given: np.ndarray, step: int) -> np.ndarray:
    """Log probabilities [n, c] of the opinions together.

    A product of experts (Hinton 2002), each to the power of its weight.

    Evenly, unless other weights explain the labels better for certain. Where it is the first
    opinion that should have more, it has as much as does not explain them worse for certain:
    nearness, where it tells less, adds hardly more than its mistakes.
    """
    if len(logs) == 1:
        return logs[0]
    fits = []
    for share in POOLS:
        some = observed(share * logs[0][::step] + (1 - share) * logs[1][::step], given[::step])
        fits.append(
            max((account.likelihood for account in every_account(some, (1.0, 0.7), 6)), key=np.sum)
        )
    best = int(np.argmax([fit.sum() for fit in fits]))
    share = POOLS[best] if certain(fits[best] - fits[0]) else POOLS[0]
    if POOLS[best] > POOLS[0] and standard_errors(fits[best] - fits[0]) > BETTER:
        share = max(
            share for share, fit in zip(POOLS, fits, strict=True) if not certain(fits[best] - fit)
        )
    return share * logs[0] + (1 - share) * logs[1]


def certain(gain: np.ndarray) -> bool:
    """Whether a gain [n] in log-likelihood is more than chance."""
    return standard_errors(gain) > BELIEVED


def standard_errors(gain: np.ndarray) -> float:
    """By how many standard errors a gain [n] in log-likelihood is above 0, with as many samples as
    are believed.
    """
    return float(gain.mean()) / max(float(gain.std()) / np.sqrt(min(len(gain), ENOUGH)), 1e-12)


def every_account(
    seen: Seen,
    temperatures: Sequence[float] = TEMPERATURES,
    turns: int = TURNS,
    expected: float = 0.0,
) -> list[Account]:
    """An account for each temperature.

    `expected` is how much the usual share counts beside the labels.

    That some classes are taken for some others is believed only if it explains the labels better
    for certain, and if most of what is confused goes to few classes. It would else take the place
    of looks, since classes that look alike are confused oftener, and misjudge single samples.
    """
    middle = temperatures[len(temperatures) // 2]
    by_pairs = concentrated(
        fitted(seen, softened(seen.logs, middle), middle, turns, expected, pairs=True).matrix,
        seen.given,
    )
    found = []
    for temperature in temperatures:
        chances = softened(seen.logs, temperature)
        account = fitted(seen, chances, temperature, turns, expected, pairs=False)
        if by_pairs:
            paired = fitted(seen, chances, temperature, turns, expected, pairs=True)
            account = paired if certain(paired.likelihood - account.likelihood) else account
        found.append(account)
    return found


def fitted(
    seen: Seen, chances: np.ndarray, temperature: float, turns: int, expected: float, *, pairs: bool
) -> Account:
    """An account by expectation-maximisation, with a rate of its own for each pair of classes, or
    one for all.
    """
    classes = chances.shape[1]
    matrix, rate = starting_confusion(classes), 0.02
    for turn in range(turns):
        by_class, _, _ = seen.judged(chances, matrix, rate)
        rate = (1 - float(by_class.sum()) / len(chances) + expected * USUAL) / (1 + expected)
        if pairs:
            matrix = estimated_confusion(
                expected_counts(by_class, seen.given), first=turn < turns // 2
            )
        else:
            right = float(by_class[np.arange(len(chances)), seen.given].sum())
            matrix = starting_confusion(
                classes, max(1 - right / max(float(by_class.sum()), 1e-9), 1e-6)
            )
    by_class, by_look, logs = seen.judged(chances, matrix, rate)
    right = float(by_class[np.arange(len(chances)), seen.given].mean())
    return Account(
        temperature, matrix, rate, logs, float(by_look.sum(axis=1).mean()), 1 - right, pairs
    )


def concentrated(matrix: np.ndarray, given: np.ndarray) -> bool:
    """Whether of all labels that are confused by p(given | true) [c, c], a third or more go to the
    first choice of their class.
    """
    wrong = matrix * np.bincount(given, minlength=len(matrix))[:, None]
    np.fill_diagonal(wrong, 0)
    return float(wrong.max(axis=1).sum()) >= CONCENTRATED * float(wrong.sum())


def believed(accounts: Sequence[Account]) -> list[Account]:
    """Those under which the labels are about as likely as under the best one, in the order of
    noise.
    """
    best = max(accounts, key=likelihood)
    return [
        account
        for account in accounts
        if account is best or not certain(best.likelihood - account.likelihood)
    ]


def by_look(account: Account) -> float:
    """How far the account of most noise is told, 0 to 1, by the share of the wrong labels that are
    such by look.

    Pairs of classes that are confused leave their trace where samples are easy, too, so that the
    likeliest account has them all. Those confused by look have softened the models, and the
    likeliest account has too few of them.
    """
    share = min(account.by_look / max(account.wrong, 1e-9), 1.0)
    return share**2 / (share**2 + (1 - share) ** 2) if account.by_pairs else share
