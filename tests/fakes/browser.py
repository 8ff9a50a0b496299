"""Chromium as a test wants it: a page of given width and colours that notes what it asked for and complained about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["OpenPage", "Opened", "opener"]


@dataclass
class Opened:
    """A page, its requests to anywhere but its own file, and what its console said."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


OpenPage = Callable[..., Opened]


@contextmanager
def opener() -> Iterator[OpenPage]:
    """A function that opens an address in a fresh context of one browser: Debian calls it chromium, others google-chrome."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"))

        def open_page(url: str, *, width: int = 1200, colours: Literal["light", "dark"] = "light") -> Opened:
            page = browser.new_context(color_scheme=colours, viewport={"width": width, "height": 900}).new_page()
            opened = Opened(page)
            page.on("request", lambda request: opened.requests.append(request.url) if request.url != url else None)
            page.on("console", lambda message: opened.complaints.append(message.text))
            page.on("pageerror", lambda error: opened.complaints.append(str(error)))
            page.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
            page.goto(url)
            return opened

        yield open_page
        browser.close()
