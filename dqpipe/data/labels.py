"""What the labels of a dataset are (classes, tags, numbers, objects, masks), decided once and asked
by everybody.

    label column ──kind_of, or as the config says──▶ Kind ──marked on the column──▶ kind_in(samples)
                                       ──▶ classes (names, a code for each sample), members,
                                           numbers, texts

The kind travels with the column (in its Arrow metadata), so that a stage which is shown some of the
samples gets the same answer as one that sees all of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dqpipe.data.tables import Samples
from dqpipe.data.wording import many, plural
from dqpipe.errors import DatasetError

Kind = Literal["class", "tags", "number", "objects", "mask", "none"]
FEW, EACH = 20, 5
"""Whole numbers with so few different values, each that often on average, are classes."""
MOST_DOUBTS = 5
MARK = b"dqpipe.labels"


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes in order, as label texts, and the position of each sample's class, int64 [n].

    -1 without one.
    """

    names: tuple[str, ...]
    codes: np.ndarray


class Members(NamedTuple):
    """Which sample is in which class.

    `rows` [k] positions of samples, `names` [k] label texts, null for none.
    """

    rows: np.ndarray
    names: pa.Array


def kind_of(column: pa.ChunkedArray | pa.Array) -> Kind:
    """The kind of a label column by its type and values; that labels are masks has to be said.

    Whole numbers (also as floats) are classes where they count from 0 or 1 almost without gaps, or
    take few values; else (prices, years) they are numbers. So are dates, which are never counted.
    Text, truth values and bytes are classes.
    """
    given = filled(column)
    kind = given.type
    if len(given) == given.null_count:
        return "none"
    if _is_list(kind):
        return "objects" if pa.types.is_nested(kind.value_type) else "tags"
    if pa.types.is_nested(kind):
        return "objects"
    if _is_number(kind) or pa.types.is_temporal(kind):
        return "class" if _are_codes(given.drop_null()) else "number"
    return "class"


def kind_in(samples: Samples) -> Kind:
    """The kind of the labels of these samples.

    As it was decided for the whole dataset, else by what is there.
    """
    if "label" not in samples:
        return "none"
    return _mark(samples.table) or kind_of(samples.table.column("label"))


def unfit(column: pa.ChunkedArray | pa.Array, kind: Kind) -> str | None:
    """Why labels of this type cannot be of a kind, as a clause that follows "labels: KIND, but".

    Or None.
    """
    given = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind == "none" or pa.types.is_null(given):
        return None
    wanted = {
        "class": (not pa.types.is_nested(given), "one text, number or truth value for each sample"),
        "tags": (
            _is_list(given) and not pa.types.is_nested(given.value_type),
            "a list of names for each sample",
        ),
        "number": (_is_number(given) or pa.types.is_temporal(given), "numbers, dates or times"),
        "objects": (pa.types.is_nested(given), "lists of structs"),
        "mask": (
            not (_is_number(given) or pa.types.is_boolean(given)),
            "masks, or the paths of their files",
        ),
    }
    fits, what = wanted[kind]
    return None if fits else f"the labels are {given}; {what} would be"


def marked(table: pa.Table, kind: Kind | None = None) -> pa.Table:
    """A table of samples whose label column has null for what is no label, and says of which kind
    it is.

    That is `kind`, else what its reader marked it as, else as `kind_of` finds; without any label it
    is "none". Raises DatasetError where labels of this type cannot be of that kind.
    """
    if "label" not in table.column_names:
        return table
    column = filled(table.column("label"))
    kind = kind or _mark(table) or kind_of(column)
    if why := unfit(column, kind):
        raise DatasetError(f"labels: {kind}, but {why}")
    kind = "none" if column.null_count == len(column) else kind
    field = pa.field("label", column.type, metadata={MARK: kind.encode()})
    return table.set_column(table.column_names.index("label"), field, column)


def _mark(table: pa.Table) -> Kind | None:
    """The kind that the label column says it is of, if it does."""
    said = (table.schema.field("label").metadata or {}).get(MARK, b"").decode()
    return cast("Kind", said) if said in get_args(Kind) else None


