"""Debian's chromium, without a window, and what a page did in it that it should not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from support.nginx import tool
from support.node import packages

# Two cores are shared by many tests.
expect.set_options(timeout=60_000)
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    # Whatever it asks for by name it does not find, but the gateway of the tests.
    "--host-resolver-rules=MAP transfer.example.org 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# What the page's policy has forbidden is told to the page alone.
_WATCH = """
window.violated = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violated.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, with a new profile of its own."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=tool("chromium"), args=_ARGUMENTS, timeout=120_000
        )
        try:
            yield started
        finally:
            started.close()


@dataclass
class Seen:
    """A page, and what was seen of it."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """What stands there, as a person sees it."""
        return self.page.inner_text(selector)

    def field(self, side: str, label: str) -> Any:
        """A field of one end, by its label."""
        return self.page.locator(f"#{side}").get_by_label(label, exact=False).first

    def ends(self, state: str, seconds: float = 60) -> None:
        """Wait until the transfer has ended, and how is told in these words."""
        self.page.wait_for_function(
            "() => !document.getElementById('send').disabled && "
            "document.getElementById('progress').hidden",
            timeout=seconds * 1000,
        )
        assert state in self.text("#state"), self.text("#run")

    def clean(self, *expected: str) -> None:
        """Nothing went wrong in the browser, nothing was stored, nobody else was asked."""
        host = urlsplit(self.page.url).netloc
        assert {urlsplit(url).netloc for url in self.asked} == {host}
        assert [line for line in self.said if not any(it in line for it in expected)] == []
        assert self.page.evaluate("window.violated") == []
        stored = "[localStorage.length, sessionStorage.length, document.cookie]"
        assert self.page.evaluate(stored) == [0, 0, ""]
        assert self.page.context.cookies() == []

    def wide(self) -> int:
        """How much wider than the window it is, in pixels: then it scrolls sideways."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wide

    def picture(self, file: Path) -> None:
        """The whole page, as it is when one has scrolled to its top."""
        self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=file, full_page=True)

    def barriers(self) -> list[str]:
        """What axe finds that keeps people out (WCAG 2.2 AA)."""
        axe = (packages() / "axe-core" / "axe.min.js").read_text("utf-8")
        self.page.evaluate(axe + "; null")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = self.page.evaluate(
            "async (tags) => (await axe.run({runOnly: tags})).violations", tags
        )
        return [f"{it['id']}: {it['nodes'][0]['html'][:200]}" for it in found]


@contextmanager
def opened(
    browser: Browser,
    url: str,
    width: int = 1280,
    height: int = 900,
    scheme: Any = "light",
    script: str = "",
) -> Iterator[Seen]:
    """The page at that address, when it is ready to be used; `script` runs before its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        ignore_https_errors=True,
        reduced_motion="reduce",
    )
    try:
        context.set_default_timeout(60_000)
        context.add_init_script(_WATCH + script)
        page = context.new_page()
        seen = Seen(page)

        def requested(request: Request) -> None:
            if not request.url.startswith("data:"):
                seen.asked.append(request.url)

        page.on("request", requested)
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on(
            "console",
            lambda it: seen.said.append(it.text) if it.type in ("error", "warning") else None,
        )
        page.goto(url)
        page.wait_for_selector("#health.good, #health.bad")
        assert seen.text("#health") == "Ready", seen
        yield seen
    finally:
        context.close()
