"""The report page: one self-contained HTML file.

    sections ──render(record, thumbnail)──▶ parts ──page.html──▶ report.html

The page forbids itself every request and every script but its own (Content-Security-Policy):
whatever a name, a label or a section brings along cannot run, nor tell anybody that the page was
opened.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from dqpipe import Pixels, Report, Section, extension, option
from dqpipe_reports.charts import library
from dqpipe_reports.page import anchor, environment, render
from dqpipe_reports.thumbnails import Thumbnails

log = logging.getLogger(__name__)
BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
PICTURE = re.compile(r'src="(data:image/[a-z.+-]+;base64,[A-Za-z0-9+/=]+)"')


class Part(NamedTuple):
    """A rendered section; `title` is "" if the section has its own heading."""

    id: str
    title: str
    name: str
    body: str


@extension
class Html(Report):
    """The account as one self-contained HTML page: no network, no other file."""

    name = "html"
    version = 1

    thumbnail: int = option(144, "longer side of the thumbnails in pixels", ge=32, le=512)
    quality: int = option(82, "WebP quality of the thumbnails", ge=1, le=100)
    budget: float = option(
        10.0,
        "how many megabytes all thumbnails together may take; the last ones are left out",
        ge=0,
    )

    on_the_map: int = option(
        800, "how many points of the map get a small picture of their own", ge=0, le=3000
    )

    def write(
        self, record: Mapping[str, Any], folder: Path, sections: Iterable[Section], pixels: Pixels
    ) -> None:
        """Write report.html; a section that raises is replaced by a message, and the others are
        kept.
        """
        thumbnails = Thumbnails(
            pixels, self.thumbnail, round(self.budget * 1e6), self.quality, self.on_the_map
        )
        parts = [
            part
            for section in sorted(sections, key=lambda s: (s.order, s.name))
            if (part := _part(section, record, thumbnails))
        ]
        parts, pictures = embedded_once(parts)
        scripts = [library(), environment().get_template("page.js").render()]
        allowed = [
            base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            for script in scripts
        ]
        values = {
            "title": title(record),
            "run": record["run"],
            "left_out": len(thumbnails.left_out),
        }
        page = render(
            "page.html", parts=parts, pictures=pictures, scripts=scripts, allowed=allowed, **values
        )
        (folder / "report.html").write_text(page, encoding="utf-8")


def _part(
    section: Section, record: Mapping[str, Any], thumbnail: Callable[..., str]
) -> Part | None:
    """A rendered section; None if it is empty."""
    name = section.title or section.name.replace("_", " ").capitalize()
    try:
        body = section.render(record, thumbnail)
    except Exception as error:
        log.exception("section %s of the report failed; the others stand", section.name)
        body = render("failed.html", section=section.name, error=f"{type(error).__name__}: {error}")
    return Part(anchor(section.name), name, section.name, body) if body else None


def title(record: Mapping[str, Any]) -> str:
    """The title of the page: the name of the dataset, if it has one."""
    dataset = record["run"].get("config", {}).get("dataset") or {}
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return PurePath(str(path)).name if path else "Data quality"


def embedded_once(parts: list[Part]) -> tuple[list[Part], str]:
    """Replace pictures that occur several times by one style rule each, which shows them as a
    background.
    """
    counts = Counter(url for part in parts for url in PICTURE.findall(part.body))
    several = {
        url: number for number, url in enumerate(url for url, count in counts.items() if count > 1)
    }

    def replaced(found: re.Match[str]) -> str:
        url = found.group(1)
        return f'src="{BLANK}" data-picture="{several[url]}"' if url in several else found.group()

    style = "\n".join(
        f'[data-picture="{number}"]{{background-image:url({url})}}'
        for url, number in several.items()
    )
    return [part._replace(body=PICTURE.sub(replaced, part.body)) for part in parts], style