def filled(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """A column as plain values (no categories, no lists of a fixed size) with null for what says
    nothing: NaN, text that is empty or blank.
    """
    values = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if pa.types.is_floating(values.type):
        empty = pc.is_nan(values)
    elif _is_text(values.type):
        empty = pc.equal(pc.utf8_trim_whitespace(values), pa.scalar("", values.type))
    else:
        return values
    return (
        pc.if_else(pc.fill_null(empty, False), pa.scalar(None, values.type), values)
        if pc.any(empty).as_py()
        else values
    )


def classes(samples: Samples) -> Classes:
    """The classes of labels that are classes, numbers in their order.

    There are none of another kind.
    """
    none = Classes((), np.full(len(samples), -1, dtype=np.int64))
    return classes_of(samples.table.column("label")) if kind_in(samples) == "class" else none


def classes_of(column: pa.ChunkedArray | pa.Array) -> Classes:
    """Every different value of a column as a class, numbers in their order.

    What is empty has none.
    """
    if pa.types.is_null(column.type):
        return Classes((), np.full(len(column), -1, dtype=np.int64))
    coded = filled(column).dictionary_encode().unify_dictionaries().combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    different = coded.dictionary.to_pylist()
    texts = [str(label_text(value)) for value in different]
    names = tuple(
        dict.fromkeys(texts[at] for at in sorted(range(len(different)), key=different.__getitem__))
    )
    place = {name: at for at, name in enumerate(names)}
    at = pc.fill_null(coded.indices, len(texts)).to_numpy().astype(np.int64)
    return Classes(names, np.array([*(place[text] for text in texts), -1], dtype=np.int64)[at])


def doubts(samples: Samples) -> list[str]:
    """What a person would ask about the classes.

    Those that look like one, but for case, spaces, dashes, how accents are written, or what nobody
    sees.
    """
    alike: dict[str, list[str]] = {}
    for name in (
        sorted(set(members(samples).names.drop_null().to_pylist())) if is_text(samples) else ()
    ):
        seen = "".join(
            letter for letter in name if unicodedata.category(letter) != "Cf"
        )  # no zero width spaces, soft hyphens, marks of direction
        plain = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", seen).casefold())
        alike.setdefault(plain or name, []).append(name)
    found = [names for names in alike.values() if len(names) > 1]
    said = [
        (
            f"{' and '.join(ascii(name)[:60] for name in names[:4])} are classes of their own, and "
            f"look like one: give them one name"
        )
        for names in found
    ]
    return said[:MOST_DOUBTS] + (
        [f"{many(rest, 'more group')} of classes {plural(rest, 'looks')} like one"]
        if (rest := len(found) - MOST_DOUBTS) > 0
        else []
    )


def is_text(samples: Samples) -> bool:
    """Whether labels, or the tags in them, are text."""
    kind = samples.table.schema.field("label").type if "label" in samples else pa.null()
    return _is_text(kind.value_type if _is_list(kind) else kind)


def members(samples: Samples) -> Members:
    """The classes or tags that each sample has, each once; of other kinds there are none.

    A sample without a class stands under null, one without a tag nowhere.
    """
    kind = kind_in(samples)
    if kind not in ("class", "tags"):
        return Members(np.zeros(0, dtype=np.int64), pa.array([], pa.string()))
    column = filled(samples.table.column("label"))
    if kind == "class":
        return Members(np.arange(len(samples)), _texts(classes_of(column)))
    values = pa.concat_arrays(column.chunks)
    rows = pc.list_parent_indices(values).to_numpy().astype(np.int64)
    found = classes_of(pc.list_flatten(values))
    pairs = rows * (len(found.names) + 1) + found.codes
    _, first = np.unique(np.where(found.codes < 0, -1, pairs), return_index=True)
    once = np.sort(first[found.codes[first] >= 0])
    return Members(rows[once], _texts(Classes(found.names, found.codes[once])))


def numbers(samples: Samples) -> np.ndarray:
    """Labels that are numbers, float64 [n], NaN for none.

    Dates and times in the unit of their column.
    """
    column = samples.table.column("label")
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())  # noqa: PLR2004
    found = column.cast(pa.float64()).to_numpy()
    return np.asarray(found, dtype=np.float64)


def split_tags(label: object, separator: str = "") -> list[Any]:
    """The tags of one label, empty ones left out.

    A list, or a text with `separator` between them.
    """
    if isinstance(label, str):
        return [
            tag.strip() for tag in (label.split(separator) if separator else [label]) if tag.strip()
        ]
    every = label if isinstance(label, (list, tuple)) else [label]
    return [
        tag
        for tag in every
        if tag is not None and tag == tag and not (isinstance(tag, str) and not tag.strip())  # noqa: PLR0124
    ]


def tags_in(text: str) -> list[str]:
    """The tags in the text of a label that is a set of tags (see `label_text`), each as a text."""
    try:
        told = json.loads(text)
    except ValueError:
        return []
    return [str(label_text(tag)) for tag in split_tags(told)] if isinstance(told, list) else []


def relabelled(table: pa.Table, new: Sequence[str | None] | np.ndarray) -> pa.Table:
    """A table of samples under new labels, [n] texts of labels or None where the label stays."""
    if "label" not in table.column_names:
        return table
    field = table.schema.field("label")
    labels = table.column("label").to_pylist()
    for row, text in enumerate(new):
        if text is not None:
            labels[row] = label_from_text(text, field.type)
    return table.set_column(table.column_names.index("label"), field, pa.array(labels, field.type))


def label_text(label: object) -> str | None:
    """A label as text: a string as it is, None as None, numbers, lists and structs as canonical
    JSON, dates and the like in their usual form.
    """
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, (np.generic, np.ndarray)):
        return label_text(label.tolist())
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return (
        json.dumps(label, sort_keys=True, ensure_ascii=False, default=str)
        if isinstance(label, (bool, int, float, list, tuple, dict))
        else str(label)
    )


def label_from_text(text: str, kind: pa.DataType) -> object:
    """The inverse of `label_text` for a label column of this Arrow type."""
    if pa.types.is_dictionary(kind):
        return label_from_text(text, kind.value_type)
    plain = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_nested(kind)
    )
    return json.loads(text) if plain else pa.scalar(text, pa.string()).cast(kind).as_py()


def _texts(found: Classes) -> pa.Array:
    """The name of each one's class, null for none."""
    at = pa.array(found.codes, mask=found.codes < 0)
    return pa.array(found.names, pa.string()).take(at)


def _are_codes(values: pa.ChunkedArray) -> bool:
    """Whether numbers or times, none of them empty, stand for classes."""
    different = pc.unique(values)
    few = len(different) <= FEW and EACH * len(different) <= len(values)
    if pa.types.is_temporal(values.type):
        return few
    if pa.types.is_integer(values.type):
        low, high = (float(value.as_py()) for value in pc.min_max(different).values())
    else:
        numbers = different.cast(pa.float64()).to_numpy()
        if not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
            return False
        low, high = float(numbers.min()), float(numbers.max())
    counted = (
        low in (0, 1) and high <= 1.1 * len(different) + 1 and 2 * len(different) <= len(values)
    )
    return counted or few


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
