"""The page in a real browser: it opens from disk, asks for nothing, complains of nothing, and shows the gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from actgen.report.html import write_report
from tests.support.browser import BINARY, FLAGS, check_page
from tests.support.report_folders import make_demo, make_run

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium, chromium-browser or google-chrome on the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[make_run, make_demo], ids=["run", "demo"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(request.param(tmp_path_factory.mktemp("report")))


@pytest.fixture(params=[(1200, "light"), (1200, "dark"), (375, "light")], ids=["desk", "dark", "phone"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    yield context.new_page()
    context.close()


def test_the_page_opens_clean_and_shows_its_gallery(page: Page, report: Path) -> None:
    check_page(page, report)


def test_dark_paper_is_dark_and_has_figures_of_its_own(browser: Browser, report: Path) -> None:
    seen = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
        page = context.new_page()
        page.goto(report.as_uri())
        paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        seen.append((paper, page.evaluate("() => document.querySelector('.plot').currentSrc")))
        context.close()
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_small_pictures_stay_pixels(browser: Browser, report: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(report.as_uri())
    rendering = "() => getComputedStyle(document.querySelector('.gallery img')).imageRendering"
    assert page.evaluate(rendering) == "pixelated"
    context.close()
