"""A map of the samples in two dimensions.

    vectors of at most POINTS samples ──PCA, or UMAP where it is installed──▶ x, y ∈ [-1, 1] with
        label, finding and decision

The samples are drawn with the run's seed; of those that carry a warning or an error up to a third
of the points, so that a large sound set does not hide them.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from dqpipe.data.tables import DECISIONS
from dqpipe.results.report.counts import Joined
from dqpipe.results.report.embedding import Embedding
from dqpipe.results.report.examples import texts

log = logging.getLogger(__name__)
POINTS, MARKED = 3000, 1000
"""Points of the map at most, and how many of them may be samples with a warning or an error once
not all fit.
"""
NEIGHBOURS = 15
"""UMAP's size of a neighbourhood: its own usual value."""
FEWEST = 3


def laid(joined: Joined, embedding: Embedding | None, seed: int) -> dict[str, Any] | None:
    """The map as columns of equal length, None where no vector was measured.

    `label`, `code` are positions in `labels`, `codes`, -1 for none.

    `code` is the gravest of a sample, `every` lists all of them.
    """
    if embedding is None or int(embedding.has.sum()) < FEWEST:
        return None
    rows = _drawn(embedding.has, joined.marked(), seed)
    vectors = embedding.read(rows).astype(np.float64)
    finite = np.isfinite(vectors).all(axis=1)
    rows, vectors = rows[finite], vectors[finite]
    if len(rows) < FEWEST:
        return None
    method, places, shares = _placed(vectors, seed)
    labels, label = _numbered(texts(joined, "label", rows))
    return {
        "method": method,
        "explained": shares,
        "fact": embedding.fact,
        "total": int(embedding.has.sum()),
        "shown": len(rows),
        "id": joined.samples.table.column("id").take(pa.array(rows)).to_pylist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "label": label,
        "labels": labels,
        "code": _gravest(joined)[rows].tolist(),
        "every": _every(joined, rows),
        "codes": joined.codes,
        "decision": [DECISIONS[number] for number in joined.decision[rows]],
    }


def _drawn(has: np.ndarray, marked: np.ndarray, seed: int) -> np.ndarray:
    """Positions of the samples to show, ascending."""
    if has.sum() <= POINTS:
        return np.flatnonzero(has)
    random = np.random.default_rng(seed)
    some, others = np.flatnonzero(has & marked), np.flatnonzero(has & ~marked)
    first = min(len(some), max(MARKED, POINTS - len(others)))
    chosen = [
        random.choice(some, first, replace=False),
        random.choice(others, min(POINTS - first, len(others)), replace=False),
    ]
    return np.sort(np.concatenate(chosen))


def _gravest(joined: Joined) -> np.ndarray:
    """[n] the gravest code of each sample, -1 for none; of equal ones the first by name."""
    gravest = np.full(len(joined.samples), -1)
    order = np.lexsort((-joined.code, joined.severity))
    order = order[joined.at[order] >= 0]
    gravest[joined.at[order]] = joined.code[order]  # the last one written stays
    return gravest


def _every(joined: Joined, rows: np.ndarray) -> list[list[int]]:
    """All codes of each of these samples."""
    place = np.full(len(joined.samples), -1)
    place[rows] = np.arange(len(rows))
    known = np.flatnonzero(joined.at >= 0)
    known = known[place[joined.at[known]] >= 0]
    told: list[list[int]] = [[] for _ in rows]
    for where, code in np.unique(
        np.column_stack([place[joined.at[known]], joined.code[known]]), axis=0
    ).tolist():
        told[where].append(code)
    return told


def _numbered(values: list[str | None]) -> tuple[list[str], list[int]]:
    names = sorted({value for value in values if value is not None})
    position = {name: number for number, name in enumerate(names)}
    return names, [-1 if value is None else position[value] for value in values]


def _placed(vectors: np.ndarray, seed: int) -> tuple[str, np.ndarray, list[float]]:
    """How, where [k, 2] in -1 … 1, and for PCA the share of the variance that each axis holds."""
    if importlib.util.find_spec("umap") is not None and len(vectors) > NEIGHBOURS:
        try:
            return "UMAP", _scaled(_umap(vectors, seed)), []
        except Exception as error:  # noqa: BLE001 (a library that is not ours to require: a map by PCA is better than no report)
            log.warning("no map by UMAP, by PCA instead: %s: %s", type(error).__name__, error)
    places, shares = pca(vectors)
    return "PCA", _scaled(places), shares


def _umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    import umap  # type: ignore[import-not-found, unused-ignore]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(
            umap.UMAP(n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1).fit_transform(vectors),
            dtype=np.float64,
        )


def pca(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """[k, 2] the first two principal components, their largest weight positive, and the share of
    the variance each holds.
    """
    from scipy.linalg import eigh

    centred = vectors - vectors.mean(axis=0)
    wide = centred.shape[1] > len(centred)
    square = centred @ centred.T if wide else centred.T @ centred
    size, total = len(square), float(np.trace(square))
    values, axes = eigh(square, subset_by_index=[max(size - 2, 0), size - 1])
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    places = axes * np.sqrt(values) if wide else centred @ axes
    if places.shape[1] == 1:
        places, values = np.column_stack([places, np.zeros(len(places))]), np.append(values, 0)
    return places, [round(float(value) / total, 4) if total else 0.0 for value in values]


def _scaled(places: np.ndarray) -> np.ndarray:
    """Centred, both axes by the same factor, so that distances stay what they are."""
    places = places - (places.max(axis=0) + places.min(axis=0)) / 2
    return np.round(places / (np.abs(places).max() or 1), 4)
