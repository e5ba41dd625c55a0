"""Great Expectations' own Data Docs of a run's expectations, from the run's record."""

from __future__ import annotations

import datetime as dt
import html
import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dqpipe import Pixels, Report, Section, extension, option
from dqpipe_validation.expectations import Expectations
from dqpipe_validation.suite import Asked
from dqpipe_validation.validate import configuration, context, quiet

FOLDER = "data_docs"
SETS = ("raw", "curated")
_NETWORK = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*https?://[^>]*>|@import[^;]*;|url\([^)]*\)",
    re.DOTALL,
)
_PLAIN = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100%; }
td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.fa-check-circle::before { content: "met"; color: #2a7a2a; } .fa-times::before, .fa-exclamation-triangle::before { content: "failed"; color: #b00; }
.modal, .ge-walkthrough-modal, .sticky, .nav-tabs, button, footer { display: none; }
</style>"""  # noqa: E501


@extension
class DataDocs(Report):
    """Great Expectations' Data Docs of the raw and the curated set, in data_docs/ beside the
    report.
    """

    name = "data_docs"
    version = 1
    requires = ("great_expectations",)

    offline: bool = option(
        True,
        (
            "leave out the scripts, styles and the logo that Data Docs load from other servers; "
            "what is written is plainer, and complete"
        ),
    )

    def write(
        self, record: Mapping[str, Any], folder: Path, sections: Iterable[Section], pixels: Pixels
    ) -> None:
        """Write folder/data_docs/index.html and its pages.

        Nothing for a run without expectations.
        """
        stages = [
            stage
            for stage in record["run"].get("stages", ())
            if stage["stage"] == Expectations.name
        ]
        if not stages:
            return
        root = folder / FOLDER
        with quiet():
            _build(stages, record, root)
        if self.offline:
            pages = sorted(root.rglob("*.html"))
            shutil.rmtree(root / "static")  # fonts and icons of the styles that are left out
            for page in pages:
                page.write_text(
                    _without_network(page.read_text(encoding="utf-8"), page, pages),
                    encoding="utf-8",
                )


def _build(stages: Iterable[Mapping[str, Any]], record: Mapping[str, Any], root: Path) -> None:
    """Put suites and results into a context and let it build its site."""
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.exceptions import DataContextError

    try:
        current = project_manager.get_current_project()
    except DataContextError:
        current = None
    docs = context(_site(root))
    project_manager.set_project(
        docs
    )  # building reads suites through the current context, whichever built it
    try:
        for stage in stages:
            asked = Expectations(**stage["options"]).asked
            docs.suites.add(
                ExpectationSuite(name=stage["name"], expectations=[_shown(one) for one in asked])
            )
            for of in SETS:
                _keep(docs, stage["name"], asked, of, record)
        docs.build_data_docs()
    finally:
        project_manager.set_project(current)


def _site(root: Path) -> dict[str, Any]:
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": os.fspath(root)}
    index = {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False}
    return {
        "dqpipe": {
            "class_name": "SiteBuilder",
            "store_backend": store,
            "site_index_builder": index,
            "show_how_to_buttons": False,
        }
    }


def _keep(docs: Any, name: str, asked: list[Asked], of: str, record: Mapping[str, Any]) -> None:  # noqa: ANN401 (a context)
    """Store the results of a stage on the raw or the curated set, if there are any."""
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
        RunIdentifier,
    )
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    told = _figures(record, name, of)
    results = [
        ExpectationValidationResult(
            success=bool(told[f"{one.code}_success"]),
            expectation_config=_shown(one),
            result=_result(one, told),
        )
        for one in asked
        if f"{one.code}_success" in told
    ]
    if not results:
        return
    met = sum(bool(result.success) for result in results)
    started = dt.datetime.fromisoformat(str(record["run"]["started"]))
    run = RunIdentifier(
        str(record["run"]["id"]), started if started.tzinfo else started.replace(tzinfo=dt.UTC)
    )
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": met,
        "unsuccessful_expectations": len(results) - met,
        "success_percent": 100 * met / len(results),
    }
    key = ValidationResultIdentifier(
        ExpectationSuiteIdentifier(name), run_id=run, batch_identifier=of
    )
    meta = {
        "run_id": run,
        "active_batch_definition": {},
        "great_expectations_version": importlib.metadata.version("great_expectations"),
    }
    whole = ExpectationSuiteValidationResult(
        met == len(results), results, name, statistics=statistics, meta=meta
    )
    docs.validation_results_store.set(key, whole)


def _shown(asked: Asked) -> Any:  # noqa: ANN401 (an ExpectationConfiguration)
    """The expectation for the page, which does not escape what it shows."""
    notes = (
        {
            "notes": {
                "format": "string",
                "content": [_escaped(f"of the rows where {asked.condition.words}")],
            }
        }
        if asked.condition
        else {}
    )
    return configuration(replace(asked, kwargs=_escaped(asked.kwargs), meta=notes))


def _escaped(value: Any) -> Any:  # noqa: ANN401 (JSON values)
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, (list, tuple)) else value


def _figures(record: Mapping[str, Any], name: str, of: str) -> dict[str, float]:
    """The figures of a stage by bare name."""
    rows = {
        told["figure"]: told["rows"]
        for told in record["figures"]
        if told["figure"].startswith(f"{name}.") and told["rows"]
    }
    values = {
        figure.removeprefix(f"{name}."): (row[0].get(of) or {}).get("value")
        for figure, row in rows.items()
    }
    return {figure: value for figure, value in values.items() if value is not None}


def _result(asked: Asked, told: Mapping[str, float]) -> dict[str, Any]:
    """The result as far as figures have it, without single values."""
    share = told.get(f"{asked.code}_unexpected")
    if share is None:
        observed = told.get(f"{asked.code}_observed")
        return {} if observed is None else {"observed_value": observed}
    judged = int(told[f"{asked.code}_judged"])
    shares = {
        "unexpected_percent": 100 * share,
        "unexpected_percent_nonmissing": 100 * share,
        "missing_count": 0,
    }
    return {
        "element_count": judged,
        "unexpected_count": round(share * judged),
        "partial_unexpected_list": [],
        **shares,
    }


def _without_network(text: str, page: Path, pages: Iterable[Path]) -> str:
    """The page without external resources, with the links to other pages that its scripts would
    make.
    """
    links = {
        f"{other.parent.parent.parent.name} {other.stem}"
        if other.stem in SETS
        else other.stem: other
        for other in pages
        if other != page
    }
    items = [
        f'<a href="{html.escape(os.path.relpath(other, page.parent))}">{html.escape(name)}</a>'
        for name, other in links.items()
    ]
    return (
        _NETWORK.sub("", text)
        .replace("</head>", f"{_PLAIN}</head>", 1)
        .replace("<body>", f"<body><nav>{' · '.join(items)}</nav>", 1)
    )
