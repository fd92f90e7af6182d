"""A real browser for the pages that are made here: Debian's Chromium, driven without any download."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (1280, 390)
"""A screen and a telephone, in CSS pixels."""


@dataclass
class Opened:
    """A page in the browser, and what it did that it should not: console errors, dialogs, other requests."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def overflow_px(self) -> int:
        """How much wider the page is than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def serious_faults(self) -> list[str]:
        """What axe-core calls serious or critical: rule and the first elements."""
        self.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{fault['id']}: {'; '.join(node['html'][:160] for node in fault['nodes'][:3])}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; without one the test is skipped, in CI it fails."""
    if CHROMIUM is None:
        message = "no chromium on PATH (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container runs as root, where Chromium's own sandbox refuses to start.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, *, width: int = 1280, **options: Any) -> Iterator[Opened]:
    """A file in a new window of this width; `options` are Playwright's for a context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    found = Opened(page)
    address = path.resolve().as_uri()
    page.on("console", lambda message: message.type in ("error", "warning") and found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (found.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            request.url.partition("#")[0] != address
            and not request.url.startswith("data:")
            and found.complaints.append(f"request {request.url[:200]}")
        ),
    )
    page.goto(address)
    yield found
    context.close()
