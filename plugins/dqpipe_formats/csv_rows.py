"""The rows of a CSV text as they are written, so that what stays is the same text again and a
changed cell changes alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
END = re.compile(r"[\r\n]*\Z")


@dataclass(frozen=True)
class CsvRows:
    """Rows, the first of them the names, each with its end and the blank lines before it."""

    rows: list[str]
    width: int
    delimiter: str
    newline: str
    tail: str = ""
    """Blank lines at the end."""

    @classmethod
    def of(
        cls, text: str, delimiter: str, newline: str, cells: Iterator[Sequence[str]], width: int
    ) -> Self | None:
        """The rows of a text that has these cells; None where they cannot be told apart so."""
        rows, taken, lead = list[str](), list[str](), ""

        def lines() -> Iterator[str]:
            for found in LINE.finditer(text):
                taken.append(found[0])
                yield found[0]

        try:
            for row in csv.reader(lines(), delimiter=delimiter):
                lead += "".join(taken)
                taken.clear()
                if not any(map(str.strip, row)) and not lead.strip():
                    continue
                if [*row, *[""] * (width - len(row))] != list(next(cells)):
                    return None
                rows.append(lead)
                lead = ""
        except (csv.Error, StopIteration):
            return None
        return None if any(True for _ in cells) else cls(rows, width, delimiter, newline, lead)

    def written(
        self,
        rows: Sequence[int],
        changes: Mapping[int, Mapping[int, str]],
        extra: Sequence[list[str]],
    ) -> Iterator[str]:
        """The text with the names, these rows and new ones.

        `changes` has by row (0 is that of the names) the new texts of its cells by column, from
        `width` on of columns that are added.
        """
        last = self.newline
        for row in rows:
            yield "" if last.endswith(("\r", "\n")) else self.newline
            last = self._changed(self.rows[row], changes[row]) if row in changes else self.rows[row]
            yield last
        yield "" if last.endswith(("\r", "\n")) or not extra else self.newline
        for cells in extra:
            yield self._joined([self._cell(cell) for cell in cells]) + self.newline
        yield self.tail

    def _changed(self, text: str, new: Mapping[int, str]) -> str:
        body = text.lstrip("\r\n")
        lead, end = text[: len(text) - len(body)], END.search(body)[0]  # type: ignore[index]
        cells = self._cells(body[: len(body) - len(end)])
        count = max(self.width, *(column + 1 for column in new))
        cells += [""] * (count - len(cells))
        for column, cell in new.items():
            cells[column] = self._cell(cell, quoted=cells[column].startswith('"'))
        return lead + self._joined(cells) + end

    def _cells(self, body: str) -> list[str]:
        """The cells of a row with their quotes."""
        cell = re.compile(
            rf'"(?:[^"]|"")*"[^{re.escape(self.delimiter)}]*|[^{re.escape(self.delimiter)}]*'
        )
        found, at = list[str](), 0
        while at <= len(body):
            match = cell.match(body, at)
            found.append(match[0] if match else "")
            at += len(found[-1]) + 1
        return found

    def _cell(self, text: str, *, quoted: bool = False) -> str:
        plain = not quoted and not any(sign in text for sign in (self.delimiter, '"', "\r", "\n"))
        return text if plain else '"' + text.replace('"', '""') + '"'

    def _joined(self, cells: Sequence[str]) -> str:
        return self.delimiter.join(cells) if any(cells) or len(cells) > 1 else '""'
