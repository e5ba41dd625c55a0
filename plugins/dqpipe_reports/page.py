"""Templates of the page, and the formats of numbers and names.

Autoescape is on, so that all text from data is escaped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dqpipe import IN_BACKTICKS, many, plural, sentences
from dqpipe_reports.texts import compared

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = [
    "anchor",
    "as_json",
    "environment",
    "known_codes",
    "linked",
    "many",
    "number",
    "percent_of",
    "plural",
    "quoted",
    "render",
    "seconds",
    "sentence",
    "share",
    "short",
    "signed",
    "significant",
]
NONE = "\N{EN DASH}"
COMMANDS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of text."""
sentence = sentences.sentence


def render(template: str, **values: Any) -> Markup:  # noqa: ANN401
    """A template of this package as markup that is safe to put into the page."""
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(**values))  # noqa: S704 (made by a template with autoescape)


def harmless(value: Any) -> Any:  # noqa: ANN401
    """What a template shows, with signs written out that would turn text round or control it."""
    if not isinstance(value, str) or COMMANDS.search(value) is None:
        return value
    return type(value)(COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value)))


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this package; undefined names are errors."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("dqpipe_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "n": number,
        "share": share,
        "sig": significant,
        "seconds": seconds,
        "signed": signed,
    }
    made.filters |= {
        "anchor": anchor,
        "linked": linked,
        "compared": lambda cell: compared(cell["value"], cell["match"]),
        "short": short,
        "sentence": sentence,
        "json": as_json,
        "quoted": quoted,
    }
    made.globals |= {"many": many, "plural": plural, "percent_of": percent_of}
    return made


def number(value: float | None) -> str:
    """A whole number with thousands separated; – for none."""
    return NONE if value is None else f"{value:,}"


def significant(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, without needless zeros; – for none."""
    if value is None:
        return NONE
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):  # noqa: PLR2004
        return f"{int(value):,}"
    return f"{value:,.{digits}g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.{digits - 1}g}"  # noqa: PLR2004


def share(value: float | None) -> str:
    """A share as a percentage that is 0 % or 100 % only if it is exactly that."""
    if value is None:
        return NONE
    if value < 0:
        return f"-{share(-value)}"
    percent = 100 * value
    for digits in (0, 1, 2):
        text = f"{percent:.{digits}f}"
        if (float(text) not in (0.0, 100.0)) or percent in (0.0, 100.0):
            return f"{text} %"
    return "< 0.01 %" if percent < 50 else "> 99.99 %"  # noqa: PLR2004


def signed(text: str) -> str:
    """A change as text with its sign, a true minus sign included."""
    return (
        text.replace("-", "\N{MINUS SIGN}", 1)
        if text.startswith("-")
        else text
        if text == "0"
        else f"+{text}"
    )


def seconds(value: float | None) -> str:
    """A duration as text: 0.04 s, 12.3 s, 3 min 12 s, 2 h 5 min."""
    if value is None:
        return NONE
    if value < 60:  # noqa: PLR2004
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"  # noqa: PLR2004


def percent_of(value: float | None, most: float) -> float:
    """The length of a bar, in percent of the longest one; bars start at zero."""
    return round(100 * (value or 0) / most, 2) if most else 0.0


def anchor(text: str) -> str:
    """A name as the id of an element."""
    return re.sub(
        r"[^A-Za-z0-9_-]",
        lambda found: f"-{ord(found.group()):x}-" if found.group() != "." else "-",
        text,
    )


def short(text: object, limit: int = 60) -> str:
    """A long name with its middle left out."""
    whole = str(text)
    half = (limit - 1) // 2
    return whole if len(whole) <= limit else f"{whole[:half]}…{whole[-half:]}"


def linked(text: str, codes: Mapping[str, bool]) -> Markup:
    """A sentence in which known codes, and what stands in backticks, are code.

    Known codes lead to their examples.
    """
    from markupsafe import Markup, escape

    escaped = str(escape(text))
    names = {str(escape(code)): (code, has) for code, has in codes.items()}
    every = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    known = rf"|(?<![\w./-])(?:{every})(?![\w/-])" if names else ""

    def marked(found: re.Match[str]) -> str:
        words = found[1] or found[0]
        code, has = names.get(words, ("", False))
        return (
            f'<a href="#code-{anchor(code)}"><code>{words}</code></a>'
            if has
            else f"<code>{words}</code>"
        )

    return Markup(re.sub(IN_BACKTICKS.pattern + known, marked, escaped))  # noqa: S704 (escaped above)


def quoted(text: object) -> str:
    """A name as a shell takes it."""
    return shlex.quote(str(text))


def as_json(value: Any) -> str:  # noqa: ANN401
    """A value as short JSON, for options and the configuration; escaped like all other text."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict) else None)


def known_codes(record: Mapping[str, Any]) -> dict[str, bool]:
    """Every code of the record, and whether it has examples."""
    codes: Iterable[str] = (
        row["code"] for stage in record["counts"]["stages"] for row in stage["codes"]
    )
    return {
        code: bool(record["examples"].get(code)) for code in [*codes, *record["decisions"]["marks"]]
    }
