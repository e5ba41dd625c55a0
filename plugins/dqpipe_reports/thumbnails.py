"""Small pictures for the page, as data: URLs, within a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dqpipe import MediaError, data_url, shrunk
from dqpipe_reports.differences import difference

if TYPE_CHECKING:
    import numpy as np

    from dqpipe import Picture

log = logging.getLogger(__name__)


class Thumbnails:
    """`thumbnail(id)` for the sections: a data: URL, made once for each sample and size; "" where there is no picture."""

    def __init__(self, pixels: Callable[..., list[Picture]], side: int, budget: int, quality: int, on_the_map: int = 0) -> None:
        self.pixels, self.side, self.budget, self.quality, self.on_the_map = pixels, side, budget, quality, on_the_map
        self.made: dict[tuple[str, ...], str] = {}
        self.left_out: set[tuple[str, ...]] = set()

    def __call__(self, sample: str, side: int | None = None) -> str:
        """The picture of a sample; "" if it cannot be decoded, or if the page would become too large."""
        return self._once((sample, str(side or self.side)), lambda: self._drawn(sample, side or self.side))

    def difference(self, sample: str, match: str) -> str:
        """Where a sample differs from its match, once it is laid over it; "" where the two do not show the same."""
        return self._once((sample, match, "difference"), lambda: self._compared(sample, match))

    def _once(self, key: tuple[str, ...], make: Callable[[], np.ndarray | None]) -> str:
        if key not in self.made:
            pixels = make()
            url = "" if pixels is None else data_url(pixels, self.quality)
            if len(url) > self.budget:
                self.left_out.add(key)
                url = ""
            self.budget -= len(url)
            self.made[key] = url
        return self.made[key]

    def _drawn(self, sample: str, side: int) -> np.ndarray | None:
        picture = self._seen(sample)
        return None if picture is None else shrunk(picture, side)

    def _compared(self, sample: str, match: str) -> np.ndarray | None:
        pictures = self._seen(sample), self._seen(match)
        return None if pictures[0] is None or pictures[1] is None else difference(pictures[0], pictures[1], self.side)

    def _seen(self, sample: str) -> np.ndarray | None:
        """A picture as uint8 [h, w, 3]."""
        try:
            return self.pixels([sample], "picture")[0].pixels
        except MediaError as error:
            log.debug("no thumbnail of %s: %s", sample, error)  # the finding about this sample says so on the page
        except Exception as error:  # noqa: BLE001 (a page without one picture is better than no page)
            log.warning("no thumbnail of %s: %s: %s", sample, type(error).__name__, error)
        return None
