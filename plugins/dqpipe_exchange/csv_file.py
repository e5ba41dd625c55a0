"""CSV (RFC 4180, UTF-8): one row per sample, for a spreadsheet, a script or a data loader.

The same file is read back.

    id,label,suggestion,confidence,code,decision,decided_label,verdict,new_label,reviewer,time,split,media,content

`verdict` (keep, drop, relabel, skip) and `new_label` are what a person fills in; `new_label` alone
means relabel, or keep where it is the label that the sample has. `decided_label` is the label in
the curated set, empty for what is dropped. Rows without either are ignored. What a spreadsheet
would run as a formula has an apostrophe before it, which is removed again (see
`dqpipe.storage.spreadsheet`).
"""

from __future__ import annotations

import csv
import io
from typing import Any

from dqpipe import (
    Answer,
    DatasetError,
    Exchange,
    Handed,
    HandedOver,
    Media,
    Ruling,
    Written,
    extension,
    label_text,
    listed,
    spreadsheet,
)
from dqpipe_exchange.outgoing import asked_of
from dqpipe_exchange.parsing import text_of

COLUMNS = (
    "id",
    "label",
    "suggestion",
    "confidence",
    "code",
    "decision",
    "decided_label",
    "verdict",
    "new_label",
    "reviewer",
    "time",
    "split",
    "media",
    "content",
)
LONGEST = 2**24
"""Letters of a cell that is read."""


@extension
class CsvFile(Exchange):
    """One row per sample in a CSV file, for a spreadsheet, a script or a data loader; read back."""

    name = "csv"
    answers = True
    endings = (".csv", ".tsv")

    def write(self, queue: HandedOver, media: Media) -> Written:
        """One file, samples.csv."""
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\r\n")
        rows.writerow(COLUMNS)
        for item in queue.items:
            for verdict in item.said or (None,):
                rows.writerow(
                    [spreadsheet.safe(cell) for cell in _row(queue, item, verdict, media)]
                )
        steps = [
            (
                "fill in verdict (keep, drop, relabel, skip) or new_label; then dqpipe import "
                "FILE --reviewer NAME"
            )
        ]
        return Written({"samples.csv": file.getvalue().encode("utf-8", "backslashreplace")}, steps)

    def read(self, data: bytes) -> list[Answer]:
        """The answers of a CSV file with a header; separated by commas, semicolons or tabs.

        Raises DatasetError.
        """
        text = text_of(data)
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        before = csv.field_size_limit(LONGEST)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error as error:
            raise DatasetError(f"this is no CSV: {error}") from None
        finally:
            csv.field_size_limit(before)
        header = [name.strip().lower() for name in rows[0]] if rows else []
        if "id" not in header or not {"verdict", "new_label"} & set(header):
            raise DatasetError(
                f"the columns id, and verdict or new_label, are wanted; there are "
                f"{listed(header, 12) or 'none'}"
            )
        if twice := sorted({name for name in header if name in COLUMNS and header.count(name) > 1}):
            raise DatasetError(f"a column stands twice: {listed(twice)}")
        return [_answer(header, row, number) for number, row in enumerate(rows[1:], 2) if any(row)]


def _row(queue: HandedOver, item: Handed, verdict: Ruling | None, names: Media) -> list[object]:
    asked = asked_of(item)
    answer = (
        (verdict.verdict, label_text(verdict.label), verdict.reviewer, verdict.time)
        if verdict is not None
        else (None,) * 4
    )
    media = None if item.media is None else names.path(queue, item)
    return [
        item.id,
        item.label,
        asked["suggestion"],
        asked["confidence"],
        asked["code"],
        item.decision,
        item.decided_label,
        *answer,
        item.split,
        media,
        item.content,
    ]


def _answer(header: list[str], row: list[str], number: int) -> Answer:
    where = f"row {number}"
    if len(row) != len(header):
        return Answer(where, problem=f"has another number of cells than the header ({len(header)})")
    cells = {name: spreadsheet.plain(cell) for name, cell in zip(header, row, strict=True)}
    fields: dict[str, Any] = {
        name: cells.get(name) or None for name in ("content", "code", "reviewer", "time")
    }
    fields |= {
        "verdict": cells.get("verdict", "").strip().lower() or None,
        "label": cells.get("new_label") or None,
    }
    return Answer(
        where, cells["id"], given=cells.get("label") or None, knows_given="label" in cells, **fields
    )
