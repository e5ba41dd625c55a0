"""Who lost samples: what is said of chance holds at small counts."""

from __future__ import annotations

import numpy as np
import pytest
from dqpipe_reports.sections.losses import lost, said

from dqpipe.data.intervals import more_than_others


def rows(dropped: list[int], before: list[int]) -> list[dict[str, object]]:
    told = [
        {"name": f"c{at}", "dropped": hit, "before": count}
        for at, (hit, count) in enumerate(zip(dropped, before, strict=True))
    ]
    return lost({"rows": told, "others": None})


def test_one_drop_is_chance() -> None:
    assert "beyond what chance explains" in said("class", rows([1, 0, 0], [8, 60, 60]))
    assert "Cleaning took more from c0 " in said("class", rows([6, 1, 1], [8, 60, 60]))


@pytest.mark.parametrize(
    "sizes", [[500, 500], [20] * 10, [3] * 60, [5, 40, 400, 1000], [1] * 30 + [200]]
)
@pytest.mark.parametrize("share", [0.005, 0.05, 0.3])
def test_of_random_drops_at_most_one_in_twenty_is_called_more_than_chance(
    sizes: list[int], share: float
) -> None:
    rng, of = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    false = 0
    for _ in range(100):
        hit = of[rng.permutation(len(of))[: max(1, round(share * len(of)))]]
        false += any(more_than_others(np.bincount(hit, minlength=len(sizes)).tolist(), sizes))
    assert false <= 5


def test_a_difference_that_is_sure_but_small_is_not_called_more() -> None:
    assert more_than_others([1_100, 1_000], [100_000, 100_000]) == [False, False]
    assert more_than_others([3_000, 1_000], [50_000, 50_000]) == [True, False]
