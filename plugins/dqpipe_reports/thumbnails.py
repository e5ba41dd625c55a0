"""Thumbnails of the page as data: URLs, within a size budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dqpipe import MediaError

if TYPE_CHECKING:
    from dqpipe import Pixels, Preview

log = logging.getLogger(__name__)


class Thumbnails:
    """`thumbnail(id)` for the sections: a data: URL, made once for each sample and size.

    "" where there is no picture.
    """

    def __init__(
        self, pixels: Pixels, side: int, budget: int, quality: int, on_the_map: int = 0
    ) -> None:
        self.pixels, self.side, self.budget, self.quality, self.on_the_map = (
            pixels,
            side,
            budget,
            quality,
            on_the_map,
        )
        self.made: dict[tuple[str, ...], str] = {}
        self.left_out: set[tuple[str, ...]] = set()

    def __call__(self, sample: str, side: int | None = None, part: str | None = None) -> str:
        """What is shown of a sample, and of it an object in question.

        "" if it cannot be decoded or shown, or if the page would become too large.
        """
        longer = side or self.side
        return self._once(
            (sample, str(longer), part or ""),
            lambda: self.pixels.preview(
                sample, longer, self.quality, **({"parts": (part,)} if part else {})
            ),
        )

    def difference(self, sample: str, match: str) -> str:
        """The difference image of a sample and its match; "" if the two show different things."""
        return self._once(
            (sample, match, "difference"),
            lambda: self.pixels.difference(sample, match, self.side, self.quality),
        )

    def _once(self, key: tuple[str, ...], make: Callable[[], Preview | None]) -> str:
        if key not in self.made:
            shown = self._tried(key[0], make)
            url = "" if shown is None else shown.url
            if len(url) > self.budget:
                self.left_out.add(key)
                url = ""
            self.budget -= len(url)
            self.made[key] = url
        return self.made[key]

    @staticmethod
    def _tried(sample: str, make: Callable[[], Preview | None]) -> Preview | None:
        try:
            return make()
        except MediaError as error:
            log.debug(
                "no thumbnail of %s: %s", sample, error
            )  # the finding about this sample says so on the page
        except Exception as error:  # noqa: BLE001 (a page without one picture is better than no page)
            log.warning("no thumbnail of %s: %s: %s", sample, type(error).__name__, error)
        return None
