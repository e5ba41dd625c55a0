"""Which decoder reads a file, and what the facts that are seen through it are kept under.

    first 64 bytes of a content ──the first decoder in order that they suit──▶ its identity ──▶
        content:mark, the key of what was seen

The choice is a function of the content and the list of decoders alone. A decoder that is added, or
that is another version, changes the keys of what it reads and of nothing else. What suits no
decoder may be read by any that comes: its key holds all of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from dqpipe.plugin.stage import Decoder, Extension
from dqpipe.storage.fact_store import digest_json

log = logging.getLogger(__name__)
HEAD = 64
"""Bytes of a file by which its decoder is chosen."""
MARK = 16
"""Hex digits that tell apart what decoders make of a content."""


class Decoding:
    """The decoders of a run, in their order."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self.decoders = tuple(decoders)
        every = [identity(decoder, decoder.options()) for decoder in self.decoders]
        self._marks = {
            decoder.name: _mark("decoder", one)
            for decoder, one in zip(self.decoders, every, strict=True)
        }
        self.nobody = _mark("nobody", every)
        """The mark of what suits none of them."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decoding) and other.nobody == self.nobody

    def __hash__(self) -> int:
        return hash(self.nobody)

    def mark(self, head: bytes) -> str:
        """What tells apart this decoder, as it is, from others, and from other versions
        of itself.
        """
        decoder = chosen(self.decoders, head)
        return self.nobody if decoder is None else self._marks[decoder.name]

    def seen(self, content: str, head: bytes) -> str:
        """The key of what is seen of a content that begins like this."""
        return f"{content}:{self.mark(head)}"

    def modality(self, seen: Iterable[str | None]) -> str:
        """What most contents are (see `Decoder`), by the keys of what is seen of them."""
        of = {self._marks[decoder.name]: decoder.modality for decoder in self.decoders}
        marks = Counter(split(key)[1] for key in seen if key is not None)
        return of.get(max(marks, key=marks.__getitem__), "") if marks else ""


def split(seen: str) -> tuple[str, str]:
    """The content and the mark in such a key."""
    content, _, mark = seen.rpartition(":")
    return content, mark


def chosen(decoders: Sequence[Decoder], head: bytes) -> Decoder | None:
    """The decoder that reads what begins like this; None: it suits none of them."""
    return next((decoder for decoder in decoders if _suits(decoder, head[:HEAD])), None)


def _suits(decoder: Decoder, head: bytes) -> bool:
    try:
        return decoder.suits(head)
    except Exception:
        log.warning(
            "the decoder %s cannot tell whether it reads %r", decoder.name, head, exc_info=True
        )
        return False


def _mark(kind: str, of: Any) -> str:  # noqa: ANN401
    return digest_json([kind, of])[:MARK]


@cache
def version_of(name: str) -> str:
    """The version of an installed distribution.

    Looking it up takes milliseconds, and a run asks often.
    """
    import importlib.metadata

    return importlib.metadata.version(name)


def identity(extension: Any, options: Mapping[str, Any]) -> list[Any]:  # noqa: ANN401
    """What makes two extensions give equal results.

    Name, version, options, libraries, artifacts.
    """
    plain = {
        n: identity(v, v.options()) if isinstance(v, Extension) else v for n, v in options.items()
    }
    libraries = {name: version_of(name) for name in extension.libraries}
    return [extension.name, extension.version, plain, libraries, dict(extension.artifacts())]
