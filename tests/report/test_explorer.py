"""Every generated image can be found: by class, least certain first, without a script, whatever their number."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from actgen.report.explorer import FOLDER, write_explorer
from actgen.report.html import write_report
from actgen.report.reading import read_run
from tests.support.report_folders import CLASSES, draw, lines, make_demo, make_run, sample


class Links(HTMLParser):
    """What a page leads to and shows."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[Path] = []
        self.page = page
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [
            self.page.parent / unquote(value)
            for name in ("href", "src")
            if not (value := given.get(name) or "data:").startswith("data:")
        ]


def keys(page: Path) -> list[str]:
    """Return the keys of the tiles of a page, in their order."""
    return re.findall(r'<p class="key">(.*?)</p>', page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("make", [make_run, make_demo])
def test_every_link_and_picture_is_there(tmp_path: Path, make: type) -> None:
    report = write_report(make(tmp_path / "a folder"))
    pages = [report, *tmp_path.rglob(f"{FOLDER}/*.html")]
    linked = {path.resolve() for page in pages[1:] for path in Links(page).found}
    assert [path for path in linked if not path.is_file()] == []
    assert {page.resolve() for page in pages} <= linked | {path.resolve() for path in Links(report).found}


def test_the_least_certain_come_first_and_tell_what_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write_explorer(read_run(run))
    margins = {row.key: row.margin for row in read_run(run).samples}
    place = sorted(CLASSES).index("ankle boot")
    page = run / FOLDER / f"class-{place}.html"
    shown = keys(page)
    assert shown == sorted((key for key in margins if int(key[1:]) % len(CLASSES) == 0), key=lambda key: (margins[key], key))
    first = page.read_text(encoding="utf-8").partition("</li>")[0]
    assert "taken for" in first
    assert f"--key {shown[0]} --out again" in first
    assert 'class="wrong"' in first


def test_rounds_and_rejections_have_pages_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    lost = [sample(number, guided=False, sourced=True) | {"reason": "not like it", "after": 0} for number in (0, 6)]
    lines(run / "rejected.jsonl", lost)
    draw(run / "set_aside" / "rejected" / "r000.png", 1)
    write_explorer(read_run(run))
    place = sorted(CLASSES).index("ankle boot")
    assert set(keys(run / FOLDER / f"class-{place}-round-1.html")) == {"r000", "r006"}
    assert set(keys(run / FOLDER / f"class-{place}-rejected.html")) == {"r000", "r006"}
    assert "not like it" in (run / FOLDER / f"class-{place}-rejected.html").read_text(encoding="utf-8")


def test_a_store_of_an_earlier_version_is_ordered_by_its_probabilities(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=12)
    new = ("predicted", "margin", "guide_predicted")
    old = [json.loads(line) for line in (run / "store/metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    lines(run / "store" / "metadata.jsonl", [{key: value for key, value in row.items() if key not in new} for row in old])
    write_explorer(read_run(run))
    place = sorted(CLASSES).index("ankle boot")
    assert keys(run / FOLDER / f"class-{place}.html") == ["r000", "r006"]
    assert "not kept" in (run / FOLDER / f"class-{place}.html").read_text(encoding="utf-8")


def test_pages_of_what_is_gone_go_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=12)
    write_explorer(read_run(run))
    assert (run / FOLDER / "class-5.html").exists()
    lines(run / "store" / "metadata.jsonl", [sample(0, guided=True, sourced=True)])
    write_explorer(read_run(run))
    assert not (run / FOLDER / "class-5.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("classes", [10, 1000])
def test_150000_images_take_bounded_memory_time_and_pages(tmp_path: Path, classes: int) -> None:
    run = make_run(tmp_path / "run", samples=0)
    padding = "x" * 900
    with (run / "store" / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for number in range(150_000):
            row = sample(number, guided=number % 2 == 0, sourced=True)
            own = {"class_name": f"class {number % classes}", "round": number // 5000, "margin": number % 977 / 977}
            file.write(json.dumps(row | own | {"prompt": padding}) + "\n")
    began = time.perf_counter()
    report = write_report(run)
    assert time.perf_counter() - began < 10
    pages = [report, *(run / FOLDER).glob("*.html")]
    assert max(page.stat().st_size for page in pages) < 500_000
    tracemalloc.start()
    write_explorer(read_run(run))
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()
