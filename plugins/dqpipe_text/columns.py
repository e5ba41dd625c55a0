"""Which columns of the samples hold texts, and what their texts are.

A text is a cell of text, a list of texts, or a chat: a list of messages, each with what was said
under `content` (or `value`, or `text`). Cells stay as they are; only what is measured is flattened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe import Samples, label_text, listed

NAMES = frozenset(
    {"text", "texts", "sentence", "review", "comment", "message", "messages", "document", "body"}
    | {"utterance", "question", "answer", "prompt", "response", "completion", "instruction"}
    | {"conversation", "conversations", "article", "description", "tweet", "post"}
)
"""Names of columns that are taken for texts as soon as they hold words."""
OURS = frozenset(
    {"id", "content", "media", "label", "split", "group", "parent", "made_by", "objects"}
    | {"label_problems", "json"}
)
"""Columns of dqpipe and of its readers, which are no texts of the user's."""
PROBED = 1000
"""Cells of a column that are looked at, spread evenly."""
WORDS, DIFFERENT = 4, 0.2
"""Median number of words of a column of texts, and the share of its cells that differ."""
SAID = ("content", "value", "text")
"""The field of a message that holds what was said; the first that there is."""
WORD = re.compile(r"[^\W\d_]+")
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
"""Letters of scripts that put no spaces between words: each of them counts as one."""
Columns = tuple[str, ...]


def text_columns(samples: Samples) -> Columns:
    """The columns that hold texts: the one with the role `text`, else all that look like it."""
    own = [name for name in samples.names if name not in OURS]
    if "text" in own and _fits("text", samples.table.column("text")):
        return ("text",)
    return tuple(name for name in own if _fits(name, samples.table.column(name)))


def lacking(samples: Samples, columns: Columns) -> str | None:
    """Why these columns cannot be read as texts, or None."""
    wrong = [
        name
        for name in columns
        if name in samples and not _readable(samples.table.schema.field(name).type)
    ]
    if wrong:
        return f"{listed(map(repr, wrong), 5)} cannot be read as text"
    return None if columns else "it is told of no column: name those that hold texts"


def texts_of(samples: Samples, columns: Sequence[str]) -> list[str]:
    """The text of each row: that of its cells, a blank line between them; "" where there is none.

    Halves of characters (lone surrogates) become U+FFFD, as they do where text is written.
    """
    cells = [_texts(samples.table.column(name)) for name in columns]
    if len(cells) == 1:
        return cells[0]
    return ["\n\n".join(part for part in row if part) for row in zip(*cells, strict=True)]


def _texts(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_string(column.type):
        return pc.fill_null(column, "").to_pylist()
    return [flat(value) for value in column.to_pylist()]


def flat(value: Any) -> str:  # noqa: ANN401 (a cell)
    """A cell as one text, messages one under another."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        said = next((value[name] for name in SAID if value.get(name) is not None), None)
        return flat(said) if said is not None else ""
    if isinstance(value, (list, tuple, np.ndarray)):
        return "\n".join(text for part in value if (text := flat(part)))
    return label_text(value) or ""


def _readable(kind: pa.DataType) -> bool:
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _fits(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a column holds texts: words that are not the same few again and again."""
    if not _holds_words(column.type):
        return False
    some = np.unique(np.linspace(0, len(column) - 1, min(PROBED, len(column))).astype(np.int64))
    cells = [flat(cell) for cell in column.take(pa.array(some)).to_pylist() if cell is not None]
    if not cells:
        return False
    words = float(np.median([words_in(cell[:10_000]) for cell in cells]))
    if name.lower() in NAMES and words >= 1:
        return True
    return words >= WORDS and len(set(cells)) >= max(DIFFERENT * len(cells), 2)


def _holds_words(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        return pa.types.is_string(inner) or (
            pa.types.is_struct(inner)
            and any(
                inner.get_field_index(name) >= 0
                and pa.types.is_string(inner.field(inner.get_field_index(name)).type)
                for name in SAID
            )
        )
    return bool(pa.types.is_string(kind))


def words_in(text: str) -> int:
    """The number of words; a letter of a script without spaces counts as one."""
    return len(WORD.findall(UNSPACED.sub(" a ", text)))
