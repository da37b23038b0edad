"""A report in a real browser."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def check_page(page: Page, report: Path) -> None:
    """Open a report: no complaint, no request, no broken picture, nothing beyond the edge, and a gallery with pictures."""
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    broken = "() => [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    gallery = page.locator(".gallery")
    assert gallery.is_visible()
    assert gallery.locator("img").count() >= 3
    assert _colours(gallery.screenshot()) > 50


def _colours(png: bytes) -> int:
    with Image.open(io.BytesIO(png)) as image:
        return len(set(image.convert("RGB").resize((200, 200)).get_flattened_data()))
