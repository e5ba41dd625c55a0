"""The report page in a real browser.

Nothing planted runs, nothing is asked for, filters filter, keys work, a million samples fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page

from dqpipe.api import Pipeline
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples, figure, table_of
from dqpipe.execution.local import Serial
from dqpipe.plugin.registry import Registry
from dqpipe.results.report import record
from dqpipe.results.report.embedding import Embedding
from tests.browser import Watched, watched
from tests.plugins.test_reports import IDS, PLANTED, told, written

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page with something planted wherever data can stand."""
    folder = tmp_path_factory.mktemp("report")
    written(folder, told(version="v1"))
    return (folder / "report.html").as_uri()


DRAWN = """[...document.querySelectorAll('[data-chart]')].every(
    (one) => !one.clientWidth || one.querySelector('svg'))"""


@pytest.fixture
def opened(page: Watched, report: str) -> Iterator[Page]:
    """The page, opened; it complained of nothing and asked for nothing but itself."""
    page.page.goto(report)
    for _ in range(600):  # the page forbids itself the scripts that playwright waits with
        if page.page.evaluate(DRAWN):
            break  # nothing moves from now on
        page.page.wait_for_timeout(100)
    yield page.page
    assert page.errors == []
    assert {url.partition("#")[0] for url in page.requests} == {report}
    assert page.page.evaluate("window.planted") is None
    assert "planted" not in page.page.title().replace(PLANTED[:60], "")


def scrolled(page: Page) -> None:
    """Everything that is drawn when it comes into sight was in sight once, and is drawn."""
    for chart in page.locator("[data-chart]:visible, [data-map]").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg").first.wait_for()


