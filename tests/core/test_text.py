"""Any name of a class stays text: in a prompt, a recipe, a manifest line, a page, a terminal, and in the names of files."""

from __future__ import annotations

import html
import io
import json
import re
import tempfile
import tomllib
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from actgen.core.class_words import class_prompt, class_words
from actgen.core.text import brief, for_terminal, is_storable, visible
from actgen.data.datasets.names import kept, printable
from actgen.data.datasets.sources import load_data
from actgen.data.datasets.split_words import pure_split
from actgen.data.store.lines import parse_line
from actgen.data.store.manifest import Manifest
from actgen.data.store.store import Store
from actgen.experiment.config import build_recipe, to_toml
from actgen.report.html import write_report
from tests.conftest import make_sample, tree

NASTY = (
    "'\"`",
    "\\",
    "a/b\\c",
    "../../etc/passwd",
    "line\nline\r\u2028line",
    "🐈\u200d⬛",
    "\u202eright to left",
    "</script><img src=x onerror=alert(1)>",
    "[bold red]rich[/] :boot:",
    "\x1b]0;title\x07\x1b[31m",
    "{}{0}%s$x^2$",
    "<|endoftext|>",
    "-rf",
    "",
    " ",
    "\ufeffmark",
    "]]>&amp;",
    "=cmd()",
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.sampled_from(NASTY)
few = settings(max_examples=60)


@given(names)
def test_what_is_shown_is_one_line_that_does_nothing(name: str) -> None:
    shown = visible(name)
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]", shown)
    assert visible(shown) == shown


@given(names)
def test_a_terminal_shows_the_name_itself(name: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", emoji=False, highlight=False, soft_wrap=True)
    console.print(f"[bold]class[/] {for_terminal(name)}|")
    assert out.getvalue() == f"\x1b[1mclass\x1b[0m {visible(name)}|\n"


@given(names)
def test_a_prompt_has_the_words_of_the_name_and_nothing_else(name: str) -> None:
    prompt = class_prompt(name)
    assert prompt == f"a photo of {class_words(name)}"
    assert "<|" not in prompt
    assert "\n" not in prompt
    assert class_words(class_words(name)) == class_words(name)


@given(names)
def test_a_recipe_gives_back_what_was_written(name: str) -> None:
    recipe = build_recipe(flags={"data": name, "prompts.classes": {name: "a {cat}"}})
    text = to_toml(recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        assert build_recipe(path) == recipe
    printed = "\n".join(map(visible, text.split("\n")))  # as --dry-run prints it
    assert tomllib.loads(printed) == tomllib.loads(text)


@few
@given(names)
def test_a_manifest_line_is_one_line_and_gives_it_back(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder) / "store").add(make_sample("k1", class_name=name), {"note": name})
        assert set(tree(Path(folder))) == {"store", "store/images", "store/images/k1.png", "store/metadata.jsonl"}
        (row,) = Manifest(Path(folder) / "store" / "metadata.jsonl").rows()
        assert (row["class_name"], dict(row)["note"]) == (name, name)
        assert (Path(folder) / "store" / "metadata.jsonl").read_bytes().count(b"\n") == 1


@given(names)
def test_a_file_name_of_a_manifest_never_leaves_the_store(name: str) -> None:
    line = json.dumps({"key": "k", "file_name": f"images/{name}.png"}).encode() + b"\n"
    try:
        file = str(parse_line(line)["file_name"])
    except ValueError:
        return
    folder = Path("/store")
    assert (folder / file).resolve().is_relative_to(folder)
    assert file.count("/") == 1


class Text(HTMLParser):
    """The text of a page, and the elements that it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.elements = [""], set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)


@settings(max_examples=8)
@given(names.filter(bool))
def test_a_page_says_it_and_has_no_other_element(name: str) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder, plain = Path(text) / "odd", Path(text) / "plain"
        pages = []
        for root, each in ((folder, name), (plain, "cat")):
            root.mkdir()
            summary = {"strategy": "actgen", "test_accuracy": 50.0, "per_class": {each: 50.0}, "data": each, "generator": each}
            (root / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
            (root / "recipe.toml").write_text(to_toml(build_recipe(flags={"data": each})), encoding="utf-8")
            pages.append(Text(write_report(root).read_text(encoding="utf-8")))
        assert pages[0].elements == pages[1].elements
        shown = html.unescape(html.escape(name))
        assert shown.replace("\r", "\n").split() == [] or any(shown.split()[0] in words for words in pages[0].words)


@few
@given(names.filter(lambda name: name not in ("", ".", "..") and not name.startswith(".") and "/" not in name))
def test_a_folder_of_any_name_is_a_class(name: str) -> None:
    if len(name.encode()) > 200 or pure_split(name):
        return
    with tempfile.TemporaryDirectory() as text:
        for each in {name, "another"}:
            (Path(text) / each).mkdir()
            for number in range(2):
                Image.new("L", (4, 4), number).save(Path(text) / each / f"{number}.png")
        if name == "another":
            return
        data = load_data(text).train
        assert kept(unicodedata.normalize("NFC", name)) in data.class_names
        assert all(is_storable(key) for key in data.keys)
        assert len(set(data.keys)) == 4


@given(st.text())
def test_messages_show_any_text_short_and_harmless(text: str) -> None:
    assert visible(brief(text)) == brief(text)
    assert len(brief(text * 100)) < 2000
    if not re.search("[\ud800-\udfff]", text):
        assert visible(printable(text)) == printable(text)


@pytest.mark.parametrize("name", NASTY)
def test_the_names_out_to_cause_trouble_pass_every_law(name: str) -> None:
    for test in (
        test_what_is_shown_is_one_line_that_does_nothing,
        test_a_terminal_shows_the_name_itself,
        test_a_prompt_has_the_words_of_the_name_and_nothing_else,
        test_a_recipe_gives_back_what_was_written,
        test_a_manifest_line_is_one_line_and_gives_it_back,
        test_a_file_name_of_a_manifest_never_leaves_the_store,
    ):
        test.hypothesis.inner_test(name)  # type: ignore[attr-defined]
