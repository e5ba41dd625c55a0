"""The report page in a real browser: nothing planted runs, nothing is asked for, filters filter, keys work, a million samples fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Watched, watched
from tests.plugins.test_reports import IDS, PLANTED, told, written

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page with something planted wherever data can stand."""
    folder = tmp_path_factory.mktemp("report")
    written(folder, told(version="v1"))
    return (folder / "report.html").as_uri()


@pytest.fixture
def opened(page: Watched, report: str) -> Iterator[Page]:
    """The page, opened; it complained of nothing and asked for nothing but itself."""
    page.page.goto(report)
    yield page.page
    assert page.errors == []
    assert {url.partition("#")[0] for url in page.requests} == {report}
    assert page.page.evaluate("window.planted") is None
    assert "planted" not in page.page.title().replace(PLANTED[:60], "")


def scrolled(page: Page) -> None:
    """Everything that is drawn when it comes into sight is in sight once."""
    for section in page.locator("main > section").all():
        section.scroll_into_view_if_needed()
        page.wait_for_timeout(30)
    page.wait_for_function("[...document.querySelectorAll('[data-chart] .drawn')].filter(e => e.clientWidth && !e.querySelector('svg')).length === 0")


def test_everything_is_drawn_and_nothing_planted_runs(opened: Page) -> None:
    opened.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for figure in opened.locator("[data-chart]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").first.wait_for()
    assert opened.locator(".plane circle").count() == len(IDS)
    assert opened.evaluate("document.querySelectorAll('svg image, svg script, svg a, iframe').length") == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desk_in_light_and_dark(browser: Browser, report: str, size: str, scheme: str) -> None:
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
    dot = place.locator(".plane circle").last.bounding_box()
    opened.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    assert tip.is_visible()


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
    assert opened.evaluate("[...document.querySelectorAll('[data-chart]')].every(one => one.querySelector('svg'))")
    assert not opened.locator(".nav").is_visible()


def test_without_scripts_the_account_and_the_examples_still_stand(browser: Browser, report: str) -> None:
    with watched(browser, java_script_enabled=False) as one:
        one.page.goto(report)
        assert one.page.locator("[data-example]:visible").count() == 7
        assert "18 samples in 3 classes were read" in one.page.locator("main").inner_text()


def test_links_lead_to_the_files_beside_it_also_through_the_link_in_the_output_folder(browser: Browser, tmp_path: Path) -> None:
    version = tmp_path / "versions" / "v1"
    version.mkdir(parents=True)
    written(version, told(version="v1"))
    (tmp_path / "report.html").symlink_to("versions/v1/report.html")
    for where in (tmp_path, version):
        with watched(browser) as one:
            one.page.goto((where / "report.html").as_uri())
            links = one.page.locator("footer a[data-file]").evaluate_all("all => all.map(a => a.href)")
        assert links[1] == (version / "ledger.parquet").as_uri()
