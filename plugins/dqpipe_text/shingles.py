"""Texts as words in plain form, and the words in a row that two texts share.

    texts ──plain──▶ words ──hashes──▶ shingles ──MinHash──▶ bands ──▶ pairs ──▶ exact Jaccard
                                          └──rarest one──▶ which texts may hold another whole

Hashes depend on the words alone, never on the set: numpy alone, the same on every machine. The
method is Broder's (1997), with bands as in Leskovec et al., Mining of Massive Datasets, ch. 3.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LETTERED = r"[^\p{L}\p{N}\p{M}\p{Sc}\p{Sm}\p{So}]+"
"""What stands between words. Signs of money, of arithmetic, and emojis change what is said."""
ALONE = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Sc}\p{Sm}\p{So}])"
"""Signs, and letters of scripts without spaces: each is a word of its own."""
SIGNS = re.compile(r"[$+<=>|~]")
"""Those of ASCII."""
BETWEEN = bytes(code if chr(code).isalnum() and code < 128 else 32 for code in range(256))  # noqa: PLR2004
"""The same as LETTERED, for ASCII without signs."""
NUMBERS = r"\b\p{Nd}+\b"
PIECE = 1 << 16
"""Texts that are brought into plain form at a time."""
CACHED = 1 << 12
"""Texts whose MinHash is made at a time."""
PERMUTATIONS, ROWS = 64, 4
"""Of MinHash; 16 bands of 4 miss one pair in 10^7 at a Jaccard of 0.9, one in 10^3 at 0.77."""
AT_A_TIME, LOW = 1 << 20, (1 << 40) - 1
"""Shingles that are compared together; the bits of a hash that are."""
MIX = np.uint64(0x9E3779B97F4A7C15)
STEPS = np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * MIX
"""A number for each place in a shingle, and for each permutation."""


def plain(texts: Sequence[str]) -> pa.ChunkedArray:
    """Texts in plain form: compatible characters, no case, words with one space between them.

    Punctuation is kept where a text holds nothing else.
    """
    chunks = [_plain(texts[start : start + PIECE]) for start in range(0, len(texts), PIECE)]
    return pa.chunked_array(chunks, pa.large_string())


def _plain(texts: Sequence[str]) -> pa.Array:
    """ASCII without signs by a table of bytes, in a tenth of the time; the rest by its classes."""
    out: list[str | None] = [None] * len(texts)
    rest = []
    for row, text in enumerate(texts):
        if text.isascii() and not SIGNS.search(text):
            lowered = text.lower()
            words = lowered.encode().translate(BETWEEN).decode().split()
            out[row] = " ".join(words or lowered.split())
        else:
            rest.append(row)
    for row, words in zip(rest, _by_classes([texts[row] for row in rest]).to_pylist(), strict=True):
        out[row] = words
    return pa.array(out, pa.large_string())


def _by_classes(texts: Sequence[str]) -> pa.Array:
    folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
    words = pc.replace_substring_regex(pa.array(folded, pa.large_string()), LETTERED, " ")
    words = pc.replace_substring_regex(words, ALONE, r" \1 ")
    words = pc.utf8_trim_whitespace(pc.replace_substring_regex(words, " +", " "))
    bare = pa.array([" ".join(text.split()) for text in folded], pa.large_string())
    return pc.if_else(pc.equal(words, ""), bare, words)


def masked(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Plain texts with one 0 for each number."""
    return pc.replace_substring_regex(texts, NUMBERS, "0")


@dataclass(frozen=True, eq=False)
class Shingles:
    """The shingles of texts: `hashes` [m] uint64, those of text t from `starts[t]` on, in order.

    `words` [n] is the number of words of each text. A text of fewer words than `size` has one
    shingle of all of them; one without any has none.
    """

    hashes: np.ndarray
    starts: np.ndarray
    words: np.ndarray

    def of(self, text: int) -> np.ndarray:
        """The hashes of one text."""
        return self.hashes[self.starts[text] : self.starts[text + 1]]


def shingles(texts: pa.ChunkedArray, size: int) -> Shingles:
    """The hashes of every `size` words in a row of plain texts."""
    hashes, starts, counts = [], [np.zeros(1, np.int64)], []
    offset = 0
    for start in range(0, len(texts), PIECE):
        some, ends, words = _shingles(texts.slice(start, PIECE).combine_chunks(), size)
        hashes.append(some)
        starts.append(ends + offset)
        counts.append(words)
        offset += len(some)
    empty = np.zeros(0, np.int64)
    return Shingles(
        np.concatenate(hashes or [empty.astype(np.uint64)]),
        np.concatenate(starts),
        np.concatenate(counts or [empty]),
    )


