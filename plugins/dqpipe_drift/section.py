"""The report section about changes since the last published version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqpipe_reports import environment

from dqpipe import Section, extension

TEMPLATE = """
<p class="lead">{{ since.new|n }} of the samples are new since version <code>{{ since.version }}</code>,
{% if since.replaced %}{{ since.replaced|n }} have other content under the same name, {% endif %}and {{ since.gone|n }} of that version are gone.
Each fact of the new samples is compared with the same fact of all that were there before: the effect is 0 where they are alike and 1 where they do not
overlap, beyond what chance gives; p is corrected for the number of facts. The last column compares the whole set with the whole version.</p>
{% if since.said %}<ul>{% for text in since.said %}<li>{{ text|sentence }}</li>{% endfor %}</ul>{% endif %}
{% if rows %}
<details><summary>The drift of {{ rows|length|n }} facts and columns, one by one</summary>
<div class="scroll" role="region" aria-label="Drift of each fact" tabindex="0">
<table class="balance figures">
<thead><tr><th scope="col">Fact</th><th scope="col" class="num">Effect</th><th scope="col" class="wide"><span class="hide">Bars</span></th>
<th scope="col" class="num">p</th><th scope="col" class="num">Whole set</th></tr></thead>
<tbody>{% for row in rows %}
<tr><th scope="row"><code>{{ row.fact }}</code>{% if row.said %}<small>{{ row.said|short(240) }}</small>{% endif %}</th>
<td class="num">{{ row.effect|sig(2) }}</td>
<td class="wide">{% if row.effect %}<span class="bar raw" style="--w:{{ percent_of(row.effect, 1) }}%" aria-hidden="true"></span>{% endif %}</td>
<td class="num">{{ row.p|sig(2) }}</td><td class="num soft">{{ row.whole|sig(2) }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
</details>
{% endif %}
"""  # noqa: E501


@extension
class Changed(Section):
    """What is new since the last published version, and how far each fact has drifted."""

    name = "drift"
    order = 250
    title = "Drift since the last version"

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """A table of facts, those with the largest drift first; empty if nothing was compared."""
        since = record["run"].get("since")
        return (
            environment().from_string(TEMPLATE).render(since=since, rows=rows(record))
            if since and (since.get("new") or since.get("replaced") or since.get("said"))
            else ""
        )


def rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per fact its effect with a sentence, its corrected p value, and the distance of the whole
    sets.
    """
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {"effect": "effect", "p_adjusted": "p", "whole": "whole"}
    for figure in record["figures"]:
        name = names.get(figure["figure"].rpartition(".")[2], "")
        for row in figure["rows"] if figure["scope"] == "fact" and name else ():
            one = found.setdefault(
                row["key"], {"fact": row["key"], "said": None, **dict.fromkeys(names.values())}
            )
            one[name] = row["raw"]["value"]
            one["said"] = row["raw"].get("detail") or one["said"]
    return sorted(
        found.values(), key=lambda row: (-(row["effect"] or 0), -(row["whole"] or 0), row["fact"])
    )