def test_everything_is_drawn_and_nothing_planted_runs(opened: Page) -> None:
    opened.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    scrolled(opened)
    assert opened.locator(".plane circle").count() == len(IDS)
    assert (
        opened.evaluate("document.querySelectorAll('svg image, svg script, svg a, iframe').length")
        == 0
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desk_in_light_and_dark(
    browser: Browser, report: str, size: str, scheme: str
) -> None:
    with watched(browser, viewport=SIZES[size], color_scheme=scheme) as one:
        one.page.goto(report)
        scrolled(one.page)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
        assert one.errors == []


def test_filters_filter_and_stand_in_the_address(opened: Page, report: str) -> None:
    examples = opened.locator("[data-example]:visible")
    opened.locator("[data-filters] [name=code]").select_option("duplicates.near")
    assert set(examples.evaluate_all("all => all.map(e => e.dataset.code)")) == {"duplicates.near"}
    opened.locator("[data-filters] [name=label]").select_option("cat")
    opened.locator("[data-filters] [name=q]").fill("nearly")
    assert opened.locator("[data-filters] output").inner_text() == "2 of 7 examples"
    assert "code=duplicates.near" in opened.url
    opened.goto(f"{report}#code=files.unreadable")
    opened.reload()
    assert opened.locator("[data-filters] output").inner_text() == "1 of 7 examples"


def test_examples_are_found_by_the_name_of_their_claim(opened: Page) -> None:
    opened.locator("[data-filters] [name=q]").fill("files.unread")
    assert opened.locator("[data-filters] output").inner_text() == "1 of 7 examples"


def test_the_map_is_coloured_filtered_and_told_by_pointer_and_keys(opened: Page) -> None:
    place, tip = opened.locator("[data-map]"), opened.locator(".tip")
    place.scroll_into_view_if_needed()
    for by in ("code", "decision", "label"):
        place.locator("[name=by]").select_option(by)
        assert place.locator(".plane circle").count() == len(IDS)
    place.locator("[name=q]").fill("cat/1")
    assert place.locator("output").inner_text() == f"1 of {len(IDS)} points"
    plane = place.locator(".plane")
    plane.focus()
    opened.keyboard.press("ArrowRight")
    assert tip.inner_text().split("\n")[0] == "cat/1.png"
    assert tip.locator("img").get_attribute("src").startswith("data:image/webp")
    opened.keyboard.press("Escape")
    assert tip.is_hidden()
    place.locator("[name=q]").fill("")
    place.get_by_text(
        f"{len(IDS)} points", exact=True
    ).wait_for()  # the plane is drawn a moment after the last letter
    place.locator(".plane circle").last.hover(force=True)
    tip.wait_for()


def test_keys_lead_through_the_page(opened: Page) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("/")
    assert opened.evaluate("document.activeElement.name") == "q"
    opened.keyboard.type("nothing like it")
    assert opened.locator(".empty").is_visible()
    opened.keyboard.press("Escape")
    assert opened.locator(".empty").is_hidden()


def test_on_paper_everything_is_unfolded_and_drawn(opened: Page) -> None:
    opened.emulate_media(media="print")
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("[...document.querySelectorAll('details')].every(one => one.open)")
    assert opened.evaluate(
        "[...document.querySelectorAll('[data-chart]')].every(one => one.querySelector('svg'))"
    )
    assert not opened.locator(".nav").is_visible()


def test_without_scripts_the_account_and_the_examples_still_stand(
    browser: Browser, report: str
) -> None:
    with watched(browser, java_script_enabled=False) as one:
        one.page.goto(report)
        assert one.page.locator("[data-example]").count() == 7
        shown = one.page.locator("main").inner_text()
        assert "Published with failures" in shown
        assert "Top issues" in shown
        one.page.locator("details.whole summary").click()  # folded, and opens without a script
        assert "18 samples in 3 classes were read" in one.page.locator("main").inner_text()


def test_links_lead_to_the_files_beside_it_also_through_the_link_in_the_output_folder(
    browser: Browser, tmp_path: Path
) -> None:
    version = tmp_path / "versions" / "v1"
    version.mkdir(parents=True)
    written(version, told(version="v1"))
    (tmp_path / "report.html").symlink_to("versions/v1/report.html")
    for where in (tmp_path, version):
        with watched(browser) as one:
            one.page.goto((where / "report.html").as_uri())
            links = one.page.locator("footer a[data-file]").evaluate_all(
                "all => all.map(a => a.href)"
            )
        assert links[1] == (version / "ledger.parquet").as_uri()


def test_what_is_planted_in_names_labels_cells_and_exif_of_a_dataset_does_not_run(
    page: Watched, registry: Registry, tmp_path: Path
) -> None:
    from PIL import Image

    names = hostile(tmp_path / "data")
    text = (
        f"dataset: {{path: {tmp_path / 'data' / 'all.csv'}}}\noutputs: {{path: "
        f"{tmp_path / 'out'}}}\n"
    )
    stages = "stages: [files, image_quality, duplicates, embeddings]\n"
    result = Pipeline.from_text(text + stages, registry=registry).run(Serial())
    with Image.open(tmp_path / "data" / names[0]) as picture:
        assert ATTACK in picture.getexif()[EXIF]
    address = (result.path / "report.html").as_uri()
    page.page.goto(address)
    scrolled(page.page)
    page.page.locator(".plane").focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    assert ATTACK in page.page.locator("main").inner_text()
    assert page.page.evaluate(
        "[window.planted, document.querySelectorAll('main img[onerror], main svg[onload]').length]"
    ) == [None, 0]
    assert (page.errors, page.requests) == ([], [address])


ATTACK = "<img src=x onerror=planted=1>"
EXIF = 0x010E


def hostile(folder: Path) -> list[str]:
    """24 pictures and a table of them.

    Names, labels, a column and the EXIF description attack whoever shows them unescaped.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    folder.mkdir()
    photograph, names = load_sample_image("flower.jpg"), []
    rows = ["media,label,note"]
    for number in range(24):
        names.append(f"{ATTACK} {number}.jpg")
        exif = Image.Exif()
        exif[EXIF] = f"</script>{ATTACK}"
        corner = 4 * number if number % 4 else 0  # every fourth is a copy
        Image.fromarray(photograph[corner : corner + 96, 3 * corner : 3 * corner + 96]).save(
            folder / names[-1], exif=exif
        )
        rows.append(
            f'"{names[-1]}","</script>{ATTACK}{number % 2}","{{{{7*7}}}} {ATTACK} {number}"'
        )
    (folder / "all.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return names


@pytest.fixture(scope="module")
def million() -> dict[str, Any]:
    """The record of a million samples in 1,000 classes and 5,000 groups, a tenth of them with
    findings of 6 codes.
    """
    count, found = 1_000_000, 100_000
    random, ids = (
        np.random.default_rng(0),
        pa.array(np.char.add("a/long/name/of/a/sample/", np.arange(count).astype(str))),
    )
    label, group = (
        pa.array(np.char.add(word, random.integers(0, many, count).astype(str)))
        for word, many in (("class ", 1000), ("group ", 5000))
    )
    at, match = (pa.array(random.choice(count, found, replace=False)) for _ in range(2))
    codes = np.char.add("stage.code_", (np.arange(found) % 6).astype(str))
    columns = {
        "id": ids.take(at),
        "code": codes,
        "severity": np.array(["info", "warning"])[np.arange(found) % 2],
        "match": ids.take(match),
    }
    columns |= {
        "value": random.random(found),
        "threshold": np.full(found, 0.5),
        "confidence": random.random(found),
        "suggestion": label.take(match),
    }
    decision = np.full(count, "keep", dtype=object)
    decision[at.to_numpy()[: found // 2]] = "drop"
    figures = [
        {**figure("a.b", float(n), scope="class", key=f"class {n}"), "of": of}
        for n in range(999)
        for of in ("raw", "curated")
    ]
    return record(
        samples=Samples(pa.table({"id": ids, "label": label, "group": group, "media": ids})),
        facts=Facts(pa.table({f"stage.fact_{n}": random.random(count) for n in range(2)})),
        findings=Findings(pa.table(columns)),
        figures=Figures(table_of(Figures.columns, figures)),
        decisions=Decisions(pa.table({"id": ids, "decision": pa.array(decision.tolist())})),
        curated=None,
        run={"seed": 1},
        embedding=Embedding(
            "embeddings.vector",
            np.ones(count, bool),
            lambda rows: np.random.default_rng(rows[0]).normal(size=(len(rows), 64)),
        ),
    )


def test_a_million_samples_fit_on_a_page_that_works(
    page: Watched, million: dict[str, Any], tmp_path: Path
) -> None:
    written(tmp_path, million, on_the_map=5, budget=1.0)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    pictures = {
        url: len(url) for url in re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", text)
    }
    assert len(text.encode()) - sum(pictures.values()) < 5e6
    page.page.goto((tmp_path / "report.html").as_uri())
    page.page.locator("#map").scroll_into_view_if_needed()
    assert page.page.locator(".plane circle").count() == 3000
    page.page.locator("[data-filters] [name=code]").select_option("stage.code_3")
    assert page.page.locator("[data-example]:visible").count() == 12
    assert page.errors == []
