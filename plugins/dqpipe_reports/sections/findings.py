"""What each stage found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe.stages import Section, extension
from dqpipe_reports.page import anchor, known_codes, render


@extension
class Found(Section):
    """Findings per stage and code, and what became of the samples that carry them."""

    name = "findings"
    order = 200
    title = "What was found"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[[str], str]) -> str:
        """A table with bars on one scale; what was looked for and not found is named below it."""
        stages = [stage | {"codes": [row for row in stage["codes"] if row["findings"]]} for stage in record["counts"]["stages"]]
        silent = [row["code"] for stage in record["counts"]["stages"] for row in stage["codes"] if not row["findings"]]
        most = max((row["samples"] for stage in stages for row in stage["codes"]), default=0)
        links = {code: anchor(code) for code, has in known_codes(record).items() if has}
        return render("findings.html", stages=[s for s in stages if s["codes"]], silent=silent, most=most, links=links, account=record["account"])
