"""Examples of one claim to look at in a notebook, and the report as a thing to open."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqpipe.data import notebook_html
from dqpipe.data.labels import label_text
from dqpipe.errors import DatasetError, MediaError, listed, nearest, printable
from dqpipe.plugin.stage import Pixels

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
SIDE, QUALITY = 128, 80


@dataclass(frozen=True, eq=False)
class Gallery:
    """The strongest findings of one claim.

    A notebook shows them with pictures, beside what they are compared with.
    """

    code: str
    total: int
    rows: pd.DataFrame
    """The findings, with the label and the decision of each sample and the label of its match."""
    pixels: Pixels | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"{self._title}\n{self.rows.map(lambda cell: printable(cell) if isinstance(cell, str) else cell).to_string(max_colwidth=60)}"  # noqa: E501

    @property
    def _title(self) -> str:
        return (
            f"{self.code}: the {len(self.rows)} strongest of {self.total:,}"
            if len(self.rows) < self.total
            else f"{self.code}: {self.total:,}"
        )

    def _repr_html_(self) -> str:
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        cards = "".join(_card(row, self.pixels) for row in rows)
        return notebook_html.titled(
            self._title, f'<div style="display:flex;flex-wrap:wrap;gap:16px">{cards}</div>'
        )


@dataclass(frozen=True)
class ReportPage:
    """The report of a run as a file."""

    path: Path | str | None

    def open(self) -> None:
        """Open report.html in the browser.

        Raises DatasetError where a check wrote none, or it lies on an object store.
        """
        import webbrowser

        if not isinstance(self.path, Path):
            why = (
                "a check writes no report: run the pipeline"
                if self.path is None
                else f"it is not on a local disk: download {self.path}"
            )
            raise DatasetError(f"there is no report to open: {why}")
        webbrowser.open(self.path.absolute().as_uri())

    def _repr_html_(self) -> str:
        return (
            f"<p>report: <code>{escape(str(self.path or 'none, a check writes none'))}</code></p>"
        )


def strongest(
    code: str,
    n: int,
    tables: Mapping[str, pd.DataFrame],
    pixels: Pixels | None,
    claims: Sequence[str] = (),
) -> Gallery:
    """The n strongest findings of a code.

    By confidence, then by distance from the threshold, then by id. Raises DatasetError.
    """
    findings = tables["findings"]
    found = findings[findings["code"] == code]
    if found.empty:
        known = sorted(findings["code"].unique())
        if code in claims:
            raise DatasetError(
                f"nothing was found of {code!r}; there are findings of: "
                f"{listed(known) or 'nothing'}"
            )
        raise DatasetError(
            f"no stage of this run claims {code!r}: {nearest(code, [*known, *claims])}"
        )
    distance = (found["value"] - found["threshold"]).abs().fillna(0)
    ranked = found.assign(_far=distance).sort_values(
        ["confidence", "_far", "id"],
        ascending=[False, False, True],
        na_position="last",
        kind="stable",
    )
    rows = ranked.drop(columns="_far").head(n).reset_index(drop=True)
    samples, decisions = tables["samples"], tables["decisions"].set_index("id")["decision"]
    labels = samples.set_index("id")["label"] if "label" in samples else None
    for name, ids in (("label", "id"), ("match_label", "match")):
        rows[name] = (
            None
            if labels is None
            else [label_text(labels.get(i)) if i in labels.index else None for i in rows[ids]]
        )
    rows["decision"] = [decisions.get(i) for i in rows["id"]]
    return Gallery(code, len(found), rows, pixels)


def _card(row: Mapping[str, Any], pixels: Pixels | None) -> str:
    shots = "".join(
        _figure(row[key], row[label], pixels)
        for key, label in (("id", "label"), ("match", "match_label"))
        if row[key] is not None
    )
    told = [row["id"] or "the whole dataset"]
    told += [f"{row['label']} → {row['suggestion']}"] if row["suggestion"] is not None else []
    told += [row["detail"]] if row["detail"] else []
    told += [f"confidence {row['confidence']:.2f}"] if row["confidence"] is not None else []
    told += [row["decision"]] if row["decision"] else []
    text = "<br>".join(notebook_html.cell(part) for part in told)
    return (
        f'<div style="max-width:{2 * SIDE + 16}px"><div '
        f'style="display:flex;gap:8px">{shots}</div><small>{text}</small></div>'
    )


def _figure(sample: str, label: str | None, pixels: Pixels | None) -> str:
    url = "" if pixels is None else _url(sample, pixels)
    alt = notebook_html.cell(f"{sample}, labelled {label}" if label is not None else sample)
    missing = "" if pixels is None else f"<em>no picture of {alt}</em>"
    drawn = (
        f'<img src="{url}" alt="{alt}" style="max-width:{SIDE}px;max-height:{SIDE}px">'
        if url
        else missing
    )
    return (
        f"<figure "
        f'style="margin:0">{drawn}<figcaption><small>{notebook_html.cell(label)}</small></figcaption></figure>'
    )


def _url(sample: str, pixels: Pixels) -> str:
    try:
        shown = pixels.preview(sample, SIDE, QUALITY)
    except (MediaError, OSError) as error:
        log.debug("no picture of %s: %s", sample, error)
        return ""
    return "" if shown is None else shown.url
