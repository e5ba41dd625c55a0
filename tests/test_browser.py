"""The browser that other tests look at pages with."""

from __future__ import annotations

from tests.browser import Watched


def test_what_a_page_asks_for_and_complains_of_is_seen(page: Watched) -> None:
    page.page.set_content(
        "<title>seen</title><script>console.error('oops'); fetch('http://example.org/').catch(() "
        "=> {}); undefined_name</script>"
    )
    page.page.wait_for_timeout(200)
    assert page.page.title() == "seen"
    assert page.requests == ["http://example.org/"]
    assert "oops" in page.errors
    assert any("undefined_name" in error for error in page.errors)
