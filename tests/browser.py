"""A real browser for tests of pages.

Debian's chromium (or Chrome) driven by Playwright's Python client, which downloads nothing.

`page` in conftest.py gives one page in a profile of its own. `errors` and `requests` are what it
complained of and asked for. Playwright's event loop stands in this thread while a browser is open:
no test of the same module may start one of its own (a server runs in another thread or process).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


@dataclass
class Watched:
    """A page, what its console and its scripts complained of, and the URLs it asked for (data.

    And blob: left out).
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def executable() -> str | None:
    """The browser that is installed, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def opened() -> Iterator[Browser]:
    """A headless browser with an empty profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, **options) -> Iterator[Watched]:
    """A new page with its own storage.

    `options` as of Browser.new_context: viewport, color_scheme, java_script_enabled …
    """
    context = browser.new_context(**options)
    try:
        one = Watched(context.new_page())
        one.page.set_default_timeout(60_000)  # milliseconds: other tests may keep the machine busy
        one.page.on(
            "console",
            lambda message: (
                one.errors.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        one.page.on("pageerror", lambda error: one.errors.append(str(error)))
        one.page.on(
            "request",
            lambda request: (
                one.requests.append(request.url)
                if not request.url.startswith(("data:", "blob:"))
                else None
            ),
        )
        yield one
    finally:
        context.close()
