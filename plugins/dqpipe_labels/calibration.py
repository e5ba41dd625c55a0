"""How sure a probe may be: a temperature for its probabilities, chosen by how well they explain the given labels."""

from __future__ import annotations

import numpy as np

from dqpipe_labels.confusion import estimated_confusion, expected_counts, posterior

TEMPERATURES = (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5)
ROUNDS = 20


def tempered(probabilities: np.ndarray, confusion: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [n, c] at the temperature (Guo et al. 2017) under which the labels are most likely, and their confusion.

    A probe that saw few samples is less sure than it may be, and its doubt would pass for label noise. The likelihood is
    that of the given labels through the confusion, which is estimated anew at each temperature: noise is not overfitted.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for temperature in TEMPERATURES:
        scaled = np.exp(logs / temperature - (logs / temperature).max(axis=1, keepdims=True))
        scaled /= scaled.sum(axis=1, keepdims=True)
        matrix = confusion.copy()
        for _ in range(ROUNDS):
            matrix = estimated_confusion(expected_counts(posterior(scaled, matrix, given), given), first=False)
        likely = (scaled @ matrix)[np.arange(len(given)), given]
        loss = float(-np.log(np.maximum(likely, 1e-12)).mean())
        if best is None or loss < best[0]:
            best = (loss, scaled, matrix)
    assert best is not None
    return best[1], best[2]
