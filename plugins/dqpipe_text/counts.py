"""What can be counted in one text: its size, its characters, its repetitions.

Rules of others, each as the number it is about: Gopher (Rae et al. 2021, table A1), C4 (Raffel et
al. 2020, section 2.2), FineWeb (Penedo et al. 2024, section 3.5).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dqpipe_text.columns import UNSPACED

MOST = 200_000
"""Characters of a text whose words, lines and repetitions are looked at; its size is the whole."""
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
"""Gopher's: a document of English has two of them."""
ENDS = ".!?\u2026\u3002\uff01\uff1f\u061f\u06d4\u0964\u0965\u0589\u1362\u17d4\u17d5"
"""Full stops, question and exclamation marks of several scripts."""
TERMINAL = tuple(ENDS + "\"'\u201d\u2019\u00bb)]}\u300d\u300f\uff09:;*>|`~")
"""What a text that is complete may end with."""
SENTENCE = re.compile(f"[{ENDS}]+(?=[^\\w.]|$)|[{ENDS[4:]}]+")
TOKEN = re.compile(r"\w+")
NGRAMS = {2: "top", 3: "top", 4: "top"} | dict.fromkeys(range(5, 11), "repeated")
"""Gopher: of 2 to 4 words the most frequent n-gram, of 5 to 10 all that stand twice."""
WHICH = {
    "top": "the most frequent {} words in a row",
    "repeated": "those {} words in a row that stand twice",
}
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\U000e0000-\U000e007f]"
)
FLAG_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""Flags of regions are written with invisible characters: these are meant."""
JOINERS = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\ufb50-\ufeff\ufe0f\U0001f000-\U0001faff\u2190-\u2bff])"
    "[\u200c\u200d]"
)
"""Joiners behind something else than an emoji or a letter of a script that joins."""
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]"
    "|[\ue000-\uf8ff]|[\U000f0000-\U0010ffff]"
)
MARKUP = re.compile(
    r"</?(?:a|abbr|article|b|blockquote|body|br|button|code|div|em|font|footer|form|h[1-6]|head|"
    r"header|hr|html|i|iframe|img|input|li|link|meta|nav|ol|option|p|pre|script|section|select|"
    r"small|span|strong|style|sub|sup|table|tbody|td|th|thead|title|tr|u|ul)"
    r"(?:\s[^<>]{0,2000})?/?>|<!--|<!doctype|&(?:nbsp|amp|lt|gt|quot|apos|#\d{1,6}|#x[0-9a-f]{1,5});",
    re.IGNORECASE,
)
BOILERPLATE = re.compile(
    r"lorem ipsum|(?:enable|turn on|requires?) javascript|javascript (?:is|must be) "
    r"(?:disabled|enabled)|(?:uses?|use of|accept(?: all)?) cookies|cookie policy|"
    r"all rights reserved|terms of (?:use|service)|privacy policy|click here to|"
    r"404 not found|access denied|page (?:could )?not (?:be )?found|as an ai language model|"
    r"subscribe to our newsletter|powered by wordpress",
    re.IGNORECASE,
)
SAME = re.compile(r"(\S)\1{19,}|(\S{2,6}?)\2{9,}")
"""One character 20 times, or a few of them 10 times."""
REPLACED = "\ufffd"

COUNTS: dict[str, tuple[str, str]] = {
    "characters": ("int64", "length, in characters"),
    "visible": ("int64", "characters that can be seen: no space, control or invisible one"),
    "words": ("int64", "words; a letter of a script without spaces counts as one"),
    "sentences": ("int64", "sentences, told by their ends"),
    "lines": ("int64", "lines that are not empty"),
    "letters": ("float32", "share of the visible characters that are letters"),
    "digits": ("float32", "share of the visible characters that are digits"),
    "symbols": ("float32", "share of the visible characters that are neither letter nor digit"),
    "marks": ("float32", "Gopher: # and … (or ...) for each word"),
    "upper": ("float32", "share of the letters that have a case that are upper case"),
    "word_length": ("float32", "Gopher: mean length of a word, in characters"),
    "with_letters": ("float32", "Gopher: share of the words that hold a letter"),
    "stop_words": ("int64", "Gopher: different words of English among eight that are everywhere"),
    "bullets": ("float32", "Gopher: share of the lines that begin with a bullet"),
    "ellipses": ("float32", "Gopher: share of the lines that end with an ellipsis"),
    "repeated_lines": ("float32", "Gopher: share of the lines that repeat an earlier one"),
    "repeated_line_characters": ("float32", "Gopher, FineWeb: the same, of the characters"),
    "ended_lines": ("float32", "C4, FineWeb: share of the lines that end with punctuation"),
    "short_lines": ("float32", "FineWeb: share of the lines of fewer than 30 characters"),
    "braces": ("int64", "C4: curly brackets"),
    **{
        f"{kind}_{n}gram": (
            "float32",
            f"Gopher: share of the characters in {WHICH[kind].format(n)}",
        )
        for n, kind in NGRAMS.items()
    },
    "run": ("int64", "longest run of one character, or of a few, again and again, in characters"),
    "control": ("int64", "control characters, private ones and ones that are none"),
    "invisible": ("int64", "characters that nobody sees, where they are not needed"),
    "replaced": ("int64", "replacement characters (U+FFFD): what was there is lost"),
    "markup": ("int64", "tags and entities of HTML"),
    "boilerplate": ("int64", "phrases of pages and of machines, not of their authors"),
    "ended": ("bool", "whether the last character may end a text"),
}
"""Fact → its type and what it means."""


def counts(text: str) -> dict[str, Any]:
    """Every count of COUNTS of one text."""
    whole, text = text, text[:MOST]
    spaced = UNSPACED.sub(r" \g<0> ", text)
    words = TOKEN.findall(spaced)
    lines = [line for part in text.splitlines() if (line := part.strip())]
    visible = sum(map(len, text.split()))
    letters = sum(map(str.isalpha, text))
    digits = sum(map(str.isdecimal, text))
    upper, lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    each, full = max(len(lines), 1), max(len(words), 1)
    stripped = text.rstrip()
    lowered = [word.lower() for word in words]
    meant = FLAG_TAGS.sub("", text).removeprefix("\ufeff")
    invisible = len(INVISIBLE.findall(meant)) + len(JOINERS.findall(meant))
    control = len(CONTROL.findall(text))
    return {
        "characters": len(whole),
        "visible": max(visible - invisible - control, 0),
        "words": len(words),
        "sentences": len(SENTENCE.findall(text)) or int(bool(words)),
        "lines": len(lines),
        "letters": letters / max(visible, 1),
        "digits": digits / max(visible, 1),
        "symbols": max(visible - letters - digits, 0) / max(visible, 1),
        "marks": (text.count("#") + text.count("…") + text.count("...")) / full,
        "upper": upper / max(upper + lower, 1),
        "word_length": sum(map(len, words)) / full,
        "with_letters": sum(any(map(str.isalpha, word)) for word in words) / full,
        "stop_words": len(STOP_WORDS.intersection(lowered)),
        "bullets": sum(line.startswith(("•", "-", "*", "‣", "●")) for line in lines) / each,
        "ellipses": sum(line.endswith(("…", "...")) for line in lines) / each,
        **_repeated_lines(lines),
        "ended_lines": sum(line.endswith(TERMINAL) for line in lines) / each,
        "short_lines": sum(len(line) < 30 for line in lines) / each,  # noqa: PLR2004 (FineWeb's)
        "braces": text.count("{") + text.count("}"),
        **repeated_words(lowered),
        "run": max((len(found[0]) for found in SAME.finditer(text)), default=0),
        "control": control,
        "invisible": invisible,
        "replaced": text.count(REPLACED),
        "markup": len(MARKUP.findall(text)),
        "boilerplate": len(BOILERPLATE.findall(text)),
        "ended": stripped.endswith(TERMINAL) or not stripped[-1:].isalnum(),
    }


def _repeated_lines(lines: Sequence[str]) -> dict[str, float]:
    seen: set[str] = set()
    again = [line for line in lines if line in seen or seen.add(line)]  # type: ignore[func-returns-value]
    return {
        "repeated_lines": len(again) / max(len(lines), 1),
        "repeated_line_characters": sum(map(len, again)) / max(sum(map(len, lines)), 1),
    }


def repeated_words(words: Sequence[str]) -> dict[str, float]:
    """Gopher's shares of characters in n-grams, as datatrove counts them.

    Of n-grams that stand twice, each word counts once.
    """
    total = max(sum(map(len, words)), 1)
    found = {}
    for n, kind in NGRAMS.items():
        name = f"{kind}_{n}gram"
        if len(words) < n + 1 or len(set(words)) == len(words):
            found[name] = 0.0
            continue
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        if kind == "top":
            gram, times = Counter(grams).most_common(1)[0]
            found[name] = min(sum(map(len, gram)) * times / total, 1.0) if times > 1 else 0.0
        else:
            found[name] = _standing_twice(words, grams, n) / total
    return found


def _standing_twice(words: Sequence[str], grams: Sequence[tuple[str, ...]], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    end = characters = 0
    for start, gram in enumerate(grams):
        if gram in seen:
            characters += sum(map(len, words[max(start, end) : start + n]))
            end = start + n
        else:
            seen.add(gram)
    return characters
