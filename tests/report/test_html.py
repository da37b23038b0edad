"""Laws of the written page: self-contained, escaped, tolerant, honest."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.report import plots
from actgen.report.canvas import to_svg
from actgen.report.html import write_report
from actgen.report.reading import read_arms, read_run
from actgen.report.words import headline, remarks
from tests.support.report_folders import CLASSES, make_demo, make_run

MAKERS = (make_run, make_demo)


@pytest.fixture(params=MAKERS, ids=["run", "demo"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = request.param(tmp_path / "folder")
    return made


def written(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_reaches_for_nothing_outside(folder: Path) -> None:
    page = written(folder)
    assert not re.search(r"https?://|<script|@import|url\(", page, re.IGNORECASE)
    for element, attributes in Elements(page).seen:
        assert element not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "data:").startswith("data:") for name in ("src", "srcset"))
        assert (folder / (attributes.get("href") or ".").partition("#")[0]).resolve().is_relative_to(folder.resolve())


def test_the_policy_forbids_all_but_its_own_sheet_and_data_pictures(folder: Path) -> None:
    page = written(folder)
    (sheet,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    seen = Elements(page).seen
    assert seen[2] == ("meta", {"charset": "utf-8"})
    assert seen[3] == ("meta", {"http-equiv": "Content-Security-Policy", "content": policy})  # before anything it governs
    assert not [element for element, attributes in seen if "style" in attributes]


def test_every_class_is_there_as_text_only(folder: Path) -> None:
    page = written(folder)
    for name in CLASSES:
        assert html.escape(name) in page
        assert html.escape(name) == name or name not in page
    assert "&lt;b&gt;not bold&lt;/b&gt; &amp; not markup" in page


def test_the_same_folder_gives_the_same_bytes_and_no_other_file(folder: Path) -> None:
    before = set(folder.rglob("*"))
    first = written(folder)
    assert written(folder) == first
    new = {path.relative_to(folder) for path in set(folder.rglob("*")) - before}
    assert Path("report.html") in new
    assert all(path.name in {"report.html", "explorer"} or path.parent.name == "explorer" for path in new)


def test_a_failure_keeps_the_old_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(folder)

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == first
    assert not list(folder.glob(".report*"))


def test_missing_and_broken_files_are_tolerated(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "store" / "images" / "r000.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for path in (*run.glob("previews/*"), run / "recipe.toml", run / "summary.json", run / "store/images/r001.png"):
        path.unlink()
    with (run / "stats.jsonl").open("a", encoding="utf-8") as stats:
        stats.write('{"epoch": 8, "test_accu')
    page = written(run)
    assert "not kept" in page
    assert "1 line(s)" in page
    assert read_run(run).summary.accuracy == pytest.approx(84.1, abs=0.5)  # from the last epoch


@pytest.mark.parametrize("stats", ["", "null\n[]\n", '{"epoch": 0}\n', '{"epoch": NaN, "test_accuracy": Infinity}\n'])
def test_a_run_that_has_hardly_begun_has_a_page(tmp_path: Path, stats: str) -> None:
    (tmp_path / "stats.jsonl").write_text(stats, encoding="utf-8")
    assert "Running: " in written(tmp_path)


def test_names_that_no_file_can_hold_do_not_stop_the_page(tmp_path: Path) -> None:
    odd = {"\ud800": 50.0, "bell\x07": 60.0, "_hidden": 70.0, "$\\frac{": 80.0, "": 10.0}
    summary = {"strategy": "actgen", "test_accuracy": 50.0, "per_class": odd}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    row = {"epoch": 0, "test_accuracy": 50.0, "per_class": odd}
    (tmp_path / "stats.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert "_hidden" in written(tmp_path)


def test_an_image_outside_the_store_is_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=1)
    record = {"key": "x", "file_name": "../previews/r001-guide.png", "class_name": "x"}
    (run / "store" / "metadata.jsonl").write_text(json.dumps(record), encoding="utf-8")
    assert read_run(run).samples[0].image is None


def test_a_drawing_without_guides_is_not_called_guided(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", samples=8)
    assert all(json.loads(line)["source"] for line in (run / "store" / "metadata.jsonl").read_text("utf-8").splitlines())
    assert [sample.guided for sample in read_run(run).samples] == [True, True, True, False] * 2
    assert "4 of 6 guided images of actgen" in written(run)
    assert "2 of 2 images of actgen, spread evenly" in written(run)


def test_a_repeated_epoch_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    text = (run / "stats.jsonl").read_text(encoding="utf-8")
    (run / "stats.jsonl").write_text(text + text, encoding="utf-8")
    assert [row.epoch for row in read_run(run).epochs] == list(range(8))


def test_a_folder_without_a_run_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No run in .*summary\.json"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("actgen", "none", "expected"),
    [
        (84.1, 83.5, "Cannot tell: actgen +0.60 points against real only (no interval, one seed)"),
        (83.1, 83.5, "Cannot tell: actgen −0.40 points against real only (no interval, one seed)"),
        (83.52, 83.48, "Cannot tell: actgen 0.00 points against real only (no interval, one seed)"),
        (99.0, 10.0, "Cannot tell: actgen +89.00 points against real only (no interval, one seed)"),
    ],
)
def test_the_headline_says_what_the_numbers_say(tmp_path: Path, actgen: float, none: float, expected: str) -> None:
    demo = make_demo(tmp_path / "demo", actgen=actgen, none=none)
    assert headline(read_arms(demo)) == expected
    assert f'<h1 class="cannot-tell">{expected}</h1>' in written(demo)


def test_a_better_rival_is_named(tmp_path: Path) -> None:
    demo = make_demo(tmp_path / "demo", actgen=84.1, text_only=85.0)
    assert "text-only reached 85.0%, 0.9 points better than actgen." in remarks(read_arms(demo))


def test_a_demo_without_its_runs_still_has_its_result(tmp_path: Path) -> None:
    arms: dict[str, dict[str, float]] = {
        "none": {"test_accuracy": 80.0},
        "actgen": {"test_accuracy": 81.0, "optimizer_steps": 5},
    }
    (tmp_path / "summary.json").write_text(json.dumps({"arms": arms, "seed": 3}), encoding="utf-8")
    page = written(tmp_path)
    assert "+1.00 points" in page
    assert "seed 3" in page


def test_figures_are_svg_text(tmp_path: Path) -> None:
    figure = plots.accuracy_figure(read_arms(make_demo(tmp_path / "demo")))
    assert "real only" in to_svg(figure)


def test_of_many_classes_those_that_changed_most_are_drawn() -> None:
    before = {f"class {number}": 50.0 for number in range(100)}
    after = {name: 50.0 + place / 10 for place, name in enumerate(before)}
    assert plots.most_changed(before, after) == list(before)[-plots.MOST_CLASSES :]


def test_nothing_from_outside_the_folder_is_shown(tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    (other / "recipe.toml").write_text("secret = 1\n", encoding="utf-8")
    run = make_run(tmp_path / "run", samples=1)
    (run / "recipe.toml").unlink()
    (run / "recipe.toml").symlink_to(other / "recipe.toml")
    (run / "previews").mkdir(exist_ok=True)
    (run / "previews" / "r000-guide.png").unlink(missing_ok=True)
    (run / "previews" / "r000-guide.png").symlink_to(other / "previews" / "r001-guide.png")
    (run / "previews" / "r000-mask.png").unlink(missing_ok=True)
    page = written(run)
    assert "secret" not in page
    assert "not kept" in page
    arms: dict[str, dict[str, str]] = {"none": {}, "../../other": {}, "/etc": {}, "": {}, "a\x00b": {}, "x" * 5000: {}}
    (tmp_path / "demo" / "arms").mkdir(parents=True)
    (tmp_path / "demo" / "summary.json").write_text(json.dumps({"arms": arms}), encoding="utf-8")
    assert [view.name for view in read_arms(tmp_path / "demo")] == ["none"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"test_accuracy": ' + "9" * 5000 + "}", '{"epoch": 1e300}', '{"per_class": [1]}']
)
def test_numbers_and_nesting_without_end_are_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.jsonl").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "summary.json").write_text(text, encoding="utf-8")
    assert "the test accuracy of" in written(tmp_path)
