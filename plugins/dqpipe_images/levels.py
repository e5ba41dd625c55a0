"""Values of more than 8 bits to 8.

By the range that nearly all of them are in, whatever a hot pixel or a mark for "no data" says.

    values ──no data left out──▶ a few of the brightest left out ──▶ 0–1 (floats), 8, 12 or 16 bits,
        else smallest to largest ──▶ 0 … 255

Values stay as they are beside (`Picture.native`).
"""

from __future__ import annotations

import numpy as np

RANGES = (255, 4095, 65535)  # the largest values of 8, 12 and 16 bits
# one value in so many may be beyond the range, and one of a smaller picture that has at least `FEW`
HOT = 5000
FEW = 256  # values: with less, each counts
BAND = 4_000_000  # values that are converted at once


def eight_bits(values: np.ndarray, marked: float | None = None) -> np.ndarray:
    """uint8 [h, w] of wider values; `marked` is the value that the file says stands for no data.

    The scale is that of the smallest range that holds nearly all values; those outside all ranges
    are stretched from their smallest to their largest. What is beyond is white or black, no data
    and what is no number black.
    """
    none = _no_data(values, marked)
    known = values[~none] if none.any() else values.ravel()
    if not known.size:
        return np.zeros(values.shape, np.uint8)
    low, high = _range(known)
    scale = np.float32(255 / (high - low) if high > low else 0)
    found = np.empty(values.shape, np.uint8)
    rows = max(1, BAND // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        part = np.nan_to_num(
            values[top : top + rows].astype(np.float32), nan=low, posinf=high, neginf=low
        )
        grey = np.round((np.clip(part, low, high) - np.float32(low)) * scale).astype(np.uint8)
        grey[none[top : top + rows]] = 0
        found[top : top + rows] = grey
    return found


def _range(known: np.ndarray) -> tuple[float, float]:
    """The values that become black and white."""
    spare = max(known.size // HOT, int(known.size >= FEW))
    low, high = _least(known, spare), _most(known, spare)
    ranges = (1, *RANGES) if known.dtype.kind == "f" else RANGES
    if low >= 0 and high <= ranges[-1]:
        return 0.0, float(next(top for top in ranges if high <= top))
    return low, high


def _most(known: np.ndarray, spare: int) -> float:
    """The largest value but for a few."""
    if not spare:
        return float(known.max())
    part = np.partition(known, known.size - 1 - spare)
    return float(part[known.size - 1 - spare])


def _least(known: np.ndarray, spare: int) -> float:
    return float(known.min()) if not spare else float(np.partition(known, spare)[spare])


def _no_data(values: np.ndarray, marked: float | None) -> np.ndarray:
    """Bool [h, w]: what is no number, what the file marks, and a value that stands far from all
    others, and many times.
    """
    none = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if marked is not None:
        none |= np.isclose(values, marked, rtol=1e-6, atol=0)
    if values.dtype.kind in "fi":
        for _ in range(2):  # one below and one above
            known = values[~none]
            mark = _sentinel(known)
            if mark is None:
                break
            none |= values == mark
    return none


def _sentinel(known: np.ndarray) -> float | None:
    """The smallest or largest value, if it is further from the next than those others are from each
    other, and stands several times.
    """
    if known.size < FEW:
        return None
    for extreme, others in ((known.min(), np.greater), (known.max(), np.less)):
        rest = known[others(known, extreme)]
        if not rest.size or known.size - rest.size <= max(1, known.size // HOT):
            continue
        low, high = float(rest.min()), float(rest.max())
        gap = low - float(extreme) if others is np.greater else float(extreme) - high
        if gap > max(high - low, 1e-9 * abs(float(extreme))):
            return extreme
    return None
