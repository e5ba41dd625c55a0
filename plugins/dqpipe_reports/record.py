"""The JSON report: the record of a run as report.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dqpipe import Pixels, Report, Section, extension


@extension
class Json(Report):
    """The record as report.json: the same numbers as the page, for programs."""

    name = "json"
    version = 1

    def write(
        self, record: Mapping[str, Any], folder: Path, sections: Iterable[Section], pixels: Pixels
    ) -> None:
        """Write report.json, UTF-8, with a final newline.

        A number that JSON cannot hold is a ValueError.
        """
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
