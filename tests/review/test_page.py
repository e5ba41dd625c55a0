"""The page in a real browser.

One key each, on disk before the page says so, and nothing from the data runs.
"""

from __future__ import annotations

from pathlib import Path

from dqpipe.results import verdicts
from tests import browser as browsers
from tests.browser import Watched
from tests.review.conftest import SCRIPT, served


def said(out: Path) -> list[tuple[str, str, object]]:
    return [(v.id, v.verdict, v.label) for v in verdicts.verdicts(out)]


def press(page: Watched, key: str) -> None:
    page.page.evaluate("document.querySelector('#message').textContent = ''")
    page.page.keyboard.press(key)
    page.page.locator("#message:not(:empty)").wait_for()


def opened(page: Watched, url: str, key: str = "k") -> None:
    page.page.goto(url)
    page.page.wait_for_selector(f"#keys button[data-key={key}]")


def test_one_key_for_each_verdict_and_undo(out: Path, page: Watched) -> None:
    with served(out, "--reviewer", "ann") as server:
        opened(page, server.url)
        names = []
        for number, key in enumerate("kdsk"):
            names.append(page.page.inner_text("#name"))
            press(page, key)
            assert len(verdicts.verdicts(out)) == number + 1
        assert said(out) == list(
            zip(names, ("keep", "drop", "skip", "keep"), (None,) * 4, strict=True)
        )
        press(page, "u")
        assert page.page.inner_text("#name") == names[-1]
        assert len(said(out)) == 3
        assert page.page.inner_text("#count").startswith("3 of ")
        assert {v.reviewer for v in verdicts.verdicts(out)} == {"ann"}
    assert page.errors == []
    assert all(url.startswith(server.base) for url in page.requests)


def test_relabelling_to_the_suggestion_and_to_another_label_by_keyboard(
    out: Path, page: Watched
) -> None:
    with served(out, "--code", "label_noise.likely_wrong") as server:
        opened(page, server.url)
        name = page.page.inner_text("#name")
        suggestion = page.page.locator("#label b").nth(1).inner_text()
        press(page, "r")
        assert said(out) == [(name, "relabel", suggestion)]
        press(page, "u")
        page.page.keyboard.press("l")
        options = page.page.eval_on_selector_all(
            "#labels option", "all => all.map(one => one.value)"
        )
        assert options == sorted(["china", SCRIPT])
        page.page.keyboard.type("kite")  # these letters are keys, too
        press(page, "Enter")
        assert said(out) == [(name, "relabel", "kite")]


def test_nothing_from_the_data_runs_and_nothing_is_asked_of_others(
    out: Path, page: Watched
) -> None:
    with served(out) as server:
        opened(page, server.url)
        seen = []
        while page.page.locator("#keys button[data-key=s]").count():
            seen.append(page.page.inner_text("#name"))
            press(page, "s")
        assert any(SCRIPT in name for name in seen)
        assert page.page.evaluate("window.hacked") is None
    assert page.errors == []
    assert {url[: len(server.base)] for url in page.requests} == {server.base}


def test_the_sample_stands_beside_what_it_is_compared_with(out: Path, page: Watched) -> None:
    with served(out, "--code", "duplicates.exact") as server:
        opened(page, server.url)
        page.page.wait_for_load_state("networkidle")
        assert page.page.evaluate(
            "document.images.length > 1 && [...document.images].every(one => one.complete && "
            "one.naturalWidth > 0)"
        )
        assert page.page.inner_text("#compared h3 >> nth=0") == "compared with"
        assert "duplicates.exact" in page.page.inner_text("#why")
        sizes = [
            page.page.locator("#sample img").bounding_box()["width"],
            page.page.locator("#compared img >> nth=0").bounding_box()["width"],
        ]
        assert sizes[0] > sizes[1]


def test_it_can_be_read_and_fits_at_two_sizes_in_light_and_dark(out: Path, browser) -> None:
    script = """() => [...document.querySelectorAll('h2, p, li, button:enabled, #count, .soft, label')].filter(e => e.offsetParent).map(e => {
        let box = e, back; do { back = getComputedStyle(box).backgroundColor; box = box.parentElement; } while (back === 'rgba(0, 0, 0, 0)' && box);
        return [getComputedStyle(e).color, back]; })"""  # noqa: E501
    with served(out) as server:
        for scheme, width in (("light", 1280), ("dark", 1280), ("dark", 360)):
            with browsers.watched(
                browser, viewport={"width": width, "height": 700}, color_scheme=scheme
            ) as page:
                opened(page, server.url)
                assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert min(contrast(*pair) for pair in page.page.evaluate(script)) >= 4.5
                assert page.page.evaluate("[...document.images].every(one => one.alt)")


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it, of two rgb(…) colours."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_an_audit_is_blind_and_says_what_came_out(out: Path, page: Watched) -> None:
    code = "image_quality.noisy"
    with served(out, "--audit", code, "--n", "3") as server:
        items = server.post("/next", session="other")["items"]
        assert {frozenset(item) for item in items} == {frozenset(items[0])}
        assert all(
            item["suggestion"] is None and item["reasons"] == [] and "confidence" not in item
            for item in items
        )
        opened(page, server.url, key="y")
        assert page.page.inner_text("#question").startswith("Is it so?")
        assert page.page.locator("#keys button[data-key=k]").count() == 0
        assert code not in page.page.inner_text("body")
        for key in ("n", "y", "u", "y", "s", "y", "y"):
            if page.page.locator(f"#keys button[data-key={key}]").count():
                press(page, key)
        page.page.get_by_text("Nothing is left to look at.").wait_for()
        assert f"Precision of {code}:" in page.page.inner_text("#why")
    assert page.errors == []
    assert {v.verdict for v in verdicts.verdicts(out)} == {"skip"}
    holds = [v.holds for v in verdicts.verdicts(out)]
    assert holds[:4] == [False, True, None, True]
    assert all(holds[4:])  # whether the other session's sample is shown here depends on its lease
