"""XML read with the place of each element in its bytes, so that one can be taken out and all else
stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from dqpipe_formats.annotated import LabelError

DEEPEST, MOST = 50, 2_000_000
"""Elements within each other, and elements of a file, at most."""
TAG = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")


@dataclass
class Element:
    """An element: its name, the pieces of text in it, and data[start:end] as where it stands."""

    name: str
    attributes: dict[str, str]
    line: int
    start: int
    end: int = 0
    inner: tuple[int, int] = (0, 0)
    """Where its content stands: data[inner[0]:inner[1]]."""
    pieces: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    encoding: str = "utf-8"
    """In what the bytes are written; of the root."""

    @property
    def text(self) -> str:
        """The text directly in it."""
        return "".join(self.pieces)

    def all(self, name: str) -> Iterator[Element]:
        """The elements of this name directly in it."""
        return (one for one in self.children if one.name == name)

    def first(self, *path: str) -> Element | None:
        """The first element below these names."""
        here: Element | None = self
        for name in path:
            here = next(here.all(name), None) if here else None
        return here

    def value(self, *path: str) -> str:
        """The text of the first element below these names, without spaces around it.

        "" where there is none.
        """
        found = self.first(*path)
        return found.text.strip() if found else ""

    def plain(self) -> object:
        """What is in it as JSON values.

        Text, or a mapping of the elements, in lists where a name stands more than once.
        """
        if not self.children:
            return self.text.strip()
        found: dict[str, list[object]] = {}
        for one in self.children:
            found.setdefault(one.name, []).append(one.plain())
        return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def parsed(data: bytes) -> Element:
    """The root element.

    Raises LabelError with the line: broken, cut short, too deep, or with declarations of entities,
    which can unfold without end.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:200]:
        raise LabelError("it is no XML in an encoding that keeps the places of its text (UTF-8 is)")
    return _Builder(data).run()


class _Builder:
    def __init__(self, data: bytes) -> None:
        self.data, self.open, self.count = data, list[Element](), 0
        self.root: Element | None = None
        self.parser = expat.ParserCreate()
        self.encoding = "utf-8"
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self.declared
        self.parser.EntityDeclHandler = self.entity
        self.parser.StartElementHandler = self.begin
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters

    def run(self) -> Element:
        try:
            self.parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise LabelError(expat.ErrorString(error.code), error.lineno) from None
        except (LookupError, ValueError):  # from the codec that is to read it
            raise LabelError(f"an encoding that cannot be read: {self.encoding[:80]!r}") from None
        if self.root is None:
            raise LabelError("it is empty", 1)
        self.root.encoding = self.encoding
        return self.root

    def declared(self, _: str, encoding: str | None, __: int) -> None:
        self.encoding = encoding or "utf-8"

    def entity(self, *_: object) -> None:
        raise LabelError(
            "it declares entities, which annotations do not need and which can unfold without end",
            self.parser.CurrentLineNumber,
        )

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) >= DEEPEST or self.count > MOST:
            raise LabelError(
                "its elements are too many, or too deep within each other",
                self.parser.CurrentLineNumber,
            )
        start = self.parser.CurrentByteIndex
        made = Element(
            name, attributes, self.parser.CurrentLineNumber, start, inner=(self._after(start), 0)
        )
        if self.open:
            self.open[-1].children.append(made)
        self.root = self.root or made
        self.open.append(made)

    def end(self, _: str) -> None:
        at, one = self.parser.CurrentByteIndex, self.open.pop()
        if self.data[at : at + 2] == b"</":
            one.inner, one.end = (one.inner[0], at), self.data.index(b">", at) + 1
        else:  # <name/>
            one.end = one.inner[0]
            one.inner = (one.end, one.end)

    def characters(self, text: str) -> None:
        self.open[-1].pieces.append(text)

    def _after(self, start: int) -> int:
        """The place behind the tag that begins here; `>` may stand in the values of attributes."""
        found = TAG.match(self.data, start)
        return found.end() if found else start