def _shingles(texts: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    split = pc.split_pattern(texts, " ")
    count = pc.list_value_length(split).to_numpy().astype(np.int64)
    count = np.where(pc.equal(texts, "").to_numpy(zero_copy_only=False), 0, count)
    words = split.flatten()
    words = words.filter(pc.not_equal(words, ""))
    encoded = words.dictionary_encode()
    known = _word_hashes(encoded.dictionary)[encoded.indices.to_numpy()]
    first = np.concatenate([[0], np.cumsum(count)])
    whole = np.where(count == 0, 0, np.maximum(count - size + 1, 1))
    ends = np.cumsum(whole)
    text = np.repeat(np.arange(len(count)), whole)
    at = first[text] + np.arange(len(text)) - (ends - whole)[text]
    found = np.zeros(len(text), np.uint64)
    for step in range(size):
        inside = at + step < first[text + 1]
        word = known[np.minimum(at + step, max(len(known) - 1, 0))] if len(known) else found
        found = np.where(inside, mixed(found ^ (word + STEPS[step])), found)
    return found, ends, count


def _word_hashes(words: pa.Array) -> np.ndarray:
    from pandas.util import hash_array

    return np.asarray(
        hash_array(np.asarray(words.to_pylist(), dtype=object), categorize=False), np.uint64
    )


def mixed(values: np.ndarray) -> np.ndarray:
    """Each value with its bits spread: the finaliser of splitmix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def bands(found: Shingles, rows: np.ndarray) -> np.ndarray:
    """MinHash of these texts (each with shingles), folded into bands: uint64 [bands, n].

    Some thousand texts at a time, so that their hashes stay in the processor's cache.
    """
    out = np.zeros((PERMUTATIONS // ROWS, len(rows)), np.uint64)
    for start in range(0, len(rows), CACHED):
        some = rows[start : start + CACHED]
        lengths = found.starts[some + 1] - found.starts[some]
        begin = np.cumsum(lengths) - lengths
        at = np.repeat(found.starts[some] - begin, lengths) + np.arange(int(lengths.sum()))
        hashes, part = found.hashes[at], out[:, start : start + CACHED]
        for number, seed in enumerate(mixed(STEPS) | np.uint64(1)):
            values = hashes * seed
            values ^= values >> np.uint64(32)
            values *= MIX
            least = np.minimum.reduceat(values, begin)
            band = number // ROWS
            part[band] = mixed(part[band] ^ (least + STEPS[number]))
    return out


def jaccard(found: Shingles, pairs: np.ndarray) -> np.ndarray:
    """The shingles [m] that both texts of each pair have, over those that any of them has.

    Of each hash 40 bits are compared: two texts of 1,000 words agree in one by chance once in a
    million pairs.
    """
    scores = np.zeros(len(pairs))
    lengths = np.diff(found.starts)[pairs].sum(axis=1)
    for rows in _pieces(lengths):
        texts = pairs[rows].ravel()
        count = np.diff(found.starts)[texts]
        begin = np.cumsum(count) - count
        at = np.repeat(found.starts[:-1][texts] - begin, count) + np.arange(int(count.sum()))
        owner = np.repeat(np.arange(len(texts), dtype=np.uint64), count)
        keys = np.sort((owner << np.uint64(40)) | (found.hashes[at] >> np.uint64(24)))
        keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
        sizes = np.bincount((keys >> np.uint64(40)).astype(np.int64), minlength=len(texts))
        sizes = sizes.reshape(-1, 2)
        keys = np.sort((keys >> np.uint64(41) << np.uint64(40)) | (keys & np.uint64(LOW)))
        both = (keys[1:][keys[1:] == keys[:-1]] >> np.uint64(40)).astype(np.int64)
        shared = np.bincount(both, minlength=len(sizes))
        scores[rows] = shared / np.maximum(sizes.sum(axis=1) - shared, 1)
    return scores


def _pieces(lengths: np.ndarray) -> list[slice]:
    """Pairs of some millions of shingles together, and of at most 2^22 of them."""
    part = np.cumsum(lengths) // AT_A_TIME + np.arange(len(lengths)) // (1 << 22)
    ends = [*(np.flatnonzero(np.diff(part)) + 1).tolist(), len(lengths)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False) if end > start]
